/* Gradients against what they are gradients of.
 *
 * Linear pairs: <A x, y> = <x, A' y>, in doubles through the ops' meanings, and in f32 through the
 * kernels that run where nothing was measured, within what the ops' error bounds allow.  The other
 * gradients: central differences of the meanings.  Optimizers: loops written from the published
 * algorithms.  Dropout: a share of numbers kept, and independent masks. */
#include "kernels/dropout/dropout.h"
#include "kernels/loss/loss.h"
#include "kernels/optimizer/optimizer.h"
#include "tests/tap.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct hone_device device;

/* ---- a problem with numbers ---- */

/* value[a] is argument a in doubles, scale[a] what the errors of an output are relative to. */
struct numbers {
    struct hone_problem p;
    int nargs;
    struct hone_arg arg[HONE_MAX_ARGS];
    double *value[HONE_MAX_ARGS], *scale[HONE_MAX_ARGS];
};

static void numbers_close(struct numbers *q)
{
    for (int a = 0; a < q->nargs; a++) free(q->value[a]), free(q->scale[a]);
}

/* Inputs are random in the range the op gives them, rounded to their type. */
static void numbers_open(struct numbers *q, const char *text, uint64_t seed)
{
    memset(q, 0, sizeof *q);
    if (hone_problem_parse(text, &q->p)) { printf("Bail out! %s\n", hone_errmsg()); exit(1); }
    q->nargs = q->p.op->args(&q->p, q->arg);
    for (int a = 0; a < q->nargs; a++) {
        int64_t n = hone_arg_len(&q->arg[a]);
        double lo = q->arg[a].lo, hi = q->arg[a].hi;
        int whole = q->arg[a].dtype == HONE_I32 || q->arg[a].dtype == HONE_U64;
        if (lo == 0 && hi == 0) lo = -1, hi = 1;
        q->value[a] = calloc((size_t)n, sizeof(double));
        q->scale[a] = calloc((size_t)n, sizeof(double));
        if (!q->value[a] || !q->scale[a]) { printf("Bail out! no memory\n"); exit(1); }
        for (int64_t i = 0; q->arg[a].io != HONE_OUT && i < n; i++) {
            double u = hone_random_unit(hone_random(seed, (uint64_t)a), (uint64_t)i);
            q->value[a][i] = whole ? lo + floor(u * (hi - lo + 1)) : (double)(float)(lo + u * (hi - lo));
        }
    }
}

/* Output `out` by the op's meaning. */
static void evaluate(struct numbers *q, int out)
{
    const double *in[HONE_MAX_ARGS];
    int64_t n = hone_arg_len(&q->arg[out]);
    const struct hone_op *op = q->p.op;
    double *result = malloc((size_t)n * sizeof *result);
    double *shared = op->share ? malloc((size_t)op->nshared(&q->p) * sizeof *shared) : NULL;
    assert(result && (shared || !op->share));
    for (int a = 0; a < q->nargs; a++) in[a] = q->arg[a].io == HONE_OUT ? NULL : q->value[a];
    if (shared) {
        op->share(&q->p, in, shared);
        in[op->shared_arg] = shared;
    }
    for (int64_t i = 0; i < n; i++) result[i] = op->ref(&q->p, in, out, i, &q->scale[out][i]);
    free(shared);
    free(q->value[out]);
    q->value[out] = result;
}

/* All outputs by the kernel that runs untuned; scales are left as they are.  Returns how far off,
 * in units of eps * scale, that kernel may be; negative after an error. */
static double run_default(struct numbers *q)
{
    struct hone_plan plan;
    void *mem[HONE_MAX_ARGS] = { 0 }, *workspace = NULL;
    if (hone_plan_default(&plan, &q->p, &device)) return -1;
    int err = device.backend->alloc(&device, plan.workspace_bytes, &workspace);
    for (int a = 0; !err && a < q->nargs; a++) {
        err = device.backend->alloc(&device, (size_t)hone_arg_bytes(&q->arg[a]), &mem[a]);
        if (!err) hone_from_double(q->arg[a].dtype, q->value[a], mem[a], hone_arg_len(&q->arg[a]));
    }
    if (!err) err = hone_plan_run(&plan, mem, workspace);
    for (int a = 0; a < q->nargs; a++) {
        if (!err && q->arg[a].io != HONE_IN)
            hone_to_double(q->arg[a].dtype, mem[a], q->value[a], hone_arg_len(&q->arg[a]));
        device.backend->free(&device, mem[a]);
    }
    device.backend->free(&device, workspace);
    double growth = plan.kernel->growth ? plan.kernel->growth(&q->p, &plan.config) : q->p.op->growth(&q->p);
    hone_plan_close(&plan);
    return err ? -1 : growth;
}

static int64_t length(const struct numbers *q, int a) { return hone_arg_len(&q->arg[a]); }

static double dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double dot_sizes(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs(x[i] * y[i]);
    return sum;
}

/* ---- pairs of a function and its gradient ---- */

enum { OUT = -1, Y = -2, END = -3 };

/* Argument `out` of `forward` as a function of argument `in`; argument i of `backward` is the
 * gradient (OUT), the y that it is applied to (Y), or an argument of forward. */
struct pair { const char *forward, *backward; int out, in, from[5]; };

static const struct pair linear[] = {
#define CONV(sizes)                                                                              \
    { "conv2d_fwd:f32:nhwc:" sizes, "conv2d_dgrad:f32:nhwc:" sizes, 0, 1, { OUT, Y, 2, END } },  \
    { "conv2d_fwd:f32:nhwc:" sizes, "conv2d_wgrad:f32:nhwc:" sizes, 0, 2, { OUT, 1, Y, END } },
    CONV("mb2ic3ih7oc5kh3ph1")
    CONV("mb2ic6ih9oc16kh5")
    CONV("mb1ic4ih9iw6oc8kh3kw2sh2sw1ph1pw0")
    CONV("g4mb2ic8ih8oc4kh3ph1")
    CONV("mb1ic3ih11oc4kh3dh1")
    CONV("mb1ic16ih8oh4oc8kh3sh2")   /* TF's SAME: padding at the end only */
    /* A fully connected layer, y = x w: its gradients are gemms of the other layouts. */
    { "gemm:f32:nn:m5n7k3", "gemm:f32:nt:m5n3k7", 0, 1, { OUT, Y, 2, END } },
    { "gemm:f32:nn:m5n7k3", "gemm:f32:tn:m3n7k5", 0, 2, { OUT, 1, Y, END } },
    { "gemm:f32:nn:m64n50k16", "gemm:f32:nt:m64n16k50", 0, 1, { OUT, Y, 2, END } },
    { "gemm:f32:nn:m64n50k16", "gemm:f32:tn:m16n50k64", 0, 2, { OUT, 1, Y, END } },
    { "avgpool_fwd:f32:nhwc:mb2ic6ih8kh2sh2", "avgpool_bwd:f32:nhwc:mb2ic6ih8kh2sh2", 0, 1, { OUT, Y, END } },
    { "avgpool_fwd:f32:nhwc:mb2ic17ih9kh3sh2ph1", "avgpool_bwd:f32:nhwc:mb2ic17ih9kh3sh2ph1", 0, 1, { OUT, Y, END } },
    { "avgpool_fwd:f32:nhwc:mb1ic5ih9kh3ph1:include_pad", "avgpool_bwd:f32:nhwc:mb1ic5ih9kh3ph1:include_pad", 0, 1,
      { OUT, Y, END } },
    /* Near x the maximum is linear, and <J x, y> with its gradient J at x is its value. */
    { "maxpool_fwd:f32:nhwc:mb2ic6ih8kh2sh2", "maxpool_bwd:f32:nhwc:mb2ic6ih8kh2sh2", 0, 1, { OUT, Y, 1, END } },
    { "maxpool_fwd:f32:nhwc:mb2ic17ih9kh3sh2ph1", "maxpool_bwd:f32:nhwc:mb2ic17ih9kh3sh2ph1", 0, 1, { OUT, Y, 1, END } },
    { "dropout:f32:any:n1000", "dropout:f32:any:n1000", 0, 1, { OUT, Y, 2, END } },
};

static const struct pair curved[] = {
#define ACT(name, s) { name ":f32:any:n200", name "_bwd:f32:any:n200", 0, 1, { OUT, Y, s, END } },
    ACT("relu", 0) ACT("relu6", 0) ACT("leaky_relu", 0) ACT("sigmoid", 0) ACT("tanh", 0)
    ACT("gelu_erf", 1) ACT("gelu_tanh", 1) ACT("silu", 1)
};

/* The problem of the gradient with its arguments filled in. */
static void open_backward(struct numbers *b, const struct pair *t, const struct numbers *f,
                          const double *y)
{
    numbers_open(b, t->backward, 7);
    for (int a = 0; t->from[a] != END; a++) {
        if (t->from[a] == OUT) continue;
        const double *from = t->from[a] == Y ? y : f->value[t->from[a]];
        assert(length(b, a) == length(f, t->from[a] == Y ? t->out : t->from[a]));
        memcpy(b->value[a], from, (size_t)length(b, a) * sizeof *from);
    }
}

static double *random_numbers(int64_t n, uint64_t seed)
{
    double *y = malloc((size_t)n * sizeof *y);
    assert(y);
    for (int64_t i = 0; i < n; i++)
        y[i] = (double)(float)(2 * hone_random_unit(seed, (uint64_t)i) - 1);
    return y;
}

/* Which argument of backward is the gradient. */
static int gradient_of(const struct pair *t)
{
    int a = 0;
    while (t->from[a] != OUT) a++;
    return a;
}

/* Both products in doubles; then again by kernels: each may err by growth * eps * scale in every
 * element, which y and x then weigh. */
static void check_linear(const struct pair *t)
{
    struct numbers f, b;
    numbers_open(&f, t->forward, 3);
    double *y = random_numbers(length(&f, t->out), 5);
    int dx = gradient_of(t);
    evaluate(&f, t->out);
    open_backward(&b, t, &f, y);
    evaluate(&b, dx);
    int64_t ny = length(&f, t->out), nx = length(&f, t->in);
    double ax_y = dot(f.value[t->out], y, ny), x_ay = dot(f.value[t->in], b.value[dx], nx);
    double size = dot_sizes(f.value[t->out], y, ny) + dot_sizes(f.value[t->in], b.value[dx], nx);
    if (!ok(fabs(ax_y - x_ay) <= 1e-13 * size && ax_y != 0, "<A x, y> = <x, A' y>: %s, %s",
            t->forward, t->backward))
        printf("# %.17g and %.17g\n", ax_y, x_ay);

    double forward = run_default(&f), backward = run_default(&b);
    double most = 0x1p-24 * (forward * dot_sizes(f.scale[t->out], y, ny) +
                             backward * dot_sizes(f.value[t->in], b.scale[dx], nx));
    ax_y = dot(f.value[t->out], y, ny), x_ay = dot(f.value[t->in], b.value[dx], nx);
    if (!ok(forward >= 0 && backward >= 0 && fabs(ax_y - x_ay) <= most + 1e-13 * size,
            "the same by kernels: %s, %s", t->forward, t->backward))
        printf("# %.9g and %.9g, at most %.2g apart (%s)\n", ax_y, x_ay, most,
               forward < 0 || backward < 0 ? hone_errmsg() : "f32");
    numbers_close(&f), numbers_close(&b);
    free(y);
}

/* d<f(x), y>/dx_j by central differences: their own error is h^2/6 of a third derivative, below 10
 * for all of these, and a rounding over h. */
static void check_curved(const struct pair *t)
{
    const double h = 1e-5, most = 1e-8;
    struct numbers f, b;
    int bad = 0, tried = 0, dx = gradient_of(t);
    numbers_open(&f, t->forward, 3);
    double *x = f.value[t->in], *y = random_numbers(length(&f, t->out), 5);
    evaluate(&f, t->out);
    open_backward(&b, t, &f, y);
    evaluate(&b, dx);
    for (int64_t j = 0; j < length(&f, t->in); j++) {
        double x0 = x[j], up, down;
        if (fabs(x0) < 2 * h || fabs(x0 - 6) < 2 * h) continue;   /* kinks */
        x[j] = x0 + h, evaluate(&f, t->out), up = dot(f.value[t->out], y, length(&f, t->out));
        x[j] = x0 - h, evaluate(&f, t->out), down = dot(f.value[t->out], y, length(&f, t->out));
        x[j] = x0;
        tried++;
        if (fabs((up - down) / (2 * h) - b.value[dx][j]) <= most) continue;
        if (!bad++)
            printf("# x[%d] = %g: %.9g, want %.9g\n", (int)j, x0, b.value[dx][j],
                   (up - down) / (2 * h));
    }
    ok(!bad && tried > 100, "central differences: %s, %s", t->forward, t->backward);
    numbers_close(&f), numbers_close(&b);
    free(y);
}

/* ---- losses: one op gives value and gradient ---- */

static const struct { const char *text; int dx, loss, x; } losses[] = {
    { "softmax_ce:f32:any:m3n7", CE_DX, CE_LOSS, CE_X }, { "softmax_ce:f32:any:m5n10", CE_DX, CE_LOSS, CE_X },
    { "softmax_ce:f32:any:m5n10:smooth0.2", CE_DX, CE_LOSS, CE_X },
    { "huber:f32:any:m4n6", ERR_DX, ERR_LOSS, ERR_X }, { "huber:f32:any:m9n1:delta0.25", ERR_DX, ERR_LOSS, ERR_X },
    { "distill:f32:any:m5n7", DISTILL_DX, DISTILL_LOSS, DISTILL_X },
    { "distill:f32:any:m5n7:t3+mix0.6", DISTILL_DX, DISTILL_LOSS, DISTILL_X },
    { "mse:f32:any:m4n6", ERR_DX, ERR_LOSS, ERR_X }, { "mse:f32:any:m9n1", ERR_DX, ERR_LOSS, ERR_X },
    { "mae:f32:any:m4n6", ERR_DX, ERR_LOSS, ERR_X }, { "mae:f32:any:m9n1", ERR_DX, ERR_LOSS, ERR_X },
};

/* The mean of the rows' losses. */
static double mean_loss(struct numbers *q, int loss)
{
    double sum = 0;
    evaluate(q, loss);
    for (int64_t i = 0; i < length(q, loss); i++) sum += q->value[loss][i];
    return sum / (double)length(q, loss);
}

static void check_loss(const char *text, int dx, int loss, int x)
{
    const double h = 1e-5;
    struct numbers q;
    int bad = 0;
    numbers_open(&q, text, 11);
    evaluate(&q, dx);
    for (int64_t j = 0; j < length(&q, x); j++) {
        double *at = &q.value[x][j], x0 = *at, up, down;
        if (q.p.op == &hone_op_mae && fabs(x0 - q.value[ERR_T][j]) < 2 * h) continue; /* the kink */
        *at = x0 + h, up = mean_loss(&q, loss);
        *at = x0 - h, down = mean_loss(&q, loss);
        *at = x0;
        if (fabs((up - down) / (2 * h) - q.value[dx][j]) <= 1e-9) continue;
        if (!bad++)
            printf("# x[%d]: %.9g, want %.9g\n", (int)j, q.value[dx][j], (up - down) / (2 * h));
    }
    ok(!bad, "central differences: %s", text);
    numbers_close(&q);
}

/* Rows with several largest: the first is the answer, by meaning and kernels.  Where n is odd the
 * largest is 0, which lanes behind a row may be, too. */
static void check_ties(void)
{
    struct numbers q;
    int bad = 0;
    for (int n = 3; n <= 300; n += n < 70 ? 1 : 23) {
        char text[HONE_TEXT];
        snprintf(text, sizeof text, "softmax_ce:f32:any:m8n%d", n);
        numbers_open(&q, text, 1);
        double *x = q.value[CE_X], want[8];
        for (int i = 0; i < 8; i++) {
            int first = (int)(hone_random((uint64_t)n, (uint64_t)i) % (unsigned)n),
                later = first + (n - first) / 2;
            for (int j = 0; n % 2 && j < n; j++) x[i * n + j] -= 9;
            x[i * n + first] = x[i * n + later] = n % 2 ? 0 : 9;
            q.value[CE_LABEL][i] = i % 2 ? later : first;
            want[i] = q.value[CE_LABEL][i] == first;
        }
        evaluate(&q, CE_HIT);
        for (int i = 0; i < 8; i++) bad += q.value[CE_HIT][i] != want[i];
        if (run_default(&q) < 0) bad++;
        for (int i = 0; i < 8; i++) bad += q.value[CE_HIT][i] != want[i];
        numbers_close(&q);
    }
    ok(!bad, "softmax_ce: of several largest the first counts");
}

/* ---- optimizers ---- */

enum { N = 1281, STEPS = 5 };

/* The published loops, on doubles: Sutskever et al. (2013) as PyTorch writes it, and Kingma and Ba
 * (2015), algorithm 1, with their bias corrections spelled out. */
static void sgd_loop(double *p, double *v, const double *g, double lr, double mu, int nesterov,
                     double wd)
{
    for (int i = 0; i < N; i++) {
        double d = g[i] + wd * p[i];
        v[i] = mu * v[i] + d;
        p[i] -= lr * (nesterov ? d + mu * v[i] : v[i]);
    }
}

static void adam_loop(double *p, double *m, double *v, const double *g, double lr, double b1,
                      double b2, double eps, double wd, int t)
{
    for (int i = 0; i < N; i++) {
        double d = g[i] + wd * p[i];
        m[i] = b1 * m[i] + (1 - b1) * d;
        v[i] = b2 * v[i] + (1 - b2) * d * d;
        double m_hat = m[i] / (1 - pow(b1, t)), v_hat = v[i] / (1 - pow(b2, t));
        p[i] -= lr * m_hat / (sqrt(v_hat) + eps);
    }
}

static int same(const double *a, const double *b, double most, const char *what, int t)
{
    for (int i = 0; i < N; i++)
        if (!(fabs(a[i] - b[i]) <= most * (1 + fabs(b[i])))) {
            printf("# step %d: %s[%d] is %.12g, want %.12g\n", t, what, i, a[i], b[i]);
            return 0;
        }
    return 1;
}

/* STEPS steps by meaning and by loop; with `kernels` by the untuned kernel, which may add to its
 * growth of roundings in each of p, and of what it moves p by. */
static void check_optimizer(const char *text, int kernels)
{
    struct numbers q;
    double p[N], a[N] = { 0 }, b[N] = { 0 }, growth = 0, lr = 0.01, mu = 0.9, b2 = 0.999,
                 eps = 1e-8, wd = 0.0005;
    numbers_open(&q, text, 13);
    int adam = q.p.op == &hone_op_adam, good = 1,
        momentum = !adam && hone_problem_has(&q.p, "momentum");
    int g = adam ? ADAM_G : sgd_g(&q.p), hyper = adam ? ADAM_HYPER : sgd_hyper(&q.p);
    double decay = hone_problem_has(&q.p, "wd") ? wd : 0;
    memcpy(p, q.value[0], sizeof p);
    for (int s = 1; s < g; s++) memset(q.value[s], 0, sizeof p);   /* moments start from 0 */
    for (int t = 1; t <= STEPS && good; t++) {
        double *h = q.value[hyper], c1 = 1 / (1 - pow(mu, t)), c2 = 1 / sqrt(1 - pow(b2, t)),
               next[3][N];
        double values[HYPER_LEN] = { lr, mu, b2, eps, wd, c1, c2 };
        memcpy(h, values, sizeof values);
        for (int i = 0; i < N; i++)
            q.value[g][i] = (double)(float)(2 * hone_random_unit((uint64_t)t, (uint64_t)i) - 1);
        if (kernels) {
            growth = run_default(&q);
        } else {
            /* Every output from the state before the step. */
            for (int s = 0; s < g; s++) {
                double before[N];
                memcpy(before, q.value[s], sizeof before);
                evaluate(&q, s);
                memcpy(next[s], q.value[s], sizeof before);
                memcpy(q.value[s], before, sizeof before);
            }
            for (int s = 0; s < g; s++) memcpy(q.value[s], next[s], sizeof next[s]);
        }
        if (adam) adam_loop(p, a, b, q.value[g], lr, mu, b2, eps, decay, t);
        else
            sgd_loop(p, a, q.value[g], lr, momentum ? mu : 0, hone_problem_has(&q.p, "nesterov"),
                     decay);
        /* The rate of 0.01 and all hyper-parameters are rounded to floats, too: two more. */
        double most = kernels ? (growth + 2) * 0x1p-24 * t : 1e-14 * t;
        good = growth >= 0 && same(q.value[0], p, most, "p", t) &&
               (!(adam || momentum) || same(q.value[1], a, most, "moment", t)) &&
               (!adam || same(q.value[2], b, most, "second moment", t));
    }
    ok(good, "%s: %s and the published loop agree", text, kernels ? "kernel" : "meaning");
    numbers_close(&q);
}

/* ---- dropout ---- */

/* Kept numbers of one mask; *both: those that a second mask keeps, too. */
static int kept(uint64_t key, uint64_t other, uint32_t threshold, int n, int *both)
{
    int count = 0;
    *both = 0;
    for (int i = 0; i < n; i++) {
        int k = dropout_keep(key, threshold, i);
        count += k;
        *both += k && dropout_keep(other, threshold, i);
    }
    return count;
}

/* Shares within 5 standard deviations of a fair coin's: also of the pairs that two seeds, steps or
 * streams keep together, and of neighbours. */
static void check_dropout(void)
{
    enum { COUNT = 100000 };
    static const struct { uint64_t seed, step; double stream; const char *what; } others[] = {
        { 2, 1, 0, "seeds" }, { 1, 2, 0, "steps" }, { 1, 1, 1, "streams" }, { 2, 0, 0, "seeds and steps" },
    };
    for (size_t o = 0; o < sizeof others / sizeof *others; o++)
        for (double p = 0.1; p < 1; p += 0.4) {
            int both, n = kept(dropout_key(1, 1, 0),
                               dropout_key(others[o].seed, others[o].step, others[o].stream),
                               dropout_threshold(p), COUNT, &both);
            double one = (1 - p) * COUNT, two = (1 - p) * one;
            ok(fabs(n - one) < 5 * sqrt(one * p) &&
                   fabs(both - two) < 5 * sqrt(two * (1 - (1 - p) * (1 - p))),
               "dropout: %s are independent at p = %.1f", others[o].what, p);
        }
    int pairs = 0;
    for (int i = 0; i < COUNT; i++)
        pairs += dropout_keep(dropout_key(1, 1, 0), 1u << 31, i) == dropout_keep(dropout_key(1, 1, 0), 1u << 31, i + 1);
    ok(fabs(pairs - 0.5 * COUNT) < 5 * 0.5 * sqrt(COUNT), "dropout: neighbours are independent");
}

/* ---- coverage ---- */

static int names(const char *text, const char *op)
{
    return !strncmp(text, op, strlen(op)) && text[strlen(op)] == ':';
}

/* An op of the registry that stands in no list here is shown. */
static void check_covered(void)
{
    for (int i = 0; hone_ops[i]; i++) {
        const char *op = hone_ops[i]->name;
        int found = names("sgd:", op) || names("adam:", op) || names("bias_bwd:", op);
        /* tests/check_optimizers.c holds these against PyTorch and Keras. */
        found |= names("rmsprop:", op) || names("adadelta:", op) || names("clip:", op);
        for (size_t j = 0; j < sizeof linear / sizeof *linear; j++)
            found |= names(linear[j].forward, op) || names(linear[j].backward, op);
        for (size_t j = 0; j < sizeof curved / sizeof *curved; j++)
            found |= names(curved[j].forward, op) || names(curved[j].backward, op);
        for (size_t j = 0; j < sizeof losses / sizeof *losses; j++)
            found |= names(losses[j].text, op);
        if (found) ok(1, "%s is checked", op);
        else skip("no gradient is checked here", "%s is checked", op);
    }
}

/* The gradient of a bias: with A = 0, gemm's output is the bias in every row. */
static void check_bias(void)
{
    static const struct pair t = {
        "gemm:f32:nn:m37n19k2:bias", "bias_bwd:f32:any:m37n19", 0, 3, { OUT, Y, END }
    };
    struct numbers f, b;
    numbers_open(&f, t.forward, 3);
    memset(f.value[1], 0, (size_t)length(&f, 1) * sizeof(double));
    double *y = random_numbers(length(&f, 0), 5);
    evaluate(&f, 0);
    open_backward(&b, &t, &f, y);
    evaluate(&b, 0);
    double ax_y = dot(f.value[0], y, length(&f, 0)),
           x_ay = dot(f.value[3], b.value[0], length(&b, 0));
    ok(fabs(ax_y - x_ay) <= 1e-13 * dot_sizes(f.value[0], y, length(&f, 0)) && ax_y != 0,
       "<A b, y> = <b, A' y>: %s", t.backward);
    double growth = run_default(&b),
           most = 0x1p-24 * growth * dot_sizes(f.value[3], b.scale[0], length(&b, 0));
    x_ay = dot(f.value[3], b.value[0], length(&b, 0));
    ok(growth >= 0 && fabs(ax_y - x_ay) <= most, "the same by a kernel: %s", t.backward);
    numbers_close(&f), numbers_close(&b);
    free(y);
}

int main(void)
{
    if (hone_device_open(&device, "cpu0")) { printf("Bail out! %s\n", hone_errmsg()); return 1; }
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) check_linear(&linear[i]);
    check_bias();
    for (size_t i = 0; i < sizeof curved / sizeof *curved; i++) check_curved(&curved[i]);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        check_loss(losses[i].text, losses[i].dx, losses[i].loss, losses[i].x);
    check_ties();
    static const char *const attributes[] = { "sgd:f32:any:n1281", "sgd:f32:any:n1281:wd", "sgd:f32:any:n1281:momentum",
        "sgd:f32:any:n1281:momentum+wd", "sgd:f32:any:n1281:momentum+nesterov", "sgd:f32:any:n1281:momentum+nesterov+wd",
        "adam:f32:any:n1281", "adam:f32:any:n1281:wd" };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        for (int kernels = 0; kernels < 2; kernels++) check_optimizer(attributes[i], kernels);
    check_dropout();
    check_covered();
    hone_device_close(&device);
    return tap_end();
}
