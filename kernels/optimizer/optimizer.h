/* kernels/optimizer/optimizer.h -- one step of an optimizer on the flat array of all parameters.
 * Where a problem has wd, g += wd p comes first.
 *
 * sgd, in PyTorch's form: v = momentum v + g; p -= lr (nesterov ? g + momentum v : v), or without
 * momentum p -= lr g.
 *
 * adam (Kingma and Ba 2015): m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g;
 * p -= lr c1 m / (sqrt(v) c2 + eps), where c1 = 1 / (1 - b1^t) and c2 = 1 / sqrt(1 - b2^t).
 * Decoupled weight decay (AdamW, Loshchilov and Hutter 2019): p -= lr wd p first, and g stays.
 *
 * rmsprop (Tieleman and Hinton 2012): a = rho a + (1 - rho) g g; u = g / (sqrt(a) + eps); with
 * momentum v = momentum v + u; p -= lr v; else p -= lr u.
 *
 * adadelta (Zeiler 2012): a = rho a + (1 - rho) g g; u = sqrt(d + eps) / sqrt(a + eps) g;
 * d = rho d + (1 - rho) u u; p -= lr u.
 *
 * clip (Pascanu, Mikolov and Bengio 2013): norm = sqrt(sum g g); g *= min(1, max / (norm + 1e-6)).
 *
 * The first step starts from v = m = a = d = 0. */
#ifndef HONE_OPTIMIZER_H
#define HONE_OPTIMIZER_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_sgd, hone_op_adam, hone_op_rmsprop, hone_op_adadelta,
    hone_op_clip;

enum { OPTIM_N };                                             /* problem.dim */
enum { SGD_MOMENTUM, SGD_NESTEROV, SGD_WD };                  /* bits of sgd's problem.attrs */
enum { ADAM_WD, ADAM_DECOUPLED };                             /* of adam's */
enum { RMSPROP_WD, RMSPROP_MOMENTUM };
enum { ADADELTA_WD };

/* Numbers that change while training, in the argument HYPER (8). */
enum {
    HYPER_LR, HYPER_MOMENTUM, HYPER_BETA1 = HYPER_MOMENTUM, HYPER_BETA2, HYPER_RHO = HYPER_BETA2,
    HYPER_EPS, HYPER_WD, HYPER_C1, HYPER_C2, HYPER_MAX_NORM, HYPER_LEN = 8
};

/* Arguments: sgd P, G, HYPER; sgd with momentum P, V, G, HYPER; adam P, M, V, G, HYPER; rmsprop P,
 * A, G, HYPER, with momentum P, A, V, G, HYPER; adadelta P, A, D, G, HYPER; clip G, NORM (1),
 * HYPER. */
enum { SGD_P, SGD_V };
enum { ADAM_P, ADAM_M, ADAM_V, ADAM_G, ADAM_HYPER };
enum { RMSPROP_P, RMSPROP_A, RMSPROP_V };
enum { ADADELTA_P, ADADELTA_A, ADADELTA_D, ADADELTA_G, ADADELTA_HYPER };
enum { CLIP_G, CLIP_NORM, CLIP_HYPER };

static const double CLIP_EPSILON = 1e-6;   /* as in PyTorch's clip_grad_norm_ */

static inline int sgd_g(const struct hone_problem *p)
{
    return 1 + (int)(p->attrs >> SGD_MOMENTUM & 1);
}
static inline int sgd_hyper(const struct hone_problem *p) { return sgd_g(p) + 1; }
static inline int rmsprop_g(const struct hone_problem *p)
{
    return 2 + (int)(p->attrs >> RMSPROP_MOMENTUM & 1);
}
static inline int rmsprop_hyper(const struct hone_problem *p) { return rmsprop_g(p) + 1; }

/* ref.c: the ops' meaning, see struct hone_op. */
double hone_sgd_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale);
double hone_adam_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale);
double hone_rmsprop_meaning(const struct hone_problem *p, const double *const in[], int out,
                            int64_t i, double *scale);
double hone_adadelta_meaning(const struct hone_problem *p, const double *const in[], int out,
                             int64_t i, double *scale);
int64_t hone_clip_nshared(const struct hone_problem *p);
void hone_clip_share(const struct hone_problem *p, const double *const in[], double *shared);
double hone_clip_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale);

#endif
