/* An ONNX graph as a net's text and weights.  ONNX's pictures are (c, h, w), ours (h, w, c):
 * weights change their order, and so do the rows of the first product after a flatten. */
#include "nets/onnx_net.h"

#include <stdlib.h>
#include <string.h>

/* ---- what lines and operators share ---- */

struct hone_onnx_made *hone_onnx_find(struct hone_onnx_net *x, const char *name)
{
    for (int i = 0; i < x->nmade; i++)
        if (!strcmp(x->made[i].name, name)) return &x->made[i];
    hone_fail(HONE_EDATA, "no node before it makes '%s'", name);
    return NULL;
}

/* Room was made for all nodes: each adds one tensor, and at most one line. */
static struct hone_onnx_made *add_made(struct hone_onnx_net *x, const struct hone_onnx_made *in,
                                       const char *name)
{
    struct hone_onnx_made *m = &x->made[x->nmade++];
    *m = in ? *in : (struct hone_onnx_made){ 0 };
    snprintf(m->name, sizeof m->name, "%s", name);
    m->readers = 0;
    for (int i = 0; i < x->model->nnodes; i++)
        for (int j = 0; j < x->model->node[i].ninputs; j++)
            m->readers += !strcmp(x->model->node[i].input[j], name);
    return m;
}

struct hone_onnx_made *hone_onnx_add(struct hone_onnx_net *x, const struct hone_onnx_node *n,
                                     const char *kind, const struct hone_onnx_made *in,
                                     const char *output)
{
    struct hone_onnx_line *l = &x->line[x->nlines];
    *l = (struct hone_onnx_line){ .kind = kind, .node = n };
    int same = 1;
    for (int i = 0; i < x->nlines; i++) same += !strcmp(x->line[i].kind, kind);
    snprintf(l->name, sizeof l->name, "%s%d", kind, same);
    if (in) snprintf(l->inputs, sizeof l->inputs, "%s", x->line[in->line].name);
    struct hone_onnx_made *m = add_made(x, in, output);
    m->line = x->nlines++;
    return m;
}

int hone_onnx_alias(struct hone_onnx_net *x, const struct hone_onnx_made *in, const char *output)
{
    add_made(x, in, output);
    return HONE_OK;
}

/* ---- the input and the end ---- */

static int add_input(struct hone_onnx_net *x)
{
    const struct hone_onnx *m = x->model;
    const struct hone_onnx_value *in = NULL;
    for (int i = 0; i < m->ninputs; i++) {
        if (hone_onnx_constant(m, m->input[i].name)) continue; /* older files list weights, too */
        if (in)
            return hone_fail(HONE_EDATA, "two inputs, '%s' and '%s'; a net has one", in->name,
                             m->input[i].name);
        in = &m->input[i];
    }
    if (!in) return hone_fail(HONE_EDATA, "the graph has no input");
    if (in->type != 1) return hone_fail(HONE_EDATA, "input '%s' is not of f32", in->name);
    if (in->rank != 2 && in->rank != 4)
        return hone_fail(HONE_EDATA,
                         "input '%s' has %d dimensions; (n, c, h, w) and (n, features) "
                         "are read",
                         in->name, in->rank);
    for (int i = 1; i < in->rank; i++)
        if (in->dim[i] < 1 || in->dim[i] > 1 << 20)
            return hone_fail(HONE_EDATA, "input '%s': its size %d is not a known number", in->name,
                             i + 1);
    struct hone_onnx_made *made = hone_onnx_add(x, NULL, "input", NULL, in->name);
    made->c = made->fc = (int)in->dim[1];
    made->h = made->fh = in->rank == 4 ? (int)in->dim[2] : 1;
    made->w = made->fw = in->rank == 4 ? (int)in->dim[3] : 1;
    struct hone_onnx_line *l = &x->line[made->line];
    snprintf(l->keys, sizeof l->keys, " c=%d", made->c);
    if (in->rank == 4)
        snprintf(l->keys, sizeof l->keys, " c=%d h=%d w=%d", made->c, made->h, made->w);
    return HONE_OK;
}

static int add_loss(struct hone_onnx_net *x, const char *loss)
{
    const struct hone_onnx *m = x->model;
    if (m->noutputs != 1) return hone_fail(HONE_EDATA, "%d outputs; a net has one", m->noutputs);
    const struct hone_onnx_made *out = hone_onnx_find(x, m->output[0].name);
    if (!out) return hone_fail_at(HONE_EDATA, "the output");
    if (out->h * out->w != 1)
        return hone_fail(HONE_EDATA, "the output is a picture of %dx%d; a net ends in features",
                         out->h, out->w);
    const struct hone_onnx_value *says = &m->output[0];
    int64_t last = says->rank > 1 ? says->dim[1] : -1;
    if (last >= 0 && last != out->c)
        return hone_fail(HONE_EDATA, "output '%s' is said to be %lld numbers, and is %d",
                         says->name, (long long)last, out->c);
    if (!loss) loss = x->ended || out->c > 1 ? "softmax_ce" : "mse";
    hone_onnx_add(x, NULL, loss, out, "");
    return HONE_OK;
}

/* ---- the text ---- */

static int write_text(const struct hone_onnx_net *x, char **text)
{
    size_t room = 512 + (size_t)x->nlines * 1024, n;
    const char *base =
        strrchr(x->model->path, '/') ? strrchr(x->model->path, '/') + 1 : x->model->path;
    *text = malloc(room);
    if (!*text) return hone_fail(HONE_ENOMEM, "the text of %d lines", x->nlines);
    n = (size_t)snprintf(*text, room, "# Imported from %.100s", base);
    /* What a file says of its maker may be anything. */
    int plain = x->model->producer[0] != 0;
    for (const char *c = x->model->producer; *c; c++) plain &= *c >= ' ' && *c <= '~';
    for (char *c = *text; *c; c++)
        if ((unsigned char)*c < ' ') *c = '?';
    if (plain) n += (size_t)snprintf(*text + n, room - n, ", made by %s", x->model->producer);
    n += (size_t)snprintf(*text + n, room - n, ".\n");
    for (int i = 0; i < x->nlines; i++) {
        const struct hone_onnx_line *l = &x->line[i];
        const char *bias = !strcmp(l->kind, "fc") && l->nweights < 2 ? " bias=0" : "";
        n += (size_t)snprintf(*text + n, room - n, "%s %s%s%s%s%s\n", l->kind, l->name,
                              l->inputs[0] ? " = " : "", l->inputs, l->keys, bias);
    }
    return HONE_OK;
}

/* ---- the weights ---- */

/* Where number i of an ONNX tensor belongs in ours. */
static int64_t place(const struct hone_onnx_line *l, const struct hone_onnx_weight *w, int64_t i)
{
    const int64_t *dim = w->from->dim;
    if (w->from->rank == 4) { /* (oc, ic, kh, kw) to (oc, kh, kw, ic) */
        int64_t taps = dim[2] * dim[3], oc = i / (dim[1] * taps), ic = i / taps % dim[1];
        return (oc * taps + i % taps) * dim[1] + ic;
    }
    if (strcmp(w->suffix, "w")) return i;
    int64_t ins = dim[w->transposed], outs = dim[!w->transposed],
            in = w->transposed ? i % ins : i / outs, out = w->transposed ? i / ins : i % outs,
            pixels = (int64_t)l->h * l->w;
    return (in % pixels * l->c + in / pixels) * outs + out;
}

static int set_weight(const struct hone_net *net, const struct hone_onnx_line *l,
                      const struct hone_onnx_weight *w)
{
    char name[2 * HONE_NAME];
    int t = 0;
    snprintf(name, sizeof name, "%s.%s", l->name, w->suffix);
    while (t < net->ntensors && strcmp(net->tensor[t].name, name)) t++;
    if (t == net->ntensors || hone_tensor_len(&net->tensor[t]) != w->from->len)
        return hone_fail(HONE_EDATA, "tensor '%s' does not fit layer '%s'", w->from->name, l->name);
    float *to = malloc((size_t)(w->from->len + 1) * sizeof *to);
    if (!to) return hone_fail(HONE_ENOMEM, "%lld numbers", (long long)w->from->len);
    for (int64_t i = 0; i < w->from->len; i++) to[place(l, w, i)] = (float)w->from->value[i];
    int err = net->device->backend->put(net->device, hone_net_mem(net, t), to,
                                        (size_t)w->from->len * sizeof *to);
    free(to);
    return err;
}

/* The net is built as any other, so that what is imported has passed all its checks. */
static int write_weights(const struct hone_onnx_net *x, const char *text, const char *path)
{
    struct hone_net net = { 0 };
    struct hone_device d = { 0 };
    struct hone_lowering how = { .batch = 1, .optim = hone_optim_default(HONE_SGD) };
    int err = hone_device_open(&d, "cpu0");
    if (!err) err = hone_net_parse(&net, "its net", text, &how);
    if (!err) err = hone_net_assemble(&net, NULL, &d, NULL);
    for (int i = 0; !err && i < x->nlines; i++)
        for (int j = 0; !err && j < x->line[i].nweights; j++)
            err = set_weight(&net, &x->line[i], &x->line[i].weight[j]);
    if (!err) err = hone_weights_save(&net, NULL, path);
    hone_net_close(&net);
    hone_device_close(&d);
    return err;
}

int hone_onnx_convert(const struct hone_onnx *m, const char *loss, const char *weights, char **text)
{
    struct hone_onnx_net x = { .model = m };
    size_t room = (size_t)m->nnodes + 2; /* and the input, and the loss */
    x.line = calloc(room, sizeof *x.line);
    x.made = calloc(room, sizeof *x.made);
    int err = x.line && x.made ? HONE_OK : hone_fail(HONE_ENOMEM, "%zu layers", room);
    *text = NULL;
    if (!err && m->noutputs < 1) err = hone_fail(HONE_EDATA, "the graph has no output");
    if (!err) err = add_input(&x);
    for (int i = 0; !err && i < m->nnodes; i++) err = hone_onnx_lower(&x, &m->node[i]);
    if (!err) err = add_loss(&x, loss);
    if (!err) err = write_text(&x, text);
    if (!err) err = write_weights(&x, *text, weights);
    free(x.line);
    free(x.made);
    if (err) {
        free(*text);
        *text = NULL;
    }
    return err ? hone_fail_at(err, "%s", m->path) : HONE_OK;
}
