/* What cuda_block.c and cuda_cluster.c give to their .cu: a net, and where its numbers are in
 * shared memory. */
#ifndef HONE_MLP_CUDA_STEPS_H
#define HONE_MLP_CUDA_STEPS_H

#include "kernels/loss/cuda_rows.h"

enum { MLP_STEPS_LAYERS = 4 };

/* Rows and columns of a product that a thread has in registers; compiled by nvcc for each line. */
#define MLP_TILES(X) X(1, 1) X(2, 2) X(4, 2) X(4, 4)

/* Losses: errors as cuda_rows.h has them, and this one. */
enum { MLP_STEPS_CE = LOSS_ROWS_HUBER + 1 };

/* In P layer l's weights are at w[l], its bias at b[l].  number: bits of the loss's; drop: 1 where
 * there is dropout, threshold and factor as dropout has them.
 *
 * In shared memory, at words, are `copies` arrays of `words` numbers, of parameters and states, and
 * in a block of gradients; in each layer l has at[l] its weights, whose rows are row[l] words, and
 * behind them the bias as one row more.  What layer l reads is at x[l], rows of x_row[l] words with
 * a 1 behind the numbers for the bias; rows are odd, lest banks clash.  A cluster of `ranks` blocks
 * has of layer l's rows a share in each, and of what it reads the columns that these are for; the
 * logits, at x[layers], are of a share of the batch's rows; and at part[0] and part[1] there is
 * room for sums or gradients of all of a layer's numbers, rows of row[l] words. */
struct mlp_sizes {
    int mb, steps, layers, width[MLP_STEPS_LAYERS + 1];
    int w[MLP_STEPS_LAYERS], b[MLP_STEPS_LAYERS];
    int loss, act, number, drop, threshold, factor;
    int adam, momentum, nesterov, wd, decoupled;
    int at[MLP_STEPS_LAYERS], row[MLP_STEPS_LAYERS], words, copies;
    int x[MLP_STEPS_LAYERS + 1], x_row[MLP_STEPS_LAYERS + 1];
    int ranks, part[2];
};

struct mlp_steps {
    float *p, *first, *second;           /* parameters; sgd's V; adam's M, V */
    float *y, *loss, *hit;               /* of all steps' rows; hit: of mlp_ce */
    const float *x, *t;                  /* t: of errors */
    const int *label;                    /* of mlp_ce */
    const float *hyper;                  /* (steps, 8) */
    const unsigned long long *seed;      /* (steps, 2) */
    struct mlp_sizes s;
};

#endif
