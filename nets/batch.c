/* A batch on its way to the device: in memory that the steps read themselves, gathered there from
 * resident data, or sent from one of two pinned buffers, so that one is filled while the other's
 * copy and step are under way. */
#include "nets/arrivals.h"
#include "nets/feed.h"

#include <string.h>

/* Batches are floats and labels; may the net read them where the host writes them? */
static int reads_host(const struct hone_net *net)
{
    return hone_shares_memory(net) && net->tensor[net->input].dtype == HONE_F32;
}

static size_t bytes_of(const struct hone_net *net, int tensor)
{
    return (size_t)hone_tensor_bytes(&net->tensor[tensor]);
}

/* ---- on a device that shares our memory ---- */

/* Floats or labels become a tensor, which may be of doubles. */
static void convert(const struct hone_net *net, int tensor, const void *from, void *to)
{
    const struct hone_tensor *of = &net->tensor[tensor];
    if (of->dtype == HONE_F64) hone_to_double(HONE_F32, from, to, hone_tensor_len(of));
    else if (from != to) memcpy(to, from, bytes_of(net, tensor));
}

static int put_here(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed)
{
    const int direct = reads_host(net);
    const int64_t n = hone_tensor_len(&net->tensor[net->input]);
    float *floats = direct ? hone_net_mem(net, net->input) : t->host;
    struct hone_batch b = { floats, direct ? hone_net_mem(net, net->target) : floats + n };
    hone_feed_next(feed, &b);
    if (direct && b.x != floats) hone_net_read_at(net, b.x, b.target);
    if (direct) return HONE_OK;
    convert(net, net->input, b.x, hone_net_mem(net, net->input));
    convert(net, net->target, b.target, hone_net_mem(net, net->target));
    return HONE_OK;
}

/* ---- to one that does not ---- */

/* A buffer whose last batch is there: t->host has room for any batch, and so has this. */
static int next_buffer(struct hone_trainer *t, struct hone_device *d, struct hone_outgoing **o)
{
    *o = &t->outgoing[t->turn];
    t->turn = !t->turn;
    if ((*o)->sent) return d->backend->reach(d, (*o)->sent);
    return (*o)->mem ? HONE_OK : d->backend->pin(d, t->host_bytes, (void **)&(*o)->mem);
}

static int put_there(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed)
{
    struct hone_device *d = net->device;
    struct hone_outgoing *o;
    const size_t x = bytes_of(net, net->input), target = bytes_of(net, net->target);
    const int64_t n = hone_tensor_len(&net->tensor[net->input]);
    int err = next_buffer(t, d, &o);
    if (err) return err;
    /* What need not be converted is gathered where it will be sent from. */
    float *floats = net->tensor[net->input].dtype == HONE_F32 ? (float *)o->mem : t->host;
    const int direct = (void *)floats == o->mem;
    struct hone_batch b = { floats, direct ? (void *)(o->mem + x) : floats + n };
    hone_feed_next(feed, &b);
    convert(net, net->input, b.x, o->mem);
    convert(net, net->target, b.target, o->mem + x);
    err = d->backend->send(d, hone_net_mem(net, net->input), o->mem, x);
    if (!err) err = d->backend->send(d, hone_net_mem(net, net->target), o->mem + x, target);
    return err ? err : d->backend->mark(d, &o->sent);
}

int hone_trainer_put_batch(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed)
{
    if (feed->source.resident)
        return hone_feed_gather(feed, net->batch, hone_net_mem(net, net->input),
                                hone_net_mem(net, net->target));
    return hone_shares_memory(net) ? put_here(t, net, feed) : put_there(t, net, feed);
}

void hone_trainer_free_batches(struct hone_trainer *t)
{
    struct hone_device *d = t->net.device;
    for (int i = 0; i < 2; i++) {
        struct hone_outgoing *o = &t->outgoing[i];
        if (o->mem) d->backend->unpin(d, o->mem);
        if (o->sent) d->backend->unmark(d, o->sent);
        *o = (struct hone_outgoing){ 0 };
    }
}
