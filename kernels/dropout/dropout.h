/* kernels/dropout/dropout.h -- y = keep ? x / (1 - p) : 0, where keep is a pure function of
 * (seed, step, stream, i): the backward pass applies the same op to DY, and no mask is stored. */
#ifndef HONE_DROPOUT_H
#define HONE_DROPOUT_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_dropout;

enum { DROP_N };                      /* problem.dim */
enum { DROP_P, DROP_STREAM }; /* problem.value; each dropout layer of a net has its stream */
enum { DROP_Y, DROP_X, DROP_SEED };   /* arguments; SEED (2) = seed, step, both below 2^53 */

/* Two numbers share one hash: number i is kept where half i % 2 (low half first) of
 * hone_random(key, i / 2) is at least the threshold, a share p of 2^32. */
static inline uint64_t dropout_key(uint64_t seed, uint64_t step, double stream)
{
    return hone_random(hone_random(seed, step), (uint64_t)stream);
}

static inline uint32_t dropout_threshold(double p) { return (uint32_t)(p * 0x1p32); }

static inline int dropout_keep(uint64_t key, uint32_t threshold, int64_t i)
{
    return (uint32_t)(hone_random(key, (uint64_t)i / 2) >> (i % 2 * 32)) >= threshold;
}

#endif
