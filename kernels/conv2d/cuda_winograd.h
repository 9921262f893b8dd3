/* kernels/conv2d/cuda_winograd.h -- what cuda_winograd.c and cuda_winograd_mma.c give to their .cu:
 * forward and data gradient as one, since the latter is the former of dy with the taps turned
 * around and the channels exchanged. */
#ifndef HONE_CONV2D_CUDA_WINOGRAD_H
#define HONE_CONV2D_CUDA_WINOGRAD_H

#include "kernels/gemm/cuda_tiles.h"

/* A point's product has m tiles of outputs, n out channels, k in channels. */
struct conv_winograd_sizes {
    int m, n, k;                       /* m: tiles of a part; the last may have fewer */
    int a_turned, b_turned, a_wide, b_wide;
    int stages, half;                  /* operands are floats: half is 0 */
    int narrow;                        /* hone_cuda_half() of tensors */
    int act, bias, dgrad;
    int in_h, in_w, out_h, out_w;      /* of an image */
    int from_h, from_w;                /* input under the first tap of output (0, 0) */
    int across, down, tiles;           /* tiles of a row, rows of an image, of all images */
};

struct conv_winograd {
    void *to;                          /* Y or DX */
    const void *from, *w;              /* X and W; DY and W */
    const float *bias;
    float *weights;                    /* (points, oc, ic) */
    float *inputs, *products;          /* (points, tiles of the part, in or out channels) */
    int first;                         /* tile of the part */
    struct conv_winograd_sizes s;
};

#endif
