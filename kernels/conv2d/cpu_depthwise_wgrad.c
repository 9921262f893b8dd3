/* Weight gradient of a depthwise convolution with channels in the lanes: dw of a tap is the sum
 * over pixels of x under the tap times dy.
 *
 * What takes time is that x and dy come from the last cache, so both pass once, in the order of
 * memory: all channels of some pixels (pieces.h), then the next pixels of the row.  Sums (kh, kw,
 * channels) stay in L1; a tile loads those of a row of taps, for nv vectors of channels, adds what
 * rp pixels give, whose dy are in registers, and stores them.  Where taps are two or three across,
 * each vector of x is loaded once for all pixels and taps of a row that it belongs to.
 *
 * Every thread sums its rows of outputs into a dw of its own; these are added in fixed order. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/pairs.h"
#include "kernels/conv2d/pieces.h"

enum { RP, NV, THREADS };
enum { MOST = VB == 64 ? 16 : 8, MAX_RP = 8, MAX_NV = 4,   /* vectors of dy in registers */
       MAX_SLIDE = 3, HALF = sizeof(stored) < sizeof(real) };

/* What a piece of rp outputs needs, and the taps down that are inside. */
struct taps {
    const stored *x, *dy;
    real *sum;
    int channels, nh, nw, from, to, step;
    int64_t x_row, x_tap, sum_row, sum_tap;   /* numbers from tap to tap, down and across */
    int64_t pixel;                            /* numbers from pixel to pixel of x */
};

/* Adds x * dy to the sums of a row of `nw` taps; pixels are `step` taps apart.  Both constants. */
HONE_INLINE void slide(int rp, int nv, int lanes, int nw, int step, const struct taps *t,
                       const stored *x, vf g[MAX_RP][MAX_NV], real *sum)
{
    const int columns = (rp - 1) * step + nw;
    vf acc[MAX_SLIDE][MAX_NV];
    HONE_UNROLLED for (int j = 0; j < nw; j++)
        HONE_UNROLLED for (int v = 0; v < nv; v++)
            acc[j][v] = vf_load(sum + j * t->sum_tap + v * VL);
    HONE_UNROLLED for (int k = 0; k < columns; k++) {
        vf xv[MAX_NV];
        if (k < nw - 1 && k < t->from) continue;
        if (k > columns - nw && k >= t->to) continue;
        pairs_get(nv, lanes, x + k * t->x_tap, xv);
        HONE_UNROLLED for (int v = 0; v < nv; v++)
            HONE_UNROLLED for (int j = 0; j < nw; j++)
                if (k >= j && (k - j) % step == 0 && (k - j) / step < rp)
                    acc[j][v] += xv[v] * g[(k - j) / step][v];
    }
    HONE_UNROLLED for (int j = 0; j < nw; j++)
        HONE_UNROLLED for (int v = 0; v < nv; v++)
            vf_store(sum + j * t->sum_tap + v * VL, acc[j][v]);
}

/* nv vectors of channels from c on, of which the last has `lanes` lanes.  nw, step: what slide()
 * does; nw 0: any. */
HONE_INLINE void tile(int rp, int nv, int lanes, int nw, int step, const struct taps *t, int c)
{
    vf g[MAX_RP][MAX_NV];
    HONE_UNROLLED for (int p = 0; p < rp; p++)
        pairs_get(nv, lanes, t->dy + c + (int64_t)p * t->channels, g[p]);
    for (int i = 0; i < t->nh; i++) {
        const stored *x = t->x + c + i * t->x_row;
        real *sum = t->sum + c + i * t->sum_row;
        if (nw) slide(rp, nv, lanes, nw, step, t, x, g, sum);
        for (int j = t->from; !nw && j < t->to; j++) {
            vf acc[MAX_NV];
            real *s = sum + j * t->sum_tap;
            HONE_UNROLLED for (int v = 0; v < nv; v++) acc[v] = vf_load(s + v * VL);
            HONE_UNROLLED for (int p = 0; p < rp; p++) {
                vf xv[MAX_NV];
                pairs_get(nv, lanes, x + j * t->x_tap + p * t->pixel, xv);
                HONE_UNROLLED for (int v = 0; v < nv; v++) acc[v] += xv[v] * g[p][v];
            }
            HONE_UNROLLED for (int v = 0; v < nv; v++) vf_store(s + v * VL, acc[v]);
        }
    }
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

struct layout {
    struct gather q;
    const struct cut *cut;
    int nv;                 /* logarithm */
    int64_t rows, lines;    /* output rows of all images; channels in whole vectors */
    const stored *x, *dy;
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .nv = pieces_log(c->v[NV]) };
    l.rows = (int64_t)l.q.mb * l.q.out_h;
    l.lines = (l.q.out_c + VL - 1) / VL * VL;
    return l;
}

/* Adds what output row r of all images gives to sums (kh, kw, lines). */
static void row(const struct layout *l, int64_t r, real *sums)
{
    const struct gather *q = &l->q;
    const struct conv_axis *h = &l->cut->h[0].a;
    const int a = (int)(r % q->out_h);
    const struct inside in = l->cut->h[0].in[a];
    const int64_t pitch = (int64_t)q->in_w * q->in_c, sum_row = q->kw * l->lines;
    const int64_t at = (int64_t)a * h->step + h->at + (int64_t)in.from * h->dist;
    struct taps t = { .channels = q->out_c,
                      .nh = in.to - in.from,
                      .x_row = h->dist * pitch,
                      .sum_row = sum_row,
                      .sum_tap = l->lines };
    if (t.nh <= 0) return;
    for (int k = 0; k < l->cut->npieces; k++) {
        const struct piece *p = l->cut->piece + k;
        const int64_t column = (int64_t)p->o * p->a.step + p->a.at;
        t.nw = p->a.n, t.from = p->from, t.to = p->to, t.step = p->step;
        t.x = l->x + (r / q->out_h * q->in_h + at) * pitch + column * q->in_c;
        t.x_tap = (int64_t)p->a.dist * q->in_c, t.pixel = (int64_t)p->a.step * q->in_c;
        t.dy = l->dy + (r * q->out_w + p->o) * q->out_c;
        t.sum = sums + in.from * sum_row + p->a.tap * l->lines;
        for (int c = 0, nv = l->nv; nv >= 0 && c < t.channels; nv--) c = tiles[nv][p->rp](&t, c);
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

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    if (c->v[RP] * c->v[NV] > MOST) return 0;
    if (c->v[NV] > 1 && l.q.out_c < c->v[NV] * VL) return 0;
    if (c->v[RP] > 1 && l.q.out_w < c->v[RP]) return 0;
    return l.rows >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    /* Halves that are loaded once for more pixels are converted less often. */
    c->v[RP] = HALF && VB == 64 ? 8 : HALF || q.step_w == 1 ? 4 : 2;
    while (c->v[RP] > q.out_w) c->v[RP] /= 2;
    c->v[NV] = q.out_c >= 4 * VL ? 4 : q.out_c >= 2 * VL ? 2 : 1;
    while (c->v[RP] * c->v[NV] > (HALF ? MOST : 8)) c->v[NV] /= 2;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

/* From one thread's sums to the next one's. */
static int64_t sum_floats(const struct layout *l)
{
    return l->q.kh * l->q.kw * l->lines + HONE_APART;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(c->v[THREADS] * sum_floats(&l)) * sizeof(real);
}

static int prepare(struct hone_plan *plan)
{
    const struct gather q = gather_of(hone_plan_problem(plan));
    return pieces_cut(plan, &q, pieces_log(hone_plan_config(plan)->v[RP]));
}

static void release(struct hone_plan *plan) { free(plan->priv); }

/* dw (ic, kh, kw) of the channels that lie in the vector at c of the threads' sums, which are added
 * in order. */
static void add_up(const struct layout *l, int threads, int c, const real *sums, real *dw)
{
    const int taps = l->q.kh * l->q.kw, ic = l->q.out_c, n = ic - c < VL ? ic - c : VL;
    real *to[VL];
    for (int k = 0; k < n; k++)
        to[k] = dw + (int64_t)pairs_channel(l->nv > 0, ic, c, k) * taps;
    for (int i = 0; i < taps; i++) {
        vf s = vf_set(0);
        for (int t = 0; t < threads; t++) s += vf_load(sums + t * sum_floats(l) + i * l->lines + c);
        for (int k = 0; k < n; k++) to[k][i] = s[k];
    }
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    const int threads = hone_plan_config(plan)->v[THREADS];
    real *sums = workspace, *dw = mem[CONV_DWT];
    l.cut = plan->priv;
    l.x = mem[CONV_DWT_X], l.dy = mem[CONV_DWT_DY];
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++) {
            real *sum = sums + t * sum_floats(&l);
            memset(sum, 0, (size_t)(l.q.kh * l.q.kw * l.lines) * sizeof *sum);
            for (int64_t r = hone_part(l.rows, 1, threads, t);
                 r < hone_part(l.rows, 1, threads, t + 1); r++)
                row(&l, r, sum);
        }
#pragma omp for schedule(static)
        for (int c = 0; c < (int)l.lines; c += VL) add_up(&l, threads, c, sums, dw);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_depthwise_wgrad) = {
    .name = HONE_NAME("cpu_depthwise_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("rp", 1, 2, 4, 8), HONE_PARAM("nv", 1, 2, 4), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
};
