/* Batch normalisation on a GPU: a block has 32 channels. */
#include "kernels/backend/cuda.h"
#include "kernels/norm/cuda_bnorm.h"
#include "kernels/norm/norm.h"

enum { BLOCK = 256 };

static const struct hone_op *const ops[] = { &hone_op_bnorm_fwd, &hone_op_bnorm_infer,
                                             &hone_op_bnorm_bwd, NULL };

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return norm_keeps_less(p) ? "an output computed again is of processors" : NULL;
}

static struct norm_bnorm_sizes sizes_of(const struct hone_problem *p)
{
    struct norm_bnorm_sizes s = { .m = p->dim[NORM_M], .n = p->dim[NORM_N],
                                  .act = (int)hone_act_of(p), .half = hone_cuda_half(p->dtype) };
    if (!hone_problem_is(p, bnorm_bwd)) {
        s.add = hone_problem_has(p, "add");
        s.momentum = hone_cuda_bits(p->value[NORM_MOMENTUM]);
        s.eps = hone_cuda_bits(p->value[hone_problem_is(p, bnorm_fwd) ? NORM_EPS : INFER_EPS]);
    }
    return s;
}

static int prepare(struct hone_plan *plan)
{
    static const char *const names[] = { "norm_bnorm_fwd", "norm_bnorm_infer", "norm_bnorm_bwd" };
    const struct norm_bnorm_sizes s = sizes_of(&plan->problem);
    int i = 0;
    while (ops[i] != plan->problem.op) i++;
    const struct hone_cuda_code code = { .function = { names[i] }, HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static struct norm_bnorm given(const struct hone_problem *p, void *const mem[])
{
    const struct norm_bnorm_sizes s = sizes_of(p);
    if (hone_problem_is(p, bnorm_fwd))
        return (struct norm_bnorm){
            .y = mem[NORM_Y], .mean = mem[NORM_MEAN], .rstd = mem[NORM_RSTD],
            .rmean = mem[NORM_RMEAN], .rvar = mem[NORM_RVAR], .x = mem[NORM_X],
            .gamma = mem[NORM_GAMMA], .beta = mem[NORM_BETA],
            .addend = s.add ? mem[NORM_ADDEND] : NULL, .s = s
        };
    if (hone_problem_is(p, bnorm_infer))
        return (struct norm_bnorm){
            .y = mem[INFER_Y], .x = mem[INFER_X], .gamma = mem[INFER_GAMMA],
            .beta = mem[INFER_BETA], .rmean = mem[INFER_RMEAN], .rvar = mem[INFER_RVAR],
            .addend = s.add ? mem[INFER_ADDEND] : NULL, .s = s
        };
    return (struct norm_bnorm){
        .y = mem[NORM_DX], .dgamma = mem[NORM_DGAMMA], .dbeta = mem[NORM_DBETA],
        .dy = mem[NORM_DY], .x = mem[NORM_BWD_X], .mean = mem[NORM_BWD_MEAN],
        .rstd = mem[NORM_BWD_RSTD], .gamma = mem[NORM_BWD_GAMMA],
        .beta = s.act == (int)HONE_ACT_none ? NULL : mem[NORM_BWD_BETA], .s = s
    };
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct norm_bnorm a = given(&plan->problem, mem);
    const unsigned blocks = plan->problem.op == &hone_op_bnorm_infer
                                ? hone_cuda_blocks(plan->device, (int64_t)a.s.m * a.s.n, BLOCK)
                                : (unsigned)(a.s.n + 31) / 32;
    const struct hone_cuda_shape shape = { { blocks, 1, 1 }, { BLOCK, 1, 1 },
                                           BLOCK * sizeof(float) };
    (void)workspace;
    return hone_cuda_launch(plan, 0, &shape, &a);
}

const struct hone_kernel hone_norm_cuda_bnorm = {
    .name = "cuda_bnorm", .ops = ops, HONE_CUDA_F32_HALF, .refuse = refuse, .prepare = prepare,
    .run = run,
};
