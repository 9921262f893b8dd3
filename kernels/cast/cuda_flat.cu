/* Between f32 and bf16: four neighbouring numbers a thread at a time. */
#include "kernels/backend/cuda.cuh"
#include "kernels/cast/cuda_flat.h"

KERNEL(cast_flat, struct cast_flat, 1024)
{
    SIZES(struct cast_flat_sizes, s);
    for (int64 i = FIRST; i < s.n / 4; i += STRIDE) {
        float4 v;
        ushort4 h;
        if (s.widen) {
            h = ((const ushort4 *)given.x)[i];
            v.x = from_bf16(h.x), v.y = from_bf16(h.y), v.z = from_bf16(h.z), v.w = from_bf16(h.w);
            ((float4 *)given.y)[i] = v;
        } else {
            v = ((const float4 *)given.x)[i];
            h.x = to_bf16(v.x), h.y = to_bf16(v.y), h.z = to_bf16(v.z), h.w = to_bf16(v.w);
            ((ushort4 *)given.y)[i] = h;
        }
    }
    for (int64 i = s.n / 4 * 4 + FIRST; i < s.n; i += STRIDE)
        stored_save(given.y, i, stored_load(given.x, i, s.widen), !s.widen);
}
