/* The activations and their gradients over a flat array: `unroll` vectors at a time, in as many
 * threads as pay, and past the caches where the output is too large to be found there again.
 *
 * Y may lie where X does, and DX where DY or S do: all of a block is read before it is written. */
#include "kernels/activation/vector.h"
#include "kernels/backend/ahead.h"

enum { UNROLL, STREAM, THREADS };

/* One function per act, direction and unroll, so that inner loops know all three. */
typedef void loop(stored *y, const stored *x, const stored *s, int64_t n, int stream);

HONE_INLINE vf element(enum hone_act act, int backward, vf x, vf s)
{
    return backward ? vf_activate_bwd(act, x, s) : vf_activate(act, x);
}

/* Whole steps of `unroll` vectors; returns where they end. */
HONE_INLINE int64_t steps_of(enum hone_act act, int backward, int unroll, int stream, stored *y,
                             const stored *x, const stored *s, int64_t n)
{
    const vf none = { 0 };
    const int step = unroll * VL;
    int64_t i = 0;
    for (; i + step <= n; i += step) {
        vf v[8];
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            if (u % AHEAD_VECTORS == 0) {
                fetch_ahead(x + i + u * VL);
                if (backward) fetch_ahead(s + i + u * VL);
                if (!stream) fetch_ahead(y + i + u * VL);
            }
            v[u] = vs_load(x + i + u * VL);
        }
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++)
            v[u] = element(act, backward, v[u], backward ? vs_load(s + i + u * VL) : none);
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++)
            if (stream) vs_stream(y + i + u * VL, v[u]);
            else vs_store(y + i + u * VL, v[u]);
    }
    if (stream) vf_stream_end();
    return i;
}

HONE_INLINE void loop_of(enum hone_act act, int backward, int unroll, stored *y, const stored *x,
                         const stored *s, int64_t n, int stream)
{
    const vf none = { 0 };
    int64_t i = stream ? steps_of(act, backward, unroll, 1, y, x, s, n)
                       : steps_of(act, backward, unroll, 0, y, x, s, n);
    for (; unroll > 1 && i + VL <= n; i += VL)
        vs_store(y + i, element(act, backward, vs_load(x + i), backward ? vs_load(s + i) : none));
    int rest = (int)(n - i);
    if (rest)
        vs_store_n(y + i,
                   element(act, backward, vs_load_n(x + i, rest),
                           backward ? vs_load_n(s + i, rest) : none),
                   rest);
}

#define LOOP(NAME, BACKWARD, UNROLL)                                                               \
    static void NAME##_##BACKWARD##_##UNROLL(stored *y, const stored *x, const stored *s, int64_t n,     \
                                             int stream)                                           \
    {                                                                                              \
        loop_of(HONE_ACT_##NAME, BACKWARD, UNROLL, y, x, s, n, stream);                            \
    }
#define LOOPS(NAME, from_y, slope)                                                                 \
    LOOP(NAME, 0, 1) LOOP(NAME, 0, 2) LOOP(NAME, 0, 4)                                             \
    LOOP(NAME, 1, 1) LOOP(NAME, 1, 2) LOOP(NAME, 1, 4)
HONE_ACT_MAP(LOOPS)

/* A plan's priv points to its row's element. */
static const struct row {
    const struct hone_op *op;
    struct entry { loop *run; int backward; } unroll[3];   /* 1, 2, 4 */
} rows[] = {
#define ROWS(NAME, from_y, slope)                                                                  \
    { &hone_op_##NAME, { { NAME##_0_1, 0 }, { NAME##_0_2, 0 }, { NAME##_0_4, 0 } } },              \
    { &hone_op_##NAME##_bwd, { { NAME##_1_1, 1 }, { NAME##_1_2, 1 }, { NAME##_1_4, 1 } } },
    HONE_ACT_MAP(ROWS)
};

static const struct hone_op *const ops[] = {
#define NAMES(NAME, from_y, slope) &hone_op_##NAME, &hone_op_##NAME##_bwd,
    HONE_ACT_MAP(NAMES) 0
};

extern const struct hone_kernel HONE_SYM(activation_cpu_vector);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* 4 numbers a nanosecond from the caches, and about 20 flops. */
    c->v[UNROLL] = 2;
    c->v[STREAM] = 0;
    c->v[THREADS] = hone_guess_threads(d, p->dim[ACT_N] / 4e3 + p->op->flops(p) / 20e3);
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(activation_cpu_vector), p, c, d))
        c->v[THREADS] /= 2;
}

static int prepare(struct hone_plan *plan)
{
    const struct row *r = rows;
    while (r->op != hone_plan_problem(plan)->op) r++;
    plan->priv = (void *)(uintptr_t)&r->unroll[hone_plan_config(plan)->v[UNROLL] / 2];
    return HONE_OK;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct entry *e = plan->priv;
    const int threads = hone_plan_config(plan)->v[THREADS],
              stream = hone_plan_config(plan)->v[STREAM];
    const int64_t n = hone_plan_problem(plan)->dim[ACT_N];
    stored *y = mem[0];                            /* Y or DX */
    const stored *x = mem[1], *s = e->backward ? mem[ACT_S] : NULL;   /* X, nothing; or DY, S */
    (void)workspace;
    if (threads == 1) { e->run(y, x, s, n, stream); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        int64_t from = hone_part(n, 16, threads, t), to = hone_part(n, 16, threads, t + 1);
        e->run(y + from, x + from, s ? s + from : s, to - from, stream);
    }
    return HONE_OK;
}

const struct hone_kernel HONE_SYM(activation_cpu_vector) = {
    .name = HONE_NAME("cpu_vector"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("stream", 0, 1),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    /* Streaming pays only where the arguments together exceed the L2 cache. */
    .constraint = "(stream == 0 || bytes >= l2) && "
                  "(threads == 1 || n >= 256 * threads)",
    .guess = guess,
    .prepare = prepare,
    .run = run,
};
