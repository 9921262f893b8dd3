/* Convolution in a GPU's tensor cores, three passes: as cuda_implicit.c, of halves, and of f32
 * rounded to tf32 where the problem allows that. */
#include "kernels/backend/cuda_tensor.h"
#include "kernels/conv2d/implicit_host.h"

#include <stdio.h>

enum { TILE, STAGES, SPLIT };

static const struct tile { int bm, bn, bk, wm, wn; } tiles[] = {
#define X(bm, bn, bk, wm, wn) { bm, bn, bk, wm, wn },
    MMA_TILES(X)
#undef X
};
enum { NTILES = sizeof tiles / sizeof *tiles };

static struct conv_implicit_sizes sizes_of(const struct hone_problem *p,
                                           const struct hone_config *c)
{
    struct conv_implicit_sizes s = implicit_sizes(p, c->v[SPLIT], tiles[c->v[TILE]].bk);
    s.stages = c->v[STAGES];
    return s;
}

static unsigned shared_of(const struct conv_implicit_sizes *s, const struct tile *t)
{
    const int size = s->half ? 2 : 4;
    return (unsigned)(s->stages * (MMA_BYTES(t->bm, t->bk, size, s->a_turned) +
                                   MMA_BYTES(t->bn, t->bk, size, s->b_turned)));
}

static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    (void)c;
    return hone_cuda_tensor_growth(p);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    if (hone_cuda_limits(d)->major < 8) return "it needs tensor cores as of sm_80";
    if (hone_cuda_refuse_tf32(p)) return hone_cuda_refuse_tf32(p);
    return implicit_refuse(p);
}

/* Products of matrices that are narrower than an instruction's are mostly zeros. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    return v.oc >= 8 && v.kh * v.kw * v.ic >= 16;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct conv_implicit_sizes s = sizes_of(p, c);
    const struct tile *t = &tiles[c->v[TILE]];
    return shared_of(&s, t) <= (unsigned)hone_cuda_limits(d)->shared_per_block &&
           32 * t->wm * t->wn <= hone_cuda_limits(d)->threads_per_block &&
           (s.stages == 2 || s.stages <= implicit_above(s.part, t->bk)) &&
           implicit_valid(p, &s, d, t->bm, t->bn, t->bk, c->v[SPLIT]);
}

/* The largest tile that gives every multiprocessor one, else the smallest and as many parts as
 * still do; as many stages as there are. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int nsms = hone_cuda_limits(d)->nsms;
    *c = (struct hone_config){ { NTILES - 1, 2, 1 } };
    const struct conv_implicit_sizes s = sizes_of(p, c);
    for (; c->v[TILE] > 0; c->v[TILE]--) {
        const struct tile *t = &tiles[c->v[TILE]];
        if (valid(p, c, d) && implicit_blocks(&s, t->bm, t->bn) >= nsms) break;
    }
    for (int split = 16; c->v[TILE] == 0 && split > 1 && c->v[SPLIT] == 1; split /= 2) {
        c->v[SPLIT] = split;
        if (implicit_blocks(&s, 32, 32) * split > 2ll * nsms || !valid(p, c, d)) c->v[SPLIT] = 1;
    }
    for (c->v[STAGES] = 4; c->v[STAGES] > 2 && !valid(p, c, d);) c->v[STAGES]--;
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
    static const char *const kinds[] = { "tf32", "bf16", "f16" };
    char name[64], config[64];
    snprintf(name, sizeof name, "conv_implicit_%s_%d_%d", kinds[s.half], t->bm, t->bn);
    snprintf(config, sizeof config, "X(%d, %d, %d, %d, %d)", t->bm, t->bn, t->bk, t->wm, t->wn);
    const struct hone_cuda_code code = {
        .function = { name, "conv_implicit_mma_join" }, .shared_bytes = { shared_of(&s, t) },
        .config = config, HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct conv_implicit_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    return implicit_run(plan, mem, workspace, &s, t->bm, t->bn, 32 * t->wm * t->wn,
                        shared_of(&s, t));
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_cuda_implicit_mma = {
    .name = "cuda_implicit_mma", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("tile", 0, 1, 2, 3), HONE_PARAM("stages", 2, 3, 4),
               HONE_PARAM("split", 1, 2, 4, 8, 16) },
    .refuse = refuse, .suits = suits, .valid = valid, .guess = guess, .workspace = workspace,
    .growth = growth, .prepare = prepare, .run = run,
};
