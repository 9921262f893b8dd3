/* What cuda_block.c gives to cuda_block.cu. */
#ifndef HONE_MLP_CUDA_BLOCK_H
#define HONE_MLP_CUDA_BLOCK_H

enum { MLP_BLOCK_LAYERS = 4 };

/* Rows and columns of a product that a thread has in registers; compiled by nvcc for each line. */
#define MLP_TILES(X) X(1, 1) X(2, 2) X(4, 2) X(4, 4)

enum { MLP_BLOCK_MSE, MLP_BLOCK_MAE, MLP_BLOCK_HUBER, MLP_BLOCK_CE };

/* In shared memory, at words: `copies` arrays of `words` numbers, of parameters, gradients and
 * states, in each of which layer l has at[l] its weights, whose rows are row[l] words, and behind
 * them the bias as one row more; then what layer l reads at x[l], rows of x_row[l] words with a 1
 * behind the numbers for the bias; rows are odd, lest banks clash.  In P layer l's weights are at
 * w[l], its bias at b[l].  drop: 1 where there is dropout, threshold and factor as dropout has
 * them; number: bits of the loss's. */
struct mlp_block_sizes {
    int mb, steps, layers, width[MLP_BLOCK_LAYERS + 1];
    int w[MLP_BLOCK_LAYERS], b[MLP_BLOCK_LAYERS], at[MLP_BLOCK_LAYERS], row[MLP_BLOCK_LAYERS];
    int x[MLP_BLOCK_LAYERS + 1], x_row[MLP_BLOCK_LAYERS + 1], words, copies;
    int loss, act, number, drop, threshold, factor;
    int adam, momentum, nesterov, wd, decoupled;
};

struct mlp_block {
    float *p, *first, *second;           /* parameters; sgd's V; adam's M, V */
    float *y, *loss, *hit;               /* of all steps' rows; hit: of mlp_ce */
    const float *x, *t;                  /* t: of errors */
    const int *label;                    /* of mlp_ce */
    const float *hyper;                  /* (steps, 8) */
    const unsigned long long *seed;      /* (steps, 2) */
    struct mlp_block_sizes s;
};

#endif
