/* What cuda_flat.c gives to cuda_flat.cu. */
#ifndef HONE_OPTIMIZER_CUDA_FLAT_H
#define HONE_OPTIMIZER_CUDA_FLAT_H

struct optimizer_flat_sizes { int n, momentum, nesterov, wd, decoupled, blocks; };

struct optimizer_flat {
    float *p, *first, *second;   /* parameters; states: sgd's V; adam's M, V; rmsprop's A, V; ... */
    float *g;                    /* only clip writes it */
    const float *hyper;          /* (8), see optimizer.h */
    float *norm, *partial;       /* clip: NORM; (blocks) sums of squares */
    struct optimizer_flat_sizes s;
};

#endif
