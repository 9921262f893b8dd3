/* kernels/loss/rows.h -- rows of logits in vectors, for the kernels of softmax. */
#ifndef HONE_LOSS_ROWS_H
#define HONE_LOSS_ROWS_H

#include "kernels/activation/vector.h"

static inline vi lane_numbers(void)
{
    static const int32_t lanes[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    vi v;
    memcpy(&v, lanes, sizeof v);
    return v;
}

/* The first n lanes of v, the others `fill`. */
static inline vf first_lanes(vf v, int n, vf fill) { return vf_select(lane_numbers() < (vi){ 0 } + n, v, fill); }

static inline float row_max(const float *x, int n)
{
    vf least = vf_set(-__builtin_inff()), most = least;
    int j = 0;
    for (; j + VL <= n; j += VL) most = vf_max(vf_load(x + j), most);
    if (j < n) most = vf_max(first_lanes(vf_load_n(x + j, n - j), n - j, least), most);
    return vf_most(most);
}

/* Where the first of the largest is. */
static inline int row_first(const float *x, int n, float most)
{
    int j = 0;
    for (; j + VL <= n; j += VL) {
        unsigned bits = vf_bits(vf_load(x + j) == vf_set(most));
        if (bits) return j + __builtin_ctz(bits);
    }
    unsigned bits = j < n ? vf_bits(vf_load_n(x + j, n - j) == vf_set(most)) : 0;
    return bits ? j + __builtin_ctz(bits) : -1;   /* -1: only NaN */
}

#endif
