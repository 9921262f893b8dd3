/* A small net's training steps in one block.  Each product keeps a tile of sums in a thread's
 * registers; where there are fewer tiles than threads, neighbouring lanes share a tile's terms.
 * Gradients of what a layer reads take the place of what it read. */
#include "kernels/activation/act.cuh"
#include "kernels/dropout/hash.cuh"
#include "kernels/mlp/cuda_block.h"

/* Places in HYPER, as optimizer.h's enum HYPER_LR has them. */
enum { LR, MOMENTUM, BETA1 = MOMENTUM, BETA2, EPS, WD, C1, C2, MAX_NORM, NHYPER };

#define LARGEST 3.402823466e38f

/* Products: forward; gradients of weights and bias; of what a layer read. */
enum { FORWARD, WEIGHTS, DATA };

/* Layer l's sizes and places; what it writes is at y. */
struct layer { int k, n, w, b, at, row, x, x_row, y, y_row; };

/* By choices among constant places: an array that is indexed by a register would lie in memory. */
DEVICE struct layer layer_of(const struct mlp_block_sizes s, int l)
{
    struct layer r = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    UNROLLED
    for (int i = 0; i < MLP_BLOCK_LAYERS; i++)
        if (i == l) {
            r.k = s.width[i], r.n = s.width[i + 1];
            r.w = s.w[i], r.b = s.b[i], r.at = s.at[i], r.row = s.row[i];
            r.x = s.x[i], r.x_row = s.x_row[i], r.y = s.x[i + 1], r.y_row = s.x_row[i + 1];
        }
    return r;
}

/* ---- between shared and the GPU's memory ---- */

/* Copies parameters or states at `to` from p, or back. */
DEVICE void copy_layers(const struct mlp_block_sizes s, float *mem, float *p, int back)
{
    for (int l = 0; l < s.layers; l++) {
        const struct layer y = layer_of(s, l);
        for (int i = threadIdx.x; i < (y.k + 1) * y.n; i += blockDim.x) {
            float *here = mem + y.at + i / y.n * y.row + i % y.n;
            float *there = i < y.k * y.n ? p + y.w + i : p + y.b + i - y.k * y.n;
            if (back) *there = *here;
            else *here = *there;
        }
    }
}

DEVICE void copy_all(const struct mlp_block given, const struct mlp_block_sizes s, float *mem,
                     int back)
{
    copy_layers(s, mem, given.p, back);
    if (s.copies > 2) copy_layers(s, mem + 2 * s.words, given.first, back);
    if (s.copies > 3) copy_layers(s, mem + 3 * s.words, given.second, back);
}

/* A step's batch. */
DEVICE void bring_batch(const struct mlp_block given, const struct mlp_block_sizes s, float *mem,
                        int step)
{
    const int n = s.width[0];
    const float *x = given.x + (int64)step * s.mb * n;
    for (int i = threadIdx.x; i < s.mb * n; i += blockDim.x)
        mem[s.x[0] + i / n * s.x_row[0] + i % n] = LOAD(x + i);
}

/* ---- products ---- */

/* What dropout makes of number i behind layer l. */
DEVICE float kept(const struct mlp_block given, const struct mlp_block_sizes s, int l, int step,
                  int i)
{
    if (!s.drop) return 1.0f;
    const uint64 hash = mixed(dropout_key(given.seed + 2 * step, 2 * (l + 1)), (uint64)i / 2);
    const unsigned half = (unsigned)(i % 2 ? hash >> 32 : hash);
    return half >= (unsigned)s.threshold ? number_of(s.factor) : 0.0f;
}

/* A sum goes where it belongs. */
DEVICE void finish(const struct mlp_block given, const struct mlp_block_sizes s, float *mem,
                   const struct layer y, const int kind, int l, int step, int row, int col,
                   float sum)
{
    if (kind == WEIGHTS) {
        mem[s.words + y.at + row * y.row + col] = sum;
        return;
    }
    if (kind == DATA) {
        float *place = mem + y.x + row * y.x_row + col;
        const float factor = kept(given, s, l - 1, step, row * y.k + col);
        const float read = s.drop && factor != 0.0f ? *place / factor : *place;
        *place = factor != 0.0f ? act_gradient(s.act, sum * factor, read) : 0.0f;
        return;
    }
    if (l < s.layers - 1) {
        const float factor = kept(given, s, l, step, row * y.n + col);
        sum = factor != 0.0f ? act_value(s.act, sum) * factor : 0.0f;
    } else {
        given.y[((int64)step * s.mb + row) * y.n + col] = sum;
    }
    mem[y.y + row * y.y_row + col] = sum;
}

/* One of layer l's products; kind, tr and tc are constants to the compiler.  A tile's rows are
 * `rows` apart, and its columns likewise, so that neighbouring threads read neighbouring words. */
DEVICE void product(const struct mlp_block given, const struct mlp_block_sizes s, float *mem,
                    const int kind, int l, int step, const int tr, const int tc)
{
    const struct layer y = layer_of(s, l);
    const int m = kind == WEIGHTS ? y.k + 1 : s.mb, n = kind == DATA ? y.k : y.n;
    const int terms = kind == FORWARD ? y.k + 1 : kind == WEIGHTS ? s.mb : y.n;
    const float *a = mem + (kind == DATA ? y.y : y.x), *b = mem + (kind == WEIGHTS ? y.y : y.at);
    const int a_row = kind == FORWARD ? y.x_row : kind == WEIGHTS ? 1 : y.y_row;
    const int a_term = kind == WEIGHTS ? y.x_row : 1;
    const int b_term = kind == FORWARD ? y.row : kind == WEIGHTS ? y.y_row : 1;
    const int b_col = kind == DATA ? y.row : 1;
    const int rows = (m + tr - 1) / tr, cols = (n + tc - 1) / tc, tiles = rows * cols;
    int split = 1;
    while (split < 32 && tiles * split * 2 <= (int)blockDim.x && terms >= 4 * split) split *= 2;
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
        for (int k = part; tile < tiles && k < terms; k += split) {
            UNROLLED
            for (int i = 0; i < tr; i++) {
                const int r = row + i * rows;
                left[i] = a[(r < m ? r : 0) * a_row + k * a_term];
            }
            UNROLLED
            for (int j = 0; j < tc; j++) {
                const int c = col + j * cols;
                right[j] = b[k * b_term + (c < n ? c : 0) * b_col];
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
                if (part == 0 && tile < tiles && r < m && c < n)
                    finish(given, s, mem, y, kind, l, step, r, c, sum[i][j]);
            }
    }
}

/* ---- loss: a warp a row, whose numbers become their gradients ---- */

DEVICE void softmax_row(const struct mlp_block given, const struct mlp_block_sizes s, float *x,
                        int64 row)
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

DEVICE void error_row(const struct mlp_block given, const struct mlp_block_sizes s, float *x,
                      int64 row)
{
    const int lane = threadIdx.x % 32, n = layer_of(s, s.layers - 1).n;
    const float delta = number_of(s.number), all = (float)s.mb * (float)n;
    float sum = 0.0f;
    for (int j = lane; j < n; j += 32) {
        const float d = x[j] - LOAD(given.t + row * n + j), size = fabsf(d);
        float slope = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : 0.0f;
        if (s.loss == MLP_BLOCK_MSE) {
            sum += d * d;
            slope = 2.0f * d;
        } else if (s.loss == MLP_BLOCK_MAE) {
            sum += size;
        } else if (size <= delta) {
            sum += 0.5f * d * d;
            slope = d;
        } else {
            sum += delta * (size - 0.5f * delta);
            slope *= delta;
        }
        x[j] = slope / all;
    }
    sum = warp_sum(sum);
    if (lane == 0) given.loss[row] = sum / (float)n;
}

DEVICE void lose(const struct mlp_block given, const struct mlp_block_sizes s, float *mem, int step)
{
    const struct layer last = layer_of(s, s.layers - 1);
    for (int i = threadIdx.x / 32; i < s.mb; i += blockDim.x / 32) {
        float *x = mem + last.y + i * last.y_row;
        const int64 row = (int64)step * s.mb + i;
        if (s.loss == MLP_BLOCK_CE) softmax_row(given, s, x, row);
        else error_row(given, s, x, row);
    }
}

/* ---- update ---- */

/* What pads rows is updated, too, and read by nobody. */
DEVICE void update(const struct mlp_block given, const struct mlp_block_sizes s, float *mem,
                   int step)
{
    const float *h = given.hyper + NHYPER * step;
    const float lr = LOAD(h + LR), momentum = LOAD(h + MOMENTUM), wd = LOAD(h + WD);
    const float b1 = momentum, b2 = LOAD(h + BETA2), c1 = LOAD(h + C1), c2 = LOAD(h + C2);
    float *first = mem + 2 * s.words, *second = mem + 3 * s.words;
    for (int i = threadIdx.x; i < s.words; i += blockDim.x) {
        float p = mem[i], g = mem[s.words + i], move;
        if (s.wd && !s.decoupled) g += wd * p;
        if (s.adam) {
            const float m = b1 * first[i] + (1.0f - b1) * g;
            const float v = b2 * second[i] + (1.0f - b2) * g * g;
            if (s.decoupled) p -= lr * wd * p;
            first[i] = m;
            second[i] = v;
            mem[i] = p - lr * c1 * m / (sqrtf(v) * c2 + LOAD(h + EPS));
            continue;
        }
        move = g;
        if (s.momentum) first[i] = move = momentum * first[i] + g;
        if (s.nesterov) move = g + momentum * move;
        mem[i] = p - lr * move;
    }
}

/* ---- steps ---- */

DEVICE void prepare(const struct mlp_block given, const struct mlp_block_sizes s, float *mem)
{
    for (int i = threadIdx.x; i < s.copies * s.words; i += blockDim.x) mem[i] = 0.0f;
    for (int l = 0; l < s.layers; l++) {
        const struct layer y = layer_of(s, l);
        for (int i = threadIdx.x; i < s.mb; i += blockDim.x) mem[y.x + i * y.x_row + y.k] = 1.0f;
    }
    __syncthreads();
    copy_all(given, s, mem, 0);
    bring_batch(given, s, mem, 0);
    __syncthreads();
}

#define TILE(tr, tc)                                                                               \
    KERNEL(mlp_block_##tr##_##tc, struct mlp_block, 1024)                                          \
    {                                                                                              \
        SIZES(struct mlp_block_sizes, s);                                                          \
        SHARED(mem);                                                                               \
        prepare(given, s, mem);                                                                    \
        for (int step = 0; step < s.steps; step++) {                                               \
            for (int l = 0; l < s.layers; l++) {                                                   \
                product(given, s, mem, FORWARD, l, step, tr, tc);                                  \
                __syncthreads();                                                                   \
            }                                                                                      \
            lose(given, s, mem, step);                                                             \
            __syncthreads();                                                                       \
            for (int l = s.layers - 1; l >= 0; l--) {                                              \
                product(given, s, mem, WEIGHTS, l, step, tr, tc);                                  \
                __syncthreads();                                                                   \
                if (!l) break;                                                                     \
                product(given, s, mem, DATA, l, step, tr, tc);                                     \
                __syncthreads();                                                                   \
            }                                                                                      \
            update(given, s, mem, step);                                                           \
            if (step + 1 < s.steps) bring_batch(given, s, mem, step + 1);                          \
            __syncthreads();                                                                       \
        }                                                                                          \
        copy_all(given, s, mem, 1);                                                                \
    }
#ifndef CONFIGS
#define CONFIGS(X) MLP_TILES(X)
#endif
CONFIGS(TILE)
