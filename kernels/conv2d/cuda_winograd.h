/* kernels/conv2d/cuda_winograd.h -- what cuda_winograd.c and cuda_winograd_mma.c give to their .cu:
 * forward and data gradient as one, since the latter is the former of dy with the taps turned
 * around and the channels exchanged; and the gradient of the weights, forward's transpose. */
#ifndef HONE_CONV2D_CUDA_WINOGRAD_H
#define HONE_CONV2D_CUDA_WINOGRAD_H

#include "kernels/gemm/cuda_tiles.h"

/* The m, n, k of a point's product C = A B: tiles, out channels, in channels; of the gradient of
 * the weights out channels, in channels, tiles.  Tiles are those of a part. */
struct conv_winograd_sizes {
    int m, n, k;
    int a_turned, b_turned, a_wide, b_wide;
    int stages, half;                  /* operands are floats: half is 0 */
    int narrow;                        /* hone_cuda_half() of tensors */
    int act, bias, dgrad, wgrad;
    int in_h, in_w, in_c, out_h, out_w, out_c;   /* of an image */
    int from_h, from_w;                /* input under the first tap of output (0, 0) */
    int across, down, tiles;           /* tiles of a row, rows of an image, of all images */
    int part;                          /* tiles of a part; the last may have fewer */
    int points, split, share;          /* blocks that share a sum of k, and the terms of each */
};

struct conv_winograd {
    void *to;                          /* Y, DX or DW */
    const void *from, *other;          /* X and W; DY and W; X and DY */
    const float *bias;
    float *a, *b;                      /* (points, rows, channels): inputs, weights; dy, inputs */
    float *products;                   /* (split, points, m, n) */
    int first;                         /* tile of the part */
    struct conv_winograd_sizes s;
};

#endif
