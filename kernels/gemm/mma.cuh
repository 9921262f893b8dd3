/* kernels/gemm/mma.cuh -- a block's tile of a matrix product C = A B in tensor cores, whatever A
 * and B are: the .cu that includes this has defined
 *
 *     GIVEN, TILE_SIZES                                   structs: what the kernel takes, its sizes
 *     struct run a_run(given, s, row, col, n)             where numbers of A and B lie
 *     struct run b_run(given, s, row, col, n)
 *     void result(given, s, i, j, sum)                    what becomes of C[i][j]
 *
 * TILE_SIZES has m, n; stages; half, a_turned and b_turned; a_wide and b_wide.  An operand lies in
 * rows of neighbouring numbers, and so it is kept in shared memory: A by rows of m, or turned, by
 * rows of k; B by rows of n, or turned, of k.  A run is of one number, or where rows are wide, of
 * 16 bytes.
 *
 * While a slice of bk terms is multiplied, the copies of the next stages - 1 are under way.  Rows
 * in shared memory are 16 or 32 bytes longer than the numbers in them, so that the 8 rows that a
 * warp reads at once begin in different banks. */
#ifndef HONE_GEMM_MMA_CUH
#define HONE_GEMM_MMA_CUH

#include "kernels/backend/cuda_mma.cuh"
#include "kernels/gemm/run.cuh"

/* bm, bn, ... and half (none: f32 as tf32) are constants to the compiler in all of these. */

/* `rows` rows of 16-byte runs into shared memory, `pitch` numbers apart: at once where they begin
 * on boundaries, else number by number. */
DEVICE void bring_runs(const GIVEN given, const TILE_SIZES s, char *to, const int is_b, int row,
                       int col, int rows, int width, int pitch, const int half, const int threads)
{
    const int size = half ? 2 : 4, n = 16 / size, wide = is_b ? s.b_wide : s.a_wide;
    for (int i = threadIdx.x; i < rows * width / n; i += threads) {
        const int r = i / (width / n), c = i % (width / n) * n;
        char *at = to + (r * pitch + c) * size;
        if (wide) {
            const struct run x = is_b ? b_run(given, s, row + r, col + c, n)
                                      : a_run(given, s, row + r, col + c, n);
            copy_16(at, x.at, size * x.n);
            continue;
        }
        UNROLLED_BY_4
        for (int e = 0; e < n; e++) {
            const struct run x = is_b ? b_run(given, s, row + r, col + c + e, 1)
                                      : a_run(given, s, row + r, col + c + e, 1);
            if (half) ((unsigned short *)at)[e] = x.n ? LOAD((const unsigned short *)x.at)
                                                      : (unsigned short)0;
            else ((float *)at)[e] = run_number(x, 0);
        }
    }
}

/* Terms [at, at + bk) of this block's rows of A and columns of B. */
DEVICE void bring(const GIVEN given, const TILE_SIZES s, char *a, char *b, int at, const int half,
                  const int bm, const int bn, const int bk, const int threads)
{
    const int size = half ? 2 : 4, row = blockIdx.y * bm, col = blockIdx.x * bn;
    const int a_width = s.a_turned ? bm : bk, b_width = s.b_turned ? bn : bk;
    bring_runs(given, s, a, 0, s.a_turned ? at : row, s.a_turned ? row : at,
               s.a_turned ? bk : bm, a_width, MMA_PITCH(a_width, size, s.a_turned), half, threads);
    bring_runs(given, s, b, 1, s.b_turned ? at : col, s.b_turned ? col : at,
               s.b_turned ? bk : bn, b_width, MMA_PITCH(b_width, size, s.b_turned), half, threads);
}

/* What a lane has of the 16 rows of A from `row`, terms [at, at + 16), of floats [at, at + 8). */
DEVICE void load_a(unsigned a[4], const char *from, int row, int at, int pitch, int turned,
                   const int half)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const float *f = (const float *)from;
    if (half && !turned)
        load_matrices(a, from + 2 * ((row + lane % 16) * pitch + at + lane / 16 * 8));
    else if (half)
        load_turned(a, from + 2 * ((at + lane % 8 + lane / 16 * 8) * pitch + row +
                                   lane / 8 % 2 * 8));
    else
        UNROLLED
        for (int i = 0; i < 4; i++) {
            const int r = row + g + i % 2 * 8, l = at + t + i / 2 * 4;
            a[i] = to_tf32(turned ? f[l * pitch + r] : f[r * pitch + l]);
        }
}

/* The same of the 16 columns of B from `col`, two registers for each 8 of them. */
DEVICE void load_b(unsigned b[4], const char *from, int col, int at, int pitch, int turned,
                   const int half)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const float *f = (const float *)from;
    if (half && !turned)
        load_matrices(b, from + 2 * ((col + lane % 8 + lane / 16 * 8) * pitch + at +
                                     lane / 8 % 2 * 8));
    else if (half)
        load_turned(b, from + 2 * ((at + lane % 16) * pitch + col + lane / 16 * 8));
    else
        UNROLLED
        for (int i = 0; i < 4; i++) {
            const int c = col + g + i / 2 * 8, l = at + t + i % 2 * 4;
            b[i] = to_tf32(turned ? f[l * pitch + c] : f[c * pitch + l]);
        }
}

/* Adds the products of a slice to a warp's sums: mt x nt of 16 x 8, from `row` and `col` of the
 * block's on. */
DEVICE void multiply(float sum[4][8][4], const TILE_SIZES s, const char *sa, const char *sb,
                     int row, int col, const int half, const int bm, const int bn, const int bk,
                     const int mt, const int nt)
{
    const int size = half ? 2 : 4;
    const int a_pitch = MMA_PITCH(s.a_turned ? bm : bk, size, s.a_turned);
    const int b_pitch = MMA_PITCH(s.b_turned ? bn : bk, size, s.b_turned);
    unsigned a[4][4], b[4];
    UNROLLED
    for (int at = 0; at < bk; at += half ? 16 : 8) {
        UNROLLED
        for (int i = 0; i < mt; i++) load_a(a[i], sa, row + 16 * i, at, a_pitch, s.a_turned, half);
        UNROLLED
        for (int j = 0; j < nt; j += 2) {
            load_b(b, sb, col + 8 * j, at, b_pitch, s.b_turned, half);
            UNROLLED
            for (int i = 0; i < mt; i++)
                UNROLLED
                for (int h = 0; h < 2; h++) {
                    if (half == HALF_F16) mma_f16(sum[i][j + h], a[i], b + 2 * h);
                    else if (half) mma_bf16(sum[i][j + h], a[i], b + 2 * h);
                    else mma_tf32(sum[i][j + h], a[i], b + 2 * h);
                }
        }
    }
}

/* A warp's numbers of C go through its own `room`, 16 rows at a time: so neighbouring lanes have
 * neighbouring ones, and what becomes of them stands here once and not for each register. */
DEVICE void deliver(const GIVEN given, const TILE_SIZES s, float sum[4][8][4], float *room, int row,
                    int col, const int mt, const int nt)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, pitch = 8 * nt + 8;
    UNROLLED
    for (int i = 0; i < mt; i++) {
        UNROLLED
        for (int j = 0; j < nt; j++)
            UNROLLED
            for (int e = 0; e < 4; e++)
                room[(g + e / 2 * 8) * pitch + 8 * j + 2 * t + e % 2] = sum[i][j][e];
        __syncwarp();
        NOT_UNROLLED
        for (int e = lane; e < 16 * 8 * nt; e += 32) {
            const int r = e / (8 * nt), c = e % (8 * nt);
            if (row + 16 * i + r < s.m && col + c < s.n)
                result(given, s, row + 16 * i + r, col + c, room[r * pitch + c]);
        }
        __syncwarp();
    }
}

/* wm x wn warps share the block's bm x bn numbers of C, of which it adds up terms [from, end). */
DEVICE void mma_tile(const GIVEN given, const TILE_SIZES s, char *shared, int from, int end,
                     const int half, const int bm, const int bn, const int bk, const int wm,
                     const int wn)
{
    const int mt = bm / wm / 16, nt = bn / wn / 8, warp = threadIdx.x / 32, threads = 32 * wm * wn;
    const int size = half ? 2 : 4, row = warp / wn * (bm / wm), col = warp % wn * (bn / wn);
    const int a_bytes = MMA_BYTES(bm, bk, size, s.a_turned);
    const int bytes = a_bytes + MMA_BYTES(bn, bk, size, s.b_turned);
    const int slices = (end - from + bk - 1) / bk;
    float sum[4][8][4];
    UNROLLED
    for (int i = 0; i < mt; i++)
        UNROLLED
        for (int j = 0; j < nt; j++)
            UNROLLED
            for (int e = 0; e < 4; e++) sum[i][j][e] = 0.0f;
    /* The first rounds bring only, the last ones multiply only. */
    for (int i = 1 - s.stages; i < slices; i++) {
        const int next = i + s.stages - 1;
        char *to = shared + next % s.stages * bytes;
        const char *now = shared + (i < 0 ? 0 : i % s.stages) * bytes;
        /* Behind the barrier slice i is there from all threads, and nobody reads slice i - 1, whose
         * place the next one takes. */
        if (i >= 0) {
            copies_wait(s.stages - 2);
            __syncthreads();
        }
        if (next < slices)
            bring(given, s, to, to + a_bytes, from + next * bk, half, bm, bn, bk, threads);
        copies_end();
        if (i >= 0) multiply(sum, s, now, now + a_bytes, row, col, half, bm, bn, bk, mt, nt);
    }
    __syncthreads();
    deliver(given, s, sum, (float *)shared + warp * 16 * (8 * nt + 8), blockIdx.y * bm + row,
            blockIdx.x * bn + col, mt, nt);
}

#endif
