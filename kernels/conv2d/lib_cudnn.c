/* cuDNN's convolutions, three passes, by its graph interface: an engine and a setting of its knobs
 * is a configuration.  Bias and activation are operations of the same graph, so that an engine that
 * fuses them is found where there is one.
 *
 * Lists are made here and on machines without a GPU; running has been compiled only: not run on a
 * GPU yet. */
#include "kernels/conv2d/conv2d.h"
#include "kernels/nvidia/cudnn_kernel.h"

extern const struct hone_kernel hone_conv2d_lib_cudnn;

/* ---- the graph ---- */

/* (n, c, h, w) of an argument, whose dimensions are (n, h, w, c). */
static dnn_descriptor tensor_of(struct hone_cudnn_graph *g, const struct hone_arg *arg, int id)
{
    const int64_t *d = arg[id].dim, size[4] = { d[0], d[3], d[1], d[2] };
    return hone_cudnn_tensor(g, id, hone_cudnn_type(arg[id].dtype), size);
}

static dnn_descriptor convolution(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    const int64_t dims = 2, before[2] = { v.ph, v.pw }, stride[2] = { v.sh, v.sw },
                  dilation[2] = { v.dh, v.dw },
                  after[2] = {
                      (v.oh - 1) * (int64_t)v.sh + (v.kh - 1) * (int64_t)v.dh + 1 - v.ih - v.ph,
                      (v.ow - 1) * (int64_t)v.sw + (v.kw - 1) * (int64_t)v.dw + 1 - v.iw - v.pw
                  };
    const int type = DNN_DATA_FLOAT, mode = DNN_CROSS_CORRELATION;
    dnn_descriptor d = hone_cudnn_part(g, DNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_SPATIAL_DIMS, DNN_TYPE_INT64, 1, &dims);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_COMP_TYPE, DNN_TYPE_DATA_TYPE, 1, &type);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_CONV_MODE, DNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_PRE_PADDINGS, DNN_TYPE_INT64, 2, before);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_POST_PADDINGS, DNN_TYPE_INT64, 2, after);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_DILATIONS, DNN_TYPE_INT64, 2, dilation);
    hone_cudnn_set(g, d, DNN_ATTR_CONVOLUTION_FILTER_STRIDES, DNN_TYPE_INT64, 2, stride);
    hone_cudnn_finish(g, d, "the convolution");
    return d;
}

/* The operation of each pass and its attributes, in the order of its arguments' roles. */
static const struct pass {
    const struct hone_op *op;
    int kind, conv, alpha, beta;
    struct {
        int attr, arg;
    } tensor[3];
} passes[] = {
    { &hone_op_conv2d_fwd,
      DNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
      DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
      DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
      DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
      { { DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CONV_Y },
        { DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CONV_X },
        { DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CONV_W } } },
    { &hone_op_conv2d_dgrad,
      DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
      DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
      DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
      DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
      { { DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CONV_DX },
        { DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CONV_DX_DY },
        { DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CONV_DX_W } } },
    { &hone_op_conv2d_wgrad,
      DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
      DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
      DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
      DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
      { { DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CONV_DWT },
        { DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CONV_DWT_X },
        { DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CONV_DWT_DY } } },
};

/* y's shape in floats, between two operations; ids of such tensors are below 0. */
static dnn_descriptor between(struct hone_cudnn_graph *g, const struct hone_arg *y, int id)
{
    const int64_t size[4] = { y->dim[0], y->dim[3], y->dim[1], y->dim[2] };
    return hone_cudnn_tensor(g, id, DNN_DATA_FLOAT, size);
}

/* out = mode(x), or mode(x, b). */
static void pointwise(struct hone_cudnn_graph *g, int mode, double upper, dnn_descriptor x,
                      dnn_descriptor b, dnn_descriptor out)
{
    const int type = DNN_DATA_FLOAT;
    dnn_descriptor d = hone_cudnn_part(g, DNN_BACKEND_POINTWISE_DESCRIPTOR);
    hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_MODE, DNN_TYPE_POINTWISE_MODE, 1, &mode);
    hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_MATH_PREC, DNN_TYPE_DATA_TYPE, 1, &type);
    if (upper > 0)
        hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_RELU_UPPER_CLIP, DNN_TYPE_DOUBLE, 1, &upper);
    hone_cudnn_finish(g, d, "a pointwise operation");
    dnn_descriptor op = hone_cudnn_part(g, DNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    hone_cudnn_set_part(g, op, DNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
    hone_cudnn_set_part(g, op, DNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) hone_cudnn_set_part(g, op, DNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    hone_cudnn_set_part(g, op, DNN_ATTR_OPERATION_POINTWISE_YDESC, out);
    hone_cudnn_finish(g, op, "a pointwise operation");
    g->op[g->nops++] = op;
}

static const struct {
    enum hone_act act;
    int mode;
    double upper;
} acts[] = {
    { HONE_ACT_relu, DNN_POINTWISE_RELU_FWD, 0 },
    { HONE_ACT_relu6, DNN_POINTWISE_RELU_FWD, 6 },
    { HONE_ACT_sigmoid, DNN_POINTWISE_SIGMOID_FWD, 0 },
    { HONE_ACT_tanh, DNN_POINTWISE_TANH_FWD, 0 },
    { HONE_ACT_gelu_erf, DNN_POINTWISE_GELU_FWD, 0 },
    { HONE_ACT_gelu_tanh, DNN_POINTWISE_GELU_APPROX_TANH_FWD, 0 },
    { HONE_ACT_silu, DNN_POINTWISE_SWISH_FWD, 0 },
};

static int act_row(enum hone_act act)
{
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (acts[i].act == act) return (int)i;
    return -1;
}

/* Bias and activation after the product, which `y` holds. */
static void add_epilogue(struct hone_cudnn_graph *g, const struct hone_problem *p,
                         const struct hone_arg *arg, dnn_descriptor y, dnn_descriptor out)
{
    const int row = act_row(hone_act_of(p));
    if (hone_problem_has(p, "bias")) {
        const int64_t size[4] = { 1, p->dim[CONV_OC], 1, 1 };
        dnn_descriptor b =
            hone_cudnn_tensor(g, CONV_BIAS, hone_cudnn_type(arg[CONV_BIAS].dtype), size);
        dnn_descriptor sum = row < 0 ? out : between(g, &arg[CONV_Y], -2);
        pointwise(g, DNN_POINTWISE_ADD, 0, y, b, sum);
        y = sum;
    }
    if (row >= 0) pointwise(g, acts[row].mode, acts[row].upper, y, NULL, out);
}

static int build(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    struct hone_arg arg[HONE_MAX_ARGS];
    const struct pass *pass = passes;
    const float one = 1, zero = 0;
    p->op->args(p, arg);
    while (pass->op != p->op) pass++;
    const int fused = p->op == &hone_op_conv2d_fwd &&
                      (hone_problem_has(p, "bias") || hone_act_of(p) != HONE_ACT_none);
    dnn_descriptor conv = convolution(g, p), tensor[3];
    for (int i = 0; i < 3; i++) tensor[i] = tensor_of(g, arg, pass->tensor[i].arg);
    dnn_descriptor out = tensor[0];
    if (fused) tensor[0] = between(g, &arg[CONV_Y], -1);
    dnn_descriptor op = hone_cudnn_part(g, pass->kind);
    for (int i = 0; i < 3; i++) hone_cudnn_set_part(g, op, pass->tensor[i].attr, tensor[i]);
    hone_cudnn_set_part(g, op, pass->conv, conv);
    hone_cudnn_set(g, op, pass->alpha, DNN_TYPE_FLOAT, 1, &one);
    hone_cudnn_set(g, op, pass->beta, DNN_TYPE_FLOAT, 1, &zero);
    hone_cudnn_finish(g, op, "the convolution's operation");
    g->op[g->nops++] = op;
    if (fused) add_epilogue(g, p, arg, tensor[0], out);
    return g->err;
}

/* ---- the kernel ---- */

/* An activation without a row would be left out of the graph. */
static const char *no_activation(const struct hone_problem *p)
{
    if (p->op != &hone_op_conv2d_fwd || hone_act_of(p) == HONE_ACT_none) return NULL;
    return act_row(hone_act_of(p)) < 0 ? "cuDNN has no such activation" : NULL;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const char *why = no_activation(p);
    return why ? why : hone_cudnn_refuse(p, d, build);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    return hone_cudnn_find(p, c, d, build) != NULL;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    hone_cudnn_guess(p, d, build, c);
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct hone_cudnn_choice *choice = hone_cudnn_find(p, c, d, build);
    return choice ? (size_t)choice->workspace_bytes : 0;
}

static int candidates(const struct hone_problem *p, const struct hone_device *d,
                      void (*f)(void *ctx, const struct hone_candidate *c), void *ctx)
{
    const char *why = no_activation(p);
    return why ? hone_fail(HONE_EREFUSED, "%s", why) : hone_cudnn_candidates(p, d, build, f, ctx);
}

static int prepare(struct hone_plan *plan) { return hone_cudnn_prepare(plan, build); }

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_lib_cudnn = {
    .name = "lib_cudnn",
    .ops = ops,
    .backend = &hone_backend_cuda,
    .build = HONE_LIB,
    .dtypes = 1u << HONE_F32 | 1u << HONE_BF16,
    .version = hone_cudnn_version,
    .param = { HONE_CUDNN_PARAMS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .candidates = candidates,
    .prepare = prepare,
    .release = hone_cudnn_release,
    .run = hone_cudnn_run,
};
