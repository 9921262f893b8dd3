/* The places of maxima (maxpool_fwd and maxpool_bwd with index): the gradient by them has the bits
 * of the gradient by x, and with relu those of relu's gradient behind it; kernel by kernel. */
#include "kernels/pool/pool.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };

static struct hone_device device;
static void *mem[MOST];
static int nmem;

/* An array of zeros of n floats, until all are freed. */
static float *floats(int64_t n)
{
    void *m = NULL;
    if (nmem == MOST || device.backend->alloc(&device, (size_t)n * sizeof(float), &m)) abort();
    memset(m, 0, (size_t)n * sizeof(float));
    return mem[nmem++] = m;
}

static int run(const char *op, const char *sizes, const char *attrs, const char *kernel,
               void *const arg[])
{
    struct hone_problem p;
    struct hone_plan plan;
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:f32:%s%s", op, sizes, attrs);
    int err = hone_problem_parse(text, &p);
    const struct hone_kernel *k = err ? NULL : hone_kernel_find(p.op, kernel);
    void *workspace = NULL;
    if (err || (err = hone_plan_open(&plan, &p, k, NULL, &device))) return err;
    err = device.backend->alloc(&device, plan.workspace_bytes, &workspace);
    if (!err) err = hone_plan_run(&plan, arg, workspace);
    device.backend->free(&device, workspace);
    hone_plan_close(&plan);
    return err;
}

/* Many numbers are equal, and as many negative as not. */
static void fill(float *v, int64_t n, unsigned seed)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)(int)(hone_random_unit(seed, (uint64_t)i) * 9 - 4.5);
}

static void check(const char *sizes, const char *fwd, const char *bwd, int relu)
{
    struct hone_problem p;
    char text[HONE_TEXT], flat[64];
    snprintf(text, sizeof text, "maxpool_fwd:f32:%s", sizes);
    if (hone_problem_parse(text, &p)) abort();
    const int64_t n = pool_outputs(&p),
                  m = (int64_t)p.dim[POOL_MB] * p.dim[POOL_IH] * p.dim[POOL_IW] * p.dim[POOL_IC];
    float *x = floats(m), *y = floats(n), *dy = floats(n), *dx = floats(m), *want = floats(m),
          *index = floats((n + 3) / 4);
    fill(x, m, 1);
    fill(dy, n, 2);
    int err = run("maxpool_fwd", sizes, relu ? ":index+relu" : ":index", fwd,
                  (void *[]){ y, x, index });
    if (!err) err = run("maxpool_bwd", sizes, ":index", bwd, (void *[]){ dx, dy, index });
    /* The long way: relu of x, its maxima, and back. */
    snprintf(flat, sizeof flat, "any:n%lld", (long long)m);
    for (int64_t i = 0; relu && i < m; i++) x[i] = x[i] > 0 ? x[i] : 0;
    if (!err) err = run("maxpool_bwd", sizes, "", bwd, (void *[]){ want, dy, x });
    for (int64_t i = 0; relu && i < m; i++) want[i] = x[i] > 0 ? want[i] : 0;
    int same = !err && !memcmp(dx, want, (size_t)m * sizeof *dx), moved = 0;
    for (int64_t i = 0; i < m; i++) moved += want[i] != 0;
    ok(same && moved, "%s%s, %s: the gradient by places is that by x, %d numbers", sizes,
       relu ? " with relu" : "", fwd, moved);
    while (nmem) device.backend->free(&device, mem[--nmem]);
}

int main(void)
{
    static const char *const sizes[] = {
        "nhwc:mb2ic32ih24kh2sh2",  "nhwc:mb3ic17ih9kh3sh2ph1",
        "nhwc:mb1ic7ih13kh5sh2ph2", "nhwc:mb2ic130ih8iw11kh3kw2sh2sw1ph1pw0",
        "nhwc:mb2ic5ih7kh2sh2",    "nhwc:mb1ic16ih9kh2sh3",
    };
    static const char *const kernels[][2] = { { "cpu_windows_plain", "cpu_windows_bwd_plain" },
                                              { "cpu_windows_avx2", "cpu_windows_bwd_avx2" },
                                              { "cpu_windows_avx512", "cpu_windows_bwd_avx512" },
                                              { "ref", "ref" } };
    if (!ok(!hone_device_open(&device, "cpu0"), "cpu0 opens")) return tap_end();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
            const struct hone_kernel *f = hone_kernel_find(&hone_op_maxpool_fwd, kernels[k][0]);
            if (!f || f->isa > device.isa) {
                skip("not on this processor", "%s, %s", sizes[i], kernels[k][0]);
                continue;
            }
            check(sizes[i], kernels[k][0], kernels[k][1], 0);
            check(sizes[i], kernels[k][0], kernels[k][1], 1);
        }
    hone_device_close(&device);
    return tap_end();
}
