/* cuDNN's activations and their gradients: one operation of a graph. */
#include "kernels/nvidia/cudnn_kernel.h"

extern const struct hone_kernel hone_activation_lib_cudnn;

#define X(name, from_y, slope) &hone_op_##name,
#define X_BWD(name, from_y, slope) &hone_op_##name##_bwd,
static const struct hone_op *const ops[] = { HONE_ACT_MAP(X) HONE_ACT_MAP(X_BWD) NULL };
#undef X_BWD
#undef X

/* The longest rows that divide n are channels, so that loads are wide and sizes stay small. */
static void shape(int64_t n, int64_t size[4])
{
    int64_t c = 1024;
    while (n % c) c /= 2;
    size[0] = n / c, size[1] = c, size[2] = size[3] = 1;
}

static int build(struct hone_cudnn_graph *g, const struct hone_problem *p)
{
    int64_t size[4];
    int i = 0;
    while (ops[i] != p->op) i++;
    const int type = hone_cudnn_type(p->dtype), bwd = i >= HONE_NACTS;
    dnn_descriptor t[3] = { NULL };
    shape(p->dim[ACT_N], size);
    for (int k = 0; k < 2 + bwd; k++) t[k] = hone_cudnn_tensor(g, k, type, size);
    if (bwd)
        hone_cudnn_add_act_bwd(
            g, (enum hone_act)(i - HONE_NACTS),
            &(struct hone_cudnn_gradient){ size, t[ACT_S], t[ACT_DY], t[ACT_DX] });
    else
        hone_cudnn_add_act(g, (enum hone_act)i, t[ACT_X], t[ACT_Y]);
    return g->err;
}

HONE_CUDNN_FUNCTIONS(build)

const struct hone_kernel hone_activation_lib_cudnn = {
    .name = "lib_cudnn", .ops = ops, HONE_CUDNN_MEMBERS
};
