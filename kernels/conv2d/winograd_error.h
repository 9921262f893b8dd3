/* kernels/conv2d/winograd_error.h -- what Winograd's filtering (winograd_matrices.h) can compute,
 * and how far from right, on any device. */
#ifndef HONE_CONV2D_WINOGRAD_ERROR_H
#define HONE_CONV2D_WINOGRAD_ERROR_H

#include "kernels/conv2d/conv2d.h"

#include <math.h>

/* Every rounding of any of the three transforms and of the sum over channels is relative to what
 * the same expression gives with |A|, |G|, |B|, |w|, |x| for A, G, B, w, x (Higham: Accuracy and
 * stability of numerical algorithms, 2002, 3.5; Barabasz et al.: Error analysis and improving the
 * accuracy of Winograd convolution, 2020).  Along one direction that is
 *
 *     sum over tap r and input k of mix[i][r][k] |w_r| |x_k|,   mix = sum_q |A'|_iq |G|_qr |B'|_qk
 *
 * for output i, and in two dimensions the product of two such. */

typedef double winograd_mix[4][3][6];

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
 * weights 3, inputs 1, outputs 2 in each; m = 4: 4 (the factor itself is rounded), 3 (and so is
 * 4.25 x), 3. */
static inline double winograd_chain(int m) { return m == 2 ? 12 : 20; }

/* The same of a gradient of the weights, whose transforms are B', A and G': 1, 1, 2; 3, 2, 5. */
static inline double winograd_wgrad_chain(int m) { return m == 2 ? 8 : 20; }

static inline const char *winograd_refuse(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.kh != 3 || v.kw != 3) return "the kernel is not 3x3";
    if (v.sh != 1 || v.sw != 1) return "stride is not 1";
    if (v.dh != 1 || v.dw != 1) return "taps are dilated";
    return v.g != 1 ? "it has groups" : NULL;
}

/* ---- the three passes ---- */

/* Forward and data gradient as one: the latter is the same of dy with the taps turned around and
 * the channels exchanged.  Output (h, w) has its first tap at input (h + from_h, w + from_w).  The
 * gradient of the weights has forward's sizes. */
struct winograd_view { int dgrad, in_h, in_w, inc, out_h, out_w, outc, from_h, from_w; };

static inline struct winograd_view winograd_view_of(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    if (!hone_problem_is(p, conv2d_dgrad))
        return (struct winograd_view){ 0, v.ih, v.iw, v.ic, v.oh, v.ow, v.oc, -v.ph, -v.pw };
    return (struct winograd_view){ 1, v.oh, v.ow, v.oc, v.ih, v.iw, v.ic, v.ph - 2, v.pw - 2 };
}

/* With mix of rows and of columns, the size of what weight i's gradient is computed from: of each
 * pixel of dy, what its tile mixes into that tap. */
static inline double winograd_wgrad_scale(const struct hone_problem *p, int m,
                                          const double *const in[], int64_t i)
{
    const struct winograd_view q = winograd_view_of(p);
    const int channel = (int)(i % q.inc), tap = (int)(i / q.inc % 9), o = (int)(i / q.inc / 9);
    const double *x = in[CONV_DWT_X], *dy = in[CONV_DWT_DY];
    winograd_mix mix;
    double sum = 0;
    winograd_mix_of(m, mix);
    for (int64_t pixel = 0; pixel < (int64_t)p->dim[CONV_MB] * q.out_h * q.out_w; pixel++) {
        const int w = (int)(pixel % q.out_w), h = (int)(pixel / q.out_w % q.out_h);
        const int top = h / m * m + q.from_h, left = w / m * m + q.from_w;
        const double *image = x + pixel / q.out_w / q.out_h * q.in_h * q.in_w * q.inc;
        double seen = 0;
        for (int a = 0; a < m + 2; a++)
            for (int b = 0; b < m + 2; b++)
                if (top + a >= 0 && top + a < q.in_h && left + b >= 0 && left + b < q.in_w)
                    seen += mix[h % m][tap / 3][a] * mix[w % m][tap % 3][b] *
                            fabs(image[((int64_t)(top + a) * q.in_w + left + b) * q.inc + channel]);
        sum += seen * fabs(dy[pixel * q.outc + o]);
    }
    return sum;
}

/* The same of output i of any pass: a kernel's scale(). */
static inline double winograd_scale(const struct hone_problem *p, int m, const double *const in[],
                                    int64_t i)
{
    const struct winograd_view q = winograd_view_of(p);
    if (hone_problem_is(p, conv2d_wgrad)) return winograd_wgrad_scale(p, m, in, i);
    const int n = m + 2, o = (int)(i % q.outc);
    const int64_t pixel = i / q.outc, image = pixel / q.out_w / q.out_h;
    const int h = (int)(pixel / q.out_w % q.out_h), w = (int)(pixel % q.out_w);
    const int top = h / m * m + q.from_h, left = w / m * m + q.from_w;
    const double *x = in[1] + image * q.in_h * q.in_w * q.inc, *weights = in[2];
    const int64_t tap = q.dgrad ? q.outc : q.inc;
    winograd_mix mix;
    double sum = 0;
    winograd_mix_of(m, mix);
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++) {
            if (top + a < 0 || top + a >= q.in_h || left + b < 0 || left + b >= q.in_w) continue;
            const double *at = x + ((int64_t)(top + a) * q.in_w + left + b) * q.inc;
            for (int t = 0; t < 9; t++) {
                const double much = mix[h % m][t / 3][a] * mix[w % m][t % 3][b];
                const double *from = q.dgrad ? weights + (8 - t) * tap + o
                                             : weights + (o * (int64_t)9 + t) * tap;
                const int64_t step = q.dgrad ? 9 * tap : 1;
                for (int k = 0; k < q.inc; k++) sum += much * fabs(at[k] * from[k * step]);
            }
        }
    if (q.dgrad) return sum;
    if (hone_problem_has(p, "bias")) sum += fabs(in[CONV_BIAS][o]);
    return sum * (1 + hone_act_slope(hone_act_of(p)));
}

/* A kernel's amplify(); growth() of forward and data gradient. */
static inline double winograd_amplified(const struct hone_problem *p, int m)
{
    const struct winograd_view q = winograd_view_of(p);
    const int by_tap = hone_problem_is(p, conv2d_wgrad);
    return winograd_amplify(m, q.in_h, q.out_h, q.from_h, by_tap) *
           winograd_amplify(m, q.in_w, q.out_w, q.from_w, by_tap);
}

static inline double winograd_growth(const struct hone_problem *p, int m)
{
    const struct winograd_view q = winograd_view_of(p);
    return q.inc + winograd_chain(m) + 1 +
           (q.dgrad || hone_act_of(p) == HONE_ACT_none ? 0 : 8);
}

#endif
