/* The driver's numbers, and what a map is, as in NVIDIA's header. */
#include <cuda.h>

#include "kernels/backend/cuda_driver.h"
#include "kernels/backend/cuda_map.h"

#define SAME(ours, theirs) _Static_assert((ours) == (theirs), #ours " is not " #theirs)

#define X(name, number, theirs) SAME(HONE_CU_##name, CU_DEVICE_ATTRIBUTE_##theirs);
HONE_CU_ATTRIBUTES(X)
#undef X

SAME(HONE_CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(HONE_CU_STUB, CUDA_ERROR_STUB_LIBRARY);
SAME(HONE_CU_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(HONE_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(HONE_CU_EVENT_DISABLE_TIMING, CU_EVENT_DISABLE_TIMING);
SAME(HONE_CU_FUNC_MAX_DYNAMIC_SHARED, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(HONE_CU_FUNC_NON_PORTABLE_CLUSTER, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
SAME(HONE_CU_CAPTURE_RELAXED, CU_STREAM_CAPTURE_MODE_RELAXED);

#define PLACE(ours, member, theirs, its)                                                           \
    SAME(offsetof(struct ours, member), offsetof(theirs, its))
SAME(HONE_CU_LAUNCH_CLUSTER, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
SAME(sizeof(struct hone_cu_launch_attribute), sizeof(CUlaunchAttribute));
PLACE(hone_cu_launch_attribute, cluster, CUlaunchAttribute, value.clusterDim);
SAME(sizeof(struct hone_cu_launch), sizeof(CUlaunchConfig));
PLACE(hone_cu_launch, grid, CUlaunchConfig, gridDimX);
PLACE(hone_cu_launch, block, CUlaunchConfig, blockDimX);
PLACE(hone_cu_launch, shared_bytes, CUlaunchConfig, sharedMemBytes);
PLACE(hone_cu_launch, stream, CUlaunchConfig, hStream);
PLACE(hone_cu_launch, attribute, CUlaunchConfig, attrs);
PLACE(hone_cu_launch, nattributes, CUlaunchConfig, numAttrs);

SAME(sizeof(struct hone_cuda_map), sizeof(CUtensorMap));
SAME(_Alignof(struct hone_cuda_map), _Alignof(CUtensorMap));
SAME(HONE_CU_MAP_16_BITS, CU_TENSOR_MAP_DATA_TYPE_UINT16);
SAME(HONE_CU_MAP_32_BITS, CU_TENSOR_MAP_DATA_TYPE_UINT32);
SAME(HONE_CU_MAP_SWIZZLE_128, CU_TENSOR_MAP_SWIZZLE_128B);
SAME(HONE_CU_MAP_L2_256, CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
SAME(0, CU_TENSOR_MAP_INTERLEAVE_NONE);
SAME(0, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
