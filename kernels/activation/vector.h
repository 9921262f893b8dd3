/* kernels/activation/vector.h -- the activations and their slopes on vectors, for kernels and
 * epilogues; exp, log and the normal distribution, of which they are made, are in vector32.h and
 * vector64.h.  Error of the results on floats, in ulp, measured on all exponents by
 * tests/check_activations.c:
 *
 *     vf_exp 1.2, vf_log 1, sigmoid 2, tanh 2.3, silu 3, gelu_erf 5, gelu_tanh 3 of |x| / 2,
 *     slopes from y 1.5, slopes from x 1.7 of 1.
 *
 * NaN gives NaN; infinities give the limits, but gelu_tanh of -infinity is -1e-28, of doubles
 * -1e-260. */
#ifndef HONE_ACTIVATION_VECTOR_H
#define HONE_ACTIVATION_VECTOR_H

#include "kernels/activation/activation.h"
#if HONE_REAL == 64
#include "kernels/activation/vector64.h"
#else
#include "kernels/activation/vector32.h"
#endif

#define HONE_SIGN ((ireal)((ureal)1 << (8 * sizeof(real) - 1)))

static inline vf vf_abs(vf x) { return (vf)((vi)x & ~HONE_SIGN); }

/* ---- activations ---- */

static inline vf vf_sigmoid(vf x)
{
    vf zero = { 0 }, one = vf_set(1);
    struct vf_power p = vf_power_of(-vf_min(vf_set(HONE_GONE), vf_abs(x)), zero);
    vf e = vf_scale(1 + p.expm1, p.k);   /* e^-|x|: never overflows */
    return vf_select(x < zero, e, one) / (1 + e);
}

/* With e^2a - 1 = t, tanh a = t / (t + 2) keeps its digits near zero. */
static inline vf vf_tanh(vf x)
{
    vf zero = { 0 }, a = vf_min(vf_set(HONE_TANH_FLAT), vf_abs(x));
    struct vf_power p = vf_power_of(2 * a, zero);
    vf s = vf_scale(vf_set(1), p.k), t = s * p.expm1 + (s - 1);
    return (vf)((vi)(t / (t + 2)) | ((vi)x & HONE_SIGN));
}

/* x sigmoid(v) where v has x's sign, given a = |x| and w = |v|: from the right, x less a bit, and
 * from the left that bit. */
static inline vf vf_gated(vf x, vf a, vf w)
{
    vf zero = { 0 };
    struct vf_power p = vf_power_of(-w, zero);
    vf m = 1 + p.expm1;
    return vf_max(zero, x) - vf_scale(a * m, p.k) / (1 + vf_scale(m, p.k));
}

/* gelu_tanh is x sigmoid(v(x)), v = x (2 K + 2 K 0.044715 x^2), K = sqrt(2/pi): x / (1 + 2^z) with
 * z = x (Z + Z3 x^2) = -v log2 e. */
#define HONE_GELU_V ((real)1.5957691216057308)
#define HONE_GELU_V3 ((real)0.071354816272600249)
#define HONE_GELU_Z ((real)-2.302208198144325)
#define HONE_GELU_Z3 ((real)-0.1029432395800235)

static inline vf vf_gelu_tanh(vf x)
{
    const vf far = vf_set(HONE_GELU_TANH_GONE);
    x = vf_max(-far, x);
    vf a = vf_min(far, x);
    return x * vf_reciprocal(1 + vf_power_of_2(a * (a * a * HONE_GELU_Z3 + HONE_GELU_Z)));
}

#ifndef HONE_NORMAL_TABLES
/* a times the share of the normal distribution below -a, for 0 <= a <= HONE_GELU_ERF_GONE. */
static inline vf vf_normal_below(vf a)
{
    struct vf_normal d = vf_normal_of(a);
    return vf_scale(a * d.tail, d.p.k);
}

/* That share less a times its density, a >= 0. */
static inline vf vf_normal_slope(vf a)
{
    a = vf_min(vf_set(HONE_GELU_ERF_GONE), a);
    struct vf_normal d = vf_normal_of(a);
    vf density = (1 + d.p.expm1) * (real)0.3989422804014327;   /* 1 / sqrt(2 pi) */
    return vf_scale(d.tail - a * density, d.p.k);
}
#endif

static inline vf vf_gelu_erf(vf x)
{
    vf zero = { 0 }, a = vf_min(vf_set(HONE_GELU_ERF_GONE), vf_abs(x));
    return vf_max(zero, x) - vf_normal_below(a);
}

static inline vf vf_silu(vf x)
{
    vf a = vf_min(vf_set(HONE_GONE), vf_abs(x));
    return vf_gated(x, a, a);
}

/* f(x) lane by lane.  `a` is a constant in inner loops: switch outside of them. */
static inline vf vf_activate(enum hone_act a, vf x)
{
    vf zero = { 0 };
    switch (a) {
    case HONE_ACT_relu: return vf_max(zero, x);
    case HONE_ACT_relu6: return vf_min(vf_set(6), vf_max(zero, x));
    case HONE_ACT_leaky_relu: return vf_max(x, x * (real)HONE_LEAKY_SLOPE);
    case HONE_ACT_sigmoid: return vf_sigmoid(x);
    case HONE_ACT_tanh: return vf_tanh(x);
    case HONE_ACT_gelu_erf: return vf_gelu_erf(x);
    case HONE_ACT_gelu_tanh: return vf_gelu_tanh(x);
    case HONE_ACT_silu: return vf_silu(x);
    case HONE_ACT_none: break;
    }
    return x;
}

/* ---- gradients ---- */

/* f' of those that need x.  f(x) - f(-x) = x for all three, so f'(x) = 1 - f'(-x). */
static inline vf vf_mirror(vf x, vf left)
{
    vf zero = { 0 };
    return vf_select(x < zero, left, 1 - left);
}

/* The slope of x sigmoid(v) at -a, given w = |v| and slope = dv/dx there. */
static inline vf vf_gated_slope(vf a, vf w, vf slope)
{
    vf zero = { 0 };
    struct vf_power p = vf_power_of(-w, zero);
    vf e = vf_scale(1 + p.expm1, p.k), r = 1 / (1 + e), s = e * r;
    return s - a * slope * s * r;
}

static inline vf vf_gelu_erf_slope(vf x) { return vf_mirror(x, vf_normal_slope(vf_abs(x))); }

/* With e = 2^z and s = sigmoid(v) = 1 / (1 + e), 1 - s is e s, which keeps its digits. */
static inline vf vf_gelu_tanh_slope(vf x)
{
    const vf far = vf_set(HONE_GELU_TANH_GONE);
    vf a = vf_min(far, vf_max(-far, x)), aa = a * a;
    vf e = vf_power_of_2(a * (aa * HONE_GELU_Z3 + HONE_GELU_Z)), s = vf_reciprocal(1 + e);
    return a * (aa * (3 * HONE_GELU_V3) + HONE_GELU_V) * s * (e * s) + s;
}

static inline vf vf_silu_slope(vf x)
{
    vf a = vf_min(vf_set(HONE_GONE), vf_abs(x));
    return vf_mirror(x, vf_gated_slope(a, a, vf_set(1)));
}

/* dy f', where s is y or x as hone_act_from_y() has it. */
static inline vf vf_activate_bwd(enum hone_act a, vf dy, vf s)
{
    vf zero = { 0 };
    switch (a) {
    case HONE_ACT_relu: return vf_select(s > zero, dy, zero);
    case HONE_ACT_relu6: return vf_select((s > zero) & (s < vf_set(6)), dy, zero);
    case HONE_ACT_leaky_relu: return vf_select(s > zero, dy, dy * (real)HONE_LEAKY_SLOPE);
    case HONE_ACT_sigmoid: return dy * (s * (1 - s));
    case HONE_ACT_tanh: return dy * ((1 - s) * (1 + s));
    case HONE_ACT_gelu_erf: return dy * vf_gelu_erf_slope(s);
    case HONE_ACT_gelu_tanh: return dy * vf_gelu_tanh_slope(s);
    case HONE_ACT_silu: return dy * vf_silu_slope(s);
    case HONE_ACT_none: break;
    }
    return dy;
}

#endif
