/* 3x3 convolution by Winograd's minimal filtering: all GPUs, sums in f32. */
#include "kernels/conv2d/winograd.cuh"
#include "kernels/gemm/tiled.cuh"

WINOGRAD_KERNELS(conv_winograd)

#define TILE(bm, bn, bk, tm, tn)                                                                   \
    KERNEL(conv_winograd_##bm##_##bn##_##bk, GIVEN, (bm / tm) * (bn / tn))                         \
    {                                                                                              \
        SIZES(TILE_SIZES, sizes);                                                                  \
        const TILE_SIZES s = part_of(given, sizes);                                                \
        int from, end;                                                                             \
        share_of(s, &from, &end);                                                                  \
        SHARED(shared);                                                                            \
        simt_tile(given, s, shared, from, end, bm, bn, bk, tm, tn);                                \
    }
#ifndef CONFIGS
#define CONFIGS(X) SIMT_TILES(X)
#endif
CONFIGS(TILE)
