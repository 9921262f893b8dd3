/* Reads the record of a profile, and derives what every report of it shows. */
#include "results/layers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const hone_layers_level[4] = { "L1", "L2", "L3", "memory" };

/* ---- reading ---- */

static int stats_of(const json_t *j, struct hone_stats *s)
{
    memset(s, 0, sizeof *s);
    if (json_is_null(j)) return 0;
    return json_unpack((json_t *)j, "{s:i, s:F, s:F, s:F}", "n", &s->n, "median", &s->median, "lo",
                       &s->lo, "hi", &s->hi);
}

static double ratio_of(const json_t *rival)
{
    const json_t *v = json_object_get(rival, "ratio");
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static int64_t bytes_at(const json_t *list, int i)
{
    return (int64_t)json_integer_value(json_array_get(list, (size_t)i));
}

static int read_step(json_t *j, struct hone_layers_step *s)
{
    json_error_t e;
    json_t *ms, *warm, *cold, *runner_up, *library;
    json_int_t workspace;
    int bad = json_unpack_ex(
        j, &e, 0,
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:o, s:o, s:o, s:F, s:F, s:F, s:F, "
        "s:F, s:F,"
        " s:o, s:o, s:o, s:o, s:o, s:I}",
        "layer", &s->layer, "kind", &s->kind, "phase", &s->phase, "problem", &s->problem, "kernel",
        &s->kernel, "config", &s->config, "bound", &s->bound, "tuned", &s->tuned, "threads",
        &s->threads, "candidates", &s->candidates, "ms", &ms, "warm_ms", &warm, "cold_ms", &cold,
        "first_ms", &s->first_ms, "at_ms", &s->at_ms, "took_ms", &s->took_ms, "flops", &s->flops,
        "bytes", &s->bytes, "roof_ms", &s->roof_ms, "runner_up", &runner_up, "library", &library,
        "thread_ms", &s->thread_ms, "counters", &s->counters, "refused", &s->refusals,
        "workspace_bytes", &workspace);
    if (bad) return hone_fail(HONE_EPARSE, "%s", e.text);
    if (stats_of(ms, &s->ms) || stats_of(warm, &s->warm) || stats_of(cold, &s->cold) ||
        !(s->ms.median > 0))
        return hone_fail(HONE_EPARSE, "a time that is none");
    s->workspace_bytes = workspace;
    s->runner_up = ratio_of(runner_up);
    s->library = ratio_of(library);
    json_t *first = json_array_get(s->refusals, 0);
    int weight = 0;
    if (first && json_unpack(first, "{s:s, s:s, s:i}", "kernel", &s->refused, "why",
                             &s->refused_why, "weight", &weight))
        return hone_fail(HONE_EPARSE, "a refusal without a kernel, reason or weight");
    if (!weight) s->refused = NULL;
    return HONE_OK;
}

static int read_steps(struct hone_layers *l, json_t *steps)
{
    size_t i, n = json_array_size(steps);
    json_t *j;
    if (!n || n > 1 << 20) return hone_fail(HONE_EPARSE, "no steps");
    l->step_of = calloc(n, sizeof *l->step_of);
    l->by_time = calloc(n, sizeof *l->by_time);
    if (!l->step_of || !l->by_time) return hone_fail(HONE_ENOMEM, "%zu steps", n);
    l->nsteps = (int)n;
    json_array_foreach(steps, i, j)
    {
        int err = read_step(j, &l->step_of[i]);
        if (err) return hone_fail_at(err, "step %zu", i);
    }
    return HONE_OK;
}

static int read_arena(struct hone_layers *l, json_t *blocks)
{
    struct hone_layers_memory *m = &l->memory;
    size_t i;
    json_t *j;
    m->block = calloc(json_array_size(blocks) + 1, sizeof *m->block);
    if (!m->block) return hone_fail(HONE_ENOMEM, "%zu tensors", json_array_size(blocks));
    json_array_foreach(blocks, i, j)
    {
        struct hone_layers_block *b = &m->block[m->nblocks++];
        json_int_t offset, bytes;
        json_error_t e;
        if (json_unpack_ex(j, &e, 0, "{s:s, s:s, s:i, s:i, s:I, s:I}", "tensor", &b->tensor,
                           "layer", &b->layer, "first", &b->first, "last", &b->last, "offset",
                           &offset, "bytes", &bytes))
            return hone_fail(HONE_EPARSE, "arena %zu: %s", i, e.text);
        if (b->first < 0 || b->last < b->first || b->last >= l->nsteps)
            return hone_fail(HONE_EPARSE, "arena %zu: lives from step %d to %d", i, b->first,
                             b->last);
        b->offset = offset;
        b->bytes = bytes;
    }
    return HONE_OK;
}

static int read_memory(struct hone_layers *l, json_t *j)
{
    struct hone_layers_memory *m = &l->memory;
    json_int_t v[8];
    json_t *blocks, *live, *resident;
    json_error_t e;
    if (json_unpack_ex(j, &e, 0,
                       "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:o, s:o}",
                       "weights", &v[0], "gradients", &v[1], "optimizer", &v[2], "activations",
                       &v[3], "workspace", &v[4], "batch", &v[5], "base", &v[6], "peak_resident",
                       &v[7], "peak_is_of_whole_process", &m->is_all, "layers", &m->layers, "arena",
                       &blocks, "live", &live, "resident", &resident))
        return hone_fail(HONE_EPARSE, "memory: %s", e.text);
    int64_t *to[] = { &m->weights,   &m->gradients, &m->optimizer, &m->activations,
                      &m->workspace, &m->batch,     &m->base,      &m->peak };
    for (int i = 0; i < 8; i++) *to[i] = v[i];
    for (int i = 0; i < 6; i++) m->planned += v[i];
    m->libraries = json_integer_value(json_object_get(j, "libraries"));
    m->predicted = m->base + m->planned + m->libraries;
    for (int s = 0; s < l->nsteps; s++) {
        l->step_of[s].live_bytes = bytes_at(live, s);
        l->step_of[s].resident_bytes = bytes_at(resident, s);
    }
    return read_arena(l, blocks);
}

static int read_root(struct hone_layers *l)
{
    json_error_t e;
    json_t *step, *traced, *overhead, *roofs, *memory, *steps;
    const char *hone;
    int version;
    if (json_unpack_ex(l->root, &e, 0, "{s:s, s:i}", "hone", &hone, "version", &version) ||
        strcmp(hone, HONE_LAYERS_KIND))
        return hone_fail(HONE_EPARSE, "no record of hone profile");
    if (version != HONE_LAYERS_VERSION)
        return hone_fail(HONE_EPARSE, "version %d of a profile's record; this program reads %d",
                         version, HONE_LAYERS_VERSION);
    if (json_unpack_ex(
            l->root, &e, 0,
            "{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:F, s:F, s:o, s:o, s:o, s:o, s:o, s:o}", "net",
            &l->net, "dtype", &l->dtype, "optimizer", &l->optimizer, "device", &l->device,
            "device_text", &l->device_text, "batch", &l->batch, "rounds", &l->rounds, "look_ms",
            &l->look_ms, "first_step_ms", &l->first_ms, "step_ms", &step, "traced_ms", &traced,
            "profiler_overhead", &overhead, "roofs", &roofs, "memory", &memory, "steps", &steps))
        return hone_fail(HONE_EPARSE, "%s", e.text);
    if (stats_of(step, &l->step) || stats_of(traced, &l->traced) ||
        stats_of(overhead, &l->overhead) || !(l->step.median > 0) || !(l->traced.median > 0) ||
        l->batch < 1)
        return hone_fail(HONE_EPARSE, "a time that is none");
    const json_t *graph = json_object_get(l->root, "graph_step_ms"),
                 *gain = json_object_get(l->root, "graph_gain");
    if ((graph && stats_of(graph, &l->graph)) || (gain && stats_of(gain, &l->graph_gain)))
        return hone_fail(HONE_EPARSE, "a graph's time that is none");
    l->no_graph = json_string_value(json_object_get(l->root, "no_graph"));
    if (json_unpack_ex(roofs, &e, 0, "{s:i, s:F, s:F, s:F, s:F, s:F, s:F}", "threads",
                       &l->roof_threads, "share_of_processors", &l->roof_share, "compute",
                       &l->roofs.compute, "L1", &l->roofs.level[0], "L2", &l->roofs.level[1], "L3",
                       &l->roofs.level[2], "memory", &l->roofs.level[3]))
        return hone_fail(HONE_EPARSE, "roofs: %s", e.text);
    l->gpu = json_string_value(json_object_get(l->root, "gpu_state"));
    int err = read_steps(l, steps);
    return err ? err : read_memory(l, memory);
}

/* ---- deriving ---- */

/* qsort() knows no context; the report being sorted is one at a time. */
static const struct hone_layers_step *sorted;

static int by_time(const void *a, const void *b)
{
    int i = *(const int *)a, k = *(const int *)b;
    double x = sorted[i].ms.median, y = sorted[k].ms.median;
    return x < y ? 1 : x > y ? -1 : i - k;
}

static void rank(struct hone_layers *l)
{
    double sum = 0;
    for (int s = 0; s < l->nsteps; s++) l->by_time[s] = s;
    sorted = l->step_of;
    qsort(l->by_time, (size_t)l->nsteps, sizeof *l->by_time, by_time);
    for (int i = 0; i < l->nsteps; i++) {
        struct hone_layers_step *s = &l->step_of[l->by_time[i]];
        sum += s->ms.median;
        s->rank = i;
        s->share = s->ms.median / l->parts_ms;
        s->cumulative = sum / l->parts_ms;
    }
}

static void add_to_phase(struct hone_layers *l, const struct hone_layers_step *s)
{
    int p = 0;
    while (p < l->nphases && strcmp(l->phase[p].name, s->phase)) p++;
    if (p == HONE_NPHASES) return; /* a record of a program with more of them */
    if (p == l->nphases) l->phase[l->nphases++] = (struct hone_layers_phase){ .name = s->phase };
    l->phase[p].n++;
    l->phase[p].ms += s->ms.median;
    l->phase[p].flops += s->flops;
    l->phase[p].roof_ms += s->roof_ms;
}

static void derive(struct hone_layers *l)
{
    for (int i = 0; i < l->nsteps; i++) {
        const struct hone_layers_step *s = &l->step_of[i];
        l->parts_ms += s->ms.median;
        l->flops += s->flops;
        l->nuntuned += !s->tuned;
        add_to_phase(l, s);
    }
    /* Pair by pair, since two medians of a busy machine differ by more than the looking. */
    l->gap_ms = -l->overhead.median * l->step.median;
    l->held_up_ms = l->step.median - l->gap_ms - l->parts_ms;
    rank(l);
    hone_layers_advise(l);
}

/* ---- open, close ---- */

int hone_layers_open(struct hone_layers *l, json_t *root)
{
    memset(l, 0, sizeof *l);
    l->root = root;
    int err = root ? read_root(l) : hone_fail(HONE_ENOMEM, "a profile's record");
    if (err)
        hone_layers_close(l);
    else
        derive(l);
    return err;
}

int hone_layers_load(struct hone_layers *l, const char *path)
{
    json_error_t e;
    int is_stdin = !strcmp(path, "-");
    FILE *f = is_stdin ? stdin : fopen(path, "r");
    memset(l, 0, sizeof *l);
    if (!f) return hone_fail(HONE_EIO, "%s: %s", path, strerror(errno));
    json_t *root = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
    if (!is_stdin) fclose(f);
    if (!root) return hone_fail(HONE_EPARSE, "%s:%d: %s", path, e.line, e.text);
    int err = hone_layers_open(l, root);
    return err ? hone_fail_at(err, "%s", path) : HONE_OK;
}

void hone_layers_close(struct hone_layers *l)
{
    json_decref(l->root);
    free(l->step_of);
    free(l->by_time);
    free(l->memory.block);
    memset(l, 0, sizeof *l);
}
