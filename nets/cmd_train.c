/* hone train: a net, data, and how to train. */
#include "nets/options.h"
#include "nets/report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void say_what(const struct hone_train_command *o, const struct hone_trainer *t,
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

static int add_run(const struct hone_train_command *o, const struct hone_trainer *t,
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
static int one_epoch(struct hone_trainer *t, int epoch, struct hone_report *r, struct hone_db *db,
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
    hone_report_epoch(r, &e, &train, test);
    return err ? err : hone_db_add_epoch(db, run, &e);
}

static int train(const struct hone_train_command *o, struct hone_trainer *t, struct hone_device *d,
                 struct hone_db *db, struct hone_report *r)
{
    struct hone_run run;
    struct hone_metrics test = { 0 };
    char warning[HONE_TEXT];
    int err = add_run(o, t, d, db, &run);
    if (!err) hone_report_heading(r);
    for (int epoch = 1; !err && epoch <= o->epochs; epoch++)
        err = one_epoch(t, epoch, r, db, &run, &test);
    const char *why = err ? NULL : hone_report_near_chance(r, &test, warning);
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

static int run(struct hone_train_command *o)
{
    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct hone_data train_data = { 0 }, test_data = { 0 };
    struct hone_trainer t = { 0 };
    struct hone_report r = { .nlosses = o->nlosses, .test = &test_data };
    int err = hone_device_open(&d, o->device);
    if (!err) err = hone_db_open(&db, o->db, 1);
    if (!err) err = hone_data_choose(&train_data, &test_data, &o->data, o->train.seed);
    if (o->json) {
        r.epochs = json_array();
        r.losses = json_array();
    }
    o->train.db = o->untuned ? NULL : &db;
    o->train.each_step = o->nlosses ? hone_report_loss : NULL;
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

int hone_cmd_train(int argc, char **argv)
{
    struct hone_train_command o = { .device = "cpu0",
                                    .net = "lenet5",
                                    .epochs = 10,
                                    .optim = { .optim = hone_optim_default(HONE_ADAM) },
                                    .train = { .seed = 1, .how = { .batch = 64, .train = 1 } } };
    size_t len = 0;
    for (int i = 0; i < argc && len < sizeof o.command; i++)
        len += (size_t)snprintf(o.command + len, sizeof o.command - len, "%s%s", i ? " " : "",
                                argv[i]);
    argp_err_exit_status = 2;
    if (argp_parse(&hone_train_argp, argc, argv, 0, NULL, &o)) return 2;
    int err = run(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
