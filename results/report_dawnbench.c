/* hone report dawnbench: a training run of the database in the form of the submissions to DAWNBench
 * (Coleman et al. 2017): a line an epoch, hours of training so far, accuracy in percent. */
#include "results/layers.h"
#include "results/output.h"

#include <argp.h>
#include <math.h>

struct options {
    const char *db, *run, *output;
};

static const struct argp_option option[] = {
    { "run", 'r', "RUN", 0, "the run's number or its session (default the latest)", 0 },
    { "output", 'o', "FILE", 0, "write to this file (default standard output)", 0 },
    { "db", 'b', "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'r': o->run = arg; break;
    case 'o': o->output = arg; break;
    case 'b': o->db = arg; break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- its epochs ---- */

struct table {
    FILE *f;
    double hours;
    int n, skipped;
};

static int put_epoch(void *ctx, const struct hone_epoch *e)
{
    struct table *t = ctx;
    if (!isnan(e->seconds)) t->hours += e->seconds / 3600;
    if (isnan(e->test_accuracy)) {
        t->skipped++;
        return 0;
    }
    fprintf(t->f, "%d\t%.9g\t%.6g\n", e->epoch, t->hours, 100 * e->test_accuracy);
    t->n++;
    return 0;
}

static int write_run(struct hone_db *db, const struct options *o)
{
    struct hone_run run;
    struct hone_output out;
    int err = hone_run_find(db, o->run, NULL, 0, &run);
    if (!err) err = hone_output_open(&out);
    if (err) return err;
    struct table t = { .f = out.f };
    fputs("epoch\thours\ttop1Accuracy\n", out.f);
    err = hone_db_each_epoch(db, &run, put_epoch, &t);
    if (!err && !t.n)
        err = hone_fail(HONE_EDB, "run %lld (%s on %s): no epoch has a test accuracy",
                        (long long)run.id, run.net, run.data);
    if (!err && o->output) return hone_output_save(&out, o->output);
    fflush(out.f);
    if (!err) fwrite(out.text, 1, out.len, stdout);
    hone_output_close(&out);
    return err;
}

static const char doc[] = "Writes the epochs of a training run as tab-separated epoch, hours, "
                          "top1Accuracy (percent): the table of DAWNBench."
                          "\vHours are of training: evaluation is not counted.\n\n"
                          "Examples:\n"
                          "  hone train --net lenet5 --data fashion-mnist --epochs 3\n"
                          "  hone report dawnbench > lenet5.tsv\n"
                          "  hone report dawnbench --run 1 --output lenet5.tsv\n\n"
                          "Exit status: 0 good, 1 there is no such run or it has no accuracy, or "
                          "nothing could be written, 2 wrong usage.";

int hone_report_dawnbench(int argc, char **argv)
{
    static const struct argp argp = { .options = option, .parser = parse, .doc = doc };
    struct options o = { 0 };
    struct hone_db db = { 0 };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = hone_db_open(&db, o.db, 0);
    if (!err) err = write_run(&db, &o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    hone_db_close(&db);
    return err ? 1 : 0;
}
