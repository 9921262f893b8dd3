/* Gradients times or over the loss's scale.  The second kernel of unscale adds up in every block
 * what all blocks found, which spares a launch; its first block does what is left: S and HYPER. */
#include "kernels/backend/cuda.cuh"
#include "kernels/scale/cuda_flat.h"

/* S, as in scale.h. */
enum { NOW, INVERSE, GOOD, SKIPPED, GROWS, PATIENCE, MOST };

KERNEL(scale_flat, struct scale_flat, 512)
{
    SIZES(struct scale_flat_sizes, s);
    SHARED(part);
    const float factor = LOAD(given.numbers + (s.back ? INVERSE : NOW));
    float found = 0.0f;
    for (int64 i = FIRST; i < s.n; i += STRIDE) {
        const float v = given.x[i] * factor;
        /* What is infinite or none less itself is none. */
        if (!(v - v == 0.0f)) found = 1.0f;
        given.x[i] = v;
    }
    if (!s.back) return;
    found = block_sum(found, part);
    if (threadIdx.x == 0) given.found[blockIdx.x] = found;
}

DEVICE void end(float *v, float *hyper, const float *table, int rows, int found)
{
    const float *row = table + (int)v[SKIPPED] % rows * 8;
    const int grows = v[GROWS] != 0.0f, grown = v[GOOD] + 1.0f >= v[PATIENCE];
    const float by = !grows                              ? 1.0f
                     : found                             ? 0.5f
                     : grown && v[NOW] < v[MOST]         ? 2.0f
                                                         : 1.0f;
    /* Skipped: neither learning rate (0) nor decay (4), and all of what moments were. */
    for (int i = 0; i < 8; i++) hyper[i] = !found ? LOAD(row + i) : i == 0 || i == 4 ? 0.0f : 1.0f;
    v[NOW] *= by;
    v[INVERSE] /= by;
    v[GOOD] = found || (grows && grown) ? 0.0f : v[GOOD] + (grows ? 1.0f : 0.0f);
    if (found) v[SKIPPED] += 1.0f;
}

KERNEL(scale_flat_end, struct scale_flat, 512)
{
    SIZES(struct scale_flat_sizes, s);
    SHARED(part);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < s.blocks; i += blockDim.x) sum += LOAD(given.found + i);
    const int found = block_sum(sum, part) > 0.0f;
    for (int64 i = FIRST; found && i < s.n; i += STRIDE) given.x[i] = 0.0f;
    if (blockIdx.x == 0 && threadIdx.x == 0)
        end(given.numbers, given.hyper, given.table, s.r, found);
}
