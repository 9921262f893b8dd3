/* softmax_ce, distill, mse, mae, huber: sizes, arguments, flops, error bounds. */
#include "kernels/loss/loss.h"

static int ce_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    arg[CE_DX] = HONE_ARG("dx", HONE_OUT, p->dtype, m, n);
    arg[CE_LOSS] = HONE_ARG("loss", HONE_OUT, p->dtype, m);
    arg[CE_HIT] = HONE_ARG("hit", HONE_OUT, p->dtype, m);
    arg[CE_X] = HONE_ARG("x", HONE_IN, p->dtype, m, n);
    arg[CE_X].lo = -8, arg[CE_X].hi = 8;
    arg[CE_LABEL] = HONE_ARG("label", HONE_IN, HONE_I32, m);
    arg[CE_LABEL].hi = n - 1;
    return 5;
}

static int ce_check(struct hone_problem *p)
{
    double s = p->value[CE_SMOOTH];
    if (!(s >= 0 && s < 1))
        return hone_fail(HONE_EPARSE, "smooth is %g; it must be from 0 and below 1", s);
    return HONE_OK;
}

static int distill_check(struct hone_problem *p)
{
    double t = p->value[DISTILL_T], mix = p->value[DISTILL_MIX];
    if (!(t >= 0.01 && t <= 1000))
        return hone_fail(HONE_EPARSE, "t is %g; it must be from 0.01 to 1000", t);
    if (!(mix >= 0 && mix <= 1))
        return hone_fail(HONE_EPARSE, "mix is %g; it must be from 0 to 1", mix);
    return HONE_OK;
}

static int distill_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    ce_args(p, arg);
    arg[DISTILL_Z] = HONE_ARG("z", HONE_IN, p->dtype, m, n);
    arg[DISTILL_Z].lo = -8, arg[DISTILL_Z].hi = 8;
    arg[DISTILL_LABEL] = HONE_ARG("label", HONE_IN, HONE_I32, m);
    arg[DISTILL_LABEL].hi = n - 1;
    return 6;
}

static int huber_check(struct hone_problem *p)
{
    double delta = p->value[HUBER_DELTA];
    if (!(delta > 0 && delta <= 1e6))
        return hone_fail(HONE_EPARSE, "delta is %g; it must be above 0, at most 1e6", delta);
    return HONE_OK;
}

static int err_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    arg[ERR_DX] = HONE_ARG("dx", HONE_OUT, p->dtype, m, n);
    arg[ERR_LOSS] = HONE_ARG("loss", HONE_OUT, p->dtype, m);
    arg[ERR_X] = HONE_ARG("x", HONE_IN, p->dtype, m, n);
    arg[ERR_T] = HONE_ARG("t", HONE_IN, p->dtype, m, n);
    return 4;
}

static double numbers(const struct hone_problem *p)
{
    return (double)p->dim[LOSS_M] * p->dim[LOSS_N];
}

/* Maximum, difference, exp (10), sum, scaling; for each number. */
static double ce_flops(const struct hone_problem *p) { return 14 * numbers(p); }
static double distill_flops(const struct hone_problem *p)
{
    return (p->value[DISTILL_MIX] < 1 && p->value[DISTILL_T] != 1 ? 40 : 30) * numbers(p);
}

static double huber_flops(const struct hone_problem *p) { return 7 * numbers(p); }
static double mse_flops(const struct hone_problem *p) { return 4 * numbers(p); }
static double mae_flops(const struct hone_problem *p) { return 4 * numbers(p); }

/* n terms summed one after another; exp and log take 2 ulp each. */
static double growth(const struct hone_problem *p) { return p->dim[LOSS_N] + 12; }

/* The same for two softmaxes, whose arguments are divided by t first, and a third of the labels. */
static double distill_growth(const struct hone_problem *p) { return 2.0 * p->dim[LOSS_N] + 32; }

static int power_of_two(double n)
{
    return n < 0x1p31 && !((int64_t)n & ((int64_t)n - 1));
}

/* Sums of squares of numbers up to 16, and a division that only shifts. */
static int exact(const struct hone_problem *p)
{
    return power_of_two(numbers(p)) && power_of_two(p->dim[LOSS_N]) && p->dim[LOSS_N] <= 1 << 15
               ? 8
               : 0;
}

/* Of halves of squares, where delta is whole. */
static int huber_exact(const struct hone_problem *p)
{
    double delta = p->value[HUBER_DELTA];
    return delta == (int)delta && delta <= 64 ? exact(p) : 0;
}

const struct hone_op hone_op_softmax_ce = {
    .name = "softmax_ce", .dtypes = HONE_F32_F64, .layout = { "any" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "n", 2, HONE_REQUIRED, 0 } },
    .attr = { { "smooth", 1, 0 } }, .check = ce_check,
    .args = ce_args, .flops = ce_flops, .ref = hone_softmax_ce_meaning, .growth = growth,
    .shared_arg = CE_DX, .nshared = hone_softmax_ce_nshared, .share = hone_softmax_ce_share,
};

const struct hone_op hone_op_distill = {
    .name = "distill",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "n", 2, HONE_REQUIRED, 0 } },
    .attr = { { "t", 1, 1 }, { "mix", 1, 1 } },
    .check = distill_check,
    .args = distill_args,
    .flops = distill_flops,
    .ref = hone_distill_meaning,
    .shared_arg = DISTILL_DX,
    .nshared = hone_distill_nshared,
    .share = hone_distill_share,
    .growth = distill_growth,
};

const struct hone_op hone_op_mse = {
    .name = "mse", .dtypes = HONE_F32_F64, .layout = { "any" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "n", 1, HONE_REQUIRED, 0 } },
    .args = err_args, .flops = mse_flops, .ref = hone_mse_meaning, .growth = growth, .exact = exact,
};

const struct hone_op hone_op_mae = {
    .name = "mae", .dtypes = HONE_F32_F64, .layout = { "any" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "n", 1, HONE_REQUIRED, 0 } },
    .args = err_args, .flops = mae_flops, .ref = hone_mae_meaning, .growth = growth, .exact = exact,
};

const struct hone_op hone_op_huber = {
    .name = "huber",
    .dtypes = HONE_F32_F64,
    .layout = { "any" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "delta", 1, 1 } },
    .check = huber_check,
    .args = err_args,
    .flops = huber_flops,
    .ref = hone_huber_meaning,
    .growth = growth,
    .exact = huber_exact,
};
