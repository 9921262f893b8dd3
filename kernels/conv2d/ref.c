/* The meaning of convolution and its gradients: one element of the output at a time, gathered from
 * all products that belong to it. */
#include "kernels/conv2d/conv2d.h"

#include <math.h>

/* The sum of n products and, in *size, of their absolute values.  Four sums at a time: expected
 * outputs are most of what a proof takes, and a single sum would wait for itself. */
static double dot(const double *a, int64_t da, const double *b, int64_t db, int64_t n, double *size)
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0, z0 = 0, z1 = 0, z2 = 0, z3 = 0;
    for (; n >= 4; n -= 4, a += 4 * da, b += 4 * db) {
        const double t0 = a[0] * b[0], t1 = a[da] * b[db], t2 = a[2 * da] * b[2 * db],
                     t3 = a[3 * da] * b[3 * db];
        s0 += t0, s1 += t1, s2 += t2, s3 += t3;
        z0 += fabs(t0), z1 += fabs(t1), z2 += fabs(t2), z3 += fabs(t3);
    }
    for (; n > 0; n--, a += da, b += db) {
        s0 += *a * *b;
        z0 += fabs(*a * *b);
    }
    *size += z0 + z1 + (z2 + z3);
    return s0 + s1 + (s2 + s3);
}

double hone_conv2d_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale)
{
    const struct conv v = conv_of(p);
    const struct conv_steps sx = conv_steps_of(p, v.ic, v.ih, v.iw),
                            sw = conv_steps_of(p, v.icg, v.kh, v.kw),
                            sy = conv_steps_of(p, v.oc, v.oh, v.ow);
    int64_t oc = i / sy.c % v.oc, ow = i / sy.w % v.ow, oh = i / sy.h % v.oh, n = i / sy.n;
    int64_t group = oc / v.ocg;
    double sum = 0, size = 0;
    (void)out;

    for (int64_t kh = 0; kh < v.kh; kh++)
        for (int64_t kw = 0; kw < v.kw; kw++) {
            int64_t ih = oh * v.sh - v.ph + kh * v.dh, iw = ow * v.sw - v.pw + kw * v.dw;
            if (ih < 0 || ih >= v.ih || iw < 0 || iw >= v.iw) continue;
            const double *x = in[CONV_X] + conv_at(sx, n, ih, iw, group * v.icg);
            const double *w = in[CONV_W] + conv_at(sw, oc, kh, kw, 0);
            sum += dot(x, sx.c, w, sw.c, v.icg, &size);
        }
    if (hone_problem_has(p, "bias")) {
        sum += in[CONV_BIAS][oc];
        size += fabs(in[CONV_BIAS][oc]);
    }
    enum hone_act act = hone_act_of(p);
    double y = hone_act_value(act, sum);
    *scale = size * hone_act_slope(act) + fabs(y);
    return y;
}

/* The output that input position i reached through tap k, or -1: o * stride = i + pad - k * dist */
static int64_t reached(int64_t i, int64_t k, int stride, int pad, int dist, int outputs)
{
    int64_t at = i + pad - k * dist;
    return at >= 0 && at % stride == 0 && at / stride < outputs ? at / stride : -1;
}

double hone_conv2d_dgrad_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale)
{
    const struct conv v = conv_of(p);
    const struct conv_steps sx = conv_steps_of(p, v.ic, v.ih, v.iw),
                            sw = conv_steps_of(p, v.icg, v.kh, v.kw),
                            sy = conv_steps_of(p, v.oc, v.oh, v.ow);
    int64_t ic = i / sx.c % v.ic, iw = i / sx.w % v.iw, ih = i / sx.h % v.ih, n = i / sx.n;
    int64_t group = ic / v.icg;
    double sum = 0, size = 0;
    (void)out;

    for (int64_t kh = 0; kh < v.kh; kh++)
        for (int64_t kw = 0; kw < v.kw; kw++) {
            int64_t oh = reached(ih, kh, v.sh, v.ph, v.dh, v.oh),
                    ow = reached(iw, kw, v.sw, v.pw, v.dw, v.ow);
            if (oh < 0 || ow < 0) continue;
            const int64_t oc = group * v.ocg;
            const double *dy = in[CONV_DX_DY] + conv_at(sy, n, oh, ow, oc),
                         *w = in[CONV_DX_W] + conv_at(sw, oc, kh, kw, ic % v.icg);
            sum += dot(dy, sy.c, w, sw.n, v.ocg, &size);
        }
    *scale = size;
    return sum;
}

/* A channel of images, be it among what share() laid channel by channel: its first number, and how
 * far apart samples and pixels are. */
struct channel { const double *at; int64_t sample, pixel; };

static struct channel channel_of(const double *planes, const double *images, struct conv_steps s,
                                 int64_t pixels, int64_t c)
{
    if (planes) return (struct channel){ planes + c * pixels, s.n, 1 };
    return (struct channel){ images + c * s.c, s.n, s.w };
}

double hone_conv2d_wgrad_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale)
{
    const struct conv v = conv_of(p);
    const struct conv_steps sx = conv_steps_of(p, v.ic, v.ih, v.iw),
                            sw = conv_steps_of(p, v.icg, v.kh, v.kw),
                            sy = conv_steps_of(p, v.oc, v.oh, v.ow);
    int64_t c = i / sw.c % v.icg, kw = i / sw.w % v.kw, kh = i / sw.h % v.kh, oc = i / sw.n;
    const int64_t pixels = (int64_t)v.ih * v.iw, nx = (int64_t)v.mb * v.ic * pixels;
    const double *shared = in[CONV_DWT];
    const struct channel x = channel_of(shared, in[CONV_DWT_X], sx, pixels,
                                        oc / v.ocg * v.icg + c),
                         dy = channel_of(shared ? shared + nx : NULL, in[CONV_DWT_DY], sy,
                                         (int64_t)v.oh * v.ow, oc);
    double sum = 0, size = 0;
    (void)out;

    /* Outputs first..last - 1 of a row have this tap inside of the input's row. */
    const int64_t at = kw * v.dw - v.pw;
    const int64_t first = at < 0 ? (-at + v.sw - 1) / v.sw : 0,
                  most = at < v.iw ? (v.iw - 1 - at) / v.sw + 1 : 0,
                  last = most < v.ow ? most : v.ow;
    for (int64_t n = 0; n < v.mb && first < last; n++)
        for (int64_t oh = 0; oh < v.oh; oh++) {
            int64_t ih = oh * v.sh - v.ph + kh * v.dh;
            if (ih < 0 || ih >= v.ih) continue;
            const double *row = x.at + n * x.sample + (ih * v.iw + first * v.sw + at) * x.pixel,
                         *with = dy.at + n * dy.sample + (oh * v.ow + first) * dy.pixel;
            sum += dot(row, v.sw * x.pixel, with, dy.pixel, last - first, &size);
        }
    *scale = size;
    return sum;
}
