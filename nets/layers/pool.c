/* maxpool and avgpool.  The stride is the window unless given; what does not fill a window is left
 * out.  gap: the average of the whole image.
 *
 * For training a maximum keeps its place in the window, a byte, by which the gradient finds it: the
 * pooled tensor need not be kept.  Where a cut of conv or fc lies below, the place also says that
 * no gradient passes that: it needs no step of its own (fuse.c). */
#include "nets/lower.h"

static int is_whole(const struct hone_node *n) { return n->kind->name[0] == 'g'; }
static int is_avg(const struct hone_node *n) { return n->kind->name[0] != 'm'; }

static int pool(struct hone_lower *b, struct hone_node *n, enum hone_phase phase,
                const char *suffix, const int arg[], int nargs)
{
    char text[2 * HONE_TEXT];
    int include_pad = is_avg(n) && !is_whole(n) && hone_node_int(n, "include_pad"),
        cut = n->cut && phase == HONE_FORWARD;
    snprintf(text, sizeof text, "%s_%s:f32:nhwc:%s%s%s%s", is_avg(n) ? "avgpool" : "maxpool",
             suffix, n->sizes, include_pad ? ":include_pad" : n->places >= 0 ? ":index" : "",
             cut ? "+" : "", cut ? n->cut->name : "");
    return hone_lower_step(b, n, phase, text, arg, nargs);
}

/* The tensor with the places of n's maxima, four to a word; none where the gradient needs none, or
 * a window has too many. */
static int keep_places(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_tensor y = b->net->tensor[n->y];
    const int64_t words = (hone_tensor_len(&y) + 3) / 4;
    if (!b->how->train || is_avg(n) || !hone_node_input(b, n)->backward ||
        !hone_lower_has_places(n))
        return HONE_OK;
    n->places = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_I32, hone_node_index(b, n), 1,
                                  (int64_t[]){ words }, "%s.places", n->name);
    return n->places < 0 ? n->places : HONE_OK;
}

/* A tensor for part of what n, of one part of the batch, reads. */
static int part_of_input(struct hone_lower *b, const struct hone_node *n, const char *what)
{
    const struct hone_node *in = hone_node_input(b, n);
    const struct hone_tensor x = b->net->tensor[in->y];
    return hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, hone_node_index(b, n), 1,
                             (int64_t[]){ hone_tensor_len(&x) / in->parts }, "%s%s.part", what,
                             in->name);
}

static int forward_in_parts(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    int err = HONE_OK;
    for (int i = 0; !err && i < in->parts; i++) {
        int a = part_of_input(b, n, ""), x = hone_lower_batch_part(b, in->y, i, in->parts),
            y = hone_lower_batch_part(b, n->y, i, in->parts);
        err = hone_lower_act_of_part(b, in, a, x);
        if (!err) err = pool(b, n, HONE_FORWARD, "fwd", (int[]){ y, a }, 2);
    }
    return err;
}

/* The gradient of the activation's input comes to lie where that was. */
static int backward_in_parts(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    int dy = hone_lower_gradient_of(b, n->y), err = dy < 0 ? dy : HONE_OK;
    for (int i = 0; !err && i < in->parts; i++) {
        int da = part_of_input(b, n, "d "), x = hone_lower_batch_part(b, in->y, i, in->parts),
            part = hone_lower_batch_part(b, dy, i, in->parts);
        err = pool(b, n, HONE_BACKWARD_DATA, "bwd", (int[]){ da, part }, 2);
        if (!err) err = hone_lower_act_gradient_of_part(b, in, x, da, x);
    }
    return err ? err : hone_lower_same_gradient(b, in->y, in->y);
}

static int forward_gap(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    snprintf(n->sizes, sizeof n->sizes, "mb%dic%dih%diw%dkh%dkw%dsh%dsw%dph0pw0", b->how->batch,
             in->c, in->h, in->w, in->h, in->w, in->h, in->w);
    n->h = n->w = 1;
    n->c = in->c;
    hone_lower_say(b, n, "%dx%d", in->h, in->w);
    if ((n->y = hone_lower_output(b, n, "")) < 0) return n->y;
    return pool(b, n, HONE_FORWARD, "fwd", (int[]){ n->y, in->y }, 2);
}

static int forward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    struct hone_problem p;
    struct hone_arg arg[HONE_MAX_ARGS];
    char text[2 * HONE_TEXT];
    int r = hone_node_int(n, "r"), kw = hone_node_int(n, "kw"), s = hone_node_int(n, "stride"),
        pad = hone_node_int(n, "p");
    snprintf(n->sizes, sizeof n->sizes, "mb%dic%dih%diw%dkh%dkw%dsh%dsw%dph%dpw%d",
             in->parts > 1 ? b->how->batch / in->parts : b->how->batch, in->c, in->h, in->w, r, kw,
             s, s, pad, pad);
    snprintf(text, sizeof text, "%s_fwd:f32:nhwc:%s", n->kind->name, n->sizes);
    int err = hone_problem_parse(text, &p);
    if (err)
        return hone_fail_at(err, "%s '%s' on %dx%dx%d", n->kind->name, n->name, in->h, in->w,
                            in->c);
    p.op->args(&p, arg);
    n->h = (int)arg[0].dim[1];
    n->w = (int)arg[0].dim[2];
    n->c = in->c;
    hone_lower_say(b, n, "%dx%d", r, kw);
    if (s != r) hone_lower_say(b, n, " s%d", s);
    if (pad) hone_lower_say(b, n, " p%d", pad);
    if ((n->y = hone_lower_output(b, n, "")) < 0) return n->y;
    if (in->parts > 1) return forward_in_parts(b, n);
    if ((err = keep_places(b, n))) return err;
    return pool(b, n, HONE_FORWARD, "fwd", (int[]){ n->y, in->y, n->places }, 2 + (n->places >= 0));
}

static int backward(struct hone_lower *b, struct hone_node *n)
{
    const struct hone_node *in = hone_node_input(b, n);
    if (in->parts > 1) return backward_in_parts(b, n);
    int dy = hone_lower_gradient_of(b, n->y),
        dx = hone_lower_new_gradient(b, hone_node_index(b, n), in->y);
    if (dx < 0) return dx;
    return pool(b, n, HONE_BACKWARD_DATA, "bwd",
                (int[]){ dx, dy, n->places >= 0 ? n->places : in->y }, is_avg(n) ? 2 : 3);
}

/* clang-format off */
#define KEYS                                                  \
    { .name = "r", .required = 1, .min = 1, .max = 4096 },    \
    { .name = "kw", .min = 1, .max = 4096, .same = "r" },     \
    { .name = "stride", .min = 1, .max = 4096, .same = "r" }, \
    { .name = "p", .max = 4096 }
/* clang-format on */

const struct hone_layer_kind hone_layers_pool[] = {
    { .name = "maxpool", .ninputs = 1, .forward = forward, .backward = backward, .key = { KEYS } },
    { .name = "avgpool",
      .ninputs = 1,
      .forward = forward,
      .backward = backward,
      .key = { KEYS, { .name = "include_pad", .max = 1 } } },
    { .name = "gap", .ninputs = 1, .forward = forward_gap, .backward = backward },
    { 0 },
};
