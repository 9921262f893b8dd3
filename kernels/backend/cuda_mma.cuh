/* kernels/backend/cuda_mma.cuh -- instructions of GPUs from sm_80 on, by the warp: products of small
 * matrices in tensor cores, their operands from shared memory, and copies there that the threads do
 * not wait for.  The tests' shim has each as a function with the same numbers in the same lanes
 * (PTX ISA, "Warp Level Matrix Instructions").  Nobody launches them on older GPUs, where they do
 * nothing. */
#ifndef HONE_CUDA_MMA_CUH
#define HONE_CUDA_MMA_CUH

#include "kernels/backend/cuda.cuh"

#ifdef __CUDACC__
#if !defined __CUDA_ARCH__ || __CUDA_ARCH__ >= 800
#define SM_80(...) asm volatile(__VA_ARGS__)
#else
#define SM_80(...) ((void)0)
#endif

DEVICE unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* 16 bytes to shared memory, the first n of them from p, which is read only where n is above 0, and
 * zeros behind; both on 16-byte boundaries. */
DEVICE void copy_16(void *to, const void *p, int n)
{
    SM_80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(p), "r"(n)
          : "memory");
}

/* Ends a group of this thread's copies. */
DEVICE void copies_end(void) { SM_80("cp.async.commit_group;" ::: "memory"); }

/* Waits for all of this thread's groups but the last `pending`, 0 to 2. */
DEVICE void copies_wait(int pending)
{
    if (pending == 0) SM_80("cp.async.wait_group 0;" ::: "memory");
    else if (pending == 1) SM_80("cp.async.wait_group 1;" ::: "memory");
    else SM_80("cp.async.wait_group 2;" ::: "memory");
}

/* Four matrices of 8 x 8 16-bit numbers, whose rows of 16 bytes are where lanes 0-7, 8-15, ... say:
 * of matrix i lane l gets numbers 2 (l % 4) and the next of row l / 4 in r[i]. */
DEVICE void load_matrices(unsigned r[4], const void *row)
{
    SM_80("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
          : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
          : "r"(shared_address(row))
          : "memory");
}

/* The same of the matrices' transposes. */
DEVICE void load_turned(unsigned r[4], const void *row)
{
    SM_80("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
          : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
          : "r"(shared_address(row))
          : "memory");
}

/* c (16, 8) += a (16, 16) b (16, 8) in bf16, sums in f32.  With g = lane / 4 and t = lane % 4, a
 * lane has c[g][2 t], c[g][2 t + 1], c[g + 8][...]; pairs of a's rows g and g + 8, columns 2 t and
 * then 2 t + 8; and pairs of b's column g, rows 2 t and 2 t + 8. */
DEVICE void mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
    SM_80("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The same in f16. */
DEVICE void mma_f16(float c[4], const unsigned a[4], const unsigned b[2])
{
    SM_80("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* c (16, 8) += a (16, 8) b (8, 8) in tf32.  a: [g][t], [g + 8][t], [g][t + 4], [g + 8][t + 4]; b:
 * [t][g] and [t + 4][g]. */
DEVICE void mma_tf32(float c[4], const unsigned a[4], const unsigned b[2])
{
    SM_80("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* v rounded to 11 bits, ties away from zero. */
DEVICE unsigned to_tf32(float v)
{
    unsigned bits = 0;
    SM_80("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return bits;
}
#endif

#endif
