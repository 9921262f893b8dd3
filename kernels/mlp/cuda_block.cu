/* A small net's training steps in one block.  Gradients of what a layer reads take the place of
 * what it read. */
#include "kernels/mlp/steps.cuh"

/* ---- products ---- */

/* A sum goes where it belongs. */
DEVICE void finish(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                   const struct layer y, const struct goal g, int row, int col, float sum)
{
    if (g.kind == WEIGHTS) {
        mem[s.words + y.at + row * y.row + col] = sum;
        return;
    }
    if (g.kind == DATA) {
        float *place = mem + y.x + row * y.x_row + col;
        const float factor = kept(given, s, g.l - 1, g.step, row * y.k + col);
        const float read = s.drop && factor != 0.0f ? *place / factor : *place;
        *place = factor != 0.0f ? act_gradient(s.act, sum * factor, read) : 0.0f;
        return;
    }
    if (g.l < s.layers - 1) {
        const float factor = kept(given, s, g.l, g.step, row * y.n + col);
        sum = factor != 0.0f ? act_value(s.act, sum) * factor : 0.0f;
    } else {
        given.y[((int64)g.step * s.mb + row) * y.n + col] = sum;
    }
    mem[y.y + row * y.y_row + col] = sum;
}

/* One of layer l's products; kind, tr and tc are constants to the compiler. */
DEVICE void product(const struct mlp_steps given, const struct mlp_sizes s, float *mem,
                    const int kind, int l, int step, const int tr, const int tc)
{
    const struct layer y = layer_of(s, l);
    const struct goal g = { kind, l, step, 0, rates_of(given, step) };
    struct product p;
    p.m = kind == WEIGHTS ? y.k + 1 : s.mb, p.n = kind == DATA ? y.k : y.n;
    p.terms = kind == FORWARD ? y.k + 1 : kind == WEIGHTS ? s.mb : y.n;
    p.a = mem + (kind == DATA ? y.y : y.x), p.b = mem + (kind == WEIGHTS ? y.y : y.at);
    p.a_row = kind == FORWARD ? y.x_row : kind == WEIGHTS ? 1 : y.y_row;
    p.a_term = kind == WEIGHTS ? y.x_row : 1;
    p.b_term = kind == FORWARD ? y.row : kind == WEIGHTS ? y.y_row : 1;
    p.b_col = kind == DATA ? y.row : 1;
    multiply(given, s, mem, y, g, p, tr, tc);
}

/* ---- update ---- */

/* What pads rows is updated, too, and read by nobody. */
DEVICE void update(const struct mlp_steps given, const struct mlp_sizes s, float *mem, int step)
{
    const struct rates r = rates_of(given, step);
    for (int i = threadIdx.x; i < s.words; i += blockDim.x)
        mem[i] = updated(s, r, mem[i], mem[s.words + i], mem + 2 * s.words + i,
                         mem + 3 * s.words + i);
}

/* ---- steps ---- */

DEVICE void prepare(const struct mlp_steps given, const struct mlp_sizes s, float *mem)
{
    for (int i = threadIdx.x; i < s.copies * s.words; i += blockDim.x) mem[i] = 0.0f;
    place_ones(s, mem, 0);
    __syncthreads();
    copy_all(given, s, mem, 2, 0, 0);
    bring_batch(given, s, mem, 0, 0);
    __syncthreads();
}

DEVICE void train(const struct mlp_steps given, const struct mlp_sizes s, float *mem, int step,
                  const int tr, const int tc)
{
    for (int l = 0; l < s.layers; l++) {
        product(given, s, mem, FORWARD, l, step, tr, tc);
        __syncthreads();
    }
    for (int i = threadIdx.x / 32; i < s.mb; i += blockDim.x / 32)
        lose_row(given, s, mem + s.x[s.layers] + i * s.x_row[s.layers], (int64)step * s.mb + i);
    __syncthreads();
    for (int l = s.layers - 1; l >= 0; l--) {
        product(given, s, mem, WEIGHTS, l, step, tr, tc);
        __syncthreads();
        if (!l) break;
        product(given, s, mem, DATA, l, step, tr, tc);
        __syncthreads();
    }
    update(given, s, mem, step);
    if (step + 1 < s.steps) bring_batch(given, s, mem, step + 1, 0);
    __syncthreads();
}

#define TILE(tr, tc)                                                                               \
    KERNEL(mlp_block_##tr##_##tc, struct mlp_steps, 1024)                                          \
    {                                                                                              \
        SIZES(struct mlp_sizes, s);                                                                \
        SHARED(mem);                                                                               \
        prepare(given, s, mem);                                                                    \
        for (int step = 0; step < s.steps; step++) train(given, s, mem, step, tr, tc);             \
        copy_all(given, s, mem, 2, 0, 1);                                                          \
    }
#ifndef CONFIGS
#define CONFIGS(X) MLP_TILES(X)
#endif
CONFIGS(TILE)
