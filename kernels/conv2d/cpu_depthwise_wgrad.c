/* Weight gradient of a depthwise convolution with channels in the lanes: dw of a tap is the sum
 * over pixels of x under the tap times dy.
 *
 * Output rows of all images are one list, cut into blocks that stay in a cache; while the pixels of
 * a block pass, nt neighbouring taps of one kernel row for nv vectors of channels stay in
 * registers, so that dy is loaded once for all of them.  Halves become floats where they are loaded
 * (pairs.h), which costs more than the load: where pixels and taps are neighbours alike, each
 * vector of x is loaded once for all taps of the row.  Pixels near an edge ask of each tap whether
 * it lies inside.  Every thread sums its blocks into a dw of its own; these are added in fixed
 * order. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/pairs.h"

enum { NV, ROWS, THREADS };
enum { MAX_NT = 5, MAX_NV = 4, HALF = sizeof(stored) < sizeof(real),
       MOST = VB == 64 ? 12 : 6 };   /* sums in registers beside as many vectors of x */

struct layout {
    struct conv v;
    int64_t rows, block, blocks;   /* output rows of all images; of a block; blocks */
    int64_t lines;                 /* channels in whole vectors */
    int first, end;                /* outputs of a row whose taps across all lie inside */
    const stored *x, *dy;
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .v = conv_of(p), .block = c->v[ROWS] };
    const struct conv *v = &l.v;
    const int reach = (v->kw - 1) * v->dw;
    l.rows = (int64_t)v->mb * v->oh;
    if (l.block > l.rows) l.block = l.rows;
    l.blocks = (l.rows + l.block - 1) / l.block;
    l.lines = (v->ic + VL - 1) / VL * VL;
    l.end = v->ow;
    while (l.first < l.end && (int64_t)l.first * v->sw < v->pw) l.first++;
    while (l.end > l.first && (int64_t)(l.end - 1) * v->sw - v->pw + reach >= v->iw) l.end--;
    return l;
}

/* acc (nt, nv) += x * dy for one pixel, whose tap 0 lies in column `at`; x points to that tap. */
HONE_INLINE void pixel(int nt, int nv, int lanes, int edge, const struct conv *v, int at,
                       const stored *x, const stored *dy, vf acc[MAX_NT][MAX_NV])
{
    const int64_t tap = (int64_t)v->dw * v->ic;
    vf g[MAX_NV];
    pairs_get(nv, lanes, dy, g);
    HONE_UNROLLED for (int j = 0; j < nt; j++) {
        if (edge && (at + j * v->dw < 0 || at + j * v->dw >= v->iw)) continue;
        vf under[MAX_NV];
        pairs_get(nv, lanes, x + j * tap, under);
        HONE_UNROLLED for (int u = 0; u < nv; u++) acc[j][u] += under[u] * g[u];
    }
}

/* The same for n pixels, whole runs of nt, whose taps all lie inside and whose neighbours are as
 * far apart as taps: of the vectors of x under a pixel's taps all but the last are its
 * predecessor's. */
HONE_INLINE void run_of_pixels(int nt, int nv, int lanes, const struct conv *v, int n,
                               const stored *x, const stored *dy, vf acc[MAX_NT][MAX_NV])
{
    const int64_t c = v->ic;
    vf under[MAX_NT][MAX_NV];
    HONE_UNROLLED for (int j = 0; j < nt - 1; j++) pairs_get(nv, lanes, x + j * c, under[j]);
    for (x += (nt - 1) * c; n; n -= nt, x += nt * c, dy += nt * c)
        HONE_UNROLLED for (int k = 0; k < nt; k++) {
            vf g[MAX_NV];
            pairs_get(nv, lanes, dy + k * c, g);
            pairs_get(nv, lanes, x + k * c, under[(k + nt - 1) % nt]);
            HONE_UNROLLED for (int j = 0; j < nt; j++)
                HONE_UNROLLED for (int u = 0; u < nv; u++)
                    acc[j][u] += under[(k + j) % nt][u] * g[u];
        }
}

/* Adds to sum (nt, lines) what rows [from, to) give taps (i, j) to (i, j + nt - 1), channels from c
 * on. */
HONE_INLINE void tile(int nt, int nv, int lanes, const struct layout *l, int i, int j, int c,
                      int64_t from, int64_t to, real *sum)
{
    const struct conv v = l->v;
    const int64_t step = (int64_t)v.sw * v.ic;
    const int slides = HALF && nt > 1 && nt * nv <= MOST && v.sw == 1 && v.dw == 1;
    vf acc[MAX_NT][MAX_NV];
    HONE_UNROLLED for (int t = 0; t < nt; t++)
        HONE_UNROLLED for (int u = 0; u < nv; u++) acc[t][u] = (vf){ 0 };
    for (int64_t r = from; r < to; r++) {
        const int64_t ih = r % v.oh * v.sh - v.ph + (int64_t)i * v.dh;
        if (ih < 0 || ih >= v.ih) continue;
        int at = j * v.dw - v.pw, o = 0;
        const stored *dy = l->dy + r * v.ow * v.oc + c;
        const stored *x = l->x + ((r / v.oh * v.ih + ih) * v.iw + at) * v.ic + c;
        for (; o < l->first; o++, at += v.sw, x += step, dy += v.oc)
            pixel(nt, nv, lanes, 1, &v, at, x, dy, acc);
        if (slides && o < l->end) {
            const int n = (l->end - o) / nt * nt;
            run_of_pixels(nt, nv, lanes, &v, n, x, dy, acc);
            o += n, at += n, x += n * step, dy += n * (int64_t)v.oc;
        }
        for (; o < l->end; o++, at += v.sw, x += step, dy += v.oc)
            pixel(nt, nv, lanes, 0, &v, at, x, dy, acc);
        for (; o < v.ow; o++, at += v.sw, x += step, dy += v.oc)
            pixel(nt, nv, lanes, 1, &v, at, x, dy, acc);
    }
    HONE_UNROLLED for (int t = 0; t < nt; t++)
        HONE_UNROLLED for (int u = 0; u < nv; u++) {
            real *s = sum + t * l->lines + u * VL;   /* whole vectors: lines are */
            vf_store(s, vf_load(s) + acc[t][u]);
        }
}

typedef void tile_fn(const struct layout *l, int i, int j, int c, int64_t from, int64_t to,
                     real *sum);

#define TILE(nt, nv)                                                                               \
    static void tile_##nt##x##nv(const struct layout *l, int i, int j, int c, int64_t from,        \
                                 int64_t to, real *sum)                                           \
    {                                                                                              \
        if (nv > 1 || l->v.ic - c >= VL) tile(nt, nv, VL, l, i, j, c, from, to, sum);              \
        else tile(nt, nv, l->v.ic - c, l, i, j, c, from, to, sum);                                 \
    }
TILE(1, 1)
TILE(3, 1) TILE(5, 1) TILE(1, 2) TILE(3, 2) TILE(5, 2) TILE(1, 4) TILE(3, 4) TILE(5, 4)

    /* By half of nt, and by half of nv. */
    static tile_fn *const tiles[3][3] = {
        { tile_1x1, tile_1x2, tile_1x4 },
        { tile_3x1, tile_3x2, tile_3x4 },
        { tile_5x1, tile_5x2, tile_5x4 },
    };

/* All taps of `nv` vectors of channels from c on: sums (kh, kw, lines). */
static void channels(const struct layout *l, int nv, int c, int64_t from, int64_t to, real *sums)
{
    for (int i = 0; i < l->v.kh; i++)
        for (int j = 0, nt; j < l->v.kw; j += nt) {
            const int left = l->v.kw - j;
            nt = left >= 5 ? 5 : left >= 3 ? 3 : 1;
            tiles[nt / 2][nv / 2](l, i, j, c, from, to,
                                  sums + ((int64_t)i * l->v.kw + j) * l->lines + c);
        }
}

static void sum_blocks(const struct layout *l, int nv, int64_t first, int64_t last, real *sums)
{
    memset(sums, 0, (size_t)((int64_t)l->v.kh * l->v.kw * l->lines) * sizeof *sums);
    for (int64_t b = first; b < last; b++) {
        const int64_t from = b * l->block,
                      to = from + l->block < l->rows ? from + l->block : l->rows;
        int c = 0;
        for (int n = nv; n; n /= 2)
            for (; c + n * VL <= l->v.ic; c += n * VL) channels(l, n, c, from, to, sums);
        if (c < l->v.ic) channels(l, 1, c, from, to, sums);
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
    if (c->v[NV] > 1 && l.v.ic < c->v[NV] * VL) return 0;
    if (c->v[ROWS] > 4 && l.rows <= c->v[ROWS] / 4) return 0;
    return l.blocks >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct conv v = conv_of(p);
    /* Bytes of x and dy. */
    const double row = 2.0 * sizeof(stored) * v.ow * (v.ic < 4 * VL ? v.ic : 4 * VL);
    c->v[NV] = v.ic >= 4 * VL && VB == 64 ? 4 : v.ic >= 2 * VL ? 2 : 1;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    c->v[ROWS] = 64;
    while (c->v[ROWS] > 4 && (c->v[ROWS] * row > 32768 || !valid(p, c, d))) c->v[ROWS] /= 4;
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int64_t sum_floats(const struct layout *l) { return (int64_t)l->v.kh * l->v.kw * l->lines; }

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(c->v[THREADS] * sum_floats(&l)) * sizeof(real);
}

/* The channel of dw (ic, kh, kw) that lies at c of the threads' sums, which are added in order. */
static void add_up(const struct layout *l, int threads, int nv, int c, const real *sums, real *dw)
{
    const int taps = l->v.kh * l->v.kw;
    const int64_t channel = pairs_channel(nv > 1, l->v.ic, c / VL * VL, c % VL);
    for (int i = 0; i < taps; i++) {
        real s = 0;
        for (int t = 0; t < threads; t++) s += sums[t * sum_floats(l) + i * l->lines + c];
        dw[channel * taps + i] = s;
    }
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    const int threads = hone_plan_config(plan)->v[THREADS], nv = hone_plan_config(plan)->v[NV];
    real *sums = workspace, *dw = mem[CONV_DWT];
    l.x = mem[CONV_DWT_X], l.dy = mem[CONV_DWT_DY];
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            sum_blocks(&l, nv, hone_part(l.blocks, 1, threads, t),
                       hone_part(l.blocks, 1, threads, t + 1), sums + t * sum_floats(&l));
#pragma omp for schedule(static)
        for (int c = 0; c < l.v.ic; c++) add_up(&l, threads, nv, c, sums, dw);
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
    .param = { HONE_PARAM("nv", 1, 2, 4), HONE_PARAM("rows", 4, 16, 64, 256), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
