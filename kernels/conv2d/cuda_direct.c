/* Direct convolution on a GPU, three passes: a thread a number of the output, and for the weights'
 * gradient a block. */
#include "kernels/backend/cuda.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/cuda_direct.h"

enum { BLOCK, SPLIT };
enum { WGRAD_BLOCK = 128 };

static int is_wgrad(const struct hone_problem *p) { return hone_problem_is(p, conv2d_wgrad); }

static struct conv_direct_sizes sizes_of(const struct hone_problem *p, const struct hone_config *c)
{
    const struct conv v = conv_of(p);
    const int fwd = hone_problem_is(p, conv2d_fwd), pixels = v.mb * v.oh * v.ow;
    const int part = (pixels + c->v[SPLIT] - 1) / c->v[SPLIT];
    return (struct conv_direct_sizes){
        v.mb, v.ic, v.ih, v.iw, v.oc, v.oh, v.ow, v.kh, v.kw, v.sh, v.sw, v.ph, v.pw, v.dh, v.dw,
        v.icg, v.ocg, .act = fwd ? (int)hone_act_of(p) : (int)HONE_ACT_none,
        .bias = fwd && hone_problem_has(p, "bias"), .half = hone_cuda_half(p->dtype),
        .nchw = p->layout == CONV_NCHW,
        .part = part, .parts = (pixels + part - 1) / part
    };
}

static int64_t weights_of(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    return (int64_t)v.oc * v.kh * v.kw * v.icg;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if ((double)v.mb * v.oh * v.ow >= 0x1p30) return "the pixels have more than 30 bits";
    return weights_of(p) >= 1 << 30 ? "the weights have more than 30 bits" : NULL;
}

/* Only the weights' gradient is split, and it has one size of block. */
static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    if (c->v[BLOCK] > hone_cuda_limits(d)->threads_per_block) return 0;
    if (!is_wgrad(p)) return c->v[SPLIT] == 1;
    return c->v[BLOCK] == WGRAD_BLOCK &&
           (c->v[SPLIT] == 1 || v.mb * v.oh * v.ow >= 4 * WGRAD_BLOCK * c->v[SPLIT]);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[BLOCK] = is_wgrad(p) ? WGRAD_BLOCK : 256;
    c->v[SPLIT] = is_wgrad(p) ? 64 : 1;
    while (c->v[SPLIT] > 1 && (!valid(p, c, d) || weights_of(p) * c->v[SPLIT] >
                                                      64ll * hone_cuda_limits(d)->nsms))
        c->v[SPLIT] /= 4;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct conv_direct_sizes s = sizes_of(p, c);
    (void)d;
    return is_wgrad(p) && s.parts > 1 ? (size_t)s.parts * (size_t)weights_of(p) * sizeof(float) : 0;
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_op *op = plan->problem.op;
    const struct conv_direct_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct hone_cuda_code code = {
        .function = { op == &hone_op_conv2d_fwd     ? "conv_direct_fwd"
                      : op == &hone_op_conv2d_dgrad ? "conv_direct_dgrad"
                                                    : "conv_direct_wgrad",
                      "conv_direct_join" },
        HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run_wgrad(const struct hone_plan *plan, struct conv_direct *a)
{
    const int64_t n = weights_of(&plan->problem);
    const struct hone_cuda_shape shape = { { (unsigned)n, (unsigned)a->s.parts, 1 },
                                           { WGRAD_BLOCK, 1, 1 }, 32 * sizeof(float) };
    const struct hone_cuda_shape join = { { hone_cuda_blocks(plan->device, n, 256), 1, 1 },
                                          { 256, 1, 1 }, 0 };
    int err = hone_cuda_launch(plan, 0, &shape, a);
    return err || a->s.parts == 1 ? err : hone_cuda_launch(plan, 1, &join, a);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int block = plan->config.v[BLOCK];
    struct conv_direct a = { mem[0], mem[1], mem[2], NULL, workspace,
                             sizes_of(p, &plan->config) };
    if (is_wgrad(p)) return run_wgrad(plan, &a);
    const int64_t n = hone_problem_is(p, conv2d_fwd) ? (int64_t)a.s.mb * a.s.oh * a.s.ow * a.s.oc
                                                     : (int64_t)a.s.mb * a.s.ih * a.s.iw * a.s.ic;
    const struct hone_cuda_shape shape = { { hone_cuda_blocks(plan->device, n, block), 1, 1 },
                                           { (unsigned)block, 1, 1 }, 0 };
    if (a.s.bias) a.bias = mem[CONV_BIAS];
    return hone_cuda_launch(plan, 0, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_cuda_direct = {
    .name = "cuda_direct", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("block", 128, 256, 512), HONE_PARAM("split", 1, 4, 16, 64) },
    .refuse = refuse, .valid = valid, .guess = guess, .workspace = workspace,
    .prepare = prepare, .run = run,
};
