/* Shortcut and concatenation, which only move numbers: runs of channels, a pixel or row at a time.
 * Threads share rows of pixels of the shortcut's larger side, and rows of the concatenation. */
#include "kernels/backend/cpu.h"
#include "kernels/join/join.h"

enum { UNROLL, THREADS };   /* vectors at a time */

/* Copies n numbers; runs are short, and a call would cost as much as they do. */
HONE_INLINE void copy(int unroll, stored *to, const stored *from, int n)
{
    int i = 0;
    for (; i + unroll * VL <= n; i += unroll * VL)
        HONE_UNROLLED for (int u = 0; u < unroll; u++)
            vs_store(to + i + u * VL, vs_load(from + i + u * VL));
    for (; unroll > 1 && i + VL <= n; i += VL) vs_store(to + i, vs_load(from + i));
    if (i < n) vs_store_n(to + i, vs_load_n(from + i, n - i), n - i);
}

HONE_INLINE void clear(stored *to, int n)
{
    const vf zero = { 0 };
    int i = 0;
    for (; i + VL <= n; i += VL) vs_store(to + i, zero);
    if (i < n) vs_store_n(to + i, zero, n - i);
}

/* ---- a row of pixels, or of a matrix ---- */

/* Row `at` of the mb * oh rows of y. */
HONE_INLINE void shortcut_fwd(int unroll, const struct hone_problem *p, void *const mem[],
                              int64_t at)
{
    const int32_t *d = p->dim;
    const int ic = d[SHORT_IC], oc = d[SHORT_OC], ow = shortcut_ow(p), oh = shortcut_oh(p),
              front = shortcut_front(p);
    const int64_t step = (int64_t)d[SHORT_S] * ic;
    const stored *x =
        (stored *)mem[SHORT_X] + (at / oh * d[SHORT_IH] + at % oh * d[SHORT_S]) * d[SHORT_IW] * ic;
    stored *y = (stored *)mem[SHORT_Y] + at * ow * oc;
    for (int i = 0; i < ow; i++, x += step, y += oc) {
        clear(y, front);
        copy(unroll, y + front, x, ic);
        clear(y + front + ic, oc - ic - front);
    }
}

/* Row `at` of the mb * ih rows of dx. */
HONE_INLINE void shortcut_bwd(int unroll, const struct hone_problem *p, void *const mem[],
                              int64_t at)
{
    const int32_t *d = p->dim;
    const int ic = d[SHORT_IC], oc = d[SHORT_OC], ow = shortcut_ow(p), oh = shortcut_oh(p),
              s = d[SHORT_S];
    const int64_t image = at / d[SHORT_IH], row = at % d[SHORT_IH],
                  width = (int64_t)d[SHORT_IW] * ic;
    stored *dx = (stored *)mem[SHORT_DX] + at * width;
    if (row % s) { memset(dx, 0, (size_t)width * sizeof *dx); return; }
    const stored *dy = (stored *)mem[SHORT_DY] + (image * oh + row / s) * ow * oc + shortcut_front(p);
    for (int i = 0; i < ow; i++, dy += oc, dx += (int64_t)s * ic) {
        const int left = d[SHORT_IW] - i * s;
        copy(unroll, dx, dy, ic);
        clear(dx + ic, ((left < s ? left : s) - 1) * ic);
    }
}

HONE_INLINE void concat_fwd(int unroll, const struct hone_problem *p, void *const mem[], int64_t at)
{
    const int n = p->dim[CONCAT_N], k = p->dim[CONCAT_K];
    stored *y = (stored *)mem[CONCAT_Y] + at * (n + k);
    copy(unroll, y, (stored *)mem[CONCAT_A] + at * n, n);
    copy(unroll, y + n, (stored *)mem[CONCAT_B] + at * k, k);
}

HONE_INLINE void concat_bwd(int unroll, const struct hone_problem *p, void *const mem[], int64_t at)
{
    const int n = p->dim[CONCAT_N], k = p->dim[CONCAT_K];
    const stored *dy = (stored *)mem[CONCAT_DY] + at * (n + k);
    copy(unroll, (stored *)mem[CONCAT_DA] + at * n, dy, n);
    copy(unroll, (stored *)mem[CONCAT_DB] + at * k, dy + n, k);
}

typedef void rows_of(const struct hone_problem *p, void *const mem[], int64_t from, int64_t to);

#define ROWS(OP, UNROLL)                                                                           \
    static void OP##_##UNROLL(const struct hone_problem *p, void *const mem[], int64_t from,       \
                              int64_t to)                                                          \
    {                                                                                              \
        for (int64_t at = from; at < to; at++) OP(UNROLL, p, mem, at);                             \
    }
#define ALL(OP) ROWS(OP, 1) ROWS(OP, 2) ROWS(OP, 4)
ALL(shortcut_fwd) ALL(shortcut_bwd) ALL(concat_fwd) ALL(concat_bwd)

static const struct { const struct hone_op *op; rows_of *unroll[3]; } variants[] = {
#define VARIANT(OP) { &hone_op_##OP, { OP##_1, OP##_2, OP##_4 } }
    VARIANT(shortcut_fwd), VARIANT(shortcut_bwd), VARIANT(concat_fwd), VARIANT(concat_bwd),
};

/* ---- the kernel ---- */

static int64_t rows(const struct hone_problem *p)
{
    if (hone_problem_is(p, shortcut_fwd)) return (int64_t)p->dim[SHORT_MB] * shortcut_oh(p);
    if (hone_problem_is(p, shortcut_bwd)) return (int64_t)p->dim[SHORT_MB] * p->dim[SHORT_IH];
    return p->dim[CONCAT_M];
}

static int longest_run(const struct hone_problem *p)
{
    if (hone_problem_is(p, shortcut_fwd) || hone_problem_is(p, shortcut_bwd))
        return p->dim[SHORT_IC];
    return p->dim[CONCAT_N] > p->dim[CONCAT_K] ? p->dim[CONCAT_N] : p->dim[CONCAT_K];
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)d;
    if (c->v[UNROLL] > 1 && longest_run(p) < c->v[UNROLL] * VL) return 0;
    return c->v[THREADS] == 1 ||
           (rows(p) >= c->v[THREADS] && hone_problem_bytes(p) >= 4096.0 * c->v[THREADS]);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = longest_run(p) >= 4 * VL ? 4 : longest_run(p) >= 2 * VL ? 2 : 1;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t n = rows(p);
    int i = 0;
    (void)workspace;
    while (variants[i].op != p->op) i++;
    rows_of *f = variants[i].unroll[hone_plan_config(plan)->v[UNROLL] / 2];
    if (threads == 1) { f(p, mem, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        f(p, mem, hone_part(n, 1, threads, t), hone_part(n, 1, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = {
    &hone_op_shortcut_fwd, &hone_op_shortcut_bwd, &hone_op_concat_fwd, &hone_op_concat_bwd, 0
};

const struct hone_kernel HONE_SYM(join_cpu_runs) = {
    .name = HONE_NAME("cpu_runs"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
