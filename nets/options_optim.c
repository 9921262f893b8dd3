/* Options about the optimizer. */
#include "nets/options.h"

enum {
    OPTIMIZER = 'o',
    LR = 'l',
    MOMENTUM = 256,
    NESTEROV,
    WEIGHT_DECAY,
    BETA1,
    BETA2,
    EPSILON,
    RHO,
    DECAY,
    SCHEDULE,
    WARMUP,
    CLIP
};

static const struct argp_option options[] = {
    { "optimizer", OPTIMIZER, "O", 0, "adam, adamw, sgd, rmsprop or adadelta (default adam)", 1 },
    { "lr", LR, "L", 0,
      "learning rate (default 0.001 for adam and adamw, 0.01 for sgd and rmsprop, 1 for adadelta: "
      "its author's and PyTorch's; tf.keras has 0.001 there, at which it hardly moves)",
      1 },
    { NULL, 0, NULL, 0,
      "More of the optimizer (defaults are PyTorch's; nets/README.md has Keras's beside them):",
      2 },
    { "momentum", MOMENTUM, "M", 0, "of sgd and rmsprop (default 0)", 2 },
    { "nesterov", NESTEROV, NULL, 0, "Nesterov's form of momentum, of sgd", 2 },
    { "weight-decay", WEIGHT_DECAY, "W", 0,
      "adds W times the weights to the gradient (default 0); adamw: shrinks the weights by lr W "
      "instead (default 0.01)",
      2 },
    { "beta1", BETA1, "B1", 0, "of adam and adamw (default 0.9)", 2 },
    { "beta2", BETA2, "B2", 0, "of adam and adamw (default 0.999)", 2 },
    { "rho", RHO, "R", 0, "of rmsprop (default 0.99) and adadelta (default 0.9)", 2 },
    { "epsilon", EPSILON, "EPS", 0, "of all but sgd (default 1e-8; adadelta: 1e-6)", 2 },
    { "decay", DECAY, "K", 0, "step t = 0, 1, ... runs at L / (1 + K t), as in Keras (default 0)",
      2 },
    { "schedule", SCHEDULE, "HOW", 0,
      "of the learning rate: constant (default); step:E,E,...:F, times F after each E epochs from "
      "the start; cosine, to 0 at the end of training; exp:F, times F every epoch, step by step",
      2 },
    { "warmup", WARMUP, "E", 0, "the rate rises linearly for E epochs (default 0)", 2 },
    { "clip", CLIP, "NORM", 0, "scales gradients down where the norm of all together is above NORM",
      2 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

/* What the options leave open; options of the other optimizers are a mistake. */
static void complete(struct hone_optim_choice *c, struct argp_state *state)
{
    struct hone_optim *op = &c->optim, dflt = hone_optim_default(op->kind);
    const struct {
        const char *given, *option;
        enum hone_optimizer_number number;
        const char *which;
    } checks[] = {
        { c->momentum, "--momentum", HONE_HAS_MOMENTUM, "sgd or rmsprop" },
        { c->beta, "--beta1 and --beta2", HONE_HAS_BETAS, "adam or adamw" },
        { c->rho, "--rho", HONE_HAS_RHO, "rmsprop or adadelta" },
        { c->epsilon, "--epsilon", HONE_HAS_EPSILON, "all but sgd" },
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i].given && !hone_optimizer_has(op->kind, checks[i].number))
            argp_error(state, "%s: goes with --optimizer %s", checks[i].option, checks[i].which);
    if (!c->lr) op->lr = dflt.lr;
    if (!c->rho) op->rho = dflt.rho;
    if (!c->epsilon) op->epsilon = dflt.epsilon;
    if (!c->weight_decay) op->weight_decay = dflt.weight_decay;
    if (c->nesterov && op->kind != HONE_SGD)
        argp_error(state, "--nesterov: goes with --optimizer sgd");
    if (c->nesterov && op->momentum == 0) argp_error(state, "--nesterov needs --momentum");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_optim_choice *c = state->input;
    struct hone_optim *op = &c->optim;
    switch (key) {
    case OPTIMIZER:
        if (hone_optimizer_find(arg, &op->kind))
            argp_error(state, "--optimizer: %s", hone_errmsg());
        return 0;
    case LR: op->lr = hone_option_real(state, "lr", c->lr = arg, 0, 1e6, 0); return 0;
    case MOMENTUM:
        op->momentum = hone_option_real(state, "momentum", c->momentum = arg, 0, 1, 0);
        return 0;
    case NESTEROV:
        c->nesterov = "given";
        op->nesterov = 1;
        return 0;
    case WEIGHT_DECAY:
        op->weight_decay =
            hone_option_real(state, "weight-decay", c->weight_decay = arg, 0, 1e6, 0);
        return 0;
    case RHO: op->rho = hone_option_real(state, "rho", c->rho = arg, 0, 1, 0); return 0;
    case SCHEDULE:
        if (hone_schedule_parse(arg, &op->schedule))
            argp_error(state, "--schedule: %s", hone_errmsg());
        return 0;
    case WARMUP: op->schedule.warmup = hone_option_real(state, "warmup", arg, 0, 1e6, 0); return 0;
    case CLIP: op->clip = hone_option_real(state, "clip", arg, 0, 1e30, 1); return 0;
    case BETA1: op->beta1 = hone_option_real(state, "beta1", c->beta = arg, 0, 1, 0); return 0;
    case BETA2: op->beta2 = hone_option_real(state, "beta2", c->beta = arg, 0, 1, 0); return 0;
    case EPSILON:
        op->epsilon = hone_option_real(state, "epsilon", c->epsilon = arg, 0, 1, 1);
        return 0;
    case DECAY: op->decay = hone_option_real(state, "decay", arg, 0, 1e6, 0); return 0;
    case ARGP_KEY_END: complete(c, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp hone_optim_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };
