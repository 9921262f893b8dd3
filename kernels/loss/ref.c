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
    const double smooth = p->value[CE_SMOOTH];
    if (out == CE_LOSS) {
        double below = 0;   /* mean of max - x */
        for (int64_t j = 0; smooth != 0 && j < n; j++) below += (r.max - x[j]) / (double)n;
        double loss = log(r.sum) - (1 - smooth) * (x[label] - r.max) + smooth * below;
        *scale = 1 + r.spread + fabs(loss) + fabs(r.max) + fabs(x[label]) + smooth * below;
        return loss;
    }
    int64_t j = i - at * n;
    double soft = exp(x[j] - r.max) / r.sum, target = (1 - smooth) * (double)(j == label) + smooth / (double)n;
    double dx = (soft - target) / (double)m;
    *scale = soft * (1 + r.max - x[j] + r.spread) / (double)m + (smooth != 0 ? target / (double)m : 0) + fabs(dx);
    return dx;
}

/* softmax(x / t), element j of it, and row_of(x / t) with max still that of x. */
static struct row row_at(const double *x, int64_t n, double t)
{
    struct row r = row_of(x, n);
    r.sum = r.spread = 0;
    for (int64_t j = 0; j < n; j++) {
        double e = exp((x[j] - r.max) / t);
        r.sum += e;
        r.spread += e * (r.max - x[j]) / t;
    }
    r.spread /= r.sum;
    return r;
}

static double soft_at(const struct row *r, double x, double t) { return exp((x - r->max) / t) / r->sum; }

/* What the errors of soft_at() are relative to. */
static double soft_size(const struct row *r, double x, double t)
{
    return soft_at(r, x, t) * (1 + (r->max - x) / t + r->spread);
}

static double distill_loss(const double *x, const double *z, int64_t n, int64_t label, double t, double mix, double *scale)
{
    struct row hard = row_at(x, n, 1), s = row_at(x, n, t), q = row_at(z, n, t);
    double soft = log(s.sum), soft_size = 1 + s.spread + soft;
    for (int64_t j = 0; j < n; j++) {
        double below = (s.max - x[j]) / t, share = soft_at(&q, z[j], t);
        soft += share * below;
        soft_size += share * (1 + (q.max - z[j]) / t + q.spread) * below;
    }
    double nll = log(hard.sum) + hard.max - x[label];
    *scale = mix * t * t * soft_size + (1 - mix) * (1 + hard.spread + nll);
    return mix * t * t * soft + (1 - mix) * nll;
}

double hone_distill_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
{
    const int64_t m = p->dim[LOSS_M], n = p->dim[LOSS_N], at = out == DISTILL_DX ? i / n : i, j = i - at * n;
    const double *x = in[DISTILL_X] + at * n, *z = in[DISTILL_Z] + at * n;   /* (n) */
    const double t = p->value[DISTILL_T], mix = p->value[DISTILL_MIX];
    int64_t label = (int64_t)in[DISTILL_LABEL][at];
    *scale = 0;
    if (out == DISTILL_HIT) return row_of(x, n).first_max == label;
    if (out == DISTILL_LOSS) return distill_loss(x, z, n, label, t, mix, scale);
    struct row hard = row_at(x, n, 1), s = row_at(x, n, t), q = row_at(z, n, t);
    double soft = mix * t * (soft_at(&s, x[j], t) - soft_at(&q, z[j], t));
    double nll = (1 - mix) * (soft_at(&hard, x[j], 1) - (j == label));
    *scale = (mix * t * (soft_size(&s, x[j], t) + soft_size(&q, z[j], t)) +
              (1 - mix) * (soft_size(&hard, x[j], 1) + (j == label))) / (double)m;
    return (soft + nll) / (double)m;
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

double hone_huber_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
{
    const double m = p->dim[LOSS_M], n = p->dim[LOSS_N], delta = p->value[HUBER_DELTA];
    const double *x = in[ERR_X], *t = in[ERR_T];
    double y = 0;
    if (out == ERR_DX) {
        y = fmax(-delta, fmin(delta, x[i] - t[i])) / (m * n);
    } else {
        for (int64_t j = i * p->dim[LOSS_N]; j < (i + 1) * p->dim[LOSS_N]; j++) {
            double d = fabs(x[j] - t[j]);
            y += d <= delta ? d * d / 2 : delta * (d - delta / 2);
        }
        y /= n;
    }
    *scale = fabs(y);
    return y;
}
