/* Convolution on a GPU without tensor cores, three passes: tiles of a matrix product whose operands
 * are found in the tensors as they are needed.  A strided dgrad is a product for each class of
 * pixels that see the same taps, so that nothing is multiplied by zeros. */
#include "kernels/conv2d/implicit_host.h"

#include <stdio.h>

enum { TILE, SPLIT };

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

static struct conv_implicit_sizes sizes_of(const struct hone_problem *p,
                                           const struct hone_config *c)
{
    return implicit_sizes(p, c->v[SPLIT], tiles[c->v[TILE]].bk);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return implicit_refuse(p);
}

/* Few channels are cuda_direct's. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    return v.oc >= 16 && v.kh * v.kw * v.ic >= 16;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct conv_implicit_sizes s = sizes_of(p, c);
    const struct tile *t = &tiles[c->v[TILE]];
    return shared_of(t) <= (unsigned)hone_cuda_limits(d)->shared_per_block &&
           threads_of(t) <= hone_cuda_limits(d)->threads_per_block &&
           implicit_valid(p, &s, d, t->bm, t->bn, t->bk, c->v[SPLIT]);
}

/* The largest tile that gives every multiprocessor one, else the smallest and as many parts as
 * still do. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int nsms = hone_cuda_limits(d)->nsms;
    *c = (struct hone_config){ { 0 } };
    c->v[SPLIT] = 1;
    const struct conv_implicit_sizes s = sizes_of(p, c);
    for (c->v[TILE] = NTILES - 1; c->v[TILE] > 0; c->v[TILE]--) {
        const struct tile *t = &tiles[c->v[TILE]];
        if (valid(p, c, d) && implicit_blocks(&s, t->bm, t->bn) >= nsms) return;
    }
    for (c->v[SPLIT] = 32; c->v[SPLIT] > 1; c->v[SPLIT] /= 2)
        if (implicit_blocks(&s, 32, 32) * c->v[SPLIT] <= 2ll * nsms && valid(p, c, d)) return;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct conv_implicit_sizes s = sizes_of(p, c);
    (void)d;
    return implicit_workspace(&s);
}

static int prepare(struct hone_plan *plan)
{
    const struct conv_implicit_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    char name[64], config[64];
    snprintf(name, sizeof name, "conv_implicit_%d_%d_%d", t->bm, t->bn, t->bk);
    snprintf(config, sizeof config, "X(%d, %d, %d, %d, %d)", t->bm, t->bn, t->bk, t->tm, t->tn);
    const struct hone_cuda_code code = {
        .function = { name, "conv_implicit_join" }, .shared_bytes = { shared_of(t) },
        .config = config, HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct conv_implicit_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    return implicit_run(plan, mem, workspace, &s, t->bm, t->bn, threads_of(t), shared_of(t));
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_cuda_implicit = {
    .name = "cuda_implicit", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("tile", 0, 1, 2, 3, 4, 5), HONE_PARAM("split", 1, 2, 4, 8, 16, 32) },
    .refuse = refuse, .suits = suits, .valid = valid, .guess = guess, .workspace = workspace,
    .prepare = prepare, .run = run,
};
