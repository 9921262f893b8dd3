/* Sums, shortcuts and concatenation: a thread a number of what is written. */
#include "kernels/activation/act.cuh"
#include "kernels/join/cuda_flat.h"

KERNEL(join_flat_add, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    for (int64 i = FIRST; i < s.m; i += STRIDE)
        given.to[i] = act_epilogue(s.act, given.a[i] + given.b[i]);
}

KERNEL(join_flat_concat_fwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    const int width = s.n + s.k;
    for (int64 i = FIRST; i < (int64)s.m * width; i += STRIDE) {
        const int64 row = i / width;
        const int j = (int)(i % width);
        given.to[i] = j < s.n ? LOAD(given.a + row * s.n + j) : LOAD(given.b + row * s.k + j - s.n);
    }
}

KERNEL(join_flat_concat_bwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    const int width = s.n + s.k;
    for (int64 i = FIRST; i < (int64)s.m * width; i += STRIDE) {
        const int64 row = i / width;
        const int j = (int)(i % width);
        if (j < s.n) given.to[row * s.n + j] = LOAD(given.a + i);
        else given.other[row * s.k + j - s.n] = LOAD(given.a + i);
    }
}

KERNEL(join_flat_shortcut_fwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    for (int64 i = FIRST; i < (int64)s.m * s.oc; i += STRIDE) {
        const int c = (int)(i % s.oc) - s.front;
        const int64 pixel = i / s.oc, x = pixel % s.ow, y = pixel / s.ow % s.oh;
        const int64 image = pixel / s.ow / s.oh;
        given.to[i] = c >= 0 && c < s.ic ? LOAD(given.a + ((image * s.ih + y * s.s) * s.iw +
                                                           x * s.s) * s.ic + c)
                                         : 0.0f;
    }
}

KERNEL(join_flat_shortcut_bwd, struct join_flat, 256)
{
    SIZES(struct join_flat_sizes, s);
    for (int64 i = FIRST; i < (int64)s.m * s.ic; i += STRIDE) {
        const int c = (int)(i % s.ic) + s.front;
        const int64 pixel = i / s.ic, x = pixel % s.iw, y = pixel / s.iw % s.ih;
        const int64 image = pixel / s.iw / s.ih;
        given.to[i] = x % s.s || y % s.s
                          ? 0.0f
                          : LOAD(given.a + ((image * s.oh + y / s.s) * s.ow + x / s.s) * s.oc + c);
    }
}
