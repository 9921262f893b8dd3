/* All that a profile measured as JSON: the record that every report is made of. */
#include "results/layers.h"
#include "results/profile.h"

#include <math.h>
#include <stdlib.h>

static const char *layer_name(const struct hone_net *net, int layer)
{
    return layer < 0 ? "(net)" : net->layer[layer].name;
}

static json_t *stats_json(const struct hone_stats *s)
{
    if (!s->n) return json_null();
    return json_pack("{s:i, s:f, s:f, s:f}", "n", s->n, "median", s->median, "lo", s->lo, "hi",
                     s->hi);
}

/* ---- steps ---- */

static json_t *rival_json(const struct hone_record *r, const struct hone_record *best)
{
    if (!r->kernel[0] || !(best->ms_median > 0)) return json_null();
    return json_pack("{s:s, s:s, s:s, s:f}", "kernel", r->kernel, "config", r->config, "version",
                     r->version, "ratio", r->ms_median / best->ms_median);
}

static json_t *counters_json(const struct hone_profile_row *r)
{
    json_t *all = json_object();
    for (int i = 0; i < r->ncounters; i++)
        json_object_set_new(all, r->counter[i].name,
                            r->counter[i].ok
                                ? json_real(r->counter[i].value)
                                : json_pack("{s:s}", "not_available", r->counter[i].why));
    return all;
}

static json_t *refusals_json(const struct hone_profile_row *r)
{
    json_t *all = json_array();
    for (int i = 0; i < r->nrefusals; i++)
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:i}", "kernel", r->refusal[i].kernel, "why",
                                        r->refusal[i].why, "weight", r->refusal[i].weight));
    return all;
}

static json_t *numbers_json(const double v[], int n)
{
    json_t *all = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(all, json_real(v[i]));
    return all;
}

static json_t *step_json(const struct hone_profile *prof, int s)
{
    const struct hone_step *step = &prof->net->step[s];
    const struct hone_profile_row *r = &prof->row[s];
    char problem[HONE_TEXT], config[HONE_TEXT], version[HONE_TEXT];
    hone_problem_print(&step->problem, problem);
    hone_config_print(step->plan.kernel, &step->plan.config, config);
    hone_kernel_version(step->plan.kernel, version);
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:I}", "layer",
        layer_name(prof->net, step->layer), "kind",
        step->layer < 0 ? step->problem.op->name : prof->net->layer[step->layer].kind, "phase",
        hone_phase_name(step->phase), "problem", problem, "kernel", step->plan.kernel->name,
        "config", config, "version", version, "tuned", step->known, "threads", r->threads,
        "candidates", r->ncandidates, "workspace_bytes", (json_int_t)step->plan.workspace_bytes);
    json_t *times = json_pack("{s:o, s:f, s:o, s:o, s:f, s:f, s:o}", "ms", stats_json(&r->ms),
                              "first_ms", r->first_ms, "warm_ms", stats_json(&r->warm_ms),
                              "cold_ms", stats_json(&r->cold_ms), "at_ms", r->at_ms, "took_ms",
                              r->took_ms, "thread_ms", numbers_json(r->cpu_ms, prof->threads.n));
    json_t *why =
        json_pack("{s:f, s:f, s:f, s:s, s:o, s:o, s:o, s:o}", "flops", r->flops, "bytes", r->bytes,
                  "roof_ms", r->roof_ms, "bound", r->bound, "runner_up",
                  rival_json(&r->runner_up, &r->best), "library", rival_json(&r->library, &r->best),
                  "refused", refusals_json(r), "counters", counters_json(r));
    json_object_update(j, times);
    json_object_update(j, why);
    json_decref(times);
    json_decref(why);
    return j;
}

/* ---- memory ---- */

static json_t *layer_memory_json(const struct hone_net *net, int layer)
{
    int64_t bytes[HONE_ROLE_ACTIVATION + 1] = { 0 }, workspace = 0;
    for (int i = 0; i < net->ntensors; i++)
        if (net->tensor[i].layer == layer)
            bytes[net->tensor[i].role] += hone_tensor_bytes(&net->tensor[i]);
    for (int s = 0; s < net->nsteps; s++)
        if (net->step[s].layer == layer && (int64_t)net->step[s].plan.workspace_bytes > workspace)
            workspace = (int64_t)net->step[s].plan.workspace_bytes;
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "layer", net->layer[layer].name, "weights",
                     (json_int_t)bytes[HONE_ROLE_WEIGHT], "gradients",
                     (json_int_t)bytes[HONE_ROLE_GRADIENT], "activations",
                     (json_int_t)bytes[HONE_ROLE_ACTIVATION], "workspace", (json_int_t)workspace);
}

/* The arena's tensors, and at every step the bytes of those that live.  One that another is written
 * over is not counted at that step. */
static void arena_json(const struct hone_net *net, json_t *blocks, json_t *live)
{
    size_t n = (size_t)net->ntensors;
    int *first = calloc(2 * n + 1, sizeof *first), *last = first + n;
    int64_t *sum = calloc((size_t)net->nsteps + 1, sizeof *sum);
    if (first && sum) hone_net_lifetimes(net, first, last);
    for (int t = 0; first && sum && t < net->ntensors; t++)
        if (net->tensor[t].over >= 0) last[net->tensor[t].over]--;
    for (int t = 0; first && sum && t < net->ntensors; t++) {
        const struct hone_tensor *tensor = &net->tensor[t];
        if (first[t] < 0) continue;
        int end = last[t] < net->nsteps ? last[t] : net->nsteps - 1;
        json_array_append_new(blocks,
                              json_pack("{s:s, s:s, s:i, s:i, s:I, s:I}", "tensor", tensor->name,
                                        "layer", layer_name(net, tensor->layer), "first", first[t],
                                        "last", end, "offset", (json_int_t)tensor->offset, "bytes",
                                        (json_int_t)hone_tensor_bytes(tensor)));
        for (int s = first[t]; s <= end; s++) sum[s] += hone_tensor_bytes(tensor);
    }
    for (int s = 0; sum && s < net->nsteps; s++) json_array_append_new(live, json_integer(sum[s]));
    free(first);
    free(sum);
}

static json_t *memory_json(const struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    json_t *layers = json_array(), *blocks = json_array(), *live = json_array(),
           *resident = json_array();
    for (int l = 0; l < net->nlayers; l++) json_array_append_new(layers, layer_memory_json(net, l));
    for (int s = 0; s < net->nsteps; s++)
        json_array_append_new(resident, json_integer(prof->row[s].resident_bytes));
    arena_json(net, blocks, live);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:o, s:o}",
                     "weights", (json_int_t)net->weights_bytes, "gradients", (json_int_t)net->gradients_bytes,
                     "optimizer", (json_int_t)net->state_bytes, "activations",
                     (json_int_t)net->arena_bytes, "workspace", (json_int_t)net->workspace_bytes,
                     "batch", (json_int_t)net->data_bytes, "base", (json_int_t)prof->base_bytes,
                     "libraries", (json_int_t)prof->library_bytes, "peak_resident", (json_int_t)prof->peak_bytes, "peak_is_of_whole_process",
                     prof->peak_is_all, "layers", layers, "arena", blocks, "live", live, "resident",
                     resident);
}

/* ---- the whole ---- */

static json_t *roofs_json(const struct hone_profile *prof)
{
    const struct hone_peaks *p = &prof->peaks;
    enum hone_dtype t = p->flops_all[prof->net->dtype] > 0 ? prof->net->dtype : HONE_F32;
    return json_pack("{s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "threads", p->nthreads, "measured",
                     p->when, "share_of_processors", p->share, "compute", p->flops_all[t], "L1",
                     p->l1_all, "L2", p->l2_all, "L3", p->l3_all, "memory", p->memory_all);
}

json_t *hone_profile_json(const struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    char optimizer[HONE_TEXT];
    hone_optim_print(&net->optim, optimizer);
    json_t *steps = json_array();
    for (int s = 0; s < net->nsteps; s++) json_array_append_new(steps, step_json(prof, s));
    return json_pack("{s:s, s:i, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:f, "
                     "s:f, s:f, s:o, s:o, s:o, s:o*, s:s*, s:o*, s:o*, s:s*}",
                     "hone", HONE_LAYERS_KIND, "version", HONE_LAYERS_VERSION, "net", net->name,
                     "params", net->params_text, "batch", net->batch, "dtype",
                     hone_net_dtype_name(net), "optimizer", optimizer, "device",
                     net->device->name, "device_text", net->device->text, "device_id",
                     net->device->id, "rounds", prof->rounds, "step_ms", stats_json(&prof->step_ms),
                     "traced_ms", stats_json(&prof->traced_ms), "profiler_overhead",
                     stats_json(&prof->overhead), "look_ms", prof->look_ms, "first_step_ms",
                     prof->first_ms, "samples_per_second", net->batch / prof->step_ms.median * 1e3,
                     "roofs", roofs_json(prof), "memory", memory_json(prof), "steps", steps,
                     "activity", hone_profile_activity_json(prof), "gpu_state",
                     prof->gpu[0] ? prof->gpu : NULL, "graph_step_ms",
                     prof->graph_ms.n ? stats_json(&prof->graph_ms) : NULL, "graph_gain",
                     prof->graph_ms.n ? stats_json(&prof->graph_gain) : NULL, "no_graph",
                     prof->no_graph[0] ? prof->no_graph : NULL);
}
