/* Convolution of small images with padding, forward and data gradient (gather.h), with images in a
 * tile's rows: the same pixel of mr images meets the same taps, so that those on padding are left
 * out.  On 4x4 pixels that is half of 5x5 taps, on 2x2 pixels five of 3x3.
 *
 * The input is copied so that a pixel's images lie side by side.  With the packed weights of a panel
 * of channels a group of images is computed pixel after pixel: the group's numbers and the panel stay
 * in L2.  Either all of the input is copied, and each thread packs a panel; or all weights are
 * packed, and each thread copies a group: whichever needs less memory. */
#include "kernels/conv2d/gather.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/tiles.h"

enum { NV, GROUP, THREADS };
enum { MAX_TAPS = 64 };

/* The taps of one pixel that lie inside: where its input and its weights begin. */
struct taps {
    int n;
    struct { int64_t in, weights; } tap[MAX_TAPS];
};

HONE_INLINE void tile(int mr, int nv, const struct hone_tile *t, const struct taps *taps)
{
    vf s[HONE_TILE_MAX];
    hone_tile_start(mr, nv, s, t, t->cols);
    for (int i = 0; i < taps->n; i++)
        hone_tile_rows(mr, nv, s, t->k, t->a + taps->tap[i].in, t->a_stride,
                       t->b + taps->tap[i].weights, nv * VL, nv * VL);
    hone_tile_finish(mr, nv, s, t, t->cols);
}

#define X(mr, nv)                                                                                 \
    static void taps_##mr##x##nv(const struct hone_tile *t, const struct taps *taps)              \
    {                                                                                             \
        tile(mr, nv, t, taps);                                                                    \
    }
TILES(X)
#undef X

#define X(mr, nv) [nv - 1][mr - 1] = taps_##mr##x##nv,
static void (*const tiles[4][16])(const struct hone_tile *t, const struct taps *p) = { TILES(X) };
#undef X

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    int own_group;              /* of a thread; else a panel is its own */
    int width, panels;          /* channels of a panel, panels */
    int group, groups;          /* images of a group, groups */
    int64_t row, pixel;         /* floats from image to image of a copy, from pixel to pixel */
    int64_t copy, panel;        /* floats of a copy, of a packed panel */
    int64_t floats;             /* of all of these at once */
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .width = c->v[NV] * VL };
    const struct gather *q = &l.q;
    const int threads = c->v[THREADS];
    l.panels = up(q->outc, l.width);
    l.groups = up(q->mb, c->v[GROUP]);
    l.panel = whole_lines((int64_t)q->kh * q->kw * q->inc * l.width);
    /* Rows a multiple of 2 KB apart share too few places of L1. */
    l.row = q->inc + (q->inc * (int64_t)sizeof(real) % 2048 == 0 ? VL : 0);
    const int even = up(l.groups, threads) * threads;   /* as many groups for each thread */
    const int64_t image = l.row * q->in_h * q->in_w, one = whole_lines(image * up(q->mb, even)),
                  all = whole_lines(image * q->mb), lean = l.panels * l.panel + threads * one;
    l.own_group = threads <= l.groups && lean < all + threads * l.panel;
    if (l.own_group) l.groups = even;
    l.group = up(q->mb, l.groups);
    l.copy = l.own_group ? one : all;
    l.floats = l.own_group ? lean : all + threads * l.panel;
    l.pixel = l.row * (l.own_group ? l.group : q->mb);
    return l;
}

/* ---- one run, as every thread sees it ---- */

struct job {
    struct layout l;
    enum hone_act act;
    const real *in, *w, *bias;   /* bias: NULL: none */
    real *out, *copy, *weights;
};

/* Image by image, at its place in a copy. */
static void copy_image(const struct job *j, int image, real *to)
{
    const struct gather *q = &j->l.q;
    const real *from = j->in + (int64_t)image * q->in_h * q->in_w * q->inc;
    for (int i = 0; i < q->in_h * q->in_w; i++, from += q->inc, to += j->l.pixel)
        memcpy(to, from, (size_t)q->inc * sizeof *to);
}

static int vectors_of(const struct layout *l, int panel)
{
    return up(least(l->width, l->q.outc - panel * l->width), VL);
}

/* The weights of a panel's channels under tap i as (input channels, channels), at their place in
 * what is (taps, input channels, channels). */
static void pack_tap(const struct job *j, int panel, int i, real *to)
{
    const struct gather *q = &j->l.q;
    const int first = panel * j->l.width, width = vectors_of(&j->l, panel) * VL,
              channels = least(width, q->outc - first);
    const int64_t filter = (int64_t)q->kh * q->kw * q->v.ic;
    const real *from = j->w + (int64_t)i * q->v.ic;
    to += (int64_t)i * q->inc * width;
    if (q->dgrad) hone_pack_columns(to, width, from + first, filter, q->inc, channels);
    else hone_pack_rows(to, width, from + first * filter, filter, q->inc, channels);
}

static void find_taps(const struct job *j, const struct conv_axis *h, const struct conv_axis *w,
                      int row, int col, int width, struct taps *taps)
{
    const struct gather *q = &j->l.q;
    taps->n = 0;
    for (int i = 0; i < h->n; i++) {
        const int y = row * h->step + h->at + i * h->dist;
        if (y < 0 || y >= q->in_h) continue;
        for (int k = 0; k < w->n; k++) {
            const int x = col * w->step + w->at + k * w->dist;
            const int64_t tap = (h->tap + i * h->tap_step) * q->kw + w->tap + k * w->tap_step;
            if (x < 0 || x >= q->in_w) continue;
            taps->tap[taps->n].in = ((int64_t)y * q->in_w + x) * j->l.pixel;
            taps->tap[taps->n++].weights = tap * q->inc * width;
        }
    }
}

/* One pixel of images [first, first + images). */
static void do_pixel(const struct job *j, const struct taps *taps, struct hone_tile t, int nv,
                     int images)
{
    const int parts = up(images, HONE_TILE_ROWS(nv)), each = images / parts;
    for (int i = 0; i < parts; i++) {
        const int count = each + (i < images % parts);
        tiles[nv - 1][count - 1](&t, taps);
        if (!t.relu) hone_epilogue(j->act, t.c, t.c_row, count, t.cols, NULL);
        t.a += count * t.a_stride;
        t.c += count * t.c_row;
    }
}

/* Group g, whose images lie in the copy from `in` on. */
static void do_group(const struct job *j, int panel, const real *weights, int g, const real *in)
{
    const struct gather *q = &j->l.q;
    const int channel = panel * j->l.width, nv = vectors_of(&j->l, panel), first = g * j->l.group,
              images = least(j->l.group, q->mb - first);
    if (images <= 0) return;
    const struct hone_tile all = {
        .k = q->inc,
        .a = in,
        .a_stride = j->l.row,
        .b = weights,
        .c_row = (int64_t)q->out_h * q->out_w * q->outc,
        .c = j->out + (int64_t)first * q->out_h * q->out_w * q->outc + channel,
        .alpha = 1,
        .cols = least(nv * VL, q->outc - channel),
        .bias = j->bias ? j->bias + channel : NULL,
        .relu = j->act == HONE_ACT_relu,
    };
    for (int ph = 0; ph < q->phases_h; ph++)
        for (int pw = 0; pw < q->phases_w; pw++) {
            const struct conv_axis h = gather_h(q, ph), w = gather_w(q, pw);
            for (int a = 0; a < h.count * w.count; a++) {
                const int row = a / w.count, col = a % w.count;
                const int64_t place =
                    (int64_t)(h.start + row * h.stride) * q->out_w + w.start + col * w.stride;
                struct hone_tile t = all;
                struct taps taps;
                find_taps(j, &h, &w, row, col, nv * VL, &taps);
                t.c += place * q->outc;
                do_pixel(j, &taps, t, nv, images);
            }
        }
}

static void own_groups(const struct job *j)
{
    const struct layout *l = &j->l;
    const int taps = l->q.kh * l->q.kw;
    real *in = j->copy + hone_thread() * l->copy;
#pragma omp for schedule(static)
    for (int i = 0; i < l->panels * taps; i++)
        pack_tap(j, i / taps, i % taps, j->weights + i / taps * l->panel);
#pragma omp for schedule(static)
    for (int g = 0; g < l->groups; g++) {
        const int first = g * l->group, images = least(l->group, l->q.mb - first);
        for (int i = 0; i < images; i++) copy_image(j, first + i, in + i * l->row);
        for (int panel = 0; panel < l->panels; panel++)
            do_group(j, panel, j->weights + panel * l->panel, g, in);
    }
}

/* Thread t's share of all panels times groups. */
static void own_panel(const struct job *j, int t, int threads, real *weights)
{
    const struct layout *l = &j->l;
    const int64_t units = (int64_t)l->panels * l->groups;
    int packed = -1;
    for (int64_t u = units * t / threads; u < units * (t + 1) / threads; u++) {
        const int panel = (int)(u / l->groups), g = (int)(u % l->groups);
        for (int i = 0; panel != packed && i < l->q.kh * l->q.kw; i++)
            pack_tap(j, panel, i, weights);
        packed = panel;
        do_group(j, panel, weights, g, j->copy + (int64_t)g * l->group * l->row);
    }
}

static void own_panels(const struct job *j, int threads)
{
#pragma omp for schedule(static)
    for (int i = 0; i < j->l.q.mb; i++) copy_image(j, i, j->copy + i * j->l.row);
#pragma omp for schedule(static)
    for (int t = 0; t < threads; t++) own_panel(j, t, threads, j->weights + t * j->l.panel);
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.g != 1) return "it has groups";
    return v.kh * v.kw > MAX_TAPS ? "the kernel has more than 64 taps" : NULL;
}

/* Where nearly half of the taps are on padding. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    return v.mb >= 8 && v.ic >= VL && v.oc >= VL && gather_inside(p) < 0.6;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    if (c->v[NV] > 1 && (c->v[NV] - 1) * VL >= l.q.outc) return 0;
    if (c->v[GROUP] > 28 && c->v[GROUP] >= 2 * l.q.mb) return 0;
    return c->v[THREADS] <= l.panels * l.groups;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    const double image = (double)q.in_h * q.in_w * q.inc * sizeof(real);
    const int vectors = up(q.outc, VL);
    c->v[NV] = vectors <= 4 ? vectors : up(vectors, 4) * 4 - vectors < 2 ? 4 : 3;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    for (c->v[GROUP] = 224; c->v[GROUP] > 28; c->v[GROUP] /= 2)
        if (valid(p, c, d) && c->v[GROUP] * image <= 0.3 * (double)d->l2_bytes) break;
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)l.floats * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    struct job j = { .l = layout_of(p, c), .in = mem[1], .w = mem[2], .out = mem[0] };
    const int threads = c->v[THREADS];
    j.act = j.l.q.dgrad ? HONE_ACT_none : hone_act_of(p);
    j.bias = !j.l.q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
    j.weights = workspace;
    j.copy = j.weights + j.l.panel * (j.l.own_group ? j.l.panels : threads);

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (j.l.own_group) own_groups(&j);
        else own_panels(&j, threads);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_images) = {
    .name = HONE_NAME("cpu_images"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("nv", 1, 2, 3, 4), HONE_PARAM("group", 28, 56, 112, 224),
               CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
