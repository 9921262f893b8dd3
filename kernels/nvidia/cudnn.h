/* kernels/nvidia/cudnn.h -- what kernels of cuDNN share: a graph of operations, the engines that
 * can compute it, and running one.  Lists need no GPU: a description of one is enough. */
#ifndef HONE_CUDNN_H
#define HONE_CUDNN_H

#include "kernels/activation/activation.h"
#include "kernels/kernel.h"
#include "kernels/nvidia/cudnn_abi.h"

/* Why there is no cuDNN here, or NULL; "cuDNN 9.19.0". */
const char *hone_cudnn_absent(void);
const char *hone_cudnn_version(void);

/* ---- a graph ---- */

enum { HONE_CUDNN_PARTS = 64, HONE_CUDNN_OPS = 8, HONE_CUDNN_EXTRAS = 4 };

/* The id of a graph's first tensor that is no argument; below, an argument's number is its id. */
enum { HONE_CUDNN_EXTRA = 100 };

/* Descriptors are remembered, to be destroyed together; after a failure every call does nothing. */
struct hone_cudnn_graph {
    int err;                              /* of the first failure; its message stands */
    int nparts, nops;
    dnn_descriptor part[HONE_CUDNN_PARTS], op[HONE_CUDNN_OPS];
    dnn_descriptor graph, device;         /* device: NULL unless described */
    dnn_handle handle;                    /* NULL if described */
    int nextra;
    struct {
        int arg;                          /* it is this argument, too; < 0: it is the value */
        float value;
    } extra[HONE_CUDNN_EXTRAS];
    /* 1: there are products whose factors must stay f32; 1: whose f32 may be rounded to tf32. */
    int needs_f32, tf32;
    int nchw;                             /* 1: its tensors lie as their sizes are listed */
};

dnn_descriptor hone_cudnn_part(struct hone_cudnn_graph *g, int kind);
void hone_cudnn_set(struct hone_cudnn_graph *g, dnn_descriptor d, int attr, int type, int64_t n,
                    const void *values);
void hone_cudnn_set_part(struct hone_cudnn_graph *g, dnn_descriptor d, int attr,
                         dnn_descriptor part);
void hone_cudnn_finish(struct hone_cudnn_graph *g, dnn_descriptor d, const char *what);

/* Finishes an operation and puts it into the graph. */
void hone_cudnn_add_op(struct hone_cudnn_graph *g, dnn_descriptor op, const char *what);

/* A tensor (n, c, h, w) whose channels lie together, or where g->nchw its pixels; id < 0: it exists
 * between operations only. */
dnn_descriptor hone_cudnn_tensor(struct hone_cudnn_graph *g, int64_t id, int type,
                                 const int64_t size[4]);

/* Another name of argument `arg`, for a tensor that an operation both reads and writes; a number. */
dnn_descriptor hone_cudnn_again(struct hone_cudnn_graph *g, int arg, int type,
                                const int64_t size[4]);
dnn_descriptor hone_cudnn_scalar(struct hone_cudnn_graph *g, double value);

/* An operation on single numbers: out = mode(x), or mode(x, b); of a gradient dx = mode(dy, x), or
 * of dy and y. */
struct hone_cudnn_pointwise {
    int mode;
    double upper, slope;                  /* of relu, where it is cut, and below 0; 0: neither */
    dnn_descriptor x, b, y, dy, dx;
};
void hone_cudnn_add_pointwise(struct hone_cudnn_graph *g, const struct hone_cudnn_pointwise *o);

/* y = act(x), and dx = act'(s) dy, s as hone_act_from_y() says; size: of all three. */
void hone_cudnn_add_act(struct hone_cudnn_graph *g, enum hone_act act, dnn_descriptor x,
                        dnn_descriptor y);
struct hone_cudnn_gradient {
    const int64_t *size;
    dnn_descriptor s, dy, dx;
};
void hone_cudnn_add_act_bwd(struct hone_cudnn_graph *g, enum hone_act act,
                            const struct hone_cudnn_gradient *o);

/* Makes the graph of the ops, for d. */
int  hone_cudnn_graph_finish(struct hone_cudnn_graph *g, const struct hone_device *d);
void hone_cudnn_graph_close(struct hone_cudnn_graph *g);

/* DNN_DATA_... of ours. */
int hone_cudnn_type(enum hone_dtype t);

/* ---- engines ---- */

enum { HONE_CUDNN_KNOBS = 16, HONE_CUDNN_CHOICES = 96 };

struct hone_cudnn_choice {
    int engine, number;                   /* number: of the engine's settings; 0: its own default */
    int nknobs;
    struct { int64_t type, value; } knob[HONE_CUDNN_KNOBS];
    unsigned notes;                       /* bit: DNN_NUMERICAL_NOTE_... */
    int compiles;                         /* 1: its code is compiled when the plan is made */
    int unbuilt;                          /* 1: of a described GPU, which compiles nothing, so that
                                           * neither workspace nor success is known */
    int64_t workspace_bytes;
    char from[16];                        /* "heuristic A 3", "fallback 1", "default", "sampled" */
};

struct hone_cudnn_list {
    int n;
    struct hone_cudnn_choice choice[HONE_CUDNN_CHOICES];
};

/* All that cuDNN offers for the graph: heuristics A, fallback, defaults of further engines, then
 * knobs by chance.  Exact ones only: of products of f32 neither tensor cores, which round it to
 * tf32, nor other conversions of inputs, unless tf32 was asked for; and nothing that differs from
 * run to run. */
int hone_cudnn_list(struct hone_cudnn_graph *g, struct hone_cudnn_list *list);

/* "heuristic A 1: precompiled, tensor cores, tile=5 tilek=1" */
void hone_cudnn_about(const struct hone_cudnn_choice *c, char text[HONE_TEXT]);

/* The plan of a choice; the caller destroys it with hone_cudnn_drop(). */
int  hone_cudnn_plan(struct hone_cudnn_graph *g, const struct hone_cudnn_choice *c,
                     dnn_descriptor *plan);
void hone_cudnn_drop(dnn_descriptor d);

#endif
