/* Optimizers over the flat array of all parameters, one pass each; see optimizer.h. */
#include "kernels/backend/cuda.cuh"
#include "kernels/optimizer/cuda_flat.h"

/* Places in HYPER, as enum HYPER_LR has them. */
enum { LR, MOMENTUM, BETA1 = MOMENTUM, BETA2, RHO = BETA2, EPS, WD, C1, C2, MAX_NORM };

/* The gradient, with what weight decay adds. */
DEVICE float gradient(const struct optimizer_flat given, int wd, int64 i)
{
    const float g = LOAD(given.g + i);
    return wd ? g + LOAD(given.hyper + WD) * given.p[i] : g;
}

KERNEL(optimizer_flat_sgd, struct optimizer_flat, 512)
{
    SIZES(struct optimizer_flat_sizes, s);
    const float lr = LOAD(given.hyper + LR), momentum = LOAD(given.hyper + MOMENTUM);
    for (int64 i = FIRST; i < s.n; i += STRIDE) {
        const float g = gradient(given, s.wd, i);
        float move = g;
        if (s.momentum) given.first[i] = move = momentum * given.first[i] + g;
        if (s.nesterov) move = g + momentum * move;
        given.p[i] -= lr * move;
    }
}

KERNEL(optimizer_flat_adam, struct optimizer_flat, 512)
{
    SIZES(struct optimizer_flat_sizes, s);
    const float *h = given.hyper;
    const float b1 = LOAD(h + BETA1), b2 = LOAD(h + BETA2), lr = LOAD(h + LR) * LOAD(h + C1);
    for (int64 i = FIRST; i < s.n; i += STRIDE) {
        const float g = gradient(given, s.wd && !s.decoupled, i);
        const float m = b1 * given.first[i] + (1.0f - b1) * g;
        const float v = b2 * given.second[i] + (1.0f - b2) * g * g;
        float p = given.p[i];
        if (s.decoupled) p -= LOAD(h + LR) * LOAD(h + WD) * p;
        given.first[i] = m;
        given.second[i] = v;
        given.p[i] = p - lr * m / (sqrtf(v) * LOAD(h + C2) + LOAD(h + EPS));
    }
}

KERNEL(optimizer_flat_rmsprop, struct optimizer_flat, 512)
{
    SIZES(struct optimizer_flat_sizes, s);
    const float *h = given.hyper, rho = LOAD(h + RHO);
    for (int64 i = FIRST; i < s.n; i += STRIDE) {
        const float g = gradient(given, s.wd, i);
        const float a = rho * given.first[i] + (1.0f - rho) * g * g;
        float move = g / (sqrtf(a) + LOAD(h + EPS));
        given.first[i] = a;
        if (s.momentum) given.second[i] = move = LOAD(h + MOMENTUM) * given.second[i] + move;
        given.p[i] -= LOAD(h + LR) * move;
    }
}

KERNEL(optimizer_flat_adadelta, struct optimizer_flat, 512)
{
    SIZES(struct optimizer_flat_sizes, s);
    const float *h = given.hyper, rho = LOAD(h + RHO), eps = LOAD(h + EPS);
    for (int64 i = FIRST; i < s.n; i += STRIDE) {
        const float g = gradient(given, s.wd, i), d = given.second[i];
        const float a = rho * given.first[i] + (1.0f - rho) * g * g;
        const float move = sqrtf(d + eps) / sqrtf(a + eps) * g;
        given.first[i] = a;
        given.second[i] = rho * d + (1.0f - rho) * move * move;
        given.p[i] -= LOAD(h + LR) * move;
    }
}

KERNEL(optimizer_flat_squares, struct optimizer_flat, 512)
{
    SIZES(struct optimizer_flat_sizes, s);
    SHARED(part);
    float sum = 0.0f;
    for (int64 i = FIRST; i < s.n; i += STRIDE) sum += LOAD(given.g + i) * LOAD(given.g + i);
    sum = block_sum(sum, part);
    if (threadIdx.x == 0) given.partial[blockIdx.x] = sum;
}

/* Every block adds up all blocks' sums, in the same order, which spares a launch. */
KERNEL(optimizer_flat_clip, struct optimizer_flat, 512)
{
    SIZES(struct optimizer_flat_sizes, s);
    SHARED(part);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < s.blocks; i += blockDim.x) sum += LOAD(given.partial + i);
    const float norm = sqrtf(block_sum(sum, part));
    const float factor = LOAD(given.hyper + MAX_NORM) / (norm + 1e-6f);
    for (int64 i = FIRST; i < s.n; i += STRIDE) given.g[i] *= factor < 1.0f ? factor : 1.0f;
    if (blockIdx.x == 0 && threadIdx.x == 0) given.norm[0] = norm;
}
