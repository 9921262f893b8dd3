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
    n->y = hone_lower_widen(b, n, HONE_FORWARD, in->y);
    b->net->output = n->y;
    return n->y < 0 ? n->y : HONE_OK;
}

/* The op gave the gradient with the loss; of what was widened for it, it is narrowed. */
static int backward(struct hone_lower *b, struct hone_node *n)
{
    int x = hone_node_input(b, n)->y;
    if (x == n->y) return HONE_OK;
    int dx = hone_lower_narrow(b, n, HONE_BACKWARD_DATA, hone_lower_gradient_of(b, n->y));
    return dx < 0 ? dx : hone_lower_same_gradient(b, x, dx);
}

/* Gradient, loss of each row, and what `more` names. */
static int add(struct hone_lower *b, struct hone_node *n, const char *name, enum hone_role role,
               enum hone_dtype dtype, int rank)
{
    int64_t dim[] = { b->how->batch, n->c };
    return hone_lower_tensor(b, role, dtype, hone_node_index(b, n), rank, dim, "%s", name);
}

/* attrs: "" or ":smooth0.1" */
static int loss_step(struct hone_lower *b, struct hone_node *n, const char *op, const char *attrs,
                     const int arg[], int nargs)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:f32:any:m%dn%d%s", op, b->how->batch, n->c, attrs);
    return hone_lower_step(b, n, HONE_LOSS, text, arg, nargs);
}

/* Labels are softened, and a teacher is listened to, in training alone: what evaluation measures
 * stays comparable. */
static int classify_step(struct hone_lower *b, struct hone_node *n, int dx)
{
    const struct hone_lowering *how = b->how;
    struct hone_net *net = b->net;
    char attrs[64] = "";
    double smooth = how->label_smoothing > 0 ? how->label_smoothing : hone_node_real(n, "smooth");
    if (!how->train || how->teacher_temperature <= 0) {
        if (how->train && smooth > 0) snprintf(attrs, sizeof attrs, ":smooth%.9g", smooth);
        return loss_step(b, n, "softmax_ce", attrs,
                         (int[]){ dx, net->loss, net->hit, n->y, net->target }, 5);
    }
    if (smooth > 0)
        return hone_fail(HONE_EINVAL, "labels that are smoothed do not go with a teacher");
    net->teacher = add(b, n, "teacher", HONE_ROLE_DATA, HONE_F32, 2);
    if (net->teacher < 0) return net->teacher;
    snprintf(attrs, sizeof attrs, ":t%.9g+mix%.9g", how->teacher_temperature, how->teacher_mix);
    return loss_step(b, n, "distill", attrs,
                     (int[]){ dx, net->loss, net->hit, n->y, net->teacher, net->target }, 6);
}

static int classify(struct hone_lower *b, struct hone_node *n)
{
    struct hone_net *net = b->net;
    int err = flat_input(b, n), dx = -1;
    if (err) return err;
    if (n->c < 2)
        return hone_fail(HONE_EPARSE, "%s '%s' needs at least 2 classes, and '%s' has 1",
                         n->kind->name, n->name, hone_node_input(b, n)->name);
    if (b->how->huber_delta > 0)
        return hone_fail(HONE_EINVAL, "--delta is of the loss huber, and this is %s",
                         n->kind->name);
    net->task = HONE_CLASSIFY;
    if ((dx = hone_lower_new_gradient(b, hone_node_index(b, n), n->y)) < 0) return dx;
    if ((net->loss = add(b, n, n->name, HONE_ROLE_ACTIVATION, HONE_WIDE, 1)) < 0) return net->loss;
    if ((net->hit = add(b, n, "hit", HONE_ROLE_ACTIVATION, HONE_WIDE, 1)) < 0) return net->hit;
    if ((net->target = add(b, n, "label", HONE_ROLE_DATA, HONE_I32, 1)) < 0) return net->target;
    return classify_step(b, n, dx);
}

static int regress(struct hone_lower *b, struct hone_node *n)
{
    struct hone_net *net = b->net;
    char attrs[64] = "";
    int err = flat_input(b, n), dx = -1;
    if (err) return err;
    if (b->how->label_smoothing > 0)
        return hone_fail(HONE_EINVAL, "--label-smoothing is of the loss softmax_ce, and this is %s",
                         n->kind->name);
    if (b->how->teacher_temperature > 0)
        return hone_fail(HONE_EINVAL, "a teacher goes with the loss softmax_ce, and this is %s",
                         n->kind->name);
    if (n->kind->key[0].name) {
        double delta = b->how->huber_delta > 0 ? b->how->huber_delta : hone_node_real(n, "delta");
        snprintf(attrs, sizeof attrs, ":delta%.9g", delta);
    } else if (b->how->huber_delta > 0) {
        return hone_fail(HONE_EINVAL, "--delta is of the loss huber, and this is %s",
                         n->kind->name);
    }
    net->task = HONE_REGRESS;
    if ((dx = hone_lower_new_gradient(b, hone_node_index(b, n), n->y)) < 0) return dx;
    if ((net->loss = add(b, n, n->name, HONE_ROLE_ACTIVATION, HONE_WIDE, 1)) < 0) return net->loss;
    if ((net->target = add(b, n, "target", HONE_ROLE_DATA, HONE_F32, 2)) < 0) return net->target;
    return loss_step(b, n, n->kind->name, attrs, (int[]){ dx, net->loss, n->y, net->target }, 4);
}

const struct hone_layer_kind hone_layers_loss[] = {
    { .name = "softmax_ce",
      .ninputs = 1,
      .is_loss = 1,
      .forward = classify,
      .backward = backward,
      .key = { { .name = "smooth", .type = HONE_KEY_SHARE } } },
    { .name = "mse", .ninputs = 1, .is_loss = 1, .forward = regress, .backward = backward },
    { .name = "mae", .ninputs = 1, .is_loss = 1, .forward = regress, .backward = backward },
    { .name = "huber",
      .ninputs = 1,
      .is_loss = 1,
      .forward = regress,
      .backward = backward,
      .key = { { .name = "delta", .type = HONE_KEY_POSITIVE, .max = 1e6, .def = 1 } } },
    { 0 },
};
