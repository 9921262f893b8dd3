/* Checkpoints: a net's tensors with the optimizer's, and as texts the numbers of the training loop,
 * the options that a continuation must have alike, and the command's own state. */
#include "nets/loss_scale.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A sum over all plans: equal plans give equal bits. */
static uint64_t plans_of(const struct hone_trainer *t)
{
    const struct hone_net *const nets[] = { &t->net, &t->rest, &t->teacher.net, &t->teacher.rest };
    uint64_t sum = 0;
    for (int n = 0; n < 4; n++)
        for (int i = 0; i < nets[n]->nsteps; i++) {
            char text[2 * HONE_TEXT] = "", version[HONE_TEXT];
            const struct hone_plan *plan = &nets[n]->step[i].plan;
            snprintf(text, sizeof text, "%s ", plan->kernel->name);
            size_t len = strlen(text);
            hone_config_print(plan->kernel, &plan->config, text + len);
            hone_kernel_version(plan->kernel, version);
            for (const char *c = text; *c; c++) sum = hone_random(sum, (unsigned char)*c);
            for (const char *c = version; *c; c++) sum = hone_random(sum, (unsigned char)*c);
        }
    return sum;
}

/* The numbers of the training loop as pointers: wholes, then reals. */
enum { NWHOLES = 5, NREALS = 6 };

static const char *const number[NWHOLES + NREALS] = { "step",  "epoch",  "position", "rows",
                                                      "plans", "loss",   "accuracy", "mse",
                                                      "mae",   "seconds", "teacher_seconds" };

struct numbers {
    int64_t whole[NWHOLES];
    double real[NREALS];
};

static struct numbers numbers_of(const struct hone_trainer *t)
{
    const struct hone_metrics *m = &t->sums;
    return (struct numbers){
        { t->step, t->epoch, t->position, m->rows, (int64_t)plans_of(t) },
        { m->loss, m->accuracy, m->mse, m->mae, t->epoch_seconds,
          t->teacher.seconds },
    };
}

/* Doubles are written in hexadecimal, since every bit counts. */
static void write_numbers(const struct numbers *n, json_t *metadata)
{
    char text[64];
    for (int i = 0; i < NWHOLES + NREALS; i++) {
        if (i < NWHOLES)
            snprintf(text, sizeof text, "%" PRId64, n->whole[i]);
        else
            snprintf(text, sizeof text, "%a", n->real[i - NWHOLES]);
        json_object_set_new(metadata, number[i], json_string(text));
    }
}

static int read_numbers(const struct hone_safetensors *file, struct numbers *n)
{
    for (int i = 0; i < NWHOLES + NREALS; i++) {
        const char *text = hone_safetensors_text(file, number[i]);
        char *end = NULL;
        if (text && i < NWHOLES) n->whole[i] = strtoll(text, &end, 10);
        if (text && i >= NWHOLES) n->real[i - NWHOLES] = strtod(text, &end);
        if (!end || end == text || *end)
            return hone_fail(HONE_EDATA, "its metadata say of '%s' '%.60s', which is no number",
                             number[i], text ? text : "");
    }
    return HONE_OK;
}

/* A position that no run reaches would read beyond the order of rows. */
static int check_position(const struct hone_trainer *t, const struct numbers *n)
{
    int64_t batch = t->net.batch, rows = t->train->rows, position = n->whole[2];
    if (n->whole[0] >= 0 && n->whole[1] >= 1 && n->whole[1] <= INT32_MAX && position >= 0 &&
        position <= rows && (position % batch == 0 || position == rows) && n->whole[3] == position)
        return HONE_OK;
    return hone_fail(HONE_EDATA,
                     "step %" PRId64 ", epoch %" PRId64 ", row %" PRId64
                     ": no run with batch %" PRId64 " of %" PRId64 " rows gets there",
                     n->whole[0], n->whole[1], position, batch, rows);
}

static void restore(struct hone_trainer *t, const struct numbers *n)
{
    t->step = n->whole[0];
    t->epoch = (int)n->whole[1];
    t->position = n->whole[2];
    t->sums = (struct hone_metrics){ n->whole[3], n->real[0], n->real[1], n->real[2], n->real[3] };
    t->epoch_seconds = n->real[4];
    t->teacher.seconds = n->real[5];
    t->restored = 1;
}

/* ---- groups of texts: "options.batch": "64" ---- */

static void write_group(const char *group, json_t *texts, json_t *metadata)
{
    const char *key;
    json_t *value;
    char name[HONE_TEXT];
    json_object_foreach(texts, key, value)
    {
        snprintf(name, sizeof name, "%s.%s", group, key);
        json_object_set(metadata, name, value);
    }
}

static json_t *read_group(const struct hone_safetensors *file, const char *group)
{
    const char *key;
    json_t *value, *texts = json_object();
    size_t len = strlen(group);
    json_object_foreach(file->metadata, key,
                        value) if (!strncmp(key, group, len) && key[len] == '.')
        json_object_set(texts, key + len + 1, value);
    return texts;
}

static int differ(const char *key, const char *then, const char *now)
{
    return hone_fail(HONE_EDATA, "was written with %s %s, and this run has %s", key,
                     then ? then : "unset", now ? now : "unset");
}

static int check_options(const struct hone_safetensors *file, json_t *options)
{
    const char *key;
    json_t *value, *then = read_group(file, "options");
    int err = HONE_OK;
    json_object_foreach(options, key, value)
    {
        const char *old = json_string_value(json_object_get(then, key)),
                   *new = json_string_value(value);
        if (!err && (!old || strcmp(old, new))) err = differ(key, old, new);
    }
    json_object_foreach(then, key, value) if (!err && !json_object_get(options, key)) err =
        differ(key, json_string_value(value), NULL);
    json_decref(then);
    return err;
}

/* ---- the file ---- */

int hone_checkpoint_save(const struct hone_trainer *t, const char *path, json_t *options,
                         json_t *state)
{
    json_t *metadata = json_pack("{s:s}", "format", HONE_CHECKPOINT);
    struct numbers n = numbers_of(t);
    if (!metadata) return hone_fail(HONE_ENOMEM, "%s: its metadata", path);
    write_numbers(&n, metadata);
    hone_loss_scale_write(t, metadata);
    write_group("options", options, metadata);
    write_group("state", state, metadata);
    int err = hone_tensors_save(&t->net, t->train, path, 1, metadata);
    json_decref(metadata);
    return err;
}

static int check_format(const struct hone_safetensors *file)
{
    const char *format = hone_safetensors_text(file, "format");
    return format && !strcmp(format, HONE_CHECKPOINT)
               ? HONE_OK
               : hone_fail(HONE_EDATA,
                           "is no checkpoint of Hone: its metadata say 'format': '%.60s'",
                           format ? format : "");
}

int hone_checkpoint_load(struct hone_trainer *t, const char *path, json_t *options, json_t **state,
                         int *same_plans)
{
    struct hone_safetensors file;
    struct numbers n = { 0 };
    *state = NULL;
    int err = hone_safetensors_open(&file, path);
    if (err) return err;
    err = check_format(&file);
    if (!err) err = read_numbers(&file, &n);
    /* Of another net the first tensor says more than the first option; of another optimizer the
     * option does. */
    if (!err) err = hone_tensors_read(&t->net, &file, 0, 0);
    if (!err) err = check_options(&file, options);
    if (!err) err = check_position(t, &n);
    if (!err) err = hone_loss_scale_read(t, &file);
    if (!err) err = hone_tensors_read(&t->net, &file, 1, 1);
    if (!err) {
        restore(t, &n);
        *same_plans = (uint64_t)n.whole[4] == plans_of(t);
        *state = read_group(&file, "state");
    }
    hone_safetensors_close(&file);
    return err ? hone_fail_at(err, "%s", path) : HONE_OK;
}

int hone_checkpoint_peek(const char *path, json_t **state)
{
    struct hone_safetensors file;
    *state = NULL;
    int err = hone_safetensors_open(&file, path);
    if (err) return err;
    err = check_format(&file);
    if (!err) *state = read_group(&file, "state");
    hone_safetensors_close(&file);
    return err ? hone_fail_at(err, "%s", path) : HONE_OK;
}
