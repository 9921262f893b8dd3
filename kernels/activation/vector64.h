/* kernels/activation/vector64.h -- powers of e, logarithm and normal distribution on vectors of
 * doubles, for vector.h alone.
 *
 * Series by Taylor, cut where the rest is below 1e-17 of the result; reduction by multiples of ln 2
 * in two parts is Cody and Waite's (1980), as is the form of log in fdlibm (Sun, 1993). */
#ifndef HONE_ACTIVATION_VECTOR64_H
#define HONE_ACTIVATION_VECTOR64_H

#include "kernels/backend/cpu.h"

/* Beyond these e^-x is 0, e^x infinite, tanh 1, gelu_tanh of -x 1e-260, gelu_erf of -x 0. */
enum {
    HONE_EXP_LEAST = -746, HONE_EXP_MOST = 710, HONE_GONE = 760, HONE_TANH_FLAT = 20,
    HONE_GELU_TANH_GONE = 20, HONE_GELU_ERF_GONE = 39
};

/* ln 2 in two parts: the first has 32 bits, and its product with a whole number of 11 is exact. */
#define HONE_LN2_HI 6.93147180369123816490e-01
#define HONE_LN2_LO 1.90821492927058770002e-10

/* e^(hi + lo) = (1 + expm1) 2^k, and expm1 is between -0.3 and 0.42; |hi + lo| < 1000. */
struct vf_power { vf expm1, k; };

static inline struct vf_power vf_power_of(vf hi, vf lo)
{
    /* Adding 1.5 2^52 leaves no room for a fraction: it rounds to a whole number. */
    const vf round = vf_set(0x1.8p52);
    vf k = (hi + lo) * 1.4426950408889634 + round - round;
    vf r = (hi - k * HONE_LN2_HI) + (lo - k * HONE_LN2_LO);
    vf q = vf_set(1.6059043836821613e-10);
    q = q * r + 2.08767569878681e-09;
    q = q * r + 2.505210838544172e-08;
    q = q * r + 2.7557319223985888e-07;
    q = q * r + 2.7557319223985893e-06;
    q = q * r + 2.4801587301587302e-05;
    q = q * r + 0.00019841269841269841;
    q = q * r + 0.0013888888888888889;
    q = q * r + 0.0083333333333333332;
    q = q * r + 0.041666666666666664;
    q = q * r + 0.16666666666666666;
    q = q * r + 0.5;
    return (struct vf_power){ .expm1 = q * (r * r) + r, .k = k };
}

/* x 2^k, rounded once also where that is denormal; k whole, |k| < 2000. */
static inline vf vf_scale(vf x, vf k)
{
#if defined __AVX512F__
    return (vf)_mm512_scalef_pd((__m512d)x, (__m512d)k);
#else
    /* Two factors, for 2^k alone may be too large or too small for a double. */
    vi n = __builtin_convertvector(k, vi), half = n >> 1;
    return x * (vf)((half + 1023) << 52) * (vf)((n - half + 1023) << 52);
#endif
}

/* e^x where x is at most HONE_EXP_MOST. */
static inline vf vf_exp_down(vf x)
{
    vf zero = { 0 };
    struct vf_power p = vf_power_of(vf_max(vf_set(HONE_EXP_LEAST), x), zero);
    return vf_scale(1 + p.expm1, p.k);
}

static inline vf vf_exp(vf x) { return vf_exp_down(vf_min(vf_set(HONE_EXP_MOST), x)); }

/* 2^z for |z| < 1000, off by |z| ulp. */
static inline vf vf_power_of_2(vf z) { return vf_exp_down(z * 0.6931471805599453); }

static inline vf vf_reciprocal(vf x) { return 1 / x; }

/* Natural logarithm of normal positive numbers; NaN stays NaN. */
static inline vf vf_log(vf x)
{
    /* x = (1 + f) 2^k with 1 + f between sqrt(1/2) and sqrt(2). */
    vi k = ((vi)x - 0x3fe6a09e667f3bcd) >> 52;
    vf f = (vf)((vi)x - (k << 52)) - 1, n = __builtin_convertvector(k, vf), half = f * f * 0.5;
    /* With s = f / (2 + f): log(1 + f) = 2 atanh s = f - f^2/2 + s (f^2/2 + 2 s^2/3 + 2 s^4/5 +
     * ...). */
    vf s = f / (2 + f), z = s * s, q = vf_set(0.086956521739130432);
    q = q * z + 0.095238095238095233;
    q = q * z + 0.10526315789473684;
    q = q * z + 0.11764705882352941;
    q = q * z + 0.13333333333333333;
    q = q * z + 0.15384615384615385;
    q = q * z + 0.18181818181818182;
    q = q * z + 0.22222222222222221;
    q = q * z + 0.2857142857142857;
    q = q * z + 0.40000000000000002;
    q = q * z + 0.66666666666666663;
    return n * HONE_LN2_HI + (f - (half - (s * (half + z * q) + n * HONE_LN2_LO))) + (x - x);
}

/* ---- the normal distribution ---- */

/* For 0 <= a <= 39: e^(-a^2/2) = (1 + p.expm1) 2^p.k, and the share of the normal distribution
 * below -a is tail 2^p.k. */
struct vf_normal { struct vf_power p; vf tail; };

static inline struct vf_normal vf_normal_of(vf a)
{
    /* The square in two parts, the first of 26 bits by 26 bits and so exact. */
    vf top = (vf)((vi)a & ~0x7ffffff), rest = a - top, tail = a;
    struct vf_power p = vf_power_of(top * top * -0.5, rest * (a + top) * -0.5);
    /* The C library's erfc, lane by lane: only gelu's exact form comes here. */
    for (int i = 0; i < VL; i++) tail[i] = 0.5 * __builtin_erfc(a[i] * 0.70710678118654752440);
    return (struct vf_normal){ .p = p, .tail = vf_scale(tail, -p.k) };
}

#endif
