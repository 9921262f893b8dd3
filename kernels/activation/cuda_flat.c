/* The activations and their gradients over a flat array on a GPU: `wide` numbers a thread at a
 * time.  Y may lie where X does, and DX where DY or S do. */
#include "kernels/activation/activation.h"
#include "kernels/activation/cuda_flat.h"
#include "kernels/backend/cuda.h"

enum { WIDE, BLOCK };

/* act.cuh numbers them likewise. */
_Static_assert(HONE_ACT_relu == 0 && HONE_ACT_relu6 == 1 && HONE_ACT_leaky_relu == 2 &&
                   HONE_ACT_sigmoid == 3 && HONE_ACT_tanh == 4 && HONE_ACT_gelu_erf == 5 &&
                   HONE_ACT_gelu_tanh == 6 && HONE_ACT_silu == 7 && HONE_ACT_none == 8,
               "act.cuh has the activations in another order");

static const struct hone_op *const ops[] = {
#define X(name, from_y, slope) &hone_op_##name, &hone_op_##name##_bwd,
    HONE_ACT_MAP(X) 0
#undef X
};

static struct activation_flat_sizes sizes_of(const struct hone_problem *p)
{
    int i = 0;
    while (ops[i] != p->op) i++;
    return (struct activation_flat_sizes){ p->dim[ACT_N], i / 2, i % 2, hone_cuda_half(p->dtype) };
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    return c->v[BLOCK] <= hone_cuda_limits(d)->threads_per_block && p->dim[ACT_N] >= c->v[WIDE];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    (void)d;
    c->v[WIDE] = p->dim[ACT_N] >= 4 ? 4 : 1;
    c->v[BLOCK] = 256;
}

static int prepare(struct hone_plan *plan)
{
    const struct activation_flat_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = {
        .function = { plan->config.v[WIDE] == 4 ? "activation_flat_4" : "activation_flat_1" },
        HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int block = plan->config.v[BLOCK];
    struct activation_flat a = { mem[ACT_Y], mem[ACT_X], NULL, sizes_of(&plan->problem) };
    const int64_t n = (a.s.n + plan->config.v[WIDE] - 1) / plan->config.v[WIDE];
    const struct hone_cuda_shape shape = { { hone_cuda_blocks(plan->device, n, block), 1, 1 },
                                           { (unsigned)block, 1, 1 }, 0 };
    (void)workspace;
    if (a.s.backward) a.from = mem[ACT_S];
    return hone_cuda_launch(plan, 0, &shape, &a);
}

const struct hone_kernel hone_activation_cuda_flat = {
    .name = "cuda_flat", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("wide", 1, 4), HONE_PARAM("block", 128, 256, 512, 1024) },
    .valid = valid, .guess = guess, .prepare = prepare, .run = run,
};
