/* LIBXSMM's product: a function generated for the sizes, on one thread, for small matrices.  It
 * thinks in columns, so it computes the transposed C = B A; what it has no function for (some
 * transposes, alpha) it refuses. */
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"

#include <libxsmm.h>
#include <stdlib.h>

struct product {
    libxsmm_smmfunction single;
    libxsmm_dmmfunction twice;      /* of doubles */
    enum hone_act act;
    int has_bias;
};

static const char *version(void) { return "LIBXSMM " LIBXSMM_VERSION; }

/* The generated function, or nothing. */
static struct product product_of(const struct hone_problem *p)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const int lda = p->layout == GEMM_NT ? k : n, ldb = p->layout == GEMM_TN ? m : k;
    const int flags = (p->layout == GEMM_NT ? LIBXSMM_GEMM_FLAG_TRANS_A : 0) |
                      (p->layout == GEMM_TN ? LIBXSMM_GEMM_FLAG_TRANS_B : 0);
    struct product q = { .act = hone_act_of(p), .has_bias = hone_problem_has(p, "bias") };
    if (p->dtype == HONE_F64) {
        const double alpha = p->value[GEMM_ALPHA], beta = p->value[GEMM_BETA];
        q.twice = libxsmm_dmmdispatch(n, m, k, &lda, &ldb, &n, &alpha, &beta, &flags, NULL);
    } else {
        const float alpha = (float)p->value[GEMM_ALPHA], beta = (float)p->value[GEMM_BETA];
        q.single = libxsmm_smmdispatch(n, m, k, &lda, &ldb, &n, &alpha, &beta, &flags, NULL);
    }
    return q;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (p->dtype == HONE_F64 && hone_act_of(p) != HONE_ACT_none) return "activation of doubles";
    if ((double)p->dim[GEMM_M] * p->dim[GEMM_N] * p->dim[GEMM_K] > 128.0 * 128 * 128)
        return "is for small products, up to 128 in the middle";
    struct product q = product_of(p);
    return q.single || q.twice ? NULL : "LIBXSMM generates nothing for these transposes or factors";
}

static int prepare(struct hone_plan *plan)
{
    struct product *q = malloc(sizeof *q);
    if (!q) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *q);
    *q = product_of(&plan->problem);
    plan->priv = q;
    return HONE_OK;
}

static void release(struct hone_plan *plan) { free(plan->priv); }

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct product *q = plan->priv;
    const int m = plan->problem.dim[GEMM_M], n = plan->problem.dim[GEMM_N];
    (void)workspace;
    if (q->twice) {
        double *c = mem[GEMM_C];
        const double *bias = q->has_bias ? mem[GEMM_BIAS] : NULL;
        q->twice(mem[GEMM_B], mem[GEMM_A], c);
        for (int64_t i = 0; bias && i < (int64_t)m * n; i++) c[i] += bias[i % n];
        return HONE_OK;
    }
    q->single(mem[GEMM_B], mem[GEMM_A], mem[GEMM_C]);
    if (q->has_bias || q->act != HONE_ACT_none)
        hone_epilogue(q->act, mem[GEMM_C], n, m, n, q->has_bias ? mem[GEMM_BIAS] : NULL);
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel hone_gemm_lib_xsmm = {
    .name = "lib_xsmm",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .build = HONE_LIB,
    .dtypes = HONE_F32_F64,
    .version = version,
    .refuse = refuse,
    .prepare = prepare,
    .release = release,
    .run = run,
};
