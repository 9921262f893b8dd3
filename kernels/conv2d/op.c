/* conv2d_fwd, conv2d_dgrad, conv2d_wgrad: sizes, arguments, flops, error bounds. */
#include "kernels/conv2d/conv2d.h"

#include <string.h>

/* One direction of a convolution, h or w. */
struct axis { const char *name; int i, o, k, s, p, d; };

static const struct axis axes[2] = {
    { "h", CONV_IH, CONV_OH, CONV_KH, CONV_SH, CONV_PH, CONV_DH },
    { "w", CONV_IW, CONV_OW, CONV_KW, CONV_SW, CONV_PW, CONV_DW },
};

/* Derives the output's size where it is 0, else sees that it goes with the other sizes. */
static int check_axis(struct hone_problem *p, const struct axis *a)
{
    int64_t in = p->dim[a->i], out = p->dim[a->o], s = p->dim[a->s], pad = p->dim[a->p];
    /* From the first to the last tap. */
    int64_t reach = (p->dim[a->k] - (int64_t)1) * (p->dim[a->d] + (int64_t)1) + 1;
    if (reach > INT32_MAX || pad > INT32_MAX / 4)
        return hone_fail(HONE_EPARSE, "k%s, d%s or p%s is too large", a->name, a->name, a->name);
    if (!out) {
        if (in + 2 * pad < reach)
            return hone_fail(HONE_EPARSE,
                             "the kernel spans %lld in direction %s, the padded input only %lld",
                             (long long)reach, a->name, (long long)(in + 2 * pad));
        out = (in + 2 * pad - reach) / s + 1;
        if (out > INT32_MAX)
            return hone_fail(HONE_EPARSE, "o%s would be %lld", a->name, (long long)out);
        p->dim[a->o] = (int32_t)out;
    }
    /* The padding behind the last input that the output's size implies. */
    int64_t after = (out - 1) * s + reach - in - pad, most = pad > reach - 1 ? pad : reach - 1;
    if (after > most)
        return hone_fail(
            HONE_EPARSE,
            "o%s %lld does not fit: it needs %lld rows of padding at the end, at most %lld "
            "are sensible",
            a->name, (long long)out, (long long)after, (long long)most);
    if (after <= -s)
        return hone_fail(
            HONE_EPARSE,
            "o%s %lld does not fit: it leaves the last %lld inputs unused, and stride is %lld",
            a->name, (long long)out, (long long)-after, (long long)s);
    return HONE_OK;
}

static int check(struct hone_problem *p)
{
    const int32_t *d = p->dim;
    if (d[CONV_IC] % d[CONV_G])
        return hone_fail(HONE_EPARSE, "%d groups do not divide ic %d", d[CONV_G], d[CONV_IC]);
    if (d[CONV_OC] % d[CONV_G])
        return hone_fail(HONE_EPARSE, "%d groups do not divide oc %d", d[CONV_G], d[CONV_OC]);
    for (int i = 0; i < 2; i++) {
        int err = check_axis(p, &axes[i]);
        if (err) return err;
    }
    double x = (double)d[CONV_MB] * d[CONV_IC] * d[CONV_IH] * d[CONV_IW];
    double y = (double)d[CONV_MB] * d[CONV_OC] * d[CONV_OH] * d[CONV_OW];
    double w = (double)d[CONV_OC] * (d[CONV_IC] / d[CONV_G]) * d[CONV_KH] * d[CONV_KW];
    if (x > 0x1p48 || y > 0x1p48 || w > 0x1p48)
        return hone_fail(HONE_EPARSE, "a tensor would have more than 2^48 numbers");
    if (hone_problem_has(p, "tf32") && p->dtype != HONE_F32)
        return hone_fail(HONE_EPARSE, "tf32 is for f32");
    return hone_problem_is(p, conv2d_fwd) ? hone_act_check(p) : HONE_OK;
}

/* ---- arguments ---- */

static struct hone_arg arg_x(const struct hone_problem *p, const char *name, enum hone_io io)
{
    const int32_t *d = p->dim;
    return p->layout == CONV_NCHW
               ? HONE_ARG(name, io, p->dtype, d[CONV_MB], d[CONV_IC], d[CONV_IH], d[CONV_IW])
               : HONE_ARG(name, io, p->dtype, d[CONV_MB], d[CONV_IH], d[CONV_IW], d[CONV_IC]);
}

static struct hone_arg arg_y(const struct hone_problem *p, const char *name, enum hone_io io)
{
    const int32_t *d = p->dim;
    return p->layout == CONV_NCHW
               ? HONE_ARG(name, io, p->dtype, d[CONV_MB], d[CONV_OC], d[CONV_OH], d[CONV_OW])
               : HONE_ARG(name, io, p->dtype, d[CONV_MB], d[CONV_OH], d[CONV_OW], d[CONV_OC]);
}

static struct hone_arg arg_w(const struct hone_problem *p, const char *name, enum hone_io io)
{
    const int32_t *d = p->dim;
    const enum hone_dtype type = io == HONE_IN ? p->dtype : hone_dtype_wide(p->dtype);
    const int icg = d[CONV_IC] / d[CONV_G];
    struct hone_arg w = p->layout == CONV_NCHW
                            ? HONE_ARG(name, io, type, d[CONV_OC], icg, d[CONV_KH], d[CONV_KW])
                            : HONE_ARG(name, io, type, d[CONV_OC], d[CONV_KH], d[CONV_KW], icg);
    w.weight = io == HONE_IN;
    return w;
}

static int fwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CONV_Y] = arg_y(p, "y", HONE_OUT);
    arg[CONV_X] = arg_x(p, "x", HONE_IN);
    arg[CONV_W] = arg_w(p, "w", HONE_IN);
    if (!hone_problem_has(p, "bias")) return 3;
    arg[CONV_BIAS] = HONE_ARG("bias", HONE_IN, hone_dtype_wide(p->dtype), p->dim[CONV_OC]);
    arg[CONV_BIAS].weight = 1;
    return 4;
}

static int dgrad_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CONV_DX] = arg_x(p, "dx", HONE_OUT);
    arg[CONV_DX_DY] = arg_y(p, "dy", HONE_IN);
    arg[CONV_DX_W] = arg_w(p, "w", HONE_IN);
    return 3;
}

static int wgrad_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CONV_DWT] = arg_w(p, "dw", HONE_OUT);
    arg[CONV_DWT_X] = arg_x(p, "x", HONE_IN);
    arg[CONV_DWT_DY] = arg_y(p, "dy", HONE_IN);
    return 3;
}

/* ---- cost and error ---- */

/* Pairs (output, tap) of one direction whose input lies inside: taps on padding cost nothing. */
static double pairs(const struct hone_problem *p, const struct axis *a)
{
    int64_t in = p->dim[a->i], out = p->dim[a->o], s = p->dim[a->s];
    double n = 0;
    for (int64_t k = 0; k < p->dim[a->k]; k++) {
        /* The input under tap k of output 0. */
        int64_t at = k * (p->dim[a->d] + (int64_t)1) - p->dim[a->p];
        int64_t first = at < 0 ? (-at + s - 1) / s : 0;
        int64_t last = in - 1 - at < 0 ? -1 : (in - 1 - at) / s;
        if (last > out - 1) last = out - 1;
        if (last >= first) n += (double)(last - first + 1);
    }
    return n;
}

static double flops(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return 2.0 * d[CONV_MB] * d[CONV_OC] * (d[CONV_IC] / d[CONV_G]) * pairs(p, &axes[0]) *
           pairs(p, &axes[1]);
}

int hone_conv2d_threads(const struct hone_problem *p, const struct hone_device *d)
{
    int threads = 1;
    if (flops(p) < 50e-6 * 50e9) return 1;
    while (2 * threads <= d->ncores && threads < 64) threads *= 2;
    return threads;
}

/* A later activation would read what was written. */
int hone_conv2d_can_stream(const struct hone_problem *p)
{
    const int dgrad = hone_problem_is(p, conv2d_dgrad);
    const enum hone_act act = dgrad ? HONE_ACT_none : hone_act_of(p);
    const int64_t pixel = p->dim[dgrad ? CONV_IC : CONV_OC] * (int64_t)hone_dtype_bytes(p->dtype);
    return pixel % HONE_ALIGN == 0 &&
           (act == HONE_ACT_none || act == HONE_ACT_relu || act == HONE_ACT_relu6);
}

int hone_conv2d_stream(const struct hone_problem *p, const struct hone_device *d)
{
    const struct hone_arg out = hone_problem_is(p, conv2d_dgrad) ? arg_x(p, "dx", HONE_OUT)
                                                                 : arg_y(p, "y", HONE_OUT);
    const int64_t last = d->l3_bytes ? d->l3_bytes : d->l2_bytes;
    return hone_conv2d_can_stream(p) && hone_arg_bytes(&out) > last / 3;
}

/* Products that one element of the output sums, at most. */
static double fwd_terms(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (double)d[CONV_KH] * d[CONV_KW] * (d[CONV_IC] / d[CONV_G]);
}

static double dgrad_terms(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (double)d[CONV_KH] * d[CONV_KW] * (d[CONV_OC] / d[CONV_G]);
}

static double wgrad_terms(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (double)d[CONV_MB] * d[CONV_OH] * d[CONV_OW];
}

/* With tf32 both factors of a product may be rounded to 11 bits, each by 2^-11 = 2^13 eps. */
static double rounded(const struct hone_problem *p)
{
    return hone_problem_has(p, "tf32") ? 2.01 * 0x1p13 : 0;
}

/* The products summed one after another, then the bias; an activation adds a few roundings. */
static double fwd_growth(const struct hone_problem *p)
{
    return fwd_terms(p) + 3 + rounded(p) + (hone_act_of(p) == HONE_ACT_none ? 0 : 8);
}

static double dgrad_growth(const struct hone_problem *p)
{
    return dgrad_terms(p) + 3 + rounded(p);
}

static double wgrad_growth(const struct hone_problem *p)
{
    return wgrad_terms(p) + 3 + rounded(p);
}

/* The largest whole numbers whose `terms` products stay below 2^24. */
static int biggest(double terms)
{
    int big = 8;
    while (big > 0 && terms * big * big >= 0x1p24) big--;
    return big;
}

static int fwd_exact(const struct hone_problem *p)
{
    return hone_act_exact(hone_act_of(p)) ? biggest(fwd_terms(p) + 1) : 0;
}

static int dgrad_exact(const struct hone_problem *p) { return biggest(dgrad_terms(p)); }
static int wgrad_exact(const struct hone_problem *p) { return biggest(wgrad_terms(p)); }

#define CONV_DIMS                                                                                  \
    { "g", 1, 1, 0 }, { "mb", 1, HONE_REQUIRED, 0 }, { "ic", 1, HONE_REQUIRED, 0 },                \
    { "ih", 1, HONE_REQUIRED, 0 }, { "iw", 1, HONE_REQUIRED, "ih" }, { "oc", 1, HONE_REQUIRED, 0 },\
    { "oh", 1, HONE_DERIVED, 0 }, { "ow", 1, HONE_DERIVED, "oh" },                                 \
    { "kh", 1, HONE_REQUIRED, 0 }, { "kw", 1, HONE_REQUIRED, "kh" },                               \
    { "sh", 1, 1, 0 }, { "sw", 1, 1, "sh" }, { "ph", 0, 0, 0 }, { "pw", 0, 0, "ph" },              \
    { "dh", 0, 0, 0 }, { "dw", 0, 0, "dh" }

const struct hone_op hone_op_conv2d_fwd = {
    .name = "conv2d_fwd", .dtypes = HONE_F32_F64_HALF, .layout = { "nhwc", "nchw" },
    .dim = { CONV_DIMS },
    .attr = { { "bias", 0, 0 }, HONE_ACT_ATTRS { "tf32", 0, 0 } },
    .check = check, .args = fwd_args, .flops = flops,
    .ref = hone_conv2d_fwd_meaning, .growth = fwd_growth, .exact = fwd_exact,
};

const struct hone_op hone_op_conv2d_dgrad = {
    .name = "conv2d_dgrad", .dtypes = HONE_F32_F64_HALF, .layout = { "nhwc", "nchw" },
    .dim = { CONV_DIMS },
    .attr = { { "tf32", 0, 0 } }, .check = check, .args = dgrad_args, .flops = flops,
    .ref = hone_conv2d_dgrad_meaning, .growth = dgrad_growth, .exact = dgrad_exact,
};

/* Each output goes through a channel of x and one of dy: shared is both, channel by channel, since
 * in nhwc every number of a channel lies in a cache line of its own. */
static int64_t wgrad_nshared(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    return (int64_t)v.mb * ((int64_t)v.ic * v.ih * v.iw + (int64_t)v.oc * v.oh * v.ow);
}

static double *planes(const double *from, int64_t samples, int64_t pixels, int64_t channels,
                      double *to)
{
    for (int64_t n = 0; n < samples; n++)
        for (int64_t i = 0; i < pixels; i++)
            for (int64_t c = 0; c < channels; c++)
                to[(n * channels + c) * pixels + i] = from[(n * pixels + i) * channels + c];
    return to + samples * pixels * channels;
}

static void wgrad_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    const struct conv v = conv_of(p);
    if (p->layout == CONV_NCHW) {
        const int64_t nx = (int64_t)v.mb * v.ic * v.ih * v.iw;
        memcpy(shared, in[CONV_DWT_X], (size_t)nx * sizeof *shared);
        memcpy(shared + nx, in[CONV_DWT_DY], (size_t)(wgrad_nshared(p) - nx) * sizeof *shared);
        return;
    }
    double *dy = planes(in[CONV_DWT_X], v.mb, (int64_t)v.ih * v.iw, v.ic, shared);
    planes(in[CONV_DWT_DY], v.mb, (int64_t)v.oh * v.ow, v.oc, dy);
}

const struct hone_op hone_op_conv2d_wgrad = {
    .name = "conv2d_wgrad", .dtypes = HONE_F32_F64_HALF, .layout = { "nhwc", "nchw" },
    .dim = { CONV_DIMS },
    .attr = { { "tf32", 0, 0 } }, .check = check, .args = wgrad_args, .flops = flops,
    .shared_arg = CONV_DWT, .nshared = wgrad_nshared, .share = wgrad_share,
    .ref = hone_conv2d_wgrad_meaning, .growth = wgrad_growth, .exact = wgrad_exact,
};
