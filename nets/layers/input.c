/* What only gives numbers a shape: the input, and flatten. */
#include "nets/lower.h"

#define SIZE(name_, def_) \
    { .name = name_, .required = !(def_), .min = 1, .max = HONE_MAX_SIZE, .def = def_ }

static int input(struct hone_lower *b, struct hone_node *n)
{
    n->c = hone_node_int(n, "c");
    n->h = hone_node_int(n, "h");
    n->w = hone_node_int(n, "w");
    n->y = hone_lower_output(b, n, "");
    if (n->y < 0) return n->y;
    struct hone_tensor *x = &b->net->tensor[b->net->input = n->y];
    x->role = HONE_ROLE_DATA;
    x->dtype = hone_dtype_wide(x->dtype);   /* data come as floats */
    n->y = hone_lower_narrow(b, n, HONE_FORWARD, n->y);
    return n->y < 0 ? n->y : HONE_OK;
}

/* Data come as floats, and lie outside the arena: halves of them need not. */
static int is_again(const struct hone_lower *b, const struct hone_node *n)
{
    return n->y != b->net->input;
}

static int again(struct hone_lower *b, struct hone_node *n)
{
    return hone_lower_narrow(b, n, HONE_BACKWARD_WEIGHTS, b->net->input);
}

/* (h, w, c) in this order become features: no step, the numbers already lie so. */
static int flatten(struct hone_lower *b, struct hone_node *n)
{
    hone_lower_pass(n, hone_node_input(b, n));
    int64_t len = (int64_t)n->h * n->w * n->c; /* the tensor's length fits in 31 bits */
    n->h = n->w = 1;
    n->c = (int)len;
    return HONE_OK;
}

const struct hone_layer_kind hone_layers_input[] = {
    { .name = "input",
      .key = { SIZE("c", 0), SIZE("h", 1), SIZE("w", 1) },
      .forward = input,
      .again = again,
      .is_again = is_again },
    { .name = "flatten", .ninputs = 1, .forward = flatten },
    { 0 },
};
