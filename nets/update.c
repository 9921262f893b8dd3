/* The optimizer's steps.  One runs over the flat arrays of all parameters and their gradients; but
 * large weights, on a processor, have one of their own right after their gradient's: so that this
 * lies in the arena, where the next layer's takes its place, and is still in the cache.  The
 * largest have several, each after a piece of the gradient. */
#include "nets/lower.h"

#include <stdlib.h>

enum { LARGE = 1 << 20, PIECE = LARGE / 2 };   /* bytes; a piece has no fewer */
enum { WORTH = 8 };                            /* times the bytes that are copied for that */

int hone_lower_is_large(const struct hone_lower *b, int64_t bytes)
{
    const struct hone_device *d = b->how->device;
    return b->how->train && bytes >= LARGE && !(d && d->backend->start);
}

/* Not where something is done with all gradients before: clipping, a loss's scale. */
int hone_lower_updates_apart(const struct hone_lower *b, int64_t bytes)
{
    const struct hone_lowering *how = b->how;
    return hone_lower_is_large(b, bytes) && !(how->optim.clip > 0) && b->net->dtype != HONE_F16 &&
           how->whole != HONE_WHOLE_ALWAYS && hone_launch_wanted() <= 0;
}

int hone_lower_update_open(struct hone_lower *b)
{
    struct hone_net *net = b->net;
    char problem[HONE_TEXT];
    int64_t flat[] = { b->nflat }, grads[] = { b->ngrads }, eight[] = { 8 }, one[] = { 1 };
    b->nmoments = hone_optim_problem(&b->how->optim, b->nflat, problem);
    net->params = hone_lower_tensor(b, HONE_ROLE_WEIGHT, HONE_F32, -1, 1, flat, "parameters");
    net->grads = hone_lower_tensor(b, HONE_ROLE_GRADIENT, HONE_F32, -1, 1, grads, "gradients");
    net->hyper = hone_lower_tensor(b, HONE_ROLE_STATE, HONE_F32, -1, 1, eight, "hyper-parameters");
    if (net->params < 0 || net->grads < 0 || net->hyper < 0) return HONE_ENOMEM;
    if (b->how->optim.clip > 0 &&
        (net->norm = hone_lower_tensor(b, HONE_ROLE_STATE, HONE_F32, -1, 1, one, "norm")) < 0)
        return net->norm;
    for (int i = 0; i < b->nmoments; i++) {
        b->moment[i] =
            hone_lower_tensor(b, HONE_ROLE_STATE, HONE_F32, -1, 1, flat, "moment %d", i + 1);
        if (b->moment[i] < 0) return b->moment[i];
    }
    return HONE_OK;
}

int hone_lower_numbers(struct hone_lower *b, int t, int64_t from, int64_t n)
{
    if (!from && n == hone_tensor_len(&b->net->tensor[t])) return t;
    int v = hone_lower_tensor(b, HONE_ROLE_STATE, HONE_F32, -1, 1, (int64_t[]){ n }, "%s from %lld",
                              b->net->tensor[t].name, (long long)from);
    if (v < 0) return v;
    struct hone_tensor *of = &b->net->tensor[v];
    of->within = t;
    of->offset = from * (int64_t)hone_dtype_bytes(of->dtype);
    return v;
}

/* The step for n numbers of parameters p, which are those from `from` on, with gradients g. */
static int update(struct hone_lower *b, const struct hone_node *node, int p, int g, int64_t from,
                  int64_t n)
{
    char problem[HONE_TEXT];
    int arg[HONE_MAX_ARGS], nargs = 0;
    hone_optim_problem(&b->how->optim, n, problem);
    arg[nargs++] = p;
    for (int i = 0; i < b->nmoments; i++) arg[nargs++] = hone_lower_numbers(b, b->moment[i], from, n);
    arg[nargs++] = g;
    arg[nargs++] = b->net->hyper;
    return hone_lower_step(b, node, HONE_UPDATE, problem, arg, nargs);
}

/* Where in the flat array weight w begins, in numbers. */
static int64_t place_of(const struct hone_lower *b, int w)
{
    const struct hone_tensor *t = &b->net->tensor[w];
    return t->offset / (int64_t)hone_dtype_bytes(t->dtype);
}

int hone_lower_pieces(const struct hone_lower *b, const struct hone_node *n, int share,
                      int64_t copied)
{
    const struct hone_tensor *w = &b->net->tensor[n->weight];
    const int64_t bytes = hone_tensor_bytes(w);
    int pieces = 1;
    if (!hone_lower_updates_apart(b, bytes) || b->how->keep || copied * WORTH > bytes) return 1;
    /* Each begins on a cache line. */
    while (bytes / pieces > b->net->trainable_bytes / share && bytes / pieces / 2 >= PIECE &&
           w->dim[0] % (2 * pieces) == 0 && bytes / pieces / 2 % HONE_ALIGN == 0)
        pieces *= 2;
    return pieces;
}

int hone_lower_weight_piece(struct hone_lower *b, const struct hone_node *n, int nth, int pieces)
{
    const int64_t len = hone_tensor_len(&b->net->tensor[n->weight]) / pieces;
    return hone_lower_numbers(b, b->net->params, place_of(b, n->weight) + nth * len, len);
}

/* The gradient of piece nth, and its update. */
static int piece(struct hone_lower *b, struct hone_node *n, int nth, int columns,
                 hone_lower_piece *gradient, int other)
{
    struct hone_tensor w = b->net->tensor[n->weight];
    const int64_t len = hone_tensor_len(&w) / n->pieces, from = place_of(b, n->weight) + nth * len;
    w.dim[0] /= n->pieces;
    int g = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_WIDE, w.layer, w.rank, w.dim, "d %s.%d",
                              w.name, nth);
    int err = g < 0 ? g : gradient(b, n, g, columns, other);
    return err ? err : update(b, n, hone_lower_weight_piece(b, n, nth, n->pieces), g, from,
                              len);
}

/* A tensor of so many columns of t. */
static int columns_of(struct hone_lower *b, int t, int64_t rows, int64_t columns)
{
    const struct hone_tensor of = b->net->tensor[t];
    return hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, of.layer, 2,
                             (int64_t[]){ rows, columns }, "part of %.40s", of.name);
}

/* Pieces [from, to). */
static int halve(struct hone_lower *b, struct hone_node *n, int from, int to, int t,
                 hone_lower_piece *gradient, int other)
{
    char text[HONE_TEXT];
    if (to - from == 1) return piece(b, n, from, t, gradient, other);
    const int64_t columns = b->net->tensor[n->weight].dim[0] / n->pieces * (to - from),
                  rows = hone_tensor_len(&b->net->tensor[t]) / columns;
    int left = columns_of(b, t, rows, columns / 2), right = columns_of(b, t, rows, columns / 2),
        mid = (from + to) / 2;
    snprintf(text, sizeof text, "concat_bwd:f32:any:m%lldn%lldk%lld", (long long)rows,
             (long long)columns / 2, (long long)columns / 2);
    int err = hone_lower_step(b, n, HONE_BACKWARD_WEIGHTS, text, (int[]){ left, right, t }, 3);
    if (!err) err = halve(b, n, from, mid, left, gradient, other);
    return err ? err : halve(b, n, mid, to, right, gradient, other);
}

int hone_lower_in_pieces(struct hone_lower *b, struct hone_node *n, int t,
                         hone_lower_piece *gradient, int other)
{
    return halve(b, n, 0, n->pieces, t, gradient, other);
}

int hone_lower_update_of(struct hone_lower *b, const struct hone_node *n)
{
    const int weights[] = { n->weight, n->bias };
    for (int i = 0; i < 2; i++) {
        const int w = weights[i];
        if (w < 0 || !hone_lower_updates_apart(b, hone_tensor_bytes(&b->net->tensor[w])) ||
            (w == n->weight && n->pieces > 1))
            continue;
        int err = update(b, n, w, hone_lower_gradient_of(b, w), place_of(b, w),
                         hone_tensor_len(&b->net->tensor[w]));
        if (err) return err;
    }
    return HONE_OK;
}

/* Clips the gradients by the norm of all of them. */
static int clip(struct hone_lower *b)
{
    struct hone_net *net = b->net;
    char problem[HONE_TEXT];
    snprintf(problem, sizeof problem, "clip:f32:any:n%lld", (long long)b->nflat);
    return hone_lower_step(b, NULL, HONE_UPDATE, problem,
                           (int[]){ net->grads, net->norm, net->hyper }, 3);
}

/* Parameters [from, to), whose gradients lie side by side from `grads` on. */
static int update_run(struct hone_lower *b, int64_t from, int64_t to, int64_t grads)
{
    if (from == to) return HONE_OK;
    return update(b, NULL, hone_lower_numbers(b, b->net->params, from, to - from),
                  hone_lower_numbers(b, b->net->grads, grads, to - from), from, to - from);
}

int hone_lower_update_rest(struct hone_lower *b)
{
    int64_t from = 0, grads = 0;   /* of the run between two weights that have steps of their own */
    const int ntensors = b->net->ntensors;
    int err = b->how->optim.clip > 0 ? clip(b) : HONE_OK;
    for (int w = 0; !err && w < ntensors; w++) {
        const struct hone_tensor of = b->net->tensor[w];
        if (of.role != HONE_ROLE_WEIGHT || w == b->net->params ||
            !hone_lower_updates_apart(b, hone_tensor_bytes(&of)))
            continue;
        const int64_t at = place_of(b, w);
        err = update_run(b, from, at, grads);
        grads += at - from;
        from = at + hone_lower_on_lines(hone_tensor_len(&of));
    }
    return err ? err : update_run(b, from, b->nflat, grads);
}
