/* Dropout: two neighbouring numbers share a hash, and so a thread. */
#include "kernels/dropout/cuda_hash.h"
#include "kernels/dropout/hash.cuh"

DEVICE void drop(const struct dropout_hash given, const struct dropout_hash_sizes s, int64 i,
                 float factor)
{
    const float x = stored_read(given.x, i, s.half);
    stored_save(given.y, i, factor != 0.0f ? x * factor : 0.0f, s.half);
}

KERNEL(dropout_hash, struct dropout_hash, 256)
{
    SIZES(struct dropout_hash_sizes, s);
    const uint64 key = dropout_key(given.seed, s.stream);
    const unsigned threshold = (unsigned)s.threshold;
    const float factor = number_of(s.factor);
    for (int64 i = 2 * FIRST; i < s.n; i += 2 * STRIDE) {
        const uint64 hash = mixed(key, (uint64)i / 2);
        drop(given, s, i, (unsigned)hash >= threshold ? factor : 0.0f);
        if (i + 1 < s.n) drop(given, s, i + 1, (unsigned)(hash >> 32) >= threshold ? factor : 0.0f);
    }
}
