/* y = a + b: `unroll` vectors at a time, past the caches where the sum is too large to be found
 * there again.  Y may lie where A or B does: all of a block is read before it is written. */
#include "kernels/backend/ahead.h"
#include "kernels/join/join.h"

enum { UNROLL, STREAM, THREADS };

/* The sum as it is, without what is below 0, and without what is above 6 either. */
enum cut { NONE, RELU, RELU6 };

HONE_INLINE vf sum(enum cut cut, vf a, vf b)
{
    vf y = a + b, zero = { 0 };
    if (cut != NONE) y = vf_max(zero, y);
    return cut == RELU6 ? vf_min(vf_set(6), y) : y;
}

/* Whole steps of `unroll` vectors; returns where they end. */
HONE_INLINE int64_t steps(enum cut cut, int unroll, int stream, stored *y, const stored *a,
                          const stored *b, int64_t n)
{
    int64_t i = 0;
    for (; i + unroll * VL <= n; i += unroll * VL) {
        vf v[4];
        HONE_UNROLLED for (int u = 0; u < unroll; u++) {
            if (u % AHEAD_VECTORS == 0) {
                fetch_ahead(a + i + u * VL);
                fetch_ahead(b + i + u * VL);
                if (!stream) fetch_ahead(y + i + u * VL);
            }
            v[u] = sum(cut, vs_load(a + i + u * VL), vs_load(b + i + u * VL));
        }
        HONE_UNROLLED for (int u = 0; u < unroll; u++)
            if (stream) vs_stream(y + i + u * VL, v[u]);
            else vs_store(y + i + u * VL, v[u]);
    }
    if (stream) vf_stream_end();
    return i;
}

HONE_INLINE void add(enum cut cut, int unroll, stored *y, const stored *a, const stored *b, int64_t n,
                     int stream)
{
    int64_t i = stream ? steps(cut, unroll, 1, y, a, b, n) : steps(cut, unroll, 0, y, a, b, n);
    for (; unroll > 1 && i + VL <= n; i += VL)
        vs_store(y + i, sum(cut, vs_load(a + i), vs_load(b + i)));
    const int rest = (int)(n - i);
    if (rest) vs_store_n(y + i, sum(cut, vs_load_n(a + i, rest), vs_load_n(b + i, rest)), rest);
}

HONE_INLINE void unrolled(enum cut cut, int unroll, stored *y, const stored *a, const stored *b,
                          int64_t n, int stream)
{
    if (unroll == 1) add(cut, 1, y, a, b, n, stream);
    else if (unroll == 2) add(cut, 2, y, a, b, n, stream);
    else add(cut, 4, y, a, b, n, stream);
}

static void share(enum hone_act act, int unroll, stored *y, const stored *a, const stored *b, int64_t n,
                  int stream)
{
    if (act == HONE_ACT_relu) unrolled(RELU, unroll, y, a, b, n, stream);
    else if (act == HONE_ACT_relu6) unrolled(RELU6, unroll, y, a, b, n, stream);
    else unrolled(NONE, unroll, y, a, b, n, stream);
}

extern const struct hone_kernel HONE_SYM(join_cpu_add);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = 2;
    c->v[STREAM] = 0;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(join_cpu_add), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int threads = hone_plan_config(plan)->v[THREADS],
              unroll = hone_plan_config(plan)->v[UNROLL],
              stream = hone_plan_config(plan)->v[STREAM];
    const int64_t n = hone_plan_problem(plan)->dim[ADD_N];
    stored *y = mem[ADD_Y];
    const stored *a = mem[ADD_A], *b = mem[ADD_B];
    const enum hone_act act = hone_act_of(hone_plan_problem(plan));
    (void)workspace;
    if (threads == 1) { share(act, unroll, y, a, b, n, stream); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        int64_t from = hone_part(n, 16, threads, t), to = hone_part(n, 16, threads, t + 1);
        share(act, unroll, y + from, a + from, b + from, to - from, stream);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_add, 0 };

const struct hone_kernel HONE_SYM(join_cpu_add) = {
    .name = HONE_NAME("cpu_add"),
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
    .run = run,
};
