/* What cuda_windows.c gives to cuda_windows.cu. */
#ifndef HONE_POOL_CUDA_WINDOWS_H
#define HONE_POOL_CUDA_WINDOWS_H

struct pool_windows_sizes {
    int mb, ic, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw;   /* as problem.dim */
    int average, include_pad, half;                       /* half: hone_cuda_half() */
    int index, cut;                                       /* cut: 0, 1 relu, 2 relu6 */
};

struct pool_windows {
    void *to;              /* Y or DX */
    const void *from;      /* X or DY */
    const void *x;         /* of maxpool_bwd */
    unsigned char *index;  /* written forward, else read */
    struct pool_windows_sizes s;
};

#endif
