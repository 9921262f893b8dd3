/* C = act(alpha op(A) op(B) + beta C + bias).  A block computes bm x bn of C: bk columns of A and
 * bk rows of B at a time are brought to shared memory, the next ones while these are multiplied,
 * and each thread keeps tm x tn sums in registers, so that tm + tn loads serve tm tn products
 * (Volkov and Demmel 2008).  A thread's rows are bm / tm apart, and its columns likewise: then
 * neighbouring threads read and write neighbouring words. */
#include "kernels/activation/act.cuh"
#include "kernels/gemm/cuda_tiled.h"

/* Brings rows [at, at + bk) of the inner dimension of one operand into `to` (bk, width).  Where the
 * operand's inner dimension is the contiguous one, neighbouring threads go along it. */
DEVICE void bring(float *to, const float *from, int width, int bk, int threads, int me, int row,
                  int rows, int at, int end, int stride, int step)
{
    const int along = step == 1 && stride != 1;
    for (int i = me; i < width * bk; i += threads) {
        const int r = along ? i / bk : i % width, l = along ? i % bk : i / width;
        const int inside = row + r < rows && at + l < end;
        to[l * (width + 1) + r] =
            inside ? LOAD(from + (int64)(row + r) * stride + (int64)(at + l) * step) : 0.0f;
    }
}

DEVICE void finish(const struct gemm_tiled given, const struct gemm_tiled_sizes s, int i, int j,
                   float sum)
{
    float *c = given.c + (int64)i * s.n + j;
    sum *= number_of(s.alpha);
    if (s.beta) sum += number_of(s.beta) * *c;
    if (s.bias) sum += LOAD(given.bias + j);
    *c = act_epilogue(s.act, sum);
}

/* bm, bn, ... are constants to the compiler. */
DEVICE void tile(const struct gemm_tiled given, const struct gemm_tiled_sizes s, float *shared,
                 const int bm, const int bn, const int bk, const int tm, const int tn)
{
    const int cols = bn / tn, rows = bm / tm, threads = rows * cols, me = threadIdx.x;
    const int ty = me / cols, tx = me % cols;
    const int row = blockIdx.y * bm, col = blockIdx.x * bn;
    const int from = blockIdx.z * s.part, end = from + s.part < s.k ? from + s.part : s.k;
    const int size = bk * (bm + 1 + bn + 1);
    float sum[8][8], a[8], b[8];
    UNROLLED
    for (int i = 0; i < tm; i++)
        UNROLLED
        for (int j = 0; j < tn; j++) sum[i][j] = 0.0f;
    for (int at = from, turn = 0; at < end; at += bk, turn = !turn) {
        /* Two buffers take turns: one barrier a round then suffices, since nobody can be in the
         * round after the next. */
        float *sa = shared + turn * size, *sb = sa + bk * (bm + 1);
        bring(sa, given.a, bm, bk, threads, me, row, s.m, at, end, s.a_row, s.a_col);
        bring(sb, given.b, bn, bk, threads, me, col, s.n, at, end, s.b_col, s.b_row);
        __syncthreads();
        UNROLLED_BY_4
        for (int l = 0; l < bk; l++) {
            UNROLLED
            for (int i = 0; i < tm; i++) a[i] = sa[l * (bm + 1) + ty + i * rows];
            UNROLLED
            for (int j = 0; j < tn; j++) b[j] = sb[l * (bn + 1) + tx + j * cols];
            UNROLLED
            for (int i = 0; i < tm; i++)
                UNROLLED
                for (int j = 0; j < tn; j++) sum[i][j] += a[i] * b[j];
        }
    }
    UNROLLED
    for (int i = 0; i < tm; i++)
        UNROLLED
        for (int j = 0; j < tn; j++) {
            const int r = row + ty + i * rows, c = col + tx + j * cols;
            if (r >= s.m || c >= s.n) continue;
            if (s.parts == 1) finish(given, s, r, c, sum[i][j]);
            else given.partial[((int64)blockIdx.z * s.m + r) * s.n + c] = sum[i][j];
        }
}

#define TILE(bm, bn, bk, tm, tn)                                                                   \
    KERNEL(gemm_tiled_##bm##_##bn##_##bk, struct gemm_tiled, (bm / tm) * (bn / tn))                \
    {                                                                                              \
        SIZES(struct gemm_tiled_sizes, s);                                                         \
        SHARED(shared);                                                                            \
        tile(given, s, shared, bm, bn, bk, tm, tn);                                                \
    }
#ifndef CONFIGS
#define CONFIGS(X) GEMM_TILED(X)
#endif
CONFIGS(TILE)

/* Adds up the parts, always in the same order. */
KERNEL(gemm_tiled_join, struct gemm_tiled, 256)
{
    SIZES(struct gemm_tiled_sizes, s);
    const int64 n = (int64)s.m * s.n;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[part * n + i];
        finish(given, s, (int)(i / s.n), (int)(i % s.n), sum);
    }
}
