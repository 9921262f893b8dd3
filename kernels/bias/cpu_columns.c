/* Column sums with one accumulator per column in vectors.
 *
 * Rows are contiguous, so r rows of n are one wide row of r n numbers: r is chosen such that the
 * wide row is whole vectors, and no column count, not even 1, wastes lanes.  The sums of the wide
 * row's columns are folded into n at the end.  Threads take ranges of rows. */
#include "kernels/backend/cpu.h"
#include "kernels/bias/bias.h"

enum { UNROLL, THREADS };
enum { WIDE = 64 * VL };   /* longest wide row made of several rows */

static int gcd(int a, int b) { return b ? gcd(b, a % b) : a; }

/* Rows in a wide row. */
static int rows_joined(int m, int n)
{
    int r = VL / gcd(n, VL);
    while (r * n < 4 * VL) r *= 2;   /* several chains of additions to hide their latency */
    return (int64_t)r * n <= WIDE && r <= m ? r : 1;
}

/* sum[j] = or, where `more`, += column j of x (m, n), for u vectors of columns. */
HONE_INLINE void block(int u, int more, const stored *x, int64_t m, int64_t n, real *sum)
{
    vf s[8];
    HONE_UNROLLED for (int v = 0; v < u; v++) s[v] = more ? vf_load(sum + v * VL) : (vf){ 0 };
    for (int64_t i = 0; i < m; i++, x += n)
        HONE_UNROLLED for (int v = 0; v < u; v++) s[v] += vs_load(x + v * VL);
    HONE_UNROLLED for (int v = 0; v < u; v++) vf_store(sum + v * VL, s[v]);
}

static void some_rows(int unroll, int more, const stored *x, int64_t m, int64_t n, real *sum)
{
    int64_t j = 0;
    if (unroll == 8) for (; j + 8 * VL <= n; j += 8 * VL) block(8, more, x + j, m, n, sum + j);
    if (unroll >= 4) for (; j + 4 * VL <= n; j += 4 * VL) block(4, more, x + j, m, n, sum + j);
    if (unroll >= 2) for (; j + 2 * VL <= n; j += 2 * VL) block(2, more, x + j, m, n, sum + j);
    for (; j + VL <= n; j += VL) block(1, more, x + j, m, n, sum + j);
    if (j == n) return;
    const int rest = (int)(n - j);
    vf s = more ? vf_load_n(sum + j, rest) : (vf){ 0 };
    for (int64_t i = 0; i < m; i++) s += vs_load_n(x + i * n + j, rest);
    vf_store_n(sum + j, s, rest);
}

/* Of rows that take several blocks only some at a time, so that memory is passed nearly in its
 * order: the processor reads ahead there. */
static void columns(int unroll, const stored *x, int64_t m, int64_t n, real *sum)
{
    enum { NUMBERS = 16384, LEAST = 8 };
    const int64_t most = n <= unroll * VL      ? m
                         : n < NUMBERS / LEAST ? NUMBERS / n
                                               : LEAST;
    some_rows(unroll, 0, x, m < most ? m : most, n, sum);
    for (int64_t i = most; i < m; i += most)
        some_rows(unroll, 1, x + i * n, m - i < most ? m - i : most, n, sum);
}

/* sum[0..n) = column sums of x (m, n). */
static void column_sums(int unroll, const stored *x, int64_t m, int n, real *sum)
{
    int r = rows_joined((int)m, n);
    if (r == 1) { columns(unroll, x, m, n, sum); return; }
    real wide[WIDE];
    columns(unroll, x, m / r, (int64_t)r * n, wide);
    memcpy(sum, wide, (size_t)n * sizeof *sum);
    for (int i = 1; i < r; i++)
        for (int j = 0; j < n; j++) sum[j] += wide[i * n + j];
    for (int64_t i = m - m % r; i < m; i++)
        for (int j = 0; j < n; j++) sum[j] += vs_real(x[i * n + j]);
}

extern const struct hone_kernel HONE_SYM(bias_cpu_columns);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* About 4 numbers a nanosecond: threads from 50 microseconds on. */
    int threads = (double)p->dim[BIAS_M] * p->dim[BIAS_N] > 2e5 ? d->ncores : 1;
    c->v[UNROLL] = 4;
    c->v[THREADS] = 1;
    while (2 * c->v[THREADS] <= threads && 2 * c->v[THREADS] <= 64) c->v[THREADS] *= 2;
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(bias_cpu_columns), p, c, d))
        c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return c->v[THREADS] == 1 ? 0 : (size_t)c->v[THREADS] * (size_t)p->dim[BIAS_N] * sizeof(real);
}

/* The longest chain: a thread's wide rows, then the fold, the left-over rows, the threads. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    int m = p->dim[BIAS_M], rows = m / c->v[THREADS] + 1, r = rows_joined(rows, p->dim[BIAS_N]);
    double chain = (double)rows / r + (r > 1 ? 2 * r : 0) + c->v[THREADS];
    return chain < m ? chain : m;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int m = hone_plan_problem(plan)->dim[BIAS_M], n = hone_plan_problem(plan)->dim[BIAS_N];
    const int unroll = hone_plan_config(plan)->v[UNROLL],
              threads = hone_plan_config(plan)->v[THREADS];
    const stored *dy = mem[BIAS_DY];
    real *db = mem[BIAS_DB], *part = workspace;
    if (threads == 1) { column_sums(unroll, dy, m, n, db); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        int64_t from = (int64_t)m * t / threads, to = (int64_t)m * (t + 1) / threads;
        column_sums(unroll, dy + from * n, to - from, n, part + (int64_t)t * n);
    }
    memcpy(db, part, (size_t)n * sizeof *db);
    for (int t = 1; t < threads; t++)
        for (int j = 0; j < n; j++) db[j] += part[(int64_t)t * n + j];
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_bias_bwd, 0 };

const struct hone_kernel HONE_SYM(bias_cpu_columns) = {
    .name = HONE_NAME("cpu_columns"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4, 8), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "threads == 1 || m >= 64 * threads",
    .guess = guess,
    .workspace = workspace,
    .growth = growth,
    .run = run,
};
