/* A step of sgd in one pass over the flat arrays: each number is read and written once, whatever
 * the mix of momentum, Nesterov and weight decay. */
#include "kernels/optimizer/steps.h"

struct step { struct sgd_step to; const real *g; };

/* n lanes from i on; variant: the problem's attributes. */
HONE_INLINE void update(int variant, int n, const struct step *s, int64_t i)
{
    sgd_move(variant, n, &s->to, i, flat_load(s->g + i, n));
}

FLAT_LOOP(update, struct step)

static void share(int variant, int unroll, const struct step *s, int64_t from, int64_t to)
{
    enum { M = 1 << SGD_MOMENTUM, N = 1 << SGD_NESTEROV, W = 1 << SGD_WD };
    if (variant == 0) flat_unrolled(0, unroll, s, from, to);
    else if (variant == W) flat_unrolled(W, unroll, s, from, to);
    else if (variant == M) flat_unrolled(M, unroll, s, from, to);
    else if (variant == (M | W)) flat_unrolled(M | W, unroll, s, from, to);
    else if (variant == (M | N)) flat_unrolled(M | N, unroll, s, from, to);
    else flat_unrolled(M | N | W, unroll, s, from, to);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[FLAT_THREADS],
              unroll = hone_plan_config(plan)->v[FLAT_UNROLL],
              variant = (int)p->attrs;
    const int64_t n = p->dim[OPTIM_N];
    const struct step s = {
        .to = sgd_step_of(mem[SGD_P], variant & 1 << SGD_MOMENTUM ? mem[SGD_V] : NULL,
                          mem[sgd_hyper(p)]),
        .g = mem[sgd_g(p)],
    };
    (void)workspace;
    if (threads == 1) { share(variant, unroll, &s, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        share(variant, unroll, &s, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_sgd, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_sgd) = {
    .name = HONE_NAME("cpu_sgd"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = FLAT_CONSTRAINT, .guess = flat_guess, .run = run,
};
