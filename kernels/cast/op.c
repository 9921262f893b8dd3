/* narrow, widen: sizes, arguments, meaning, error bounds. */
#include "kernels/cast/cast.h"

#include <math.h>

/* x ends where its last row's numbers do: rows of some columns of a matrix. */
static int narrow_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int64_t n = p->dim[CAST_N], m = p->dim[CAST_M], ld = p->dim[CAST_LD];
    arg[CAST_Y] = HONE_ARG("y", HONE_OUT, p->dtype, m * n);
    arg[CAST_X] = HONE_ARG("x", HONE_IN, hone_dtype_wide(p->dtype), (m - 1) * ld + n);
    return 2;
}

static int narrow_check(struct hone_problem *p)
{
    const int64_t n = p->dim[CAST_N], m = p->dim[CAST_M], ld = p->dim[CAST_LD];
    if (ld < n)
        return hone_fail(HONE_EPARSE, "rows of %lld numbers cannot begin %lld apart",
                         (long long)n, (long long)ld);
    return m * ld > INT32_MAX ? hone_fail(HONE_EPARSE, "x has more than %d numbers", INT32_MAX)
                              : HONE_OK;
}

static int widen_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CAST_Y] = HONE_ARG("y", HONE_OUT, hone_dtype_wide(p->dtype), p->dim[CAST_N]);
    arg[CAST_X] = HONE_ARG("x", HONE_IN, p->dtype, p->dim[CAST_N]);
    return 2;
}

static double flops(const struct hone_problem *p) { (void)p; return 0; }

static double narrow_ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale)
{
    const int64_t n = p->dim[CAST_N], at = i / n * p->dim[CAST_LD] + i % n;
    (void)out;
    *scale = fabs(in[CAST_X][at]);
    return in[CAST_X][at];
}

static double widen_ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
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
    .dim = { { "n", 1, HONE_REQUIRED, 0 }, { "m", 1, 1, 0 }, { "ld", 1, HONE_REQUIRED, "n" } },
    .check = narrow_check, .args = narrow_args, .flops = flops, .ref = narrow_ref, .growth = growth,
    .exact = exact,
};

const struct hone_op hone_op_widen = {
    .name = "widen", .dtypes = HONE_HALVES, .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .args = widen_args, .flops = flops, .ref = widen_ref, .growth = growth, .exact = exact,
};
