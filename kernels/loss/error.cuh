/* kernels/loss/error.cuh -- squared, absolute and Huber's error of one number on a GPU. */
#ifndef HONE_LOSS_ERROR_CUH
#define HONE_LOSS_ERROR_CUH

#include "kernels/backend/cuda.cuh"
#include "kernels/loss/cuda_rows.h"

/* What d, an output less its target, costs; *slope: what the cost rises with d. */
DEVICE float error_of(const int kind, float d, float delta, float *slope)
{
    const float size = fabsf(d), sign = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : 0.0f;
    if (kind == LOSS_ROWS_MSE) {
        *slope = 2.0f * d;
        return d * d;
    }
    if (kind == LOSS_ROWS_MAE) {
        *slope = sign;
        return size;
    }
    *slope = size <= delta ? d : sign * delta;
    return size <= delta ? 0.5f * d * d : delta * (size - 0.5f * delta);
}

#endif
