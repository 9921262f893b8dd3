/* kernels/mlp/mlp.h -- training steps of a small net of fully connected layers as one op: forward,
 * loss, backward and update, `s` steps one after the other, each on its own batch of mb rows.
 *
 * Layers go from i inputs over h, g and f hidden numbers (0: there is no such layer) to o outputs.
 * Hidden layer l = 1, 2, 3 is act(a W + b), and with drop>0 then dropout with stream 2 l.  The last
 * layer has neither; mlp_ce, mlp_mse, mlp_mae and mlp_huber are the ops loss/loss.h has behind it,
 * and sgd or, with attribute adam, adam of optimizer/optimizer.h with these attributes updates.
 *
 * P holds for each layer W (in, out), then b (out), each padded to MLP_LINE numbers; what pads is
 * left alone. */
#ifndef HONE_MLP_H
#define HONE_MLP_H

#include "kernels/activation/activation.h"
#include "kernels/kernel.h"

extern const struct hone_op hone_op_mlp_ce, hone_op_mlp_mse, hone_op_mlp_mae, hone_op_mlp_huber;

enum { MLP_MB, MLP_S, MLP_I, MLP_H, MLP_G, MLP_F, MLP_O };   /* problem.dim */
enum { MLP_DROP, MLP_NUMBER };   /* problem.value; NUMBER: mlp_ce's smooth, mlp_huber's delta */
enum { MLP_MAX_LAYERS = 4, MLP_LINE = HONE_ALIGN / 4 };
enum mlp_loss { MLP_MSE, MLP_MAE, MLP_HUBER, MLP_CE };

/* Where its arguments are, -1: there is none such.  Y (s mb, o), LOSS (s mb), HIT (s mb) of mlp_ce;
 * P, STATE[0] and STATE[1] (numbers), inout: sgd's V with momentum, adam's M and V; X (s mb, i); T
 * (s mb, o), or LABEL (s mb); HYPER (s, 8); SEED (s, 2) where there is dropout. */
enum { MLP_Y };
struct mlp_args { int p, state[2], y, loss, hit, x, t, hyper, seed, n; };

/* What follows from a problem. */
struct mlp {
    int nlayers, width[MLP_MAX_LAYERS + 1];   /* layer l goes from width[l] to width[l + 1] */
    int w[MLP_MAX_LAYERS], b[MLP_MAX_LAYERS]; /* places of W and b in P */
    int numbers;                              /* of P */
    int mb, steps, nstates;
    enum mlp_loss loss;
    enum hone_act act;
    double drop, number;
    int adam, momentum, nesterov, wd, decoupled;
    struct mlp_args arg;
};

struct mlp mlp_of(const struct hone_problem *p);

/* ref.c: the op's meaning, see struct hone_op. */
double hone_mlp_growth(const struct hone_problem *p);
int64_t hone_mlp_nshared(const struct hone_problem *p);
void hone_mlp_share(const struct hone_problem *p, const double *const in[], double *shared);
double hone_mlp_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale);

#endif
