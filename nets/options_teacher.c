/* Options about a teacher. */
#include "nets/options.h"

#include <math.h>
#include <stdlib.h>

enum { TEACHER = 256, WEIGHTS, TEMPERATURE, MIX, CACHE };

static const struct argp_option options[] = {
    { NULL, 0, NULL, 0, "Distillation:", 4 },
    { "teacher", TEACHER, "NET", 0,
      "a trained net whose answers the net learns; its time is told apart", 4 },
    { "teacher-weights", WEIGHTS, "FILE", 0, "its weights, from --save, --best or --checkpoint",
      4 },
    { "temperature", TEMPERATURE, "T", 0, "softens both nets' logits: x / T (default 1)", 4 },
    { "mix", MIX, "A", 0,
      "the loss is A T^2 times the cross-entropy against the teacher and 1 - A times that against "
      "the labels (default 1: no labels)",
      4 },
    { "teacher-cache", CACHE, NULL, 0,
      "compute its logits of all training rows once, before the first epoch", 4 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

/* Both ends are good: the teacher alone, the labels alone. */
static double share_of(struct argp_state *state, const char *arg)
{
    char *end;
    double v = strtod(arg, &end);
    if (end == arg || *end || !(v >= 0 && v <= 1))
        argp_error(state, "--mix %s: expected a number from 0 to 1", arg);
    return v;
}

static void complete(struct hone_teacher_choice *c, struct argp_state *state)
{
    if (c->net && !c->weights) argp_error(state, "--teacher needs --teacher-weights");
    if (!c->net && c->weights) argp_error(state, "--teacher-weights needs --teacher");
    if (!c->net && (c->temperature > 0 || c->cache || !isnan(c->mix)))
        argp_error(state, "--temperature, --mix and --teacher-cache need --teacher");
    if (!(c->temperature > 0)) c->temperature = 1;
    if (isnan(c->mix)) c->mix = 1;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_teacher_choice *c = state->input;
    switch (key) {
    case ARGP_KEY_INIT: c->mix = NAN; return 0;
    case TEACHER: c->net = arg; return 0;
    case WEIGHTS: c->weights = arg; return 0;
    case TEMPERATURE:
        c->temperature = hone_option_real(state, "temperature", arg, 0.01, 1000, 0);
        return 0;
    case MIX: c->mix = share_of(state, arg); return 0;
    case CACHE: c->cache = 1; return 0;
    case ARGP_KEY_END: complete(c, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp hone_teacher_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };
