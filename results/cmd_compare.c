/* hone compare: the same net, first weights and batches in other frameworks, side by side. */
#define _GNU_SOURCE /* sched_setaffinity() */
#include "results/compare.h"

#include <argp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct hone_compare_options compare;
    const char *plot;
    double lr;
    int json, csv;
};

enum {
    OPT_PEER = 256, OPT_DATA, OPT_ROUNDS, OPT_TURN, OPT_LOSSES, OPT_THREADS, OPT_OPTIMIZER, OPT_LR,
    OPT_SEED, OPT_DB, OPT_JSON, OPT_CSV, OPT_PLOT, OPT_DTYPE,
    OPT_MALLOC, OPT_MEMORY
};

static const struct argp_option option[] = {
    { "peer", OPT_PEER, "LIST", 0,
      "of pytorch, tensorflow, jax: each in all its modes, or PEER:MODE (default: all three)", 0 },
    { "malloc", OPT_MALLOC, "LIST", 0,
      "of system, tcmalloc, jemalloc, mimalloc, or paths of libraries: each mode of each peer with "
      "each of them (default system)", 0 },
    { "net", 'n', "NET", 0, "a built-in net's name, or the path of a .net file", 0 },
    { "batch", 'b', "N", 0, "samples in a step (default 64)", 0 },
    { "data", OPT_DATA, "DATA", 0, "as for `hone train` (default: random numbers)", 0 },
    { "optimizer", OPT_OPTIMIZER, "NAME", 0,
      "as for `hone autotune`, such as sgd+momentum or adam (default sgd)", 0 },
    { "lr", OPT_LR, "RATE", 0, "learning rate (default: the optimizer's)", 0 },
    { "dtype", OPT_DTYPE, "TYPE", 0,
      "numbers of the net, here and in the peers: f32, tf32, f64, or bf16 with f32 weights "
      "(default f32)", 0 },
    { "memory", OPT_MEMORY, "BYTES", 0,
      "of our step, as for `hone train`: what may be planned", 0 },
    { "rounds", OPT_ROUNDS, "N", 0, "in each of which every way trains in turn (default 11)", 0 },
    { "turn", OPT_TURN, "S", 0,
      "seconds of a way's steps in a round, at least 2 steps (default 0.3)", 0 },
    { "loss", OPT_LOSSES, "N", 0, "first steps whose losses are compared (default 10)", 0 },
    { "threads", OPT_THREADS, "N", 0, "processors for each way (default: all)", 0 },
    { "seed", OPT_SEED, "N", 0, "of weights and batches (default 1)", 0 },
    { "device", 'd', "DEVICE", 0, "device that all run on (default cpu0)", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "json", OPT_JSON, 0, 0, "print JSON", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV: a line for each way", 0 },
    { "plot", OPT_PLOT, "DIR", 0, "draw steps and losses: .png, .svg, script and data", 0 },
    { 0 },
};

static int whole(struct argp_state *state, const char *name, const char *text, long min, long max)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || end == text || n < min || n > max)
        argp_error(state, "--%s: '%s' is not a whole number from %ld to %ld", name, text, min, max);
    return (int)n;
}

static double positive(struct argp_state *state, const char *name, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (*end || end == text || !(v > 0) || v > 1e6)
        argp_error(state, "--%s: '%s' is not a positive number", name, text);
    return v;
}

static void mallocs(struct argp_state *state, struct hone_compare_options *c, char *list)
{
    char *one;
    for (c->nmallocs = 0; (one = strsep(&list, ",")); c->malloc[c->nmallocs++] = one) {
        if (c->nmallocs == HONE_MAX_MALLOCS)
            argp_error(state, "--malloc: more than %d", HONE_MAX_MALLOCS);
        if (hone_peer_malloc(one)) argp_error(state, "--malloc: %s", hone_errmsg());
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    struct hone_compare_options *c = &o->compare;
    switch (key) {
    case OPT_PEER: c->peers = arg; break;
    case OPT_MALLOC: mallocs(state, c, arg); break;
    case 'n': c->net = arg; break;
    case 'd': c->device = arg; break;
    case 'b': c->batch = whole(state, "batch", arg, 1, 1 << 24); break;
    case OPT_DATA: c->data = arg; break;
    case OPT_ROUNDS: c->rounds = whole(state, "rounds", arg, 1, 10000); break;
    case OPT_TURN: c->turn = positive(state, "turn", arg); break;
    case OPT_LOSSES: c->nlosses = whole(state, "loss", arg, 1, 1000); break;
    case OPT_THREADS: c->threads = whole(state, "threads", arg, 1, 4096); break;
    case OPT_SEED: c->seed = (uint64_t)whole(state, "seed", arg, 0, 1 << 30); break;
    case OPT_DTYPE:
        if (hone_net_dtype_find(arg, &c->dtype)) argp_error(state, "--dtype: %s", hone_errmsg());
        /* Gradients of f16 need a loss scale, and some steps are then skipped: no two steps of a
         * race would be the same work. */
        if (c->dtype == HONE_F16)
            argp_error(state, "--dtype: f16 trains with a loss scale, and steps that it skips "
                              "cannot be compared; bf16 needs none");
        break;
    case OPT_MEMORY:
        if (hone_bytes_parse(arg, &c->memory)) argp_error(state, "--memory: %s", hone_errmsg());
        break;
    case OPT_LR: o->lr = positive(state, "lr", arg); break;
    case OPT_DB: c->db = arg; break;
    case OPT_JSON: o->json = 1; break;
    case OPT_CSV: o->csv = 1; break;
    case OPT_PLOT: o->plot = arg; break;
    case OPT_OPTIMIZER:
        if (hone_optim_parse(arg, &c->optim)) argp_error(state, "--optimizer: %s", hone_errmsg());
        break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); break;
    case ARGP_KEY_END:
        if (!c->net) argp_error(state, "--net is missing");
        if (o->json && o->csv)
            argp_error(state, "--json and --csv both go to standard output; give one");
        if (o->lr > 0) c->optim.lr = o->lr;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Trains the same net from the same first weights on the same batches here and in other "
    "frameworks, each in a process of its own, in rounds in which each has its turn: time of a "
    "step with its interval, rows a second, the ratio round by round, the very first step with "
    "what is compiled in it, memory, and how far the first losses are apart."
    "\v"
    "Peers are the scripts peer_NAME.py, installed with hone, or in $HONE_PEERS.  They run by the "
    "first of the interpreters in $HONE_PYTHON (paths with colons between; else python3) that has "
    "the framework.  A peer that is missing or fails has its reason in its line, and the rest "
    "stands.  On a GPU our step is one graph, as in training; HONE_GRAPH=0 in the environment: "
    "without.\n\n"
    "  pytorch     eager, channels_last, compile (torch.compile), compile+channels_last; on a\n"
    "              GPU also graphs (the step as a CUDA graph) and compile+graphs\n"
    "              (reduce-overhead), each also with +channels_last\n"
    "  tensorflow  eager, function (tf.function), xla (tf.function with XLA)\n"
    "  jax         jit\n\n"
    "Peers compute on the device that --device names, or say that they find none.  "
    "With --dtype bf16 activations and their gradients are bf16 in all, weights and what the "
    "optimizer keeps f32: in PyTorch by autocast, in TensorFlow and JAX by casts.  "
    "Batches are in memory before the first step.  Tune before: `hone autotune --net NET --batch "
    "N --dtype TYPE`.\n\n"
    "With --malloc tcmalloc a mode is `eager+tcmalloc`: LD_PRELOAD in that peer's environment "
    "names the library, in front of what the user has there; where its process is then without it, "
    "that is a failure.  Ours has no library preloaded: its step's memory is planned.\n\n"
    "Examples:\n"
    "  hone compare --net lenet5 --batch 64\n"
    "  hone compare --net resnet56 --batch 32 --peer pytorch --data cifar10 --plot plots\n"
    "  hone compare --net resnet56 --batch 32 --dtype bf16 --peer pytorch\n"
    "  hone compare --net housing-mlp --optimizer adam --peer pytorch:eager,jax --json\n"
    "  hone compare --net letter-mlp --batch 128 --peer pytorch:eager --malloc system,tcmalloc\n"
    "  HONE_PYTHON=torch/bin/python:keras/bin/python hone compare --net mnist-cnn:dropout=0\n\n"
    "Exit status: 0 good, 1 no peer could be compared or something failed here, 2 wrong usage.";

/* Whatever is started after it has these processors, too. */
static int use_processors(int n)
{
    cpu_set_t all, some;
    CPU_ZERO(&some);
    if (sched_getaffinity(0, sizeof all, &all)) return HONE_OK;
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&some) < n; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &some);
    if (CPU_COUNT(&some) < n)
        return hone_fail(HONE_EINVAL, "--threads %d: there are %d processors", n, CPU_COUNT(&all));
    sched_setaffinity(0, sizeof some, &some);
    return HONE_OK;
}

static int show(const struct options *o, const struct hone_compare *c, const char *command)
{
    int err = HONE_OK;
    if (o->json)
        err = hone_compare_json(c, stdout);
    else if (o->csv)
        hone_compare_csv(c, stdout);
    else
        hone_compare_print(c, stdout);
    if (c->no_graph[0])
        fprintf(stderr, "%s: our step is not one graph: %s\n", command, c->no_graph);
    for (int i = 0; i < c->nways && (o->json || o->csv); i++)
        if (c->way[i].why[0])
            fprintf(stderr, "%s: %s %s: %s\n", command, c->way[i].peer, c->way[i].shown,
                    c->way[i].why);
    return !err && o->plot ? hone_compare_plot(c, o->plot, command) : err;
}

int hone_cmd_compare(int argc, char **argv)
{
    static const struct argp argp = { .options = option, .parser = parse, .doc = doc };
    struct options o = { .compare = { .device = "cpu0",
                                      .peers = "pytorch,tensorflow,jax",
                                      .malloc = { "system" },
                                      .nmallocs = 1,
                                      .batch = 64,
                                      .rounds = 11,
                                      .nlosses = 10,
                                      .turn = 0.3,
                                      .seed = 1,
                                      .optim = hone_optim_default(HONE_SGD) } };
    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct hone_compare c = { 0 };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    hone_catch_interrupt();
    int err = o.compare.threads ? use_processors(o.compare.threads) : HONE_OK;
    if (!err) err = hone_device_open(&d, o.compare.device);
    if (!err) err = hone_db_open(&db, o.compare.db, 0);
    if (!err) err = hone_compare_open(&c, &o.compare, &db, &d);
    if (!err) err = show(&o, &c, argv[0]);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    int nobody = !err && !c.ncompared;
    hone_compare_close(&c);
    hone_db_close(&db);
    hone_device_close(&d);
    return err || nobody ? 1 : 0;
}
