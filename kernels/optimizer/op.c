/* sgd and adam: sizes, arguments, flops, error bounds. */
#include "kernels/optimizer/optimizer.h"

static int has(const struct hone_problem *p, int attr) { return (int)(p->attrs >> attr & 1); }

/* ---- sgd ---- */

static int sgd_check(struct hone_problem *p)
{
    if (has(p, SGD_NESTEROV) && !has(p, SGD_MOMENTUM)) return hone_fail(HONE_EPARSE, "nesterov needs momentum");
    return HONE_OK;
}

static int sgd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t n = p->dim[OPTIM_N];
    arg[SGD_P] = HONE_ARG("p", HONE_INOUT, p->dtype, n);
    if (has(p, SGD_MOMENTUM)) arg[SGD_V] = HONE_ARG("v", HONE_INOUT, p->dtype, n);
    arg[sgd_g(p)] = HONE_ARG("g", HONE_IN, p->dtype, n);
    arg[sgd_hyper(p)] = HONE_ARG("hyper", HONE_IN, p->dtype, HYPER_LEN);
    arg[sgd_hyper(p)].hi = 1;
    return sgd_hyper(p) + 1;
}

static double sgd_flops(const struct hone_problem *p)
{
    return 2.0 * p->dim[OPTIM_N] * (1 + has(p, SGD_MOMENTUM) + has(p, SGD_NESTEROV) + has(p, SGD_WD));
}

static double sgd_growth(const struct hone_problem *p) { (void)p; return 8; }
static int sgd_exact(const struct hone_problem *p) { (void)p; return 8; }

/* ---- adam ---- */

static int adam_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t n = p->dim[OPTIM_N];
    arg[ADAM_P] = HONE_ARG("p", HONE_INOUT, p->dtype, n);
    arg[ADAM_M] = HONE_ARG("m", HONE_INOUT, p->dtype, n);
    arg[ADAM_V] = HONE_ARG("v", HONE_INOUT, p->dtype, n);
    arg[ADAM_V].hi = 1;   /* a mean of squares */
    arg[ADAM_G] = HONE_ARG("g", HONE_IN, p->dtype, n);
    arg[ADAM_HYPER] = HONE_ARG("hyper", HONE_IN, p->dtype, HYPER_LEN);
    arg[ADAM_HYPER].lo = 0.125, arg[ADAM_HYPER].hi = 0.875;
    return 5;
}

static double adam_flops(const struct hone_problem *p) { return (13.0 + 2 * has(p, ADAM_WD)) * p->dim[OPTIM_N]; }
static double adam_growth(const struct hone_problem *p) { (void)p; return 16; }

const struct hone_op hone_op_sgd = {
    .name = "sgd", .dtypes = 1u << HONE_F32, .layout = { "any" }, .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "momentum", 0, 0 }, { "nesterov", 0, 0 }, { "wd", 0, 0 } }, .check = sgd_check,
    .args = sgd_args, .flops = sgd_flops, .ref = hone_sgd_meaning, .growth = sgd_growth, .exact = sgd_exact,
};

const struct hone_op hone_op_adam = {
    .name = "adam", .dtypes = 1u << HONE_F32, .layout = { "any" }, .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "wd", 0, 0 } },
    .args = adam_args, .flops = adam_flops, .ref = hone_adam_meaning, .growth = adam_growth,
};
