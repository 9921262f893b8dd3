/* kernels/activation/vector32.h -- powers of e, logarithm and normal distribution on vectors of
 * floats, for vector.h alone.
 *
 * All polynomials are our own minimax fits (Remez exchange in 40 digits); errors in comments are
 * those of the fit.  Reduction by multiples of ln 2 in two parts is Cody and Waite's (1980). */
#ifndef HONE_ACTIVATION_VECTOR32_H
#define HONE_ACTIVATION_VECTOR32_H

#include "kernels/backend/cpu.h"

/* Beyond these e^-x is 0, e^x infinite, tanh 1, gelu_tanh of -x 1e-28, gelu_erf of -x 0. */
enum {
    HONE_EXP_LEAST = -104, HONE_EXP_MOST = 89, HONE_GONE = 110, HONE_TANH_FLAT = 10,
    HONE_GELU_TANH_GONE = 9, HONE_GELU_ERF_GONE = 15
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

/* 2^z for |z| < 126; of NaN anything. */
static inline vf vf_power_of_2(vf z)
{
    vf t = z + 0x1.8p23f, r = z - (t - 0x1.8p23f);
    /* Exactly 1 for r = 0; off by 9.2e-8 of 2^r. */
    vf q = vf_set(1.32647271e-3f);
    q = q * r + 9.67151264e-3f;
    q = q * r + 5.55073374e-2f;
    q = q * r + 0.240222421f;
    q = q * r + 0.693146978f;
    q = q * r + 1;
    /* The whole number is what t has in its lowest bits. */
    return (vf)((vi)q + ((vi)t << 23));
}

/* 1 / x where both are normal numbers.  Dividing takes AVX-512's units 16 cycles: there a guess of
 * 14 bits and a step of Newton's, off by 1.2 ulp. */
static inline vf vf_reciprocal(vf x)
{
#if defined __AVX512F__
    vf guess = (vf)_mm512_rcp14_ps((__m512)x);
    return guess * (1 - x * guess) + guess;
#else
    return 1 / x;
#endif
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

/* With permutations of two registers: by tables of 32 numbers. */
#if defined __AVX512F__
#define HONE_NORMAL_TABLES

HONE_INLINE vf vf_look_up(const float table[32], vi i)
{
    return (vf)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)i,
                                      _mm512_loadu_ps(table + 16));
}

/* The polynomial of four powers of x whose coefficients are column i of the table. */
HONE_INLINE vf vf_piece(const float table[5][32], vi i, vf x)
{
    vf p = vf_look_up(table[4], i);
    p = p * x + vf_look_up(table[3], i);
    p = p * x + vf_look_up(table[2], i);
    p = p * x + vf_look_up(table[1], i);
    return p * x + vf_look_up(table[0], i);
}

/* a times the share of the normal distribution below -a, 0 <= a <= 15, without loss where it is
 * tiny: e^(-a^2/2) as a power of 2, in steps of 1/32, and a polynomial of two powers (off by
 * 5.4e-8), times e^(a^2/2) of that share, one of four powers for each of 8 pieces of each octave
 * of a + 1 (off by 9e-8 of itself). */
static inline vf vf_normal_below(vf a)
{
    static const float power[32] = {   /* 2^(i/32) */
        1.0f, 1.0218972f, 1.04427373f, 1.06714046f, 1.09050775f, 1.1143868f, 1.13878858f,
        1.1637249f, 1.18920708f, 1.21524739f, 1.24185777f, 1.26905096f, 1.29683959f,
        1.32523668f, 1.35425556f, 1.38390994f, 1.41421354f, 1.44518077f, 1.47682619f,
        1.50916445f, 1.54221082f, 1.5759809f, 1.61049032f, 1.64575553f, 1.68179286f,
        1.71861935f, 1.75625217f, 1.79470909f, 1.8340081f, 1.87416768f, 1.91520655f,
        1.95714414f
    };
    static const float mills[5][32] = {   /* of powers of x, for the last five bits of n */
        { 0.245331392f, 0.217639819f, 0.195023105f, 0.176290885f, 0.160580099f, 0.147254065f,
          0.135835603f, 0.125961721f, 0.113452062f, 0.100039206f, 0.0893593207f, 0.0806754008f,
          0.073488228f, 0.0674492344f, 0.0623084866f, 0.0578826331f, 0.0522930957f,
          0.0463100448f, 0.04154329f, 0.037658859f, 0.0344340578f, 0.0317149274f, 0.0293917321f,
          0.0273842253f, 0.476011127f, 0.433182299f, 0.396211833f, 0.364104867f, 0.336061448f,
          0.311434001f, 0.289695084f, 0.270412415f },
        { -0.245888561f, -0.19937481f, -0.164059296f, -0.136793613f, -0.115419067f,
          -0.0984276906f, -0.0847476348f, -0.0736046284f, -0.120891862f, -0.095180735f,
          -0.076660566f, -0.062936455f, -0.052516222f, -0.0444367677f, -0.0380569287f,
          -0.032938052f, -0.0539521649f, -0.0424551852f, -0.0342482477f, -0.0281940717f,
          -0.0236048289f, -0.0200456716f, -0.0172312185f, -0.0149681149f, -0.369191468f,
          -0.317720503f, -0.27512601f, -0.239646345f, -0.209907681f, -0.184831381f, -0.16356501f,
          -0.145430624f },
        { 0.214037493f, 0.161138818f, 0.123449519f, 0.0960935056f, 0.0758944973f, 0.0607422367f,
          0.0492085591f, 0.0403100513f, 0.121816069f, 0.0864561573f, 0.0632584542f,
          0.0475060344f, 0.0364849418f, 0.0285706259f, 0.0227560233f, 0.0183971673f,
          0.0548063815f, 0.0384406038f, 0.0279491283f, 0.0209307969f, 0.0160666276f,
          0.0125932982f, 0.0100491373f, 0.00814418495f, 0.22646828f, 0.186804816f, 0.155117452f,
          0.129629776f, 0.108994156f, 0.0921811834f, 0.0783992335f, 0.0670355931f },
        { -0.167714298f, -0.118369766f, -0.0851685256f, -0.0623799451f, -0.046445664f,
          -0.0351101123f, -0.0269155186f, -0.0209023394f, -0.117352106f, -0.0756013691f,
          -0.0505343266f, -0.0348737054f, -0.0247434527f, -0.017987201f, -0.0133579513f,
          -0.0101092355f, -0.0551104881f, -0.0345207714f, -0.022654945f, -0.0154511873f,
          -0.0108835977f, -0.00787915289f, -0.00583984749f, -0.00441756099f, -0.118458062f,
          -0.0943158865f, -0.0756144002f, -0.0610263646f, -0.0495700799f, -0.0405143611f,
          -0.033310879f, -0.027545711f },
        { 0.120162569f, 0.0800768808f, 0.0544706434f, 0.0377681442f, 0.0266578086f,
          0.0191303995f, 0.0139420442f, 0.0103078764f, 0.10777656f, 0.0634599403f, 0.0389721543f,
          0.0248304941f, 0.0163394921f, 0.0110625271f, 0.00768103404f, 0.00545415841f,
          0.0543679409f, 0.0305247977f, 0.0181309544f, 0.0112850731f, 0.00730619347f,
          0.00489157951f, 0.00337095908f, 0.00238211942f, 0.054811351f, 0.0423159003f,
          0.0329004191f, 0.0257554129f, 0.0202960093f, 0.0160966367f, 0.0128455013f,
          0.0103126271f },
    };
    const vf round = vf_set(0x1.8p18f);   /* leaves five bits of a fraction */
    vf aa = a * a, rest = (vf)_mm512_fmsub_ps((__m512)a, (__m512)a, (__m512)aa);
    /* What is left of aa by as many 32nds of 2 ln 2, in two parts. */
    vf t = aa * -0.72134752f + round, k = t - round;
    vf r = (aa + k * 1.38629436f) - k * 3.8093086e-9f + rest;
    vf expm1 = (r * 0.125000909f - 0.500007331f) * r;
    vf b = a + 1;
    vi n = (vi)b >> 20;
    vf x = (vf)(((vi)b & 0xfffff) | 0x3f800000) - 1.0625f;
    vf y = a * vf_look_up(power, (vi)t) * vf_piece(mills, n, x);
    return vf_scale(y * expm1 + y, k);
}

/* The share of the normal distribution below -a less a times its density, a >= 0, off by at most
 * 4e-8 before roundings: polynomials of four powers around multiples of 13/64, the last of which,
 * for all that is beyond, is 0. */
static inline vf vf_normal_slope(vf a)
{
    static const float slope[5][32] = {
        { 0.5f, 0.340138137f, 0.193046182f, 0.0692270845f, -0.0247617736f, -0.0870079622f,
          -0.119888552f, -0.128892034f, -0.121043406f, -0.103386231f, -0.0818595216f,
          -0.0607176796f, -0.0424587838f, -0.0281079561f, -0.0176659953f, -0.0105628092f,
          -0.00601738133f, -0.00326978508f, -0.00169629103f, -0.000840729917f, -0.000398321368f,
          -0.000180481453f, -7.82383358e-05f, -3.24588982e-05f, -1.28911779e-05f,
          -4.90225966e-06f, -1.78538187e-06f, -6.22832999e-07f, -2.08153111e-07f,
          -6.66533637e-08f, -2.04521751e-08f, 0.0f },
        { -0.797883928f, -0.765467048f, -0.674059868f, -0.539642274f, -0.384250045f,
          -0.230689868f, -0.0976982415f, 0.00315335323f, 0.0682503805f, 0.10068386f,
          0.107776642f, 0.0983655602f, 0.0806126893f, 0.0607262105f, 0.0425851904f,
          0.0280139353f, 0.0173737723f, 0.0101934327f, 0.00567202875f, 0.00299888523f,
          0.00150872255f, 0.000723067555f, 0.000330417621f, 0.000144073711f, 5.99805426e-05f,
          2.38541488e-05f, 9.06640162e-06f, 3.29447107e-06f, 1.14487011e-06f, 3.80599488e-07f,
          1.21067686e-07f, 0.0f },
        { -4.86766112e-05f, 0.157123029f, 0.286151201f, 0.366332412f, 0.389114887f, 0.359058261f,
          0.290892184f, 0.204180956f, 0.117671072f, 0.0451204255f, -0.00648593809f,
          -0.0364454016f, -0.0483928509f, -0.047931578f, -0.0406552739f, -0.0309583824f,
          -0.0216379501f, -0.0140527822f, -0.00854497962f, -0.00488940347f, -0.00264204713f,
          -0.00135175581f, -0.000656128861f, -0.00030261057f, -0.000132775516f, -5.54785838e-05f,
          -2.20935162e-05f, -8.3914374e-06f, -3.04154219e-06f, -1.05257845e-06f,
          -3.47940954e-07f, 0.0f },
        { 0.267304689f, 0.241162762f, 0.175438091f, 0.0849192813f, -0.0085802637f,
          -0.0851315707f, -0.132079929f, -0.146306753f, -0.133107439f, -0.102755368f,
          -0.0664474592f, -0.033128351f, -0.00795823243f, 0.00762353372f, 0.0148206893f,
          0.0161019936f, 0.0140590267f, 0.0107373102f, 0.00742216781f, 0.00472541759f,
          0.00279946369f, 0.00155346398f, 0.000811130216f, 0.000399822224f, 0.000186508521f,
          8.24920571e-05f, 3.46467241e-05f, 1.38349806e-05f, 5.25771611e-06f, 1.90318792e-06f,
          6.56658756e-07f, 0.0f },
        { -0.015139766f, -0.0578762516f, -0.10053473f, -0.117938824f, -0.108265847f,
          -0.0776876658f, -0.0373043008f, 0.0011903909f, 0.0292370375f, 0.0432553105f,
          0.0443668775f, 0.0366603024f, 0.025044417f, 0.0135719916f, 0.00464285351f,
          -0.000976953655f, -0.00365466438f, -0.00427701138f, -0.00377043453f, -0.0028429972f,
          -0.00191852229f, -0.0011842188f, -0.000676928845f, -0.000361147249f, -0.000180779854f,
          -8.52278099e-05f, -3.79491103e-05f, -1.5993839e-05f, -6.39114933e-06f,
          -2.42482952e-06f, -8.74486773e-07f, 0.0f },
    };
    const vf round = vf_set(0x1.8p23f);
    a = vf_min(vf_set(31 * 0.203125f), a);
    vf t = a * (1 / 0.203125f) + round;
    return vf_piece(slope, (vi)t, a - (t - round) * 0.203125f);
}
#else

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

#endif
