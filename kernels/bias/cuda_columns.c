/* The gradient of a bias on a GPU: sums of columns, over parts of the rows where columns are few. */
#include "kernels/backend/cuda.h"
#include "kernels/bias/bias.h"
#include "kernels/bias/cuda_columns.h"

enum { SPLIT };

static struct bias_columns_sizes sizes_of(const struct hone_problem *p, const struct hone_config *c)
{
    const int m = p->dim[BIAS_M], part = (m + c->v[SPLIT] - 1) / c->v[SPLIT];
    return (struct bias_columns_sizes){ m, p->dim[BIAS_N], part, (m + part - 1) / part,
                                        hone_cuda_half(p->dtype) };
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)d;
    return c->v[SPLIT] == 1 || p->dim[BIAS_M] >= 32 * c->v[SPLIT];
}

/* As many blocks as fill the GPU twice. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int columns = (p->dim[BIAS_N] + 31) / 32, most = 2 * hone_cuda_limits(d)->nsms;
    c->v[SPLIT] = 256;
    while (c->v[SPLIT] > 1 && (!valid(p, c, d) || columns * c->v[SPLIT] > most)) c->v[SPLIT] /= 4;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct bias_columns_sizes s = sizes_of(p, c);
    (void)d;
    return s.parts == 1 ? 0 : (size_t)s.parts * (size_t)s.n * sizeof(float);
}

static int prepare(struct hone_plan *plan)
{
    const struct bias_columns_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct hone_cuda_code code = { .function = { "bias_columns", "bias_columns_join" },
                                         HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct bias_columns a = { mem[BIAS_DB], mem[BIAS_DY], workspace,
                                    sizes_of(&plan->problem, &plan->config) };
    const struct hone_cuda_shape shape = {
        { (unsigned)(a.s.n + 31) / 32, (unsigned)a.s.parts, 1 }, { 256, 1, 1 }, 256 * sizeof(float)
    };
    const struct hone_cuda_shape join = { { hone_cuda_blocks(plan->device, a.s.n, 256), 1, 1 },
                                          { 256, 1, 1 }, 0 };
    int err = hone_cuda_launch(plan, 0, &shape, &a);
    return err || a.s.parts == 1 ? err : hone_cuda_launch(plan, 1, &join, &a);
}

static const struct hone_op *const ops[] = { &hone_op_bias_bwd, NULL };

const struct hone_kernel hone_bias_cuda_columns = {
    .name = "cuda_columns", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("split", 1, 4, 16, 64, 256) },
    .valid = valid, .guess = guess, .workspace = workspace, .prepare = prepare, .run = run,
};
