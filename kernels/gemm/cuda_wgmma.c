/* gemm on GPUs of compute capability 9.0: operands are fetched by the GPU itself and multiplied by
 * four warps together (cuda_wgmma.cuh).  bf16, f16, and f32 as tf32 where the problem has the
 * attribute tf32; terms are shared by several blocks as in cuda_tiled.c. */
#include "kernels/backend/cuda.h"
#include "kernels/backend/cuda_tensor.h"
#include "kernels/gemm/cuda_wgmma.h"
#include "kernels/gemm/gemm.h"

#include <stdio.h>

enum { TILE, STAGES, SPLIT };

static const struct tile { int bm, bn; } tiles[] = {
#define X(bm, bn) { bm, bn },
    WGMMA_TILES(X)
#undef X
};
enum { NTILES = sizeof tiles / sizeof *tiles };

static int size_of(const struct hone_problem *p) { return p->dtype == HONE_F32 ? 4 : 2; }
static int depth_of(const struct hone_problem *p) { return WGMMA_ROW / size_of(p); }
static int above(int n, int by) { return (n + by - 1) / by; }

static struct gemm_sizes sizes_of(const struct hone_problem *p, const struct hone_config *c)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const int part = above(above(k, c->v[SPLIT]), depth_of(p)) * depth_of(p);
    return (struct gemm_sizes){
        .m = m, .n = n, .k = k, .a_turned = p->layout == GEMM_TN,
        .b_turned = p->layout != GEMM_NT, .a_wide = 1, .b_wide = 1,
        .stages = c->v[STAGES], .part = part, .parts = above(k, part),
        .alpha = hone_cuda_bits(p->value[GEMM_ALPHA]), .beta = hone_cuda_bits(p->value[GEMM_BETA]),
        .act = (int)hone_act_of(p), .bias = hone_problem_has(p, "bias"),
        .half = hone_cuda_half(p->dtype),
        .narrow = hone_problem_has(p, "wide") ? 0 : hone_cuda_half(p->dtype),
    };
}

static unsigned shared_of(const struct tile *t, const struct hone_config *c)
{
    return (unsigned)WGMMA_SHARED(t->bm, t->bn, c->v[STAGES]);
}

static unsigned threads_of(const struct tile *t) { return 2 * (unsigned)t->bm + 32; }

static int64_t tiles_of(const struct hone_problem *p, const struct tile *t)
{
    return (int64_t)above(p->dim[GEMM_M], t->bm) * above(p->dim[GEMM_N], t->bn);
}

/* Inputs are cut to 11 bits, each by up to 2^-10; and tensor cores cut sums off where others round
 * them. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    (void)c;
    return 2 * p->op->growth(p) + (p->dtype == HONE_F32 ? 0x1p15 + 32 : 0);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const char *why = hone_cuda_refuse_groups(d);
    const int whole = 16 / size_of(p), tn = p->layout == GEMM_TN, nt = p->layout == GEMM_NT;
    if (why) return why;
    if (hone_cuda_refuse_tf32(p)) return hone_cuda_refuse_tf32(p);
    if (p->dtype == HONE_F32 && !nt) return "tf32 operands must lie along k: layout nt";
    if (p->dim[tn ? GEMM_M : GEMM_K] % whole) return "rows of A are no whole multiples of 16 bytes";
    if (p->dim[nt ? GEMM_K : GEMM_N] % whole) return "rows of B are no whole multiples of 16 bytes";
    return (double)p->dim[GEMM_M] * p->dim[GEMM_N] / 4096 >= 0x1p26
               ? "C has more tiles than 26 bits count"
               : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct hone_cuda_limits *l = hone_cuda_limits(d);
    const struct tile *t = &tiles[c->v[TILE]];
    const int split = c->v[SPLIT], slices = above(sizes_of(p, c).part, depth_of(p));
    if (shared_of(t, c) > (unsigned)l->shared_per_block) return 0;
    /* A tile twice as large as C in a direction is a smaller one that wastes. */
    if ((t->bm > 64 && t->bm >= 2 * p->dim[GEMM_M]) || (t->bn > 64 && t->bn >= 2 * p->dim[GEMM_N]))
        return 0;
    if (c->v[STAGES] > 2 && c->v[STAGES] > slices && tiles_of(p, t) <= l->nsms) return 0;
    return split == 1 || (p->dim[GEMM_K] >= 2 * depth_of(p) * split &&
                          tiles_of(p, t) * split <= 8ll * l->nsms);
}

/* The largest tile that gives every multiprocessor one, else the smallest and as many parts as
 * still do; as many stages as there is room for. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int nsms = hone_cuda_limits(d)->nsms;
    *c = (struct hone_config){ { NTILES - 1, 2, 1 } };
    for (; c->v[TILE] > 0; c->v[TILE]--)
        if (valid(p, c, d) && tiles_of(p, &tiles[c->v[TILE]]) >= nsms) break;
    for (int split = 16; c->v[TILE] == 0 && split > 1 && c->v[SPLIT] == 1; split /= 2) {
        c->v[SPLIT] = split;
        if (tiles_of(p, tiles) * split > 2ll * nsms || !valid(p, c, d)) c->v[SPLIT] = 1;
    }
    for (c->v[STAGES] = 6; c->v[STAGES] > 2 && !valid(p, c, d);) c->v[STAGES]--;
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
    static const char *const layouts[] = { [GEMM_NN] = "nn", [GEMM_NT] = "nt", [GEMM_TN] = "tn" };
    static const char *const kinds[] = { "tf32", "bf16", "f16" };
    const struct hone_problem *p = &plan->problem;
    const struct gemm_sizes s = sizes_of(p, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    char name[64], config[64];
    snprintf(name, sizeof name, "gemm_wgmma_%s_%s_%d_%d", kinds[s.half], layouts[p->layout], t->bm,
             t->bn);
    snprintf(config, sizeof config, "X(%d, %d)", t->bm, t->bn);
    const struct hone_cuda_code code = {
        .function = { name, "gemm_wgmma_join" }, .shared_bytes = { shared_of(t, &plan->config) },
        .config = config, HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

/* The operands in boxes: along k, as many rows as a tile has; turned, 64 numbers of the tile in
 * each of a stage's rows of k. */
static int map_operands(struct gemm_wgmma *g, const struct hone_problem *p, const struct tile *t,
                        void *const mem[])
{
    const struct gemm_sizes *s = &g->s;
    const int size = size_of(p), depth = depth_of(p);
    int err = s->a_turned ? hone_cuda_map(&g->a, mem[GEMM_A], size, s->k, s->m, depth)
                          : hone_cuda_map(&g->a, mem[GEMM_A], size, s->m, s->k, t->bm);
    if (err) return err;
    return s->b_turned ? hone_cuda_map(&g->b, mem[GEMM_B], size, s->k, s->n, depth)
                       : hone_cuda_map(&g->b, mem[GEMM_B], size, s->n, s->k, t->bn);
}

/* As many blocks as there is room for at once. */
static unsigned blocks_of(const struct hone_problem *p, const struct hone_config *c,
                          const struct hone_cuda_limits *l)
{
    const struct tile *t = &tiles[c->v[TILE]];
    const int64_t all = tiles_of(p, t) * sizes_of(p, c).parts;
    const int by_shared = l->shared_per_sm / ((int)shared_of(t, c) + 1024);
    const int by_threads = l->threads_per_sm / (int)threads_of(t) < 2 ? 1 : 2;
    const int64_t room = (int64_t)l->nsms * (by_shared < by_threads ? by_shared ? by_shared : 1
                                                                    : by_threads);
    return (unsigned)(all < room ? all : room);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const struct tile *t = &tiles[plan->config.v[TILE]];
    struct gemm_wgmma g = {
        .end = { mem[GEMM_C], NULL, NULL, NULL, workspace, { 0 } }, .s = sizes_of(p, &plan->config)
    };
    const struct hone_cuda_shape shape = {
        { blocks_of(p, &plan->config, hone_cuda_limits(plan->device)), 1, 1 },
        { threads_of(t), 1, 1 }, shared_of(t, &plan->config)
    };
    if (g.s.bias) g.end.bias = mem[GEMM_BIAS];
    int err = map_operands(&g, p, t, mem);
    if (!err) err = hone_cuda_launch(plan, 0, &shape, &g);
    if (err || g.s.parts == 1) return err;
    const struct hone_cuda_shape join = {
        { hone_cuda_blocks(plan->device, (int64_t)g.s.m * g.s.n, 256), 1, 1 }, { 256, 1, 1 }, 0
    };
    return hone_cuda_launch(plan, 1, &join, &g);
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel hone_gemm_cuda_wgmma = {
    .name = "cuda_wgmma", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("tile", 0, 1, 2, 3, 4), HONE_PARAM("stages", 2, 3, 4, 5, 6),
               HONE_PARAM("split", 1, 2, 4, 8, 16) },
    .refuse = refuse, .valid = valid, .guess = guess, .workspace = workspace, .growth = growth,
    .prepare = prepare, .run = run,
};
