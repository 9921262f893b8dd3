/* The meaning of the optimizers' steps, one element at a time; every kernel is tested against
 * it. */
#include "kernels/optimizer/optimizer.h"

#include <math.h>

double hone_sgd_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale)
{
    const double *hyper = in[sgd_hyper(p)], lr = hyper[HYPER_LR], momentum = hyper[HYPER_MOMENTUM];
    const double wd = p->attrs >> SGD_WD & 1 ? hyper[HYPER_WD] : 0, param = in[SGD_P][i];
    double g = in[sgd_g(p)][i] + wd * param, g_size = fabs(in[sgd_g(p)][i]) + fabs(wd * param);
    double move = g, move_size = g_size;
    if (p->attrs >> SGD_MOMENTUM & 1) {
        move = momentum * in[SGD_V][i] + g;
        move_size = fabs(momentum * in[SGD_V][i]) + g_size;
        if (out == SGD_V) { *scale = move_size; return move; }
    }
    if (p->attrs >> SGD_NESTEROV & 1) {
        move = g + momentum * move;
        move_size = g_size + momentum * move_size;
    }
    *scale = fabs(param) + lr * move_size;
    return param - lr * move;
}

double hone_adam_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale)
{
    const double *hyper = in[ADAM_HYPER], b1 = hyper[HYPER_BETA1], b2 = hyper[HYPER_BETA2];
    const double decay = p->attrs >> ADAM_WD & 1 ? hyper[HYPER_WD] : 0, param = in[ADAM_P][i];
    const double lr = hyper[HYPER_LR] * hyper[HYPER_C1], c2 = hyper[HYPER_C2];
    const int decoupled = p->attrs >> ADAM_DECOUPLED & 1;
    const double wd = decoupled ? 0 : decay,
                 left = decoupled ? param - hyper[HYPER_LR] * decay * param : param;
    double g = in[ADAM_G][i] + wd * param, g_size = fabs(in[ADAM_G][i]) + fabs(wd * param);
    double m = b1 * in[ADAM_M][i] + (1 - b1) * g,
           m_size = fabs(b1 * in[ADAM_M][i]) + (1 - b1) * g_size;
    double v = b2 * in[ADAM_V][i] + (1 - b2) * g * g,
           v_size = b2 * in[ADAM_V][i] + (1 - b2) * g_size * g_size;
    if (out == ADAM_M) { *scale = m_size; return m; }
    if (out == ADAM_V) { *scale = v_size; return v; }
    /* Where g cancels, sqrt(v) is off by at most the rounding of g. */
    double below = sqrt(v) * c2 + hyper[HYPER_EPS];
    *scale = fabs(param) + lr * m_size / below * (1 + c2 * g_size / below);
    return left - lr * m / below;
}

double hone_rmsprop_meaning(const struct hone_problem *p, const double *const in[], int out,
                            int64_t i, double *scale)
{
    const double *hyper = in[rmsprop_hyper(p)], lr = hyper[HYPER_LR], rho = hyper[HYPER_RHO];
    const double wd = p->attrs >> RMSPROP_WD & 1 ? hyper[HYPER_WD] : 0, param = in[RMSPROP_P][i];
    double g = in[rmsprop_g(p)][i] + wd * param,
           g_size = fabs(in[rmsprop_g(p)][i]) + fabs(wd * param);
    double a = rho * in[RMSPROP_A][i] + (1 - rho) * g * g;
    if (out == RMSPROP_A) {
        *scale = rho * in[RMSPROP_A][i] + (1 - rho) * g_size * g_size;
        return a;
    }
    double below = sqrt(a) + hyper[HYPER_EPS], move = g / below,
           size = g_size / below * (1 + g_size / below);
    if (p->attrs >> RMSPROP_MOMENTUM & 1) {
        double before = hyper[HYPER_MOMENTUM] * in[RMSPROP_V][i];
        move += before;
        size += fabs(before);
        if (out == RMSPROP_V) { *scale = size; return move; }
    }
    *scale = fabs(param) + lr * size;
    return param - lr * move;
}

double hone_adadelta_meaning(const struct hone_problem *p, const double *const in[], int out,
                             int64_t i, double *scale)
{
    const double *hyper = in[ADADELTA_HYPER], rho = hyper[HYPER_RHO], eps = hyper[HYPER_EPS],
                 d = in[ADADELTA_D][i];
    const double wd = p->attrs >> ADADELTA_WD & 1 ? hyper[HYPER_WD] : 0, param = in[ADADELTA_P][i];
    double g = in[ADADELTA_G][i] + wd * param, g_size = fabs(in[ADADELTA_G][i]) + fabs(wd * param);
    double a = rho * in[ADADELTA_A][i] + (1 - rho) * g * g;
    if (out == ADADELTA_A) {
        *scale = rho * in[ADADELTA_A][i] + (1 - rho) * g_size * g_size;
        return a;
    }
    double below = sqrt(a + eps), factor = sqrt(d + eps) / below, move = factor * g;
    double size = factor * g_size * (1 + g_size / below);
    if (out == ADADELTA_D) {
        *scale = rho * d + (1 - rho) * size * size;
        return rho * d + (1 - rho) * move * move;
    }
    *scale = fabs(param) + hyper[HYPER_LR] * size;
    return param - hyper[HYPER_LR] * move;
}

/* The norm. */
int64_t hone_clip_nshared(const struct hone_problem *p) { (void)p; return 1; }

void hone_clip_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    double sum = 0;
    for (int64_t j = 0; j < p->dim[OPTIM_N]; j++) sum += in[CLIP_G][j] * in[CLIP_G][j];
    *shared = sqrt(sum);
}

double hone_clip_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                         double *scale)
{
    const double norm = in[CLIP_NORM][0],
                 factor = in[CLIP_HYPER][HYPER_MAX_NORM] / (norm + CLIP_EPSILON);
    double y = out == CLIP_NORM ? norm : in[CLIP_G][i] * fmin(1, factor);
    (void)p;
    *scale = fabs(y);
    return y;
}
