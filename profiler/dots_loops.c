/* The loop behind the measured peak of bf16 products, compiled for AVX512_BF16 and for AMX. */
#include "profiler/peaks.h"

#include "kernels/backend/cpu.h"
#include "kernels/backend/dots.h"

/* A step is one block of products, 32 x 32 x 32, out of L1; with AMX its four tiles of C are four
 * chains.  Without, sums stay in registers for eight steps at a time. */
enum { STEPS = 8 };

static double dots(int64_t steps)
{
    stored ones[2 * DOTS_TILE] __attribute__((aligned(64)));
    struct dots d;
    for (int i = 0; i < 2 * DOTS_TILE; i++) ones[i] = 0x3f80;
    const struct dots_sum s = { .a = ones, .b = ones, .a_row = DOTS_STEPS, .a_tile = DOTS_TILE,
                                .b_row = 2 * DOTS, .b_tile = DOTS_TILE, .n = STEPS };
    dots_begin(&d, DOTS_STEPS);
    dots_zero(2, 2, &d);
    for (int64_t i = 0; i < steps; i++) dots_add(2, 2, &d, &s);
    dots_store(2, 2, &d, d.c, DOTS_BLOCK);
    dots_end();
    return (double)d.c[0];
}

extern const struct hone_dots_loop HONE_SYM(dots_loop);
const struct hone_dots_loop HONE_SYM(dots_loop) = {
    dots, STEPS * 2 * DOTS_BLOCK * DOTS_BLOCK * DOTS_STEPS
};
