/* kernels/gemm/dots.h -- as many dot products at once as a vector has lanes. */
#ifndef HONE_GEMM_DOTS_H
#define HONE_GEMM_DOTS_H

#include "kernels/gemm/micro.h"
#include "kernels/gemm/pack.h"

/* VL rows of A times x, k numbers each; lane i is row i. */
static inline vf hone_dots(const real *a, int64_t a_row, const real *x, int k)
{
    const char *p = (const char *)a;
    int64_t odd[8];
    vf s[VL];
    hone_tile_odds(VL, a_row, odd);
    HONE_UNROLLED for (int i = 0; i < VL; i++) s[i] = (vf){ 0 };
    for (; k >= VL; k -= VL, p += VL * sizeof *a, x += VL) {
        vf y = vf_load(x);
        __asm__("" : "+r"(p));
        HONE_UNROLLED for (int i = 0; i < VL; i++)
            s[i] += vf_load((const real *)hone_tile_at(p, odd, i)) * y;
    }
    if (k) {
        vf y = vf_load_n(x, k);
        HONE_UNROLLED for (int i = 0; i < VL; i++)
            s[i] += vf_load_n((const real *)hone_tile_at(p, odd, i), k) * y;
    }
    return hone_sum_lanes(s);
}

#endif
