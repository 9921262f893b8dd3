/* hone sweep: hone train with lists of options, every combination a run, or a search among them. */
#include "results/sweep.h"

#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum search { GRID, RANDOM, HALVING };

struct options {
    struct hone_sweep sweep;
    struct hone_sweep_space space;
    enum search search;
    int trials, eta, json;
};

/* All that a session has open. */
struct session {
    struct options *o;
    struct hone_sweep_point *points;
    int n;
};

/* ---- options: our own, then those of hone train ---- */

enum {
    OUTPUT = 'o',
    JSON = 'j',
    SEARCH = 256,
    TRIALS,
    ETA,
    TUNE,
    RETRY,
    TRAIN = 1000,
    REFUSED = 2000,
    MAX_OPTIONS = HONE_SWEEP_OPTIONS + 32
};

static const struct argp_option own[] = {
    { "output", OUTPUT, "DIR", 0,
      "where runs, tables and plots are kept; the same sweep goes on there", 0 },
    { "search", SEARCH, "HOW", 0,
      "grid: all combinations (default); random: some, from lists and ranges such as --lr "
      "1e-4..1e-1; halving: many for few epochs, the best of them for more",
      0 },
    { "trials", TRIALS, "N", 0, "combinations that a search draws (default 16)", 0 },
    { "eta", ETA, "N", 0, "halving: one in N goes on, to N times the epochs (default 3)", 0 },
    { "tune", TUNE, "TIME", 0,
      "before, tune the kernels of every net, batch and optimizer for TIME, see `hone autotune`",
      0 },
    { "retry", RETRY, NULL, 0, "run again what failed", 0 },
    { "json", JSON, NULL, 0, "print JSON", 0 },
};

/* What a sweep does itself, or what has no meaning for many runs. */
static const struct {
    const char *name, *instead;
} refused[] = {
    { "json", NULL },
    { "checkpoint", "every run has its own" },
    { "checkpoint-every", "every run has its own" },
    { "resume", "the same sweep goes on by itself" },
    { "until", "--epochs says how long" },
    { "save", "run the winner's command with it" },
    { "best", "run the winner's command with it" },
    { "folds", "--seed 1,2,3 repeats runs" },
    { "repeat", "--seed 1,2,3 repeats runs" },
    { "losses", "curves.csv has the epochs" },
};

static const char *refusal(const char *name)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!strcmp(name, refused[i].name)) return refused[i].instead ? refused[i].instead : "";
    return NULL;
}

static struct argp_option list[MAX_OPTIONS];

static int group_is_empty(const struct argp_option *train, int n, int group)
{
    for (int i = 0; i < n; i++)
        if (train[i].name && train[i].group == group && !refusal(train[i].name)) return 0;
    return 1;
}

/* A letter stays, but of -o, which is the output here. */
static void make_options(void)
{
    struct argp_option train[HONE_SWEEP_OPTIONS];
    int n = hone_train_option_list(train, HONE_SWEEP_OPTIONS), k = sizeof own / sizeof *own;
    memcpy(list, own, sizeof own);
    for (int i = 0; i < n && i < HONE_SWEEP_OPTIONS && k + 1 < MAX_OPTIONS; i++) {
        const char *name = train[i].name;
        if (!name && group_is_empty(train, n, train[i].group)) continue;
        if (name && !strcmp(name, "json")) continue;
        list[k] = train[i];
        if (name && refusal(name)) {
            list[k].flags |= OPTION_HIDDEN;
            list[k].key = REFUSED + i;
        } else if (name && (train[i].key >= 256 || train[i].key == OUTPUT)) {
            list[k].key = TRAIN + i;
        }
        k++;
    }
}

static const struct argp_option *option_of(int key)
{
    for (const struct argp_option *o = list + sizeof own / sizeof *own; o->name || o->doc; o++)
        if (o->name && o->key == key) return o;
    return NULL;
}

static int whole(struct argp_state *state, const char *name, const char *text, int min, int max)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < min || n > max)
        argp_error(state, "--%s %s: expected a whole number from %d to %d", name, text, min, max);
    return (int)n;
}

static enum search search_of(struct argp_state *state, const char *text)
{
    static const char *const names[] = { "grid", "random", "halving" };
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i])) return (enum search)i;
    argp_error(state, "--search %s: expected grid, random or halving", text);
    return GRID;
}

static void check_tune(struct argp_state *state, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || !(v > 0) ||
        (strcmp(end, "") && strcmp(end, "s") && strcmp(end, "ms") && strcmp(end, "m") &&
         strcmp(end, "h")))
        argp_error(state, "--tune %s: expected a time such as 20s or 5m", text);
}

static void complete(struct options *o, struct argp_state *state)
{
    const char *epochs = hone_sweep_value(&o->space, "epochs");
    int many = 0;
    for (int i = 0; i < o->space.n; i++) {
        if (o->search == GRID && o->space.option[i].is_range)
            argp_error(state, "--%s: a range needs --search random or halving",
                       o->space.option[i].name);
        many |= hone_sweep_varies(&o->space.option[i]);
        if (o->search == HALVING && !strcmp(o->space.option[i].name, "epochs") && !epochs)
            argp_error(state, "--epochs: --search halving wants one number, that of the last rung");
    }
    if (!o->sweep.dir) argp_error(state, "--output is missing: the directory for runs and tables");
    if (o->search != GRID && !many) argp_error(state, "--search: no option has a list or a range");
    if (o->search == GRID && o->trials)
        argp_error(state, "--trials goes with --search random or halving");
    if (o->search != HALVING && o->eta) argp_error(state, "--eta goes with --search halving");
    if (!o->trials) o->trials = 16;
    if (!o->eta) o->eta = 3;
    int last = epochs ? atoi(epochs) : 10;
    if (o->search == HALVING && (o->trials < o->eta || last < o->eta))
        argp_error(state,
                   "--search halving: of %d trials and %d epochs none can be left out; it takes "
                   "--eta, %d, of both",
                   o->trials, last, o->eta);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    const struct argp_option *train = key > 0 ? option_of(key) : NULL;
    switch (key) {
    case OUTPUT: o->sweep.dir = arg; return 0;
    case SEARCH: o->search = search_of(state, arg); return 0;
    case TRIALS: o->trials = whole(state, "trials", arg, 2, HONE_SWEEP_POINTS); return 0;
    case ETA: o->eta = whole(state, "eta", arg, 2, 1000); return 0;
    case TUNE: check_tune(state, o->sweep.tune = arg); return 0;
    case RETRY: o->sweep.retry = 1; return 0;
    case JSON: o->json = 1; return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s': every parameter is an option", arg);
        return 0;
    case ARGP_KEY_END: complete(o, state); return 0;
    default: break;
    }
    if (!train) return ARGP_ERR_UNKNOWN;
    if (key >= REFUSED)
        argp_error(state, "--%s: not in a sweep; %s", train->name, refusal(train->name));
    else if (hone_sweep_add(&o->space, train->name, arg))
        argp_error(state, "%s", hone_errmsg());
    return 0;
}

static const char about[] =
    "Trains a net once for every combination of options, and shows the runs side by side: time and "
    "throughput (the first epoch, which warms up, stands apart), losses and accuracies.  All "
    "options of `hone train` may be lists, as --batch 250,500,1000; --schedule, --augment and "
    "other "
    "values with commas of their own are given once for each value."
    "\v"
    "A run is a process of its own, its record a file in DIR/points.  Ctrl-C or a crash loses at "
    "most "
    "the epoch that runs; the same command goes on, and more values only add their runs.  DIR gets "
    "table.csv, curves.csv (every epoch), and by gnuplot, where it is installed, throughput and "
    "accuracy as .png and .svg with their .gp and .dat.\n\n"
    "Of a range the search draws log-uniformly, 1e-4..1e-1, or uniformly, lin:0..0.9; ends without "
    "a point or an "
    "exponent, 16..256, mean whole numbers.  --seed S chooses the draws, too.  The test rows "
    "choose the "
    "winner; its score is therefore no measure of new rows.\n\n"
    "Examples:\n"
    "  hone sweep --net alexnet --data cifar10 --epochs 1 --optimizer sgd --lr 0.01 --batch "
    "250,500,1000,2000,5000 -o batches\n"
    "  hone sweep --net lenet5 --epochs 3 --optimizer sgd,adam,rmsprop --lr 0.01,0.001,0.0001 -o "
    "rates\n"
    "  hone sweep --net lenet5,lenet5-student --batch 64,256 --seed 1,2,3 --epochs 3 --tune 20s -o "
    "nets\n"
    "  hone sweep --net letter-mlp --search random --trials 20 --lr 1e-4..1e-1 --batch 16..256 "
    "--epochs 10 -o random\n"
    "  hone sweep --net letter-mlp --search halving --trials 27 --eta 3 --epochs 27 --lr "
    "1e-4..1e-1 -o halving\n\n"
    "Exit status: 0 good, 1 no run succeeded or interrupted, 2 wrong usage.";

/* ---- runs ---- */

static struct hone_sweep_report report_of(const struct session *s)
{
    return (struct hone_sweep_report){ &s->o->sweep, &s->o->space, s->points, s->n,
                                       s->o->search != GRID };
}

static void say(const struct session *s, const struct hone_sweep_point *p, int i, int n)
{
    char label[HONE_TEXT];
    struct hone_sweep_report r = report_of(s);
    struct hone_sweep_row row = hone_sweep_row_of(p);
    hone_sweep_label(&r, p, label, sizeof label);
    hone_progress_end();
    if (row.failed) {
        fprintf(stderr, "%d/%d %s: failed: %s\n", i, n, label, row.reason);
        return;
    }
    fprintf(stderr, "%d/%d %s: %.4g s/epoch, %.0f rows/s", i, n, label, row.seconds.median,
            row.rows_per_s);
    if (row.near_chance)
        fprintf(stderr, ", accuracy near chance");
    else if (!isnan(row.test_score))
        fprintf(stderr, ", test %s %.4f", row.is_classes ? "accuracy" : "MAE", row.test_score);
    putc('\n', stderr);
}

/* Runs points [0, n) up to epoch `until`. */
static int run_points(struct session *s, int n, int until, int keep)
{
    struct hone_sweep *sweep = &s->o->sweep;
    int err = HONE_OK;
    for (int i = 0; !err && i < n; i++) {
        char what[64];
        int before = sweep->nrun;
        snprintf(what, sizeof what, "run %d of %d", i + 1, n);
        err = hone_sweep_run(sweep, &s->points[i], until, keep, what);
        if (!err && sweep->nrun > before) say(s, &s->points[i], i + 1, n);
    }
    hone_progress_end();
    return err;
}

static int epochs_of(const struct hone_sweep_point *p)
{
    const char *text = json_string_value(json_object_get(p->options, "--epochs"));
    return text ? atoi(text) : 10;
}

static int all_points(struct session *s)
{
    struct hone_sweep *sweep = &s->o->sweep;
    int known = 0;
    for (int i = 0; i < s->n; i++) {
        int there = hone_sweep_has(sweep, &s->points[i], 0);
        known += there;
        if (!there) sweep->work += epochs_of(&s->points[i]);
    }
    if (known)
        fprintf(stderr, "%d of %d runs are known from before\n", known, s->n);
    else
        fprintf(stderr, "%d runs\n", s->n);
    return run_points(s, s->n, 0, 0);
}

/* How many of the first n points did not fail; they come first. */
static int count_good(const struct session *s, int n)
{
    int good = 0;
    for (int i = 0; i < n; i++) good += !hone_sweep_row_of(&s->points[i]).failed;
    return good;
}

/* Where rung k of `last` ends, and how many of n enter it. */
static int rung_epoch(int epochs, int eta, int last, int k)
{
    int e = (int)(epochs / pow(eta, last - k) + 0.5);
    return e > 0 ? e : 1;
}

static int rung_size(int n, int eta, int k)
{
    int size = (int)(n / pow(eta, k));
    return size > 0 ? size : 1;
}

static int last_rung(int n, int epochs, int eta)
{
    int last = 0;
    while (pow(eta, last + 1) <= n && pow(eta, last + 1) <= epochs) last++;
    return last;
}

/* Successive halving (Jamieson and Talwalkar 2016) as a bracket of Hyperband has it (Li et al.
 * 2018): about as many epochs in every rung.  Survivors go on from their checkpoints. */
static int halving(struct session *s)
{
    struct hone_sweep *sweep = &s->o->sweep;
    int eta = s->o->eta, epochs = epochs_of(&s->points[0]), n = s->n, err = HONE_OK;
    int last = last_rung(n, epochs, eta), trained = 0;
    for (int k = 0, before = 0; k <= last; k++) {
        int end = rung_epoch(epochs, eta, last, k);
        trained += rung_size(n, eta, k) * (end - before);
        before = end;
    }
    sweep->work = trained;
    fprintf(stderr, "%d trials, at most %d epochs instead of %d\n", n, trained, n * epochs);
    for (int k = 0, alive = n; !err && k <= last && alive > 0; k++) {
        int end = rung_epoch(epochs, eta, last, k);
        fprintf(stderr, "rung %d of %d: %d trial%s to epoch %d\n", k + 1, last + 1, alive,
                alive > 1 ? "s" : "", end);
        err = run_points(s, alive, k < last ? end : 0, k < last);
        for (int i = 0; i < alive; i++)
            if (s->points[i].record) s->points[i].rung = k;
        if (err) break;
        qsort(s->points, (size_t)n, sizeof *s->points, hone_sweep_rank);
        int next = rung_size(n, eta, k + 1), good = count_good(s, alive);
        if (next > good) next = good;
        for (int i = next; i < alive; i++) hone_sweep_forget(sweep, &s->points[i]);
        alive = next;
    }
    return err;
}

/* ---- results ---- */

/* Points without a record, after an interruption, go to the end, and out of the report. */
static int with_records(struct hone_sweep_point *points, int n)
{
    int known = 0;
    for (int i = 0; i < n; i++) {
        if (!points[i].record) continue;
        struct hone_sweep_point p = points[i];
        points[i] = points[known];
        points[known++] = p;
    }
    return known;
}

static void say_tuned(const struct hone_sweep_report *r)
{
    int untuned = 0, done = 0;
    for (int i = 0; i < r->n; i++) {
        struct hone_sweep_row row = hone_sweep_row_of(&r->points[i]);
        done += row.steps > 0;
        untuned += row.steps_tuned < row.steps;
    }
    if (untuned)
        fprintf(stderr, "in %d of %d runs untuned steps ran by default kernels (column tuned)%s\n",
                untuned, done, r->sweep->tune ? "" : "; --tune 20s tunes before");
}

static void print_winner(const struct hone_sweep_report *r)
{
    const struct hone_sweep_point *p = r->points;
    struct hone_sweep_row row = hone_sweep_row_of(p);
    if (row.failed) return;
    if (row.near_chance) {
        printf("no winner: no accuracy is better than chance\n");
        return;
    }
    char *command = hone_sweep_command(p->options);
    printf("winner: %s\n", command ? command : "?");
    free(command);
}

static int finish(struct session *s, int err)
{
    char why[HONE_TEXT];
    struct hone_sweep_report r = report_of(s);
    r.n = with_records(s->points, s->n);
    if (r.is_search) qsort(s->points, (size_t)r.n, sizeof *s->points, hone_sweep_rank);
    snprintf(why, sizeof why, "%s", err ? hone_errmsg() : "");
    if (!r.n && err == HONE_EINTR)
        return hone_fail(err, "interrupted in the first run; the same command goes on");
    if (!r.n) return err;
    int bad = hone_sweep_write_csv(&r);
    if (!bad && s->o->json)
        bad = hone_sweep_print_json(&r);
    else if (!bad)
        hone_sweep_print(&r);
    if (!bad && r.is_search && !err && !s->o->json) print_winner(&r);
    fflush(stdout);
    say_tuned(&r);
    if (!bad && !err) bad = hone_sweep_plot(&r);
    if (!bad && !err && !count_good(s, r.n)) bad = hone_fail(HONE_EDATA, "no run succeeded");
    if (err == HONE_EINTR)
        return hone_fail(err, "interrupted after %d of %d runs; the same command goes on", r.n,
                         s->n);
    return err ? hone_fail(err, "%s", why) : bad;
}

static int open_points(struct session *s)
{
    struct options *o = s->o;
    const char *seed = "1";
    for (int i = 0; i < o->space.n; i++)
        if (!strcmp(o->space.option[i].name, "seed") && o->space.option[i].n)
            seed = o->space.option[i].value[0];
    if (o->search == GRID) return hone_sweep_grid(&o->space, &s->points, &s->n);
    int err = hone_sweep_draw(&o->space, o->trials, strtoull(seed, NULL, 10), &s->points, &s->n);
    if (!err && s->n < o->trials)
        fprintf(stderr, "the options have %d combinations, fewer than %d trials\n", s->n,
                o->trials);
    return err;
}

static int run(struct session *s)
{
    struct hone_sweep *sweep = &s->o->sweep;
    int err = open_points(s);
    if (!err) err = hone_sweep_open(sweep);
    if (err) return err;
    for (int i = 0; !err && sweep->tune && i < s->n; i++)
        err = hone_sweep_tune(sweep, &s->points[i]);
    sweep->started = hone_now();
    if (!err) err = s->o->search == HALVING ? halving(s) : all_points(s);
    err = finish(s, err);
    hone_sweep_close(sweep);
    return err;
}

int hone_cmd_sweep(int argc, char **argv)
{
    struct options o = { .sweep = { .lock = -1 } };
    struct session s = { .o = &o };
    struct argp argp = { .options = list, .parser = parse, .doc = about };
    make_options();
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    hone_catch_interrupt();
    int err = run(&s);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    hone_sweep_free(s.points, s.n);
    hone_sweep_space_close(&o.space);
    return err ? 1 : 0;
}
