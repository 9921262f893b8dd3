/* Convolution as a product of matrices that are read where they lie, in tensor cores. */
#include "kernels/conv2d/implicit.cuh"
#include "kernels/gemm/mma.cuh"

#define MMA(name, half, bm, bn, bk, wm, wn)                                                        \
    KERNEL(name, GIVEN, 32 * (wm) * (wn))                                                          \
    {                                                                                              \
        SIZES(TILE_SIZES, sizes);                                                                  \
        int from, end;                                                                             \
        const TILE_SIZES s = share_of(sizes, &from, &end);                                         \
        SHARED(shared);                                                                            \
        mma_tile(given, s, (char *)shared, from, end, half, bm, bn, bk, wm, wn);                   \
    }
#define KINDS(bm, bn, bk, wm, wn)                                                                  \
    MMA(conv_implicit_bf16_##bm##_##bn, 1, bm, bn, bk, wm, wn)                                     \
    MMA(conv_implicit_f16_##bm##_##bn, 2, bm, bn, bk, wm, wn)                                      \
    MMA(conv_implicit_tf32_##bm##_##bn, 0, bm, bn, bk, wm, wn)
#ifndef CONFIGS
#define CONFIGS(X) MMA_TILES(X)
#endif
CONFIGS(KINDS)

KERNEL(conv_implicit_mma_join, GIVEN, 256)
{
    SIZES(TILE_SIZES, s);
    join_parts(given, s);
}
