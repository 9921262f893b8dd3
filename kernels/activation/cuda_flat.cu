/* The activations and their gradients over a flat array.  Four neighbouring numbers a thread at a
 * time where the arrays allow it: a warp then moves 512 bytes with one instruction. */
#include "kernels/activation/act.cuh"
#include "kernels/activation/cuda_flat.h"

DEVICE float one(const struct activation_flat_sizes s, float x, float from)
{
    return s.backward ? act_gradient(s.act, x, from) : act_value(s.act, x);
}

DEVICE void single(const struct activation_flat given, const struct activation_flat_sizes s,
                   int64 i)
{
    const float from = s.backward ? stored_read(given.from, i, s.half) : 0.0f;
    stored_save(given.y, i, one(s, stored_read(given.x, i, s.half), from), s.half);
}

DEVICE float4 read_4(const void *p, int64 i, int half)
{
    return half ? from_half_4(((const ushort4 *)p)[i], half) : ((const float4 *)p)[i];
}

DEVICE void save_4(void *p, int64 i, float4 v, int half)
{
    if (half) ((ushort4 *)p)[i] = to_half_4(v, half);
    else ((float4 *)p)[i] = v;
}

KERNEL(activation_flat_1, struct activation_flat, 1024)
{
    SIZES(struct activation_flat_sizes, s);
    for (int64 i = FIRST; i < s.n; i += STRIDE)
        single(given, s, i);
}

/* For arrays on 16-byte boundaries, as all of Hone's begin; the last numbers go one by one. */
KERNEL(activation_flat_4, struct activation_flat, 1024)
{
    SIZES(struct activation_flat_sizes, s);
    for (int64 i = FIRST; i < s.n / 4; i += STRIDE) {
        float4 x = read_4(given.x, i, s.half), f = { 0.0f, 0.0f, 0.0f, 0.0f };
        if (s.backward) f = read_4(given.from, i, s.half);
        x.x = one(s, x.x, f.x);
        x.y = one(s, x.y, f.y);
        x.z = one(s, x.z, f.z);
        x.w = one(s, x.w, f.w);
        save_4(given.y, i, x, s.half);
    }
    for (int64 i = s.n / 4 * 4 + FIRST; i < s.n; i += STRIDE) single(given, s, i);
}
