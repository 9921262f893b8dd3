/* A profile as a table for people and as JSON for programs. */
#include "results/results.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static const char *layer_name(const struct hone_net *net, const struct hone_step *s)
{
    return s->layer < 0 ? "(net)" : net->layer[s->layer].name;
}

static double ratio(const struct hone_record *r, const struct hone_record *best)
{
    return r->kernel[0] && best->ms_median > 0 ? r->ms_median / best->ms_median : NAN;
}

/* ---- memory ---- */

struct memory {
    int64_t weights, gradients, activations, workspace;
};

static int64_t tensor_bytes(const struct hone_tensor *t)
{
    int64_t n = (int64_t)hone_dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* What a layer's own tensors take; the arena lets activations of different lifetimes overlap, so
 * that the net's total is smaller than the sum. */
static struct memory layer_memory(const struct hone_net *net, int layer)
{
    struct memory m = { 0 };
    for (int i = 0; i < net->ntensors; i++) {
        const struct hone_tensor *t = &net->tensor[i];
        if (t->layer != layer) continue;
        if (t->role == HONE_ROLE_WEIGHT) m.weights += tensor_bytes(t);
        if (t->role == HONE_ROLE_GRADIENT) m.gradients += tensor_bytes(t);
        if (t->role == HONE_ROLE_ACTIVATION) m.activations += tensor_bytes(t);
    }
    for (int s = 0; s < net->nsteps; s++)
        if (net->step[s].layer == layer && (int64_t)net->step[s].plan.workspace_bytes > m.workspace)
            m.workspace = (int64_t)net->step[s].plan.workspace_bytes;
    return m;
}

static const char *human(int64_t bytes, char text[16])
{
    if (bytes < 1024) snprintf(text, 16, "%d B", (int)bytes);
    else if (bytes < 1024 * 1024) snprintf(text, 16, "%.1f KiB", (double)bytes / 1024);
    else snprintf(text, 16, "%.1f MiB", (double)bytes / 1048576);
    return text;
}

static void print_memory(const struct hone_profile *prof, FILE *f)
{
    const struct hone_net *net = prof->net;
    char a[16], b[16], c[16], d[16];
    fprintf(f, "\n%-10s %12s %12s %12s %12s\n", "memory", "weights", "gradients", "activations", "workspace");
    for (int l = 0; l < net->nlayers; l++) {
        struct memory m = layer_memory(net, l);
        if (m.weights + m.activations + m.workspace == 0) continue;
        fprintf(f, "%-10s %12s %12s %12s %12s\n", net->layer[l].name, human(m.weights, a), human(m.gradients, b),
                human(m.activations, c), human(m.workspace, d));
    }
    fprintf(f, "%-10s %12s %12s %12s %12s   (activations share one arena, workspaces one buffer)\n", "net",
            human(net->weights_bytes, a), human(net->gradients_bytes, b), human(net->arena_bytes, c),
            human(net->workspace_bytes, d));
    fprintf(f, "optimizer state %s, batch %s; planned in all %s; peak resident of the process %s\n",
            human(net->state_bytes, a), human(net->data_bytes, b),
            human(net->weights_bytes + net->gradients_bytes + net->arena_bytes + net->workspace_bytes + net->state_bytes +
                  net->data_bytes, c), human(prof->peak_bytes, d));
}

/* ---- table ---- */

static void print_ratio(FILE *f, const struct hone_record *r, const struct hone_record *best)
{
    if (isnan(ratio(r, best))) fprintf(f, " %8s", "-");
    else fprintf(f, " %7.2fx", ratio(r, best));
}

static void print_row(const struct hone_profile *prof, int s, FILE *f)
{
    const struct hone_step *step = &prof->net->step[s];
    const struct hone_profile_row *r = &prof->row[s];
    char config[HONE_TEXT];
    hone_config_print(step->plan.kernel, &step->plan.config, config);
    fprintf(f, "%-10s %-7s %9.4f [%.4f %.4f] %5.1f%% %8.3f %8.3f %8.1f %6.1f%% %-8s", layer_name(prof->net, step),
            hone_phase_name(step->phase), r->ms.median, r->ms.lo, r->ms.hi, 100 * r->ms.median / prof->traced_ms.median,
            r->flops * 1e-6, r->bytes * 1e-6, r->flops / r->ms.median * 1e-6, 100 * r->roof_ms / r->ms.median, r->bound);
    print_ratio(f, &r->runner_up, &r->best);
    print_ratio(f, &r->library, &r->best);
    fprintf(f, "  %s%s%s%s\n", step->plan.kernel->name, strcmp(config, "-") ? " " : "", strcmp(config, "-") ? config : "",
            step->known ? "" : " (untuned)");
}

static void print_counters(const struct hone_profile *prof, FILE *f)
{
    const struct hone_net *net = prof->net;
    fprintf(f, "\ncounters, per run, from runs of their own:\n");
    for (int s = 0; s < net->nsteps; s++)
        for (int i = 0; i < prof->row[s].ncounters; i++) {
            const struct hone_counter *c = &prof->row[s].counter[i];
            fprintf(f, "%-10s %-7s %-28s ", layer_name(net, &net->step[s]), hone_phase_name(net->step[s].phase), c->name);
            if (c->ok) fprintf(f, "%.6g\n", c->value);
            else fprintf(f, "n/a (%s)\n", c->why);
        }
}

void hone_profile_print(const struct hone_profile *prof, FILE *f)
{
    const struct hone_net *net = prof->net;
    int untuned = 0;
    fprintf(f, "%s, batch %d, training step on %s (%s), n = %d\n\n", net->name, net->batch, net->device->name,
            net->device->text, prof->step_ms.n);
    fprintf(f, "%-10s %-7s %9s %-15s %6s %8s %8s %8s %7s %-8s %8s %8s  %s\n", "layer", "phase", "ms", "[95 %]", "step",
            "MFLOP", "MB", "GFLOP/s", "roof", "bound", "runnerup", "library", "kernel and config");
    for (int s = 0; s < net->nsteps; s++) {
        print_row(prof, s, f);
        untuned += !net->step[s].known;
    }
    fprintf(f, "\nsum of parts %.4f ms [%.4f %.4f]; untraced step %.4f ms [%.4f %.4f], %.0f samples/s; looking costs %+.1f %%\n",
            prof->traced_ms.median, prof->traced_ms.lo, prof->traced_ms.hi, prof->step_ms.median, prof->step_ms.lo,
            prof->step_ms.hi, net->batch / prof->step_ms.median * 1e3,
            100 * (prof->traced_ms.median / prof->step_ms.median - 1));
    print_memory(prof, f);
    if (prof->row[0].ncounters) print_counters(prof, f);
    if (untuned)
        fprintf(f, "\n%d of %d parts are untuned: `hone autotune --device %s --net %s --batch %d` finds their fastest kernels\n",
                untuned, net->nsteps, net->device->name, net->name, net->batch);
}

/* ---- JSON ---- */

static json_t *stats_json(const struct hone_stats *s)
{
    return json_pack("{s:i, s:f, s:f, s:f}", "n", s->n, "median", s->median, "lo", s->lo, "hi", s->hi);
}

static json_t *rival_json(const struct hone_record *r, const struct hone_record *best)
{
    if (!r->kernel[0]) return json_null();
    return json_pack("{s:s, s:s, s:s, s:f}", "kernel", r->kernel, "config", r->config, "version", r->version, "ratio",
                     ratio(r, best));
}

static json_t *counters_json(const struct hone_profile_row *r)
{
    json_t *all = json_object();
    for (int i = 0; i < r->ncounters; i++)
        json_object_set_new(all, r->counter[i].name, r->counter[i].ok
                                ? json_real(r->counter[i].value)
                                : json_pack("{s:s}", "not_available", r->counter[i].why));
    return all;
}

static json_t *row_json(const struct hone_profile *prof, int s)
{
    const struct hone_step *step = &prof->net->step[s];
    const struct hone_profile_row *r = &prof->row[s];
    char problem[HONE_TEXT], config[HONE_TEXT], version[HONE_TEXT];
    hone_problem_print(&step->problem, problem);
    hone_config_print(step->plan.kernel, &step->plan.config, config);
    hone_kernel_version(step->plan.kernel, version);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:o, s:f, s:f, s:f, s:f, s:s, s:f, s:I, s:i, s:o, s:o, s:o}",
                     "layer", layer_name(prof->net, step), "phase", hone_phase_name(step->phase), "problem", problem,
                     "kernel", step->plan.kernel->name, "config", config, "version", version, "tuned", step->known,
                     "threads", r->threads, "ms", stats_json(&r->ms), "share", r->ms.median / prof->traced_ms.median,
                     "flops", r->flops, "bytes", r->bytes, "roof_ms", r->roof_ms, "bound", r->bound,
                     "share_of_roof", r->roof_ms / r->ms.median, "workspace_bytes",
                     (json_int_t)step->plan.workspace_bytes, "candidates", r->ncandidates,
                     "runner_up", rival_json(&r->runner_up, &r->best), "library", rival_json(&r->library, &r->best),
                     "counters", counters_json(r));
}

static json_t *memory_json(const struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    json_t *layers = json_array();
    for (int l = 0; l < net->nlayers; l++) {
        struct memory m = layer_memory(net, l);
        json_array_append_new(layers, json_pack("{s:s, s:I, s:I, s:I, s:I}", "layer", net->layer[l].name, "weights",
                                                (json_int_t)m.weights, "gradients", (json_int_t)m.gradients, "activations",
                                                (json_int_t)m.activations, "workspace", (json_int_t)m.workspace));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "weights", (json_int_t)net->weights_bytes, "gradients",
                     (json_int_t)net->gradients_bytes, "optimizer", (json_int_t)net->state_bytes, "activations",
                     (json_int_t)net->arena_bytes, "workspace", (json_int_t)net->workspace_bytes, "batch",
                     (json_int_t)net->data_bytes, "peak_resident", (json_int_t)prof->peak_bytes, "layers", layers);
}

int hone_profile_print_json(const struct hone_profile *prof, FILE *f)
{
    const struct hone_net *net = prof->net;
    json_t *steps = json_array();
    for (int s = 0; s < net->nsteps; s++) json_array_append_new(steps, row_json(prof, s));
    json_t *all = json_pack("{s:s, s:i, s:s, s:s, s:o, s:o, s:f, s:o, s:o}", "net", net->name, "batch", net->batch,
                            "device", net->device->name, "device_id", net->device->id, "step_ms",
                            stats_json(&prof->step_ms), "traced_ms", stats_json(&prof->traced_ms), "samples_per_second",
                            net->batch / prof->step_ms.median * 1e3, "steps", steps, "memory", memory_json(prof));
    int err = all && !json_dumpf(all, f, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) && fputc('\n', f) != EOF
                  ? HONE_OK : hone_fail(HONE_EIO, "cannot write JSON");
    json_decref(all);
    return err;
}
