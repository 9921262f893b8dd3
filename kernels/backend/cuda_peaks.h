/* kernels/backend/cuda_peaks.h -- the loops that a GPU's peaks are measured with: a kernel that
 * does no op, which the profiler plans and runs for itself. */
#ifndef HONE_CUDA_PEAKS_H
#define HONE_CUDA_PEAKS_H

/* Its parameters: which loop, how often, blocks, and KiB of memory that it goes through. */
enum { PEAKS_LOOP, PEAKS_ROUNDS, PEAKS_BLOCKS, PEAKS_KIB };
enum { PEAKS_FMA_F32, PEAKS_FMA_F64, PEAKS_READ, PEAKS_TRIAD };

/* Multiply-adds of a thread in a round: chains that do not wait for each other, steps of each. */
enum { PEAKS_THREADS = 256, PEAKS_CHAINS = 8, PEAKS_STEPS = 16 };

struct cuda_peaks {
    float *out;                        /* a number a thread */
    void *mem;
    long long pieces;                  /* of 16 bytes, that are read */
    int rounds;
    float scale;                       /* 1/2, which the compiler does not know */
};

#endif
