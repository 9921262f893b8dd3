/* kernels/gpu_limits.h -- what a GPU's multiprocessor has, and how much of it a kernel can fill: for
 * constraints of spaces, traces and roofs.  In every build, since a described GPU needs no driver. */
#ifndef HONE_GPU_LIMITS_H
#define HONE_GPU_LIMITS_H

#include "kernels/kernel.h"

/* What a multiprocessor has, and the GPU's highest clocks; 0: not known. */
struct hone_gpu_limits {
    int major, minor, nsms;
    int threads, blocks, registers, shared_bytes;   /* of a multiprocessor */
    int reserved_bytes;                             /* of shared memory, of each block */
    int clock_khz, memory_khz, bus_bits;
};

/* Of a GPU that is here, or described. */
int hone_gpu_limits(const struct hone_device *d, struct hone_gpu_limits *l);

enum { HONE_GPU_THREAD_REGISTERS = 255 };   /* a thread has at most, as of sm_35 */

/* What lets no more blocks be in flight on a multiprocessor. */
enum hone_gpu_bound {
    HONE_BY_THREADS, HONE_BY_BLOCKS, HONE_BY_REGISTERS, HONE_BY_SHARED, HONE_NGPU_BOUNDS
};

/* Blocks of so many threads that one bound lets be in flight; amount: registers of a thread, or
 * bytes of shared memory of a block. */
int hone_gpu_blocks(const struct hone_gpu_limits *l, enum hone_gpu_bound by, int amount,
                    int threads);

/* Share of a multiprocessor's warps that are in flight at most, of a kernel whose threads have so many
 * registers and whose blocks so many bytes and threads; *by: what allows no more. */
double hone_occupancy(const struct hone_gpu_limits *l, int registers, int shared_bytes, int threads,
                      const char **by);

#endif
