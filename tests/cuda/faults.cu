/* Kernels that are wrong, each in one way: what the pretend driver must find (check_shim.c). */
#include "kernels/backend/cuda_cluster.cuh"
#include "kernels/backend/cuda_mma.cuh"
#include "kernels/backend/cuda_wgmma.cuh"
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

/* A copy that is not waited for may come at any time: here when others have read what it
 * overwrites. */
KERNEL(fault_early_copy, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = 0.0f;
    __syncthreads();
    given.out[FIRST] = word[threadIdx.x / 4 * 4];
    if (threadIdx.x % 4 == 1) copy_16(word + threadIdx.x / 4 * 4, given.out, 0);
    copies_end();
    copies_wait(0);
}

/* Half of a warp cannot multiply. */
KERNEL(fault_half_warp, struct faults, 1024)
{
    const unsigned a[4] = { 0, 0, 0, 0 };
    float c[4] = { 0.0f, 0.0f, 0.0f, 0.0f };
    if (threadIdx.x % 32 < 16) mma_bf16(c, a, a);
    given.out[FIRST] = c[0];
}

/* Others may be at a gate before it is made. */
KERNEL(fault_gate_unmade, struct faults, 1024)
{
    SHARED(word);
    uint64 *gate = (uint64 *)word;
    if (threadIdx.x == 0) {
        gate_make(gate, 1);
        gates_made();
        gate_arrive(gate);
    }
    gate_wait(gate, 0);
    given.out[FIRST] = 0.0f;
}

/* A gate stays closed while bytes that it expects do not come. */
KERNEL(fault_gate_for_ever, struct faults, 1024)
{
    SHARED(word);
    uint64 *gate = (uint64 *)word;
    if (threadIdx.x == 0) {
        gate_make(gate, 1);
        gates_made();
        gate_expect(gate, 128);
    }
    __syncthreads();
    gate_wait(gate, 0);
    given.out[FIRST] = 0.0f;
}

/* Sums may be in use until a fence. */
KERNEL(fault_unfenced, struct faults, 1024)
{
    SHARED(word);
    float sum[32] = { 0.0f };
    const uint64 at = group_matrix(word, 16, 1024);
    group_multiply(sum, at, at, 0, GROUP_BF16, 64, 0, 0);
    group_end();
    given.out[FIRST] = 0.0f;
}

/* A product that nobody waits for. */
KERNEL(fault_product_left, struct faults, 1024)
{
    SHARED(word);
    float sum[32] = { 0.0f };
    const uint64 at = group_matrix(word, 16, 1024);
    group_fence();
    group_multiply(sum, at, at, 0, GROUP_BF16, 64, 0, 0);
    group_end();
    given.out[FIRST] = sum[0];
}

/* ---- clusters ---- */

/* Nothing is wrong here: each thread reads what its neighbour in the next block wrote, and no block
 * ends before. */
KERNEL(cluster_none, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = (float)blockIdx.x;
    cluster_sync();
    const unsigned next = (cluster_rank() + 1) % cluster_blocks();
    given.out[FIRST] = cluster_place(word, next)[blockDim.x - 1 - threadIdx.x];
    cluster_sync();
    word[threadIdx.x] = 0.0f;
}

/* A barrier of the block is none of the cluster's. */
KERNEL(cluster_no_barrier, struct faults, 1024)
{
    SHARED(word);
    cluster_sync();
    word[threadIdx.x] = (float)blockIdx.x;
    __syncthreads();
    const unsigned next = (cluster_rank() + 1) % cluster_blocks();
    given.out[FIRST] = cluster_place(word, next)[threadIdx.x];
    cluster_sync();
}

/* All read a block's word, which then writes it behind its own barrier. */
KERNEL(cluster_early_write, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = 0.0f;
    cluster_sync();
    given.out[FIRST] = *cluster_place(word, 0);
    __syncthreads();
    if (cluster_rank() == 0 && threadIdx.x == 0) word[0] = 1.0f;
    cluster_sync();
}

/* Two blocks write one word. */
KERNEL(cluster_same_word, struct faults, 1024)
{
    SHARED(word);
    cluster_sync();
    cluster_place(word, 0)[threadIdx.x] = (float)blockIdx.x;
    cluster_sync();
    given.out[FIRST] = word[threadIdx.x];
}

/* The other block may not run yet, */
KERNEL(cluster_not_begun, struct faults, 1024)
{
    SHARED(word);
    cluster_place(word, (cluster_rank() + 1) % cluster_blocks())[threadIdx.x] = 0.0f;
    cluster_sync();
    given.out[FIRST] = word[threadIdx.x];
}

/* or not any more. */
KERNEL(cluster_ended, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = 0.0f;
    cluster_sync();
    given.out[FIRST] = cluster_place(word, cluster_rank() ^ 1)[threadIdx.x];
}

KERNEL(cluster_no_such_block, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = 0.0f;
    cluster_sync();
    given.out[FIRST] = cluster_place(word, cluster_rank() + 1)[threadIdx.x];
    cluster_sync();
}

KERNEL(cluster_past_shared, struct faults, 1024)
{
    SHARED(word);
    word[threadIdx.x] = 0.0f;
    cluster_sync();
    given.out[FIRST] = cluster_place(word, cluster_rank() ^ 1)[threadIdx.x + 1];
    cluster_sync();
}

/* Some wait for the cluster where others wait for the block. */
KERNEL(cluster_other_barrier, struct faults, 1024)
{
    if (cluster_rank()) __syncthreads();
    else
        cluster_sync();
    given.out[FIRST] = 0.0f;
}

/* One block goes where all should wait. */
KERNEL(cluster_one_short, struct faults, 1024)
{
    if (cluster_rank()) cluster_sync();
    given.out[FIRST] = 0.0f;
}

/* Gates are not for clusters in the shim, which must say so. */
KERNEL(cluster_gate, struct faults, 1024)
{
    SHARED(word);
    uint64 *gate = (uint64 *)word;
    if (threadIdx.x == 0) {
        gate_make(gate, 1);
        gates_made();
    }
    __syncthreads();
    gate_wait(gate, 0);
    given.out[FIRST] = 0.0f;
}
