/* kernels/dropout/hash.cuh -- dropout's random numbers on a GPU: dropout.h's, bit by bit. */
#ifndef HONE_DROPOUT_HASH_CUH
#define HONE_DROPOUT_HASH_CUH

#include "kernels/backend/cuda.cuh"

/* kernel.h's hone_random(). */
DEVICE uint64 mixed(uint64 seed, uint64 i)
{
    uint64 z = seed + (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* dropout_key(); seed: two numbers. */
DEVICE uint64 dropout_key(const uint64 *seed, int stream)
{
    return mixed(mixed(LOAD(seed), LOAD(seed + 1)), (uint64)stream);
}

#endif
