/* kernels/loss/rows.h -- rows of logits in vectors, for the kernels of softmax. */
#ifndef HONE_LOSS_ROWS_H
#define HONE_LOSS_ROWS_H

#include "kernels/activation/vector.h"

/* The first n lanes of v, the others `fill`. */
static inline vf first_lanes(vf v, int n, vf fill)
{
#if defined __AVX512F__
    return (vf)HONE_MM(mask_blend)((vk)((1u << n) - 1), (vm)fill, (vm)v);
#else
    return vf_select(vi_lanes() < (vi){ 0 } + n, v, fill);
#endif
}

static inline real row_max(const real *x, int n)
{
    vf least = vf_set(-__builtin_inff()), most = least;
    int j = 0;
    for (; j + VL <= n; j += VL) most = vf_max(vf_load(x + j), most);
    if (j < n) most = vf_max(first_lanes(vf_load_n(x + j, n - j), n - j, least), most);
    return vf_most(most);
}

/* Where the first of the n that is `most` is. */
static inline int row_first(const real *x, int n, real most)
{
    int j = 0;
    for (; j + VL <= n; j += VL) {
        unsigned bits = vf_bits(vf_load(x + j) == vf_set(most));
        if (bits) return j + __builtin_ctz(bits);
    }
    unsigned bits = j < n ? vf_bits(vf_load_n(x + j, n - j) == vf_set(most)) : 0;
    return bits ? j + __builtin_ctz(bits) : -1;   /* -1: none, as among NaN */
}

#endif
