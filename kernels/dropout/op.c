/* dropout: sizes, arguments, meaning, error bound. */
#include "kernels/dropout/dropout.h"

#include <math.h>

static int check(struct hone_problem *p)
{
    if (!(p->value[DROP_P] >= 0 && p->value[DROP_P] < 1))
        return hone_fail(HONE_EPARSE, "dropout's p is %g; it must be at least 0 and below 1",
                         p->value[DROP_P]);
    if (!(p->value[DROP_STREAM] >= 0 && p->value[DROP_STREAM] < 0x1p31) ||
        p->value[DROP_STREAM] != rint(p->value[DROP_STREAM]))
        return hone_fail(HONE_EPARSE, "dropout's stream is %g; it must be a whole number from 0",
                         p->value[DROP_STREAM]);
    return HONE_OK;
}

static int args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[DROP_Y] = HONE_ARG("y", HONE_OUT, p->dtype, p->dim[DROP_N]);
    arg[DROP_X] = HONE_ARG("x", HONE_IN, p->dtype, p->dim[DROP_N]);
    arg[DROP_SEED] = HONE_ARG("seed", HONE_IN, HONE_U64, 2);
    arg[DROP_SEED].hi = 0x1p52;
    return 3;
}

static double flops(const struct hone_problem *p) { return p->dim[DROP_N]; }

static double ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                  double *scale)
{
    uint64_t key =
        dropout_key((uint64_t)in[DROP_SEED][0], (uint64_t)in[DROP_SEED][1], p->value[DROP_STREAM]);
    double y = in[DROP_X][i] / (1 - p->value[DROP_P]);
    (void)out;
    *scale = fabs(y);
    return dropout_keep(key, dropout_threshold(p->value[DROP_P]), i) ? y : 0;
}

/* 1 - p, its inverse, and the product are rounded. */
static double growth(const struct hone_problem *p) { (void)p; return 3; }

static int exact(const struct hone_problem *p)
{
    return p->value[DROP_P] == 0 || p->value[DROP_P] == 0.5 ? 8 : 0;
}

const struct hone_op hone_op_dropout = {
    .name = "dropout",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "p", 1, 0.5 }, { "stream", 1, 0 } },
    .check = check,
    .args = args,
    .flops = flops,
    .ref = ref,
    .growth = growth,
    .exact = exact,
};
