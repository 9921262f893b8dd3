/* kernels/mlp/steps_host.h -- what cuda_block.c and cuda_cluster.c share: a net's sizes, but for
 * its places in shared memory, and its arguments. */
#ifndef HONE_MLP_STEPS_HOST_H
#define HONE_MLP_STEPS_HOST_H

#include "kernels/backend/cuda.h"
#include "kernels/dropout/dropout.h"
#include "kernels/mlp/cuda_steps.h"
#include "kernels/mlp/mlp.h"

_Static_assert((int)MLP_MSE == LOSS_ROWS_MSE && (int)MLP_MAE == LOSS_ROWS_MAE &&
                   (int)MLP_HUBER == LOSS_ROWS_HUBER && (int)MLP_CE == MLP_STEPS_CE,
               "a net's losses have the numbers that its kernels know");

/* The lines of MLP_TILES; a config has a line's number. */
struct mlp_tile { int rows, cols; };

static inline struct mlp_tile mlp_tile(int i)
{
    static const struct mlp_tile tiles[] = {
#define X(rows, cols) { rows, cols },
        MLP_TILES(X)
#undef X
    };
    return tiles[i];
}

/* Rows of so many words or one more: those that are below each other are in different banks. */
static inline int mlp_odd(int n) { return n | 1; }

static inline struct mlp_sizes mlp_sizes_of(const struct mlp *m)
{
    struct mlp_sizes s = {
        .mb = m->mb, .steps = m->steps, .layers = m->nlayers, .loss = (int)m->loss,
        .act = (int)m->act, .number = hone_cuda_bits(m->number), .drop = m->drop > 0,
        .threshold = (int)dropout_threshold(m->drop), .factor = hone_cuda_bits(1 / (1 - m->drop)),
        .adam = m->adam, .momentum = m->momentum, .nesterov = m->nesterov, .wd = m->wd,
        .decoupled = m->decoupled, .ranks = 1,
    };
    for (int l = 0; l <= m->nlayers; l++) s.width[l] = m->width[l];
    for (int l = 0; l < m->nlayers; l++) s.w[l] = m->w[l], s.b[l] = m->b[l];
    return s;
}

static inline struct mlp_steps mlp_steps_of(const struct mlp *m, void *const mem[])
{
    const struct mlp_args *at = &m->arg;
    return (struct mlp_steps){
        .p = mem[at->p], .first = at->state[0] < 0 ? NULL : mem[at->state[0]],
        .second = at->state[1] < 0 ? NULL : mem[at->state[1]],
        .y = mem[at->y], .loss = mem[at->loss], .hit = at->hit < 0 ? NULL : mem[at->hit],
        .x = mem[at->x], .t = mem[at->t], .label = mem[at->t], .hyper = mem[at->hyper],
        .seed = at->seed < 0 ? NULL : mem[at->seed],
    };
}

#endif
