/* C = act(alpha op(A) op(B) + beta C + bias) on all GPUs: f32, and halves with sums in f32. */
#include "kernels/gemm/cuda_gemm.cuh"
#include "kernels/gemm/tiled.cuh"

#define TILE(bm, bn, bk, tm, tn)                                                                   \
    KERNEL(gemm_tiled_##bm##_##bn##_##bk, GIVEN, (bm / tm) * (bn / tn))                            \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        const int from = blockIdx.z * s.part, end = from + s.part < s.k ? from + s.part : s.k;     \
        SHARED(shared);                                                                            \
        simt_tile(given, s, shared, from, end, bm, bn, bk, tm, tn);                                \
    }
#ifndef CONFIGS
#define CONFIGS(X) SIMT_TILES(X)
#endif
CONFIGS(TILE)

KERNEL(gemm_tiled_join, GIVEN, 256)
{
    SIZES(TILE_SIZES, s);
    join_parts(given, s);
}
