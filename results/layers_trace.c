/* A step as Chrome's Trace Event Format, which Perfetto and chrome://tracing read: phases, layers,
 * kernels and threads as tracks, memory as counters.  The step is one that was traced; its threads'
 * times are means of steps of their own, drawn from where the kernel begins. */
#include "results/layers.h"

#include <string.h>

enum { STEP = 1, THREADS = 2, PHASE_TRACK = 1, LAYER_TRACK = 2, KERNEL_TRACK = 3 };

static double us(double ms) { return 1e3 * ms; }

static void name_track(json_t *events, const char *what, int pid, int tid, const char *name)
{
    json_array_append_new(events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name",
                                            what, "pid", pid, "tid", tid, "args", "name", name));
}

static void name_tracks(const struct hone_layers *l, json_t *events)
{
    char text[192];
    snprintf(text, sizeof text, "%.100s, batch %d: a training step", l->net, l->batch);
    name_track(events, "process_name", STEP, 0, text);
    name_track(events, "thread_name", STEP, PHASE_TRACK, "phases");
    name_track(events, "thread_name", STEP, LAYER_TRACK, "layers");
    name_track(events, "thread_name", STEP, KERNEL_TRACK, "kernels");
    name_track(events, "process_name", THREADS, 0, "threads: processor time in each kernel");
    for (size_t t = 0; t < json_array_size(l->step_of[0].thread_ms); t++) {
        snprintf(text, sizeof text, "thread %zu", t);
        name_track(events, "thread_name", THREADS, (int)t + 1, text);
    }
}

static void add(json_t *events, const char *name, const char *category, int pid, int tid, double ms,
                double took, json_t *args)
{
    json_array_append_new(events, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:o}", "ph", "X",
                                            "name", name, "cat", category, "pid", pid, "tid", tid,
                                            "ts", us(ms), "dur", us(took), "args", args));
}

static void add_kernel(const struct hone_layers_step *s, json_t *events)
{
    json_t *args = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:s, s:b}", "layer", s->layer,
                             "problem", s->problem, "config", s->config, "median_ms", s->ms.median,
                             "flops", s->flops, "bytes", s->bytes, "share_of_roof",
                             s->roof_ms / s->ms.median, "bound", s->bound, "tuned", s->tuned);
    add(events, s->kernel, s->phase, STEP, KERNEL_TRACK, s->at_ms, s->took_ms, args);
    for (size_t t = 0; t < json_array_size(s->thread_ms); t++) {
        double ms = json_number_value(json_array_get(s->thread_ms, t));
        /* Less than a thousandth of it is a clock's grain. */
        if (ms <= 1e-3 * s->took_ms) continue;
        add(events, s->kernel, s->phase, THREADS, (int)t + 1, s->at_ms,
            ms < s->took_ms ? ms : s->took_ms,
            json_pack("{s:s, s:f}", "layer", s->layer, "processor_ms", ms));
    }
}

/* Steps that follow each other and are of the same phase, or layer, are one bar. */
static void add_runs(const struct hone_layers *l, json_t *events, int track)
{
    for (int from = 0, to; from < l->nsteps; from = to) {
        const struct hone_layers_step *s = &l->step_of[from], *e = s;
        for (to = from + 1; to < l->nsteps; to++) {
            e = &l->step_of[to];
            if (strcmp(e->phase, s->phase) && track == PHASE_TRACK) break;
            if (strcmp(e->layer, s->layer) && track == LAYER_TRACK) break;
        }
        e = &l->step_of[to - 1];
        add(events, track == PHASE_TRACK ? s->phase : s->layer, s->phase, STEP, track, s->at_ms,
            e->at_ms + e->took_ms - s->at_ms, json_pack("{s:i}", "parts", to - from));
    }
}

static void add_memory(const struct hone_layers *l, json_t *events)
{
    const struct hone_layers_memory *m = &l->memory;
    for (int i = 0; i <= l->nsteps; i++) {
        const struct hone_layers_step *s = &l->step_of[i < l->nsteps ? i : i - 1];
        double at = i < l->nsteps ? s->at_ms : s->at_ms + s->took_ms;
        json_array_append_new(
            events,
            json_pack("{s:s, s:s, s:i, s:f, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "ph", "C", "name",
                      "memory in use, bytes", "pid", STEP, "ts", us(at), "args", "weights",
                      (json_int_t)m->weights, "gradients", (json_int_t)m->gradients, "optimizer",
                      (json_int_t)m->optimizer, "batch", (json_int_t)m->batch, "activations",
                      (json_int_t)s->live_bytes, "workspace", (json_int_t)s->workspace_bytes));
    }
}

int hone_layers_trace(const struct hone_layers *l, FILE *f)
{
    json_t *events = json_array();
    name_tracks(l, events);
    add_runs(l, events, PHASE_TRACK);
    add_runs(l, events, LAYER_TRACK);
    for (int i = 0; i < l->nsteps; i++) add_kernel(&l->step_of[i], events);
    add_memory(l, events);
    /* On a GPU: what ran there, and when it was launched; events as they are. */
    json_array_extend(events, json_object_get(l->root, "activity"));
    json_t *all = json_pack("{s:s, s:o, s:{s:s, s:i, s:s, s:f}}", "displayTimeUnit", "ms",
                            "traceEvents", events, "otherData", "net", l->net, "batch", l->batch,
                            "device", l->device_text, "untraced_step_ms", l->step.median);
    int err =
        all && !json_dumpf(all, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) && putc('\n', f) != EOF
            ? HONE_OK
            : hone_fail(HONE_ENOMEM, "a trace of %d parts", l->nsteps);
    json_decref(all);
    return err;
}
