/* kernels/backend/cuda_cluster.cuh -- clusters of blocks, of sm_90 and later: blocks that run
 * together and reach each other's shared memory (PTX ISA, "Cluster of Cooperative Thread Arrays",
 * "mapa", "barrier.cluster").  The tests' shim has each as a function.  On older GPUs they end the
 * kernel.
 *
 * Another block's shared memory is there from the first cluster_sync() to the last one. */
#ifndef HONE_CUDA_CLUSTER_CUH
#define HONE_CUDA_CLUSTER_CUH

#include "kernels/backend/cuda.cuh"

#ifdef __CUDACC__
/* SM_90_VALUE: what only depends on its arguments, and may be found once. */
#if !defined __CUDA_ARCH__ || __CUDA_ARCH__ >= 900
#define SM_90(...) asm volatile(__VA_ARGS__)
#define SM_90_VALUE(...) asm(__VA_ARGS__)
#else
#define SM_90(...) __trap()
#define SM_90_VALUE(...) __trap()
#endif

/* Which block of its cluster this is; how many it has. */
DEVICE unsigned cluster_rank(void)
{
    unsigned rank = 0;
    SM_90_VALUE("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

DEVICE unsigned cluster_blocks(void)
{
    unsigned blocks = 1;
    SM_90_VALUE("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return blocks;
}

/* Waits for all threads of the cluster; what they wrote to memory is seen by all behind it. */
DEVICE void cluster_sync(void)
{
    SM_90("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" :::
          "memory");
}

/* Where in block `rank` of the cluster lies what here is at p, in shared memory. */
DEVICE float *cluster_place(float *p, unsigned rank)
{
    float *there = p;
    SM_90_VALUE("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(p), "r"(rank));
    return there;
}
#endif

#endif
