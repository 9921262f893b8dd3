/* What cuda_columns.c gives to cuda_columns.cu. */
#ifndef HONE_BIAS_CUDA_COLUMNS_H
#define HONE_BIAS_CUDA_COLUMNS_H

/* Rows of a part; how many; half: hone_cuda_half() of DY. */
struct bias_columns_sizes { int m, n, part, parts, half; };

struct bias_columns {
    float *db;
    const void *dy;
    float *partial;        /* (parts, n), where parts is above 1 */
    struct bias_columns_sizes s;
};

#endif
