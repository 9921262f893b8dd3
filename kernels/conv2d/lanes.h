/* kernels/conv2d/lanes.h -- between pixels with their channels side by side (nhwc) and planes, one
 * per channel, for the kernels that put pixels in the lanes.
 *
 * VL pixels of c channels are c vectors in either form.  With AVX-512 each vector of one form is
 * collected from the vectors of the other by a chain of two-source permutations: each keeps what is
 * collected so far and takes from one more source.  Where c is even, pairs of channels travel
 * together, 8 pixels at a time, which halves both the chains and their number; a pair is made or
 * parted by two permutations.  Elsewhere it is done number by number. */
#ifndef HONE_CONV2D_LANES_H
#define HONE_CONV2D_LANES_H

#include "kernels/backend/cpu.h"

enum { LANES_MAX = 8 };   /* channels that shuffles are worth it for */

struct lanes {
    int channels;
#if HONE_VB == 64
    /* Of result v: the chain's indices. */
    vi join[LANES_MAX][LANES_MAX], split[LANES_MAX][LANES_MAX];
#endif
};

#if HONE_VB == 64

/* Indices of a chain that collects lane lane[j] of source source[j] in lane j. */
static inline void lanes_route(const int source[VL], const int lane[VL], int nsources, vi *index)
{
    for (int k = 1; k < nsources; k++)
        for (int j = 0; j < VL; j++) {
            if (source[j] == k) index[k - 1][j] = VL + lane[j];
            else index[k - 1][j] = source[j] == 0 && k == 1 ? lane[j] : j;
        }
}

HONE_INLINE vf lanes_permute(vf a, vi index, vf b)
{
    return (vf)_mm512_permutex2var_ps((__m512)a, (__m512i)index, (__m512)b);
}

HONE_INLINE vf lanes_collect(int nsources, const vf *from, const vi *index)
{
    vf r = from[0];
    HONE_UNROLLED for (int k = 1; k < nsources; k++) r = lanes_permute(r, index[k - 1], from[k]);
    return r;
}

#define LANES_LOW  ((vi){ 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23 })
#define LANES_HIGH ((vi){ 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 })
#define LANES_EVEN ((vi){ 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30 })
#define LANES_ODD  ((vi){ 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31 })

#endif

static inline void lanes_init(struct lanes *s, int channels)
{
    memset(s, 0, sizeof *s);
    s->channels = channels;
#if HONE_VB == 64
    /* Floats that travel together; chains. */
    const int unit = channels % 2 ? 1 : 2, n = channels / unit;
    for (int v = 0; v < n && channels <= LANES_MAX; v++) {
        int source[2][VL], lane[2][VL];
        for (int j = 0; j < VL; j++) {
            /* In units from the start of nhwc. */
            int joined = (v * VL + j) / unit, of_plane = j / unit * n + v;
            source[0][j] = joined % n, lane[0][j] = joined / n * unit + j % unit;
            source[1][j] = of_plane * unit / VL, lane[1][j] = of_plane * unit % VL + j % unit;
        }
        lanes_route(source[0], lane[0], n, s->join[v]);
        lanes_route(source[1], lane[1], n, s->split[v]);
    }
#endif
}

/* Writes n <= VL pixels of c channels, a constant: plane[i] holds channel i. */
HONE_INLINE void lanes_join(const struct lanes *s, int c, const vf *plane, float *y, int n)
{
#if HONE_VB == 64
    vf result[LANES_MAX];
    if (c % 2) {
        HONE_UNROLLED for (int v = 0; v < c; v++) result[v] = lanes_collect(c, plane, s->join[v]);
    } else {
        vf pair[LANES_MAX];   /* low half of each, then high half */
        HONE_UNROLLED for (int k = 0; k < c / 2; k++) {
            pair[k] = lanes_permute(plane[2 * k], LANES_LOW, plane[2 * k + 1]);
            pair[c / 2 + k] = lanes_permute(plane[2 * k], LANES_HIGH, plane[2 * k + 1]);
        }
        HONE_UNROLLED for (int v = 0; v < c; v++)
            result[v] = lanes_collect(c / 2, pair + v / (c / 2) * (c / 2), s->join[v % (c / 2)]);
    }
    if (n == VL) {
        HONE_UNROLLED for (int v = 0; v < c; v++) vf_store(y + v * VL, result[v]);
        return;
    }
    HONE_UNROLLED for (int v = 0; v < c; v++) {
        int left = n * c - v * VL;
        if (left > 0) vf_store_n(y + v * VL, result[v], left < VL ? left : VL);
    }
#else
    float number[LANES_MAX][VL];
    (void)s;
    HONE_UNROLLED for (int i = 0; i < c; i++) vf_store(number[i], plane[i]);
    for (int i = 0; i < c; i++)
        for (int j = 0; j < n; j++) y[j * c + i] = number[i][j];
#endif
}

#if HONE_VB == 64
/* The n pixels at x, c channels each, into planes, VL at a time. */
HONE_INLINE void lanes_split_by(const struct lanes *s, int c, const float *x, int n, float *to,
                                int64_t plane)
{
    for (; n > 0; n -= VL, x += VL * c, to += VL) {
        vf from[LANES_MAX], result[LANES_MAX];
        HONE_UNROLLED for (int v = 0; v < c; v++) {
            int left = n * c - v * VL;
            from[v] = left >= VL ? vf_load(x + v * VL) : vf_load_n(x + v * VL, left > 0 ? left : 0);
        }
        if (c % 2) {
            HONE_UNROLLED for (int v = 0; v < c; v++)
                result[v] = lanes_collect(c, from, s->split[v]);
        } else {
            HONE_UNROLLED for (int k = 0; k < c / 2; k++) {
                vf low = lanes_collect(c / 2, from, s->split[k]),
                   high = lanes_collect(c / 2, from + c / 2, s->split[k]);
                result[2 * k] = lanes_permute(low, LANES_EVEN, high);
                result[2 * k + 1] = lanes_permute(low, LANES_ODD, high);
            }
        }
        if (n >= VL) {
            HONE_UNROLLED for (int v = 0; v < c; v++) vf_store(to + v * plane, result[v]);
        } else {
            HONE_UNROLLED for (int v = 0; v < c; v++) vf_store_n(to + v * plane, result[v], n);
        }
    }
}

/* n <= VL pixels, VL of their c channels, into planes.  Four rounds that interleave vectors i
 * and i + 8 transpose 16 x 16 numbers. */
static inline void lanes_transpose(const float *x, int c, int n, float *to, int64_t plane)
{
    vf a[VL], b[VL];
    HONE_UNROLLED for (int i = 0; i < VL; i++) a[i] = i < n ? vf_load(x + i * c) : (vf){ 0 };
    HONE_UNROLLED for (int round = 0; round < 4; round++) {
        HONE_UNROLLED for (int i = 0; i < VL / 2; i++) {
            b[2 * i] = lanes_permute(a[i], LANES_LOW, a[i + VL / 2]);
            b[2 * i + 1] = lanes_permute(a[i], LANES_HIGH, a[i + VL / 2]);
        }
        HONE_UNROLLED for (int i = 0; i < VL; i++) a[i] = b[i];
    }
    HONE_UNROLLED for (int i = 0; i < VL; i++) vf_store_n(to + i * plane, a[i], n);
}
#endif

/* The n pixels at x, s->channels each, into planes. */
static inline void lanes_split(const struct lanes *s, const float *x, int n, float *to,
                               int64_t plane)
{
    const int c = s->channels;
#if HONE_VB == 64
    if (c % VL == 0) {
        for (int i = 0; i < c; i += VL)
            for (int j = 0; j < n; j += VL)
                lanes_transpose(x + j * c + i, c, n - j < VL ? n - j : VL, to + i * plane + j,
                                plane);
        return;
    }
#endif
    switch (c) {
    case 1: memcpy(to, x, (size_t)n * sizeof *to); return;
#if HONE_VB == 64
    case 2: lanes_split_by(s, 2, x, n, to, plane); return;
    case 3: lanes_split_by(s, 3, x, n, to, plane); return;
    case 4: lanes_split_by(s, 4, x, n, to, plane); return;
    case 5: lanes_split_by(s, 5, x, n, to, plane); return;
    case 6: lanes_split_by(s, 6, x, n, to, plane); return;
    case 7: lanes_split_by(s, 7, x, n, to, plane); return;
    case 8: lanes_split_by(s, 8, x, n, to, plane); return;
#endif
    default:
        for (int i = 0; i < c; i++)
            for (int j = 0; j < n; j++) to[i * plane + j] = x[j * c + i];
    }
}

#endif
