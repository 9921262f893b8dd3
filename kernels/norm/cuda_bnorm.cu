/* Batch normalisation: a block has 32 channels, which its 8 rows of threads walk down: for the mean,
 * for the variance about it, which keeps digits where x is far from 0, and for the output, which may
 * lie where x, dy or the addend do: a thread reads a number before it writes it. */
#include "kernels/activation/act.cuh"
#include "kernels/norm/cuda_bnorm.h"

enum { ROWS = 8 };

/* The sum of v over the block's 8 threads of a channel, for all of them. */
DEVICE float column_sum(float v, float *part)
{
    const int x = threadIdx.x % 32, y = threadIdx.x / 32;
    float sum = 0.0f;
    part[y * 32 + x] = v;
    __syncthreads();
    for (int i = 0; i < ROWS; i++) sum += part[i * 32 + x];
    __syncthreads();
    return sum;
}

DEVICE float ended(const struct norm_bnorm given, const struct norm_bnorm_sizes s, float y, int64 at)
{
    if (s.add) y += stored_read(given.addend, at, s.half);
    return act_epilogue(s.act, y);
}

KERNEL(norm_bnorm_fwd, struct norm_bnorm, 256)
{
    SIZES(struct norm_bnorm_sizes, s);
    SHARED(part);
    const int y = threadIdx.x / 32, col = blockIdx.x * 32 + threadIdx.x % 32, inside = col < s.n;
    const float m = (float)s.m, momentum = number_of(s.momentum);
    float sum = 0.0f, squares = 0.0f;
    for (int row = y; inside && row < s.m; row += ROWS)
        sum += stored_read(given.x, (int64)row * s.n + col, s.half);
    const float mean = column_sum(sum, part) / m;
    for (int row = y; inside && row < s.m; row += ROWS) {
        const float d = stored_read(given.x, (int64)row * s.n + col, s.half) - mean;
        squares += d * d;
    }
    const float var = column_sum(squares, part) / m, rstd = 1.0f / sqrtf(var + number_of(s.eps));
    if (!inside) return;
    const float slope = LOAD(given.gamma + col) * rstd, beta = LOAD(given.beta + col);
    for (int row = y; row < s.m; row += ROWS) {
        const int64 at = (int64)row * s.n + col;
        const float x = stored_read(given.x, at, s.half);
        stored_save(given.y, at, ended(given, s, slope * (x - mean) + beta, at), s.half);
    }
    if (y) return;
    given.mean[col] = mean;
    given.rstd[col] = rstd;
    given.rmean[col] = (1.0f - momentum) * given.rmean[col] + momentum * mean;
    given.rvar[col] = (1.0f - momentum) * given.rvar[col] +
                      momentum * var * (m / (s.m > 1 ? m - 1.0f : 1.0f));
}

KERNEL(norm_bnorm_infer, struct norm_bnorm, 256)
{
    SIZES(struct norm_bnorm_sizes, s);
    const int64 n = (int64)s.m * s.n;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const int col = (int)(i % s.n);
        const float slope =
            LOAD(given.gamma + col) / sqrtf(LOAD(given.rvar + col) + number_of(s.eps));
        const float d = stored_read(given.x, i, s.half) - LOAD(given.rmean + col);
        stored_save(given.y, i, ended(given, s, slope * d + LOAD(given.beta + col), i), s.half);
    }
}

/* The gradient that passes the cut, which is found again from x. */
DEVICE float passed(const struct norm_bnorm given, const struct norm_bnorm_sizes s, float slope,
                    float beta, float d, int64 at)
{
    const float dy = stored_read(given.dy, at, s.half);
    return s.act == ACT_NONE ? dy : act_gradient(s.act, dy, slope * d + beta);
}

KERNEL(norm_bnorm_bwd, struct norm_bnorm, 256)
{
    SIZES(struct norm_bnorm_sizes, s);
    SHARED(part);
    const int y = threadIdx.x / 32, col = blockIdx.x * 32 + threadIdx.x % 32, inside = col < s.n;
    const float mean = inside ? LOAD(given.mean + col) : 0.0f, m = (float)s.m;
    const float rstd = inside ? LOAD(given.rstd + col) : 0.0f;
    const float slope = inside ? LOAD(given.gamma + col) * rstd : 0.0f;
    const float beta = inside && s.act != ACT_NONE ? LOAD(given.beta + col) : 0.0f;
    float dgamma = 0.0f, dbeta = 0.0f;
    for (int row = y; inside && row < s.m; row += ROWS) {
        const int64 at = (int64)row * s.n + col;
        const float d = stored_read(given.x, at, s.half) - mean;
        const float dy = passed(given, s, slope, beta, d, at);
        dgamma += dy * d * rstd;
        dbeta += dy;
    }
    dgamma = column_sum(dgamma, part);
    dbeta = column_sum(dbeta, part);
    if (!inside) return;
    for (int row = y; row < s.m; row += ROWS) {
        const int64 at = (int64)row * s.n + col;
        const float d = stored_read(given.x, at, s.half) - mean;
        const float dy = passed(given, s, slope, beta, d, at);
        stored_save(given.y, at, slope * (dy - dbeta / m - d * rstd * dgamma / m), s.half);
    }
    if (y) return;
    given.dgamma[col] = dgamma;
    given.dbeta[col] = dbeta;
}
