/* Depthwise convolution, forward and data gradient (gather.h): each channel has a filter of its
 * own, so channels lie in the lanes, and an output is a sum over taps of a vector of the input
 * times a vector of weights.
 *
 * A tile of rp pixels of a row x nv vectors of channels stays in registers while the taps pass;
 * weights are repacked as (kh, kw, channels) to be read as vectors.  Nothing is padded: only the
 * taps inside of the image are visited, which on images of 2x2 are 4 of 9, and others are not
 * packed.  Where taps are two or three across, each vector of the input is loaded once for all
 * pixels and taps of a row that it belongs to.
 *
 * Most images are larger than L2, and then bytes from the last cache are what takes time.  So all
 * channels of some pixels are done before the next pixels of the row: input and output pass in the
 * order of memory, which is what the processor's prefetchers see through.
 *
 * Halves become floats where they are loaded (pairs.h), and the sum is rounded once. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/gather.h"
#include "kernels/conv2d/pairs.h"
#include "kernels/conv2d/pieces.h"

#include <math.h>

enum { RP, NV, ROWS, STREAM, THREADS };
enum { MOST = VB == 64 ? 16 : 8, MAX_RP = 8, MAX_NV = 4,    /* sums in registers */
       MAX_SLIDE = 3, HALF = sizeof(stored) < sizeof(real),
       LINE = HONE_ALIGN / sizeof(stored) };   /* numbers */

/* What a piece (pieces.h) of rp outputs needs, and the taps down that are inside. */
struct taps {
    const stored *x;
    stored *y;
    const real *w, *bias;
    int channels, nh, nw, from, to, step;
    int64_t x_row, x_tap, w_row, w_tap;   /* numbers from tap to tap, down and across */
    int64_t pixel, out_pixel;             /* numbers from pixel to pixel, in and out */
    int stream;                           /* write past the caches */
    int activates;                        /* to [0, hi]: relu, relu6; unless `act` says another */
    real hi;
    enum hone_act act;
};

/* A row of `nw` taps for rp pixels `step` taps apart, constants: a vector of x serves all sums it
 * belongs to. */
HONE_INLINE void slide(int rp, int nv, int lanes, int nw, int step, const struct taps *t,
                       const stored *x, const real *w, vf acc[MAX_RP][MAX_NV])
{
    const int columns = (rp - 1) * step + nw;
    vf wv[MAX_SLIDE][MAX_NV];
    HONE_UNROLLED for (int j = 0; j < nw; j++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) wv[j][v] = vf_load(w + j * t->w_tap + v * VL);
    HONE_UNROLLED for (int k = 0; k < columns; k++) {
        vf xv[MAX_NV];
        if (k < nw - 1 && k < t->from) continue;
        if (k > columns - nw && k >= t->to) continue;
        pairs_get(nv, lanes, x + k * t->x_tap, xv);
        HONE_UNROLLED for (int v = 0; v < nv; v++)
            HONE_UNROLLED for (int j = 0; j < nw; j++)
                if (k >= j && (k - j) % step == 0 && (k - j) / step < rp)
                    acc[(k - j) / step][v] += xv[v] * wv[j][v];
    }
}

/* n sums, whole vectors; once, not in every tile. */
static __attribute__((noinline)) void activate(enum hone_act act, real *y, int n)
{
    gather_activate(act, y, n);
    for (int i = 0; PAIRS && i < n; i++) y[i] = pairs_bias(y[i]);
}

/* nv vectors of channels from c on, of which the last has `lanes` lanes.  nw, step: what slide()
 * does; nw 0: any. */
HONE_INLINE void tile(int rp, int nv, int lanes, int nw, int step, const struct taps *t, int c)
{
    const stored *x0 = t->x + c;
    const real *w0 = t->w + c;
    stored *y = t->y + c;
    vf acc[MAX_RP][MAX_NV];
    HONE_UNROLLED for (int p = 0; p < rp; p++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] = vf_load(t->bias + c + v * VL);
    for (int i = 0; nw && i < t->nh; i++)
        slide(rp, nv, lanes, nw, step, t, x0 + i * t->x_row, w0 + i * t->w_row, acc);
    for (int i = 0; !nw && i < t->nh; i++)
        for (int j = t->from; j < t->to; j++) {
            const stored *x = x0 + i * t->x_row + j * t->x_tap;
            const real *w = w0 + i * t->w_row + j * t->w_tap;
            vf wv[MAX_NV];
            HONE_UNROLLED for (int v = 0; v < nv; v++) wv[v] = vf_load(w + v * VL);
            HONE_UNROLLED for (int p = 0; p < rp; p++) {
                vf xv[MAX_NV];
                pairs_get(nv, lanes, x + p * t->pixel, xv);
                HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] += xv[v] * wv[v];
            }
        }
    if (t->activates && t->act != HONE_ACT_none) {
        real sum[MOST][VL];
        HONE_UNROLLED for (int i = 0; i < rp * nv; i++) vf_store(sum[i], acc[i / nv][i % nv]);
        activate(t->act, sum[0], rp * nv * VL);
        HONE_UNROLLED for (int i = 0; i < rp * nv; i++) acc[i / nv][i % nv] = vf_load(sum[i]);
    } else if (t->activates) {
        const vf lo = vf_set(0), hi = vf_set(t->hi);
        /* In this order NaN stays NaN. */
        HONE_UNROLLED for (int i = 0; i < rp * nv; i++)
            acc[i / nv][i % nv] = vf_min(hi, vf_max(lo, acc[i / nv][i % nv]));
    }
    if (t->stream)
        HONE_UNROLLED for (int p = 0; p < rp; p++)
            pairs_put(nv, lanes, 1, y + p * t->out_pixel, acc[p]);
    else
        HONE_UNROLLED for (int p = 0; p < rp; p++)
            pairs_put(nv, lanes, 0, y + p * t->out_pixel, acc[p]);
}

/* All channels from c on that are whole runs of nv vectors; which is the next. */
HONE_INLINE int channels(int rp, int nv, int nw, int step, const struct taps *t, int c)
{
    const struct taps local = *t;
    for (; c + nv * VL <= local.channels; c += nv * VL) tile(rp, nv, VL, nw, step, &local, c);
    if (nv == 1 && c < local.channels) tile(rp, nv, local.channels - c, nw, step, &local, c);
    return c;
}

typedef int tile_fn(const struct taps *t, int c);

#define TILE(rp, nv)                                                                               \
    static int tile_##rp##x##nv(const struct taps *t, int c)                                       \
    {                                                                                              \
        if (t->step == 1 && t->nw == 1) return channels(rp, nv, 1, 1, t, c);                       \
        if (rp > 1 && t->step == 1 && t->nw == 3) return channels(rp, nv, 3, 1, t, c);             \
        if (rp > 1 && t->step == 1 && t->nw == 2) return channels(rp, nv, 2, 1, t, c);             \
        if (rp > 1 && t->step == 2 && t->nw == 3) return channels(rp, nv, 3, 2, t, c);             \
        return channels(rp, nv, 0, 1, t, c);                                                       \
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

/* Images of one pixel see one tap, and lie side by side as pixels of a row do: up to MAX_RP of them
 * are taken for a row, so that weights in registers serve several, with a kernel of 1x1.  *tap: its
 * place among those of the kernel. */
static struct gather seen_of(const struct hone_problem *p, int *tap)
{
    const struct conv v = conv_of(p);
    const int h = v.ph / v.dh, w = v.pw / v.dw;   /* of the tap */
    struct hone_problem row = *p;
    int pixels = MAX_RP;
    *tap = 0;
    if (v.ih != 1 || v.iw != 1 || v.oh != 1 || v.ow != 1 || v.ph % v.dh || v.pw % v.dw ||
        h >= v.kh || w >= v.kw)
        return gather_of(p);
    *tap = h * v.kw + w;
    while (v.mb % pixels) pixels /= 2;
    row.dim[CONV_MB] /= pixels;
    row.dim[CONV_IW] = row.dim[CONV_OW] = pixels;
    row.dim[CONV_KH] = row.dim[CONV_KW] = row.dim[CONV_SH] = row.dim[CONV_SW] = 1;
    row.dim[CONV_PH] = row.dim[CONV_PW] = row.dim[CONV_DH] = row.dim[CONV_DW] = 0;
    return gather_of(&row);
}

struct layout {
    struct gather q;
    int taps, tap;          /* of the kernel, and which of them is q's first */
    const struct cut *cut;
    int rp, nv;             /* logarithms */
    int rows, bands;        /* of output per phase; bands of an image */
    int64_t in_image, out_image;   /* numbers from image to image */
    int64_t lines;          /* channels in whole vectors */
    const real *w_packed, *bias;   /* (kh, kw, lines), (lines) */
    int activates, stream;
    real hi;
    enum hone_act act;
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = {
        .rp = pieces_log(c->v[RP]), .nv = pieces_log(c->v[NV]), .rows = c->v[ROWS],
        .stream = c->v[STREAM], .taps = p->dim[CONV_KH] * p->dim[CONV_KW]
    };
    l.q = seen_of(p, &l.tap);
    l.in_image = (int64_t)l.q.in_h * l.q.in_w * l.q.in_c;
    l.out_image = (int64_t)l.q.out_h * l.q.out_w * l.q.out_c;
    if (!l.rows || l.rows > l.q.count_h) l.rows = l.q.count_h;
    l.bands = (l.q.count_h + l.rows - 1) / l.rows;
    l.lines = (l.q.out_c + VL - 1) / VL * VL;
    return l;
}

/* Output row a of phase i down of an image. */
static void row(const struct layout *l, int i, int a, const stored *x, stored *y)
{
    const struct gather *q = &l->q;
    const struct conv_axis *h = &l->cut->h[i].a;
    const struct inside in = l->cut->h[i].in[a];
    const int out = h->start + a * h->stride;
    const int64_t pitch = (int64_t)q->in_w * q->in_c, w_pitch = (int64_t)q->kw * l->lines;
    struct taps t = { .bias = l->bias,
                      .channels = q->out_c,
                      .nh = in.to > in.from ? in.to - in.from : 0,
                      .x_row = h->dist * pitch,
                      .w_row = h->tap_step * w_pitch,
                      .activates = l->activates,
                      .stream = l->stream,
                      .hi = l->hi,
                      .act = l->act };
    const real *w = l->w_packed;
    const stored *under = x;
    y += (int64_t)out * q->out_w * q->out_c;
    if (t.nh) {
        under += ((int64_t)a * h->step + h->at + (int64_t)in.from * h->dist) * pitch;
        w += (h->tap + in.from * h->tap_step) * w_pitch;
    }
    for (int k = 0; k < l->cut->npieces; k++) {
        const struct piece *p = l->cut->piece + k;
        const int64_t column = (int64_t)p->o * p->a.step + p->a.at;
        t.nw = p->a.n, t.from = p->from, t.to = p->to, t.step = p->step;
        t.x = under + column * q->in_c, t.x_tap = (int64_t)p->a.dist * q->in_c;
        t.w = w + p->a.tap * l->lines, t.w_tap = p->a.tap_step * l->lines;
        t.y = y + ((int64_t)p->o * p->a.stride + p->a.start) * q->out_c;
        t.pixel = (int64_t)p->a.step * q->in_c, t.out_pixel = (int64_t)p->a.stride * q->out_c;
        for (int c = 0, nv = l->nv; nv >= 0 && c < t.channels; nv--) c = tiles[nv][p->rp](&t, c);
    }
}

static void unit(const struct layout *l, const stored *in, stored *out, int64_t u)
{
    const struct gather *q = &l->q;
    const int64_t n = u / l->bands;
    const int a0 = (int)(u % l->bands) * l->rows,
              a1 = a0 + l->rows < q->count_h ? a0 + l->rows : q->count_h;
    const stored *x = in + n * l->in_image;
    stored *y = out + n * l->out_image;
    for (int a = a0; a < a1; a++)
        for (int i = 0; i < q->phases_h; i++)
            if (a < l->cut->h[i].a.count) row(l, i, a, x, y);
}

/* Weights and bias of a vector of channels from c on into place.  Lanes beyond the last channel
 * repeat it: what comes out of them is stored nowhere. */
static void pack(const struct layout *l, int c, const real *w, const real *bias, real *to,
                 real *to_bias)
{
    const int kw = l->q.kw, taps = l->q.kh * kw, last = l->q.out_c - 1;
    int at[VL];
    vf v;
    for (int k = 0; k < VL; k++) at[k] = pairs_channel(l->nv > 0, l->q.out_c, c, k);
    for (int k = 0; k < VL; k++) at[k] = at[k] < last ? at[k] : last;
    for (int k = 0; k < VL; k++) v[k] = bias ? pairs_bias(bias[at[k]]) : 0;
    vf_store(to_bias + c, v);
    for (int i = 0; i < taps; i++) {
        if (!l->cut->used_h[i / kw] || !l->cut->used_w[i % kw]) continue;
        for (int k = 0; k < VL; k++) v[k] = w[(int64_t)at[k] * l->taps + l->tap + i];
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
    return (int64_t)l.q.mb * l.bands;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    int tap;
    const struct gather q = seen_of(p, &tap);
    (void)d;
    if (c->v[RP] * c->v[NV] > MOST) return 0;
    /* Whole lines: what is not one waits for the rest, or makes memory read it first. */
    if (c->v[STREAM] && (c->v[NV] * VL % LINE || !hone_conv2d_can_stream(p))) return 0;
    if (c->v[NV] > 1 && q.out_c < c->v[NV] * VL) return 0;
    if (c->v[RP] > 1 && q.count_w < c->v[RP]) return 0;
    if (c->v[ROWS] >= q.count_h) return 0;
    return c->v[THREADS] == 1 || units_of(p, c) >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    int tap;
    const struct gather q = seen_of(p, &tap);
    c->v[NV] = q.out_c >= 4 * VL ? 4 : q.out_c >= 2 * VL ? 2 : 1;
    c->v[RP] = q.out_c < 4 * VL && q.count_w >= 4 ? 4 : q.count_w >= 2 ? 2 : 1;
    if (HALF && q.count_w >= 4) c->v[RP] = q.count_w < MOST / 2 ? 4 : MOST / 2;  /* more shared */
    while (c->v[RP] * c->v[NV] > MOST) c->v[NV] /= 2;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    c->v[STREAM] = c->v[NV] * VL % LINE == 0 && hone_conv2d_stream(p, d);
    c->v[ROWS] = q.mb < 4 * c->v[THREADS] && q.count_h > 4 ? 4 : 0;
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int prepare(struct hone_plan *plan)
{
    const struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    return pieces_cut(plan, &l.q, l.rp);
}

static void release(struct hone_plan *plan) { free(plan->priv); }

static int64_t weight_floats(const struct layout *l)
{
    return (int64_t)l->q.kh * l->q.kw * l->lines;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(weight_floats(&l) + (1 + HALF * l.taps) * l.lines) * sizeof(real);
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
                  nw = (int64_t)l.taps * l.q.out_c;
    l.cut = plan->priv;
    l.w_packed = weights, l.bias = biases;
    l.activates = act != HONE_ACT_none;
    l.hi = act == HONE_ACT_relu6 ? 6 : INFINITY;
    l.act = act == HONE_ACT_relu || act == HONE_ACT_relu6 ? HONE_ACT_none : act;
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
               HONE_PARAM("rows", 0, 1, 4, 8), CONV_STREAM, CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
};
