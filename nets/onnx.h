/* nets/onnx.h -- what an ONNX file holds, as far as nets need it.  For nets/ alone; others include
 * nets.h. */
#ifndef HONE_NETS_ONNX_H
#define HONE_NETS_ONNX_H

#include "nets/nets.h"

enum { HONE_ONNX_NAME = 192, HONE_ONNX_INPUTS = 16, HONE_ONNX_ATTRS = 16, HONE_ONNX_LIST = 16 };

/* A constant: weights, or the small lists that some operators read. */
struct hone_onnx_tensor {
    char name[HONE_ONNX_NAME];
    int rank;
    int64_t dim[8], len;
    double *value; /* (len) */
};

struct hone_onnx_attr {
    char name[48], text[48]; /* text of a string */
    double real;
    int64_t whole;
    int n; /* of a list */
    int64_t list[HONE_ONNX_LIST];
    int tensor; /* index into constants; -1: none */
};

struct hone_onnx_node {
    char op[48], name[HONE_ONNX_NAME];
    int ninputs, noutputs, nattrs;
    char input[HONE_ONNX_INPUTS][HONE_ONNX_NAME]; /* "" where left out */
    char output[HONE_ONNX_NAME];                  /* the first */
    struct hone_onnx_attr attr[HONE_ONNX_ATTRS];
};

/* An input or output of the whole: dim -1 where the file names it or says nothing. */
struct hone_onnx_value {
    char name[HONE_ONNX_NAME];
    int type, rank; /* type: 1 is f32; rank -1: not said */
    int64_t dim[8];
};

struct hone_onnx {
    char path[512], producer[64];
    int nnodes, nconstants, ninputs, noutputs;
    struct hone_onnx_node *node;
    struct hone_onnx_tensor *constant;
    struct hone_onnx_value *input, *output;
};

/* Reads a file; messages are "PATH: ...". */
int hone_onnx_open(struct hone_onnx *m, const char *path);
void hone_onnx_close(struct hone_onnx *m);

const struct hone_onnx_tensor *hone_onnx_constant(const struct hone_onnx *m, const char *name);

/* NULL: not given. */
const struct hone_onnx_attr *hone_onnx_attr(const struct hone_onnx_node *n, const char *name);

/* The net as a text, for `file` in its messages, and its weights written to `weights`.  loss: NULL
 * chooses by the outputs.  *text is the caller's. */
int hone_onnx_convert(const struct hone_onnx *m, const char *loss, const char *weights,
                      char **text);

#endif
