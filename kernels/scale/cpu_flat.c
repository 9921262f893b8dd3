/* scale and unscale, a vector at a time; where unscale found a number that is not finite, a second
 * pass writes zeros. */
#include "kernels/backend/cpu.h"
#include "kernels/scale/scale.h"

#include <math.h>

enum { THREADS };

/* v[from..to) *= factor; 1: a result is not finite, and then x - x is no number. */
HONE_INLINE int multiply(real *v, real factor, int64_t from, int64_t to)
{
    const vf zero = { 0 };
    vi bad = { 0 };
    int64_t i = from;
    for (; i < to; i += VL) {
        const int n = to - i < VL ? (int)(to - i) : VL;
        vf x = (n == VL ? vf_load(v + i) : vf_load_n(v + i, n)) * factor;
        bad |= ~(vi)(x - x == zero);
        if (n == VL) vf_store(v + i, x);
        else vf_store_n(v + i, x, n);
    }
    return vf_bits(bad) != 0;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[THREADS] = hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* 10 bytes a ns */
    while (c->v[THREADS] > 1 && p->dim[SCALE_N] < 256 * c->v[THREADS]) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    static const real nothing[] = SCALE_NOTHING;
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS], back = hone_problem_is(p, unscale);
    const int64_t n = p->dim[SCALE_N];
    real *x = mem[0], *s = mem[1];
    const real factor = s[back ? SCALE_INVERSE : SCALE_NOW];
    int found = 0;
    (void)workspace;
#pragma omp parallel for num_threads(threads) reduction(| : found) if (threads > 1)
    for (int t = 0; t < threads; t++)
        found |= multiply(x, factor, hone_part(n, 16, threads, t),
                          hone_part(n, 16, threads, t + 1));
    if (!back) return HONE_OK;
    const real *table = mem[UNSCALE_TABLE],
               *row = table + (int)s[SCALE_SKIPPED] % p->dim[UNSCALE_R] * 8;
    memcpy(mem[UNSCALE_HYPER], found ? nothing : row, 8 * sizeof *row);
    if (found) memset(x, 0, (size_t)n * sizeof *x);
    SCALE_NEXT(real, s, found);
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_scale, &hone_op_unscale, 0 };

const struct hone_kernel HONE_SYM(scale_cpu_flat) = {
    .name = HONE_NAME("cpu_flat"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "threads == 1 || n >= 256 * threads", .guess = guess, .run = run,
};
