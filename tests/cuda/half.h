/* tests/cuda/half.h -- bf16 and f16 for the pretenders, which stand alone. */
#ifndef HONE_TESTS_CUDA_HALF_H
#define HONE_TESTS_CUDA_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float bf16_number(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint16_t bf16_rounded(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (f != f) return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* 5 bits of exponent, 10 of the fraction; exponent 0 is 1 without the one in front. */
static inline float f16_number(uint16_t h)
{
    const int e = h >> 10 & 31, fraction = h & 1023;
    const float v = e == 31 ? (fraction ? NAN : INFINITY)
                            : ldexpf((float)(e ? 1024 + fraction : fraction), (e ? e : 1) - 25);
    return h >> 15 ? -v : v;
}

/* The last place has a size, and the number is so many of them. */
static inline uint16_t f16_rounded(float f)
{
    const uint16_t sign = signbit(f) ? 0x8000 : 0;
    const float size = fabsf(f);
    if (f != f) return 0x7fff;
    if (size >= 65520) return sign | 0x7c00;
    const int e = size < 0x1p-14f ? 1 : ilogbf(size) + 15;
    return (uint16_t)(sign + ((e - 1) << 10) + (int)nearbyintf(ldexpf(size, 25 - e)));
}

#endif
