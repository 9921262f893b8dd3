/* Batch normalisation and its gradient: one pass over the rows for the sums of each channel, one
 * that writes.
 *
 * Rows are contiguous, so r rows of n channels are one wide row of r n columns: r is chosen such
 * that it is whole vectors, and no channel count wastes lanes.  A block of wide rows is small
 * enough for L1: forward reads it twice there, for its mean and then for the squares around that
 * mean, which floats hold well however far from 0 the numbers are.  Blocks are added up in doubles
 * (Chan, Golub, LeVeque 1983), as distances from the channel's first number: sums of squared means
 * would cancel.  Threads own runs of blocks and sums of their own, added in fixed order.  The
 * writing pass runs backwards: what was read last is still in the cache. */
#include "kernels/backend/ahead.h"
#include "kernels/norm/norm.h"

#include <math.h>

enum { UNROLL, BLOCK, STREAM, THREADS };
enum { WIDE = 64 * VL };   /* longest wide row made of several rows */

/* Per column of a wide row.  Forward: sums of x, of block sums' squares over their rows, of squares
 * around block means.  Backward: sums of dy and of dy (x - mean). */
enum { SUM, SUM_OF_SQUARES, AROUND, NSUMS };
enum { DY_SUM, DYX_SUM };

/* Per column too: out = (x - mean) * slope + shift + other * factor of the other array: in the
 * gradient dy, forward an addend.  Forward a cut follows; the gradient passes where
 * (x - mean) * gate_slope + gate_shift is within it. */
enum { MEAN, SLOPE, SHIFT, OTHER_SLOPE, GATE_SLOPE, GATE_SHIFT, NFACTORS };

struct job {
    int64_t m;
    int n, r, block, stream;     /* block: wide rows */
    int64_t width, lines;        /* columns of a wide row; and in whole vectors */
    int64_t rows, blocks;        /* wide rows; the rows behind them are one last block */
    real lo, hi;                /* the cut; without one -inf, inf */
    const stored *x, *other;
    stored *out;
    real *factor;               /* (NFACTORS, lines) */
    double *sums;                /* (threads, NSUMS, lines), a thread's own_sums() apart */
};

/* Of a thread. */
static int64_t own_sums(const struct job *s) { return NSUMS * s->lines + HONE_APART; }

static int gcd(int a, int b) { return b ? gcd(b, a % b) : a; }

static struct job job_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct job s = {
        .m = p->dim[NORM_M], .n = p->dim[NORM_N], .block = c->v[BLOCK], .stream = c->v[STREAM]
    };
    int64_t r = VL / gcd(s.n, VL);
    while (r * s.n < 4 * VL) r *= 2;   /* several chains of additions to hide their latency */
    s.r = r * s.n <= WIDE && r <= s.m ? (int)r : 1;
    s.width = (int64_t)s.r * s.n;
    s.lines = (s.width + VL - 1) / VL * VL;
    s.rows = s.m / s.r;
    s.blocks = (s.rows + s.block - 1) / s.block + (s.m % s.r > 0);
    return s;
}

/* ---- u vectors of columns, the last of `lanes` lanes, of the rows of one block ---- */

HONE_INLINE vf get(const stored *p, int lanes)
{
    return lanes == VL ? vs_load(p) : vs_load_n(p, lanes);
}

HONE_INLINE void put(stored *p, vf v, int lanes, int stream)
{
    if (lanes < VL) vs_store_n(p, v, lanes);
    else if (stream) vs_stream(p, v);
    else vs_store(p, v);
}

/* Of vector v of a row, once for each line. */
HONE_INLINE void ahead_of(const stored *p, int v)
{
    if (v % AHEAD_VECTORS == 0) fetch_ahead(p);
}

/* to[0..VL) += v */
HONE_INLINE void add_up(double *to, vf v)
{
    real lane[VL];
    vf_store(lane, v);
    for (int i = 0; i < VL; i++) to[i] += (double)lane[i];
}

HONE_INLINE void moments(int u, int lanes, const struct job *s, const stored *x, const real *pilot,
                         int rows, double *sums)
{
    const int64_t pitch = s->width;
    const real share = 1 / (real)rows;
    vf mean[8], left[8], around[8];
    HONE_UNROLLED for (int v = 0; v < u; v++) mean[v] = left[v] = around[v] = (vf){ 0 };
    for (int i = 0; i < rows; i++)
        HONE_UNROLLED for (int v = 0; v < u; v++) {
            ahead_of(x + i * pitch + v * VL, v);
            mean[v] += get(x + i * pitch + v * VL, lanes);
        }
    HONE_UNROLLED for (int v = 0; v < u; v++) mean[v] = mean[v] * share;
    for (int i = 0; i < rows; i++)
        HONE_UNROLLED for (int v = 0; v < u; v++) {
            vf d = get(x + i * pitch + v * VL, lanes) - mean[v];
            left[v] += d;
            around[v] += d * d;
        }
    HONE_UNROLLED for (int v = 0; v < u; v++, sums += VL, pilot += VL) {
        real c[VL], e[VL];
        vf_store(c, mean[v]), vf_store(e, left[v]);
        for (int i = 0; i < lanes; i++) {
            /* The mean was rounded: what is left over makes the sum right again. */
            double sum = (double)rows * ((double)c[i] - (double)pilot[i]) + (double)e[i];
            sums[SUM * s->lines + i] += sum;
            sums[SUM_OF_SQUARES * s->lines + i] += sum * sum / rows;
        }
        add_up(sums + AROUND * s->lines, around[v] - left[v] * left[v] * share);
    }
}

/* The gradient g of y where y lies within the cut, else 0. */
HONE_INLINE vf passed(const struct job *s, vf y, vf g)
{
    return vf_select((y > vf_set(s->lo)) & (y < vf_set(s->hi)), g, (vf){ 0 });
}

HONE_INLINE void products(int gated, int u, int lanes, const struct job *s, const stored *x,
                          const stored *dy, const real *factor, int rows, double *sums)
{
    const int64_t pitch = s->width;
    vf mean[8], slope[8], shift[8], a[8], b[8];
    HONE_UNROLLED for (int v = 0; v < u; v++) {
        mean[v] = vf_load(factor + v * VL), a[v] = b[v] = (vf){ 0 };
        slope[v] = gated ? vf_load(factor + GATE_SLOPE * s->lines + v * VL) : (vf){ 0 };
        shift[v] = gated ? vf_load(factor + GATE_SHIFT * s->lines + v * VL) : (vf){ 0 };
    }
    for (int i = 0; i < rows; i++)
        HONE_UNROLLED for (int v = 0; v < u; v++) {
            ahead_of(x + i * pitch + v * VL, v);
            ahead_of(dy + i * pitch + v * VL, v);
            vf g = get(dy + i * pitch + v * VL, lanes),
               d = get(x + i * pitch + v * VL, lanes) - mean[v];
            if (gated) g = passed(s, d * slope[v] + shift[v], g);
            a[v] += g;
            b[v] += g * d;
        }
    HONE_UNROLLED for (int v = 0; v < u; v++) {
        add_up(sums + DY_SUM * s->lines + v * VL, a[v]);
        add_up(sums + DYX_SUM * s->lines + v * VL, b[v]);
    }
}

/* NaN stays NaN. */
HONE_INLINE vf cut_off(const struct job *s, vf y)
{
    return vf_min(vf_set(s->hi), vf_max(vf_set(s->lo), y));
}

/* two: another array is added; its numbers pass a gate (cut 2), or the sum is cut off (cut 1). */
HONE_INLINE void apply(int two, int cut, int u, int lanes, int stream, const struct job *s,
                       const stored *x, const stored *other, const real *factor, int rows,
                       stored *out)
{
    const int64_t pitch = s->width;
    const vf none = { 0 };
    vf mean[8], slope[8], shift[8], other_slope[8], gate_slope[8], gate_shift[8];
    HONE_UNROLLED for (int v = 0; v < u; v++, factor += VL) {
        mean[v] = vf_load(factor + MEAN * s->lines);
        slope[v] = vf_load(factor + SLOPE * s->lines);
        shift[v] = vf_load(factor + SHIFT * s->lines);
        other_slope[v] = two ? vf_load(factor + OTHER_SLOPE * s->lines) : none;
        gate_slope[v] = cut == 2 ? vf_load(factor + GATE_SLOPE * s->lines) : none;
        gate_shift[v] = cut == 2 ? vf_load(factor + GATE_SHIFT * s->lines) : none;
    }
    for (int i = 0; i < rows; i++)
        HONE_UNROLLED for (int v = 0; v < u; v++) {
            ahead_of(x + i * pitch + v * VL, v);
            if (two) ahead_of(other + i * pitch + v * VL, v);
            if (!stream) ahead_of(out + i * pitch + v * VL, v);
            vf d = get(x + i * pitch + v * VL, lanes) - mean[v], y = d * slope[v] + shift[v];
            if (two) {
                vf g = get(other + i * pitch + v * VL, lanes);
                if (cut == 2) g = passed(s, d * gate_slope[v] + gate_shift[v], g);
                y = y + g * other_slope[v];
            }
            if (cut == 1) y = cut_off(s, y);
            put(out + i * pitch + v * VL, y, lanes, stream);
        }
}

/* ---- a block ---- */

/* The two that add up, and those that write: of one array or two, then with a cut. */
enum pass {
    MOMENTS, PRODUCTS, GATED_PRODUCTS, ONE, TWO, ONE_CUT, TWO_CUT, TWO_GATED, NPASSES
};

HONE_INLINE void columns(enum pass pass, int u, int lanes, const struct job *s, int64_t at,
                         int64_t j, int rows, double *sums)
{
    const stored *x = s->x + at + j, *other = s->other + at + j;
    const real *factor = s->factor + j;
    stored *out = s->out + at + j;
    const int two = pass == TWO || pass == TWO_CUT || pass == TWO_GATED,
              cut = pass == TWO_GATED ? 2 : pass == ONE_CUT || pass == TWO_CUT;
    if (pass == MOMENTS) moments(u, lanes, s, x, factor, rows, sums + j);
    else if (pass == PRODUCTS || pass == GATED_PRODUCTS)
        products(pass == GATED_PRODUCTS, u, lanes, s, x, other, factor, rows, sums + j);
    else if (s->stream) apply(two, cut, u, lanes, 1, s, x, other, factor, rows, out);
    else apply(two, cut, u, lanes, 0, s, x, other, factor, rows, out);
}

HONE_INLINE void block(enum pass pass, int u, const struct job *s, int64_t b, double *sums)
{
    const int64_t first = b * s->block, left = s->rows - first,
                  at = (left > 0 ? first : s->rows) * s->width;
    const int64_t width = left > 0 ? s->width : s->m % s->r * s->n;
    const int rows = left <= 0 ? 1 : left < s->block ? (int)left : s->block;
    int64_t j = 0;
    for (; j + u * VL <= width; j += u * VL) columns(pass, u, VL, s, at, j, rows, sums);
    for (; u > 1 && j + VL <= width; j += VL) columns(pass, 1, VL, s, at, j, rows, sums);
    if (j < width) columns(pass, 1, (int)(width - j), s, at, j, rows, sums);
}

typedef void block_of(const struct job *s, int64_t b, double *sums);

#define BLOCK_OF(PASS, U)                                                                          \
    static void PASS##_##U(const struct job *s, int64_t b, double *sums)                           \
    {                                                                                              \
        block(PASS, U, s, b, sums);                                                                \
    }
#define BLOCKS_OF(PASS) BLOCK_OF(PASS, 2) BLOCK_OF(PASS, 4) BLOCK_OF(PASS, 8)
BLOCKS_OF(MOMENTS) BLOCKS_OF(PRODUCTS) BLOCKS_OF(GATED_PRODUCTS)
BLOCKS_OF(ONE) BLOCKS_OF(TWO) BLOCKS_OF(ONE_CUT) BLOCKS_OF(TWO_CUT) BLOCKS_OF(TWO_GATED)

#define ROW(PASS) [PASS] = { PASS##_2, PASS##_4, PASS##_8 }
static block_of *const passes[NPASSES][3] = {
    ROW(MOMENTS), ROW(PRODUCTS), ROW(GATED_PRODUCTS),
    ROW(ONE), ROW(TWO), ROW(ONE_CUT), ROW(TWO_CUT), ROW(TWO_GATED),
};

/* ---- between the passes ---- */

/* Channel j's sum of kind `sum` over threads and the rows of a wide row. */
static double total(const struct job *s, int threads, int sum, int j)
{
    double all = 0;
    for (int t = 0; t < threads; t++)
        for (int i = 0; i < s->r; i++)
            all += s->sums[t * own_sums(s) + sum * s->lines + (int64_t)i * s->n + j];
    return all;
}

static void set_factor(const struct job *s, int factor, int j, double value)
{
    for (int i = 0; i < s->r; i++)
        s->factor[factor * s->lines + (int64_t)i * s->n + j] = (real)value;
}

/* Of y: of numbers as they are kept, so that it can be had again with the same bits. */
static void set_factors(const struct job *s, int j, real mean, real off, double slope, real beta)
{
    set_factor(s, MEAN, j, (double)mean);
    set_factor(s, SLOPE, j, slope);
    set_factor(s, SHIFT, j, (double)beta - (double)off * slope);
}

static void finish_fwd(const struct hone_problem *p, const struct job *s, int threads,
                       void *const mem[])
{
    const double m = (double)s->m, momentum = p->value[NORM_MOMENTUM], eps = p->value[NORM_EPS];
    const real *gamma = mem[NORM_GAMMA], *beta = mem[NORM_BETA];
    real *rmean = mem[NORM_RMEAN], *rvar = mem[NORM_RVAR], *mean_out = mem[NORM_MEAN],
         *rstd_out = mem[NORM_RSTD];
    real *off_out = hone_problem_has(p, "off") ? mem[norm_off(p)] : NULL;
    for (int j = 0; j < s->n; j++) {
        double off = total(s, threads, SUM, j) / m, mean = off + (double)vs_real(s->x[j]);
        double around =
            total(s, threads, SUM_OF_SQUARES, j) - off * off * m + total(s, threads, AROUND, j);
        if (around < 0) around = 0;
        double rstd = 1 / sqrt(around / m + eps);
        mean_out[j] = (real)mean;
        rstd_out[j] = (real)rstd;
        rmean[j] = (real)((1 - momentum) * (double)rmean[j] + momentum * mean);
        rvar[j] =
            (real)((1 - momentum) * (double)rvar[j] + momentum * around / (m > 1 ? m - 1 : 1));
        const real left = (real)(mean - (double)mean_out[j]);
        if (off_out) off_out[j] = left;
        set_factors(s, j, mean_out[j], left, (double)gamma[j] * (double)rstd_out[j], beta[j]);
    }
}

static void prepare_infer(const struct hone_problem *p, const struct job *s, void *const mem[])
{
    const real *gamma = mem[INFER_GAMMA], *beta = mem[INFER_BETA], *mean = mem[INFER_RMEAN],
               *var = mem[INFER_RVAR];
    const real *off = hone_problem_has(p, "again") ? mem[infer_off(p)] : NULL;
    for (int j = 0; j < s->n; j++)
        set_factors(s, j, mean[j], off ? off[j] : 0,
                    off ? (double)gamma[j] * (double)var[j]
                        : (double)gamma[j] / sqrt((double)var[j] + p->value[INFER_EPS]),
                    beta[j]);
}

static void prepare_bwd(const struct job *s, void *const mem[], int gated)
{
    const real *mean = mem[NORM_BWD_MEAN], *rstd = mem[NORM_BWD_RSTD], *gamma = mem[NORM_BWD_GAMMA],
               *beta = gated ? mem[NORM_BWD_BETA] : NULL;
    for (int j = 0; j < s->n; j++) {
        set_factor(s, MEAN, j, (double)mean[j]);
        if (!gated) continue;
        set_factor(s, GATE_SLOPE, j, (double)gamma[j] * (double)rstd[j]);
        set_factor(s, GATE_SHIFT, j, (double)beta[j]);
    }
}

static void finish_bwd(const struct job *s, int threads, void *const mem[])
{
    const real *gamma = mem[NORM_BWD_GAMMA], *rstd = mem[NORM_BWD_RSTD];
    real *dgamma = mem[NORM_DGAMMA], *dbeta = mem[NORM_DBETA];
    for (int j = 0; j < s->n; j++) {
        double sum = total(s, threads, DY_SUM, j),
               product = total(s, threads, DYX_SUM, j) * (double)rstd[j];
        double slope = (double)gamma[j] * (double)rstd[j];
        dbeta[j] = (real)sum;
        dgamma[j] = (real)product;
        set_factor(s, OTHER_SLOPE, j, slope);
        set_factor(s, SLOPE, j, -slope * (double)rstd[j] * product / (double)s->m);
        set_factor(s, SHIFT, j, -slope * sum / (double)s->m);
    }
}

/* ---- the kernel ---- */

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct job s = job_of(p, c);
    if (c->v[UNROLL] > 2 && s.width < c->v[UNROLL] * VL) return 0;
    if (c->v[BLOCK] > 8 && s.rows <= c->v[BLOCK] / 4) return 0;
    /* Past the caches only what they do not hold, and whole vectors. */
    if (c->v[STREAM] && (s.width % VL || hone_problem_bytes(p) < (double)d->l2_bytes)) return 0;
    return c->v[THREADS] == 1 || (s.blocks >= c->v[THREADS] && s.m * s.n >= 1024 * c->v[THREADS]);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = 4;
    c->v[STREAM] = 0;
    c->v[THREADS] = 1;
    /* A block of 32 KiB, in L1 or nearly so. */
    for (c->v[BLOCK] = 128; c->v[BLOCK] > 8; c->v[BLOCK] /= 4)
        if (c->v[BLOCK] * job_of(p, c).width <= 8192 && valid(p, c, d)) break;
    if (!valid(p, c, d)) c->v[UNROLL] = 2;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct job s = job_of(p, c);
    const int64_t sums = hone_problem_is(p, bnorm_infer) ? 0 : c->v[THREADS] * own_sums(&s);
    (void)d;
    return (size_t)sums * sizeof(double) + (size_t)(s.lines * NFACTORS) * sizeof(real);
}

/* The longest chain in f32 is a block's. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    double own = p->op->growth(p), block = c->v[BLOCK] + 16;
    return hone_problem_is(p, bnorm_infer) || own < block ? own : block;
}

static void sweep(block_of *f, const struct job *s, int t, int threads, int forwards)
{
    const int64_t from = hone_part(s->blocks, 1, threads, t),
                  to = hone_part(s->blocks, 1, threads, t + 1);
    double *sums = s->sums + t * own_sums(s);
    if (forwards) memset(sums, 0, (size_t)(NSUMS * s->lines) * sizeof *sums);
    for (int64_t b = from; b < to && forwards; b++) f(s, b, sums);
    for (int64_t b = to; b-- > from && !forwards; ) f(s, b, NULL);
    if (!forwards && s->stream) vf_stream_end();
}

/* The arrays of rows: what is read, and what is read with it. */
static void take_arrays(struct job *s, const struct hone_problem *p, void *const mem[])
{
    const int infer = hone_problem_is(p, bnorm_infer), backward = hone_problem_is(p, bnorm_bwd);
    s->x = mem[backward ? (int)NORM_BWD_X : infer ? (int)INFER_X : (int)NORM_X];
    s->other = s->x;
    if (backward) s->other = mem[NORM_DY];
    else if (hone_problem_has(p, "add"))
        s->other = mem[infer ? (int)INFER_ADDEND : (int)NORM_ADDEND];
    s->out = mem[0];
    s->lo = (real)norm_lo(p);
    s->hi = (real)norm_hi(p);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS],
              u = hone_plan_config(plan)->v[UNROLL] / 4;
    const int infer = hone_problem_is(p, bnorm_infer), backward = hone_problem_is(p, bnorm_bwd);
    const int cut = hone_act_of(p) != HONE_ACT_none;
    struct job s = job_of(p, hone_plan_config(plan));
    s.sums = workspace;
    s.factor = (real *)(s.sums + (infer ? 0 : threads * own_sums(&s)));
    take_arrays(&s, p, mem);
    enum pass writes = backward ? cut ? TWO_GATED : TWO
                     : s.other != s.x ? cut ? TWO_CUT : TWO
                                      : cut ? ONE_CUT : ONE;
    memset(s.factor, 0, (size_t)(NFACTORS * s.lines) * sizeof *s.factor);
    if (infer) prepare_infer(p, &s, mem);
    for (int j = 0; j < s.n && !infer && !backward; j++) set_factor(&s, MEAN, j, (double)vs_real(s.x[j]));
    for (int j = 0; j < s.n && !backward; j++) set_factor(&s, OTHER_SLOPE, j, 1);
    if (backward) prepare_bwd(&s, mem, cut);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (!infer) {
#pragma omp for schedule(static, 1)
            for (int t = 0; t < threads; t++)
                sweep(passes[!backward ? MOMENTS : cut ? GATED_PRODUCTS : PRODUCTS][u], &s, t,
                      threads, 1);
#pragma omp single
            {
                if (backward) finish_bwd(&s, threads, mem);
                else finish_fwd(p, &s, threads, mem);
            }
        }
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; t++)
            sweep(passes[writes][u], &s, t, threads, 0);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_bnorm_fwd, &hone_op_bnorm_infer,
                                             &hone_op_bnorm_bwd, 0 };

const struct hone_kernel HONE_SYM(norm_cpu_bnorm) = {
    .name = HONE_NAME("cpu_bnorm"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 2, 4, 8), HONE_PARAM("block", 8, 32, 128),
               HONE_PARAM("stream", 0, 1), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .growth = growth,
    .run = run,
};
