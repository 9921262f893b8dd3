/* cuDNN's pooling: its operation is called resampling.  The gradient of a maximum needs the maximum
 * or its place from the forward pass, in cuDNN's own numbering; ours finds it again from x, or
 * counts places from where the window begins: cuDNN has none such. */
#include "kernels/nvidia/cudnn_kernel.h"
#include "kernels/pool/pool.h"

extern const struct hone_kernel hone_pool_lib_cudnn;

static dnn_descriptor resampling(struct hone_cudnn_graph *g, const struct hone_problem *p, int max)
{
    const int32_t *d = p->dim;
    const int64_t dims = 2, window[2] = { d[POOL_KH], d[POOL_KW] },
                  stride[2] = { d[POOL_SH], d[POOL_SW] }, before[2] = { d[POOL_PH], d[POOL_PW] },
                  after[2] = {
                      (d[POOL_OH] - (int64_t)1) * stride[0] + window[0] - d[POOL_IH] - before[0],
                      (d[POOL_OW] - (int64_t)1) * stride[1] + window[1] - d[POOL_IW] - before[1]
                  };
    const int type = DNN_DATA_FLOAT, padding = max ? DNN_NEG_INF_PAD : DNN_ZERO_PAD,
              mode = max                                  ? DNN_RESAMPLE_MAXPOOL
                     : hone_problem_has(p, "include_pad") ? DNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING
                                                          : DNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING;
    dnn_descriptor r = hone_cudnn_part(g, DNN_BACKEND_RESAMPLE_DESCRIPTOR);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_MODE, DNN_TYPE_RESAMPLE_MODE, 1, &mode);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_COMP_TYPE, DNN_TYPE_DATA_TYPE, 1, &type);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_SPATIAL_DIMS, DNN_TYPE_INT64, 1, &dims);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_PADDING_MODE, DNN_TYPE_PADDING_MODE, 1, &padding);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_PRE_PADDINGS, DNN_TYPE_INT64, 2, before);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_POST_PADDINGS, DNN_TYPE_INT64, 2, after);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_STRIDES, DNN_TYPE_INT64, 2, stride);
    hone_cudnn_set(g, r, DNN_ATTR_RESAMPLE_WINDOW_DIMS, DNN_TYPE_INT64, 2, window);
    hone_cudnn_finish(g, r, "pooling");
    return r;
}

/* The operation forward and backward: the arguments that are large and small, and where they go. */
static const struct pass {
    int kind, how, large, small, large_at, small_at;
} passes[2] = {
    { DNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR, DNN_ATTR_OPERATION_RESAMPLE_FWD_DESC, POOL_X,
      POOL_Y, DNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC, DNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC },
    { DNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR, DNN_ATTR_OPERATION_RESAMPLE_BWD_DESC, POOL_DX,
      POOL_DY, DNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC, DNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC },
};

static int build(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    const int64_t large[4] = { d[POOL_MB], d[POOL_IC], d[POOL_IH], d[POOL_IW] },
                  small[4] = { d[POOL_MB], d[POOL_IC], d[POOL_OH], d[POOL_OW] };
    const int type = hone_cudnn_type(p->dtype);
    if (pool_has_index(p))
        return hone_fail(HONE_EREFUSED, "cuDNN numbers the places of a window in a way of its own");
    const struct pass *pass = &passes[hone_problem_is(p, avgpool_bwd)];
    dnn_descriptor r = resampling(g, p, hone_problem_is(p, maxpool_fwd)),
                   op = hone_cudnn_part(g, pass->kind);
    hone_cudnn_set_part(g, op, pass->large_at, hone_cudnn_tensor(g, pass->large, type, large));
    hone_cudnn_set_part(g, op, pass->small_at, hone_cudnn_tensor(g, pass->small, type, small));
    hone_cudnn_set_part(g, op, pass->how, r);
    hone_cudnn_add_op(g, op, "pooling");
    return g->err;
}

HONE_CUDNN_FUNCTIONS(build)

static const struct hone_op *const ops[] = { &hone_op_maxpool_fwd, &hone_op_avgpool_fwd,
                                             &hone_op_avgpool_bwd, NULL };

const struct hone_kernel hone_pool_lib_cudnn = { .name = "lib_cudnn",
                                                 .ops = ops,
                                                 HONE_CUDNN_MEMBERS };
