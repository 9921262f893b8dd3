/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_CAST_CUDA_FLAT_H
#define HONE_CAST_CUDA_FLAT_H

struct cast_flat_sizes { int n, widen; };

struct cast_flat {
    void *y;
    const void *x;
    struct cast_flat_sizes s;
};

#endif
