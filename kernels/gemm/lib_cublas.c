/* cuBLASLt's products, with bias and activation in the same call.  Its heuristics propose
 * algorithms, each a configuration: the algorithm's number and which of its settings.
 *
 * cuBLAS counts columns first, so C = A B is asked for as C' = B' A'.  f32 is computed in f32: tf32
 * is another compute type, for problems that allow it.  Not run on a GPU yet, and its heuristics
 * tell nothing without one; the tests have a library that pretends to be it. */
#include "kernels/backend/cuda.h"
#include "kernels/gemm/gemm.h"
#include "kernels/library.h"
#include "kernels/nvidia/cublas_abi.h"
#include "kernels/nvidia/kept.h"
#include "kernels/nvidia/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct hone_kernel hone_gemm_lib_cublas;

enum { ALGO, SETTING };
enum { PROPOSALS = 40, CHOICES = 64 };

/* Bytes of workspace that it is asked to make do with: what NVIDIA advises for its largest GPUs,
 * and less, since memory is an objective, too. */
static const size_t limits[] = { 64 << 20, 4 << 20, 0 };
enum { NLIMITS = sizeof limits / sizeof *limits };

static struct {
#define X(name, type, args) type(*name) args;
    LT_CALLS(X)
#undef X
} lt;

static const struct hone_symbol symbols[] = {
#define X(name, type, args) { "cublasLt" #name, &lt.name },
    LT_CALLS(X)
#undef X
        { NULL, NULL },
};

static const struct hone_library library = {
    "cuBLASLt", { "libcublasLt.so.13", "libcublasLt.so.12" }, { NULL }, symbols
};

/* The library is half a gigabyte: it is opened only where there is a GPU. */
static const char *absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static int asked;
    if (hone_backend_cuda.absent()) return hone_backend_cuda.absent();
    if (hone_nvidia_pretend()) return hone_nvidia_pretend();
    if (!asked++) hone_library_open(&library, why);
    return why[0] ? why : NULL;
}

static const char *version(void)
{
    static char text[32];
    if (absent()) return "cuBLASLt absent";
    const size_t v = lt.GetVersion();
    snprintf(text, sizeof text, "cuBLASLt %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    return text;
}

static int fail(int status, const char *what)
{
    return hone_fail(HONE_EDEVICE, "cuBLASLt: %s: %s", what, lt.GetStatusString(status));
}

/* ---- the product ---- */

struct product {
    void *handle, *desc;
    void *a, *b, *c; /* matrices as cuBLAS sees them: its A is our B */
};

/* The epilogue, or -1: there is none such. */
static int epilogue_of(const struct hone_problem *p)
{
    const int bias = hone_problem_has(p, "bias");
    switch (hone_act_of(p)) {
    case HONE_ACT_none: return bias ? LT_CUBLASLT_EPILOGUE_BIAS : LT_CUBLASLT_EPILOGUE_DEFAULT;
    case HONE_ACT_relu: return bias ? LT_CUBLASLT_EPILOGUE_RELU_BIAS : LT_CUBLASLT_EPILOGUE_RELU;
    case HONE_ACT_gelu_tanh:
        return bias ? LT_CUBLASLT_EPILOGUE_GELU_BIAS : LT_CUBLASLT_EPILOGUE_GELU;
    default: return -1;
    }
}

static int type_of(enum hone_dtype t)
{
    return t == HONE_BF16 ? LT_CUDA_R_16BF : t == HONE_F16 ? LT_CUDA_R_16F : LT_CUDA_R_32F;
}

static void close_product(struct product *q)
{
    if (q->c) lt.MatrixLayoutDestroy(q->c);
    if (q->b) lt.MatrixLayoutDestroy(q->b);
    if (q->a) lt.MatrixLayoutDestroy(q->a);
    if (q->desc) lt.MatmulDescDestroy(q->desc);
    if (q->handle) lt.Destroy(q->handle);
    memset(q, 0, sizeof *q);
}

/* Row-major rows x cols is column-major cols x rows. */
static int matrix(void **m, const struct hone_arg *arg)
{
    return lt.MatrixLayoutCreate(m, type_of(arg->dtype), (uint64_t)arg->dim[1],
                                 (uint64_t)arg->dim[0], arg->dim[1]);
}

static int open_product(struct product *q, const struct hone_problem *p)
{
    struct hone_arg arg[HONE_MAX_ARGS];
    const int transposes_b = p->layout == GEMM_NT ? LT_CUBLAS_OP_T : LT_CUBLAS_OP_N,
              transposes_a = p->layout == GEMM_TN ? LT_CUBLAS_OP_T : LT_CUBLAS_OP_N,
              epilogue = epilogue_of(p), n = p->op->args(p, arg);
    memset(q, 0, sizeof *q);
    int status = lt.Create(&q->handle);
    if (!status)
        status = lt.MatmulDescCreate(&q->desc,
                                     hone_problem_has(p, "tf32") ? LT_CUBLAS_COMPUTE_32F_FAST_TF32
                                                                 : LT_CUBLAS_COMPUTE_32F,
                                     LT_CUDA_R_32F);
#define SET(attr, value)                                                                           \
    if (!status)                                                                                   \
    status = lt.MatmulDescSetAttribute(q->desc, LT_CUBLASLT_MATMUL_DESC_##attr, &(value),          \
                                       sizeof(value))
    SET(TRANSA, transposes_b);
    SET(TRANSB, transposes_a);
    SET(EPILOGUE, epilogue);
    if (n > GEMM_BIAS) {
        const int type = type_of(arg[GEMM_BIAS].dtype);
        SET(BIAS_DATA_TYPE, type);
    }
#undef SET
    if (!status) status = matrix(&q->a, &arg[GEMM_B]);
    if (!status) status = matrix(&q->b, &arg[GEMM_A]);
    if (!status) status = matrix(&q->c, &arg[GEMM_C]);
    if (status) close_product(q);
    return status ? fail(status, "the product") : HONE_OK;
}

/* ---- what the heuristics propose ---- */

struct choice {
    int algo, setting, tile, stages, split_k, swizzle;
    struct lt_result result;
};

struct answer {
    struct hone_kept kept;
    int n;
    struct choice choice[CHOICES];
};

static int config_value(const struct lt_result *r, int attr)
{
    int value = -1;
    return lt.MatmulAlgoConfigGetAttribute(&r->algo, attr, &value, sizeof value, NULL) ? -1 : value;
}

static void keep(struct answer *k, const struct lt_result *r)
{
    struct choice c = { .result = *r,
                        .algo = config_value(r, LT_CUBLASLT_ALGO_CONFIG_ID),
                        .tile = config_value(r, LT_CUBLASLT_ALGO_CONFIG_TILE_ID),
                        .stages = config_value(r, LT_CUBLASLT_ALGO_CONFIG_STAGES_ID),
                        .split_k = config_value(r, LT_CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
                        .swizzle = config_value(r, LT_CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING) };
    if (r->status || c.algo < 0 || c.algo >= HONE_VALUES_120 || k->n == CHOICES) return;
    for (int i = 0; i < k->n; i++) {
        if (!memcmp(&k->choice[i].result.algo, &r->algo, sizeof r->algo)) return;
        c.setting += k->choice[i].algo == c.algo;
    }
    if (c.setting < HONE_VALUES_40) k->choice[k->n++] = c;
}

/* What it proposes under one limit.  Nothing under a small one is no failure. */
static int propose(struct answer *k, const struct product *q, size_t limit)
{
    struct lt_result result[PROPOSALS];
    void *pref = NULL;
    int n = 0, status = lt.MatmulPreferenceCreate(&pref);
    if (!status)
        status = lt.MatmulPreferenceSetAttribute(pref, LT_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &limit, sizeof limit);
    if (!status)
        status = lt.MatmulAlgoGetHeuristic(q->handle, q->desc, q->a, q->b, q->c, q->c, pref,
                                           PROPOSALS, result, &n);
    for (int i = 0; !status && i < n; i++) keep(k, &result[i]);
    if (pref) lt.MatmulPreferenceDestroy(pref);
    return status;
}

static int ask(void *answer, const struct hone_problem *p, const struct hone_device *d, void *ctx)
{
    struct answer *k = answer;
    struct product q;
    int status = 0, err = open_product(&q, p);
    (void)d, (void)ctx;
    if (err) return err;
    for (int i = 0; i < NLIMITS && (!status || k->n); i++) status = propose(k, &q, limits[i]);
    close_product(&q);
    if (k->n) return HONE_OK;
    return status ? fail(status, "heuristics")
                  : hone_fail(HONE_EREFUSED, "cuBLASLt proposes no algorithm");
}

/* NULL: out of memory. */
static const struct answer *list_of(const struct hone_problem *p, const struct hone_device *d)
{
    static _Thread_local struct hone_kept *all;
    return hone_kept_answer(&all, sizeof(struct answer), p, d, ask, NULL);
}

static const struct choice *find(const struct hone_problem *p, const struct hone_config *c,
                                 const struct hone_device *d)
{
    const struct answer *k = list_of(p, d);
    for (int i = 0; k && i < k->n; i++)
        if (k->choice[i].algo == c->v[ALGO] && k->choice[i].setting == c->v[SETTING])
            return &k->choice[i];
    return NULL;
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    if (epilogue_of(p) < 0) return "cuBLASLt has no such activation";
    if (absent()) return absent();
    const struct answer *k = list_of(p, d);
    return !k ? "out of memory" : k->kept.err ? k->kept.why : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    return find(p, c, d) != NULL;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct answer *k = list_of(p, d);
    if (k && k->n) c->v[ALGO] = k->choice[0].algo, c->v[SETTING] = k->choice[0].setting;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct choice *choice = find(p, c, d);
    return choice ? choice->result.workspace_bytes : 0;
}

static int candidates(const struct hone_problem *p, const struct hone_device *d,
                      void (*f)(void *ctx, const struct hone_candidate *c), void *ctx)
{
    char about[HONE_TEXT];
    if (d->description)
        return hone_fail(HONE_EREFUSED,
                         "cuBLASLt's heuristics need the GPU itself; there they are asked for %d "
                         "algorithms in up to 64 MiB, in 4 MiB and without workspace",
                         PROPOSALS);
    if (refuse(p, d)) return hone_fail(HONE_EREFUSED, "%s", refuse(p, d));
    const struct answer *k = list_of(p, d);
    for (int i = 0; i < k->n; i++) {
        const struct choice *c = &k->choice[i];
        snprintf(about, sizeof about,
                 "heuristic %d: tile %d, stages %d, split-k %d, swizzle %d, waves %.2f", i + 1,
                 c->tile, c->stages, c->split_k, c->swizzle, (double)c->result.waves);
        f(ctx, &(struct hone_candidate){
                   { { c->algo, c->setting } }, c->result.workspace_bytes, about });
    }
    return HONE_OK;
}

struct state {
    struct product product;
    struct lt_algo algo;
    float alpha, beta;
    int has_bias;
    void *bias; /* that the product's description names */
};

static void release(struct hone_plan *plan)
{
    struct state *s = plan->priv;
    if (s) close_product(&s->product);
    free(s);
    plan->priv = NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_problem *p = &plan->problem;
    const struct choice *c = find(p, &plan->config, plan->device);
    struct state *s = plan->priv = calloc(1, sizeof *s);
    if (!s) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *s);
    int err = c ? open_product(&s->product, p) : hone_fail(HONE_EREFUSED, "no such algorithm");
    if (!err) s->algo = c->result.algo;
    s->alpha = (float)p->value[GEMM_ALPHA];
    s->beta = (float)p->value[GEMM_BETA];
    s->has_bias = hone_problem_has(p, "bias");
    if (err) release(plan);
    return err;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct state *s = plan->priv;
    struct product *q = &s->product;
    int status = 0;
    if (s->has_bias && s->bias != mem[GEMM_BIAS]) {
        s->bias = mem[GEMM_BIAS];
        status = lt.MatmulDescSetAttribute(q->desc, LT_CUBLASLT_MATMUL_DESC_BIAS_POINTER, &s->bias,
                                           sizeof s->bias);
    }
    if (!status)
        status = lt.Matmul(q->handle, q->desc, &s->alpha, mem[GEMM_B], q->a, mem[GEMM_A], q->b,
                           &s->beta, mem[GEMM_C], q->c, mem[GEMM_C], q->c, &s->algo, workspace,
                           plan->workspace_bytes, hone_cuda_stream(plan->device));
    return status ? fail(status, "a run") : HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel hone_gemm_lib_cublas = {
    .name = "lib_cublas",
    .ops = ops,
    .backend = &hone_backend_cuda,
    .build = HONE_LIB,
    .dtypes = 1u << HONE_F32 | HONE_HALVES,
    .version = version,
    .param = { HONE_PARAM_120("algo"), HONE_PARAM_40("setting") },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .candidates = candidates,
    .prepare = prepare,
    .release = release,
    .run = run,
};
