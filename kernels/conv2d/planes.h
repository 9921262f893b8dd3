/* kernels/conv2d/planes.h -- the input of a gather (gather.h) as planes, one per channel, with its
 * padding around it, for the kernels that put neighbouring output pixels in the lanes.
 *
 * With a stride s across, the columns of a plane are dealt into s heaps, so that the inputs of
 * neighbouring outputs under one tap always lie side by side. */
#ifndef HONE_CONV2D_PLANES_H
#define HONE_CONV2D_PLANES_H

#include "kernels/conv2d/gather.h"
#include "kernels/conv2d/lanes.h"

struct planes {
    int rows;               /* of output per band */
    int bands;              /* per image */
    int64_t pitch;          /* floats from row to row of a heap */
    int64_t heap, plane;    /* floats of a heap, of a channel */
    int64_t floats;         /* of all, in whole lines, and from thread to thread */
};

static inline struct planes planes_of(const struct gather *q, int rows)
{
    struct planes s = { .rows = rows && rows < q->count_h ? rows : q->count_h };
    int slack = 0;
    for (int i = 0; i < q->phases_w; i++) {
        int over = gather_w(q, i).count % VL;
        if (over && VL - over > slack) slack = VL - over;
    }
    s.bands = (q->count_h + s.rows - 1) / s.rows;
    s.pitch = (q->to_w - q->from_w) / q->step_w + 1 + slack;
    s.heap = s.pitch * gather_rows(q, s.rows);
    s.plane = s.heap * q->step_w;
    s.floats = whole_lines(s.plane * q->in_c) + HONE_APART;
    return s;
}

/* Where tap (i, j) of channel c lies for output 0 of a row of phases h and w. */
static inline int64_t planes_tap(const struct planes *s, const struct gather *q,
                                 const struct conv_axis *h, const struct conv_axis *w, int c, int i,
                                 int j)
{
    int column = w->at + j * w->dist - q->from_w;
    return c * s->plane + column % q->step_w * s->heap +
           (int64_t)(h->at + i * h->dist - q->from_h) * s->pitch + column / q->step_w;
}

/* Fills the planes for output rows [a0, a1) of an image (in_h, in_w, in_c).  Where they hold whole
 * images, the zeros of the first time last. */
static inline void planes_fill(const struct planes *s, const struct gather *q,
                               const struct lanes *lanes, const float *image, int a0, int a1,
                               int first_time, float *to)
{
    const int64_t first = (int64_t)a0 * q->step_h + q->from_h, nrows = gather_rows(q, a1 - a0);
    const int left = -q->from_w;
    if (first_time || s->bands > 1) memset(to, 0, (size_t)s->floats * sizeof *to);
    for (int64_t r = 0; r < nrows; r++) {
        if (first + r < 0 || first + r >= q->in_h) continue;
        const float *x = image + (first + r) * q->in_w * q->in_c;
        float *row = to + r * s->pitch;
        int n = q->in_w < q->to_w + 1 ? q->in_w : q->to_w + 1;
        if (q->step_w == 1) {
            lanes_split(lanes, x, n, row + left, s->plane);
            continue;
        }
        for (int j = 0; j < n; j++) {
            float *at = row + (j + left) % q->step_w * s->heap + (j + left) / q->step_w;
            for (int c = 0; c < q->in_c; c++) at[c * s->plane] = x[j * q->in_c + c];
        }
    }
}

/* Do neighbouring pixels fill more lanes than the channels of an output pixel do?  NULL or
 * a sentence. */
static inline const char *planes_refuse(const struct gather *q)
{
    double pixels = (double)q->count_w / ((q->count_w + VL - 1) / VL * VL);
    double channels = (double)q->outc / ((q->outc + VL - 1) / VL * VL);
    if ((double)planes_of(q, 0).plane * q->in_c > INT32_MAX ||
        (double)q->out_h * q->out_w * q->out_c > INT32_MAX)
        return "an image has 2^31 numbers or more";
    if (q->g > 1 && q->inc == 1 && q->outc == 1) return "depthwise: no channels to sum over";
    return pixels > channels ? NULL
                             : "output channels fill the lanes better than pixels of a row do";
}

#endif
