/* 3x3 convolution by Winograd's minimal filtering, the products in tensor cores as tf32. */
#include "kernels/conv2d/winograd.cuh"
#include "kernels/gemm/mma.cuh"

WINOGRAD_KERNELS(conv_winograd_mma)

#define MMA(bm, bn, bk, wm, wn)                                                                    \
    KERNEL(conv_winograd_mma_##bm##_##bn, GIVEN, 32 * (wm) * (wn))                                 \
    {                                                                                              \
        SIZES(TILE_SIZES, sizes);                                                                  \
        const TILE_SIZES s = part_of(given, sizes);                                                \
        int from, end;                                                                             \
        share_of(s, &from, &end);                                                                  \
        SHARED(shared);                                                                            \
        mma_tile(given, s, (char *)shared, from, end, 0, bm, bn, bk, wm, wn);                      \
    }
#ifndef CONFIGS
#define CONFIGS(X) MMA_TILES(X)
#endif
CONFIGS(MMA)
