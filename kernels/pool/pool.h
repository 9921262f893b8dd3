/* kernels/pool/pool.h -- maximum and average over windows, channels last, and their gradients.
 *
 * Window (y, x) covers input rows y*sh - ph ... + kh - 1 and likewise columns; what lies outside
 * of the input is left out: it is never the maximum and, unless include_pad is given, an average
 * divides by the number of inputs inside. */
#ifndef HONE_POOL_H
#define HONE_POOL_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_maxpool_fwd, hone_op_maxpool_bwd, hone_op_avgpool_fwd,
    hone_op_avgpool_bwd;

enum {
    POOL_MB, POOL_IC, POOL_IH, POOL_IW, POOL_OH, POOL_OW, POOL_KH, POOL_KW, POOL_SH, POOL_SW,
    POOL_PH, POOL_PW
};
enum { POOL_Y, POOL_X }; /* arguments of the forward ops: (mb, oh, ow, ic), (mb, ih, iw, ic) */
enum { POOL_DX, POOL_DY, POOL_BWD_X };         /* of the gradients; X only for maxpool_bwd */

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
