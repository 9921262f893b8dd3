/* Operations of cuDNN's graphs on single numbers, and activations as such. */
#include "kernels/nvidia/cudnn.h"

void hone_cudnn_add_pointwise(struct hone_cudnn_graph *g, const struct hone_cudnn_pointwise *o)
{
    const int type = DNN_DATA_FLOAT;
    const struct {
        int attr;
        dnn_descriptor part;
    } tensor[] = {
        { DNN_ATTR_OPERATION_POINTWISE_XDESC, o->x },
        { DNN_ATTR_OPERATION_POINTWISE_BDESC, o->b },
        { DNN_ATTR_OPERATION_POINTWISE_YDESC, o->y },
        { DNN_ATTR_OPERATION_POINTWISE_DYDESC, o->dy },
        { DNN_ATTR_OPERATION_POINTWISE_DXDESC, o->dx },
    };
    dnn_descriptor d = hone_cudnn_part(g, DNN_BACKEND_POINTWISE_DESCRIPTOR);
    hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_MODE, DNN_TYPE_POINTWISE_MODE, 1, &o->mode);
    hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_MATH_PREC, DNN_TYPE_DATA_TYPE, 1, &type);
    if (o->upper > 0)
        hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_RELU_UPPER_CLIP, DNN_TYPE_DOUBLE, 1, &o->upper);
    if (o->slope > 0)
        hone_cudnn_set(g, d, DNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, DNN_TYPE_DOUBLE, 1,
                       &o->slope);
    hone_cudnn_finish(g, d, "a pointwise operation");
    dnn_descriptor op = hone_cudnn_part(g, DNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    hone_cudnn_set_part(g, op, DNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
    for (int i = 0; i < (int)(sizeof tensor / sizeof *tensor); i++)
        if (tensor[i].part) hone_cudnn_set_part(g, op, tensor[i].attr, tensor[i].part);
    hone_cudnn_add_op(g, op, "a pointwise operation");
}

/* ---- activations ---- */

static const struct {
    int forward, backward;
    double upper, slope;
} acts[HONE_NACTS] = {
    [HONE_ACT_relu] = { DNN_POINTWISE_RELU_FWD, DNN_POINTWISE_RELU_BWD, 0, 0 },
    [HONE_ACT_relu6] = { DNN_POINTWISE_RELU_FWD, DNN_POINTWISE_RELU_BWD, 6, 0 },
    [HONE_ACT_leaky_relu] = { DNN_POINTWISE_RELU_FWD, DNN_POINTWISE_RELU_BWD, 0, HONE_LEAKY_SLOPE },
    [HONE_ACT_sigmoid] = { DNN_POINTWISE_SIGMOID_FWD, 0, 0, 0 },
    [HONE_ACT_tanh] = { DNN_POINTWISE_TANH_FWD, 0, 0, 0 },
    [HONE_ACT_gelu_erf] = { DNN_POINTWISE_GELU_FWD, DNN_POINTWISE_GELU_BWD, 0, 0 },
    [HONE_ACT_gelu_tanh] = { DNN_POINTWISE_GELU_APPROX_TANH_FWD, DNN_POINTWISE_GELU_APPROX_TANH_BWD,
                             0, 0 },
    [HONE_ACT_silu] = { DNN_POINTWISE_SWISH_FWD, DNN_POINTWISE_SWISH_BWD, 0, 0 },
};

void hone_cudnn_add_act(struct hone_cudnn_graph *g, enum hone_act act, dnn_descriptor x,
                        dnn_descriptor y)
{
    hone_cudnn_add_pointwise(g, &(struct hone_cudnn_pointwise){ acts[act].forward, acts[act].upper,
                                                                acts[act].slope, .x = x, .y = y });
}

static void step(struct hone_cudnn_graph *g, int mode, dnn_descriptor x, dnn_descriptor b,
                 dnn_descriptor y)
{
    hone_cudnn_add_pointwise(g, &(struct hone_cudnn_pointwise){ mode, .x = x, .b = b, .y = y });
}

/* cuDNN's own gradients of these are from x: dx = dy y (1 - y). */
static void sigmoid_bwd(struct hone_cudnn_graph *g, const struct hone_cudnn_gradient *o)
{
    dnn_descriptor minus = hone_cudnn_tensor(g, -1, DNN_DATA_FLOAT, o->size),
                   rest = hone_cudnn_tensor(g, -2, DNN_DATA_FLOAT, o->size),
                   slope = hone_cudnn_tensor(g, -3, DNN_DATA_FLOAT, o->size);
    step(g, DNN_POINTWISE_NEG, o->s, NULL, minus);
    step(g, DNN_POINTWISE_ADD, minus, hone_cudnn_scalar(g, 1), rest);
    step(g, DNN_POINTWISE_MUL, rest, o->s, slope);
    step(g, DNN_POINTWISE_MUL, slope, o->dy, o->dx);
}

/* dx = dy - dy y^2. */
static void tanh_bwd(struct hone_cudnn_graph *g, const struct hone_cudnn_gradient *o)
{
    dnn_descriptor square = hone_cudnn_tensor(g, -1, DNN_DATA_FLOAT, o->size),
                   less = hone_cudnn_tensor(g, -2, DNN_DATA_FLOAT, o->size);
    step(g, DNN_POINTWISE_MUL, o->s, o->s, square);
    step(g, DNN_POINTWISE_MUL, square, o->dy, less);
    step(g, DNN_POINTWISE_SUB, o->dy, less, o->dx);
}

/* relu and its like are as well told by y as by x. */
void hone_cudnn_add_act_bwd(struct hone_cudnn_graph *g, enum hone_act act,
                            const struct hone_cudnn_gradient *o)
{
    if (act == HONE_ACT_sigmoid)
        sigmoid_bwd(g, o);
    else if (act == HONE_ACT_tanh)
        tanh_bwd(g, o);
    else
        hone_cudnn_add_pointwise(
            g, &(struct hone_cudnn_pointwise){ acts[act].backward, acts[act].upper, acts[act].slope,
                                               .x = o->s, .dy = o->dy, .dx = o->dx });
}
