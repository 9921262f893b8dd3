/* kernels/backend/bf16.h -- bf16 as floats and back; for half.h alone.
 *
 * A bf16 is the upper half of a float: loading shifts it up, exactly; storing rounds to the nearest
 * one, ties to even, so that sums of roundings do not drift.  NaN stays NaN. */
#ifndef HONE_BF16_H
#define HONE_BF16_H

#if defined __AVX512F__
/* GCC 12 makes two halves of the conversion that __builtin_convertvector() asks for. */
HONE_INLINE vf vh_widen(vh h) { return (vf)((vu)_mm512_cvtepu16_epi32((__m256i)h) << 16); }
#else
HONE_INLINE vf vh_widen(vh h) { return (vf)(__builtin_convertvector(h, vu) << 16); }
#endif

HONE_INLINE vh vh_narrow(vf v)
{
    /* Half of the last place that stays, less one where that place is even: a carry rounds up. */
    vu bits = (vu)v, near = bits + 0x7fff + (bits >> 16 & 1);
#if defined __AVX512F__
    near = (vu)_mm512_mask_mov_epi32((__m512i)near, _mm512_cmp_ps_mask((__m512)v, (__m512)v, 3),
                                     (__m512i)(bits | 0x400000));
#else
    vi nan = v != v;
    near = (near & ~(vu)nan) | ((bits | 0x400000) & (vu)nan);
#endif
    return __builtin_convertvector(near >> 16, vh);
}

static inline real vs_real(stored x)
{
    uint32_t bits = (uint32_t)x << 16;
    real v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#endif
