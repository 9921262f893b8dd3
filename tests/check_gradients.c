/* Gradients of every kind of layer against finite differences, through whole small nets.
 *
 * Three proofs.  First in doubles: all steps are evaluated by their op's meaning without rounding
 * to f32, so that central differences with step 1e-5 are good to about 1e-9, and lowering is
 * proved: the right ops in the right order on the right tensors.  Then in f32: the kernels that
 * training uses must give the same gradients up to their rounding.  And a net of bf16 must, up to
 * its. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3 };

/* ---- a net in doubles ---- */

struct exact {
    struct hone_net *net;
    double **v;    /* one array per tensor */
    double *scale; /* of each tensor: the largest magnitude that rounding errors of its numbers are
                      relative to */
};

static int exact_open(struct exact *e, struct hone_net *net)
{
    e->net = net;
    e->v = calloc((size_t)net->ntensors, sizeof *e->v);
    e->scale = calloc((size_t)net->ntensors, sizeof *e->scale);
    for (int t = 0; e->v && e->scale && t < net->ntensors; t++)
        if (!(e->v[t] = calloc((size_t)hone_tensor_len(&net->tensor[t]) + 1, sizeof **e->v)))
            return 0;
    return e->v && e->scale;
}

static void exact_close(struct exact *e)
{
    for (int t = 0; e->v && t < e->net->ntensors; t++) free(e->v[t]);
    free(e->v);
    free(e->scale);
}

static void exact_run(struct exact *e, int from, int to)
{
    for (int s = from; s < to; s++) {
        const struct hone_step *step = &e->net->step[s];
        const struct hone_problem *p = &step->problem;
        struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
        const double *in[HONE_MAX_ARGS] = { 0 };
        int n = p->op->args(p, arg);
        for (int a = 0; a < n; a++) in[a] = arg[a].io == HONE_OUT ? NULL : e->v[step->arg[a]];
        double *shared = p->op->share ? malloc((size_t)p->op->nshared(p) * sizeof *shared) : NULL;
        if (shared) { p->op->share(p, in, shared); in[p->op->shared_arg] = shared; }
        for (int a = 0; a < n; a++) {
            double *most = &e->scale[step->arg[a]], scale;
            *most = 0;
            for (int64_t i = 0; arg[a].io == HONE_OUT && i < hone_arg_len(&arg[a]); i++) {
                e->v[step->arg[a]][i] = p->op->ref(p, in, a, i, &scale);
                *most = fmax(*most, scale);
            }
        }
        free(shared);
    }
}

static double exact_loss(struct exact *e)
{
    double sum = 0;
    exact_run(e, 0, e->net->first_backward);
    for (int i = 0; i < BATCH; i++) sum += e->v[e->net->loss][i];
    return sum / BATCH;
}

/* Reals in [-1, 1] that f32 holds too, labels over all classes, a seed for dropout. */
static void exact_fill(struct exact *e)
{
    const struct hone_net *net = e->net;
    for (int t = 0; t < net->ntensors; t++) {
        const struct hone_tensor *of = &net->tensor[t];
        int64_t classes = net->tensor[net->output].dim[1];
        int fill = of->role == HONE_ROLE_DATA || (of->role == HONE_ROLE_WEIGHT && t != net->params);
        for (int64_t i = 0; fill && i < hone_tensor_len(of); i++) {
            double u = hone_random_unit(77u + (unsigned)t, (uint64_t)i);
            e->v[t][i] =
                of->dtype == HONE_I32 ? floor(u * (double)classes) : (double)(float)(2 * u - 1);
        }
    }
    if (net->seed >= 0) {
        e->v[net->seed][0] = 12345;
        e->v[net->seed][1] = 3;
    }
}

/* ---- the proofs ---- */

/* The tensor with the gradient of weight w: the one of the gradients at its offset. */
static int gradient_of(const struct hone_net *net, int w)
{
    for (int t = 0; t < net->ntensors; t++)
        if (net->tensor[t].role == HONE_ROLE_GRADIENT && t != net->grads &&
            net->tensor[t].offset == net->tensor[w].offset)
            return t;
    return -1;
}

static int is_weight(const struct hone_net *net, int t)
{
    return net->tensor[t].role == HONE_ROLE_WEIGHT && t != net->params;
}

/* Central differences: their error is h^2 times a third derivative, plus 1e-16 / h of rounding. */
static int check_differences(struct exact *e, const char *name)
{
    static const double h = 1e-5, tolerance = 1e-7;
    struct hone_net *net = e->net;
    int nweights = 0, moved = 0, good = 1;
    exact_loss(e);
    exact_run(e, net->first_backward, net->first_update);
    for (int w = 0; good && w < net->ntensors; w++) {
        if (!is_weight(net, w)) continue;
        int g = gradient_of(net, w);
        for (int64_t i = 0; good && i < hone_tensor_len(&net->tensor[w]); i++, nweights++) {
            double *p = &e->v[w][i], x = *p, up, down;
            *p = x + h;
            up = exact_loss(e);
            *p = x - h;
            down = exact_loss(e);
            *p = x;
            double want = (up - down) / (2 * h), got = e->v[g][i];
            moved += want != 0;
            good = fabs(got - want) <= tolerance * (1 + fabs(want));
            if (!good)
                printf("# d %s[%lld] is %.12g, differences say %.12g\n", net->tensor[w].name,
                       (long long)i, got, want);
        }
    }
    good = good && nweights && moved;
    ok(good, "%s: %d gradients in doubles", name, nweights);
    exact_loss(e);
    exact_run(e, net->first_backward, net->first_update);
    return good;
}

static void put_exact(struct exact *e)
{
    struct hone_net *net = e->net;
    for (int t = 0; t < net->ntensors; t++)
        if (net->tensor[t].role == HONE_ROLE_DATA || is_weight(net, t) || t == net->seed)
            hone_from_double(net->tensor[t].dtype, e->v[t], hone_net_mem(net, t),
                             hone_tensor_len(&net->tensor[t]));
}

/* The nets are at most five layers deep and sum at most about 50 products, forward and backward: a
 * gradient has passed through at most 500 roundings, each relative to the sizes of what was added
 * up. */
static void check_kernels(struct exact *e, const char *name, const char *with)
{
    static const double bound = 500 * 0x1p-24;
    struct hone_net *net = e->net;
    double worst = 0;
    int at = -1;
    put_exact(e);
    int err = hone_net_run(net, 0, net->first_update);
    for (int w = 0; !err && w < net->ntensors; w++) {
        if (!is_weight(net, w)) continue;
        int g = gradient_of(net, w);
        const float *got = hone_net_mem(net, g);
        for (int64_t i = 0; i < hone_tensor_len(&net->tensor[g]); i++) {
            double off = fabs((double)got[i] - e->v[g][i]) / (bound * e->scale[g]);
            if (!(off <= worst)) worst = off, at = w;
        }
    }
    if (!ok(!err && worst <= 1, "%s: gradients in f32, %s", name, with))
        printf("# %s: %g of the bound\n", err ? hone_errmsg() : net->tensor[at].name, worst);
}

/* ---- in bf16 ---- */

/* The tensor of that name among the data and weights, or their gradients; -1. */
static int find(const struct hone_net *net, const char *name)
{
    for (int t = 0; t < net->ntensors; t++)
        if (net->tensor[t].role != HONE_ROLE_ACTIVATION && !strcmp(net->tensor[t].name, name))
            return t;
    return -1;
}

static void put_half(const struct exact *e, struct hone_net *half)
{
    for (int t = 0; t < e->net->ntensors; t++) {
        const struct hone_tensor *of = &e->net->tensor[t];
        int to = find(half, of->name);
        if (to >= 0 && (of->role == HONE_ROLE_DATA || is_weight(e->net, t) || t == e->net->seed))
            hone_from_double(half->tensor[to].dtype, e->v[t], hone_net_mem(half, to),
                             hone_tensor_len(of));
    }
}

/* On its way through at most five layers and back a number meets three roundings to bf16 in each:
 * of a weight, of what the layer makes, and of an activation or a cast.  Gradients are floats. */
static void check_half(const struct exact *e, struct hone_net *half, const char *name)
{
    static const double bound = 30 * 0x1p-8;
    double worst = 0;
    int at = -1, floats = 1, narrow = 0;
    put_half(e, half);
    int err = hone_net_run(half, 0, half->first_update);
    for (int w = 0; !err && w < e->net->ntensors; w++) {
        if (!is_weight(e->net, w)) continue;
        int g = gradient_of(e->net, w), to = find(half, e->net->tensor[g].name);
        const float *got = hone_net_mem(half, to);
        floats &= half->tensor[to].dtype == HONE_F32;
        for (int64_t i = 0; i < hone_tensor_len(&e->net->tensor[g]); i++) {
            double off = fabs((double)got[i] - e->v[g][i]) / (bound * e->scale[g]);
            if (!(off <= worst)) worst = off, at = w;
        }
    }
    for (int t = 0; t < half->ntensors; t++) narrow += half->tensor[t].dtype == HONE_BF16;
    if (!ok(!err && worst <= 1 && floats && narrow, "%s: gradients in bf16 (%.3f of the bound)",
            name, worst))
        printf("# %s: %g of the bound\n", err ? hone_errmsg() : e->net->tensor[at].name, worst);
}

static void check_in_half(const struct exact *e, const char *name, const char *text,
                          const struct hone_lowering *as, struct hone_device *d)
{
    struct hone_lowering how = *as;
    struct hone_net half;
    how.dtype = HONE_BF16;
    int err = hone_net_parse(&half, "t.net", text, &how);
    if (!err) err = hone_net_assemble(&half, NULL, d, NULL);
    if (err) {
        ok(0, "%s in bf16", name);
        printf("# %s\n", hone_errmsg());
    } else {
        check_half(e, &half, name);
    }
    hone_net_close(&half);
}

/* t: a teacher's temperature; 0: none. */
static void check_taught(const char *name, const char *text, double t, double mix,
                         struct hone_device *d)
{
    for (int reference = 0; reference < 2; reference++) {
        struct hone_net net;
        struct exact e = { 0 };
        struct hone_lowering how = { .batch = BATCH,
                                     .train = 1,
                                     .optim = hone_optim_default(HONE_SGD),
                                     .teacher_temperature = t,
                                     .teacher_mix = mix,
                                     .reference = reference };
        int err = hone_net_parse(&net, "t.net", text, &how);
        if (!err) err = hone_net_assemble(&net, NULL, d, NULL);
        if (err || !exact_open(&e, &net)) {
            ok(0, "%s", name);
            printf("# %s\n", hone_errmsg());
        } else {
            exact_fill(&e);
            if (!reference) check_differences(&e, name);
            exact_loss(&e);
            exact_run(&e, net.first_backward, net.first_update);
            check_kernels(&e, name, reference ? "reference kernels" : "kernels that train");
            if (!reference) check_in_half(&e, name, text, &how, d);
        }
        exact_close(&e);
        hone_net_close(&net);
    }
}

static void check(const char *name, const char *text, struct hone_device *d)
{
    check_taught(name, text, 0, 0, d);
}

/* ---- the nets ---- */

#define IMAGE "input x c=2 h=6 w=5\n"
#define TAIL(from) "flatten f = " from "\nfc y = f k=3\nsoftmax_ce l = y\n"

static const struct {
    const char *name, *text;
} nets[] = {
    { "fc", "input x c=5\nfc y = x k=3\nmse l = y\n" },
    { "fc without bias", "input x c=5\nfc h = x k=4 bias=0\nfc y = h k=3 bias=0\nmse l = y\n" },
    { "fc three deep", "input x c=5\nfc g = x k=4\nfc h = g k=6\nfc y = h k=3\nmse l = y\n" },
    { "softmax_ce", "input x c=5\nfc y = x k=4\nsoftmax_ce l = y\n" },
    { "mae", "input x c=5\nfc y = x k=3\nmae l = y\n" },
    { "huber", "input x c=5\nfc y = x k=3\nhuber l = y\n" },
    { "huber, delta", "input x c=5\nfc y = x k=3\nhuber l = y delta=0.3\n" },
    { "label smoothing", "input x c=5\nfc y = x k=4\nsoftmax_ce l = y smooth=0.2\n" },
    { "conv", IMAGE "conv c = x k=3 r=3\n" TAIL("c") },
    { "conv after conv", IMAGE "conv b = x k=3 r=3 p=1\nconv c = b k=2 r=3\n" TAIL("c") },
    { "conv without bias",
      IMAGE "conv b = x k=3 r=3 bias=0\nconv c = b k=2 r=2 bias=0\n" TAIL("c") },
    { "conv with stride", IMAGE "conv b = x k=3 r=3 p=1 stride=2\nconv c = b k=2 r=2\n" TAIL("c") },
    { "conv p=same with stride",
      IMAGE "conv b = x k=3 r=3 p=same\nconv c = b k=2 r=4 p=same stride=2\n" TAIL("c") },
    { "conv 2x3", IMAGE "conv b = x k=3 r=2 kw=3 p=1 pw=0\nconv c = b k=2 r=1 kw=2\n" TAIL("c") },
    { "conv with dilation",
      IMAGE "conv b = x k=3 r=2 d=2\nconv c = b k=2 r=2 d=2 p=1\n" TAIL("c") },
    { "conv in groups", IMAGE "conv b = x k=4 r=3 p=1 g=2\nconv c = b k=4 r=3 g=4\n" TAIL("c") },
    { "maxpool", IMAGE "conv b = x k=3 r=1\nmaxpool c = b r=2\n" TAIL("c") },
    { "maxpool, windows overlap",
      IMAGE "conv b = x k=3 r=1\nmaxpool c = b r=3 stride=2 p=1\n" TAIL("c") },
    { "maxpool 2x3", IMAGE "conv b = x k=3 r=1\nmaxpool c = b r=2 kw=3 stride=1\n" TAIL("c") },
    { "avgpool", IMAGE "conv b = x k=3 r=1\navgpool c = b r=2\n" TAIL("c") },
    { "avgpool, windows overlap",
      IMAGE "conv b = x k=3 r=1\navgpool c = b r=3 stride=2 p=1\n" TAIL("c") },
    { "avgpool include_pad",
      IMAGE "conv b = x k=3 r=1\navgpool c = b r=3 stride=2 p=1 include_pad=1\n" TAIL("c") },
    { "dropout", "input x c=5\nfc g = x k=8\ndropout d = g p=0.4\nfc h = d k=6\ndropout e = h "
                 "p=0.25\nfc y = e k=3\nmse l = y\n" },
    { "dropout of the input", "input x c=8\ndropout d = x p=0.5\nfc y = d k=3\nmse l = y\n" },
    { "pool of the input", IMAGE "maxpool b = x r=2\n" TAIL("b") },
    { "dwconv", IMAGE "conv b = x k=3 r=1\ndwconv c = b r=3 p=1 stride=2\n" TAIL("c") },
    { "dwconv of the input", IMAGE "dwconv c = x r=3 p=same bias=0 act=tanh\n" TAIL("c") },
    { "gap", IMAGE "conv b = x k=3 r=2\ngap g = b\nfc y = g k=3\nsoftmax_ce l = y\n" },
    { "1x1 conv after gap",
      IMAGE "conv b = x k=3 r=2\ngap g = b\nconv c = g k=3 r=1\nflatten f = c\n"
            "softmax_ce l = f\n" },
    { "bnorm", IMAGE "conv b = x k=3 r=3\nbnorm c = b\n" TAIL("c") },
    { "bnorm of the input", IMAGE "bnorm c = x eps=0.01 momentum=0.3\n" TAIL("c") },
    { "bnorm of features", "input x c=5\nfc g = x k=4 bias=0\nbnorm h = g\ntanh t = h\n"
                           "fc y = t k=3\nmse l = y\n" },
    { "bnorm and relu", IMAGE "conv b = x k=3 r=3\nbnorm c = b\nrelu a = c\n" TAIL("a") },
    { "bnorm and relu6", IMAGE "conv b = x k=3 r=3\nbnorm c = b\nrelu6 a = c\n" TAIL("a") },
    { "bnorm read by two", IMAGE "conv b = x k=3 r=3\nbnorm c = b\nrelu a = c\nadd s = c a\n" TAIL("s") },
    { "bnorm, relu and what reads it",
      IMAGE "conv b = x k=6 r=3 p=1\nbnorm c = b\nrelu6 a = c\nconv d = a k=3 r=3\n" TAIL("d") },
    { "bnorm read by two convolutions",
      IMAGE "conv b = x k=6 r=3 p=1\nbnorm c = b\nconv d = c k=1 r=3\ntanh t = d\nconv e = c k=1 r=3\n"
            "add a = t e\navgpool g = a r=3\n" TAIL("g") },
    { "bnorm, relu and fc", "input x c=20\nfc g = x k=200 bias=0\nbnorm h = g\nrelu r = h\n"
                            "fc y = r k=3\nsoftmax_ce l = y\n" },
    { "bnorm, sum and relu",
      IMAGE "conv b = x k=3 r=3 p=1\nconv e = b k=3 r=3 p=1\nbnorm c = e\nadd s = c b\nrelu a = s\n" TAIL("a") },
    { "two bnorms and their sum",
      IMAGE "conv b = x k=3 r=3 p=1\nbnorm c = b\nconv e = x k=3 r=1\nbnorm d = e\nadd s = c d\n" TAIL("s") },
    { "bnorm and a sum with what comes later",
      IMAGE "conv b = x k=3 r=3 p=1\nbnorm c = b\nconv e = x k=3 r=1\nadd s = c e\nrelu6 a = s\n" TAIL("a") },
    { "a tensor read by three", "input x c=5\nfc g = x k=4 act=tanh\nfc a = g k=4\nfc b = g k=4\n"
                                "add s = a b\nadd t = s g\nfc y = t k=3\nmse l = y\n" },
    { "a tensor read by two, epilogue between",
      "input x c=5\nfc g = x k=4\nsilu h = g\nfc a = h k=4\nadd s = a h\nfc y = s k=3\n"
      "mse l = y\n" },
    { "a tensor before and after its activation",
      "input x c=5\nfc g = x k=4\ntanh h = g\nadd s = g h\nfc y = s k=3\nmse l = y\n" },
    { "twice the same", "input x c=5\nfc g = x k=4\nadd s = g g\nfc y = s k=3\nmse l = y\n" },
    { "add of the input", "input x c=4\nfc g = x k=4\nadd s = x g\nfc y = s k=3\nmse l = y\n" },
    { "the output read twice",
      "input x c=5\nfc g = x k=3\ntanh y = g\nadd s = y g\nmse l = s\n" },
    { "flattened and not", IMAGE "conv b = x k=1 r=3\nflatten f = b\ngap g = b\nfc h = g k=3\n"
                                 "fc i = f k=3\nadd y = h i\nsoftmax_ce l = y\n" },
    { "residual block", IMAGE "conv b = x k=3 r=3 p=1\nrelu c = b\nconv d = c k=3 r=3 p=1\n"
                              "add s = d c\nrelu a = s\n" TAIL("a") },
    { "shortcut", IMAGE "conv b = x k=2 r=3 p=1\nshortcut c = b k=5 stride=2\n" TAIL("c") },
    { "shortcut beside a conv",
      IMAGE "conv b = x k=2 r=3 p=1\nconv d = b k=4 r=3 p=1 stride=2\n"
            "shortcut c = b k=4 stride=2\nadd s = d c\nrelu a = s\n" TAIL("a") },
    { "concat", IMAGE "conv b = x k=2 r=3 p=1\nconv d = x k=3 r=1\nconcat c = b d\n" TAIL("c") },
    { "concat of four", IMAGE "conv b = x k=2 r=3 p=1\nconv d = b k=3 r=1\n"
                              "concat c = d b x b\nconv e = c k=2 r=2\n" TAIL("e") },
};

/* After conv, after fc, and on a tensor that no epilogue can reach. */
static void check_act(const char *act, struct hone_device *d)
{
    char text[512], name[64];
    snprintf(
        text, sizeof text,
        IMAGE
        "conv b = x k=3 r=3 act=%s\nflatten f = b\nfc g = f k=4 act=%s\nfc y = g k=3\nmse l = y\n",
        act, act);
    snprintf(name, sizeof name, "%s as epilogue", act);
    check(name, text, d);
    snprintf(text, sizeof text,
             IMAGE "conv b = x k=3 r=3\navgpool p = b r=2\n%s a = p\n%s c = a\n" TAIL("c"), act,
             act);
    snprintf(name, sizeof name, "%s as a layer", act);
    check(name, text, d);
}

int main(void)
{
    static const char *const acts[] = { "relu", "relu6",    "leaky_relu", "sigmoid",
                                        "tanh", "gelu_erf", "gelu_tanh",  "silu" };
    struct hone_device d;
    if (hone_device_open(&d, "cpu0")) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) check(nets[i].name, nets[i].text, &d);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) check_act(acts[i], &d);
    check_taught("distillation", "input x c=5\nfc y = x k=4\nsoftmax_ce l = y\n", 3, 0.7, &d);
    check_taught("distillation without labels", "input x c=5\nfc y = x k=4\nsoftmax_ce l = y\n", 1,
                 1, &d);
    hone_device_close(&d);
    return tap_end();
}
