/* kernels/loss/loss.h -- losses and their gradients in one op: softmax with cross-entropy, mean
 * squared and mean absolute error. */
#ifndef HONE_LOSS_H
#define HONE_LOSS_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_softmax_ce, hone_op_mse, hone_op_mae;

enum { LOSS_M, LOSS_N };                                /* problem.dim */

/* softmax_ce: DX (m, n) = (softmax(x) - onehot) / m, the gradient of the batch's mean; LOSS (m) of
 * each row; HIT (m) is 1 where the first largest x is at the label, else 0; X (m, n); LABEL (m) in
 * [0, n): a label outside is the caller's error. */
enum { CE_DX, CE_LOSS, CE_HIT, CE_X, CE_LABEL };

/* mse, mae: DX (m, n), the gradient of the mean over all m n numbers; LOSS (m), each row's mean;
 * X (m, n), T (m, n).  The gradient of |x - t| at 0 is 0. */
enum { ERR_DX, ERR_LOSS, ERR_X, ERR_T };

/* ref.c: the ops' meaning, see struct hone_op. */
double hone_softmax_ce_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale);
double hone_mse_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale);
double hone_mae_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale);

#endif
