/* Weight gradient of a convolution of small images with padding: dw of a tap is a sum over pixels
 * that the tap reaches, and over all images, of dy times x: what lies on padding is left out, as in
 * cpu_images.c.
 *
 * dy and x are packed pixel by pixel into panels of channels, image after image: all of the smaller
 * one, and of the other a panel for each thread, which the former's pass.  A tile of mr output
 * channels x nv vectors of input channels stays in registers while all these pass, and is stored
 * where it belongs: a sum has one order, however many threads there are. */
#include "kernels/conv2d/gather.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/tiles.h"

enum { NV, THREADS };
enum { MAX_PIXELS = 64 };

/* The pixels that a tap reaches: where their panels of dy and x begin. */
struct pixels {
    int n;
    struct { int64_t dy, x; } pixel[MAX_PIXELS];
};

HONE_INLINE void tile(int mr, int nv, const struct hone_tile *t, const struct pixels *p)
{
    vf s[HONE_TILE_MAX];
    hone_tile_zero(mr, nv, s);
    for (int i = 0; i < p->n; i++)
        hone_tile_columns(mr, nv, s, t->k, t->a + p->pixel[i].dy, t->a_stride,
                          t->b + p->pixel[i].x, nv * VL, nv * VL);
    hone_tile_store(mr, nv, s, t->c, t->c_row, t->cols);
}

#define X(mr, nv)                                                                                 \
    static void pixels_##mr##x##nv(const struct hone_tile *t, const struct pixels *p)             \
    {                                                                                             \
        tile(mr, nv, t, p);                                                                       \
    }
TILES(X)
#undef X

#define X(mr, nv) [nv - 1][mr - 1] = pixels_##mr##x##nv,
static void (*const tiles[4][16])(const struct hone_tile *t, const struct pixels *p) = { TILES(X) };
#undef X

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;             /* as forward sees it: in is x, out is y */
    struct conv_axis h, w;
    int mr, width;               /* channels of a panel of dy, of x */
    int down, across;            /* panels of dy, of x */
    int64_t dy_panel, x_panel;   /* floats of a panel with all pixels */
    int dy_whole;                /* dy has all of its panels at once; else x */
    int64_t whole, panel;        /* floats of these, of a panel of the other */
    int nother, own;             /* panels of the other, and of them at once: all, or a thread's */
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .width = c->v[NV] * VL };
    const struct gather *q = &l.q;
    l.h = gather_h(q, 0), l.w = gather_w(q, 0);
    l.down = up(q->outc, HONE_TILE_ROWS(c->v[NV]));
    l.mr = up(q->outc, l.down);      /* panels of nearly equal size */
    l.across = up(q->inc, l.width);
    l.dy_panel = whole_lines((int64_t)q->out_h * q->out_w * q->mb * l.mr);
    l.x_panel = whole_lines((int64_t)q->in_h * q->in_w * q->mb * l.width);
    l.dy_whole = l.down * l.dy_panel <= l.across * l.x_panel;
    l.whole = l.dy_whole ? l.down * l.dy_panel : l.across * l.x_panel;
    l.panel = l.dy_whole ? l.x_panel : l.dy_panel;
    l.nother = l.dy_whole ? l.across : l.down;
    l.own = least(c->v[THREADS], l.nother);
    return l;
}

/* Vectors of channels in panel i of x: the last may have fewer. */
static int vectors_of(const struct layout *l, int i)
{
    return up(least(l->width, l->q.inc - i * l->width), VL);
}

/* ---- one run, as every thread sees it ---- */

struct job {
    struct layout l;
    const real *x, *dy;
    real *dw, *whole, *own;
};

static void pack(const real *from, int pixels, int channels, int first, int width, int images,
                 real *to)
{
    for (int i = 0; i < pixels; i++, to += (int64_t)images * width)
        hone_pack_columns(to, width, from + (int64_t)i * channels + first,
                          (int64_t)pixels * channels, images, least(width, channels - first));
}

static void pack_dy(const struct job *j, int panel, real *to)
{
    const struct gather *q = &j->l.q;
    pack(j->dy, q->out_h * q->out_w, q->outc, panel * j->l.mr, j->l.mr, q->mb, to);
}

static void pack_x(const struct job *j, int panel, real *to)
{
    const struct gather *q = &j->l.q;
    pack(j->x, q->in_h * q->in_w, q->inc, panel * j->l.width, vectors_of(&j->l, panel) * VL, q->mb,
         to);
}

/* Outputs whose input under tap (i, k) is inside. */
static void find_pixels(const struct job *j, int i, int k, int width, struct pixels *p)
{
    const struct gather *q = &j->l.q;
    p->n = 0;
    for (int row = 0; row < q->out_h; row++) {
        const int y = row * j->l.h.step + j->l.h.at + i * j->l.h.dist;
        if (y < 0 || y >= q->in_h) continue;
        for (int col = 0; col < q->out_w; col++) {
            const int x = col * j->l.w.step + j->l.w.at + k * j->l.w.dist;
            if (x < 0 || x >= q->in_w) continue;
            p->pixel[p->n].dy = ((int64_t)row * q->out_w + col) * q->mb * j->l.mr;
            p->pixel[p->n++].x = ((int64_t)y * q->in_w + x) * q->mb * width;
        }
    }
}

/* A panel of dy with a panel of x: all taps. */
static void do_panels(const struct job *j, int down, int across, const real *dy, const real *x)
{
    const struct gather *q = &j->l.q;
    const int nv = vectors_of(&j->l, across), oc = down * j->l.mr, ic = across * j->l.width,
              count = least(j->l.mr, q->outc - oc);
    const int64_t filter = (int64_t)q->kh * q->kw * q->inc;
    struct hone_tile t = {
        .k = q->mb,
        .a = dy,
        .a_stride = j->l.mr,
        .b = x,
        .c = j->dw + oc * filter + ic,
        .c_row = filter,
        .cols = least(nv * VL, q->inc - ic),
    };
    for (int i = 0; i < q->kh; i++)
        for (int k = 0; k < q->kw; k++, t.c += q->inc) {
            struct pixels p;
            find_pixels(j, i, k, nv * VL, &p);
            tiles[nv - 1][count - 1](&t, &p);
        }
}

/* Panel i of what is whole, of the other. */
static void pack_whole(const struct job *j, int i)
{
    if (j->l.dy_whole) pack_dy(j, i, j->whole + i * j->l.dy_panel);
    else pack_x(j, i, j->whole + i * j->l.x_panel);
}

static void pack_own(const struct job *j, int i, real *to)
{
    if (j->l.dy_whole) pack_x(j, i, to);
    else pack_dy(j, i, to);
}

/* This thread's share of all pairs of panels; one of the other's stays in L2 while those that are
 * whole pass it. */
static void work(const struct job *j, int thread, int threads)
{
    const struct layout *l = &j->l;
    const int passing = l->dy_whole ? l->down : l->across, all = l->own == l->nother;
    const int64_t pairs = (int64_t)l->down * l->across;
    int packed = -1;
    for (int64_t i = pairs * thread / threads; i < pairs * (thread + 1) / threads; i++) {
        const int panel = (int)(i / passing), pass = (int)(i % passing);
        real *own = j->own + (all ? panel : thread) * l->panel;
        if (!all && panel != packed) pack_own(j, panel, own);
        packed = panel;
        if (l->dy_whole) do_panels(j, pass, panel, j->whole + pass * l->dy_panel, own);
        else do_panels(j, panel, pass, own, j->whole + pass * l->x_panel);
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.g != 1) return "it has groups";
    return v.oh * v.ow > MAX_PIXELS ? "the output has more than 64 pixels" : NULL;
}

/* Where nearly half of the taps are on padding, or so few pixels have to share a product's cost. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    return v.mb >= 8 && v.ic >= VL && v.oc >= VL && (v.oh * v.ow <= 4 || gather_inside(p) < 0.6);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    if (c->v[NV] > 1 && (c->v[NV] - 1) * VL >= l.q.inc) return 0;
    return c->v[THREADS] <= l.down * l.across;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int vectors = up(conv_of(p).ic, VL);
    c->v[NV] = vectors < 2 ? 1 : vectors == 3 ? 3 : 2;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.whole + l.own * l.panel) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_config *c = hone_plan_config(plan);
    struct job j = { .l = layout_of(hone_plan_problem(plan), c),
                     .x = mem[CONV_DWT_X], .dy = mem[CONV_DWT_DY], .dw = mem[CONV_DWT] };
    const struct layout *l = &j.l;
    const int threads = c->v[THREADS];
    j.whole = workspace;
    j.own = j.whole + l->whole;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int i = 0; i < (l->own == l->nother ? l->own : 0); i++)
            pack_own(&j, i, j.own + i * l->panel);
#pragma omp for schedule(static)
        for (int i = 0; i < (l->dy_whole ? l->down : l->across); i++) pack_whole(&j, i);
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++) work(&j, t, threads);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_images_wgrad) = {
    .name = HONE_NAME("cpu_images_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("nv", 1, 2, 3, 4), CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
