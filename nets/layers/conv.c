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
             groups(n, in), b->how->batch, in->c, in->h, in->w, filters(n, in), outs, kh, kw, s, s, ph, pw, d - 1, d - 1);
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

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    struct hone_problem p;
    struct hone_arg arg[HONE_MAX_ARGS];
    char text[2 * HONE_TEXT], act[HONE_NAME];
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
    if (has_bias && (n->bias = hone_lower_weight(b, n, "bias", taps * wdim[3], 0, 1, wdim)) < 0) return n->bias;
    describe(b, n, in);
    hone_node_layer(b, n)->macs = (int64_t)n->h * n->w * n->c * taps * wdim[3];
    int y = hone_lower_act_output(b, n);
    if (y < 0) return y;
    const char *epilogue = hone_lower_epilogue(b, n, act);
    snprintf(text, sizeof text, "conv2d_fwd:f32:nhwc:%s%s%s%s", n->sizes,
             has_bias || *epilogue ? ":" : "", has_bias ? "bias" : "",
             has_bias || !*epilogue ? epilogue : epilogue + 1);
    err = hone_lower_step(b, n, HONE_FORWARD, text, (int[]){ y, x, n->matrix, n->bias },
                          3 + has_bias);
    return err ? err : hone_lower_act_forward(b, n);
}

static int backward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    char text[2 * HONE_TEXT];
    int dy = hone_lower_act_backward(b, n), x = hone_lower_again(b, in->y);
    if (dy < 0) return dy;
    snprintf(text, sizeof text, "conv2d_wgrad:f32:nhwc:%s", n->sizes);
    int err = hone_lower_step(b, n, HONE_BACKWARD_WEIGHTS, text,
                              (int[]){ hone_lower_gradient_of(b, n->weight), x, dy }, 3);
    if (!err && n->bias >= 0)
        err = hone_lower_bias_backward(b, n, (int64_t)b->how->batch * n->h * n->w, dy);
    if (err || !in->backward) return err;
    int dx = hone_lower_new_gradient(b, hone_node_index(b, n), in->y);
    if (dx < 0) return dx;
    snprintf(text, sizeof text, "conv2d_dgrad:f32:nhwc:%s", n->sizes);
    return hone_lower_step(b, n, HONE_BACKWARD_DATA, text, (int[]){ dx, dy, n->matrix }, 3);
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
      .key = { { .name = "k", .required = 1, .min = 1, .max = HONE_MAX_SIZE },
               { .name = "g", .min = 1, .max = HONE_MAX_SIZE, .def = 1 },
               WINDOW } },
    { .name = "dwconv",
      .ninputs = 1,
      .takes_act = HONE_TAKES_ACT,
      .forward = forward,
      .backward = backward,
      .key = { WINDOW } },
    { 0 },
};
