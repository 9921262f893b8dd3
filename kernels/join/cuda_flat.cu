/* Sums, shortcuts and concatenation: a thread a number of what is written. */
#include "kernels/activation/act.cuh"
#include "kernels/join/cuda_flat.h"

DEVICE void copy(void *to, int64 i, const void *from, int64 j, int half)
{
    if (half) ((unsigned short *)to)[i] = LOAD((const unsigned short *)from + j);
    else ((float *)to)[i] = LOAD((const float *)from + j);
}

/* TO may be A or B. */
KERNEL(join_flat_add, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    for (int64 i = FIRST; i < s.m; i += STRIDE)
        stored_save(given.to, i,
                    act_epilogue(s.act, stored_read(given.a, i, s.half) +
                                            stored_read(given.b, i, s.half)), s.half);
}

KERNEL(join_flat_concat_fwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    const int width = s.n + s.k;
    for (int64 i = FIRST; i < (int64)s.m * width; i += STRIDE) {
        const int64 row = i / width;
        const int j = (int)(i % width);
        if (j < s.n) copy(given.to, i, given.a, row * s.n + j, s.half);
        else copy(given.to, i, given.b, row * s.k + j - s.n, s.half);
    }
}

KERNEL(join_flat_concat_bwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    const int width = s.n + s.k;
    for (int64 i = FIRST; i < (int64)s.m * width; i += STRIDE) {
        const int64 row = i / width;
        const int j = (int)(i % width);
        if (j < s.n) copy(given.to, row * s.n + j, given.a, i, s.half);
        else copy(given.other, row * s.k + j - s.n, given.a, i, s.half);
    }
}

KERNEL(join_flat_shortcut_fwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    for (int64 i = FIRST; i < (int64)s.m * s.oc; i += STRIDE) {
        const int c = (int)(i % s.oc) - s.front;
        const int64 pixel = i / s.oc, x = pixel % s.ow, y = pixel / s.ow % s.oh;
        const int64 image = pixel / s.ow / s.oh;
        const int64 at = ((image * s.ih + y * s.s) * s.iw + x * s.s) * s.ic + c;
        if (c >= 0 && c < s.ic) copy(given.to, i, given.a, at, s.half);
        else stored_save(given.to, i, 0.0f, s.half);
    }
}

KERNEL(join_flat_shortcut_bwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    for (int64 i = FIRST; i < (int64)s.m * s.ic; i += STRIDE) {
        const int c = (int)(i % s.ic) + s.front;
        const int64 pixel = i / s.ic, x = pixel % s.iw, y = pixel / s.iw % s.ih;
        const int64 image = pixel / s.iw / s.ih;
        const int64 at = ((image * s.oh + y / s.s) * s.ow + x / s.s) * s.oc + c;
        if (x % s.s || y % s.s) stored_save(given.to, i, 0.0f, s.half);
        else copy(given.to, i, given.a, at, s.half);
    }
}
