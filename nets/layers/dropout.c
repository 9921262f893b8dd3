/* dropout: in training zeroes a share p of the numbers and scales the rest by 1 / (1 - p); in
 * evaluation it is not there.  Which numbers follows from the seed, the step and the layer's own
 * stream. */
#include "nets/lower.h"

static int drop(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase, int to,
                int from)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "dropout:f32:any:n%lld:p%.9g+stream%d",
             (long long)hone_tensor_len(&b->net->tensor[from]), n->value[0], hone_node_index(b, n));
    return hone_lower_step(b, n, phase, text, (int[]){ to, from, b->net->seed }, 3);
}

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    hone_lower_pass(n, in);
    hone_lower_say(b, n, "%g", n->value[0]);
    if (!b->how->train || n->value[0] == 0) return HONE_OK;
    if (b->net->seed < 0)
        b->net->seed = hone_lower_tensor(b, HONE_ROLE_STATE, HONE_U64, -1, 1, (int64_t[]){ 2 },
                                         "dropout's seed and step");
    if (b->net->seed < 0) return b->net->seed;
    n->y = hone_lower_output(b, n, "");
    return n->y < 0 ? n->y : drop(b, n, HONE_FORWARD, n->y, in->y);
}

/* The same numbers are dropped from the gradient, and the rest scaled alike. */
static int backward(struct hone_lower *b, struct hone_node *n)
{
    int x = hone_node_input(b, n)->y;
    if (n->y == x) return HONE_OK;
    int dy = hone_lower_gradient_of(b, n->y),
        dx = hone_lower_new_gradient(b, hone_node_index(b, n), x);
    return dx < 0 ? dx : drop(b, n, HONE_BACKWARD_DATA, dx, dy);
}

const struct hone_layer_kind hone_layers_dropout[] = {
    { .name = "dropout",
      .ninputs = 1,
      .forward = forward,
      .backward = backward,
      .key = { { .name = "p", .type = HONE_KEY_SHARE, .required = 1 } } },
    { 0 },
};
