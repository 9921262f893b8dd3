/* `hone kernels`: all ops and kernels; for a problem, which kernels accept it, and why others
 * refuse. */
#include "profiler/command.h"

#include <argp.h>
#include <string.h>

struct options {
    const char *problem, *device, *max_error, *space;
    unsigned builds;      /* 0: all */
    int json;
};

static int asked_for(const struct options *o, const struct hone_kernel *k)
{
    return !o->builds || o->builds >> k->build & 1;
}

/* ---- ops ---- */

static json_t *op_json(const struct hone_op *op)
{
    json_t *dtypes = json_array(), *layouts = json_array(), *sizes = json_array(),
           *attrs = json_array();
    for (int t = 0; t < HONE_NDTYPES; t++)
        if (op->dtypes >> t & 1)
            json_array_append_new(dtypes, json_string(hone_dtype_name((enum hone_dtype)t)));
    for (int i = 0; op->layout[i]; i++) json_array_append_new(layouts, json_string(op->layout[i]));
    for (int i = 0; i < HONE_MAX_DIMS && op->dim[i].name; i++) {
        const struct hone_dim *d = &op->dim[i];
        json_t *o = json_pack("{s:s, s:i, s:s?}", "name", d->name, "min", d->min, "same", d->same);
        if (d->def >= 0) json_object_set_new(o, "default", json_integer(d->def));
        json_object_set_new(o, "required", json_boolean(d->def == HONE_REQUIRED && !d->same));
        json_array_append_new(sizes, o);
    }
    for (int i = 0; i < HONE_MAX_ATTRS && op->attr[i].name; i++) {
        json_t *o = json_pack("{s:s}", "name", op->attr[i].name);
        if (op->attr[i].numeric) json_object_set_new(o, "default", json_real(op->attr[i].def));
        json_array_append_new(attrs, o);
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", op->name, "dtypes", dtypes, "layouts",
                     layouts, "sizes", sizes, "attributes", attrs);
}

/* "gemm  f32  nn|nt|tn  m n k  alpha=1 beta=0 bias relu ..." */
static void print_op(const struct hone_op *op)
{
    const char *sep = "";
    printf("  %-14s ", op->name);
    for (int t = 0; t < HONE_NDTYPES; t++)
        if (op->dtypes >> t & 1)
            printf("%s%s", sep, hone_dtype_name((enum hone_dtype)t)), sep = "|";
    printf(":%s", op->layout[0]);
    for (int i = 1; op->layout[i]; i++) printf("|%s", op->layout[i]);
    printf(":");
    for (int i = 0; i < HONE_MAX_DIMS && op->dim[i].name; i++) {
        const struct hone_dim *d = &op->dim[i];
        printf("%s%s", i ? " " : "", d->name);
        if (d->same)
            printf("(%s)", d->same);
        else if (d->def >= 0)
            printf("(%d)", d->def);
        else if (d->def == HONE_DERIVED)
            printf("(derived)");
    }
    for (int i = 0; i < HONE_MAX_ATTRS && op->attr[i].name; i++) {
        printf("%s%s", i ? " " : ":", op->attr[i].name);
        if (op->attr[i].numeric) printf("(%g)", op->attr[i].def);
    }
    putchar('\n');
}

/* ---- kernels ---- */

static json_t *kernel_json(const struct hone_kernel *k)
{
    char version[HONE_TEXT];
    json_t *params = json_object(), *ops = json_array();
    hone_kernel_version(k, version);
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++) {
        json_t *values = json_array();
        for (int j = 0; j < k->param[i].nvalues; j++)
            json_array_append_new(values, json_integer(k->param[i].value[j]));
        json_object_set_new(params, k->param[i].name, values);
    }
    for (int i = 0; hone_ops[i]; i++)
        if (hone_kernel_does(k, hone_ops[i]))
            json_array_append_new(ops, json_string(hone_ops[i]->name));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o}", "name", k->name, "build",
                     hone_build_name(k->build), "backend", k->backend->name, "isa",
                     hone_isa_name(k->isa), "version", version, "slow", k->slow, "ops", ops,
                     "parameters", params);
}

/* "mr = 4|8"; numbers of a library, which are many and leave none out, as "engine = 0..119". */
static void print_param(const struct hone_param *q)
{
    const int n = q->nvalues, first = q->value[0], last = q->value[n - 1];
    printf("\n      %s = ", q->name);
    if (n > 16 && last - first == n - 1) {
        printf("%d..%d", first, last);
        return;
    }
    for (int j = 0; j < n; j++) printf("%s%d", j ? "|" : "", q->value[j]);
}

static void print_kernel(const struct hone_kernel *k, const struct hone_device *d)
{
    const char *lack = k->backend != d->backend ? " (another backend)"
                       : k->isa > d->isa        ? " (not on this processor)"
                                                : "";
    printf("  %-34s %-4s %-7s%s", k->name, hone_build_name(k->build), hone_isa_name(k->isa), lack);
    if (!k->ops) printf(" every op");
    for (int i = 0; k->ops && k->ops[i]; i++) printf(" %s", k->ops[i]->name);
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++) print_param(&k->param[i]);
    putchar('\n');
}

static json_t *show_all(const struct options *o, const struct hone_device *d)
{
    const int json = o->json;
    json_t *ops = json_array(), *kernels = json_array();
    if (!json)
        puts("ops, as OP:DTYPE:LAYOUT:SIZES[:ATTRIBUTES]; in brackets what an omitted one is");
    for (int i = 0; hone_ops[i]; i++) {
        if (json)
            json_array_append_new(ops, op_json(hone_ops[i]));
        else
            print_op(hone_ops[i]);
    }
    if (!json) puts("kernels, in order of preference where nothing was measured");
    for (int i = 0; hone_kernels[i]; i++) {
        if (!asked_for(o, hone_kernels[i])) continue;
        if (json)
            json_array_append_new(kernels, kernel_json(hone_kernels[i]));
        else
            print_kernel(hone_kernels[i], d);
    }
    json_t *root = json_pack("{s:o, s:o}", "ops", ops, "kernels", kernels);
    if (json) return root;
    json_decref(root);
    return NULL;
}

/* ---- one problem ---- */

static double count_valid(const struct hone_kernel *k, const struct hone_problem *p,
                          const struct hone_device *d)
{
    struct hone_configs all;
    if (hone_configs_open(&all, k, p, d)) return 0;
    double n = all.valid;
    hone_configs_close(&all);
    return n;
}

static void show_accepting(const struct hone_kernel *k, const struct hone_problem *p,
                           const struct hone_device *d, json_t *accept)
{
    struct hone_config c;
    char config[HONE_TEXT], bytes[32];
    hone_config_guess(k, p, d, &c);
    hone_config_print(k, &c, config);
    size_t workspace = k->workspace ? k->workspace(p, &c, d) : 0;
    long long n = (long long)count_valid(k, p, d);
    if (accept)
        json_array_append_new(accept, json_pack("{s:s, s:s, s:I, s:s, s:f, s:I, s:b}", "kernel", k->name,
                                                "build", hone_build_name(k->build), "configs",
                                                (json_int_t)n, "guess", config, "max_error",
                                                hone_kernel_error(k, p, &c), "workspace_bytes",
                                                (json_int_t)workspace, "slow", k->slow));
    else
        printf("  %-34s %-5s %8lld %10s %9.2g  %s\n", k->name, hone_build_name(k->build), n,
               hone_bytes_text((int64_t)workspace, bytes), hone_kernel_error(k, p, &c), config);
}

/* ---- what libraries list themselves ---- */

struct listing {
    const struct hone_kernel *kernel;
    json_t *json;
    int n;
};

static void show_candidate(void *ctx, const struct hone_candidate *c)
{
    struct listing *l = ctx;
    char config[HONE_TEXT], bytes[32];
    hone_config_print(l->kernel, &c->config, config);
    l->n++;
    if (l->json)
        json_array_append_new(l->json, json_pack("{s:s, s:s, s:I, s:s}", "kernel", l->kernel->name,
                                                 "config", config, "workspace_bytes",
                                                 (json_int_t)c->workspace_bytes, "about", c->about));
    else
        printf("  %-16s %-22s %10s  %s\n", l->kernel->name, config,
               hone_bytes_text((int64_t)c->workspace_bytes, bytes), c->about);
}

static const char *list_kernel(struct listing *l, const struct hone_problem *p,
                               const struct hone_device *d)
{
    const struct hone_kernel *k = l->kernel;
    if (!k->candidates) return "can only be judged by the device itself";
    if (k->dtypes && !(k->dtypes >> p->dtype & 1)) return "is compiled for another number type";
    return k->candidates(p, d, show_candidate, l) ? hone_errmsg() : NULL;
}

/* Those of the kernels that accept the problem; NULL without JSON. */
static json_t *show_candidates(const struct options *o, const struct hone_problem *p,
                               const struct hone_device *d)
{
    struct listing l = { .json = o->json ? json_array() : NULL };
    int any = 0;
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = l.kernel = hone_kernels[i];
        if (!k->candidates || !asked_for(o, k) || !hone_kernel_does(k, p->op) ||
            hone_kernel_refuse(k, p, d))
            continue;
        if (!any++ && !o->json) puts("candidates");
        list_kernel(&l, p, d);
    }
    return l.json;
}

/* ---- one problem ---- */

static json_t *show_problem(const struct options *o, const struct hone_problem *p,
                            const struct hone_device *d)
{
    const int json = o->json;
    char text[HONE_TEXT], bytes[32];
    json_t *accept = json ? json_array() : NULL, *refuse = json ? json_array() : NULL;
    hone_problem_print(p, text);
    if (!json) {
        printf("%s on %s: %.4g flops, %s\n", text, d->name, p->op->flops(p),
               hone_bytes_text((int64_t)hone_problem_bytes(p), bytes));
        printf("accept\n  %-34s %-5s %8s %10s %9s  %s\n", "kernel", "build", "configs",
               "workspace", "max-error", "guess");
    }
    for (int i = 0; hone_kernels[i]; i++)
        if (asked_for(o, hone_kernels[i]) && hone_kernel_does(hone_kernels[i], p->op) &&
            !hone_kernel_refuse(hone_kernels[i], p, d))
            show_accepting(hone_kernels[i], p, d, accept);
    if (!json) puts("refuse");
    int nrefuse = 0;
    for (int i = 0; hone_kernels[i]; i++) {
        const char *why = asked_for(o, hone_kernels[i]) && hone_kernel_does(hone_kernels[i], p->op)
                              ? hone_kernel_refuse(hone_kernels[i], p, d)
                              : NULL;
        if (!why) continue;
        nrefuse++;
        if (json)
            json_array_append_new(
                refuse, json_pack("{s:s, s:s}", "kernel", hone_kernels[i]->name, "why", why));
        else
            printf("  %-34s %s\n", hone_kernels[i]->name, why);
    }
    if (!json && !nrefuse) puts("  none");
    json_t *candidates = show_candidates(o, p, d);
    return !json ? NULL
                 : json_pack("{s:s, s:s, s:f, s:f, s:o, s:o, s:o}", "problem", text, "device",
                             d->name, "flops", p->op->flops(p), "bytes", hone_problem_bytes(p),
                             "accept", accept, "refuse", refuse, "candidates", candidates);
}

static json_t *show_described(const struct options *o, const struct hone_problem *p,
                              const struct hone_device *d)
{
    struct listing l = { .json = o->json ? json_array() : NULL };
    json_t *refuse = o->json ? json_array() : NULL;
    char text[HONE_TEXT];
    hone_problem_print(p, text);
    if (!o->json) printf("%s on %s (%s): candidates\n", text, d->name, d->text);
    for (int i = 0; hone_kernels[i]; i++) {
        l.kernel = hone_kernels[i];
        if (!asked_for(o, l.kernel) || !hone_kernel_does(l.kernel, p->op) ||
            strcmp(l.kernel->backend->name, "cuda"))
            continue;
        const char *why = list_kernel(&l, p, d);
        if (why && o->json)
            json_array_append_new(refuse, json_pack("{s:s, s:s}", "kernel", l.kernel->name, "why", why));
        else if (why)
            printf("  %-16s n/a (%s)\n", l.kernel->name, why);
    }
    if (!o->json && !l.n) puts("  none");
    return o->json ? json_pack("{s:s, s:s, s:s, s:o, s:o}", "problem", text, "device", d->name,
                               "described", d->text, "candidates", l.json, "refuse", refuse)
                   : NULL;
}

/* ---- the space of one kernel ---- */

static void print_space(const struct hone_kernel *k, const struct hone_configs *all,
                        const char *guess)
{
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++) {
        printf("  %s = ", k->param[i].name);
        for (int j = 0; j < k->param[i].nvalues; j++)
            printf("%s%d", j ? "|" : "", k->param[i].value[j]);
        putchar('\n');
    }
    printf("where %s%s%s\n", k->constraint ? k->constraint : "",
           k->constraint && k->valid ? ", and " : "",
           k->valid ? "what its code admits" : k->constraint ? "" : "everything is possible");
    printf("%.0f combinations, %s%.0f valid, %d independent groups; guess %s\n", all->raw,
           all->exact ? "" : "about ", all->valid, all->ngroups, guess);
}

/* What a multiprocessor has, by the names that a constraint may use. */
static json_t *gpu_json(const struct hone_device *d)
{
    struct hone_gpu_limits l;
    if (strcmp(d->backend->name, "cuda") || hone_gpu_limits(d, &l)) return NULL;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "sms", l.nsms, "sm_threads", l.threads,
                     "sm_blocks", l.blocks, "sm_registers", l.registers, "sm_shared",
                     l.shared_bytes, "thread_registers", HONE_GPU_THREAD_REGISTERS);
}

static void print_gpu(const struct hone_device *d)
{
    const char *name;
    json_t *value, *gpu = gpu_json(d);
    if (!gpu) return;
    printf("  GPU:");
    json_object_foreach(gpu, name, value) printf(" %s %lld", name, json_integer_value(value));
    putchar('\n');
    json_decref(gpu);
}

static json_t *space_json(const struct hone_kernel *k, const struct hone_problem *p,
                          const struct hone_configs *all, const char *guess,
                          const struct hone_device *d)
{
    char text[HONE_TEXT];
    json_t *params = json_object();
    hone_problem_print(p, text);
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++) {
        json_t *values = json_array();
        for (int j = 0; j < k->param[i].nvalues; j++)
            json_array_append_new(values, json_integer(k->param[i].value[j]));
        json_object_set_new(params, k->param[i].name, values);
    }
    return json_pack("{s:s, s:s, s:o, s:s?, s:b, s:f, s:f, s:b, s:i, s:s, s:o*}", "kernel", k->name,
                     "problem", text, "parameters", params, "constraint", k->constraint, "coded",
                     all->coded, "combinations", all->raw, "valid", all->valid, "exact", all->exact,
                     "groups", all->ngroups, "guess", guess, "gpu", gpu_json(d));
}

static int show_space(const struct options *o, const struct hone_problem *p,
                      const struct hone_device *d, json_t **root)
{
    struct hone_configs all;
    struct hone_config c;
    char guess[HONE_TEXT], text[HONE_TEXT];
    const struct hone_kernel *k = hone_kernel_find(p->op, o->space);
    hone_problem_print(p, text);
    if (!k)
        return hone_fail(HONE_EINVAL, "'%s': no kernel of %s; `hone kernels -p %s` lists them",
                         o->space, p->op->name, text);
    const char *why = hone_kernel_refuse(k, p, d);
    if (why) return hone_fail(HONE_EREFUSED, "%s refuses: %s", k->name, why);
    int err = hone_configs_open(&all, k, p, d);
    if (err) return err;
    hone_config_guess(k, p, d, &c);
    hone_config_print(k, &c, guess);
    if (o->json) *root = space_json(k, p, &all, guess, d);
    else {
        printf("%s for %s on %s\n", k->name, text, d->name);
        print_gpu(d);
        print_space(k, &all, guess);
    }
    hone_configs_close(&all);
    return HONE_OK;
}

/* ---- command ---- */

static const struct argp_option argp_options[] = {
    { "problem", 'p', "P", 0, "show which kernels accept this problem, and why others refuse", 0 },
    { "space", 's', "KERNEL", 0,
      "its parameters, their values and constraints, and how many configs are valid for the problem",
      0 },
    { "device", 'd', "D", 0,
      "on this device (cpu0); gpu0:FILE: on a GPU that need not be here, whose properties are in FILE",
      0 },
    { "max-error", 'x', "X", 0,
      "those also refuse whose error may be larger than X times the sum of absolute values that a "
      "result is made of, where all inputs are of one size",
      0 },
    { "build", 'b', "LIST", 0, "kernels of these builds: aot, jit, lib (all)", 0 },
    { "json", 'j', NULL, 0, "print JSON", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'p': o->problem = arg; return 0;
    case 'd': o->device = arg; return 0;
    case 's': o->space = arg; return 0;
    case 'x': o->max_error = arg; return 0;
    case 'j': o->json = 1; return 0;
    case 'b':
        if (hone_builds_parse(arg, &o->builds)) argp_error(state, "--build: %s", hone_errmsg());
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'; a problem is given by --problem", arg);
        return EINVAL;
    case ARGP_KEY_END:
        if (o->space && !o->problem) argp_error(state, "--space needs a --problem");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Lists all ops with their sizes and attributes, and all kernels with their parameters; or what "
    "becomes of one "
    "problem."
    "\v"
    "Examples:\n"
    "  hone kernels\n"
    "  hone kernels --problem gemm:f32:nn:m128n128k128:bias+relu\n"
    "  hone kernels --problem gemm:f32:nn:m64n64k64 --build jit,lib\n"
    "  hone kernels --problem conv2d_fwd:f32:nhwc:mb128ic16ih32oc16oh32kh3ph1 --json\n"
    "  hone kernels --space cpu_blocked_avx2 --problem gemm:f32:nn:m512n512k512\n"
    "  hone kernels --problem conv2d_fwd:f32:nhwc:mb128ic64ih8oc64oh8kh3ph1 --max-error 1e-4\n"
    "  hone kernels --problem conv2d_fwd:f32:nchw:mb32ic64ih8oc64kh3ph1\n"
    "  hone kernels --device gpu0:h200 --problem conv2d_fwd:bf16:nhwc:mb128ic64ih8oc64oh8kh3ph1\n\n"
    "Exit status: 0 good, 1 the device is absent, 2 wrong usage.";

int hone_cmd_kernels(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, NULL, about, NULL, NULL, NULL };
    struct options o = { .device = "cpu0" };
    struct hone_device d;
    struct hone_problem p;
    argp_err_exit_status = HONE_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return HONE_USAGE;
    const int described = hone_device_is_description(o.device);
    int err = described ? hone_device_describe(&d, o.device) : hone_device_open(&d, o.device);
    if (!err && described && !o.problem)
        err = hone_fail(HONE_EINVAL, "a device that is only described needs --problem");
    if (err) return hone_command_fail(argv[0], "--device", err);
    const int limit = hone_device_limit(&d, o.max_error);
    err = limit ? limit : o.problem ? hone_problem_parse(o.problem, &p) : HONE_OK;
    json_t *root = NULL;
    const int bad = !err && o.space && !described ? show_space(&o, &p, &d, &root) : HONE_OK;
    if (!err && described) root = show_described(&o, &p, &d);
    else if (!err && !o.space) root = o.problem ? show_problem(&o, &p, &d) : show_all(&o, &d);
    int code = err   ? hone_command_fail(argv[0], limit ? "--max-error" : "--problem", err)
               : bad ? hone_command_fail(argv[0], "--space", bad)
                     : hone_command_end(argv[0], root, HONE_GOOD);
    hone_device_close(&d);
    return code;
}
