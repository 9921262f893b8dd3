/* kernels/backend/onednn.h -- one oneDNN primitive as a plan: what lib_onednn kernels share.
 *
 * A kernel says which arguments the primitive has, in our layout, and makes its description; where
 * the primitive wants another layout, the argument is reordered into the workspace before it, or
 * out of it afterwards, and the time of that is kept apart.  oneDNN runs as many threads as OpenMP
 * would start, when the primitive is made as well as when it runs. */
#ifndef HONE_ONEDNN_H
#define HONE_ONEDNN_H

#include "kernels/kernel.h"

#include <dnnl.h>

/* A memory description is a struct in version 2 and a handle in version 3. */
#if DNNL_VERSION_MAJOR >= 3
#define HONE_MD(md) (md)
#else
#define HONE_MD(md) (&(md))
#endif

enum { HONE_ONEDNN_ARGS = 5, HONE_ONEDNN_RANK = 5 };

struct hone_onednn_arg {
    int name;                   /* DNNL_ARG_SRC, ... */
    int mem;                    /* our argument */
    int out;                    /* 1: written; 2: also read */
    dnnl_memory_desc_t ours, any;   /* `any`: what the primitive's description is made with */
    dnnl_memory_desc_t hint;    /* `any` in the problem's type, where a gradient is of floats */
};

struct hone_onednn {
    int nargs, threads;
    struct hone_onednn_arg arg[HONE_ONEDNN_ARGS];
    dnnl_primitive_desc_t desc, hint;
    dnnl_primitive_attr_t attr;
    /* Between hone_onednn_prepare() and hone_onednn_close(). */
    dnnl_primitive_t primitive;
    struct hone_onednn_way {
        size_t at;              /* of the reordered copy in the workspace */
        dnnl_memory_t ours, theirs;
        dnnl_primitive_t in, out;   /* NULL: no reorder */
    } way[HONE_ONEDNN_ARGS];
    dnnl_memory_t scratch;
    size_t scratch_at, workspace_bytes;
    double reorder_ms;          /* sum over runs */
    int64_t nruns;
};

const char *hone_onednn_version(void);

/* Adds p's argument `mem`, of these sizes, strides in numbers; own: the primitive may choose its
 * layout. */
void hone_onednn_add(struct hone_onednn *o, const struct hone_problem *p, int name, int mem,
                     int out, int rank, const int64_t size[], const int64_t stride[], int own);

/* Prepared so that a call of one of oneDNN's functions can follow: its threads are set. */
int  hone_onednn_begin(int threads);
void hone_onednn_end(int before);

dnnl_engine_t hone_onednn_engine(void);

/* With o->desc made: how much workspace runs need. */
int  hone_onednn_measure(struct hone_onednn *o);
int  hone_onednn_prepare(struct hone_onednn *o);
int  hone_onednn_run(struct hone_onednn *o, void *const mem[], void *workspace);
void hone_onednn_close(struct hone_onednn *o);

/* HONE_EDEVICE with what oneDNN could not do. */
int  hone_onednn_fail(dnnl_status_t status, const char *what);

/* Of a plan whose priv is a struct hone_onednn. */
double hone_onednn_reorder_ms(const struct hone_plan *plan);

#endif
