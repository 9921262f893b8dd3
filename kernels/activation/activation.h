/* kernels/activation/activation.h -- the activations, as ops of their own and as the last step
 * ("epilogue") of gemm and conv2d_fwd. */
#ifndef HONE_ACTIVATION_H
#define HONE_ACTIVATION_H

#include "kernels/kernel.h"

/* One row each: name; is its gradient computed from the output y (1) or from the input x (0);
 * largest |slope|, by which it stretches an error of its input. */
#define HONE_ACT_MAP(X)        \
    X(relu, 1, 1.0)            \
    X(relu6, 1, 1.0)           \
    X(leaky_relu, 1, 1.0)      \
    X(sigmoid, 1, 0.25)        \
    X(tanh, 1, 1.0)            \
    X(gelu_erf, 0, 1.13)       \
    X(gelu_tanh, 0, 1.13)      \
    X(silu, 0, 1.1)

enum hone_act {
#define X(name, from_y, slope) HONE_ACT_##name,
    HONE_ACT_MAP(X)
#undef X
    HONE_NACTS,
    HONE_ACT_none = HONE_NACTS
};

/* leaky_relu's slope below zero. */
#define HONE_LEAKY_SLOPE 0.01

/* Rows of an op's attribute list, one per activation, in the order of the enum. */
#define HONE_ACT_ATTR_ROW(name, from_y, slope) { #name, 0, 0 },
#define HONE_ACT_ATTRS HONE_ACT_MAP(HONE_ACT_ATTR_ROW)

const char *hone_act_name(enum hone_act a);
enum hone_act hone_act_find(const char *name);      /* HONE_ACT_none if there is no such */
int    hone_act_from_y(enum hone_act a);
double hone_act_slope(enum hone_act a);             /* 1 for none */

/* The epilogue among p's attributes, or HONE_ACT_none.  check() fails if there are two. */
#ifdef HONE_JIT_BUILD
static inline __attribute__((always_inline)) enum hone_act hone_act_of(const struct hone_problem *p)
{
#define X(name, from_y, slope)                                                                    \
    if (hone_problem_has(p, #name)) return HONE_ACT_##name;
    HONE_ACT_MAP(X)
#undef X
    return HONE_ACT_none;
}
#else
enum hone_act hone_act_of(const struct hone_problem *p);
#endif
int hone_act_check(struct hone_problem *p);

/* Is it exact on whole numbers (relu, relu6, none)? */
int hone_act_exact(enum hone_act a);

/* The meaning, in doubles: y = f(x); f'(x); and f' as a kernel computes it, from s = y where
 * hone_act_from_y(), else from s = x.  At a kink f' is the value from the left, 0 for relu; NaN
 * stays NaN, so that a net that diverges shows it. */
double hone_act_value(enum hone_act a, double x);
double hone_act_derivative(enum hone_act a, double x);
double hone_act_derivative_of(enum hone_act a, double s);

/* ---- the ops: relu (Y, X) and relu_bwd (DX, DY, S), and so on for each row ---- */

enum { ACT_N };                     /* problem.dim */
enum { ACT_Y, ACT_X };              /* arguments of the forward ops */
enum { ACT_DX, ACT_DY, ACT_S };     /* of the gradients */

#define X(name, from_y, slope) extern const struct hone_op hone_op_##name, hone_op_##name##_bwd;
HONE_ACT_MAP(X)
#undef X

#endif
