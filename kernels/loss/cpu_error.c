/* Mean squared, mean absolute and Huber's error with their gradients, row by row; a single column,
 * as in regression, has rows in the lanes instead. */
#include "kernels/loss/error.h"

enum { UNROLL, THREADS };
/* Sum of the losses of n numbers of one row. */
HONE_INLINE real row(enum error kind, int unroll, const real *x, const real *t, int n,
                     const struct error_weights *w, real *dx)
{
    const vf zero = { 0 };
    vf sum[4] = { zero, zero, zero, zero }, g;
    int j = 0;
    for (; j + unroll * VL <= n; j += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            sum[u] += error_of(kind, vf_load(x + j + u * VL) - vf_load(t + j + u * VL), w, &g);
            vf_store(dx + j + u * VL, g);
        }
    for (; unroll > 1 && j + VL <= n; j += VL) {
        sum[0] += error_of(kind, vf_load(x + j) - vf_load(t + j), w, &g);
        vf_store(dx + j, g);
    }
    if (j < n) {
        sum[0] += error_of(kind, vf_load_n(x + j, n - j) - vf_load_n(t + j, n - j), w, &g);
        vf_store_n(dx + j, g, n - j);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Rows [from, to) of one number each. */
HONE_INLINE void column(enum error kind, const real *x, const real *t, const struct error_weights *w,
                        real *dx, real *loss, int64_t from, int64_t to)
{
    vf g;
    int64_t i = from;
    for (; i + VL <= to; i += VL) {
        vf_store(loss + i, error_of(kind, vf_load(x + i) - vf_load(t + i), w, &g));
        vf_store(dx + i, g);
    }
    int n = (int)(to - i);
    if (!n) return;
    vf_store_n(loss + i, error_of(kind, vf_load_n(x + i, n) - vf_load_n(t + i, n), w, &g), n);
    vf_store_n(dx + i, g, n);
}

HONE_INLINE void rows(enum error kind, int unroll, const struct hone_problem *p, void *const mem[],
                      int64_t from, int64_t to)
{
    const int n = p->dim[LOSS_N];
    const struct error_weights w =
        error_weights_of(kind, p->dim[LOSS_M], n, p->value[HUBER_DELTA]);
    const real *x = mem[ERR_X], *t = mem[ERR_T];
    real *dx = mem[ERR_DX], *loss = mem[ERR_LOSS];
    if (n == 1) { column(kind, x, t, &w, dx, loss, from, to); return; }
    for (int64_t r = from; r < to; r++)
        loss[r] = row(kind, unroll, x + r * n, t + r * n, n, &w, dx + r * n) / (real)n;
}

typedef void rows_of(const struct hone_problem *p, void *const mem[], int64_t from, int64_t to);

#define ROWS(KIND, UNROLL)                                                                         \
    static void rows_##KIND##_##UNROLL(const struct hone_problem *p, void *const mem[],            \
                                       int64_t from, int64_t to)                                   \
    {                                                                                              \
        rows(KIND, UNROLL, p, mem, from, to);                                                      \
    }
ROWS(ABSOLUTE, 1) ROWS(ABSOLUTE, 2) ROWS(ABSOLUTE, 4)
ROWS(SQUARED, 1) ROWS(SQUARED, 2) ROWS(SQUARED, 4)
ROWS(HUBER, 1) ROWS(HUBER, 2) ROWS(HUBER, 4)

static rows_of *const variants[][3] = {   /* unroll / 2 */
    [ABSOLUTE] = { rows_ABSOLUTE_1, rows_ABSOLUTE_2, rows_ABSOLUTE_4 },
    [SQUARED] = { rows_SQUARED_1, rows_SQUARED_2, rows_SQUARED_4 },
    [HUBER] = { rows_HUBER_1, rows_HUBER_2, rows_HUBER_4 },
};

extern const struct hone_kernel HONE_SYM(loss_cpu_error);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = p->dim[LOSS_N] >= 4 * VL ? 2 : 1;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_error), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const enum error kind = hone_problem_is(p, mse)     ? SQUARED
                            : hone_problem_is(p, huber) ? HUBER
                                                        : ABSOLUTE;
    rows_of *f = variants[kind][hone_plan_config(plan)->v[UNROLL] / 2];
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t m = p->dim[LOSS_M];
    (void)workspace;
    if (threads == 1) { f(p, mem, 0, m); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        f(p, mem, hone_part(m, 16, threads, t), hone_part(m, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_mse, &hone_op_mae, &hone_op_huber, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_error) = {
    .name = HONE_NAME("cpu_error"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "(unroll == 1 || n >= unroll * lanes) && "
                  "(threads == 1 || m >= 16 * threads && m * n >= 256 * threads)",
    .guess = guess, .run = run,
};
