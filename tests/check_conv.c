/* Convolution's meaning, which its kernels are measured by: sizes that are derived or contradict
 * each other, values worked out by hand, and for every shape of shapes/conv.txt the two gradients
 * as adjoints of forward:  <dy, x * w> = <dgrad(dy, w), x> = <wgrad(x, dy), w>. */
#include "kernels/kernel.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONV(sizes) "conv2d_fwd:f32:nhwc:" sizes

static void sizes(const char *text, const char *canonical, double flops)
{
    struct hone_problem p;
    char printed[HONE_TEXT];
    if (hone_problem_parse(text, &p)) { ok(0, "%s: %s", text, hone_errmsg()); return; }
    hone_problem_print(&p, printed);
    if (!ok(!strcmp(printed, canonical), "%s is %s", text, canonical))
        printf("# printed %s\n", printed);
    if (!ok(p.op->flops(&p) == flops, "%s: %.0f flops", text, flops))
        printf("# %.0f\n", p.op->flops(&p));
}

static void bad(const char *text, const char *what)
{
    struct hone_problem p;
    int err = hone_problem_parse(text, &p);
    if (!ok(err == HONE_EPARSE && strstr(hone_errmsg(), what), "%s is refused: ...%s...", text,
            what))
        printf("# %s: %s\n", hone_errname(err), err ? hone_errmsg() : "accepted");
}

static void texts(void)
{
    sizes(CONV("mb1ic1ih3oc1kh3"), CONV("mb1ic1ih3oc1oh1kh3"), 18);
    /* Of 3 x 3 taps on 3 outputs, 7 of 9 are inside in either direction. */
    sizes(CONV("mb1ic1ih3oc1kh3ph1"), CONV("mb1ic1ih3oc1oh3kh3ph1"), 2 * 7 * 7);
    sizes(CONV("mb2ic4ih8oc6kh1g2"), CONV("g2mb2ic4ih8oc6oh8kh1"), 2.0 * 2 * 64 * 6 * 2);
    sizes(CONV("mb1ic1ih10oc1kh3sh3dh1"), CONV("mb1ic1ih10oc1oh2kh3sh3dh1"), 2 * 6 * 6);
    /* TensorFlow's SAME: one row of padding, at the end. */
    sizes(CONV("mb1ic1ih12oc1oh6kh3sh2"), CONV("mb1ic1ih12oc1oh6kh3sh2"), 2 * 17 * 17);
    bad(CONV("g2mb1ic3ih5oc4kh1"), "2 groups do not divide ic 3");
    bad(CONV("g2mb1ic4ih5oc5kh1"), "2 groups do not divide oc 5");
    bad(CONV("mb1ic1ih4oc1kh3dh1"), "the kernel spans 5 in direction h, the padded input only 4");
    bad(CONV("mb1ic1ih9iw2oc1kh3"), "the kernel spans 3 in direction w, the padded input only 2");
    bad(CONV("mb1ic1ih5oc1oh6kh3"), "oh 6 does not fit: it needs 3 rows of padding at the end");
    bad(CONV("mb1ic1ih9oc1oh2kh3sh2"), "oh 2 does not fit: it leaves the last 4 inputs unused");
    bad(CONV("mb1ic1ih9oc1oh7ow10kh3"), "ow 10 does not fit");
    bad(CONV("mb1ic1ih5oc1kh2147483647dh2147483647"), "too large");
    bad(CONV("mb2147483647ic65536ih9oc1kh1"), "more than 2^48 numbers");
    bad(CONV("mb1ic1ih5oc1kh1:relu+tanh"), "two activations");
    bad("conv2d_dgrad:f32:nhwc:mb1ic1ih5oc1kh1:relu", "no attribute 'relu'");
    bad("conv2d_fwd:f32:chwn:mb1ic1ih5oc1kh1", "no layout 'chwn'");
}

/* ---- values ---- */

/* x = 1, 2, ..., w = 1, 2, ..., and bias = 1, 2, ...: the outputs worked out on paper. */
static void by_hand(const char *text, int n, const double want[])
{
    struct hone_problem p;
    double x[64], scale;
    int good = !hone_problem_parse(text, &p);
    for (int i = 0; i < 64; i++) x[i] = i + 1;
    const double *in[HONE_MAX_ARGS] = { NULL, x, x, x };
    for (int i = 0; good && i < n; i++) good = p.op->ref(&p, in, 0, i, &scale) == want[i];
    ok(good, "%s has the values worked out by hand", text);
}

static void values(void)
{
    by_hand(CONV("mb1ic1ih3oc1kh2"), 4, (double[]){ 37, 47, 67, 77 });
    by_hand(CONV("mb1ic1ih3oc1kh2:bias"), 4, (double[]){ 38, 48, 68, 78 });
    by_hand(CONV("mb1ic1ih2oc1kh3ph1"), 4,
            (double[]){ 5 + 12 + 24 + 36, 4 + 10 + 21 + 32, 2 + 6 + 15 + 24, 1 + 4 + 12 + 20 });
    by_hand(CONV("mb1ic2ih1oc2kh1"), 2, (double[]){ 1 + 4, 3 + 8 });
    by_hand(CONV("g2mb1ic2ih1oc2kh1"), 2, (double[]){ 1, 4 });
    by_hand(CONV("mb1ic1ih4oc1kh2sh2"), 4,
            (double[]){ 1 + 4 + 15 + 24, 3 + 8 + 21 + 32, 9 + 20 + 39 + 56, 11 + 24 + 45 + 64 });
    by_hand(CONV("mb1ic1ih3oc1kh2dh1"), 1, (double[]){ 1 + 6 + 21 + 36 });
    by_hand(CONV("mb1ic1ih2iw1oc1oh2ow1kh2kw1"), 2, (double[]){ 1 + 4, 2 });
    /* The same numbers through the gradients: dy = 1, 2, ... in place of x or y. */
    by_hand("conv2d_dgrad:f32:nhwc:mb1ic1ih2iw1oc1oh1ow1kh2kw1", 2, (double[]){ 1, 2 });
    by_hand("conv2d_dgrad:f32:nhwc:mb1ic1ih3iw1oc1oh2ow1kh2kw1", 3, (double[]){ 1, 2 + 2, 4 });
    by_hand("conv2d_wgrad:f32:nhwc:mb1ic1ih3iw1oc1oh2ow1kh2kw1", 2, (double[]){ 1 + 4, 2 + 6 });
}

/* ---- adjoints ---- */

static double *random_numbers(uint64_t seed, int64_t n)
{
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; v && i < n; i++) v[i] = 2 * hone_random_unit(seed, (uint64_t)i) - 1;
    return v;
}

/* <meaning of p on a and b, c>, where c is like p's output. */
static double inner(const struct hone_problem *p, const double *a, const double *b, const double *c,
                    int64_t n)
{
    const double *in[HONE_MAX_ARGS] = { NULL, a, b };
    double sum = 0, scale;
    for (int64_t i = 0; i < n; i++) sum += p->op->ref(p, in, 0, i, &scale) * c[i];
    return sum;
}

/* Three problems of the same sizes. */
static int family(const char *line, struct hone_problem p[3])
{
    static const char *const op[3] = { "conv2d_fwd", "conv2d_dgrad", "conv2d_wgrad" };
    for (int i = 0; i < 3; i++) {
        char text[HONE_TEXT];
        snprintf(text, sizeof text, "%s%s", op[i], strchr(line, ':'));
        if (hone_problem_parse(text, &p[i])) return 0;
    }
    return 1;
}

static void adjoint(const char *line)
{
    struct hone_problem p[3];
    struct hone_arg arg[HONE_MAX_ARGS];
    if (!family(line, p)) { ok(0, "%s: %s", line, hone_errmsg()); return; }
    p[0].op->args(&p[0], arg);
    int64_t ny = hone_arg_len(&arg[0]), nx = hone_arg_len(&arg[1]), nw = hone_arg_len(&arg[2]);
    double *y = random_numbers(1, ny), *x = random_numbers(2, nx), *w = random_numbers(3, nw);
    if (y && x && w) {
        double fwd = inner(&p[0], x, w, y, ny), dgrad = inner(&p[1], y, w, x, nx),
               wgrad = inner(&p[2], x, y, w, nw);
        double most = 1e-12 * p[0].op->flops(&p[0]);
        if (!ok(fabs(fwd - dgrad) <= most && fabs(fwd - wgrad) <= most && fwd != 0,
                "%s: the gradients are adjoints", line))
            printf("# %.17g by fwd, %.17g by dgrad, %.17g by wgrad\n", fwd, dgrad, wgrad);
    } else {
        ok(0, "%s: out of memory", line);
    }
    free(y);
    free(x);
    free(w);
}

int main(void)
{
    char name[512], line[HONE_TEXT];
    texts();
    values();
    snprintf(name, sizeof name, "%s/tests/shapes/conv.txt",
             getenv("srcdir") ? getenv("srcdir") : ".");
    FILE *f = fopen(name, "r");
    if (!ok(f != NULL, "shapes/conv.txt can be read")) return tap_end();
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\n")] = 0;
        line[strcspn(line, " \t")] = 0;
        /* Epilogues have no gradient here. */
        const char *attributes = strrchr(line, ':');
        if (!strncmp(line, "conv2d_fwd:", 11) && strstr(attributes, "mb")) adjoint(line);
    }
    fclose(f);
    return tap_end();
}
