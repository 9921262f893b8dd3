/* BLIS's product.  BLIS and OpenBLAS both call their functions sgemm_ and cblas_sgemm, so it is
 * opened by name at run time, and called by its own interface, whose strides say what is
 * transposed. */
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS };

/* BLIS's dim_t and inc_t, which bli_info_get_int_type_size() tells; trans_t is an enum, 0: as it
 * is. */
typedef int64_t whole;

struct blis {
    void (*sgemm)(int ta, int tb, whole m, whole n, whole k, const float *alpha, const float *a,
                  whole rsa, whole csa, const float *b, whole rsb, whole csb, const float *beta,
                  float *c, whole rsc, whole csc);
    void (*dgemm)(int ta, int tb, whole m, whole n, whole k, const double *alpha, const double *a,
                  whole rsa, whole csa, const double *b, whole rsb, whole csb, const double *beta,
                  double *c, whole rsc, whole csc);
    void (*set_threads)(whole n);
    char version[64];
    const char *absent;
};

static void open_blis(struct blis *b)
{
    whole (*bits)(void), (*parallel)(void);
    const char *(*version)(void);
    void *lib = dlopen("libblis.so.4", RTLD_NOW | RTLD_LOCAL);
    const struct {
        const char *name;
        void *to;
    } symbols[] = {
        { "bli_sgemm", &b->sgemm },
        { "bli_dgemm", &b->dgemm },
        { "bli_thread_set_num_threads", &b->set_threads },
        { "bli_info_get_int_type_size", &bits },
        { "bli_info_get_enable_threading", &parallel },
        { "bli_info_get_version_str", &version },
    };
    if (!lib) { b->absent = "libblis.so.4 not found: install the package libblis4-openmp"; return; }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *f = dlsym(lib, symbols[i].name);
        if (!f) { b->absent = "libblis.so.4 is of another kind: a function is missing"; return; }
        memcpy(symbols[i].to, &f, sizeof f);
    }
    if (bits() != 64) { b->absent = "libblis.so.4 is built for 32-bit sizes"; return; }
    snprintf(b->version, sizeof b->version, "BLIS %.32s%s", version(),
             parallel() ? "" : " sequential");
}

static const struct blis *blis(void)
{
    static struct blis b;
    if (!b.sgemm && !b.absent) open_blis(&b);
    return &b;
}

static const char *version(void)
{
    return blis()->absent ? "BLIS absent" : blis()->version;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (blis()->absent) return blis()->absent;
    return p->dtype == HONE_F64 && hone_act_of(p) != HONE_ACT_none ? "activation of doubles" : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)p, (void)d;
    return c->v[THREADS] == 1 || !strstr(version(), "sequential");
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[THREADS] = 1;
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
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const whole rsa = p->layout == GEMM_TN ? 1 : k, csa = p->layout == GEMM_TN ? m : 1;
    const whole rsb = p->layout == GEMM_NT ? 1 : n, csb = p->layout == GEMM_NT ? k : 1;
    const struct epilogue *e = plan->priv;
    const struct blis *lib = blis();
    (void)workspace;
    lib->set_threads(plan->config.v[THREADS]);
    if (p->dtype == HONE_F64) {
        const double alpha = p->value[GEMM_ALPHA], beta = p->value[GEMM_BETA];
        double *c = mem[GEMM_C];
        const double *bias = e->has_bias ? mem[GEMM_BIAS] : NULL;
        lib->dgemm(0, 0, m, n, k, &alpha, mem[GEMM_A], rsa, csa, mem[GEMM_B], rsb, csb, &beta, c, n,
                   1);
        for (int64_t i = 0; bias && i < (int64_t)m * n; i++) c[i] += bias[i % n];
        return HONE_OK;
    }
    const float alpha = (float)p->value[GEMM_ALPHA], beta = (float)p->value[GEMM_BETA];
    lib->sgemm(0, 0, m, n, k, &alpha, mem[GEMM_A], rsa, csa, mem[GEMM_B], rsb, csb, &beta,
               mem[GEMM_C], n, 1);
    hone_epilogue(e->act, mem[GEMM_C], n, m, n, e->has_bias ? mem[GEMM_BIAS] : NULL);
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel hone_gemm_lib_blis = {
    .name = "lib_blis",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .build = HONE_LIB,
    .dtypes = HONE_F32_F64,
    .version = version,
    .param = { HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .prepare = prepare,
    .release = release,
    .run = run,
};
