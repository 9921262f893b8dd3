/* gemm on a GPU without tensor cores: tiles of C, one a block, that are kept in registers; where C
 * has too few of them to fill the GPU, the k terms of its sums are shared by several blocks. */
#include "kernels/backend/cuda.h"
#include "kernels/gemm/cuda_gemm.h"
#include "kernels/gemm/gemm.h"

#include <stdio.h>

enum { TILE, SPLIT };

static const struct tile { int bm, bn, bk, tm, tn; } tiles[] = {
#define X(bm, bn, bk, tm, tn) { bm, bn, bk, tm, tn },
    SIMT_TILES(X)
#undef X
};
enum { NTILES = sizeof tiles / sizeof *tiles };

static unsigned threads_of(const struct tile *t)
{
    return (unsigned)(t->bm / t->tm * (t->bn / t->tn));
}

/* Two buffers of a slice of A and one of B, whose rows are a word longer, lest banks clash. */
static unsigned shared_of(const struct tile *t)
{
    return 2u * (unsigned)t->bk * (unsigned)(t->bm + 1 + t->bn + 1) * (unsigned)sizeof(float);
}

static struct gemm_sizes sizes_of(const struct hone_problem *p, const struct hone_config *c)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K], split = c->v[SPLIT];
    const int bk = tiles[c->v[TILE]].bk, half = hone_cuda_half(p->dtype);
    const int part = ((k + split - 1) / split + bk - 1) / bk * bk;
    return (struct gemm_sizes){
        .m = m, .n = n, .k = k,
        .a_turned = p->layout == GEMM_TN, .b_turned = p->layout != GEMM_NT,
        .alpha = hone_cuda_bits(p->value[GEMM_ALPHA]), .beta = hone_cuda_bits(p->value[GEMM_BETA]),
        .act = (int)hone_act_of(p), .bias = hone_problem_has(p, "bias"),
        .part = part, .parts = (k + part - 1) / part,
        .half = half, .narrow = hone_problem_has(p, "wide") ? 0 : half,
    };
}

static unsigned blocks_of(const struct hone_problem *p, const struct tile *t)
{
    return (unsigned)((p->dim[GEMM_M] + t->bm - 1) / t->bm) *
           (unsigned)((p->dim[GEMM_N] + t->bn - 1) / t->bn);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[GEMM_M] > 65535 * 32 ? "m has more rows than a grid of the smallest tiles" : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct hone_cuda_limits *l = hone_cuda_limits(d);
    const struct tile *t = &tiles[c->v[TILE]];
    if (shared_of(t) > (unsigned)l->shared_per_block ||
        threads_of(t) > (unsigned)l->threads_per_block)
        return 0;
    if ((p->dim[GEMM_M] + t->bm - 1) / t->bm > 65535) return 0;
    /* A tile twice as large as C in a direction is a smaller one that wastes. */
    if ((t->bm > 32 && t->bm >= 2 * p->dim[GEMM_M]) || (t->bn > 32 && t->bn >= 2 * p->dim[GEMM_N]))
        return 0;
    if (c->v[SPLIT] == 1) return 1;
    return p->dim[GEMM_K] >= 4 * t->bk * c->v[SPLIT] &&
           blocks_of(p, t) * (unsigned)c->v[SPLIT] <= 8u * (unsigned)l->nsms;
}

/* The largest tile that gives every multiprocessor one, and then as many parts as still do. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    static const int splits[] = { 32, 16, 8, 4, 2 };
    const unsigned nsms = (unsigned)hone_cuda_limits(d)->nsms;
    c->v[SPLIT] = 1;
    for (c->v[TILE] = NTILES - 1; c->v[TILE] > 0; c->v[TILE]--)
        if (valid(p, c, d) && blocks_of(p, &tiles[c->v[TILE]]) >= nsms) return;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        c->v[SPLIT] = splits[i];
        if (blocks_of(p, &tiles[0]) * (unsigned)splits[i] <= 2 * nsms && valid(p, c, d)) return;
    }
    c->v[SPLIT] = 1;
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
    const struct gemm_sizes s = sizes_of(&plan->problem, &plan->config);
    const struct tile *t = &tiles[plan->config.v[TILE]];
    char name[64], config[64];
    snprintf(name, sizeof name, "gemm_tiled_%d_%d_%d", t->bm, t->bn, t->bk);
    snprintf(config, sizeof config, "X(%d, %d, %d, %d, %d)", t->bm, t->bn, t->bk, t->tm, t->tn);
    const struct hone_cuda_code code = {
        .function = { name, "gemm_tiled_join" }, .shared_bytes = { shared_of(t) },
        .config = config, HONE_CUDA_SIZES(s)
    };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct tile *t = &tiles[plan->config.v[TILE]];
    struct gemm_given a = { mem[GEMM_C], mem[GEMM_A], mem[GEMM_B], NULL, workspace,
                            sizes_of(&plan->problem, &plan->config) };
    const struct hone_cuda_shape shape = {
        { (unsigned)((a.s.n + t->bn - 1) / t->bn), (unsigned)((a.s.m + t->bm - 1) / t->bm),
          (unsigned)a.s.parts },
        { threads_of(t), 1, 1 }, shared_of(t)
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

const struct hone_kernel hone_gemm_cuda_tiled = {
    .name = "cuda_tiled", .ops = ops, HONE_CUDA_F32_HALF,
    .param = { HONE_PARAM("tile", 0, 1, 2, 3, 4, 5), HONE_PARAM("split", 1, 2, 4, 8, 16, 32) },
    .refuse = refuse, .valid = valid, .guess = guess, .workspace = workspace,
    .prepare = prepare, .run = run,
};
