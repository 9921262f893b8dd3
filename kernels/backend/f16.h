/* kernels/backend/f16.h -- f16, IEEE 754's binary16, as floats and back; for half.h alone.
 *
 * Every f16 is a float; storing rounds to the nearest one, ties to even, from 65520 on to infinity,
 * and below 2^-14 to a multiple of 2^-24.  NaN stays NaN.  Processors with AVX2 and more have
 * instructions for that (F16C); without, it is whole numbers and one sum of floats. */
#ifndef HONE_F16_H
#define HONE_F16_H

#if defined __AVX512F__
HONE_INLINE vf vh_widen(vh h) { return (vf)_mm512_cvtph_ps((__m256i)h); }
HONE_INLINE vh vh_narrow(vf v) { return (vh)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT); }
#elif defined __AVX2__ && defined __F16C__
HONE_INLINE vf vh_widen(vh h) { return (vf)_mm256_cvtph_ps((__m128i)h); }
HONE_INLINE vh vh_narrow(vf v) { return (vh)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT); }
#else
/* The bits of a where those of the mask are set, else of b. */
HONE_INLINE vu vu_select(vi mask, vu a, vu b) { return ((vu)mask & a) | (~(vu)mask & b); }

HONE_INLINE vf vh_widen(vh h)
{
    const vu bits = __builtin_convertvector(h, vu), sign = (bits & 0x8000) << 16,
             size = (bits & 0x7fff) << 13, exponent = size & 0xf800000;
    /* The exponents' biases differ by 112, and by 224 where both are all ones.  A subnormal number is
     * the fraction behind a one in front, less that one. */
    const vu normal = size + (112u << 23), infinite = size + (224u << 23);
    const vf one = (vf)((vu){ 0 } + (113u << 23)), small = (vf)(size + (113u << 23)) - one;
    vu v = vu_select((vi)(exponent == 0xf800000), infinite, normal);
    v = vu_select((vi)(exponent == 0), (vu)small, v);
    return (vf)(v | sign);
}

HONE_INLINE vh vh_narrow(vf v)
{
    const vu bits = (vu)v, sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    /* Half of the last place that stays, less one where that place is even: a carry rounds up, at the
     * largest to infinity.  Below 2^-14, adding 1/2 rounds to multiples of 2^-24. */
    const vu normal = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
    const vu small = (vu)((vf)size + (real)0.5) - (126u << 23);
    vu h = vu_select((vi)(size < (113u << 23)), small, normal);
    h = vu_select((vi)(size >= (143u << 23)), (vu){ 0 } + 0x7c00, h);
    h = vu_select((vi)(size > 0x7f800000), (vu){ 0 } + 0x7e00, h);
    return __builtin_convertvector(h | sign, vh);
}
#endif

static inline real vs_real(stored x) { return vh_widen((vh){ x })[0]; }

#endif
