/* Losses and their gradients on a GPU: a warp a row. */
#include "kernels/backend/cuda.h"
#include "kernels/loss/cuda_rows.h"
#include "kernels/loss/loss.h"

enum { BLOCK };

static const struct hone_op *const ops[] = { &hone_op_mse, &hone_op_mae, &hone_op_huber,
                                             &hone_op_softmax_ce, &hone_op_distill, NULL };

static struct loss_rows_sizes sizes_of(const struct hone_problem *p)
{
    int kind = LOSS_ROWS_MSE;
    while (ops[kind] != p->op) kind++;
    return (struct loss_rows_sizes){ p->dim[LOSS_M], p->dim[LOSS_N], kind,
                                     hone_cuda_bits(p->value[0]),
                                     hone_cuda_bits(p->value[DISTILL_MIX]) };
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[LOSS_N] >= 1 << 24 ? "n has more than 24 bits" : NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct loss_rows_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = {
        .function = { plan->problem.op == &hone_op_softmax_ce ? "loss_rows_softmax"
                      : plan->problem.op == &hone_op_distill  ? "loss_rows_distill"
                                                              : "loss_rows_error" },
        HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int block = plan->config.v[BLOCK], ce = plan->problem.op == &hone_op_softmax_ce;
    const struct loss_rows_sizes s = sizes_of(&plan->problem);
    const struct loss_rows a =
        plan->problem.op == &hone_op_distill
            ? (struct loss_rows){ mem[DISTILL_DX], mem[DISTILL_LOSS], mem[DISTILL_HIT],
                                  mem[DISTILL_X], mem[DISTILL_Z], mem[DISTILL_LABEL], s }
        : ce ? (struct loss_rows){ mem[CE_DX], mem[CE_LOSS], mem[CE_HIT], mem[CE_X], NULL,
                                 mem[CE_LABEL], s }
           : (struct loss_rows){ mem[ERR_DX], mem[ERR_LOSS], NULL, mem[ERR_X], mem[ERR_T], NULL, s };
    const struct hone_cuda_shape shape = {
        { hone_cuda_blocks(plan->device, 32ll * s.m, block), 1, 1 }, { (unsigned)block, 1, 1 }, 0
    };
    (void)workspace;
    return hone_cuda_launch(plan, 0, &shape, &a);
}

const struct hone_kernel hone_loss_cuda_rows = {
    .name = "cuda_rows", .ops = ops, HONE_CUDA_F32,
    .param = { HONE_PARAM("block", 128, 64, 256) }, .refuse = refuse, .prepare = prepare, .run = run,
};
