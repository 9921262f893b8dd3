/* kernels/join/join.h -- where branches of a net meet: sums, shortcuts and concatenation. */
#ifndef HONE_JOIN_H
#define HONE_JOIN_H

#include "kernels/activation/activation.h"

extern const struct hone_op hone_op_add, hone_op_shortcut_fwd, hone_op_shortcut_bwd,
    hone_op_concat_fwd, hone_op_concat_bwd;

/* add: Y, A, B (n): y = a + b, and with the attribute relu or relu6 that of the sum. */
enum { ADD_N };
enum { ADD_Y, ADD_A, ADD_B };

/* shortcut_fwd: Y (mb, ceil(ih / s), ceil(iw / s), oc), X (mb, ih, iw, ic): every s-th pixel of x
 * in both directions, with (oc - ic) / 2 channels of zeros in front and the rest behind (He et al.
 * 2015, option A).  shortcut_bwd: DX, DY of these shapes. */
enum { SHORT_MB, SHORT_IC, SHORT_IH, SHORT_IW, SHORT_OC, SHORT_S };
enum { SHORT_Y, SHORT_X };
enum { SHORT_DX, SHORT_DY };

static inline int shortcut_oh(const struct hone_problem *p)
{
    return (p->dim[SHORT_IH] - 1) / p->dim[SHORT_S] + 1;
}
static inline int shortcut_ow(const struct hone_problem *p)
{
    return (p->dim[SHORT_IW] - 1) / p->dim[SHORT_S] + 1;
}
static inline int shortcut_front(const struct hone_problem *p)
{
    return (p->dim[SHORT_OC] - p->dim[SHORT_IC]) / 2;
}

/* concat_fwd: Y (m, n + k), A (m, n), B (m, k), side by side; for nhwc m is images times pixels.
 * concat_bwd: DA (m, n), DB (m, k), DY (m, n + k). */
enum { CONCAT_M, CONCAT_N, CONCAT_K };
enum { CONCAT_Y, CONCAT_A, CONCAT_B };
enum { CONCAT_DA, CONCAT_DB, CONCAT_DY };

/* ref.c: the ops' meaning, see struct hone_op. */
double hone_add_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale);
double hone_shortcut_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale);
double hone_shortcut_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                                 int64_t i, double *scale);
double hone_concat_fwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale);
double hone_concat_bwd_meaning(const struct hone_problem *p, const double *const in[], int out,
                               int64_t i, double *scale);

#endif
