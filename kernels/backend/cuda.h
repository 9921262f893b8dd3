/* kernels/backend/cuda.h -- what every CUDA kernel's .c includes: the device's limits, its code, and
 * launching it.  The code itself stands in the .cu beside it; README.md, "Adding a CUDA kernel". */
#ifndef HONE_CUDA_H
#define HONE_CUDA_H

#include "kernels/backend/cuda_map.h"
#include "kernels/kernel.h"

#include <string.h>

extern const struct hone_backend hone_backend_cuda;

/* What bounds a launch; bytes are of shared memory. */
struct hone_cuda_limits {
    int major, minor;                 /* compute capability */
    int nsms;
    int threads_per_block, threads_per_sm, registers_per_block;
    int shared_per_block, shared_per_sm;
};
const struct hone_cuda_limits *hone_cuda_limits(const struct hone_device *d);

/* ---- code: a plan's functions, which its priv holds ---- */

enum { HONE_CUDA_FUNCTIONS = 4 };

/* What prepare() asks for.  The sizes are a struct of ints, which kernels read by SIZES(): a JIT
 * plan has them as constants, and of the configurations, CONFIGS(X), only `config`, such as
 * "X(64, 64, 8)". */
struct hone_cuda_code {
    const char *function[HONE_CUDA_FUNCTIONS];        /* names; those behind the last are NULL */
    unsigned shared_bytes[HONE_CUDA_FUNCTIONS];       /* dynamic shared memory of each, at most */
    const int *sizes;
    int nsizes;
    const char *config;                               /* NULL: the .cu has no such list */
};

/* For a kernel's prepare(); release() and jit_cost() are the next two. */
int  hone_cuda_open(struct hone_plan *plan, const struct hone_cuda_code *code);
void hone_cuda_close(struct hone_plan *plan);
const struct hone_jit_cost *hone_cuda_jit_cost(const struct hone_plan *plan);

/* What all of them have in common. */
#define HONE_CUDA(dtypes_)                                                                         \
    .backend = &hone_backend_cuda, .dtypes = (dtypes_), .release = hone_cuda_close,                \
    .jit_cost = hone_cuda_jit_cost
#define HONE_CUDA_F32 HONE_CUDA(1u << HONE_F32)
#define HONE_CUDA_F32_HALF HONE_CUDA(1u << HONE_F32 | HONE_HALVES)

/* sizes and nsizes of a struct of ints. */
#define HONE_CUDA_SIZES(s) .sizes = (const int *)&(s), .nsizes = (int)(sizeof(s) / sizeof(int))

/* What cuda.cuh's stored_load() and stored_save() are told of arrays of type t: 0 floats, 1 bf16,
 * 2 f16. */
static inline int hone_cuda_half(enum hone_dtype t)
{
    return t == HONE_F16 ? 2 : t == HONE_BF16;
}

/* A number as an int of the same bits, since sizes are ints. */
static inline int hone_cuda_bits(double v)
{
    float f = (float)v;
    int bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

struct hone_cuda_shape {
    unsigned grid[3], block[3];
    unsigned shared_bytes;            /* dynamic */
};

/* Enqueues function number f of the plan; args points to the one struct that it is given. */
int hone_cuda_launch(const struct hone_plan *plan, int f, const struct hone_cuda_shape *shape,
                     const void *args);

/* The same in clusters of so many blocks along x (cuda_cluster.cuh), which prepare() has asked
 * for: there is an error where the GPU has no room for such a cluster. */
enum { HONE_CUDA_CLUSTER = 16, HONE_CUDA_PORTABLE_CLUSTER = 8 };   /* at most; on every such GPU */
int hone_cuda_allow_clusters(const struct hone_plan *plan, int f,
                             const struct hone_cuda_shape *shape, int cluster);
int hone_cuda_launch_clusters(const struct hone_plan *plan, int f,
                              const struct hone_cuda_shape *shape, int cluster, const void *args);

/* The map of a matrix of numbers of `size` bytes, 2 or 4, whose rows are whole multiples of 16
 * bytes, for boxes of box_rows rows of 128 bytes (cuda_wgmma.cuh). */
int hone_cuda_map(struct hone_cuda_map *map, const void *from, int size, int64_t rows,
                  int64_t cols, int box_rows);

/* Why this GPU cannot do what cuda_wgmma.cuh has, or cuda_cluster.cuh, or NULL. */
const char *hone_cuda_refuse_groups(const struct hone_device *d);
const char *hone_cuda_refuse_clusters(const struct hone_device *d);

/* Blocks of `block` for n items, at most as many as fill the GPU four times over: kernels over flat
 * arrays walk on in steps of the grid. */
static inline unsigned hone_cuda_blocks(const struct hone_device *d, int64_t n, int block)
{
    const struct hone_cuda_limits *l = hone_cuda_limits(d);
    int64_t blocks = (n + block - 1) / block, most = 4ll * l->nsms * (l->threads_per_sm / block);
    return (unsigned)(blocks < most ? blocks : most);
}

/* ---- generated from Makefile.am's lists ---- */

struct hone_cuda_source {
    const struct hone_kernel *kernel;
    const char *path;                 /* of the .cu */
    const unsigned char *image;       /* what nvcc made of it; NULL: there was none */
};
extern const struct hone_cuda_source hone_cuda_sources[];   /* ended by a NULL kernel */
extern const char hone_cuda_nvcc[];                         /* "nvcc 13.0 sm_80 sm_90", or "" */

/* ---- between cuda.c, cuda_code.c and cuda_nvrtc.c ---- */

/* 0, or the driver's complaint as ours, with its name of the code. */
int hone_cu_check(unsigned result, const char *call);
#define HONE_CU(call, ...) hone_cu_check(hone_cu.call(__VA_ARGS__), #call)

void *hone_cuda_stream(const struct hone_device *d);

/* The module of an image that nvcc made; loaded once, and unloaded with the device. */
int hone_cuda_module(struct hone_device *d, const void *image, void **module);

/* 1: the tests' driver, which has every kernel compiled for this processor and needs no image. */
int hone_cuda_is_pretend(void);

const char *hone_nvrtc_absent(void);
const char *hone_nvrtc_version(void);                       /* "NVRTC 13.0" */

/* Compiles text for a GPU of that capability.  The caller frees *image. */
int hone_nvrtc_compile(const char *text, const char *name, int major, int minor, char **image,
                       size_t *size);

#endif
