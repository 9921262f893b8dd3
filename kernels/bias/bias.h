/* kernels/bias/bias.h -- the gradient of a bias: DB (n) = column sums of DY (m, n).  For a
 * convolution in nhwc m is images times pixels and n its output channels. */
#ifndef HONE_BIAS_H
#define HONE_BIAS_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_bias_bwd;

enum { BIAS_M, BIAS_N };      /* problem.dim */
enum { BIAS_DB, BIAS_DY };    /* arguments */

#endif
