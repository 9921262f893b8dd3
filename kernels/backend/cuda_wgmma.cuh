/* kernels/backend/cuda_wgmma.cuh -- instructions of sm_90a: products of matrices in shared memory
 * by four warps together, boxes of matrices that are fetched there, and gates at which threads and
 * boxes meet (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions", "Tensor copy",
 * "mbarrier").  The tests' shim has each as a function.  On other GPUs they end the kernel.
 *
 * A matrix lies in shared memory in rows of 128 bytes, whose 16-byte pieces are swizzled: piece p
 * of row r is where piece p ^ r % 8 would be.  Eight rows are 1 KiB and begin on such a boundary. */
#ifndef HONE_CUDA_WGMMA_CUH
#define HONE_CUDA_WGMMA_CUH

#include "kernels/backend/cuda.cuh"
#include "kernels/backend/cuda_map.h"

/* Types of what is multiplied. */
enum { GROUP_BF16, GROUP_F16, GROUP_TF32 };

#ifdef __CUDACC__
#if !defined __CUDA_ARCH__ || defined __CUDA_ARCH_FEAT_SM90_ALL
#define SM_90A(...) asm volatile(__VA_ARGS__)
#else
#define SM_90A(...) __trap()
#endif

/* As KERNEL(), of a struct with maps: they must stay where the launch put them. */
#define KERNEL_OF_MAPS(name, type, threads)                                                        \
    extern "C" __global__ void __launch_bounds__(threads)                                          \
        name(const __grid_constant__ type given)

DEVICE unsigned group_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* ---- gates: 8 bytes of shared memory, open when as many threads have arrived as it was made for
 * and all expected bytes are there; then it closes again, and its phase, 0 at first, is the other
 * one ---- */

DEVICE void gate_make(uint64 *gate, int arrivals)
{
    SM_90A("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(group_address(gate)), "r"(arrivals)
           : "memory");
}

/* Behind all gate_make(), before the block's barrier. */
DEVICE void gates_made(void) { SM_90A("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void gate_arrive(uint64 *gate)
{
    SM_90A("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(group_address(gate)) : "memory");
}

/* Arrives, and lets the gate expect so many bytes. */
DEVICE void gate_expect(uint64 *gate, int bytes)
{
    SM_90A("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(group_address(gate)),
           "r"(bytes)
           : "memory");
}

/* Waits for the end of the phase of this parity. */
DEVICE void gate_wait(uint64 *gate, int parity)
{
    unsigned open = 0;
    while (!open)
        SM_90A("{\n.reg .pred p;\n"
               "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
               "selp.u32 %0, 1, 0, p;\n}"
               : "=r"(open)
               : "r"(group_address(gate)), "r"(parity)
               : "memory");
}

/* The box of the map's matrix from (row, col) on, zeros where that is outside; `gate` learns of its
 * bytes. */
DEVICE void box_fetch(void *to, const struct hone_cuda_map *map, uint64 *gate, int row, int col)
{
    SM_90A("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
           "[%0], [%1, {%3, %4}], [%2];" ::"r"(group_address(to)),
           "l"(map), "r"(group_address(gate)), "r"(col), "r"(row)
           : "memory");
}

/* ---- products: what is asked for between fence and end is a group ---- */

/* Before a group's first product: what was done to sums and in shared memory is done. */
DEVICE void group_fence(void) { SM_90A("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void group_end(void) { SM_90A("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/* Waits for all groups but the last `pending`, 0 or 1. */
DEVICE void group_wait(int pending)
{
    if (pending) SM_90A("wgmma.wait_group.sync.aligned 1;" ::: "memory");
    else SM_90A("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}

/* The compiler must not have read a sum before it is there. */
DEVICE void group_settle(float *d, const int n)
{
    UNROLLED
    for (int i = 0; i < n / 2; i++) asm volatile("" : "+f"(d[i])::"memory");
}

#define GROUP_R32                                                                                  \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "             \
    "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GROUP_R64                                                                                  \
    GROUP_R32                                                                                      \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "           \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define GROUP_R128                                                                                 \
    GROUP_R64                                                                                      \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "           \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "             \
    "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, "         \
    "%124, %125, %126, %127"
#define GROUP_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define GROUP_D16(i) GROUP_D4(i), GROUP_D4(i + 4), GROUP_D4(i + 8), GROUP_D4(i + 12)
#define GROUP_D32 GROUP_D16(0), GROUP_D16(16)
#define GROUP_D64 GROUP_D32, GROUP_D16(32), GROUP_D16(48)
#define GROUP_D128 GROUP_D64, GROUP_D16(64), GROUP_D16(80), GROUP_D16(96), GROUP_D16(112)

/* sums, then the three operands behind them by number. */
#define GROUP_ASK(shape, types, regs, sums, at_a, at_b, at_add, tail)                              \
    SM_90A("{\n.reg .pred p;\nsetp.ne.b32 p, " at_add ", 0;\n"                                    \
           "wgmma.mma_async.sync.aligned.m64" shape ".f32." types " {" regs "}, " at_a ", " at_b   \
           ", p" tail ";\n}"                                                                       \
           : sums                                                                                  \
           : "l"(a), "l"(b), "r"(add)                                                              \
           : "memory")
#define GROUP_OF(n, depth, types, tail)                                                            \
    if ((n) == 64)                                                                                 \
        GROUP_ASK("n64" depth, types, GROUP_R32, GROUP_D32, "%32", "%33", "%34", tail);            \
    else if ((n) == 128)                                                                           \
        GROUP_ASK("n128" depth, types, GROUP_R64, GROUP_D64, "%64", "%65", "%66", tail);           \
    else                                                                                           \
        GROUP_ASK("n256" depth, types, GROUP_R128, GROUP_D128, "%128", "%129", "%130", tail)

#define GROUP_OF_HALVES(n, types)                                                                  \
    if (a_turned && b_turned) {                                                                    \
        GROUP_OF(n, "k16", types, ", 1, 1, 1, 1");                                                 \
    } else if (b_turned) {                                                                         \
        GROUP_OF(n, "k16", types, ", 1, 1, 0, 1");                                                 \
    } else {                                                                                       \
        GROUP_OF(n, "k16", types, ", 1, 1, 0, 0");                                                 \
    }

/* d (64, n) = a (64, 32 bytes) b (32 bytes, n), plus d where `add` is not 0; n 64, 128 or 256.  Of
 * d warp w of the four has 16 rows; its lane has, with g = lane / 4 and t = lane % 4, numbers
 * d[4 j] = [16 w + g][8 j + 2 t], the next column, and both of 8 rows below.  a and b are
 * group_matrix()'s.  turned: a matrix lies in rows of k, not along k; not of tf32. */
DEVICE void group_multiply(float *d, uint64 a, uint64 b, int add, const int kind, const int n,
                           const int a_turned, const int b_turned)
{
    if (kind == GROUP_TF32) {
        GROUP_OF(n, "k8", "tf32.tf32", ", 1, 1");
    } else if (kind == GROUP_F16) {
        GROUP_OF_HALVES(n, "f16.f16")
    } else {
        GROUP_OF_HALVES(n, "bf16.bf16")
    }
}
#endif

/* Where a matrix lies in shared memory: `lead` bytes from 64 numbers of a row to the next 64 where
 * it is turned, `stride` bytes from 8 rows to the next 8. */
DEVICE uint64 group_matrix(const void *p, int lead, int stride)
{
    return (uint64)(group_address(p) & 0x3ffff) >> 4 | (uint64)(lead >> 4) << 16 |
           (uint64)(stride >> 4) << 32 | 1ull << 62;
}

#endif
