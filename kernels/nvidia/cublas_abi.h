/* kernels/nvidia/cublas_abi.h -- as much of cuBLASLt 12 and 13 as is used here, declared anew; see
 * cudnn_abi.h.  Names are cuBLAS's; tests/check_abi.sh holds numbers and sizes against its
 * headers. */
#ifndef HONE_CUBLAS_ABI_H
#define HONE_CUBLAS_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LT_NUMBERS(X)                                                                              \
    X(CUDA_R_32F, 0)                                                                               \
    X(CUDA_R_16F, 2)                                                                               \
    X(CUDA_R_16BF, 14)                                                                             \
    X(CUBLAS_COMPUTE_32F, 68)                                                                      \
    X(CUBLAS_COMPUTE_32F_FAST_TF32, 77)                                                            \
    X(CUBLAS_OP_N, 0)                                                                              \
    X(CUBLAS_OP_T, 1)                                                                              \
    X(CUBLASLT_MATMUL_DESC_TRANSA, 3)                                                              \
    X(CUBLASLT_MATMUL_DESC_TRANSB, 4)                                                              \
    X(CUBLASLT_MATMUL_DESC_EPILOGUE, 7)                                                            \
    X(CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8)                                                        \
    X(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, 26)                                                     \
    X(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1)                                                 \
    X(CUBLASLT_EPILOGUE_DEFAULT, 1)                                                                \
    X(CUBLASLT_EPILOGUE_RELU, 2)                                                                   \
    X(CUBLASLT_EPILOGUE_BIAS, 4)                                                                   \
    X(CUBLASLT_EPILOGUE_RELU_BIAS, 6)                                                              \
    X(CUBLASLT_EPILOGUE_GELU, 32)                                                                  \
    X(CUBLASLT_EPILOGUE_GELU_BIAS, 36)                                                             \
    X(CUBLASLT_ALGO_CONFIG_ID, 0)                                                                  \
    X(CUBLASLT_ALGO_CONFIG_TILE_ID, 1)                                                             \
    X(CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 2)                                                          \
    X(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4)                                                       \
    X(CUBLASLT_ALGO_CONFIG_STAGES_ID, 6)

enum {
#define LT_NUMBER(name, value) LT_##name = value,
    LT_NUMBERS(LT_NUMBER)
#undef LT_NUMBER
};

struct lt_algo { uint64_t data[8]; };

struct lt_result {
    struct lt_algo algo;
    size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
};

/* A matrix is described by type, rows, columns and the distance of columns. */
#define LT_CALLS(X)                                                                                \
    X(GetVersion, size_t, (void))                                                                  \
    X(GetStatusString, const char *, (int status))                                                 \
    X(Create, int, (void **handle))                                                                \
    X(Destroy, int, (void *handle))                                                                \
    X(MatmulDescCreate, int, (void **desc, int compute, int scale))                                \
    X(MatmulDescDestroy, int, (void *desc))                                                        \
    X(MatmulDescSetAttribute, int, (void *desc, int attr, const void *value, size_t size))         \
    X(MatrixLayoutCreate, int, (void **m, int type, uint64_t rows, uint64_t cols, int64_t ld))     \
    X(MatrixLayoutDestroy, int, (void *m))                                                         \
    X(MatmulPreferenceCreate, int, (void **pref))                                                  \
    X(MatmulPreferenceDestroy, int, (void *pref))                                                  \
    X(MatmulPreferenceSetAttribute, int, (void *pref, int attr, const void *value, size_t size))   \
    X(MatmulAlgoGetHeuristic, int,                                                                 \
      (void *handle, void *desc, void *a, void *b, void *c, void *d, void *pref, int room,         \
       struct lt_result *result, int *n))                                                          \
    X(MatmulAlgoConfigGetAttribute, int,                                                           \
      (const struct lt_algo *algo, int attr, void *value, size_t size, size_t *written))           \
    X(Matmul, int,                                                                                 \
      (void *handle, void *desc, const void *alpha, const void *a, void *a_desc, const void *b,    \
       void *b_desc, const void *beta, const void *c, void *c_desc, void *d, void *d_desc,         \
       const struct lt_algo *algo, void *workspace, size_t workspace_bytes, void *stream))

#endif
