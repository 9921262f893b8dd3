/* Dropout on a GPU. */
#include "kernels/backend/cuda.h"
#include "kernels/dropout/cuda_hash.h"
#include "kernels/dropout/dropout.h"

enum { BLOCK };

static struct dropout_hash_sizes sizes_of(const struct hone_problem *p)
{
    return (struct dropout_hash_sizes){ p->dim[DROP_N], (int)p->value[DROP_STREAM],
                                        (int)dropout_threshold(p->value[DROP_P]),
                                        hone_cuda_bits(1 / (1 - p->value[DROP_P])),
                                        hone_cuda_half(p->dtype) };
}

static int prepare(struct hone_plan *plan)
{
    const struct dropout_hash_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = { .function = { "dropout_hash" }, HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int block = plan->config.v[BLOCK];
    const struct dropout_hash a = { mem[DROP_Y], mem[DROP_X], mem[DROP_SEED],
                                    sizes_of(&plan->problem) };
    const struct hone_cuda_shape shape = {
        { hone_cuda_blocks(plan->device, ((int64_t)a.s.n + 1) / 2, block), 1, 1 },
        { (unsigned)block, 1, 1 }, 0
    };
    (void)workspace;
    return hone_cuda_launch(plan, 0, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_dropout, NULL };

const struct hone_kernel hone_dropout_cuda_hash = {
    .name = "cuda_hash", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("block", 256, 128) }, .prepare = prepare, .run = run,
};
