/* First values: weights from a seed, biases and the optimizer's moments 0. */
#include "nets/nets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int hone_init_find(const char *name)
{
    static const char *const names[] = { [HONE_INIT_GLOROT] = "glorot",
                                         [HONE_INIT_HE] = "he",
                                         [HONE_INIT_PYTORCH] = "pytorch" };
    for (int i = HONE_INIT_GLOROT; i <= HONE_INIT_PYTORCH; i++)
        if (!strcmp(names[i], name)) return i;
    return hone_fail(HONE_EINVAL, "no first weights '%s'; there are glorot, he, pytorch", name);
}

/* Numbers start uniform in first +- this. */
static double limit_of(const struct hone_tensor *t, enum hone_init init)
{
    int he = init == HONE_INIT_HE && t->rectified;
    if (!t->fan_in) return 0;
    if (init == HONE_INIT_PYTORCH) return 1 / sqrt((double)t->fan_in);
    if (!t->fan_out) return 0;
    return sqrt(6.0 / (double)(he ? t->fan_in : t->fan_in + t->fan_out));
}

uint64_t hone_dropout_seed(uint64_t seed) { return hone_random(seed, 1u << 20) >> 12; }

/* Numbers uniform in first +- limit, in pieces: a copy of all weights would be the most memory that
 * training ever needs. */
static int put_uniform(struct hone_net *net, const struct hone_tensor *t, double limit,
                       uint64_t key)
{
    enum { PIECE = 1024 };
    double v[PIECE], piece[PIECE];
    size_t bytes = hone_dtype_bytes(t->dtype);
    char *to = net->weights + t->offset;
    int64_t len = hone_tensor_len(t);
    int err = HONE_OK;
    for (int64_t at = 0, n; !err && at < len; at += n) {
        n = len - at < PIECE ? len - at : PIECE;
        for (int64_t i = 0; i < n; i++)
            v[i] = t->first + limit * (2 * hone_random_unit(key, (uint64_t)(at + i)) - 1);
        hone_from_double(t->dtype, v, piece, n);
        err = net->device->backend->put(net->device, to + (size_t)at * bytes, piece,
                                        (size_t)n * bytes);
    }
    return err;
}

int hone_net_init(struct hone_net *net, uint64_t seed)
{
    struct hone_device *d = net->device;
    uint64_t nth = 0;
    int err = HONE_OK;
    for (int t = 0; !err && t < net->ntensors; t++) {
        const struct hone_tensor *tensor = &net->tensor[t];
        int running = tensor->role == HONE_ROLE_RUNNING;
        if ((tensor->role != HONE_ROLE_WEIGHT && !running) || t == net->params) continue;
        /* By the tensor's number among the weights: the batch size changes nothing.  ~seed: the
         * order of rows is drawn from the seed itself. */
        uint64_t key = running ? 0 : hone_random(~seed, nth++);
        err = put_uniform(net, tensor, limit_of(tensor, net->init), key);
    }
    uint64_t dropout[2] = { hone_dropout_seed(seed), 0 };
    if (!err && net->state_bytes) err = hone_net_zeros(d, net->state, net->state_bytes);
    if (!err && net->seed >= 0)
        err = d->backend->put(d, hone_net_mem(net, net->seed), dropout, sizeof dropout);
    double hyper[8], now[8];
    const enum hone_dtype wide = hone_dtype_wide(net->dtype);
    hone_optim_hyper(&net->optim, 0, hyper);
    hone_from_double(wide, hyper, now, 8);
    if (!err && net->hyper >= 0)
        err = d->backend->put(d, hone_net_mem(net, net->hyper), now, 8 * hone_dtype_bytes(wide));
    return err;
}

/* ---- a batch ---- */

static int fill_tensor(const struct hone_net *net, int tensor, uint64_t seed, double classes)
{
    const struct hone_tensor *t = &net->tensor[tensor];
    struct hone_device *d = net->device;
    char *host = malloc((size_t)hone_tensor_bytes(t) + 1), *to = host;
    if (!host) return hone_fail(HONE_ENOMEM, "%lld bytes", (long long)hone_tensor_bytes(t));
    for (int64_t i = 0; i < hone_tensor_len(t); i++, to += hone_dtype_bytes(t->dtype)) {
        double u = hone_random_unit(seed, (uint64_t)i);
        if (t->dtype == HONE_I32) u = floor(u * classes);
        hone_from_double(t->dtype, &u, to, 1);
    }
    int err = d->backend->put(d, net->data + t->offset, host, (size_t)hone_tensor_bytes(t));
    free(host);
    return err;
}

int hone_net_fill(const struct hone_net *net)
{
    const struct hone_tensor *out = &net->tensor[net->output];
    int err = fill_tensor(net, net->input, 1, 0);
    return err ? err : fill_tensor(net, net->target, 2, (double)out->dim[out->rank - 1]);
}
