/* What cuda_rows.c gives to cuda_rows.cu. */
#ifndef HONE_LOSS_CUDA_ROWS_H
#define HONE_LOSS_CUDA_ROWS_H

enum { LOSS_ROWS_MSE, LOSS_ROWS_MAE, LOSS_ROWS_HUBER };

struct loss_rows_sizes { int m, n, kind, number; };   /* number: bits of smooth or delta */

struct loss_rows {
    float *dx, *loss, *hit;      /* hit: of softmax_ce */
    const float *x, *t;          /* t: targets of errors */
    const int *label;            /* of softmax_ce */
    struct loss_rows_sizes s;
};

#endif
