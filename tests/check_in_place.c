/* Steps write their output over an input that nobody reads afterwards (nets/arena.c): every kernel
 * of the ops that may do so gives the same bits there as elsewhere, whatever its configuration. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIGS = 24 };

static struct hone_device device;

/* What one problem's runs need: the arguments as they are before a run, and buffers for them. */
struct runs {
    struct hone_arg arg[HONE_MAX_ARGS];
    int nargs;
    double *value[HONE_MAX_ARGS];
    void *mem[HONE_MAX_ARGS], *want[HONE_MAX_ARGS];
};

static int runs_open(struct runs *r, const struct hone_problem *p)
{
    *r = (struct runs){ .nargs = 0 };
    r->nargs = p->op->args(p, r->arg);
    for (int a = 0; a < r->nargs; a++) {
        const struct hone_arg *g = &r->arg[a];
        const int64_t n = hone_arg_len(g);
        const double lo = g->lo < g->hi ? g->lo : -1, hi = g->lo < g->hi ? g->hi : 1;
        r->value[a] = malloc((size_t)n * sizeof(double));
        r->want[a] = malloc((size_t)hone_arg_bytes(g));
        if (!r->value[a] || !r->want[a]) return hone_fail(HONE_ENOMEM, "%s", g->name);
        int err = device.backend->alloc(&device, (size_t)hone_arg_bytes(g), &r->mem[a]);
        if (err) return err;
        for (int64_t i = 0; i < n; i++) {
            r->value[a][i] = lo + (hi - lo) * hone_random_unit(5u + (unsigned)a, (uint64_t)i);
            if (g->dtype == HONE_U64) r->value[a][i] = (double)(i + 7);
        }
    }
    return HONE_OK;
}

static void runs_close(struct runs *r)
{
    for (int a = 0; a < r->nargs; a++) {
        free(r->value[a]);
        free(r->want[a]);
        device.backend->free(&device, r->mem[a]);
    }
}

/* Runs with argument 0 at the place of `over`, or at its own; NaN elsewhere in what is written. */
static int run(const struct hone_plan *plan, struct runs *r, int over, void *workspace)
{
    void *mem[HONE_MAX_ARGS];
    for (int a = 0; a < r->nargs; a++) {
        mem[a] = r->mem[a];
        if (r->arg[a].io == HONE_OUT) memset(mem[a], 255, (size_t)hone_arg_bytes(&r->arg[a]));
        else hone_from_double(r->arg[a].dtype, r->value[a], mem[a], hone_arg_len(&r->arg[a]));
    }
    if (over) mem[0] = mem[over];
    int err = hone_plan_run(plan, mem, workspace);
    for (int a = 0; !err && !over && a < r->nargs; a++)
        memcpy(r->want[a], r->mem[a], (size_t)hone_arg_bytes(&r->arg[a]));
    return err;
}

static int is_right(const struct runs *r, int over)
{
    for (int a = 0; a < r->nargs; a++) {
        const void *got = r->mem[a == 0 ? over : a];
        if (a != over && memcmp(got, r->want[a], (size_t)hone_arg_bytes(&r->arg[a]))) return 0;
    }
    return 1;
}

/* One configuration, its output over each input that is as large; returns how many it was. */
static int check_config(const struct hone_kernel *k, const struct hone_problem *p,
                        const struct hone_config *c, struct runs *r, int *wrong)
{
    struct hone_plan plan;
    void *workspace = NULL;
    int n = 0, err = hone_plan_open(&plan, p, k, c, &device);
    if (err) return 0;
    err = device.backend->alloc(&device, plan.workspace_bytes, &workspace);
    if (!err) err = run(&plan, r, 0, workspace);
    for (int a = 1; !err && a < r->nargs; a++) {
        if (r->arg[a].io != HONE_IN || r->arg[a].rank != r->arg[0].rank ||
            hone_arg_bytes(&r->arg[a]) != hone_arg_bytes(&r->arg[0]))
            continue;
        err = run(&plan, r, a, workspace);
        *wrong += err || !is_right(r, a);
        n++;
    }
    device.backend->free(&device, workspace);
    hone_plan_close(&plan);
    return n;
}

static void check_kernel(const struct hone_kernel *k, const struct hone_problem *p,
                         const char *text, struct runs *r)
{
    struct hone_config c;
    int wrong = 0, n = 0, configs = 0;
    hone_config_first(k, &c);
    do {
        if (!hone_config_valid(k, p, &c, &device)) continue;
        n += check_config(k, p, &c, r, &wrong);
        configs++;
    } while (configs < CONFIGS && hone_config_next(k, &c));
    ok(n && !wrong, "%s/%s: the same bits over an input, %d configs", text, k->name, configs);
}

static void check(const char *text)
{
    struct hone_problem p;
    struct runs r;
    int err = hone_problem_parse(text, &p);
    struct hone_step s = { .problem = p };
    ok(!err && hone_step_in_place(&s), "%s may lie over an input", text);
    err = runs_open(&r, &p);
    for (int i = 0; !err && hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (k->build == HONE_AOT && hone_kernel_does(k, p.op) &&
            !hone_kernel_refuse(k, &p, &device))
            check_kernel(k, &p, text, &r);
    }
    runs_close(&r);
}

int main(void)
{
    static const char *const texts[] = {
        "add:f32:any:n70001",           "add:f32:any:n777:relu",
        "add:bf16:any:n70001",          "dropout:f32:any:n70001:p0.3+stream2",
        "dropout:f64:any:n701:p0.5",    "relu:f32:any:n900001",
        "relu_bwd:f32:any:n900001",     "relu6_bwd:f16:any:n7001",
        "gelu_tanh:f32:any:n70001",     "gelu_tanh_bwd:f32:any:n70001",
        "gelu_erf_bwd:f64:any:n7001",   "leaky_relu_bwd:bf16:any:n7001",
        "sigmoid_bwd:f32:any:n513",     "tanh_bwd:f32:any:n513",
        "silu_bwd:f32:any:n513",        "bnorm_bwd:f32:any:m4099n48",
        "bnorm_bwd:f32:any:m1031n17:relu", "bnorm_bwd:bf16:any:m515n64:relu6",
        "bnorm_fwd:f32:any:m4099n48",   "bnorm_fwd:f32:any:m1031n17:add+relu",
        "bnorm_infer:f32:any:m1031n17:add+relu", "bnorm_infer:f64:any:m1031n16",
    };
    static const char *const others[] = {
        "maxpool_bwd:f32:nhwc:mb1ic3ih4kh2sh2", "gemm:f32:nn:m4n4k4", "bias_bwd:f32:any:m4n4",
        "concat_bwd:f32:any:m4n4k4",            "avgpool_fwd:f32:nhwc:mb1ic3ih4kh1",
    };
    if (!ok(!hone_device_open(&device, "cpu0"), "cpu0 opens")) return tap_end();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check(texts[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct hone_step s = { .nargs = 0 };
        ok(!hone_problem_parse(others[i], &s.problem) && !hone_step_in_place(&s), "%s may not",
           others[i]);
    }
    hone_device_close(&device);
    return tap_end();
}
