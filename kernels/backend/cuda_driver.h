/* kernels/backend/cuda_driver.h -- what we call of NVIDIA's driver and of its run-time compiler, by
 * dlopen.  Both are stable binary interfaces, declared here once more, so that every build of Hone
 * drives every GPU and nothing of NVIDIA's is needed to build it; tests/abi/cuda.c compares
 * numbers and sizes with NVIDIA's own header where that is installed. */
#ifndef HONE_CUDA_DRIVER_H
#define HONE_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

/* Handles are pointers to what only the driver knows; an address on the device is 64 bits. */
typedef unsigned hone_cu_result;
typedef unsigned long long hone_cu_address;

/* What cuLaunchKernelEx is told, and the one attribute that we give: how many blocks are a cluster,
 * along each direction. */
struct hone_cu_launch_attribute { unsigned id, pad, cluster[3], rest[13]; };
struct hone_cu_launch {
    unsigned grid[3], block[3], shared_bytes;
    void *stream;
    struct hone_cu_launch_attribute *attribute;
    unsigned nattributes;
};
enum { HONE_CU_LAUNCH_CLUSTER = 4 };

/* Name, symbol and parameters: where a call changed, the symbol says which version is meant. */
#define HONE_CU_CALLS(X)                                                                           \
    X(cuInit, cuInit, (unsigned flags))                                                            \
    X(cuDriverGetVersion, cuDriverGetVersion, (int *version))                                      \
    X(cuGetErrorName, cuGetErrorName, (hone_cu_result code, const char **name))                    \
    X(cuDeviceGetCount, cuDeviceGetCount, (int *n))                                                \
    X(cuDeviceGet, cuDeviceGet, (int *device, int index))                                          \
    X(cuDeviceGetName, cuDeviceGetName, (char *name, int size, int device))                        \
    X(cuDeviceGetAttribute, cuDeviceGetAttribute, (int *value, unsigned attribute, int device))    \
    X(cuDeviceTotalMem, cuDeviceTotalMem_v2, (size_t *bytes, int device))                          \
    X(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (void **context, int device))            \
    X(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (int device))                       \
    X(cuCtxSetCurrent, cuCtxSetCurrent, (void *context))                                           \
    X(cuStreamCreate, cuStreamCreate, (void **stream, unsigned flags))                             \
    X(cuStreamDestroy, cuStreamDestroy_v2, (void *stream))                                         \
    X(cuStreamSynchronize, cuStreamSynchronize, (void *stream))                                    \
    X(cuEventCreate, cuEventCreate, (void **event, unsigned flags))                                \
    X(cuEventDestroy, cuEventDestroy_v2, (void *event))                                            \
    X(cuEventRecord, cuEventRecord, (void *event, void *stream))                                   \
    X(cuEventSynchronize, cuEventSynchronize, (void *event))                                       \
    X(cuEventElapsedTime, cuEventElapsedTime, (float *ms, void *from, void *to))                   \
    X(cuMemAlloc, cuMemAlloc_v2, (hone_cu_address *mem, size_t bytes))                             \
    X(cuMemFree, cuMemFree_v2, (hone_cu_address mem))                                              \
    X(cuMemHostAlloc, cuMemHostAlloc, (void **mem, size_t bytes, unsigned flags))                  \
    X(cuMemFreeHost, cuMemFreeHost, (void *mem))                                                   \
    X(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                                     \
      (hone_cu_address to, const void *from, size_t bytes, void *stream))                          \
    X(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                                     \
      (void *to, hone_cu_address from, size_t bytes, void *stream))                                \
    X(cuMemsetD8Async, cuMemsetD8Async,                                                            \
      (hone_cu_address to, unsigned char byte, size_t n, void *stream))                            \
    X(cuModuleLoadData, cuModuleLoadData, (void **module, const void *image))                      \
    X(cuModuleUnload, cuModuleUnload, (void *module))                                              \
    X(cuModuleGetFunction, cuModuleGetFunction, (void **function, void *module, const char *name)) \
    X(cuFuncSetAttribute, cuFuncSetAttribute, (void *function, unsigned attribute, int value))     \
    X(cuLaunchKernel, cuLaunchKernel,                                                              \
      (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,        \
       unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **arguments,  \
       void **extra))                                                                              \
    X(cuStreamBeginCapture, cuStreamBeginCapture_v2, (void *stream, unsigned mode))                \
    X(cuStreamEndCapture, cuStreamEndCapture, (void *stream, void **graph))                        \
    X(cuGraphInstantiate, cuGraphInstantiateWithFlags,                                             \
      (void **exec, void *graph, unsigned long long flags))                                        \
    X(cuGraphLaunch, cuGraphLaunch, (void *exec, void *stream))                                    \
    X(cuGraphExecDestroy, cuGraphExecDestroy, (void *exec))                                        \
    X(cuGraphDestroy, cuGraphDestroy, (void *graph))

/* What drivers before CUDA 12 lack: NULL there. */
#define HONE_CU_LATER_CALLS(X)                                                                     \
    X(cuTensorMapEncodeTiled, cuTensorMapEncodeTiled,                                              \
      (void *map, unsigned type, unsigned rank, void *from, const unsigned long long *sizes,       \
       const unsigned long long *strides, const unsigned *box, const unsigned *steps,              \
       unsigned interleave, unsigned swizzle, unsigned l2, unsigned fill))                         \
    X(cuLaunchKernelEx, cuLaunchKernelEx,                                                          \
      (const struct hone_cu_launch *launch, void *function, void **arguments, void **extra))       \
    X(cuOccupancyMaxActiveClusters, cuOccupancyMaxActiveClusters,                                  \
      (int *n, void *function, const struct hone_cu_launch *launch))

/* Of cuTensorMapEncodeTiled: types of numbers, all in rows of 128 bytes whose pieces are swizzled,
 * and brought to L2 by two such. */
enum {
    HONE_CU_MAP_16_BITS = 1, HONE_CU_MAP_32_BITS = 2, HONE_CU_MAP_SWIZZLE_128 = 3,
    HONE_CU_MAP_L2_256 = 3
};

/* Each returns 0 or one of these. */
enum { HONE_CU_OUT_OF_MEMORY = 2, HONE_CU_STUB = 34, HONE_CU_NO_DEVICE = 100 };

/* Of cuDeviceGetAttribute. */
#define HONE_CU_ATTRIBUTES(X)                                                                      \
    X(THREADS_PER_BLOCK, 1, MAX_THREADS_PER_BLOCK)                                                 \
    X(SHARED_PER_BLOCK, 8, MAX_SHARED_MEMORY_PER_BLOCK)                                            \
    X(REGISTERS_PER_BLOCK, 12, MAX_REGISTERS_PER_BLOCK)                                            \
    X(NSMS, 16, MULTIPROCESSOR_COUNT)                                                              \
    X(L2_BYTES, 38, L2_CACHE_SIZE)                                                                 \
    X(THREADS_PER_SM, 39, MAX_THREADS_PER_MULTIPROCESSOR)                                          \
    X(MAJOR, 75, COMPUTE_CAPABILITY_MAJOR)                                                         \
    X(MINOR, 76, COMPUTE_CAPABILITY_MINOR)                                                         \
    X(SHARED_PER_SM, 81, MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)                                     \
    X(SHARED_OPT_IN, 97, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)

enum hone_cu_attribute {
#define X(name, number, theirs) HONE_CU_##name = number,
    HONE_CU_ATTRIBUTES(X)
#undef X
};

/* Flags of streams (not bound to the default one) and events (that only order), attributes of
 * functions (NON_PORTABLE: clusters of more blocks than every such GPU has), and captures that
 * concern no other thread. */
enum {
    HONE_CU_STREAM_NON_BLOCKING = 1, HONE_CU_EVENT_DISABLE_TIMING = 2,
    HONE_CU_FUNC_MAX_DYNAMIC_SHARED = 8, HONE_CU_FUNC_NON_PORTABLE_CLUSTER = 14,
    HONE_CU_CAPTURE_RELAXED = 2
};

struct hone_cu {
#define X(name, symbol, parameters) hone_cu_result(*name) parameters;
    HONE_CU_CALLS(X) HONE_CU_LATER_CALLS(X)
#undef X
};
extern struct hone_cu hone_cu;

/* NVRTC, which needs no GPU. */
#define HONE_NVRTC_CALLS(X)                                                                        \
    X(nvrtcVersion, (int *major, int *minor))                                                      \
    X(nvrtcGetNumSupportedArchs, (int *n))                                                         \
    X(nvrtcGetSupportedArchs, (int *archs))                                                        \
    X(nvrtcCreateProgram, (void **program, const char *text, const char *name, int nheaders,       \
                           const char *const *headers, const char *const *names))                  \
    X(nvrtcDestroyProgram, (void **program))                                                       \
    X(nvrtcCompileProgram, (void *program, int noptions, const char *const *options))              \
    X(nvrtcGetProgramLogSize, (void *program, size_t *size))                                       \
    X(nvrtcGetProgramLog, (void *program, char *log))                                              \
    X(nvrtcGetCUBINSize, (void *program, size_t *size))                                            \
    X(nvrtcGetCUBIN, (void *program, char *image))                                                 \
    X(nvrtcGetPTXSize, (void *program, size_t *size))                                              \
    X(nvrtcGetPTX, (void *program, char *image))

#endif
