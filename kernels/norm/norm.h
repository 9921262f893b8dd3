/* kernels/norm/norm.h -- batch normalisation (Ioffe, Szegedy 2015) of x (m, n): each of n channels
 * is brought to mean 0 and variance 1 over m rows (for nhwc images times pixels), then scaled by
 * gamma and shifted by beta.
 *
 *     bnorm_fwd     with the batch's own mean and variance; running ones follow it
 *     bnorm_infer   with the running ones
 *     bnorm_bwd     gradient of bnorm_fwd
 *
 * What reads y at once may be part of it, and saves passes over memory: with `add` another array is
 * added, then `relu` or `relu6` cuts off. */
#ifndef HONE_NORM_H
#define HONE_NORM_H

#include "kernels/activation/activation.h"

#include <math.h>

extern const struct hone_op hone_op_bnorm_fwd, hone_op_bnorm_infer, hone_op_bnorm_bwd;

enum { NORM_M, NORM_N };   /* problem.dim */

/* bnorm_fwd: Y (m, n), MEAN (n), RSTD (n) = 1 / sqrt(variance + eps), X (m, n), GAMMA (n),
 * BETA (n).  RMEAN, RVAR (n) become (1 - momentum) of themselves + momentum of the batch's.  As in
 * PyTorch the variance is divided by m, that which goes to RVAR by m - 1 (by 1 where m is 1). */
enum {
    NORM_Y, NORM_MEAN, NORM_RSTD, NORM_RMEAN, NORM_RVAR, NORM_X, NORM_GAMMA, NORM_BETA,
    NORM_ADDEND   /* (m, n) with the attribute add */
};
/* The attribute off adds an argument, which comes last: OFF (n), what MEAN lacks of the mean. */
static inline int norm_off(const struct hone_problem *p)
{
    return NORM_ADDEND + hone_problem_has(p, "add");
}
enum { NORM_MOMENTUM, NORM_EPS };   /* problem.value */

/* bnorm_infer: Y, X (m, n); the rest (n).  With the attribute again RMEAN and RVAR are MEAN and
 * RSTD of bnorm_fwd, and INFER_ADDEND, or with add the argument behind, is OFF: its Y once more, of
 * the same instructions with the same bits. */
enum {
    INFER_Y, INFER_X, INFER_GAMMA, INFER_BETA, INFER_RMEAN, INFER_RVAR,
    INFER_ADDEND   /* (m, n) with the attribute add */
};
enum { INFER_EPS };
static inline int infer_off(const struct hone_problem *p)
{
    return INFER_ADDEND + hone_problem_has(p, "add");
}

/* bnorm_bwd: DX, DY, X (m, n); the rest (n).  MEAN and RSTD are bnorm_fwd's outputs.  With relu or
 * relu6 DY is the gradient of what they let through, which is found again from x: where that lies
 * within a rounding of the cut, either answer is right.  With add it is the gradient of the sum
 * and of both its terms, and there is no such attribute here. */
enum {
    NORM_DX, NORM_DGAMMA, NORM_DBETA, NORM_DY, NORM_BWD_X, NORM_BWD_MEAN, NORM_BWD_RSTD,
    NORM_BWD_GAMMA,
    NORM_BWD_BETA   /* with relu or relu6 */
};

/* Is p one of the two by which an output need not be kept? */
static inline int norm_keeps_less(const struct hone_problem *p)
{
    return (hone_problem_is(p, bnorm_fwd) && hone_problem_has(p, "off")) ||
           (hone_problem_is(p, bnorm_infer) && hone_problem_has(p, "again"));
}

/* Where p's activation, none, relu or relu6, cuts: y stays in [lo, hi]. */
static inline double norm_lo(const struct hone_problem *p)
{
    return hone_act_of(p) == HONE_ACT_none ? -(double)INFINITY : 0;
}
static inline double norm_hi(const struct hone_problem *p)
{
    return hone_act_of(p) == HONE_ACT_relu6 ? 6 : (double)INFINITY;
}

/* ref.c: the ops' meaning and what it shares, see struct hone_op. */
double hone_bnorm_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                              int64_t i, double *scale);
double hone_bnorm_infer_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale);
double hone_bnorm_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                              int64_t i, double *scale);
int64_t hone_bnorm_fwd_nshared(const struct hone_problem *p);
int64_t hone_bnorm_bwd_nshared(const struct hone_problem *p);
void hone_bnorm_fwd_share(const struct hone_problem *p, const double *const in[], double *shared);
void hone_bnorm_bwd_share(const struct hone_problem *p, const double *const in[], double *shared);

#endif
