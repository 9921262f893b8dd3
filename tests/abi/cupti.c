/* Our declarations of CUPTI's interface have the sizes, places and numbers of CUPTI's own. Compiled
 * by check_abi.sh, where the headers are. */
#include "profiler/cupti_abi.h"

#include <cuda.h>
#include <cupti.h>
#include <cupti_profiler_target.h>
#include <cupti_target.h>
#include <cupti_profiler_host.h>
#include <cupti_range_profiler.h>

#define SIZE(ours, theirs, last)                                                                   \
    _Static_assert(offsetof(struct ours, last) + sizeof ((struct ours *)0)->last ==                \
                   CUpti_##theirs##_Params_STRUCT_SIZE, #ours)
#define AT(ours, o, theirs, t)                                                                     \
    _Static_assert(offsetof(struct ours, o) == offsetof(CUpti_##theirs, t) &&                      \
                   sizeof ((struct ours *)0)->o == sizeof ((CUpti_##theirs *)0)->t, #ours "." #o)
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)

SIZE(cupti_chips, Profiler_Host_GetSupportedChips, name);
AT(cupti_chips, n, Profiler_Host_GetSupportedChips_Params, numChips);
SIZE(cupti_host_open, Profiler_Host_Initialize, host);
AT(cupti_host_open, type, Profiler_Host_Initialize_Params, profilerType);
AT(cupti_host_open, chip, Profiler_Host_Initialize_Params, pChipName);
AT(cupti_host_open, available, Profiler_Host_Initialize_Params, pCounterAvailabilityImage);
SIZE(cupti_host, Profiler_Host_Deinitialize, host);
SIZE(cupti_metric, Profiler_Host_GetMetricProperties, type);
AT(cupti_metric, host, Profiler_Host_GetMetricProperties_Params, pHostObject);
AT(cupti_metric, name, Profiler_Host_GetMetricProperties_Params, pMetricName);
AT(cupti_metric, about, Profiler_Host_GetMetricProperties_Params, pDescription);
AT(cupti_metric, unit_of_chip, Profiler_Host_GetMetricProperties_Params, pHwUnit);
AT(cupti_metric, unit, Profiler_Host_GetMetricProperties_Params, pDimUnit);
SIZE(cupti_add, Profiler_Host_ConfigAddMetrics, n);
AT(cupti_add, name, Profiler_Host_ConfigAddMetrics_Params, ppMetricNames);
SIZE(cupti_image_size, Profiler_Host_GetConfigImageSize, bytes);
AT(cupti_image_size, host, Profiler_Host_GetConfigImageSize_Params, pHostObject);
SIZE(cupti_image, Profiler_Host_GetConfigImage, image);
AT(cupti_image, bytes, Profiler_Host_GetConfigImage_Params, configImageSize);
SIZE(cupti_passes, Profiler_Host_GetNumOfPasses, n);
AT(cupti_passes, bytes, Profiler_Host_GetNumOfPasses_Params, configImageSize);
AT(cupti_passes, image, Profiler_Host_GetNumOfPasses_Params, pConfigImage);
SIZE(cupti_values, Profiler_Host_EvaluateToGpuValues, value);
AT(cupti_values, data, Profiler_Host_EvaluateToGpuValues_Params, pCounterDataImage);
AT(cupti_values, bytes, Profiler_Host_EvaluateToGpuValues_Params, counterDataImageSize);
AT(cupti_values, range, Profiler_Host_EvaluateToGpuValues_Params, rangeIndex);
AT(cupti_values, name, Profiler_Host_EvaluateToGpuValues_Params, ppMetricNames);
AT(cupti_values, n, Profiler_Host_EvaluateToGpuValues_Params, numMetrics);

SIZE(cupti_begin, Profiler_Initialize, priv);
SIZE(cupti_begin, Profiler_DeInitialize, priv);
SIZE(cupti_supported, Profiler_DeviceSupported, api);
AT(cupti_supported, device, Profiler_DeviceSupported_Params, cuDevice);
AT(cupti_supported, all, Profiler_DeviceSupported_Params, isSupported);
AT(cupti_supported, confidential, Profiler_DeviceSupported_Params, confidentialCompute);
AT(cupti_supported, wsl, Profiler_DeviceSupported_Params, wsl);
SIZE(cupti_chip_name, Device_GetChipName, name);
AT(cupti_chip_name, device, Device_GetChipName_Params, deviceIndex);
SIZE(cupti_available, Profiler_GetCounterAvailability, image);
AT(cupti_available, context, Profiler_GetCounterAvailability_Params, ctx);
AT(cupti_available, bytes, Profiler_GetCounterAvailability_Params, counterAvailabilityImageSize);
SIZE(cupti_enable, RangeProfiler_Enable, profiler);
AT(cupti_enable, context, RangeProfiler_Enable_Params, ctx);
SIZE(cupti_profiler, RangeProfiler_Disable, profiler);
SIZE(cupti_profiler, RangeProfiler_Start, profiler);
SIZE(cupti_stop, RangeProfiler_Stop, complete);
AT(cupti_stop, profiler, RangeProfiler_Stop_Params, pRangeProfilerObject);
SIZE(cupti_decode, RangeProfiler_DecodeData, ndropped);
SIZE(cupti_data_size, RangeProfiler_GetCounterDataSize, bytes);
AT(cupti_data_size, name, RangeProfiler_GetCounterDataSize_Params, pMetricNames);
AT(cupti_data_size, n, RangeProfiler_GetCounterDataSize_Params, numMetrics);
AT(cupti_data_size, nranges, RangeProfiler_GetCounterDataSize_Params, maxNumOfRanges);
AT(cupti_data_size, nnodes, RangeProfiler_GetCounterDataSize_Params, maxNumRangeTreeNodes);
SIZE(cupti_data_init, RangeProfiler_CounterDataImage_Initialize, data);
AT(cupti_data_init, bytes, RangeProfiler_CounterDataImage_Initialize_Params, counterDataSize);
SIZE(cupti_config, RangeProfiler_SetConfig, level);
AT(cupti_config, image, RangeProfiler_SetConfig_Params, pConfig);
AT(cupti_config, image_bytes, RangeProfiler_SetConfig_Params, configSize);
AT(cupti_config, data, RangeProfiler_SetConfig_Params, pCounterDataImage);
AT(cupti_config, data_bytes, RangeProfiler_SetConfig_Params, counterDataImageSize);
AT(cupti_config, range, RangeProfiler_SetConfig_Params, range);
AT(cupti_config, replay, RangeProfiler_SetConfig_Params, replayMode);
AT(cupti_config, nranges, RangeProfiler_SetConfig_Params, maxRangesPerPass);
AT(cupti_config, levels, RangeProfiler_SetConfig_Params, numNestingLevels);
AT(cupti_config, least_level, RangeProfiler_SetConfig_Params, minNestingLevel);
AT(cupti_config, pass, RangeProfiler_SetConfig_Params, passIndex);
SIZE(cupti_ranges, RangeProfiler_GetCounterDataInfo, n);
AT(cupti_ranges, bytes, RangeProfiler_GetCounterDataInfo_Params, counterDataImageSize);

SAME(CUPTI_RANGE_PROFILER, CUPTI_PROFILER_TYPE_RANGE_PROFILER);
SAME(CUPTI_RANGE_PROFILING, CUPTI_PROFILER_RANGE_PROFILING);
SAME(CUPTI_SUPPORTED, CUPTI_PROFILER_CONFIGURATION_SUPPORTED);
SAME(CUPTI_RANGE_AUTO, CUPTI_AutoRange);
SAME(CUPTI_REPLAY_KERNEL, CUPTI_KernelReplay);
SAME(CUPTI_DENIED, CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);

AT(cupti_kernel, registers, ActivityKernel10, registersPerThread);
AT(cupti_kernel, start, ActivityKernel10, start);
AT(cupti_kernel, end, ActivityKernel10, end);
AT(cupti_kernel, device, ActivityKernel10, deviceId);
AT(cupti_kernel, stream, ActivityKernel10, streamId);
AT(cupti_kernel, static_shared, ActivityKernel10, staticSharedMemory);
AT(cupti_kernel, dynamic_shared, ActivityKernel10, dynamicSharedMemory);
AT(cupti_kernel, local_per_thread, ActivityKernel10, localMemoryPerThread);
AT(cupti_kernel, correlation, ActivityKernel10, correlationId);
AT(cupti_kernel, name, ActivityKernel10, name);
_Static_assert(offsetof(struct cupti_kernel, grid) == offsetof(CUpti_ActivityKernel10, gridX),
               "grid");
_Static_assert(offsetof(struct cupti_kernel, block) == offsetof(CUpti_ActivityKernel10, blockX),
               "block");
SAME(CUPTI_ACTIVITY_MEMCPY_KIND, CUPTI_ACTIVITY_KIND_MEMCPY);
SAME(CUPTI_ACTIVITY_MEMSET_KIND, CUPTI_ACTIVITY_KIND_MEMSET);
SAME(CUPTI_ACTIVITY_DRIVER_KIND, CUPTI_ACTIVITY_KIND_DRIVER);
SAME(CUPTI_ACTIVITY_KERNEL_KIND, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
SAME(CUPTI_ACTIVITY_EXTERNAL_KIND, CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION);
SAME(CUPTI_EXTERNAL_OURS, CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0);
AT(cupti_move, bytes, ActivityMemcpy6, bytes);
AT(cupti_move, start, ActivityMemcpy6, start);
AT(cupti_move, end, ActivityMemcpy6, end);
AT(cupti_move, stream, ActivityMemcpy6, streamId);
AT(cupti_move, correlation, ActivityMemcpy6, correlationId);
AT(cupti_move, bytes, ActivityMemset4, bytes);
AT(cupti_move, start, ActivityMemset4, start);
AT(cupti_move, end, ActivityMemset4, end);
AT(cupti_move, stream, ActivityMemset4, streamId);
AT(cupti_move, correlation, ActivityMemset4, correlationId);
AT(cupti_call, start, ActivityAPI, start);
AT(cupti_call, end, ActivityAPI, end);
AT(cupti_call, thread, ActivityAPI, threadId);
AT(cupti_call, correlation, ActivityAPI, correlationId);
AT(cupti_external, external_kind, ActivityExternalCorrelation, externalKind);
AT(cupti_external, id, ActivityExternalCorrelation, externalId);
AT(cupti_external, correlation, ActivityExternalCorrelation, correlationId);
