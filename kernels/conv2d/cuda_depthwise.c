/* Depthwise convolution on a GPU, three passes: a channel a lane. */
#include "kernels/backend/cuda.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/cuda_depthwise.h"

enum { SPLIT };
enum { LANES = 32, WARPS = 8 };

static int is_wgrad(const struct hone_problem *p) { return hone_problem_is(p, conv2d_wgrad); }

static struct conv_depthwise_sizes sizes_of(const struct hone_problem *p,
                                            const struct hone_config *c)
{
    const struct conv v = conv_of(p);
    const int fwd = hone_problem_is(p, conv2d_fwd), pixels = v.mb * v.oh * v.ow;
    const int part = (pixels + c->v[SPLIT] - 1) / c->v[SPLIT];
    return (struct conv_depthwise_sizes){
        v.mb, v.ic, v.ih, v.iw, v.oh, v.ow, v.kh, v.kw, v.sh, v.sw, v.ph, v.pw, v.dh, v.dw,
        .act = fwd ? (int)hone_act_of(p) : (int)HONE_ACT_none,
        .bias = fwd && hone_problem_has(p, "bias"), .half = hone_cuda_half(p->dtype),
        .part = part, .parts = (pixels + part - 1) / part
    };
}

static unsigned shared_of(const struct hone_problem *p)
{
    const int taps = p->dim[CONV_KH] * p->dim[CONV_KW];
    return (unsigned)(LANES * (is_wgrad(p) ? WARPS : taps)) * (unsigned)sizeof(float);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.g != v.ic || v.ic != v.oc) return "there are not as many groups as channels";
    if ((double)v.mb * v.oh * v.ow >= 0x1p30 || (double)v.mb * v.ih * v.iw >= 0x1p30)
        return "the pixels have more than 30 bits";
    if (v.kh * v.kw > 65535) return "more taps than a grid is deep";
    return shared_of(p) > (unsigned)hone_cuda_limits(d)->shared_per_block
               ? "the taps do not fit into shared memory"
               : NULL;
}

/* A warp of one channel is idle but for a lane. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[CONV_IC] >= 16;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    return c->v[SPLIT] == 1 ||
           (is_wgrad(p) && v.mb * v.oh * v.ow >= 4 * WARPS * c->v[SPLIT]);
}

/* As many parts as fill the GPU. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct conv v = conv_of(p);
    const int64_t blocks = (int64_t)(v.ic + LANES - 1) / LANES * v.kh * v.kw;
    for (c->v[SPLIT] = 64; c->v[SPLIT] > 1; c->v[SPLIT] /= 4)
        if (valid(p, c, d) && blocks * c->v[SPLIT] <= 16ll * hone_cuda_limits(d)->nsms) return;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct conv_depthwise_sizes s = sizes_of(p, c);
    (void)d;
    return is_wgrad(p) && s.parts > 1
               ? (size_t)s.parts * (size_t)s.ic * (size_t)(s.kh * s.kw) * sizeof(float)
               : 0;
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_op *op = plan->problem.op;
    const struct conv_depthwise_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct hone_cuda_code code = {
        .function = { op == &hone_op_conv2d_fwd     ? "conv_depthwise_fwd"
                      : op == &hone_op_conv2d_dgrad ? "conv_depthwise_dgrad"
                                                    : "conv_depthwise_wgrad",
                      "conv_depthwise_join" },
        .shared_bytes = { shared_of(&plan->problem) }, HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    struct conv_depthwise a = { mem[0], mem[1], mem[2], NULL, workspace,
                                sizes_of(p, &plan->config) };
    const int64_t pixels = hone_problem_is(p, conv2d_dgrad) ? (int64_t)a.s.mb * a.s.ih * a.s.iw
                                                            : (int64_t)a.s.mb * a.s.oh * a.s.ow;
    const unsigned columns = (unsigned)(a.s.ic + LANES - 1) / LANES;
    const unsigned rows = hone_cuda_blocks(plan->device, pixels * LANES, LANES * WARPS);
    struct hone_cuda_shape shape = { { columns, rows, 1 }, { LANES * WARPS, 1, 1 }, shared_of(p) };
    if (a.s.bias) a.bias = mem[CONV_BIAS];
    if (is_wgrad(p)) {
        shape.grid[1] = (unsigned)a.s.parts;
        shape.grid[2] = (unsigned)(a.s.kh * a.s.kw);
    }
    int err = hone_cuda_launch(plan, 0, &shape, &a);
    if (err || !is_wgrad(p) || a.s.parts == 1) return err;
    const struct hone_cuda_shape join = {
        { hone_cuda_blocks(plan->device, (int64_t)a.s.ic * a.s.kh * a.s.kw, 256), 1, 1 },
        { 256, 1, 1 }, 0
    };
    return hone_cuda_launch(plan, 1, &join, &a);
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_cuda_depthwise = {
    .name = "cuda_depthwise", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("split", 1, 4, 16, 64) },
    .refuse = refuse, .suits = suits, .valid = valid, .guess = guess, .workspace = workspace,
    .prepare = prepare, .run = run,
};
