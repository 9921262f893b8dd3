/* oneDNN's product: its matmul primitive on matrices as they lie (call=0), the same with layouts of
 * its own choice, reorders included (call=1), or its sgemm function (call=2).  Bias and the
 * activations that are exact go into the primitive, others follow it.  Halves are summed in
 * floats. */
#include "kernels/backend/onednn.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"

#include <stdlib.h>

enum { CALL, THREADS };
enum { PLAIN, OWN, SGEMM };

struct product {
    struct hone_onednn o;       /* first: hone_onednn_reorder_ms() looks there */
    enum hone_act act;          /* what is left to do after the call */
    int bias;
};

/* ---- the primitive ---- */

static dnnl_alg_kind_t eltwise_of(enum hone_act act)
{
    return act == HONE_ACT_relu || act == HONE_ACT_leaky_relu ? dnnl_eltwise_relu
           : act == HONE_ACT_relu6                            ? dnnl_eltwise_clip
                                                              : dnnl_alg_kind_undef;
}

/* In this order: alpha A B + beta C, with the bias inside of the sum, then the activation. */
static void append(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, float a, float b)
{
#if DNNL_VERSION_MAJOR >= 3
    dnnl_post_ops_append_eltwise(ops, alg, a, b);
#else
    dnnl_post_ops_append_eltwise(ops, 1, alg, a, b);
#endif
}

static void add_sum(dnnl_post_ops_t ops, float beta)
{
#if DNNL_VERSION_MAJOR >= 3
    dnnl_post_ops_append_sum(ops, beta, 0, dnnl_data_type_undef);
#else
    dnnl_post_ops_append_sum(ops, beta);
#endif
}

static void make_attr(struct hone_onednn *o, const struct hone_problem *p, enum hone_act act)
{
    const float alpha = (float)p->value[GEMM_ALPHA], beta = (float)p->value[GEMM_BETA];
    dnnl_post_ops_t ops;
    dnnl_primitive_attr_create(&o->attr);
    dnnl_primitive_attr_set_scratchpad_mode(o->attr, dnnl_scratchpad_mode_user);
    dnnl_post_ops_create(&ops);
    if (alpha != 1) append(ops, dnnl_eltwise_linear, alpha, 0);
    if (beta != 0) add_sum(ops, beta);
    if (eltwise_of(act) == dnnl_eltwise_relu)
        append(ops, dnnl_eltwise_relu, act == HONE_ACT_relu ? 0 : (float)HONE_LEAKY_SLOPE, 0);
    else if (eltwise_of(act) == dnnl_eltwise_clip)
        append(ops, dnnl_eltwise_clip, 0, 6);
    dnnl_primitive_attr_set_post_ops(o->attr, ops);
    dnnl_post_ops_destroy(ops);
}

static int make_desc(struct hone_onednn *o)
{
    dnnl_memory_desc_t a = o->arg[0].any, b = o->arg[1].any, c = o->arg[2].any;
#if DNNL_VERSION_MAJOR >= 3
    dnnl_status_t s = dnnl_matmul_primitive_desc_create(
        &o->desc, hone_onednn_engine(), a, b, o->nargs > 3 ? o->arg[3].any : NULL, c, o->attr);
#else
    dnnl_matmul_desc_t d;
    dnnl_status_t s = dnnl_matmul_desc_init(&d, &a, &b, o->nargs > 3 ? &o->arg[3].any : NULL, &c);
    if (!s) s = dnnl_primitive_desc_create(&o->desc, &d, o->attr, hone_onednn_engine(), NULL);
#endif
    return s ? hone_onednn_fail(s, "no such product") : HONE_OK;
}

static int describe(struct hone_onednn *o, const struct hone_problem *p,
                    const struct hone_config *c)
{
    const int64_t m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const int own = c->v[CALL] == OWN;
    memset(o, 0, sizeof *o);
    o->threads = c->v[THREADS];
    hone_onednn_add(o, p, DNNL_ARG_SRC, GEMM_A, 0, 2, (int64_t[]){ m, k },
                    p->layout == GEMM_TN ? (int64_t[]){ 1, m } : (int64_t[]){ k, 1 }, own);
    hone_onednn_add(o, p, DNNL_ARG_WEIGHTS, GEMM_B, 0, 2, (int64_t[]){ k, n },
                    p->layout == GEMM_NT ? (int64_t[]){ 1, k } : (int64_t[]){ n, 1 }, own);
    hone_onednn_add(o, p, DNNL_ARG_DST, GEMM_C, p->value[GEMM_BETA] != 0 ? 2 : 1, 2,
                    (int64_t[]){ m, n }, (int64_t[]){ n, 1 }, own);
    if (hone_problem_has(p, "bias"))
        hone_onednn_add(o, p, DNNL_ARG_BIAS, GEMM_BIAS, 0, 2, (int64_t[]){ 1, n },
                        (int64_t[]){ n, 1 }, 0);
    make_attr(o, p, hone_act_of(p));
    int before = hone_onednn_begin(o->threads), err = make_desc(o);
    hone_onednn_end(before);
    return err;
}

/* ---- the kernel ---- */

/* Which halves there are depends on the processor and the version; only the primitive knows. */
static const char *refuse_half(const struct hone_problem *p)
{
    struct hone_onednn o;
    const struct hone_config c = { { PLAIN, 1 } };
    const enum hone_act act = hone_act_of(p);
    if (act != HONE_ACT_none && eltwise_of(act) == dnnl_alg_kind_undef &&
        !hone_problem_has(p, "wide"))
        return "its activation would follow the rounding of C";
    int err = describe(&o, p, &c);
    hone_onednn_close(&o);
    return err ? "oneDNN has no such product in halves here" : NULL;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (p->value[GEMM_ALPHA] != 1 && hone_problem_has(p, "bias"))
        return "alpha would scale the bias";
    return hone_dtype_is_half(p->dtype) ? refuse_half(p) : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)d;
    return c->v[CALL] != SGEMM || p->dtype == HONE_F32;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[CALL] = PLAIN;
    c->v[THREADS] = 1;
    while (p->op->flops(p) > 5e6 && c->v[THREADS] < 64 && 2 * c->v[THREADS] <= d->ncores)
        c->v[THREADS] *= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct hone_onednn o;
    size_t bytes = 0;
    (void)d;
    if (c->v[CALL] == SGEMM) return 0;
    if (!describe(&o, p, c) && !hone_onednn_measure(&o)) bytes = o.workspace_bytes;
    hone_onednn_close(&o);
    return bytes;
}

static void release(struct hone_plan *plan)
{
    struct product *q = plan->priv;
    if (q) hone_onednn_close(&q->o);
    free(q);
    plan->priv = NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_problem *p = &plan->problem;
    struct product *q = plan->priv = calloc(1, sizeof *q);
    int sgemm = plan->config.v[CALL] == SGEMM;
    if (!q) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *q);
    q->act = hone_act_of(p);
    q->bias = sgemm && hone_problem_has(p, "bias");
    if (sgemm) return HONE_OK;
    if (eltwise_of(q->act) != dnnl_alg_kind_undef) q->act = HONE_ACT_none;
    int err = describe(&q->o, p, &plan->config);
    if (!err) err = hone_onednn_prepare(&q->o);
    if (err) release(plan);
    return err;
}

static int call_sgemm(const struct hone_plan *plan, void *const mem[])
{
    const struct hone_problem *p = &plan->problem;
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const int at = p->layout == GEMM_TN, bt = p->layout == GEMM_NT;
    int before = hone_onednn_begin(plan->config.v[THREADS]);
    dnnl_status_t s = dnnl_sgemm(at ? 'T' : 'N', bt ? 'T' : 'N', m, n, k,
                                 (float)p->value[GEMM_ALPHA], mem[GEMM_A], at ? m : k, mem[GEMM_B],
                                 bt ? k : n, (float)p->value[GEMM_BETA], mem[GEMM_C], n);
    hone_onednn_end(before);
    return s ? hone_onednn_fail(s, "sgemm") : HONE_OK;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct product *q = plan->priv;
    const struct hone_problem *p = &plan->problem;
    int err = plan->config.v[CALL] == SGEMM ? call_sgemm(plan, mem)
                                            : hone_onednn_run(&q->o, mem, workspace);
    if (!err)
        hone_epilogue(q->act, mem[GEMM_C], p->dim[GEMM_N], p->dim[GEMM_M], p->dim[GEMM_N],
                      q->bias ? mem[GEMM_BIAS] : NULL);
    return err;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel hone_gemm_lib_onednn = {
    .name = "lib_onednn",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .build = HONE_LIB,
    .dtypes = 1u << HONE_F32 | HONE_HALVES,
    .version = hone_onednn_version,
    .param = { HONE_PARAM("call", PLAIN, OWN, SGEMM),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
    .reorder_ms = hone_onednn_reorder_ms,
};
