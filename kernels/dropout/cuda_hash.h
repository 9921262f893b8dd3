/* What cuda_hash.c gives to cuda_hash.cu. */
#ifndef HONE_DROPOUT_CUDA_HASH_H
#define HONE_DROPOUT_CUDA_HASH_H

/* factor: bits of 1 / (1 - p); half: hone_cuda_half(). */
struct dropout_hash_sizes { int n, stream, threshold, factor, half; };

struct dropout_hash {
    void *y;
    const void *x;                       /* may be Y */
    const unsigned long long *seed;      /* (2) */
    struct dropout_hash_sizes s;
};

#endif
