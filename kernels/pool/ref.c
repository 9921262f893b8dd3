/* The meaning of pooling, one element at a time; every pooling kernel is tested against it. */
#include "kernels/pool/pool.h"

#include <math.h>

/* A place in a (mb, h, w, ic) tensor. */
struct place { int64_t image; int y, x, c; };

static struct place place_of(const struct hone_problem *p, int64_t i, int h, int w)
{
    int64_t ic = p->dim[POOL_IC], pixel = i / ic;
    return (struct place){ .image = pixel / ((int64_t)h * w),
                           .y = (int)(pixel / w % h),
                           .x = (int)(pixel % w),
                           .c = (int)(i % ic) };
}

static int64_t input_at(const struct hone_problem *p, struct place at)
{
    const int32_t *d = p->dim;
    return ((at.image * d[POOL_IH] + at.y) * d[POOL_IW] + at.x) * d[POOL_IC] + at.c;
}

static int64_t output_at(const struct hone_problem *p, struct place at)
{
    const int32_t *d = p->dim;
    return ((at.image * d[POOL_OH] + at.y) * d[POOL_OW] + at.x) * d[POOL_IC] + at.c;
}

static struct pool_span rows(const struct hone_problem *p, int y)
{
    return pool_span(y, p->dim[POOL_KH], p->dim[POOL_SH], p->dim[POOL_PH], p->dim[POOL_IH]);
}

static struct pool_span columns(const struct hone_problem *p, int x)
{
    return pool_span(x, p->dim[POOL_KW], p->dim[POOL_SW], p->dim[POOL_PW], p->dim[POOL_IW]);
}

/* Where the first maximum, in row-major order, of the window of output `at` lies in x. */
static int64_t first_maximum(const struct hone_problem *p, const double *x, struct place at)
{
    struct pool_span h = rows(p, at.y), w = columns(p, at.x);
    int64_t best = -1;
    for (at.y = h.from; at.y < h.to; at.y++)
        for (at.x = w.from; at.x < w.to; at.x++)
            if (best < 0 || x[input_at(p, at)] > x[best]) best = input_at(p, at);
    return best;
}

static double divisor(const struct hone_problem *p, struct place at)
{
    struct pool_span h = rows(p, at.y), w = columns(p, at.x);
    if (hone_problem_has(p, "include_pad")) return (double)p->dim[POOL_KH] * p->dim[POOL_KW];
    return (double)(h.to - h.from) * (w.to - w.from);
}

/* The place in its window of input `i`. */
static int place_in(const struct hone_problem *p, struct place o, int64_t i)
{
    const int32_t *d = p->dim;
    const struct place at = place_of(p, i, d[POOL_IH], d[POOL_IW]);
    return (at.y - (o.y * d[POOL_SH] - d[POOL_PH])) * d[POOL_KW] +
           at.x - (o.x * d[POOL_SW] - d[POOL_PW]);
}

/* Byte i of the index. */
static int index_of(const struct hone_problem *p, const double *x, int64_t i)
{
    const struct place o = place_of(p, i, p->dim[POOL_OH], p->dim[POOL_OW]);
    const int64_t best = first_maximum(p, x, o);
    const int passes = x[best] > 0 && x[best] < pool_cut(p);
    return pool_way(p) == POOL_WITH_CUT && !passes ? POOL_NONE : place_in(p, o, best);
}

double hone_maxpool_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale)
{
    *scale = 0;
    if (out == POOL_INDEX) {
        uint32_t word = 0;
        for (int64_t b = 4 * i; b < 4 * i + 4 && b < pool_outputs(p); b++)
            word |= (uint32_t)index_of(p, in[POOL_X], b) << 8 * (b % 4);
        return (int32_t)word;
    }
    const struct place o = place_of(p, i, p->dim[POOL_OH], p->dim[POOL_OW]);
    const double y = in[POOL_X][first_maximum(p, in[POOL_X], o)];
    if (pool_way(p) != POOL_WITH_CUT) return y;
    return y < 0 ? 0 : y > pool_cut(p) ? pool_cut(p) : y;
}

double hone_avgpool_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale)
{
    struct place at = place_of(p, i, p->dim[POOL_OH], p->dim[POOL_OW]);
    struct pool_span h = rows(p, at.y), w = columns(p, at.x);
    double sum = 0, size = 0, n = divisor(p, at);
    (void)out;
    for (at.y = h.from; at.y < h.to; at.y++)
        for (at.x = w.from; at.x < w.to; at.x++) {
            sum += in[POOL_X][input_at(p, at)];
            size += fabs(in[POOL_X][input_at(p, at)]);
        }
    *scale = size / n;
    return sum / n;
}

/* ---- gradients: a sum over the windows that hold input i ---- */

/* The first window whose end lies behind input `at` of one direction. */
static int first_window(int at, int k, int stride, int pad)
{
    int n = at + pad - k + 1;
    return n <= 0 ? 0 : (n + stride - 1) / stride;
}

/* Is input i the maximum of window o, as x or an index says? */
static int is_maximum(const struct hone_problem *p, const double *from, struct place o, int64_t i)
{
    if (!pool_has_index(p)) return first_maximum(p, from, o) == i;
    const int64_t at = output_at(p, o);
    return (int)((uint32_t)(int32_t)from[at / 4] >> 8 * (at % 4) & 255) == place_in(p, o, i);
}

static double gradient(const struct hone_problem *p, const double *dy, const double *x, int64_t i,
                       double *scale)
{
    const int32_t *d = p->dim;
    struct place at = place_of(p, i, d[POOL_IH], d[POOL_IW]), o = at;
    double sum = 0;
    *scale = 0;
    for (o.y = first_window(at.y, d[POOL_KH], d[POOL_SH], d[POOL_PH]);
         o.y < d[POOL_OH] && rows(p, o.y).from <= at.y; o.y++)
        for (o.x = first_window(at.x, d[POOL_KW], d[POOL_SW], d[POOL_PW]);
             o.x < d[POOL_OW] && columns(p, o.x).from <= at.x; o.x++) {
            if (x && !is_maximum(p, x, o, i)) continue;
            double term = dy[output_at(p, o)] / (x ? 1 : divisor(p, o));
            sum += term;
            *scale += fabs(term);
        }
    return sum;
}

double hone_maxpool_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale)
{
    (void)out;
    return gradient(p, in[POOL_DY], in[POOL_BWD_X], i, scale);
}

double hone_avgpool_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale)
{
    (void)out;
    return gradient(p, in[POOL_DY], NULL, i, scale);
}
