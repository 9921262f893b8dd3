/* kernels/gemm/run.cuh -- neighbouring numbers of an operand, as tiled.cuh and mma.cuh ask for
 * them. */
#ifndef HONE_GEMM_RUN_CUH
#define HONE_GEMM_RUN_CUH

#include "kernels/backend/cuda.cuh"
#include "kernels/gemm/cuda_tiles.h"

/* No numbers; the address is one that may be held. */
DEVICE struct run run_of_none(const void *from)
{
    struct run r;
    r.at = from;
    r.n = 0;
    return r;
}

/* n numbers from place `at` of an array of halves or floats. */
DEVICE struct run run_from(const void *from, int64 at, int n, int half)
{
    struct run r;
    r.at = (const char *)from + (half ? 2 * at : 4 * at);
    r.n = n;
    return r;
}

/* Numbers [col, col + n) of a row of an array (rows, cols); n divides cols, or is 1. */
DEVICE struct run matrix_run(const void *from, int half, int row, int col, int rows, int cols,
                             int n)
{
    return row < rows && col < cols ? run_from(from, (int64)row * cols + col, n, half)
                                    : run_of_none(from);
}

/* The one number of a run; 0 of none. */
DEVICE float run_number(const struct run r, int half)
{
    return !r.n ? 0.0f : stored_load(r.at, 0, half);
}

#endif
