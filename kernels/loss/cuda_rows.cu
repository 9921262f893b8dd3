/* Losses: a warp a row. */
#include "kernels/loss/error.cuh"

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

/* The largest of a row, for all lanes. */
DEVICE float row_most(const float *x, int n)
{
    float most = LOAD(x);
    for (int j = threadIdx.x % 32; j < n; j += 32) most = LOAD(x + j) > most ? LOAD(x + j) : most;
    return warp_most(most);
}

/* Distillation: the softmaxes of student (s) and teacher (q) at a temperature, and the student's at
 * 1 (h), where labels count. */
KERNEL(loss_rows_distill, struct loss_rows, 256)
{
    SIZES(struct loss_rows_sizes, s);
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    const float t = number_of(s.number), mix = number_of(s.mix), m = (float)s.m;
    for (int row = blockIdx.x * warps + threadIdx.x / 32; row < s.m; row += gridDim.x * warps) {
        const float *x = given.x + (int64)row * s.n, *z = given.t + (int64)row * s.n;
        float *dx = given.dx + (int64)row * s.n;
        const int label = given.label[row];
        const float most = row_most(x, s.n), z_most = row_most(z, s.n);
        float s_sum = 0.0f, q_sum = 0.0f, h_sum = 0.0f, below = 0.0f, first = (float)s.n;
        for (int j = lane; j < s.n; j += 32) {
            const float d = LOAD(x + j) - most, q = expf((LOAD(z + j) - z_most) / t);
            s_sum += expf(d / t);
            q_sum += q;
            h_sum += expf(d);
            below -= q * d;
            if (d == 0.0f && (float)j < first) first = (float)j;
        }
        s_sum = warp_sum(s_sum);
        q_sum = warp_sum(q_sum);
        h_sum = warp_sum(h_sum);
        below = warp_sum(below);
        first = -warp_most(-first);
        for (int j = lane; j < s.n; j += 32) {
            const float d = LOAD(x + j) - most, q = expf((LOAD(z + j) - z_most) / t);
            const float hard = expf(d) / h_sum - (j == label ? 1.0f : 0.0f);
            dx[j] = (mix * t * (expf(d / t) / s_sum - q / q_sum) + (1.0f - mix) * hard) / m;
        }
        if (lane == 0) {
            given.loss[row] = mix * t * t * (logf(s_sum) + below / t / q_sum) +
                              (1.0f - mix) * (logf(h_sum) + most - LOAD(x + label));
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
            float slope;
            sum += error_of(s.kind, LOAD(given.x + at) - LOAD(given.t + at), delta, &slope);
            given.dx[at] = slope / all;
        }
        sum = warp_sum(sum);
        if (lane == 0) given.loss[row] = sum / (float)s.n;
    }
}
