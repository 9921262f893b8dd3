/* `hone counters`: groups of counters and single events, what works here, and why the rest does
 * not. */
#include "config.h"

#include "profiler/command.h"
#include "profiler/cupti.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *pattern, *device, *chip;
    int all, json;
};

/* ---- what the meters list ---- */

struct event {
    const struct hone_meter *meter;
    char name[128], about[256], why[128]; /* why "": it can be counted */
};

struct catalogue {
    int n, room, failed;
    struct event *event;
    const struct hone_meter *meter; /* whose list is being read */
};

static void keep(void *ctx, const char *event, const char *about, const char *why)
{
    struct catalogue *c = ctx;
    if (c->n == c->room) {
        struct event *more = realloc(c->event, (size_t)(2 * c->room + 64) * sizeof *more);
        if (!more) {
            c->failed = 1;
            return;
        }
        c->event = more;
        c->room = 2 * c->room + 64;
    }
    struct event *e = &c->event[c->n++];
    e->meter = c->meter;
    snprintf(e->name, sizeof e->name, "%s", event);
    snprintf(e->about, sizeof e->about, "%s", about);
    snprintf(e->why, sizeof e->why, "%s", why ? why : "");
}

static int read_meters(struct catalogue *c)
{
    for (int i = 0; hone_meters[i]; i++) {
        c->meter = hone_meters[i];
        if (!c->meter->absent()) c->meter->list(keep, c);
    }
    return c->failed ? hone_fail(HONE_ENOMEM, "%d events", c->n) : HONE_OK;
}

/* Why a term of a group cannot be counted; NULL: it can. */
static const char *why_not(const struct catalogue *c, const char *term)
{
    const char *colon = strchr(term, ':');
    if (!strcmp(term, "seconds")) return NULL;
    for (int i = 0; i < c->n; i++) {
        const struct event *e = &c->event[i];
        if (!strcmp(e->name, term)) return e->why[0] ? e->why : NULL;
        if (colon && !strncmp(term, e->meter->name, (size_t)(colon - term)) &&
            !strcmp(e->name, colon + 1))
            return e->why[0] ? e->why : NULL;
    }
    for (int i = 0; hone_meters[i]; i++)
        if (hone_meters[i]->absent()) return hone_meters[i]->absent();
    return "no meter lists it on this machine";
}

/* Of a metric. */
static const char *first_obstacle(const struct catalogue *c, const struct hone_metric *m,
                                  const char **term)
{
    for (int i = 0; i < 2 * HONE_METRIC_TERMS; i++) {
        *term = i < HONE_METRIC_TERMS ? m->top[i] : m->bottom[i - HONE_METRIC_TERMS];
        const char *why = *term ? why_not(c, *term) : NULL;
        if (why) return why;
    }
    return NULL;
}

/* ---- groups ---- */

static void print_group(const struct catalogue *c, const struct hone_counter_group *g)
{
    printf("  %-8s %s\n           ", g->name, g->about);
    for (int i = 0; i < HONE_GROUP_EVENTS && g->event[i]; i++) printf(" %s", g->event[i]);
    putchar('\n');
    for (int i = 0; i < HONE_GROUP_METRICS && g->metric[i].name; i++) {
        const char *term, *why = first_obstacle(c, &g->metric[i], &term);
        if (why)
            printf("            -> %-20s n/a (%s: %s)\n", g->metric[i].name, term, why);
        else
            printf("            -> %-20s works\n", g->metric[i].name);
    }
}

static json_t *group_json(const struct catalogue *c, const struct hone_counter_group *g)
{
    json_t *events = json_array(), *metrics = json_array();
    for (int i = 0; i < HONE_GROUP_EVENTS && g->event[i]; i++)
        json_array_append_new(events, json_string(g->event[i]));
    for (int i = 0; i < HONE_GROUP_METRICS && g->metric[i].name; i++) {
        const char *term, *why = first_obstacle(c, &g->metric[i], &term);
        json_array_append_new(metrics, json_pack("{s:s, s:b, s:s?}", "name", g->metric[i].name,
                                                 "works", !why, "why", why));
    }
    return json_pack("{s:s, s:s, s:o, s:o}", "name", g->name, "about", g->about, "events", events,
                     "metrics", metrics);
}

/* ---- events ---- */

static int shown(const struct options *o, const struct event *e)
{
    return !o->pattern || strcasestr(e->name, o->pattern) || strcasestr(e->about, o->pattern);
}

static void print_event(const struct event *e)
{
    printf("  %-42s %.60s%s%s%s\n", e->name, e->about, e->why[0] ? ": n/a (" : "", e->why,
           e->why[0] ? ")" : "");
}

/* Those that cannot be counted, once for each reason. */
static void print_reasons(const struct catalogue *c, const struct hone_meter *m)
{
    for (int i = 0; i < c->n; i++) {
        const struct event *e = &c->event[i];
        int n = 0, before = 0;
        if (e->meter != m || !e->why[0]) continue;
        for (int k = 0; k < c->n; k++) {
            int same = c->event[k].meter == m && !strcmp(c->event[k].why, e->why);
            n += same;
            before |= same && k < i;
        }
        if (!before) printf("  and %d more, such as %s: n/a (%s)\n", n, e->name, e->why);
    }
}

static void print_meter(const struct catalogue *c, const struct hone_meter *m,
                        const struct options *o)
{
    int n = 0, countable = 0;
    const char *why = m->absent();
    for (int i = 0; i < c->n; i++) {
        n += c->event[i].meter == m;
        countable += c->event[i].meter == m && !c->event[i].why[0];
    }
    if (why) {
        printf("%s: absent (%s)\n", m->name, why);
        return;
    }
    printf("%s: %d of %d events can be counted\n", m->name, countable, n);
    for (int i = 0; i < c->n; i++)
        if (c->event[i].meter == m && shown(o, &c->event[i]) &&
            (o->all || o->pattern || !c->event[i].why[0]))
            print_event(&c->event[i]);
    if (!o->all && !o->pattern) print_reasons(c, m);
}

static json_t *meter_json(const struct catalogue *c, const struct hone_meter *m,
                          const struct options *o)
{
    json_t *events = json_array();
    for (int i = 0; i < c->n; i++) {
        const struct event *e = &c->event[i];
        if (e->meter != m || !shown(o, e)) continue;
        json_array_append_new(events,
                              json_pack("{s:s, s:s, s:b, s:s?}", "name", e->name, "about", e->about,
                                        "countable", !e->why[0], "why", e->why[0] ? e->why : NULL));
    }
    return json_pack("{s:s, s:s?, s:o}", "name", m->name, "absent", m->absent(), "events", events);
}

static json_t *everything(const struct catalogue *c, const struct options *o)
{
    json_t *groups = json_array(), *meters = json_array();
    for (const struct hone_counter_group *g = hone_counter_groups; g->name; g++)
        json_array_append_new(groups, group_json(c, g));
    for (int i = 0; hone_meters[i]; i++)
        json_array_append_new(meters, meter_json(c, hone_meters[i], o));
    return json_pack("{s:o, s:o}", "groups", groups, "meters", meters);
}

static void print(const struct catalogue *c, const struct options *o)
{
    if (!o->pattern) {
        puts("groups, for --counters of hone bench and hone profile");
        for (const struct hone_counter_group *g = hone_counter_groups; g->name; g++)
            print_group(c, g);
        fputs("groups of GPUs; --device gpu0 or --chip shows what is in them\n ", stdout);
        for (const struct hone_gpu_group *g = hone_gpu_groups; g->name; g++) printf(" %s", g->name);
        putchar('\n');
    }
    for (int i = 0; hone_meters[i]; i++) print_meter(c, hone_meters[i], o);
}

/* ---- command ---- */

/* A GPU's groups are by chip, and need no GPU where the chip is named. */
static int gpu_counters(const char *command, const struct options *o)
{
    char chip[32];
    json_t *root = NULL;
    int err = o->chip                                 ? HONE_OK
              : hone_device_is_description(o->device) ? hone_gpu_described_chip(o->device, chip)
                                                      : hone_gpu_chip(o->device, chip);
    if (err) return hone_command_fail(command, "--device", err);
    err = hone_gpu_counters(o->chip ? o->chip : chip, o->json ? &root : NULL);
    if (err) return hone_command_fail(command, o->chip ? "--chip" : "--device", err);
    return hone_command_end(command, root, HONE_GOOD);
}

static const struct argp_option argp_options[] = {
    { "all", 'a', NULL, 0, "events that cannot be counted here too, each with its reason", 0 },
    { "json", 'j', NULL, 0, "print JSON", 0 },
    { "device", 'd', "D", 0,
      "of this device (cpu0); a GPU's counters come in groups; gpu0:FILE: of a GPU that need not be "
      "here, whose properties are in FILE",
      0 },
    { "chip", 'c', "CHIP", 0, "of a GPU with this chip, such as GH100; it need not be here", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'a': o->all = 1; return 0;
    case 'j': o->json = 1; return 0;
    case 'd': o->device = arg; return 0;
    case 'c': o->chip = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->pattern) argp_error(state, "unexpected argument '%s'", arg);
        o->pattern = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Shows what can be counted while kernels run: groups with the metrics they give, and every "
    "event of every meter by its name."
    "\v"
    "PATTERN keeps events with that text in their name or description.  Each event of the hardware "
    "is "
    "counted in runs of its own: nothing is multiplexed, nothing scaled up.\n\n"
    "Of a GPU it shows the groups with what the chip calls each counter, the unit, and in how many "
    "runs of a kernel (passes) they are counted.\n\n"
    "Examples:\n"
    "  hone counters                   what works here, and why the rest does not\n"
    "  hone counters --all             every preset and native event\n"
    "  hone counters fault\n"
    "  hone counters --device gpu0     of the GPU that is here\n"
    "  hone counters --chip GH100      of any H100 or H200; needs CUPTI, but no GPU\n"
    "  hone bench --problem gemm:f32:nn:m64n64k64 --counters ipc,system,perf::TASK-CLOCK\n"
    "  hone profile --net lenet5 --counters model,flops\n\n"
    "Exit status: 0 good, 1 no event has the pattern, the device or CUPTI is absent, or output could "
    "not be written, 2 wrong usage.";

int hone_cmd_counters(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, "[PATTERN]", about, NULL, NULL, NULL };
    struct options o = { 0 };
    struct catalogue c = { 0 };
    argp_err_exit_status = HONE_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return HONE_USAGE;
    if (o.chip || (o.device && !strncmp(o.device, "gpu", 3))) return gpu_counters(argv[0], &o);
    struct hone_device d;
    if (o.device && hone_device_open(&d, o.device))
        return hone_command_fail(argv[0], "--device", HONE_EDEVICE);
    if (o.device) hone_device_close(&d);
    int err = read_meters(&c), n = 0;
    for (int i = 0; i < c.n; i++) n += shown(&o, &c.event[i]);
    if (!err && !n) err = hone_fail(HONE_EPARSE, "no event here has '%s' in its name", o.pattern);
    if (!err && !o.json) print(&c, &o);
    int code = err ? hone_command_fail(argv[0], NULL, HONE_EINVAL) && 1
                   : hone_command_end(argv[0], o.json ? everything(&c, &o) : NULL, HONE_GOOD);
    free(c.event);
    return code;
}
