/* Loops that do nothing but multiply and add in registers, or read, or read and write. */
#include "kernels/backend/cuda.cuh"
#include "kernels/backend/cuda_peaks.h"

/* v = v / 2 + 1 goes to 2, whatever it began with. */
#define CHAINS(name, type)                                                                         \
    KERNEL(name, struct cuda_peaks, PEAKS_THREADS)                                                 \
    {                                                                                              \
        const type scale = (type)given.scale, one = scale + scale;                                 \
        type v[PEAKS_CHAINS], sum = 0;                                                             \
        UNROLLED                                                                                   \
        for (int c = 0; c < PEAKS_CHAINS; c++) v[c] = (type)(c + (int)threadIdx.x % 32);           \
        NOT_UNROLLED                                                                               \
        for (int round = 0; round < given.rounds; round++) {                                       \
            UNROLLED                                                                               \
            for (int i = 0; i < PEAKS_STEPS; i++) {                                                \
                UNROLLED                                                                           \
                for (int c = 0; c < PEAKS_CHAINS; c++) v[c] = v[c] * scale + one;                  \
            }                                                                                      \
        }                                                                                          \
        UNROLLED                                                                                   \
        for (int c = 0; c < PEAKS_CHAINS; c++) sum += v[c];                                        \
        given.out[FIRST] = (float)sum;                                                             \
    }
CHAINS(peaks_fma_f32, float)
CHAINS(peaks_fma_f64, double)

/* Each round a block reads another part, which its L1 does not have. */
KERNEL(peaks_read, struct cuda_peaks, PEAKS_THREADS)
{
    const float4 *from = (const float4 *)given.mem;
    float sum = 0.0f;
    for (int round = 0; round < given.rounds; round++) {
        const unsigned block = (blockIdx.x + (unsigned)round * 37u) % gridDim.x;
        UNROLLED_BY_4
        for (int64 i = (int64)block * PEAKS_THREADS + threadIdx.x; i < given.pieces; i += STRIDE) {
            const float4 v = LOAD(from + i);
            sum += (v.x + v.y) + (v.z + v.w);
        }
    }
    given.out[FIRST] = sum;
}

/* a = b + s c of three equal parts. */
KERNEL(peaks_triad, struct cuda_peaks, PEAKS_THREADS)
{
    const int64 n = given.pieces / 3;
    float4 *a = (float4 *)given.mem;
    for (int round = 0; round < given.rounds; round++) {
        UNROLLED_BY_4
        for (int64 i = FIRST; i < n; i += STRIDE) {
            const float4 b = LOAD(a + n + i), c = LOAD(a + 2 * n + i);
            float4 v;
            v.x = b.x + given.scale * c.x, v.y = b.y + given.scale * c.y;
            v.z = b.z + given.scale * c.z, v.w = b.w + given.scale * c.w;
            a[i] = v;
        }
    }
    if (n) given.out[FIRST] = 0.0f;
}
