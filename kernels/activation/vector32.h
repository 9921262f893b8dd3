/* kernels/activation/vector32.h -- powers of e, logarithm and normal distribution on vectors of
 * floats, for vector.h alone.
 *
 * All polynomials are our own minimax fits (Remez exchange in 40 digits); errors in comments are
 * those of the fit.  Reduction by multiples of ln 2 in two parts is Cody and Waite's (1980). */
#ifndef HONE_ACTIVATION_VECTOR32_H
#define HONE_ACTIVATION_VECTOR32_H

#include "kernels/backend/cpu.h"

/* Beyond these e^-x is 0, e^x infinite, tanh 1, gelu_tanh and gelu_erf of -x 0. */
enum {
    HONE_EXP_LEAST = -104, HONE_EXP_MOST = 89, HONE_GONE = 110, HONE_TANH_FLAT = 10,
    HONE_GELU_TANH_GONE = 11, HONE_GELU_ERF_GONE = 15
};

/* ---- powers of e ---- */

/* e^(hi + lo) = (1 + expm1) 2^k, and expm1 is between -0.3 and 0.42; |hi + lo| < 160. */
struct vf_power { vf expm1, k; };

static inline struct vf_power vf_power_of(vf hi, vf lo)
{
    /* Adding 1.5 2^23 leaves no room for a fraction: it rounds to a whole number. */
    const vf round = vf_set(0x1.8p23f);
    vf k = (hi + lo) * 1.44269504f + round - round;
    /* k has 8 bits and the first part of ln 2 ten: their product is exact, and so is the
     * difference. */
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
    /* Two factors, for 2^k alone may be too large or too small for a real. */
    vi n = __builtin_convertvector(k, vi), half = n >> 1;
    return x * (vf)((vi)(half + 127) << 23) * (vf)((vi)(n - half + 127) << 23);
#endif
}

/* e^x where x is at most HONE_EXP_MOST. */
static inline vf vf_exp_down(vf x)
{
    const vf round = vf_set(0x1.8p23f);
    x = vf_max(vf_set(HONE_EXP_LEAST), x);
    vf k = x * 1.44269504f + round - round;
    vf r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    /* As vf_power_of(), but 1 is added by the way. */
    vf q = vf_set(1.38825159955e-3f);
    q = q * r + 8.36658045276e-3f;
    q = q * r + 4.16672016672e-2f;
    q = q * r + 0.166665431768f;
    q = q * r + 0.499999981446f;
    q = q * r + 1;
    return vf_scale(q * r + 1, k);
}

static inline vf vf_exp(vf x) { return vf_exp_down(vf_min(vf_set(HONE_EXP_MOST), x)); }

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

#endif
