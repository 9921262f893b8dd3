/* A step of adam in one pass over the flat arrays.  Square root and division are the processor's
 * own, correctly rounded; for arrays beyond the caches memory is slower than they are. */
#include "kernels/backend/cpu.h"
#include "kernels/optimizer/optimizer.h"

enum { UNROLL, THREADS };

struct step { float *p, *m, *v; const float *g; float lr, beta1, beta2, epsilon, wd, c2; };   /* lr times c1 */

/* n lanes from i on. */
HONE_INLINE void update(int wd, int n, const struct step *s, int64_t i)
{
    const int all = n == VL;
    vf p = all ? vf_load(s->p + i) : vf_load_n(s->p + i, n), g = all ? vf_load(s->g + i) : vf_load_n(s->g + i, n);
    vf m = all ? vf_load(s->m + i) : vf_load_n(s->m + i, n), v = all ? vf_load(s->v + i) : vf_load_n(s->v + i, n);
    if (wd) g = g + p * s->wd;
    m = m * s->beta1 + g * (1 - s->beta1);
    v = v * s->beta2 + g * g * (1 - s->beta2);
    p = p - m * s->lr / (vf_sqrt(v) * s->c2 + s->epsilon);
    if (all) {
        vf_store(s->m + i, m);
        vf_store(s->v + i, v);
        vf_store(s->p + i, p);
    } else {
        vf_store_n(s->m + i, m, n);
        vf_store_n(s->v + i, v, n);
        vf_store_n(s->p + i, p, n);
    }
}

HONE_INLINE void loop(int wd, int unroll, const struct step *step, int64_t from, int64_t to)
{
    const struct step s = *step;   /* a copy that stores cannot change */
    int64_t i = from;
    for (; i + unroll * VL <= to; i += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) update(wd, VL, &s, i + u * VL);
    for (; unroll > 1 && i + VL <= to; i += VL) update(wd, VL, &s, i);
    if (i < to) update(wd, (int)(to - i), &s, i);
}

static void share(int wd, int unroll, const struct step *s, int64_t from, int64_t to)
{
    if (unroll == 1) wd ? loop(1, 1, s, from, to) : loop(0, 1, s, from, to);
    else if (unroll == 2) wd ? loop(1, 2, s, from, to) : loop(0, 2, s, from, to);
    else wd ? loop(1, 4, s, from, to) : loop(0, 4, s, from, to);
}

static int valid(const struct hone_problem *p, const struct hone_config *c, const struct hone_device *d)
{
    (void)d;
    return c->v[THREADS] == 1 || p->dim[OPTIM_N] >= 256 * c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = 2;
    c->v[THREADS] = hone_guess_threads(d, hone_problem_bytes(p) / 10e3);   /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int threads = plan->config.v[THREADS], unroll = plan->config.v[UNROLL], wd = (int)(p->attrs >> ADAM_WD & 1);
    const int64_t n = p->dim[OPTIM_N];
    const float *hyper = mem[ADAM_HYPER];
    const struct step s = {
        .p = mem[ADAM_P], .m = mem[ADAM_M], .v = mem[ADAM_V], .g = mem[ADAM_G],
        .lr = hyper[HYPER_LR] * hyper[HYPER_C1], .beta1 = hyper[HYPER_BETA1], .beta2 = hyper[HYPER_BETA2],
        .epsilon = hyper[HYPER_EPS], .wd = hyper[HYPER_WD], .c2 = hyper[HYPER_C2],
    };
    (void)workspace;
    if (threads == 1) { share(wd, unroll, &s, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) share(wd, unroll, &s, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_adam, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_adam) = {
    .name = HONE_NAME("cpu_adam"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
