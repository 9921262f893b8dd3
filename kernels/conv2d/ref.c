/* The meaning of convolution and its gradients: one element of the output at a time, gathered from
 * all products that belong to it. */
#include "kernels/conv2d/conv2d.h"

#include <math.h>

static double tap(const double *a, const double *b, double *size)
{
    *size += fabs(*a * *b);
    return *a * *b;
}

double hone_conv2d_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale)
{
    const struct conv v = conv_of(p);
    int64_t oc = i % v.oc, ow = i / v.oc % v.ow, oh = i / v.oc / v.ow % v.oh,
            n = i / v.oc / v.ow / v.oh;
    int64_t group = oc / v.ocg;
    double sum = 0, size = 0;
    (void)out;

    for (int64_t kh = 0; kh < v.kh; kh++)
        for (int64_t kw = 0; kw < v.kw; kw++) {
            int64_t ih = oh * v.sh - v.ph + kh * v.dh, iw = ow * v.sw - v.pw + kw * v.dw;
            if (ih < 0 || ih >= v.ih || iw < 0 || iw >= v.iw) continue;
            const double *x = in[CONV_X] + ((n * v.ih + ih) * v.iw + iw) * v.ic + group * v.icg;
            const double *w = in[CONV_W] + ((oc * v.kh + kh) * v.kw + kw) * v.icg;
            for (int64_t c = 0; c < v.icg; c++) sum += tap(x + c, w + c, &size);
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
    int64_t ic = i % v.ic, iw = i / v.ic % v.iw, ih = i / v.ic / v.iw % v.ih,
            n = i / v.ic / v.iw / v.ih;
    int64_t group = ic / v.icg;
    double sum = 0, size = 0;
    (void)out;

    for (int64_t kh = 0; kh < v.kh; kh++)
        for (int64_t kw = 0; kw < v.kw; kw++) {
            int64_t oh = reached(ih, kh, v.sh, v.ph, v.dh, v.oh),
                    ow = reached(iw, kw, v.sw, v.pw, v.dw, v.ow);
            if (oh < 0 || ow < 0) continue;
            const double *dy = in[CONV_DX_DY] + ((n * v.oh + oh) * v.ow + ow) * v.oc;
            for (int64_t oc = group * v.ocg; oc < (group + 1) * v.ocg; oc++)
                sum +=
                    tap(dy + oc,
                        in[CONV_DX_W] + ((oc * v.kh + kh) * v.kw + kw) * v.icg + ic % v.icg, &size);
        }
    *scale = size;
    return sum;
}

double hone_conv2d_wgrad_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale)
{
    const struct conv v = conv_of(p);
    int64_t c = i % v.icg, kw = i / v.icg % v.kw, kh = i / v.icg / v.kw % v.kh,
            oc = i / v.icg / v.kw / v.kh;
    int64_t ic = oc / v.ocg * v.icg + c;
    double sum = 0, size = 0;
    (void)out;

    for (int64_t n = 0; n < v.mb; n++)
        for (int64_t oh = 0; oh < v.oh; oh++)
            for (int64_t ow = 0; ow < v.ow; ow++) {
                int64_t ih = oh * v.sh - v.ph + kh * v.dh, iw = ow * v.sw - v.pw + kw * v.dw;
                if (ih < 0 || ih >= v.ih || iw < 0 || iw >= v.iw) continue;
                sum += tap(in[CONV_DWT_X] + ((n * v.ih + ih) * v.iw + iw) * v.ic + ic,
                           in[CONV_DWT_DY] + ((n * v.oh + oh) * v.ow + ow) * v.oc + oc, &size);
            }
    *scale = size;
    return sum;
}
