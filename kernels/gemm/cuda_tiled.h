/* What cuda_tiled.c gives to cuda_tiled.cu. */
#ifndef HONE_GEMM_CUDA_TILED_H
#define HONE_GEMM_CUDA_TILED_H

/* Element (i, l) of op(A) lies at i * a_row + l * a_col, likewise B's (l, j).  The k terms of a sum
 * are shared by `parts` blocks of `part` terms, where parts is above 1. */
struct gemm_tiled_sizes {
    int m, n, k, a_row, a_col, b_row, b_col;
    int alpha, beta;                 /* bits of floats */
    int act, bias, part, parts;
};

struct gemm_tiled {
    float *c;
    const float *a, *b, *bias;
    float *partial;                  /* (parts, m, n), where parts is above 1 */
    struct gemm_tiled_sizes s;
};

/* Tiles: rows and columns of C that a block computes, terms at a time, and rows and columns that a
 * thread has in registers; compiled by nvcc for each line. */
#define GEMM_TILED(X)                                                                              \
    X(32, 32, 8, 2, 2)                                                                             \
    X(64, 32, 8, 4, 2)                                                                             \
    X(64, 64, 8, 4, 4)                                                                             \
    X(64, 64, 16, 4, 4)                                                                            \
    X(128, 64, 8, 8, 4)                                                                            \
    X(128, 128, 8, 8, 8)

#endif
