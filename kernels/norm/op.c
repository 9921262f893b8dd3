/* bnorm_fwd, bnorm_infer, bnorm_bwd: sizes, arguments, flops, error bounds. */
#include "kernels/norm/norm.h"

static int check_eps(double eps)
{
    return eps >= 0 ? HONE_OK : hone_fail(HONE_EPARSE, "eps is %g; it must not be negative", eps);
}

static int fwd_check(struct hone_problem *p)
{
    double momentum = p->value[NORM_MOMENTUM];
    if (!(momentum >= 0 && momentum <= 1))
        return hone_fail(HONE_EPARSE, "momentum is %g; it must be from 0 to 1", momentum);
    int err = check_eps(p->value[NORM_EPS]);
    return err ? err : hone_act_check(p);
}

static int infer_check(struct hone_problem *p)
{
    int err = check_eps(p->value[INFER_EPS]);
    return err ? err : hone_act_check(p);
}

/* ---- arguments ---- */

static struct hone_arg rows(const struct hone_problem *p, const char *name, enum hone_io io)
{
    return HONE_ARG(name, io, p->dtype, p->dim[NORM_M], p->dim[NORM_N]);
}

static struct hone_arg column(const struct hone_problem *p, const char *name, enum hone_io io)
{
    return HONE_ARG(name, io, hone_dtype_wide(p->dtype), p->dim[NORM_N]);
}

static struct hone_arg weight(const struct hone_problem *p, const char *name)
{
    struct hone_arg a = column(p, name, HONE_IN);
    a.weight = 1;
    return a;
}

static struct hone_arg between(struct hone_arg a, double lo, double hi)
{
    a.lo = lo, a.hi = hi;
    return a;
}

/* The sums over its columns come before all else. */
static struct hone_arg whole(struct hone_arg a)
{
    a.whole = 1;
    return a;
}

/* Large enough for relu6 to cut at 6. */
static struct hone_arg gamma_arg(const struct hone_problem *p)
{
    struct hone_arg a = weight(p, "gamma");
    return hone_act_of(p) == HONE_ACT_relu6 ? between(a, -8, 8) : a;
}

/* x is far from 0, where mean(x^2) - mean(x)^2 in f32 would lose all digits of the variance. */
static int fwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[NORM_Y] = rows(p, "y", HONE_OUT);
    arg[NORM_MEAN] = column(p, "mean", HONE_OUT);
    arg[NORM_RSTD] = column(p, "rstd", HONE_OUT);
    arg[NORM_RMEAN] = column(p, "rmean", HONE_INOUT);
    arg[NORM_RVAR] = between(column(p, "rvar", HONE_INOUT), 0.25, 2);
    arg[NORM_X] = whole(between(rows(p, "x", HONE_IN), 99, 101));
    arg[NORM_GAMMA] = gamma_arg(p);
    arg[NORM_BETA] = weight(p, "beta");
    if (hone_problem_has(p, "add")) arg[NORM_ADDEND] = rows(p, "addend", HONE_IN);
    if (hone_problem_has(p, "off")) arg[norm_off(p)] = column(p, "off", HONE_OUT);
    return norm_off(p) + hone_problem_has(p, "off");
}

static int infer_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[INFER_Y] = rows(p, "y", HONE_OUT);
    arg[INFER_X] = rows(p, "x", HONE_IN);
    arg[INFER_GAMMA] = gamma_arg(p);
    arg[INFER_BETA] = weight(p, "beta");
    const int again = hone_problem_has(p, "again");
    arg[INFER_RMEAN] = weight(p, again ? "mean" : "rmean");
    arg[INFER_RVAR] = between(weight(p, again ? "rstd" : "rvar"), 0.25, 2);
    if (hone_problem_has(p, "add")) arg[INFER_ADDEND] = rows(p, "addend", HONE_IN);
    if (again) arg[infer_off(p)] = weight(p, "off");
    return infer_off(p) + again;
}

static int bwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[NORM_DX] = rows(p, "dx", HONE_OUT);
    arg[NORM_DGAMMA] = column(p, "dgamma", HONE_OUT);
    arg[NORM_DBETA] = column(p, "dbeta", HONE_OUT);
    arg[NORM_DY] = whole(rows(p, "dy", HONE_IN));
    arg[NORM_BWD_X] = whole(rows(p, "x", HONE_IN));
    arg[NORM_BWD_MEAN] = column(p, "mean", HONE_IN);
    arg[NORM_BWD_RSTD] = between(column(p, "rstd", HONE_IN), 0.5, 2);
    arg[NORM_BWD_GAMMA] = gamma_arg(p);
    if (hone_act_of(p) == HONE_ACT_none) return NORM_BWD_GAMMA + 1;
    arg[NORM_BWD_BETA] = weight(p, "beta");
    return NORM_BWD_BETA + 1;
}

/* ---- cost and error ---- */

static double numbers(const struct hone_problem *p)
{
    return (double)p->dim[NORM_M] * p->dim[NORM_N];
}

/* Mean 1, variance 3, scale and shift 2; sums 4, gradient 5; for each number.  An addend is 1 more,
 * and so is an activation, as in gemm; its gradient needs y again, 3, and the cut. */
static double more_flops(const struct hone_problem *p)
{
    return hone_problem_has(p, "add") + (hone_act_of(p) != HONE_ACT_none);
}

static double fwd_flops(const struct hone_problem *p) { return (6 + more_flops(p)) * numbers(p); }
static double infer_flops(const struct hone_problem *p) { return (2 + more_flops(p)) * numbers(p); }

static double bwd_flops(const struct hone_problem *p)
{
    return (hone_act_of(p) == HONE_ACT_none ? 9 : 13) * numbers(p);
}

/* Sums of m terms one after another, then a few operations. */
static double sum_growth(const struct hone_problem *p) { return p->dim[NORM_M] + 16.0; }
static double infer_growth(const struct hone_problem *p) { (void)p; return 8; }

#define NORM_ACTS { "relu", 0, 0 }, { "relu6", 0, 0 }
#define NORM_DIMS { "m", 1, HONE_REQUIRED, 0 }, { "n", 1, HONE_REQUIRED, 0 }

const struct hone_op hone_op_bnorm_fwd = {
    .name = "bnorm_fwd", .dtypes = HONE_F32_F64_HALF, .layout = { "any" }, .dim = { NORM_DIMS },
    .attr = { { "momentum", 1, 0.1 }, { "eps", 1, 1e-5 }, { "add", 0, 0 }, NORM_ACTS,
              { "off", 0, 0 } },
    .check = fwd_check,
    .args = fwd_args, .flops = fwd_flops, .ref = hone_bnorm_fwd_meaning,
    .nshared = hone_bnorm_fwd_nshared, .share = hone_bnorm_fwd_share, .growth = sum_growth,
};

const struct hone_op hone_op_bnorm_infer = {
    .name = "bnorm_infer",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "any" },
    .dim = { NORM_DIMS },
    .attr = { { "eps", 1, 1e-5 }, { "add", 0, 0 }, NORM_ACTS, { "again", 0, 0 } },
    .check = infer_check,
    .args = infer_args,
    .flops = infer_flops,
    .ref = hone_bnorm_infer_meaning,
    .growth = infer_growth,
};

const struct hone_op hone_op_bnorm_bwd = {
    .name = "bnorm_bwd", .dtypes = HONE_F32_F64_HALF, .layout = { "any" }, .dim = { NORM_DIMS },
    .attr = { NORM_ACTS }, .check = hone_act_check,
    .args = bwd_args, .flops = bwd_flops, .ref = hone_bnorm_bwd_meaning,
    .nshared = hone_bnorm_bwd_nshared, .share = hone_bnorm_bwd_share, .growth = sum_growth,
};
