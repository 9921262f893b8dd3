/* What cuda_hash.c gives to cuda_hash.cu. */
#ifndef HONE_DROPOUT_CUDA_HASH_H
#define HONE_DROPOUT_CUDA_HASH_H

struct dropout_hash_sizes { int n, stream, threshold, factor; };   /* factor: bits of 1 / (1 - p) */

struct dropout_hash {
    float *y;
    const float *x;
    const unsigned long long *seed;      /* (2) */
    struct dropout_hash_sizes s;
};

#endif
