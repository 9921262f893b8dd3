/* sgd, adam, rmsprop, adadelta, clip: sizes, arguments, flops, error bounds. */
#include "kernels/optimizer/optimizer.h"

static int has(const struct hone_problem *p, int attr) { return (int)(p->attrs >> attr & 1); }

/* ---- sgd ---- */

static int sgd_check(struct hone_problem *p)
{
    if (has(p, SGD_NESTEROV) && !has(p, SGD_MOMENTUM))
        return hone_fail(HONE_EPARSE, "nesterov needs momentum");
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
    return 2.0 * p->dim[OPTIM_N] *
           (1 + has(p, SGD_MOMENTUM) + has(p, SGD_NESTEROV) + has(p, SGD_WD));
}

static double sgd_growth(const struct hone_problem *p) { (void)p; return 8; }
static int sgd_exact(const struct hone_problem *p) { (void)p; return 8; }

/* ---- adam ---- */

static int adam_check(struct hone_problem *p)
{
    if (has(p, ADAM_DECOUPLED) && !has(p, ADAM_WD))
        return hone_fail(HONE_EPARSE, "decoupled needs wd");
    return HONE_OK;
}

/* Shares and rates that are neither 0 nor 1. */
static struct hone_arg hyper_arg(const struct hone_problem *p)
{
    struct hone_arg arg = HONE_ARG("hyper", HONE_IN, p->dtype, HYPER_LEN);
    arg.lo = 0.125, arg.hi = 0.875;
    return arg;
}

static int adam_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t n = p->dim[OPTIM_N];
    arg[ADAM_P] = HONE_ARG("p", HONE_INOUT, p->dtype, n);
    arg[ADAM_M] = HONE_ARG("m", HONE_INOUT, p->dtype, n);
    arg[ADAM_V] = HONE_ARG("v", HONE_INOUT, p->dtype, n);
    arg[ADAM_V].hi = 1;   /* a mean of squares */
    arg[ADAM_G] = HONE_ARG("g", HONE_IN, p->dtype, n);
    arg[ADAM_HYPER] = hyper_arg(p);
    return 5;
}

static double adam_flops(const struct hone_problem *p)
{
    return (13.0 + 2 * has(p, ADAM_WD)) * p->dim[OPTIM_N];
}
static double adam_growth(const struct hone_problem *p) { (void)p; return 16; }

/* ---- rmsprop ---- */

static int rmsprop_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t n = p->dim[OPTIM_N];
    arg[RMSPROP_P] = HONE_ARG("p", HONE_INOUT, p->dtype, n);
    arg[RMSPROP_A] = HONE_ARG("a", HONE_INOUT, p->dtype, n);
    arg[RMSPROP_A].hi = 1;   /* a mean of squares */
    if (has(p, RMSPROP_MOMENTUM)) arg[RMSPROP_V] = HONE_ARG("v", HONE_INOUT, p->dtype, n);
    arg[rmsprop_g(p)] = HONE_ARG("g", HONE_IN, p->dtype, n);
    arg[rmsprop_hyper(p)] = hyper_arg(p);
    return rmsprop_hyper(p) + 1;
}

static double rmsprop_flops(const struct hone_problem *p)
{
    return (9.0 + 2 * has(p, RMSPROP_WD) + 2 * has(p, RMSPROP_MOMENTUM)) * p->dim[OPTIM_N];
}

static double rmsprop_growth(const struct hone_problem *p) { (void)p; return 16; }

/* ---- adadelta ---- */

static int adadelta_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t n = p->dim[OPTIM_N];
    arg[ADADELTA_P] = HONE_ARG("p", HONE_INOUT, p->dtype, n);
    arg[ADADELTA_A] = HONE_ARG("a", HONE_INOUT, p->dtype, n);
    arg[ADADELTA_D] = HONE_ARG("d", HONE_INOUT, p->dtype, n);
    arg[ADADELTA_A].hi = arg[ADADELTA_D].hi = 1;   /* means of squares */
    arg[ADADELTA_G] = HONE_ARG("g", HONE_IN, p->dtype, n);
    arg[ADADELTA_HYPER] = hyper_arg(p);
    return 5;
}

static double adadelta_flops(const struct hone_problem *p)
{
    return (15.0 + 2 * has(p, ADADELTA_WD)) * p->dim[OPTIM_N];
}

/* The square of u doubles its roundings. */
static double adadelta_growth(const struct hone_problem *p) { (void)p; return 24; }

/* ---- clip ---- */

static int clip_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[CLIP_G] = HONE_ARG("g", HONE_INOUT, p->dtype, p->dim[OPTIM_N]);
    arg[CLIP_G].whole = 1;   /* its norm comes first */
    arg[CLIP_NORM] = HONE_ARG("norm", HONE_OUT, p->dtype, 1);
    arg[CLIP_HYPER] = hyper_arg(p);
    return 3;
}

static double clip_flops(const struct hone_problem *p) { return 3.0 * p->dim[OPTIM_N]; }

/* n squares summed one after another. */
static double clip_growth(const struct hone_problem *p) { return p->dim[OPTIM_N] + 8.0; }

const struct hone_op hone_op_sgd = {
    .name = "sgd",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "momentum", 0, 0 }, { "nesterov", 0, 0 }, { "wd", 0, 0 } },
    .check = sgd_check,
    .args = sgd_args,
    .flops = sgd_flops,
    .ref = hone_sgd_meaning,
    .growth = sgd_growth,
    .exact = sgd_exact,
};

const struct hone_op hone_op_adam = {
    .name = "adam",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "wd", 0, 0 }, { "decoupled", 0, 0 } },
    .check = adam_check,
    .args = adam_args,
    .flops = adam_flops,
    .ref = hone_adam_meaning,
    .growth = adam_growth,
};

const struct hone_op hone_op_rmsprop = {
    .name = "rmsprop",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "wd", 0, 0 }, { "momentum", 0, 0 } },
    .args = rmsprop_args,
    .flops = rmsprop_flops,
    .ref = hone_rmsprop_meaning,
    .growth = rmsprop_growth,
};

const struct hone_op hone_op_adadelta = {
    .name = "adadelta",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "wd", 0, 0 } },
    .args = adadelta_args,
    .flops = adadelta_flops,
    .ref = hone_adadelta_meaning,
    .growth = adadelta_growth,
};

const struct hone_op hone_op_clip = {
    .name = "clip",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .args = clip_args,
    .flops = clip_flops,
    .ref = hone_clip_meaning,
    .growth = clip_growth,
    .shared_arg = CLIP_NORM,
    .nshared = hone_clip_nshared,
    .share = hone_clip_share,
};
