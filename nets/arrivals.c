/* What steps tell the host: losses, hits, outputs, norms.  Where the device has its own memory they
 * come into a ring of pinned slots behind the steps, while the host enqueues more of them, and are
 * taken in the order of the steps.  The host waits for half a ring at a time, and only once the
 * other half is enqueued, so the device always has work; and what it is told of each step
 * (hyper-parameters, seeds) is sent from the same slots.  Where memory is shared there is one slot,
 * and numbers are read where steps write them. */
#include "nets/arrivals.h"
#include "nets/loss_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 16 };

static const int64_t MOST_BYTES = 64 << 20;   /* of a ring: large slots are fewer */

struct hone_arrivals {
    int half, nslots;             /* 0 and 1: each run of the steps is waited for */
    size_t slot_bytes;
    char *pinned;
    int64_t begun, taken;         /* runs of steps, ever; slots are used in turn */
    void *mark[2];                /* behind each half of the ring */
    struct hone_arrival slot[HONE_MOST_AHEAD];
};

/* ---- open and close ---- */

/* So that every number begins on a boundary. */
static size_t aligned(size_t bytes) { return (bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN; }

static size_t bytes_of(const struct hone_net *net, int tensor)
{
    return tensor < 0 ? 0 : aligned((size_t)hone_tensor_bytes(&net->tensor[tensor]));
}

/* Of all that a net's steps tell and are told. */
static size_t slot_bytes(const struct hone_trainer *t, const struct hone_net *net)
{
    const int told[] = { net->loss, net->hit, net->output, net->norm, net->hyper, net->seed };
    size_t sum = aligned(hone_loss_scale_told_bytes(t)) + aligned(hone_loss_scale_bytes(t));
    if (!net->nsteps) return 0;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) sum += bytes_of(net, told[i]);
    return sum;
}

static int wanted(void)
{
    const char *text = getenv("HONE_AHEAD");
    char *end;
    long n = text ? strtol(text, &end, 10) : AHEAD;
    return !text || (*text && !*end && n >= 0 && n <= HONE_MOST_AHEAD) ? (int)n : AHEAD;
}

int hone_arrivals_open(struct hone_trainer *t)
{
    const struct hone_net *const net[] = { &t->net, &t->rest, &t->several, &t->eval,
                                           &t->eval_rest };
    struct hone_arrivals *r = t->arrivals = calloc(1, sizeof *r);
    if (!r) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *r);
    r->nslots = 1;
    if (hone_shares_memory(&t->net)) return HONE_OK;
    for (int i = 0; i < 5; i++)
        if (slot_bytes(t, net[i]) > r->slot_bytes) r->slot_bytes = slot_bytes(t, net[i]);
    r->half = (wanted() + 1) / 2;
    while (r->half > 1 && 2 * r->half * (int64_t)r->slot_bytes > MOST_BYTES) r->half /= 2;
    if (r->half) r->nslots = 2 * r->half;
    return t->net.device->backend->pin(t->net.device, (size_t)r->nslots * r->slot_bytes,
                                       (void **)&r->pinned);
}

void hone_arrivals_close(struct hone_trainer *t)
{
    struct hone_arrivals *r = t->arrivals;
    if (!r) return;
    for (int i = 0; i < 2; i++)
        if (r->mark[i]) t->net.device->backend->unmark(t->net.device, r->mark[i]);
    if (r->pinned) t->net.device->backend->unpin(t->net.device, r->pinned);
    free(r);
    t->arrivals = NULL;
}

int hone_arrivals_at_once(const struct hone_trainer *t) { return !t->arrivals->half; }

int hone_arrivals_under_way(const struct hone_trainer *t)
{
    return (int)(t->arrivals->begun - t->arrivals->taken);
}

/* ---- taking ---- */

/* Those before number `until`, all of which have come. */
static int take(struct hone_trainer *t, int64_t until)
{
    struct hone_arrivals *r = t->arrivals;
    int err = HONE_OK;
    for (; !err && r->taken < until; r->taken++) {
        struct hone_arrival *a = &r->slot[r->taken % r->nslots];
        t->at_work = a->at;
        err = a->take(t, a);
    }
    return err;
}

int hone_arrivals_wait(struct hone_trainer *t)
{
    struct hone_device *d = t->net.device;
    return hone_shares_memory(&t->net) ? HONE_OK : d->backend->sync(d);
}

int hone_trainer_catch_up(struct hone_trainer *t)
{
    struct hone_arrivals *r = t->arrivals;
    if (r->taken == r->begun) return HONE_OK;
    int err = hone_arrivals_wait(t);
    return err ? err : take(t, r->begun);
}

void hone_arrivals_drop(struct hone_trainer *t)
{
    hone_arrivals_wait(t);
    t->arrivals->taken = t->arrivals->begun;
}

/* ---- enqueueing ---- */

int hone_arrivals_next(struct hone_trainer *t, struct hone_arrival **a)
{
    struct hone_arrivals *r = t->arrivals;
    const int at = (int)(r->begun % r->nslots);
    const int64_t old = r->begun - r->half;
    int err = HONE_OK;
    /* This half's slots have been used, and the other half is enqueued. */
    if (r->half && at % r->half == 0 && r->taken < old) {
        err = t->net.device->backend->reach(t->net.device, r->mark[at / r->half]);
        if (!err) err = take(t, old);
    }
    *a = &r->slot[at];
    **a = (struct hone_arrival){ .mem = r->pinned + (size_t)at * r->slot_bytes };
    return err;
}

int hone_arrivals_end(struct hone_trainer *t, int taken)
{
    struct hone_arrivals *r = t->arrivals;
    r->begun++;
    if (taken) r->taken = r->begun;
    if (!r->half || r->begun % r->half) return HONE_OK;
    return t->net.device->backend->mark(t->net.device,
                                        &r->mark[(r->begun - 1) % r->nslots / r->half]);
}

static char *room(struct hone_arrival *a, size_t bytes)
{
    char *at = a->mem + a->used;
    a->used += aligned(bytes);
    return at;
}

int hone_arrivals_send_to(struct hone_trainer *t, struct hone_arrival *a, void *mem,
                          const void *from, size_t bytes)
{
    char *at = room(a, bytes);
    memcpy(at, from, bytes);
    return t->net.device->backend->send(t->net.device, mem, at, bytes);
}

int hone_arrivals_ask_of(struct hone_trainer *t, struct hone_arrival *a, const void *mem,
                         size_t bytes, const void **numbers)
{
    char *at = room(a, bytes);
    *numbers = at;
    return t->net.device->backend->receive(t->net.device, at, mem, bytes);
}

int hone_arrivals_send(struct hone_trainer *t, struct hone_arrival *a, int tensor, const void *from,
                       size_t bytes)
{
    void *mem = hone_net_mem(a->net, tensor);
    if (!hone_shares_memory(a->net)) return hone_arrivals_send_to(t, a, mem, from, bytes);
    memcpy(mem, from, bytes);
    return HONE_OK;
}

int hone_arrivals_ask(struct hone_trainer *t, struct hone_arrival *a, int tensor,
                      const void **numbers)
{
    const void *mem = hone_net_mem(a->net, tensor);
    const size_t bytes = (size_t)hone_tensor_bytes(&a->net->tensor[tensor]);
    if (!hone_shares_memory(a->net)) return hone_arrivals_ask_of(t, a, mem, bytes, numbers);
    *numbers = mem;
    return HONE_OK;
}

int hone_arrivals_ask_scores(struct hone_trainer *t, struct hone_arrival *a, int with_output)
{
    const int regress = a->net->task == HONE_REGRESS;
    int err = hone_arrivals_ask(t, a, a->net->loss, &a->loss);
    if (!err && !regress) err = hone_arrivals_ask(t, a, a->net->hit, &a->hit);
    if (!err && (regress || with_output)) err = hone_arrivals_ask(t, a, a->net->output, &a->output);
    return err;
}

/* ---- sums ---- */

static double number(enum hone_dtype type, const void *v, int64_t i)
{
    return type == HONE_F64 ? ((const double *)v)[i] : (double)((const float *)v)[i];
}

double hone_arrival_number(const struct hone_arrival *a, int tensor, const void *numbers)
{
    return number(a->net->tensor[tensor].dtype, numbers, 0);
}

/* Of n equal parts of the numbers, and of all of these. */
static double add_up(const struct hone_net *net, int tensor, const void *v, int n, double sum[])
{
    const int64_t len = hone_tensor_len(&net->tensor[tensor]) / n;
    double all = 0;
    for (int k = 0; k < n; k++) {
        sum[k] = 0;
        for (int64_t i = k * len; i < (k + 1) * len; i++)
            sum[k] += number(net->tensor[tensor].dtype, v, i);
        all += sum[k];
    }
    return all;
}

/* The numbers as floats, where they are or in t->host. */
static const float *floats(struct hone_trainer *t, const struct hone_net *net, int tensor,
                           const void *v)
{
    const struct hone_tensor *of = &net->tensor[tensor];
    float *to = t->host;
    if (of->dtype == HONE_F32) return v;
    for (int64_t i = 0; i < hone_tensor_len(of); i++) to[i] = (float)((const double *)v)[i];
    return to;
}

static void add_errors(struct hone_trainer *t, const struct hone_arrival *a)
{
    const struct hone_data *data = a->data;
    const float *y = floats(t, a->net, a->net->output, a->output);
    double squares = 0, sizes = 0;
    for (int i = 0; i < a->net->batch; i++) {
        const float *want = data->y + t->order[a->at + i] * data->outputs;
        for (int j = 0; j < data->outputs; j++) {
            double diff = (double)y[i * data->outputs + j] - (double)want[j];
            squares += diff * diff;
            sizes += fabs(diff);
        }
    }
    a->sums->mse += squares / data->outputs;
    a->sums->mae += sizes / data->outputs;
}

void hone_arrival_add(struct hone_trainer *t, const struct hone_arrival *a, double loss[])
{
    const int n = a->net->launch ? a->net->launch : 1;
    double hits;
    a->sums->loss += add_up(a->net, a->net->loss, a->loss, n, loss);
    for (int k = 0; k < n; k++) loss[k] /= a->net->batch / n;
    a->sums->rows += a->net->batch;
    if (a->net->task == HONE_REGRESS) add_errors(t, a);
    else a->sums->accuracy += add_up(a->net, a->net->hit, a->hit, 1, &hits);
}

void hone_arrival_score(struct hone_trainer *t, const struct hone_arrival *a)
{
    const struct hone_data *data = a->data;
    if (!t->scores) return;
    const float *x = floats(t, a->net, a->net->output, a->output);
    for (int i = 0; i < a->net->batch; i++) {
        const float *row = x + (int64_t)i * t->scores->width;
        if (a->net->task == HONE_CLASSIFY)
            hone_scores_add_label(t->scores, row, data->label[t->order[a->at + i]]);
        else
            hone_scores_add_values(t->scores, row, data->y + t->order[a->at + i] * data->outputs);
    }
}
