/* kernels/mlp/layers.h -- mlp_of() for whoever shall see a problem's numbers as constants: kernels
 * that are compiled for one. */
#ifndef HONE_MLP_LAYERS_H
#define HONE_MLP_LAYERS_H

#include "kernels/mlp/mlp.h"

#define MLP_INLINE static inline __attribute__((always_inline))

MLP_INLINE int mlp_padded(int n) { return (n + MLP_LINE - 1) / MLP_LINE * MLP_LINE; }

/* Hidden layers are h, then g, then f: sizes that follow i. */
MLP_INLINE void mlp_place_layer(const struct hone_problem *p, struct mlp *m, int l)
{
    if (l >= m->nlayers) return;
    m->width[l + 1] = l + 1 < m->nlayers ? p->dim[MLP_I + l + 1] : p->dim[MLP_O];
    m->w[l] = m->numbers;
    m->b[l] = m->w[l] + mlp_padded(m->width[l] * m->width[l + 1]);
    m->numbers = m->b[l] + mlp_padded(m->width[l + 1]);
}

/* No loop: it would be there still when a compiler looks for constants. */
MLP_INLINE void mlp_place_layers(const struct hone_problem *p, struct mlp *m)
{
    m->nlayers = 1 + (p->dim[MLP_H] > 0) + (p->dim[MLP_G] > 0) + (p->dim[MLP_F] > 0);
    m->width[0] = p->dim[MLP_I];
    mlp_place_layer(p, m, 0);
    mlp_place_layer(p, m, 1);
    mlp_place_layer(p, m, 2);
    mlp_place_layer(p, m, 3);
}

MLP_INLINE void mlp_place_args(struct mlp *m)
{
    struct mlp_args *a = &m->arg;
    *a = (struct mlp_args){ .state = { -1, -1 }, .hit = -1, .seed = -1 };
    a->y = a->n++;
    a->loss = a->n++;
    if (m->loss == MLP_CE) a->hit = a->n++;
    a->p = a->n++;
    if (m->nstates > 0) a->state[0] = a->n++;
    if (m->nstates > 1) a->state[1] = a->n++;
    a->x = a->n++;
    a->t = a->n++;
    a->hyper = a->n++;
    if (m->drop > 0) a->seed = a->n++;
}

MLP_INLINE struct mlp mlp_from(const struct hone_problem *p)
{
    struct mlp m = {
        .mb = p->dim[MLP_MB], .steps = p->dim[MLP_S], .act = hone_act_of(p),
        .loss = hone_problem_is(p, mlp_ce)    ? MLP_CE
                : hone_problem_is(p, mlp_mse) ? MLP_MSE
                : hone_problem_is(p, mlp_mae) ? MLP_MAE
                                              : MLP_HUBER,
        .drop = p->value[MLP_DROP], .number = p->value[MLP_NUMBER],
        .adam = hone_problem_has(p, "adam"), .momentum = hone_problem_has(p, "momentum"),
        .nesterov = hone_problem_has(p, "nesterov"), .wd = hone_problem_has(p, "wd"),
        .decoupled = hone_problem_has(p, "decoupled"),
    };
    m.nstates = m.adam ? 2 : m.momentum;
    mlp_place_layers(p, &m);
    mlp_place_args(&m);
    return m;
}

#endif
