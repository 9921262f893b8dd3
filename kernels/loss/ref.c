/* The meaning of the losses, one element at a time; every loss kernel is tested against it. */
#include "kernels/loss/loss.h"

#include <math.h>

/* What softmax needs of a row: its largest element, the sum of exp(x - max), and the mean of
 * |x - max| under softmax, which is what a rounding of x - max does to that sum. */
struct row { int64_t first_max; double max, sum, spread; };

static struct row row_of(const double *x, int64_t n)
{
    struct row r = { 0, x[0], 0, 0 };
    for (int64_t j = 1; j < n; j++)
        if (x[j] > r.max) { r.max = x[j]; r.first_max = j; }
    for (int64_t j = 0; j < n; j++) {
        r.sum += exp(x[j] - r.max);
        r.spread += exp(x[j] - r.max) * (r.max - x[j]);
    }
    r.spread /= r.sum;
    return r;
}

double hone_softmax_ce_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
{
    const int64_t m = p->dim[LOSS_M], n = p->dim[LOSS_N], at = out == CE_DX ? i / n : i;
    const double *x = in[CE_X] + at * n;   /* (n) */
    int64_t label = (int64_t)in[CE_LABEL][at];
    struct row r = row_of(x, n);
    *scale = 0;
    if (out == CE_HIT) return r.first_max == label;
    if (out == CE_LOSS) {
        double loss = log(r.sum) - (x[label] - r.max);
        *scale = 1 + r.spread + fabs(loss) + fabs(r.max) + fabs(x[label]);
        return loss;
    }
    int64_t j = i - at * n;
    double soft = exp(x[j] - r.max) / r.sum, dx = (soft - (j == label)) / (double)m;
    *scale = soft * (1 + r.max - x[j] + r.spread) / (double)m + fabs(dx);
    return dx;
}

double hone_mse_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
{
    const double m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    const double *x = in[ERR_X], *t = in[ERR_T];
    double y = 0;
    if (out == ERR_DX) {
        y = 2 * (x[i] - t[i]) / (m * n);
    } else {
        for (int64_t j = i * p->dim[LOSS_N]; j < (i + 1) * p->dim[LOSS_N]; j++) y += (x[j] - t[j]) * (x[j] - t[j]);
        y /= n;
    }
    *scale = fabs(y);
    return y;
}

double hone_mae_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
{
    const double m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    const double *x = in[ERR_X], *t = in[ERR_T];
    double y = 0;
    if (out == ERR_DX) {
        y = ((x[i] > t[i]) - (x[i] < t[i])) / (m * n);
    } else {
        for (int64_t j = i * p->dim[LOSS_N]; j < (i + 1) * p->dim[LOSS_N]; j++) y += fabs(x[j] - t[j]);
        y /= n;
    }
    *scale = fabs(y);
    return y;
}
