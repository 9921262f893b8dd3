/* kernels/scale/scale.h -- loss scaling (Micikevicius et al. 2018, "Mixed precision training"), so
 * that no host need look at gradients:
 *
 *     scale     x = now x
 *     unscale   y = g / now; where all y are finite, g = y, and hyper = table[skipped mod r];
 *               else g = 0, skipped += 1, and hyper is such that an optimizer changes nothing
 *
 * now and 1 / now are among the numbers S; unless grows is 0, now is doubled (up to `most`) after
 * `patience` steps in which all was finite, and halved where it was not.  Rows of table are what
 * the optimizer reads if 0, 1, 2, ... steps were skipped. */
#ifndef HONE_SCALE_H
#define HONE_SCALE_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_scale, hone_op_unscale;

enum { SCALE_N, UNSCALE_R };                                    /* problem.dim */
enum { SCALE_X, SCALE_S };                                      /* arguments: X (n), S (8) */
enum { UNSCALE_G, UNSCALE_S, UNSCALE_HYPER, UNSCALE_TABLE };    /* G (n), S (8), (8), (r, 8) */

/* S. */
enum {
    SCALE_NOW, SCALE_INVERSE, SCALE_GOOD, SCALE_SKIPPED, SCALE_GROWS, SCALE_PATIENCE, SCALE_MOST,
    SCALE_LEN = 8
};

/* hyper of a step that is skipped, in the order of optimizer.h: no learning rate and no decay, and
 * all of what moments were. */
#define SCALE_NOTHING { 0, 1, 1, 1, 0, 1, 1, 1 }

/* s after a step, in place. */
#define SCALE_NEXT(number, s, found)                                                               \
    do {                                                                                           \
        const int grows = (s)[SCALE_GROWS] != 0;                                                   \
        const int grown = (s)[SCALE_GOOD] + 1 >= (s)[SCALE_PATIENCE];                              \
        const number by = !grows                                      ? 1                          \
                          : (found)                                   ? (number)0.5                \
                          : grown && (s)[SCALE_NOW] < (s)[SCALE_MOST] ? 2                          \
                                                                      : 1;                         \
        (s)[SCALE_NOW] *= by;                                                                      \
        (s)[SCALE_INVERSE] /= by;                                                                  \
        (s)[SCALE_GOOD] = (found) || (grows && grown) ? 0 : (s)[SCALE_GOOD] + (number)grows;       \
        (s)[SCALE_SKIPPED] += (number)((found) != 0);                                              \
    } while (0)

#endif
