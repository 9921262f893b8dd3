/* scale on a GPU is one pass, unscale two: only when all blocks have looked is it known what the
 * gradients become. */
#include "kernels/backend/cuda.h"
#include "kernels/scale/cuda_flat.h"
#include "kernels/scale/scale.h"

enum { BLOCK };

static int is_back(const struct hone_problem *p) { return hone_problem_is(p, unscale); }

static struct scale_flat_sizes sizes_of(const struct hone_problem *p, const struct hone_config *c,
                                        const struct hone_device *d)
{
    return (struct scale_flat_sizes){ p->dim[SCALE_N], is_back(p) ? p->dim[UNSCALE_R] : 1,
                                      is_back(p),
                                      (int)hone_cuda_blocks(d, p->dim[SCALE_N], c->v[BLOCK]) };
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    return is_back(p) ? (size_t)sizes_of(p, c, d).blocks * sizeof(float) : 0;
}

static int prepare(struct hone_plan *plan)
{
    const struct scale_flat_sizes s = sizes_of(&plan->problem, &plan->config, plan->device);
    const struct hone_cuda_code code = { .function = { "scale_flat",
                                                       s.back ? "scale_flat_end" : NULL },
                                         HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct scale_flat_sizes s = sizes_of(&plan->problem, &plan->config, plan->device);
    const struct hone_cuda_shape shape = { { (unsigned)s.blocks, 1, 1 },
                                           { (unsigned)plan->config.v[BLOCK], 1, 1 },
                                           32 * sizeof(float) };
    const struct scale_flat a = { mem[0], mem[1], s.back ? mem[UNSCALE_HYPER] : NULL, workspace,
                                  s.back ? mem[UNSCALE_TABLE] : NULL, s };
    int err = hone_cuda_launch(plan, 0, &shape, &a);
    return err || !s.back ? err : hone_cuda_launch(plan, 1, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_scale, &hone_op_unscale, NULL };

const struct hone_kernel hone_scale_cuda_flat = {
    .name = "cuda_flat", .ops = ops, HONE_CUDA_F32,
    .param = { HONE_PARAM("block", 256, 128, 512) },
    .workspace = workspace, .prepare = prepare, .run = run,
};
