/* Loss scaling: f16 has nothing below 2^-24, and gradients of activations do.  So the gradient of
 * the loss is multiplied before it goes backward, and the weights' gradients are divided by as much
 * before the update.  Where they have become infinite there is no update, and the scale is halved;
 * after 2000 steps without such it is doubled (Micikevicius et al. 2018, "Mixed precision
 * training").  A device with its own memory does all that itself, so that no step waits. */
#include "nets/loss_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 2000 };   /* steps */

static const double FIRST = 0x1p16, LEAST = 0x1p-24, MOST = 0x1p24;

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

/* A device that does not share our memory lends us the numbers, where each step is waited for. */
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

/* ---- on a device with its own memory: ops scale and unscale ---- */

/* A row of what the optimizer reads for each number of steps that may have been skipped when a step
 * runs: those under way may all have been. */
enum { ROWS = HONE_MOST_AHEAD + 1, ROW = 8 };

/* S of these ops (kernels/scale/scale.h). */
enum { NOW, INVERSE, GOOD, SKIPPED, GROWS, PATIENT, UP_TO, NUMBERS = 8 };

struct hone_scaling {
    void *numbers, *table, *workspace;
    struct hone_plan scale[2], unscale;   /* scale: of the trainer's net and rest */
};

size_t hone_loss_scale_told_bytes(const struct hone_trainer *t)
{
    return hone_loss_scale_is_on(t) ? ROWS * ROW * sizeof(float) : 0;
}

size_t hone_loss_scale_bytes(const struct hone_trainer *t)
{
    return hone_loss_scale_is_on(t) ? NUMBERS * sizeof(float) : 0;
}

static int open_plan(struct hone_trainer *t, struct hone_plan *plan, const char *problem, int64_t n,
                     const char *rest)
{
    struct hone_problem p;
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:f32:any:n%lld%s", problem, (long long)n, rest);
    int err = hone_problem_parse(text, &p);
    return err ? err : hone_plan_best(plan, t->options.db, &p, t->net.device, NULL, NULL);
}

static int open_scaling(struct hone_trainer *t, struct hone_scaling *s)
{
    const struct hone_net *const net[] = { &t->net, &t->rest };
    struct hone_device *d = t->net.device;
    char rows[16];
    int err = HONE_OK;
    snprintf(rows, sizeof rows, "r%d", ROWS);
    for (int i = 0; !err && i < 2; i++)
        if (net[i]->nsteps)
            err = open_plan(t, &s->scale[i], "scale",
                            hone_tensor_len(&net[i]->tensor[gradient_of_loss(net[i])]), "");
    if (!err)
        err = open_plan(t, &s->unscale, "unscale", hone_tensor_len(&t->net.tensor[t->net.grads]),
                        rows);
    if (!err) err = d->backend->alloc(d, hone_loss_scale_bytes(t), &s->numbers);
    if (!err) err = d->backend->alloc(d, hone_loss_scale_told_bytes(t), &s->table);
    return err ? err : d->backend->alloc(d, s->unscale.workspace_bytes, &s->workspace);
}

void hone_loss_scale_close(struct hone_trainer *t)
{
    struct hone_scaling *s = t->scaling;
    struct hone_device *d = t->net.device;
    if (!s) return;
    for (int i = 0; i < 2; i++) hone_plan_close(&s->scale[i]);
    hone_plan_close(&s->unscale);
    d->backend->free(d, s->numbers);
    d->backend->free(d, s->table);
    d->backend->free(d, s->workspace);
    free(s);
    t->scaling = NULL;
}

/* A device that has no such kernels leaves the work to the host, which then waits for each step. */
void hone_loss_scale_open(struct hone_trainer *t)
{
    const double fixed = t->options.loss_scale;
    t->scale = (struct hone_loss_scale){ .now = fixed > 0 ? fixed : FIRST };
    if (!hone_loss_scale_is_on(t) || hone_shares_memory(&t->net)) return;
    t->scaling = calloc(1, sizeof *t->scaling);
    if (t->scaling && open_scaling(t, t->scaling)) hone_loss_scale_close(t);
}

int hone_loss_scale_begin(struct hone_trainer *t)
{
    const struct hone_loss_scale *s = &t->scale;
    const float numbers[NUMBERS] = { [NOW] = (float)s->now, [INVERSE] = (float)(1 / s->now),
                                     [GOOD] = (float)s->good, [SKIPPED] = (float)s->skipped,
                                     [GROWS] = t->options.loss_scale <= 0, [PATIENT] = PATIENCE,
                                     [UP_TO] = (float)MOST };
    struct hone_device *d = t->net.device;
    return t->scaling ? d->backend->put(d, t->scaling->numbers, numbers, sizeof numbers) : HONE_OK;
}

/* Row s mod ROWS of the table is for the step if s were skipped before it. */
static int send_table(struct hone_trainer *t, struct hone_arrival *a)
{
    float table[ROWS * ROW] = { 0 };
    double hyper[ROW];
    for (int64_t s = t->scale.skipped; s <= t->scale.skipped + hone_arrivals_under_way(t); s++) {
        hone_optim_hyper(&a->net->optim, a->step - s, hyper);
        hone_from_double(HONE_F32, hyper, table + s % ROWS * ROW, ROW);
    }
    return hone_arrivals_send_to(t, a, t->scaling->table, table, sizeof table);
}

int hone_loss_scale_steps(struct hone_trainer *t, struct hone_arrival *a)
{
    const struct hone_net *net = a->net;
    struct hone_scaling *s = t->scaling;
    void *gradient = hone_net_mem(net, gradient_of_loss(net));
    int err = send_table(t, a);
    if (!err)
        err = hone_plan_run(&s->scale[net == &t->rest], (void *[]){ gradient, s->numbers }, NULL);
    if (!err) err = hone_net_run(net, net->first_backward, net->first_update);
    if (!err)
        err = hone_plan_run(&s->unscale,
                            (void *[]){ hone_net_mem(net, net->grads), s->numbers,
                                        hone_net_mem(net, net->hyper), s->table },
                            s->workspace);
    if (!err) err = hone_net_run(net, net->first_update, net->nsteps);
    return err ? err
               : hone_arrivals_ask_of(t, a, s->numbers, NUMBERS * sizeof(float), &a->scale);
}

int hone_loss_scale_take(struct hone_trainer *t, const struct hone_arrival *a, int *skipped)
{
    const float *numbers = a->scale;
    struct hone_loss_scale *s = &t->scale;
    *skipped = (int64_t)numbers[SKIPPED] != s->skipped;
    if (*skipped) return shrink(t);
    s->now = t->options.loss_scale > 0 ? s->now : (double)numbers[NOW];
    s->good = (int64_t)numbers[GOOD];
    return HONE_OK;
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
