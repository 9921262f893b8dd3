/* A step of adam in one pass over the flat arrays.  Square root and division are the processor's
 * own, correctly rounded; for arrays beyond the caches memory is slower than they are. */
#include "kernels/optimizer/steps.h"

struct step { struct adam_step to; const real *g; };

/* n lanes from i on; variant: an adam_decay. */
HONE_INLINE void update(int variant, int n, const struct step *s, int64_t i)
{
    adam_move((enum adam_decay)variant, n, &s->to, i, flat_load(s->g + i, n));
}

FLAT_LOOP(update, struct step)

static void share(int variant, int unroll, const struct step *s, int64_t from, int64_t to)
{
    if (variant == ADAM_KEEPS) flat_unrolled(ADAM_KEEPS, unroll, s, from, to);
    else if (variant == ADAM_DECAYS) flat_unrolled(ADAM_DECAYS, unroll, s, from, to);
    else flat_unrolled(ADAM_DECAYS_APART, unroll, s, from, to);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[FLAT_THREADS],
              unroll = hone_plan_config(plan)->v[FLAT_UNROLL];
    const int variant = p->attrs >> ADAM_DECOUPLED & 1 ? ADAM_DECAYS_APART
                        : p->attrs >> ADAM_WD & 1      ? ADAM_DECAYS
                                                       : ADAM_KEEPS;
    const int64_t n = p->dim[OPTIM_N];
    const struct step s = {
        .to = adam_step_of(mem[ADAM_P], mem[ADAM_M], mem[ADAM_V], mem[ADAM_HYPER]),
        .g = mem[ADAM_G],
    };
    (void)workspace;
    if (threads == 1) { share(variant, unroll, &s, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        share(variant, unroll, &s, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_adam, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_adam) = {
    .name = HONE_NAME("cpu_adam"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = FLAT_CONSTRAINT, .guess = flat_guess, .run = run,
};
