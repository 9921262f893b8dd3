/* kernels/pool/pool.h -- maximum and average over windows, channels last, and their gradients.
 *
 * Window (y, x) covers input rows y*sh - ph ... + kh - 1 and likewise columns; what lies outside
 * of the input is left out: it is never the maximum and, unless include_pad is given, an average
 * divides by the number of inputs inside.
 *
 * With the attribute `index` the maximum also gives, and its gradient takes in place of x, a byte
 * for each output: the place of the first maximum in its window, row times kw plus column, counted
 * from where the window begins, be that in the padding.  So x need not be kept.  With relu or relu6,
 * too, y is that of the maximum, and the byte is POOL_NONE where no gradient passes. */
#ifndef HONE_POOL_H
#define HONE_POOL_H

#include "kernels/kernel.h"

#include <math.h>

extern const struct hone_op hone_op_maxpool_fwd, hone_op_maxpool_bwd, hone_op_avgpool_fwd,
    hone_op_avgpool_bwd;

enum {
    POOL_MB, POOL_IC, POOL_IH, POOL_IW, POOL_OH, POOL_OW, POOL_KH, POOL_KW, POOL_SH, POOL_SW,
    POOL_PH, POOL_PW
};
/* Arguments of the forward ops: (mb, oh, ow, ic), (mb, ih, iw, ic), and of maxpool_fwd with index
 * the bytes in the order of y, four to a word of memory; those behind the last are 0. */
enum { POOL_Y, POOL_X, POOL_INDEX };
/* Of the gradients; only maxpool_bwd has X, or with index the bytes. */
enum { POOL_DX, POOL_DY, POOL_BWD_X };

enum { POOL_NONE = 255 };

/* How a kernel goes about it. */
enum pool_way { POOL_AVERAGE, POOL_MAXIMUM, POOL_WITH_INDEX, POOL_WITH_CUT };

static inline int64_t pool_outputs(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (int64_t)d[POOL_MB] * d[POOL_OH] * d[POOL_OW] * d[POOL_IC];
}

static inline int pool_is_max(const struct hone_problem *p)
{
    return hone_problem_is(p, maxpool_fwd) || hone_problem_is(p, maxpool_bwd);
}

static inline int pool_has_index(const struct hone_problem *p)
{
    return pool_is_max(p) && hone_problem_has(p, "index");
}

/* What a maximum must be below for its gradient to pass; it must be above 0, too. */
static inline double pool_cut(const struct hone_problem *p)
{
    return hone_problem_has(p, "relu6") ? 6 : (double)INFINITY;
}

static inline enum pool_way pool_way(const struct hone_problem *p)
{
    if (!pool_is_max(p)) return POOL_AVERAGE;
    if (!pool_has_index(p)) return POOL_MAXIMUM;
    if (hone_problem_is(p, maxpool_bwd)) return POOL_WITH_INDEX;
    return hone_problem_has(p, "relu") || hone_problem_has(p, "relu6") ? POOL_WITH_CUT
                                                                       : POOL_WITH_INDEX;
}

/* The part [from, to) of the input that window `at` covers in one direction. */
struct pool_span { int from, to; };

static inline struct pool_span pool_span(int at, int k, int stride, int pad, int in)
{
    int from = at * stride - pad, to = from + k;
    return (struct pool_span){ from < 0 ? 0 : from, to > in ? in : to };
}

/* The windows [from, to) of one direction that lie wholly inside of the input. */
static inline struct pool_span pool_whole(int k, int stride, int pad, int in, int out)
{
    int from = (pad + stride - 1) / stride, to = in + pad < k ? 0 : (in + pad - k) / stride + 1;
    if (to > out) to = out;
    return (struct pool_span){ from, to < from ? from : to };
}

/* ref.c: the ops' meaning, see struct hone_op. */
double hone_maxpool_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale);
double hone_maxpool_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale);
double hone_avgpool_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale);
double hone_avgpool_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale);

#endif
