/* A step of rmsprop in one pass over the flat arrays; variant: the problem's attributes. */
#include "kernels/optimizer/flat.h"

struct step { real *p, *a, *v; const real *g; real lr, rho, momentum, epsilon, wd; };

/* n lanes from i on. */
HONE_INLINE void update(int variant, int n, const struct step *s, int64_t i)
{
    vf p = flat_load(s->p + i, n), g = flat_load(s->g + i, n), a = flat_load(s->a + i, n);
    if (variant & 1 << RMSPROP_WD) g = g + p * s->wd;
    a = a * s->rho + g * g * (1 - s->rho);
    vf move = g / (vf_sqrt(a) + s->epsilon);
    if (variant & 1 << RMSPROP_MOMENTUM) {
        move = flat_load(s->v + i, n) * s->momentum + move;
        flat_store(s->v + i, move, n);
    }
    flat_store(s->a + i, a, n);
    flat_store(s->p + i, p - move * s->lr, n);
}

FLAT_LOOP(update, struct step)

static void share(int variant, int unroll, const struct step *s, int64_t from, int64_t to)
{
    if (variant == 0) flat_unrolled(0, unroll, s, from, to);
    else if (variant == 1) flat_unrolled(1, unroll, s, from, to);
    else if (variant == 2) flat_unrolled(2, unroll, s, from, to);
    else flat_unrolled(3, unroll, s, from, to);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[FLAT_THREADS],
              unroll = hone_plan_config(plan)->v[FLAT_UNROLL],
              variant = (int)p->attrs;
    const int64_t n = p->dim[OPTIM_N];
    const real *hyper = mem[rmsprop_hyper(p)];
    const struct step s = {
        .p = mem[RMSPROP_P],
        .a = mem[RMSPROP_A],
        .v = variant & 1 << RMSPROP_MOMENTUM ? mem[RMSPROP_V] : NULL,
        .g = mem[rmsprop_g(p)],
        .lr = hyper[HYPER_LR],
        .rho = hyper[HYPER_RHO],
        .momentum = hyper[HYPER_MOMENTUM],
        .epsilon = hyper[HYPER_EPS],
        .wd = hyper[HYPER_WD],
    };
    (void)workspace;
    if (threads == 1) { share(variant, unroll, &s, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        share(variant, unroll, &s, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_rmsprop, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_rmsprop) = {
    .name = HONE_NAME("cpu_rmsprop"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = FLAT_CONSTRAINT,
    .guess = flat_guess,
    .run = run,
};
