/* What the backward pass computes again instead of keeping it since the forward pass: an output
 * that one pass over memory makes of numbers which the gradient of its layer needs in any case, as
 * batch normalisation's does its input; or a few products of each that make it of the net's input; or
 * this itself as halves.  It then lives for the steps that read it alone, and is mostly still in the
 * cache there. */
#include "nets/lower.h"

enum { LITTLE = 1 << 10 };   /* bytes that are not worth a step */

/* On a device of its own memory time is dearer. */
int hone_lower_is_again(const struct hone_lower *b, const struct hone_node *n)
{
    return b->how->train && !b->how->keep && n->kind->again && n->kind->is_again(b, n) &&
           !(b->how->device && b->how->device->backend->start) &&
           hone_tensor_bytes(&b->net->tensor[n->y]) >= LITTLE;
}

int hone_lower_again(struct hone_lower *b, int t)
{
    const int layer = b->net->tensor[t].layer;
    struct hone_node *n = layer < 0 ? NULL : &b->node[layer];
    if (!n || n->y != t || !hone_lower_is_again(b, n)) return t;
    if (n->again < 0) n->again = n->kind->again(b, n);
    return n->again;
}
