/* Dropout with the hash in vectors of 64-bit lanes: each yields two numbers' draws.  In memory
 * order its halves lie as floats do (on a little-endian processor, as all are that we know vectors
 * of; others are refused); for doubles, lanes go in pairs of the same hash. */
#include "kernels/backend/ahead.h"
#include "kernels/dropout/vector.h"

enum { UNROLL, STREAM, THREADS };

struct job { stored *y; const stored *x; uint64_t key; uint32_t threshold; real scale; };

/* z holds the unmixed hashes of the VL numbers whose values are x. */
HONE_INLINE vf element(vl z, vf x, const struct job *job)
{
#if HONE_REAL == 64
    vl half = (vl)(vi_lanes() & 1) << 5, draw = dropout_mix(z) >> half & 0xffffffffu;
#else
    vu draw = (vu)dropout_mix(z);
#endif
    vi keep = draw >= (draw ^ draw) + job->threshold;
    return (vf)(keep & (vi)(x * job->scale));
}

/* Numbers [from, to); from is even. */
HONE_INLINE void loop(int unroll, int stream, const struct job *job, int64_t from, int64_t to)
{
    const struct job s = *job;
    const uint64_t golden = DROPOUT_GOLDEN;
    vl z;
    for (int l = 0; l < VB / 8; l++)
        z[l] = s.key + ((uint64_t)from / 2 + (uint64_t)(l * VL / (VB / 8) / 2) + 1) * golden;
    int64_t i = from;
    for (; i + unroll * VL <= to; i += unroll * VL) {
        vf v[4];
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            if (stream && u % AHEAD_VECTORS == 0) fetch_ahead(s.x + i + u * VL);
            v[u] = element(z + (uint64_t)u * (VL / 2) * golden, vs_load(s.x + i + u * VL), &s);
        }
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++)
            if (stream) vs_stream(s.y + i + u * VL, v[u]);
            else vs_store(s.y + i + u * VL, v[u]);
        z = z + (uint64_t)unroll * (VL / 2) * golden;
    }
    if (stream) vf_stream_end();
    for (; unroll > 1 && i + VL <= to; i += VL) {
        vs_store(s.y + i, element(z, vs_load(s.x + i), &s));
        z = z + (uint64_t)(VL / 2) * golden;
    }
    int n = (int)(to - i);
    if (n) vs_store_n(s.y + i, element(z, vs_load_n(s.x + i, n), &s), n);
}

HONE_INLINE void unrolled(int unroll, int stream, const struct job *job, int64_t from, int64_t to)
{
    if (unroll == 1) loop(1, stream, job, from, to);
    else if (unroll == 2) loop(2, stream, job, from, to);
    else loop(4, stream, job, from, to);
}

static void share(int unroll, int stream, const struct job *job, int64_t from, int64_t to)
{
    if (stream) unrolled(unroll, 1, job, from, to);
    else unrolled(unroll, 0, job, from, to);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const union { uint64_t whole; uint32_t half[2]; } order = { 1 };
    (void)p, (void)d;
    return order.half[0] ? NULL : "processor is big-endian";
}

extern const struct hone_kernel HONE_SYM(dropout_cpu_hash);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = 2;
    c->v[STREAM] = 0;
    c->v[THREADS] = hone_guess_threads(d, p->dim[DROP_N] / 2e3);   /* 2 numbers a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(dropout_cpu_hash), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS],
              unroll = hone_plan_config(plan)->v[UNROLL],
              stream = hone_plan_config(plan)->v[STREAM];
    const uint64_t *seed = mem[DROP_SEED];
    const int64_t n = p->dim[DROP_N];
    const struct job job = {
        .y = mem[DROP_Y],
        .x = mem[DROP_X],
        .key = dropout_key(seed[0], seed[1], p->value[DROP_STREAM]),
        .threshold = dropout_threshold(p->value[DROP_P]),
        .scale = (real)(1 / (1 - p->value[DROP_P])),
    };
    (void)workspace;
    if (threads == 1) { share(unroll, stream, &job, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        share(unroll, stream, &job, hone_part(n, 16, threads, t),
              hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_dropout, 0 };

const struct hone_kernel HONE_SYM(dropout_cpu_hash) = {
    .name = HONE_NAME("cpu_hash"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("stream", 0, 1),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    /* Streaming pays only where the arguments together exceed the L2 cache. */
    .refuse = refuse,
    .constraint = "(stream == 0 || bytes >= l2) && (threads == 1 || n >= 256 * threads)",
    .guess = guess, .run = run,
};
