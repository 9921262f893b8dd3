/* Distillation (Hinton, Vinyals and Dean 2015): a teacher passes each batch forward as in
 * evaluation, and the student's loss reads its logits where they were written.  Or they are
 * computed once before training, and copied row by row. */
#include "nets/teacher.h"
#include "nets/arrivals.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- do they go together? ---- */

/* Was the feature scaled by the same numbers?  Text and back they keep their bits, but sums may be
 * added up in another order: what a float cannot tell apart is alike. */
static int alike(const struct hone_range *a, const struct hone_range *b)
{
    double slack = 1e-6 * fmax(fabs(b->std), fabs(b->mean));
    return fabs(a->mean - b->mean) <= slack && fabs(a->std - b->std) <= slack;
}

/* about: what the teacher's weights say of the data that it was trained on. */
static int check_ranges(const struct hone_data *about, const struct hone_data *d)
{
    if (!about->range != !d->range)
        return hone_fail(HONE_EDATA, "its features were %snormalised, and those of '%s' are%s: %s",
                         about->range ? "" : "not ", d->name, d->range ? "" : " not",
                         d->range ? "use --no-normalise" : "leave out --no-normalise");
    if (about->range && about->c != d->c)
        return hone_fail(HONE_EDATA, "it was trained on %d features or channels, and '%s' has %d",
                         about->c, d->name, d->c);
    for (int c = 0; about->range && c < d->c; c++)
        if (!alike(&about->range[c], &d->range[c]))
            return hone_fail(HONE_EDATA,
                             "feature or channel %d was normalised by mean %.7g, deviation %.7g, "
                             "and that of '%s' by %.7g, %.7g: teacher and student need the same "
                             "training rows",
                             c + 1, about->range[c].mean, about->range[c].std, d->name,
                             d->range[c].mean, d->range[c].std);
    return HONE_OK;
}

static int check_classes(const struct hone_data *about, const struct hone_data *d)
{
    if (!about->class_name || !d->class_name) return HONE_OK;
    for (int k = 0; k < about->classes && k < d->classes; k++)
        if (strcmp(about->class_name[k], d->class_name[k]))
            return hone_fail(HONE_EDATA, "its class %d is '%s', and that of '%s' is '%s'", k,
                             about->class_name[k], d->name, d->class_name[k]);
    return HONE_OK;
}

/* Nets and rows, before the weights are read. */
static int check_nets(const struct hone_trainer *t)
{
    const struct hone_net *student = &t->net, *net = &t->teacher.net;
    if (net->task != HONE_CLASSIFY)
        return hone_fail(HONE_EDATA, "net '%s' computes numbers, and a teacher classifies",
                         net->name);
    int64_t knows = net->tensor[net->output].dim[1],
            learns = student->tensor[student->output].dim[1];
    if (knows != learns)
        return hone_fail(HONE_EDATA, "net '%s' knows %lld classes, and the student '%s' %lld",
                         net->name, (long long)knows, student->name, (long long)learns);
    return hone_net_fits(net, t->train, 1);
}

static int read_weights(struct hone_trainer *t)
{
    struct hone_data about;
    const char *path = t->options.teacher.weights;
    int err = hone_weights_load(&t->teacher.net, path);
    if (err) return err;
    err = hone_weights_data(path, &about);
    if (!err) {
        err = check_ranges(&about, t->train);
        if (!err) err = check_classes(&about, t->train);
        if (err) err = hone_fail_at(err, "%s", path);
    }
    hone_data_close(&about);
    return err;
}

/* ---- open and close ---- */

static int open_net(struct hone_trainer *t, struct hone_net *net, int batch, struct hone_device *d)
{
    struct hone_lowering how = t->options.how;
    how.batch = batch;
    how.train = 0;
    how.memory = 0;
    how.db = t->options.db;
    how.device = d;
    /* What was said of the student's text and loss is not said of the teacher's. */
    how.loss = how.activation = NULL;
    how.label_smoothing = how.huber_delta = how.teacher_temperature = 0;
    int err = hone_net_open(net, t->options.teacher.net, &how);
    if (!err && net == &t->teacher.net) err = check_nets(t);
    return err ? err
               : hone_net_assemble(net, t->options.db, d,
                                   net == &t->teacher.net ? NULL : &t->teacher.net);
}

static int hash_weights(struct hone_teacher *teacher)
{
    const struct hone_net *net = &teacher->net;
    size_t n = (size_t)net->weights_bytes / sizeof(uint64_t);
    uint64_t *word = malloc(n * sizeof *word + 1), sum = 0;
    int err = word ? HONE_OK : hone_fail(HONE_ENOMEM, "%zu bytes", n * sizeof *word);
    if (!err) err = net->device->backend->get(net->device, word, net->weights, n * sizeof *word);
    for (size_t i = 0; !err && i < n; i++) sum = hone_random(sum, word[i]);
    teacher->hash = sum;
    free(word);
    return err;
}

/* Forward without the loss: steps [0, this). */
static int before_loss(const struct hone_net *net)
{
    int s = 0;
    while (s < net->nsteps && net->step[s].phase != HONE_LOSS) s++;
    return s;
}

static int run(const struct hone_net *net)
{
    int err = hone_net_run(net, 0, before_loss(net));
    return err ? err : net->device->backend->sync(net->device);
}

/* The same where the host is ahead of the device: what it takes there is measured in one step of so
 * many, and counts for those that follow; but the first one of all loads code, too. */
enum { MEASURED = 64 };

static int run_ahead(struct hone_trainer *t, const struct hone_net *net)
{
    struct hone_teacher *teacher = &t->teacher;
    const int64_t n = teacher->nsteps++;
    if (n && n % MEASURED != 1) return hone_net_run(net, 0, before_loss(net));
    int err = net->device->backend->sync(net->device);
    double started = hone_now();
    if (!err) err = run(net);
    teacher->step_seconds = hone_now() - started;
    return err;
}

/* The logits of all training rows, in their own order. */
static int fill_cache(struct hone_trainer *t)
{
    struct hone_teacher *teacher = &t->teacher;
    int64_t rows = t->train->rows, batch = teacher->net.batch;
    struct hone_feed_source s = {
        .data = t->train, .order = t->order, .end = rows, .batch = (int)batch
    };
    struct hone_feed feed;
    double started = hone_now();
    for (int64_t i = 0; i < rows; i++) t->order[i] = i;
    int err = hone_feed_open(&feed, &s, t->options.feeding);
    if (err) return err;
    for (int64_t at = 0; !err && at < rows; at += batch) {
        struct hone_net *net = rows - at < batch ? &teacher->rest : &teacher->net;
        err = hone_trainer_put_batch(t, net, &feed);
        if (!err) err = run(net);
        if (!err)
            err = net->device->backend->get(
                net->device, teacher->logits + (size_t)at * teacher->row_bytes,
                hone_net_mem(net, net->output), (size_t)net->batch * teacher->row_bytes);
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
        if (hone_now() - started > 1)
            hone_progress("teacher", (double)(at + net->batch), (double)rows, started);
    }
    hone_progress_end();
    hone_net_read_at(&teacher->net, NULL, NULL);
    hone_net_read_at(&teacher->rest, NULL, NULL);
    hone_feed_close(&feed);
    teacher->cache_seconds = hone_now() - started;
    return err;
}

static int open_cache(struct hone_trainer *t)
{
    struct hone_teacher *teacher = &t->teacher;
    teacher->logits = malloc((size_t)t->train->rows * teacher->row_bytes);
    teacher->batch = malloc((size_t)t->net.batch * teacher->row_bytes);
    if (!teacher->logits || !teacher->batch)
        return hone_fail(HONE_ENOMEM, "logits of %lld rows", (long long)t->train->rows);
    return fill_cache(t);
}

static int open_teacher(struct hone_trainer *t, struct hone_device *d)
{
    struct hone_teacher *teacher = &t->teacher;
    const struct hone_teacher_choice *c = &t->options.teacher;
    int rest = (int)(t->train->rows % t->net.batch);
    if (!c->weights) return hone_fail(HONE_EINVAL, "its weights are not named");
    if (c->cache && (t->options.augment.crop || t->options.augment.flip))
        return hone_fail(HONE_EINVAL, "pictures that change each time cannot have its logits kept");
    int err = open_net(t, &teacher->net, t->net.batch, d);
    if (!err) err = read_weights(t);
    if (!err && rest && (t->rest.nsteps || c->cache)) err = open_net(t, &teacher->rest, rest, d);
    if (!err) err = hash_weights(teacher);
    if (err) return err;
    const struct hone_net *net = &teacher->net;
    teacher->row_bytes = (size_t)(hone_tensor_bytes(&net->tensor[net->output]) / net->batch);
    if (c->cache) return open_cache(t);
    hone_net_learn_from(&t->net, hone_net_mem(net, net->output));
    if (t->rest.nsteps)
        hone_net_learn_from(&t->rest, hone_net_mem(&teacher->rest, teacher->rest.output));
    return HONE_OK;
}

int hone_teacher_open(struct hone_trainer *t, struct hone_device *d)
{
    int err = t->options.teacher.net ? open_teacher(t, d) : HONE_OK;
    return err ? hone_fail_at(err, "teacher '%s'", t->options.teacher.net) : HONE_OK;
}

void hone_teacher_close(struct hone_teacher *teacher)
{
    hone_net_close(&teacher->rest);
    hone_net_close(&teacher->net);
    free(teacher->logits);
    free(teacher->batch);
    memset(teacher, 0, sizeof *teacher);
}

/* ---- while the student trains ---- */

static int recall(struct hone_teacher *teacher, struct hone_net *net, const int64_t *order)
{
    size_t bytes = teacher->row_bytes;
    for (int i = 0; i < net->batch; i++)
        memcpy(teacher->batch + (size_t)i * bytes, teacher->logits + (size_t)order[i] * bytes,
               bytes);
    return net->device->backend->put(net->device, hone_net_mem(net, net->teacher), teacher->batch,
                                     (size_t)net->batch * bytes);
}

int hone_teacher_answer(struct hone_trainer *t, struct hone_net *net, const int64_t *order)
{
    struct hone_teacher *teacher = &t->teacher;
    struct hone_net *asked = net == &t->net ? &teacher->net : &teacher->rest;
    const int ahead = !teacher->logits && !hone_arrivals_at_once(t);
    double started = hone_now();
    int err;
    if (teacher->logits) {
        err = recall(teacher, net, order);
    } else {
        hone_net_read_at(asked, hone_net_mem(net, net->input), hone_net_mem(net, net->target));
        err = ahead ? run_ahead(t, asked) : run(asked);
    }
    teacher->seconds += ahead ? teacher->step_seconds : hone_now() - started;
    return err;
}
