/* Where a report goes: the record itself, a table or CSV on standard output, and files. */
#include "results/layers.h"
#include "results/output.h"

#include <argp.h>
#include <stdlib.h>

/* What was derived stands beside what was measured, for other programs; reading skips it. */
static int add_derived(const struct hone_layers *l)
{
    json_t *phases = json_array(), *advice = json_array();
    for (int i = 0; i < l->nphases; i++)
        json_array_append_new(phases, json_pack("{s:s, s:i, s:f, s:f}", "phase", l->phase[i].name,
                                                "parts", l->phase[i].n, "ms", l->phase[i].ms,
                                                "share", l->phase[i].ms / l->parts_ms));
    for (int i = 0; i < l->nadvice; i++) json_array_append_new(advice, json_string(l->advice[i]));
    json_t *steps = json_object_get(l->root, "steps"), *more;
    for (int i = 0; i < l->nsteps; i++) {
        const struct hone_layers_step *s = &l->step_of[i];
        more = json_pack("{s:f, s:f, s:f}", "share", s->share, "cumulative", s->cumulative,
                         "share_of_roof", s->roof_ms / s->ms.median);
        json_object_update(json_array_get(steps, (size_t)i), more);
        json_decref(more);
    }
    const struct hone_layers_memory *m = &l->memory;
    more = json_pack("{s:I, s:I}", "planned", (json_int_t)m->planned, "predicted_peak",
                     (json_int_t)m->predicted);
    json_object_update(json_object_get(l->root, "memory"), more);
    json_decref(more);
    more = json_pack("{s:f, s:f, s:f, s:o, s:o}", "parts_ms", l->parts_ms, "held_up_ms",
                     l->held_up_ms, "gap_ms", l->gap_ms, "phases", phases, "advice", advice);
    int bad = !more || json_object_update(l->root, more);
    json_decref(more);
    return bad ? hone_fail(HONE_ENOMEM, "a report") : HONE_OK;
}

int hone_layers_json(const struct hone_layers *l, FILE *f)
{
    int err = add_derived(l);
    if (!err &&
        (json_dumpf(l->root, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) || putc('\n', f) == EOF))
        err = hone_fail(HONE_EIO, "cannot write JSON");
    return err;
}

static int page(const struct hone_layers *l, FILE *f)
{
    hone_layers_html(l, f);
    return HONE_OK;
}

static int save(const struct hone_layers *l, const char *path,
                int (*write)(const struct hone_layers *l, FILE *f))
{
    struct hone_output o;
    int err = hone_output_open(&o);
    if (!err) err = write(l, o.f);
    if (!err) return hone_output_save(&o, path);
    hone_output_close(&o);
    return err;
}

int hone_layers_write(const struct hone_layers *l, const struct hone_layers_outputs *o,
                      const char *command)
{
    int first = HONE_OK;
    for (int i = 0; i < 4; i++) {
        int err = HONE_OK;
        if (i == 0 && o->trace) err = save(l, o->trace, hone_layers_trace);
        if (i == 1 && o->html) err = save(l, o->html, page);
        if (i == 2 && o->plot) err = hone_layers_plot(l, o->plot, command);
        if (i == 3 && o->json) err = hone_layers_json(l, stdout);
        if (err) fprintf(stderr, "%s: %s\n", command, hone_errmsg());
        if (!first) first = err;
    }
    if (o->csv)
        hone_layers_csv(l, stdout);
    else if (!o->json)
        hone_layers_print(l, o->top, stdout);
    return first;
}

/* ---- options ---- */

enum { OPT_JSON = 512, OPT_CSV, OPT_TOP, OPT_TRACE, OPT_HTML, OPT_PLOT };

static const struct argp_option option[] = {
    { "json", OPT_JSON, 0, 0, "print JSON: the record, which `hone report layers` reads", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV: a line for each part", 0 },
    { "top", OPT_TOP, "N", 0, "in the table only the N longest parts, longest first", 0 },
    { "html", OPT_HTML, "FILE", 0, "write a page with tables and charts that needs no network", 0 },
    { "trace", OPT_TRACE, "FILE", 0, "write a trace for Perfetto or chrome://tracing", 0 },
    { "plot", OPT_PLOT, "DIR", 0,
      "draw roofline, layers and memory by gnuplot: .png, .svg, .gp, .dat", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_layers_outputs *o = state->input;
    char *end;
    switch (key) {
    case OPT_JSON: o->json = 1; return 0;
    case OPT_CSV: o->csv = 1; return 0;
    case OPT_TRACE: o->trace = arg; return 0;
    case OPT_HTML: o->html = arg; return 0;
    case OPT_PLOT: o->plot = arg; return 0;
    case OPT_TOP:
        o->top = (int)strtol(arg, &end, 10);
        if (*end || end == arg || o->top < 1)
            argp_error(state, "--top: '%s' is not a positive number", arg);
        return 0;
    case ARGP_KEY_END:
        if (o->json && o->csv)
            argp_error(state, "--json and --csv both go to standard output; give one");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp hone_layers_argp = { .options = option, .parser = parse };
