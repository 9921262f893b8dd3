/* What cuda_bnorm.c gives to cuda_bnorm.cu. */
#ifndef HONE_NORM_CUDA_BNORM_H
#define HONE_NORM_CUDA_BNORM_H

/* act: as act.cuh has them, relu, relu6 or none; momentum, eps: bits of floats. */
struct norm_bnorm_sizes { int m, n, act, add, momentum, eps; };

struct norm_bnorm {
    float *y;                               /* or DX */
    float *mean, *rstd, *rmean, *rvar;      /* bnorm_bwd: MEAN, RSTD; bnorm_infer: RMEAN, RVAR */
    float *dgamma, *dbeta;
    const float *dy, *x, *gamma, *beta, *addend;
    struct norm_bnorm_sizes s;
};

#endif
