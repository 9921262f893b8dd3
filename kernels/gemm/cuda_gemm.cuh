/* kernels/gemm/cuda_gemm.cuh -- what gemm's operands and result are to tiled.cuh and mma.cuh. */
#ifndef HONE_GEMM_CUDA_GEMM_CUH
#define HONE_GEMM_CUDA_GEMM_CUH

#include "kernels/activation/act.cuh"
#include "kernels/gemm/cuda_gemm.h"
#include "kernels/gemm/run.cuh"

#define GIVEN struct gemm_given
#define TILE_SIZES struct gemm_sizes

DEVICE struct run a_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.a, s.half, row, col, s.a_turned ? s.k : s.m, s.a_turned ? s.m : s.k, n);
}

DEVICE struct run b_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.b, s.half, row, col, s.b_turned ? s.k : s.n, s.b_turned ? s.n : s.k, n);
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

/* Adds up the parts, always in the same order. */
DEVICE void join_parts(const GIVEN given, const TILE_SIZES s)
{
    const int64 n = (int64)s.m * s.n;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[part * n + i];
        finish(given, s, (int)(i / s.n), (int)(i % s.n), sum);
    }
}

#endif
