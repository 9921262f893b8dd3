/* The optimizers: their ops, states, defaults, and the numbers that their ops read at a step. */
#include "nets/nets.h"

#include <math.h>
#include <string.h>

/* Indices into the hyper-parameters of all optimizers' ops (kernels/optimizer/optimizer.h). */
enum { LR, MOMENTUM, BETA1 = 1, BETA2, RHO = 2, EPSILON, WEIGHT_DECAY, C1, C2, MAX_NORM };

static const struct kind {
    const char *name, *op;
    int nstates;   /* arrays as long as the parameters', without momentum's */
    int momentum;  /* 1: it can have momentum, in one more array */
    int moments;   /* 1: beta1 and beta2 are its numbers; 0: rho, or none */
    int decoupled; /* 1: weight decay works on the weights, not through the gradient */
    double lr, rho, epsilon, weight_decay;
} kinds[HONE_NOPTIMIZERS] = {
    [HONE_SGD] = { "sgd", "sgd", .momentum = 1, .lr = 0.01 },
    [HONE_ADAM] = { "adam", "adam", .nstates = 2, .moments = 1, .lr = 0.001, .epsilon = 1e-8 },
    [HONE_ADAMW] = { "adamw", "adam", .nstates = 2, .moments = 1, .decoupled = 1, .lr = 0.001,
                     .epsilon = 1e-8, .weight_decay = 0.01 },
    [HONE_RMSPROP] = { "rmsprop", "rmsprop", .nstates = 1, .momentum = 1, .lr = 0.01, .rho = 0.99,
                       .epsilon = 1e-8 },
    [HONE_ADADELTA] = { "adadelta", "adadelta", .nstates = 2, .lr = 1, .rho = 0.9,
                        .epsilon = 1e-6 },
};

const char *hone_optimizer_name(enum hone_optimizer o) { return kinds[o].name; }

int hone_optimizer_has(enum hone_optimizer o, enum hone_optimizer_number number)
{
    const struct kind *k = &kinds[o];
    return number == HONE_HAS_MOMENTUM ? k->momentum
           : number == HONE_HAS_BETAS  ? k->moments
           : number == HONE_HAS_RHO    ? k->rho != 0
                                       : k->epsilon != 0;
}

struct hone_optim hone_optim_default(enum hone_optimizer o)
{
    const struct kind *k = &kinds[o];
    return (struct hone_optim){ .kind = o,
                                .lr = k->lr,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .rho = k->rho,
                                .epsilon = k->epsilon,
                                .weight_decay = k->weight_decay };
}

/* ---- texts: sgd+momentum+nesterov ---- */

int hone_optimizer_find(const char *name, enum hone_optimizer *o)
{
    for (int i = 0; i < HONE_NOPTIMIZERS; i++)
        if (!strcmp(kinds[i].name, name)) {
            *o = (enum hone_optimizer)i;
            return HONE_OK;
        }
    return hone_fail(HONE_EINVAL,
                     "no optimizer '%s'; there are sgd, adam, adamw, rmsprop, adadelta", name);
}

/* The usual value of what stands after a '+'. */
static int add_word(struct hone_optim *o, const char *word)
{
    if (!strcmp(word, "momentum") && kinds[o->kind].momentum)
        o->momentum = 0.9;
    else if (!strcmp(word, "nesterov") && o->kind == HONE_SGD && o->momentum > 0)
        o->nesterov = 1;
    else if (!strcmp(word, "wd"))
        o->weight_decay = kinds[o->kind].decoupled ? 0.01 : 1e-4;
    else if (!strcmp(word, "clip"))
        o->clip = 1;
    else
        return 0;
    return 1;
}

int hone_optim_parse(const char *text, struct hone_optim *o)
{
    char copy[HONE_TEXT], *rest = copy;
    enum hone_optimizer kind = HONE_SGD;
    if (strlen(text) >= sizeof copy)
        return hone_fail(HONE_EINVAL, "optimizer '%.40s...' is too long", text);
    snprintf(copy, sizeof copy, "%s", text);
    int err = hone_optimizer_find(strsep(&rest, "+"), &kind);
    if (err) return err;
    *o = hone_optim_default(kind);
    while (rest) {
        const char *word = strsep(&rest, "+");
        if (!add_word(o, word))
            return hone_fail(HONE_EINVAL,
                             "optimizer '%s': '%s' cannot stand there; after the name may come "
                             "+momentum (sgd, rmsprop), then +nesterov (sgd), +wd, +clip",
                             text, word);
    }
    return HONE_OK;
}

void hone_optim_print(const struct hone_optim *o, char text[HONE_TEXT])
{
    const struct kind *k = &kinds[o->kind];
    snprintf(text, HONE_TEXT, "%s%s%s%s%s", k->name,
             k->momentum && o->momentum != 0 ? "+momentum" : "", o->nesterov ? "+nesterov" : "",
             o->weight_decay != 0 && !k->decoupled ? "+wd" : "", o->clip > 0 ? "+clip" : "");
}

/* ---- the op ---- */

int hone_optim_problem(const struct hone_optim *o, int64_t n, char text[HONE_TEXT])
{
    const struct kind *k = &kinds[o->kind];
    const int momentum = k->momentum && o->momentum != 0, wd = o->weight_decay != 0;
    char attrs[64] = "";
    if (wd) strcat(attrs, "+wd");
    if (wd && k->decoupled) strcat(attrs, "+decoupled");
    if (momentum) strcat(attrs, "+momentum");
    if (momentum && o->nesterov) strcat(attrs, "+nesterov");
    snprintf(text, HONE_TEXT, "%s:f32:any:n%lld%s%s", k->op, (long long)n, attrs[0] ? ":" : "",
             attrs[0] ? attrs + 1 : "");
    return k->nstates + momentum;
}

void hone_optim_hyper(const struct hone_optim *o, int64_t t, double hyper[8])
{
    const struct kind *k = &kinds[o->kind];
    for (int i = 0; i < 8; i++) hyper[i] = 0;
    hyper[LR] = hone_optim_lr(o, t);
    hyper[WEIGHT_DECAY] = o->weight_decay;
    hyper[MOMENTUM] = o->momentum;
    hyper[RHO] = o->rho;
    hyper[EPSILON] = o->epsilon;
    hyper[MAX_NORM] = o->clip;
    if (!k->moments) return;
    hyper[BETA1] = o->beta1;
    hyper[BETA2] = o->beta2;
    hyper[C1] = 1 / (1 - pow(o->beta1, (double)t + 1));
    hyper[C2] = 1 / sqrt(1 - pow(o->beta2, (double)t + 1));
}
