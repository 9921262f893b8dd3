/* kernels/loss/loss.h -- losses and their gradients in one op: softmax with cross-entropy, mean
 * squared, mean absolute and Huber's error, distillation. */
#ifndef HONE_LOSS_H
#define HONE_LOSS_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_softmax_ce, hone_op_mse, hone_op_mae, hone_op_huber,
    hone_op_distill;

enum { LOSS_M, LOSS_N };                                /* problem.dim */

/* softmax_ce: DX (m, n) = (softmax(x) - onehot) / m, the gradient of the batch's mean; LOSS (m) of
 * each row; HIT (m) is 1 where the first largest x is at the label, else 0; X (m, n); LABEL (m) in
 * [0, n): a label outside is the caller's error.  With label smoothing s (Szegedy et al. 2016, as
 * PyTorch has it) the target is (1 - s) onehot + s / n. */
enum { CE_DX, CE_LOSS, CE_HIT, CE_X, CE_LABEL };
enum { CE_SMOOTH };                                     /* problem.value */

/* distill: a student's logits X (m, n) learn from a teacher's Z (m, n) and from LABEL (m).  LOSS
 * (m) = mix t^2 CE(softmax(x / t), softmax(z / t)) + (1 - mix) CE(softmax(x), label) (Hinton,
 * Vinyals and Dean 2015), where CE(p, q) = -sum q log p; DX (m, n), the gradient of the batch's
 * mean, and HIT (m) as above. */
enum { DISTILL_DX, DISTILL_LOSS, DISTILL_HIT, DISTILL_X, DISTILL_Z, DISTILL_LABEL };
enum { DISTILL_T, DISTILL_MIX };                        /* problem.value */

/* mse, mae, huber: DX (m, n), the gradient of the mean over all m n numbers; LOSS (m), each row's
 * mean; X (m, n), T (m, n).  The gradient of |x - t| at 0 is 0.  huber (Huber 1964, as PyTorch has
 * it): d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2). */
enum { ERR_DX, ERR_LOSS, ERR_X, ERR_T };
enum { HUBER_DELTA };                                   /* problem.value */

/* ref.c: the ops' meaning and what it shares, see struct hone_op. */
double hone_softmax_ce_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale);
double hone_mse_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale);
double hone_mae_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale);
double hone_huber_meaning(const struct hone_problem *p, const double *const in[], int out,
                          int64_t i, double *scale);
double hone_distill_meaning(const struct hone_problem *p, const double *const in[], int out,
                            int64_t i, double *scale);
int64_t hone_softmax_ce_nshared(const struct hone_problem *p);
int64_t hone_distill_nshared(const struct hone_problem *p);
void hone_softmax_ce_share(const struct hone_problem *p, const double *const in[], double *shared);
void hone_distill_share(const struct hone_problem *p, const double *const in[], double *shared);

#endif
