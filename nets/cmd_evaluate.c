/* hone evaluate: a trained net on data: loss, metrics, and what inference costs. */
#include "nets/options.h"
#include "nets/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_TIMES = 31 };

struct options {
    const char *device, *net, *weights, *loss, *db, *rows;
    struct hone_data_choice data;
    uint64_t seed;
    enum hone_dtype dtype;
    int batch, json, metrics, untuned;
};

/* Sums while rows pass. */
struct sums {
    struct hone_infer *f;
    const struct hone_data *d;
    double loss;
    struct hone_scores scores;
    double *seconds; /* of every whole batch, or of the only one */
    int ntimes, room;
};

static int add_time(struct sums *s, double seconds)
{
    if (s->ntimes == s->room) {
        int room = s->room ? 2 * s->room : 64;
        double *grown = realloc(s->seconds, (size_t)room * sizeof *grown);
        if (!grown) return hone_fail(HONE_ENOMEM, "%d times", room);
        s->seconds = grown;
        s->room = room;
    }
    s->seconds[s->ntimes++] = seconds;
    return HONE_OK;
}

static int add_batch(void *ctx, int64_t first, int n, double seconds)
{
    struct sums *s = ctx;
    const struct hone_data *d = s->d;
    for (int i = 0; i < n; i++) {
        const float *row = s->f->output + (int64_t)i * s->scores.width;
        s->loss += (double)s->f->loss[i];
        if (d->classes)
            hone_scores_add_label(&s->scores, row, d->label[first + i]);
        else
            hone_scores_add_values(&s->scores, row, d->y + (first + i) * d->outputs);
    }
    return n == s->f->how.batch || n == d->rows ? add_time(s, seconds) : HONE_OK;
}

/* A set of few batches is timed over again until there are enough of them for an interval. */
static int ignore_batch(void *ctx, int64_t first, int n, double seconds)
{
    struct sums *s = ctx;
    (void)first;
    return n == s->f->how.batch || n == s->d->rows ? add_time(s, seconds) : HONE_OK;
}

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static void print_json(const struct options *o, const struct sums *s, struct hone_stats t,
                       double rows_per_s, const char *warning)
{
    const struct hone_data *d = s->d;
    const struct hone_scores *c = &s->scores;
    int classify = d->classes > 0, batch = d->rows < o->batch ? (int)d->rows : o->batch;
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:s?, s:{s:o, s:o, s:o, s:i}, s:o}",
        "net", s->f->net.name, "weights", o->weights, "data", d->source, "rows",
        (json_int_t)d->rows, "batch", batch, "loss", number(s->loss / (double)d->rows), "accuracy",
        number(classify && !warning ? hone_scores_accuracy(c) : NAN), "mse",
        number(classify ? NAN : hone_scores_mse(c)), "mae",
        number(classify ? NAN : hone_scores_mae(c)), "metrics",
        hone_report_scores_json(d, c, warning != NULL), "warning", warning, "batch_ms", "median",
        number(t.median), "lo", number(t.lo), "hi", number(t.hi), "n", t.n, "rows_per_s",
        number(rows_per_s));
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

static void print(const struct options *o, const struct sums *s, struct hone_stats t,
                  double rows_per_s)
{
    char text[HONE_TEXT];
    const struct hone_data *d = s->d;
    const struct hone_scores *c = &s->scores;
    double accuracy = d->classes ? hone_scores_accuracy(c) : NAN;
    const char *warning = hone_report_near_chance(d, accuracy, text);
    if (warning) fprintf(stderr, "warning: %s\n", warning);
    if (o->json) {
        print_json(o, s, t, rows_per_s, warning);
        return;
    }
    printf("rows        %lld\nloss        %.6f\n", (long long)d->rows, s->loss / (double)d->rows);
    if (d->classes)
        printf("accuracy    %.4f%s\n", accuracy, warning ? "  near chance" : "");
    else
        printf("mse         %.6f\nmae         %.6f\nR2          %.4f\n", hone_scores_mse(c),
               hone_scores_mae(c), hone_scores_r2(c));
    if (d->classes > 5) printf("top-5       %.4f\n", hone_scores_top5(c));
    printf("inference   %.4f ms [%.4f %.4f] per batch of %d, n = %d\n", t.median, t.lo, t.hi,
           d->rows < o->batch ? (int)d->rows : o->batch, t.n);
    printf("throughput  %.0f rows/s\n", rows_per_s);
    if (o->metrics && d->classes) hone_report_scores(d, c, warning != NULL);
}

static int evaluate(const struct options *o, struct hone_infer *f, const struct hone_data *d)
{
    struct sums s = { .f = f, .d = d };
    const struct hone_tensor *output = &f->net.tensor[f->net.output];
    int err = hone_scores_open(&s.scores, f->net.task, (int)output->dim[1]);
    if (!err) err = hone_infer_rows(f, d, add_batch, &s);
    while (!err && s.ntimes <= MIN_TIMES) err = hone_infer_rows(f, d, ignore_batch, &s);
    if (!err) {
        /* The first batch runs on cold caches. */
        int n = s.ntimes - 1;
        double total = 0;
        for (int i = 1; i <= n; i++) {
            total += s.seconds[i];
            s.seconds[i] *= 1e3;
        }
        struct hone_stats t = hone_stats_of(s.seconds + 1, n);
        int batch = d->rows < o->batch ? (int)d->rows : o->batch;
        print(o, &s, t, (double)batch * n / total);
    }
    hone_scores_close(&s.scores);
    free(s.seconds);
    return err;
}

/* The rows asked for stand in *test. */
static int choose_rows(const struct options *o, struct hone_data *train, struct hone_data *test)
{
    int err = hone_data_choose(train, test, &o->data, o->seed);
    if (err || strcmp(o->rows, "train")) return err;
    hone_data_close(test);
    *test = *train;
    memset(train, 0, sizeof *train);
    return HONE_OK;
}

static int run(struct options *o)
{
    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct hone_infer f = { 0 };
    struct hone_data train = { 0 }, test = { 0 };
    int err = hone_device_open(&d, o->device);
    if (!err && !o->untuned) err = hone_db_open(&db, o->db, 0);
    if (!err) err = choose_rows(o, &train, &test);
    const struct hone_lowering how = { .batch = o->batch, .dtype = o->dtype, .loss = o->loss };
    if (!err) err = hone_infer_open(&f, o->net, o->weights, &how, &db, &d);
    if (!err) err = hone_infer_prepare(&f, &test, 1);
    hone_catch_interrupt();
    if (!err) {
        fprintf(stderr, "%s with %s on %s rows of %s\n", f.net.name, o->weights, o->rows,
                test.name);
        if (!f.about.range)
            fprintf(stderr, "the weights do not say how features were normalised: they are taken "
                            "as they are\n");
        err = evaluate(o, &f, &test);
    }
    hone_infer_close(&f);
    hone_data_close(&train);
    hone_data_close(&test);
    hone_db_close(&db);
    hone_device_close(&d);
    return err;
}

/* ---- options ---- */

enum { SPLIT = 256, DB, UNTUNED, DTYPE, LOSS, TARGET, ROWS, METRICS };

static const struct argp_option argp_options[] = {
    { "net", 'n', "NET", 0, "name or file of a net, see `hone net`", 0 },
    { "weights", 'w', "FILE", 0, "from hone train's --save, --best or --checkpoint", 0 },
    { "data", 'D', "DATA", 0, "name, directory or file, see `hone data`", 0 },
    { "batch", 'b', "B", 0, "rows per step (default 64)", 0 },
    { "device", 'd', "D", 0, "where to run (default cpu0)", 0 },
    { "rows", ROWS, "WHICH", 0, "test (default) or train", 0 },
    { "split", SPLIT, "SHARE", 0, "as in training, with the same --seed", 0 },
    { "seed", 's', "S", 0, "of the split (default 1)", 0 },
    { "target", TARGET, "COL", 0, "target column of a CSV file, see `hone data`", 0 },
    { "loss", LOSS, "LOSS", 0, "instead of the net's own", 0 },
    { "dtype", DTYPE, "TYPE", 0,
      "numbers of the net: f32, tf32 (f32, but a GPU's products may round to 11 bits), f64, or "
      "bf16 or f16 with f32 weights (default f32)", 0 },
    { "metrics", METRICS, NULL, 0,
      "print the confusion matrix and each class's precision, recall and F1; --json always has them",
      0 },
    { "db", DB, "FILE", 0, "database of plans (default $HONE_DB, else the user's)", 0 },
    { "untuned", UNTUNED, NULL, 0, "default kernels, whatever the database knows", 0 },
    { "json", 'j', NULL, 0, "print JSON", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'n': o->net = arg; return 0;
    case 'w': o->weights = arg; return 0;
    case 'D': o->data.data = arg; return 0;
    case 'd': o->device = arg; return 0;
    case 'b': o->batch = (int)hone_option_whole(state, "batch", arg, 1, 1 << 24); return 0;
    case 's': o->seed = (uint64_t)hone_option_whole(state, "seed", arg, 0, INT64_MAX); return 0;
    case ROWS:
        hone_option_choice(state, "rows", arg, "test", "train");
        o->rows = arg;
        return 0;
    case SPLIT: o->data.split = hone_option_real(state, "split", arg, 0, 1, 1); return 0;
    case TARGET: o->data.target = arg; return 0;
    case LOSS: o->loss = arg; return 0;
    case DB: o->db = arg; return 0;
    case DTYPE:
        if (hone_net_dtype_find(arg, &o->dtype)) argp_error(state, "--dtype: %s", hone_errmsg());
        return 0;
    case METRICS: o->metrics = 1; return 0;
    case UNTUNED: o->untuned = 1; return 0;
    case 'j': o->json = 1; return 0;
    case ARGP_KEY_ARG: argp_error(state, "'%s': every parameter is an option", arg); return 0;
    case ARGP_KEY_END:
        if (!o->net || !o->weights) argp_error(state, "--net and --weights are needed");
        if (!o->data.data) o->data.data = hone_data_of_net(o->net);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Runs a trained net on the test rows of a data set: loss, metrics, the time of inference per "
    "batch with its 95 % interval, and rows per second."
    "\v"
    "Features are normalised as the weights say that they were in training.\n\n"
    "Examples:\n"
    "  hone evaluate --net lenet5 --weights lenet5.safetensors --metrics\n"
    "  hone evaluate --net letter-mlp --weights run.ckpt --split 0.7 --batch 1 --json\n\n"
    "Exit status: 0 good, 1 failure, 2 wrong usage.";

int hone_cmd_evaluate(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, NULL, about, NULL, NULL, NULL };
    struct options o = {
        .device = "cpu0", .batch = 64, .seed = 1, .rows = "test", .data = { .raw = 1 }
    };
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = run(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
