/* The meaning of batch normalisation.  Each number of y needs its channel's mean and variance:
 * these are what the meanings share, one after another for all channels. */
#include "kernels/norm/norm.h"

#include <string.h>

/* The rest of y's meaning: what is added, and the cut, which makes no error larger. */
static double ended(const struct hone_problem *p, const double *addend, int64_t i, double y,
                    double *scale)
{
    if (hone_problem_has(p, "add")) {
        y += addend[i];
        *scale += fabs(addend[i]);
    }
    return hone_act_value(hone_act_of(p), y);
}

/* ---- bnorm_fwd ---- */

/* Of one channel: mean, mean size, variance (divided by m). */
enum { MEAN, SIZE, VAR, NSTATS };

int64_t hone_bnorm_fwd_nshared(const struct hone_problem *p)
{
    return (int64_t)NSTATS * p->dim[NORM_N];
}

void hone_bnorm_fwd_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    const int64_t m = p->dim[NORM_M], n = p->dim[NORM_N];
    const double *x = in[NORM_X];
    double *mean = shared + MEAN * n, *size = shared + SIZE * n, *var = shared + VAR * n;
    memset(shared, 0, (size_t)(NSTATS * n) * sizeof *shared);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            mean[j] += x[i * n + j] / (double)m, size[j] += fabs(x[i * n + j]) / (double)m;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double d = x[i * n + j] - mean[j];
            var[j] += d * d / (double)m;
        }
}

/* Of a mean that is wrong by growth * eps of the numbers' size, the variance gets the square, which
 * counts where the variance itself is small. */
static double var_scale(const struct hone_problem *p, double var, double size)
{
    return var + hone_dtype_eps(p->dtype) * p->op->growth(p) * size * size;
}

double hone_bnorm_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                              int64_t i, double *scale)
{
    const int64_t m = p->dim[NORM_M], n = p->dim[NORM_N], j = i % n;
    const double mean = in[0][MEAN * n + j], size = in[0][SIZE * n + j], var = in[0][VAR * n + j];
    const double momentum = p->value[NORM_MOMENTUM], eps = p->value[NORM_EPS];
    const double rstd = 1 / sqrt(var + eps), wrong = var_scale(p, var, size);
    double old, now;
    if (hone_problem_has(p, "off") && out == norm_off(p)) {
        *scale = size;
        return hone_dtype_wide(p->dtype) == HONE_F64 ? 0 : mean - (double)(float)mean;
    }
    switch (out) {
    case NORM_MEAN:
        *scale = size;
        return mean;
    case NORM_RSTD:
        *scale = rstd * (1 + wrong * rstd * rstd);
        return rstd;
    case NORM_RMEAN:
        old = (1 - momentum) * in[NORM_RMEAN][j];
        *scale = fabs(old) + momentum * size;
        return old + momentum * mean;
    case NORM_RVAR:
        old = (1 - momentum) * in[NORM_RVAR][j];
        now = momentum * (double)m / (m > 1 ? (double)m - 1 : 1);
        *scale = fabs(old) + now * wrong;
        return old + now * var;
    default:
        now = in[NORM_GAMMA][j] * rstd;
        old = in[NORM_X][i] - mean;
        *scale =
            fabs(now) * (size + fabs(old) * (1 + wrong * rstd * rstd)) + fabs(in[NORM_BETA][j]);
        return ended(p, in[NORM_ADDEND], i, now * old + in[NORM_BETA][j], scale);
    }
}

/* ---- bnorm_infer ---- */

double hone_bnorm_infer_meaning(const struct hone_problem *p, const double *const in[], int out,
                                int64_t i, double *scale)
{
    const int64_t j = i % p->dim[NORM_N];
    const int again = hone_problem_has(p, "again");
    const double x = in[INFER_X][i], beta = in[INFER_BETA][j], var = in[INFER_RVAR][j],
                 mean = in[INFER_RMEAN][j], off = again ? in[infer_off(p)][j] : 0,
                 slope = in[INFER_GAMMA][j] * (again ? var : 1 / sqrt(var + p->value[INFER_EPS]));
    (void)out;
    /* Each of the terms is rounded, also where one cancels another. */
    *scale = fabs(slope) * (fabs(x) + fabs(mean) + fabs(off)) + fabs(beta);
    return ended(p, in[INFER_ADDEND], i, slope * (x - mean - off) + beta, scale);
}

/* ---- bnorm_bwd ---- */

/* Of one channel: the two sums, and the sums of their terms' sizes. */
enum { DGAMMA, DBETA, DGAMMA_SIZE, DBETA_SIZE, NSUMS };

/* The gradient that passes the cut at number i of channel j.  Where y is so near to the cut that
 * its rounding decides, *size is large enough for either answer. */
static double passed(const struct hone_problem *p, const double *const in[], int64_t i, int64_t j,
                     double *size)
{
    const double dy = in[NORM_DY][i], x = in[NORM_BWD_X][i], mean = in[NORM_BWD_MEAN][j];
    *size = fabs(dy);
    if (hone_act_of(p) == HONE_ACT_none) return dy;
    const double slope = in[NORM_BWD_GAMMA][j] * in[NORM_BWD_RSTD][j], beta = in[NORM_BWD_BETA][j];
    const double y = slope * (x - mean) + beta, eps = hone_dtype_eps(p->dtype);
    const double near = 8 * eps * (fabs(slope) * (fabs(x) + fabs(mean)) + fabs(beta));
    if (fabs(y - norm_lo(p)) <= near || fabs(y - norm_hi(p)) <= near) *size = fabs(dy) / eps;
    return y > norm_lo(p) && y < norm_hi(p) ? dy : 0;
}

int64_t hone_bnorm_bwd_nshared(const struct hone_problem *p)
{
    return (int64_t)NSUMS * p->dim[NORM_N];
}

void hone_bnorm_bwd_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    const int64_t m = p->dim[NORM_M], n = p->dim[NORM_N];
    const double *mean = in[NORM_BWD_MEAN], *rstd = in[NORM_BWD_RSTD];
    memset(shared, 0, (size_t)(NSUMS * n) * sizeof *shared);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double size, dy = passed(p, in, i * n + j, j, &size), x = in[NORM_BWD_X][i * n + j];
            shared[DGAMMA * n + j] += dy * (x - mean[j]) * rstd[j];
            shared[DBETA * n + j] += dy;
            shared[DGAMMA_SIZE * n + j] += size * (fabs(x) + fabs(mean[j])) * rstd[j];
            shared[DBETA_SIZE * n + j] += size;
        }
}

double hone_bnorm_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                              int64_t i, double *scale)
{
    const int64_t n = p->dim[NORM_N], j = i % n;
    const double m = p->dim[NORM_M], *sum = in[0] + j;
    if (out == NORM_DGAMMA || out == NORM_DBETA) {
        *scale = sum[(out == NORM_DGAMMA ? DGAMMA_SIZE : DBETA_SIZE) * n];
        return sum[(out == NORM_DGAMMA ? DGAMMA : DBETA) * n];
    }
    const double x = in[NORM_BWD_X][i], mean = in[NORM_BWD_MEAN][j], rstd = in[NORM_BWD_RSTD][j];
    double size, slope = in[NORM_BWD_GAMMA][j] * rstd, dy = passed(p, in, i, j, &size);
    *scale = fabs(slope) * (size + sum[DBETA_SIZE * n] / m +
                            (fabs(x) + fabs(mean)) * rstd * sum[DGAMMA_SIZE * n] / m);
    return slope * (dy - sum[DBETA * n] / m - (x - mean) * rstd * sum[DGAMMA * n] / m);
}
