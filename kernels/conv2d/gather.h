/* kernels/conv2d/gather.h -- forward and data gradient as one thing, for the direct kernels.
 *
 * Both compute every output as a sum over taps at regular distances in the input:
 *     out[start + a * stride] = sum of in[a * step + at + j * dist] * w[tap + j * tap_step], j < n
 * in each direction.  Forward has one such axis.  The gradient of a convolution with
 * stride s has s of them, its phases: inputs of one residue modulo s see the same subset of taps,
 * and dy under these taps lies dense, so that a phase is a convolution without stride (and without
 * the zeros that a dilated dy would have). */
#ifndef HONE_CONV2D_GATHER_H
#define HONE_CONV2D_GATHER_H

#include "kernels/activation/vector.h"
#include "kernels/conv2d/conv2d.h"

struct conv_axis {
    int count, start, stride;    /* outputs start + a * stride, 0 <= a < count */
    int step, at, dist, n; /* output a's tap j lies at input a * step + at + j * dist, 0 <= j < n */
    int tap, tap_step;           /* tap j's index in the kernel */
};

/* In and out are the tensors as the computation sees them: dgrad reads dy and writes dx. */
struct gather {
    int mb, g, in_h, in_w, in_c, out_h, out_w, out_c;
    int inc, outc;               /* channels of one group */
    int kh, kw, dgrad;
    int phases_h, phases_w;
    int from_h, to_h, from_w, to_w;   /* first and last input that output 0 of any phase needs, and
                                       * to_w: that the last output of any phase needs */
    int step_h, step_w, count_h, count_w;   /* count: most outputs of a phase */
    struct conv v;
};

HONE_INLINE struct conv_axis conv_axis_of(int dgrad, int phase, int in, int out, int k, int s,
                                          int p, int d)
{
    if (!dgrad) return (struct conv_axis){ out, 0, 1, s, -p, d, k, 0, 1 };
    /* Input i = phase + a s met output o through tap t where i + p = o s + t d: every period-th. */
    struct conv_axis x = { (in - phase + s - 1) / s, phase, s, 1, 0, 1, 0, 0, 0 };
    int gcd = s, period, t = 0;
    for (int r = d % s; r;) { int old = r; r = gcd % r; gcd = old; }
    period = s / gcd;
    while (t < period && t < k && (phase + (int64_t)p - (int64_t)t * d) % s) t++;
    if (t == period || t >= k) return x;
    x.n = (k - 1 - t) / period + 1;
    x.tap = t + (x.n - 1) * period;      /* descending taps are ascending places in dy */
    x.tap_step = -period;
    x.at = (int)((phase + (int64_t)p - (int64_t)x.tap * d) / s);
    x.dist = d / gcd;
    return x;
}

HONE_INLINE struct conv_axis gather_h(const struct gather *q, int phase)
{
    return conv_axis_of(q->dgrad, phase, q->v.ih, q->v.oh, q->v.kh, q->v.sh, q->v.ph, q->v.dh);
}

HONE_INLINE struct conv_axis gather_w(const struct gather *q, int phase)
{
    return conv_axis_of(q->dgrad, phase, q->v.iw, q->v.ow, q->v.kw, q->v.sw, q->v.pw, q->v.dw);
}

HONE_INLINE struct gather gather_of(const struct hone_problem *p)
{
    struct conv v = conv_of(p);
    int dgrad = hone_problem_is(p, conv2d_dgrad);
    struct gather q = { .mb = v.mb, .g = v.g, .kh = v.kh, .kw = v.kw, .dgrad = dgrad, .v = v };
    q.in_h = dgrad ? v.oh : v.ih, q.in_w = dgrad ? v.ow : v.iw, q.in_c = dgrad ? v.oc : v.ic;
    q.out_h = dgrad ? v.ih : v.oh, q.out_w = dgrad ? v.iw : v.ow, q.out_c = dgrad ? v.ic : v.oc;
    q.inc = q.in_c / v.g, q.outc = q.out_c / v.g;
    q.phases_h = !dgrad ? 1 : v.sh < v.ih ? v.sh : v.ih;
    q.phases_w = !dgrad ? 1 : v.sw < v.iw ? v.sw : v.iw;
    q.step_h = dgrad ? 1 : v.sh, q.step_w = dgrad ? 1 : v.sw;
    for (int i = 0; i < q.phases_h; i++) {
        struct conv_axis x = gather_h(&q, i);
        if (x.count > q.count_h) q.count_h = x.count;
        if (!x.n) continue;
        if (x.at < q.from_h) q.from_h = x.at;
        if (x.at + (x.n - 1) * x.dist > q.to_h) q.to_h = x.at + (x.n - 1) * x.dist;
    }
    for (int i = 0; i < q.phases_w; i++) {
        struct conv_axis x = gather_w(&q, i);
        int to = (x.count - 1) * x.step + x.at + (x.n - 1) * x.dist;
        if (x.count > q.count_w) q.count_w = x.count;
        if (!x.n) continue;
        if (x.at < q.from_w) q.from_w = x.at;
        if (to > q.to_w) q.to_w = to;
    }
    return q;
}

/* ---- the frame: input rows with their padding around them, so that no tap needs a test ---- */

HONE_INLINE int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }

/* Does any tap lie outside of the input?  If not, the input serves as its own frame. */
HONE_INLINE int gather_padded(const struct gather *q)
{
    return q->from_h < 0 || q->from_w < 0 || q->to_w >= q->in_w ||
           (int64_t)(q->count_h - 1) * q->step_h + q->to_h >= q->in_h;
}

/* Is the input copied into its frame?  Halves always are: the frame is of floats. */
HONE_INLINE int gather_framed(const struct gather *q)
{
    return sizeof(stored) < sizeof(real) || gather_padded(q);
}

/* Floats from row to row. */
HONE_INLINE int64_t gather_pitch(const struct gather *q)
{
    return (gather_padded(q) ? (int64_t)q->to_w - q->from_w + 1 : q->in_w) * q->in_c;
}

/* Input rows under `rows` rows of output. */
HONE_INLINE int64_t gather_rows(const struct gather *q, int rows)
{
    return (int64_t)(rows - 1) * q->step_h + q->to_h - q->from_h + 1;
}

/* The frame of output rows [a0, a1) of one image, at its input row a0 * step_h + from_h, column
 * from_w: in the image where it serves as its own frame, else copied to `frame`.  around: 1: the
 * frame held the same rows of another image, so that its padding is there. */
HONE_INLINE const real *gather_frame(const struct gather *q, const stored *image, int a0, int a1,
                                     int around, real *frame)
{
    const int64_t pitch = gather_pitch(q), left = (int64_t)-q->from_w * q->in_c,
                  nrows = gather_rows(q, a1 - a0);
    const int64_t first = (int64_t)a0 * q->step_h + q->from_h, width = (int64_t)q->in_w * q->in_c;
    const int64_t middle = width < pitch - left ? width : pitch - left;
    if (!gather_framed(q)) return (const real *)(const void *)(image + first * pitch);
    for (int64_t r = 0; r < nrows; r++) {
        real *to = frame + r * pitch;
        const int64_t n = first + r < 0 || first + r >= q->in_h ? 0 : middle;
        if (!around) {
            const int64_t end = n ? left + n : 0;
            memset(to, 0, (size_t)(n ? left : 0) * sizeof *to);
            memset(to + end, 0, (size_t)(pitch - end) * sizeof *to);
        }
        vs_widen(to + left, image + (first + r) * width, n);
    }
    return frame;
}

/* ---- the epilogue ---- */

/* A kernel that goes through an image with all weights at hand reads them anew for each image: fine
 * while they are in the cache, or while an image has pixels enough to use them on. */
static inline int gather_weights_pay(const struct gather *q, const struct hone_device *d)
{
    double weights = (double)q->kh * q->kw * q->inc * q->out_c * sizeof(real);
    return weights < 0.25 * (double)d->l2_bytes || (double)q->out_h * q->out_w >= 64;
}

/* The share of taps that lie inside of the image rather than on its padding. */
static inline double gather_inside(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    return p->op->flops(p) / 2 / v.mb / v.oc / v.oh / v.ow / v.icg / v.kh / v.kw;
}

/* Applies an activation to n contiguous floats that were just written. */
static inline void gather_activate(enum hone_act act, real *y, int64_t n)
{
#define X(name, from_y, slope)                                                                     \
    case HONE_ACT_##name:                                                                          \
        for (int64_t i = 0; i < n; i += VL) {                                                      \
            if (n - i >= VL)                                                                       \
                vf_store(y + i, vf_activate(HONE_ACT_##name, vf_load(y + i)));                     \
            else                                                                                   \
                vf_store_n(y + i, vf_activate(HONE_ACT_##name, vf_load_n(y + i, (int)(n - i))),    \
                           (int)(n - i));                                                          \
        }                                                                                          \
        break;
    switch (act) {
    HONE_ACT_MAP(X)
    case HONE_ACT_none: break;
    }
#undef X
}

#endif
