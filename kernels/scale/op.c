/* scale, unscale: sizes, arguments, meaning, error bounds. */
#include "kernels/scale/scale.h"

#include <math.h>
#include <string.h>

static struct hone_arg numbers(const struct hone_problem *p, enum hone_io io)
{
    struct hone_arg a = HONE_ARG("s", io, p->dtype, SCALE_LEN);
    a.lo = 1;
    a.hi = 4;
    return a;
}

static int scale_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[SCALE_X] = HONE_ARG("x", HONE_INOUT, p->dtype, p->dim[SCALE_N]);
    arg[SCALE_S] = numbers(p, HONE_IN);
    return 2;
}

static int unscale_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[UNSCALE_G] = HONE_ARG("g", HONE_INOUT, p->dtype, p->dim[SCALE_N]);
    arg[UNSCALE_S] = numbers(p, HONE_INOUT);
    arg[UNSCALE_HYPER] = HONE_ARG("hyper", HONE_OUT, p->dtype, 8);
    arg[UNSCALE_TABLE] = HONE_ARG("table", HONE_IN, p->dtype, p->dim[UNSCALE_R], 8);
    return 4;
}

static double flops(const struct hone_problem *p) { return p->dim[SCALE_N]; }

static double scale_ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale)
{
    const double y = in[SCALE_X][i] * in[SCALE_S][SCALE_NOW];
    (void)p, (void)out;
    *scale = fabs(y);
    return y;
}

/* Is a number among the results that a float cannot hold? */
static int64_t nshared(const struct hone_problem *p) { (void)p; return 1; }

static void share(const struct hone_problem *p, const double *const in[], double *shared)
{
    const double inverse = in[UNSCALE_S][SCALE_INVERSE];
    *shared = 0;
    for (int64_t i = 0; i < p->dim[SCALE_N]; i++)
        if (!(fabs(in[UNSCALE_G][i] * inverse) <= 0x1.fffffep127)) *shared = 1;
}

static double unscale_ref(const struct hone_problem *p, const double *const in[], int out,
                          int64_t i, double *scale)
{
    static const double nothing[] = SCALE_NOTHING;
    const int found = in[UNSCALE_HYPER][0] != 0, skipped = (int)in[UNSCALE_S][SCALE_SKIPPED];
    double s[SCALE_LEN], y;
    memcpy(s, in[UNSCALE_S], sizeof s);
    if (out == UNSCALE_G) {
        y = found ? 0 : in[UNSCALE_G][i] * s[SCALE_INVERSE];
    } else if (out == UNSCALE_S) {
        SCALE_NEXT(double, s, found);
        y = s[i];
    } else {
        y = found ? nothing[i] : in[UNSCALE_TABLE][skipped % p->dim[UNSCALE_R] * 8 + i];
    }
    *scale = fabs(y);
    return y;
}

static double growth(const struct hone_problem *p) { (void)p; return 2; }

const struct hone_op hone_op_scale = {
    .name = "scale", .dtypes = 1u << HONE_F32, .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .args = scale_args, .flops = flops, .ref = scale_ref, .growth = growth,
};

const struct hone_op hone_op_unscale = {
    .name = "unscale", .dtypes = 1u << HONE_F32, .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 }, { "r", 1, 1, 0 } },
    .args = unscale_args, .flops = flops, .ref = unscale_ref, .growth = growth,
    .shared_arg = UNSCALE_HYPER, .nshared = nshared, .share = share,
};
