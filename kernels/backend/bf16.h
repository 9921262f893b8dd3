/* kernels/backend/bf16.h -- bf16 as floats and back; for half.h alone.
 *
 * A bf16 is the upper half of a float: loading shifts it up, exactly; storing rounds to the nearest
 * one, ties to even, so that sums of roundings do not drift.  NaN stays NaN. */
#ifndef HONE_BF16_H
#define HONE_BF16_H

#if defined __AVX512F__
/* GCC 12 makes two halves of the conversion that __builtin_convertvector() asks for. */
HONE_INLINE vf vh_widen(vh h) { return (vf)((vu)_mm512_cvtepu16_epi32((__m256i)h) << 16); }

/* Half of the last place that stays, less one where that place is even: a carry rounds up.  A
 * shuffle takes the upper halves as they lie. */
HONE_INLINE vh vh_narrow(vf v)
{
    const __m512i bits = (__m512i)v, one = _mm512_set1_epi32(1),
                  upper = (__m512i)(vu){ 0x30001, 0x70005, 0xb0009, 0xf000d,
                                         0x130011, 0x170015, 0x1b0019, 0x1f001d };
    const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000)),
                    nan = _mm512_cmp_ps_mask((__m512)v, (__m512)v, 3);
    __m512i near = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    near = _mm512_mask_add_epi32(near, odd, near, one);
    near = _mm512_mask_or_epi32(near, nan, bits, _mm512_set1_epi32(0x400000));
    return (vh)_mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, near));
}
#else
HONE_INLINE vf vh_widen(vh h) { return (vf)(__builtin_convertvector(h, vu) << 16); }

HONE_INLINE vh vh_narrow(vf v)
{
    /* As above, with a mask for each lane. */
    const vu bits = (vu)v, near = bits + 0x7fff + (bits >> 16 & 1);
    const vi nan = v != v;
    return __builtin_convertvector(((near & ~(vu)nan) | ((bits | 0x400000) & (vu)nan)) >> 16, vh);
}
#endif

static inline real vs_real(stored x)
{
    uint32_t bits = (uint32_t)x << 16;
    real v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#endif
