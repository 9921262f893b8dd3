/* kernels/cast/cast.h -- between f32 and bf16 or f16:
 *
 *     narrow   y half = x f32, rounded to nearest, ties to even; NaN stays NaN
 *     widen    y f32 = x half
 *
 * A net of halves narrows its f32 weights and inputs before it computes, and widens what a loss
 * reads.  narrow reads m rows (1) of n numbers, which begin ld (n) apart, and writes them one after
 * the other: some columns of a matrix. */
#ifndef HONE_CAST_H
#define HONE_CAST_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_narrow, hone_op_widen;

enum { CAST_N, CAST_M, CAST_LD };   /* problem.dim; the last two are narrow's alone */
enum { CAST_Y, CAST_X };            /* arguments */

#endif
