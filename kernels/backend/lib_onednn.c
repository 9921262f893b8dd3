/* oneDNN primitives with their reorders; see onednn.h. */
#include "kernels/backend/onednn.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif

int hone_onednn_fail(dnnl_status_t status, const char *what)
{
    return hone_fail(HONE_EDEVICE, "oneDNN: %s: status %d", what, (int)status);
}

const char *hone_onednn_version(void)
{
    static char text[64];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

/* ---- engine and threads: one of each is enough for a process ---- */

dnnl_engine_t hone_onednn_engine(void)
{
    static dnnl_engine_t engine;
    if (!engine) dnnl_engine_create(&engine, dnnl_cpu, 0);
    return engine;
}

static dnnl_stream_t stream(void)
{
    static dnnl_stream_t s;
    if (!s) dnnl_stream_create(&s, hone_onednn_engine(), dnnl_stream_default_flags);
    return s;
}

int hone_onednn_begin(int threads)
{
#ifdef _OPENMP
    int before = omp_get_max_threads();
    if (before != threads) omp_set_num_threads(threads);
    return before;
#else
    return threads;
#endif
}

void hone_onednn_end(int before)
{
#ifdef _OPENMP
    if (before != omp_get_max_threads()) omp_set_num_threads(before);
#else
    (void)before;
#endif
}

/* ---- descriptions ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t layout;
static void describe(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t size[],
                     const int64_t stride[])
{
    if (stride) dnnl_memory_desc_create_with_strides(md, rank, size, type, stride);
    else dnnl_memory_desc_create_with_tag(md, rank, size, type, dnnl_format_tag_any);
}
#else
typedef const dnnl_memory_desc_t *layout;
static void describe(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t size[],
                     const int64_t stride[])
{
    if (stride) dnnl_memory_desc_init_by_strides(md, rank, size, type, stride);
    else dnnl_memory_desc_init_by_tag(md, rank, size, type, dnnl_format_tag_any);
}
#endif

static dnnl_data_type_t type_of(enum hone_dtype t)
{
    return t == HONE_BF16 ? dnnl_bf16 : t == HONE_F16 ? dnnl_f16 : dnnl_f32;
}

void hone_onednn_add(struct hone_onednn *o, const struct hone_problem *p, int name, int mem,
                     int out, int rank, const int64_t size[], const int64_t stride[], int own)
{
    struct hone_arg arg[HONE_MAX_ARGS];
    struct hone_onednn_arg *a = &o->arg[o->nargs++];
    p->op->args(p, arg);
    const dnnl_data_type_t type = type_of(arg[mem].dtype);
    *a = (struct hone_onednn_arg){ .name = name, .mem = mem, .out = out };
    describe(&a->ours, type, rank, size, stride);
    describe(&a->any, type, rank, size, own ? NULL : stride);
    describe(&a->hint, type_of(p->dtype), rank, size, own ? NULL : stride);
}

static layout wanted(const struct hone_onednn *o, int i)
{
    return dnnl_primitive_desc_query_md(o->desc, dnnl_query_exec_arg_md, o->arg[i].name);
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN;
}

int hone_onednn_measure(struct hone_onednn *o)
{
    size_t at = 0;
    for (int i = 0; i < o->nargs; i++) {
        layout theirs = wanted(o, i);
        if (!theirs) return hone_onednn_fail(dnnl_invalid_arguments, "no layout of an argument");
        o->way[i].at = at;
        if (!dnnl_memory_desc_equal(theirs, HONE_MD(o->arg[i].ours)))
            at += whole_lines(dnnl_memory_desc_get_size(theirs));
    }
    layout scratch = dnnl_primitive_desc_query_md(o->desc, dnnl_query_scratchpad_md, 0);
    o->scratch_at = at;
    if (scratch) at += whole_lines(dnnl_memory_desc_get_size(scratch));
    o->workspace_bytes = at;
    return HONE_OK;
}

/* ---- preparing ---- */

static int make_reorder(dnnl_primitive_t *p, layout from, layout to)
{
    dnnl_primitive_desc_t desc;
    dnnl_engine_t engine = hone_onednn_engine();
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine, NULL);
    if (s) return hone_onednn_fail(s, "a reorder");
    s = dnnl_primitive_create(p, desc);
    dnnl_primitive_desc_destroy(desc);
    return s ? hone_onednn_fail(s, "a reorder") : HONE_OK;
}

static int make_way(struct hone_onednn *o, int i)
{
    const struct hone_onednn_arg *a = &o->arg[i];
    struct hone_onednn_way *w = &o->way[i];
    layout theirs = wanted(o, i), ours = HONE_MD(a->ours);
    dnnl_engine_t engine = hone_onednn_engine();
    dnnl_status_t s = dnnl_memory_create(&w->ours, ours, engine, DNNL_MEMORY_NONE);
    if (!s && !dnnl_memory_desc_equal(theirs, ours)) {
        s = dnnl_memory_create(&w->theirs, theirs, engine, DNNL_MEMORY_NONE);
        int err = s || a->out == 1 ? HONE_OK : make_reorder(&w->in, ours, theirs);
        if (!err && !s && a->out) err = make_reorder(&w->out, theirs, ours);
        if (err) return err;
    }
    return s ? hone_onednn_fail(s, "memory") : HONE_OK;
}

int hone_onednn_prepare(struct hone_onednn *o)
{
    int before = hone_onednn_begin(o->threads), err = hone_onednn_measure(o);
    dnnl_status_t s = dnnl_success;
    if (!err) s = dnnl_primitive_create(&o->primitive, o->desc);
    for (int i = 0; !err && !s && i < o->nargs; i++) err = make_way(o, i);
    layout scratch = dnnl_primitive_desc_query_md(o->desc, dnnl_query_scratchpad_md, 0);
    if (!err && !s && scratch)
        s = dnnl_memory_create(&o->scratch, scratch, hone_onednn_engine(), DNNL_MEMORY_NONE);
    hone_onednn_end(before);
    return err ? err : s ? hone_onednn_fail(s, "the primitive") : HONE_OK;
}

void hone_onednn_close(struct hone_onednn *o)
{
    for (int i = 0; i < o->nargs; i++) {
        struct hone_onednn_way *w = &o->way[i];
        if (w->in) dnnl_primitive_destroy(w->in);
        if (w->out) dnnl_primitive_destroy(w->out);
        if (w->ours) dnnl_memory_destroy(w->ours);
        if (w->theirs) dnnl_memory_destroy(w->theirs);
#if DNNL_VERSION_MAJOR >= 3
        dnnl_memory_desc_destroy(o->arg[i].ours);
        dnnl_memory_desc_destroy(o->arg[i].any);
        dnnl_memory_desc_destroy(o->arg[i].hint);
#endif
    }
    if (o->scratch) dnnl_memory_destroy(o->scratch);
    if (o->primitive) dnnl_primitive_destroy(o->primitive);
    if (o->desc) dnnl_primitive_desc_destroy(o->desc);
    if (o->hint) dnnl_primitive_desc_destroy(o->hint);
    if (o->attr) dnnl_primitive_attr_destroy(o->attr);
    memset(o, 0, sizeof *o);
}

/* ---- running ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static dnnl_status_t reorder(struct hone_onednn *o, dnnl_primitive_t p, dnnl_memory_t from,
                             dnnl_memory_t to)
{
    double started = now_ms();
    dnnl_exec_arg_t arg[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, to } };
    dnnl_status_t s = dnnl_primitive_execute(p, stream(), 2, arg);
    o->reorder_ms += now_ms() - started;
    return s;
}

int hone_onednn_run(struct hone_onednn *o, void *const mem[], void *workspace)
{
    dnnl_exec_arg_t arg[HONE_ONEDNN_ARGS + 1];
    dnnl_status_t s = dnnl_success;
    int n = 0, before = hone_onednn_begin(o->threads);
    o->nruns++;
    for (int i = 0; !s && i < o->nargs; i++) {
        struct hone_onednn_way *w = &o->way[i];
        dnnl_memory_set_data_handle(w->ours, mem[o->arg[i].mem]);
        if (w->theirs) dnnl_memory_set_data_handle(w->theirs, (char *)workspace + w->at);
        if (w->in) s = reorder(o, w->in, w->ours, w->theirs);
        arg[n++] = (dnnl_exec_arg_t){ o->arg[i].name, w->theirs ? w->theirs : w->ours };
    }
    if (o->scratch) {
        dnnl_memory_set_data_handle(o->scratch, (char *)workspace + o->scratch_at);
        arg[n++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, o->scratch };
    }
    if (!s) s = dnnl_primitive_execute(o->primitive, stream(), n, arg);
    for (int i = 0; !s && i < o->nargs; i++)
        if (o->way[i].out) s = reorder(o, o->way[i].out, o->way[i].theirs, o->way[i].ours);
    hone_onednn_end(before);
    return s ? hone_onednn_fail(s, "a run") : HONE_OK;
}

double hone_onednn_reorder_ms(const struct hone_plan *plan)
{
    const struct hone_onednn *o = plan->priv;
    return o && o->nruns ? o->reorder_ms / (double)o->nruns : 0;
}
