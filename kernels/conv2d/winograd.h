/* kernels/conv2d/winograd.h -- tiles of Winograd's minimal filtering on a processor: what forward,
 * data gradient and weight gradient share. */
#ifndef HONE_CONV2D_WINOGRAD_H
#define HONE_CONV2D_WINOGRAD_H

#include "kernels/conv2d/gather.h"
#include "kernels/conv2d/winograd_error.h"
#include "kernels/conv2d/winograd_matrices.h"

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

/* B' x B of so many channels of the n x n pixels whose rows begin at row[i], `pixel` numbers apart, of
 * which columns [from, to) are there: v[point * step + channel], in whole vectors. */
HONE_INLINE void winograd_load_tile(int m, const real *const row[], int from, int to, int64_t pixel,
                                    int channels, real *v, int64_t step)
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
                x[i] = vf_load_n(row[i] + j * pixel + c, count);
            winograd_input(m, x, half + j, n);
        }
        HONE_UNROLLED for (int i = 0; i < n; i++) {
            winograd_input(m, half + i * n, t, 1);
            HONE_UNROLLED for (int j = 0; j < n; j++) vf_store(v + (i * n + j) * step + c, t[j]);
        }
    }
}

/* The transformed channels [c, c + channels) of a tile of in (mb, in_h, in_w, in_c). */
static inline void winograd_load(const struct winograd_tiles *t, const struct gather *q,
                                 const real *in, const real *zeros, int64_t tile, int c,
                                 int channels, real *v, int64_t step)
{
    const struct winograd_place at = winograd_place_of(t, tile);
    /* A gradient's first tap may lie beyond the first input: gather's from_h is never above 0. */
    const int h = at.h + (q->dgrad ? q->v.ph - 2 : -q->v.ph), n = t->m + 2;
    const int w = at.w + (q->dgrad ? q->v.pw - 2 : -q->v.pw);
    const int from = w < 0 ? -w : 0, to = n < q->in_w - w ? n : q->in_w - w;
    const real *row[WINOGRAD_N];
    for (int i = 0; i < n; i++)
        row[i] = h + i < 0 || h + i >= q->in_h
                     ? zeros
                     : in + (((int64_t)at.image * q->in_h + h + i) * q->in_w + w) * q->in_c + c;
    if (t->m == 2) winograd_load_tile(2, row, from, to, q->in_c, channels, v, step);
    else winograd_load_tile(4, row, from, to, q->in_c, channels, v, step);
}

#endif
