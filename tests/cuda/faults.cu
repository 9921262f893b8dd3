/* Kernels that are wrong, each in one way: what the pretend driver must find (check_shim.c). */
#include "kernels/backend/cuda.cuh"
#include "tests/cuda/faults.h"

/* Nothing is wrong here: every thread writes its own word, and reads its neighbour's once all
 * have. */
KERNEL(fault_none, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    given.out[FIRST] = word[blockDim.x - 1 - threadIdx.x];
}

KERNEL(fault_no_barrier, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = (float)threadIdx.x;
    given.out[FIRST] = word[blockDim.x - 1 - threadIdx.x];
}

KERNEL(fault_two_barriers, struct faults, 1024)
{
    if (threadIdx.x % 2) __syncthreads();
    else
        __syncthreads();
    given.out[FIRST] = 0.0f;
}

KERNEL(fault_one_barrier_short, struct faults, 1024)
{
    if (threadIdx.x) __syncthreads();
    given.out[FIRST] = 0.0f;
}

KERNEL(fault_past_shared, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x + 1] = 0.0f;
    given.out[FIRST] = 0.0f;
}

KERNEL(fault_past_memory, struct faults, 1024) { given.out[FIRST + 1] = 0.0f; }

KERNEL(fault_before_memory, struct faults, 1024) { given.out[FIRST] = given.out[FIRST - 1]; }

KERNEL(fault_same_word, struct faults, 1024) { given.out[threadIdx.x] = (float)blockIdx.x; }
