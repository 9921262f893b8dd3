/* Texts that people type: problems, configs and device names, good and bad. */
#include "kernels/kernel.h"
#include "tests/tap.h"

#include <string.h>

/* Reading then printing gives the canonical text, and reading that gives the same value. */
static void good(const char *text, const char *canonical)
{
    struct hone_problem p, q;
    char printed[HONE_TEXT];
    if (hone_problem_parse(text, &p)) { ok(0, "%s: %s", text, hone_errmsg()); return; }
    hone_problem_print(&p, printed);
    if (!ok(!strcmp(printed, canonical), "%s is %s", text, canonical))
        printf("# printed %s\n", printed);
    ok(!hone_problem_parse(printed, &q) && hone_problem_equal(&p, &q),
       "%s reads back as the same problem", printed);
}

static void bad(const char *text, const char *what)
{
    struct hone_problem p;
    int err = hone_problem_parse(text, &p);
    if (!ok(err == HONE_EPARSE && strstr(hone_errmsg(), what), "'%.60s' is refused: ...%s...", text,
            what))
        printf("# %s: %s\n", hone_errname(err), err ? hone_errmsg() : "accepted");
}

static void problems(void)
{
    good("gemm:f32:nn:m64n128k8", "gemm:f32:nn:m64n128k8");
    good("gemm:f32:nt:k8n128m64", "gemm:f32:nt:m64n128k8");
    good("gemm:f32:tn:m1n1k1:relu+bias", "gemm:f32:tn:m1n1k1:bias+relu");
    good("gemm:f32:nn:m1n1k1:beta0", "gemm:f32:nn:m1n1k1");
    good("gemm:f32:nn:m1n1k1:beta1.0+alpha0.5", "gemm:f32:nn:m1n1k1:alpha0.5+beta1");
    good("gemm:f32:nn:m1n1k1:beta-1e-3", "gemm:f32:nn:m1n1k1:beta-0.001");
    good("conv2d_fwd:f32:nhwc:mb128ic16ih32oc16oh32kh3ph1",
         "conv2d_fwd:f32:nhwc:mb128ic16ih32oc16oh32kh3ph1");
    good("conv2d_fwd:f32:nhwc:mb128ic16ih32oc16kh3ph1",
         "conv2d_fwd:f32:nhwc:mb128ic16ih32oc16oh32kh3ph1");
    good("conv2d_fwd:f32:nhwc:mb2ic3ih7iw7oc5oh7ow7kh3kw3sh1sw1ph1pw1",
         "conv2d_fwd:f32:nhwc:mb2ic3ih7oc5oh7kh3ph1");
    good("conv2d_fwd:f32:nhwc:mb2ic3ih7iw9oc5kh3kw1ph1pw0:bias",
         "conv2d_fwd:f32:nhwc:mb2ic3ih7iw9oc5oh7ow9kh3kw1ph1pw0:bias");
    good("relu:f32:any:n2097152", "relu:f32:any:n2097152");

    bad("", "no such op ''");
    bad("gemn:f32:nn:m1n1k1", "no such op 'gemn'");
    bad("gemm", "expected OP:DTYPE:LAYOUT:SIZES");
    bad("gemm:f32:nn", "expected OP:DTYPE:LAYOUT:SIZES");
    bad("gemm:f33:nn:m1n1k1", "no dtype 'f33'");
    bad("gemm:i32:nn:m1n1k1", "no dtype 'i32'");
    bad("gemm:f32:xx:m1n1k1", "no layout 'xx'");
    bad("gemm:f32:nn:m1n1", "size 'k' is missing");
    bad("gemm:f32:nn:m1n1k1m1", "size 'm' is given twice");
    bad("gemm:f32:nn:m1n1q1", "no size 'q'");
    bad("gemm:f32:nn:m0n1k1", "size 'm' is 0");
    bad("gemm:f32:nn:m-1n1k1", "expected a size");
    bad("gemm:f32:nn:m99999999999999999999n1k1", "fit in 31 bits");
    bad("gemm:f32:nn:m1n1k1:", "expected an attribute");
    bad("gemm:f32:nn:m1n1k1:bias+", "expected an attribute after '+'");
    bad("gemm:f32:nn:m1n1k1:bias+bias", "'bias' is given twice");
    bad("gemm:f32:nn:m1n1k1:relu+tanh", "two activations");
    bad("gemm:f32:nn:m1n1k1:beta", "no attribute 'beta'");
    bad("gemm:f32:nn:m1n1k1:betanan", "no attribute");
    bad("gemm:f32:nn:m1n1k1:bias:relu", "more than five fields");
    bad("conv2d_fwd:f32:nhwc:mb1ic3ih2oc4kh5", "");
    bad("conv2d_fwd:f32:nhwc:g2mb1ic3ih8oc4kh3", "");

    char longest[2 * HONE_TEXT];
    memset(longest, 'm', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    bad(longest, "longer than");
}

static const struct hone_kernel example = {
    .name = "example",
    .param = { HONE_PARAM("mr", 4, 8), HONE_PARAM("pack", 0, 1), HONE_PARAM("threads", 1, 2) },
};

static void configs(void)
{
    struct hone_config c, d;
    char text[HONE_TEXT];
    int n = 0;
    hone_config_first(&example, &c);
    do {
        hone_config_print(&example, &c, text);
        hone_config_first(&example, &d);
        n += !hone_config_parse(&example, text, &d) && !memcmp(&c, &d, sizeof c);
    } while (hone_config_next(&example, &c));
    ok(n == 8, "every config reads back as itself (%d of 8)", n);

    static const struct { const char *text, *what; } wrong[] = {
        { "mr=5", "mr of example cannot be 5" }, { "mrr=4", "no parameter 'mrr'" }, { "mr", "expected name=value" },
        { "mr=4;pack=1", "expected name=value" }, { "mr=four", "expected name=value" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ok(hone_config_parse(&example, wrong[i].text, &d) == HONE_EPARSE &&
               strstr(hone_errmsg(), wrong[i].what),
           "config '%s' is refused: ...%s...", wrong[i].text, wrong[i].what);
}

static void devices(void)
{
    static const char *const wrong[] = { "", "cpu", "cpu1", "cpu-1", "cpu0x", "xpu0", "gpu0" };
    struct hone_device d;
    ok(!hone_device_open(&d, "cpu0") && d.ncores >= 1 && d.l1_bytes > 0 && d.id[0],
       "cpu0 opens: %s", d.id);
    hone_device_close(&d);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int err = hone_device_open(&d, wrong[i]);
        if (!strcmp(wrong[i], "gpu0") && !err) { skip("there is a GPU", "device 'gpu0' is refused"); hone_device_close(&d); continue; }
        ok(err == HONE_EDEVICE && strstr(hone_errmsg(), wrong[i]), "device '%s' is refused: %s", wrong[i], hone_errmsg());
    }
}

static void numbers(void)
{
    static const double values[] = { 0,          -0.0,      1,          -1,
                                     1.00390625, 1.0078125, 1.01171875, 3.3895313892515355e38,
                                     1e-40 };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint16_t b;
        double back;
        hone_from_double(HONE_BF16, &values[i], &b, 1);
        hone_to_double(HONE_BF16, &b, &back, 1);
        double gap = values[i] > 0 ? values[i] - back : back - values[i];
        if (gap < 0) gap = -gap;
        double size = values[i] < 0 ? -values[i] : values[i];
        ok(gap <= size * 0x1p-8 + 0x1p-134,
           "bf16 of %.9g is %.9g: within half a unit in the last place", values[i], back);
    }
}

int main(void)
{
    problems();
    configs();
    devices();
    numbers();
    return tap_end();
}
