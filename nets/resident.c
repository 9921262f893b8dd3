/* A data set on the device, whence each step gathers its batch: bytes of pictures as they are,
 * which are looked up and augmented there.  The bits are those of data_gather.c.  An epoch puts the
 * order of its rows once; a step's batch is a launch, and nothing of it passes the host. */
#include "nets/resident.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t numbers(const struct hone_data *d) { return d->rows * d->h * d->w * d->c; }
static int64_t x_bytes(const struct hone_data *d)
{
    return numbers(d) * (d->bytes ? 1 : (int64_t)sizeof *d->x);
}
static int64_t target_bytes(const struct hone_data *d)
{
    return d->rows * (d->label ? (int64_t)sizeof *d->label
                               : d->outputs * (int64_t)sizeof *d->y);
}

/* ---- open and close ---- */

/* Room for the bytes, with these in it where there are any. */
static int place(struct hone_resident *r, void **mem, const void *from, int64_t bytes)
{
    struct hone_device *d = r->device;
    /* The op reads bytes as words. */
    int err = d->backend->alloc(d, (size_t)(bytes + 3) / 4 * 4, mem);
    return err || !from ? err : d->backend->put(d, *mem, from, (size_t)bytes);
}

/* What bytes stand for, or what black is. */
static int place_table(struct hone_resident *r)
{
    const struct hone_data *d = r->data;
    const int64_t n = d->bytes ? 256 * d->c : d->c;
    const float *from = d->bytes ? d->value : d->black;
    float *zeros = from ? NULL : calloc((size_t)n, sizeof *zeros);
    int err = from || zeros ? place(r, &r->table, from ? from : zeros, n * (int64_t)sizeof *from)
                            : hone_fail(HONE_ENOMEM, "%lld numbers", (long long)n);
    free(zeros);
    return err;
}

int hone_resident_open(struct hone_resident *r, const struct hone_data *d,
                       const struct hone_augment *a, struct hone_device *device)
{
    *r = (struct hone_resident){ .data = d, .device = device, .augment = *a };
    const void *x = d->bytes ? (const void *)d->bytes : d->x,
               *target = d->label ? (const void *)d->label : d->y;
    int err = place(r, &r->x, x, x_bytes(d));
    if (!err) err = place(r, &r->target, target, target_bytes(d));
    if (!err) err = place_table(r);
    if (!err) err = place(r, &r->order, NULL, d->rows * (int64_t)sizeof(int32_t));
    if (!err) err = place(r, &r->key, NULL, sizeof(uint64_t));
    if (err) hone_resident_close(r);
    return err;
}

void hone_resident_close(struct hone_resident *r)
{
    void *const all[] = { r->x, r->target, r->table, r->order, r->key };
    for (int i = 0; i < r->nplans; i++) hone_plan_close(&r->of[i].plan);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]) r->device->backend->free(r->device, all[i]);
    *r = (struct hone_resident){ 0 };
}

/* ---- batches ---- */

/* "gather:f32:nhwc:m128r60000h28w28c1o1:crop4+flip+bytes+labels" */
static void print_problem(const struct hone_resident *r, int batch, char text[HONE_TEXT])
{
    const struct hone_data *d = r->data;
    char crop[24] = "", attrs[64];
    if (r->augment.crop) snprintf(crop, sizeof crop, "+crop%d", r->augment.crop);
    snprintf(attrs, sizeof attrs, "%s%s%s%s", crop, r->augment.flip ? "+flip" : "",
             d->bytes ? "+bytes" : "", d->label ? "+labels" : "");
    snprintf(text, HONE_TEXT, "gather:f32:nhwc:m%dr%lldh%dw%dc%do%d%s%s", batch,
             (long long)d->rows, d->h, d->w, d->c, d->label ? 1 : d->outputs, *attrs ? ":" : "",
             *attrs ? attrs + 1 : "");
}

int hone_resident_batch(struct hone_resident *r, struct hone_db *db, int batch)
{
    struct hone_problem p;
    char text[HONE_TEXT];
    print_problem(r, batch, text);
    int err = r->nplans < HONE_RESIDENT_BATCHES
                  ? hone_problem_parse(text, &p)
                  : hone_fail(HONE_EINVAL, "more than %d sizes of batches", HONE_RESIDENT_BATCHES);
    if (!err) err = hone_plan_best(&r->of[r->nplans].plan, db, &p, r->device, NULL, NULL);
    if (err) return hone_fail_at(err, "%s", text);
    r->of[r->nplans++].batch = batch;
    return HONE_OK;
}

int hone_resident_epoch(struct hone_resident *r, const int64_t *order, uint64_t key)
{
    struct hone_device *d = r->device;
    const size_t n = (size_t)r->data->rows;
    int32_t *rows = malloc(n * sizeof *rows);
    if (!rows) return hone_fail(HONE_ENOMEM, "the order of %zu rows", n);
    for (size_t i = 0; i < n; i++) rows[i] = (int32_t)order[i];
    int err = d->backend->put(d, r->order, rows, n * sizeof *rows);
    if (!err) err = d->backend->put(d, r->key, &key, sizeof key);
    free(rows);
    return err;
}

int hone_resident_gather(struct hone_resident *r, int64_t at, int batch, void *x, void *target)
{
    int32_t *order = (int32_t *)r->order + at;
    int i = 0;
    while (i < r->nplans && r->of[i].batch != batch) i++;
    if (i == r->nplans) return hone_fail(HONE_EINVAL, "no plan for batches of %d rows", batch);
    return hone_plan_run(&r->of[i].plan,
                         (void *[]){ x, target, r->x, r->target, order, r->table, r->key }, NULL);
}

/* ---- of a trainer ---- */

/* Data and order; nets, libraries and activations get the rest of the memory. */
static int64_t bytes_of(const struct hone_data *d)
{
    return x_bytes(d) + target_bytes(d) + d->rows * (int64_t)sizeof(int32_t);
}

static const double SHARE = 0.5;

static int reside(struct hone_trainer *t, int set, const struct hone_net *const net[])
{
    static const struct hone_augment as_they_are;
    const struct hone_data *d = set ? t->test : t->train;
    struct hone_resident *r = d->rows ? calloc(1, sizeof *r) : NULL;
    if (!d->rows) return HONE_OK;
    if (!r) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *r);
    t->resident[set] = r;
    int err = hone_resident_open(r, d, set ? &as_they_are : &t->options.augment, t->net.device);
    for (int i = 0; !err && net[i]; i++)
        if (net[i]->nsteps) err = hone_resident_batch(r, t->options.db, net[i]->batch);
    return err;
}

void hone_trainer_reside(struct hone_trainer *t)
{
    const struct hone_net *const train[] = { &t->net, &t->rest, &t->several, NULL },
                          *const test[] = { &t->eval, &t->eval_rest, NULL };
    const struct hone_device *d = t->net.device;
    const double bytes = (double)(bytes_of(t->train) + bytes_of(t->test));
    if (!strcmp(d->backend->name, "cpu") || t->options.feeding != HONE_FEED_AUTO ||
        t->net.tensor[t->net.input].dtype != HONE_F32 || t->train->rows > INT32_MAX ||
        t->test->rows > INT32_MAX)
        return;
    if (bytes > SHARE * (double)d->memory_bytes) {
        snprintf(t->no_resident, sizeof t->no_resident, "%.0f MB are more than half of its %.0f MB",
                 bytes / 1e6, (double)d->memory_bytes / 1e6);
        return;
    }
    if (!reside(t, 0, train) && !reside(t, 1, test)) return;
    snprintf(t->no_resident, sizeof t->no_resident, "%s", hone_errmsg());
    hone_trainer_leave(t);
}

void hone_trainer_leave(struct hone_trainer *t)
{
    for (int set = 0; set < 2; set++) {
        if (t->resident[set]) hone_resident_close(t->resident[set]);
        free(t->resident[set]);
        t->resident[set] = NULL;
    }
}
