/* The report on a step's layers as a table for people, and as CSV. */
#include "results/layers.h"
#include "results/output.h"

#include <math.h>
#include <string.h>

const char *hone_layers_bytes(int64_t bytes, char text[16])
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double v = (double)bytes;
    int u = 0;
    for (; fabs(v) >= 1024 && u < 4; u++) v /= 1024;
    snprintf(text, 16, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return text;
}

/* ---- table ---- */

static void print_number(FILE *f, double v, const char *fmt, int width)
{
    char text[32] = "-";
    if (!isnan(v)) snprintf(text, sizeof text, fmt, v);
    fprintf(f, " %*s", width, text);
}

static double median_or_nan(const struct hone_stats *s) { return s->n ? s->median : NAN; }

/* Per cent; a device whose peaks are not known has no roof. */
static double of_roof(double roof_ms, double ms) { return roof_ms > 0 ? 100 * roof_ms / ms : NAN; }

static void print_step(const struct hone_layers_step *s, FILE *f)
{
    int has_config = strcmp(s->config, "-") != 0;
    fprintf(f, "%-10s %-7s %9.4f [%.4f %.4f] %5.1f%% %5.1f%%", s->layer, s->phase, s->ms.median,
            s->ms.lo, s->ms.hi, 100 * s->share, 100 * s->cumulative);
    print_number(f, median_or_nan(&s->warm), "%.4f", 9);
    print_number(f, median_or_nan(&s->cold), "%.4f", 9);
    fprintf(f, " %9.3f %8.2f %8.1f", s->flops * 1e-6, s->bytes > 0 ? s->flops / s->bytes : 0,
            s->flops / s->ms.median * 1e-6);
    print_number(f, of_roof(s->roof_ms, s->ms.median), "%.1f%%", 7);
    fprintf(f, " %-8s", s->bound);
    print_number(f, s->runner_up, "%.2fx", 8);
    print_number(f, s->library, "%.2fx", 8);
    fprintf(f, "  %s%s%s%s\n", s->kernel, has_config ? " " : "", has_config ? s->config : "",
            s->tuned ? "" : " (untuned)");
}

static void print_steps(const struct hone_layers *l, int top, FILE *f)
{
    fprintf(f, "%-10s %-7s %9s %-15s %6s %6s %9s %9s %9s %8s %8s %7s %-8s %8s %8s  %s\n", "layer",
            "phase", "ms", "[95 %]", "step", "cum.", "warm ms", "cold ms", "MFLOP", "flop/B",
            "GFLOP/s", "roof", "bound", "runnerup", "library", "kernel and config");
    int n = top && top < l->nsteps ? top : l->nsteps;
    for (int i = 0; i < n; i++) print_step(&l->step_of[top ? l->by_time[i] : i], f);
    if (n < l->nsteps) fprintf(f, "... and %d shorter parts\n", l->nsteps - n);
}

static void print_phases(const struct hone_layers *l, FILE *f)
{
    fprintf(f, "\n%-10s %6s %10s %6s %9s %7s\n", "phase", "parts", "ms", "step", "GFLOP/s", "roof");
    for (int p = 0; p < l->nphases; p++) {
        const struct hone_layers_phase *h = &l->phase[p];
        fprintf(f, "%-10s %6d %10.4f %5.1f%% %9.1f", h->name, h->n, h->ms,
                100 * h->ms / l->parts_ms, h->flops / h->ms * 1e-6);
        print_number(f, of_roof(h->roof_ms, h->ms), "%.1f%%", 7);
        fputc('\n', f);
    }
}

static void print_sums(const struct hone_layers *l, FILE *f)
{
    const struct {
        const char *name;
        double ms;
    } part[] = {
        { "parts, the sum of their medians", l->parts_ms },
        { "held up: in each step other programs or the system delay some part", l->held_up_ms },
        { "between the parts, less the looking", l->gap_ms },
        { "untraced step", l->step.median },
    };
    putc('\n', f);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        fprintf(f, "%12.4f ms %6.1f%%  %s\n", part[i].ms, 100 * part[i].ms / l->step.median,
                part[i].name);
    fprintf(f,
            "untraced step [%.4f %.4f] ms, %.0f samples/s; looking costs %+.1f %% [%+.1f %+.1f] of "
            "it, a look %.0f ns\n",
            l->step.lo, l->step.hi, l->batch / l->step.median * 1e3, 100 * l->overhead.median,
            100 * l->overhead.lo, 100 * l->overhead.hi, 1e6 * l->look_ms);
    if (l->graph.n)
        fprintf(f,
                "as one graph, which training runs: %.4f [%.4f %.4f] ms, %.0f samples/s; %.2f "
                "[%.2f %.2f] times as fast\n",
                l->graph.median, l->graph.lo, l->graph.hi, l->batch / l->graph.median * 1e3,
                l->graph_gain.median, l->graph_gain.lo, l->graph_gain.hi);
    if (l->no_graph) fprintf(f, "the step is not one graph: %s\n", l->no_graph);
    fprintf(f, "the first step took %.4f ms, %.1f times as long\n", l->first_ms,
            l->first_ms / l->step.median);
}

static int64_t integer_at(const json_t *j, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(j, name));
}

/* What lives at the step that needs most of the arena, its workspace included, largest first. */
static void print_fullest(const struct hone_layers *l, FILE *f)
{
    enum { MOST = 8 };
    const struct hone_layers_memory *m = &l->memory;
    const struct hone_layers_step *at = l->step_of;
    const struct hone_layers_block *b[MOST];
    int n = 0, rest = 0;
    char text[16];
    for (int i = 0; i < l->nsteps; i++)
        if (l->step_of[i].live_bytes + l->step_of[i].workspace_bytes >
            at->live_bytes + at->workspace_bytes)
            at = &l->step_of[i];
    for (int i = 0; i < m->nblocks; i++) {
        const struct hone_layers_block *x = &m->block[i];
        if (x->first > at - l->step_of || x->last < at - l->step_of) continue;
        int k = n < MOST ? n++ : (rest++, MOST);
        for (; k && b[k - 1]->bytes < x->bytes; k--)
            if (k < MOST) b[k] = b[k - 1];
        if (k < MOST) b[k] = x;
    }
    fprintf(f, "fullest at %s %s, %s:", at->layer, at->phase,
            hone_layers_bytes(at->live_bytes + at->workspace_bytes, text));
    for (int i = 0; i < n; i++)
        fprintf(f, "%s %s %s", i ? "," : "", b[i]->tensor, hone_layers_bytes(b[i]->bytes, text));
    if (rest) fprintf(f, ", %d smaller", rest);
    if (at->workspace_bytes)
        fprintf(f, ", workspace %s", hone_layers_bytes(at->workspace_bytes, text));
    putc('\n', f);
}

static void print_memory(const struct hone_layers *l, FILE *f)
{
    const struct hone_layers_memory *m = &l->memory;
    char a[16], b[16], c[16], d[16], libraries[64] = "";
    size_t i;
    json_t *j;
    fprintf(f, "\n%-10s %12s %12s %12s %12s\n", "memory", "weights", "gradients", "activations",
            "workspace");
    json_array_foreach(m->layers, i, j)
    {
        int64_t v[] = { integer_at(j, "weights"), integer_at(j, "gradients"),
                        integer_at(j, "activations"), integer_at(j, "workspace") };
        const char *name = json_string_value(json_object_get(j, "layer"));
        if (v[0] + v[2] + v[3] == 0) continue;
        fprintf(f, "%-10s %12s %12s %12s %12s\n", name ? name : "?", hone_layers_bytes(v[0], a),
                hone_layers_bytes(v[1], b), hone_layers_bytes(v[2], c), hone_layers_bytes(v[3], d));
    }
    fprintf(f,
            "%-10s %12s %12s %12s %12s   (activations share one arena; workspaces lie there too, "
            "and need so much more)\n",
            "net", hone_layers_bytes(m->weights, a), hone_layers_bytes(m->gradients, b),
            hone_layers_bytes(m->activations, c), hone_layers_bytes(m->workspace, d));
    if (m->nblocks) print_fullest(l, f);
    fprintf(f, "optimizer %s, batch %s; planned in all %s\n", hone_layers_bytes(m->optimizer, a),
            hone_layers_bytes(m->batch, b), hone_layers_bytes(m->planned, c));
    if (m->libraries)
        snprintf(libraries, sizeof libraries, ", and %s that libraries keep",
                 hone_layers_bytes(m->libraries, d));
    fprintf(f,
            "peak resident: predicted %s (%s before the net, and what is planned%s), measured %s "
            "(%+.1f %%)%s\n",
            hone_layers_bytes(m->predicted, a), hone_layers_bytes(m->base, b), libraries,
            hone_layers_bytes(m->peak, c),
            100.0 * (double)(m->peak - m->predicted) / (double)m->predicted,
            m->is_all ? ", of the process from its start" : "");
}

/* A line for each part; why a counter is missing stands once below. */
static void print_counters(const struct hone_layers *l, int top, FILE *f)
{
    int n = top && top < l->nsteps ? top : l->nsteps;
    const char *name;
    json_t *v;
    if (!json_object_size(l->step_of[0].counters)) return;
    fprintf(f, "\ncounters, per run, from runs of their own:\n");
    for (int i = 0; i < n; i++) {
        const struct hone_layers_step *s = &l->step_of[top ? l->by_time[i] : i];
        fprintf(f, "%-10s %-7s", s->layer, s->phase);
        json_object_foreach(s->counters, name, v) if (json_is_number(v))
            fprintf(f, "  %s %.4g", name, json_number_value(v));
        putc('\n', f);
    }
    json_object_foreach(l->step_of[0].counters, name, v)
    {
        const char *why = json_string_value(json_object_get(v, "not_available"));
        if (why) fprintf(f, "%s: n/a (%s)\n", name, why);
    }
}

void hone_layers_print(const struct hone_layers *l, int top, FILE *f)
{
    fprintf(f, "%s, batch %d, %s, %s, training step on %s (%s), n = %d\n\n", l->net, l->batch,
            l->dtype, l->optimizer, l->device, l->device_text, l->rounds);
    print_steps(l, top, f);
    print_phases(l, f);
    print_sums(l, f);
    print_memory(l, f);
    print_counters(l, top, f);
    hone_layers_gpu(l, top, f);
    if (l->nadvice) putc('\n', f);
    for (int i = 0; i < l->nadvice; i++) fprintf(f, "- %s\n", l->advice[i]);
}

/* ---- CSV ---- */

static void put_number(double v, FILE *f)
{
    if (isnan(v))
        putc(',', f);
    else
        fprintf(f, ",%.9g", v);
}

void hone_layers_csv(const struct hone_layers *l, FILE *f)
{
    fputs("net,batch,layer,kind,phase,problem,kernel,config,tuned,threads,bound,ms,ms_lo,ms_hi,"
          "share,cumulative,"
          "first_ms,warm_ms,cold_ms,flops,bytes,flops_per_byte,gflops,roof_ms,share_of_roof,runner_"
          "up,library,"
          "workspace_bytes,live_bytes,resident_bytes\n",
          f);
    for (int i = 0; i < l->nsteps; i++) {
        const struct hone_layers_step *s = &l->step_of[i];
        const char *text[] = { s->layer, s->kind, s->phase, s->problem, s->kernel, s->config };
        hone_output_cell(f, l->net);
        fprintf(f, ",%d", l->batch);
        for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
            putc(',', f);
            hone_output_cell(f, text[k]);
        }
        fprintf(f, ",%d,%d,", s->tuned, s->threads);
        hone_output_cell(f, s->bound);
        const double v[] = { s->ms.median,
                             s->ms.lo,
                             s->ms.hi,
                             s->share,
                             s->cumulative,
                             s->first_ms,
                             median_or_nan(&s->warm),
                             median_or_nan(&s->cold),
                             s->flops,
                             s->bytes,
                             s->bytes > 0 ? s->flops / s->bytes : NAN,
                             s->flops / s->ms.median * 1e-6,
                             s->roof_ms,
                             s->roof_ms / s->ms.median,
                             s->runner_up,
                             s->library };
        for (size_t k = 0; k < sizeof v / sizeof *v; k++) put_number(v[k], f);
        fprintf(f, ",%lld,%lld,%lld\n", (long long)s->workspace_bytes, (long long)s->live_bytes,
                (long long)s->resident_bytes);
    }
}
