/* kernels/conv2d/winograd.h -- minimal filtering F(m x m, 3 x 3) for m = 2 and 4 (Winograd 1980;
 * Lavin, Gray: Fast algorithms for convolutional neural networks, 2016).
 *
 * m outputs of a filter of 3 taps are polynomials multiplied at m + 1 points and infinity:
 *
 *     y = A' ((G w) * (B' x))        x: n = m + 2 inputs, w: 3 taps, * element by element
 *
 * and in two dimensions the same along rows and along columns, n * n products where a sum over
 * taps has 9 m * m.  The points are 0, 1, -1 for m = 2, and 0, 1/2, -1/2, 2, -2 for m = 4: with
 * them all numbers in A and B are exact, and errors grow 5 times less than with the usual 0, 1, -1,
 * 2, -2. */
#ifndef HONE_CONV2D_WINOGRAD_H
#define HONE_CONV2D_WINOGRAD_H

#include "kernels/conv2d/gather.h"

enum { WINOGRAD_N = 6 };   /* most inputs of a tile in one direction */

/* t = B' x, n = m + 2 vectors that lie `step` apart. */
HONE_INLINE void winograd_input(int m, const vf *x, vf *t, int step)
{
    if (m == 2) {
        t[0 * step] = x[0] - x[2];
        t[1 * step] = x[1] + x[2];
        t[2 * step] = x[2] - x[1];
        t[3 * step] = x[1] - x[3];
        return;
    }
    vf e = x[4] - 4 * x[2], o = x[3] - 4 * x[1];
    vf f = x[4] - (real)0.25 * x[2], p = x[3] - (real)0.25 * x[1];
    t[0 * step] = x[0] - (real)4.25 * x[2] + x[4];
    t[1 * step] = e + (real)0.5 * o;
    t[2 * step] = e - (real)0.5 * o;
    t[3 * step] = f + 2 * p;
    t[4 * step] = f - 2 * p;
    t[5 * step] = x[1] - (real)4.25 * x[3] + x[5];
}

/* y = A' t, m vectors from n. */
HONE_INLINE void winograd_output(int m, const vf *t, vf *y, int step)
{
    if (m == 2) {
        y[0 * step] = t[0] + t[1] + t[2];
        y[1 * step] = t[1] - t[2] - t[3];
        return;
    }
    vf s = t[1] + t[2], d = t[1] - t[2], u = t[3] + t[4], e = t[3] - t[4];
    y[0 * step] = t[0] + s + u;
    y[1 * step] = (real)0.5 * d + 2 * e;
    y[2 * step] = (real)0.25 * s + 4 * u;
    y[3 * step] = (real)0.125 * d + (8 * e + t[5]);
}

/* t = G w, n vectors from 3. */
HONE_INLINE void winograd_weights(int m, const vf *w, vf *t, int step)
{
    if (m == 2) {
        vf s = w[0] + w[2];
        t[0 * step] = w[0];
        t[1 * step] = (real)0.5 * (s + w[1]);
        t[2 * step] = (real)0.5 * (s - w[1]);
        t[3 * step] = w[2];
        return;
    }
    vf s = w[0] + (real)0.25 * w[2], u = w[0] + 4 * w[2];
    t[0 * step] = w[0];
    t[1 * step] = (real)(-8.0 / 15) * (s + (real)0.5 * w[1]);
    t[2 * step] = (real)(-8.0 / 15) * (s - (real)0.5 * w[1]);
    t[3 * step] = (real)(1.0 / 30) * (u + 2 * w[1]);
    t[4 * step] = (real)(1.0 / 30) * (u - 2 * w[1]);
    t[5 * step] = w[2];
}

/* ---- the error ----
 *
 * Every rounding of any of the three transforms and of the sum over channels is relative to what
 * the same expression gives with |A|, |G|, |B|, |w|, |x| for A, G, B, w, x (Higham: Accuracy and
 * stability of numerical algorithms, 2002, 3.5; Barabasz et al.: Error analysis and improving the
 * accuracy of Winograd convolution, 2020).  Along one direction that is
 *
 *     sum over tap r and input k of mix[i][r][k] |w_r| |x_k|,   mix = sum_q |A'|_iq |G|_qr |B'|_qk
 *
 * for output i, and in two dimensions the product of two such. */

typedef double winograd_mix[4][3][WINOGRAD_N];

static inline void winograd_mix_of(int m, winograd_mix mix)
{
    static const struct { double a[4][6], g[6][3], b[6][6]; } abs2 = {
        { { 1, 1, 1, 0 }, { 0, 1, 1, 1 } },
        { { 1, 0, 0 }, { .5, .5, .5 }, { .5, .5, .5 }, { 0, 0, 1 } },
        { { 1, 0, 1, 0 }, { 0, 1, 1, 0 }, { 0, 1, 1, 0 }, { 0, 1, 0, 1 } },
    }, abs4 = {
        { { 1, 1, 1, 1, 1, 0 }, { 0, .5, .5, 2, 2, 0 }, { 0, .25, .25, 4, 4, 0 },
          { 0, .125, .125, 8, 8, 1 } },
        { { 1, 0, 0 }, { 8 / 15., 4 / 15., 2 / 15. }, { 8 / 15., 4 / 15., 2 / 15. },
          { 1 / 30., 2 / 30., 4 / 30. }, { 1 / 30., 2 / 30., 4 / 30. }, { 0, 0, 1 } },
        { { 1, 0, 4.25, 0, 1, 0 }, { 0, 2, 4, .5, 1, 0 }, { 0, 2, 4, .5, 1, 0 },
          { 0, .5, .25, 2, 1, 0 }, { 0, .5, .25, 2, 1, 0 }, { 0, 1, 0, 4.25, 0, 1 } },
    };
    const double(*a)[6] = m == 2 ? abs2.a : abs4.a, (*g)[3] = m == 2 ? abs2.g : abs4.g,
                (*b)[6] = m == 2 ? abs2.b : abs4.b;
    for (int i = 0; i < m; i++)
        for (int r = 0; r < 3; r++)
            for (int k = 0; k < m + 2; k++) {
                mix[i][r][k] = 0;
                for (int q = 0; q < m + 2; q++) mix[i][r][k] += a[i][q] * g[q][r] * b[q][k];
            }
}

/* How much larger than the sum of |w||x| over taps the above can be where all |w| and |x| are
 * equal, in a direction whose output 0 has its first tap at input `from`: for the worst output, or,
 * where outputs are summed up to a gradient of the weights (by_tap), for the worst tap. */
static inline double winograd_amplify(int m, int in, int out, int from, int by_tap)
{
    winograd_mix mix;
    double worst = 0, size[3] = { 0 }, terms[3] = { 0 };
    winograd_mix_of(m, mix);
    for (int o = 0; o < out; o++)
        for (int r = 0; r < 3; r++) {
            const int at = by_tap ? r : 0, top = o / m * m + from, tap = o + from + r;
            if (!by_tap && r == 0) size[0] = terms[0] = 0;
            for (int k = 0; k < m + 2; k++)
                if (top + k >= 0 && top + k < in) size[at] += mix[o % m][r][k];
            if (tap >= 0 && tap < in) terms[at]++;
            if ((by_tap ? o == out - 1 : r == 2) && terms[at] && size[at] / terms[at] > worst)
                worst = size[at] / terms[at];
        }
    return worst;
}

/* The longest chain of roundings on the way through the three transforms, in two dimensions: m = 2
 * weights 3, inputs 1, outputs 2 in each; m = 4: 4 (the factor itself is rounded), 2, 3. */
static inline double winograd_chain(int m) { return m == 2 ? 12 : 18; }

static inline const char *winograd_refuse(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    if (v.kh != 3 || v.kw != 3) return "the kernel is not 3x3";
    if (v.sh != 1 || v.sw != 1) return "stride is not 1";
    if (v.dh != 1 || v.dw != 1) return "taps are dilated";
    return v.g != 1 ? "it has groups" : NULL;
}

/* ---- tiles: m x m outputs each, of all images ---- */

struct winograd_tiles {
    int m, across, down;   /* tiles of a row, rows of tiles of an image */
    int64_t count;
};

/* Where a tile's first output lies. */
struct winograd_place { int image, h, w; };

static inline struct winograd_tiles winograd_tiles_of(const struct gather *q, int m)
{
    const int across = (q->out_w + m - 1) / m, down = (q->out_h + m - 1) / m;
    return (struct winograd_tiles){ m, across, down, (int64_t)q->mb * down * across };
}

static inline struct winograd_place winograd_place_of(const struct winograd_tiles *t, int64_t tile)
{
    const int64_t of_image = (int64_t)t->down * t->across, i = tile % of_image;
    return (struct winograd_place){ (int)(tile / of_image), (int)(i / t->across) * t->m,
                                    (int)(i % t->across) * t->m };
}

/* Floats from tile to tile of a point: rows a multiple of 1 KB apart would share few places of
 * L1. */
static inline int64_t winograd_row(int channels)
{
    int64_t row = (channels + (int64_t)VL - 1) / VL * VL;
    return row * (int64_t)sizeof(real) % 1024 ? row : row + VL;
}

/* Floats of the zeros that stand for a row of pixels outside of the image. */
static inline int64_t winograd_zeros(const struct winograd_tiles *t, int channels)
{
    return whole_lines((t->m + 2) * (int64_t)channels);
}

/* B' x B of the n x n pixels whose rows begin at row[i], of which columns [from, to) are there:
 * v[point * step + channel], in whole vectors. */
HONE_INLINE void winograd_load_tile(int m, const real *const row[], int from, int to, int channels,
                                    real *v, int64_t step)
{
    const int n = m + 2;
    for (int c = 0; c < channels; c += VL) {
        const int count = channels - c < VL ? channels - c : VL;
        vf x[WINOGRAD_N], half[WINOGRAD_N * WINOGRAD_N], t[WINOGRAD_N];
        HONE_UNROLLED for (int j = 0; j < n; j++) {
            if (j < from || j >= to) {
                HONE_UNROLLED for (int i = 0; i < n; i++) half[i * n + j] = (vf){ 0 };
                continue;
            }
            HONE_UNROLLED for (int i = 0; i < n; i++)
                x[i] = vf_load_n(row[i] + j * channels + c, count);
            winograd_input(m, x, half + j, n);
        }
        HONE_UNROLLED for (int i = 0; i < n; i++) {
            winograd_input(m, half + i * n, t, 1);
            HONE_UNROLLED for (int j = 0; j < n; j++) vf_store(v + (i * n + j) * step + c, t[j]);
        }
    }
}

/* The transformed inputs of a tile of in (mb, in_h, in_w, in_c). */
static inline void winograd_load(const struct winograd_tiles *t, const struct gather *q,
                                 const real *in, const real *zeros, int64_t tile, real *v,
                                 int64_t step)
{
    const struct winograd_place at = winograd_place_of(t, tile);
    const int h = at.h + q->from_h, w = at.w + q->from_w, n = t->m + 2;
    const int from = w < 0 ? -w : 0, to = n < q->in_w - w ? n : q->in_w - w;
    const real *row[WINOGRAD_N];
    for (int i = 0; i < n; i++)
        row[i] = h + i < 0 || h + i >= q->in_h
                     ? zeros
                     : in + (((int64_t)at.image * q->in_h + h + i) * q->in_w + w) * q->in_c;
    if (t->m == 2) winograd_load_tile(2, row, from, to, q->in_c, v, step);
    else winograd_load_tile(4, row, from, to, q->in_c, v, step);
}

#endif
