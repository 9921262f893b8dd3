/* add, shortcut_fwd, shortcut_bwd, concat_fwd, concat_bwd: sizes, arguments, flops, error
 * bounds. */
#include "kernels/join/join.h"

/* ---- add ---- */

static int add_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[ADD_Y] = HONE_ARG("y", HONE_OUT, p->dtype, p->dim[ADD_N]);
    arg[ADD_A] = HONE_ARG("a", HONE_IN, p->dtype, p->dim[ADD_N]);
    arg[ADD_B] = HONE_ARG("b", HONE_IN, p->dtype, p->dim[ADD_N]);
    return 3;
}

static double add_flops(const struct hone_problem *p)
{
    return p->dim[ADD_N] * (1.0 + (hone_act_of(p) != HONE_ACT_none));
}
static double add_growth(const struct hone_problem *p) { (void)p; return 1; }

/* ---- shortcut ---- */

static int shortcut_check(struct hone_problem *p)
{
    const int32_t *d = p->dim;
    if (d[SHORT_OC] < d[SHORT_IC])
        return hone_fail(HONE_EPARSE, "oc %d is below ic %d: a shortcut drops no channels",
                         d[SHORT_OC], d[SHORT_IC]);
    if ((double)d[SHORT_MB] * d[SHORT_OC] * d[SHORT_IH] * d[SHORT_IW] > 0x1p48)
        return hone_fail(HONE_EPARSE, "a tensor would have more than 2^48 numbers");
    return HONE_OK;
}

static struct hone_arg pixels_x(const struct hone_problem *p, const char *name, enum hone_io io)
{
    const int32_t *d = p->dim;
    return HONE_ARG(name, io, p->dtype, d[SHORT_MB], d[SHORT_IH], d[SHORT_IW], d[SHORT_IC]);
}

static struct hone_arg pixels_y(const struct hone_problem *p, const char *name, enum hone_io io)
{
    return HONE_ARG(name, io, p->dtype, p->dim[SHORT_MB], shortcut_oh(p), shortcut_ow(p),
                    p->dim[SHORT_OC]);
}

static int shortcut_fwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[SHORT_Y] = pixels_y(p, "y", HONE_OUT);
    arg[SHORT_X] = pixels_x(p, "x", HONE_IN);
    return 2;
}

static int shortcut_bwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    arg[SHORT_DX] = pixels_x(p, "dx", HONE_OUT);
    arg[SHORT_DY] = pixels_y(p, "dy", HONE_IN);
    return 2;
}

/* Nothing is computed: numbers moved are counted. */
static double shortcut_flops(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (double)d[SHORT_MB] * shortcut_oh(p) * shortcut_ow(p) * d[SHORT_IC];
}

/* ---- concat ---- */

static int concat_check(struct hone_problem *p)
{
    if ((int64_t)p->dim[CONCAT_N] + p->dim[CONCAT_K] > INT32_MAX)
        return hone_fail(HONE_EPARSE, "n + k has more than 31 bits");
    return HONE_OK;
}

static int concat_fwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t *d = p->dim;
    arg[CONCAT_Y] = HONE_ARG("y", HONE_OUT, p->dtype, d[CONCAT_M], d[CONCAT_N] + d[CONCAT_K]);
    arg[CONCAT_A] = HONE_ARG("a", HONE_IN, p->dtype, d[CONCAT_M], d[CONCAT_N]);
    arg[CONCAT_B] = HONE_ARG("b", HONE_IN, p->dtype, d[CONCAT_M], d[CONCAT_K]);
    return 3;
}

static int concat_bwd_args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t *d = p->dim;
    arg[CONCAT_DA] = HONE_ARG("da", HONE_OUT, p->dtype, d[CONCAT_M], d[CONCAT_N]);
    arg[CONCAT_DB] = HONE_ARG("db", HONE_OUT, p->dtype, d[CONCAT_M], d[CONCAT_K]);
    arg[CONCAT_DY] = HONE_ARG("dy", HONE_IN, p->dtype, d[CONCAT_M], d[CONCAT_N] + d[CONCAT_K]);
    return 3;
}

static double concat_flops(const struct hone_problem *p)
{
    return (double)p->dim[CONCAT_M] * ((double)p->dim[CONCAT_N] + p->dim[CONCAT_K]);
}

/* Only moves numbers. */
static double no_growth(const struct hone_problem *p) { (void)p; return 0; }
static int exact(const struct hone_problem *p) { (void)p; return 8; }

const struct hone_op hone_op_add = {
    .name = "add",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "any" },
    .dim = { { "n", 1, HONE_REQUIRED, 0 } },
    .attr = { { "relu", 0, 0 }, { "relu6", 0, 0 } },
    .check = hone_act_check,
    .args = add_args,
    .flops = add_flops,
    .ref = hone_add_meaning,
    .growth = add_growth,
    .exact = exact,
};

#define SHORTCUT_DIMS                                                                              \
    { "mb", 1, HONE_REQUIRED, 0 }, { "ic", 1, HONE_REQUIRED, 0 }, { "ih", 1, HONE_REQUIRED, 0 },   \
    { "iw", 1, HONE_REQUIRED, "ih" }, { "oc", 1, HONE_REQUIRED, "ic" }, { "s", 1, 1, 0 }

const struct hone_op hone_op_shortcut_fwd = {
    .name = "shortcut_fwd", .dtypes = HONE_F32_F64_HALF, .layout = { "nhwc" },
    .dim = { SHORTCUT_DIMS },
    .check = shortcut_check, .args = shortcut_fwd_args, .flops = shortcut_flops,
    .ref = hone_shortcut_fwd_meaning, .growth = no_growth, .exact = exact,
};

const struct hone_op hone_op_shortcut_bwd = {
    .name = "shortcut_bwd", .dtypes = HONE_F32_F64_HALF, .layout = { "nhwc" },
    .dim = { SHORTCUT_DIMS },
    .check = shortcut_check, .args = shortcut_bwd_args, .flops = shortcut_flops,
    .ref = hone_shortcut_bwd_meaning, .growth = no_growth, .exact = exact,
};

#define CONCAT_DIMS                                                                                \
    { "m", 1, HONE_REQUIRED, 0 }, { "n", 1, HONE_REQUIRED, 0 }, { "k", 1, HONE_REQUIRED, 0 }

const struct hone_op hone_op_concat_fwd = {
    .name = "concat_fwd", .dtypes = HONE_F32_F64_HALF, .layout = { "any" }, .dim = { CONCAT_DIMS },
    .check = concat_check, .args = concat_fwd_args, .flops = concat_flops,
    .ref = hone_concat_fwd_meaning, .growth = no_growth, .exact = exact,
};

const struct hone_op hone_op_concat_bwd = {
    .name = "concat_bwd", .dtypes = HONE_F32_F64_HALF, .layout = { "any" }, .dim = { CONCAT_DIMS },
    .check = concat_check, .args = concat_bwd_args, .flops = concat_flops,
    .ref = hone_concat_bwd_meaning, .growth = no_growth, .exact = exact,
};
