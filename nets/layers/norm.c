/* bnorm: batch normalisation (Ioffe and Szegedy 2015).  Training normalises by the batch's own mean
 * and variance and keeps running ones; evaluation normalises by these. */
#include "nets/lower.h"

static int column(struct hone_lower *b, struct hone_node *n, const char *name)
{
    return hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_WIDE, hone_node_index(b, n), 1,
                             (int64_t[]){ n->c }, "%s.%s", n->name, name);
}

static int64_t rows(const struct hone_lower *b, const struct hone_node *n)
{
    return (int64_t)b->how->batch * n->h * n->w;
}

/* ---- what follows, in the same steps ---- */

/* The node that adds to n's output in n's steps, or n; its activation is the last part. */
static const struct hone_node *last_part(const struct hone_lower *b, const struct hone_node *n)
{
    return n->sum >= 0 ? &b->node[n->sum] : n;
}

/* The other term; NULL: there is none. */
static const struct hone_node *addend(const struct hone_lower *b, const struct hone_node *n)
{
    if (n->sum < 0) return NULL;
    const struct hone_node *sum = &b->node[n->sum];
    return &b->node[sum->input[sum->input[0] == sum->sum_of]];
}

/* "+add+relu", "+relu" or "". */
static void parts(const struct hone_lower *b, const struct hone_node *n, char text[HONE_NAME])
{
    const struct hone_layer_kind *act = last_part(b, n)->act;
    snprintf(text, HONE_NAME, "%s%s%s", n->sum >= 0 ? "+add" : "", act ? "+" : "",
             act ? act->name : "");
}

static void forward_problem(const struct hone_lower *b, const struct hone_node *n,
                            const char *parts, char text[HONE_TEXT])
{
    if (b->how->train)
        snprintf(text, HONE_TEXT, "bnorm_fwd:f32:any:m%lldn%d:momentum%.9g+eps%.9g%s%s",
                 (long long)rows(b, n), n->c, hone_node_real(n, "momentum"),
                 hone_node_real(n, "eps"), parts, hone_lower_is_again(b, n) ? "+off" : "");
    else
        snprintf(text, HONE_TEXT, "bnorm_infer:f32:any:m%lldn%d:eps%.9g%s", (long long)rows(b, n),
                 n->c, hone_node_real(n, "eps"), parts);
}

/* An activation alone is part of the gradient's step, too; before a sum it is the sum's. */
static void backward_problem(const struct hone_lower *b, const struct hone_node *n,
                             const struct hone_layer_kind *act, char text[HONE_TEXT])
{
    snprintf(text, HONE_TEXT, "bnorm_bwd:f32:any:m%lldn%d%s%s", (long long)rows(b, n), n->c,
             act ? ":" : "", act ? act->name : "");
}

static int sum_wins(const struct hone_lower *b, const struct hone_node *n)
{
    char last[HONE_NAME], one[HONE_TEXT], norm[HONE_TEXT], sum[HONE_TEXT];
    const struct hone_node *x = addend(b, n);
    const struct hone_layer_kind *act = last_part(b, n)->act;
    if (x->h != n->h || x->w != n->w || x->c != n->c) return 0;   /* the sum will say so */
    parts(b, n, last);
    forward_problem(b, n, last, one);
    forward_problem(b, n, "", norm);
    snprintf(sum, sizeof sum, "add:f32:any:n%lld%s%s", (long long)rows(b, n) * n->c,
             act ? ":" : "", act ? act->name : "");
    return hone_lower_wins(b, (const char *[]){ one, NULL }, (const char *[]){ norm, sum, NULL });
}

static int act_wins(const struct hone_lower *b, const struct hone_node *n)
{
    char last[HONE_NAME], text[6][HONE_TEXT];
    const long long len = (long long)rows(b, n) * n->c;
    parts(b, n, last);
    forward_problem(b, n, last, text[0]);
    forward_problem(b, n, "", text[1]);
    snprintf(text[2], HONE_TEXT, "%s:f32:any:n%lld", n->act->name, len);
    backward_problem(b, n, n->act, text[3]);
    backward_problem(b, n, NULL, text[4]);
    snprintf(text[5], HONE_TEXT, "%s_bwd:f32:any:n%lld", n->act->name, len);
    const int train = b->how->train;
    return hone_lower_wins(
        b, (const char *[]){ text[0], train ? text[3] : NULL, NULL },
        (const char *[]){ text[1], text[2], train ? text[4] : NULL, text[5], NULL });
}

/* ---- steps ---- */

static int train_step(struct hone_lower *b, struct hone_node *n, const char *problem, int rmean,
                      int rvar)
{
    const struct hone_node *more = addend(b, n);
    const int off = hone_lower_is_again(b, n);
    if (rows(b, n) < 2)
        return hone_fail(HONE_EINVAL,
                         "bnorm '%s' on 1x1 pixels has nothing to normalise a batch of one row by: "
                         "leave such a batch out (--last drop), or take another size",
                         n->name);
    if ((n->mean = column(b, n, "mean")) < 0) return n->mean;
    if ((n->rstd = column(b, n, "rstd")) < 0) return n->rstd;
    if (off && (n->off = column(b, n, "off")) < 0) return n->off;
    return hone_lower_step(b, n, HONE_FORWARD, problem,
                           (int[]){ n->y, n->mean, n->rstd, rmean, rvar, hone_node_input(b, n)->y,
                                    n->weight, n->bias, more ? more->y : n->off, n->off },
                           8 + (more != NULL) + off);
}

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    char last[HONE_NAME], problem[HONE_TEXT];
    hone_lower_pass(n, in);
    int64_t c[] = { n->c };
    if ((n->weight = hone_lower_weight(b, n, "gamma", 0, 0, 1, c)) < 0) return n->weight;
    b->net->tensor[n->weight].first = 1;
    if ((n->bias = hone_lower_weight(b, n, "beta", 0, 0, 1, c)) < 0) return n->bias;
    int rmean = hone_lower_running(b, n, "mean", n->c, 0),
        rvar = hone_lower_running(b, n, "var", n->c, 1);
    if (rmean < 0 || rvar < 0) return rmean < 0 ? rmean : rvar;
    hone_lower_say(b, n, "%d", n->c);
    if ((n->y = hone_lower_output(b, n, "")) < 0) return n->y;
    if (n->sum >= 0 && !sum_wins(b, n)) hone_lower_part(b, n);
    if (n->act && !act_wins(b, n)) hone_lower_part(b, n);
    parts(b, n, last);
    forward_problem(b, n, last, problem);
    if (b->how->train) return train_step(b, n, problem, rmean, rvar);
    const struct hone_node *more = addend(b, n);
    return hone_lower_step(
        b, n, HONE_FORWARD, problem,
        (int[]){ n->y, in->y, n->weight, n->bias, rmean, rvar, more ? more->y : 0 },
        6 + (more != NULL));
}

static int backward(struct hone_lower *b, struct hone_node *n)
{
    char text[HONE_TEXT];
    int dy = n->sum >= 0 ? n->dsum : hone_lower_gradient_of(b, n->y),
        x = hone_lower_again(b, hone_node_input(b, n)->y),
        dx = hone_lower_new_gradient(b, hone_node_index(b, n), hone_node_input(b, n)->y);
    if (dx < 0) return dx;
    backward_problem(b, n, n->act, text);
    return hone_lower_step(b, n, HONE_BACKWARD_DATA, text,
                           (int[]){ dx, hone_lower_gradient_of(b, n->weight),
                                    hone_lower_gradient_of(b, n->bias), dy, x, n->mean, n->rstd,
                                    n->weight, n->bias },
                           8 + (n->act != NULL));
}

/* Sums before n, each a term of the next, since one that is kept: along a residual net one of four
 * is, and those that are steps of their own, and the others are made of it again, one after the
 * other.  0: n is kept, or adds nothing. */
static int sums_since(const struct hone_lower *b, const struct hone_node *n)
{
    enum { KEPT = 4 };
    if (n->sum < 0) return 0;
    const struct hone_node *of = &b->node[b->net->tensor[addend(b, n)->y].layer];
    if (of->kind->is_sum) return 1;
    return of->kind == n->kind ? (sums_since(b, of) + 1) % KEPT : 0;
}

static int is_again(const struct hone_lower *b, const struct hone_node *n)
{
    return n->sum < 0 || sums_since(b, n) > 0;
}

/* With the columns of the forward pass. */
static int again(struct hone_lower *b, struct hone_node *n)
{
    char last[HONE_NAME], text[HONE_TEXT];
    const struct hone_tensor of = b->net->tensor[n->y];
    const struct hone_node *more = addend(b, n);
    int x = hone_lower_again(b, hone_node_input(b, n)->y),
        term = more ? hone_lower_again(b, more->y) : n->off,
        y = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, of.layer, of.rank, of.dim,
                              "%s.again", n->name);
    parts(b, n, last);
    snprintf(text, sizeof text, "bnorm_infer:f32:any:m%lldn%d:eps%.9g%s+again",
             (long long)rows(b, n), n->c, hone_node_real(n, "eps"), last);
    int err = hone_lower_step(b, n, HONE_BACKWARD_WEIGHTS, text,
                              (int[]){ y, x, n->weight, n->bias, n->mean, n->rstd, term, n->off },
                              7 + (more != NULL));
    return err ? err : y;
}

const struct hone_layer_kind hone_layers_norm[] = {
    { .name = "bnorm",
      .ninputs = 1,
      .takes_act = HONE_TAKES_CUT,
      .takes_sum = 1,
      .forward = forward,
      .backward = backward,
      .again = again,
      .is_again = is_again,
      .key = { { .name = "momentum", .type = HONE_KEY_SHARE, .def = 0.1 },
               { .name = "eps", .type = HONE_KEY_SHARE, .def = 1e-5 } } },
    { 0 },
};
