/* Rows through a trained net: no gradients, no optimizer. */
#include "nets/nets.h"

#include <stdlib.h>
#include <string.h>

/* ---- do net and data go together? ---- */

static int fits_targets(const struct hone_net *net, const struct hone_data *d)
{
    int64_t outputs = net->tensor[net->output].dim[1];
    if (net->task == HONE_CLASSIFY && !d->classes)
        return hone_fail(HONE_EDATA,
                         "net '%s' classifies, and '%s' has numbers as targets: use --loss mse",
                         net->name, d->name);
    if (net->task == HONE_REGRESS && d->classes)
        return hone_fail(HONE_EDATA, "net '%s' computes numbers, and '%s' has classes as targets",
                         net->name, d->name);
    if (d->classes > outputs)
        return hone_fail(HONE_EDATA, "net '%s' knows %lld classes, and '%s' has %d", net->name,
                         (long long)outputs, d->name, d->classes);
    if (!d->classes && d->outputs != outputs)
        return hone_fail(HONE_EDATA,
                         "net '%s' computes %lld numbers, and '%s' has %d targets in a row",
                         net->name, (long long)outputs, d->name, d->outputs);
    return HONE_OK;
}

int hone_net_fits(const struct hone_net *net, const struct hone_data *d, int with_targets)
{
    const struct hone_tensor *x = &net->tensor[net->input];
    int64_t n = (int64_t)d->h * d->w * d->c;
    int flat = x->rank == 2, h = flat ? 1 : (int)x->dim[1], w = flat ? 1 : (int)x->dim[2],
        c = (int)x->dim[x->rank - 1];
    if (flat ? c != n : (h != d->h || w != d->w || c != d->c))
        return hone_fail(HONE_EDATA, "net '%s' reads %dx%dx%d, and a row of '%s' is %dx%dx%d",
                         net->name, h, w, c, d->name, d->h, d->w, d->c);
    return with_targets ? fits_targets(net, d) : HONE_OK;
}

/* ---- open and close ---- */

static int64_t outputs_of(const struct hone_infer *f)
{
    return f->net.tensor[f->net.output].dim[1];
}

static int allocate(struct hone_infer *f)
{
    const struct hone_tensor *t = f->net.tensor;
    size_t batch = (size_t)f->how.batch;
    f->x = malloc((size_t)hone_tensor_bytes(&t[f->net.input]));
    f->target = calloc((size_t)hone_tensor_bytes(&t[f->net.target]), 1);
    f->output = malloc((size_t)hone_tensor_bytes(&t[f->net.output]));
    f->loss = malloc(batch * sizeof *f->loss);
    int64_t most = hone_tensor_len(&t[f->net.input]), outputs = hone_tensor_len(&t[f->net.output]);
    f->wide = malloc((size_t)(most > outputs ? most : outputs) * sizeof *f->wide);
    return f->x && f->target && f->output && f->loss && f->wide
               ? HONE_OK
               : hone_fail(HONE_ENOMEM, "a batch of %d rows", f->how.batch);
}

int hone_infer_open(struct hone_infer *f, const char *net, const char *weights,
                    const struct hone_lowering *how, struct hone_db *db, struct hone_device *d)
{
    memset(f, 0, sizeof *f);
    f->how = *how;
    f->how.train = 0;
    f->how.db = db;
    f->how.device = d;
    f->how.optim = hone_optim_default(HONE_SGD);
    f->name = net;
    f->db = db;
    int err = hone_net_open(&f->net, net, &f->how);
    if (!err) err = hone_net_assemble(&f->net, db, d, NULL);
    if (!err) err = hone_weights_load(&f->net, weights);
    if (!err) err = hone_weights_data(weights, &f->about);
    if (!err) err = allocate(f);
    if (err) hone_infer_close(f);
    return err;
}

void hone_infer_close(struct hone_infer *f)
{
    hone_net_close(&f->rest);
    hone_net_close(&f->net);
    hone_data_close(&f->about);
    free(f->x);
    free(f->target);
    free(f->output);
    free(f->loss);
    free(f->wide);
    memset(f, 0, sizeof *f);
}

/* ---- rows ---- */

/* Zeros in place of targets, which the loss reads for nothing. */
static int forget_targets(const struct hone_infer *f, struct hone_data *d)
{
    free(d->label);
    free(d->y);
    d->label = NULL;
    d->classes = 0;
    d->outputs = f->net.task == HONE_CLASSIFY ? 1 : (int)outputs_of(f);
    d->y = calloc((size_t)d->rows * (size_t)d->outputs + 1, sizeof *d->y);
    return d->y ? HONE_OK : hone_fail(HONE_ENOMEM, "targets of %lld rows", (long long)d->rows);
}

int hone_infer_prepare(struct hone_infer *f, struct hone_data *d, int with_targets)
{
    int err = hone_net_fits(&f->net, d, with_targets);
    if (err) return err;
    if (f->about.range && f->about.c != d->c)
        return hone_fail(HONE_EDATA,
                         "the weights were trained on %d features or channels, and a row of '%s' "
                         "has %d",
                         f->about.c, d->name, d->c);
    err = f->about.range ? hone_data_scale(d, f->about.range) : HONE_OK;
    return err || with_targets ? err : forget_targets(f, d);
}

/* The net for n rows. */
static struct hone_net *net_for(struct hone_infer *f, int n, int *err)
{
    struct hone_lowering how = f->how;
    *err = HONE_OK;
    if (n == f->how.batch) return &f->net;
    if (f->rest.nsteps && f->rest.batch == n) return &f->rest;
    hone_net_close(&f->rest);
    how.batch = n;
    *err = hone_net_open(&f->rest, f->name, &how);
    if (!*err) *err = hone_net_assemble(&f->rest, f->db, f->net.device, &f->net);
    return &f->rest;
}

/* Rows come and go as floats; a net of doubles gets and gives them through f->wide. */
static int put(const struct hone_infer *f, const struct hone_net *net, int t, const void *from)
{
    struct hone_device *d = net->device;
    if (net->tensor[t].dtype == HONE_F64) {
        hone_to_double(HONE_F32, from, f->wide, hone_tensor_len(&net->tensor[t]));
        from = f->wide;
    }
    return d->backend->put(d, hone_net_mem(net, t), from,
                           (size_t)hone_tensor_bytes(&net->tensor[t]));
}

static int get(const struct hone_infer *f, const struct hone_net *net, int t, float *to)
{
    struct hone_device *d = net->device;
    const int doubles = net->tensor[t].dtype == HONE_F64;
    int err = d->backend->get(d, doubles ? (void *)f->wide : to, hone_net_mem(net, t),
                              (size_t)hone_tensor_bytes(&net->tensor[t]));
    if (!err && doubles) hone_from_double(HONE_F32, f->wide, to, hone_tensor_len(&net->tensor[t]));
    return err;
}

static int pass(struct hone_infer *f, const struct hone_net *net, const struct hone_data *d,
                const int64_t *order, double *seconds)
{
    hone_data_gather(d, order, net->batch, f->x, f->target);
    int err = put(f, net, net->input, f->x);
    if (!err) err = put(f, net, net->target, f->target);
    double started = hone_now();
    if (!err) err = hone_net_run(net, 0, net->first_backward);
    if (!err) err = net->device->backend->sync(net->device);
    *seconds = hone_now() - started;
    if (!err) err = get(f, net, net->output, f->output);
    if (!err) err = get(f, net, net->loss, f->loss);
    return err;
}

int hone_infer_rows(struct hone_infer *f, const struct hone_data *d,
                    int (*each)(void *ctx, int64_t first, int n, double seconds), void *ctx)
{
    int64_t *order = malloc((size_t)(d->rows + 1) * sizeof *order);
    int err =
        order ? HONE_OK : hone_fail(HONE_ENOMEM, "the order of %lld rows", (long long)d->rows);
    for (int64_t i = 0; !err && i < d->rows; i++) order[i] = i;
    for (int64_t at = 0; !err && at < d->rows;) {
        int n = d->rows - at < f->how.batch ? (int)(d->rows - at) : f->how.batch;
        double seconds;
        const struct hone_net *net = net_for(f, n, &err);
        if (!err) err = pass(f, net, d, order + at, &seconds);
        if (!err) err = each(ctx, at, n, seconds);
        at += n;
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
    }
    free(order);
    return err;
}
