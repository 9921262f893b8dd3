/* hone report KIND: reports on what was measured before.  Nothing is measured here: the same
 * records give the same bytes. */
#include "results/layers.h"

#include <argp.h>
#include <string.h>

/* ---- layers ---- */

struct options {
    const char *path;
    struct hone_layers_outputs outputs;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->outputs; break;
    case ARGP_KEY_ARG:
        if (o->path) argp_error(state, "unexpected argument '%s'", arg);
        o->path = arg;
        break;
    case ARGP_KEY_END:
        if (!o->path) argp_error(state, "FILE is missing: what `hone profile --json` printed");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char layers_doc[] =
    "Shows again what `hone profile` measured, in any form."
    "\vFILE is what `hone profile --json` printed; - is standard input.\n\n"
    "Examples:\n"
    "  hone profile --net lenet5 --json > lenet5.json\n"
    "  hone report layers lenet5.json --top 10\n"
    "  hone report layers lenet5.json --html lenet5.html --trace lenet5-trace.json --plot plots\n"
    "  hone report layers lenet5.json --csv > lenet5.csv\n\n"
    "Exit status: 0 good, 1 the record cannot be read or a report not written, 2 wrong usage.";

static int layers(int argc, char **argv)
{
    static const struct argp_child children[] = { { &hone_layers_argp, 0, "Reports", 0 }, { 0 } };
    static const struct argp argp = {
        .parser = parse, .args_doc = "FILE", .doc = layers_doc, .children = children
    };
    struct options o = { 0 };
    struct hone_layers l;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = hone_layers_load(&l, o.path);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    if (err) return 1;
    err = hone_layers_write(&l, &o.outputs, argv[0]);
    hone_layers_close(&l);
    return err ? 1 : 0;
}

/* ---- which ---- */

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} reports[] = {
    { "layers", layers, "a profile's record as table, CSV, page, trace, plots" },
    { "nets", hone_report_nets, "several profiles, a line for each: what adds up, memory" },
    { "compare", hone_report_compare, "two profiles, part by part: FASTER, SLOWER, SAME, UNCLEAR" },
    { "jit", hone_report_jit, "kernels compiled at run time: what they cost, when they pay" },
    { "tradeoff", hone_report_tradeoff, "time against workspace, of a net and its problems" },
    { "dawnbench", hone_report_dawnbench, "the epochs of a training run as DAWNBench's table" },
    { NULL, NULL, NULL },
};

static void usage(FILE *f)
{
    fputs("Usage: hone report KIND [OPTION...]\nReports on what was measured before.\n\n", f);
    for (int i = 0; reports[i].name; i++)
        fprintf(f, "  %-10s %s\n", reports[i].name, reports[i].about);
    fputs("\n`hone report KIND --help` shows a report's options, with examples.\n", f);
}

int hone_cmd_report(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : NULL;
    if (kind && (!strcmp(kind, "--help") || !strcmp(kind, "-?"))) {
        usage(stdout);
        return 0;
    }
    for (int i = 0; kind && reports[i].name; i++) {
        if (strcmp(kind, reports[i].name)) continue;
        char name[64];
        snprintf(name, sizeof name, "hone report %s", kind);
        argv[1] = name;
        return reports[i].run(argc - 1, argv + 1);
    }
    if (kind)
        fprintf(stderr, "%s: '%s' is no report; `hone report --help` lists them\n", argv[0], kind);
    else
        usage(stderr);
    return 2;
}
