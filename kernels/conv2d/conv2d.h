/* kernels/conv2d/conv2d.h -- two-dimensional convolution (cross-correlation, as all of deep
 * learning means it) and its two gradients:
 *
 *     conv2d_fwd    y  = act(x * w + bias)
 *     conv2d_dgrad  dx = dy *' w         gradient with respect to the input ("data")
 *     conv2d_wgrad  dw = x *' dy         gradient with respect to the weights
 *
 * Layout nhwc: x (mb, ih, iw, ic), y (mb, oh, ow, oc), w (oc, kh, kw, ic/g).  Layout nchw, which nets
 * of other programs have: x (mb, ic, ih, iw), y (mb, oc, oh, ow), w (oc, ic/g, kh, kw).  Sizes are
 * those of oneDNN's benchdnn: dh = 0 means no dilation, and where oh is given the padding after the
 * last row follows from it: it may differ from ph. */
#ifndef HONE_CONV2D_H
#define HONE_CONV2D_H

#include "kernels/activation/activation.h"
#include "kernels/kernel.h"

extern const struct hone_op hone_op_conv2d_fwd, hone_op_conv2d_dgrad, hone_op_conv2d_wgrad;

enum {   /* problem.dim */
    CONV_G, CONV_MB, CONV_IC, CONV_IH, CONV_IW, CONV_OC, CONV_OH, CONV_OW, CONV_KH, CONV_KW,
    CONV_SH, CONV_SW, CONV_PH, CONV_PW, CONV_DH, CONV_DW
};
enum { CONV_NHWC, CONV_NCHW };                /* problem.layout */
enum { CONV_Y, CONV_X, CONV_W, CONV_BIAS };   /* arguments of fwd; BIAS only with attribute bias */
enum { CONV_DX, CONV_DX_DY, CONV_DX_W };      /* of dgrad */
enum { CONV_DWT, CONV_DWT_X, CONV_DWT_DY };   /* of wgrad */

/* The sizes by name.  Here dh and dw are distances between taps: 1 means no dilation. */
struct conv {
    int g, mb, ic, ih, iw, oc, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw;
    int icg, ocg;   /* channels of one group */
};

static inline struct conv conv_of(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (struct conv){ d[CONV_G], d[CONV_MB], d[CONV_IC], d[CONV_IH], d[CONV_IW], d[CONV_OC],
                          d[CONV_OH], d[CONV_OW], d[CONV_KH], d[CONV_KW], d[CONV_SH], d[CONV_SW],
                          d[CONV_PH], d[CONV_PW], d[CONV_DH] + 1, d[CONV_DW] + 1,
                          d[CONV_IC] / d[CONV_G], d[CONV_OC] / d[CONV_G] };
}

/* How far apart neighbours in each direction are, in images of c channels of h x w pixels, or in
 * weights, whose n is oc and c is ic/g. */
struct conv_steps {
    int64_t n, h, w, c;
};

static inline struct conv_steps conv_steps_of(const struct hone_problem *p, int64_t c, int64_t h,
                                              int64_t w)
{
    return p->layout == CONV_NCHW ? (struct conv_steps){ c * h * w, w, 1, h * w }
                                  : (struct conv_steps){ c * h * w, w * c, c, 1 };
}

static inline int64_t conv_at(struct conv_steps s, int64_t n, int64_t h, int64_t w, int64_t c)
{
    return n * s.n + h * s.h + w * s.w + c * s.c;
}

/* Why a kernel for nhwc alone refuses, or NULL. */
static inline const char *hone_conv2d_not_nhwc(const struct hone_problem *p)
{
    return p->layout == CONV_NHWC ? NULL : "it is for nhwc";
}

/* The parameter that says how many threads share the work, and its guess: all cores where one
 * would need more than about 50 us. */
#define CONV_THREADS HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64)
int hone_conv2d_threads(const struct hone_problem *p, const struct hone_device *d);

/* The parameter that says whether the output is written past the caches, which saves reading it
 * first; possible where pixels are whole lines; and its guess: where the last cache would not keep
 * it for the next step. */
#define CONV_STREAM HONE_PARAM("stream", 0, 1)
int hone_conv2d_can_stream(const struct hone_problem *p);
int hone_conv2d_stream(const struct hone_problem *p, const struct hone_device *d);

/* ref.c: the ops' meaning, see struct hone_op. */
double hone_conv2d_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale);
double hone_conv2d_dgrad_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale);
double hone_conv2d_wgrad_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale);

#endif
