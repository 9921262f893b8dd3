/* The loops behind the measured peaks, compiled once per instruction set: multiply-adds that stay
 * in registers, reads, triad, and what moves any mix of arrays. */
#include "profiler/peaks.h"

#include "kernels/backend/cpu.h"

/* Enough independent chains to fill two (four on AArch64) pipes of latency 4, few enough that they
 * and two constants stay in registers.  Named variables, since GCC leaves an array in memory. */
#define CHAINS_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#if defined __AVX512F__ || defined __aarch64__
#define EACH_CHAIN(X)                                                                              \
    CHAINS_12(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
enum { CHAINS = 24 };
#else
#define EACH_CHAIN(X) CHAINS_12(X)
enum { CHAINS = 12 };
#endif

typedef double vd __attribute__((vector_size(HONE_VB)));
typedef int64_t vl __attribute__((vector_size(HONE_VB)));

/* The chains start apart and run to the fixed point y / (1 - x): no overflow, no denormals. */
#define START(i) acc##i = y * (i + 1),
#define STEP(i) acc##i = acc##i * x + y;
#define ADD(i) sum += acc##i;
#define FMA_LOOP(name, scalar, vector)                                                             \
    static double name(int64_t steps)                                                              \
    {                                                                                              \
        volatile scalar vx = (scalar)0.5, vy = 1;                                                  \
        vector x = vx - (vector){ 0 }, y = vy - (vector){ 0 };                                     \
        vector EACH_CHAIN(START) sum = { 0 };                                                      \
        for (int64_t s = 0; s < steps; s++) { EACH_CHAIN(STEP) }                                   \
        EACH_CHAIN(ADD)                                                                            \
        __asm__ volatile("" ::"m"(sum)); /* every lane counts */                                   \
        return (double)sum[0];                                                                     \
    }

FMA_LOOP(fma_f32, float, vf)
FMA_LOOP(fma_f64, double, vd)

/* Whole-number adds take one cycle, so four chains keep every load port busy. */
static int64_t read_all(const void *p, int64_t bytes, int64_t times)
{
    enum { BLOCK = 16 }; /* vectors */
    vl sum[4] = { { 0 } };
    for (int64_t t = 0; t < times; t++) {
        const vl *v = p;
        /* HONE_READ_BLOCK is a multiple of one block in every ISA. */
        for (const vl *end = v + bytes / VB; v < end; v += BLOCK)
            for (int i = 0; i < BLOCK; i++) sum[i % 4] += v[i];
        /* The sum so far counts: passes cannot be merged into one. */
        __asm__ volatile("" ::: "memory");
    }
    vl all = sum[0] + sum[1] + sum[2] + sum[3];
    __asm__ volatile("" ::"m"(all));
    return all[0];
}

static void triad(float *a, const float *b, const float *c, float s, int64_t n)
{
    vf sv = vf_set(s);
    for (int64_t i = 0; i < n; i += VL) vf_store(a + i, vf_load(b + i) + sv * vf_load(c + i));
}

/* What is read is fetched some lines ahead: a processor by itself does that within a page only, and
 * less eagerly beside stores that go past the caches. */
HONE_INLINE vl move_lines(enum hone_io io, int stream, char *p, int64_t lines, vl sum, vl zero)
{
    enum { AHEAD = 2048, PER_LINE = HONE_LINE / VB };
    for (const char *end = p + lines * HONE_LINE; p < end; p += HONE_LINE) {
        if (io != HONE_OUT) __builtin_prefetch(p + AHEAD);
        HONE_UNROLLED for (int i = 0; i < PER_LINE; i++) {
            float *at = (float *)p + i * VL;
            vl v = io == HONE_OUT ? zero : (vl)vf_load(at) ^ zero;
            if (io == HONE_IN) sum += v;
            else if (stream) vf_stream(at, (vf)v);
            else vf_store(at, (vf)v);
        }
    }
    return sum;
}

static void move(const struct hone_moved *array, int n, int64_t from, int64_t to, int64_t steps,
                 int stream)
{
    volatile int64_t nothing = 0;   /* so that the compiler keeps what changes nothing */
    const vl zero = nothing - (vl){ 0 };
    vl sum = zero;
    for (int64_t step = from; step < to; step++)
        for (int a = 0; a < n; a++) {
            const double each = (double)array[a].lines / (double)steps;
            const int64_t first = (int64_t)((double)step * each),
                          end = step + 1 == steps ? array[a].lines
                                                  : (int64_t)((double)(step + 1) * each),
                          lines = end - first;
            char *p = array[a].at + first * HONE_LINE;
            const enum hone_io io = array[a].io;
            if (io == HONE_IN) sum = move_lines(HONE_IN, 0, p, lines, sum, zero);
            else if (io == HONE_OUT && stream) move_lines(HONE_OUT, 1, p, lines, sum, zero);
            else if (io == HONE_OUT) move_lines(HONE_OUT, 0, p, lines, sum, zero);
            else if (stream) move_lines(HONE_INOUT, 1, p, lines, sum, zero);
            else move_lines(HONE_INOUT, 0, p, lines, sum, zero);
        }
    if (stream) vf_stream_end();
    __asm__ volatile("" ::"m"(sum) : "memory");
}

extern const struct hone_loops HONE_SYM(loops);
const struct hone_loops HONE_SYM(loops) = {
    fma_f32, fma_f64, 2 * CHAINS * VL, CHAINS * VL, read_all, triad, move,
};
