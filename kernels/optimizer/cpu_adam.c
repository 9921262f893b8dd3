/* A step of adam in one pass over the flat arrays.  Square root and division are the processor's
 * own, correctly rounded; for arrays beyond the caches memory is slower than they are. */
#include "kernels/optimizer/flat.h"

/* lr times c1; `keep`: what decoupled weight decay leaves of p. */
struct step { real *p, *m, *v; const real *g; real lr, beta1, beta2, epsilon, wd, keep, c2; };

enum { PLAIN, WD, DECOUPLED };

/* n lanes from i on. */
HONE_INLINE void update(int variant, int n, const struct step *s, int64_t i)
{
    vf p = flat_load(s->p + i, n), g = flat_load(s->g + i, n);
    vf m = flat_load(s->m + i, n), v = flat_load(s->v + i, n);
    if (variant == WD) g = g + p * s->wd;
    if (variant == DECOUPLED) p = p * s->keep;
    m = m * s->beta1 + g * (1 - s->beta1);
    v = v * s->beta2 + g * g * (1 - s->beta2);
    flat_store(s->m + i, m, n);
    flat_store(s->v + i, v, n);
    flat_store(s->p + i, p - m * s->lr / (vf_sqrt(v) * s->c2 + s->epsilon), n);
}

FLAT_LOOP(update, struct step)

static void share(int variant, int unroll, const struct step *s, int64_t from, int64_t to)
{
    if (variant == PLAIN) flat_unrolled(PLAIN, unroll, s, from, to);
    else if (variant == WD) flat_unrolled(WD, unroll, s, from, to);
    else flat_unrolled(DECOUPLED, unroll, s, from, to);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[FLAT_THREADS],
              unroll = hone_plan_config(plan)->v[FLAT_UNROLL];
    const int variant = p->attrs >> ADAM_DECOUPLED & 1 ? DECOUPLED
                        : p->attrs >> ADAM_WD & 1      ? WD
                                                       : PLAIN;
    const int64_t n = p->dim[OPTIM_N];
    const real *hyper = mem[ADAM_HYPER];
    const struct step s = {
        .p = mem[ADAM_P],
        .m = mem[ADAM_M],
        .v = mem[ADAM_V],
        .g = mem[ADAM_G],
        .lr = hyper[HYPER_LR] * hyper[HYPER_C1],
        .beta1 = hyper[HYPER_BETA1],
        .beta2 = hyper[HYPER_BETA2],
        .epsilon = hyper[HYPER_EPS],
        .wd = hyper[HYPER_WD],
        .keep = 1 - hyper[HYPER_LR] * hyper[HYPER_WD],
        .c2 = hyper[HYPER_C2],
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
