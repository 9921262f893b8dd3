/* profiler/peaks.h -- the loops that peaks are measured with, and the parts of hone_peaks() that
 * tests call with their own times and files. */
#ifndef HONE_PEAKS_H
#define HONE_PEAKS_H

#include "profiler/profiler.h"

#include <jansson.h>

enum { HONE_READ_BLOCK = 1024, HONE_LINE = 64 };

/* An array that is read, written, or read and written back as it was: `lines` of HONE_LINE bytes,
 * from a multiple of so many on. */
struct hone_moved { char *at; int64_t lines; enum hone_io io; };

/* Compiled once per instruction set (loops.c).  Results are returned or written so that no
 * compiler can leave the work out. */
struct hone_loops {
    double (*fma_f32)(int64_t steps); /* steps x flops_f32 */
    double (*fma_f64)(int64_t steps);
    int flops_f32, flops_f64; /* of one step: a multiply and an add count as two */

    /* Reads p[0..bytes) `times` times; bytes is a multiple of HONE_READ_BLOCK. */
    int64_t (*read)(const void *p, int64_t bytes, int64_t times);

    /* a[i] = b[i] + s c[i], n a multiple of 16. */
    void (*triad)(float *a, const float *b, const float *c, float s, int64_t n);

    /* Steps [from, to) of `steps`, of which each moves the next lines of all n arrays, every array
     * ends with the last: what is written alone becomes 0.  stream: stores past the caches. */
    void (*move)(const struct hone_moved *array, int n, int64_t from, int64_t to, int64_t steps,
                 int stream);
};

/* Products of bf16, compiled for the instruction sets that have them (dots_loops.c). */
struct hone_dots_loop {
    double (*dots)(int64_t steps);   /* steps x flops */
    int flops;
};

extern const struct hone_loops hone_loops_plain;
#if defined __x86_64__
extern const struct hone_loops hone_loops_avx2, hone_loops_avx512;
#endif
#ifdef HONE_DOTS
extern const struct hone_dots_loop hone_dots_loop_avx512dot_bf16, hone_dots_loop_amx_bf16;
#endif

/* Is a rate of its own measured for numbers of type t?  f32 and f64 always, bf16 where a processor
 * multiplies it. */
int hone_peaks_has(const struct hone_device *d, enum hone_dtype t);

/* Measures; each of the 13 to 15 numbers is the best of the windows that fit in `seconds`.
 * memory_bytes: size of the buffer that stands for memory, several times the last cache; 0: chosen. */
int hone_peaks_measure(struct hone_device *d, double seconds, int64_t memory_bytes,
                       struct hone_peaks *peaks);

/* flop/s of so many threads in one window of about 2 ms, for numbers of type t or what they are
 * computed in; 0: not known of this device.  Between windows of kernels: a processor's clock is not
 * the same from hour to hour, and what it was at its best is no measure of them. */
double hone_peaks_now(const struct hone_device *d, enum hone_dtype t, int nthreads);

/* ---- bandwidth.c: bytes per second that a problem's own arrays can be moved with ---- */

/* Plans that move what the problem must at least and compute nothing, with so many threads: inputs
 * are read, outputs written, and what is both is written back as it was.  They are run and timed on
 * the problem's case as any kernel's plan, so that arrays, cache state and rounds are the same, and
 * differ in how they store, past the caches or not, and in how much of each array they move at a
 * time; the fastest is the peak.  Returns how many; 0: not known of this device, not a line to
 * move, or less than an L2 cache holds: then how a loop begins counts as much as what it moves. */
enum { HONE_MOVES = 6 };
int hone_moves(const struct hone_problem *p, struct hone_device *d, int threads,
               struct hone_plan plan[HONE_MOVES]);

/* Bytes that a run of such a plan moves: hone_problem_bytes(), and once more those of inputs that
 * are needed whole before the first output is known (bnorm_fwd's x), where the threads' L2 caches
 * do not hold them. */
double hone_moved_bytes(const struct hone_problem *p, const struct hone_device *d, int threads);

/* The loops in the widest vectors of the device. */
const struct hone_loops *hone_loops_for(const struct hone_device *d);

/* hone_peaks_measure() of a GPU (peaks_gpu.c); and what is by its clocks, tensor cores' rates, into measured
 * peaks. */
int hone_peaks_measure_gpu(struct hone_device *d, double seconds, struct hone_peaks *peaks);
void hone_peaks_of_halves(const struct hone_device *d, struct hone_peaks *peaks);

/* Where hone_peaks() keeps them. */
int hone_peaks_path(const struct hone_device *d, char *path, size_t size);

/* One JSON file.  load: 0 if it holds this device's peaks; a missing, damaged or foreign file gives
 * a negative code, and is to be measured anew.  save replaces the file in one step. */
int hone_peaks_load(const char *path, const struct hone_device *d, struct hone_peaks *peaks);
int hone_peaks_save(const char *path, const struct hone_device *d, const struct hone_peaks *peaks);

/* As the file holds them; the caller owns the reference. */
json_t *hone_peaks_json(const struct hone_device *d, const struct hone_peaks *peaks);

#endif
