/* The activations and their gradients over a flat array.  Four neighbouring numbers a thread at a
 * time where the arrays allow it: a warp then moves 512 bytes with one instruction. */
#include "kernels/activation/act.cuh"
#include "kernels/activation/cuda_flat.h"

DEVICE float one(const struct activation_flat_sizes s, float x, float from)
{
    return s.backward ? act_gradient(s.act, x, from) : act_value(s.act, x);
}

KERNEL(activation_flat_1, struct activation_flat, 1024)
{
    SIZES(struct activation_flat_sizes, s);
    for (int64 i = FIRST; i < s.n; i += STRIDE)
        given.y[i] = one(s, given.x[i], s.backward ? given.from[i] : 0.0f);
}

/* For arrays on 16-byte boundaries, as all of Hone's begin; the last numbers go one by one. */
KERNEL(activation_flat_4, struct activation_flat, 1024)
{
    SIZES(struct activation_flat_sizes, s);
    for (int64 i = FIRST; i < s.n / 4; i += STRIDE) {
        float4 x = ((const float4 *)given.x)[i], f = { 0.0f, 0.0f, 0.0f, 0.0f };
        if (s.backward) f = ((const float4 *)given.from)[i];
        x.x = one(s, x.x, f.x);
        x.y = one(s, x.y, f.y);
        x.z = one(s, x.z, f.z);
        x.w = one(s, x.w, f.w);
        ((float4 *)given.y)[i] = x;
    }
    for (int64 i = s.n / 4 * 4 + FIRST; i < s.n; i += STRIDE)
        given.y[i] = one(s, given.x[i], s.backward ? given.from[i] : 0.0f);
}
