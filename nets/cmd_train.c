/* hone train: a net, data, and how to train. */
#include "nets/checkpoint.h"
#include "nets/keep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int known_steps(const struct hone_net *net)
{
    int known = 0;
    for (int i = 0; i < net->nsteps; i++) known += net->step[i].known;
    return known;
}

static void say_what(const struct hone_train_command *o, const struct hone_trainer *t,
                     const struct hone_device *d)
{
    const struct hone_optim *op = &t->net.optim;
    char optimizer[HONE_TEXT], schedule[HONE_TEXT];
    int known = known_steps(&t->net);
    hone_optim_print(op, optimizer);
    hone_schedule_print(&op->schedule, schedule);
    fprintf(stderr, "%s: %lld parameters; %s: %lld rows to train on, %lld to test on\n",
            t->net.name, (long long)t->net.parameters, t->train->name, (long long)t->train->rows,
            (long long)t->test->rows);
    fprintf(stderr, "%s (%s); batch %d, %s, lr %g, seed %llu; %d of %d steps tuned\n", d->name,
            d->text, t->net.batch, optimizer, op->lr, (unsigned long long)o->train.seed, known,
            t->net.nsteps);
    if (op->schedule.kind != HONE_CONSTANT || op->schedule.warmup > 0)
        fprintf(stderr, "schedule %s, warm-up %g epochs, %lld steps each\n", schedule,
                op->schedule.warmup, (long long)op->schedule.steps_per_epoch);
    if (t->teacher.net.nsteps)
        fprintf(stderr, "teacher %s: %lld parameters, from %s; temperature %g, mix %g\n",
                t->teacher.net.name, (long long)t->teacher.net.parameters, o->teacher.weights,
                o->teacher.temperature, o->teacher.mix);
    if (known < t->net.nsteps && !o->untuned && !o->train.how.reference)
        fprintf(stderr,
                "untuned steps run by default kernels; `hone autotune --net %s --batch %d "
                "--optimizer %s` finds better ones\n",
                o->net, t->net.batch, optimizer);
}

/* ---- a run ---- */

/* What the runs of a command have in common. */
struct session {
    struct hone_train_command *o;
    struct hone_device device;
    struct hone_db db;
    struct hone_report report;
    int nruns;              /* folds or repetitions; else 1 */
    int several;            /* 1: a line for a run instead of an epoch */
    json_t *results;        /* of the runs that are done */
    json_t *state;          /* what checkpoints keep of all this */
    int nnear_chance;       /* runs whose accuracy is */
    double started, before; /* hone_now(), and seconds of the sessions before this one */
};

/* A run in progress. */
struct training {
    int run;
    double started, before; /* as the session's */
    struct hone_data train, test;
    struct hone_trainer t;
    struct hone_keep keep;
    struct hone_run record;
    struct hone_metrics tested;
    struct hone_scores scores;
    char warning[HONE_TEXT];
};

static void set_state(json_t *state, const char *key, const char *text)
{
    json_object_set_new(state, key, json_string(text));
}

static const char *get_state(json_t *state, const char *key)
{
    const char *text = json_string_value(json_object_get(state, key));
    return text ? text : "";
}

/* The run that a checkpoint continues keeps its name, and its epochs stand once in the database. */
static int add_run(struct session *s, struct training *r)
{
    const struct hone_optim *op = &r->t.net.optim;
    struct hone_run *run = &r->record;
    *run = (struct hone_run){ .epochs = s->o->epochs,
                              .batch = r->t.net.batch,
                              .lr = op->lr,
                              .seed = r->t.options.seed,
                              .parameters = r->t.net.parameters };
    snprintf(run->session, sizeof run->session, "%s", get_state(s->state, "session"));
    snprintf(run->when, sizeof run->when, "%s", get_state(s->state, "when"));
    snprintf(run->net, sizeof run->net, "%s", r->t.net.name);
    snprintf(run->data, sizeof run->data, "%.255s", r->train.source);
    snprintf(run->device, sizeof run->device, "%s", s->device.id);
    snprintf(run->optimizer, sizeof run->optimizer, "%s", hone_optimizer_name(op->kind));
    snprintf(run->command, sizeof run->command, "%s", s->o->command);
    int err = hone_db_add_run(&s->db, run);
    set_state(s->state, "session", run->session);
    set_state(s->state, "when", run->when);
    return err;
}

/* One epoch and its evaluation; an epoch cut short is printed but not recorded. */
static int one_epoch(struct session *s, struct training *r, int epoch, int *stop)
{
    struct hone_metrics train, *test = &r->tested;
    *test = (struct hone_metrics){ .loss = NAN, .accuracy = NAN, .mse = NAN, .mae = NAN };
    int err = hone_trainer_epoch(&r->t, epoch, &train);
    if (r->t.no_graph[0]) fprintf(stderr, "the step is not one graph: %s\n", r->t.no_graph);
    r->t.no_graph[0] = 0;
    if (!err && r->test.rows) err = hone_trainer_evaluate(&r->t, test);
    if (err == HONE_EINTR && s->o->keep.checkpoint) {
        char why[HONE_TEXT];
        snprintf(why, sizeof why, "%s", hone_errmsg());
        hone_keep_write(&r->keep, &r->t);
        fprintf(stderr,
                r->keep.trouble[0] ? "no checkpoint: %s\n" : "%s: --resume goes on from here\n",
                r->keep.trouble[0] ? r->keep.trouble : s->o->keep.checkpoint);
        hone_fail(err, "%s", why);
    }
    if (err && (err != HONE_EINTR || !train.rows)) return err;
    struct hone_epoch e = { .epoch = epoch,
                            .seconds = r->t.epoch_seconds,
                            .train_loss = train.loss,
                            .images_per_s = (double)train.rows / r->t.epoch_seconds,
                            .train_accuracy = train.accuracy,
                            .test_loss = test->loss,
                            .test_accuracy = test->accuracy,
                            .test_mae = test->mae };
    hone_report_epoch(&s->report, &e, &r->t, &train, test);
    hone_report_rate(&s->report, &r->t);
    if (!err) err = hone_db_add_epoch(&s->db, &r->record, &e);
    return err ? err : hone_keep_epoch(&r->keep, &r->t, test, stop);
}

/* What the checkpoint needs of the other runs. */
static void remember(struct session *s, const struct training *r)
{
    char text[64], *results = json_dumps(s->results, JSON_COMPACT);
    snprintf(text, sizeof text, "%d", r->run);
    set_state(s->state, "run", text);
    snprintf(text, sizeof text, "%.17g", s->before + hone_now() - s->started);
    set_state(s->state, "seconds", text);
    snprintf(text, sizeof text, "%.17g", r->before + hone_now() - r->started);
    set_state(s->state, "run_seconds", text);
    set_state(s->state, "results", results ? results : "[]");
    free(results);
}

static int train(struct session *s, struct training *r)
{
    int stop = hone_keep_is_stale(&r->keep), err = HONE_OK, last = s->o->epochs;
    if (s->o->keep.until && s->o->keep.until < last) last = s->o->keep.until;
    for (int epoch = r->t.restored ? r->t.epoch : 1; !err && !stop && epoch <= last; epoch++) {
        remember(s, r);
        err = one_epoch(s, r, epoch, &stop);
        if (!err && stop && !s->several)
            fprintf(stderr, "stopped after epoch %d: none was better than epoch %d\n", epoch,
                    r->keep.best_epoch);
    }
    if (!err) err = hone_keep_end(&r->keep, &r->t);
    /* Of a run that was at its end already the scores are those of the weights restored. */
    if (!err && !r->tested.rows && r->test.rows) err = hone_trainer_evaluate(&r->t, &r->tested);
    if (!err && r->tested.rows &&
        hone_report_near_chance(&r->test, r->tested.accuracy, r->warning))
        s->nnear_chance++;
    if (r->warning[0] && !s->several) fprintf(stderr, "warning: %s\n", r->warning);
    return err;
}

static int open_data(const struct session *s, struct training *r, uint64_t seed)
{
    const struct hone_train_command *o = s->o;
    return o->keep.folds ? hone_data_choose_fold(&r->train, &r->test, &o->data, o->keep.folds,
                                                 r->run, o->train.seed)
                         : hone_data_choose(&r->train, &r->test, &o->data, seed);
}

/* resume: the checkpoint to go on from; NULL: from the start. */
static int open_run(struct session *s, struct training *r, const char *resume)
{
    struct hone_train_command *o = s->o;
    struct hone_train_options options = o->train;
    options.seed += o->keep.repeat ? (uint64_t)r->run : 0;
    options.db = o->untuned ? NULL : &s->db;
    options.each_step = o->nlosses ? hone_report_loss : NULL;
    options.ctx = &s->report;
    options.between = hone_keep_between;
    options.between_ctx = &r->keep;
    int err = open_data(s, r, options.seed);
    if (!err) err = hone_trainer_open(&r->t, &options, &s->device, &r->train, &r->test);
    if (err) return err;
    if (r->t.no_resident[0])
        fprintf(stderr, "the data are not kept on the device: %s\n", r->t.no_resident);
    const struct hone_net *net = &r->t.net;
    err = hone_scores_open(&r->scores, net->task, (int)net->tensor[net->output].dim[1]);
    if (err) return err;
    r->t.scores = &r->scores;
    s->report.task = r->t.net.task;
    s->report.test = &r->test;
    s->report.teacher = o->teacher.net != NULL;
    json_array_clear(s->report.epochs);
    json_array_clear(s->report.losses);
    r->t.epoch = 1;
    hone_keep_open(&r->keep, &o->keep, &s->report, hone_train_signature(o, &r->t), s->state);
    remember(s, r);
    if (o->keep.weights) err = hone_weights_load(&r->t.net, o->keep.weights);
    if (!err && resume) err = hone_keep_resume(&r->keep, &r->t, resume);
    if (!err && resume) r->before = strtod(get_state(s->state, "run_seconds"), NULL);
    if (!err) err = add_run(s, r);
    if (!err && !resume) err = hone_keep_begin(&r->keep, &r->t);
    return err;
}

static void close_run(struct training *r)
{
    hone_keep_close(&r->keep);
    hone_trainer_close(&r->t);
    hone_scores_close(&r->scores);
    hone_data_close(&r->train);
    hone_data_close(&r->test);
}

/* ---- the result as JSON ---- */

static json_t *spread_json(const struct session *s)
{
    json_t *several = json_pack("{s:s, s:i, s:O, s:f}", "protocol",
                                s->o->keep.folds ? "folds" : "repeat", "wanted", s->nruns, "runs",
                                s->results, "seconds", s->before + hone_now() - s->started);
    if (several) hone_report_add_spread(several, s->results);
    return several;
}

static int print_json(struct session *s, const struct training *r, int err)
{
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:i, s:s, s:f, s:I, s:I, s:i, s:b, s:O, s:O, s:o}", "net", r->t.net.name,
        "data", r->train.source, "device", s->device.id, "batch", r->t.net.batch, "optimizer",
        r->record.optimizer, "lr", r->record.lr, "seed", (json_int_t)s->o->train.seed, "parameters",
        (json_int_t)r->record.parameters, "epochs_wanted", s->o->epochs, "complete", !err, "losses",
        s->report.losses, "epochs", s->report.epochs, "warning",
        r->warning[0] ? json_string(r->warning) : json_null());
    if (root) {
        json_object_set_new(root, "steps", json_integer(r->t.net.nsteps));
        json_object_set_new(root, "steps_tuned", json_integer(known_steps(&r->t.net)));
    }
    if (root && !s->several)
        json_object_set_new(root, "metrics",
                            err ? json_null()
                                : hone_report_scores_json(&r->test, &r->scores,
                                                          r->warning[0] != 0));
    json_object_set_new(root, "teacher",
                        s->report.teacher ? hone_report_teacher_json(&s->report, &r->t)
                                          : json_null());
    if (root && s->several) json_object_update_new(root, spread_json(s));
    if (!root || json_dumpf(root, stdout, JSON_INDENT(2)))
        err = hone_fail(HONE_ENOMEM, "cannot write JSON");
    putchar('\n');
    json_decref(root);
    return err;
}

/* ---- the runs ---- */

static void heading(const struct session *s)
{
    if (s->o->json) return;
    if (s->several)
        hone_report_runs_heading(s->report.task, s->o->keep.folds ? "fold" : "run");
    else
        hone_report_heading(&s->report);
}

/* A run from its data to its line. */
static int one_run(struct session *s, int run, const char *resume, int first)
{
    struct training r = { .run = run, .started = hone_now() };
    int err = open_run(s, &r, resume);
    if (!err && first) {
        say_what(s->o, &r.t, &s->device);
        heading(s);
        for (size_t i = 0; s->several && !s->o->json && i < json_array_size(s->results); i++)
            hone_report_run(s->report.task, json_array_get(s->results, i));
    }
    if (!err) {
        err = train(s, &r);
        if (!err && s->several) {
            json_t *result = hone_report_result(&s->report, run + 1, r.record.seed,
                                                r.before + hone_now() - r.started);
            if (r.t.net.task == HONE_CLASSIFY)
                json_object_set_new(result, "no_better_than_chance",
                                    json_boolean(r.warning[0] != 0));
            json_array_append_new(s->results, result);
            if (!s->o->json) hone_report_run(s->report.task, result);
        }
        if (!err && s->report.teacher) hone_report_teacher(&s->report, &r.t);
        if (!err && s->o->metrics && !s->o->json && !s->several)
            hone_report_scores(&r.test, &r.scores, r.warning[0] != 0);
        if (s->o->json && (err || run + 1 == s->nruns)) err = print_json(s, &r, err);
    }
    close_run(&r);
    /* The next run is another one. */
    if (!err) json_object_clear(s->state);
    return err;
}

/* Where the checkpoint stands; *resume NULL where there is none and none is asked for by name. */
static int find_checkpoint(struct session *s, const char **resume, int *run)
{
    const struct hone_keep_choice *k = &s->o->keep;
    *resume = k->resuming ? (k->resume ? k->resume : k->checkpoint) : NULL;
    *run = 0;
    if (!*resume) return HONE_OK;
    if (!k->resume && access(*resume, F_OK)) {
        *resume = NULL;
        return HONE_OK;
    }
    json_t *state, *results;
    int err = hone_checkpoint_peek(*resume, &state);
    if (err) return err;
    results = json_loads(get_state(state, "results"), 0, NULL);
    if (json_is_array(results)) json_array_extend(s->results, results);
    *run = atoi(get_state(state, "run"));
    s->before = strtod(get_state(state, "seconds"), NULL);
    json_decref(results);
    json_decref(state);
    return HONE_OK;
}

static int all_runs(struct session *s)
{
    const char *resume;
    int first, err = find_checkpoint(s, &resume, &first);
    if (!err && (first < 0 || first >= s->nruns))
        err = hone_fail(HONE_EDATA, "%s: is of run %d, and there are %d", resume, first + 1,
                        s->nruns);
    for (int run = first; !err && run < s->nruns; run++)
        err = one_run(s, run, run == first ? resume : NULL, run == first);
    if (s->several && s->nnear_chance)
        fprintf(stderr,
                "warning: in %d of %zu runs the test accuracy is near chance: the net has learned "
                "next to nothing there\n",
                s->nnear_chance, json_array_size(s->results));
    if (!s->several || s->o->json || !json_array_size(s->results)) return err;
    hone_report_spread(s->report.task, s->results);
    printf("%-9s  %zu of %d %s in %.1f s\n", "total", json_array_size(s->results), s->nruns,
           s->o->keep.folds ? "folds" : "runs", s->before + hone_now() - s->started);
    return err;
}

static int run(struct hone_train_command *o)
{
    const struct hone_keep_choice *k = &o->keep;
    struct session s = { .o = o,
                         .nruns = k->folds    ? k->folds
                                  : k->repeat ? k->repeat
                                              : 1,
                         .several = k->folds || k->repeat,
                         .started = hone_now(),
                         .results = json_array(),
                         .state = json_object(),
                         .report = { .nlosses = o->nlosses,
                                     .quiet = o->json || k->folds || k->repeat,
                                     .epochs = json_array(),
                                     .losses = json_array() } };
    int err = hone_device_open(&s.device, o->device);
    if (!err && (err = hone_device_limit(&s.device, o->max_error)))
        hone_fail_at(err, "--max-error");
    if (!err) err = hone_db_open(&s.db, o->db, 1);
    s.db.builds = o->builds;
    hone_catch_interrupt();
    if (!err) err = all_runs(&s);
    json_decref(s.report.epochs);
    json_decref(s.report.losses);
    json_decref(s.results);
    json_decref(s.state);
    hone_db_close(&s.db);
    hone_device_close(&s.device);
    return err;
}

/* ---- the command ---- */

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
