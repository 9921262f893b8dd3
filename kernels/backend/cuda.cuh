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

/* An f16 is IEEE 754's binary16, rounded to in the same way. */
#ifdef __CUDACC__
DEVICE float from_f16(unsigned short v)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
    return f;
}

DEVICE unsigned short to_f16(float v)
{
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
    return h;
}
#endif

/* What arrays hold, as hone_cuda_half() says: floats, or halves of one kind. */
enum { HALF_NONE, HALF_BF16, HALF_F16 };

DEVICE float from_half(unsigned short v, int half)
{
    return half == HALF_F16 ? from_f16(v) : from_bf16(v);
}

DEVICE unsigned short to_half(float v, int half)
{
    return half == HALF_F16 ? to_f16(v) : to_bf16(v);
}

DEVICE float4 from_half_4(ushort4 h, int half)
{
    float4 v;
    v.x = from_half(h.x, half), v.y = from_half(h.y, half);
    v.z = from_half(h.z, half), v.w = from_half(h.w, half);
    return v;
}

DEVICE ushort4 to_half_4(float4 v, int half)
{
    ushort4 h;
    h.x = to_half(v.x, half), h.y = to_half(v.y, half);
    h.z = to_half(v.z, half), h.w = to_half(v.w, half);
    return h;
}

/* Number i of an array; stored_read() also of one that the kernel writes. */
DEVICE float stored_load(const void *p, int64 i, int half)
{
    return half ? from_half(LOAD((const unsigned short *)p + i), half)
                : LOAD((const float *)p + i);
}

DEVICE float stored_read(const void *p, int64 i, int half)
{
    return half ? from_half(((const unsigned short *)p)[i], half) : ((const float *)p)[i];
}

DEVICE void stored_save(void *p, int64 i, float v, int half)
{
    if (half) ((unsigned short *)p)[i] = to_half(v, half);
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
