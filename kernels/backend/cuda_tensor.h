/* kernels/backend/cuda_tensor.h -- what the host sides of kernels in tensor cores share: when f32 may
 * be multiplied there, where it is rounded to tf32. */
#ifndef HONE_CUDA_TENSOR_H
#define HONE_CUDA_TENSOR_H

#include "kernels/kernel.h"

/* f32 means f32, in our kernels as in libraries': who wants tf32 says so in the problem. */
static inline const char *hone_cuda_refuse_tf32(const struct hone_problem *p)
{
    return p->dtype == HONE_F32 && !hone_problem_has(p, "tf32")
               ? "f32 would be rounded to tf32, which the attribute tf32 allows"
               : NULL;
}

/* The op's own growth knows of tf32; but tensor cores cut sums off where others round them. */
static inline double hone_cuda_tensor_growth(const struct hone_problem *p)
{
    return 2 * p->op->growth(p);
}

#endif
