/* 3x3 convolution without stride on a GPU by Winograd's minimal filtering, the products in tensor
 * cores: as cuda_winograd.c, but transformed weights and inputs, of f32 and of halves, are rounded to
 * tf32 where they are multiplied. */
#include "kernels/backend/cuda_tensor.h"
#include "kernels/conv2d/winograd_host.h"

enum { TILE = WINOGRAD_TILE, STAGES };

static const struct tile { int bm, bn, bk, wm, wn; } tiles[] = {
#define X(bm, bn, bk, wm, wn) { bm, bn, bk, wm, wn },
    MMA_TILES(X)
#undef X
};
enum { NTILES = sizeof tiles / sizeof *tiles };

static struct conv_winograd_sizes sizes_of(const struct hone_problem *p,
                                           const struct hone_config *c)
{
    struct conv_winograd_sizes s = winograd_sizes(p, c, tiles[c->v[TILE]].bk);
    s.stages = c->v[STAGES];
    return s;
}

static unsigned shared_of(const struct conv_winograd_sizes *s, const struct tile *t)
{
    return (unsigned)(s->stages * (MMA_BYTES(t->bm, t->bk, 4, s->a_turned) +
                                   MMA_BYTES(t->bn, t->bk, 4, s->b_turned)));
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    if (hone_cuda_limits(d)->major < 8) return "it needs tensor cores as of sm_80";
    /* f16 has as many bits as tf32, and bf16 fewer. */
    if (hone_cuda_refuse_tf32(p)) return hone_cuda_refuse_tf32(p);
    return winograd_cannot(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct conv_winograd_sizes s = sizes_of(p, c);
    const struct tile *t = &tiles[c->v[TILE]];
    return shared_of(&s, t) <= (unsigned)hone_cuda_limits(d)->shared_per_block &&
           32 * t->wm * t->wn <= hone_cuda_limits(d)->threads_per_block &&
           (s.stages == 2 || s.stages <= winograd_above(s.share, t->bk)) &&
           winograd_valid(p, c, d, t->bm, t->bn, t->bk);
}

/* The largest tile that gives every multiprocessor one, else the smallest and as many shares as
 * still do; as many stages as there are. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int nsms = hone_cuda_limits(d)->nsms;
    winograd_guess(p, d, c);
    c->v[STAGES] = 2;
    const struct conv_winograd_sizes s = sizes_of(p, c);
    for (c->v[TILE] = NTILES - 1; c->v[TILE] > 0; c->v[TILE]--) {
        const struct tile *t = &tiles[c->v[TILE]];
        if (valid(p, c, d) && winograd_blocks(&s, t->bm, t->bn) >= nsms) break;
    }
    for (int split = 32; c->v[TILE] == 0 && split > 1 && c->v[WINOGRAD_SPLIT] == 1; split /= 2) {
        c->v[WINOGRAD_SPLIT] = split;
        if (winograd_blocks(&s, 32, 32) * split > 2ll * nsms || !valid(p, c, d))
            c->v[WINOGRAD_SPLIT] = 1;
    }
    for (c->v[STAGES] = 4; c->v[STAGES] > 2 && !valid(p, c, d);) c->v[STAGES]--;
}

/* What is multiplied is rounded to 11 bits, which is 2^-10 of a product; and tensor cores cut sums
 * off where others round them. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    return 2 * winograd_roundings(p, c, tiles[c->v[TILE]].bk) + 0x1p14 + 4;
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
    snprintf(name, sizeof name, "conv_winograd_mma_%d_%d", t->bm, t->bn);
    snprintf(config, sizeof config, "X(%d, %d, %d, %d, %d)", t->bm, t->bn, t->bk, t->wm, t->wn);
    return winograd_open(plan, "conv_winograd_mma", name, shared_of(&s, t), config, &s);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct conv_winograd_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    return winograd_run(plan, mem, workspace, &s, t->bm, t->bn, 32 * t->wm * t->wn,
                        shared_of(&s, t));
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_cuda_winograd_mma = {
    .name = "cuda_winograd_mma", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { WINOGRAD_PARAMS, HONE_PARAM("tile", 0, 1, 2, 3), HONE_PARAM("stages", 2, 3, 4) },
    .refuse = refuse, .suits = winograd_suits, .valid = valid, .guess = guess,
    .workspace = winograd_workspace, .growth = growth, .scale = scale, .amplify = amplify,
    .prepare = prepare, .run = run,
};
