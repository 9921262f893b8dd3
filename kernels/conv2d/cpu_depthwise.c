/* Depthwise convolution, forward and data gradient (gather.h): each channel has a filter of its
 * own, so channels lie in the lanes, and an output is a sum over taps of a vector of the input
 * times a vector of weights.
 *
 * A tile of rp pixels x nv vectors of channels stays in registers while the taps pass; weights are
 * repacked as (kh, kw, channels) to be read as vectors.  Nothing is padded: only the taps inside of
 * the image are visited, which on images of 2x2 are 4 of 9.  The pixels of a tile are neighbours in
 * a row, near an edge one alone, or, for small images, the same one of rp images, whose taps lie
 * alike.
 *
 * Halves become floats where they are loaded (pairs.h), and the sum is rounded once.  That costs
 * more than the load, so where taps and pixels are neighbours alike each vector of the input is
 * loaded once for all taps of a row.
 *
 * All channels of a row of outputs are done before the next row: memory is read from end to end. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/gather.h"
#include "kernels/conv2d/pairs.h"

#include <math.h>
#include <stdlib.h>

enum { RP, NV, IMAGES, ROWS, STREAM, THREADS };
enum { MOST = VB == 64 ? 16 : 8, MAX_RP = 8, MAX_NV = 4,    /* sums in registers */
       MAX_SLIDE = 3, HALF = sizeof(stored) < sizeof(real),
       LINE = HONE_ALIGN / sizeof(stored), PER_LINE = LINE > VL ? LINE / VL : 1 };   /* vectors */

/* The taps of a tile's first pixel that lie inside the image, and how the others' lie. */
struct taps {
    const stored *x;
    const real *w, *bias;
    int nh, nw;
    int64_t x_row, x_tap, w_row, w_tap;   /* numbers from tap to tap, down and across */
    int64_t pixel, out_pixel;             /* numbers from pixel to pixel, in and out */
    int64_t ahead;                        /* numbers to what a later row will read; 0: none */
    int clamp, stream;                    /* to [0, hi]: relu, relu6; write past the caches */
    real hi;
    enum hone_act act;                    /* the others */
};

/* A row of `nw` taps, a constant, for rp pixels that are as far apart as they: a vector of x serves
 * all sums it belongs to. */
HONE_INLINE void slide(int rp, int nv, int nw, const struct taps *t, const stored *x,
                       const real *w, vf acc[MAX_RP][MAX_NV])
{
    vf wv[MAX_SLIDE][MAX_NV];
    HONE_UNROLLED for (int j = 0; j < nw; j++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) wv[j][v] = vf_load(w + j * t->w_tap + v * VL);
    HONE_UNROLLED for (int k = 0; k < rp + nw - 1; k++) {
        vf xv[MAX_NV];
        pairs_get(nv, VL, x + k * t->pixel, xv);
        HONE_UNROLLED for (int v = 0; v < nv; v++)
            HONE_UNROLLED for (int j = 0; j < nw; j++)
                if (k >= j && k - j < rp) acc[k - j][v] += xv[v] * wv[j][v];
    }
}

/* n sums, whole vectors; once, not in every tile. */
static __attribute__((noinline)) void activate(enum hone_act act, real *y, int n)
{
    gather_activate(act, y, n);
    for (int i = 0; PAIRS && i < n; i++) y[i] = pairs_bias(y[i]);
}

/* The last vector has `lanes` lanes.  nw: taps across that slide() does; 0: any. */
HONE_INLINE void tile(int rp, int nv, int lanes, int nw, const struct taps *job, stored *y)
{
    const struct taps t = *job;
    vf acc[MAX_RP][MAX_NV];
    HONE_UNROLLED for (int p = 0; p < rp; p++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] = vf_load(t.bias + v * VL);
    if (t.ahead)
        HONE_UNROLLED for (int p = 0; p < rp; p++)
            HONE_UNROLLED for (int v = 0; v < nv; v += PER_LINE)
                __builtin_prefetch(t.x + t.ahead + p * t.pixel + v * VL);
    for (int i = 0; nw && i < t.nh; i++)
        slide(rp, nv, nw, &t, t.x + i * t.x_row, t.w + i * t.w_row, acc);
    for (int i = 0; !nw && i < t.nh; i++)
        for (int j = 0; j < t.nw; j++) {
            const stored *x = t.x + i * t.x_row + j * t.x_tap;
            const real *w = t.w + i * t.w_row + j * t.w_tap;
            vf wv[MAX_NV];
            HONE_UNROLLED for (int v = 0; v < nv; v++) wv[v] = vf_load(w + v * VL);
            HONE_UNROLLED for (int p = 0; p < rp; p++) {
                vf xv[MAX_NV];
                pairs_get(nv, lanes, x + p * t.pixel, xv);
                HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] += xv[v] * wv[v];
            }
        }
    if (t.act != HONE_ACT_none) {
        real sum[MOST][VL];
        HONE_UNROLLED for (int i = 0; i < rp * nv; i++) vf_store(sum[i], acc[i / nv][i % nv]);
        activate(t.act, sum[0], rp * nv * VL);
        HONE_UNROLLED for (int i = 0; i < rp * nv; i++) acc[i / nv][i % nv] = vf_load(sum[i]);
    } else if (t.clamp) {
        const vf lo = vf_set(0), hi = vf_set(t.hi);
        /* In this order NaN stays NaN. */
        HONE_UNROLLED for (int i = 0; i < rp * nv; i++)
            acc[i / nv][i % nv] = vf_min(hi, vf_max(lo, acc[i / nv][i % nv]));
    }
    if (t.stream)
        HONE_UNROLLED for (int p = 0; p < rp; p++)
            pairs_put(nv, lanes, 1, y + p * t.out_pixel, acc[p]);
    else
        HONE_UNROLLED for (int p = 0; p < rp; p++)
            pairs_put(nv, lanes, 0, y + p * t.out_pixel, acc[p]);
}

typedef void tile_fn(const struct taps *t, int lanes, stored *y);

#define TILE(rp, nv)                                                                               \
    static void tile_##rp##x##nv(const struct taps *t, int lanes, stored *y)                      \
    {                                                                                              \
        const int slides = HALF && rp > 1 && t->x_tap == t->pixel ? t->nw : 0;                     \
        if (nv == 1 && lanes < VL) tile(rp, nv, lanes, 0, t, y);                                   \
        else if (slides == 3) tile(rp, nv, VL, 3, t, y);                                           \
        else if (slides == 2) tile(rp, nv, VL, 2, t, y);                                           \
        else tile(rp, nv, VL, 0, t, y);                                                            \
    }
TILE(1, 1) TILE(2, 1) TILE(4, 1) TILE(8, 1)
TILE(1, 2) TILE(2, 2) TILE(4, 2)
TILE(1, 4) TILE(2, 4)
#if HONE_VB == 64
TILE(8, 2) TILE(4, 4)
#endif

/* By the logarithms of nv and rp. */
static tile_fn *const tiles[3][4] = {
    { tile_1x1, tile_2x1, tile_4x1, tile_8x1 },
#if HONE_VB == 64
    { tile_1x2, tile_2x2, tile_4x2, tile_8x2 },
    { tile_1x4, tile_2x4, tile_4x4, NULL },
#else
    { tile_1x2, tile_2x2, tile_4x2, NULL },
    { tile_1x4, tile_2x4, NULL, NULL },
#endif
};

/* ---- how the work is cut ---- */

/* The taps [from, to) that lie inside the input for one output. */
struct inside { int from, to; };

/* A phase in one direction: for each of its outputs, which taps are inside; for outputs [first,
 * end) all are. */
struct phase {
    struct conv_axis a;
    const struct inside *in;
    int first, end;
};

struct layout {
    struct gather q;
    const struct phase *h, *w;
    int rp, nv;             /* logarithms */
    int images;             /* whose same band is a unit of work, and, unless 1, same pixel a tile */
    int rows, bands;        /* of output per phase; bands of an image */
    int64_t in_image, out_image;   /* numbers from image to image */
    int64_t lines;          /* channels in whole vectors */
    const real *w_packed, *bias;   /* (kh, kw, lines), (lines) */
    int clamp, stream;
    real hi;
    enum hone_act act;
};

static int log_of(int n) { return n == 1 ? 0 : n == 2 ? 1 : n == 4 ? 2 : 3; }

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = {
        .q = gather_of(p), .rp = log_of(c->v[RP]), .nv = log_of(c->v[NV]), .rows = c->v[ROWS],
        .stream = c->v[STREAM], .images = c->v[IMAGES] ? c->v[RP] : 1
    };
    l.in_image = (int64_t)l.q.in_h * l.q.in_w * l.q.in_c;
    l.out_image = (int64_t)l.q.out_h * l.q.out_w * l.q.out_c;
    if (!l.rows || l.rows > l.q.count_h) l.rows = l.q.count_h;
    l.bands = (l.q.count_h + l.rows - 1) / l.rows;
    l.lines = (l.q.out_c + VL - 1) / VL * VL;
    return l;
}

/* What one row of outputs of one phase needs for all its pixels. */
struct row {
    const struct phase *w;
    struct inside h;
    const stored *x;       /* input row of the first tap down */
    const real *taps;      /* its weights */
    stored *y;
    int64_t x_row, w_row;
    int images;            /* the row is done for so many */
};

/* `n` pixels from output o on, or this one of n images, whose taps across are s, and `1 << nv`
 * vectors of channels from c on. */
static void pixels(const struct layout *l, const struct row *r, int o, int n, struct inside s,
                   int nv, int c)
{
    const struct gather *q = &l->q;
    const struct conv_axis *a = &r->w->a;
    const int64_t column = (int64_t)o * a->step + a->at + (int64_t)s.from * a->dist,
                  out_step = (int64_t)a->stride * q->out_c;
    const int alike = l->images > 1;
    struct taps t = { .bias = l->bias + c,
                      .nh = r->h.to - r->h.from,
                      .nw = s.to - s.from,
                      .x_row = r->x_row,
                      .x_tap = (int64_t)a->dist * q->in_c,
                      .w_row = r->w_row,
                      .w_tap = a->tap_step * l->lines,
                      .pixel = alike ? l->in_image : (int64_t)a->step * q->in_c,
                      .out_pixel = alike ? l->out_image : out_step,
                      .clamp = l->clamp,
                      .stream = l->stream,
                      .hi = l->hi,
                      .act = l->act };
    /* Without a tap, x and w point to no number, and none is read. */
    if (t.nh <= 0 || t.nw <= 0) t.nh = 0, t.x = r->x, t.w = l->w_packed;
    else
        t.x = r->x + column * q->in_c + c,
        t.w = r->taps + (a->tap + s.from * a->tap_step) * l->lines + c;
    /* Two rows before it is needed, in the first row that nobody has read yet. */
    if (!alike && n > 1) t.ahead = (t.nh + 1) * t.x_row + t.x_tap;
    stored *y = r->y + o * out_step + c;
    const int lanes = q->out_c - c < VL ? q->out_c - c : VL;
    for (int rp = l->rp; n; rp--)
        for (; n >= 1 << rp && tiles[nv][rp];
             n -= 1 << rp, t.x += t.pixel << rp, y += t.out_pixel << rp)
            tiles[nv][rp](&t, lanes, y);
}

/* A row for `1 << nv` vectors of channels from c on. */
static void all_pixels(const struct layout *l, const struct row *r, int nv, int c)
{
    const struct phase *w = r->w;
    if (l->images > 1) {
        for (int o = 0; o < w->a.count; o++) pixels(l, r, o, r->images, w->in[o], nv, c);
        return;
    }
    for (int o = 0; o < w->a.count; o++) {
        int n = o == w->first && w->end > o ? w->end - o : 1;
        pixels(l, r, o, n, w->in[o], nv, c);
        o += n - 1;
    }
}

static void all_channels(const struct layout *l, const struct row *r)
{
    int c = 0;
    for (int nv = l->nv; nv >= 0; nv--)
        for (; c + (VL << nv) <= l->q.out_c; c += VL << nv) all_pixels(l, r, nv, c);
    if (c < l->q.out_c) all_pixels(l, r, 0, c);
}

/* Output row a of each phase across, phase i down. */
static void row(const struct layout *l, int i, int a, int images, const stored *x, stored *y)
{
    const struct gather *q = &l->q;
    const struct conv_axis *h = &l->h[i].a;
    const int64_t pitch = (int64_t)q->in_w * q->in_c;
    struct row r = { .h = l->h[i].in[a],
                     .x = x,
                     .x_row = h->dist * pitch,
                     .w_row = (int64_t)h->tap_step * q->kw * l->lines,
                     .images = images };
    if (r.h.from < r.h.to)
        r.x += ((int64_t)a * h->step + h->at + (int64_t)r.h.from * h->dist) * pitch;
    r.taps = l->w_packed + (int64_t)(h->tap + r.h.from * h->tap_step) * q->kw * l->lines;
    for (r.w = l->w; r.w < l->w + q->phases_w; r.w++) {
        r.y = y + ((int64_t)(h->start + a * h->stride) * q->out_w + r.w->a.start) * q->out_c;
        all_channels(l, &r);
    }
}

static void unit(const struct layout *l, const stored *in, stored *out, int64_t u)
{
    const struct gather *q = &l->q;
    const int n = (int)(u / l->bands) * l->images, left = q->mb - n,
              images = left < l->images ? left : l->images,
              a0 = (int)(u % l->bands) * l->rows,
              a1 = a0 + l->rows < q->count_h ? a0 + l->rows : q->count_h;
    const stored *x = in + n * l->in_image;
    stored *y = out + n * l->out_image;
    for (int a = a0; a < a1; a++)
        for (int i = 0; i < q->phases_h; i++)
            if (a < l->h[i].a.count) row(l, i, a, images, x, y);
}

/* Weights and bias of a vector of channels from c on into place. */
static void pack(const struct layout *l, int c, const real *w, const real *bias, real *to,
                 real *to_bias)
{
    const int64_t taps = (int64_t)l->q.kh * l->q.kw;
    int at[VL];
    vf v;
    for (int k = 0; k < VL; k++) at[k] = pairs_channel(l->nv > 0, l->q.out_c, c, k);
    for (int k = 0; k < VL; k++) v[k] = bias && at[k] < l->q.out_c ? pairs_bias(bias[at[k]]) : 0;
    vf_store(to_bias + c, v);
    for (int i = 0; i < taps; i++) {
        for (int k = 0; k < VL; k++) v[k] = at[k] < l->q.out_c ? w[at[k] * taps + i] : 0;
        vf_store(to + i * l->lines + c, v);
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    return v.g != v.ic || v.g != v.oc
               ? "not depthwise: groups, input and output channels differ in number"
               : NULL;
}

static int64_t units_of(const struct hone_problem *p, const struct hone_config *c)
{
    const struct layout l = layout_of(p, c);
    return (int64_t)((l.q.mb + l.images - 1) / l.images) * l.bands;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct gather q = gather_of(p);
    (void)d;
    if (c->v[RP] * c->v[NV] > MOST) return 0;
    /* Whole lines: what is not one waits for the rest, or makes memory read it first. */
    if (c->v[STREAM] && (c->v[NV] * VL % LINE || !hone_conv2d_can_stream(p))) return 0;
    if (c->v[NV] > 1 && q.out_c < c->v[NV] * VL) return 0;
    if (c->v[IMAGES] ? c->v[RP] == 1 || q.mb < c->v[RP] : c->v[RP] > 1 && q.count_w < c->v[RP])
        return 0;
    if (c->v[ROWS] >= q.count_h) return 0;
    return c->v[THREADS] == 1 || units_of(p, c) >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    c->v[NV] = q.out_c >= 4 * VL ? 4 : q.out_c >= 2 * VL ? 2 : 1;
    c->v[IMAGES] = q.mb >= 4 && q.count_w <= 4;
    c->v[RP] = c->v[IMAGES] || q.count_w >= 4 ? MOST / 4 : q.count_w >= 2 ? 2 : 1;
    if (HALF && !c->v[IMAGES] && q.count_w >= MOST / 2) c->v[RP] = MOST / 2;   /* more is shared */
    while (c->v[RP] * c->v[NV] > MOST) c->v[NV] /= 2;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    c->v[STREAM] = c->v[NV] * VL % LINE == 0 && hone_conv2d_stream(p, d);
    c->v[ROWS] = q.mb < 4 * c->v[THREADS] && q.count_h > 4 ? 4 : 0;
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static void release(struct hone_plan *plan)
{
    free(plan->priv);
    plan->priv = NULL;
}

/* Fills a phase whose input has n numbers in its direction; `in` has one entry per output. */
static void set_phase(struct phase *f, struct conv_axis a, int n, struct inside *in)
{
    *f = (struct phase){ .a = a, .in = in, .end = a.count };
    for (int o = 0; o < a.count; o++) {
        const int64_t at = (int64_t)o * a.step + a.at;
        in[o] = (struct inside){ 0, a.n };
        while (in[o].from < a.n && at + (int64_t)in[o].from * a.dist < 0) in[o].from++;
        while (in[o].to > in[o].from && at + (int64_t)(in[o].to - 1) * a.dist >= n) in[o].to--;
    }
    while (f->first < f->end && in[f->first].from > 0) f->first++;
    while (f->end > f->first && in[f->end - 1].to < a.n) f->end--;
}

/* One allocation: the phases down, across, and their outputs' taps. */
static int prepare(struct hone_plan *plan)
{
    const struct gather q = gather_of(hone_plan_problem(plan));
    const size_t nphases = (size_t)q.phases_h + (size_t)q.phases_w,
                 outputs = (size_t)q.out_h + (size_t)q.out_w;
    struct phase *phase = plan->priv =
        malloc(nphases * sizeof *phase + outputs * sizeof(struct inside));
    if (!phase) return hone_fail(HONE_ENOMEM, "phases of a depthwise convolution");
    struct inside *in = (struct inside *)(phase + nphases);
    for (int i = 0; i < q.phases_h; i++, phase++, in += phase[-1].a.count)
        set_phase(phase, gather_h(&q, i), q.in_h, in);
    for (int i = 0; i < q.phases_w; i++, phase++, in += phase[-1].a.count)
        set_phase(phase, gather_w(&q, i), q.in_w, in);
    return HONE_OK;
}

static int64_t weight_floats(const struct layout *l)
{
    return (int64_t)l->q.kh * l->q.kw * l->lines;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(weight_floats(&l) * (1 + HALF) + l.lines) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    struct layout l = layout_of(p, hone_plan_config(plan));
    const int threads = hone_plan_config(plan)->v[THREADS], dgrad = l.q.dgrad;
    const enum hone_act act = dgrad ? HONE_ACT_none : hone_act_of(p);
    const real *bias = !dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
    real *weights = workspace, *biases = weights + weight_floats(&l), *wide = biases + l.lines;
    const int64_t units = units_of(p, hone_plan_config(plan)),
                  nw = (int64_t)l.q.kh * l.q.kw * l.q.out_c;
    l.h = plan->priv, l.w = l.h + l.q.phases_h;
    l.w_packed = weights, l.bias = biases;
    l.clamp = act == HONE_ACT_relu || act == HONE_ACT_relu6;
    l.hi = act == HONE_ACT_relu6 ? 6 : INFINITY;
    l.act = l.clamp ? HONE_ACT_none : act;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (HALF) {
#pragma omp for schedule(static)
            for (int t = 0; t < threads; t++) {
                const int64_t from = hone_part(nw, VL, threads, t),
                              to = hone_part(nw, VL, threads, t + 1);
                vs_widen(wide + from, (const stored *)mem[2] + from, to - from);
            }
        }
#pragma omp for schedule(static)
        for (int c = 0; c < (int)l.lines; c += VL)
            pack(&l, c, HALF ? wide : mem[2], bias, weights, biases);
#pragma omp for schedule(static)
        for (int64_t u = 0; u < units; u++) unit(&l, mem[1], mem[0], u);
        if (l.stream) vf_stream_end();
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_depthwise) = {
    .name = HONE_NAME("cpu_depthwise"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("rp", 1, 2, 4, 8), HONE_PARAM("nv", 1, 2, 4),
               HONE_PARAM("images", 0, 1), HONE_PARAM("rows", 0, 1, 4, 8), CONV_STREAM,
               CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
};
