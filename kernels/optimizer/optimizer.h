/* kernels/optimizer/optimizer.h -- one step of an optimizer on the flat array of all parameters.
 *
 * sgd, in PyTorch's form: g += wd p; v = momentum v + g; p -= lr (nesterov ? g + momentum v : v),
 * or without momentum p -= lr g.  The first step starts from v = 0.
 *
 * adam (Kingma and Ba 2015): g += wd p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g;
 * p -= lr c1 m / (sqrt(v) c2 + eps), where c1 = 1 / (1 - b1^t) and c2 = 1 / sqrt(1 - b2^t). */
#ifndef HONE_OPTIMIZER_H
#define HONE_OPTIMIZER_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_sgd, hone_op_adam;

enum { OPTIM_N };                                             /* problem.dim */
enum { SGD_MOMENTUM, SGD_NESTEROV, SGD_WD };                  /* bits of sgd's problem.attrs */
enum { ADAM_WD };                                             /* of adam's */

/* Numbers that change while training, in the argument HYPER (8). */
enum { HYPER_LR, HYPER_MOMENTUM, HYPER_BETA1 = HYPER_MOMENTUM, HYPER_BETA2, HYPER_EPS, HYPER_WD, HYPER_C1, HYPER_C2,
       HYPER_LEN = 8 };

/* Arguments: sgd P, G, HYPER; sgd with momentum P, V, G, HYPER; adam P, M, V, G, HYPER. */
enum { SGD_P, SGD_V };
enum { ADAM_P, ADAM_M, ADAM_V, ADAM_G, ADAM_HYPER };

static inline int sgd_g(const struct hone_problem *p) { return 1 + (int)(p->attrs >> SGD_MOMENTUM & 1); }
static inline int sgd_hyper(const struct hone_problem *p) { return sgd_g(p) + 1; }

/* ref.c: the ops' meaning, see struct hone_op. */
double hone_sgd_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale);
double hone_adam_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale);

#endif
