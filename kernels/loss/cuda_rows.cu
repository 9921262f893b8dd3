/* Losses: a warp a row. */
#include "kernels/backend/cuda.cuh"
#include "kernels/loss/cuda_rows.h"

/* Softmax with cross-entropy.  The largest x is taken off first, so that no exp overflows. */
KERNEL(loss_rows_softmax, struct loss_rows, 256)
{
    SIZES(struct loss_rows_sizes, s);
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    const float smooth = number_of(s.number);
    for (int row = blockIdx.x * warps + threadIdx.x / 32; row < s.m; row += gridDim.x * warps) {
        const float *x = given.x + (int64)row * s.n;
        float *dx = given.dx + (int64)row * s.n;
        const int label = given.label[row];
        float most = LOAD(x), sum = 0.0f, below = 0.0f, first = (float)s.n;
        for (int j = lane; j < s.n; j += 32) most = LOAD(x + j) > most ? LOAD(x + j) : most;
        most = warp_most(most);
        for (int j = lane; j < s.n; j += 32) {
            sum += expf(LOAD(x + j) - most);
            below += most - LOAD(x + j);
            if (LOAD(x + j) == most && (float)j < first) first = (float)j;
        }
        sum = warp_sum(sum);
        below = warp_sum(below);
        first = -warp_most(-first);   /* where the first of the largest is */
        for (int j = lane; j < s.n; j += 32) {
            const float target = (j == label ? 1.0f - smooth : 0.0f) + smooth / (float)s.n;
            dx[j] = (expf(LOAD(x + j) - most) / sum - target) / (float)s.m;
        }
        if (lane == 0) {
            given.loss[row] = logf(sum) - (1.0f - smooth) * (LOAD(x + label) - most) +
                              (smooth != 0.0f ? smooth * below / (float)s.n : 0.0f);
            given.hit[row] = first == (float)label ? 1.0f : 0.0f;
        }
    }
}

/* Squared, absolute and Huber's error. */
KERNEL(loss_rows_error, struct loss_rows, 256)
{
    SIZES(struct loss_rows_sizes, s);
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    const float delta = number_of(s.number), all = (float)s.m * (float)s.n;
    for (int row = blockIdx.x * warps + threadIdx.x / 32; row < s.m; row += gridDim.x * warps) {
        float sum = 0.0f;
        for (int j = lane; j < s.n; j += 32) {
            const int64 at = (int64)row * s.n + j;
            const float d = LOAD(given.x + at) - LOAD(given.t + at), size = fabsf(d);
            float slope = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : 0.0f;
            if (s.kind == LOSS_ROWS_MSE) {
                sum += d * d;
                slope = 2.0f * d;
            } else if (s.kind == LOSS_ROWS_MAE) {
                sum += size;
            } else if (size <= delta) {
                sum += 0.5f * d * d;
                slope = d;
            } else {
                sum += delta * (size - 0.5f * delta);
                slope *= delta;
            }
            given.dx[at] = slope / all;
        }
        sum = warp_sum(sum);
        if (lane == 0) given.loss[row] = sum / (float)s.n;
    }
}
