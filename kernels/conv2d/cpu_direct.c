/* Direct convolution, forward and data gradient (gather.h), with output channels in the lanes.
 *
 * A tile of rp pixels x nv vectors of channels stays in registers while all taps pass: a vector of
 * weights is loaded once per rp pixels, a number of the input is broadcast to nv vectors.  Weights
 * are repacked so that they are read in order.  Where taps lie side by side the run over (kw, ic)
 * is one long loop.  Best with as many output channels as fill vectors; see cpu_pixels.c for fewer.
 *
 * Taps on padding are left out: above and below they are those of a whole row, at the sides those
 * of a tile's first and last pixel.  Where more pixels have such, the input is copied with its
 * padding around it.  Of halves there is always a copy, in floats as the weights are, and a sum is
 * rounded where it is written. */
#include "kernels/backend/cpu.h"
#include "kernels/backend/up_to.h"
#include "kernels/conv2d/gather.h"
#include "kernels/gemm/micro.h"

#include <math.h>

enum { RP, NV, ROWS, STREAM, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_RP = 16, MAX_NV = 4,
       HALF = sizeof(stored) < sizeof(real), LINE = HONE_ALIGN / sizeof(real) };

/* What all tiles of one block of channels and one phase share. */
struct block {
    const real *w;             /* (nh, nw, run, vectors * VL) */
    const real *bias;          /* (vectors * VL) */
    int nh, nw, run;            /* taps down, taps across, numbers side by side under each */
    int64_t tap_h, tap_w;       /* floats from tap to tap in the input */
    int64_t pixel, out_pixel;   /* floats from pixel to pixel of the tile, in and out */
    int lanes;                  /* channels in the last vector */
    int left, right;            /* numbers of a run that first and last pixel do not see */
    int stream;                 /* 1: whole lines, past the caches */
    int clamp;                  /* 1: to [lo, hi]: relu and relu6 are done here */
    real lo, hi;
};

/* Adds n numbers of a run to the sums of pixels [from, to); returns the next weights.  odd: of the
 * distance between two pixels, as hone_tile_at() wants it. */
HONE_INLINE const real *steps(int from, int to, int nv, int n, const real *x, int64_t pixel,
                              const int64_t *odd, const real *w, vf acc[MAX_RP][MAX_NV])
{
    for (int c = 0; c < n; c++, w += nv * VL) {
        vf wv[MAX_NV];
        /* What the compiler thought to keep from one step to the next would cost registers. */
        __asm__("" : "+r"(x));
        HONE_UNROLLED for (int v = 0; v < nv; v++) wv[v] = vf_load(w + v * VL);
        HONE_UNROLLED for (int p = from; p < to; p++) {
            vf xv = vf_set(__builtin_constant_p(pixel)
                               ? x[p * pixel]
                               : *(const real *)hone_tile_at((const char *)x, odd, p));
            HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] += xv * wv[v];
        }
        x++;
    }
    return w;
}

#ifdef HONE_JIT_BUILD
/* A tile wants to know this before the compiler has found out what is in b: a pixel's distance is
 * then a part of the instruction. */
HONE_INLINE int64_t pixel_of(void)
{
    const int32_t *d = hone_jit_problem.dim;
    return hone_problem_is(&hone_jit_problem, conv2d_dgrad) ? d[CONV_OC] : d[CONV_SW] * d[CONV_IC];
}
#endif

/* Accumulators to where they belong. */
HONE_INLINE void put_tile(int rp, int nv, const struct block *b, vf acc[MAX_RP][MAX_NV], stored *y)
{
    if (b->clamp) {
        const vf lo = vf_set(b->lo), hi = vf_set(b->hi);
        HONE_UNROLLED for (int q = 0; q < rp * nv; q++) {
            vf *s = &acc[q / nv][q % nv];
            *s = vf_min(hi, vf_max(lo, *s));   /* in this order NaN stays NaN */
        }
    }
    if (b->stream)
        HONE_UNROLLED for (int q = 0; q < rp * nv; q++)
            vs_stream(y + q / nv * b->out_pixel + q % nv * VL, acc[q / nv][q % nv]);
    else
        HONE_UNROLLED for (int p = 0; p < rp; p++, y += b->out_pixel) {
            HONE_UNROLLED for (int v = 0; v < nv - 1; v++) vs_store(y + v * VL, acc[p][v]);
            if (b->lanes == VL) vs_store(y + (nv - 1) * VL, acc[p][nv - 1]);
            else vs_store_n(y + (nv - 1) * VL, acc[p][nv - 1], b->lanes);
        }
}

/* edges: 1: b's left and right are looked at.  pixel: b's. */
HONE_INLINE void tile(int rp, int nv, int edges, int64_t pixel, const struct block *b, const real *x,
                      stored *y)
{
    vf acc[MAX_RP][MAX_NV];
    const real *w = b->w;
    int64_t odd[8];
    hone_tile_odds(rp, pixel, odd);
    HONE_UNROLLED for (int p = 0; p < rp; p++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] = vf_load(b->bias + v * VL);
    /* What the next tile will write: of few input channels a tile is done before it has arrived. */
    if (!b->stream)
        HONE_UNROLLED for (int p = 0; p < rp; p++)
            HONE_UNROLLED for (int v = 0; v < nv; v++)
                __builtin_prefetch(y + (rp + p) * b->out_pixel + v * VL, 1);
    for (int i = 0; i < b->nh; i++)
        for (int j = 0; j < b->nw; j++) {
            const real *at = x + i * b->tap_h + j * b->tap_w;
            const int left = edges ? b->left : 0, end = b->run - (edges ? b->right : 0);
            if (edges) w = steps(1, rp, nv, left, at, pixel, odd, w, acc);
            w = steps(0, rp, nv, end - left, at + left, pixel, odd, w, acc);
            if (edges) w = steps(0, rp - 1, nv, b->right, at + end, pixel, odd, w, acc);
        }
    put_tile(rp, nv, b, acc, y);
}

/* As many as the registers hold: rp * nv sums, nv weights and one broadcast. */
#if HONE_VB == 64
#define TILES_1(X) HONE_UP_TO_16(X, 1)
#define TILES(X) TILES_1(X) HONE_UP_TO_14(X, 2) HONE_UP_TO_8(X, 3) HONE_UP_TO_6(X, 4)
#else
#define TILES_1(X) HONE_UP_TO_14(X, 1)
#define TILES(X) TILES_1(X) HONE_UP_TO_6(X, 2) HONE_UP_TO_4(X, 3)
#endif

#ifdef HONE_JIT_BUILD
/* Sizes are constants, and only the tiles that occur are compiled as such. */
HONE_INLINE int occurs(int rp, int nv)
{
    const struct hone_problem *p = &hone_jit_problem;
    const int dgrad = hone_problem_is(p, conv2d_dgrad), most = hone_jit_config.v[NV],
              count = p->dim[dgrad ? CONV_IW : CONV_OW], phases = dgrad ? p->dim[CONV_SW] : 1,
              vectors = (p->dim[dgrad ? CONV_IC : CONV_OC] / p->dim[CONV_G] + VL - 1) / VL;
    const int few = count / phases, more = (count + phases - 1) / phases;
    return (hone_in_split(few, hone_jit_config.v[RP], rp) ||
            hone_in_split(more, hone_jit_config.v[RP], rp)) &&
           (nv == (vectors - 1) % most + 1 || (nv == most && vectors > most));
}

HONE_INLINE void any_tile(int edges, int nv, int rp, const struct block *b, const real *x,
                          stored *y)
{
#define X(r, v)                                                                                    \
    if (occurs(r, v) && rp == r && nv == v) {                                                      \
        tile(r, v, edges, pixel_of(), b, x, y);                                                    \
        return;                                                                                    \
    }
    TILES(X)
#undef X
}

#else
#define X(rp, nv)                                                                                  \
    static void tile_##rp##x##nv(const struct block *b, const real *x, stored *y)                  \
    {                                                                                              \
        tile(rp, nv, 0, b->pixel, b, x, y);                                                        \
    }                                                                                              \
    static void edge_##rp##x##nv(const struct block *b, const real *x, stored *y)                  \
    {                                                                                              \
        tile(rp, nv, 1, b->pixel, b, x, y);                                                        \
    }
TILES(X)
#undef X

/* First layers with one vector of channels: many pixels, whose distance is a part of the
 * instruction, for each has one product a step. */
#define X(rp, nv)                                                                                  \
    static void grey_##rp##x##nv(const struct block *b, const real *x, stored *y)                  \
    {                                                                                              \
        tile(rp, nv, 0, 1, b, x, y);                                                               \
    }                                                                                              \
    static void colour_##rp##x##nv(const struct block *b, const real *x, stored *y)                \
    {                                                                                              \
        tile(rp, nv, 0, 3, b, x, y);                                                               \
    }
TILES_1(X)
#undef X

typedef void tile_fn(const struct block *b, const real *x, stored *y);

/* By edges, vectors and pixels. */
static tile_fn *const tiles[2][MAX_NV][MAX_RP] = {
#define X(rp, nv) [0][nv - 1][rp - 1] = tile_##rp##x##nv, [1][nv - 1][rp - 1] = edge_##rp##x##nv,
    TILES(X)
#undef X
};

/* By colour and pixels. */
static tile_fn *const first[2][MAX_RP] = {
#define X(rp, nv) [0][rp - 1] = grey_##rp##x##nv, [1][rp - 1] = colour_##rp##x##nv,
    TILES_1(X)
#undef X
};

static void any_tile(int edges, int nv, int rp, const struct block *b, const real *x, stored *y)
{
    const int colour = b->pixel == 3;
    if (!edges && nv == 1 && (b->pixel == 1 || colour)) first[colour][rp - 1](b, x, y);
    else tiles[edges][nv - 1][rp - 1](b, x, y);
}
#endif

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    int rp, nv, stream;
    int rows, bands;                /* of output per phase; a band of an image is a unit of work */
    int blocks;                     /* of nv vectors of channels, per group */
    int framed;                     /* 1: the input is copied with its padding around it */
    int64_t pitch;                  /* floats from row to row of what tiles read */
    int64_t block_floats, weight_floats, bias_floats, frame_floats;
};

/* Of a phase across: the taps that its first output does not see on the left, its last on the
 * right. */
HONE_JIT_INLINE int missing_left(const struct conv_axis *w) { return w->at < 0 ? -w->at : 0; }

HONE_JIT_INLINE int missing_right(const struct conv_axis *w, int size)
{
    const int n = (w->count - 1) * w->step + w->at + w->n - size;
    return n > 0 ? n : 0;
}

/* Do all other outputs see all taps across, side by side, and at least one of the two each tap? */
HONE_JIT_INLINE int edges_are_single(const struct gather *q)
{
    for (int i = 0; i < q->phases_w; i++) {
        const struct conv_axis w = gather_w(q, i);
        if (q->g != 1 || w.dist != 1) return 0;
        if (missing_left(&w) + missing_right(&w, q->in_w) > w.n) return 0;
        if (w.count > 1 &&
            (w.step + w.at < 0 || (w.count - 2) * w.step + w.at + w.n > q->in_w)) return 0;
    }
    return 1;
}

HONE_JIT_INLINE struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .rp = c->v[RP], .nv = c->v[NV],
                        .stream = c->v[STREAM], .rows = c->v[ROWS] };
    const struct gather *q = &l.q;
    if (!l.rows || l.rows > q->count_h) l.rows = q->count_h;
    l.bands = (q->count_h + l.rows - 1) / l.rows;
    l.blocks = (q->outc + l.nv * VL - 1) / (l.nv * VL);
    /* Of few channels the copy costs less than runs that are shorter at the sides. */
    l.framed = gather_framed(q) && (HALF || q->in_c < 8 || !edges_are_single(q));
    l.pitch = l.framed ? gather_pitch(q) : (int64_t)q->in_w * q->in_c;
    l.block_floats = (int64_t)q->kh * q->kw * q->inc * l.nv * VL;
    l.weight_floats = l.block_floats * l.blocks * q->g;
    l.bias_floats = (int64_t)q->g * l.blocks * l.nv * VL;
    l.frame_floats = l.framed ? whole_lines(gather_rows(q, l.rows) * l.pitch) : 0;
    return l;
}

/* Vectors of channels in block i: the last may have fewer. */
HONE_JIT_INLINE int vectors_of(const struct layout *l, int i)
{
    int left = (l->q.outc - i * l->nv * VL + VL - 1) / VL;
    return left < l->nv ? left : l->nv;
}

/* Weights of one block for all phases, and its bias, in the order in which tiles read them. */
static void pack(const struct layout *l, int group, int index, const stored *w, const real *bias,
                 real *to, real *to_bias)
{
    const struct gather *q = &l->q;
    const int width = vectors_of(l, index) * VL, first = index * l->nv * VL;
    const int n = q->outc - first < width ? q->outc - first : width;
    const int64_t in_stride = q->dgrad ? (int64_t)q->kh * q->kw * q->v.icg : 1;
    const int64_t out_stride = q->dgrad ? 1 : (int64_t)q->kh * q->kw * q->v.icg;
    w += (int64_t)group * q->v.ocg * q->kh * q->kw * q->v.icg + first * out_stride;
    for (int o = 0; o < width; o++)
        to_bias[o] = bias && o < n ? bias[group * q->outc + first + o] : 0;
    for (int ph = 0; ph < q->phases_h; ph++)
        for (int pw = 0; pw < q->phases_w; pw++) {
            struct conv_axis h = gather_h(q, ph), x = gather_w(q, pw);
            for (int i = 0; i < h.n; i++)
                for (int j = 0; j < x.n; j++) {
                    const stored *from =
                        w + ((int64_t)(h.tap + i * h.tap_step) * q->kw + x.tap + j * x.tap_step) *
                                q->v.icg;
                    for (int c = 0; c < q->inc; c++, to += width) {
                        for (int o = 0; o < n; o++)
                            to[o] = vs_real(from[c * in_stride + o * out_stride]);
                        for (int o = n; o < width; o++) to[o] = 0;
                    }
                }
        }
}

/* One block of channels, all phases, output rows [a0, a1) of each.  x: the group's first channel of
 * the frame, or of the image; y: the image's first output of the block. */
HONE_JIT_INLINE void sweep(const struct layout *l, struct block b, int vectors, const real *x,
                           stored *y, int a0, int a1)
{
    const struct gather *q = &l->q;
    const real *weights = b.w;
    if (l->framed) x -= (a0 * q->step_h + q->from_h) * l->pitch + (int64_t)q->from_w * q->in_c;
    for (int ph = 0; ph < q->phases_h; ph++)
        for (int pw = 0; pw < q->phases_w; pw++) {
            struct conv_axis h = gather_h(q, ph), w = gather_w(q, pw);
            int joined = q->g == 1 && w.dist == 1;
            b.nw = joined ? 1 : w.n;
            b.run = joined ? w.n * q->in_c : q->inc;
            b.tap_h = h.dist * l->pitch;
            b.tap_w = (int64_t)w.dist * q->in_c;
            b.pixel = (int64_t)w.step * q->in_c;
            b.out_pixel = (int64_t)w.stride * q->out_c;
            const int ntiles = (w.count + l->rp - 1) / l->rp,
                      left = l->framed ? 0 : missing_left(&w) * q->in_c,
                      right = l->framed ? 0 : missing_right(&w, q->in_w) * q->in_c;
            const int64_t tap_weights = (int64_t)w.n * q->inc * vectors * VL;
            for (int a = a0; a < a1 && a < h.count; a++) {
                const int first = a * h.step + h.at;
                int from = 0, to = w.n ? h.n : 0;   /* taps down */
                while (from < to && first + from * h.dist < 0) from++;
                while (from < to && first + (to - 1) * h.dist >= q->in_h) to--;
                const real *row = x + (first + from * h.dist) * l->pitch + (int64_t)w.at * q->in_c;
                stored *out =
                    y + ((int64_t)(h.start + a * h.stride) * q->out_w + w.start) * q->out_c;
                b.w = weights + from * tap_weights;
                b.nh = to - from;
                /* Tiles of nearly equal size: 26 pixels are 13 + 13 rather than 14 + 12. */
                for (int t = 0, at = 0; t < ntiles; t++) {
                    int n = w.count / ntiles + (t < w.count % ntiles);
                    b.left = t ? 0 : left, b.right = t < ntiles - 1 ? 0 : right;
                    const real *from_x = row + at * b.pixel;
                    stored *to_y = out + at * b.out_pixel;
                    if (!HALF && (b.left || b.right)) any_tile(1, vectors, n, &b, from_x, to_y);
                    else any_tile(0, vectors, n, &b, from_x, to_y);
                    at += n;
                }
            }
            weights += h.n * tap_weights;
        }
}

/* ---- the kernel ---- */

/* Does a tile write what is final, without an activation or with one that is a cut? */
HONE_JIT_INLINE int can_finish(const struct hone_problem *p)
{
    const enum hone_act act = hone_problem_is(p, conv2d_dgrad) ? HONE_ACT_none : hone_act_of(p);
    return act == HONE_ACT_none || act == HONE_ACT_relu || act == HONE_ACT_relu6;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (HALF && !can_finish(p)) return "the activation would read what is rounded already";
    return hone_conv2d_not_nhwc(p);
}

/* Are all that a tile writes whole lines? */
static int can_stream(const struct hone_problem *p, const struct hone_config *c)
{
    return !HALF && c->v[NV] * VL % LINE == 0 && gather_of(p).outc % LINE == 0 &&
           hone_conv2d_can_stream(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    static const int rps[] = { 4, 6, 8, 10, 12, 13, 14, 16 };
    struct gather q = gather_of(p);
    int rp = c->v[RP], nv = c->v[NV], rows = c->v[ROWS];
    (void)d;
    if (rp * nv + nv + 1 > REGISTERS) return 0;
    if (nv > 1 && (nv - 1) * VL >= q.outc) return 0;
    if (rows >= q.count_h) return 0;
    if (c->v[STREAM] && !can_stream(p, c)) return 0;
    /* Of sizes that cut a row into equally many tiles, the smallest stands for all. */
    for (size_t i = 0; i < sizeof rps / sizeof *rps && rps[i] < rp; i++)
        if ((q.count_w + rps[i] - 1) / rps[i] == (q.count_w + rp - 1) / rp) return 0;
    return 1;
}

static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    struct gather q = gather_of(p);
    return gather_weights_pay(&q, d);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    static const int rps[] = { 16, 14, 13, 12, 10, 8, 6, 4 };
    struct gather q = gather_of(p);
    double frame = 4.0 * (q.count_h * (double)q.step_h + q.to_h) * (q.to_w + 1) * q.in_c;
    c->v[NV] = q.outc > VL ? 2 : 1;
    int most = c->v[NV] == 2 ? (REGISTERS - 3) / 2 : MAX_RP;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    c->v[ROWS] = 0;
    c->v[STREAM] = can_stream(p, c) && hone_conv2d_stream(p, d);
    /* Enough units for the threads, and frames that stay in L2. */
    if (q.mb < 4 * c->v[THREADS] || frame > 0.5 * (double)d->l2_bytes)
        c->v[ROWS] = q.count_h > 32 ? 8 : q.count_h > 4 ? 4 : 0;
    for (size_t i = 0; i < sizeof rps / sizeof *rps; i++) {
        c->v[RP] = rps[i];
        if (rps[i] <= most && valid(p, c, d)) return;
    }
    c->v[RP] = 4;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(whole_lines(l.weight_floats + l.bias_floats) + c->v[THREADS] * l.frame_floats) *
           sizeof(real);
}

/* One thread's share: units [from, to) of bands of images. */
HONE_JIT_INLINE void sweep_units(const struct hone_problem *p, const struct layout *l,
                                 int64_t from, int64_t to, void *const mem[], const real *weights,
                                 const real *biases, real *frame)
{
    const struct gather *q = &l->q;
    const enum hone_act act = q->dgrad ? HONE_ACT_none : hone_act_of(p);
    const int clamp = act == HONE_ACT_relu || act == HONE_ACT_relu6;
    for (int64_t u = from; u < to; u++) {
        const int64_t n = u / l->bands;
        const int a0 = (int)(u % l->bands) * l->rows,
                  a1 = a0 + l->rows < q->count_h ? a0 + l->rows : q->count_h;
        stored *y = (stored *)mem[0] + n * q->out_h * q->out_w * q->out_c;
        const stored *image = (const stored *)mem[1] + n * q->in_h * q->in_w * q->in_c;
        const real *x = l->framed
                            ? gather_frame(q, image, a0, a1, l->bands == 1 && u > from, frame)
                            : (const real *)(const void *)image;
        for (int i = 0; i < q->g * l->blocks; i++) {
            const int group = i / l->blocks, index = i % l->blocks,
                      vectors = vectors_of(l, index), left = q->outc - index * l->nv * VL;
            struct block b = { .w = weights + i * l->block_floats,
                               .bias = biases + i * l->nv * VL,
                               .lanes = left >= vectors * VL ? VL : left % VL,
                               .stream = l->stream,
                               .clamp = clamp,
                               .lo = clamp ? 0 : -INFINITY,
                               .hi = act == HONE_ACT_relu6 ? 6 : INFINITY };
            sweep(l, b, vectors, x + group * q->inc, y + group * q->outc + index * l->nv * VL,
                  a0, a1);
        }
        if (!can_finish(p))   /* not of halves */
            gather_activate(act, (real *)(void *)y + (int64_t)a0 * q->out_w * q->out_c,
                            (int64_t)(a1 - a0) * q->out_w * q->out_c);
    }
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int threads = hone_plan_config(plan)->v[THREADS];
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        /* Of each thread's own: where sizes are constants, the compiler then knows them here. */
        const struct hone_problem *p = hone_plan_problem(plan);
        const struct layout l = layout_of(p, hone_plan_config(plan));
        const int nblocks = l.q.g * l.blocks;
        const int64_t units = (int64_t)l.q.mb * l.bands;
        const real *bias = !l.q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
        real *weights = workspace, *biases = weights + l.weight_floats;
        real *frames = weights + whole_lines(l.weight_floats + l.bias_floats);
#pragma omp for schedule(static)
        for (int i = 0; i < nblocks; i++)
            pack(&l, i / l.blocks, i % l.blocks, mem[2], bias, weights + i * l.block_floats,
                 biases + i * l.nv * VL);
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            sweep_units(p, &l, units * t / threads, units * (t + 1) / threads, mem, weights, biases,
                        frames + t * l.frame_floats);
        if (l.stream) vf_stream_end();
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_direct) = {
    .name = HONE_NAME("cpu_direct"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("rp", 4, 6, 8, 10, 12, 13, 14, 16), HONE_PARAM("nv", 1, 2, 3, 4),
               HONE_PARAM("rows", 0, 4, 8, 16),
               HONE_PARAM("stream", 0, 1), CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
