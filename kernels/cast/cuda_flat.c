/* Casts between f32 and halves on a GPU. */
#include "kernels/backend/cuda.h"
#include "kernels/cast/cast.h"
#include "kernels/cast/cuda_flat.h"

enum { BLOCK };

static struct cast_flat_sizes sizes_of(const struct hone_problem *p)
{
    return (struct cast_flat_sizes){ p->dim[CAST_N], hone_problem_is(p, widen),
                                     hone_cuda_half(p->dtype) };
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return hone_problem_is(p, narrow) && p->dim[CAST_M] > 1 ? "it has several rows" : NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct cast_flat_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = { .function = { "cast_flat" }, HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int block = plan->config.v[BLOCK];
    const struct cast_flat a = { mem[CAST_Y], mem[CAST_X], sizes_of(&plan->problem) };
    const struct hone_cuda_shape shape = {
        { hone_cuda_blocks(plan->device, ((int64_t)a.s.n + 3) / 4, block), 1, 1 },
        { (unsigned)block, 1, 1 }, 0
    };
    (void)workspace;
    return hone_cuda_launch(plan, 0, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_narrow, &hone_op_widen, NULL };

const struct hone_kernel hone_cast_cuda_flat = {
    .name = "cuda_flat", .ops = ops, HONE_CUDA(HONE_HALVES),
    .param = { HONE_PARAM("block", 256, 128, 512, 1024) }, .refuse = refuse, .prepare = prepare,
    .run = run,
};
