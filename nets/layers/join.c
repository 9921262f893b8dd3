/* Where branches meet: add (residual nets), concat, and the shortcut that changes shape without
 * weights (He et al. 2015, option A). */
#include "nets/lower.h"

static const struct hone_node *nth_input(const struct hone_lower *b, const struct hone_node *n,
                                         int i)
{
    return &b->node[n->input[i]];
}

static int differ(const struct hone_lower *b, const struct hone_node *n, int i, const char *what)
{
    const struct hone_node *x = nth_input(b, n, 0), *y = nth_input(b, n, i);
    return hone_fail(HONE_EPARSE, "%s '%s': '%s' is %dx%dx%d and '%s' is %dx%dx%d: %s",
                     n->kind->name, n->name, x->name, x->h, x->w, x->c, y->name, y->h, y->w, y->c,
                     what);
}

/* ---- add ---- */

static long long length(const struct hone_lower *b, const struct hone_node *n)
{
    return (long long)hone_tensor_len(&b->net->tensor[n->y]);
}

static void fuse_act(struct hone_lower *b, struct hone_node *n)
{
    char both[HONE_TEXT], sum[HONE_TEXT], act[HONE_TEXT];
    if (!n->act) return;
    snprintf(both, sizeof both, "add:f32:any:n%lld:%s", length(b, n), n->act->name);
    snprintf(sum, sizeof sum, "add:f32:any:n%lld", length(b, n));
    snprintf(act, sizeof act, "%s:f32:any:n%lld", n->act->name, length(b, n));
    if (!hone_lower_wins(b, (const char *[]){ both, NULL }, (const char *[]){ sum, act, NULL }))
        hone_lower_part(b, n);
}

static int add(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *x = nth_input(b, n, 0), *y = nth_input(b, n, 1);
    char text[HONE_TEXT];
    if (x->h != y->h || x->w != y->w || x->c != y->c)
        return differ(b, n, 1, "they must be equal");
    if (n->sum_of >= 0) {
        hone_lower_pass(n, &b->node[n->sum_of]);
        hone_lower_say(b, n, "in %s", b->node[n->sum_of].name);
        return HONE_OK;
    }
    hone_lower_pass(n, x);
    if ((n->y = hone_lower_output(b, n, "")) < 0) return n->y;
    fuse_act(b, n);
    snprintf(text, sizeof text, "add:f32:any:n%lld%s%s", length(b, n), n->act ? ":" : "",
             n->act ? n->act->name : "");
    return hone_lower_step(b, n, HONE_FORWARD, text, (int[]){ n->y, x->y, y->y }, 3);
}

/* The gradient of both terms is the sum's: no step but an activation's. */
static int add_backward(struct hone_lower *b, struct hone_node *n)
{
    int dy = hone_lower_act_backward(b, n, 0), err = dy < 0 ? dy : HONE_OK;
    for (int i = 0; !err && i < 2; i++) {
        if (n->input[i] == n->sum_of)
            b->node[n->sum_of].dsum = dy;
        else
            err = hone_lower_same_gradient(b, nth_input(b, n, i)->y, dy);
    }
    return err;
}

/* ---- concat: two by two, from the left ---- */

static int concat_step(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase,
                       int c, int more, const int arg[3])
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "concat_%s:f32:any:m%lldn%dk%d",
             phase == HONE_FORWARD ? "fwd" : "bwd", (long long)b->how->batch * n->h * n->w, c,
             more);
    return hone_lower_step(b, n, phase, text, arg, 3);
}

static int concat(struct hone_lower *b, struct hone_node *n)
{
    hone_lower_pass(n, nth_input(b, n, 0));
    int err = HONE_OK;
    for (int i = 1; !err && i < n->ninputs; i++) {
        const struct hone_node *in = nth_input(b, n, i);
        int so_far = n->y, c = n->c;
        if (in->h != n->h || in->w != n->w)
            return differ(b, n, i, "their rows and columns must be equal");
        if ((int64_t)n->c + in->c > HONE_MAX_SIZE)
            return hone_fail(HONE_EPARSE, "concat '%s' of more than %d channels", n->name,
                             HONE_MAX_SIZE);
        n->c += in->c;
        n->y = hone_lower_output(b, n, i + 1 < n->ninputs ? ".part" : "");
        err = concat_step(b, n, HONE_FORWARD, c, in->c, (int[]){ n->y, so_far, in->y });
    }
    hone_lower_say(b, n, "%d", n->ninputs);
    return err;
}

static int concat_backward(struct hone_lower *b, struct hone_node *n)
{
    int layer = hone_node_index(b, n), dy = hone_lower_gradient_of(b, n->y), c = n->c,
        err = HONE_OK;
    for (int i = n->ninputs - 1; !err && i > 0; i--) {
        const struct hone_node *in = nth_input(b, n, i), *first = nth_input(b, n, 0);
        int da, db = hone_lower_new_gradient(b, layer, in->y);
        c -= in->c;
        if (i == 1)
            da = hone_lower_new_gradient(b, layer, first->y);
        else
            da = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, layer, 2,
                                   (int64_t[]){ (int64_t)b->how->batch * n->h * n->w, c },
                                   "d %s.part", n->name);
        err = concat_step(b, n, HONE_BACKWARD_DATA, c, in->c, (int[]){ da, db, dy });
        dy = da;
    }
    return err;
}

/* ---- shortcut ---- */

static int shortcut_step(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase,
                         const int arg[2])
{
    const struct hone_node *in = hone_node_input(b, n);
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "shortcut_%s:f32:nhwc:mb%dic%dih%diw%doc%ds%d",
             phase == HONE_FORWARD ? "fwd" : "bwd", b->how->batch, in->c, in->h, in->w, n->c,
             hone_node_int(n, "stride"));
    return hone_lower_step(b, n, phase, text, arg, 2);
}

static int shortcut(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    int s = hone_node_int(n, "stride"), k = hone_node_int(n, "k");
    n->h = (in->h + s - 1) / s;
    n->w = (in->w + s - 1) / s;
    n->c = k ? k : in->c;
    if (n->c < in->c)
        return hone_fail(HONE_EPARSE,
                         "shortcut '%s': k=%d, and '%s' has %d channels: it drops none", n->name, k,
                         in->name, in->c);
    hone_lower_say(b, n, "%d->%d", in->c, n->c);
    if (s > 1) hone_lower_say(b, n, " s%d", s);
    if ((n->y = hone_lower_output(b, n, "")) < 0) return n->y;
    return shortcut_step(b, n, HONE_FORWARD, (int[]){ n->y, in->y });
}

static int shortcut_backward(struct hone_lower *b, struct hone_node *n)
{
    int dy = hone_lower_gradient_of(b, n->y),
        dx = hone_lower_new_gradient(b, hone_node_index(b, n), hone_node_input(b, n)->y);
    return shortcut_step(b, n, HONE_BACKWARD_DATA, (int[]){ dx, dy });
}

const struct hone_layer_kind hone_layers_join[] = {
    { .name = "add",
      .ninputs = 2,
      .is_sum = 1,
      .takes_act = HONE_TAKES_CUT,
      .forward = add,
      .backward = add_backward },
    { .name = "concat", .ninputs = 2, .or_more = 1, .forward = concat, .backward = concat_backward },
    { .name = "shortcut",
      .ninputs = 1,
      .forward = shortcut,
      .backward = shortcut_backward,
      .key = { { .name = "k", .min = 1, .max = HONE_MAX_SIZE },
               { .name = "stride", .min = 1, .max = 4096, .def = 1 } } },
    { 0 },
};
