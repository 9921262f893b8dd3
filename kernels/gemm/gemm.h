/* kernels/gemm/gemm.h -- C = act(alpha op(A) op(B) + beta C + bias), row-major.
 *
 * Layout nn: A is (m, k), B is (k, n).  nt: B is (n, k).  tn: A is (k, m).  C is (m, n), bias (n).
 * In a problem of halves A and B are such, bias f32, C such or, with attribute wide, f32; the sum is
 * f32.
 * A fully connected layer with weights (in, out) runs nn forward, nt for its input's gradient and
 * tn for its weights' gradient. */
#ifndef HONE_GEMM_H
#define HONE_GEMM_H

#include "kernels/activation/activation.h"
#include "kernels/kernel.h"

extern const struct hone_op hone_op_gemm;

/* ref.c: the op's meaning, see struct hone_op. */
double hone_gemm_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale);

enum { GEMM_NN, GEMM_NT, GEMM_TN };               /* problem.layout */
enum { GEMM_M, GEMM_N, GEMM_K };                  /* problem.dim */
enum { GEMM_ALPHA, GEMM_BETA };                   /* problem.value */
enum { GEMM_C, GEMM_A, GEMM_B, GEMM_BIAS };       /* arguments; BIAS only with attribute bias */

#endif
