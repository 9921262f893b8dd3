/* What cuda_direct.c gives to cuda_direct.cu. */
#ifndef HONE_CONV2D_CUDA_DIRECT_H
#define HONE_CONV2D_CUDA_DIRECT_H

/* struct conv's sizes: icg and ocg channels of a group, dh and dw distances between taps. */
struct conv_direct_sizes {
    int mb, ic, ih, iw, oc, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, icg, ocg;
    int act, bias;
    int half;              /* hone_cuda_half() of inputs, Y and DX */
    int nchw;              /* the layout, else nhwc */
    int part, parts;       /* wgrad: pixels of dy that one of `parts` blocks adds up */
};

struct conv_direct {
    void *to;                          /* Y, DX or DW, which is of floats */
    const void *from, *other;          /* X and W; DY and W; X and DY */
    const float *bias;
    float *partial;                    /* wgrad with parts above 1: (parts, numbers of DW) */
    struct conv_direct_sizes s;
};

#endif
