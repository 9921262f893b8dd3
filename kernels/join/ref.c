/* The meaning of add, shortcut and concat. */
#include "kernels/join/join.h"

#include <math.h>

double hone_add_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale)
{
    double y = in[ADD_A][i] + in[ADD_B][i];
    (void)out;
    *scale = fabs(y);
    return hone_act_value(hone_act_of(p), y);
}

double hone_shortcut_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale)
{
    const int32_t *d = p->dim;
    const int64_t oc = d[SHORT_OC], ow = shortcut_ow(p), oh = shortcut_oh(p), s = d[SHORT_S];
    const int64_t x = i / oc % ow, y = i / oc / ow % oh, image = i / oc / ow / oh,
                  c = i % oc - shortcut_front(p);
    (void)out;
    *scale = 0;
    if (c < 0 || c >= d[SHORT_IC]) return 0;
    return in[SHORT_X][((image * d[SHORT_IH] + y * s) * d[SHORT_IW] + x * s) * d[SHORT_IC] + c];
}

double hone_shortcut_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale)
{
    const int32_t *d = p->dim;
    const int64_t ic = d[SHORT_IC], iw = d[SHORT_IW], ih = d[SHORT_IH], s = d[SHORT_S];
    const int64_t x = i / ic % iw, y = i / ic / iw % ih, image = i / ic / iw / ih,
                  c = i % ic + shortcut_front(p);
    (void)out;
    *scale = 0;
    if (x % s || y % s) return 0;
    const int64_t pixel = (image * shortcut_oh(p) + y / s) * shortcut_ow(p) + x / s;
    return in[SHORT_DY][pixel * d[SHORT_OC] + c];
}

double hone_concat_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale)
{
    const int64_t n = p->dim[CONCAT_N], k = p->dim[CONCAT_K], row = i / (n + k), j = i % (n + k);
    (void)out;
    *scale = 0;
    return j < n ? in[CONCAT_A][row * n + j] : in[CONCAT_B][row * k + j - n];
}

double hone_concat_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale)
{
    const int64_t n = p->dim[CONCAT_N], k = p->dim[CONCAT_K], width = out == CONCAT_DA ? n : k;
    *scale = 0;
    return in[CONCAT_DY][i / width * (n + k) + i % width + (out == CONCAT_DB ? n : 0)];
}
