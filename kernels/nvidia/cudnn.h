/* kernels/nvidia/cudnn.h -- what kernels of cuDNN share: a graph of operations, the engines that can
 * compute it, and running one.  Lists need no GPU: a description of one is enough. */
#ifndef HONE_CUDNN_H
#define HONE_CUDNN_H

#include "kernels/kernel.h"
#include "kernels/nvidia/cudnn_abi.h"

/* Why there is no cuDNN here, or NULL; "cuDNN 9.19.0". */
const char *hone_cudnn_absent(void);
const char *hone_cudnn_version(void);

/* ---- a graph ---- */

enum { HONE_CUDNN_PARTS = 24, HONE_CUDNN_OPS = 4 };

/* Descriptors are remembered, to be destroyed together; after a failure every call does nothing. */
struct hone_cudnn_graph {
    int err;                              /* of the first failure; its message stands */
    int nparts, nops;
    dnn_descriptor part[HONE_CUDNN_PARTS], op[HONE_CUDNN_OPS];
    dnn_descriptor graph, device;         /* device: NULL unless described */
    dnn_handle handle;                    /* NULL if described */
};

dnn_descriptor hone_cudnn_part(struct hone_cudnn_graph *g, int kind);
void hone_cudnn_set(struct hone_cudnn_graph *g, dnn_descriptor d, int attr, int type, int64_t n,
                    const void *values);
void hone_cudnn_set_part(struct hone_cudnn_graph *g, dnn_descriptor d, int attr,
                         dnn_descriptor part);
void hone_cudnn_finish(struct hone_cudnn_graph *g, dnn_descriptor d, const char *what);

/* A tensor (n, c, h, w) whose channels lie together; id < 0: it exists between operations only. */
dnn_descriptor hone_cudnn_tensor(struct hone_cudnn_graph *g, int64_t id, int type,
                                 const int64_t size[4]);

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
    int64_t workspace_bytes;
    char from[16];                        /* "heuristic A 3", "fallback 1", "default", "sampled" */
};

struct hone_cudnn_list {
    int n, nleft;                         /* nleft: engines that a described GPU cannot compile */
    struct hone_cudnn_choice choice[HONE_CUDNN_CHOICES];
};

/* All that cuDNN offers for the graph of p on d: heuristics A, fallback, defaults of further engines,
 * then knobs by chance.  Exact ones only: of f32 neither tensor cores, which round it to tf32, nor
 * other conversions of inputs, and nothing that differs from run to run. */
int hone_cudnn_list(struct hone_cudnn_graph *g, const struct hone_problem *p,
                    struct hone_cudnn_list *list);

/* "heuristic A 1: precompiled, tensor cores, tile=5 tilek=1" */
void hone_cudnn_about(const struct hone_cudnn_choice *c, char text[HONE_TEXT]);

/* The plan of a choice; the caller destroys it with hone_cudnn_drop(). */
int  hone_cudnn_plan(struct hone_cudnn_graph *g, const struct hone_cudnn_choice *c,
                     dnn_descriptor *plan);
void hone_cudnn_drop(dnn_descriptor d);

#endif
