/* tests/cuda/shim.h -- CUDA C on a processor: what kernels/backend/cuda.cuh includes where no CUDA
 * compiler reads it.  A thread of a block is a fiber, and blocks run one after another, those of a
 * cluster together, in an order that changes from launch to launch.
 *
 * The .cu files are compiled with -fsanitize=thread but linked with shim.c in place of that
 * library: so the shim sees every load and store, and finds those outside of device and shared
 * memory and those of two threads that no barrier orders. */
#ifndef HONE_CUDA_SHIM_H
#define HONE_CUDA_SHIM_H

#include "kernels/backend/cuda_map.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct shim_index { unsigned x, y, z; };
typedef struct { float x, y; } __attribute__((aligned(8))) float2;
typedef struct { float x, y, z, w; } __attribute__((aligned(16))) float4;

typedef struct { unsigned short x, y, z, w; } __attribute__((aligned(8))) ushort4;

/* Of the thread that runs. */
extern struct shim_now { struct shim_index thread, block, block_size, grid_size; void *shared; } shim_now;

#define threadIdx shim_now.thread
#define blockIdx shim_now.block
#define blockDim shim_now.block_size
#define gridDim shim_now.grid_size

/* name(arg) unpacks what cuLaunchKernel() is given, name_bytes is the size of it. */
#define KERNEL(name, type, threads)                                                                \
    static __attribute__((noinline)) void name##_body(const type given);                           \
    extern const unsigned name##_bytes, name##_threads;                                            \
    const unsigned name##_bytes = sizeof(type), name##_threads = (threads);                        \
    __attribute__((no_sanitize("thread"))) void name(void **arg);                                  \
    void name(void **arg) { name##_body(*(const type *)arg[0]); }                                  \
    static void name##_body(const type given)
#define KERNEL_OF_MAPS(name, type, threads) KERNEL(name, type, threads)
#define DEVICE static inline __attribute__((always_inline, unused))
#define DEVICE_CALL static __attribute__((noinline, unused))
#define SHARED(name) float *name = (float *)shim_now.shared
#define LOAD(p) (*(p))

void shim_sync_block(int line);
void shim_sync_warp(void);
float shim_shuffle(float v, int lane);

#define __syncthreads() shim_sync_block(__LINE__)
#define __syncwarp() shim_sync_warp()
#define __shfl_xor_sync(mask, v, d) shim_shuffle((v), (int)(threadIdx.x % 32) ^ (d))
#define __shfl_sync(mask, v, lane) shim_shuffle((v), (lane))

/* kernels/backend/cuda.cuh's. */
float from_f16(unsigned short v);
unsigned short to_f16(float v);

/* kernels/backend/cuda_mma.cuh's: a warp's instructions, and copies that are done when they are
 * waited for. */
void copy_16(void *to, const void *p, int n);
void copies_end(void);
void copies_wait(int pending);
void load_matrices(unsigned r[4], const void *row);
void load_turned(unsigned r[4], const void *row);
void mma_bf16(float c[4], const unsigned a[4], const unsigned b[2]);
void mma_f16(float c[4], const unsigned a[4], const unsigned b[2]);
void mma_tf32(float c[4], const unsigned a[4], const unsigned b[2]);
unsigned to_tf32(float v);

/* kernels/backend/cuda_cluster.cuh's. */
unsigned cluster_rank(void);
unsigned cluster_blocks(void);
float *cluster_place(float *p, unsigned rank);
void shim_sync_cluster(int line);
#define cluster_sync() shim_sync_cluster(__LINE__)

/* kernels/backend/cuda_wgmma.cuh's. */
unsigned group_address(const void *p);
void gate_make(unsigned long long *gate, int arrivals);
void gates_made(void);
void gate_arrive(unsigned long long *gate);
void gate_expect(unsigned long long *gate, int bytes);
void gate_wait(unsigned long long *gate, int parity);
void box_fetch(void *to, const struct hone_cuda_map *map, unsigned long long *gate, int row,
               int col);
void group_fence(void);
void group_end(void);
void group_wait(int pending);
void group_multiply(float *d, unsigned long long a, unsigned long long b, int add, int kind, int n,
                    int a_turned, int b_turned);
#define group_settle(d, n) ((void)0)

static inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }

/* ---- for the pretend driver ---- */

enum { SHIM_CLUSTER = 16 };   /* blocks of a cluster, at most */

/* What its hone_cuda_map is: numbers of `size` bytes, rows `pitch` bytes apart, and a box of rows
 * of 128 bytes. */
#define SHIM_MAP "shimmap"
struct shim_map {
    char magic[8];
    const char *from;
    int64_t rows, cols, pitch;
    unsigned box_rows, box_cols, size;
};

/* A load or store of bytes at p, not in shared memory nor on a stack: NULL, or what is wrong. */
typedef const char *shim_memory(const void *p, unsigned bytes, int writes, unsigned launch,
                                unsigned thread, unsigned epoch);

struct shim_launch {
    const char *name;
    void (*kernel)(void **arg);
    void **arg;
    struct shim_index grid, block;
    unsigned cluster;         /* blocks along x that are one; 1: there is none */
    unsigned shared_bytes;
    unsigned number;          /* of the launch: decides the order, unless $HONE_PRETEND_ORDER does */
    shim_memory *memory;
};

/* NULL, or what the kernel did wrong. */
const char *shim_run(const struct shim_launch *l);

#endif
