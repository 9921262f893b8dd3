/* conv: two-dimensional convolution, with a bias and an activation where asked for.  dwconv: the
 * same with a group and a filter for each channel. */
#include "nets/lower.h"

#include <stdio.h>
#include <string.h>

/* One direction: `same` keeps the size (divided by the stride and rounded up), with the smaller
 * half of the padding in front, as TensorFlow has it. */
static int resolve_same(int in, int kernel, int stride, int dilation, int *pad)
{
    int64_t out = (in + (int64_t)stride - 1) / stride, reach = (kernel - (int64_t)1) * dilation + 1;
    int64_t total = (out - 1) * stride + reach - in;
    *pad = total > 0 ? (int)(total / 2) : 0;
    return (int)out;
}

static int is_depthwise(const struct hone_node *n) { return n->kind->name[0] == 'd'; }

static int filters(const struct hone_node *n, const struct hone_node *in)
{
    return is_depthwise(n) ? in->c : hone_node_int(n, "k");
}

static int groups(const struct hone_node *n, const struct hone_node *in)
{
    return is_depthwise(n) ? in->c : hone_node_int(n, "g");
}

static void print_sizes(struct hone_lower *b, struct hone_node *n, const struct hone_node *in)
{
    int kh = hone_node_int(n, "r"), kw = hone_node_int(n, "kw"), s = hone_node_int(n, "stride");
    int ph = hone_node_int(n, "p"), pw = hone_node_int(n, "pw"), d = hone_node_int(n, "d");
    char outs[64] = "";
    if (ph == HONE_SAME || pw == HONE_SAME) {
        int oh = ph == HONE_SAME ? resolve_same(in->h, kh, s, d, &ph) : 0;
        int ow = pw == HONE_SAME ? resolve_same(in->w, kw, s, d, &pw) : 0;
        if (oh) snprintf(outs, sizeof outs, "oh%d", oh);
        if (ow) snprintf(outs + strlen(outs), sizeof outs - strlen(outs), "ow%d", ow);
    }
    snprintf(n->sizes, sizeof n->sizes, "g%dmb%dic%dih%diw%doc%d%skh%dkw%dsh%dsw%dph%dpw%ddh%ddw%d",
             groups(n, in), b->how->batch, in->c, in->h, in->w, filters(n, in), outs, kh, kw, s, s,
             ph, pw, d - 1, d - 1);
}

static void describe(struct hone_lower *b, const struct hone_node *n, const struct hone_node *in)
{
    int s = hone_node_int(n, "stride"), d = hone_node_int(n, "d"), g = groups(n, in),
        p = hone_node_int(n, "p");
    hone_lower_say(b, n, "%dx%d %d", hone_node_int(n, "r"), hone_node_int(n, "kw"), in->c);
    if (!is_depthwise(n)) hone_lower_say(b, n, "->%d", n->c);
    if (s > 1) hone_lower_say(b, n, " s%d", s);
    if (p == HONE_SAME) hone_lower_say(b, n, " same");
    if (p > 0) hone_lower_say(b, n, " p%d", p);
    if (d > 1) hone_lower_say(b, n, " d%d", d);
    if (g > 1 && !is_depthwise(n)) hone_lower_say(b, n, " g%d", g);
    if (n->act) hone_lower_say(b, n, " %s", n->act->name);
}

static int value_step(struct hone_lower *b, struct hone_node *n, enum hone_phase phase, int y,
                      int x)
{
    char text[2 * HONE_TEXT], act[HONE_NAME];
    const char *epilogue = hone_lower_epilogue(b, n, act);
    const int has_bias = n->bias >= 0;
    snprintf(text, sizeof text, "conv2d_fwd:f32:nhwc:%s%s%s%s", n->sizes,
             has_bias || *epilogue ? ":" : "", has_bias ? "bias" : "",
             has_bias || !*epilogue ? epilogue : epilogue + 1);
    return hone_lower_step(b, n, phase, text, (int[]){ y, x, n->matrix, n->bias }, 3 + has_bias);
}

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    struct hone_problem p;
    struct hone_arg arg[HONE_MAX_ARGS];
    char text[2 * HONE_TEXT];
    int g = groups(n, in), has_bias = hone_node_int(n, "bias"), x = in->y;
    print_sizes(b, n, in);
    snprintf(text, sizeof text, "conv2d_fwd:f32:nhwc:%s", n->sizes);
    int err = hone_problem_parse(text, &p);
    if (err)
        return hone_fail_at(err, "%s '%s' on %dx%dx%d", n->kind->name, n->name, in->h, in->w,
                            in->c);
    p.op->args(&p, arg);
    n->h = (int)arg[0].dim[1];
    n->w = (int)arg[0].dim[2];
    n->c = (int)arg[0].dim[3];
    int64_t *wdim = arg[2].dim, taps = wdim[1] * wdim[2];
    n->weight = hone_lower_weight(b, n, "w", taps * wdim[3], taps * wdim[0] / g, 4, wdim);
    if (n->weight < 0) return n->weight;
    if ((n->matrix = hone_lower_narrow(b, n, HONE_FORWARD, n->weight)) < 0) return n->matrix;
    if (has_bias && (n->bias = hone_lower_weight(b, n, "bias", taps * wdim[3], 0, 1, wdim)) < 0)
        return n->bias;
    describe(b, n, in);
    hone_node_layer(b, n)->macs = (int64_t)n->h * n->w * n->c * taps * wdim[3];
    int y = hone_lower_act_output(b, n);
    if (y < 0) return y;
    err = value_step(b, n, HONE_FORWARD, y, x);
    return err ? err : hone_lower_act_forward(b, n);
}

/* ---- its output made again ---- */

/* Products of a number of its output. */
static int64_t products(const struct hone_lower *b, const struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    return (int64_t)hone_node_int(n, "r") * hone_node_int(n, "kw") * in->c / groups(n, in);
}

/* Where batch normalisation alone reads it: few products of the net's input, as the first layer of a
 * net of pictures has them, or where memory is short (limit.c). */
static int is_again(const struct hone_lower *b, const struct hone_node *n)
{
    enum { FEW = 32 };
    if (n->nreaders != 1 || n->act || strcmp(b->node[n->reader].kind->name, "bnorm")) return 0;
    if (!hone_node_input(b, n)->kind->ninputs && products(b, n) <= FEW) return 1;
    hone_node_layer(b, n)->again = products(b, n);
    return b->how->again && b->how->again[hone_node_index(b, n)];
}

static int again(struct hone_lower *b, struct hone_node *n)
{
    int y = hone_lower_output(b, n, ".again"), x = hone_lower_again(b, hone_node_input(b, n)->y);
    if (y < 0 || x < 0) return y < 0 ? y : x;
    int err = value_step(b, n, HONE_BACKWARD_WEIGHTS, y, x);
    return err ? err : y;
}

/* The output for its activation's gradient, which reads it last, where memory is short: what is kept
 * for others need not live while the gradient of it is made.  Else 0. */
static int again_for_act(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_device *d = b->how->device;
    if (b->how->keep || (d && d->backend->start) || !hone_lower_act_keeps(b, n)) return 0;
    hone_node_layer(b, n)->again = products(b, n);
    return b->how->again && b->how->again[hone_node_index(b, n)] ? again(b, n) : 0;
}

/* ---- backward ---- */

static int input_gradient(struct hone_lower *b, struct hone_node *n, int dy)
{
    const struct hone_node *in = hone_node_input(b, n);
    char text[2 * HONE_TEXT];
    if (!in->backward) return HONE_OK;
    int dx = hone_lower_new_gradient(b, hone_node_index(b, n), in->y);
    if (dx < 0) return dx;
    const int w = hone_lower_matrix_backward(b, n);
    if (w < 0) return w;
    snprintf(text, sizeof text, "conv2d_dgrad:f32:nhwc:%s", n->sizes);
    return hone_lower_step(b, n, HONE_BACKWARD_DATA, text, (int[]){ dx, dy, w }, 3);
}

/* The gradient, dw, of the filters whose output's gradient is dy, of all or fewer channels. */
static int weights_gradient(struct hone_lower *b, struct hone_node *n, int dw, int dy, int x)
{
    char text[2 * HONE_TEXT];
    const char *oc = strstr(n->sizes, "oc"), *rest = oc + 2 + strspn(oc + 2, "0123456789");
    if (dw < 0) return dw;
    snprintf(text, sizeof text, "conv2d_wgrad:f32:nhwc:%.*soc%lld%s", (int)(oc - n->sizes),
             n->sizes, (long long)b->net->tensor[dw].dim[0], rest);
    return hone_lower_step(b, n, HONE_BACKWARD_WEIGHTS, text, (int[]){ dw, x, dy }, 3);
}

/* Whichever gradient comes first is there during the step of the other.  That of the input needs the
 * larger workspace, as a rule: it comes first where it is the smaller one.  A gradient of filters
 * that lies among all gradients is there in any case. */
static int is_input_first(const struct hone_lower *b, const struct hone_node *n, int x)
{
    const int64_t filters = hone_tensor_bytes(&b->net->tensor[n->weight]);
    return hone_lower_updates_apart(b, filters) && !b->how->keep &&
           filters > hone_tensor_bytes(&b->net->tensor[x]);
}

/* A number of dy goes into a product for each number of a filter, which its copying is little
 * against.  Updated piece by piece, the filters must have served the input's gradient before. */
static int backward(struct hone_lower *b, struct hone_node *n)
{
    enum { SHARE = 16 };   /* of all parameters: each piece reads all of x */
    const struct hone_node *in = hone_node_input(b, n);
    int dy = hone_lower_act_backward(b, n, again_for_act(b, n)),
        x = hone_lower_again(b, in->y), err = HONE_OK;
    if (dy < 0 || x < 0) return dy < 0 ? dy : x;
    n->pieces = groups(n, in) > 1
                    ? 1
                    : hone_lower_pieces(b, n, SHARE, hone_tensor_bytes(&b->net->tensor[dy]) / 8);
    const int first = n->pieces == 1 && !is_input_first(b, n, x);
    if (first) err = weights_gradient(b, n, hone_lower_gradient_of(b, n->weight), dy, x);
    if (!err && n->bias >= 0)
        err = hone_lower_bias_backward(b, n, (int64_t)b->how->batch * n->h * n->w, dy);
    if (!err) err = input_gradient(b, n, dy);
    if (err || first) return err;
    return n->pieces > 1
               ? hone_lower_in_pieces(b, n, dy, weights_gradient, x)
               : weights_gradient(b, n, hone_lower_gradient_of(b, n->weight), dy, x);
}

/* clang-format off */
#define WINDOW                                                                  \
    { .name = "r", .required = 1, .min = 1, .max = 4096 },                      \
    { .name = "kw", .min = 1, .max = 4096, .same = "r" },                       \
    { .name = "stride", .min = 1, .max = 4096, .def = 1 },                      \
    { .name = "p", .type = HONE_KEY_WHOLE_SAME, .max = 4096 },                  \
    { .name = "pw", .type = HONE_KEY_WHOLE_SAME, .max = 4096, .same = "p" },    \
    { .name = "d", .min = 1, .max = 4096, .def = 1 },                           \
    { .name = "bias", .max = 1, .def = 1 },                                     \
    { .name = "act", .type = HONE_KEY_ACT }
/* clang-format on */

const struct hone_layer_kind hone_layers_conv[] = {
    { .name = "conv",
      .ninputs = 1,
      .takes_act = HONE_TAKES_ACT,
      .forward = forward,
      .backward = backward,
      .again = again,
      .is_again = is_again,
      .key = { { .name = "k", .required = 1, .min = 1, .max = HONE_MAX_SIZE },
               { .name = "g", .min = 1, .max = HONE_MAX_SIZE, .def = 1 },
               WINDOW } },
    { .name = "dwconv",
      .ninputs = 1,
      .takes_act = HONE_TAKES_ACT,
      .forward = forward,
      .backward = backward,
      .again = again,
      .is_again = is_again,
      .key = { WINDOW } },
    { 0 },
};
