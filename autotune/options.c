/* The options of hone autotune. */
#include "autotune/options.h"

#include <argp.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_SEARCH = 256, OPT_BUILD, OPT_CACHE, OPT_SEED, OPT_DB, OPT_JSON, OPT_AGAIN,
       OPT_OPTIMIZER, OPT_DTYPE, OPT_MAX_ERROR, OPT_IN_PROCESS, OPT_MAX_WORKSPACE, OPT_RECORD,
       OPT_REPLAY, OPT_SEEDS, OPT_NOISE, OPT_BLIND, OPT_TRANSFER, OPT_TWICE, OPT_OBJECTIVE, OPT_COST, OPT_COUNTERS,
       OPT_JOBS, OPT_PATIENCE };

static const struct argp_option option[] = {
    { "device", 'd', "DEVICE", 0, "device to tune for (default cpu0)", 0 },
    { "problem", 'p', "PROBLEM", 0, "a problem to tune; may be given again, or as an argument", 0 },
    { "net", 'n', "NET", 0, "all problems of a training step of this net", 0 },
    { "batch", 'b', "N", 0, "samples in a step of the net (default 64)", 0 },
    { "dtype", OPT_DTYPE, "TYPE", 0,
      "number type of the net: f32, tf32, f64, bf16 or f16 (default f32)", 0 },
    { "optimizer", OPT_OPTIMIZER, "LIST", 0,
      "optimizers of the net to tune for, such as sgd+momentum+wd,adamw,rmsprop+clip: sgd, adam, "
      "adamw, rmsprop or adadelta with +momentum, +nesterov, +wd, +clip (default sgd,adam)",
      0 },
    { "budget", 't', "TIME", 0,
      "time for all problems together: 60s, 5m, 1h or seconds; 0 measures nothing and says what "
      "would be used; 200evals: so many candidates of each problem; converged: until no gain is "
      "expected any more; full: until all were tried (default 60s).  What a time leaves over is spent on racing "
      "the finals again at later moments, as long as they are open",
      0 },
    { "search", OPT_SEARCH, "HOW", 0,
      "what is tried next: model (default), ils, genetic, annealing, random, exhaustive", 0 },
    { "kernel", 'k', "KERNEL", 0, "only this kernel competes with the best so far", 0 },
    { "build", OPT_BUILD, "LIST", 0, "who may compete: aot, jit, lib (default aot,lib: a jit kernel takes about a second to compile)", 0 },
    { "cache", OPT_CACHE, "MODE", 0,
      "state of the caches before each run: weights, warm or cold (default weights)", 0 },
    { "seed", OPT_SEED, "N", 0, "of inputs and random choices (default 1)", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "max-error", OPT_MAX_ERROR, "X", 0,
      "refuse kernels whose error may be larger than X times the sum of absolute values that a "
      "result is made of, where all inputs are of one size",
      0 },
    { "max-workspace", OPT_MAX_WORKSPACE, "BYTES", 0,
      "only candidates that need at most this much scratch memory, such as 64k or 1.5MiB (default: no "
      "limit)", 0 },
    { "record", OPT_RECORD, "FILE", 0,
      "time every config of every kernel for one problem, proven right, and write the whole space "
      "to FILE, for --replay; nothing goes into the database",
      0 },
    { "replay", OPT_REPLAY, "FILE", 0,
      "no tuning: how many measurements each searcher needs on a space that --record wrote, or on a "
      "made-up one, synthetic:N, or with counters roofline:N; may be given again, and further arguments are files, too",
      0 },
    { "seeds", OPT_SEEDS, "N", 0, "of a replay: searches of each space (default 20)", 0 },
    { "noise", OPT_NOISE, "WHAT", 0,
      "of a replay: none, quiet (default), busy, or a list such as jitter=0.02,drift=0.1,"
      "states=0.25,outliers=0.05,quantum=0.01",
      0 },
    { "blind", OPT_BLIND, NULL, 0, "of a replay: searchers do not know the kernels' guesses", 0 },
    { "transfer", OPT_TRANSFER, "WHAT", OPTION_ARG_OPTIONAL,
      "of a replay: each space is taught by the others that were given, except of its problem: their "
      "times, the counters of a few of their candidates, or both (the default)", 0 },
    { "cost", OPT_COST, NULL, 0,
      "of a replay: the analytic model of cost, which a live search has, is known", 0 },
    { "counters", OPT_COUNTERS, "LIST", 0,
      "what is counted of a few candidates, for the search and for `hone db why`, as of hone bench; none: "
      "nothing (default: what this device counts in hardware)", 0 },
    { "jobs", OPT_JOBS, "N", 0,
      "jit candidates that are compiled at once, before they are timed (default: a CPU's, as many as "
      "it has processors)", 0 },
    { "again", OPT_AGAIN, NULL, 0, "tune what is known, too", 0 },
    { "in-process", OPT_IN_PROCESS, NULL, 0,
      "run candidates in this process, for a debugger, and not in one of their own, where one that "
      "crashes, hangs or eats all memory is but a record", 0 },
    { "patience", OPT_PATIENCE, "SECONDS", 0,
      "that a candidate may take for its proof, its first time or a window of the race before it counts "
      "as hung (default: by the problem, 10 or more)", 0 },
    { "objective", OPT_OBJECTIVE, "WHAT", 0,
      "what wins: time (default; --max-workspace limits it), or energy of a run, where a meter has it: "
      "RAPL's of the whole processor, or the GPU's; known problems are then tuned again",
      0 },
    { "twice", OPT_TWICE, NULL, 0,
      "two sessions with databases of their own, which are removed: do they choose the same, and how "
      "much slower than the best of both, in a long re-measurement, is each choice", 0 },
    { "json", OPT_JSON, NULL, 0, "print JSON", 0 },
    { 0 },
};

/* "60s", "5m", "1h", "200ms", "90": seconds; "200evals": trials of each problem; "converged": until
 * no gain is expected; "full": until all were tried. */
static int parse_budget(const char *text, struct hone_tune_options *o)
{
    double *seconds = &o->seconds;
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {
        { "", 1 }, { "s", 1 }, { "ms", 1e-3 }, { "m", 60 }, { "min", 60 }, { "h", 3600 }
    };
    char *end;
    o->trials = 0;
    o->exhaust = !strcmp(text, "full");
    *seconds = -1;
    if (o->exhaust || !strcmp(text, "converged")) return HONE_OK;
    double v = strtod(text, &end);
    if (end != text && v >= 1 && v <= 1e9 && v == floor(v) &&
        (!strcmp(end, "evals") || !strcmp(end, " evals"))) {
        o->trials = (int)v;
        return HONE_OK;
    }
    for (size_t i = 0; end != text && v >= 0 && isfinite(v) && i < sizeof units / sizeof *units;
         i++)
        if (!strcmp(end, units[i].unit)) { *seconds = v * units[i].seconds; return HONE_OK; }
    return hone_fail(HONE_EPARSE, "budget '%s': expected a time such as 60s, 5m or 0, 200evals, converged "
                     "or full", text);
}

static int parse_number(const char *text, double least, double most, const char *what,
                        uint64_t *value)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || *end || text[0] == '-' || (double)v < least || (double)v > most)
        return hone_fail(HONE_EPARSE, "%s '%s': expected a whole number from %.0f", what, text,
                         least);
    *value = v;
    return HONE_OK;
}

int hone_bytes_parse(const char *text, int64_t *bytes)
{
    static const char units[] = "kmgt";
    char *end;
    double v = strtod(text, &end);
    const char *unit = end > text && *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (unit) {
        v = ldexp(v, 10 * (int)(unit - units + 1));
        end += strcmp(end + 1, "iB") ? 1 : 3;
    }
    if (end == text || *end || !(v >= 1 && v <= 1e15))
        return hone_fail(HONE_EPARSE, "'%s': expected bytes, such as 4096, 64k or 1.5GiB", text);
    *bytes = (int64_t)v;
    return HONE_OK;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_autotune_options *o = state->input;
    const struct hone_searcher *searcher;
    uint64_t value = 0;
    char *end;
    int err = HONE_OK;
    switch (key) {
    case 'd': o->device = arg; break;
    case 'n': o->net = arg; break;
    case 'k': o->tune.kernel = arg; break;
    case OPT_DB: o->db = arg; break;
    case OPT_MAX_ERROR: o->max_error = arg; break;
    case OPT_RECORD: o->record = arg; break;
    case OPT_NOISE: o->replay.noise = arg; break;
    case OPT_BLIND: o->replay.blind = 1; break;
    case OPT_COST: o->replay.cost = 1; break;
    case OPT_PATIENCE:
        o->tune.candidate_seconds = strtod(arg, &end);
        if (end == arg || *end || !(o->tune.candidate_seconds > 0))
            err = hone_fail(HONE_EPARSE, "patience '%s': expected seconds", arg);
        break;
    case OPT_JOBS:
        err = parse_number(arg, 1, 1024, "jobs", &value);
        o->tune.jobs = (int)value;
        break;
    case OPT_COUNTERS:
        o->tune.counters = arg;
        if (strcmp(arg, "none")) err = hone_counters_check(arg);
        break;
    case OPT_TRANSFER:
        o->replay.transfer = !arg ? HONE_TEACH_TIMES | HONE_TEACH_COUNTERS
                             : !strcmp(arg, "times") ? HONE_TEACH_TIMES
                             : !strcmp(arg, "counters") ? HONE_TEACH_COUNTERS : 0;
        if (!o->replay.transfer)
            err = hone_fail(HONE_EPARSE, "transfer '%s': expected times or counters", arg);
        break;
    case OPT_SEEDS:
        err = parse_number(arg, 1, 100000, "seeds", &value);
        o->replay.seeds = (int)value;
        break;
    case OPT_REPLAY:
        if (o->replay.nfiles == HONE_MAX_REPLAYS)
            argp_error(state, "more than %d spaces", HONE_MAX_REPLAYS);
        o->replay.file[o->replay.nfiles++] = arg;
        break;
    case OPT_OPTIMIZER: o->optimizers = arg; break;
    case OPT_DTYPE: o->dtype = arg; break;
    case OPT_JSON: o->json = 1; break;
    case OPT_TWICE: o->twice = 1; break;
    case OPT_OBJECTIVE:
        o->tune.energy = !strcmp(arg, "energy");
        o->tune.again |= o->tune.energy;
        if (!o->tune.energy && strcmp(arg, "time"))
            err = hone_fail(HONE_EPARSE, "objective '%s': expected time or energy", arg);
        break;
    case OPT_MAX_WORKSPACE:
        err = hone_bytes_parse(arg, &o->max_workspace);
        if (err) err = hone_fail_at(err, "--max-workspace");
        break;
    case OPT_IN_PROCESS: o->tune.in_process = 1; break;
    case OPT_AGAIN: o->tune.again = 1; break;
    case 't': err = parse_budget(arg, &o->tune); break;
    case OPT_BUILD: err = hone_builds_parse(arg, &o->tune.builds); break;
    case OPT_CACHE: err = hone_cache_parse(arg, &o->tune.cache); break;
    case OPT_SEED: err = parse_number(arg, 0, 1.8e19, "seed", &o->tune.seed); break;
    case 'b':
        err = parse_number(arg, 1, 1 << 24, "batch", &value);
        o->batch = (int)value;
        break;
    case OPT_SEARCH:
        o->tune.search = arg;
        err = hone_searcher_find(arg, &searcher);
        break;
    case 'p':
    case ARGP_KEY_ARG:
        if (o->ntexts == HONE_MOST_PROBLEMS) argp_error(state, "more than %d problems", HONE_MOST_PROBLEMS);
        o->text[o->ntexts++] = arg;
        break;
    case ARGP_KEY_END:
        if (!o->net && !o->ntexts && !o->replay.nfiles)
            argp_error(state, "nothing to tune: give --net or --problem");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (err) argp_error(state, "%s", hone_errmsg());
    return 0;
}

static const char doc[] =
    "Finds the fastest kernel and config for each problem: every candidate is proven right and "
    "tried, and the good ones race in interleaved rounds.  What each did goes into the database.  "
    "What is known already is left alone."
    "\vA line: problem, winner, time of a run with half the width of its interval, rate, share of "
    "the roof; how many times longer the best library (lib) and the best other kernel (next) take; "
    "others that may be as fast (ties); candidates tried of all there are.\n\n"
    "Where a net's training step can be one op, that comes first, and most of the time goes to the "
    "op or to the steps that it replaces, whichever a first look finds ahead; a side that takes "
    "twice the other's time is only looked at.\n\n"
    "Of 20 s and more for a net, a fifth goes to whole training steps, in which those who were "
    "nearly the fastest alone take turns: what they took there decides.\n\n"
    "Examples:\n"
    "  hone autotune --net lenet5 --batch 64 --budget 60s\n"
    "  hone autotune --net lenet5 --optimizer sgd+momentum,adamw\n"
    "  hone autotune --problem gemm:f32:nn:m64n128k8\n"
    "  hone autotune -p relu:f32:any:n4096 --search exhaustive --budget full\n"
    "  hone autotune --net lenet5 --budget 0          what would be used\n"
    "  hone autotune --net lenet5 --build aot --json  hand-written kernels only\n"
    "  hone autotune --twice --net lenet5 --budget 5m how far the result is to be trusted\n\n"
    "Ctrl-C ends the search; what was found until then is kept.\n"
    "Exit status: 0 good, 1 something failed or was interrupted, 2 wrong usage.";

int hone_autotune_options_read(int argc, char **argv, struct hone_autotune_options *o)
{
    static const struct argp argp = {
        .options = option, .parser = parse, .args_doc = "[PROBLEM...]", .doc = doc
    };
    *o = (struct hone_autotune_options){ .device = "cpu0",
                                         .batch = 64,
                                         .optimizers = "sgd,adam",
                                         .dtype = "f32",
                                         .tune = { .seconds = 60, .seed = 1 },
                                         .replay = { .seeds = 20 } };
    argp_err_exit_status = 2;
    return argp_parse(&argp, argc, argv, 0, NULL, o);
}
