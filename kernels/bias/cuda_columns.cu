/* Sums of columns: a block has 32 of them, which its 8 rows of threads walk down; where columns are
 * few, the rows are shared by several blocks. */
#include "kernels/backend/cuda.cuh"
#include "kernels/bias/cuda_columns.h"

KERNEL(bias_columns, struct bias_columns, 256)
{
    SIZES(struct bias_columns_sizes, s);
    SHARED(part);          /* (8, 32) */
    const int x = threadIdx.x % 32, y = threadIdx.x / 32, col = blockIdx.x * 32 + x;
    const int from = blockIdx.y * s.part, to = from + s.part < s.m ? from + s.part : s.m;
    float sum = 0.0f;
    if (col < s.n)
        for (int row = from + y; row < to; row += 8)
            sum += stored_load(given.dy, (int64)row * s.n + col, s.half);
    part[y * 32 + x] = sum;
    __syncthreads();
    if (y == 0 && col < s.n) {
        for (int i = 1; i < 8; i++) sum += part[i * 32 + x];
        if (s.parts == 1) given.db[col] = sum;
        else given.partial[(int64)blockIdx.y * s.n + col] = sum;
    }
}

KERNEL(bias_columns_join, struct bias_columns, 256)
{
    SIZES(struct bias_columns_sizes, s);
    for (int64 col = FIRST; col < s.n; col += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[(int64)part * s.n + col];
        given.db[col] = sum;
    }
}
