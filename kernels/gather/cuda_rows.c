/* Batches out of a data set that lies in a GPU's memory. */
#include "kernels/backend/cuda.h"
#include "kernels/gather/cuda_rows.h"
#include "kernels/gather/gather.h"

enum { BLOCK };

static struct gather_rows_sizes sizes_of(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return (struct gather_rows_sizes){ d[GATHER_M], d[GATHER_H], d[GATHER_W], d[GATHER_C],
                                       d[GATHER_O], (int)p->value[GATHER_CROP],
                                       gather_has(p, GATHER_FLIP), gather_has(p, GATHER_BYTES) };
}

static int prepare(struct hone_plan *plan)
{
    const struct gather_rows_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = { .function = { "gather_rows" }, HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int block = plan->config.v[BLOCK];
    const struct gather_rows a = { mem[GATHER_Y], mem[GATHER_T], mem[GATHER_X], mem[GATHER_TARGET],
                                   mem[GATHER_ORDER], mem[GATHER_TABLE], mem[GATHER_KEY],
                                   sizes_of(p) };
    const int64_t numbers = p->dim[GATHER_M] * (gather_len(p) + p->dim[GATHER_O]);
    const struct hone_cuda_shape shape = { { hone_cuda_blocks(plan->device, numbers, block), 1, 1 },
                                           { (unsigned)block, 1, 1 }, 0 };
    (void)workspace;
    return hone_cuda_launch(plan, 0, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_gather, NULL };

const struct hone_kernel hone_gather_cuda_rows = {
    .name = "cuda_rows", .ops = ops, HONE_CUDA_F32,
    .param = { HONE_PARAM("block", 256, 128, 512, 1024) }, .prepare = prepare, .run = run,
};
