/* kernels/gemm/tiles.h -- a tile for every number of rows, so that rows can be split evenly and no
 * edge costs extra; columns are masked.  A lies as it lies: row after row (hone_tiles_by_rows) or
 * transposed (hone_tiles_by_columns). */
#ifndef HONE_GEMM_TILES_H
#define HONE_GEMM_TILES_H

#include "kernels/gemm/micro.h"

HONE_INLINE void tile_rows(int mr, int nv, const struct hone_tile *t)
{
    vf s[HONE_TILE_MAX];
    int cols = t->cols;
    hone_tile_start(mr, nv, s, t, cols);
    hone_tile_rows(mr, nv, s, t->k, t->a, t->a_stride, t->b, t->b_step, cols);
    hone_tile_finish(mr, nv, s, t, cols);
}

HONE_INLINE void tile_columns(int mr, int nv, const struct hone_tile *t)
{
    vf s[HONE_TILE_MAX];
    int cols = t->cols;
    hone_tile_start(mr, nv, s, t, cols);
    hone_tile_columns(mr, nv, s, t->k, t->a, t->a_stride, t->b, t->b_step, cols);
    hone_tile_finish(mr, nv, s, t, cols);
}

/* All of HONE_TILE_ROWS. */
#if defined __AVX512F__
#define TILES(X) HONE_UP_TO_16(X, 1) HONE_UP_TO_14(X, 2) HONE_UP_TO_9(X, 3) HONE_UP_TO_6(X, 4)
#elif defined __aarch64__
#define TILES(X) HONE_UP_TO_16(X, 1) HONE_UP_TO_12(X, 2) HONE_UP_TO_8(X, 3) HONE_UP_TO_6(X, 4)
#elif defined __AVX2__
#define TILES(X) HONE_UP_TO_8(X, 1) HONE_UP_TO_6(X, 2) HONE_UP_TO_3(X, 3) HONE_UP_TO_2(X, 4)
#else
#define TILES(X) HONE_UP_TO_8(X, 1) HONE_UP_TO_4(X, 2) HONE_UP_TO_3(X, 3) HONE_UP_TO_2(X, 4)
#endif

#define X(mr, nv)                                                                                 \
    static void rows_##mr##x##nv(const struct hone_tile *t) { tile_rows(mr, nv, t); }             \
    static void columns_##mr##x##nv(const struct hone_tile *t) { tile_columns(mr, nv, t); }
TILES(X)
#undef X

/* By vectors and rows, each less one. */
#define X(mr, nv) [nv - 1][mr - 1] = rows_##mr##x##nv,
static hone_tile_fn *const hone_tiles_by_rows[4][16] __attribute__((unused)) = { TILES(X) };
#undef X
#define X(mr, nv) [nv - 1][mr - 1] = columns_##mr##x##nv,
static hone_tile_fn *const hone_tiles_by_columns[4][16] __attribute__((unused)) = { TILES(X) };
#undef X

#endif
