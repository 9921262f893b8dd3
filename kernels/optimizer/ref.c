/* The meaning of the optimizers' steps, one element at a time; every kernel is tested against it. */
#include "kernels/optimizer/optimizer.h"

#include <math.h>

double hone_sgd_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
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

double hone_adam_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i, double *scale)
{
    const double *hyper = in[ADAM_HYPER], b1 = hyper[HYPER_BETA1], b2 = hyper[HYPER_BETA2];
    const double wd = p->attrs >> ADAM_WD & 1 ? hyper[HYPER_WD] : 0, param = in[ADAM_P][i];
    const double lr = hyper[HYPER_LR] * hyper[HYPER_C1], c2 = hyper[HYPER_C2];
    double g = in[ADAM_G][i] + wd * param, g_size = fabs(in[ADAM_G][i]) + fabs(wd * param);
    double m = b1 * in[ADAM_M][i] + (1 - b1) * g, m_size = fabs(b1 * in[ADAM_M][i]) + (1 - b1) * g_size;
    double v = b2 * in[ADAM_V][i] + (1 - b2) * g * g, v_size = b2 * in[ADAM_V][i] + (1 - b2) * g_size * g_size;
    if (out == ADAM_M) { *scale = m_size; return m; }
    if (out == ADAM_V) { *scale = v_size; return v; }
    /* Where g cancels, sqrt(v) is off by at most the rounding of g. */
    double below = sqrt(v) * c2 + hyper[HYPER_EPS];
    *scale = fabs(param) + lr * m_size / below * (1 + c2 * g_size / below);
    return param - lr * m / below;
}
