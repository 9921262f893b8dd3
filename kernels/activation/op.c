/* The activations and their gradients as ops: sizes, arguments, flops, error bounds, meaning.
 * One row of HONE_ACT_MAP makes two ops. */
#include "kernels/activation/activation.h"

#include <math.h>

/* Flops of one element, counted as the plain formula has them, exp, tanh and erf as 10 each; and
 * what tests feed the gradient: values that S takes. */
static const struct { double forward, backward, s_lo, s_hi; } rows[HONE_NACTS] = {
    [HONE_ACT_relu]       = { 1, 1, 0, 8 },
    [HONE_ACT_relu6]      = { 2, 2, 0, 6 },
    [HONE_ACT_leaky_relu] = { 2, 2, -1, 1 },
    [HONE_ACT_sigmoid]    = { 12, 3, 0, 1 },
    [HONE_ACT_tanh]       = { 10, 3, -1, 1 },
    [HONE_ACT_gelu_erf]   = { 13, 29, -8, 8 },
    [HONE_ACT_gelu_tanh]  = { 18, 27, -8, 8 },
    [HONE_ACT_silu]       = { 12, 17, -8, 8 },
};

static int forward_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[ACT_Y] = HONE_ARG("y", HONE_OUT, p->dtype, p->dim[ACT_N]);
    arg[ACT_X] = HONE_ARG("x", HONE_IN, p->dtype, p->dim[ACT_N]);
    arg[ACT_X].lo = -8, arg[ACT_X].hi = 8;   /* both tails of every activation */
    return 2;
}

static int backward_args(const struct hone_problem *p, struct hone_arg arg[], enum hone_act a)
{
    arg[ACT_DX] = HONE_ARG("dx", HONE_OUT, p->dtype, p->dim[ACT_N]);
    arg[ACT_DY] = HONE_ARG("dy", HONE_IN, p->dtype, p->dim[ACT_N]);
    arg[ACT_S] = HONE_ARG("s", HONE_IN, p->dtype, p->dim[ACT_N]);
    arg[ACT_S].lo = rows[a].s_lo, arg[ACT_S].hi = rows[a].s_hi;
    return 3;
}

/* The plain formula of gelu adds 1 to a number near -1 far left of zero, and multiplies what the
 * cancellation leaves by x; the others keep their relative precision everywhere. */
static double forward(enum hone_act a, double x, double *scale)
{
    double y = hone_act_value(a, x);
    *scale = fabs(y) + (a == HONE_ACT_gelu_erf || a == HONE_ACT_gelu_tanh ? fabs(x) : 0);
    return y;
}

/* Likewise 1 - s, or 1 - s*s, loses digits where s is near 1; the second term is what such an
 * error is multiplied by. */
static double backward(enum hone_act a, double dy, double s, double *scale)
{
    double slope = hone_act_derivative_of(a, s), factor = 0;
    switch (a) {
    case HONE_ACT_tanh: factor = s * s; break;
    case HONE_ACT_gelu_erf: factor = 1; break;
    case HONE_ACT_gelu_tanh: factor = 1 + 0.4 * fabs(s) * (1 + 0.135 * s * s); break;
    case HONE_ACT_silu: factor = (1 + fabs(s)) / (1 + exp(-s)); break;
    default: break;
    }
    *scale = fabs(dy) * (fabs(slope) + factor);
    return dy * slope;
}

/* Roundings of the plain formula, with 2 ulp for each exp, tanh and erf; none where a number is
 * only selected. */
static double growth_of(enum hone_act a)
{
    return hone_act_exact(a) ? 0 : a == HONE_ACT_leaky_relu ? 2 : 12;
}
static int exact_of(enum hone_act a) { return hone_act_exact(a) ? 8 : 0; }

#define OPS(NAME, from_y, slope)                                                                   \
    static double NAME##_flops(const struct hone_problem *p)                                       \
    {                                                                                              \
        return rows[HONE_ACT_##NAME].forward * p->dim[ACT_N];                                      \
    }                                                                                              \
    static double NAME##_growth(const struct hone_problem *p)                                      \
    {                                                                                              \
        (void)p;                                                                                   \
        return growth_of(HONE_ACT_##NAME);                                                         \
    }                                                                                              \
    static int NAME##_exact(const struct hone_problem *p)                                          \
    {                                                                                              \
        (void)p;                                                                                   \
        return exact_of(HONE_ACT_##NAME);                                                          \
    }                                                                                              \
    static double NAME##_ref(const struct hone_problem *p, const double *const in[], int out,      \
                             int64_t i, double *scale)                                             \
    {                                                                                              \
        (void)p, (void)out;                                                                        \
        return forward(HONE_ACT_##NAME, in[ACT_X][i], scale);                                      \
    }                                                                                              \
    const struct hone_op hone_op_##NAME = {                                                        \
        .name = #NAME,                                                                             \
        .dtypes = HONE_F32_F64_HALF,                                                               \
        .layout = { "any" },                                                                       \
        .dim = { { "n", 1, HONE_REQUIRED, 0 } },                                                   \
        .args = forward_args,                                                                      \
        .flops = NAME##_flops,                                                                     \
        .ref = NAME##_ref,                                                                         \
        .growth = NAME##_growth,                                                                   \
        .exact = NAME##_exact,                                                                     \
    };                                                                                             \
    static int NAME##_bwd_args(const struct hone_problem *p, struct hone_arg arg[])                \
    {                                                                                              \
        return backward_args(p, arg, HONE_ACT_##NAME);                                             \
    }                                                                                              \
    static double NAME##_bwd_flops(const struct hone_problem *p)                                   \
    {                                                                                              \
        return rows[HONE_ACT_##NAME].backward * p->dim[ACT_N];                                     \
    }                                                                                              \
    static double NAME##_bwd_ref(const struct hone_problem *p, const double *const in[], int out,  \
                                 int64_t i, double *scale)                                         \
    {                                                                                              \
        (void)p, (void)out;                                                                        \
        return backward(HONE_ACT_##NAME, in[ACT_DY][i], in[ACT_S][i], scale);                      \
    }                                                                                              \
    const struct hone_op hone_op_##NAME##_bwd = {                                                  \
        .name = #NAME "_bwd",                                                                      \
        .dtypes = HONE_F32_F64_HALF,                                                               \
        .layout = { "any" },                                                                       \
        .dim = { { "n", 1, HONE_REQUIRED, 0 } },                                                   \
        .args = NAME##_bwd_args,                                                                   \
        .flops = NAME##_bwd_flops,                                                                 \
        .ref = NAME##_bwd_ref,                                                                     \
        .growth = NAME##_growth,                                                                   \
        .exact = NAME##_exact,                                                                     \
    };
HONE_ACT_MAP(OPS)
