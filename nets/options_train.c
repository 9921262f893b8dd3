/* Options of `hone train`: what stands in no other group, and how the groups go together. */
#include "nets/options.h"

#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

long hone_option_whole(struct argp_state *state, const char *name, const char *arg, long min,
                       long max)
{
    char *end;
    long v = strtol(arg, &end, 10);
    if (end == arg || *end || v < min || v > max)
        argp_error(state, "--%s %s: expected a whole number from %ld to %ld", name, arg, min, max);
    return v;
}

double hone_option_real(struct argp_state *state, const char *name, const char *arg, double min,
                        double max, int open)
{
    char *end;
    double v = strtod(arg, &end);
    if (end == arg || *end || !(v >= min && v < max) || (open && v == min))
        argp_error(state, "--%s %s: expected a number %s %g and below %g", name, arg,
                   open ? "above" : "from", min, max);
    return v;
}

int hone_option_choice(struct argp_state *state, const char *name, const char *arg,
                       const char *first, const char *second)
{
    if (strcmp(arg, first) && strcmp(arg, second))
        argp_error(state, "--%s %s: expected %s or %s", name, arg, first, second);
    return !strcmp(arg, second);
}

/* ---- options ---- */

enum {
    DEVICE = 'd',
    NET = 'n',
    EPOCHS = 'e',
    BATCH = 'b',
    SEED = 's',
    JSON = 'j',
    DB = 256,
    INIT,
    LOSSES,
    REFERENCE,
    UNTUNED,
    BUILD,
    LOSS,
    DELTA,
    DTYPE,
    SMOOTHING,
    METRICS,
    ACTIVATION,
    MAX_ERROR,
    LOSS_SCALE,
    KEEP,
    MEMORY
};

static const struct argp_option options[] = {
    { NULL, 0, NULL, 0, "The seven parameters of a study:", 1 },
    { "device", DEVICE, "D", 0, "where to run (default cpu0)", 1 },
    { "net", NET, "NET", 0, "name or file of a net, see `hone net` (default lenet5)", 1 },
    { "epochs", EPOCHS, "E", 0, "passes over the training rows (default 10)", 1 },
    { "batch", BATCH, "B", 0, "rows per step (default 64)", 1 },
    { "max-error", MAX_ERROR, "X", 0,
      "refuse kernels whose error may be larger than X times the sum of absolute values that a "
      "result is made of, where all inputs are of one size",
      2 },
    { "loss", LOSS, "LOSS", 0, "softmax_ce, mse, mae or huber instead of the net's own", 2 },
    { "delta", DELTA, "D", 0, "of the loss huber: errors beyond D count linearly (default 1)", 2 },
    { "label-smoothing", SMOOTHING, "S", 0,
      "of softmax_ce: training gives the label 1 - S and all classes S together; the test loss is "
      "without (default 0)",
      2 },
    { "activation", ACTIVATION, "ACT", 0,
      "relu, gelu (the exact form, gelu_erf), gelu_tanh, ... in place of every hidden activation "
      "of the net, which is then called NET:activation=ACT",
      2 },
    { "dtype", DTYPE, "TYPE", 0,
      "numbers of the net: f32, tf32 (f32, but a GPU's products may round to 11 bits), f64, or "
      "bf16 or f16 with f32 weights (default f32)", 2 },
    { "loss-scale", LOSS_SCALE, "N", 0,
      "of nets of f16: the gradient of the loss goes backward times N, and what comes of it is "
      "divided by N; auto: 65536, halved where gradients become infinite, and that step is "
      "skipped, and doubled after 2000 steps without (default auto)",
      2 },
    { "keep", KEEP, NULL, 0,
      "keep the outputs of batch normalisation that the backward pass reads, which on a processor "
      "are else computed again there, and make large gradients whole: more memory, the same bits",
      2 },
    { "memory", MEMORY, "BYTES", 0,
      "what training may plan, batches aside, such as 381MiB: a processor then runs kernels that "
      "need less workspace, and computes outputs of convolutions again, as far as it must and as "
      "records say is fastest; where that is not enough it is an error",
      2 },
    { "init", INIT, "HOW", 0,
      "first weights, uniform: glorot, he before relu and its like, or pytorch (default: as the "
      "net's text says, else glorot)",
      2 },
    { "seed", SEED, "S", 0, "of weights, order and dropout (default 1)", 2 },
    { NULL, 0, NULL, 0, "Kernels and results:", 5 },
    { "db", DB, "FILE", 0, "database of plans and runs (default $HONE_DB, else the user's)", 5 },
    { "untuned", UNTUNED, NULL, 0, "default kernels, whatever the database knows", 5 },
    { "build", BUILD, "LIST", 0,
      "of what was tuned only kernels of these builds: aot, jit, lib (default all)", 5 },
    { "reference", REFERENCE, NULL, 0, "the reference kernels: slow, for checking", 5 },
    { "losses", LOSSES, "N", 0, "print the losses of the first N steps, all digits", 5 },
    { "metrics", METRICS, NULL, 0,
      "print the test rows' confusion matrix and each class's precision, recall and F1, or of "
      "numbers R2, MSE and MAE, after the last epoch; --json always has them",
      5 },
    { "json", JSON, NULL, 0, "print JSON", 5 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

/* The groups were completed before. */
static void complete(struct hone_train_command *c, struct argp_state *state)
{
    if (c->untuned && c->train.how.reference)
        argp_error(state, "--untuned and --reference exclude each other");
    if (c->train.how.keep && c->train.how.memory)
        argp_error(state, "--keep and --memory exclude each other");
    if (!c->data.data) c->data.data = hone_data_of_net(c->net);
    if (c->train.loss_scale > 0 && c->train.how.dtype != HONE_F16)
        argp_error(state, "--loss-scale is for --dtype f16");
    if (c->keep.folds && c->data.split > 0)
        argp_error(state, "--folds and --split exclude each other");
    c->train.net = c->net;
    c->train.how.optim = c->optim.optim;
    c->train.how.optim.schedule.epochs = c->epochs;
    if (c->train.how.optim.schedule.warmup > c->epochs)
        argp_error(state, "--warmup is longer than the %d epochs", c->epochs);
    c->train.drop_last = c->data.drop_last;
    c->train.augment = c->data.augment;
    c->train.feeding = c->data.feeding;
    c->train.teacher = c->teacher;
    if (c->teacher.cache && (c->data.augment.crop || c->data.augment.flip))
        argp_error(state, "--teacher-cache and --augment exclude each other: the pictures change "
                          "each time, and the teacher's answers with them");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_train_command *c = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &c->data;
        state->child_inputs[1] = &c->optim;
        state->child_inputs[2] = &c->keep;
        state->child_inputs[3] = &c->teacher;
        return 0;
    case DEVICE: c->device = arg; return 0;
    case MAX_ERROR: c->max_error = arg; return 0;
    case NET: c->net = arg; return 0;
    case EPOCHS: c->epochs = (int)hone_option_whole(state, "epochs", arg, 1, 1000000); return 0;
    case BATCH:
        c->train.how.batch = (int)hone_option_whole(state, "batch", arg, 1, 1 << 24);
        return 0;
    case SEED:
        c->train.seed = (uint64_t)hone_option_whole(state, "seed", arg, 0, INT64_MAX);
        return 0;
    case JSON: c->json = 1; return 0;
    case METRICS: c->metrics = 1; return 0;
    case DB: c->db = arg; return 0;
    case UNTUNED: c->untuned = 1; return 0;
    case BUILD:
        if (hone_builds_parse(arg, &c->builds)) argp_error(state, "--build: %s", hone_errmsg());
        return 0;
    case REFERENCE: c->train.how.reference = 1; return 0;
    case LOSSES: c->nlosses = (int)hone_option_whole(state, "losses", arg, 0, INT32_MAX); return 0;
    case LOSS: c->train.how.loss = arg; return 0;
    case DELTA:
        c->train.how.huber_delta = hone_option_real(state, "delta", arg, 0, 1e6, 1);
        return 0;
    case SMOOTHING:
        c->train.how.label_smoothing = hone_option_real(state, "label-smoothing", arg, 0, 1, 0);
        return 0;
    case ACTIVATION: c->train.how.activation = arg; return 0;
    case KEEP: c->train.how.keep = 1; return 0;
    case MEMORY:
        if (hone_bytes_parse(arg, &c->train.how.memory))
            argp_error(state, "--memory: %s", hone_errmsg());
        return 0;
    case DTYPE:
        if (hone_net_dtype_find(arg, &c->train.how.dtype))
            argp_error(state, "--dtype: %s", hone_errmsg());
        return 0;
    case LOSS_SCALE:
        c->train.loss_scale = !strcmp(arg, "auto")
                                  ? 0
                                  : hone_option_real(state, "loss-scale", arg, 0, 0x1p100, 1);
        return 0;
    case INIT:
        if (hone_init_find(arg) < 0) argp_error(state, "--init: %s", hone_errmsg());
        c->train.how.init = (enum hone_init)hone_init_find(arg);
        return 0;
    case ARGP_KEY_ARG:
        /* `--resume FILE`, though an optional argument is written `--resume=FILE`. */
        if (c->keep.resuming && !c->keep.resume) {
            c->keep.resume = arg;
            return 0;
        }
        argp_error(state, "'%s': every parameter is an option, see --help", arg);
        return 0;
    case ARGP_KEY_END: complete(c, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Trains a net, and prints a line for every epoch: seconds of training, rows per second, loss "
    "and accuracy on the "
    "training rows as they went by, and on the test rows afterwards."
    "\v"
    "Runs and epochs are kept in the database.  Ctrl-C ends after the current step.  A test "
    "accuracy "
    "or loss that chose the best epoch is no measure of new rows.  On a GPU up to 16 steps are "
    "under way before their losses are looked at; HONE_AHEAD=0 in the environment: one by one.\n\n"
    "Examples:\n"
    "  hone train --epochs 1                           LeNet-5 on Fashion-MNIST\n"
    "  hone train --net lenet5 --data mnist --batch 256 --optimizer sgd --lr 0.1\n"
    "  hone train --net letter-mlp --split 0.7 --epochs 300 --batch 128 --optimizer sgd --lr "
    "0.001\n"
    "  hone train --net housing-mlp --epochs 30\n"
    "  hone train --net mnist-cnn --augment crop:2     pictures moved by up to 2 pixels\n"
    "  hone train --net my.net --data my.csv --target price --loss mae\n"
    "  hone train --net lenet5-student --teacher lenet5 --teacher-weights lenet5.safetensors\n"
    "  hone train --checkpoint run.ckpt --checkpoint-every 60s --resume --save lenet5.safetensors\n"
    "  hone train --net letter-mlp --folds 10 --epochs 300 --batch 128 --optimizer sgd\n\n"
    "Exit status: 0 good, 1 failure or interrupted, 2 wrong usage.";

/* Without a header a child's options stand among ours, by the numbers of their groups. */
static const struct argp_child children[] = {
    { &hone_data_argp, 0, NULL, 0 },
    { &hone_optim_argp, 0, NULL, 0 },
    { &hone_keep_argp, 0, NULL, 0 },
    { &hone_teacher_argp, 0, NULL, 0 },
    { NULL, 0, NULL, 0 },
};

const struct argp hone_train_argp = { options, parse, NULL, about, children, NULL, NULL };

static int copy_options(const struct argp_option *from, struct argp_option *list, int n, int max)
{
    for (; from->name || from->key || from->doc; from++, n++)
        if (n < max) list[n] = *from;
    return n;
}

int hone_train_option_list(struct argp_option *list, int max)
{
    int n = copy_options(options, list, 0, max);
    for (const struct argp_child *c = children; c->argp; c++)
        n = copy_options(c->argp->options, list, n, max);
    return n;
}
