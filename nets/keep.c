/* Checkpoints as training goes on, the best epoch, and when to stop. */
#include "nets/keep.h"

#include "nets/checkpoint.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ---- */

static void set_text(json_t *to, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void set_text(json_t *to, const char *key, const char *fmt, ...)
{
    char text[640];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_object_set_new(to, key, json_string(text));
}

static uint64_t hash_of_text(uint64_t hash, const char *text)
{
    for (const char *c = text ? text : ""; *c; c++) hash = hone_random(hash, (unsigned char)*c);
    return hone_random(hash, 0);
}

/* Of what the net computes, in its order: a dropout's share, a stride or a layer's inputs change no
 * tensor's shape, by which another net would be told.  Not of its steps, which are others on
 * another machine or database. */
static uint64_t hash_of_layers(const struct hone_net *net)
{
    uint64_t hash = 0;
    for (int i = 0; i < net->nlayers; i++) {
        const struct hone_layer *l = &net->layer[i];
        char value[40];
        hash = hash_of_text(hash_of_text(hash_of_text(hash, l->kind), l->name), l->act);
        for (int k = 0; k < l->ninputs; k++) hash = hone_random(hash, (uint64_t)l->input[k]);
        for (int k = 0; k < l->nkeys; k++) {
            snprintf(value, sizeof value, "%.17g", l->key[k].value);
            hash = hash_of_text(hash_of_text(hash, l->key[k].name), value);
        }
        hash = hone_random(hone_random(hone_random(hash, (uint64_t)l->h), (uint64_t)l->w),
                           (uint64_t)l->c);
    }
    return hash;
}

/* Every option that changes what training computes stands here; the net comes last, since it is
 * another one with another batch, loss or optimizer. */
json_t *hone_train_signature(const struct hone_train_command *c, const struct hone_trainer *t)
{
    const struct hone_optim *o = &t->net.optim;
    char schedule[HONE_TEXT];
    json_t *s = json_object();
    set_text(s, "--data", "%s", c->data.data);
    set_text(s, "--target", "%s", c->data.target ? c->data.target : "");
    set_text(s, "training rows", "%lld", (long long)t->train->rows);
    set_text(s, "--split", "%.17g", c->data.split);
    set_text(s, "--folds", "%d", c->keep.folds);
    set_text(s, "--repeat", "%d", c->keep.repeat);
    set_text(s, "--no-normalise", "%d", c->data.raw);
    set_text(s, "--last", "%s", c->data.drop_last ? "drop" : "short");
    set_text(s, "--batch", "%d", t->net.batch);
    set_text(s, "--seed", "%llu", (unsigned long long)c->train.seed);
    set_text(s, "--dtype", "%s", hone_net_dtype_name(&t->net));
    if (t->net.dtype == HONE_F16) set_text(s, "--loss-scale", "%.17g", c->train.loss_scale);
    set_text(s, "--loss", "%s", c->train.how.loss ? c->train.how.loss : "of the net");
    set_text(s, "--delta", "%.17g", c->train.how.huber_delta);
    set_text(s, "--label-smoothing", "%.17g", c->train.how.label_smoothing);
    set_text(s, "--optimizer", "%s", hone_optimizer_name(o->kind));
    set_text(s, "--lr", "%.17g", o->lr);
    set_text(s, "--decay", "%.17g", o->decay);
    set_text(s, "--momentum", "%.17g", o->momentum);
    set_text(s, "--nesterov", "%d", o->nesterov);
    set_text(s, "--weight-decay", "%.17g", o->weight_decay);
    set_text(s, "--beta1", "%.17g", o->beta1);
    set_text(s, "--beta2", "%.17g", o->beta2);
    set_text(s, "--epsilon", "%.17g", o->epsilon);
    set_text(s, "--augment", "crop:%d,flip:%d", c->data.augment.crop, c->data.augment.flip);
    set_text(s, "--rho", "%.17g", o->rho);
    set_text(s, "--clip", "%.17g", o->clip);
    hone_schedule_print(&o->schedule, schedule);
    set_text(s, "--schedule", "%s", schedule);
    set_text(s, "--warmup", "%.17g", o->schedule.warmup);
    set_text(s, "--activation", "%s",
             c->train.how.activation ? c->train.how.activation : "of the net");
    set_text(s, "--teacher", "%s", c->teacher.net ? t->teacher.net.name : "none");
    if (c->teacher.net) {
        set_text(s, "--teacher-weights", "hash %016llx", (unsigned long long)t->teacher.hash);
        set_text(s, "--temperature", "%.17g", c->teacher.temperature);
        set_text(s, "--mix", "%.17g", c->teacher.mix);
        set_text(s, "--teacher-cache", "%d", c->teacher.cache);
    }
    /* The cosine's end is the number of epochs; other schedules may be trained for longer. */
    if (o->schedule.kind == HONE_COSINE)
        set_text(s, "--epochs", "%lld", (long long)o->schedule.epochs);
    set_text(s, "a net of layers", "%016llx", (unsigned long long)hash_of_layers(&t->net));
    return s;
}

static void set_json(json_t *to, const char *key, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (text) json_object_set_new(to, key, json_string(text));
    free(text);
}

static const char *text_of(const json_t *from, const char *key, const char *dflt)
{
    const char *text = json_string_value(json_object_get(from, key));
    return text ? text : dflt;
}

/* Puts the list that a text holds in place of what is in `to`. */
static void get_json(const json_t *from, const char *key, json_t *to)
{
    json_t *list = json_loads(text_of(from, key, "[]"), 0, NULL);
    if (!to || !json_is_array(list)) {
        json_decref(list);
        return;
    }
    json_array_clear(to);
    json_array_extend(to, list);
    json_decref(list);
}

/* ---- open, resume, begin ---- */

void hone_keep_open(struct hone_keep *k, const struct hone_keep_choice *choice,
                    const struct hone_report *report, json_t *options, json_t *state)
{
    *k = (struct hone_keep){ .choice = choice,
                             .report = report,
                             .options = options,
                             .state = json_incref(state),
                             .best = NAN };
}

void hone_keep_close(struct hone_keep *k)
{
    json_decref(k->options);
    json_decref(k->state);
    memset(k, 0, sizeof *k);
}

int hone_keep_resume(struct hone_keep *k, struct hone_trainer *t, const char *path)
{
    json_t *state = NULL;
    int same = 1, err = hone_checkpoint_load(t, path, k->options, &state, &same);
    if (err) return err;
    json_object_update(k->state, state);
    get_json(state, "epochs", k->report->epochs);
    get_json(state, "losses", k->report->losses);
    k->best = strtod(text_of(state, "best", "nan"), NULL);
    k->best_epoch = atoi(text_of(state, "best_epoch", "0"));
    k->stale = atoi(text_of(state, "stale", "0"));
    json_decref(state);
    fprintf(stderr, "%s: goes on in epoch %d after step %lld\n", path, t->epoch,
            (long long)t->step);
    if (!same)
        fprintf(stderr,
                "warning: %s was written with other kernels (a tuned database, another program or "
                "machine): the continuation will not be the same to the last bit\n",
                path);
    return HONE_OK;
}

/* Can a file be put there?  What stands there is left alone. */
static int probe(const char *path)
{
    struct hone_replacement r;
    int err = path ? hone_replacement_open(&r, path) : HONE_OK;
    if (path) hone_replacement_close(&r, 0);
    return err;
}

int hone_keep_begin(struct hone_keep *k, const struct hone_trainer *t)
{
    int err = probe(k->choice->save);
    if (!err) err = probe(k->choice->best);
    if (err || !k->choice->checkpoint) return err;
    hone_keep_write(k, t);
    return k->trouble[0] ? hone_fail(HONE_EIO, "%s", k->trouble) : HONE_OK;
}

/* ---- as training goes on ---- */

static int write_checkpoint(struct hone_keep *k, const struct hone_trainer *t)
{
    set_text(k->state, "best", "%a", k->best);
    set_text(k->state, "best_epoch", "%d", k->best_epoch);
    set_text(k->state, "stale", "%d", k->stale);
    set_json(k->state, "epochs", k->report->epochs);
    set_json(k->state, "losses", k->report->losses);
    k->written = hone_now();
    k->written_step = t->step;
    return hone_checkpoint_save(t, k->choice->checkpoint, k->options, k->state);
}

void hone_keep_write(struct hone_keep *k, const struct hone_trainer *t)
{
    k->trouble[0] = 0;
    if (k->choice->checkpoint && write_checkpoint(k, t))
        snprintf(k->trouble, sizeof k->trouble, "%s", hone_errmsg());
}

/* A disk that is full for a while costs no training. */
static void write_or_warn(struct hone_keep *k, const struct hone_trainer *t)
{
    hone_keep_write(k, t);
    if (k->trouble[0]) {
        hone_progress_end();
        fprintf(stderr, "warning: no checkpoint after step %lld: %s\n", (long long)t->step,
                k->trouble);
    }
}

int hone_keep_between(void *ctx, struct hone_trainer *t)
{
    struct hone_keep *k = ctx;
    const struct hone_keep_choice *c = k->choice;
    if (!(c->every_steps && t->step - k->written_step >= c->every_steps) &&
        !(c->every_seconds > 0 && hone_now() - k->written >= c->every_seconds))
        return HONE_OK;
    int err = hone_trainer_catch_up(t);
    if (!err) write_or_warn(k, t);
    return err;
}

int hone_keep_is_stale(const struct hone_keep *k)
{
    return k->choice->patience && k->stale >= k->choice->patience;
}

int hone_keep_epoch(struct hone_keep *k, struct hone_trainer *t, const struct hone_metrics *test,
                    int *stop)
{
    int classify = t->net.task == HONE_CLASSIFY, err = HONE_OK;
    double now = classify ? test->accuracy : test->loss;
    int better = !isnan(now) && (isnan(k->best) || (classify ? now > k->best : now < k->best));
    k->stale = better ? 0 : k->stale + 1;
    if (better) {
        k->best = now;
        k->best_epoch = t->epoch;
        if (k->choice->best) err = hone_weights_save(&t->net, t->train, k->choice->best);
    }
    /* The next epoch, from its first row on. */
    memset(&t->sums, 0, sizeof t->sums);
    t->position = 0;
    t->epoch_seconds = 0;
    t->epoch++;
    if (!err) write_or_warn(k, t);
    *stop = hone_keep_is_stale(k);
    return err;
}

int hone_keep_end(struct hone_keep *k, const struct hone_trainer *t)
{
    int err = k->choice->save ? hone_weights_save(&t->net, t->train, k->choice->save) : HONE_OK;
    if (!err && k->trouble[0])
        err = hone_fail(HONE_EIO, "the last checkpoint is not written: %s", k->trouble);
    return err;
}
