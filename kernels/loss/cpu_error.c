/* Mean squared and mean absolute error with their gradients, row by row; a single column, as in
 * regression, has rows in the lanes instead. */
#include "kernels/activation/vector.h"
#include "kernels/loss/loss.h"

enum { UNROLL, THREADS };

/* The loss of the differences d, and in *dx their gradient for a loss of weight `share`. */
HONE_INLINE vf element(int squared, vf d, vf share, vf *dx)
{
    vf zero = { 0 };
    *dx = squared ? d * share : vf_select(d > zero, share, vf_select(d < zero, -share, zero));
    return squared ? d * d : vf_abs(d);
}

/* Sum of the losses of n numbers of one row. */
HONE_INLINE float row(int squared, int unroll, const float *x, const float *t, int n, vf share, float *dx)
{
    const vf zero = { 0 };
    vf sum[4] = { zero, zero, zero, zero }, g;
    int j = 0;
    for (; j + unroll * VL <= n; j += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            sum[u] += element(squared, vf_load(x + j + u * VL) - vf_load(t + j + u * VL), share, &g);
            vf_store(dx + j + u * VL, g);
        }
    for (; unroll > 1 && j + VL <= n; j += VL) {
        sum[0] += element(squared, vf_load(x + j) - vf_load(t + j), share, &g);
        vf_store(dx + j, g);
    }
    if (j < n) {
        sum[0] += element(squared, vf_load_n(x + j, n - j) - vf_load_n(t + j, n - j), share, &g);
        vf_store_n(dx + j, g, n - j);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Rows [from, to) of one number each. */
HONE_INLINE void column(int squared, const float *x, const float *t, vf share, float *dx, float *loss, int64_t from, int64_t to)
{
    vf g;
    int64_t i = from;
    for (; i + VL <= to; i += VL) {
        vf_store(loss + i, element(squared, vf_load(x + i) - vf_load(t + i), share, &g));
        vf_store(dx + i, g);
    }
    int n = (int)(to - i);
    if (!n) return;
    vf_store_n(loss + i, element(squared, vf_load_n(x + i, n) - vf_load_n(t + i, n), share, &g), n);
    vf_store_n(dx + i, g, n);
}

HONE_INLINE void rows(int squared, int unroll, const struct hone_problem *p, void *const mem[], int64_t from, int64_t to)
{
    const int n = p->dim[LOSS_N];
    const vf share = vf_set((float)((squared ? 2.0 : 1.0) / ((double)p->dim[LOSS_M] * n)));
    const float *x = mem[ERR_X], *t = mem[ERR_T];
    float *dx = mem[ERR_DX], *loss = mem[ERR_LOSS];
    if (n == 1) { column(squared, x, t, share, dx, loss, from, to); return; }
    for (int64_t r = from; r < to; r++) loss[r] = row(squared, unroll, x + r * n, t + r * n, n, share, dx + r * n) / (float)n;
}

typedef void rows_of(const struct hone_problem *p, void *const mem[], int64_t from, int64_t to);

#define ROWS(SQUARED, UNROLL)                                                                                     \
    static void rows_##SQUARED##_##UNROLL(const struct hone_problem *p, void *const mem[], int64_t from, int64_t to) \
    {                                                                                                             \
        rows(SQUARED, UNROLL, p, mem, from, to);                                                                  \
    }
ROWS(0, 1) ROWS(0, 2) ROWS(0, 4) ROWS(1, 1) ROWS(1, 2) ROWS(1, 4)

static rows_of *const variants[2][3] = { { rows_0_1, rows_0_2, rows_0_4 }, { rows_1_1, rows_1_2, rows_1_4 } };

static double numbers(const struct hone_problem *p) { return (double)p->dim[LOSS_M] * p->dim[LOSS_N]; }

static int valid(const struct hone_problem *p, const struct hone_config *c, const struct hone_device *d)
{
    (void)d;
    if (c->v[UNROLL] > 1 && p->dim[LOSS_N] < c->v[UNROLL] * VL) return 0;
    return c->v[THREADS] == 1 || (p->dim[LOSS_M] >= 16 * c->v[THREADS] && numbers(p) >= 256.0 * c->v[THREADS]);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = p->dim[LOSS_N] >= 4 * VL ? 2 : 1;
    c->v[THREADS] = hone_guess_threads(d, hone_problem_bytes(p) / 10e3);   /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    rows_of *f = variants[p->op == &hone_op_mse][plan->config.v[UNROLL] / 2];
    const int threads = plan->config.v[THREADS];
    const int64_t m = p->dim[LOSS_M];
    (void)workspace;
    if (threads == 1) { f(p, mem, 0, m); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) f(p, mem, hone_part(m, 16, threads, t), hone_part(m, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_mse, &hone_op_mae, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_error) = {
    .name = HONE_NAME("cpu_error"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
