/* maxpool_fwd, maxpool_bwd, avgpool_fwd, avgpool_bwd: sizes, arguments, flops, error bounds. */
#include "kernels/pool/pool.h"

static const struct axis { const char *name; int i, o, k, s, p; } axes[2] = {
    { "h", POOL_IH, POOL_OH, POOL_KH, POOL_SH, POOL_PH },
    { "w", POOL_IW, POOL_OW, POOL_KW, POOL_SW, POOL_PW },
};

/* Derives the output's size where it is 0; no window may lie wholly outside of the input. */
static int check_axis(struct hone_problem *p, const struct axis *a)
{
    int64_t in = p->dim[a->i], k = p->dim[a->k], s = p->dim[a->s], pad = p->dim[a->p];
    if (pad >= k)
        return hone_fail(HONE_EPARSE,
                         "p%s %lld must be below k%s %lld, or the first window is all padding",
                         a->name, (long long)pad, a->name, (long long)k);
    if (!p->dim[a->o]) {
        if (in + 2 * pad < k)
            return hone_fail(HONE_EPARSE, "window k%s %lld is larger than the padded input %lld",
                             a->name, (long long)k, (long long)(in + 2 * pad));
        p->dim[a->o] = (int32_t)((in + 2 * pad - k) / s + 1);
    }
    if ((p->dim[a->o] - (int64_t)1) * s - pad >= in)
        return hone_fail(HONE_EPARSE,
                         "o%s %d does not fit: its last window begins behind the input", a->name,
                         p->dim[a->o]);
    if ((p->dim[a->o] - (int64_t)1) * s - pad + k > INT32_MAX)
        return hone_fail(HONE_EPARSE, "o%s %d, k%s and s%s are too large", a->name, p->dim[a->o],
                         a->name, a->name);
    return HONE_OK;
}

static int check(struct hone_problem *p)
{
    const int32_t *d = p->dim;
    int err = check_axis(p, &axes[0]);
    if (!err) err = check_axis(p, &axes[1]);
    if (err) return err;
    if ((double)d[POOL_MB] * d[POOL_IC] * d[POOL_IH] * d[POOL_IW] > 0x1p48 ||
        (double)d[POOL_MB] * d[POOL_IC] * d[POOL_OH] * d[POOL_OW] > 0x1p48)
        return hone_fail(HONE_EPARSE, "a tensor would have more than 2^48 numbers");
    return HONE_OK;
}

static int check_index(struct hone_problem *p)
{
    const int32_t *d = p->dim;
    const int index = hone_problem_has(p, "index"), fwd = hone_problem_is(p, maxpool_fwd),
              relu = fwd && hone_problem_has(p, "relu"),
              relu6 = fwd && hone_problem_has(p, "relu6");
    if (index && (int64_t)d[POOL_KH] * d[POOL_KW] > POOL_NONE)
        return hone_fail(HONE_EPARSE, "index: a byte cannot tell the %lld places of a window apart",
                         (long long)d[POOL_KH] * d[POOL_KW]);
    if ((relu || relu6) && !index)
        return hone_fail(HONE_EPARSE, "%s goes with index", relu ? "relu" : "relu6");
    if (relu && relu6) return hone_fail(HONE_EPARSE, "relu and relu6: one at most");
    return check(p);
}

/* ---- arguments ---- */

static struct hone_arg arg_x(const struct hone_problem *p, const char *name, enum hone_io io)
{
    const int32_t *d = p->dim;
    return HONE_ARG(name, io, p->dtype, d[POOL_MB], d[POOL_IH], d[POOL_IW], d[POOL_IC]);
}

static struct hone_arg arg_y(const struct hone_problem *p, const char *name, enum hone_io io)
{
    const int32_t *d = p->dim;
    return HONE_ARG(name, io, p->dtype, d[POOL_MB], d[POOL_OH], d[POOL_OW], d[POOL_IC]);
}

static int fwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[POOL_Y] = arg_y(p, "y", HONE_OUT);
    arg[POOL_X] = arg_x(p, "x", HONE_IN);
    return 2;
}

/* A word holds four bytes. */
static struct hone_arg arg_index(const struct hone_problem *p, enum hone_io io)
{
    struct hone_arg a = HONE_ARG("index", io, HONE_I32, (pool_outputs(p) + 3) / 4);
    a.lo = -0x1p31;
    a.hi = 0x1p31 - 1;
    return a;
}

static int max_fwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    if (pool_has_index(p)) arg[POOL_INDEX] = arg_index(p, HONE_OUT);
    return fwd_args(p, arg) + pool_has_index(p);
}

static int avg_bwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[POOL_DX] = arg_x(p, "dx", HONE_OUT);
    arg[POOL_DY] = arg_y(p, "dy", HONE_IN);
    return 2;
}

static int max_bwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[POOL_BWD_X] = pool_has_index(p) ? arg_index(p, HONE_IN) : arg_x(p, "x", HONE_IN);
    return avg_bwd_args(p, arg) + 1;
}

/* ---- cost and error ---- */

/* A comparison or an addition for each input of each window. */
static double flops(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (double)d[POOL_MB] * d[POOL_OH] * d[POOL_OW] * d[POOL_IC] * d[POOL_KH] * d[POOL_KW];
}

static double window(const struct hone_problem *p)
{
    return (double)p->dim[POOL_KH] * p->dim[POOL_KW];
}

/* Windows that hold one input, at most. */
static double overlap(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (double)((d[POOL_KH] - 1) / d[POOL_SH] + 1) * ((d[POOL_KW] - 1) / d[POOL_SW] + 1);
}

/* Only selects. */
static double max_fwd_growth(const struct hone_problem *p) { (void)p; return 0; }
static double max_bwd_growth(const struct hone_problem *p) { return overlap(p) - 1; }
static double avg_fwd_growth(const struct hone_problem *p) { return window(p) + 2; }
static double avg_bwd_growth(const struct hone_problem *p) { return overlap(p) + 2; }

static int max_exact(const struct hone_problem *p) { return overlap(p) <= 0x1p20 ? 8 : 0; }

/* Exact where every divisor is a power of two: no window may be cut where the divisor counts
 * inputs. */
static int avg_exact(const struct hone_problem *p)
{
    double n = window(p);
    if (n > 0x1p10 || ((int)n & ((int)n - 1))) return 0;
    for (int i = 0; i < 2 && !hone_problem_has(p, "include_pad"); i++) {
        const struct axis *a = &axes[i];
        int64_t end = (p->dim[a->o] - (int64_t)1) * p->dim[a->s] - p->dim[a->p] + p->dim[a->k];
        if (p->dim[a->p] || end > p->dim[a->i]) return 0;
    }
    return overlap(p) <= 0x1p10 ? 8 : 0;
}

#define SIZES                                                                                      \
    { { "mb", 1, HONE_REQUIRED, 0 }, { "ic", 1, HONE_REQUIRED, 0 }, { "ih", 1, HONE_REQUIRED, 0 }, \
      { "iw", 1, HONE_REQUIRED, "ih" }, { "oh", 1, HONE_DERIVED, 0 },                              \
      { "ow", 1, HONE_DERIVED, "oh" }, { "kh", 1, HONE_REQUIRED, 0 },                              \
      { "kw", 1, HONE_REQUIRED, "kh" }, { "sh", 1, 1, 0 }, { "sw", 1, 1, "sh" },                   \
      { "ph", 0, 0, 0 }, { "pw", 0, 0, "ph" } }

const struct hone_op hone_op_maxpool_fwd = {
    .name = "maxpool_fwd",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "nhwc" },
    .dim = SIZES,
    .attr = { { "index", 0, 0 }, { "relu", 0, 0 }, { "relu6", 0, 0 } },
    .check = check_index,
    .args = max_fwd_args,
    .flops = flops,
    .ref = hone_maxpool_fwd_meaning,
    .growth = max_fwd_growth,
    .exact = max_exact,
};

const struct hone_op hone_op_maxpool_bwd = {
    .name = "maxpool_bwd",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "nhwc" },
    .dim = SIZES,
    .attr = { { "index", 0, 0 } },
    .check = check_index,
    .args = max_bwd_args,
    .flops = flops,
    .ref = hone_maxpool_bwd_meaning,
    .growth = max_bwd_growth,
    .exact = max_exact,
};

const struct hone_op hone_op_avgpool_fwd = {
    .name = "avgpool_fwd",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "nhwc" },
    .dim = SIZES,
    .attr = { { "include_pad", 0, 0 } },
    .check = check,
    .args = fwd_args,
    .flops = flops,
    .ref = hone_avgpool_fwd_meaning,
    .growth = avg_fwd_growth,
    .exact = avg_exact,
};

const struct hone_op hone_op_avgpool_bwd = {
    .name = "avgpool_bwd",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "nhwc" },
    .dim = SIZES,
    .attr = { { "include_pad", 0, 0 } },
    .check = check,
    .args = avg_bwd_args,
    .flops = flops,
    .ref = hone_avgpool_bwd_meaning,
    .growth = avg_bwd_growth,
    .exact = avg_exact,
};
