/* kernels/conv2d/im2col.h -- convolution as a matrix product: row r of `cols` holds what output
 * pixel r sees, (kh, kw, icg) numbers, so that with W (oc, K) and K = kh * kw * icg
 *
 *     fwd    Y (pixels, oc) = cols (pixels, K) W'
 *     dgrad  dcols (pixels, K) = dY (pixels, oc) W, whose rows are then added into dx (col2im)
 *     wgrad  dW (oc, K) = dY' cols
 *
 * Output rows of all images are one list, cut into blocks; a thread owns a run of blocks and a
 * buffer for the cols of one, which stays in its cache. */
#ifndef HONE_CONV2D_IM2COL_H
#define HONE_CONV2D_IM2COL_H

#include "kernels/backend/cpu.h"
#include "kernels/conv2d/conv2d.h"

/* The parameter: about how many pixels are in a block. */
#define CONV_PIXELS HONE_PARAM("pixels", 64, 256, 1024, 4096)

struct im2col {
    struct conv v;
    int direct;              /* 1: x is its own cols (1x1, no stride, no padding) */
    int64_t k;               /* numbers in a row of cols */
    int64_t rows, block;     /* output rows in all; of a block, the last may have fewer */
    int64_t nblocks;
    int64_t cols_floats;     /* of one buffer: 0 where there is no need of one */
};

/* dgrad adds up whole images, lest two threads add to one number: its blocks are of images. */
static inline struct im2col im2col_of(const struct hone_problem *p, int pixels)
{
    struct im2col s = { .v = conv_of(p) };
    const struct conv *v = &s.v;
    int64_t unit = hone_problem_is(p, conv2d_dgrad) ? v->oh : 1,
            units = (int64_t)v->mb * v->oh / unit;
    int64_t per_block = pixels / (unit * v->ow);
    if (per_block < 1) per_block = 1;
    if (per_block > units) per_block = units;
    s.direct = v->g == 1 && v->kh == 1 && v->kw == 1 && v->sh == 1 && v->sw == 1 && !v->ph &&
               !v->pw && v->oh == v->ih && v->ow == v->iw;
    s.k = (int64_t)v->kh * v->kw * v->icg;
    s.rows = (int64_t)v->mb * v->oh;
    s.block = per_block * unit;
    s.nblocks = (s.rows + s.block - 1) / s.block;
    s.cols_floats = s.direct ? 0 : (s.block * v->ow * s.k + 15) / 16 * 16;
    return s;
}

/* Rows [first, first + rows) are block b; a thread has the blocks [from, to). */
static inline int64_t im2col_rows(const struct im2col *s, int64_t b)
{
    return s->rows - b * s->block < s->block ? s->rows - b * s->block : s->block;
}

static inline int64_t im2col_from(const struct im2col *s, int thread, int threads)
{
    return s->nblocks * thread / threads;
}

static inline void im2col_copy(real *to, const real *from, int64_t n)
{
    for (; n >= VL; n -= VL, to += VL, from += VL) vf_store(to, vf_load(from));
    for (int64_t i = 0; i < n; i++) to[i] = from[i];
}

static inline void im2col_add(real *to, const real *from, int64_t n)
{
    for (; n >= VL; n -= VL, to += VL, from += VL) vf_store(to, vf_load(to) + vf_load(from));
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

/* Taps [first, last) of one direction lie inside the input where tap 0 lies at `at`. */
struct im2col_taps { int first, last; };

static inline struct im2col_taps im2col_inside(int64_t at, int dist, int k, int in)
{
    struct im2col_taps t = { 0, k };
    if (at < 0) t.first = dist == 1 ? (int)-at : (int)((-at + dist - 1) / dist);
    if (at + (int64_t)(k - 1) * dist >= in)
        t.last = at >= in ? 0 : dist == 1 ? (int)(in - at) : (int)((in - 1 - at) / dist) + 1;
    if (t.first > t.last) t.first = t.last;
    return t;
}

/* cols (rows * ow, K) of output rows [first, first + rows), channels of group g, from
 * x (mb, ih, iw, ic). */
static inline void im2col_gather(const struct im2col *s, int g, const real *x, int64_t first,
                                 int64_t rows, real *cols)
{
    const struct conv *v = &s->v;
    const int joined = v->g == 1 && v->dw == 1;
    const int64_t across = (int64_t)v->kw * v->icg, down = (int64_t)v->dh * v->iw * v->ic;
    for (int64_t r = first; r < first + rows; r++) {
        const int64_t top = r % v->oh * v->sh - v->ph;
        const struct im2col_taps h = im2col_inside(top, v->dh, v->kh, v->ih);
        const int64_t row = ((r / v->oh * v->ih + top) * v->iw - v->pw) * v->ic + g * v->icg;
        for (int ow = 0; ow < v->ow; ow++, cols += s->k) {
            const struct im2col_taps w =
                im2col_inside((int64_t)ow * v->sw - v->pw, v->dw, v->kw, v->iw);
            if (h.first > 0 || w.first > 0 || h.last < v->kh || w.last < v->kw)
                memset(cols, 0, (size_t)s->k * sizeof *cols);
            for (int i = h.first; i < h.last && w.first < w.last; i++) {
                const real *from =
                    x + row + i * down + ((int64_t)ow * v->sw + (int64_t)w.first * v->dw) * v->ic;
                real *to = cols + i * across + w.first * v->icg;
                if (joined) {
                    im2col_copy(to, from, (int64_t)(w.last - w.first) * v->ic);
                    continue;
                }
                for (int j = w.first; j < w.last; j++, to += v->icg, from += (int64_t)v->dw * v->ic)
                    im2col_copy(to, from, v->icg);
            }
        }
    }
}

/* The way back: adds cols of output rows [first, first + rows) into dx. */
static inline void im2col_scatter(const struct im2col *s, int g, const real *cols, int64_t first,
                                  int64_t rows, real *dx)
{
    const struct conv *v = &s->v;
    const int joined = v->g == 1 && v->dw == 1;
    const int64_t across = (int64_t)v->kw * v->icg, down = (int64_t)v->dh * v->iw * v->ic;
    for (int64_t r = first; r < first + rows; r++) {
        const int64_t top = r % v->oh * v->sh - v->ph;
        const struct im2col_taps h = im2col_inside(top, v->dh, v->kh, v->ih);
        const int64_t row = ((r / v->oh * v->ih + top) * v->iw - v->pw) * v->ic + g * v->icg;
        for (int ow = 0; ow < v->ow; ow++, cols += s->k) {
            const struct im2col_taps w =
                im2col_inside((int64_t)ow * v->sw - v->pw, v->dw, v->kw, v->iw);
            for (int i = h.first; i < h.last && w.first < w.last; i++) {
                real *to =
                    dx + row + i * down + ((int64_t)ow * v->sw + (int64_t)w.first * v->dw) * v->ic;
                const real *from = cols + i * across + w.first * v->icg;
                if (joined) { im2col_add(to, from, (int64_t)(w.last - w.first) * v->ic); continue; }
                for (int j = w.first; j < w.last; j++, from += v->icg, to += (int64_t)v->dw * v->ic)
                    im2col_add(to, from, v->icg);
            }
        }
    }
}

/* dw = the sum of the threads' n numbers each, in order of thread; numbers [from, to). */
static inline void im2col_add_up(const real *sums, int64_t n, int threads, int64_t from,
                                 int64_t to, real *dw)
{
    for (int64_t i = from; i < to; i++) {
        real s = sums[i];
        for (int t = 1; t < threads; t++) s += sums[t * n + i];
        dw[i] = s;
    }
}

/* More threads than blocks would stand idle; more pixels than there are make no difference. */
static inline int im2col_valid(const struct hone_problem *p, int pixels, int threads)
{
    struct im2col s = im2col_of(p, pixels);
    if (threads > s.nblocks) return 0;
    return pixels <= 64 || s.block != im2col_of(p, pixels / 4).block;
}

/* The largest block of which a quarter of L2 holds the cols, and that leaves every thread some. */
static inline void im2col_guess(const struct hone_problem *p, const struct hone_device *d,
                                int *pixels, int *threads)
{
    double room = d->l2_bytes ? (double)d->l2_bytes / 4 : 65536;
    for (*threads = hone_conv2d_threads(p, d);; *threads /= 2) {
        for (*pixels = 4096; *pixels > 64; *pixels /= 4)
            if ((double)im2col_of(p, *pixels).cols_floats * 4 <= room &&
                im2col_of(p, *pixels).nblocks >= 4 * *threads && im2col_valid(p, *pixels, *threads))
                return;
        if (im2col_valid(p, 64, *threads)) return;
    }
}

#endif
