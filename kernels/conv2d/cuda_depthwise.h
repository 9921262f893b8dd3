/* What cuda_depthwise.c gives to cuda_depthwise.cu. */
#ifndef HONE_CONV2D_CUDA_DEPTHWISE_H
#define HONE_CONV2D_CUDA_DEPTHWISE_H

/* struct conv's sizes, ic channels; half: hone_cuda_half() of inputs, Y, DX. */
struct conv_depthwise_sizes {
    int mb, ic, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw;
    int act, bias, half;
    int part, parts;       /* wgrad: pixels of dy that one of `parts` blocks adds up */
};

struct conv_depthwise {
    void *to;                          /* Y, DX or DW, which is of floats */
    const void *from, *other;          /* X and W; DY and W; X and DY */
    const float *bias;
    float *partial;                    /* wgrad with parts above 1: (parts, ic, kh, kw) */
    struct conv_depthwise_sizes s;
};

#endif
