/* kernels/backend/bf16.h -- bf16 numbers in memory, floats in registers; for cpu.h alone.
 *
 * A bf16 is the upper half of a float: loading shifts it up, exactly; storing rounds to the nearest
 * one, ties to even, so that sums of roundings do not drift.  NaN stays NaN. */
#ifndef HONE_BF16_H
#define HONE_BF16_H

typedef uint16_t stored;

typedef uint16_t vh __attribute__((vector_size(HONE_VB / 2)));
typedef uint16_t vh_unaligned
    __attribute__((vector_size(HONE_VB / 2), aligned(2), may_alias));
typedef uint32_t vu __attribute__((vector_size(HONE_VB)));

HONE_INLINE vf vh_widen(vh h) { return (vf)(__builtin_convertvector(h, vu) << 16); }

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

static inline vf vs_load(const stored *p) { return vh_widen(*(const vh_unaligned *)p); }
static inline void vs_store(stored *p, vf v) { *(vh_unaligned *)p = vh_narrow(v); }

#if defined __AVX512F__
static inline vf vs_load_n(const stored *p, int n)
{
    return vh_widen((vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p));
}

static inline void vs_store_n(stored *p, vf v, int n)
{
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)vh_narrow(v));
}
#else
static inline vf vs_load_n(const stored *p, int n)
{
    vh h = { 0 };
    if (n == VL) return vs_load(p);
    for (int i = 0; i < VL - 1; i++) if (i < n) h[i] = p[i];
    return vh_widen(h);
}

static inline void vs_store_n(stored *p, vf v, int n)
{
    vh h = vh_narrow(v);
    if (n == VL) vs_store(p, v);
    else for (int i = 0; i < VL - 1; i++) if (i < n) p[i] = h[i];
}
#endif

#if defined __AVX512F__
static inline void vs_stream(stored *p, vf v)
{
    _mm256_stream_si256((__m256i *)p, (__m256i)vh_narrow(v));
}
#elif defined __AVX2__
static inline void vs_stream(stored *p, vf v)
{
    _mm_stream_si128((__m128i *)p, (__m128i)vh_narrow(v));
}
#else
static inline void vs_stream(stored *p, vf v) { vs_store(p, v); }
#endif

static inline real vs_real(stored x)
{
    uint32_t bits = (uint32_t)x << 16;
    real v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* to[0..n) = from[0..n), exactly; and rounded. */
static inline void vs_widen(real *to, const stored *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vf_store(to + i, vs_load(from + i));
    if (i < n) vf_store_n(to + i, vs_load_n(from + i, (int)(n - i)), (int)(n - i));
}

static inline void vs_narrow(stored *to, const real *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vs_store(to + i, vf_load(from + i));
    if (i < n) vs_store_n(to + i, vf_load_n(from + i, (int)(n - i)), (int)(n - i));
}

#endif
