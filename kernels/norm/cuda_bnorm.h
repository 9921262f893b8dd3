/* What cuda_bnorm.c gives to cuda_bnorm.cu. */
#ifndef HONE_NORM_CUDA_BNORM_H
#define HONE_NORM_CUDA_BNORM_H

/* act: as act.cuh has them, relu, relu6 or none; momentum, eps: bits of floats; half:
 * hone_cuda_half() of X, Y, DY, DX and what is added. */
struct norm_bnorm_sizes { int m, n, act, add, momentum, eps, half; };

struct norm_bnorm {
    void *y;                                /* or DX */
    float *mean, *rstd, *rmean, *rvar;      /* bnorm_bwd: MEAN, RSTD; bnorm_infer: RMEAN, RVAR */
    float *dgamma, *dbeta;
    const void *dy, *x, *addend;
    const float *gamma, *beta;
    struct norm_bnorm_sizes s;
};

#endif
