/* The vector activations, their slopes, exp and log on a grid over every exponent of a float: the
 * largest error in ulp against doubles, and the limits at infinities and NaN; for every kernel the
 * registry has. */
#include "kernels/activation/vector.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>

enum { STEP = 4099 };   /* every so many bit patterns: a prime, so that mantissas differ between exponents */

static float *x, *s, *y;   /* (n): the grid, ones or the grid, what the kernel makes of it */
static double *want;
static int n;

/* Distance in units of the last place of `want` as a float. */
static double ulps(double got, double want_)
{
    int e;
    if (got == want_ || (isnan(got) && isnan(want_))) return 0;
    if (isinf(want_) || !isfinite(got))
        return fabs(want_) > 0x1.ffffffp127 && isinf(got) ? 0 : INFINITY;
    frexp(want_, &e);
    return fabs(got - want_) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

/* The forward functions and how many ulp they may be off; for gelu_tanh, of |x| / 2. */
static const struct { enum hone_act act; double ulp; } bounds[] = {
    { HONE_ACT_relu, 0 }, { HONE_ACT_relu6, 0 }, { HONE_ACT_leaky_relu, 1 }, { HONE_ACT_sigmoid, 2.5 }, { HONE_ACT_tanh, 2.5 },
    { HONE_ACT_gelu_erf, 5 }, { HONE_ACT_gelu_tanh, 3 }, { HONE_ACT_silu, 3.5 },
};

static void fill_grid(void)
{
    int i = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += STEP) {
        uint32_t b = (uint32_t)bits;
        memcpy(&x[i++], &b, sizeof b);
    }
    static const float special[] = { 0, -0.0f, 1, -1, 6, -6, INFINITY, -INFINITY, NAN, 0x1p-149f, -0x1p-149f, 0x1p-126f,
                                     0x1.fffffep127f, -0x1.fffffep127f, 88.72284f, -88.72284f, -103.98f, -104.0f };
    for (size_t j = 0; j < sizeof special / sizeof *special; j++) x[i++] = special[j];
    for (int j = 0; j < 200000; j++) x[i++] = (float)(j - 120000) * 0x1p-10f;   /* -117 to 78 */
    n = i;
}

static int run_kernel(const struct hone_kernel *k, const char *op, struct hone_device *d)
{
    char text[HONE_TEXT];
    struct hone_problem p;
    struct hone_plan plan;
    snprintf(text, sizeof text, "%s:f32:any:n%d", op, n);
    int err = hone_problem_parse(text, &p);
    if (!err) err = hone_plan_open(&plan, &p, k, NULL, d);
    if (err) return err;
    void *forward[] = { y, x }, *backward[] = { y, s, x };
    err = hone_plan_run(&plan, strstr(op, "_bwd") ? backward : forward, NULL);
    hone_plan_close(&plan);
    return err;
}

static void report(const char *kernel, const char *what, double worst, int at, double most)
{
    ok(worst <= most, "%s/%s: at most %g ulp", what, kernel, most);
    printf("# %.2f ulp at x = %.9g: %.9g, want %.9g\n", worst, (double)x[at], (double)y[at],
           want[at]);
}

static void check_forward(const struct hone_kernel *k, enum hone_act a, double most,
                          struct hone_device *d)
{
    double worst = 0, e;
    int at = 0;
    if (run_kernel(k, hone_act_name(a), d)) {
        ok(0, "%s/%s: %s", hone_act_name(a), k->name, hone_errmsg());
        return;
    }
    for (int i = 0; i < n; i++) {
        e = ulps(y[i], want[i]);
        if (a == HONE_ACT_gelu_tanh && isfinite(e))
            e = fmin(e, fabs(y[i] - want[i]) / fabs(0.5 * x[i]) * 0x1p23);
        if (e > worst) { worst = e; at = i; }
    }
    report(k->name, hone_act_name(a), worst, at, most);
}

/* Slopes through the gradients with dy = 1.  Those from x cross zero, so their errors are taken
 * relative to the two terms whose difference they are: about 1 for all of these. */
static void check_slope(const struct hone_kernel *k, enum hone_act a, struct hone_device *d)
{
    char op[32];
    double worst = 0;
    int at = 0;
    snprintf(op, sizeof op, "%s_bwd", hone_act_name(a));
    if (run_kernel(k, op, d)) { ok(0, "%s/%s: %s", op, k->name, hone_errmsg()); return; }
    for (int i = 0; i < n; i++) {
        double f = hone_act_derivative_of(a, x[i]), e = fabs(y[i] - f) * 0x1p23;
        if (a == HONE_ACT_sigmoid || a == HONE_ACT_tanh)
            e = fabs(x[i]) > 1 ? 0 : ulps(y[i], f); /* x is an output there */
        else if (isnan(f) != isnan(y[i])) e = INFINITY;
        if (e > worst) { worst = e; at = i; want[i] = f; }
    }
    report(k->name, op, worst, at, 2);
}

static void check_exp_log(void)
{
    double worst[2] = { 0 };
    int at[2] = { 0 };
    for (int i = 0; i + VL <= n; i += VL) {
        /* The logarithm is of normal positive numbers and NaN alone. */
        vf v = vf_load(x + i), e = vf_exp(v);
        vf l = vf_log(vf_select((vi)(v < 0x1p-126f), vf_set(1), v));
        for (int j = 0; j < VL; j++) {
            float in = x[i + j];
            int has_log = in >= 0x1p-126f && in < INFINITY;
            double a = ulps(e[j], exp(in));
            double b = has_log ? ulps(l[j], log(in)) : isnan(in) ? !isnan(l[j]) : 0;
            if (a > worst[0]) { worst[0] = a; at[0] = i + j; }
            if (b > worst[1]) { worst[1] = b; at[1] = i + j; }
        }
    }
    ok(worst[0] <= 1.5, "vf_exp: %.2f ulp, at x = %.9g", worst[0], (double)x[at[0]]);
    ok(worst[1] <= 1.5, "vf_log: %.2f ulp, at x = %.9g", worst[1], (double)x[at[1]]);
}

int main(void)
{
    struct hone_device d;
    size_t most = UINT32_MAX / STEP + 200100;
    x = malloc(most * sizeof *x), s = malloc(most * sizeof *s), y = malloc(most * sizeof *y), want = malloc(most * sizeof *want);
    if (!x || !s || !y || !want || hone_device_open(&d, "cpu0")) { printf("Bail out! no memory or no device\n"); return 1; }
    fill_grid();
    for (int i = 0; i < n; i++) s[i] = 1;
    check_exp_log();
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct hone_problem p;
        char text[HONE_TEXT];
        snprintf(text, sizeof text, "%s:f32:any:n%d", hone_act_name(bounds[b].act), n);
        if (hone_problem_parse(text, &p)) { ok(0, "%s", hone_errmsg()); continue; }
        for (int i = 0; hone_kernels[i]; i++) {
            if (hone_kernels[i]->slow || hone_kernel_refuse(hone_kernels[i], &p, &d)) continue;
            for (int j = 0; j < n; j++) want[j] = hone_act_value(bounds[b].act, x[j]);
            check_forward(hone_kernels[i], bounds[b].act, bounds[b].ulp, &d);
            check_slope(hone_kernels[i], bounds[b].act, &d);
        }
    }
    hone_device_close(&d);
    free(x), free(s), free(y), free(want);
    return tap_end();
}
