/* C = act(alpha op(A) op(B) + beta C + bias) in tensor cores: bf16, f16, and f32 rounded to tf32. */
#include "kernels/gemm/cuda_gemm.cuh"
#include "kernels/gemm/mma.cuh"

#define MMA(name, half, bm, bn, bk, wm, wn)                                                        \
    KERNEL(name, GIVEN, 32 * (wm) * (wn))                                                          \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        const int from = blockIdx.z * s.part, end = from + s.part < s.k ? from + s.part : s.k;     \
        SHARED(shared);                                                                            \
        mma_tile(given, s, (char *)shared, from, end, half, bm, bn, bk, wm, wn);                   \
    }
#define KINDS(bm, bn, bk, wm, wn)                                                                  \
    MMA(gemm_mma_bf16_##bm##_##bn, 1, bm, bn, bk, wm, wn)                                          \
    MMA(gemm_mma_f16_##bm##_##bn, 2, bm, bn, bk, wm, wn)                                           \
    MMA(gemm_mma_tf32_##bm##_##bn, 0, bm, bn, bk, wm, wn)
#ifndef CONFIGS
#define CONFIGS(X) MMA_TILES(X)
#endif
CONFIGS(KINDS)

KERNEL(gemm_mma_join, GIVEN, 256)
{
    SIZES(TILE_SIZES, s);
    join_parts(given, s);
}
