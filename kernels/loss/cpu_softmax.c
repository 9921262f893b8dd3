/* Softmax and cross-entropy, 32 rows at a time in passes: maxima, exponentials with their sums,
 * logarithms and reciprocals (of all 32 at once), gradients.  One row's chain of maximum, exp, sum
 * and log is long; in passes the chains of 32 rows overlap, and few classes cost no more than
 * their share.  exp(x - max) rests between the passes in a buffer of whole vectors where rows are
 * short, else in DX. */
#include "kernels/loss/loss.h"
#include "kernels/loss/rows.h"

enum { UNROLL, THREADS };
enum { ROWS = 32, SHORT = 64 };   /* numbers in a short row, at most */

/* e = exp(x - most), n numbers, or where `whole` up to the end of a vector; returns the sum. */
HONE_INLINE real row_exp(int unroll, int whole, const real *x, int n, real most, real *e)
{
    const vf m = vf_set(most), zero = { 0 };
    vf sum[4] = { zero, zero, zero, zero };
    int j = 0;
    for (; j + unroll * VL <= n; j += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            vf v = vf_exp(vf_load(x + j + u * VL) - m);
            vf_store(e + j + u * VL, v);
            sum[u] += v;
        }
    for (; unroll > 1 && j + VL <= n; j += VL) {
        vf v = vf_exp(vf_load(x + j) - m);
        vf_store(e + j, v);
        sum[0] += v;
    }
    if (j < n) {
        vf v = first_lanes(vf_exp(vf_load_n(x + j, n - j) - m), n - j, zero);
        if (whole) vf_store(e + j, v);
        else vf_store_n(e + j, v, n - j);
        sum[0] += v;
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Sum of x - most. */
static inline real row_depth(const real *x, int n, real most)
{
    const vf m = vf_set(most), zero = { 0 };
    vf sum = zero;
    int j = 0;
    for (; j + VL <= n; j += VL) sum += vf_load(x + j) - m;
    if (j < n) sum += first_lanes(vf_load_n(x + j, n - j) - m, n - j, zero);
    return vf_sum(sum);
}

/* dx = factor e - target, which is `at` at the label and `else_` elsewhere; e may lie where dx
 * does, or
 * (`whole`) in whole vectors. */
HONE_INLINE void row_gradient(int whole, const real *e, int n, real factor, int label, real at,
                              real else_, real *dx)
{
    const vf rest = vf_set(else_), target = vf_set(at);
    vi lane = vi_lanes() - label;
    int j = 0;
    for (; j + VL <= n; j += VL)
        vf_store(dx + j, vf_load(e + j) * factor - vf_select(lane + j == 0, target, rest));
    if (j == n) return;
    vf last = whole ? vf_load(e + j) : vf_load_n(e + j, n - j);
    vf_store_n(dx + j, last * factor - vf_select(lane + j == 0, target, rest), n - j);
}

/* Everything about rows [from, to). */
HONE_INLINE void rows(int unroll, int whole, const struct hone_problem *p, void *const mem[],
                      int64_t from, int64_t to)
{
    const int n = p->dim[LOSS_N];
    const real share = 1 / (real)p->dim[LOSS_M], smooth = (real)p->value[CE_SMOOTH],
               spread = smooth / (real)n;
    const int32_t *label = mem[CE_LABEL];
    real *loss = mem[CE_LOSS], *hit = mem[CE_HIT], most[ROWS], sum[ROWS], factor[ROWS];
    real buffer[ROWS * SHORT] __attribute__((aligned(64)));
    const int64_t stride = whole ? (n + VL - 1) / VL * VL : n;
    for (int64_t r = from; r < to; r += ROWS) {
        const real *x = (const real *)mem[CE_X] + r * n;
        real *dx = (real *)mem[CE_DX] + r * n, *e = whole ? buffer : dx;
        int k = to - r < ROWS ? (int)(to - r) : ROWS;
        for (int i = 0; i < k; i++) most[i] = row_max(x + (int64_t)i * n, n);
        for (int i = 0; i < k; i++)
            sum[i] = row_exp(unroll, whole, x + (int64_t)i * n, n, most[i], e + i * stride);
        for (int i = k; i < ROWS; i++) sum[i] = 1;
        for (int i = 0; i < ROWS; i += VL) {
            vf s = vf_load(sum + i);
            vf_store(factor + i, share / s);
            vf_store(sum + i, vf_log(s));
        }
        for (int i = 0; i < k; i++) {
            int at = label[r + i];
            const real *row = x + (int64_t)i * n;
            loss[r + i] = sum[i] - (1 - smooth) * (row[at] - most[i]);
            if (smooth != 0) loss[r + i] -= spread * row_depth(row, n, most[i]);
            hit[r + i] = row_first(row, n, most[i]) == at;
            row_gradient(whole, e + i * stride, n, factor[i], at, (1 - smooth + spread) * share,
                         spread * share, dx + (int64_t)i * n);
        }
    }
}

static void rows_unrolled(int unroll, const struct hone_problem *p, void *const mem[], int64_t from,
                          int64_t to)
{
    if (p->dim[LOSS_N] <= SHORT) rows(1, 1, p, mem, from, to);
    else if (unroll == 1) rows(1, 0, p, mem, from, to);
    else if (unroll == 2) rows(2, 0, p, mem, from, to);
    else rows(4, 0, p, mem, from, to);
}

extern const struct hone_kernel HONE_SYM(loss_cpu_softmax);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* About 10 ns a row and half a nanosecond a number. */
    c->v[UNROLL] = p->dim[LOSS_N] > SHORT ? 2 : 1;
    c->v[THREADS] = hone_guess_threads(d, p->dim[LOSS_M] * (0.01 + p->dim[LOSS_N] * 5e-4));
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_softmax), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS],
              unroll = hone_plan_config(plan)->v[UNROLL];
    const int64_t m = p->dim[LOSS_M];
    (void)workspace;
    if (threads == 1) { rows_unrolled(unroll, p, mem, 0, m); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        rows_unrolled(unroll, p, mem, hone_part(m, ROWS, threads, t),
                      hone_part(m, ROWS, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_softmax_ce, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_softmax) = {
    .name = HONE_NAME("cpu_softmax"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "(unroll == 1 || n > 64 && n >= unroll * lanes) && "
                  "(threads == 1 || m >= 32 * threads)",
    .guess = guess,
    .run = run,
};
