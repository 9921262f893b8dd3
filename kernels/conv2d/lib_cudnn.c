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

/* (n, c, h, w) of an argument, whose dimensions are (n, h, w, c), or in nchw these. */
static void size_of(const struct hone_cudnn_graph *g, const struct hone_arg *arg, int64_t size[4])
{
    const int64_t *d = arg->dim;
    const int channels = g->nchw ? 1 : 3, rows = g->nchw ? 2 : 1;
    size[0] = d[0], size[1] = d[channels], size[2] = d[rows], size[3] = d[rows + 1];
}

static dnn_descriptor tensor_of(struct hone_cudnn_graph *g, const struct hone_arg *arg, int id)
{
    int64_t size[4];
    size_of(g, &arg[id], size);
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
    int64_t size[4];
    size_of(g, y, size);
    return hone_cudnn_tensor(g, id, DNN_DATA_FLOAT, size);
}

/* Bias and activation after the product, which `y` holds. */
static void add_epilogue(struct hone_cudnn_graph *g, const struct hone_problem *p,
                         const struct hone_arg *arg, dnn_descriptor y, dnn_descriptor out)
{
    const enum hone_act act = hone_act_of(p);
    if (hone_problem_has(p, "bias")) {
        const int64_t size[4] = { 1, p->dim[CONV_OC], 1, 1 };
        dnn_descriptor b =
            hone_cudnn_tensor(g, CONV_BIAS, hone_cudnn_type(arg[CONV_BIAS].dtype), size);
        dnn_descriptor sum = act == HONE_ACT_none ? out : between(g, &arg[CONV_Y], -2);
        hone_cudnn_add_pointwise(g, &(struct hone_cudnn_pointwise){ DNN_POINTWISE_ADD, .x = y,
                                                                    .b = b, .y = sum });
        y = sum;
    }
    if (act != HONE_ACT_none) hone_cudnn_add_act(g, act, y, out);
}

static int build(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    struct hone_arg arg[HONE_MAX_ARGS];
    const struct pass *pass = passes;
    const float one = 1, zero = 0;
    g->nchw = p->layout == CONV_NCHW;
    g->tf32 = hone_problem_has(p, "tf32");
    g->needs_f32 = p->dtype == HONE_F32 && !g->tf32;
    p->op->args(p, arg);
    while (pass->op != p->op) pass++;
    const int fused = hone_problem_is(p, conv2d_fwd) &&
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
    hone_cudnn_add_op(g, op, "the convolution's operation");
    if (fused) add_epilogue(g, p, arg, tensor[0], out);
    return g->err;
}

/* ---- the kernel ---- */

HONE_CUDNN_FUNCTIONS(build)

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_lib_cudnn = {
    .name = "lib_cudnn", .ops = ops, HONE_CUDNN_MEMBERS
};
