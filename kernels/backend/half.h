/* kernels/backend/half.h -- bf16 or f16 numbers in memory, floats in registers; for cpu.h alone.  How
 * one becomes the other is all that tells the two types apart. */
#ifndef HONE_HALF_H
#define HONE_HALF_H

typedef uint16_t stored;

typedef uint16_t vh __attribute__((vector_size(HONE_VB / 2)));
typedef uint16_t vh_unaligned
    __attribute__((vector_size(HONE_VB / 2), aligned(2), may_alias));
typedef uint32_t vu __attribute__((vector_size(HONE_VB)));

#if HONE_DIGITS == 11
#include "kernels/backend/f16.h"
#else
#include "kernels/backend/bf16.h"
#endif

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

#endif
