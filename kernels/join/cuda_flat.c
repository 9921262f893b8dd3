/* Where branches of a net meet, on a GPU. */
#include "kernels/backend/cuda.h"
#include "kernels/join/cuda_flat.h"
#include "kernels/join/join.h"

enum { BLOCK };
enum { ADD, CONCAT_FWD, CONCAT_BWD, SHORTCUT_FWD, SHORTCUT_BWD };

static const struct hone_op *const ops[] = { &hone_op_add, &hone_op_concat_fwd, &hone_op_concat_bwd,
                                             &hone_op_shortcut_fwd, &hone_op_shortcut_bwd, NULL };

static int kind_of(const struct hone_problem *p)
{
    int i = ADD;
    while (ops[i] != p->op) i++;
    return i;
}

static struct join_flat_sizes sizes_of(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    const int kind = kind_of(p);
    const int half = hone_cuda_half(p->dtype);
    if (kind == ADD)
        return (struct join_flat_sizes){ .m = d[ADD_N], .act = (int)hone_act_of(p), .half = half };
    if (kind <= CONCAT_BWD)
        return (struct join_flat_sizes){ .m = d[CONCAT_M], .n = d[CONCAT_N], .k = d[CONCAT_K],
                                         .half = half };
    const int oh = shortcut_oh(p), ow = shortcut_ow(p);
    return (struct join_flat_sizes){
        .m = d[SHORT_MB] * (kind == SHORTCUT_FWD ? oh * ow : d[SHORT_IH] * d[SHORT_IW]),
        .ic = d[SHORT_IC], .ih = d[SHORT_IH], .iw = d[SHORT_IW], .oc = d[SHORT_OC], .oh = oh,
        .ow = ow, .s = d[SHORT_S], .front = shortcut_front(p), .half = half
    };
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return kind_of(p) >= SHORTCUT_FWD &&
                   (double)p->dim[SHORT_MB] * p->dim[SHORT_IH] * p->dim[SHORT_IW] >= 0x1p31
               ? "the pixels have more than 31 bits"
               : NULL;
}

static int prepare(struct hone_plan *plan)
{
    static const char *const names[] = { "join_flat_add", "join_flat_concat_fwd",
                                         "join_flat_concat_bwd", "join_flat_shortcut_fwd",
                                         "join_flat_shortcut_bwd" };
    const struct join_flat_sizes s = sizes_of(&plan->problem);
    const struct hone_cuda_code code = { .function = { names[kind_of(&plan->problem)] },
                                         HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int kind = kind_of(&plan->problem), block = plan->config.v[BLOCK];
    struct join_flat a = { mem[0], NULL, mem[1], NULL, sizes_of(&plan->problem) };
    const int wide = kind == ADD            ? 1
                     : kind <= CONCAT_BWD   ? a.s.n + a.s.k
                     : kind == SHORTCUT_FWD ? a.s.oc
                                            : a.s.ic;
    const struct hone_cuda_shape shape = {
        { hone_cuda_blocks(plan->device, (int64_t)a.s.m * wide, block), 1, 1 },
        { (unsigned)block, 1, 1 }, 0
    };
    (void)workspace;
    if (kind == CONCAT_BWD) a.other = mem[CONCAT_DB], a.a = mem[CONCAT_DY];
    else if (kind <= CONCAT_FWD) a.b = mem[2];
    return hone_cuda_launch(plan, 0, &shape, &a);
}

const struct hone_kernel hone_join_cuda_flat = {
    .name = "cuda_flat", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("block", 256, 128) }, .refuse = refuse, .prepare = prepare, .run = run,
};
