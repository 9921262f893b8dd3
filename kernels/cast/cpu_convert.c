/* Numbers from f32 to halves and back, `unroll` vectors at a time, past the caches where the result
 * is too large to be found there again. */
#include "kernels/backend/cpu.h"
#include "kernels/cast/cast.h"

enum { UNROLL, STREAM, THREADS };

HONE_INLINE void narrow(int unroll, stored *y, const real *x, int64_t n, int stream)
{
    int64_t i = 0;
    if (stream) {
        for (; i + VL <= n; i += VL) vs_stream(y + i, vf_load(x + i));
        vf_stream_end();
    }
    for (; i + unroll * VL <= n; i += unroll * VL) {
        vf v[4];
        HONE_UNROLLED for (int u = 0; u < unroll; u++) v[u] = vf_load(x + i + u * VL);
        HONE_UNROLLED for (int u = 0; u < unroll; u++) vs_store(y + i + u * VL, v[u]);
    }
    vs_narrow(y + i, x + i, n - i);
}

HONE_INLINE void widen(int unroll, real *y, const stored *x, int64_t n, int stream)
{
    int64_t i = 0;
    if (stream) {
        for (; i + VL <= n; i += VL) vf_stream(y + i, vs_load(x + i));
        vf_stream_end();
    }
    for (; i + unroll * VL <= n; i += unroll * VL) {
        vf v[4];
        HONE_UNROLLED for (int u = 0; u < unroll; u++) v[u] = vs_load(x + i + u * VL);
        HONE_UNROLLED for (int u = 0; u < unroll; u++) vf_store(y + i + u * VL, v[u]);
    }
    vs_widen(y + i, x + i, n - i);
}

/* Numbers [from, to) of each of narrow's rows [row, end). */
HONE_INLINE void narrow_rows(int unroll, const struct hone_problem *p, void *const mem[], int row,
                             int end, int64_t from, int64_t to, int stream)
{
    const int64_t n = p->dim[CAST_N], ld = p->dim[CAST_LD];
    for (; row < end; row++)
        narrow(unroll, (stored *)mem[CAST_Y] + row * n + from,
               (const real *)mem[CAST_X] + row * ld + from, to - from, stream);
}

/* Part t of `threads`: of the numbers of one row, or of the rows. */
HONE_INLINE void share(int unroll, const struct hone_problem *p, void *const mem[], int threads,
                       int t, int stream)
{
    const int64_t n = p->dim[CAST_N], from = hone_part(n, 16, threads, t),
                  to = hone_part(n, 16, threads, t + 1);
    if (hone_problem_is(p, narrow) && p->dim[CAST_M] > 1)
        narrow_rows(unroll, p, mem, (int)hone_part(p->dim[CAST_M], 1, threads, t),
                    (int)hone_part(p->dim[CAST_M], 1, threads, t + 1), 0, n, stream);
    else if (hone_problem_is(p, narrow))
        narrow_rows(unroll, p, mem, 0, 1, from, to, stream);
    else
        widen(unroll, (real *)mem[CAST_Y] + from, (stored *)mem[CAST_X] + from, to - from, stream);
}

extern const struct hone_kernel HONE_SYM(cast_cpu_convert);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[UNROLL] = 2;
    c->v[STREAM] = 0;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(cast_cpu_convert), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS], unroll = hone_plan_config(plan)->v[UNROLL],
              /* Not to places that are not aligned, as a narrow matrix's rows may be. */
              stream = hone_plan_config(plan)->v[STREAM] &&
                       (!hone_problem_is(p, narrow) || p->dim[CAST_M] == 1 ||
                        p->dim[CAST_N] * sizeof(stored) % HONE_ALIGN == 0);
    (void)workspace;
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int t = 0; t < threads; t++) {
        if (unroll == 1) share(1, p, mem, threads, t, stream);
        else if (unroll == 2) share(2, p, mem, threads, t, stream);
        else share(4, p, mem, threads, t, stream);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_narrow, &hone_op_widen, 0 };

const struct hone_kernel HONE_SYM(cast_cpu_convert) = {
    .name = HONE_NAME("cpu_convert"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("stream", 0, 1),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    /* Streaming pays only where the arguments together exceed the L2 cache. */
    .constraint = "(stream == 0 || unroll == 1 && bytes >= l2) && "
                  "(threads == 1 || n >= 256 * threads)",
    .guess = guess,
    .run = run,
};
