/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_JOIN_CUDA_FLAT_H
#define HONE_JOIN_CUDA_FLAT_H

/* add: m numbers, act.  concat: m rows of n and k.  shortcut: m pixels of the output, forward, or
 * of the input; ic and oc channels, of which `front` are zeros before.  half: hone_cuda_half(). */
struct join_flat_sizes { int m, n, k, act, ic, ih, iw, oc, oh, ow, s, front, half; };

struct join_flat {
    void *to, *other;           /* other: DB of concat_bwd */
    const void *a, *b;
    struct join_flat_sizes s;
};

#endif
