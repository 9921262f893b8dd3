/* Loss scaling: f16 has nothing below 2^-24, and gradients of activations do.  So the gradient of
 * the loss is multiplied before it goes backward, and the weights' gradients are divided by as much
 * before the update.  Where they have become infinite there is no update, and the scale is halved;
 * after 2000 steps without such it is doubled (Micikevicius et al. 2018, "Mixed precision
 * training"). */
#include "nets/loss_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 2000 };   /* steps */

static const double FIRST = 0x1p16, LEAST = 0x1p-24, MOST = 0x1p24;

void hone_loss_scale_open(struct hone_trainer *t)
{
    const double fixed = t->options.loss_scale;
    t->scale = (struct hone_loss_scale){ .now = fixed > 0 ? fixed : FIRST };
}

int hone_loss_scale_is_on(const struct hone_trainer *t) { return t->net.dtype == HONE_F16; }

/* ---- arrays of floats, where the net has them ---- */

/* v[0..n) *= factor; 0: one of them is not finite. */
static int multiply(float *v, int64_t n, float factor)
{
    int bad = 0;
#pragma omp simd reduction(| : bad)
    for (int64_t i = 0; i < n; i++) {
        v[i] *= factor;
        bad |= !(fabsf(v[i]) <= 0x1.fffffep127f);
    }
    return !bad;
}

/* A device that does not share our memory lends us the numbers. */
static int multiply_tensor(struct hone_trainer *t, const struct hone_net *net, int tensor,
                           double factor, int *finite)
{
    struct hone_device *d = net->device;
    void *mem = hone_net_mem(net, tensor);
    const int64_t n = hone_tensor_len(&net->tensor[tensor]);
    const size_t bytes = (size_t)hone_tensor_bytes(&net->tensor[tensor]);
    const int ours = !strcmp(d->backend->name, "cpu");
    int err = ours ? HONE_OK : d->backend->get(d, t->host, mem, bytes);
    if (err) return err;
    *finite = multiply(ours ? mem : t->host, n, (float)factor);
    return ours ? HONE_OK : d->backend->put(d, mem, t->host, bytes);
}

/* ---- steps ---- */

/* The gradient that the loss's step gives, its first argument. */
static int gradient_of_loss(const struct hone_net *net)
{
    int s = net->first_backward - 1;
    while (net->step[s].phase != HONE_LOSS) s--;
    return net->step[s].arg[0];
}

static int shrink(struct hone_trainer *t)
{
    struct hone_loss_scale *s = &t->scale;
    if (t->options.loss_scale > 0)
        return hone_fail(HONE_EDATA,
                         "gradients are not finite at --loss-scale %g: a smaller one, or auto",
                         t->options.loss_scale);
    s->now /= 2;
    s->good = 0;
    s->skipped++;
    return s->now >= LEAST ? HONE_OK
                           : hone_fail(HONE_EDATA, "gradients are not finite at any loss scale");
}

int hone_loss_scale_run(struct hone_trainer *t, const struct hone_net *net, int *skipped)
{
    struct hone_loss_scale *s = &t->scale;
    int finite = 1;
    *skipped = 0;
    int err = multiply_tensor(t, net, gradient_of_loss(net), s->now, &finite);
    if (!err) err = hone_net_run(net, net->first_backward, net->first_update);
    if (!err) err = multiply_tensor(t, net, net->grads, 1 / s->now, &finite);
    if (err) return err;
    if (!finite) {
        *skipped = 1;
        return shrink(t);
    }
    err = hone_net_run(net, net->first_update, net->nsteps);
    if (t->options.loss_scale <= 0 && ++s->good == PATIENCE) {
        s->good = 0;
        if (s->now < MOST) s->now *= 2;
    }
    return err;
}

/* ---- in checkpoints ---- */

static const char KEY[] = "loss_scale";

void hone_loss_scale_write(const struct hone_trainer *t, json_t *metadata)
{
    char text[HONE_TEXT];
    if (!hone_loss_scale_is_on(t)) return;
    snprintf(text, sizeof text, "%a %lld %lld", t->scale.now, (long long)t->scale.good,
             (long long)t->scale.skipped);
    json_object_set_new(metadata, KEY, json_string(text));
}

int hone_loss_scale_read(struct hone_trainer *t, const struct hone_safetensors *file)
{
    const char *text = hone_safetensors_text(file, KEY);
    struct hone_loss_scale s = { 0 };
    long long good, skipped;
    if (!text || !hone_loss_scale_is_on(t)) return HONE_OK;
    if (sscanf(text, "%la %lld %lld", &s.now, &good, &skipped) != 3 || !(s.now >= LEAST) ||
        !(s.now <= 0x1p127) || good < 0 || good >= PATIENCE || skipped < 0)
        return hone_fail(HONE_EDATA, "its metadata say of '%s' '%.60s', which is none", KEY, text);
    s.good = good;
    s.skipped = skipped;
    t->scale = s;
    return HONE_OK;
}
