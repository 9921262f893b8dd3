/* kernels/optimizer/steps.h -- what sgd and adam do to a vector of parameters and their states,
 * for their own kernels and for those of whole training steps. */
#ifndef HONE_OPTIMIZER_STEPS_H
#define HONE_OPTIMIZER_STEPS_H

#include "kernels/optimizer/flat.h"

struct sgd_step { real *p, *v; real lr, momentum, wd; };

HONE_INLINE struct sgd_step sgd_step_of(real *p, real *v, const real *hyper)
{
    return (struct sgd_step){ .p = p, .v = v, .lr = hyper[HYPER_LR],
                              .momentum = hyper[HYPER_MOMENTUM], .wd = hyper[HYPER_WD] };
}

/* n lanes from i on, whose gradients are g; variant: sgd's attributes. */
HONE_INLINE void sgd_move(int variant, int n, const struct sgd_step *s, int64_t i, vf g)
{
    vf p = flat_load(s->p + i, n);
    if (variant & 1 << SGD_WD) g = g + p * s->wd;
    vf move = g;
    if (variant & 1 << SGD_MOMENTUM) {
        move = flat_load(s->v + i, n) * s->momentum + g;
        flat_store(s->v + i, move, n);
        if (variant & 1 << SGD_NESTEROV) move = move * s->momentum + g;
    }
    flat_store(s->p + i, p - move * s->lr, n);
}

/* lr times c1; `keep`: what decoupled weight decay leaves of p. */
struct adam_step { real *p, *m, *v; real lr, beta1, beta2, epsilon, wd, keep, c2; };

HONE_INLINE struct adam_step adam_step_of(real *p, real *m, real *v, const real *hyper)
{
    return (struct adam_step){
        .p = p, .m = m, .v = v, .lr = hyper[HYPER_LR] * hyper[HYPER_C1],
        .beta1 = hyper[HYPER_BETA1], .beta2 = hyper[HYPER_BETA2], .epsilon = hyper[HYPER_EPS],
        .wd = hyper[HYPER_WD], .keep = 1 - hyper[HYPER_LR] * hyper[HYPER_WD],
        .c2 = hyper[HYPER_C2],
    };
}

enum adam_decay { ADAM_KEEPS, ADAM_DECAYS, ADAM_DECAYS_APART };

HONE_INLINE void adam_move(enum adam_decay decay, int n, const struct adam_step *s, int64_t i, vf g)
{
    vf p = flat_load(s->p + i, n), m = flat_load(s->m + i, n), v = flat_load(s->v + i, n);
    if (decay == ADAM_DECAYS) g = g + p * s->wd;
    if (decay == ADAM_DECAYS_APART) p = p * s->keep;
    m = m * s->beta1 + g * (1 - s->beta1);
    v = v * s->beta2 + g * g * (1 - s->beta2);
    flat_store(s->m + i, m, n);
    flat_store(s->v + i, v, n);
    flat_store(s->p + i, p - m * s->lr / (vf_sqrt(v) * s->c2 + s->epsilon), n);
}

#endif
