/* kernels/dropout/vector.h -- hone_random() in vectors of 64-bit lanes, for dropout's masks. */
#ifndef HONE_DROPOUT_VECTOR_H
#define HONE_DROPOUT_VECTOR_H

#include "kernels/backend/cpu.h"
#include "kernels/dropout/dropout.h"

typedef uint64_t vl __attribute__((vector_size(HONE_VB)));
enum { VL64 = VB / 8 };

/* hone_random(key, i) is the mix of key + (i + 1) DROPOUT_GOLDEN. */
#define DROPOUT_GOLDEN 0x9e3779b97f4a7c15u

static inline vl dropout_mix(vl z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
