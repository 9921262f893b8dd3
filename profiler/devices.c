/* `hone devices`: what is here, and why a thing is missing. */
#include "config.h"

#include "kernels/describe.h"
#include "profiler/command.h"
#include "profiler/peaks.h"

#include <argp.h>
#include <cblas.h>
#include <sqlite3.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_HWLOC
#include <hwloc.h>
#endif
#ifdef HAVE_PAPI
#include <papi.h>
#endif

struct options {
    int again, json;
    const char *describe;
};

/* ---- libraries ---- */

static const char *openblas(char text[64])
{
    /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": the second word. */
    const char *s = openblas_get_config();
    s += strcspn(s, " ");
    s += *s == ' ';
    snprintf(text, 64, "%.*s, %s kernels", (int)strcspn(s, " "), s, openblas_get_corename());
    return text;
}

static const char *hwloc(char text[64])
{
#ifdef HAVE_HWLOC
    unsigned v = hwloc_get_api_version();
    snprintf(text, 64, "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
#else
    snprintf(text, 64, "not built in: cache sizes come from sysconf");
#endif
    return text;
}

static const char *papi(char text[64])
{
#ifdef HAVE_PAPI
    snprintf(text, 64, "%d.%d.%d", PAPI_VERSION_MAJOR(PAPI_VERSION),
             PAPI_VERSION_MINOR(PAPI_VERSION), PAPI_VERSION_REVISION(PAPI_VERSION));
#else
    snprintf(text, 64, "not built in: its counters print n/a");
#endif
    return text;
}

static const char *sqlite(char text[64])
{
    (void)text;
    return sqlite3_libversion();
}
static const char *jansson(char text[64])
{
    (void)text;
    return JANSSON_VERSION;
}
static const char *zlib(char text[64])
{
    (void)text;
    return zlibVersion();
}

static const struct {
    const char *name;
    const char *(*version)(char text[64]);
} libraries[] = {
    { "OpenBLAS", openblas }, { "hwloc", hwloc },     { "PAPI", papi },
    { "SQLite", sqlite },     { "jansson", jansson }, { "zlib", zlib },
};

static void show_libraries(json_t *root)
{
    char text[64];
    json_t *o = json_object();
    if (!root) puts("libraries");
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        const char *version = libraries[i].version(text);
        json_object_set_new(o, libraries[i].name, json_string(version));
        if (!root) printf("  %-9s %s\n", libraries[i].name, version);
    }
    if (root) json_object_set(root, "libraries", o);
    json_decref(o);
}

/* ---- devices ---- */

/* A GPU's are the whole GPU's. */
static void print_peaks(const struct hone_peaks *p, int is_gpu)
{
    const struct {
        const char *name;
        double one, all, unit;
    } rows[] = {
        { "f32 GFLOP/s", p->flops_one[HONE_F32], p->flops_all[HONE_F32], 1e9 },
        { "f64 GFLOP/s", p->flops_one[HONE_F64], p->flops_all[HONE_F64], 1e9 },
        { "bf16 GFLOP/s", p->flops_one[HONE_BF16], p->flops_all[HONE_BF16], 1e9 },
        { "L1 GB/s", p->l1_one, p->l1_all, 1e9 },
        { "L2 GB/s", p->l2_one, p->l2_all, 1e9 },
        { "L3 GB/s", p->l3_one, p->l3_all, 1e9 },
        { "memory GB/s", p->memory_one, p->memory_all, 1e9 },
        { "triad GB/s", 0, p->triad_all, 1e9 },
    };
    char all[32], cell[2][16];
    if (is_gpu) snprintf(all, sizeof all, "whole GPU");
    else snprintf(all, sizeof all, "%d threads", p->nthreads);
    printf("  peaks, measured %s%-8s %10s %12s\n", p->when, p->cached ? "" : " (now)",
           is_gpu ? "" : "1 thread", all);
    if (p->share < 0.95)
        printf("    the machine was busy (%.0f %% of its processors were ours at best, in %d "
               "measurements): these are lower bounds\n",
               100 * p->share, p->times);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!strncmp(rows[i].name, "bf16", 4) && rows[i].all <= 0) continue;
        double v[2] = { is_gpu ? 0 : rows[i].one, rows[i].all };
        for (int j = 0; j < 2; j++)
            snprintf(cell[j], sizeof cell[j], v[j] > 0 ? "%.1f" : "-", v[j] / rows[i].unit);
        printf("    %-41s %10s %12s\n", rows[i].name, cell[0], cell[1]);
    }
}

static void show_device(const char *command, struct hone_device *d, const struct options *o,
                        json_t *devices)
{
    struct hone_peaks peaks;
    char l1[32], l2[32], l3[32], memory[32];
    const int is_cpu = !d->backend->start;
    int err = hone_peaks(d, o->again, &peaks);
    if (err && !o->again && d->backend->start) err = hone_peaks(d, 1, &peaks);
    if (!err && peaks.not_kept[0])
        fprintf(stderr, "%s: peaks are measured each time: %s\n", command, peaks.not_kept);
    if (devices) {
        json_t *j = json_pack(
            "{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I}", "name", d->name, "backend",
            d->backend->name, "text", d->text, "id", d->id, "isa", hone_isa_name(d->isa), "cores",
            d->ncores, "l1_bytes", (json_int_t)d->l1_bytes, "l2_bytes", (json_int_t)d->l2_bytes,
            "l3_bytes", (json_int_t)d->l3_bytes, "memory_bytes", (json_int_t)d->memory_bytes);
        if (is_cpu)
            json_object_set_new(j, "flushes_subnormal", json_boolean(hone_flushes_subnormal()));
        json_object_set_new(j, "peaks",
                            err ? json_pack("{s:s}", "why", hone_errmsg())
                                : hone_peaks_json(d, &peaks));
        json_array_append_new(devices, j);
        return;
    }
    printf("%s: %s\n  %d cores, %s, L1 %s, L2 %s, L3 %s, memory %s\n  id %s\n", d->name, d->text,
           d->ncores, hone_isa_name(d->isa), hone_bytes_text(d->l1_bytes, l1),
           hone_bytes_text(d->l2_bytes, l2), hone_bytes_text(d->l3_bytes, l3),
           hone_bytes_text(d->memory_bytes, memory), d->id);
    if (is_cpu && hone_flushes_subnormal())
        puts("  numbers too small to be normal count as 0");
    if (err)
        printf("  peaks: n/a (%s)\n", hone_errmsg());
    else
        print_peaks(&peaks, d->backend->start != NULL);
}

static void show_absent(const char *name, const char *why, json_t *devices)
{
    if (devices)
        json_array_append_new(devices, json_pack("{s:s, s:s}", "name", name, "absent", why));
    else
        printf("%s: absent (%s)\n", name, why);
}

static void show_devices(const char *command, const struct options *o, json_t *root)
{
    static const struct {
        const char *prefix, *backend;
    } kinds[] = { { "cpu", "cpu" }, { "gpu", "cuda" } };
    json_t *devices = root ? json_array() : NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct hone_backend *b = NULL;
        for (int j = 0; hone_backends[j]; j++)
            if (!strcmp(hone_backends[j]->name, kinds[i].backend)) b = hone_backends[j];
        const char *why = b ? b->absent() : "this build of Hone leaves the backend out";
        int n = why ? 1 : b->count();
        for (int index = 0; index < n; index++) {
            char name[16];
            struct hone_device d;
            snprintf(name, sizeof name, "%s%d", kinds[i].prefix, index);
            if (why)
                show_absent(name, why, devices);
            else if (hone_device_open(&d, name))
                show_absent(name, hone_errmsg(), devices);
            else
                show_device(command, &d, o, devices), hone_device_close(&d);
        }
    }
    if (root) json_object_set_new(root, "devices", devices);
}

/* ---- meters ---- */

struct events {
    int n, countable;
    char why[128];
    json_t *json;
};

static void see_event(void *ctx, const char *event, const char *about, const char *why)
{
    struct events *e = ctx;
    e->n++;
    e->countable += !why;
    if (why && !e->why[0]) snprintf(e->why, sizeof e->why, "%s", why);
    if (e->json)
        json_array_append_new(e->json, json_pack("{s:s, s:s, s:b, s:s?}", "name", event, "about",
                                                 about, "countable", !why, "why", why));
}

static void show_meters(json_t *root)
{
    json_t *meters = root ? json_array() : NULL;
    if (!root) puts("meters");
    for (int i = 0; hone_meters[i]; i++) {
        const struct hone_meter *m = hone_meters[i];
        const char *why = m->absent();
        struct events e = { .json = root ? json_array() : NULL };
        if (!why) m->list(see_event, &e);
        if (root) {
            json_array_append_new(meters, json_pack("{s:s, s:s?, s:o}", "name", m->name, "absent",
                                                    why, "events", e.json));
            continue;
        }
        if (why)
            printf("  %-9s absent (%s)\n", m->name, why);
        else if (e.countable == e.n)
            printf("  %-9s %d events\n", m->name, e.n);
        else
            printf("  %-9s %d of %d events; of the rest the first: n/a (%s); see `hone counters`\n",
                   m->name, e.countable, e.n, e.why);
    }
    if (root) json_object_set_new(root, "meters", meters);
}

/* ---- command ---- */

static int describe(const char *command, const char *name)
{
    struct hone_device d;
    char *text = NULL;
    int err = hone_device_open(&d, name);
    if (!err) err = hone_device_properties(&d, &text);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    if (!err && !root) err = hone_fail(HONE_EPARSE, "cuDNN's description is no JSON: %.100s", text);
    free(text);
    hone_device_close(&d);
    if (err) return hone_command_fail(command, "--describe", err);
    return hone_command_end(command, root, HONE_GOOD);
}

static const struct argp_option argp_options[] = {
    { "peaks-again", 'a', NULL, 0, "measure the peaks, though they are in the cache", 0 },
    { "json", 'j', NULL, 0, "print JSON", 0 },
    { "describe", 'd', "gpu0", 0,
      "print cuDNN's description of a GPU, by which --device gpu0:FILE lists for it elsewhere", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'a': o->again = 1; return 0;
    case 'j': o->json = 1; return 0;
    case 'd': o->describe = arg; return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); return EINVAL;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Shows every device with its measured peaks, the libraries and the meters, and why a thing is "
    "missing.  `hone counters` lists the meters' events."
    "\v"
    "Peaks take about two seconds, once; they are then kept in the user's cache directory.  Each "
    "is the best of many short runs.  A GPU's are measured by this command alone; others read "
    "them.\n\n"
    "Examples:\n"
    "  hone devices                what is here\n"
    "  hone devices --peaks-again  after a change of the machine, or a noisy first time\n"
    "  hone devices --json\n\n"
    "Exit status: 0 good, 1 output could not be written, 2 wrong usage.";

int hone_cmd_devices(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, NULL, about, NULL, NULL, NULL };
    struct options o = { 0 };
    argp_err_exit_status = HONE_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return HONE_USAGE;
    if (o.describe) return describe(argv[0], o.describe);
    json_t *root = o.json ? json_object() : NULL;
    show_devices(argv[0], &o, root);
    show_libraries(root);
    show_meters(root);
    return hone_command_end(argv[0], root, HONE_GOOD);
}
