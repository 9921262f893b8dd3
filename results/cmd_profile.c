/* hone profile: where a training step's time and memory go, layer by layer. */
#include "results/layers.h"
#include "results/profile.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *device, *net, *db;
    int batch, keep;
    int64_t memory;
    struct hone_optim optim;
    enum hone_dtype dtype;
    struct hone_profile_options profile;
    unsigned builds;
    struct hone_layers_outputs outputs;
};

enum { OPT_COUNTERS = 256, OPT_ROUNDS, OPT_SECONDS, OPT_OPTIMIZER, OPT_DTYPE, OPT_DB, OPT_BUILD,
       OPT_KEEP, OPT_MEMORY };

static const struct argp_option option[] = {
    { "device", 'd', "DEVICE", 0, "device to run on (default cpu0)", 0 },
    { "net", 'n', "NET", 0, "a built-in net's name, or the path of a .net file", 0 },
    { "batch", 'b', "N", 0, "samples in a step (default 64)", 0 },
    { "optimizer", OPT_OPTIMIZER, "NAME", 0,
      "as for `hone autotune`, such as sgd+momentum or adamw (default sgd)", 0 },
    { "dtype", OPT_DTYPE, "TYPE", 0,
      "numbers of the net: f32, tf32, f64, or bf16 or f16 with f32 weights (default f32)", 0 },
    { "keep", OPT_KEEP, 0, 0, "as for `hone train`: no output is computed again", 0 },
    { "memory", OPT_MEMORY, "BYTES", 0, "as for `hone train`: what may be planned", 0 },
    { "rounds", OPT_ROUNDS, "N", 0, "steps measured, traced and untraced in turn (default 101)",
      0 },
    { "seconds", OPT_SECONDS, "S", 0,
      "fewer rounds, though at least 5, where they take longer (default 30)", 0 },
    { "counters", OPT_COUNTERS, "LIST", 0,
      "events and groups to count per part, in runs of their own; `hone counters` lists them", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "build", OPT_BUILD, "LIST", 0, "of what was tuned only kernels of these builds: aot, jit, lib (default all)", 0 },
    { 0 },
};

static int positive(struct argp_state *state, const char *name, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || end == text || n < 1 || n > 1 << 24)
        argp_error(state, "--%s: '%s' is not a positive number", name, text);
    return (int)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'd': o->device = arg; break;
    case 'n': o->net = arg; break;
    case 'b': o->batch = positive(state, "batch", arg); break;
    case OPT_ROUNDS: o->profile.rounds = positive(state, "rounds", arg); break;
    case OPT_SECONDS: o->profile.seconds = positive(state, "seconds", arg); break;
    case OPT_DB: o->db = arg; break;
    case OPT_KEEP: o->keep = 1; break;
    case OPT_MEMORY:
        if (hone_bytes_parse(arg, &o->memory)) argp_error(state, "--memory: %s", hone_errmsg());
        break;
    case OPT_COUNTERS:
        if (hone_counters_check(arg)) argp_error(state, "--counters: %s", hone_errmsg());
        o->profile.counters = arg;
        break;
    case OPT_BUILD:
        if (hone_builds_parse(arg, &o->builds)) argp_error(state, "--build: %s", hone_errmsg());
        break;
    case OPT_OPTIMIZER:
        if (hone_optim_parse(arg, &o->optim)) argp_error(state, "--optimizer: %s", hone_errmsg());
        break;
    case OPT_DTYPE:
        if (hone_net_dtype_find(arg, &o->dtype)) argp_error(state, "--dtype: %s", hone_errmsg());
        break;
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->outputs; break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); break;
    case ARGP_KEY_END:
        if (!o->net) argp_error(state, "--net is missing");
        if (o->keep && o->memory) argp_error(state, "--keep and --memory exclude each other");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Runs training steps of a net and shows each part: time with its interval, share of the step, "
    "work, distance to the "
    "device's measured roof, chosen kernel with its lead over the best other kernel and the best "
    "library; phases, "
    "memory as planned and as measured, and what to do about it."
    "\vWhat --json prints is the whole record: `hone report layers` makes every other form of it, "
    "to the same bytes, "
    "without measuring again.  On a GPU the step is timed as one graph, too, as training runs it, "
    "in turn with steps without.\n\n"
    "Examples:\n"
    "  hone profile --net lenet5 --batch 64\n"
    "  hone profile --net resnet56 --batch 32 --top 12 --html resnet.html --trace "
    "resnet-trace.json\n"
    "  hone profile --net lenet5 --batch 64 --json > lenet5.json\n"
    "  hone report layers lenet5.json --plot plots\n"
    "  hone profile --net my.net --batch 32 --optimizer adam --counters "
    "ipc,memory,rusage:minflt\n\n"
    "Exit status: 0 good, 1 something failed or could not be written, 2 wrong usage.";

/* The report is made of the record as it is written, whose numbers are rounded: so it is the same
 * when the record is read again. */
static int report(const struct options *o, const struct hone_profile *prof, const char *command)
{
    struct hone_layers l;
    json_error_t e;
    json_t *record = hone_profile_json(prof);
    char *text = record ? json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    int err = hone_layers_open(&l, text ? json_loads(text, 0, &e) : NULL);
    json_decref(record);
    free(text);
    if (err)
        fprintf(stderr, "%s: %s\n", command, hone_errmsg());
    else
        err = hone_layers_write(&l, &o->outputs, command);
    if (!err) hone_layers_close(&l);
    return err;
}

int hone_cmd_profile(int argc, char **argv)
{
    struct options o = {
        .device = "cpu0",
        .batch = 64,
        .profile = { .rounds = 101, .seconds = 30 },
        .optim = hone_optim_default(HONE_SGD),
    };
    static const struct argp_child children[] = { { &hone_layers_argp, 0, "Reports", 0 }, { 0 } };
    static const struct argp argp = {
        .options = option, .parser = parse, .doc = doc, .children = children
    };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;

    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct hone_net net = { 0 };
    struct hone_profile prof = { 0 };
    struct hone_lowering how = {
        .batch = o.batch, .train = 1, .dtype = o.dtype, .optim = o.optim, .keep = o.keep,
        .memory = o.memory, .db = &db, .device = &d
    };
    hone_catch_interrupt();
    int err = hone_device_open(&d, o.device);
    if (!err) err = hone_db_open(&db, o.db, 0);
    db.builds = o.builds;
    if (!err) err = hone_net_open_within(&net, o.net, &how, &d, NULL);
    if (!err) err = hone_profile_open(&prof, &net, &db, &d, &o.profile);
    if (err)
        fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    else
        err = report(&o, &prof, argv[0]);
    hone_profile_close(&prof);
    hone_net_close(&net);
    hone_db_close(&db);
    hone_device_close(&d);
    return err ? 1 : 0;
}
