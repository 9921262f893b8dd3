/* kernels/loss/error.h -- mean squared, mean absolute and Huber's error of differences in vectors,
 * and their gradients. */
#ifndef HONE_LOSS_ERROR_H
#define HONE_LOSS_ERROR_H

#include "kernels/activation/vector.h"
#include "kernels/loss/loss.h"

enum error { ABSOLUTE, SQUARED, HUBER };

/* `share`: what the gradient of one number has of the batch's; delta: of huber. */
struct error_weights { vf share, delta; };

/* Of m rows of n numbers. */
HONE_INLINE struct error_weights error_weights_of(enum error kind, int m, int n, double delta)
{
    return (struct error_weights){
        .share = vf_set((real)((kind == SQUARED ? 2.0 : 1.0) / ((double)m * n))),
        .delta = vf_set(kind == HUBER ? (real)delta : 0),
    };
}

/* The loss of the differences d, and in *dx their gradient. */
HONE_INLINE vf error_of(enum error kind, vf d, const struct error_weights *w, vf *dx)
{
    vf zero = { 0 };
    if (kind == SQUARED) {
        *dx = d * w->share;
        return d * d;
    }
    if (kind == ABSOLUTE) {
        *dx = vf_select(d > zero, w->share, vf_select(d < zero, -w->share, zero));
        return vf_abs(d);
    }
    /* c (|d| - c / 2) is both branches at once. */
    vf c = vf_min(vf_abs(d), w->delta);
    *dx = vf_max(-w->delta, vf_min(w->delta, d)) * w->share;
    return c * (vf_abs(d) - 0.5f * c);
}

#endif
