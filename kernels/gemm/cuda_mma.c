/* gemm in a GPU's tensor cores, from sm_80 on: bf16, f16, and f32 rounded to tf32 where the problem
 * allows that.  Tiles of C, one a block, and the terms shared by several blocks as in
 * cuda_tiled.c. */
#include "kernels/backend/cuda.h"
#include "kernels/backend/cuda_tensor.h"
#include "kernels/gemm/cuda_gemm.h"
#include "kernels/gemm/gemm.h"

#include <stdio.h>

enum { TILE, STAGES, SPLIT };

static const struct tile { int bm, bn, bk, wm, wn; } tiles[] = {
#define X(bm, bn, bk, wm, wn) { bm, bn, bk, wm, wn },
    MMA_TILES(X)
#undef X
};
enum { NTILES = sizeof tiles / sizeof *tiles };

static int half_of(const struct hone_problem *p) { return hone_cuda_half(p->dtype); }
static int round_up(int n, int by) { return (n + by - 1) / by * by; }

static struct gemm_sizes sizes_of(const struct hone_problem *p, const struct hone_config *c)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K], split = c->v[SPLIT];
    const int tn = p->layout == GEMM_TN, nn = p->layout == GEMM_NN || tn;
    const int run = half_of(p) ? 8 : 4;
    const int part = round_up((k + split - 1) / split, tiles[c->v[TILE]].bk);
    return (struct gemm_sizes){
        .m = m, .n = n, .k = k, .a_turned = tn, .b_turned = nn,
        .a_wide = (tn ? m : k) % run == 0, .b_wide = (nn ? n : k) % run == 0,
        .stages = c->v[STAGES], .part = part, .parts = (k + part - 1) / part,
        .alpha = hone_cuda_bits(p->value[GEMM_ALPHA]), .beta = hone_cuda_bits(p->value[GEMM_BETA]),
        .act = (int)hone_act_of(p), .bias = hone_problem_has(p, "bias"),
        .half = half_of(p), .narrow = hone_problem_has(p, "wide") ? 0 : half_of(p),
    };
}

static unsigned shared_of(const struct hone_problem *p, const struct hone_config *c)
{
    const struct gemm_sizes s = sizes_of(p, c);
    const struct tile *t = &tiles[c->v[TILE]];
    const int size = half_of(p) ? 2 : 4;
    return (unsigned)(s.stages * (MMA_BYTES(t->bm, t->bk, size, s.a_turned) +
                                  MMA_BYTES(t->bn, t->bk, size, s.b_turned)));
}

static int64_t blocks_of(const struct hone_problem *p, const struct tile *t)
{
    return (int64_t)((p->dim[GEMM_M] + t->bm - 1) / t->bm) *
           ((p->dim[GEMM_N] + t->bn - 1) / t->bn);
}

static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    (void)c;
    return hone_cuda_tensor_growth(p);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    if (hone_cuda_limits(d)->major < 8) return "it needs tensor cores as of sm_80";
    if (p->dim[GEMM_M] > 65535 * 32) return "m has more rows than a grid of the smallest tiles";
    return hone_cuda_refuse_tf32(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct hone_cuda_limits *l = hone_cuda_limits(d);
    const struct tile *t = &tiles[c->v[TILE]];
    const int slices = (sizes_of(p, c).part + t->bk - 1) / t->bk, split = c->v[SPLIT];
    if (shared_of(p, c) > (unsigned)l->shared_per_block ||
        32 * t->wm * t->wn > l->threads_per_block || (p->dim[GEMM_M] + t->bm - 1) / t->bm > 65535)
        return 0;
    /* A tile twice as large as C in a direction is a smaller one that wastes. */
    if ((t->bm > 32 && t->bm >= 2 * p->dim[GEMM_M]) || (t->bn > 32 && t->bn >= 2 * p->dim[GEMM_N]))
        return 0;
    if (c->v[STAGES] > 2 && c->v[STAGES] > slices) return 0;
    return split == 1 || (p->dim[GEMM_K] >= 2 * t->bk * split &&
                          blocks_of(p, t) * split <= 8ll * l->nsms);
}

/* The largest tile that gives every multiprocessor one, else the smallest and as many parts as
 * still do; as many stages as there are. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int nsms = hone_cuda_limits(d)->nsms;
    c->v[STAGES] = 2;
    c->v[SPLIT] = 1;
    for (c->v[TILE] = NTILES - 1; c->v[TILE] > 0; c->v[TILE]--)
        if (valid(p, c, d) && blocks_of(p, &tiles[c->v[TILE]]) >= nsms) break;
    for (int split = 16; c->v[TILE] == 0 && split > 1 && c->v[SPLIT] == 1; split /= 2) {
        c->v[SPLIT] = split;
        if (blocks_of(p, tiles) * split > 2ll * nsms || !valid(p, c, d)) c->v[SPLIT] = 1;
    }
    for (c->v[STAGES] = 4; c->v[STAGES] > 2 && !valid(p, c, d);) c->v[STAGES]--;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct gemm_sizes s = sizes_of(p, c);
    (void)d;
    return s.parts == 1 ? 0 : (size_t)s.parts * (size_t)s.m * (size_t)s.n * sizeof(float);
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_problem *p = &plan->problem;
    const struct gemm_sizes s = sizes_of(p, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    static const char *const kinds[] = { "tf32", "bf16", "f16" };
    char name[64], config[64];
    snprintf(name, sizeof name, "gemm_mma_%s_%d_%d", kinds[half_of(p)], t->bm, t->bn);
    snprintf(config, sizeof config, "X(%d, %d, %d, %d, %d)", t->bm, t->bn, t->bk, t->wm, t->wn);
    const struct hone_cuda_code code = {
        .function = { name, "gemm_mma_join" }, .shared_bytes = { shared_of(p, &plan->config) },
        .config = config, HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const struct tile *t = &tiles[plan->config.v[TILE]];
    struct gemm_given a = { mem[GEMM_C], mem[GEMM_A], mem[GEMM_B], NULL, workspace,
                          sizes_of(p, &plan->config) };
    const struct hone_cuda_shape shape = {
        { (unsigned)((a.s.n + t->bn - 1) / t->bn), (unsigned)((a.s.m + t->bm - 1) / t->bm),
          (unsigned)a.s.parts },
        { 32u * (unsigned)t->wm * (unsigned)t->wn, 1, 1 }, shared_of(p, &plan->config)
    };
    if (a.s.bias) a.bias = mem[GEMM_BIAS];
    int err = hone_cuda_launch(plan, 0, &shape, &a);
    if (err || a.s.parts == 1) return err;
    const struct hone_cuda_shape join = {
        { hone_cuda_blocks(plan->device, (int64_t)a.s.m * a.s.n, 256), 1, 1 }, { 256, 1, 1 }, 0
    };
    return hone_cuda_launch(plan, 1, &join, &a);
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel hone_gemm_cuda_mma = {
    .name = "cuda_mma", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("tile", 0, 1, 2, 3), HONE_PARAM("stages", 2, 3, 4),
               HONE_PARAM("split", 1, 2, 4, 8, 16) },
    .refuse = refuse, .valid = valid, .guess = guess, .workspace = workspace, .growth = growth,
    .prepare = prepare, .run = run,
};
