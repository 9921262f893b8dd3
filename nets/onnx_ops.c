/* ONNX's operators as lines of a net. */
#include "nets/onnx_net.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- attributes ---- */

static int64_t whole(const struct hone_onnx_node *n, const char *name, int64_t dflt)
{
    const struct hone_onnx_attr *a = hone_onnx_attr(n, name);
    return a ? a->whole : dflt;
}

static double real(const struct hone_onnx_node *n, const char *name, double dflt)
{
    const struct hone_onnx_attr *a = hone_onnx_attr(n, name);
    return a ? a->real : dflt;
}

/* Entry i of a list of n; dflt where the attribute is not given. */
static int64_t entry(const struct hone_onnx_node *n, const char *name, int i, int64_t dflt)
{
    const struct hone_onnx_attr *a = hone_onnx_attr(n, name);
    return a && i < a->n ? a->list[i] : dflt;
}

static const struct hone_onnx_tensor *constant(const struct hone_onnx_net *x,
                                               const struct hone_onnx_node *n, int input)
{
    return input < n->ninputs ? hone_onnx_constant(x->model, n->input[input]) : NULL;
}

static struct hone_onnx_line *line_of(struct hone_onnx_net *x, const struct hone_onnx_made *m)
{
    return &x->line[m->line];
}

static void say(struct hone_onnx_line *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct hone_onnx_line *l, const char *fmt, ...)
{
    size_t len = strlen(l->keys);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->keys + len, sizeof l->keys - len, fmt, ap);
    va_end(ap);
}

static void weigh(struct hone_onnx_line *l, const char *suffix, const struct hone_onnx_tensor *t,
                  int transposed)
{
    l->weight[l->nweights++] = (struct hone_onnx_weight){ suffix, t, transposed };
}

/* ---- windows: convolution and pooling ---- */

struct window {
    int64_t k[2], stride[2], dilation[2], pad[4]; /* pad: top, left, bottom, right */
    int same;
};

/* Pads as ONNX lists them; unequal ones are taken where they are those of SAME. */
static int read_pads(const struct hone_onnx_node *n, const struct hone_onnx_made *in,
                     struct window *w)
{
    const struct hone_onnx_attr *mode = hone_onnx_attr(n, "auto_pad");
    const int size[2] = { in->h, in->w };
    int64_t want[4];
    int is_same = 1;
    if (mode && !strcmp(mode->text, "SAME_LOWER"))
        return hone_fail(HONE_EDATA, "auto_pad SAME_LOWER: Hone's 'same' pads as SAME_UPPER");
    for (int d = 0; d < 2; d++) {
        int64_t out = (size[d] + w->stride[d] - 1) / w->stride[d],
                total = (out - 1) * w->stride[d] + (w->k[d] - 1) * w->dilation[d] + 1 - size[d];
        want[d] = total > 0 ? total / 2 : 0;
        want[d + 2] = total > 0 ? total - total / 2 : 0;
    }
    for (int i = 0; i < 4; i++) w->pad[i] = entry(n, "pads", i, 0);
    if (mode && !strcmp(mode->text, "SAME_UPPER")) memcpy(w->pad, want, sizeof want);
    if (mode && !strcmp(mode->text, "VALID")) memset(w->pad, 0, sizeof w->pad);
    for (int i = 0; i < 4; i++) is_same &= w->pad[i] == want[i];
    int even = w->pad[0] == w->pad[2] && w->pad[1] == w->pad[3];
    w->same = is_same && !even;
    if (!even && !is_same)
        return hone_fail(
            HONE_EDATA, "pads %lld,%lld,%lld,%lld: Hone pads both sides alike, or as SAME",
            (long long)w->pad[0], (long long)w->pad[1], (long long)w->pad[2], (long long)w->pad[3]);
    return HONE_OK;
}

static int read_window(const struct hone_onnx_node *n, const struct hone_onnx_made *in,
                       struct window *w)
{
    for (int d = 0; d < 2; d++) {
        w->stride[d] = entry(n, "strides", d, 1);
        w->dilation[d] = entry(n, "dilations", d, 1);
        if (w->k[d] < 1 || w->stride[d] < 1 || w->dilation[d] < 1 || w->k[d] > 4096 ||
            w->stride[d] > 4096 || w->dilation[d] > 4096)
            return hone_fail(HONE_EDATA, "a kernel, stride or dilation that is none");
    }
    if (w->stride[0] != w->stride[1])
        return hone_fail(HONE_EDATA, "strides %lld,%lld: Hone has one for both directions",
                         (long long)w->stride[0], (long long)w->stride[1]);
    if (w->dilation[0] != w->dilation[1])
        return hone_fail(HONE_EDATA, "dilations %lld,%lld: Hone has one for both directions",
                         (long long)w->dilation[0], (long long)w->dilation[1]);
    return read_pads(n, in, w);
}

static void say_window(struct hone_onnx_line *l, const struct window *w, int dflt_stride)
{
    say(l, " r=%lld", (long long)w->k[0]);
    if (w->k[1] != w->k[0]) say(l, " kw=%lld", (long long)w->k[1]);
    if (w->stride[0] != dflt_stride) say(l, " stride=%lld", (long long)w->stride[0]);
    if (w->dilation[0] != 1) say(l, " d=%lld", (long long)w->dilation[0]);
    if (w->same) {
        say(l, " p=same");
        return;
    }
    if (w->pad[0] || w->pad[1]) say(l, " p=%lld", (long long)w->pad[0]);
    if (w->pad[1] != w->pad[0]) say(l, " pw=%lld", (long long)w->pad[1]);
}

/* The size after windows pass; an error where none fits. */
static int slide(const struct window *w, struct hone_onnx_made *m, int ceil_mode)
{
    int *const size[2] = { &m->h, &m->w };
    for (int d = 0; d < 2; d++) {
        int64_t room = *size[d] + w->pad[d] + w->pad[d + 2] - (w->k[d] - 1) * w->dilation[d] - 1;
        if (room < 0)
            return hone_fail(HONE_EDATA, "a window of %lld pixels on %d", (long long)w->k[d],
                             *size[d]);
        if (ceil_mode && room % w->stride[d])
            return hone_fail(HONE_EDATA, "ceil_mode where windows do not divide the input");
        *size[d] = (int)(room / w->stride[d] + 1);
    }
    m->fh = m->h;
    m->fw = m->w;
    m->fc = m->c;
    return HONE_OK;
}

static int check_rank(const struct hone_onnx_tensor *t, int rank, const char *what)
{
    return t->rank == rank ? HONE_OK
                           : hone_fail(HONE_EDATA, "%s '%s' have %d dimensions; %d are read", what,
                                       t->name, t->rank, rank);
}

static int conv(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    const struct hone_onnx_tensor *w = constant(x, n, 1), *b = constant(x, n, 2);
    struct window win;
    if (!in) return HONE_EDATA;
    if (!w) return hone_fail(HONE_EDATA, "its weights are no constants");
    int64_t g = whole(n, "group", 1);
    int err = check_rank(w, 4, "weights");
    if (err) return err;
    if (g < 1 || w->dim[1] * g != in->c || w->dim[0] % g || w->dim[0] < 1)
        return hone_fail(HONE_EDATA,
                         "weights '%s' are for %lld channels in %lld groups, and its input has %d",
                         w->name, (long long)(w->dim[1] * g), (long long)g, in->c);
    for (int i = 0; i < 2; i++)
        if (entry(n, "kernel_shape", i, w->dim[2 + i]) != w->dim[2 + i])
            return hone_fail(HONE_EDATA, "kernel_shape is not that of weights '%s'", w->name);
    if (b && b->len != w->dim[0])
        return hone_fail(HONE_EDATA, "bias '%s' has %lld numbers for %lld filters", b->name,
                         (long long)b->len, (long long)w->dim[0]);
    if (n->ninputs > 2 && n->input[2][0] && !b)
        return hone_fail(HONE_EDATA, "its bias is no constant");
    win.k[0] = w->dim[2];
    win.k[1] = w->dim[3];
    if ((err = read_window(n, in, &win))) return err;
    int depthwise = g > 1 && g == in->c && w->dim[0] == g;
    if (!(m = hone_onnx_add(x, n, depthwise ? "dwconv" : "conv", in, n->output)))
        return HONE_ENOMEM;
    struct hone_onnx_line *l = line_of(x, m);
    m->c = (int)w->dim[0];
    if (!depthwise) say(l, " k=%d", m->c);
    if (!depthwise && g > 1) say(l, " g=%lld", (long long)g);
    say_window(l, &win, 1);
    say(l, " bias=%d", b != NULL);
    weigh(l, "w", w, 0);
    if (b) weigh(l, "bias", b, 0);
    return slide(&win, m, 0);
}

static int pool(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    int is_max = n->op[0] == 'M';
    struct window w = { .k = { entry(n, "kernel_shape", 0, 0), entry(n, "kernel_shape", 1, 0) } };
    if (!in) return HONE_EDATA;
    int err = read_window(n, in, &w);
    if (err) return err;
    if (w.dilation[0] != 1) return hone_fail(HONE_EDATA, "dilations other than 1");
    if (w.same || w.pad[0] != w.pad[1])
        return hone_fail(HONE_EDATA, "pads that differ by side: Hone pools with one padding");
    if (!(m = hone_onnx_add(x, n, is_max ? "maxpool" : "avgpool", in, n->output)))
        return HONE_ENOMEM;
    say_window(line_of(x, m), &w, (int)w.k[0]);
    if (!is_max && whole(n, "count_include_pad", 0)) say(line_of(x, m), " include_pad=1");
    return slide(&w, m, whole(n, "ceil_mode", 0) != 0);
}

static int global_pool(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    const struct hone_onnx_tensor *axes = constant(x, n, 1);
    if (!in) return HONE_EDATA;
    if (n->op[0] == 'R') { /* ReduceMean */
        double a = axes && axes->len == 2 ? axes->value[0] : (double)entry(n, "axes", 0, 0);
        double b = axes && axes->len == 2 ? axes->value[1] : (double)entry(n, "axes", 1, 0);
        if (a < 0) a += 4;
        if (b < 0) b += 4;
        if (fmin(a, b) != 2 || fmax(a, b) != 3)
            return hone_fail(HONE_EDATA, "a mean over other axes than height and width");
    }
    if (!(m = hone_onnx_add(x, n, "gap", in, n->output))) return HONE_ENOMEM;
    m->h = m->w = m->fh = m->fw = 1;
    return HONE_OK;
}

/* ---- products ---- */

static int add_fc(struct hone_onnx_net *x, const struct hone_onnx_node *n,
                  const struct hone_onnx_tensor *w, int transposed,
                  const struct hone_onnx_tensor *b)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    if (!in) return HONE_EDATA;
    int err = check_rank(w, 2, "weights");
    if (err) return err;
    int64_t ins = w->dim[transposed], outs = w->dim[!transposed];
    if (in->h != 1 || in->w != 1 || ins != in->c || outs < 1)
        return hone_fail(HONE_EDATA, "weights '%s' read %lld features, and its input is %dx%dx%d",
                         w->name, (long long)ins, in->c, in->h, in->w);
    if (b && b->len != outs)
        return hone_fail(HONE_EDATA, "bias '%s' has %lld numbers for %lld outputs", b->name,
                         (long long)b->len, (long long)outs);
    int fh = in->fh, fw = in->fw, fc = in->fc;
    if (!(m = hone_onnx_add(x, n, "fc", in, n->output))) return HONE_ENOMEM;
    struct hone_onnx_line *l = line_of(x, m);
    m->c = m->fc = (int)outs;
    m->fh = m->fw = 1;
    l->h = fh;
    l->w = fw;
    l->c = fc;
    say(l, " k=%lld", (long long)outs);
    weigh(l, "w", w, transposed);
    if (b) weigh(l, "bias", b, 0);
    return HONE_OK;
}

static int gemm(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    const struct hone_onnx_tensor *w = constant(x, n, 1), *b = constant(x, n, 2);
    if (!w || (n->ninputs > 2 && n->input[2][0] && !b))
        return hone_fail(HONE_EDATA, "its weights are no constants");
    if (whole(n, "transA", 0) || real(n, "alpha", 1) != 1 || (b && real(n, "beta", 1) != 1))
        return hone_fail(HONE_EDATA, "transA, alpha or beta other than of a layer");
    return add_fc(x, n, w, whole(n, "transB", 0) != 0, b);
}

static int matmul(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    const struct hone_onnx_tensor *w = constant(x, n, 1);
    if (!w) return hone_fail(HONE_EDATA, "a product of two tensors that are no constants");
    return add_fc(x, n, w, 0, NULL);
}

/* Of a product before it and a constant the bias; else a sum of branches. */
static int add(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    int which = constant(x, n, 0) ? 0 : 1;
    const struct hone_onnx_tensor *b = constant(x, n, which);
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[b ? !which : 0]), *other, *m;
    if (!in) return HONE_EDATA;
    if (b) {
        struct hone_onnx_line *l = line_of(x, in);
        if (strcmp(l->kind, "fc") || l->nweights > 1 || in->readers > 1 || b->len != in->c)
            return hone_fail(HONE_EDATA, "adds a constant to what is no product without a bias");
        weigh(l, "bias", b, 0);
        return hone_onnx_alias(x, in, n->output);
    }
    other = n->ninputs == 2 ? hone_onnx_find(x, n->input[1]) : NULL;
    if (!other) return HONE_EDATA;
    if (in->h != other->h || in->w != other->w || in->c != other->c || in->fh != other->fh ||
        in->fw != other->fw)
        return hone_fail(HONE_EDATA, "its inputs are %dx%dx%d and %dx%dx%d: Hone adds equal shapes",
                         in->c, in->h, in->w, other->c, other->h, other->w);
    int second = other->line;
    if (!(m = hone_onnx_add(x, n, "add", in, n->output))) return HONE_ENOMEM;
    struct hone_onnx_line *l = line_of(x, m);
    size_t len = strlen(l->inputs);
    snprintf(l->inputs + len, sizeof l->inputs - len, " %s", x->line[second].name);
    return HONE_OK;
}

static int concat(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    char more[sizeof x->line->inputs] = "";
    if (!in) return HONE_EDATA;
    int64_t axis = whole(n, "axis", 1);
    int c = in->c;
    if (axis != 1 && axis != -3) return hone_fail(HONE_EDATA, "along another axis than channels");
    if (in->h * in->w == 1 && in->fh * in->fw > 1)
        return hone_fail(HONE_EDATA, "of flattened pictures: their order differs");
    for (int i = 1; i < n->ninputs; i++) {
        const struct hone_onnx_made *other = hone_onnx_find(x, n->input[i]);
        size_t len = strlen(more);
        if (!other) return HONE_EDATA;
        if (other->h != in->h || other->w != in->w || other->fh != in->fh || other->fw != in->fw)
            return hone_fail(HONE_EDATA, "its inputs are of %dx%d and %dx%d pixels", in->h, in->w,
                             other->h, other->w);
        snprintf(more + len, sizeof more - len, " %s", x->line[other->line].name);
        c += other->c;
    }
    if (!(m = hone_onnx_add(x, n, "concat", in, n->output))) return HONE_ENOMEM;
    struct hone_onnx_line *l = line_of(x, m);
    size_t len = strlen(l->inputs);
    snprintf(l->inputs + len, sizeof l->inputs - len, "%s", more);
    m->c = m->fc = c;
    return HONE_OK;
}

static int bnorm(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    static const char *const suffix[] = { "gamma", "beta", "mean", "var" };
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    if (!in) return HONE_EDATA;
    if (in->fh * in->fw != in->h * in->w)
        return hone_fail(HONE_EDATA, "of flattened pictures: their order differs");
    for (int i = 0; i < 4; i++) {
        const struct hone_onnx_tensor *t = constant(x, n, i + 1);
        if (!t || t->len != in->c)
            return hone_fail(HONE_EDATA, "its %s are not %d constants", suffix[i], in->c);
    }
    if (!(m = hone_onnx_add(x, n, "bnorm", in, n->output))) return HONE_ENOMEM;
    for (int i = 0; i < 4; i++) weigh(line_of(x, m), suffix[i], constant(x, n, i + 1), 0);
    double eps = real(n, "epsilon", 1e-5);
    if ((float)eps != 1e-5f) say(line_of(x, m), " eps=%.9g", eps);
    return HONE_OK;
}

/* ---- what goes through ---- */

static int act(struct hone_onnx_net *x, const struct hone_onnx_node *n, const char *kind)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]);
    if (!in) return HONE_EDATA;
    return hone_onnx_add(x, n, kind, in, n->output) ? HONE_OK : HONE_ENOMEM;
}

static int relu(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    return act(x, n, "relu");
}

static int sigmoid(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    return act(x, n, "sigmoid");
}

static int tanh_(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    return act(x, n, "tanh");
}

static int leaky(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    double slope = real(n, "alpha", 0.01);
    if ((float)slope != 0.01f)
        return hone_fail(HONE_EDATA, "a slope of %g: Hone's leaky_relu has 0.01", slope);
    return act(x, n, "leaky_relu");
}

static int gelu(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    const struct hone_onnx_attr *a = hone_onnx_attr(n, "approximate");
    return act(x, n, a && !strcmp(a->text, "tanh") ? "gelu_tanh" : "gelu_erf");
}

static int clip(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    const struct hone_onnx_tensor *lo = constant(x, n, 1), *hi = constant(x, n, 2);
    double min = lo && lo->len == 1 ? lo->value[0] : real(n, "min", -INFINITY);
    double max = hi && hi->len == 1 ? hi->value[0] : real(n, "max", INFINITY);
    if (min != 0 || (max != 6 && max < 3e38))
        return hone_fail(HONE_EDATA, "from %g to %g: Hone has 0 to 6 (relu6) and 0 on (relu)", min,
                         max);
    return act(x, n, max == 6 ? "relu6" : "relu");
}

static int pass(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]);
    return in ? hone_onnx_alias(x, in, n->output) : HONE_EDATA;
}

static int dropout(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    const struct hone_onnx_tensor *t = constant(x, n, 1);
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    double share = t && t->len == 1 ? t->value[0] : real(n, "ratio", 0.5);
    if (!in) return HONE_EDATA;
    if (share == 0) return pass(x, n);
    if (!(share > 0 && share < 1)) return hone_fail(HONE_EDATA, "a share of %g", share);
    if (!(m = hone_onnx_add(x, n, "dropout", in, n->output))) return HONE_ENOMEM;
    say(line_of(x, m), " p=%.6g", share);
    return HONE_OK;
}

/* Flatten, or Reshape of a batch to features. */
static int flatten(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    struct hone_onnx_made *in = hone_onnx_find(x, n->input[0]), *m;
    if (!in) return HONE_EDATA;
    int64_t len = (int64_t)in->h * in->w * in->c, axis = whole(n, "axis", 1);
    if (n->op[0] == 'R') {
        const struct hone_onnx_tensor *to = constant(x, n, 1);
        if (!to || to->len != 2 || (to->value[1] != -1 && to->value[1] != (double)len))
            return hone_fail(HONE_EDATA, "to another shape than (batch, %lld)", (long long)len);
    } else if (n->op[0] == 'F' && axis != 1 && axis != -3) {
        return hone_fail(HONE_EDATA, "at axis %lld: Hone flattens samples", (long long)axis);
    }
    if (in->h == 1 && in->w == 1) return hone_onnx_alias(x, in, n->output);
    if (!(m = hone_onnx_add(x, n, "flatten", in, n->output))) return HONE_ENOMEM;
    m->c = (int)len;
    m->h = m->w = 1;
    return HONE_OK;
}

/* The loss computes it. */
static int softmax(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    if (strcmp(n->output, x->model->output[0].name))
        return hone_fail(HONE_EDATA,
                         "in the middle of a net: Hone has one in its loss, at the end");
    x->ended = 1;
    return pass(x, n);
}

static const struct {
    const char *op;
    int (*lower)(struct hone_onnx_net *x, const struct hone_onnx_node *n);
} ops[] = {
    { "Conv", conv },
    { "Gemm", gemm },
    { "MatMul", matmul },
    { "Add", add },
    { "Concat", concat },
    { "BatchNormalization", bnorm },
    { "MaxPool", pool },
    { "AveragePool", pool },
    { "GlobalAveragePool", global_pool },
    { "ReduceMean", global_pool },
    { "Relu", relu },
    { "LeakyRelu", leaky },
    { "Sigmoid", sigmoid },
    { "Tanh", tanh_ },
    { "Gelu", gelu },
    { "Clip", clip },
    { "Flatten", flatten },
    { "Reshape", flatten },
    { "Squeeze", flatten },
    { "Dropout", dropout },
    { "Identity", pass },
    { "Softmax", softmax },
    { "LogSoftmax", softmax },
};

int hone_onnx_lower(struct hone_onnx_net *x, const struct hone_onnx_node *n)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(ops[i].op, n->op)) {
            int err = n->ninputs && n->output[0] ? ops[i].lower(x, n)
                                                 : hone_fail(HONE_EDATA, "has no input or output");
            return err ? hone_fail_at(err, "node '%s' (%s)", n->name[0] ? n->name : n->output,
                                      n->op)
                       : HONE_OK;
        }
    char list[HONE_TEXT] = "";
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", ops[i].op);
    }
    return hone_fail(HONE_EDATA, "node '%s': no operator '%s' here; there are %s",
                     n->name[0] ? n->name : n->output, n->op, list);
}
