/* kernels/conv2d/pairs.h -- some vectors of channels at once, for kernels that have channels in the
 * lanes and compute little with each number.
 *
 * Two bf16 that are neighbours are one 32-bit number, whose upper half is the second: of 2 VL
 * channels the even and the odd ones become two vectors of floats by a shift and a mask, where in
 * their order each vector would be a shuffle and a shift.  Weights, bias and sums then lie in that
 * order, too (pairs_channel), and a vector of 2 VL results is a shift and a mask again. */
#ifndef HONE_CONV2D_PAIRS_H
#define HONE_CONV2D_PAIRS_H

#include "kernels/backend/cpu.h"

/* Do numbers come in pairs?  Else all is in its order. */
#if HONE_REAL == 16 && HONE_DIGITS == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { PAIRS = 1 };

typedef vu pairs_unaligned __attribute__((aligned(2), may_alias));

HONE_INLINE void pairs_load(const stored *p, vf v[2])
{
    const vu both = *(const pairs_unaligned *)p;
    v[0] = (vf)(both << 16), v[1] = (vf)(both & 0xffff0000);
}

/* As vh_narrow(), but for NaN: one with a fraction of ones down to the last place, which no sum of
 * products of halves is, would be rounded up to 0. */
HONE_INLINE vu pairs_near(vf v)
{
    const vu bits = (vu)v;
    return bits + 0x7fff + (bits >> 16 & 1);
}

HONE_INLINE void pairs_store(stored *p, const vf v[2], int stream)
{
    const vu both = pairs_near(v[0]) >> 16 | (pairs_near(v[1]) & 0xffff0000);
    if (stream) vf_stream((real *)(void *)p, (vf)both);
    else *(pairs_unaligned *)p = both;
}
#else
enum { PAIRS = 0 };
HONE_INLINE void pairs_load(const stored *p, vf v[2]) { v[0] = vs_load(p), v[1] = vs_load(p + VL); }

HONE_INLINE void pairs_store(stored *p, const vf v[2], int stream)
{
    for (int i = 0; i < 2; i++)
        if (stream) vs_stream(p + i * VL, v[i]);
        else vs_store(p + i * VL, v[i]);
}
#endif

/* nv vectors, 1, 2 or 4, of channels from p on; of a single one `lanes` lanes. */
HONE_INLINE void pairs_get(int nv, int lanes, const stored *p, vf *v)
{
    if (nv == 1) v[0] = lanes == VL ? vs_load(p) : vs_load_n(p, lanes);
    HONE_UNROLLED for (int u = 0; u + 1 < nv; u += 2) pairs_load(p + u * VL, v + u);
}

HONE_INLINE void pairs_put(int nv, int lanes, int stream, stored *p, const vf *v)
{
    if (nv == 1 && lanes < VL) vs_store_n(p, v[0], lanes);
    else if (nv == 1 && stream) vs_stream(p, v[0]);
    else if (nv == 1) vs_store(p, v[0]);
    HONE_UNROLLED for (int u = 0; u + 1 < nv; u += 2) pairs_store(p + u * VL, v + u, stream);
}

/* The channel in lane k of the vector at c, a multiple of VL, where all n channels are worked on in
 * runs of at least two vectors while there are so many (`many`), then by single ones. */
static inline int pairs_channel(int many, int n, int c, int k)
{
    const int run = c / (2 * VL) * (2 * VL);
    return PAIRS && many && run + 2 * VL <= n ? run + 2 * k + (c > run) : c + k;
}

/* A NaN that pairs_store() keeps. */
static inline real pairs_bias(real b) { return PAIRS && b != b ? (real)__builtin_nanf("") : b; }

#endif
