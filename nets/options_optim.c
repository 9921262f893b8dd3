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
    DECAY
};

static const struct argp_option options[] = {
    { "optimizer", OPTIMIZER, "O", 0, "adam or sgd (default adam)", 1 },
    { "lr", LR, "L", 0, "learning rate (default 0.001 for adam, 0.01 for sgd)", 1 },
    { NULL, 0, NULL, 0, "More of the optimizer:", 2 },
    { "momentum", MOMENTUM, "M", 0, "of sgd (default 0)", 2 },
    { "nesterov", NESTEROV, NULL, 0, "Nesterov's form of momentum", 2 },
    { "weight-decay", WEIGHT_DECAY, "W", 0, "adds W times the weights to the gradient (default 0)",
      2 },
    { "beta1", BETA1, "B1", 0, "of adam (default 0.9)", 2 },
    { "beta2", BETA2, "B2", 0, "of adam (default 0.999)", 2 },
    { "epsilon", EPSILON, "EPS", 0, "of adam (default 1e-8)", 2 },
    { "decay", DECAY, "K", 0, "step t = 0, 1, ... runs at L / (1 + K t), as in Keras (default 0)",
      2 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

/* What the options leave open; options of the other optimizer are a mistake. */
static void complete(struct hone_optim_choice *c, struct argp_state *state)
{
    struct hone_optim *op = &c->optim, dflt = hone_optim_default(op->kind);
    if (!c->lr) op->lr = dflt.lr;
    if (op->kind == HONE_ADAM && (c->momentum || c->nesterov))
        argp_error(state, "--momentum and --nesterov go with --optimizer sgd");
    if (op->kind == HONE_SGD && (c->beta || c->epsilon))
        argp_error(state, "--beta1, --beta2 and --epsilon go with --optimizer adam");
    if (c->nesterov && op->momentum == 0) argp_error(state, "--nesterov needs --momentum");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_optim_choice *c = state->input;
    struct hone_optim *op = &c->optim;
    switch (key) {
    case OPTIMIZER:
        op->kind =
            hone_option_choice(state, "optimizer", arg, "sgd", "adam") ? HONE_ADAM : HONE_SGD;
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
        op->weight_decay = hone_option_real(state, "weight-decay", arg, 0, 1e6, 0);
        return 0;
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
