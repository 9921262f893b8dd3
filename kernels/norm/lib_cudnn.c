/* cuDNN's batch normalisation.  Rows are images of one pixel.  The normalisation with running
 * statistics is a graph of single numbers, since cuDNN's own takes 1 / sqrt(variance + eps) and our
 * op has the variance. */
#include "kernels/norm/norm.h"
#include "kernels/nvidia/cudnn_kernel.h"

extern const struct hone_kernel hone_norm_lib_cudnn;

/* ---- tensors ---- */

static dnn_descriptor rows(struct hone_cudnn_graph *g, const struct hone_problem *p, int64_t id)
{
    const int64_t size[4] = { p->dim[NORM_M], p->dim[NORM_N], 1, 1 };
    return hone_cudnn_tensor(g, id, id < 0 ? (int)DNN_DATA_FLOAT : hone_cudnn_type(p->dtype), size);
}

static dnn_descriptor column(struct hone_cudnn_graph *g, const struct hone_problem *p, int64_t id)
{
    const int64_t size[4] = { 1, p->dim[NORM_N], 1, 1 };
    return hone_cudnn_tensor(g, id, DNN_DATA_FLOAT, size);
}

static dnn_descriptor column_again(struct hone_cudnn_graph *g, const struct hone_problem *p,
                                   int arg)
{
    const int64_t size[4] = { 1, p->dim[NORM_N], 1, 1 };
    return hone_cudnn_again(g, arg, DNN_DATA_FLOAT, size);
}

/* ---- graphs ---- */

static void pointwise(struct hone_cudnn_graph *g, int mode, dnn_descriptor x, dnn_descriptor b,
                      dnn_descriptor y)
{
    hone_cudnn_add_pointwise(g, &(struct hone_cudnn_pointwise){ mode, .x = x, .b = b, .y = y });
}

/* The addend and the cut after y, which is id -1 if there are any; else the output. */
static dnn_descriptor normed(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    const int more = hone_problem_has(p, "add") || hone_act_of(p) != HONE_ACT_none;
    return rows(g, p, more ? -1 : NORM_Y);
}

static void finish(struct hone_cudnn_graph *g, const struct hone_problem *p, dnn_descriptor y,
                   int addend)
{
    const enum hone_act act = hone_act_of(p);
    if (hone_problem_has(p, "add")) {
        dnn_descriptor sum = rows(g, p, act == HONE_ACT_none ? NORM_Y : -2);
        pointwise(g, DNN_POINTWISE_ADD, y, rows(g, p, addend), sum);
        y = sum;
    }
    if (act != HONE_ACT_none) hone_cudnn_add_act(g, act, y, rows(g, p, NORM_Y));
}

static int forward(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    const int mode = DNN_BATCH_NORM, phase = DNN_NORM_FWD_TRAINING;
    dnn_descriptor op = hone_cudnn_part(g, DNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR);
    dnn_descriptor y = normed(g, p);
    const struct {
        int attr;
        dnn_descriptor part;
    } tensor[] = {
        { DNN_ATTR_OPERATION_NORM_FWD_XDESC, rows(g, p, NORM_X) },
        { DNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, column(g, p, NORM_GAMMA) },
        { DNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, column(g, p, NORM_BETA) },
        { DNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, column(g, p, NORM_MEAN) },
        { DNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, column(g, p, NORM_RSTD) },
        { DNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC, column(g, p, NORM_RMEAN) },
        { DNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_VAR_DESC, column(g, p, NORM_RVAR) },
        { DNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC, column_again(g, p, NORM_RMEAN) },
        { DNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_VAR_DESC, column_again(g, p, NORM_RVAR) },
        { DNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC, hone_cudnn_scalar(g, p->value[NORM_EPS]) },
        { DNN_ATTR_OPERATION_NORM_FWD_EXP_AVG_FACTOR_DESC,
          hone_cudnn_scalar(g, p->value[NORM_MOMENTUM]) },
        { DNN_ATTR_OPERATION_NORM_FWD_YDESC, y },
    };
    hone_cudnn_set(g, op, DNN_ATTR_OPERATION_NORM_FWD_MODE, DNN_TYPE_NORM_MODE, 1, &mode);
    hone_cudnn_set(g, op, DNN_ATTR_OPERATION_NORM_FWD_PHASE, DNN_TYPE_NORM_FWD_PHASE, 1, &phase);
    for (int i = 0; i < (int)(sizeof tensor / sizeof *tensor); i++)
        hone_cudnn_set_part(g, op, tensor[i].attr, tensor[i].part);
    hone_cudnn_add_op(g, op, "batch normalisation");
    finish(g, p, y, NORM_ADDEND);
    return g->err;
}

/* y = (x - rmean) * rsqrt(rvar + eps) * gamma + beta. */
static int inference(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    dnn_descriptor sum = column(g, p, -3), rstd = column(g, p, -4), centred = rows(g, p, -5),
                   unit = rows(g, p, -6), scaled = rows(g, p, -7), y = normed(g, p);
    pointwise(g, DNN_POINTWISE_ADD, column(g, p, INFER_RVAR),
              hone_cudnn_scalar(g, p->value[INFER_EPS]), sum);
    pointwise(g, DNN_POINTWISE_RSQRT, sum, NULL, rstd);
    pointwise(g, DNN_POINTWISE_SUB, rows(g, p, INFER_X), column(g, p, INFER_RMEAN), centred);
    pointwise(g, DNN_POINTWISE_MUL, centred, rstd, unit);
    pointwise(g, DNN_POINTWISE_MUL, unit, column(g, p, INFER_GAMMA), scaled);
    pointwise(g, DNN_POINTWISE_ADD, scaled, column(g, p, INFER_BETA), y);
    finish(g, p, y, INFER_ADDEND);
    return g->err;
}

static int backward(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    const int mode = DNN_BATCH_NORM;
    if (hone_act_of(p) != HONE_ACT_none)
        return hone_fail(HONE_EREFUSED, "cuDNN's gradient takes no activation's");
    dnn_descriptor op = hone_cudnn_part(g, DNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR);
    const struct {
        int attr;
        dnn_descriptor part;
    } tensor[] = {
        { DNN_ATTR_OPERATION_NORM_BWD_XDESC, rows(g, p, NORM_BWD_X) },
        { DNN_ATTR_OPERATION_NORM_BWD_DYDESC, rows(g, p, NORM_DY) },
        { DNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, column(g, p, NORM_BWD_MEAN) },
        { DNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, column(g, p, NORM_BWD_RSTD) },
        { DNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, column(g, p, NORM_BWD_GAMMA) },
        { DNN_ATTR_OPERATION_NORM_BWD_DXDESC, rows(g, p, NORM_DX) },
        { DNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, column(g, p, NORM_DGAMMA) },
        { DNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, column(g, p, NORM_DBETA) },
    };
    hone_cudnn_set(g, op, DNN_ATTR_OPERATION_NORM_BWD_MODE, DNN_TYPE_NORM_MODE, 1, &mode);
    for (int i = 0; i < (int)(sizeof tensor / sizeof *tensor); i++)
        hone_cudnn_set_part(g, op, tensor[i].attr, tensor[i].part);
    hone_cudnn_add_op(g, op, "batch normalisation's gradient");
    return g->err;
}

static int build(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    if (norm_keeps_less(p))
        return hone_fail(HONE_EREFUSED, "an output computed again is of processors");
    if (hone_problem_is(p, bnorm_fwd)) return forward(g, p);
    return hone_problem_is(p, bnorm_infer) ? inference(g, p) : backward(g, p);
}

HONE_CUDNN_FUNCTIONS(build)

static const struct hone_op *const ops[] = { &hone_op_bnorm_fwd, &hone_op_bnorm_infer,
                                             &hone_op_bnorm_bwd, NULL };

const struct hone_kernel hone_norm_lib_cudnn = { .name = "lib_cudnn",
                                                 .ops = ops,
                                                 HONE_CUDNN_MEMBERS };
