/* kernels/conv2d/lanes.h -- between pixels with their channels side by side (nhwc) and planes, one
 * per channel, for the kernels that put pixels in the lanes.
 *
 * VL pixels of c channels are c vectors in either form.  AVX-512 turns one into the other with
 * two-source permutations: lane j of vector v of the result is number 16 v + j, so that one index
 * per result and one mask per pair of sources say all.  Elsewhere it is done number by number. */
#ifndef HONE_CONV2D_LANES_H
#define HONE_CONV2D_LANES_H

#include "kernels/backend/cpu.h"

enum { LANES_MAX = 8 };   /* channels that shuffles are worth it for */

struct lanes {
    int channels;
#if HONE_VB == 64
    vi join_index[LANES_MAX], split_index[LANES_MAX];
    __mmask16 join_mask[LANES_MAX][LANES_MAX / 2], split_mask[LANES_MAX][LANES_MAX / 2];
#endif
};

static inline void lanes_init(struct lanes *s, int channels)
{
    memset(s, 0, sizeof *s);
    s->channels = channels;
#if HONE_VB == 64
    for (int v = 0; v < channels && channels <= LANES_MAX; v++)
        for (int j = 0; j < VL; j++) {
            int joined = v * VL + j, pixel = joined / channels, channel = joined % channels;
            s->join_index[v][j] = channel % 2 * VL + pixel;
            s->join_mask[v][channel / 2] |= (__mmask16)(1u << j);
            int source = j * channels + v;   /* of channel v, pixel j */
            s->split_index[v][j] = source % (2 * VL);
            s->split_mask[v][source / (2 * VL)] |= (__mmask16)(1u << j);
        }
#endif
}

#if HONE_VB == 64
HONE_INLINE vf lanes_pick(int c, const vf *from, vi index, const __mmask16 *mask)
{
    __m512 r = _mm512_permutex2var_ps((__m512)from[0], (__m512i)index, (__m512)from[c > 1 ? 1 : 0]);
    HONE_UNROLLED for (int k = 1; k < (c + 1) / 2; k++) {
        vf other = from[2 * k + 1 < c ? 2 * k + 1 : 2 * k];
        r = _mm512_mask_blend_ps(mask[k], r, _mm512_permutex2var_ps((__m512)from[2 * k], (__m512i)index, (__m512)other));
    }
    return (vf)r;
}
#endif

/* Writes n <= VL pixels of c channels, a constant: plane[i] holds channel i. */
HONE_INLINE void lanes_join(const struct lanes *s, int c, const vf *plane, float *y, int n)
{
#if HONE_VB == 64
    HONE_UNROLLED for (int v = 0; v < c; v++) {
        vf r = lanes_pick(c, plane, s->join_index[v], s->join_mask[v]);
        int left = n * c - v * VL;
        if (left >= VL) vf_store(y + v * VL, r);
        else if (left > 0) vf_store_n(y + v * VL, r, left);
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
/* The n pixels at x, c channels each, into planes: VL at a time, numbers past the n-th are 0. */
HONE_INLINE void lanes_split_by(const struct lanes *s, int c, const float *x, int n,
                                                                 float *to, int64_t plane)
{
    for (int at = 0; at < n; at += VL, x += VL * c, to += VL) {
        vf from[LANES_MAX];
        int numbers = (n - at) * c;
        HONE_UNROLLED for (int v = 0; v < c; v++) {
            int left = numbers - v * VL;
            from[v] = left >= VL ? vf_load(x + v * VL) : vf_load_n(x + v * VL, left > 0 ? left : 0);
        }
        HONE_UNROLLED for (int v = 0; v < c; v++)
            vf_store_n(to + v * plane, lanes_pick(c, from, s->split_index[v], s->split_mask[v]), n - at < VL ? n - at : VL);
    }
}
#endif

/* The n pixels at x, s->channels each, into planes. */
static inline void lanes_split(const struct lanes *s, const float *x, int n, float *to, int64_t plane)
{
    const int c = s->channels;
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
