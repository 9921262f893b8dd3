/* Between f32 and halves: four neighbouring numbers a thread at a time. */
#include "kernels/backend/cuda.cuh"
#include "kernels/cast/cuda_flat.h"

KERNEL(cast_flat, struct cast_flat, 1024)
{
    SIZES(struct cast_flat_sizes, s);
    for (int64 i = FIRST; i < s.n / 4; i += STRIDE) {
        if (s.widen) ((float4 *)given.y)[i] = from_half_4(((const ushort4 *)given.x)[i], s.half);
        else ((ushort4 *)given.y)[i] = to_half_4(((const float4 *)given.x)[i], s.half);
    }
    for (int64 i = s.n / 4 * 4 + FIRST; i < s.n; i += STRIDE)
        stored_save(given.y, i, stored_load(given.x, i, s.widen ? s.half : 0),
                    s.widen ? 0 : s.half);
}
