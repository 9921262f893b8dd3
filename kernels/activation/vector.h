/* kernels/activation/vector.h -- the activations and their slopes on vectors of floats, for kernels
 * and epilogues; and the exp, log and normal distribution that they are made of.
 *
 * All polynomials are our own minimax fits (Remez exchange in 40 digits); errors in comments are
 * those of the fit.  Reduction by multiples of ln 2 in two parts is Cody and Waite's (1980).
 * Error of the results, in ulp, measured on all exponents by tests/check_math.c:
 *
 *     vf_exp 1, vf_log 1, sigmoid 2, tanh 2.3, silu 3, gelu_erf 5, gelu_tanh 3 of |x| / 2,
 *     slopes from y 1.5, slopes from x 1.5 of 1.
 *
 * NaN gives NaN; infinities give the limits. */
#ifndef HONE_ACTIVATION_VECTOR_H
#define HONE_ACTIVATION_VECTOR_H

#include "kernels/activation/activation.h"
#include "kernels/backend/cpu.h"

typedef uint32_t vu __attribute__((vector_size(HONE_VB)));

static inline vf vf_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }

/* ---- powers of e ---- */

/* e^(hi + lo) = (1 + expm1) 2^k, and expm1 is between -0.3 and 0.42; |hi + lo| < 160. */
struct vf_power { vf expm1, k; };

static inline struct vf_power vf_power_of(vf hi, vf lo)
{
    /* Adding 1.5 2^23 leaves no room for a fraction: it rounds to a whole number. */
    const vf round = vf_set(0x1.8p23f);
    vf k = (hi + lo) * 1.44269504f + round - round;
    /* k has 8 bits and the first part of ln 2 ten: their product is exact, and so is the difference. */
    vf r = (hi - k * 0.693359375f) + (lo + k * 2.12194440e-4f);
    /* (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2, off by 1.3e-8 of e^r - 1. */
    vf q = vf_set(1.38825159955e-3f);
    q = q * r + 8.36658045276e-3f;
    q = q * r + 4.16672016672e-2f;
    q = q * r + 0.166665431768f;
    q = q * r + 0.499999981446f;
    return (struct vf_power){ .expm1 = q * (r * r) + r, .k = k };
}

/* x 2^k, rounded once also where that is denormal; k whole, |k| < 250. */
static inline vf vf_scale(vf x, vf k)
{
#if defined __AVX512F__
    return (vf)_mm512_scalef_ps((__m512)x, (__m512)k);
#else
    /* Two factors, for 2^k alone may be too large or too small for a float. */
    vi n = __builtin_convertvector(k, vi), half = n >> 1;
    return x * (vf)((vu)(half + 127) << 23) * (vf)((vu)(n - half + 127) << 23);
#endif
}

static inline vf vf_exp(vf x)
{
    vf zero = { 0 };
    struct vf_power p = vf_power_of(vf_min(vf_set(89), vf_max(vf_set(-104), x)), zero);
    return vf_scale(1 + p.expm1, p.k);
}

/* Natural logarithm of normal positive numbers; NaN stays NaN. */
static inline vf vf_log(vf x)
{
    /* x = (1 + f) 2^k with 1 + f between sqrt(1/2) and sqrt(2). */
    vi k = ((vi)x - 0x3f3504f3) >> 23;
    vf f = (vf)((vi)x - (k << 23)) - 1, n = __builtin_convertvector(k, vf), ff = f * f;
    /* (log(1 + f) - f + f^2/2) / f^3, off by 6e-9 of log(1 + f). */
    vf q = vf_set(-7.63463817102e-2f);
    q = q * f + 0.127616443179f;
    q = q * f - 0.131601558368f;
    q = q * f + 0.142017447879f;
    q = q * f - 0.166233589248f;
    q = q * f + 0.200012276915f;
    q = q * f - 0.250008210105f;
    q = q * f + 0.333333316925f;
    return n * 0.693359375f + (f + (ff * (q * f - 0.5f) - n * 2.12194440e-4f)) + (x - x);
}

/* ---- the normal distribution ---- */

/* For 0 <= a <= 15: e^(-a^2/2) = (1 + p.expm1) 2^p.k, and the share of the normal distribution
 * below -a is tail 2^p.k: erfc(a / sqrt 2) / 2 without loss where it is tiny. */
struct vf_normal { struct vf_power p; vf tail; };

static inline struct vf_normal vf_normal_of(vf a)
{
    /* The square in two parts, the first of 12 bits by 12 bits and so exact: e^-100 would show an
     * error of a^2/2 a hundredfold. */
    vf top = (vf)((vi)a & ~0xfff), rest = a - top;
    struct vf_power p = vf_power_of(top * top * -0.5f, rest * (a + top) * -0.5f);
    /* e^(a^2/2) times the tail is s P(q), where s = 1/(a + 4) and q = (a - 4) s in [-1, 0.58]: the
     * substitution of Shepherd and Laframboise (1981); P is off by 9e-9 of itself. */
    vf s = 1 / (a + 4), q = (a - 4) * s, t = vf_set(-1.34195885882e-4f);
    t = t * q + 1.74660064805e-4f;
    t = t * q + 1.56840831262e-3f;
    t = t * q - 3.51021151568e-3f;
    t = t * q - 7.52400452532e-3f;
    t = t * q + 6.04034896007e-2f;
    t = t * q - 0.186523656262f;
    t = t * q + 0.387136916511f;
    t = t * q - 0.607896579878f;
    t = t * q + 0.755285135253f;
    return (struct vf_normal){ .p = p, .tail = t * s * (1 + p.expm1) };
}

/* ---- activations ---- */

static inline vf vf_sigmoid(vf x)
{
    vf zero = { 0 }, one = vf_set(1);
    struct vf_power p = vf_power_of(-vf_min(vf_set(110), vf_abs(x)), zero);
    vf e = vf_scale(1 + p.expm1, p.k);   /* e^-|x|: never overflows */
    return vf_select(x < zero, e, one) / (1 + e);
}

/* With e^2a - 1 = t, tanh a = t / (t + 2) keeps its digits near zero. */
static inline vf vf_tanh(vf x)
{
    vf zero = { 0 }, a = vf_min(vf_set(10), vf_abs(x));
    struct vf_power p = vf_power_of(2 * a, zero);
    vf s = vf_scale(vf_set(1), p.k), t = s * p.expm1 + (s - 1);
    return (vf)((vi)(t / (t + 2)) | ((vi)x & ~0x7fffffff));
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

/* gelu_tanh is x sigmoid(v(x)), v = x (2 K + 2 K 0.044715 x^2), K = sqrt(2/pi). */
#define HONE_GELU_V 1.59576912f
#define HONE_GELU_V3 0.0713548163f

static inline vf vf_gelu_tanh(vf x)
{
    vf a = vf_min(vf_set(11), vf_abs(x));
    return vf_gated(x, a, a * (a * a * HONE_GELU_V3 + HONE_GELU_V));
}

static inline vf vf_gelu_erf(vf x)
{
    vf zero = { 0 }, a = vf_min(vf_set(15), vf_abs(x));
    struct vf_normal d = vf_normal_of(a);
    return vf_max(zero, x) - vf_scale(a * d.tail, d.p.k);
}

static inline vf vf_silu(vf x)
{
    vf a = vf_min(vf_set(110), vf_abs(x));
    return vf_gated(x, a, a);
}

/* f(x) lane by lane.  `a` is a constant in inner loops: switch outside of them. */
static inline vf vf_activate(enum hone_act a, vf x)
{
    vf zero = { 0 };
    switch (a) {
    case HONE_ACT_relu: return vf_max(zero, x);
    case HONE_ACT_relu6: return vf_min(vf_set(6), vf_max(zero, x));
    case HONE_ACT_leaky_relu: return vf_max(x, x * (float)HONE_LEAKY_SLOPE);
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

static inline vf vf_gelu_erf_slope(vf x)
{
    vf a = vf_min(vf_set(15), vf_abs(x));
    struct vf_normal d = vf_normal_of(a);
    vf density = (1 + d.p.expm1) * 0.398942280f;   /* 1 / sqrt(2 pi) */
    return vf_mirror(x, vf_scale(d.tail - a * density, d.p.k));
}

static inline vf vf_gelu_tanh_slope(vf x)
{
    vf a = vf_min(vf_set(11), vf_abs(x)), aa = a * a;
    return vf_mirror(x, vf_gated_slope(a, a * (aa * HONE_GELU_V3 + HONE_GELU_V), aa * (3 * HONE_GELU_V3) + HONE_GELU_V));
}

static inline vf vf_silu_slope(vf x)
{
    vf a = vf_min(vf_set(110), vf_abs(x));
    return vf_mirror(x, vf_gated_slope(a, a, vf_set(1)));
}

/* dy f', where s is y or x as hone_act_from_y() has it. */
static inline vf vf_activate_bwd(enum hone_act a, vf dy, vf s)
{
    vf zero = { 0 };
    switch (a) {
    case HONE_ACT_relu: return vf_select(s > zero, dy, zero);
    case HONE_ACT_relu6: return vf_select((s > zero) & (s < vf_set(6)), dy, zero);
    case HONE_ACT_leaky_relu: return vf_select(s > zero, dy, dy * (float)HONE_LEAKY_SLOPE);
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
