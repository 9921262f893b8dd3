/* kernels/conv2d/cuda_implicit.h -- what cuda_implicit.c and cuda_implicit_mma.c give to their .cu:
 * a convolution as the product C = A B that it is. */
#ifndef HONE_CONV2D_CUDA_IMPLICIT_H
#define HONE_CONV2D_CUDA_IMPLICIT_H

#include "kernels/gemm/cuda_tiles.h"

enum { CONV_PASS_FWD, CONV_PASS_DGRAD, CONV_PASS_WGRAD };

/* m, n, k of the product: fwd pixels of y, oc, taps and channels; dgrad pixels of dx, ic, taps and
 * channels of dy; wgrad oc, taps and channels, pixels of dy.  Of dgrad with strides the pixels of
 * dx fall into sh sw classes, by which taps they see; then m and k are the largest class's, and the
 * kernel makes its own of them.  In nchw the weights lie channel by channel, and so do fwd's and
 * wgrad's taps; the operand of pixels is read along these, which lie side by side. */
struct conv_implicit_sizes {
    int m, n, k;
    int a_turned, b_turned, a_wide, b_wide;
    int stages, part, parts;
    int half, narrow;                  /* hone_cuda_half() of inputs, of the output */
    int act, bias, pass, nchw;
    int mb, ic, ih, iw, oc, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw;
    /* Of a class: its first pixel and tap, how many pixels and taps, and dy's row of the first. */
    int ih0, iw0, kh0, kw0, nih, niw, nkh, nkw, oh0, ow0;
};

struct conv_implicit {
    void *to;                          /* Y, DX or DW */
    const void *from, *other;          /* X and W; DY and W; X and DY */
    const float *bias;
    float *partial;                    /* (parts, m, n), where parts is above 1 */
    struct conv_implicit_sizes s;
};

#endif
