/* kernels/backend/cuda.cuh -- what every .cu includes.  One text is compiled by nvcc, by NVRTC while
 * the program runs, and by a C compiler for the tests, which run a fiber per thread: so it is C that
 * C++ reads, too, and includes nothing else but headers of structs. */
#ifndef HONE_CUDA_CUH
#define HONE_CUDA_CUH

#ifdef __CUDACC__
/* A kernel takes one struct, `given`; no more than `threads` threads make a block. */
#define KERNEL(name, type, threads)                                                                \
    extern "C" __global__ void __launch_bounds__(threads) name(const type given)
#define DEVICE static __device__ __forceinline__
#define DEVICE_CALL static __device__ __noinline__   /* a function that is called */
/* The one array of dynamic shared memory, of floats; what the launch says is its length. */
#define SHARED(name) extern __shared__ float4 hone_shared[]; float *name = (float *)hone_shared
#define LOAD(p) __ldg(p)
#else
#include "tests/cuda/shim.h"
#endif

typedef long long int64;
typedef unsigned long long uint64;

#define UNROLLED _Pragma("unroll")
#define NOT_UNROLLED _Pragma("unroll 1")
#define UNROLLED_BY_4 _Pragma("unroll 4")

/* The sizes, `name`, out of what was given; to NVRTC they are constants. */
#ifdef HONE_SIZES
#define SIZES(type, name) const type name = HONE_SIZES
#else
#define SIZES(type, name) const type name = given.s
#endif

/* Sizes are ints: a number among them has the same bits. */
DEVICE float number_of(int bits)
{
    union { int i; float f; } u;
    u.i = bits;
    return u.f;
}

/* A bf16 is the upper half of a float; what is lost is rounded to nearest, ties to even, and NaN
 * stays NaN. */
DEVICE float from_bf16(unsigned short v)
{
    union { unsigned u; float f; } x;
    x.u = (unsigned)v << 16;
    return x.f;
}

DEVICE unsigned short to_bf16(float v)
{
    union { float f; unsigned u; } x;
    x.f = v;
    if (v != v) return (unsigned short)(x.u >> 16 | 0x40);
    return (unsigned short)((x.u + 0x7fff + (x.u >> 16 & 1)) >> 16);
}

/* Number i of an array of floats, or where `narrow`, of bf16. */
DEVICE float stored_load(const void *p, int64 i, int narrow)
{
    return narrow ? from_bf16(LOAD((const unsigned short *)p + i)) : LOAD((const float *)p + i);
}

DEVICE void stored_save(void *p, int64 i, float v, int narrow)
{
    if (narrow) ((unsigned short *)p)[i] = to_bf16(v);
    else ((float *)p)[i] = v;
}

/* Kernels over flat arrays walk from FIRST in steps of STRIDE. */
#define FIRST ((int64)blockIdx.x * blockDim.x + threadIdx.x)
#define STRIDE ((int64)gridDim.x * blockDim.x)

/* The sum of v over a warp, whose lanes must all be here; every lane gets it, and the tree is the
 * same each time. */
DEVICE float warp_sum(float v)
{
    UNROLLED
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}

DEVICE float warp_most(float v)
{
    UNROLLED
    for (int d = 16; d; d /= 2) {
        float w = __shfl_xor_sync(0xffffffffu, v, d);
        v = v > w ? v : w;
    }
    return v;
}

/* The sum of v over a block of whole warps; `part` has room for 32 floats, and every thread gets it
 * in the end.  Nobody writes to part before all have read it. */
DEVICE float block_sum(float v, float *part)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    v = warp_sum(v);
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = warp_sum(lane < warps ? part[lane] : 0.0f);
    __syncthreads();
    return v;
}

#endif
