/* kernels/backend/cuda_map.h -- how a matrix lies in a GPU's memory, as the driver writes it down
 * for kernels that have boxes of it fetched (cuTensorMapEncodeTiled).  A kernel is given it as a
 * member of its struct. */
#ifndef HONE_CUDA_MAP_H
#define HONE_CUDA_MAP_H

struct hone_cuda_map { unsigned long long word[16]; } __attribute__((aligned(128)));

#endif
