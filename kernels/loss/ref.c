/* The meaning of the losses, one element at a time; every loss kernel is tested against it. */
#include "kernels/loss/loss.h"

#include <math.h>

/* What softmax(x / t) needs of a row, for all numbers of that row: its largest element, the sum of
 * exp((x - max) / t), and the mean of |x - max| / t under softmax, which is what a rounding of the
 * argument does to that sum. */
struct row { double max, sum, spread; };

static int64_t first_max(const double *x, int64_t n)
{
    int64_t at = 0;
    for (int64_t j = 1; j < n; j++)
        if (x[j] > x[at]) at = j;
    return at;
}

static struct row row_of(const double *x, int64_t n, double t)
{
    struct row r = { x[first_max(x, n)], 0, 0 };
    for (int64_t j = 0; j < n; j++) {
        double e = exp((x[j] - r.max) / t);
        r.sum += e;
        r.spread += e * (r.max - x[j]) / t;
    }
    r.spread /= r.sum;
    return r;
}

/* ---- softmax with cross-entropy; shared: (m) struct row ---- */

int64_t hone_softmax_ce_nshared(const struct hone_problem *p)
{
    return (int64_t)(sizeof(struct row) / sizeof(double)) * p->dim[LOSS_M];
}

void hone_softmax_ce_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    struct row *rows = (struct row *)shared;
    const int64_t n = p->dim[LOSS_N];
    for (int64_t i = 0; i < p->dim[LOSS_M]; i++) rows[i] = row_of(in[CE_X] + i * n, n, 1);
}

double hone_softmax_ce_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale)
{
    const int64_t m = p->dim[LOSS_M], n = p->dim[LOSS_N], at = out == CE_DX ? i / n : i;
    const double *x = in[CE_X] + at * n;   /* (n) */
    const struct row r = ((const struct row *)in[CE_DX])[at];
    int64_t label = (int64_t)in[CE_LABEL][at];
    *scale = 0;
    if (out == CE_HIT) return first_max(x, n) == label;
    const double smooth = p->value[CE_SMOOTH];
    if (out == CE_LOSS) {
        double below = 0;   /* mean of max - x */
        for (int64_t j = 0; smooth != 0 && j < n; j++) below += (r.max - x[j]) / (double)n;
        double loss = log(r.sum) - (1 - smooth) * (x[label] - r.max) + smooth * below;
        *scale = 1 + r.spread + fabs(loss) + fabs(r.max) + fabs(x[label]) + smooth * below;
        return loss;
    }
    int64_t j = i - at * n;
    double soft = exp(x[j] - r.max) / r.sum,
           target = (1 - smooth) * (double)(j == label) + smooth / (double)n;
    double dx = (soft - target) / (double)m;
    *scale = soft * (1 + r.max - x[j] + r.spread) / (double)m +
             (smooth != 0 ? target / (double)m : 0) + fabs(dx);
    return dx;
}

/* ---- distillation; shared: (m) struct pair ---- */

/* Of the student's row at temperature 1 and at t, and of the teacher's at t. */
struct pair { struct row hard, s, q; };

int64_t hone_distill_nshared(const struct hone_problem *p)
{
    return (int64_t)(sizeof(struct pair) / sizeof(double)) * p->dim[LOSS_M];
}

void hone_distill_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    struct pair *pairs = (struct pair *)shared;
    const int64_t n = p->dim[LOSS_N];
    const double t = p->value[DISTILL_T];
    for (int64_t i = 0; i < p->dim[LOSS_M]; i++) {
        const double *x = in[DISTILL_X] + i * n, *z = in[DISTILL_Z] + i * n;   /* (n) */
        pairs[i] = (struct pair){ row_of(x, n, 1), row_of(x, n, t), row_of(z, n, t) };
    }
}

/* Element x of softmax(x / t). */
static double soft_at(const struct row *r, double x, double t)
{
    return exp((x - r->max) / t) / r->sum;
}

/* What the errors of soft_at() are relative to. */
static double soft_size(const struct row *r, double x, double t)
{
    return soft_at(r, x, t) * (1 + (r->max - x) / t + r->spread);
}

static double distill_loss(const struct pair *r, const double *x, const double *z, int64_t n,
                           int64_t label, double t, double mix, double *scale)
{
    const struct row hard = r->hard, s = r->s, q = r->q;
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

double hone_distill_meaning(const struct hone_problem *p, const double *const in[], int out,
                            int64_t i, double *scale)
{
    const int64_t m = p->dim[LOSS_M], n = p->dim[LOSS_N], at = out == DISTILL_DX ? i / n : i,
                  j = i - at * n;
    const double *x = in[DISTILL_X] + at * n, *z = in[DISTILL_Z] + at * n;   /* (n) */
    const double t = p->value[DISTILL_T], mix = p->value[DISTILL_MIX];
    int64_t label = (int64_t)in[DISTILL_LABEL][at];
    *scale = 0;
    if (out == DISTILL_HIT) return first_max(x, n) == label;
    const struct pair *r = (const struct pair *)in[DISTILL_DX] + at;
    if (out == DISTILL_LOSS) return distill_loss(r, x, z, n, label, t, mix, scale);
    double soft = mix * t * (soft_at(&r->s, x[j], t) - soft_at(&r->q, z[j], t));
    double nll = (1 - mix) * (soft_at(&r->hard, x[j], 1) - (j == label));
    *scale = (mix * t * (soft_size(&r->s, x[j], t) + soft_size(&r->q, z[j], t)) +
              (1 - mix) * (soft_size(&r->hard, x[j], 1) + (j == label))) / (double)m;
    return (soft + nll) / (double)m;
}

/* ---- errors of numbers ---- */

double hone_mse_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale)
{
    const double m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    const double *x = in[ERR_X], *t = in[ERR_T];
    double y = 0;
    if (out == ERR_DX) {
        y = 2 * (x[i] - t[i]) / (m * n);
    } else {
        for (int64_t j = i * p->dim[LOSS_N]; j < (i + 1) * p->dim[LOSS_N]; j++)
            y += (x[j] - t[j]) * (x[j] - t[j]);
        y /= n;
    }
    *scale = fabs(y);
    return y;
}

double hone_mae_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale)
{
    const double m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    const double *x = in[ERR_X], *t = in[ERR_T];
    double y = 0;
    if (out == ERR_DX) {
        y = ((x[i] > t[i]) - (x[i] < t[i])) / (m * n);
    } else {
        for (int64_t j = i * p->dim[LOSS_N]; j < (i + 1) * p->dim[LOSS_N]; j++)
            y += fabs(x[j] - t[j]);
        y /= n;
    }
    *scale = fabs(y);
    return y;
}

double hone_huber_meaning(const struct hone_problem *p, const double *const in[], int out,
                          int64_t i, double *scale)
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
