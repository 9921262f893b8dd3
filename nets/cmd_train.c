/* hone train: a net, data, and how to train. */
#include "nets/nets.h"

#include <argp.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *device, *net, *data, *target, *db;
    struct hone_train_options train;
    int epochs, nlosses, json, untuned, raw;
    double split; /* 0: as the source has it, or SPLIT where it has none */
    int64_t limit;
    const char *lr, *momentum, *beta, *epsilon,
        *nesterov; /* as given, to find what does not go together */
    char command[1024];
};

static const double SPLIT = 0.8;

/* ---- what is printed ---- */

struct report {
    const struct options *o;
    const struct hone_data *test;
    enum hone_task task;
    json_t *epochs, *losses; /* NULL: print lines */
};

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static void print_loss(void *ctx, int64_t step, double loss)
{
    struct report *r = ctx;
    if (step >= r->o->nlosses) return;
    if (r->losses)
        json_array_append_new(r->losses, number(loss));
    else
        printf("step %lld loss %.9g\n", (long long)step, loss);
}

static void print_heading(const struct report *r)
{
    if (r->o->json) return;
    if (r->task == HONE_CLASSIFY)
        printf("epoch    seconds   images/s  train loss  train acc   test loss   test acc\n");
    else
        printf("epoch    seconds     rows/s  train loss  train mae    test mse   test mae\n");
}

static void print_cell(double v, int width, int digits)
{
    if (isnan(v))
        printf("  %*s", width, "-");
    else
        printf("  %*.*f", width, digits, v);
}

static void print_epoch(const struct report *r, const struct hone_epoch *e,
                        const struct hone_metrics *train, const struct hone_metrics *test)
{
    if (r->epochs) {
        json_array_append_new(
            r->epochs,
            json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch", e->epoch,
                      "seconds", number(e->seconds), "images_per_s", number(e->images_per_s),
                      "train_loss", number(train->loss), "train_accuracy", number(train->accuracy),
                      "train_mae", number(train->mae), "test_loss", number(test->loss),
                      "test_accuracy", number(test->accuracy), "test_mse", number(test->mse),
                      "test_mae", number(test->mae)));
        return;
    }
    int classify = r->task == HONE_CLASSIFY;
    printf("%5d", e->epoch);
    print_cell(e->seconds, 9, 3);
    print_cell(e->images_per_s, 9, 0);
    print_cell(train->loss, 10, 4);
    print_cell(classify ? train->accuracy : train->mae, 9, 4);
    print_cell(classify ? test->loss : test->mse, 10, 4);
    print_cell(classify ? test->accuracy : test->mae, 9, 4);
    putchar('\n');
    fflush(stdout);
}

/* The share of the test set's largest class: what a net reaches that has learned nothing but that.
 */
static double chance(const struct hone_data *d)
{
    int64_t *count = calloc((size_t)d->classes + 1, sizeof *count), most = 0;
    for (int64_t i = 0; count && i < d->rows; i++) count[d->label[i]]++;
    for (int k = 0; count && k < d->classes; k++)
        if (count[k] > most) most = count[k];
    free(count);
    return (double)most / (double)d->rows;
}

/* A warning where the accuracy is within three deviations of chance, or only a little above it. */
static const char *near_chance(const struct report *r, const struct hone_metrics *test,
                               char text[HONE_TEXT])
{
    if (r->task != HONE_CLASSIFY || !test->rows || isnan(test->accuracy)) return NULL;
    double c = chance(r->test), slack = 3 * sqrt(c * (1 - c) / (double)test->rows);
    if (test->accuracy > c + fmax(slack, 0.2 * c)) return NULL;
    snprintf(text, HONE_TEXT,
             "test accuracy %.4f is near chance (%.4f, the share of the largest class): the net "
             "has learned "
             "next to nothing; are the rows sorted, is the learning rate too small or too large?",
             test->accuracy, c);
    return text;
}

/* ---- the command ---- */

static int load(const struct options *o, struct hone_data *train, struct hone_data *test)
{
    int err = hone_data_open(train, test, o->data, o->target);
    if (!err && (o->split > 0 || !test->rows))
        err = hone_data_split(train, test, o->split > 0 ? o->split : SPLIT, o->train.seed);
    if (!err && o->limit > 0 && o->limit < train->rows) train->rows = o->limit;
    if (!err && !o->raw) err = hone_data_normalise(train, test);
    return err;
}

static void say_what(const struct options *o, const struct hone_trainer *t,
                     const struct hone_device *d)
{
    const struct hone_optim *op = &t->net.optim;
    int known = 0;
    for (int i = 0; i < t->net.nsteps; i++) known += t->net.step[i].known;
    fprintf(stderr, "%s: %lld parameters; %s: %lld rows to train on, %lld to test on\n",
            t->net.name, (long long)t->net.parameters, t->train->name, (long long)t->train->rows,
            (long long)t->test->rows);
    fprintf(stderr, "%s (%s); batch %d, %s, lr %g, seed %llu; %d of %d steps tuned\n", d->name,
            d->text, t->net.batch, hone_optimizer_name(op->kind), op->lr,
            (unsigned long long)o->train.seed, known, t->net.nsteps);
    if (known < t->net.nsteps && !o->untuned && !o->train.how.reference)
        fprintf(stderr,
                "untuned steps run by default kernels; `hone autotune --net %s --batch %d` finds "
                "better ones\n",
                o->net, t->net.batch);
}

static int add_run(const struct options *o, const struct hone_trainer *t,
                   const struct hone_device *d, struct hone_db *db, struct hone_run *run)
{
    const struct hone_optim *op = &t->net.optim;
    *run = (struct hone_run){ .epochs = o->epochs,
                              .batch = t->net.batch,
                              .lr = op->lr,
                              .seed = o->train.seed,
                              .parameters = t->net.parameters };
    snprintf(run->net, sizeof run->net, "%s", t->net.name);
    snprintf(run->data, sizeof run->data, "%.255s", t->train->source);
    snprintf(run->device, sizeof run->device, "%s", d->id);
    snprintf(run->optimizer, sizeof run->optimizer, "%s", hone_optimizer_name(op->kind));
    snprintf(run->command, sizeof run->command, "%s", o->command);
    return hone_db_add_run(db, run);
}

/* One epoch and its evaluation; an epoch cut short is printed but not recorded. */
static int one_epoch(struct hone_trainer *t, int epoch, struct report *r, struct hone_db *db,
                     const struct hone_run *run, struct hone_metrics *test)
{
    struct hone_metrics train;
    *test = (struct hone_metrics){ .loss = NAN, .accuracy = NAN, .mse = NAN, .mae = NAN };
    int err = hone_trainer_epoch(t, epoch, &train);
    if (!err && t->test->rows) err = hone_trainer_evaluate(t, test);
    if (err && (err != HONE_EINTR || !train.rows)) return err;
    struct hone_epoch e = { .epoch = epoch,
                            .seconds = t->epoch_seconds,
                            .train_loss = train.loss,
                            .images_per_s = (double)train.rows / t->epoch_seconds,
                            .train_accuracy = train.accuracy,
                            .test_loss = test->loss,
                            .test_accuracy = test->accuracy,
                            .test_mae = test->mae };
    print_epoch(r, &e, &train, test);
    return err ? err : hone_db_add_epoch(db, run, &e);
}

static int train(const struct options *o, struct hone_trainer *t, struct hone_device *d,
                 struct hone_db *db, struct report *r)
{
    struct hone_run run;
    struct hone_metrics test = { 0 };
    char warning[HONE_TEXT];
    int err = add_run(o, t, d, db, &run);
    if (!err) print_heading(r);
    for (int epoch = 1; !err && epoch <= o->epochs; epoch++)
        err = one_epoch(t, epoch, r, db, &run, &test);
    const char *why = err ? NULL : near_chance(r, &test, warning);
    if (why) fprintf(stderr, "warning: %s\n", why);
    if (!o->json) return err;
    json_t *root = json_pack("{s:s, s:s, s:s, s:i, s:s, s:f, s:I, s:I, s:i, s:b, s:o, s:o, s:o}",
                             "net", t->net.name, "data", t->train->source, "device", d->id, "batch",
                             t->net.batch, "optimizer", run.optimizer, "lr", run.lr, "seed",
                             (json_int_t)run.seed, "parameters", (json_int_t)run.parameters,
                             "epochs_wanted", o->epochs, "complete", !err, "losses", r->losses,
                             "epochs", r->epochs, "warning", why ? json_string(why) : json_null());
    r->losses = r->epochs = NULL;
    if (!root || json_dumpf(root, stdout, JSON_INDENT(2)))
        err = hone_fail(HONE_ENOMEM, "cannot write JSON");
    putchar('\n');
    json_decref(root);
    return err;
}

static int run(struct options *o)
{
    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct hone_data train_data = { 0 }, test_data = { 0 };
    struct hone_trainer t = { 0 };
    struct report r = { .o = o, .test = &test_data };
    int err = hone_device_open(&d, o->device);
    if (!err) err = hone_db_open(&db, o->db, 1);
    if (!err) err = load(o, &train_data, &test_data);
    if (o->json) {
        r.epochs = json_array();
        r.losses = json_array();
    }
    o->train.db = o->untuned ? NULL : &db;
    o->train.each_step = o->nlosses ? print_loss : NULL;
    o->train.ctx = &r;
    if (!err) err = hone_trainer_open(&t, &o->train, &d, &train_data, &test_data);
    if (!err) {
        r.task = t.net.task;
        say_what(o, &t, &d);
        hone_catch_interrupt();
        err = train(o, &t, &d, &db, &r);
    }
    json_decref(r.epochs);
    json_decref(r.losses);
    hone_trainer_close(&t);
    hone_data_close(&train_data);
    hone_data_close(&test_data);
    hone_db_close(&db);
    hone_device_close(&d);
    return err;
}

/* ---- options ---- */

/* clang-format off */
enum {
    DEVICE = 'd', NET = 'n', DATA = 'D', EPOCHS = 'e', BATCH = 'b', OPTIMIZER = 'o', LR = 'l',
    SEED = 's', JSON = 'j', MOMENTUM = 256, NESTEROV, WEIGHT_DECAY, BETA1, BETA2, EPSILON, DECAY,
    SPLIT_KEY, LAST, DB, TARGET, INIT, LOSSES, REFERENCE, UNTUNED, NO_NORMALISE, LIMIT, LOSS
};
/* clang-format on */

static const struct argp_option argp_options[] = {
    { NULL, 0, NULL, 0, "The seven parameters of a study:", 1 },
    { "device", DEVICE, "D", 0, "where to run (default cpu0)", 1 },
    { "net", NET, "NET", 0, "name or file of a net, see `hone net` (default lenet5)", 1 },
    { "data", DATA, "DATA", 0,
      "name, directory or file, see `hone data` (default: letter for letter-mlp, housing for "
      "housing-mlp, else fashion-mnist)",
      1 },
    { "epochs", EPOCHS, "E", 0, "passes over the training rows (default 10)", 1 },
    { "batch", BATCH, "B", 0, "rows per step (default 64)", 1 },
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
    { "loss", LOSS, "LOSS", 0, "softmax_ce, mse or mae instead of the net's own", 2 },
    { "init", INIT, "HOW", 0,
      "first weights: glorot (default), or he before relu and its like; both uniform", 2 },
    { "seed", SEED, "S", 0, "of weights, order and dropout (default 1)", 2 },
    { NULL, 0, NULL, 0, "More of the data:", 3 },
    { "split", SPLIT_KEY, "SHARE", 0,
      "merge training and test rows, and train on this share of them (default: the source's own "
      "split, else 0.8)",
      3 },
    { "limit", LIMIT, "ROWS", 0, "train on the first ROWS rows only", 3 },
    { "last", LAST, "HOW", 0, "rows that fill no batch: short, a short batch (default), or drop",
      3 },
    { "no-normalise", NO_NORMALISE, NULL, 0,
      "leave features as they are; else they get mean 0 and deviation 1", 3 },
    { "target", TARGET, "COL", 0, "target column of a CSV file, see `hone data`", 3 },
    { NULL, 0, NULL, 0, "Kernels and results:", 4 },
    { "db", DB, "FILE", 0, "database of plans and runs (default $HONE_DB, else the user's)", 4 },
    { "untuned", UNTUNED, NULL, 0, "default kernels, whatever the database knows", 4 },
    { "reference", REFERENCE, NULL, 0, "the reference kernels: slow, for checking", 4 },
    { "losses", LOSSES, "N", 0, "print the losses of the first N steps, all digits", 4 },
    { "json", JSON, NULL, 0, "print JSON", 4 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static long whole(struct argp_state *state, const char *name, const char *arg, long min, long max)
{
    char *end;
    long v = strtol(arg, &end, 10);
    if (end == arg || *end || v < min || v > max)
        argp_error(state, "--%s %s: expected a whole number from %ld to %ld", name, arg, min, max);
    return v;
}

/* A number in [min, max), or (min, max) where open. */
static double real(struct argp_state *state, const char *name, const char *arg, double min,
                   double max, int open)
{
    char *end;
    double v = strtod(arg, &end);
    if (end == arg || *end || !(v >= min && v < max) || (open && v == min))
        argp_error(state, "--%s %s: expected a number %s %g and below %g", name, arg,
                   open ? "above" : "from", min, max);
    return v;
}

static int choice(struct argp_state *state, const char *name, const char *arg, const char *first,
                  const char *second)
{
    if (strcmp(arg, first) && strcmp(arg, second))
        argp_error(state, "--%s %s: expected %s or %s", name, arg, first, second);
    return !strcmp(arg, second);
}

/* What the optimizer's options leave open; options of the other optimizer are a mistake. */
static void complete(struct options *o, struct argp_state *state)
{
    struct hone_optim *op = &o->train.how.optim, dflt = hone_optim_default(op->kind);
    if (!o->lr) op->lr = dflt.lr;
    if (op->kind == HONE_ADAM && (o->momentum || o->nesterov))
        argp_error(state, "--momentum and --nesterov go with --optimizer sgd");
    if (op->kind == HONE_SGD && (o->beta || o->epsilon))
        argp_error(state, "--beta1, --beta2 and --epsilon go with --optimizer adam");
    if (o->nesterov && op->momentum == 0) argp_error(state, "--nesterov needs --momentum");
    if (o->untuned && o->train.how.reference)
        argp_error(state, "--untuned and --reference exclude each other");
    if (!o->data)
        o->data = !strcmp(o->net, "letter-mlp")    ? "letter"
                  : !strcmp(o->net, "housing-mlp") ? "housing"
                                                   : "fashion-mnist";
    o->train.net = o->net;
}

static error_t parse_optimizer(int key, char *arg, struct argp_state *state, struct options *o)
{
    struct hone_optim *op = &o->train.how.optim;
    switch (key) {
    case OPTIMIZER:
        op->kind = choice(state, "optimizer", arg, "sgd", "adam") ? HONE_ADAM : HONE_SGD;
        return 0;
    case LR: op->lr = real(state, "lr", o->lr = arg, 0, 1e6, 0); return 0;
    case MOMENTUM: op->momentum = real(state, "momentum", o->momentum = arg, 0, 1, 0); return 0;
    case NESTEROV:
        o->nesterov = "given";
        op->nesterov = 1;
        return 0;
    case WEIGHT_DECAY: op->weight_decay = real(state, "weight-decay", arg, 0, 1e6, 0); return 0;
    case BETA1: op->beta1 = real(state, "beta1", o->beta = arg, 0, 1, 0); return 0;
    case BETA2: op->beta2 = real(state, "beta2", o->beta = arg, 0, 1, 0); return 0;
    case EPSILON: op->epsilon = real(state, "epsilon", o->epsilon = arg, 0, 1, 1); return 0;
    case DECAY: op->decay = real(state, "decay", arg, 0, 1e6, 0); return 0;
    case LOSS: o->train.how.loss = arg; return 0;
    case INIT:
        o->train.how.init =
            choice(state, "init", arg, "glorot", "he") ? HONE_INIT_HE : HONE_INIT_GLOROT;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case DEVICE: o->device = arg; return 0;
    case NET: o->net = arg; return 0;
    case DATA: o->data = arg; return 0;
    case EPOCHS: o->epochs = (int)whole(state, "epochs", arg, 1, 1000000); return 0;
    case BATCH: o->train.how.batch = (int)whole(state, "batch", arg, 1, 1 << 24); return 0;
    case SEED: o->train.seed = (uint64_t)whole(state, "seed", arg, 0, INT64_MAX); return 0;
    case JSON: o->json = 1; return 0;
    case SPLIT_KEY: o->split = real(state, "split", arg, 0, 1, 1); return 0;
    case LIMIT: o->limit = whole(state, "limit", arg, 1, INT64_MAX); return 0;
    case LAST: o->train.drop_last = choice(state, "last", arg, "short", "drop"); return 0;
    case NO_NORMALISE: o->raw = 1; return 0;
    case TARGET: o->target = arg; return 0;
    case DB: o->db = arg; return 0;
    case UNTUNED: o->untuned = 1; return 0;
    case REFERENCE: o->train.how.reference = 1; return 0;
    case LOSSES: o->nlosses = (int)whole(state, "losses", arg, 0, INT32_MAX); return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': every parameter is an option, see --help", arg);
        return 0;
    case ARGP_KEY_END: complete(o, state); return 0;
    default: return parse_optimizer(key, arg, state, o);
    }
}

static const char about[] =
    "Trains a net, and prints a line for every epoch: seconds of training, rows per second, loss "
    "and accuracy on the "
    "training rows as they went by, and on the test rows afterwards."
    "\v"
    "Runs and epochs are kept in the database.  Ctrl-C ends after the current step.\n\n"
    "Examples:\n"
    "  hone train --epochs 1                           LeNet-5 on Fashion-MNIST\n"
    "  hone train --net lenet5 --data mnist --batch 256 --optimizer sgd --lr 0.1\n"
    "  hone train --net letter-mlp --split 0.7 --epochs 300 --batch 128 --optimizer sgd --lr "
    "0.001\n"
    "  hone train --net housing-mlp --epochs 30\n"
    "  hone train --net my.net --data my.csv --target price --loss mae\n\n"
    "Exit status: 0 good, 1 failure or interrupted, 2 wrong usage.";

int hone_cmd_train(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, NULL, about, NULL, NULL, NULL };
    struct options o = {
        .device = "cpu0",
        .net = "lenet5",
        .epochs = 10,
        .train = { .seed = 1,
                   .how = { .batch = 64, .train = 1, .optim = hone_optim_default(HONE_ADAM) } }
    };
    size_t len = 0;
    for (int i = 0; i < argc && len < sizeof o.command; i++)
        len += (size_t)snprintf(o.command + len, sizeof o.command - len, "%s%s", i ? " " : "",
                                argv[i]);
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = run(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
