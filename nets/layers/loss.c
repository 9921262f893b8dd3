/* What training makes small.  A loss op gives the gradient of the mean over the batch together with
 * each row's loss, so backward has no step of its own. */
#include "nets/lower.h"

static int flat_input(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    if (!hone_node_is_flat(in))
        return hone_fail(HONE_EPARSE,
                         "%s '%s' reads features, and '%s' is %dx%dx%d: put flatten between",
                         n->kind->name, n->name, in->name, in->h, in->w, in->c);
    hone_lower_pass(n, in);
    b->net->output = n->y;
    return HONE_OK;
}

/* Gradient, loss of each row, and what `more` names. */
static int add(struct hone_lower *b, struct hone_node *n, const char *name, enum hone_role role,
               enum hone_dtype dtype, int rank)
{
    int64_t dim[] = { b->how->batch, n->c };
    return hone_lower_tensor(b, role, dtype, hone_node_index(b, n), rank, dim, "%s", name);
}

static int loss_step(struct hone_lower *b, struct hone_node *n, const int arg[], int nargs)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:f32:any:m%dn%d", n->kind->name, b->how->batch, n->c);
    return hone_lower_step(b, n, HONE_LOSS, text, arg, nargs);
}

static int classify(struct hone_lower *b, struct hone_node *n)
{
    struct hone_net *net = b->net;
    int err = flat_input(b, n), dx = -1;
    if (err) return err;
    if (n->c < 2)
        return hone_fail(HONE_EPARSE, "%s '%s' needs at least 2 classes, and '%s' has 1",
                         n->kind->name, n->name, hone_node_input(b, n)->name);
    net->task = HONE_CLASSIFY;
    if ((dx = hone_lower_new_gradient(b, hone_node_index(b, n), n->y)) < 0) return dx;
    if ((net->loss = add(b, n, n->name, HONE_ROLE_ACTIVATION, HONE_F32, 1)) < 0) return net->loss;
    if ((net->hit = add(b, n, "hit", HONE_ROLE_ACTIVATION, HONE_F32, 1)) < 0) return net->hit;
    if ((net->target = add(b, n, "label", HONE_ROLE_DATA, HONE_I32, 1)) < 0) return net->target;
    return loss_step(b, n, (int[]){ dx, net->loss, net->hit, n->y, net->target }, 5);
}

static int regress(struct hone_lower *b, struct hone_node *n)
{
    struct hone_net *net = b->net;
    int err = flat_input(b, n), dx = -1;
    if (err) return err;
    net->task = HONE_REGRESS;
    if ((dx = hone_lower_new_gradient(b, hone_node_index(b, n), n->y)) < 0) return dx;
    if ((net->loss = add(b, n, n->name, HONE_ROLE_ACTIVATION, HONE_F32, 1)) < 0) return net->loss;
    if ((net->target = add(b, n, "target", HONE_ROLE_DATA, HONE_F32, 2)) < 0) return net->target;
    return loss_step(b, n, (int[]){ dx, net->loss, n->y, net->target }, 4);
}

const struct hone_layer_kind hone_layers_loss[] = {
    { .name = "softmax_ce", .ninputs = 1, .is_loss = 1, .forward = classify },
    { .name = "mse", .ninputs = 1, .is_loss = 1, .forward = regress },
    { .name = "mae", .ninputs = 1, .is_loss = 1, .forward = regress },
    { 0 },
};
