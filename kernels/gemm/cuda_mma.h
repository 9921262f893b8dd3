/* What cuda_mma.c gives to cuda_mma.cu. */
#ifndef HONE_GEMM_CUDA_MMA_H
#define HONE_GEMM_CUDA_MMA_H

#include "kernels/gemm/mma_tiles.h"

/* Terms of a sum: `parts` blocks have `part` of them each. */
struct gemm_mma_sizes {
    int m, n, k;
    int a_turned, b_turned;          /* rows of A's array are terms (tn); of B's (nn) */
    int a_wide, b_wide;              /* these rows begin on 16-byte boundaries */
    int stages, part, parts;
    int alpha, beta;                 /* bits of floats */
    int act, bias, narrow;           /* narrow: C is bf16 */
};

struct gemm_mma {
    void *c;                         /* (m, n) */
    const void *a, *b;
    const float *bias;               /* (n) */
    float *partial;                  /* (parts, m, n), where parts is above 1 */
    struct gemm_mma_sizes s;
};

#endif
