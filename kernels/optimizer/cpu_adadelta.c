/* A step of adadelta in one pass over the flat arrays.  The quotient of the two roots is the root
 * of the quotient: one of each instead of two roots. */
#include "kernels/optimizer/flat.h"

struct step { real *p, *a, *d; const real *g; real lr, rho, epsilon, wd; };

/* n lanes from i on; variant: has weight decay. */
HONE_INLINE void update(int variant, int n, const struct step *s, int64_t i)
{
    vf p = flat_load(s->p + i, n), g = flat_load(s->g + i, n);
    vf a = flat_load(s->a + i, n), d = flat_load(s->d + i, n);
    if (variant) g = g + p * s->wd;
    a = a * s->rho + g * g * (1 - s->rho);
    vf move = vf_sqrt((d + s->epsilon) / (a + s->epsilon)) * g;
    d = d * s->rho + move * move * (1 - s->rho);
    flat_store(s->a + i, a, n);
    flat_store(s->d + i, d, n);
    flat_store(s->p + i, p - move * s->lr, n);
}

FLAT_LOOP(update, struct step)

static void share(int wd, int unroll, const struct step *s, int64_t from, int64_t to)
{
    if (wd) flat_unrolled(1, unroll, s, from, to);
    else flat_unrolled(0, unroll, s, from, to);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[FLAT_THREADS],
              unroll = hone_plan_config(plan)->v[FLAT_UNROLL];
    const int wd = (int)(p->attrs >> ADADELTA_WD & 1);
    const int64_t n = p->dim[OPTIM_N];
    const real *hyper = mem[ADADELTA_HYPER];
    const struct step s = {
        .p = mem[ADADELTA_P],
        .a = mem[ADADELTA_A],
        .d = mem[ADADELTA_D],
        .g = mem[ADADELTA_G],
        .lr = hyper[HYPER_LR],
        .rho = hyper[HYPER_RHO],
        .epsilon = hyper[HYPER_EPS],
        .wd = hyper[HYPER_WD],
    };
    (void)workspace;
    if (threads == 1) { share(wd, unroll, &s, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        share(wd, unroll, &s, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_adadelta, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_adadelta) = {
    .name = HONE_NAME("cpu_adadelta"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = FLAT_CONSTRAINT,
    .guess = flat_guess,
    .run = run,
};
