/* kernels/gemm/cuda_wgmma.h -- what cuda_wgmma.c gives to cuda_wgmma.cu. */
#ifndef HONE_GEMM_CUDA_WGMMA_H
#define HONE_GEMM_CUDA_WGMMA_H

#include "kernels/backend/cuda_map.h"
#include "kernels/gemm/cuda_gemm.h"

struct gemm_wgmma {
    struct hone_cuda_map a, b;       /* the operands, in boxes of 128 bytes' columns */
    struct gemm_given end;           /* what becomes of the sums; its own sizes are not used */
    struct gemm_sizes s;
};

/* Rows and columns of C that a block computes; each 64 rows are four warps'. */
#define WGMMA_TILES(X)                                                                             \
    X(64, 64)                                                                                      \
    X(64, 128)                                                                                     \
    X(64, 256)                                                                                     \
    X(128, 128)                                                                                    \
    X(128, 256)

enum {
    WGMMA_ROW = 128,                 /* bytes of a row in shared memory */
    WGMMA_GATES = 256,               /* bytes for the gates */
    WGMMA_PITCH = 40,                /* floats from row to row of 32 sums on their way out */
    WGMMA_ALIGN = 1024
};

/* Bytes of shared memory: the stages, wherever they may begin, gates, and 16 rows of sums of each
 * warp. */
#define WGMMA_STAGE(bm, bn) (((bm) + (bn)) * WGMMA_ROW)
#define WGMMA_SHARED(bm, bn, stages)                                                               \
    (WGMMA_ALIGN + (stages) * WGMMA_STAGE(bm, bn) + WGMMA_GATES +                                  \
     (bm) / 16 * 16 * WGMMA_PITCH * 4)

#endif
