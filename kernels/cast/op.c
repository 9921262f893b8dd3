/* narrow, widen: sizes, arguments, meaning, error bounds. */
#include "kernels/cast/cast.h"

#include <math.h>

static int narrow_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CAST_Y] = HONE_ARG("y", HONE_OUT, p->dtype, p->dim[CAST_N]);
    arg[CAST_X] = HONE_ARG("x", HONE_IN, hone_dtype_wide(p->dtype), p->dim[CAST_N]);
    return 2;
}

static int widen_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CAST_Y] = HONE_ARG("y", HONE_OUT, hone_dtype_wide(p->dtype), p->dim[CAST_N]);
    arg[CAST_X] = HONE_ARG("x", HONE_IN, p->dtype, p->dim[CAST_N]);
    return 2;
}

static double flops(const struct hone_problem *p) { (void)p; return 0; }

static double ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                  double *scale)
{
    (void)p, (void)out;
    *scale = fabs(in[CAST_X][i]);
    return in[CAST_X][i];
}

static double growth(const struct hone_problem *p) { (void)p; return 0; }

/* Whole numbers up to here have 12 bits, of which bf16 keeps 8 and f16 11: every kind of rounding and
 * every tie. */
static int exact(const struct hone_problem *p) { (void)p; return 4095; }

const struct hone_op hone_op_narrow = {
    .name = "narrow", .dtypes = HONE_HALVES, .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .args = narrow_args, .flops = flops, .ref = ref, .growth = growth, .exact = exact,
};

const struct hone_op hone_op_widen = {
    .name = "widen", .dtypes = HONE_HALVES, .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .args = widen_args, .flops = flops, .ref = ref, .growth = growth, .exact = exact,
};
