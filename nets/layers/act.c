/* The activations: as layers of their own, and at the end of conv and fc.  A row's name is the name
 * of the op, of its gradient's op less "_bwd", and of the attribute of gemm and conv2d_fwd. */
#include "nets/lower.h"

#include <string.h>

int hone_lower_fuses(const struct hone_lower *b, const struct hone_layer_kind *act)
{
    return act && (act->from_y || !b->how->train);
}

const char *hone_lower_epilogue(const struct hone_lower *b, const struct hone_node *n,
                                char text[HONE_NAME])
{
    text[0] = 0;
    if (hone_lower_fuses(b, n->act)) snprintf(text, HONE_NAME, "+%s", n->act->name);
    return text;
}

static int value_step(struct hone_lower *b, const struct hone_node *n, const char *name, int y,
                      int x)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:f32:any:n%lld", name,
             (long long)hone_tensor_len(&b->net->tensor[x]));
    return hone_lower_step(b, n, HONE_FORWARD, text, (int[]){ y, x }, 2);
}

/* The tensor that tells where y, which n made, is above 0: where dropout alone reads y, what it makes
 * of it, which another layer keeps in any case.  What dropout leaves are larger numbers of the same
 * sign, and where it puts a 0 the gradient is 0, whatever act's would be: the same bits. */
static int with_sign_of(const struct hone_lower *b, const struct hone_node *n, int y)
{
    while (n->nreaders == 1 && b->node[n->reader].y == y) n = &b->node[n->reader];
    if (b->how->keep || n->nreaders != 1) return y;
    const struct hone_node *reader = &b->node[n->reader];
    return !strcmp(reader->kind->name, "dropout") && reader->backward ? reader->y : y;
}

/* What the gradient of y = act(x) reads. */
static int read_of(struct hone_lower *b, const struct hone_node *n,
                   const struct hone_layer_kind *act, int y, int x)
{
    return hone_lower_again(b, !act->from_y      ? x
                               : act->from_sign ? with_sign_of(b, n, y)
                                                : y);
}

/* Turns the gradient of y = act(x) into dx.  y_again: y once more, for that; 0: there is none. */
static int gradient_step(struct hone_lower *b, const struct hone_node *n,
                         const struct hone_layer_kind *act, int dx, int y, int x, int y_again)
{
    char text[HONE_TEXT];
    if (dx < 0) return dx;
    snprintf(text, sizeof text, "%s_bwd:f32:any:n%lld", act->name,
             (long long)hone_tensor_len(&b->net->tensor[y]));
    const int dy = hone_lower_gradient_of(b, y), of = y_again ? y_again : read_of(b, n, act, y, x);
    return hone_lower_step(b, n, HONE_BACKWARD_DATA, text, (int[]){ dx, dy, of }, 3);
}

/* ---- at the end of conv and fc ---- */

int hone_lower_act_output(struct hone_lower *b, struct hone_node *n)
{
    n->y = hone_lower_output(b, n, "");
    if (n->y < 0 || !n->act || hone_lower_fuses(b, n->act)) return n->y;
    return n->pre = hone_lower_output(b, n, ".pre");
}

int hone_lower_act_forward(struct hone_lower *b, struct hone_node *n)
{
    return n->pre < 0 ? HONE_OK : value_step(b, n, n->act->name, n->y, n->pre);
}

int hone_lower_act_keeps(const struct hone_lower *b, const struct hone_node *n)
{
    return n->act && !n->is_cut_above && n->pre < 0 &&
           (!n->act->from_sign || with_sign_of(b, n, n->y) == n->y);
}

int hone_lower_act_backward(struct hone_lower *b, struct hone_node *n, int y_again)
{
    if (!n->act || n->is_cut_above) return hone_lower_gradient_of(b, n->y);
    const struct hone_tensor y = b->net->tensor[n->y];
    int layer = hone_node_index(b, n);
    int dx = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, y.dtype, layer, y.rank, y.dim, "d %s.pre",
                               n->name);
    int err = gradient_step(b, n, n->act, dx, n->y, n->pre, y_again);
    return err ? err : dx;
}

/* ---- in parts of the batch ---- */

int hone_lower_batch_part(struct hone_lower *b, int t, int nth, int parts)
{
    const struct hone_tensor of = b->net->tensor[t];
    const int64_t n = hone_tensor_len(&of) / parts;
    int v = hone_lower_tensor(b, HONE_ROLE_STATE, HONE_F32, of.layer, 1, (int64_t[]){ n },
                              "part %d of %.40s", nth, of.name);
    if (v < 0) return v;
    b->net->tensor[v].dtype = of.dtype;
    b->net->tensor[v].within = t;
    b->net->tensor[v].offset = nth * n * (int64_t)hone_dtype_bytes(of.dtype);
    return v;
}

int hone_lower_act_of_part(struct hone_lower *b, const struct hone_node *n, int y, int x)
{
    return y < 0 || x < 0 ? HONE_EINVAL : value_step(b, n, n->kind->name, y, x);
}

int hone_lower_act_gradient_of_part(struct hone_lower *b, const struct hone_node *n, int dx, int dy,
                                    int x)
{
    char text[HONE_TEXT];
    if (dx < 0 || dy < 0 || x < 0) return HONE_EINVAL;
    snprintf(text, sizeof text, "%s_bwd:f32:any:n%lld", n->kind->name,
             (long long)hone_tensor_len(&b->net->tensor[x]));
    return hone_lower_step(b, n, HONE_BACKWARD_DATA, text, (int[]){ dx, dy, x }, 3);
}

/* Where an average alone reads an activation whose gradient needs its input, neither it nor the
 * gradient that the average passes on need ever be there as a whole: a part of the batch after the
 * other goes through both, in the cache, and the gradient takes the input's place. */
static int parts_of(const struct hone_lower *b, const struct hone_node *n)
{
    enum { MOST = 8, PART = 1 << 17 };
    const struct hone_node *in = hone_node_input(b, n);
    const int64_t bytes = hone_tensor_bytes(&b->net->tensor[in->y]);
    int parts = MOST;
    if (!b->how->train || b->how->keep || n->kind->from_y || n->nreaders != 1 ||
        in->nreaders != 1 ||
        strcmp(b->node[n->reader].kind->name, "avgpool") || !in->kind->backward ||
        in->weight < 0 || (b->how->device && b->how->device->backend->start))
        return 1;
    while (parts > 1 && (b->how->batch % parts || bytes / parts < PART)) parts /= 2;
    return parts;
}

/* ---- as layers ---- */

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    hone_lower_pass(n, in);
    if (n->absorbed) {
        hone_lower_say(b, n, "in %s", in->name);
        return HONE_OK;
    }
    if ((n->parts = parts_of(b, n)) > 1) return HONE_OK;
    n->y = hone_lower_output(b, n, "");
    return n->y < 0 ? n->y : value_step(b, n, n->kind->name, n->y, in->y);
}

static int backward(struct hone_lower *b, struct hone_node *n)
{
    if (n->absorbed || n->parts > 1) return HONE_OK;
    int x = hone_node_input(b, n)->y;
    return gradient_step(b, n, n->kind, hone_lower_new_gradient(b, hone_node_index(b, n), x), n->y,
                         x, 0);
}

#define ACT(name_, from_y_, from_sign_, rectifies_, cuts_)                                         \
    {                                                                                              \
        .name = name_, .ninputs = 1, .is_act = 1, .from_y = from_y_, .from_sign = from_sign_,      \
        .rectifies = rectifies_, .cuts = cuts_, .forward = forward, .backward = backward           \
    }

const struct hone_layer_kind hone_layers_act[] = {
    ACT("relu", 1, 1, 1, 1),      ACT("relu6", 1, 0, 1, 1), ACT("leaky_relu", 1, 1, 1, 0),
    ACT("sigmoid", 1, 0, 0, 0),   ACT("tanh", 1, 0, 0, 0),  ACT("gelu_erf", 0, 0, 1, 0),
    ACT("gelu_tanh", 0, 0, 1, 0), ACT("silu", 0, 0, 1, 0),  { 0 },
};
