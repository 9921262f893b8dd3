/* hone profile: where a training step's time and memory go, layer by layer. */
#include "results/results.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *device, *net, *db;
    int batch, json;
    struct hone_optim optim;
    enum hone_dtype dtype;
    struct hone_profile_options profile;
};

enum { OPT_JSON = 256, OPT_COUNTERS, OPT_ROUNDS, OPT_OPTIMIZER, OPT_DTYPE, OPT_DB };

static const struct argp_option option[] = {
    { "device", 'd', "DEVICE", 0, "device to run on (default cpu0)", 0 },
    { "net", 'n', "NET", 0, "a built-in net's name, or the path of a .net file", 0 },
    { "batch", 'b', "N", 0, "samples in a step (default 64)", 0 },
    { "optimizer", OPT_OPTIMIZER, "NAME", 0, "as for `hone autotune`, such as sgd+momentum or adamw (default sgd)", 0 },
    { "dtype", OPT_DTYPE, "TYPE", 0, "numbers of the net: f32, f64, or bf16 with f32 weights (default f32)", 0 },
    { "rounds", OPT_ROUNDS, "N", 0, "steps measured, traced and untraced in turn (default 101)", 0 },
    { "counters", OPT_COUNTERS, "LIST", 0, "events to count per part, in runs of their own", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "json", OPT_JSON, 0, 0, "print JSON", 0 },
    { 0 },
};

static int positive(struct argp_state *state, const char *name, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || end == text || n < 1 || n > 1 << 24) argp_error(state, "--%s: '%s' is not a positive number", name, text);
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
    case OPT_COUNTERS: o->profile.counters = arg; break;
    case OPT_DB: o->db = arg; break;
    case OPT_JSON: o->json = 1; break;
    case OPT_OPTIMIZER:
        if (hone_optim_parse(arg, &o->optim)) argp_error(state, "--optimizer: %s", hone_errmsg());
        break;
    case OPT_DTYPE:
        if (hone_net_dtype_find(arg, &o->dtype)) argp_error(state, "--dtype: %s", hone_errmsg());
        break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); break;
    case ARGP_KEY_END:
        if (!o->net) argp_error(state, "--net is missing");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Runs training steps of a net and shows each part: time with its interval, share of the step, work, distance to the "
    "device's measured roof, chosen kernel with its lead over the best other kernel and the best library, and memory."
    "\vExamples:\n"
    "  hone profile --net lenet5 --batch 64\n"
    "  hone profile --net lenet5 --batch 64 --json > lenet5.json\n"
    "  hone profile --net my.net --batch 32 --optimizer adam --counters rusage:minflt\n";

static int report(const struct options *o, struct hone_net *net, struct hone_db *db)
{
    struct hone_profile prof = { 0 };
    int err = hone_net_init(net, 1);
    if (!err) err = hone_profile_open(&prof, net, db, &o->profile);
    if (err) return err;
    if (o->json) err = hone_profile_print_json(&prof, stdout);
    else hone_profile_print(&prof, stdout);
    hone_profile_close(&prof);
    return err;
}

int hone_cmd_profile(int argc, char **argv)
{
    struct options o = {
        .device = "cpu0", .batch = 64, .profile = { .rounds = 101 },
        .optim = hone_optim_default(HONE_SGD),
    };
    static const struct argp argp = { .options = option, .parser = parse, .doc = doc };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;

    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct hone_net net = { 0 };
    struct hone_lowering how = { .batch = o.batch, .train = 1, .dtype = o.dtype, .optim = o.optim,
                                 .db = &db, .device = &d };
    hone_catch_interrupt();
    int err = hone_device_open(&d, o.device);
    if (!err) err = hone_db_open(&db, o.db, 0);
    if (!err) err = hone_net_open(&net, o.net, &how);
    if (!err) err = hone_net_assemble(&net, &db, &d, NULL);
    if (!err) err = report(&o, &net, &db);
    if (err) fprintf(stderr, "hone profile: %s\n", hone_errmsg());
    hone_net_close(&net);
    hone_db_close(&db);
    hone_device_close(&d);
    return err ? 1 : 0;
}
