/* C = act(alpha op(A) op(B) + beta C + bias) by sm_90a's products of four warps (cuda_wgmma.cuh).
 *
 * One warp has boxes of A and B fetched, a stage for each 128 bytes of k; the others, 64 rows of C
 * to four of them, multiply what is there, and keep their sums in registers.  Two gates a stage:
 * `full` opens when its bytes have come, `empty` when all have multiplied them.  Blocks stay and
 * take one tile of C after another, so that the next tile's boxes come while this one's sums go
 * out. */
#include "kernels/backend/cuda_wgmma.cuh"
#include "kernels/gemm/cuda_gemm.cuh"
#include "kernels/gemm/cuda_wgmma.h"

enum { TALL = 8 };   /* rows of tiles that are gone through together, lest L2 forget B */

struct share { int row, col, from, slices, part; };

DEVICE int above(int n, int by) { return (n + by - 1) / by; }

/* Tile number i, of s.parts times the tiles of C. */
DEVICE struct share share_of(const TILE_SIZES s, int i, const int bm, const int bn, const int bk)
{
    const int down = above(s.m, bm), across = above(s.n, bn);
    const int tile = i % (down * across), first = tile / (TALL * across) * TALL;
    const int rows = down - first < TALL ? down - first : TALL, at = tile % (TALL * across);
    struct share t;
    t.part = i / (down * across);
    t.row = (first + at % rows) * bm;
    t.col = at / rows * bn;
    t.from = t.part * s.part;
    t.slices = above(s.part < s.k - t.from ? s.part : s.k - t.from, bk);
    return t;
}

/* A number of boxes that are `width` numbers of the operand's rows together. */
DEVICE void fetch(char *to, const struct hone_cuda_map *map, uint64 *gate, int at, int k,
                  const int width, const int turned)
{
    if (!turned) {
        box_fetch(to, map, gate, at, k);
        return;
    }
    UNROLLED
    for (int i = 0; i < width; i += 64) box_fetch(to + i * WGMMA_ROW, map, gate, k, at + i);
}

/* Stages and gates of a block, and how many of them have passed. */
struct pipe { char *stage; uint64 *full, *empty; int at, turn; };

DEVICE void pipe_on(struct pipe *p, int stages)
{
    if (++p->at < stages) return;
    p->at = 0;
    p->turn ^= 1;
}

DEVICE void fetch_all(const struct hone_cuda_map *a, const struct hone_cuda_map *b,
                      const TILE_SIZES s, struct pipe p, int tiles, const int bm, const int bn,
                      const int bk, const int a_turned, const int b_turned)
{
    for (int i = blockIdx.x; i < tiles; i += gridDim.x) {
        const struct share t = share_of(s, i, bm, bn, bk);
        for (int j = 0; j < t.slices; j++, pipe_on(&p, s.stages)) {
            char *to = p.stage + p.at * WGMMA_STAGE(bm, bn);
            gate_wait(p.empty + p.at, p.turn ^ 1);
            gate_expect(p.full + p.at, WGMMA_STAGE(bm, bn));
            fetch(to, a, p.full + p.at, t.row, t.from + j * bk, bm, a_turned);
            fetch(to + bm * WGMMA_ROW, b, p.full + p.at, t.col, t.from + j * bk, bn, b_turned);
        }
    }
}

/* A stage's 128 bytes of k: four products of 32. */
DEVICE void multiply_stage(float *sum, const char *a, const char *b, int add, const int kind,
                           const int bn, const int a_turned, const int b_turned)
{
    UNROLLED
    for (int k = 0; k < 4; k++) {
        const uint64 at_a = group_matrix(a + k * (a_turned ? 16 * WGMMA_ROW : 32),
                                         a_turned ? 64 * WGMMA_ROW : 16, 8 * WGMMA_ROW);
        const uint64 at_b = group_matrix(b + k * (b_turned ? 16 * WGMMA_ROW : 32),
                                         b_turned ? 64 * WGMMA_ROW : 16, 8 * WGMMA_ROW);
        group_multiply(sum, at_a, at_b, add || k, kind, bn, a_turned, b_turned);
    }
}

/* The sums of a tile.  A stage is given back when the products of the next one are under way. */
DEVICE void multiply_all(float *sum, const TILE_SIZES s, struct pipe *p, int slices,
                         const int kind, const int bm, const int bn, const int a_turned,
                         const int b_turned)
{
    const int rows = threadIdx.x / 128 * 64, lane = threadIdx.x % 32;
    uint64 *last = p->empty;
    for (int j = 0; j < slices; j++, pipe_on(p, s.stages)) {
        const char *a = p->stage + p->at * WGMMA_STAGE(bm, bn);
        gate_wait(p->full + p->at, p->turn);
        group_fence();
        multiply_stage(sum, a + rows * WGMMA_ROW, a + bm * WGMMA_ROW, j, kind, bn, a_turned,
                       b_turned);
        group_end();
        if (j) {
            group_wait(1);
            if (lane == 0) gate_arrive(last);
        }
        last = p->empty + p->at;
    }
    group_wait(0);
    group_settle(sum, bn);
    if (lane == 0) gate_arrive(last);
}

/* A warp's 16 rows of sums go through its own room, 32 columns at a time: so neighbouring lanes
 * have neighbouring ones, and what becomes of them stands here bn / 32 times and not for each
 * register. */
DEVICE void deliver(const struct gemm_given end, const TILE_SIZES s, const struct share t,
                    const float *sum, float *room, const int bn)
{
    const int lane = threadIdx.x % 32, g = lane / 4, pair = lane % 4 * 2;
    const int row = t.row + threadIdx.x / 32 * 16, col = t.col + lane;
    UNROLLED
    for (int c = 0; c < bn; c += 32) {
        UNROLLED
        for (int e = 0; e < 16; e++)
            room[(g + e / 2 % 2 * 8) * WGMMA_PITCH + e / 4 * 8 + pair + e % 2] = sum[c / 2 + e];
        __syncwarp();
        NOT_UNROLLED
        for (int r = 0; r < 16; r++) {
            const float v = room[r * WGMMA_PITCH + lane];
            if (row + r >= s.m || col + c >= s.n) continue;
            if (s.parts == 1) finish(end, s, row + r, col + c, v);
            else end.partial[((int64)t.part * s.m + row + r) * s.n + col + c] = v;
        }
        __syncwarp();
    }
}

/* bm, bn, kind and the layout are constants to the compiler. */
DEVICE void wgmma_tiles(const struct hone_cuda_map *a, const struct hone_cuda_map *b,
                        const struct gemm_given end, const TILE_SIZES s, char *shared,
                        const int kind, const int a_turned, const int b_turned, const int bm,
                        const int bn)
{
    const int bk = kind == GROUP_TF32 ? 32 : 64, warps = bm / 16, warp = threadIdx.x / 32;
    const int tiles = above(s.m, bm) * above(s.n, bn) * s.parts;
    char *stage = shared + (-group_address(shared) & (WGMMA_ALIGN - 1));
    uint64 *gate = (uint64 *)(stage + s.stages * WGMMA_STAGE(bm, bn));
    float *room = (float *)((char *)gate + WGMMA_GATES) + warp * 16 * WGMMA_PITCH;
    struct pipe p = { stage, gate, gate + s.stages, 0, 0 };
    float sum[128];
    if (threadIdx.x == 0) {
        for (int i = 0; i < s.stages; i++) {
            gate_make(p.full + i, 1);
            gate_make(p.empty + i, warps);
        }
        gates_made();
    }
    __syncthreads();
    if (warp == warps) {
        if (threadIdx.x % 32 == 0)
            fetch_all(a, b, s, p, tiles, bm, bn, bk, a_turned, b_turned);
        return;
    }
    for (int i = blockIdx.x; i < tiles; i += gridDim.x) {
        const struct share t = share_of(s, i, bm, bn, bk);
        multiply_all(sum, s, &p, t.slices, kind, bm, bn, a_turned, b_turned);
        deliver(end, s, t, sum, room, bn);
    }
}

#define WGMMA(name, kind, a_turned, b_turned, bm, bn)                                              \
    KERNEL_OF_MAPS(name, struct gemm_wgmma, 2 * (bm) + 32)                                         \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        SHARED(shared);                                                                            \
        wgmma_tiles(&given.a, &given.b, given.end, s, (char *)shared, kind, a_turned, b_turned,    \
                    bm, bn);                                                                       \
    }
#define HALVES(type, kind, bm, bn)                                                                 \
    WGMMA(gemm_wgmma_##type##_nn_##bm##_##bn, kind, 0, 1, bm, bn)                                  \
    WGMMA(gemm_wgmma_##type##_nt_##bm##_##bn, kind, 0, 0, bm, bn)                                  \
    WGMMA(gemm_wgmma_##type##_tn_##bm##_##bn, kind, 1, 1, bm, bn)
#define KINDS(bm, bn)                                                                              \
    HALVES(bf16, GROUP_BF16, bm, bn)                                                               \
    HALVES(f16, GROUP_F16, bm, bn)                                                                 \
    WGMMA(gemm_wgmma_tf32_nt_##bm##_##bn, GROUP_TF32, 0, 0, bm, bn)
#ifndef CONFIGS
#define CONFIGS(X) WGMMA_TILES(X)
#endif
CONFIGS(KINDS)

/* What join_parts() is given is `end`. */
KERNEL(gemm_wgmma_join, struct gemm_wgmma, 256)
{
    SIZES(TILE_SIZES, s);
    join_parts(given.end, s);
}
