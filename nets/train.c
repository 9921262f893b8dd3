/* The training loop: gather a batch, set this step's numbers, run the steps, add up the losses. */
#include "nets/loss_scale.h"
#include "nets/teacher.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- data between host and device ---- */

static int shares_memory(const struct hone_net *net)
{
    return !strcmp(net->device->backend->name, "cpu");
}

/* Batches are floats and labels; may the net read them where the host writes them? */
static int reads_host(const struct hone_net *net)
{
    return shares_memory(net) && net->tensor[net->input].dtype == HONE_F32;
}

/* Where the host may write tensor i of a batch (0: input, 1: target). */
static void *host_side(const struct hone_trainer *t, const struct hone_net *net, int tensor,
                       int64_t offset)
{
    return reads_host(net) ? hone_net_mem(net, tensor) : (char *)t->host + offset;
}

/* Copies a batch's floats or labels to a tensor, which may be of doubles. */
static int put(struct hone_trainer *t, const struct hone_net *net, int tensor, const void *from)
{
    const struct hone_tensor *to = &net->tensor[tensor];
    struct hone_device *d = net->device;
    void *mem = hone_net_mem(net, tensor), *wide = shares_memory(net) ? mem : t->wide;
    if (to->dtype == HONE_F64) {
        hone_to_double(HONE_F32, from, wide, hone_tensor_len(to));
        if (wide == mem) return HONE_OK;
        from = wide;
    }
    return d->backend->put(d, mem, from, (size_t)hone_tensor_bytes(to));
}

int hone_trainer_put_batch(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed)
{
    const int64_t n = hone_tensor_len(&net->tensor[net->input]);
    if (feed->source.resident)
        return hone_feed_gather(feed, net->batch, hone_net_mem(net, net->input),
                                hone_net_mem(net, net->target));
    struct hone_batch b = { host_side(t, net, net->input, 0),
                            host_side(t, net, net->target, n * (int64_t)sizeof *b.x) };
    const float *offered = b.x;
    hone_feed_next(feed, &b);
    if (reads_host(net)) {
        if (b.x != offered) hone_net_read_at(net, b.x, b.target);
        return HONE_OK;
    }
    int err = put(t, net, net->input, b.x);
    return err ? err : put(t, net, net->target, b.target);
}

/* The numbers of a tensor, in our memory; NULL after an error. */
static const void *get(struct hone_trainer *t, const struct hone_net *net, int tensor)
{
    struct hone_device *d = net->device;
    void *from = hone_net_mem(net, tensor);
    if (shares_memory(net)) return from;
    return d->backend->get(d, t->host, from, (size_t)hone_tensor_bytes(&net->tensor[tensor]))
               ? NULL
               : t->host;
}

/* The same as floats. */
static const float *get_floats(struct hone_trainer *t, const struct hone_net *net, int tensor)
{
    const void *numbers = get(t, net, tensor);
    if (!numbers || net->tensor[tensor].dtype == HONE_F32) return numbers;
    float *to = t->host;   /* narrower than what it is made of, which may lie there, too */
    for (int64_t i = 0; i < hone_tensor_len(&net->tensor[tensor]); i++)
        to[i] = (float)((const double *)numbers)[i];
    return to;
}

/* The sums of n equal parts of them in doubles, and all of these; NaN after an error. */
static double get_sums(struct hone_trainer *t, const struct hone_net *net, int tensor, int n,
                       double sum[])
{
    const void *v = get(t, net, tensor);
    const int64_t len = hone_tensor_len(&net->tensor[tensor]) / n;
    double all = 0;
    for (int k = 0; k < n; k++) {
        sum[k] = v ? 0 : NAN;
        for (int64_t i = k * len; v && i < (k + 1) * len; i++)
            sum[k] += net->tensor[tensor].dtype == HONE_F64 ? ((const double *)v)[i]
                                                            : (double)((const float *)v)[i];
        all += sum[k];
    }
    return all;
}

static double get_sum(struct hone_trainer *t, const struct hone_net *net, int tensor)
{
    double sum;
    return get_sums(t, net, tensor, 1, &sum);
}

static int put_state(const struct hone_net *net, int tensor, const void *from, size_t bytes)
{
    if (!shares_memory(net))
        return net->device->backend->put(net->device, hone_net_mem(net, tensor), from, bytes);
    memcpy(hone_net_mem(net, tensor), from, bytes);
    return HONE_OK;
}

/* ---- metrics: sums while rows pass, means in the end ---- */

static int add_errors(struct hone_trainer *t, const struct hone_net *net,
                      const struct hone_data *data, const int64_t *order, struct hone_metrics *m)
{
    const float *y = get_floats(t, net, net->output);
    double squares = 0, sizes = 0;
    if (!y) return HONE_EDEVICE;
    for (int i = 0; i < net->batch; i++) {
        const float *want = data->y + order[i] * data->outputs;
        for (int j = 0; j < data->outputs; j++) {
            double diff = (double)y[i * data->outputs + j] - (double)want[j];
            squares += diff * diff;
            sizes += fabs(diff);
        }
    }
    m->mse += squares / data->outputs;
    m->mae += sizes / data->outputs;
    return HONE_OK;
}

/* Training steps of a run of the net's steps. */
static int steps_of(const struct hone_net *net) { return net->launch ? net->launch : 1; }

/* Adds the batch that just went through, or the batches of several steps; loss[k] is the mean of
 * the kth. */
static int add_batch(struct hone_trainer *t, const struct hone_net *net,
                     const struct hone_data *data, const int64_t *order, struct hone_metrics *m,
                     double loss[])
{
    const int n = steps_of(net);
    m->loss += get_sums(t, net, net->loss, n, loss);
    for (int k = 0; k < n; k++) loss[k] /= net->batch / n;
    m->rows += net->batch;
    if (net->task == HONE_REGRESS) return add_errors(t, net, data, order, m);
    m->accuracy += get_sum(t, net, net->hit);
    return HONE_OK;
}

/* The rows of a batch of the test set, for t->scores. */
static int add_scores(struct hone_trainer *t, const struct hone_net *net, const int64_t *order)
{
    const float *x = t->scores ? get_floats(t, net, net->output) : NULL;
    const struct hone_data *data = t->test;
    if (!t->scores) return HONE_OK;
    if (!x) return HONE_EDEVICE;
    for (int i = 0; i < net->batch; i++) {
        const float *row = x + (int64_t)i * t->scores->width;
        if (net->task == HONE_CLASSIFY)
            hone_scores_add_label(t->scores, row, data->label[order[i]]);
        else
            hone_scores_add_values(t->scores, row, data->y + order[i] * data->outputs);
    }
    return HONE_OK;
}

static void finish(struct hone_metrics *m, enum hone_task task)
{
    double n = (double)m->rows;
    m->loss /= n;
    m->accuracy = task == HONE_CLASSIFY ? m->accuracy / n : NAN;
    m->mse = task == HONE_REGRESS ? m->mse / n : NAN;
    m->mae = task == HONE_REGRESS ? m->mae / n : NAN;
}

/* ---- a loss that is no number ---- */

static int is_finite(struct hone_trainer *t, const struct hone_net *net, int tensor)
{
    const struct hone_tensor *of = &net->tensor[tensor];
    const char *v = get(t, net, tensor);
    const int64_t size = (int64_t)hone_dtype_bytes(of->dtype);
    if (of->dtype == HONE_I32 || of->dtype == HONE_U64) return 1;
    for (int64_t i = 0; v && i < hone_tensor_len(of); i++) {
        double number;
        hone_to_double(of->dtype, v + i * size, &number, 1);
        if (!isfinite(number)) return 0;
    }
    return 1;
}

/* Runs the batch forward again, step by step, to find where it goes wrong first. */
static void blame(struct hone_trainer *t, const struct hone_net *net, char text[HONE_TEXT])
{
    if (!is_finite(t, net, net->input)) {
        snprintf(text, HONE_TEXT, "the data hold a number that is not finite");
        return;
    }
    if (net->teacher >= 0 && !is_finite(t, net, net->teacher)) {
        snprintf(text, HONE_TEXT, "the teacher's logits hold a number that is not finite");
        return;
    }
    for (int i = 0; net->launch && i < net->ntensors; i++) {
        const struct hone_tensor *w = &net->tensor[i];
        if (w->role != HONE_ROLE_WEIGHT || w->layer < 0 || is_finite(t, net, i)) continue;
        snprintf(text, HONE_TEXT, "weights of layer '%s' (%s) are not finite",
                 net->layer[w->layer].name, net->layer[w->layer].kind);
        return;
    }
    for (int s = 0; !net->launch && s < net->first_backward; s++) {
        const struct hone_step *step = &net->step[s];
        const struct hone_layer *layer = &net->layer[step->layer];
        struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
        int n = step->problem.op->args(&step->problem, arg);
        for (int a = 0; a < n; a++) {
            if (arg[a].io != HONE_IN || net->tensor[step->arg[a]].role != HONE_ROLE_WEIGHT ||
                is_finite(t, net, step->arg[a]))
                continue;
            snprintf(text, HONE_TEXT, "weights of layer '%s' (%s) are not finite", layer->name,
                     layer->kind);
            return;
        }
        if (hone_net_run(net, s, s + 1)) break;
        for (int a = 0; a < n; a++) {
            if (arg[a].io == HONE_IN || is_finite(t, net, step->arg[a])) continue;
            snprintf(text, HONE_TEXT, "layer '%s' (%s) is the first whose output is not finite",
                     layer->name, layer->kind);
            return;
        }
    }
    snprintf(text, HONE_TEXT, "every layer's output is finite now");
}

/* ---- steps ---- */

static int add_norm(struct hone_trainer *t, const struct hone_net *net)
{
    const double norm = get_sum(t, net, net->norm);
    t->norm = ((t->nnorms ? t->norm * (double)t->nnorms : 0) + norm) / (double)(t->nnorms + 1);
    t->nnorms++;
    t->nclipped += norm > net->optim.clip;
    return HONE_OK;
}

/* What steps read beside their batch: the optimizer's numbers and dropout's seeds, one step's after
 * the other's. */
static int put_numbers(struct hone_trainer *t, const struct hone_net *net)
{
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
    int err = put_state(net, net->hyper, now, 8 * n * hone_dtype_bytes(type));
    return err || net->seed < 0 ? err : put_state(net, net->seed, seed, 2 * n * sizeof *seed);
}

static int check_loss(struct hone_trainer *t, struct hone_net *net, double loss, int whole)
{
    char why[HONE_TEXT];
    if (t->options.each_step) t->options.each_step(t->options.ctx, t->step, loss);
    if (isfinite(loss)) return HONE_OK;
    blame(t, net, why);
    return hone_fail(HONE_EDATA, "the loss is %s: %s%s", isnan(loss) ? "nan" : "infinite", why,
                     net->launch ? " after the update (HONE_LAUNCH=0: before)"
                     : whole     ? " after the update (HONE_GRAPH=0: before)"
                                 : "");
}

/* One step, or as many as the net does at once. */
static int train_step(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed,
                      struct hone_metrics *m)
{
    double loss[HONE_MAX_LAUNCH];
    const int64_t *order = t->order + t->position;
    int err = hone_trainer_put_batch(t, net, feed);
    if (!err && net->teacher >= 0) err = hone_teacher_answer(t, net, order);
    if (!err) err = put_numbers(t, net);
    const int scaled = hone_loss_scale_is_on(t), whole = !scaled && hone_net_has_graph(net);
    int skipped = 0;
    if (!err && whole) err = hone_net_run_whole(net, t->no_graph);
    else if (!err) err = hone_net_run(net, 0, net->first_backward);
    if (!err) err = add_batch(t, net, t->train, order, m, loss);
    for (int k = 0; !err && k < steps_of(net); k++) {
        err = check_loss(t, net, loss[k], whole);
        if (!err) t->step++;
    }
    if (err) return err;
    if (scaled) err = hone_loss_scale_run(t, net, &skipped);
    else if (!whole) err = hone_net_run(net, net->first_backward, net->nsteps);
    return err || skipped || net->norm < 0 ? err : add_norm(t, net);
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

int hone_trainer_epoch(struct hone_trainer *t, int epoch, struct hone_metrics *m)
{
    int64_t rows = t->train->rows, whole = rows / t->net.batch * t->net.batch;
    int64_t end = t->rest.nsteps ? rows : whole;
    struct hone_feed feed;
    char what[64];
    snprintf(what, sizeof what, "epoch %d", epoch);
    begin(t, epoch);
    int err = open_feed(t, &feed, t->position, end);
    double waited = t->wait_seconds;
    double started = hone_now(), before = t->epoch_seconds;
    while (!err && t->position < end) {
        struct hone_net *net = next_net(t, end - t->position);
        int64_t step = t->position / t->net.batch + 1;
        err = train_step(t, net, &feed, &t->sums);
        t->wait_seconds = waited + feed.wait;
        if (err) {
            err = hone_fail_at(err, "epoch %d, step %lld", epoch, (long long)step);
            break;
        }
        t->position += net->batch;
        if (hone_interrupted())
            err = hone_fail(HONE_EINTR, "interrupted in epoch %d after step %lld", epoch,
                            (long long)step);
        t->epoch_seconds = before + hone_now() - started;
        if (!err && t->options.between) err = t->options.between(t->options.between_ctx, t);
        /* The terminal is written to now and then: a step may take a few microseconds. */
        if (step % 64 == 0 && hone_now() - started > 1)
            hone_progress(what, (double)t->position, (double)end, started);
    }
    t->epoch_seconds = before + hone_now() - started;
    hone_progress_end();
    hone_net_read_at(&t->several, NULL, NULL);
    close_feed(&feed, &t->net, &t->rest);
    *m = t->sums;
    finish(m, t->net.task);
    return err;
}

int hone_trainer_evaluate(struct hone_trainer *t, struct hone_metrics *m)
{
    int64_t rows = t->test->rows, whole = t->eval.nsteps ? rows / t->eval.batch * t->eval.batch : 0;
    struct hone_feed_source s = {
        .data = t->test, .order = t->order, .end = rows, .batch = t->net.batch,
        .resident = t->resident[1]
    };
    struct hone_feed feed;
    double loss;
    memset(m, 0, sizeof *m);
    if (t->scores) hone_scores_reset(t->scores);
    for (int64_t i = 0; i < rows; i++) t->order[i] = i;
    int err = hone_feed_open(&feed, &s, t->options.feeding);
    for (int64_t at = 0; !err && at < rows;) {
        struct hone_net *net = at < whole ? &t->eval : &t->eval_rest;
        err = hone_trainer_put_batch(t, net, &feed);
        if (!err) err = hone_net_run(net, 0, net->nsteps);
        if (!err) err = add_batch(t, net, t->test, t->order + at, m, &loss);
        if (!err) err = add_scores(t, net, t->order + at);
        if (err) err = hone_fail_at(err, "evaluation");
        at += net->batch;
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted in evaluation");
    }
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
    how.db = t->options.db;
    how.device = d;
    int err = hone_net_open(net, t->options.net, &how);
    /* Its steps one by one are those of t->net. */
    if (!err && net == &t->several && !net->launch) {
        hone_net_close(net);
        return HONE_OK;
    }
    if (!err && net == &t->net) {
        err = hone_net_fits(net, t->train, 1);
        if (!err && t->test->rows) err = hone_net_fits(net, t->test, 1);
    }
    return err ? err : hone_net_assemble(net, t->options.db, d, net == &t->net ? NULL : &t->net);
}

/* Several steps at once, where the net can do that, and an epoch has them. */
static int open_several(struct hone_trainer *t, struct hone_device *d)
{
    const int wanted = hone_launch_wanted(), launch = wanted > 0 ? wanted : HONE_LAUNCH;
    if (launch == 1 || t->train->rows / t->net.batch < launch) return HONE_OK;
    t->options.how.launch = launch;
    int err = open_net(t, &t->several, t->net.batch / steps_of(&t->net), 1, d);
    t->options.how.launch = 0;
    return err;
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
    t->host = malloc((size_t)most);
    t->wide = malloc((size_t)most);
    return t->host && t->wide ? HONE_OK : hone_fail(HONE_ENOMEM, "%lld bytes", (long long)most);
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
    if (!err && !reads_host(&t->net)) err = allocate_host(t);
    if (!err) err = hone_teacher_open(t, d);
    if (!err) hone_loss_scale_open(t);
    if (!err) hone_trainer_reside(t);
    if (!err) err = hone_net_init(&t->net, o->seed);
    if (err) hone_trainer_close(t);
    return err;
}

void hone_trainer_close(struct hone_trainer *t)
{
    hone_trainer_leave(t);
    hone_teacher_close(&t->teacher);
    hone_net_close(&t->several);
    hone_net_close(&t->rest);
    hone_net_close(&t->eval);
    hone_net_close(&t->eval_rest);
    hone_net_close(&t->net);
    free(t->order);
    free(t->host);
    free(t->wide);
    memset(t, 0, sizeof *t);
}
