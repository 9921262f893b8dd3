/* The meaning of gemm, one element at a time; every gemm kernel is tested against it. */
#include "kernels/gemm/gemm.h"

#include <math.h>

double hone_gemm_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale)
{
    const int32_t *d = p->dim;
    const int64_t m = d[GEMM_M], n = d[GEMM_N], k = d[GEMM_K], row = i / n, col = i % n;
    const double *a = in[GEMM_A], *b = in[GEMM_B];   /* op(A) (m, k), op(B) (k, n) */
    double sum = 0, size = 0;
    (void)out;

    for (int64_t l = 0; l < k; l++) {
        double ab = (p->layout == GEMM_TN ? a[l * m + row] : a[row * k + l]) *
                    (p->layout == GEMM_NT ? b[col * k + l] : b[l * n + col]);
        sum += ab;
        size += fabs(ab);
    }
    sum *= p->value[GEMM_ALPHA];
    size *= fabs(p->value[GEMM_ALPHA]);
    if (p->value[GEMM_BETA] != 0) {
        double c = p->value[GEMM_BETA] * in[GEMM_C][i];
        sum += c;
        size += fabs(c);
    }
    if (hone_problem_has(p, "bias")) {
        sum += in[GEMM_BIAS][col];
        size += fabs(in[GEMM_BIAS][col]);
    }
    enum hone_act act = hone_act_of(p);
    double y = hone_act_value(act, sum);
    *scale = size * hone_act_slope(act) + fabs(y);
    return y;
}
