/* 3x3 convolution without stride on a GPU by Winograd's minimal filtering (winograd_matrices.h),
 * three passes: both operands are transformed, a product of matrices for each of 16 or 36 points,
 * and back.  All in f32, whatever the tensors are. */
#include "kernels/conv2d/winograd_host.h"

enum { TILE = WINOGRAD_TILE };

static const struct tile { int bm, bn, bk, tm, tn; } tiles[] = {
#define X(bm, bn, bk, tm, tn) { bm, bn, bk, tm, tn },
    SIMT_TILES(X)
#undef X
};
enum { NTILES = sizeof tiles / sizeof *tiles };

static int threads_of(const struct tile *t) { return t->bm / t->tm * (t->bn / t->tn); }

static unsigned shared_of(const struct tile *t)
{
    return 2u * (unsigned)t->bk * (unsigned)(t->bm + 1 + t->bn + 1) * (unsigned)sizeof(float);
}

static struct conv_winograd_sizes sizes_of(const struct hone_problem *p,
                                           const struct hone_config *c)
{
    return winograd_sizes(p, c, tiles[c->v[TILE]].bk);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return winograd_cannot(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct tile *t = &tiles[c->v[TILE]];
    return shared_of(t) <= (unsigned)hone_cuda_limits(d)->shared_per_block &&
           threads_of(t) <= hone_cuda_limits(d)->threads_per_block &&
           winograd_valid(p, c, d, t->bm, t->bn, t->bk);
}

/* The largest tile that gives every multiprocessor one, else the smallest and as many shares as
 * still do. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int nsms = hone_cuda_limits(d)->nsms;
    winograd_guess(p, d, c);
    const struct conv_winograd_sizes s = sizes_of(p, c);
    for (c->v[TILE] = NTILES - 1; c->v[TILE] > 0; c->v[TILE]--) {
        const struct tile *t = &tiles[c->v[TILE]];
        if (valid(p, c, d) && winograd_blocks(&s, t->bm, t->bn) >= nsms) return;
    }
    for (c->v[WINOGRAD_SPLIT] = 32; c->v[WINOGRAD_SPLIT] > 1; c->v[WINOGRAD_SPLIT] /= 2)
        if (winograd_blocks(&s, 32, 32) * c->v[WINOGRAD_SPLIT] <= 2ll * nsms && valid(p, c, d))
            return;
}

static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    return winograd_roundings(p, c, tiles[c->v[TILE]].bk);
}

static double scale(const struct hone_problem *p, const struct hone_config *c,
                    const double *const in[], int out, int64_t i)
{
    (void)out;
    return winograd_scale(p, c->v[WINOGRAD_M], in, i);
}

static double amplify(const struct hone_problem *p, const struct hone_config *c)
{
    return winograd_amplified(p, c->v[WINOGRAD_M]);
}

static int prepare(struct hone_plan *plan)
{
    const struct conv_winograd_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    char name[64], config[64];
    snprintf(name, sizeof name, "conv_winograd_%d_%d_%d", t->bm, t->bn, t->bk);
    snprintf(config, sizeof config, "X(%d, %d, %d, %d, %d)", t->bm, t->bn, t->bk, t->tm, t->tn);
    return winograd_open(plan, "conv_winograd", name, shared_of(t), config, &s);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct conv_winograd_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    return winograd_run(plan, mem, workspace, &s, t->bm, t->bn, threads_of(t), shared_of(t));
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_cuda_winograd = {
    .name = "cuda_winograd", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { WINOGRAD_PARAMS, HONE_PARAM("tile", 0, 1, 2, 3, 4, 5) },
    .refuse = refuse, .suits = winograd_suits, .valid = valid, .guess = guess,
    .workspace = winograd_workspace, .growth = growth, .scale = scale, .amplify = amplify,
    .prepare = prepare, .run = run,
};
