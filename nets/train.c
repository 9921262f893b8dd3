/* The training loop: gather a batch, set this step's numbers, run the steps; and take what they
 * tell, which on a device with its own memory is some steps later. */
#include "nets/arrivals.h"
#include "nets/loss_scale.h"
#include "nets/teacher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Training steps of a run of the net's steps. */
static int steps_of(const struct hone_net *net) { return net->launch ? net->launch : 1; }

static void finish(struct hone_metrics *m, enum hone_task task)
{
    double n = (double)m->rows;
    m->loss /= n;
    m->accuracy = task == HONE_CLASSIFY ? m->accuracy / n : NAN;
    m->mse = task == HONE_REGRESS ? m->mse / n : NAN;
    m->mae = task == HONE_REGRESS ? m->mae / n : NAN;
}

/* ---- what steps tell ---- */

static void add_norm(struct hone_trainer *t, const struct hone_arrival *a)
{
    const double norm = hone_arrival_number(a, a->net->norm, a->norm);
    t->norm = ((t->nnorms ? t->norm * (double)t->nnorms : 0) + norm) / (double)(t->nnorms + 1);
    t->nnorms++;
    t->nclipped += norm > a->net->optim.clip;
}

static int check_loss(struct hone_trainer *t, const struct hone_arrival *a, int k, double loss)
{
    const struct hone_net *net = a->net;
    const int64_t later = t->step - (a->step + k) - 1;
    char why[HONE_TEXT], found[64] = "";
    if (t->options.each_step) t->options.each_step(t->options.ctx, a->step + k, loss);
    if (isfinite(loss)) return HONE_OK;
    hone_trainer_blame(t, a, later, why);
    if (later > 0)
        snprintf(found, sizeof found, ", found %lld step%s later (HONE_AHEAD=0: at once)",
                 (long long)later, later > 1 ? "s" : "");
    return hone_fail(HONE_EDATA, "the loss is %s: %s%s%s", isnan(loss) ? "nan" : "infinite", why,
                     net->launch                  ? " after the update (HONE_LAUNCH=0: before)"
                     : later > 0                  ? " after the update"
                     : hone_loss_scale_is_on(t)   ? ""
                     : hone_net_has_graph(net)    ? " after the update (HONE_GRAPH=0: before)"
                                                  : "",
                     found);
}

static int take_step(struct hone_trainer *t, struct hone_arrival *a)
{
    double loss[HONE_MAX_LAUNCH];
    int err = HONE_OK, skipped = 0;
    hone_arrival_add(t, a, loss);
    for (int k = 0; !err && k < steps_of(a->net); k++) err = check_loss(t, a, k, loss[k]);
    if (!err && a->scale) err = hone_loss_scale_take(t, a, &skipped);
    if (!err && a->norm && !skipped) add_norm(t, a);
    return err;
}

static int take_rows(struct hone_trainer *t, struct hone_arrival *a)
{
    double loss;
    hone_arrival_add(t, a, &loss);
    hone_arrival_score(t, a);
    return HONE_OK;
}

/* ---- steps ---- */

/* What steps read beside their batch: the optimizer's numbers and dropout's seeds, one step's after
 * the other's. */
static int put_numbers(struct hone_trainer *t, struct hone_arrival *a)
{
    const struct hone_net *net = a->net;
    const enum hone_dtype type = hone_dtype_wide(net->dtype);
    const size_t n = (size_t)steps_of(net);
    double hyper[8 * HONE_MAX_LAUNCH], now[8 * HONE_MAX_LAUNCH];
    uint64_t seed[2 * HONE_MAX_LAUNCH];
    for (size_t k = 0; k < n; k++) {
        /* A step that was skipped is none to the optimizer. */
        hone_optim_hyper(&net->optim, t->step - t->scale.skipped + (int64_t)k, hyper + 8 * k);
        seed[2 * k] = hone_dropout_seed(t->options.seed);
        seed[2 * k + 1] = (uint64_t)t->step + k;
    }
    hone_from_double(type, hyper, now, (int64_t)(8 * n));
    int err = hone_arrivals_send(t, a, net->hyper, now, 8 * n * hone_dtype_bytes(type));
    return err || net->seed < 0 ? err
                                : hone_arrivals_send(t, a, net->seed, seed, 2 * n * sizeof *seed);
}

/* The losses of steps that are all enqueued, once they are there. */
static int take_now(struct hone_trainer *t, struct hone_arrival *a)
{
    int err = hone_arrivals_ask_scores(t, a, 0);
    if (!err) err = hone_arrivals_wait(t);
    return err ? err : take_step(t, a);
}

/* Steps one after another on the device, and the host: so that a loss which is no number ends
 * training before the update. */
static int run_at_once(struct hone_trainer *t, struct hone_arrival *a)
{
    struct hone_net *net = a->net;
    const int scaled = hone_loss_scale_is_on(t), whole = !scaled && hone_net_has_graph(net);
    int skipped = 0;
    int err = whole ? hone_net_run_whole(net, t->no_graph)
                    : hone_net_run(net, 0, net->first_backward);
    if (!err) err = take_now(t, a);
    if (err) return err;
    if (scaled) err = hone_loss_scale_run(t, net, &skipped);
    else if (!whole) err = hone_net_run(net, net->first_backward, net->nsteps);
    if (err || skipped || net->norm < 0) return err;
    err = hone_arrivals_ask(t, a, net->norm, &a->norm);
    if (!err) err = hone_arrivals_wait(t);
    if (!err) add_norm(t, a);
    return err;
}

/* Steps that the host does not wait for. */
static int run_ahead(struct hone_trainer *t, struct hone_arrival *a)
{
    struct hone_net *net = a->net;
    int err = t->scaling ? hone_net_run(net, 0, net->first_backward)
                         : hone_net_run_whole(net, t->no_graph);
    if (!err && t->scaling) err = hone_loss_scale_steps(t, a);
    if (!err) err = hone_arrivals_ask_scores(t, a, 0);
    return err || net->norm < 0 ? err : hone_arrivals_ask(t, a, net->norm, &a->norm);
}

/* One step, or as many as the net does at once. */
static int train_step(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed)
{
    struct hone_arrival *a;
    int err = hone_arrivals_next(t, &a);
    if (err) return err;
    const int at_once = hone_arrivals_at_once(t) || (hone_loss_scale_is_on(t) && !t->scaling);
    t->at_work = a->at = t->position;
    a->net = net;
    a->step = t->step;
    a->data = t->train;
    a->sums = &t->sums;
    a->take = take_step;
    err = hone_trainer_put_batch(t, net, feed);
    if (!err && net->teacher >= 0) err = hone_teacher_answer(t, net, t->order + a->at);
    if (!err) err = put_numbers(t, a);
    if (!err) err = at_once ? run_at_once(t, a) : run_ahead(t, a);
    if (!err) err = hone_arrivals_end(t, at_once);
    if (!err) t->step += steps_of(net);
    return err;
}

/* Begins an epoch, or goes on with the one that was restored. */
static void begin(struct hone_trainer *t, int epoch)
{
    if (!t->restored || t->epoch != epoch) {
        memset(&t->sums, 0, sizeof t->sums);
        t->position = 0;
        t->epoch_seconds = 0;
        t->wait_seconds = 0;
        t->teacher.seconds = 0;
    }
    t->epoch = epoch;
    t->restored = 0;
    t->norm = NAN;
    t->nnorms = t->nclipped = 0;
    hone_data_shuffle(t->order, t->train->rows, t->options.seed, epoch);
}

/* The batches of the rows t->order[at..end). */
static int open_feed(struct hone_trainer *t, struct hone_feed *feed, int64_t at, int64_t end)
{
    struct hone_feed_source s = {
        .data = t->train,
        .order = t->order,
        .at = at,
        .end = end,
        .batch = t->several.nsteps ? t->several.batch : t->net.batch,
        .rest = t->net.batch,
        .augment = t->options.augment,
        .key = hone_augment_key(t->options.seed, t->epoch),
        .resident = t->resident[0],
    };
    return hone_feed_open(feed, &s, t->options.feeding);
}

static void close_feed(struct hone_feed *feed, struct hone_net *net, struct hone_net *rest)
{
    hone_net_read_at(net, NULL, NULL);
    hone_net_read_at(rest, NULL, NULL);
    hone_feed_close(feed);
}

/* Who takes the next of the rows that are left: as the feed deals them out. */
static struct hone_net *next_net(struct hone_trainer *t, int64_t left)
{
    if (t->several.nsteps && left >= t->several.batch) return &t->several;
    return left >= t->net.batch ? &t->net : &t->rest;
}

/* The step of the epoch, from 1 on, whose first row that is. */
static long long step_at(const struct hone_trainer *t, int64_t row)
{
    return (long long)(row / t->net.batch + 1);
}

/* All of what is left of an epoch. */
static int steps(struct hone_trainer *t, struct hone_feed *feed, int64_t end, double before)
{
    const double started = hone_now(), waited = t->wait_seconds;
    char what[64];
    int err = HONE_OK;
    snprintf(what, sizeof what, "epoch %d", t->epoch);
    while (!err && t->position < end) {
        struct hone_net *net = next_net(t, end - t->position);
        const long long step = step_at(t, t->position);
        err = train_step(t, net, feed);
        t->wait_seconds = waited + feed->wait;
        if (err) break;
        t->position += net->batch;
        if (hone_interrupted())
            err = hone_fail(HONE_EINTR, "interrupted in epoch %d after step %lld", t->epoch, step);
        t->epoch_seconds = before + hone_now() - started;
        if (!err && t->options.between) err = t->options.between(t->options.between_ctx, t);
        /* The terminal is written to now and then: a step may take a few microseconds. */
        if (step % 64 == 0 && hone_now() - started > 1)
            hone_progress(what, (double)t->position, (double)end, started);
    }
    return err;
}

/* What was enqueued without an error is taken; the first error counts. */
static int end_steps(struct hone_trainer *t, int err)
{
    int bad = err && err != HONE_EINTR ? err : hone_trainer_catch_up(t);
    if (bad) hone_arrivals_drop(t);
    return bad ? bad : err;
}

int hone_trainer_epoch(struct hone_trainer *t, int epoch, struct hone_metrics *m)
{
    int64_t rows = t->train->rows, whole = rows / t->net.batch * t->net.batch;
    int64_t end = t->rest.nsteps ? rows : whole;
    struct hone_feed feed;
    begin(t, epoch);
    int err = open_feed(t, &feed, t->position, end);
    if (!err) err = hone_loss_scale_begin(t);
    double started = hone_now(), before = t->epoch_seconds;
    if (!err) {
        err = end_steps(t, steps(t, &feed, end, before));
        if (err && err != HONE_EINTR)
            err = hone_fail_at(err, "epoch %d, step %lld", epoch, step_at(t, t->at_work));
    }
    t->epoch_seconds = before + hone_now() - started;
    hone_progress_end();
    hone_net_read_at(&t->several, NULL, NULL);
    close_feed(&feed, &t->net, &t->rest);
    *m = t->sums;
    finish(m, t->net.task);
    return err;
}

/* Passes the rows from t->order[at] on that net takes. */
static int pass(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed, int64_t at,
                struct hone_metrics *m)
{
    struct hone_arrival *a;
    int err = hone_arrivals_next(t, &a);
    if (err) return err;
    a->net = net;
    a->at = at;
    a->data = t->test;
    a->sums = m;
    a->take = take_rows;
    err = hone_trainer_put_batch(t, net, feed);
    if (!err) err = hone_net_run(net, 0, net->nsteps);
    if (!err) err = hone_arrivals_ask_scores(t, a, t->scores != NULL);
    if (err || !hone_arrivals_at_once(t)) return err ? err : hone_arrivals_end(t, 0);
    err = hone_arrivals_wait(t);
    if (!err) take_rows(t, a);
    return err ? err : hone_arrivals_end(t, 1);
}

int hone_trainer_evaluate(struct hone_trainer *t, struct hone_metrics *m)
{
    int64_t rows = t->test->rows, whole = t->eval.nsteps ? rows / t->eval.batch * t->eval.batch : 0;
    struct hone_feed_source s = {
        .data = t->test, .order = t->order, .end = rows, .batch = t->net.batch,
        .resident = t->resident[1]
    };
    struct hone_feed feed;
    memset(m, 0, sizeof *m);
    if (t->scores) hone_scores_reset(t->scores);
    for (int64_t i = 0; i < rows; i++) t->order[i] = i;
    int err = hone_feed_open(&feed, &s, t->options.feeding);
    for (int64_t at = 0; !err && at < rows;) {
        struct hone_net *net = at < whole ? &t->eval : &t->eval_rest;
        err = pass(t, net, &feed, at, m);
        at += net->batch;
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted in evaluation");
    }
    const int ended = end_steps(t, err);
    if (ended && ended != HONE_EINTR) hone_fail_at(ended, "evaluation");
    err = ended;
    close_feed(&feed, &t->eval, &t->eval_rest);
    if (!err) finish(m, t->net.task);
    return err;
}

/* ---- open and close ---- */

static int open_net(struct hone_trainer *t, struct hone_net *net, int batch, int train,
                    struct hone_device *d)
{
    struct hone_lowering how = t->options.how;
    how.batch = batch;
    how.train = train;
    how.memory = train ? how.memory : 0;
    how.db = t->options.db;
    how.device = d;
    struct hone_net *shared = net == &t->net ? NULL : &t->net;
    int err = hone_net_open_within(net, t->options.net, &how, d, shared);
    /* Its steps one by one are those of t->net. */
    if (!err && net == &t->several && !net->launch) {
        hone_net_close(net);
        return HONE_OK;
    }
    if (!err && net == &t->net) {
        err = hone_net_fits(net, t->train, 1);
        if (!err && t->test->rows) err = hone_net_fits(net, t->test, 1);
    }
    return err ? err : hone_net_assemble(net, t->options.db, d, shared);
}

/* Several steps at once, where the net can do that, and an epoch has them. */
static int open_several(struct hone_trainer *t, struct hone_device *d)
{
    const int wanted = hone_launch_wanted(), launch = wanted > 0 ? wanted : HONE_LAUNCH;
    if (launch == 1 || t->train->rows / t->net.batch < launch) return HONE_OK;
    t->options.how.launch = launch;
    int err = open_net(t, &t->several, t->net.batch / steps_of(&t->net), 1, d);
    t->options.how.launch = 0;
    if (err != HONE_ENOMEM) return err;
    hone_net_close(&t->several);   /* they are faster, no more */
    return HONE_OK;
}

static int open_nets(struct hone_trainer *t, struct hone_device *d)
{
    int batch = t->options.how.batch;
    int64_t rest = t->train->rows % batch, test_rest = t->test->rows % batch;
    t->options.how.optim.schedule.steps_per_epoch =
        t->train->rows / batch + (rest && !t->options.drop_last);
    if (!t->train->rows)
        return hone_fail(HONE_EDATA, "'%s' has no rows to train on", t->train->name);
    if (t->train->rows < batch && t->options.drop_last)
        return hone_fail(HONE_EDATA, "the %lld rows of '%s' fill no batch of %d",
                         (long long)t->train->rows, t->train->name, batch);
    int err = open_net(t, &t->net, batch, 1, d);
    if (!err && rest && !t->options.drop_last) err = open_net(t, &t->rest, (int)rest, 1, d);
    if (!err) err = open_several(t, d);
    if (!err && t->test->rows >= batch) err = open_net(t, &t->eval, batch, 0, d);
    if (!err && test_rest) err = open_net(t, &t->eval_rest, (int)test_rest, 0, d);
    return err;
}

/* Room for a batch's input and target, or for any one tensor. */
static int allocate_host(struct hone_trainer *t)
{
    const struct hone_net *net = t->several.nsteps ? &t->several : &t->net;
    int64_t most =
        hone_tensor_bytes(&net->tensor[net->input]) + hone_tensor_bytes(&net->tensor[net->target]);
    for (int i = 0; i < net->ntensors; i++)
        if (hone_tensor_bytes(&net->tensor[i]) > most) most = hone_tensor_bytes(&net->tensor[i]);
    t->host_bytes = (size_t)most;
    t->host = malloc(t->host_bytes);
    return t->host ? HONE_OK : hone_fail(HONE_ENOMEM, "%lld bytes", (long long)most);
}

/* Steps on the CPU that read floats where they are gathered need no more. */
static int needs_host(const struct hone_net *net)
{
    return !hone_shares_memory(net) || net->tensor[net->input].dtype != HONE_F32;
}

static int most_threads(const struct hone_net *net, int most)
{
    for (int i = 0; i < net->nsteps; i++) {
        const struct hone_plan *plan = &net->step[i].plan;
        const int threads = hone_config_get(plan->kernel, &plan->config, "threads", 1);
        if (threads > most) most = threads;
    }
    return most;
}

/* A small net's threads may begin on one core, where they wait for each other for a second. */
static void settle(const struct hone_trainer *t)
{
    if (hone_shares_memory(&t->net)) hone_settle(most_threads(&t->several, most_threads(&t->net, 1)));
}

int hone_trainer_open(struct hone_trainer *t, const struct hone_train_options *o,
                      struct hone_device *d, const struct hone_data *train,
                      const struct hone_data *test)
{
    memset(t, 0, sizeof *t);
    t->options = *o;
    t->train = train;
    t->test = test;
    if (o->teacher.net) {
        t->options.how.teacher_temperature = o->teacher.temperature;
        t->options.how.teacher_mix = o->teacher.mix;
    }
    int err = hone_augment_check(&o->augment, train);
    if (!err) err = open_nets(t, d);
    int64_t rows = train->rows > test->rows ? train->rows : test->rows;
    t->order = err ? NULL : malloc((size_t)rows * sizeof *t->order);
    if (!err && !t->order) err = hone_fail(HONE_ENOMEM, "the order of %lld rows", (long long)rows);
    if (!err && needs_host(&t->net)) err = allocate_host(t);
    if (!err) err = hone_arrivals_open(t);
    if (!err) err = hone_teacher_open(t, d);
    if (!err) hone_loss_scale_open(t);
    if (!err) hone_trainer_reside(t);
    if (!err) err = hone_net_init(&t->net, o->seed);
    if (!err) settle(t);
    if (err) hone_trainer_close(t);
    return err;
}

void hone_trainer_close(struct hone_trainer *t)
{
    hone_trainer_leave(t);
    hone_arrivals_close(t);
    hone_loss_scale_close(t);
    hone_trainer_free_batches(t);
    hone_teacher_close(&t->teacher);
    hone_net_close(&t->several);
    hone_net_close(&t->rest);
    hone_net_close(&t->eval);
    hone_net_close(&t->eval_rest);
    hone_net_close(&t->net);
    free(t->order);
    free(t->host);
    memset(t, 0, sizeof *t);
}
