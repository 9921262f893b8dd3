/* kernels/gemm/tiled.cuh -- a block's tile of a matrix product C = A B without tensor cores,
 * whatever A and B are: the .cu that includes this has defined what mma.cuh asks for, too.
 *
 * bk columns of A and bk rows of B at a time are brought to shared memory, the next ones while
 * these are multiplied, and each thread keeps tm x tn sums in registers, so that tm + tn loads
 * serve tm tn products (Volkov and Demmel 2008).  A thread's rows are bm / tm apart, and its
 * columns likewise: then neighbouring threads read and write neighbouring words. */
#ifndef HONE_GEMM_TILED_CUH
#define HONE_GEMM_TILED_CUH

#include "kernels/gemm/run.cuh"

/* Terms [at, at + bk) of `width` rows of A or columns of B from `row` on, into `to` (bk, width).
 * Neighbouring threads go along the operand's rows. */
DEVICE void bring_tile(const GIVEN given, const TILE_SIZES s, float *to, const int is_b, int width,
                       int bk, int threads, int row, int at)
{
    const int turned = is_b ? s.b_turned : s.a_turned;
    for (int i = threadIdx.x; i < width * bk; i += threads) {
        const int r = turned ? i % width : i / bk, l = turned ? i / width : i % bk;
        const int y = turned ? at + l : row + r, x = turned ? row + r : at + l;
        to[l * (width + 1) + r] =
            run_number(is_b ? b_run(given, s, y, x, 1) : a_run(given, s, y, x, 1), s.half);
    }
}

/* bm, bn, ... are constants to the compiler; the block adds up terms [from, end). */
DEVICE void simt_tile(const GIVEN given, const TILE_SIZES s, float *shared, int from, int end,
                      const int bm, const int bn, const int bk, const int tm, const int tn)
{
    const int cols = bn / tn, rows = bm / tm, threads = rows * cols, me = threadIdx.x;
    const int ty = me / cols, tx = me % cols;
    const int row = blockIdx.y * bm, col = blockIdx.x * bn;
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
        bring_tile(given, s, sa, 0, bm, bk, threads, row, at);
        bring_tile(given, s, sb, 1, bn, bk, threads, col, at);
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
            if (r < s.m && c < s.n) result(given, s, r, c, sum[i][j]);
        }
}

#endif
