/* oneDNN's direct convolution, three passes: activations as they lie and weights in its own layout
 * (own=0), or all in its own layout (own=1).  What has to be reordered is reordered in every run:
 * weights change with every step.  Bias and exact activations go into the primitive.  Halves are
 * summed in floats, and the weights' gradient stays floats. */
#include "kernels/activation/vector.h"
#include "kernels/backend/onednn.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/gather.h"

#include <stdlib.h>

enum { OWN, THREADS };

struct pass {
    struct hone_onednn o;       /* first: hone_onednn_reorder_ms() looks there */
    enum hone_act act;          /* what is left to do after the primitive */
};

/* ---- the primitive ---- */

/* Places in o->arg; our arguments have another order in each pass. */
enum { SRC, WEIGHTS, DST, BIAS };

static void add_args(struct hone_onednn *o, const struct hone_problem *p, int own)
{
    const struct conv v = conv_of(p);
    const struct conv_steps x = conv_steps_of(p, v.ic, v.ih, v.iw),
                            w = conv_steps_of(p, v.icg, v.kh, v.kw),
                            y = conv_steps_of(p, v.oc, v.oh, v.ow);
    const int dgrad = hone_problem_is(p, conv2d_dgrad), wgrad = hone_problem_is(p, conv2d_wgrad);
    hone_onednn_add(o, p, dgrad ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, dgrad ? CONV_DX : CONV_X,
                    dgrad, 4, (int64_t[]){ v.mb, v.ic, v.ih, v.iw },
                    (int64_t[]){ x.n, x.c, x.h, x.w }, own);
    /* A group is a dimension of its own. */
    int64_t size[] = { v.g, v.ocg, v.icg, v.kh, v.kw };
    int64_t stride[] = { v.ocg * w.n, w.n, w.c, w.h, w.w };
    hone_onednn_add(o, p, wgrad ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
                    wgrad ? CONV_DWT : CONV_W, wgrad, v.g > 1 ? 5 : 4, v.g > 1 ? size : size + 1,
                    v.g > 1 ? stride : stride + 1, 1);
    hone_onednn_add(o, p, dgrad || wgrad ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST,
                    dgrad ? CONV_DX_DY : wgrad ? CONV_DWT_DY : CONV_Y, !dgrad && !wgrad, 4,
                    (int64_t[]){ v.mb, v.oc, v.oh, v.ow }, (int64_t[]){ y.n, y.c, y.h, y.w }, own);
    if (hone_problem_is(p, conv2d_fwd) && hone_problem_has(p, "bias"))
        hone_onednn_add(o, p, DNNL_ARG_BIAS, CONV_BIAS, 0, 1, (int64_t[]){ v.oc },
                        (int64_t[]){ 1 }, 0);
}

static int in_primitive(enum hone_act act) { return act == HONE_ACT_relu || act == HONE_ACT_relu6; }

static void make_attr(struct hone_onednn *o, enum hone_act act)
{
    dnnl_post_ops_t ops;
    dnnl_primitive_attr_create(&o->attr);
    dnnl_primitive_attr_set_scratchpad_mode(o->attr, dnnl_scratchpad_mode_user);
    if (!in_primitive(act)) return;
    dnnl_post_ops_create(&ops);
#if DNNL_VERSION_MAJOR >= 3
    if (act == HONE_ACT_relu) dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
    else dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_clip, 0, 6);
#else
    if (act == HONE_ACT_relu) dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
    else dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_clip, 0, 6);
#endif
    dnnl_primitive_attr_set_post_ops(o->attr, ops);
    dnnl_post_ops_destroy(ops);
}

/* Strides, distances between taps less one, padding before and after. */
struct window {
    dnnl_dims_t stride, dilate, before, after;
};

static struct window window_of(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    return (struct window){
        { v.sh, v.sw },
        { v.dh - 1, v.dw - 1 },
        { v.ph, v.pw },
        { (v.oh - 1) * (int64_t)v.sh + (v.kh - 1) * (int64_t)v.dh + 1 - v.ih - v.ph,
          (v.ow - 1) * (int64_t)v.sw + (v.kw - 1) * (int64_t)v.dw + 1 - v.iw - v.pw },
    };
}

#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t make_desc(struct hone_onednn *o, const struct hone_problem *p)
{
    const struct window w = window_of(p);
    const dnnl_memory_desc_t x = o->arg[SRC].any, k = o->arg[WEIGHTS].any, y = o->arg[DST].any;
    const dnnl_engine_t engine = hone_onednn_engine();
    const int fwd = hone_problem_is(p, conv2d_fwd);
    dnnl_status_t s = dnnl_convolution_forward_primitive_desc_create(
        fwd ? &o->desc : &o->hint, engine, dnnl_forward_training, dnnl_convolution_direct, x,
        fwd ? k : o->arg[WEIGHTS].hint, o->nargs > BIAS ? o->arg[BIAS].any : NULL, y, w.stride,
        w.dilate, w.before, w.after, fwd ? o->attr : NULL);
    if (s || fwd) return s;
    if (hone_problem_is(p, conv2d_dgrad))
        return dnnl_convolution_backward_data_primitive_desc_create(
            &o->desc, engine, dnnl_convolution_direct, x, k, y, w.stride, w.dilate, w.before,
            w.after, o->hint, o->attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        &o->desc, engine, dnnl_convolution_direct, x, k, NULL, y, w.stride, w.dilate, w.before,
        w.after, o->hint, o->attr);
}
#else
static dnnl_status_t make_desc(struct hone_onednn *o, const struct hone_problem *p)
{
    const struct window w = window_of(p);
    const dnnl_memory_desc_t *x = &o->arg[SRC].any, *k = &o->arg[WEIGHTS].any,
                             *y = &o->arg[DST].any;
    const dnnl_engine_t engine = hone_onednn_engine();
    const int fwd = hone_problem_is(p, conv2d_fwd);
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_training, dnnl_convolution_direct, x, fwd ? k : &o->arg[WEIGHTS].hint,
        o->nargs > BIAS ? &o->arg[BIAS].any : NULL, y, w.stride, w.dilate, w.before, w.after);
    if (!s)
        s = dnnl_primitive_desc_create(fwd ? &o->desc : &o->hint, &d, fwd ? o->attr : NULL, engine,
                                       NULL);
    if (s || fwd) return s;
    s = hone_problem_is(p, conv2d_dgrad)
            ? dnnl_dilated_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, x, k, y,
                                                               w.stride, w.dilate, w.before,
                                                               w.after)
            : dnnl_dilated_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, x, k,
                                                                  NULL, y, w.stride, w.dilate,
                                                                  w.before, w.after);
    return s ? s : dnnl_primitive_desc_create(&o->desc, &d, o->attr, engine, o->hint);
}
#endif

static int describe(struct hone_onednn *o, const struct hone_problem *p,
                    const struct hone_config *c)
{
    memset(o, 0, sizeof *o);
    o->threads = c->v[THREADS];
    add_args(o, p, c->v[OWN]);
    make_attr(o, hone_problem_is(p, conv2d_fwd) ? hone_act_of(p) : HONE_ACT_none);
    int before = hone_onednn_begin(o->threads);
    dnnl_status_t s = make_desc(o, p);
    hone_onednn_end(before);
    return s ? hone_onednn_fail(s, "no such convolution") : HONE_OK;
}

/* ---- the kernel ---- */

/* A dimension without any taps on the input is beyond what its padding may be. */
static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    struct hone_onednn o;
    struct hone_config c = { { 0, 1 } };
    (void)d;
    if (hone_dtype_is_half(p->dtype) && hone_problem_is(p, conv2d_fwd) &&
        hone_act_of(p) != HONE_ACT_none && !in_primitive(hone_act_of(p)))
        return "its activation would follow the rounding of y";
    int err = describe(&o, p, &c);
    hone_onednn_close(&o);
    return !err                          ? NULL
           : hone_dtype_is_half(p->dtype) ? "oneDNN has no such convolution in halves here"
                                          : "oneDNN has no direct convolution of this shape";
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[OWN] = 0;
    c->v[THREADS] = hone_conv2d_threads(p, d);
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct hone_onednn o;
    size_t bytes = 0;
    (void)d;
    if (!describe(&o, p, c) && !hone_onednn_measure(&o)) bytes = o.workspace_bytes;
    hone_onednn_close(&o);
    return bytes;
}

static void release(struct hone_plan *plan)
{
    struct pass *q = plan->priv;
    if (q) hone_onednn_close(&q->o);
    free(q);
    plan->priv = NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_problem *p = &plan->problem;
    struct pass *q = plan->priv = calloc(1, sizeof *q);
    if (!q) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *q);
    q->act = hone_problem_is(p, conv2d_fwd) ? hone_act_of(p) : HONE_ACT_none;
    if (in_primitive(q->act)) q->act = HONE_ACT_none;
    int err = describe(&q->o, p, &plan->config);
    if (!err) err = hone_onednn_prepare(&q->o);
    if (err) release(plan);
    return err;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct pass *q = plan->priv;
    const int32_t *d = plan->problem.dim;
    int err = hone_onednn_run(&q->o, mem, workspace);
    if (!err && q->act != HONE_ACT_none)
        gather_activate(q->act, mem[CONV_Y],
                        (int64_t)d[CONV_MB] * d[CONV_OH] * d[CONV_OW] * d[CONV_OC]);
    return err;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_lib_onednn = {
    .name = "lib_onednn",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .build = HONE_LIB,
    .dtypes = 1u << HONE_F32 | HONE_HALVES,
    .version = hone_onednn_version,
    .param = { HONE_PARAM("own", 0, 1), CONV_THREADS },
    .refuse = refuse,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
    .reorder_ms = hone_onednn_reorder_ms,
};
