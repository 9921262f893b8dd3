/* kernels/backend/cpu.h -- what every CPU kernel includes: the backend, the names under which one
 * file is compiled once per instruction set, and vectors of that set's width.
 *
 * Files in Makefile.am's SIMD_KERNELS are compiled once per ISA with -DHONE_ISA=avx2 and the flags
 * that go with it; HONE_SYM(gemm_cpu_blocked) then is hone_gemm_cpu_blocked_avx2.  Those in
 * its f64 libraries are compiled again with -DHONE_REAL=64, where `real` is double, and are
 * hone_gemm_cpu_blocked_avx2_f64.  With -DHONE_REAL=16 `real` is float, but arrays of activations
 * and weights are of `stored` numbers: bf16 or, with -DHONE_DIGITS=11, f16.  vs_load() and
 * vs_store() convert, and in the other builds `stored` is `real`.  What is added up is always
 * real. */
#ifndef HONE_CPU_H
#define HONE_CPU_H

#include "kernels/kernel.h"

#include <string.h>

#ifdef __SSE__
#include <immintrin.h>
#endif

#ifdef _OPENMP
#include <omp.h>
#endif

extern const struct hone_backend hone_backend_cpu;

/* Inside a parallel region: which of how many threads this is. */
#ifdef _OPENMP
static inline int hone_thread(void) { return omp_get_thread_num(); }
static inline int hone_threads(void) { return omp_get_num_threads(); }
#else
static inline int hone_thread(void) { return 0; }
static inline int hone_threads(void) { return 1; }
#endif

#ifndef HONE_ISA
#define HONE_ISA plain
#endif

#define HONE_PASTE_(a, b) a##b
#define HONE_PASTE(a, b) HONE_PASTE_(a, b)
#define HONE_TEXT_OF_(a) #a
#define HONE_TEXT_OF(a) HONE_TEXT_OF_(a)

#ifndef HONE_REAL
#define HONE_REAL 32
#endif

/* Bits of a half's fraction, the first included: 8 of bf16, 11 of f16. */
#ifndef HONE_DIGITS
#define HONE_DIGITS 8
#endif

/* The number type of a kernel, whole numbers of its size, and what tells the builds apart. */
#if HONE_REAL == 64
typedef double real;
typedef int64_t ireal;
typedef uint64_t ureal;
#define HONE_THIS_DTYPES (1u << HONE_F64)
#define HONE_SYM(name)                                                                             \
    HONE_PASTE(HONE_PASTE(hone_, name), HONE_PASTE(HONE_PASTE(_, HONE_ISA), _f64))
#define HONE_NAME(name) name "_" HONE_TEXT_OF(HONE_ISA) "_f64"
#elif HONE_REAL == 16
typedef float real;
typedef int32_t ireal;
typedef uint32_t ureal;
#if HONE_DIGITS == 11
#define HONE_THIS_DTYPES (1u << HONE_F16)
#define HONE_HALF _f16
#else
#define HONE_THIS_DTYPES (1u << HONE_BF16)
#define HONE_HALF _bf16
#endif
#define HONE_SYM(name)                                                                             \
    HONE_PASTE(HONE_PASTE(hone_, name), HONE_PASTE(HONE_PASTE(_, HONE_ISA), HONE_HALF))
#define HONE_NAME(name) name "_" HONE_TEXT_OF(HONE_ISA) HONE_TEXT_OF(HONE_HALF)
#else
typedef float real;
typedef int32_t ireal;
typedef uint32_t ureal;
#define HONE_THIS_DTYPES (1u << HONE_F32)
#define HONE_SYM(name) HONE_PASTE(HONE_PASTE(hone_, name), HONE_PASTE(_, HONE_ISA))
#define HONE_NAME(name) name "_" HONE_TEXT_OF(HONE_ISA)
#endif
#define HONE_THIS_ISA HONE_PASTE(HONE_ISA_, HONE_ISA)

/* Loops over registers must vanish before the compiler gives registers out: HONE_INLINE functions
 * get their counts as constants, and HONE_UNROLLED stands before every such loop. */
#define HONE_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define HONE_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define HONE_UNROLLED _Pragma("GCC unroll 64")
#endif

/* ---- vectors: GCC and Clang's extension; VL reals of VB bytes ---- */

#if defined __AVX512F__
#define HONE_VB 64
#elif defined __AVX2__
#define HONE_VB 32
#else
#define HONE_VB 16
#endif
#if HONE_REAL == 64
#define HONE_LANES (HONE_VB / 8)
#else
#define HONE_LANES (HONE_VB / 4)
#endif
enum { VB = HONE_VB, VL = HONE_LANES };

/* Numbers to leave between what two threads write over and over: a page, on which one's processor
 * fetches ahead the lines that the other writes. */
enum { HONE_APART = 4096 / sizeof(real) };

typedef real vf __attribute__((vector_size(HONE_VB)));
typedef ireal vi __attribute__((vector_size(HONE_VB)));
typedef real vf_unaligned __attribute__((vector_size(HONE_VB), aligned(sizeof(real)), may_alias));

/* x86's instructions by number type and width: HONE_MM(sqrt) is _mm512_sqrt_ps, _mm256_sqrt_pd,
 * ..., on a vm, whose masks in registers are vk. */
#ifdef __SSE__
#if HONE_REAL == 64
#define HONE_MM_OF(width, op) _mm##width##_##op##_pd
#else
#define HONE_MM_OF(width, op) _mm##width##_##op##_ps
#endif
#if defined __AVX512F__
#define HONE_MM(op) HONE_MM_OF(512, op)
#elif defined __AVX2__
#define HONE_MM(op) HONE_MM_OF(256, op)
#else
#define HONE_MM(op) HONE_MM_OF(, op)
#endif
#if defined __AVX512F__ && HONE_REAL == 64
typedef __m512d vm;
typedef __mmask8 vk;
static inline vk vi_mask(vi mask) { return _mm512_movepi64_mask((__m512i)mask); }
#elif defined __AVX512F__
typedef __m512 vm;
typedef __mmask16 vk;
static inline vk vi_mask(vi mask) { return _mm512_movepi32_mask((__m512i)mask); }
#elif defined __AVX2__ && HONE_REAL == 64
typedef __m256d vm;
#elif defined __AVX2__
typedef __m256 vm;
#elif HONE_REAL == 64
typedef __m128d vm;
#else
typedef __m128 vm;
#endif
#endif

static inline vf vf_load(const real *p) { return *(const vf_unaligned *)p; }
static inline void vf_store(real *p, vf v) { *(vf_unaligned *)p = v; }
static inline vf vf_set(real x) { return x - (vf){ 0 }; }

/* Lane-wise mask ? a : b for masks of all or no bits; the larger and the smaller of two, b where
 * one is NaN. */
#if defined __AVX2__ && !defined __AVX512F__
static inline vf vf_select(vi mask, vf a, vf b)
{
    return (vf)HONE_MM(blendv)((vm)b, (vm)a, (vm)mask);
}
#else
/* With AVX-512 gcc makes of it a comparison into a mask register and what is masked by that; given
 * the instruction to blend, it would take comparisons through vectors. */
static inline vf vf_select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
#endif
#ifdef __SSE__
static inline vf vf_max(vf a, vf b) { return (vf)HONE_MM(max)((vm)a, (vm)b); }
static inline vf vf_min(vf a, vf b) { return (vf)HONE_MM(min)((vm)a, (vm)b); }
static inline vf vf_sqrt(vf v) { return (vf)HONE_MM(sqrt)((vm)v); }
#else
static inline vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
static inline vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }

static inline vf vf_sqrt(vf v)
{
    for (int i = 0; i < VL; i++) v[i] = (real)__builtin_sqrt((double)v[i]);
    return v;
}
#endif

/* Bit i is set where lane i of the mask is. */
static inline unsigned vf_bits(vi mask)
{
#if defined __AVX512F__
    return vi_mask(mask);
#elif defined __SSE__
    return (unsigned)HONE_MM(movemask)((vm)mask);
#else
    unsigned set = 0;
    for (int i = 0; i < VL; i++) set |= (unsigned)(mask[i] & 1) << i;
    return set;
#endif
}

/* 0, 1, 2, ... */
static inline vi vi_lanes(void)
{
    vi v = { 0 };
    for (int i = 0; i < VL; i++) v[i] = i;
    return v;
}

/* The first n lanes, 0 <= n <= VL; the rest is 0 and is not touched in memory. */
#if defined __AVX512F__
static inline vf vf_load_n(const real *p, int n)
{
    return (vf)HONE_MM(maskz_loadu)((vk)((1u << n) - 1), p);
}

static inline void vf_store_n(real *p, vf v, int n)
{
    HONE_MM(mask_storeu)(p, (vk)((1u << n) - 1), (vm)v);
}
#elif defined __AVX2__
static inline __m256i vf_first(int n) { return (__m256i)(vi_lanes() < (vi){ 0 } + n); }
static inline vf vf_load_n(const real *p, int n) { return (vf)HONE_MM(maskload)(p, vf_first(n)); }
static inline void vf_store_n(real *p, vf v, int n) { HONE_MM(maskstore)(p, vf_first(n), (vm)v); }
#else
static inline vf vf_load_n(const real *p, int n)
{
    vf v = { 0 };
    if (n == VL) return vf_load(p);
    for (int i = 0; i < VL - 1; i++) if (i < n) v[i] = p[i];
    return v;
}

static inline void vf_store_n(real *p, vf v, int n)
{
    if (n == VL) vf_store(p, v);
    else for (int i = 0; i < VL - 1; i++) if (i < n) p[i] = v[i];
}
#endif

/* Sum and maximum of the lanes by halving: lane i meets lane i + VL/2, and so on. */
#if defined __SSE__ && HONE_REAL != 64
#define HONE_FOLD(name, op)                                                                        \
    static inline float name(vf v)                                                                 \
    {                                                                                              \
        HONE_FOLD_512(op)                                                                          \
        HONE_FOLD_256(op)                                                                          \
        x = _mm_##op##_ps(x, _mm_movehl_ps(x, x));                                                 \
        return _mm_cvtss_f32(_mm_##op##_ss(x, _mm_shuffle_ps(x, x, 1)));                           \
    }
#if defined __AVX512F__
#define HONE_FOLD_512(op)                                                                          \
    __m256 y =                                                                                     \
        _mm256_##op##_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
#define HONE_FOLD_256(op)                                                                          \
    __m128 x = _mm_##op##_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
#elif defined __AVX2__
#define HONE_FOLD_512(op) __m256 y = (__m256)v;
#define HONE_FOLD_256(op)                                                                          \
    __m128 x = _mm_##op##_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
#else
#define HONE_FOLD_512(op)
#define HONE_FOLD_256(op) __m128 x = (__m128)v;
#endif
HONE_FOLD(vf_sum, add)
HONE_FOLD(vf_most, max)
#undef HONE_FOLD
#undef HONE_FOLD_512
#undef HONE_FOLD_256
#else
static inline real vf_sum(vf v)
{
    for (int n = VL / 2; n; n /= 2)
        for (int i = 0; i < n; i++) v[i] += v[i + n];
    return v[0];
}

static inline real vf_most(vf v)
{
    for (int n = VL / 2; n; n /= 2)
        for (int i = 0; i < n; i++) v[i] = v[i] > v[i + n] ? v[i] : v[i + n];
    return v[0];
}
#endif

/* Stores past the caches to a p on a vector's boundary, and what must follow the last of them
 * before another thread reads; plain stores where the processor has no such thing. */
#ifdef __SSE__
static inline void vf_stream(real *p, vf v) { HONE_MM(stream)(p, (vm)v); }
#else
static inline void vf_stream(real *p, vf v) { vf_store(p, v); }
#endif

static inline void vf_stream_end(void)
{
#ifdef __SSE__
    _mm_sfence();
#endif
}

/* ---- numbers as arrays hold them: vs_ is as vf_, on `stored` numbers ---- */

#if HONE_REAL == 16
#include "kernels/backend/half.h"
#else
typedef real stored;
static inline vf vs_load(const stored *p) { return vf_load(p); }
static inline vf vs_load_n(const stored *p, int n) { return vf_load_n(p, n); }
static inline void vs_store(stored *p, vf v) { vf_store(p, v); }
static inline void vs_store_n(stored *p, vf v, int n) { vf_store_n(p, v, n); }
static inline void vs_stream(stored *p, vf v) { vf_stream(p, v); }
static inline real vs_real(stored x) { return x; }
#endif

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

/* ---- work for threads ---- */

/* Where part t of n items begins when `parts` threads share them in runs of `grain`; part `parts`
 * begins at n. */
static inline int64_t hone_part(int64_t n, int64_t grain, int parts, int t)
{
    int64_t from = (n / grain * t + parts - 1) / parts * grain;
    return t == parts ? n : from;
}

/* A power of two of threads, up to all cores, for work that takes one thread so many microseconds:
 * starting a team costs a few, so each thread should have 25. */
static inline int hone_guess_threads(const struct hone_device *d, double us)
{
    int threads = 1;
    while (threads < 64 && 2 * threads <= d->ncores && us >= 50.0 * threads) threads *= 2;
    return threads;
}

#endif
