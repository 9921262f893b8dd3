/* OpenBLAS's product, and the epilogue after it.
 *
 * OpenBLAS comes with threads of its own (pthreads) or with OpenMP's.  After a parallel region
 * libgomp's threads spin for a while, and OpenBLAS's pthreads then find the cores taken: two
 * threads on 256 x 256 x 256 took 313 us alone and 450 to 635 us after a region (least of 100, a
 * busy machine with two cores, OpenBLAS 0.3.21); with OMP_WAIT_POLICY=passive 300 to 370 us, with
 * the OpenMP OpenBLAS 290 us.  On a machine with more work than cores, though, the latter's
 * barriers made it five times slower.  So the choice is the user's, by the package that is
 * installed; version() tells which it was, and records differ. */
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS };

static const char *version(void)
{
    static char text[96];
    /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY SkylakeX MAX_THREADS=64": its options do
     * not matter to a record, the threading model does. */
    static const char *const model[] = { "sequential", "pthreads", "OpenMP" };
    char number[32] = "";
    int m = openblas_get_parallel();
    sscanf(openblas_get_config(), "OpenBLAS %31s", number);
    snprintf(text, sizeof text, "OpenBLAS %s %s %s", number, openblas_get_corename(),
             m >= 0 && m <= 2 ? model[m] : "?");
    return text;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dtype == HONE_F64 && hone_act_of(p) != HONE_ACT_none ? "activation of doubles" : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)p, (void)d;
    return c->v[THREADS] == 1 || openblas_get_parallel() != 0;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[THREADS] = 1;
    /* Threads from about 50 microseconds on. */
    while (p->op->flops(p) > 5e6 && c->v[THREADS] < 64 && 2 * c->v[THREADS] <= d->ncores)
        c->v[THREADS] *= 2;
    if (!valid(p, c, d)) c->v[THREADS] = 1;
}

/* Attributes are looked up by name, once. */
struct epilogue {
    enum hone_act act;
    int has_bias;
};

static int prepare(struct hone_plan *plan)
{
    struct epilogue *e = malloc(sizeof *e);
    if (!e) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *e);
    *e = (struct epilogue){ hone_act_of(&plan->problem), hone_problem_has(&plan->problem, "bias") };
    plan->priv = e;
    return HONE_OK;
}

static void release(struct hone_plan *plan) { free(plan->priv); }

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K],
              threads = plan->config.v[THREADS];
    const int at = p->layout == GEMM_TN, bt = p->layout == GEMM_NT;
    const struct epilogue *e = plan->priv;
    (void)workspace;
    /* Setting the number takes a lock and may start threads; asking does not. */
    if (openblas_get_num_threads() != threads) openblas_set_num_threads(threads);
    if (p->dtype == HONE_F64) {
        double *c = mem[GEMM_C];
        const double *bias = e->has_bias ? mem[GEMM_BIAS] : NULL;
        cblas_dgemm(CblasRowMajor, at ? CblasTrans : CblasNoTrans, bt ? CblasTrans : CblasNoTrans,
                    m, n, k, p->value[GEMM_ALPHA], mem[GEMM_A], at ? m : k, mem[GEMM_B], bt ? k : n,
                    p->value[GEMM_BETA], c, n);
        for (int64_t i = 0; bias && i < (int64_t)m * n; i++) c[i] += bias[i % n];
        return HONE_OK;
    }
    float *c = mem[GEMM_C];
    cblas_sgemm(CblasRowMajor, at ? CblasTrans : CblasNoTrans, bt ? CblasTrans : CblasNoTrans, m, n,
                k, (float)p->value[GEMM_ALPHA], mem[GEMM_A], at ? m : k, mem[GEMM_B], bt ? k : n,
                (float)p->value[GEMM_BETA], c, n);
    hone_epilogue(e->act, c, n, m, n, e->has_bias ? mem[GEMM_BIAS] : NULL);
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, 0 };

const struct hone_kernel hone_gemm_lib_openblas = {
    .name = "lib_openblas",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .dtypes = HONE_F32_F64,
    .build = HONE_LIB,
    .version = version,
    .param = { HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .prepare = prepare,
    .release = release,
    .run = run,
};
