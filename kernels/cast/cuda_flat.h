/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_CAST_CUDA_FLAT_H
#define HONE_CAST_CUDA_FLAT_H

/* half: hone_cuda_half() of the one that is not f32. */
struct cast_flat_sizes { int n, widen, half; };

struct cast_flat {
    void *y;
    const void *x;
    struct cast_flat_sizes s;
};

#endif
