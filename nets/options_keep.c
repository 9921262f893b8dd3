/* Options about what a training run keeps, and about protocols of several runs. */
#include "nets/options.h"

#include <stdlib.h>
#include <string.h>

enum { WEIGHTS = 256, SAVE, CHECKPOINT, EVERY, RESUME, BEST, EARLY_STOP, FOLDS, REPEAT, UNTIL };

static const struct argp_option options[] = {
    { NULL, 0, NULL, 0, "Weights and checkpoints (safetensors files):", 6 },
    { "weights", WEIGHTS, "FILE", 0,
      "weights to begin with, from --save, --best or --checkpoint", 6 },
    { "save", SAVE, "FILE", 0, "write the weights at the end", 6 },
    { "best", BEST, "FILE", 0,
      "write the weights after every epoch with the best test accuracy (of numbers: loss) so far",
      6 },
    { "early-stop", EARLY_STOP, "PATIENCE", 0,
      "end after PATIENCE epochs without a better test accuracy (of numbers: loss)", 6 },
    { "checkpoint", CHECKPOINT, "FILE", 0,
      "write all that a continuation needs, at the start, after every epoch, and on Ctrl-C", 6 },
    { "checkpoint-every", EVERY, "N", 0, "and every N steps, or with 30s every 30 seconds", 6 },
    { "resume", RESUME, "FILE", OPTION_ARG_OPTIONAL,
      "go on from a checkpoint, to the same bits as without a break; without FILE from that of "
      "--checkpoint, if it is there",
      6 },
    { "until", UNTIL, "E", 0,
      "end after epoch E; schedules still run over all --epochs, and --resume goes on", 6 },
    { NULL, 0, NULL, 0, "Protocols:", 7 },
    { "folds", FOLDS, "K", 0,
      "cross-validation: merge training and test rows, deal them into K parts by the seed, test "
      "on each in turn after training on the others; mean and standard deviation",
      7 },
    { "repeat", REPEAT, "N", 0, "train N times, with seeds S, S+1, ...; mean and deviation", 7 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

/* "100": steps; "30s": seconds. */
static void parse_every(struct argp_state *state, const char *arg, struct hone_keep_choice *k)
{
    char *end;
    double v = strtod(arg, &end);
    int seconds = !strcmp(end, "s");
    if (end == arg || (*end && !seconds) || !(v > 0 && v < 1e9) ||
        (!seconds && v != (double)(int64_t)v))
        argp_error(state, "--checkpoint-every %s: expected a number of steps, or seconds as 30s",
                   arg);
    if (seconds)
        k->every_seconds = v;
    else
        k->every_steps = (int64_t)v;
}

static void complete(struct hone_keep_choice *k, struct argp_state *state)
{
    if (k->resuming && !k->resume && !k->checkpoint)
        argp_error(state, "--resume needs a file, or --checkpoint");
    if ((k->every_steps || k->every_seconds > 0) && !k->checkpoint && !k->resume)
        argp_error(state, "--checkpoint-every needs --checkpoint");
    if (k->until && (k->folds || k->repeat))
        argp_error(state, "--until goes with one run, without --folds and --repeat");
    if (k->folds && k->repeat) argp_error(state, "--folds and --repeat exclude each other");
    if ((k->folds || k->repeat) && (k->save || k->best))
        argp_error(state, "--save and --best go with one run, without --folds and --repeat");
    if (k->resuming && k->weights) argp_error(state, "--weights and --resume exclude each other");
    if (!k->checkpoint) k->checkpoint = k->resume;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_keep_choice *k = state->input;
    switch (key) {
    case WEIGHTS: k->weights = arg; return 0;
    case SAVE: k->save = arg; return 0;
    case BEST: k->best = arg; return 0;
    case CHECKPOINT: k->checkpoint = arg; return 0;
    case EVERY: parse_every(state, arg, k); return 0;
    case RESUME:
        k->resuming = 1;
        k->resume = arg;
        return 0;
    case EARLY_STOP:
        k->patience = (int)hone_option_whole(state, "early-stop", arg, 1, 1000000);
        return 0;
    case FOLDS: k->folds = (int)hone_option_whole(state, "folds", arg, 2, 1000000); return 0;
    case REPEAT: k->repeat = (int)hone_option_whole(state, "repeat", arg, 1, 1000000); return 0;
    case UNTIL: k->until = (int)hone_option_whole(state, "until", arg, 1, 1000000); return 0;
    case ARGP_KEY_END: complete(k, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp hone_keep_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };
