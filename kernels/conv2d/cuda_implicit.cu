/* Convolution as a product of matrices that are read where they lie: all GPUs, sums in f32. */
#include "kernels/conv2d/implicit.cuh"
#include "kernels/gemm/tiled.cuh"

#define TILE(bm, bn, bk, tm, tn)                                                                   \
    KERNEL(conv_implicit_##bm##_##bn##_##bk, GIVEN, (bm / tm) * (bn / tn))                         \
    {                                                                                              \
        SIZES(TILE_SIZES, sizes);                                                                  \
        int from, end;                                                                             \
        const TILE_SIZES s = share_of(sizes, &from, &end);                                         \
        SHARED(shared);                                                                            \
        simt_tile(given, s, shared, from, end, bm, bn, bk, tm, tn);                                \
    }
#ifndef CONFIGS
#define CONFIGS(X) SIMT_TILES(X)
#endif
CONFIGS(TILE)

KERNEL(conv_implicit_join, GIVEN, 256)
{
    SIZES(TILE_SIZES, s);
    join_parts(given, s);
}
