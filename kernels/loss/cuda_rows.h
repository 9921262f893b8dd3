/* What cuda_rows.c gives to cuda_rows.cu. */
#ifndef HONE_LOSS_CUDA_ROWS_H
#define HONE_LOSS_CUDA_ROWS_H

enum { LOSS_ROWS_MSE, LOSS_ROWS_MAE, LOSS_ROWS_HUBER };

/* number: bits of smooth, delta or the temperature; mix: of the teacher's part. */
struct loss_rows_sizes { int m, n, kind, number, mix; };

struct loss_rows {
    float *dx, *loss, *hit;      /* hit: of softmax_ce and distill */
    const float *x, *t;          /* t: targets of errors, a teacher's logits */
    const int *label;            /* of softmax_ce and distill */
    struct loss_rows_sizes s;
};

#endif
