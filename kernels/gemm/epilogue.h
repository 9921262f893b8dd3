/* kernels/gemm/epilogue.h -- what follows the sum, on rows of C that are still in the cache. */
#ifndef HONE_GEMM_EPILOGUE_H
#define HONE_GEMM_EPILOGUE_H

#include "kernels/activation/vector.h"

/* c = act(c + bias) for rows x cols of C; `act` and whether there is a bias are constants. */
HONE_INLINE void hone_epilogue_of(enum hone_act act, real *c, int64_t c_row, int64_t rows,
                                  int64_t cols, const real *bias)
{
    for (int64_t i = 0; i < rows; i++, c += c_row) {
        int64_t j = 0;
        for (; j + VL <= cols; j += VL) {
            vf x = vf_load(c + j);
            if (bias) x += vf_load(bias + j);
            vf_store(c + j, vf_activate(act, x));
        }
        if (j == cols) continue;
        vf x = vf_load_n(c + j, (int)(cols - j));
        if (bias) x += vf_load_n(bias + j, (int)(cols - j));
        vf_store_n(c + j, vf_activate(act, x), (int)(cols - j));
    }
}

static inline void hone_epilogue(enum hone_act act, real *c, int64_t c_row, int64_t rows,
                                 int64_t cols, const real *bias)
{
    switch (act) {
#define X(name, from_y, slope)                                                                    \
    case HONE_ACT_##name:                                                                         \
        if (bias) hone_epilogue_of(HONE_ACT_##name, c, c_row, rows, cols, bias);                  \
        else hone_epilogue_of(HONE_ACT_##name, c, c_row, rows, cols, NULL);                       \
        return;
    HONE_ACT_MAP(X)
#undef X
    case HONE_ACT_none:
        if (bias) hone_epilogue_of(HONE_ACT_none, c, c_row, rows, cols, bias);
        return;
    }
}

/* Rows of C, that lie one after another: to each number the `count` sums are added that others have
 * of it, each `apart` numbers behind the one before; then c = act(c + bias). */
static inline void hone_add_shares(real *c, int64_t rows, int64_t cols, const real *sums, int count,
                                   int64_t apart, const real *bias, enum hone_act act)
{
    const int64_t n = rows * cols;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf x = vf_load(c + i);
        for (int q = 0; q < count; q++) x += vf_load(sums + q * apart + i);
        vf_store(c + i, x);
    }
    if (i < n) {
        vf x = vf_load_n(c + i, (int)(n - i));
        for (int q = 0; q < count; q++) x += vf_load_n(sums + q * apart + i, (int)(n - i));
        vf_store_n(c + i, x, (int)(n - i));
    }
    hone_epilogue(act, c, cols, rows, cols, bias);
}

/* c *= beta, before sums are added to it. */
static inline void hone_scale_rows(real beta, real *c, int64_t c_row, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) c[i * c_row + j] *= beta;
}

#endif
