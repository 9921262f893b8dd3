/* kernels/gemm/cuda_gemm.h -- what cuda_tiled.c and cuda_mma.c give to their .cu. */
#ifndef HONE_GEMM_CUDA_GEMM_H
#define HONE_GEMM_CUDA_GEMM_H

#include "kernels/gemm/cuda_tiles.h"

/* Terms of a sum: `parts` blocks have `part` of them each. */
struct gemm_sizes {
    int m, n, k;
    int a_turned, b_turned;          /* rows of A's array are terms (tn); of B's (nn, tn) */
    int a_wide, b_wide;              /* these rows begin on 16-byte boundaries */
    int stages, part, parts;
    int alpha, beta;                 /* bits of floats */
    int act, bias;
    int half, narrow;                /* hone_cuda_half() of A and B, and of C */
};

struct gemm_given {
    void *c;                         /* (m, n) */
    const void *a, *b;
    const float *bias;               /* (n) */
    float *partial;                  /* (parts, m, n), where parts is above 1 */
    struct gemm_sizes s;
};

#endif
