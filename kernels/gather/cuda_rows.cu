/* Batches out of a data set in the GPU's memory: a thread for every number of the batch, so that
 * neighbours read and write what lies side by side, mirrored or not. */
#include "kernels/dropout/hash.cuh"
#include "kernels/gather/cuda_rows.h"

/* Number `at` of row `row`, once it is moved and mirrored. */
DEVICE float moved(const struct gather_rows given, const struct gather_rows_sizes s, int row,
                   unsigned at)
{
    const unsigned k = at % s.c, pixel = at / s.c, places = 2 * s.crop + 1;
    int y = pixel / s.w, x = pixel % s.w;
    if (s.crop || s.flip) {
        const uint64 hash = mixed(LOAD(given.key), (uint64)row);
        if (s.flip && hash >> 63) x = s.w - 1 - x;
        y += (int)((unsigned)hash % places) - s.crop;
        x += (int)((unsigned)(hash >> 32 & 0x7fffffff) % places) - s.crop;
        if (y < 0 || y >= s.h || x < 0 || x >= s.w)
            return LOAD(given.table + (s.bytes ? 256 * k : k));
    }
    const int64 from = (((int64)row * s.h + y) * s.w + x) * s.c + k;
    return s.bytes ? LOAD(given.table + (256 * k + LOAD((const unsigned char *)given.x + from)))
                   : LOAD((const float *)given.x + from);
}

/* A batch has fewer than 2^31 numbers, targets included. */
KERNEL(gather_rows, struct gather_rows, 1024)
{
    SIZES(struct gather_rows_sizes, s);
    const unsigned len = (unsigned)s.h * s.w * s.c, pixels = s.m * len, all = pixels + s.m * s.o;
    for (int64 at = FIRST; at < all; at += STRIDE) {
        const unsigned i = (unsigned)at;
        if (i < pixels) {
            given.y[i] = moved(given, s, LOAD(given.order + i / len), i % len);
        } else {
            const unsigned b = (i - pixels) / s.o;
            given.t[i - pixels] =
                LOAD(given.target + ((int64)LOAD(given.order + b) * s.o + (i - pixels) % s.o));
        }
    }
}
