/* Optimizers on a GPU: one pass over the flat arrays; clip is two. */
#include "kernels/backend/cuda.h"
#include "kernels/optimizer/cuda_flat.h"
#include "kernels/optimizer/optimizer.h"

enum { BLOCK };

static int is_clip(const struct hone_problem *p) { return hone_problem_is(p, clip); }
static int has(const struct hone_problem *p, int attr) { return (int)(p->attrs >> attr & 1); }

/* Blocks of all launches; clip's second kernel reads as many sums. */
static unsigned blocks_of(const struct hone_problem *p, const struct hone_config *c,
                          const struct hone_device *d)
{
    return hone_cuda_blocks(d, p->dim[OPTIM_N], c->v[BLOCK]);
}

static struct optimizer_flat_sizes sizes_of(const struct hone_problem *p,
                                            const struct hone_config *c,
                                            const struct hone_device *d)
{
    struct optimizer_flat_sizes s = { .n = p->dim[OPTIM_N], .blocks = (int)blocks_of(p, c, d) };
    if (hone_problem_is(p, sgd))
        s.momentum = has(p, SGD_MOMENTUM), s.nesterov = has(p, SGD_NESTEROV), s.wd = has(p, SGD_WD);
    else if (hone_problem_is(p, adam))
        s.wd = has(p, ADAM_WD), s.decoupled = has(p, ADAM_DECOUPLED);
    else if (hone_problem_is(p, rmsprop))
        s.momentum = has(p, RMSPROP_MOMENTUM), s.wd = has(p, RMSPROP_WD);
    else if (hone_problem_is(p, adadelta))
        s.wd = has(p, ADADELTA_WD);
    return s;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    return is_clip(p) ? blocks_of(p, c, d) * sizeof(float) : 0;
}

static int prepare(struct hone_plan *plan)
{
    static const struct { const struct hone_op *op; const char *function[2]; } rows[] = {
        { &hone_op_sgd, { "optimizer_flat_sgd" } }, { &hone_op_adam, { "optimizer_flat_adam" } },
        { &hone_op_rmsprop, { "optimizer_flat_rmsprop" } },
        { &hone_op_adadelta, { "optimizer_flat_adadelta" } },
        { &hone_op_clip, { "optimizer_flat_squares", "optimizer_flat_clip" } },
    };
    const struct optimizer_flat_sizes s = sizes_of(&plan->problem, &plan->config, plan->device);
    int i = 0;
    while (rows[i].op != plan->problem.op) i++;
    const struct hone_cuda_code code = { .function = { rows[i].function[0], rows[i].function[1] },
                                         HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const struct optimizer_flat_sizes s = sizes_of(p, &plan->config, plan->device);
    const struct hone_cuda_shape shape = { { (unsigned)s.blocks, 1, 1 },
                                           { (unsigned)plan->config.v[BLOCK], 1, 1 },
                                           32 * sizeof(float) };
    if (is_clip(p)) {
        const struct optimizer_flat a = { .g = mem[CLIP_G], .hyper = mem[CLIP_HYPER],
                                          .norm = mem[CLIP_NORM], .partial = workspace, .s = s };
        int err = hone_cuda_launch(plan, 0, &shape, &a);
        return err ? err : hone_cuda_launch(plan, 1, &shape, &a);
    }
    /* P, states, G, HYPER. */
    const int g = hone_problem_is(p, sgd)       ? sgd_g(p)
                  : hone_problem_is(p, rmsprop) ? rmsprop_g(p)
                                                : ADAM_G;
    const struct optimizer_flat a = { mem[0], g > 1 ? mem[1] : NULL, g > 2 ? mem[2] : NULL, mem[g],
                                      mem[g + 1], NULL, NULL, s };
    return hone_cuda_launch(plan, 0, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_sgd, &hone_op_adam, &hone_op_rmsprop,
                                             &hone_op_adadelta, &hone_op_clip, NULL };

const struct hone_kernel hone_optimizer_cuda_flat = {
    .name = "cuda_flat", .ops = ops, HONE_CUDA_F32,
    .param = { HONE_PARAM("block", 256, 128, 512) },
    .workspace = workspace, .prepare = prepare, .run = run,
};
