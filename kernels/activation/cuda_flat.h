/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_ACTIVATION_CUDA_FLAT_H
#define HONE_ACTIVATION_CUDA_FLAT_H

struct activation_flat_sizes { int n, act, backward, half; };   /* half: hone_cuda_half() */

struct activation_flat {
    void *y;              /* or DX */
    const void *x;        /* or DY */
    const void *from;     /* S of gradients */
    struct activation_flat_sizes s;
};

#endif
