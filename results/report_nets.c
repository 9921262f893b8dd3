/* hone report nets: several profiles, a line for each: whether it adds up, what looking cost,
 * whether memory was as predicted. */
#include "results/layers.h"
#include "results/output.h"

#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum form { TABLE, MARKDOWN, CSV, NFORMS };

struct options {
    char **path;
    int npaths;
    enum form form;
    const char *plot;
};

struct report {
    int n;
    struct hone_layers *of; /* (n) of the files that could be read */
};

/* What stands in a line beside the net. */
struct summary {
    double step, lo, hi, parts, of_step, held_up, looking, rows_per_s, gflops, roof;
    double predicted, measured, off;
    const struct hone_layers_step *longest;
};

static struct summary summary_of(const struct hone_layers *l)
{
    double roof = 0;
    for (int i = 0; i < l->nphases; i++) roof += l->phase[i].roof_ms;
    return (struct summary){
        .step = l->step.median,
        .lo = l->step.lo,
        .hi = l->step.hi,
        .parts = l->parts_ms,
        .of_step = l->parts_ms / l->step.median,
        .held_up = l->held_up_ms / l->step.median,
        .looking = l->overhead.median,
        .rows_per_s = 1e3 * l->batch / l->step.median,
        .gflops = l->flops / l->step.median * 1e-6,
        .roof = roof / l->step.median,
        .predicted = (double)l->memory.predicted,
        .measured = (double)l->memory.peak,
        .off = (double)l->memory.peak / (double)l->memory.predicted - 1,
        .longest = &l->step_of[l->by_time[0]],
    };
}

static void put_row(const struct hone_layers *l, enum form form, FILE *f)
{
    static const char *const fmt[NFORMS] = {
        [TABLE] = "%-18s %5d %4d %9.4g [%9.4g %9.4g] %9.4g %6.1f%% %6.1f%% %+6.1f%% %9.4g %8.4g "
                  "%4.0f%% %9s %9s %+5.1f%%  %s %s %.0f%%\n",
        [MARKDOWN] = "| %s | %d | %d | %.4g [%.4g, %.4g] | %.4g | %.1f %% | %.1f %% | %+.1f %% | %.4g "
                     "| %.4g | %.0f %% | %s | %s | %+.1f %% | %s %s, %.0f %% |\n",
        [CSV] = "%s,%d,%d,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%s,%s,%.9g,%s,%s,"
                "%.9g\n",
    };
    const struct summary s = summary_of(l);
    char predicted[32], measured[32];
    if (form == CSV) {
        snprintf(predicted, sizeof predicted, "%.0f", s.predicted);
        snprintf(measured, sizeof measured, "%.0f", s.measured);
    } else {
        hone_layers_bytes((int64_t)s.predicted, predicted);
        hone_layers_bytes((int64_t)s.measured, measured);
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    fprintf(f, fmt[form], l->net, l->batch, l->rounds, s.step, s.lo, s.hi, s.parts,
            100 * s.of_step, 100 * s.held_up, 100 * s.looking, s.rows_per_s, s.gflops, 100 * s.roof,
            predicted, measured, 100 * s.off, s.longest->layer, s.longest->phase,
            100 * s.longest->share);
#pragma GCC diagnostic pop
}

static void print(const struct report *r, enum form form, FILE *f)
{
    if (form == TABLE)
        fprintf(f, "%-18s %5s %4s %9s %-21s %9s %7s %7s %7s %9s %8s %5s %9s %9s %6s  %s\n", "net",
                "batch", "n", "step ms", "[95 %]", "parts ms", "of step", "held up", "looking",
                "rows/s", "GFLOP/s", "roof", "predicted", "peak", "off", "longest part");
    else if (form == MARKDOWN)
        fputs("| net | batch | n | untraced step, ms [95 %] | parts' sum, ms | of step | held up "
              "| looking | rows/s | GFLOP/s | of roof | memory predicted | peak | off | longest part "
              "|\n| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: "
              "| ---: | ---: | --- |\n", f);
    else
        fputs("net,batch,n,step_ms,step_lo,step_hi,parts_ms,of_step_percent,held_up_percent,"
              "looking_percent,rows_per_s,gflops,roof_percent,predicted_bytes,peak_bytes,"
              "off_percent,longest_layer,longest_phase,longest_percent\n", f);
    for (int i = 0; i < r->n; i++) put_row(&r->of[i], form, f);
}

/* ---- the picture: what share of its step each phase of a net takes ---- */

static double phase_ms(const struct hone_layers *l, const char *name)
{
    for (int i = 0; i < l->nphases; i++)
        if (!strcmp(l->phase[i].name, name)) return l->phase[i].ms;
    return 0;
}

static const char *put_phases(const void *of, FILE *data, FILE *script)
{
    const struct report *r = of;
    fputs("# net", data);
    for (int p = 0; p < HONE_NPHASES; p++) fprintf(data, " %s", hone_phase_name(p));
    for (int i = 0; i < r->n; i++) {
        const struct hone_layers *l = &r->of[i];
        fprintf(data, "\n%s", l->net);
        for (int p = 0; p < HONE_NPHASES; p++)
            fprintf(data, " %.6g", 100 * phase_ms(l, hone_phase_name(p)) / l->parts_ms);
    }
    fputs("\n", data);
    hone_output_title(script, "Where the time of a training step goes");
    fputs("set ylabel '% of the parts'\nset yrange [0:100]\nset style data histograms\n"
          "set style histogram rowstacked\nset style fill solid 0.8\nset boxwidth 0.7\n"
          "set xtics rotate by -30 noenhanced\nset key outside right noenhanced\n", script);
    hone_output_gnuplot_begin(script, "nets", 1000, 500);
    for (int p = 0; p < HONE_NPHASES; p++)
        fprintf(script, "%s'nets.dat' using %d%s title '%s'", p ? ", \\\n        " : "    plot ",
                p + 2, p ? "" : ":xtic(1)", hone_phase_name(p));
    fputc('\n', script);
    hone_output_gnuplot_end(script);
    return r->n ? NULL : "no profile";
}

/* ---- the command ---- */

enum { OPT_MARKDOWN = 256, OPT_CSV, OPT_PLOT };

static const struct argp_option option[] = {
    { "markdown", OPT_MARKDOWN, 0, 0, "print a table of Markdown", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV", 0 },
    { "plot", OPT_PLOT, "DIR", 0, "draw each phase's share: nets.png, .svg, script and data", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_MARKDOWN: o->form = MARKDOWN; break;
    case OPT_CSV: o->form = CSV; break;
    case OPT_PLOT: o->plot = arg; break;
    case ARGP_KEY_ARGS:
        o->path = state->argv + state->next;
        o->npaths = state->argc - state->next;
        break;
    case ARGP_KEY_END:
        if (!o->npaths) argp_error(state, "no file: `hone profile --json > FILE` makes one");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Shows several profiles, a line for each: the untraced step, its parts' sum and its share "
    "of the step, the cost of looking, rows a second, distance to the roof, memory as predicted and "
    "as measured, and the longest part."
    "\vlooking: how much longer a traced step is than an untraced one, pair by pair; held up: what "
    "is left of the step, since in each some part is delayed by other programs or the system, which "
    "the parts' medians leave out.\n\n"
    "Examples:\n"
    "  hone report nets lenet5.json resnet56.json\n"
    "  hone report nets --markdown --plot . *.json > nets.md\n\n"
    "Exit status: 0 good, 1 a file could not be read, 2 wrong usage.";

int hone_report_nets(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option, .parser = parse, .args_doc = "FILE...", .doc = doc
    };
    struct options o = { 0 };
    struct report r = { 0 };
    int bad = 0;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    r.of = calloc((size_t)o.npaths, sizeof *r.of);
    for (int i = 0; r.of && i < o.npaths; i++) {
        if (!hone_layers_load(&r.of[r.n], o.path[i])) {
            r.n++;
            continue;
        }
        fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
        bad = 1;
    }
    if (r.n) print(&r, o.form, stdout);
    int err = r.n && o.plot ? hone_output_directory(o.plot) : HONE_OK;
    if (!err && r.n && o.plot) err = hone_output_plot(o.plot, "nets", argv[0], put_phases, &r);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    for (int i = 0; i < r.n; i++) hone_layers_close(&r.of[i]);
    free(r.of);
    return err || bad ? 1 : 0;
}
