/* A net's training steps in a cluster of blocks.  Each has a share of a layer's rows of weights,
 * and of what the layer reads the columns that these rows are for.  Forward, a block's product is
 * its share of every sum, and each block adds up those of the columns that it has of the next
 * layer, or of its rows of the batch where the loss follows.  Backward, every block has all
 * gradients of what a layer writes, brings those of its own columns of what it reads to all others,
 * and updates its weights as soon as their gradients are there.  Sums and gradients of layer after
 * layer take turns in two places, so that one barrier of the cluster a layer is enough each way. */
#include "kernels/backend/cuda_cluster.cuh"
#include "kernels/mlp/steps.cuh"

/* Where all of layer l's sums are; and where the gradients of what it writes are. */
DEVICE int sums_of(const struct mlp_sizes s, int l) { return l % 2 ? s.part[1] : s.part[0]; }
DEVICE int gradients_of(const struct mlp_sizes s, int l) { return sums_of(s, l + 1); }

/* A number that all blocks are to have. */
DEVICE void tell_all(const struct mlp_sizes s, float *place, float v)
{
    for (int rank = 0; rank < s.ranks; rank++) *cluster_place(place, (unsigned)rank) = v;
}

/* ---- products ---- */

DEVICE void finish(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                   const struct layer y, const struct goal g, int row, int col, float sum)
{
    if (g.kind == FORWARD) {
        mem[sums_of(s, g.l) + row * y.row + col] = sum;
        return;
    }
    if (g.kind == WEIGHTS) {
        float *p = mem + y.at + row * y.row + col;
        *p = updated(s, g.rates, *p, sum, p + s.words, p + 2 * s.words);
        return;
    }
    const int from = numbers_of(s, y.k, g.rank).from, number = row * y.k + from + col;
    const float factor = kept(given, s, g.l - 1, g.step, number);
    float read = mem[y.x + row * y.x_row + col];
    if (s.drop && factor != 0.0f) read /= factor;
    const float v = factor != 0.0f ? act_gradient(s.act, sum * factor, read) : 0.0f;
    tell_all(s, mem + gradients_of(s, g.l - 1) + row * layer_of(s, g.l - 1).row + from + col, v);
}

/* A block's share of one of layer l's products; kind, tr and tc are constants to the compiler. */
DEVICE void product(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                    const int kind, int l, int step, int rank, const int tr, const int tc)
{
    const struct layer y = layer_of(s, l);
    const struct goal g = { kind, l, step, rank, rates_of(given, step) };
    const int rows = share_of(s, y.k + 1, rank).n;
    const float *gradients = mem + gradients_of(s, l);
    struct product p;
    p.m = kind == WEIGHTS ? rows : s.mb, p.n = kind == DATA ? numbers_of(s, y.k, rank).n : y.n;
    p.terms = kind == FORWARD ? rows : kind == WEIGHTS ? s.mb : y.n;
    p.a = kind == DATA ? gradients : mem + y.x, p.b = kind == WEIGHTS ? gradients : mem + y.at;
    p.a_row = kind == FORWARD ? y.x_row : kind == WEIGHTS ? 1 : y.row;
    p.a_term = kind == WEIGHTS ? y.x_row : 1;
    p.b_term = kind == DATA ? 1 : y.row;
    p.b_col = kind == DATA ? y.row : 1;
    multiply(given, s, mem, y, g, p, tr, tc);
}

/* ---- what blocks add up ---- */

/* Of all blocks' sums at this place. */
DEVICE float sum_all(const struct mlp_sizes s, float *place)
{
    float sum = 0.0f;
    for (int rank = 0; rank < s.ranks; rank++) sum += *cluster_place(place, (unsigned)rank);
    return sum;
}

/* What the next layer reads, of the columns that this block has of it. */
DEVICE void activate(const struct mlp_steps given, const struct mlp_sizes s, float *mem, int l,
                     int step, int rank)
{
    const struct layer y = layer_of(s, l);
    const struct share cols = numbers_of(s, y.n, rank);
    for (int i = threadIdx.x; i < s.mb * cols.n; i += blockDim.x) {
        const int row = i / cols.n, col = i % cols.n, number = row * y.n + cols.from + col;
        const float sum = sum_all(s, mem + sums_of(s, l) + row * y.row + cols.from + col);
        const float factor = kept(given, s, l, step, number);
        mem[y.y + row * y.y_row + col] = factor != 0.0f ? act_value(s.act, sum) * factor : 0.0f;
    }
}

/* Logits of the rows that this block has, their losses, and their gradients for all. */
DEVICE void lose(const struct mlp_steps given, const struct mlp_sizes s, float *mem, int step,
                 int rank)
{
    const int l = s.layers - 1;
    const struct layer y = layer_of(s, l);
    const struct share rows = share_of(s, s.mb, rank);
    const int64 first = (int64)step * s.mb + rows.from;
    for (int i = threadIdx.x; i < rows.n * y.n; i += blockDim.x) {
        const int row = i / y.n, col = i % y.n;
        const float sum = sum_all(s, mem + sums_of(s, l) + (rows.from + row) * y.row + col);
        given.y[first * y.n + i] = mem[y.y + row * y.y_row + col] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x / 32; i < rows.n; i += blockDim.x / 32)
        lose_row(given, s, mem + y.y + i * y.y_row, first + i);
    __syncthreads();
    for (int i = threadIdx.x; i < rows.n * y.n; i += blockDim.x) {
        const int row = i / y.n, col = i % y.n;
        tell_all(s, mem + gradients_of(s, l) + (rows.from + row) * y.row + col,
                 mem[y.y + row * y.y_row + col]);
    }
}

/* ---- steps ---- */

DEVICE void forward(const struct mlp_steps given, const struct mlp_sizes s, float *mem, int step,
                    int rank, const int tr, const int tc)
{
    for (int l = 0; l < s.layers; l++) {
        product(given, s, mem, FORWARD, l, step, rank, tr, tc);
        cluster_sync();
        if (l == s.layers - 1) break;
        activate(given, s, mem, l, step, rank);
        __syncthreads();
    }
    lose(given, s, mem, step, rank);
    cluster_sync();
}

DEVICE void backward(const struct mlp_steps given, const struct mlp_sizes s, float *mem, int step,
                     int rank, const int tr, const int tc)
{
    for (int l = s.layers - 1; l > 0; l--) {
        product(given, s, mem, DATA, l, step, rank, tr, tc);
        __syncthreads();
        product(given, s, mem, WEIGHTS, l, step, rank, tr, tc);
        cluster_sync();
    }
    product(given, s, mem, WEIGHTS, 0, step, rank, tr, tc);
    __syncthreads();
}

DEVICE void train(const struct mlp_steps given, const struct mlp_sizes s, float *mem, const int tr,
                  const int tc)
{
    const int rank = (int)cluster_rank();
    place_ones(s, mem, rank);
    copy_all(given, s, mem, 1, rank, 0);
    for (int step = 0; step < s.steps; step++) {
        bring_batch(given, s, mem, step, rank);
        __syncthreads();
        forward(given, s, mem, step, rank, tr, tc);
        backward(given, s, mem, step, rank, tr, tc);
    }
    copy_all(given, s, mem, 1, rank, 1);
}

#define TILE(tr, tc)                                                                               \
    KERNEL(mlp_cluster_##tr##_##tc, struct mlp_steps, 1024)                                        \
    {                                                                                              \
        SIZES(struct mlp_sizes, s);                                                                \
        SHARED(mem);                                                                               \
        train(given, s, mem, tr, tc);                                                              \
    }
#ifndef CONFIGS
#define CONFIGS(X) MLP_TILES(X)
#endif
CONFIGS(TILE)
