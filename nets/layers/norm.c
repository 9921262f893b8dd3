/* bnorm: batch normalisation (Ioffe and Szegedy 2015).  Training normalises by the batch's own mean
 * and variance and keeps running ones; evaluation normalises by these. */
#include "nets/lower.h"

static int column(struct hone_lower *b, struct hone_node *n, const char *name)
{
    return hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, hone_node_index(b, n), 1,
                             (int64_t[]){ n->c }, "%s.%s", n->name, name);
}

static int64_t rows(const struct hone_lower *b, const struct hone_node *n)
{
    return (int64_t)b->how->batch * n->h * n->w;
}

static int train_step(struct hone_lower *b, struct hone_node *n, int x, int rmean, int rvar)
{
    char text[HONE_TEXT];
    if (rows(b, n) < 2)
        return hone_fail(HONE_EINVAL,
                         "bnorm '%s' on 1x1 pixels has nothing to normalise a batch of one row by: "
                         "leave such a batch out (--last drop), or take another size",
                         n->name);
    if ((n->mean = column(b, n, "mean")) < 0) return n->mean;
    if ((n->rstd = column(b, n, "rstd")) < 0) return n->rstd;
    snprintf(text, sizeof text, "bnorm_fwd:f32:any:m%lldn%d:momentum%.9g+eps%.9g",
             (long long)rows(b, n), n->c, hone_node_real(n, "momentum"), hone_node_real(n, "eps"));
    return hone_lower_step(b, n, HONE_FORWARD, text,
                           (int[]){ n->y, n->mean, n->rstd, rmean, rvar, x, n->weight, n->bias },
                           8);
}

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    char text[HONE_TEXT];
    hone_lower_pass(n, in);
    int64_t c[] = { n->c };
    if ((n->weight = hone_lower_weight(b, n, "gamma", 0, 0, 1, c)) < 0) return n->weight;
    b->net->tensor[n->weight].first = 1;
    if ((n->bias = hone_lower_weight(b, n, "beta", 0, 0, 1, c)) < 0) return n->bias;
    int rmean = hone_lower_running(b, n, "mean", n->c, 0), rvar = hone_lower_running(b, n, "var", n->c, 1);
    if (rmean < 0 || rvar < 0) return rmean < 0 ? rmean : rvar;
    hone_lower_say(b, n, "%d", n->c);
    if ((n->y = hone_lower_output(b, n, "")) < 0) return n->y;
    if (b->how->train) return train_step(b, n, in->y, rmean, rvar);
    snprintf(text, sizeof text, "bnorm_infer:f32:any:m%lldn%d:eps%.9g", (long long)rows(b, n), n->c,
             hone_node_real(n, "eps"));
    return hone_lower_step(b, n, HONE_FORWARD, text,
                           (int[]){ n->y, in->y, n->weight, n->bias, rmean, rvar }, 6);
}

static int backward(struct hone_lower *b, struct hone_node *n)
{
    char text[HONE_TEXT];
    int x = hone_node_input(b, n)->y, dy = hone_lower_gradient_of(b, n->y),
        dx = hone_lower_new_gradient(b, hone_node_index(b, n), x);
    if (dx < 0) return dx;
    snprintf(text, sizeof text, "bnorm_bwd:f32:any:m%lldn%d", (long long)rows(b, n), n->c);
    return hone_lower_step(b, n, HONE_BACKWARD_DATA, text,
                           (int[]){ dx, hone_lower_gradient_of(b, n->weight),
                                    hone_lower_gradient_of(b, n->bias), dy, x, n->mean, n->rstd,
                                    n->weight },
                           8);
}

const struct hone_layer_kind hone_layers_norm[] = {
    { .name = "bnorm",
      .ninputs = 1,
      .forward = forward,
      .backward = backward,
      .key = { { .name = "momentum", .type = HONE_KEY_SHARE, .def = 0.1 },
               { .name = "eps", .type = HONE_KEY_SHARE, .def = 1e-5 } } },
    { 0 },
};
