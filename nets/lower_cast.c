/* Nets of bf16 or f16: weights, their gradients, statistics, losses and data are floats,
 * activations and their gradients halves, and these are the steps between. */
#include "nets/lower.h"

static int cast(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase, int t,
                enum hone_dtype to, const char *op)
{
    if (t < 0) return t;
    const struct hone_tensor from = b->net->tensor[t];
    char text[HONE_TEXT];
    if (!hone_dtype_is_half(b->net->dtype) || from.dtype == to) return t;
    int y = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, to == HONE_F32 ? HONE_WIDE : to,
                              hone_node_index(b, n), from.rank, from.dim, "%.50s.%s", from.name,
                              hone_dtype_name(to));
    snprintf(text, sizeof text, "%s:%s:any:n%lld", op, hone_dtype_name(b->net->dtype),
             (long long)hone_tensor_len(&from));
    int err = hone_lower_step(b, n, phase, text, (int[]){ y, t }, 2);
    return err ? err : y;
}

int hone_lower_narrow_columns(struct hone_lower *b, const struct hone_node *n, int t, int from,
                              int columns)
{
    const struct hone_tensor of = b->net->tensor[t];
    const int64_t rows = of.dim[0], row = of.dim[1];
    char text[HONE_TEXT];
    int x = hone_lower_numbers(b, t, from, (rows - 1) * row + columns),
        y = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, b->net->dtype, hone_node_index(b, n), 2,
                              (int64_t[]){ rows, columns }, "%.40s.%s.%d", of.name,
                              hone_dtype_name(b->net->dtype), from);
    snprintf(text, sizeof text, "narrow:%s:any:n%dm%lldld%lld", hone_dtype_name(b->net->dtype),
             columns, (long long)rows, (long long)row);
    int err = hone_lower_step(b, n, HONE_FORWARD, text, (int[]){ y, x }, 2);
    return err ? err : y;
}

int hone_lower_narrow(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase, int t)
{
    return cast(b, n, phase, t, b->net->dtype, "narrow");
}

int hone_lower_widen(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase, int t)
{
    return cast(b, n, phase, t, HONE_F32, "widen");
}

/* Kept from the forward pass on, the halves would take half as much as the weights themselves. */
int hone_lower_matrix_backward(struct hone_lower *b, const struct hone_node *n)
{
    const int64_t bytes = hone_tensor_bytes(&b->net->tensor[n->weight]);
    return hone_lower_is_large(b, bytes) && !b->how->keep
               ? hone_lower_narrow(b, n, HONE_BACKWARD_DATA, n->weight)
               : n->matrix;
}
