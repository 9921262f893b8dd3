/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_ACTIVATION_CUDA_FLAT_H
#define HONE_ACTIVATION_CUDA_FLAT_H

struct activation_flat_sizes { int n, act, backward; };

struct activation_flat {
    float *y;             /* or DX */
    const float *x;       /* or DY */
    const float *from;    /* S of gradients */
    struct activation_flat_sizes s;
};

#endif
