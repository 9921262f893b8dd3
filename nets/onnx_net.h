/* nets/onnx_net.h -- a net's text while it is made of an ONNX graph.  For onnx_*.c alone. */
#ifndef HONE_NETS_ONNX_NET_H
#define HONE_NETS_ONNX_NET_H

#include "nets/onnx.h"

enum { HONE_ONNX_WEIGHTS = 4 };

/* A weight of a line: tensor NAME.suffix gets the constant's numbers. */
struct hone_onnx_weight {
    const char *suffix;
    const struct hone_onnx_tensor *from;
    int transposed; /* fc: from is (out, in) */
};

struct hone_onnx_line {
    const char *kind;
    char name[HONE_NAME], inputs[512], keys[256];
    struct hone_onnx_weight weight[HONE_ONNX_WEIGHTS];
    int nweights;
    int h, w, c; /* fc: what its features were as ONNX's (c, h, w) */
    const struct hone_onnx_node *node;
};

/* A tensor of the graph: the line that makes it, and its shape. */
struct hone_onnx_made {
    char name[HONE_ONNX_NAME];
    int line;
    int h, w, c;    /* flat: h = w = 1 */
    int fh, fw, fc; /* flat: the shape that was flattened; else as h, w, c */
    int readers;
};

struct hone_onnx_net {
    const struct hone_onnx *model;
    int nlines, nmade;
    struct hone_onnx_line *line;
    struct hone_onnx_made *made;
    int ended; /* a softmax was left to the loss */
};

/* The tensor of that name; NULL, with a message, where no node before makes it. */
struct hone_onnx_made *hone_onnx_find(struct hone_onnx_net *x, const char *name);

/* A new line that reads `in` (NULL: nothing yet) and makes `output`, of in's shape until changed.
 * NULL: no memory. */
struct hone_onnx_made *hone_onnx_add(struct hone_onnx_net *x, const struct hone_onnx_node *n,
                                     const char *kind, const struct hone_onnx_made *in,
                                     const char *output);

/* output is another name of in. */
int hone_onnx_alias(struct hone_onnx_net *x, const struct hone_onnx_made *in, const char *output);

/* The lines of one node. */
int hone_onnx_lower(struct hone_onnx_net *x, const struct hone_onnx_node *n);

#endif
