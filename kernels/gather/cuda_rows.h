/* What cuda_rows.c gives to cuda_rows.cu. */
#ifndef HONE_GATHER_CUDA_ROWS_H
#define HONE_GATHER_CUDA_ROWS_H

struct gather_rows_sizes { int m, h, w, c, o, crop, flip, bytes; };

struct gather_rows {
    float *y;
    unsigned *t;                         /* numbers of 32 bits, whatever they are */
    const void *x;                       /* floats or bytes */
    const unsigned *target;
    const int *order;
    const float *table;
    const unsigned long long *key;
    struct gather_rows_sizes s;
};

#endif
