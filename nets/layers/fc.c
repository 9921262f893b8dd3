/* fc: y = act(x W + bias), W (in, out): a gemm forward (nn), one for the input's gradient (nt) and
 * one for the weights' (tn). */
#include "nets/lower.h"

/* In a net of halves the result is floats where its tensor is. */
static int gemm(struct hone_lower *b, struct hone_node *n, enum hone_phase phase,
                const char *layout, int64_t sizes[3], const char *attrs, const int arg[], int nargs)
{
    char text[HONE_TEXT];
    const struct hone_net *net = b->net;
    if (arg[0] < 0) return arg[0];
    const int wide = net->dtype != net->tensor[arg[0]].dtype;
    snprintf(text, sizeof text, "gemm:%s:%s:m%lldn%lldk%lld%s%s%s%s", hone_dtype_name(net->dtype),
             layout, (long long)sizes[0], (long long)sizes[1], (long long)sizes[2],
             *attrs || wide ? ":" : "", attrs, *attrs && wide ? "+" : "", wide ? "wide" : "");
    return hone_lower_step(b, n, phase, text, arg, nargs);
}

/* What a loss reads stays as it was added up: rounded to bf16, logits near 10 would be off by a
 * hundredth. */
static int is_logits(const struct hone_lower *b, const struct hone_node *n)
{
    return !n->act && n->nreaders == 1 && b->node[n->reader].kind->is_loss;
}

int hone_lower_bias_backward(struct hone_lower *b, const struct hone_node *n, int64_t rows, int dy)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "bias_bwd:f32:any:m%lldn%d", (long long)rows, n->c);
    return hone_lower_step(b, n, HONE_BACKWARD_WEIGHTS, text,
                           (int[]){ hone_lower_gradient_of(b, n->bias), dy }, 2);
}

/* Halves of so much of the weights are there at once. */
enum { HALVES = 4 << 20 };

/* In how many pieces of its columns the product is made, each by halves of its own of the weights, in
 * one small place after the other; the gradient of the input makes its own anew. */
static int pieces_of(const struct hone_lower *b, const struct hone_node *n)
{
    enum { COLUMNS = HONE_ALIGN / sizeof(float) };   /* pieces of the bias begin on cache lines */
    const struct hone_tensor *w = &b->net->tensor[n->weight];
    const int64_t halves = hone_tensor_len(w) * (int64_t)hone_dtype_bytes(b->net->dtype);
    int pieces = 1;
    if (!hone_dtype_is_half(b->net->dtype) || is_logits(b, n) || b->how->keep ||
        !hone_lower_is_large(b, hone_tensor_bytes(w)))
        return 1;
    while (halves / pieces > HALVES && n->c % (2 * pieces * COLUMNS) == 0) pieces *= 2;
    return pieces;
}

/* Columns [from, from + columns) of x W + bias with its epilogue, in y. */
static int product(struct hone_lower *b, struct hone_node *n, int y, int from, int columns,
                   const char *attrs)
{
    const struct hone_node *in = hone_node_input(b, n);
    int w = n->matrix, bias = n->bias;
    if (columns < n->c && (w = hone_lower_narrow_columns(b, n, n->weight, from, columns)) < 0)
        return w;
    if (bias >= 0 && (bias = hone_lower_numbers(b, bias, from, columns)) < 0) return bias;
    return gemm(b, n, HONE_FORWARD, "nn", (int64_t[]){ b->how->batch, columns, in->c }, attrs,
                (int[]){ y, in->y, w, bias }, 3 + (bias >= 0));
}

/* The same of `count` columns by `pieces`, side by side. */
static int products(struct hone_lower *b, struct hone_node *n, int y, int from, int count,
                    int pieces, const char *attrs)
{
    const int64_t half[] = { b->how->batch, count / 2 };
    char text[HONE_TEXT];
    if (pieces == 1) return product(b, n, y, from, count, attrs);
    int side[2], err = HONE_OK;
    for (int i = 0; !err && i < 2; i++) {
        side[i] = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, hone_node_index(b, n), 2,
                                    half, "%s.%d", n->name, from + i * count / 2);
        err = side[i] < 0 ? side[i]
                          : products(b, n, side[i], from + i * count / 2, count / 2, pieces / 2,
                                     attrs);
    }
    if (err) return err;
    snprintf(text, sizeof text, "concat_fwd:f32:any:m%dn%dk%d", b->how->batch, count / 2,
             count / 2);
    return hone_lower_step(b, n, HONE_FORWARD, text, (int[]){ y, side[0], side[1] }, 3);
}

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    char act[HONE_NAME], attrs[2 * HONE_NAME];
    int has_bias = hone_node_int(n, "bias");
    if (!hone_node_is_flat(in))
        return hone_fail(HONE_EPARSE,
                         "fc '%s' reads features, and '%s' is %dx%dx%d: put flatten between",
                         n->name, in->name, in->h, in->w, in->c);
    n->h = n->w = 1;
    n->c = hone_node_int(n, "k");
    n->weight = hone_lower_weight(b, n, "w", in->c, n->c, 2, (int64_t[]){ in->c, n->c });
    if (n->weight < 0) return n->weight;
    const int pieces = pieces_of(b, n);
    if (pieces == 1 && (n->matrix = hone_lower_narrow(b, n, HONE_FORWARD, n->weight)) < 0)
        return n->matrix;
    if (has_bias)
        n->bias = hone_lower_weight(b, n, "bias", in->c, 0, 1, (int64_t[]){ n->c });
    if (has_bias && n->bias < 0) return n->bias;
    hone_lower_say(b, n, "%d->%d%s%s", in->c, n->c, n->act ? " " : "", n->act ? n->act->name : "");
    hone_node_layer(b, n)->macs = (int64_t)in->c * n->c;
    int y = hone_lower_act_output(b, n);
    if (y < 0) return y;
    if (is_logits(b, n)) b->net->tensor[y].dtype = hone_dtype_wide(b->net->dtype);
    const char *epilogue = hone_lower_epilogue(b, n, act);
    snprintf(attrs, sizeof attrs, "%s%s", has_bias ? "bias" : "",
             has_bias || !*epilogue ? epilogue : epilogue + 1);
    int err = products(b, n, y, 0, n->c, pieces, attrs);
    return err ? err : hone_lower_act_forward(b, n);
}

/* ---- backward ---- */

/* Of all parameters: pieces of the weights' gradient, which their update finds in the cache; and of
 * the input's, each of which reads all of dy. */
enum { OF_WEIGHTS = 64, OF_INPUT = 16 };

/* The gradient of the input's columns that belong to so many pieces from `from` on, of `pieces`, of
 * the weights, side by side: a product of a piece needs no more workspace than that. */
static int columns_gradient(struct hone_lower *b, struct hone_node *n, int from, int count,
                            int pieces, int dy)
{
    const int batch = b->how->batch, columns = hone_node_input(b, n)->c / pieces * count,
              half = count / 2;
    char text[HONE_TEXT];
    int dx = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, hone_node_index(b, n), 2,
                               (int64_t[]){ batch, columns }, "d %s.%d",
                               hone_node_input(b, n)->name, from);
    if (dx < 0) return dx;
    if (count == 1) {
        int w = hone_lower_weight_piece(b, n, from, pieces);
        if (w >= 0) w = hone_lower_narrow(b, n, HONE_BACKWARD_DATA, w);
        if (w < 0) return w;
        int err = gemm(b, n, HONE_BACKWARD_DATA, "nt", (int64_t[]){ batch, columns, n->c }, "",
                       (int[]){ dx, dy, w }, 3);
        return err ? err : dx;
    }
    int left = columns_gradient(b, n, from, half, pieces, dy),
        right = columns_gradient(b, n, from + half, half, pieces, dy);
    snprintf(text, sizeof text, "concat_fwd:f32:any:m%dn%dk%d", batch, columns / 2, columns / 2);
    int err = hone_lower_step(b, n, HONE_BACKWARD_DATA, text, (int[]){ dx, left, right }, 3);
    return err ? err : dx;
}

static int input_gradient(struct hone_lower *b, struct hone_node *n, int dy, int64_t copied)
{
    const struct hone_node *in = hone_node_input(b, n);
    if (!in->backward) return HONE_OK;
    const int pieces = hone_lower_pieces(b, n, OF_INPUT, copied);
    if (pieces > 1) {
        int all = columns_gradient(b, n, 0, pieces, pieces, dy);
        return all < 0 ? all : hone_lower_same_gradient(b, in->y, all);
    }
    int dx = hone_lower_new_gradient(b, hone_node_index(b, n), in->y);
    if (dx < 0) return dx;
    const int w = hone_lower_matrix_backward(b, n);
    if (w < 0) return w;
    return gemm(b, n, HONE_BACKWARD_DATA, "nt", (int64_t[]){ b->how->batch, in->c, n->c }, "",
                (int[]){ dx, dy, w }, 3);
}

/* The gradient, dw, of the weights that belong to the columns x of the input. */
static int weights_gradient(struct hone_lower *b, struct hone_node *n, int dw, int x, int dy)
{
    if (x < 0) return x;
    const int64_t columns = hone_tensor_len(&b->net->tensor[x]) / b->how->batch;
    return gemm(b, n, HONE_BACKWARD_WEIGHTS, "tn", (int64_t[]){ columns, n->c, b->how->batch }, "",
                (int[]){ dw, x, dy }, 3);
}

/* Updated piece by piece, the weights must have served the input's gradient before. */
static int backward(struct hone_lower *b, struct hone_node *n)
{
    int dy = hone_lower_narrow(b, n, HONE_BACKWARD_DATA, hone_lower_act_backward(b, n, 0)),
        x = hone_lower_again(b, hone_node_input(b, n)->y), err = HONE_OK;
    if (dy < 0 || x < 0) return dy < 0 ? dy : x;
    const int64_t copied = hone_tensor_bytes(&b->net->tensor[x]);
    n->pieces = hone_lower_pieces(b, n, OF_WEIGHTS, copied);
    if (n->pieces == 1) err = weights_gradient(b, n, hone_lower_gradient_of(b, n->weight), x, dy);
    if (!err && n->bias >= 0) err = hone_lower_bias_backward(b, n, b->how->batch, dy);
    if (!err) err = input_gradient(b, n, dy, copied);
    return err || n->pieces == 1
               ? err
               : hone_lower_in_pieces(b, n, x, weights_gradient, dy);
}

const struct hone_layer_kind hone_layers_fc[] = {
    { .name = "fc",
      .ninputs = 1,
      .takes_act = HONE_TAKES_ACT,
      .forward = forward,
      .backward = backward,
      .key = { { .name = "k", .required = 1, .min = 1, .max = HONE_MAX_SIZE },
               { .name = "bias", .max = 1, .def = 1 },
               { .name = "act", .type = HONE_KEY_ACT } } },
    { 0 },
};
