/* Pooling and its gradients on a GPU: a thread a number of what is written. */
#include "kernels/backend/cuda.h"
#include "kernels/pool/cuda_windows.h"
#include "kernels/pool/pool.h"

enum { BLOCK };

static const struct hone_op *const ops[] = { &hone_op_maxpool_fwd, &hone_op_avgpool_fwd,
                                             &hone_op_maxpool_bwd, &hone_op_avgpool_bwd, NULL };

static int is_backward(const struct hone_problem *p) { return p->op == ops[2] || p->op == ops[3]; }

static struct pool_windows_sizes sizes_of(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    const int average = p->op == ops[1] || p->op == ops[3];
    return (struct pool_windows_sizes){
        d[POOL_MB], d[POOL_IC], d[POOL_IH], d[POOL_IW], d[POOL_OH], d[POOL_OW], d[POOL_KH],
        d[POOL_KW], d[POOL_SH], d[POOL_SW], d[POOL_PH], d[POOL_PW], average,
        average && hone_problem_has(p, "include_pad"), hone_cuda_half(p->dtype),
        pool_has_index(p), pool_way(p) != POOL_WITH_CUT ? 0 : hone_problem_has(p, "relu6") ? 2 : 1
    };
}

static int prepare(struct hone_plan *plan)
{
    const struct pool_windows_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = {
        .function = { is_backward(&plan->problem) ? "pool_windows_bwd" : "pool_windows_fwd" },
        HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int block = plan->config.v[BLOCK], backward = is_backward(&plan->problem);
    struct pool_windows a = { mem[0], mem[1], NULL, NULL, sizes_of(&plan->problem) };
    const int64_t pixels = (int64_t)a.s.mb * (backward ? (int64_t)a.s.ih * a.s.iw
                                                       : (int64_t)a.s.oh * a.s.ow);
    const struct hone_cuda_shape shape = {
        { hone_cuda_blocks(plan->device, pixels * a.s.ic, block), 1, 1 }, { (unsigned)block, 1, 1 }, 0
    };
    (void)workspace;
    if (a.s.index) a.index = mem[backward ? (int)POOL_BWD_X : (int)POOL_INDEX];
    else if (backward && !a.s.average) a.x = mem[POOL_BWD_X];
    return hone_cuda_launch(plan, 0, &shape, &a);
}

const struct hone_kernel hone_pool_cuda_windows = {
    .name = "cuda_windows", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("block", 256, 128, 64) }, .prepare = prepare, .run = run,
};
