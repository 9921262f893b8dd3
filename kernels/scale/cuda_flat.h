/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_SCALE_CUDA_FLAT_H
#define HONE_SCALE_CUDA_FLAT_H

struct scale_flat_sizes { int n, r, back, blocks; };   /* back: unscale */

struct scale_flat {
    float *x, *numbers;        /* X or G, and S, of scale.h */
    float *hyper, *found;      /* unscale: HYPER; (blocks) 1: it found an infinity */
    const float *table;
    struct scale_flat_sizes s;
};

#endif
