/* kernels/conv2d/frames.h -- the input of a gather (gather.h) in nchw, for kernels that put
 * neighbouring pixels in the lanes: every channel of some images, with padding around them.
 *
 * Rows follow each other without a gap, and images too, so that all outputs of a channel are one run:
 * output (image, a, b) is number (image * R + a) * pitch + b of it, and tap (i, j) of all of them lies
 * at one distance further on.  What the run computes between rows nobody asks for.  With strides the
 * rows and columns are dealt into heaps by their remainder, and each heap is such a run. */
#ifndef HONE_CONV2D_FRAMES_H
#define HONE_CONV2D_FRAMES_H

#include "kernels/conv2d/gather.h"

#define FRAMES_ROWS HONE_PARAM("rows", 0, 4, 8, 16)
#define FRAMES_IMAGES HONE_PARAM("images", 1, 4, 16)

struct frames {
    int rows, bands;             /* of output per band, 0: all; a unit of work is a band of images */
    int images, blocks;          /* images of a unit, and how many such there are */
    int own;                     /* 1: the input serves as it lies */
    int heap_rows;               /* R */
    int64_t pitch, heap, channel;   /* reals from row to row, of a heap, of all heaps */
    int64_t reals;               /* of a group's channels, in whole lines; 0: own */
};

static inline struct frames frames_of(const struct gather *q, int rows, int images)
{
    struct frames f = { .rows = rows && rows < q->count_h ? rows : q->count_h, .images = images };
    const int width = q->to_w - q->from_w + 1;
    f.bands = (q->count_h + f.rows - 1) / f.rows;
    f.blocks = (q->mb + images - 1) / images;
    f.own = !gather_padded(q) && q->step_h == 1 && q->step_w == 1 && q->count_w <= q->in_w &&
            images == 1;
    f.heap_rows = f.rows + (q->to_h - q->from_h) / q->step_h;
    f.pitch = f.own ? q->in_w : (width + q->step_w - 1) / q->step_w;
    if (f.pitch < q->count_w) f.pitch = q->count_w;
    f.heap = f.own ? (int64_t)q->in_h * q->in_w : (int64_t)images * f.heap_rows * f.pitch;
    f.channel = f.heap * q->step_h * q->step_w;
    f.reals = f.own ? 0 : whole_lines(f.channel * q->inc);
    return f;
}

/* Numbers of the run that hold the outputs of `images` images, `rows` rows of each and `count`
 * pixels of a row. */
static inline int64_t frames_run(const struct frames *f, int images, int rows, int count)
{
    return ((int64_t)(images - 1) * f->heap_rows + rows - 1) * f->pitch + count;
}

/* Where output 0 of a phase has tap (i, j). */
static inline int64_t frames_tap(const struct frames *f, const struct gather *q,
                                 const struct conv_axis *h, const struct conv_axis *w, int i, int j)
{
    const int row = h->at + i * h->dist - q->from_h, column = w->at + j * w->dist - q->from_w;
    return (row % q->step_h * q->step_w + column % q->step_w) * f->heap +
           row / q->step_h * f->pitch + column / q->step_w;
}

static inline void frames_row(const struct gather *q, const real *x, int64_t heap, real *to)
{
    const int first = -q->from_w, n = q->in_w < q->to_w + 1 ? q->in_w : q->to_w + 1;
    if (q->step_w == 1) {
        memcpy(to + first, x, (size_t)n * sizeof *to);
        return;
    }
    for (int r = 0; r < q->step_w; r++) {
        int j = (r - first % q->step_w + q->step_w) % q->step_w;
        real *at = to + r * heap + (j + first) / q->step_w;
        for (; j < n; j += q->step_w) *at++ = x[j];
    }
}

/* The frame of output rows [a0, a1) of images [n, n + images), channels of one group: in the input
 * itself or in `to`. */
static inline const real *frames_fill(const struct frames *f, const struct gather *q,
                                      const real *in, int n, int images, int group, int a0, int a1,
                                      real *to)
{
    const int64_t plane = (int64_t)q->in_h * q->in_w, first = (int64_t)a0 * q->step_h + q->from_h,
                  nrows = gather_rows(q, a1 - a0);
    in += ((int64_t)n * q->in_c + group * q->inc) * plane;
    if (f->own) return in + (int64_t)a0 * q->in_w;
    memset(to, 0, (size_t)(f->channel * q->inc) * sizeof *to);
    for (int c = 0; c < q->inc; c++)
        for (int i = 0; i < images; i++)
            for (int64_t r = first < 0 ? -first : 0; r < nrows && first + r < q->in_h; r++)
                frames_row(q, in + ((int64_t)i * q->in_c + c) * plane + (first + r) * q->in_w,
                           f->heap,
                           to + c * f->channel + r % q->step_h * q->step_w * f->heap +
                               (i * f->heap_rows + r / q->step_h) * f->pitch);
    return to;
}

static inline const char *frames_refuse(const struct hone_problem *p)
{
    const struct gather q = gather_of(p);
    if (p->layout != CONV_NCHW) return "it is for nchw";
    return (double)frames_of(&q, 0, 16).channel * q.inc > INT32_MAX ||
                   (double)q.out_h * q.out_w * q.out_c > INT32_MAX
               ? "an image has 2^27 numbers or more"
               : NULL;
}

/* Whole images may be taken together, or one cut into bands. */
static inline int frames_valid(const struct gather *q, int rows, int images)
{
    if (rows >= q->count_h || (rows && images > 1)) return 0;
    return images == 1 || (images / 4 < q->mb && !frames_of(q, 0, 1).own);
}

/* Runs that are long enough for `lanes` numbers at a time to come out even, in half of L2, and units
 * for all threads. */
static inline void frames_guess(const struct gather *q, const struct hone_device *d, int threads,
                                int *rows, int *images)
{
    static const int few[] = { 16, 8, 4 };
    *rows = 0, *images = 1;
    for (int n = 16; n > 1; n /= 4)
        if (n * threads <= q->mb && frames_valid(q, 0, n) &&
            (double)q->count_h * q->count_w * n < 64 * VL && *images == 1)
            *images = n;
    for (int i = 0; i < 3 && *images == 1; i++) {
        const double reals = (double)frames_of(q, *rows, 1).channel * q->inc;
        if (reals * sizeof(real) <= 0.5 * (double)d->l2_bytes && q->mb >= threads) return;
        if (frames_valid(q, few[i], 1)) *rows = few[i];
    }
}

#endif
