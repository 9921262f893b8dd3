/* kernels/mlp/steps.cuh -- what a training step is made of, for a block and for a cluster of them:
 * products, in which each thread keeps a tile of sums in registers, and neighbouring lanes share a
 * tile's terms where there are fewer tiles than threads; dropout, loss and update. */
#ifndef HONE_MLP_STEPS_CUH
#define HONE_MLP_STEPS_CUH

#include "kernels/activation/act.cuh"
#include "kernels/dropout/hash.cuh"
#include "kernels/loss/error.cuh"
#include "kernels/mlp/cuda_steps.h"

/* Places in HYPER, as optimizer.h's enum HYPER_LR has them. */
enum { LR, MOMENTUM, BETA1 = MOMENTUM, BETA2, EPS, WD, C1, C2, MAX_NORM, NHYPER };

#define LARGEST 3.402823466e38f

/* Layer l's sizes and places; what it writes is at y. */
struct layer { int k, n, w, b, at, row, x, x_row, y, y_row; };

/* By choices among constant places: an array that is indexed by a register would lie in memory. */
DEVICE struct layer layer_of(const struct mlp_sizes s, int l)
{
    struct layer r = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    UNROLLED
    for (int i = 0; i < MLP_STEPS_LAYERS; i++)
        if (i == l) {
            r.k = s.width[i], r.n = s.width[i + 1];
            r.w = s.w[i], r.b = s.b[i], r.at = s.at[i], r.row = s.row[i];
            r.x = s.x[i], r.x_row = s.x_row[i], r.y = s.x[i + 1], r.y_row = s.x_row[i + 1];
        }
    return r;
}

/* ---- between shared and the GPU's memory ---- */

/* What block `rank` has of n things: so many from there on. */
struct share { int from, n; };

DEVICE struct share share_of(const struct mlp_sizes s, int n, int rank)
{
    struct share r;
    r.from = n * rank / s.ranks;
    r.n = n * (rank + 1) / s.ranks - r.from;
    return r;
}

/* Likewise of the k numbers that a layer reads, behind which the last block has the bias's 1. */
DEVICE struct share numbers_of(const struct mlp_sizes s, int k, int rank)
{
    struct share r = share_of(s, k + 1, rank);
    if (r.from + r.n > k) r.n = k - r.from;
    return r;
}

DEVICE void place_ones(const struct mlp_sizes s, float *mem, int rank)
{
    if (rank < s.ranks - 1) return;
    for (int l = 0; l < s.layers; l++) {
        const struct layer y = layer_of(s, l);
        float *one = mem + y.x + numbers_of(s, y.k, rank).n;
        for (int i = threadIdx.x; i < s.mb; i += blockDim.x) one[i * y.x_row] = 1.0f;
    }
}

/* Copies a block's parameters or states from p to mem, or back. */
DEVICE void copy_layers(const struct mlp_sizes s, float *mem, float *p, int rank, int back)
{
    for (int l = 0; l < s.layers; l++) {
        const struct layer y = layer_of(s, l);
        const struct share rows = share_of(s, y.k + 1, rank);
        for (int i = threadIdx.x; i < rows.n * y.n; i += blockDim.x) {
            const int row = i / y.n, col = i % y.n;
            float *here = mem + y.at + row * y.row + col;
            float *there = rows.from + row < y.k ? p + y.w + rows.from * y.n + i : p + y.b + col;
            if (back) *there = *here;
            else *here = *there;
        }
    }
}

/* All of them; states begin with copy number `states`. */
DEVICE void copy_all(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                     const int states, int rank, int back)
{
    copy_layers(s, mem, given.p, rank, back);
    if (s.copies > states) copy_layers(s, mem + states * s.words, given.first, rank, back);
    if (s.copies > states + 1)
        copy_layers(s, mem + (states + 1) * s.words, given.second, rank, back);
}

/* A step's batch. */
DEVICE void bring_batch(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                        int step, int rank)
{
    const struct share cols = numbers_of(s, s.width[0], rank);
    const float *x = given.x + (int64)step * s.mb * s.width[0] + cols.from;
    for (int i = threadIdx.x; i < s.mb * cols.n; i += blockDim.x) {
        const int row = i / cols.n, col = i % cols.n;
        mem[s.x[0] + row * s.x_row[0] + col] = LOAD(x + (int64)row * s.width[0] + col);
    }
}

/* ---- update ---- */

/* Step's numbers. */
struct rates { float lr, momentum, b2, eps, wd, c1, c2; };

DEVICE struct rates rates_of(const struct mlp_steps given, int step)
{
    const float *h = given.hyper + NHYPER * step;
    struct rates r;
    r.lr = LOAD(h + LR), r.momentum = LOAD(h + MOMENTUM), r.b2 = LOAD(h + BETA2);
    r.eps = LOAD(h + EPS), r.wd = LOAD(h + WD), r.c1 = LOAD(h + C1), r.c2 = LOAD(h + C2);
    return r;
}

/* What a parameter p of gradient g becomes; its states are at first and second. */
DEVICE float updated(const struct mlp_sizes s, const struct rates r, float p, float g,
                     float *first, float *second)
{
    if (s.wd && !s.decoupled) g += r.wd * p;
    if (s.adam) {
        const float m = r.momentum * *first + (1.0f - r.momentum) * g;
        const float v = r.b2 * *second + (1.0f - r.b2) * g * g;
        if (s.decoupled) p -= r.lr * r.wd * p;
        *first = m;
        *second = v;
        return p - r.lr * r.c1 * m / (sqrtf(v) * r.c2 + r.eps);
    }
    float move = g;
    if (s.momentum) *first = move = r.momentum * *first + g;
    if (s.nesterov) move = g + r.momentum * move;
    return p - r.lr * move;
}

/* ---- products ---- */

/* What dropout makes of number i behind layer l. */
DEVICE float kept(const struct mlp_steps given, const struct mlp_sizes s, int l, int step, int i)
{
    if (!s.drop) return 1.0f;
    const uint64 hash = mixed(dropout_key(given.seed + 2 * step, 2 * (l + 1)), (uint64)i / 2);
    const unsigned half = (unsigned)(i % 2 ? hash >> 32 : hash);
    return half >= (unsigned)s.threshold ? number_of(s.factor) : 0.0f;
}

/* What is computed: forward; gradients of weights and bias; of what a layer read. */
enum { FORWARD, WEIGHTS, DATA };

/* Where a sum belongs: layer l's product of this kind, in this step; rank: of the block. */
struct goal { int kind, l, step, rank; struct rates rates; };

/* Each kernel brings a sum where it belongs. */
DEVICE void finish(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                   const struct layer y, const struct goal g, int row, int col, float sum);

/* Of a and b in shared memory, (m, n) sums of so many terms: term k of row r is at
 * a[r a_row + k a_term], of column c at b[c b_col + k b_term]. */
struct product { const float *a, *b; int m, n, terms, a_row, a_term, b_col, b_term; };

/* tr and tc are constants to the compiler.  A tile's rows are `rows` apart, and its columns
 * likewise, so that neighbouring threads read neighbouring words. */
DEVICE void multiply(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                     const struct layer y, const struct goal g, const struct product p,
                     const int tr, const int tc)
{
    const int rows = (p.m + tr - 1) / tr, cols = (p.n + tc - 1) / tc, tiles = rows * cols;
    int split = 1;
    while (split < 32 && tiles * split * 2 <= (int)blockDim.x && p.terms >= 4 * split) split *= 2;
    const int part = threadIdx.x % split, groups = blockDim.x / split;
    float sum[4][4], left[4], right[4];
    for (int first = 0; first < tiles; first += groups) {
        const int tile = first + threadIdx.x / split;
        /* A warp leaves as a whole: its lanes add up together below. */
        if (first + ((int)threadIdx.x & ~31) / split >= tiles) break;
        const int row = tile / cols, col = tile % cols;
        UNROLLED
        for (int i = 0; i < tr; i++)
            UNROLLED
            for (int j = 0; j < tc; j++) sum[i][j] = 0.0f;
        for (int k = part; tile < tiles && k < p.terms; k += split) {
            UNROLLED
            for (int i = 0; i < tr; i++) {
                const int r = row + i * rows;
                left[i] = p.a[(r < p.m ? r : 0) * p.a_row + k * p.a_term];
            }
            UNROLLED
            for (int j = 0; j < tc; j++) {
                const int c = col + j * cols;
                right[j] = p.b[k * p.b_term + (c < p.n ? c : 0) * p.b_col];
            }
            UNROLLED
            for (int i = 0; i < tr; i++)
                UNROLLED
                for (int j = 0; j < tc; j++) sum[i][j] += left[i] * right[j];
        }
        for (int d = split / 2; d; d /= 2)
            UNROLLED
            for (int i = 0; i < tr; i++)
                UNROLLED
                for (int j = 0; j < tc; j++)
                    sum[i][j] += __shfl_xor_sync(0xffffffffu, sum[i][j], d);
        UNROLLED
        for (int i = 0; i < tr; i++)
            UNROLLED
            for (int j = 0; j < tc; j++) {
                const int r = row + i * rows, c = col + j * cols;
                if (part == 0 && tile < tiles && r < p.m && c < p.n)
                    finish(given, s, mem, y, g, r, c, sum[i][j]);
            }
    }
}

/* ---- loss: a warp a row, whose numbers become their gradients ---- */

DEVICE void softmax_row(const struct mlp_steps given, const struct mlp_sizes s, float *x, int64 row)
{
    const int lane = threadIdx.x % 32, n = layer_of(s, s.layers - 1).n;
    const int label = LOAD(given.label + row);
    const float smooth = number_of(s.number);
    float most = -LARGEST, at_label = -LARGEST, sum = 0.0f, below = 0.0f, first = (float)n;
    for (int j = lane; j < n; j += 32) {
        most = x[j] > most ? x[j] : most;
        if (j == label) at_label = x[j];
    }
    most = warp_most(most);
    at_label = warp_most(at_label);
    for (int j = lane; j < n; j += 32) {
        sum += expf(x[j] - most);
        below += most - x[j];
        if (x[j] == most && (float)j < first) first = (float)j;
    }
    sum = warp_sum(sum);
    below = warp_sum(below);
    first = -warp_most(-first);   /* where the first of the largest is */
    for (int j = lane; j < n; j += 32) {
        const float target = (j == label ? 1.0f - smooth : 0.0f) + smooth / (float)n;
        x[j] = (expf(x[j] - most) / sum - target) / (float)s.mb;
    }
    if (lane == 0) {
        given.loss[row] = logf(sum) - (1.0f - smooth) * (at_label - most) +
                          (smooth != 0.0f ? smooth * below / (float)n : 0.0f);
        given.hit[row] = first == (float)label ? 1.0f : 0.0f;
    }
}

DEVICE void error_row(const struct mlp_steps given, const struct mlp_sizes s, float *x, int64 row)
{
    const int lane = threadIdx.x % 32, n = layer_of(s, s.layers - 1).n;
    const float delta = number_of(s.number), all = (float)s.mb * (float)n;
    float sum = 0.0f;
    for (int j = lane; j < n; j += 32) {
        float slope;
        sum += error_of(s.loss, x[j] - LOAD(given.t + row * n + j), delta, &slope);
        x[j] = slope / all;
    }
    sum = warp_sum(sum);
    if (lane == 0) given.loss[row] = sum / (float)n;
}

DEVICE void lose_row(const struct mlp_steps given, const struct mlp_sizes s, float *x, int64 row)
{
    if (s.loss == MLP_STEPS_CE) softmax_row(given, s, x, row);
    else error_row(given, s, x, row);
}

#endif
