/* clip in two passes: the norm, then the gradients scaled by it where it is too large.
 *
 * The sum of squares is taken over blocks of a fixed size, each in the lanes of vectors, and then
 * over the blocks' sums in order and in doubles: the same bits whatever the number of threads. */
#include "kernels/optimizer/flat.h"

#include <math.h>

enum { BLOCK = 4096 };

static int64_t nblocks(const struct hone_problem *p)
{
    return ((int64_t)p->dim[OPTIM_N] + BLOCK - 1) / BLOCK;
}

HONE_INLINE real squares(int unroll, const real *g, int n)
{
    const vf zero = { 0 };
    vf sum[4] = { zero, zero, zero, zero };
    int i = 0;
    for (; i + unroll * VL <= n; i += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            vf v = vf_load(g + i + u * VL);
            sum[u] += v * v;
        }
    for (; unroll > 1 && i + VL <= n; i += VL) sum[0] += vf_load(g + i) * vf_load(g + i);
    if (i < n) {
        vf v = vf_load_n(g + i, n - i);
        sum[0] += v * v;
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static void sum_blocks(int unroll, const real *g, int64_t n, double *sum, int64_t from, int64_t to)
{
    for (int64_t b = from; b < to; b++) {
        int len = n - b * BLOCK < BLOCK ? (int)(n - b * BLOCK) : BLOCK;
        const real *at = g + b * BLOCK;
        sum[b] = (double)(unroll == 1   ? squares(1, at, len)
                          : unroll == 2 ? squares(2, at, len)
                                        : squares(4, at, len));
    }
}

static void scale(real *g, real factor, int64_t from, int64_t to)
{
    int64_t i = from;
    for (; i + VL <= to; i += VL) vf_store(g + i, vf_load(g + i) * factor);
    if (i < to) vf_store_n(g + i, vf_load_n(g + i, (int)(to - i)) * factor, (int)(to - i));
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)c, (void)d;
    return (size_t)nblocks(p) * sizeof(double);
}

/* Squares in the lanes of one block, these together, and a root. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    (void)p;
    return BLOCK / (VL * c->v[FLAT_UNROLL]) + 16;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[FLAT_THREADS],
              unroll = hone_plan_config(plan)->v[FLAT_UNROLL];
    const int64_t n = p->dim[OPTIM_N], blocks = nblocks(p);
    real *g = mem[CLIP_G], *norm = mem[CLIP_NORM];
    double *sum = workspace, all = 0;
    if (threads == 1) {
        sum_blocks(unroll, g, n, sum, 0, blocks);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int t = 0; t < threads; t++)
            sum_blocks(unroll, g, n, sum, hone_part(blocks, 1, threads, t),
                       hone_part(blocks, 1, threads, t + 1));
    }
    for (int64_t b = 0; b < blocks; b++) all += sum[b];
    *norm = (real)sqrt(all);
    double factor =
        (double)((const real *)mem[CLIP_HYPER])[HYPER_MAX_NORM] / (sqrt(all) + CLIP_EPSILON);
    if (factor >= 1) return HONE_OK;
    if (threads == 1) { scale(g, (real)factor, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        scale(g, (real)factor, hone_part(n, 16, threads, t), hone_part(n, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_clip, 0 };

const struct hone_kernel HONE_SYM(optimizer_cpu_clip) = {
    .name = HONE_NAME("cpu_clip"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = FLAT_CONSTRAINT, .guess = flat_guess, .workspace = workspace, .growth = growth,
    .run = run,
};
