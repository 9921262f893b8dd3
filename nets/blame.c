/* Why a loss is no number: the batch goes forward again, step by step, to where it goes wrong
 * first.  Where the host heard of it some steps later, the batch is made again, and the weights are
 * those of now. */
#include "nets/arrivals.h"
#include "nets/teacher.h"

#include <math.h>
#include <stdlib.h>

/* The numbers of a tensor, in our memory; NULL after an error. */
static const char *get(struct hone_trainer *t, const struct hone_net *net, int tensor)
{
    struct hone_device *d = net->device;
    void *from = hone_net_mem(net, tensor);
    if (hone_shares_memory(net)) return from;
    return d->backend->get(d, t->host, from, (size_t)hone_tensor_bytes(&net->tensor[tensor]))
               ? NULL
               : t->host;
}

static int is_finite(struct hone_trainer *t, const struct hone_net *net, int tensor)
{
    const struct hone_tensor *of = &net->tensor[tensor];
    const char *v = get(t, net, tensor);
    const int64_t size = (int64_t)hone_dtype_bytes(of->dtype);
    if (of->dtype == HONE_I32 || of->dtype == HONE_U64) return 1;
    for (int64_t i = 0; v && i < hone_tensor_len(of); i++) {
        double number;
        hone_to_double(of->dtype, v + i * size, &number, 1);
        if (!isfinite(number)) return 0;
    }
    return 1;
}

/* The batch of a step that was some time ago; errors leave the one that is there. */
static void put_again(struct hone_trainer *t, const struct hone_arrival *a)
{
    struct hone_feed feed;
    struct hone_feed_source s = {
        .data = a->data, .order = t->order, .at = a->at, .end = a->at + a->net->batch,
        .batch = a->net->batch, .augment = t->options.augment,
        .key = hone_augment_key(t->options.seed, t->epoch), .resident = t->resident[0],
    };
    if (hone_feed_open(&feed, &s, HONE_FEED_INLINE)) return;
    if (!hone_trainer_put_batch(t, a->net, &feed) && a->net->teacher >= 0)
        hone_teacher_answer(t, a->net, t->order + a->at);
    hone_feed_close(&feed);
}

static int blame_weights(struct hone_trainer *t, const struct hone_net *net, int tensor,
                         char text[HONE_TEXT])
{
    const struct hone_tensor *w = &net->tensor[tensor];
    if (w->role != HONE_ROLE_WEIGHT || w->layer < 0 || is_finite(t, net, tensor)) return 0;
    const struct hone_layer *layer = &net->layer[w->layer];
    snprintf(text, HONE_TEXT, "weights of layer '%s' (%s) are not finite", layer->name,
             layer->kind);
    return 1;
}

/* The first step, of those forward, with a weight or a result that is not finite. */
static int blame_step(struct hone_trainer *t, const struct hone_net *net, int s,
                      char text[HONE_TEXT])
{
    const struct hone_step *step = &net->step[s];
    const struct hone_layer *layer = &net->layer[step->layer];
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    int n = step->problem.op->args(&step->problem, arg);
    for (int i = 0; i < n; i++)
        if (arg[i].io == HONE_IN && blame_weights(t, net, step->arg[i], text)) return 1;
    if (hone_net_run(net, s, s + 1)) return -1;
    for (int i = 0; i < n; i++) {
        if (arg[i].io == HONE_IN || is_finite(t, net, step->arg[i])) continue;
        snprintf(text, HONE_TEXT, "layer '%s' (%s) is the first whose output is not finite",
                 layer->name, layer->kind);
        return 1;
    }
    return 0;
}

void hone_trainer_blame(struct hone_trainer *t, const struct hone_arrival *a, int64_t later,
                        char text[HONE_TEXT])
{
    const struct hone_net *net = a->net;
    int found = 0;
    if (later > 0) put_again(t, a);
    if (!is_finite(t, net, net->input)) {
        snprintf(text, HONE_TEXT, "the data hold a number that is not finite");
        return;
    }
    if (net->teacher >= 0 && !is_finite(t, net, net->teacher)) {
        snprintf(text, HONE_TEXT, "the teacher's logits hold a number that is not finite");
        return;
    }
    for (int i = 0; net->launch && i < net->ntensors && !found; i++)
        found = blame_weights(t, net, i, text);
    for (int s = 0; !net->launch && s < net->first_backward && !found; s++)
        found = blame_step(t, net, s, text);
    if (found <= 0) snprintf(text, HONE_TEXT, "every layer's output is finite now");
}
