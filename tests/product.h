/* tests/product.h -- a right product of matrices (gemm:f32:nn), for kernels that then do harm. */
#ifndef HONE_TESTS_PRODUCT_H
#define HONE_TESTS_PRODUCT_H

#include "kernels/kernel.h"

static void product(const struct hone_plan *plan, void *const mem[])
{
    const int m = plan->problem.dim[0], n = plan->problem.dim[1], k = plan->problem.dim[2];
    float *c = mem[0];
    const float *a = mem[1], *b = mem[2];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
            c[i * n + j] = sum;
        }
}

#endif
