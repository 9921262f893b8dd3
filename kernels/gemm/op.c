/* gemm: sizes, arguments, flops, error bound. */
#include "kernels/gemm/gemm.h"

#include <math.h>

static int args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t *d = p->dim, m = d[GEMM_M], n = d[GEMM_N], k = d[GEMM_K];
    int at = p->layout == GEMM_TN, bt = p->layout == GEMM_NT;
    enum hone_dtype t = p->dtype, wide = hone_dtype_wide(t);
    arg[GEMM_C] = HONE_ARG("c", p->value[GEMM_BETA] != 0 ? HONE_INOUT : HONE_OUT,
                           hone_problem_has(p, "wide") ? wide : t, m, n);
    arg[GEMM_A] = HONE_ARG("a", HONE_IN, t, at ? k : m, at ? m : k);
    arg[GEMM_B] = HONE_ARG("b", HONE_IN, t, bt ? n : k, bt ? k : n);
    /* In a net B holds the weights forward and for the input's gradient, data for the weights'. */
    arg[GEMM_B].weight = !at;
    if (!hone_problem_has(p, "bias")) return 3;
    arg[GEMM_BIAS] = HONE_ARG("bias", HONE_IN, wide, n);
    arg[GEMM_BIAS].weight = 1;
    return 4;
}

static int check(struct hone_problem *p)
{
    if (hone_problem_has(p, "wide") && !hone_dtype_is_half(p->dtype))
        return hone_fail(HONE_EPARSE, "wide is for bf16 and f16, where it makes C f32");
    if (hone_problem_has(p, "tf32") && p->dtype != HONE_F32)
        return hone_fail(HONE_EPARSE, "tf32 is for f32");
    return hone_act_check(p);
}

static double flops(const struct hone_problem *p)
{
    return 2.0 * p->dim[GEMM_M] * p->dim[GEMM_N] * p->dim[GEMM_K];
}

/* k products summed one after another, then alpha, beta, bias; an activation adds a few.  With tf32
 * both factors of a product may be rounded to 11 bits, each by 2^-11 = 2^13 eps. */
static double growth(const struct hone_problem *p)
{
    return p->dim[GEMM_K] + 3 + (hone_problem_has(p, "tf32") ? 2.01 * 0x1p13 : 0) +
           (hone_act_of(p) == HONE_ACT_none ? 0 : 8);
}

/* k products of numbers up to `big`, and beta C and bias, stay below 2^24. */
static int exact(const struct hone_problem *p)
{
    double alpha = p->value[GEMM_ALPHA], beta = p->value[GEMM_BETA];
    if (!hone_act_exact(hone_act_of(p)) || alpha != rint(alpha) || beta != rint(beta)) return 0;
    double terms = fabs(alpha) * p->dim[GEMM_K] + fabs(beta) + 1;
    int big = 8;
    while (big > 1 && terms * big * big >= 0x1p24) big--;
    return terms * big * big < 0x1p24 ? big : 0;
}

const struct hone_op hone_op_gemm = {
    .name = "gemm",
    .dtypes = HONE_F32_F64_HALF,
    .layout = { "nn", "nt", "tn" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 },
             { "n", 1, HONE_REQUIRED, 0 },
             { "k", 1, HONE_REQUIRED, 0 } },
    .attr = { { "alpha", 1, 1 }, { "beta", 1, 0 }, { "bias", 0, 0 },
              HONE_ACT_ATTRS { "wide", 0, 0 }, { "tf32", 0, 0 } },
    .check = check,
    .args = args,
    .flops = flops,
    .ref = hone_gemm_meaning,
    .growth = growth,
    .exact = exact,
};
