/* C = act(alpha op(A) op(B) + beta C + bias) in tensor cores: bf16, and f32 rounded to tf32. */
#include "kernels/activation/act.cuh"
#include "kernels/gemm/cuda_mma.h"

#define GIVEN struct gemm_mma
#define TILE_SIZES struct gemm_mma_sizes

/* Numbers [col, col + n) of a row of an array (rows, cols). */
DEVICE struct run matrix_run(const void *from, int size, int row, int col, int rows, int cols,
                             int n)
{
    const int left = row < rows ? cols - col : 0;
    struct run r;
    r.n = left < 0 ? 0 : left < n ? left : n;
    r.at = r.n ? (const char *)from + ((int64)row * cols + col) * size : from;
    return r;
}

DEVICE struct run a_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.a, 16 / n, row, col, s.a_turned ? s.k : s.m, s.a_turned ? s.m : s.k, n);
}

DEVICE struct run b_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.b, 16 / n, row, col, s.b_turned ? s.k : s.n, s.b_turned ? s.n : s.k, n);
}

DEVICE void finish(const GIVEN given, const TILE_SIZES s, int i, int j, float sum)
{
    const int64 at = (int64)i * s.n + j;
    sum *= number_of(s.alpha);
    if (s.beta) sum += number_of(s.beta) * stored_load(given.c, at, s.narrow);
    if (s.bias) sum += LOAD(given.bias + j);
    stored_save(given.c, at, act_epilogue(s.act, sum), s.narrow);
}

DEVICE void result(const GIVEN given, const TILE_SIZES s, int i, int j, float sum)
{
    if (s.parts == 1) finish(given, s, i, j, sum);
    else given.partial[((int64)blockIdx.z * s.m + i) * s.n + j] = sum;
}

#include "kernels/gemm/mma.cuh"

#define KINDS(bm, bn, bk, wm, wn)                                                                  \
    KERNEL(gemm_mma_bf16_##bm##_##bn, GIVEN, 32 * (wm) * (wn))                                     \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        SHARED(shared);                                                                            \
        mma_tile(given, s, (char *)shared, 1, bm, bn, bk, wm, wn);                                 \
    }                                                                                              \
    KERNEL(gemm_mma_tf32_##bm##_##bn, GIVEN, 32 * (wm) * (wn))                                     \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        SHARED(shared);                                                                            \
        mma_tile(given, s, (char *)shared, 0, bm, bn, bk, wm, wn);                                 \
    }
#ifndef CONFIGS
#define CONFIGS(X) MMA_TILES(X)
#endif
CONFIGS(KINDS)

/* Adds up the parts, always in the same order. */
KERNEL(gemm_mma_join, GIVEN, 256)
{
    SIZES(TILE_SIZES, s);
    const int64 n = (int64)s.m * s.n;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[part * n + i];
        finish(given, s, (int)(i / s.n), (int)(i % s.n), sum);
    }
}
