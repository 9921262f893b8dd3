/* The flops and bytes that ops claim, against plain formulas that count what they do: a multiply,
 * an add, a division, a square root or a comparison is one, exp, log, tanh and erf are ten, a
 * number that is only copied is one. */
#include "kernels/kernel.h"
#include "tests/tap.h"

#include <math.h>
#include <string.h>

/* ---- counting arithmetic ---- */

static double counted;

static double add(double a, double b)
{
    counted += 1;
    return a + b;
}
static double sub(double a, double b)
{
    counted += 1;
    return a - b;
}
static double mul(double a, double b)
{
    counted += 1;
    return a * b;
}
static double quo(double a, double b)
{
    counted += 1;
    return a / b;
}
static double larger(double a, double b)
{
    counted += 1;
    return a > b ? a : b;
}
static double smaller(double a, double b)
{
    counted += 1;
    return a < b ? a : b;
}
static double size(double a)
{
    counted += 1;
    return fabs(a);
}
static double root(double a)
{
    counted += 1;
    return sqrt(fabs(a));
}
static double copy(double a)
{
    counted += 1;
    return a;
}
static double ten(double a)
{
    counted += 10;
    return a;
} /* exp, log, tanh, erf */

static double x = 0.3, g = 0.5, s = 0.7, p = 0.2, m = 0.1, v = 0.4; /* what formulas are fed */

/* ---- one number of each elementwise op ---- */

static void relu(void) { larger(x, 0); }
static void relu6(void) { smaller(larger(x, 0), 6); }
static void product(void) { mul(x, g); }
static void leaky_relu(void) { larger(x, mul(0.01, x)); }
static void sigmoid(void) { quo(1, add(1, ten(-x))); }
static void tanh_(void) { ten(x); }
static void gelu_erf(void) { mul(mul(x, 0.5), add(1, ten(x * 0.7))); }
static void gelu_tanh(void)
{
    double cube = mul(mul(x, x), x), inner = mul(0.797, add(x, mul(0.0447, cube)));
    mul(mul(0.5, x), add(1, ten(inner)));
}
static void silu(void) { quo(x, add(1, ten(-x))); }

static void pass_or_stop(void) { larger(s, 0); }
static void leaky_relu_bwd(void) { mul(g, larger(s, 0) > 0 ? 1 : 0.01); }
static void relu6_bwd(void)
{
    larger(s, 0);
    smaller(s, 6);
}
static void sigmoid_bwd(void) { mul(mul(g, s), sub(1, s)); }
static void tanh_bwd(void) { mul(g, sub(1, mul(s, s))); }
static void silu_bwd(void)
{
    double e = quo(1, add(1, ten(-s)));
    mul(g, mul(e, add(1, mul(s, sub(1, e)))));
}

/* The normal distribution's integral and density. */
static void gelu_erf_bwd(void)
{
    double integral = mul(0.5, add(1, ten(mul(s, 0.7)))),
           density = mul(0.4, ten(mul(mul(s, s), -0.5)));
    mul(g, add(integral, mul(s, density)));
}
static void gelu_tanh_bwd(void)
{
    double square = mul(s, s), t = ten(mul(mul(0.797, s), add(1, mul(0.0447, square))));
    double slope = mul(0.797, add(1, mul(0.134, square)));
    double half = mul(0.5, add(1, t)), rest = mul(mul(mul(0.5, s), sub(1, mul(t, t))), slope);
    mul(g, add(half, rest));
}

static void sgd(void) { sub(p, mul(0.1, g)); }
static void momentum(void) { m = add(mul(0.9, m), g); }
static void nesterov(void) { g = add(g, mul(0.9, m)); }
static void decay(void) { g = add(g, mul(0.01, p)); }
static void momentum_sgd(void)
{
    momentum();
    sgd();
}
static void mean_of(double *to, double what) { *to = add(mul(0.9, *to), mul(0.1, what)); }
static void adam(void)
{
    mean_of(&m, g);
    mean_of(&v, mul(g, g));
    double below = add(mul(root(v), 1.1), 1e-8);
    sub(p, mul(0.1, quo(m, below)));
}
static void rmsprop(void)
{
    mean_of(&v, mul(g, g));
    sub(p, mul(0.1, quo(g, add(root(v), 1e-8))));
}
static void adadelta(void)
{
    mean_of(&v, mul(g, g));
    double u = mul(g, root(quo(add(m, 1e-6), add(v, 1e-6))));
    mean_of(&m, mul(u, u));
    sub(p, mul(0.1, u));
}
static void clip(void)
{
    m = add(m, mul(g, g));
    g = mul(g, 0.5);
}
static void sum(void) { m = add(m, x); }
static void drop(void) { mul(x, 1.25); }
static void move(void) { copy(x); }

static void softmax(void)
{
    larger(m, x);
    double e = ten(sub(x, m));
    m = add(m, e);
    quo(e, m);
}
static void distill(void)
{
    softmax();
    softmax();
    mul(sub(x, g), 0.1);
}
static void mse(void)
{
    double d = sub(x, g);
    m = add(m, mul(d, d));
    mul(d, 0.1);
}
static void mae(void)
{
    m = add(m, size(sub(x, g)));
    copy(0.1);
}
static void huber(void)
{
    double d = sub(x, g);
    larger(size(d), 1);
    m = add(m, mul(mul(0.5, d), d));
    mul(d, 0.1);
}
static void bnorm_fwd(void)
{
    m = add(m, x);
    double d = sub(x, m);
    v = add(v, mul(d, d));
    add(mul(x, s), p);
}
static void bnorm_infer(void) { add(mul(x, s), p); }
static void bnorm_bwd(void)
{
    m = add(m, g);
    v = add(v, mul(g, sub(x, m)));
    double d = sub(x, m);
    sub(sub(mul(s, g), p), mul(d, v));
}

typedef void formula(void);

/* n numbers, each by the formulas in turn. */
static const struct {
    const char *problem;
    int n;
    formula *step[4];
} simple[] = {
    { "relu:f32:any:n77", 77, { relu } },
    { "relu6:f32:any:n77", 77, { relu6 } },
    { "leaky_relu:f32:any:n77", 77, { leaky_relu } },
    { "sigmoid:f32:any:n77", 77, { sigmoid } },
    { "tanh:f32:any:n77", 77, { tanh_ } },
    { "gelu_erf:f32:any:n77", 77, { gelu_erf } },
    { "gelu_tanh:f32:any:n77", 77, { gelu_tanh } },
    { "silu:f32:any:n77", 77, { silu } },
    { "relu_bwd:f32:any:n77", 77, { pass_or_stop } },
    { "relu6_bwd:f32:any:n77", 77, { relu6_bwd } },
    { "leaky_relu_bwd:f32:any:n77", 77, { leaky_relu_bwd } },
    { "sigmoid_bwd:f32:any:n77", 77, { sigmoid_bwd } },
    { "tanh_bwd:f32:any:n77", 77, { tanh_bwd } },
    { "gelu_erf_bwd:f32:any:n77", 77, { gelu_erf_bwd } },
    { "gelu_tanh_bwd:f32:any:n77", 77, { gelu_tanh_bwd } },
    { "silu_bwd:f32:any:n77", 77, { silu_bwd } },
    { "sgd:f32:any:n77", 77, { sgd } },
    { "sgd:f32:any:n77:momentum", 77, { momentum, sgd } },
    { "sgd:f32:any:n77:momentum+nesterov+wd", 77, { decay, momentum, nesterov, sgd } },
    { "adam:f32:any:n77", 77, { adam } },
    { "adam:f32:any:n77:wd", 77, { decay, adam } },
    { "rmsprop:f32:any:n77", 77, { rmsprop } },
    { "rmsprop:f32:any:n77:wd+momentum", 77, { decay, rmsprop, momentum } },
    { "adadelta:f32:any:n77", 77, { adadelta } },
    { "adadelta:f32:any:n77:wd", 77, { decay, adadelta } },
    { "clip:f32:any:n77", 77, { clip } },
    { "dropout:f32:any:n77:p0.2", 77, { drop } },
    { "bias_bwd:f32:any:m7n11", 77, { sum } },
    { "add:f32:any:n77", 77, { sum } },
    { "concat_fwd:f32:any:m7n6k5", 77, { move } },
    { "concat_bwd:f32:any:m7n6k5", 77, { move } },
    { "shortcut_fwd:f32:nhwc:mb2ic4ih5oc8s2", 2 * 3 * 3 * 4, { move } },
    { "shortcut_bwd:f32:nhwc:mb2ic4ih5oc8s2", 2 * 3 * 3 * 4, { move } },
    { "softmax_ce:f32:any:m7n11", 77, { softmax } },
    { "distill:f32:any:m7n11", 77, { distill } },
    { "mse:f32:any:m7n11", 77, { mse } },
    { "mae:f32:any:m7n11", 77, { mae } },
    { "huber:f32:any:m7n11", 77, { huber } },
    { "bnorm_fwd:f32:any:m7n11", 77, { bnorm_fwd } },
    { "bnorm_infer:f32:any:m7n11", 77, { bnorm_infer } },
    { "bnorm_bwd:f32:any:m7n11", 77, { bnorm_bwd } },
    { "narrow:bf16:any:n77", 77, { NULL } }, /* another form of the same number is no work */
    { "widen:bf16:any:n77", 77, { NULL } },
    { "scale:f32:any:n77", 77, { product } },
    { "unscale:f32:any:n77r3", 77, { product } },
    { "gather:f32:nhwc:m7r9c11", 77, { NULL } }, /* nor are rows in another place */
};

static void claims(const char *text, double want)
{
    struct hone_problem p_;
    int err = hone_problem_parse(text, &p_);
    double got = err ? NAN : p_.op->flops(&p_);
    if (!ok(!err && got == want, "%s: %.0f flops", text, want))
        printf("# %g %s\n", got, err ? hone_errmsg() : "");
}

static void check_simple(void)
{
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        counted = 0;
        for (int k = 0; k < simple[i].n; k++)
            for (int f = 0; f < 4 && simple[i].step[f]; f++) simple[i].step[f]();
        claims(simple[i].problem, counted);
    }
}

/* ---- products and windows: taps outside of the input are no work ---- */

static void check_gemm(void)
{
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 11; k++) m = add(m, mul(x, g));
}

/* A direction: input, output, kernel, stride, padding, dilation. */
struct axis {
    int i, o, k, s, p, d;
};

static int inside(const struct axis *a, int o, int k)
{
    int at = o * a->s + k * (a->d + 1) - a->p;
    return at >= 0 && at < a->i;
}

static double conv(int mb, int ic, int oc, const struct axis *h, const struct axis *w)
{
    counted = 0;
    for (int n = 0; n < mb * ic * oc; n++)
        for (int y = 0; y < h->o; y++)
            for (int kh = 0; kh < h->k; kh++)
                for (int z = 0; inside(h, y, kh) && z < w->o; z++)
                    for (int kw = 0; kw < w->k; kw++)
                        if (inside(w, z, kw)) m = add(m, mul(x, g));
    return counted;
}

static void check_conv(void)
{
    static const char *const ops[] = { "conv2d_fwd", "conv2d_dgrad", "conv2d_wgrad" };
    struct axis h = { 9, 9, 3, 1, 1, 0 }, w = { 9, 9, 3, 1, 1, 0 };
    struct axis hs = { 11, 4, 5, 3, 2, 0 }, ws = { 7, 5, 3, 1, 1, 1 };
    char text[128];
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%s:f32:nhwc:mb2ic3ih9oc4oh9kh3ph1", ops[i]);
        claims(text, conv(2, 3, 4, &h, &w));
        snprintf(text, sizeof text, "%s:f32:nhwc:mb2ic3ih11iw7oc4oh4ow5kh5kw3sh3sw1ph2pw1dh0dw1",
                 ops[i]);
        claims(text, conv(2, 3, 4, &hs, &ws));
        /* Depthwise: each output channel reads one input channel. */
        snprintf(text, sizeof text, "%s:f32:nhwc:mb2g6ic6ih9oc6oh9kh3ph1", ops[i]);
        claims(text, conv(2, 1, 6, &h, &w));
    }
}

/* Every tap of a window is one comparison or addition. */
static void check_pool(void)
{
    static const char *const ops[] = { "maxpool_fwd", "maxpool_bwd", "avgpool_fwd", "avgpool_bwd" };
    char text[128];
    for (int i = 0; i < 4; i++) {
        counted = 0;
        for (int n = 0; n < 2 * 3 * 4 * 4 * 2 * 2; n++) m = larger(m, x);
        snprintf(text, sizeof text, "%s:f32:nhwc:mb2ic3ih8oh4kh2sh2", ops[i]);
        claims(text, counted);
    }
}

/* ---- steps of a small net: 5 inputs, 3 hidden numbers with relu, 4 outputs; 7 rows ---- */

static void times(int n, formula *f)
{
    for (int i = 0; i < n; i++) f();
}

static void multiply_add(void) { m = add(m, mul(x, g)); }

/* Places of parameters are padded to whole lines of 16. */
static double mlp(int steps, formula *loss, formula *first, formula *update)
{
    counted = 0;
    for (int i = 0; i < steps; i++) {
        times(2 * 7 * 5 * 3 + 3 * 7 * 3 * 4, multiply_add);
        times(7 * 3, relu);
        times(7 * 3, pass_or_stop);
        times(7 * (3 + 4), sum);
        times(7 * 4, loss);
        if (first) times(64, first);
        times(64, update);
    }
    return counted;
}

static void check_mlp(void)
{
    claims("mlp_mse:f32:any:mb7s2i5h3o4:relu", mlp(2, mse, NULL, sgd));
    claims("mlp_mae:f32:any:mb7i5h3o4:relu+momentum", mlp(1, mae, NULL, momentum_sgd));
    claims("mlp_huber:f32:any:mb7s3i5h3o4:relu+adam", mlp(3, huber, NULL, adam));
    claims("mlp_ce:f32:any:mb7i5h3o4:relu+adam+wd", mlp(1, softmax, decay, adam));
}

/* ---- bytes: what is read, once, and what is written, once ---- */

static const struct {
    const char *problem;
    double read, written; /* numbers */
    int bytes;
} moves[] = {
    { "gemm:f32:nn:m7n5k11", 7 * 11 + 11 * 5, 7 * 5, 4 },
    { "gemm:f64:nn:m7n5k11", 7 * 11 + 11 * 5, 7 * 5, 8 },
    { "conv2d_fwd:f32:nhwc:mb2ic3ih9oc4oh9kh3ph1", 2 * 81 * 3 + 4 * 9 * 3, 2 * 81 * 4, 4 },
    { "conv2d_fwd:f32:nhwc:mb2ic3ih9oc4oh9kh3ph1:bias", 2 * 81 * 3 + 4 * 9 * 3 + 4, 2 * 81 * 4, 4 },
    { "conv2d_dgrad:f32:nhwc:mb2ic3ih9oc4oh9kh3ph1", 2 * 81 * 4 + 4 * 9 * 3, 2 * 81 * 3, 4 },
    { "conv2d_wgrad:f32:nhwc:mb2ic3ih9oc4oh9kh3ph1", 2 * 81 * 3 + 2 * 81 * 4, 4 * 9 * 3, 4 },
    { "relu:f32:any:n77", 77, 77, 4 },
    { "relu_bwd:f32:any:n77", 2 * 77, 77, 4 },
    { "sgd:f32:any:n77", 2 * 77 + 8, 77, 4 },
    { "sgd:f32:any:n77:momentum", 3 * 77 + 8, 2 * 77, 4 },
    { "adam:f32:any:n77", 4 * 77 + 8, 3 * 77, 4 },
    { "bnorm_fwd:f32:any:m7n11", 77 + 4 * 11, 77 + 4 * 11, 4 },
    { "bnorm_bwd:f32:any:m7n11", 2 * 77 + 3 * 11, 77 + 2 * 11, 4 },
    { "softmax_ce:f32:any:m7n11", 77 + 7, 77 + 2 * 7, 4 },
    { "add:f32:any:n77", 2 * 77, 77, 4 },
    { "concat_fwd:f32:any:m7n6k5", 77, 77, 4 },
    { "maxpool_fwd:f32:nhwc:mb2ic3ih8oh4kh2sh2", 2 * 3 * 64, 2 * 3 * 16, 4 },
    { "avgpool_fwd:f32:nhwc:mb2ic3ih8oh4kh2sh2", 2 * 3 * 64, 2 * 3 * 16, 4 },
    { "avgpool_bwd:f32:nhwc:mb2ic3ih8oh4kh2sh2", 2 * 3 * 16, 2 * 3 * 64, 4 },
};

static void check_bytes(void)
{
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        struct hone_problem p_;
        double want = (moves[i].read + moves[i].written) * moves[i].bytes;
        int err = hone_problem_parse(moves[i].problem, &p_);
        double got = err ? NAN : hone_problem_bytes(&p_);
        if (!ok(got == want, "%s: %.0f bytes", moves[i].problem, want))
            printf("# %g %s\n", got, hone_errmsg());
    }
}

/* ---- nobody is left out ---- */

static int is_covered(const char *op)
{
    static const char *const others[] = { "gemm",         "conv2d_fwd",  "conv2d_dgrad",
                                          "conv2d_wgrad", "maxpool_fwd", "maxpool_bwd",
                                          "avgpool_fwd",  "avgpool_bwd", "mlp_ce",
                                          "mlp_mse",      "mlp_mae",     "mlp_huber" };
    size_t len = strlen(op);
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++)
        if (!strncmp(simple[i].problem, op, len) && simple[i].problem[len] == ':') return 1;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i], op)) return 1;
    return 0;
}

int main(void)
{
    check_simple();
    counted = 0;
    check_gemm();
    claims("gemm:f32:nn:m7n5k11", counted);
    check_conv();
    check_pool();
    check_mlp();
    check_bytes();
    for (int i = 0; hone_ops[i]; i++)
        ok(is_covered(hone_ops[i]->name), "%s is counted", hone_ops[i]->name);
    return tap_end();
}
