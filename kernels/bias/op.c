/* bias_bwd: sizes, arguments, meaning, error bound. */
#include "kernels/bias/bias.h"

#include <math.h>

static int args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[BIAS_DB] = HONE_ARG("db", HONE_OUT, hone_dtype_wide(p->dtype), p->dim[BIAS_N]);
    arg[BIAS_DY] = HONE_ARG("dy", HONE_IN, p->dtype, p->dim[BIAS_M], p->dim[BIAS_N]);
    return 2;
}

static double flops(const struct hone_problem *p)
{
    return (double)p->dim[BIAS_M] * p->dim[BIAS_N];
}

static double ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                  double *scale)
{
    double sum = 0, size = 0;
    (void)out;
    for (int64_t row = 0; row < p->dim[BIAS_M]; row++) {
        double v = in[BIAS_DY][row * p->dim[BIAS_N] + i];
        sum += v;
        size += fabs(v);
    }
    *scale = size;
    return sum;
}

/* However m numbers are added, none takes part in more than m - 1 additions. */
static double growth(const struct hone_problem *p) { return p->dim[BIAS_M]; }

static int exact(const struct hone_problem *p) { return p->dim[BIAS_M] < 1 << 21 ? 8 : 0; }

const struct hone_op hone_op_bias_bwd = {
    .name = "bias_bwd", .dtypes = HONE_F32_F64_HALF, .layout = { "any" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "n", 1, HONE_REQUIRED, 0 } },
    .args = args, .flops = flops, .ref = ref, .growth = growth, .exact = exact,
};
