/* A net in a given number of bytes.  Two things buy memory with time: kernels that need less
 * workspace (spare.c), and outputs of convolutions that the backward pass computes again, for batch
 * normalisation or for the gradient of their activation (layers/conv.c), as of whole segments Chen
 * et al. 2016, "Training deep nets with sublinear memory cost".  One output more is tried after the
 * other, the cheapest for its bytes first, each time with the kernels that then suffice, until by the
 * records that only makes a step longer. */
#include "nets/arena.h"

#include <stdlib.h>
#include <string.h>

int64_t hone_net_bytes(const struct hone_net *net)
{
    return net->weights_bytes + net->gradients_bytes + net->state_bytes + net->arena_bytes +
           net->workspace_bytes;
}

int hone_net_too_large(const struct hone_net *net, int64_t least)
{
    const double mib = 1 << 20;
    return hone_fail(HONE_ENOMEM,
                     "'%s' at batch %d plans %.2f MiB at least, and --memory allows %.2f: try a "
                     "smaller batch",
                     net->name, net->batch, (double)least / mib, (double)net->memory / mib);
}

/* ---- which outputs are computed again ---- */

/* A convolution whose output may be, and what decides when it is tried: the products of a number; of
 * a row of them, each of which needs the one before it again, every second one first, then every
 * fourth, and so on, for all of them at once would take as many bytes as before; and how many numbers
 * there are. */
struct candidate { int layer, nth; int64_t products, len; };

struct search {
    const char *name;
    struct hone_lowering how;
    struct hone_device *device;
    const struct hone_net *shared;
    unsigned char *again;         /* (layers) what how has */
    struct candidate *list;       /* (n) */
    int n;
    int64_t bytes;                /* of the best plan so far */
    double ms;
};

static int fits(const struct search *s) { return s->bytes <= s->how.memory; }

/* Plans the net as how has it; its bytes and milliseconds are s's where that is better. */
static int try(struct search *s, int is_better_if_equal, int *is_better)
{
    struct hone_net net;
    int err = hone_net_open(&net, s->name, &s->how);
    if (!err) err = hone_net_plan(&net, s->how.db, s->device, s->shared);
    const int64_t bytes = hone_net_bytes(&net);
    const double ms = net.ms;
    hone_net_close(&net);
    if (err) return err;
    *is_better = bytes > s->how.memory ? bytes < s->bytes
                 : !fits(s)            ? 1
                                       : ms < s->ms || (is_better_if_equal && ms <= s->ms);
    if (!*is_better) return HONE_OK;
    s->bytes = bytes;
    s->ms = ms;
    return HONE_OK;
}

/* Changes whether the layer's output is computed again, where that is better; and as good, to keep
 * it. */
static int change(struct search *s, int layer, int *is_better)
{
    const int was = s->again[layer];
    s->again[layer] = !was;
    int err = try(s, was, is_better);
    if (err || !*is_better) s->again[layer] = (unsigned char)was;
    return err;
}

/* Is the layer's output its input's, but for what one pass makes of each number? */
static int is_pass(const struct hone_net *net, const struct hone_layer *l)
{
    const struct hone_layer *in = &net->layer[l->input[0]];
    return l->ninputs == 1 && !l->macs && l->h == in->h && l->w == in->w && l->c == in->c;
}

/* 1 for the first of a row, 2 for the next; 0: it is none that may be. */
static int place_in_row(const struct hone_net *net, int i)
{
    int n = 0;
    for (; net->layer[i].again; n++)
        do i = net->layer[i].input[0];
        while (is_pass(net, &net->layer[i]));
    return n;
}

static int by_turn(const void *a, const void *b)
{
    const struct candidate *c = a, *d = b;
    const int m = c->nth & -c->nth, n = d->nth & -d->nth;   /* the power of 2 in it */
    if (c->products != d->products) return c->products < d->products ? -1 : 1;
    if (m != n) return m < n ? -1 : 1;
    if (c->len != d->len) return c->len < d->len ? -1 : 1;
    return c->layer - d->layer;
}

static int open_search(struct search *s)
{
    struct hone_net net;
    int err = hone_net_open(&net, s->name, &s->how);
    if (err) return err;
    s->how.again = s->again = calloc((size_t)net.nlayers, sizeof *s->again);
    s->list = calloc((size_t)net.nlayers, sizeof *s->list);
    for (int i = 0; s->list && i < net.nlayers; i++) {
        const struct hone_layer *l = &net.layer[i];
        if (l->again)
            s->list[s->n++] = (struct candidate){ i, place_in_row(&net, i), l->again,
                                                  (int64_t)l->h * l->w * l->c };
    }
    if (s->list) qsort(s->list, (size_t)s->n, sizeof *s->list, by_turn);
    err = s->list && s->again ? HONE_OK : hone_fail(HONE_ENOMEM, "%d layers", net.nlayers);
    hone_net_close(&net);
    return err;
}

/* One more is computed again while the net needs too much, or is faster so, for kernels may then
 * have more workspace; after that, those that were not worth it are not. */
static int find(struct search *s)
{
    int is_better, err = try(s, 0, &is_better);
    for (int i = 0; !err && i < s->n && (!fits(s) || is_better); i++)
        err = change(s, s->list[i].layer, &is_better);
    for (int i = s->n; !err && fits(s) && i-- > 0;)
        if (s->again[s->list[i].layer]) err = change(s, s->list[i].layer, &is_better);
    return err;
}

int hone_net_open_within(struct hone_net *net, const char *name, const struct hone_lowering *how,
                         struct hone_device *d, const struct hone_net *shared)
{
    struct search s = { .name = name, .how = *how, .device = d, .shared = shared,
                        .bytes = INT64_MAX };
    memset(net, 0, sizeof *net);
    int err = how->memory ? open_search(&s) : HONE_OK;
    if (!err && how->memory) err = find(&s);
    if (!err) err = hone_net_open(net, name, &s.how);
    if (!err && how->memory && !fits(&s)) {
        err = hone_net_too_large(net, s.bytes);
        hone_net_close(net);
    }
    free(s.list);
    free(s.again);
    return err;
}
