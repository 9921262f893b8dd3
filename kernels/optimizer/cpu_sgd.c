/* A step of sgd in one pass over the flat arrays: each number is read and written once, whatever
 * the mix of momentum, Nesterov and weight decay. */
#include "kernels/backend/cpu.h"
#include "kernels/optimizer/optimizer.h"

enum { UNROLL, THREADS };

struct step { float *p, *v; const float *g; float lr, momentum, wd; };

/* n lanes from i on. */
HONE_INLINE void update(int momentum, int nesterov, int wd, int n, const struct step *s, int64_t i)
{
    vf p = n == VL ? vf_load(s->p + i) : vf_load_n(s->p + i, n);
    vf g = n == VL ? vf_load(s->g + i) : vf_load_n(s->g + i, n), move;
    if (wd) g = g + p * s->wd;
    move = g;
    if (momentum) {
        move = (n == VL ? vf_load(s->v + i) : vf_load_n(s->v + i, n)) * s->momentum + g;
        if (n == VL) vf_store(s->v + i, move);
        else vf_store_n(s->v + i, move, n);
        if (nesterov) move = move * s->momentum + g;
    }
    p = p - move * s->lr;
    if (n == VL) vf_store(s->p + i, p);
    else vf_store_n(s->p + i, p, n);
}

HONE_INLINE void loop(int momentum, int nesterov, int wd, int unroll, const struct step *step, int64_t from, int64_t to)
{
    const struct step s = *step;   /* a copy that stores cannot change */
    int64_t i = from;
    for (; i + unroll * VL <= to; i += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) update(momentum, nesterov, wd, VL, &s, i + u * VL);
    for (; unroll > 1 && i + VL <= to; i += VL) update(momentum, nesterov, wd, VL, &s, i);
    if (i < to) update(momentum, nesterov, wd, (int)(to - i), &s, i);
}

typedef void loop_of(const struct step *s, int64_t from, int64_t to);

#define LOOP(M, N, W, U)                                                                       \
    static void loop_##M##N##W##_##U(const struct step *s, int64_t from, int64_t to)           \
    {                                                                                          \
        loop(M, N, W, U, s, from, to);                                                         \
    }
#define LOOPS(M, N, W) LOOP(M, N, W, 1) LOOP(M, N, W, 2) LOOP(M, N, W, 4)
LOOPS(0, 0, 0) LOOPS(1, 0, 0) LOOPS(1, 1, 0) LOOPS(0, 0, 1) LOOPS(1, 0, 1) LOOPS(1, 1, 1)

#define ROW(M, N, W) { loop_##M##N##W##_1, loop_##M##N##W##_2, loop_##M##N##W##_4 }
static loop_of *const variants[8][3] = {   /* by the bits of problem.attrs, and unroll / 2 */
    [0] = ROW(0, 0, 0), [1 << SGD_MOMENTUM] = ROW(1, 0, 0), [1 << SGD_MOMENTUM | 1 << SGD_NESTEROV] = ROW(1, 1, 0),
    [1 << SGD_WD] = ROW(0, 0, 1), [1 << SGD_WD | 1 << SGD_MOMENTUM] = ROW(1, 0, 1),
    [1 << SGD_WD | 1 << SGD_MOMENTUM | 1 << SGD_NESTEROV] = ROW(1, 1, 1),
};

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
    const int threads = plan->config.v[THREADS], momentum = (int)(p->attrs >> SGD_MOMENTUM & 1);
    const int64_t n = p->dim[OPTIM_N];
    loop_of *f = variants[p->attrs][plan->config.v[UNROLL] / 2];
    const float *hyper = mem[sgd_hyper(p)];
    const struct step s = {
        .p = mem[SGD_P], .v = momentum ? mem[SGD_V] : NULL, .g = mem[sgd_g(p)],
        .lr = hyper[HYPER_LR], .momentum = hyper[HYPER_MOMENTUM], .wd = hyper[HYPER_WD],
    };
    (void)workspace;
    if (threads == 1) { f(&s, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) f(&s, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_sgd, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_sgd) = {
    .name = HONE_NAME("cpu_sgd"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
