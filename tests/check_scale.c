/* What unscale does with gradients that are not finite, wherever they stand, and with its scale:
 * every kernel on cpu0 and on the pretend gpu0, in blocks and threads of several sizes. */
#include "kernels/scale/scale.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3001, ROWS = 5 };

struct memory { float g[N], s[SCALE_LEN], hyper[8], table[ROWS][8]; };

/* S before and after; bad: which gradient is infinite, -1: none. */
struct row {
    const char *what;
    int bad;
    float value, before[SCALE_LEN], after[SCALE_LEN];
};

static const struct row rows[] = {
    { "all finite", -1, 0, { 8, 0.125f, 3, 2, 1, 9, 64 }, { 8, 0.125f, 4, 2, 1, 9, 64 } },
    { "patient enough", -1, 0, { 8, 0.125f, 8, 7, 1, 9, 64 }, { 16, 0.0625f, 0, 7, 1, 9, 64 } },
    { "and at the top", -1, 0, { 64, 1 / 64.f, 8, 0, 1, 9, 64 }, { 64, 1 / 64.f, 0, 0, 1, 9, 64 } },
    { "a fixed scale", -1, 0, { 8, 0.125f, 8, 0, 0, 9, 64 }, { 8, 0.125f, 8, 0, 0, 9, 64 } },
    { "one infinite", 0, INFINITY, { 8, 0.125f, 8, 2, 1, 9, 64 }, { 4, 0.25f, 0, 3, 1, 9, 64 } },
    { "none in the last", N - 1, NAN, { 8, 0.125f, 8, 4, 1, 9, 64 }, { 4, 0.25f, 0, 5, 1, 9, 64 } },
    { "too large", 1500, 3e38f, { 0.25f, 4, 8, 0, 1, 9, 64 }, { 0.125f, 8, 0, 1, 1, 9, 64 } },
    { "and fixed", 2999, -INFINITY, { 8, 0.125f, 8, 0, 0, 9, 64 }, { 8, 0.125f, 0, 1, 0, 9, 64 } },
};

static void fill(struct memory *m, const struct row *r)
{
    for (int i = 0; i < N; i++) m->g[i] = (float)(i % 17 - 8);
    if (r->bad >= 0) m->g[r->bad] = r->value;
    memcpy(m->s, r->before, sizeof m->s);
    for (int i = 0; i < 8; i++) m->hyper[i] = -1;
    for (int i = 0; i < ROWS * 8; i++) m->table[i / 8][i % 8] = (float)(i + 10);
}

static int is_right(const struct memory *m, const struct row *r)
{
    static const float nothing[] = SCALE_NOTHING;
    const int found = r->bad >= 0;
    int good = !memcmp(m->s, r->after, sizeof m->s);
    for (int i = 0; i < N; i++)
        good &= m->g[i] == (found ? 0 : (float)(i % 17 - 8) * r->before[SCALE_INVERSE]);
    const float *hyper = found ? nothing : m->table[(int)r->before[SCALE_SKIPPED] % ROWS];
    return good && !memcmp(m->hyper, hyper, sizeof m->hyper);
}

static int compute(const struct hone_plan *plan, struct memory *m)
{
    struct hone_device *d = plan->device;
    char *mem = NULL;
    void *workspace = NULL;
    int err = d->backend->alloc(d, sizeof *m, (void **)&mem);
    if (!err) err = d->backend->alloc(d, plan->workspace_bytes, &workspace);
    if (!err) err = d->backend->put(d, mem, m, sizeof *m);
    void *arg[] = { mem, mem + offsetof(struct memory, s), mem + offsetof(struct memory, hyper),
                    mem + offsetof(struct memory, table) };
    if (!err) err = hone_plan_run(plan, arg, workspace);
    if (!err) err = d->backend->get(d, m, mem, sizeof *m);
    d->backend->free(d, mem);
    d->backend->free(d, workspace);
    return err;
}

static void check_plan(const struct hone_plan *plan, const char *config)
{
    static struct memory m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fill(&m, &rows[i]);
        int err = compute(plan, &m);
        ok(!err && is_right(&m, &rows[i]), "%s/%s %s: %s", plan->kernel->name, config,
           plan->device->name, rows[i].what);
    }
}

static void check_config(const struct hone_kernel *kernel, const struct hone_problem *p,
                         const struct hone_config *c, struct hone_device *d)
{
    struct hone_plan plan;
    char text[HONE_TEXT];
    if (!hone_config_valid(kernel, p, c, d)) return;
    hone_config_print(kernel, c, text);
    if (!ok(!hone_plan_open(&plan, p, kernel, c, d), "%s opens", kernel->name)) return;
    check_plan(&plan, text);
    hone_plan_close(&plan);
}

static void check_device(const char *name, const struct hone_problem *p)
{
    struct hone_device d;
    if (!ok(!hone_device_open(&d, name), "%s opens", name)) return;
    for (int k = 0; hone_kernels[k]; k++) {
        struct hone_config c;
        const struct hone_kernel *kernel = hone_kernels[k];
        if (kernel->build != HONE_AOT || kernel == &hone_backend_ref ||
            hone_kernel_refuse(kernel, p, &d))
            continue;
        hone_config_first(kernel, &c);
        do check_config(kernel, p, &c, &d);
        while (hone_config_next(kernel, &c));
    }
    hone_device_close(&d);
}

int main(void)
{
    char path[4096];
    const char *dir = getenv("builddir");
    struct hone_problem p;
    snprintf(path, sizeof path, "%s/tests/pretend_cuda.so", dir ? dir : ".");
    setenv("HONE_LIBCUDA", path, 1);
    if (!ok(!hone_problem_parse("unscale:f32:any:n3001r5", &p), "a problem")) return tap_end();
    check_device("cpu0", &p);
    check_device("gpu0", &p);
    return tap_end();
}
