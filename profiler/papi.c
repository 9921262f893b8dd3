/* Meter: hardware and software events through PAPI.
 *
 * A plan's threads are OpenMP's or a library's own, started at any time before.  So after a first
 * run every thread of the process gets an event set attached, and their sum is the count.  PAPI
 * attaches only where the processor shows its counters; in a virtual machine without them, the
 * plan's OpenMP threads start and stop their own sets.  One event is counted in one pass: no
 * multiplexing, no scaled guesses. */
#include "config.h"

#include "profiler/profiler.h"

#include <stdio.h>
#include <string.h>

extern const struct hone_meter hone_meter_papi;

#ifdef HAVE_PAPI

#include <dirent.h>
#include <papi.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_THREADS = 1024 };

#ifdef __SANITIZE_ADDRESS__
/* PAPI 7.0 never frees the names of events it goes through, cuDNN 9.19 some kilobytes of engines
 * that refuse: their own leaks, not ours. */
extern const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libpapi\nleak:libcudnn"; }
#endif

static unsigned long self(void) { return (unsigned long)pthread_self(); }

static const char *absent(void)
{
    static char why[128];
    static int asked;
    if (asked) return why[0] ? why : NULL;
    asked = 1;
    int version = PAPI_library_init(PAPI_VER_CURRENT), nactive = 0;
    if (version != PAPI_VER_CURRENT) {
        snprintf(why, sizeof why, "PAPI does not start: %s",
                 version < 0 ? PAPI_strerror(version) : "another version than compiled for");
        return why;
    }
    PAPI_thread_init(self);
    for (int i = 0; i < PAPI_num_components(); i++)
        nactive += !PAPI_get_component_info(i)->disabled;
    if (!nactive)
        snprintf(why, sizeof why, "PAPI has no active component: %.90s",
                 PAPI_get_component_info(0)->disabled_reason);
    return why[0] ? why : NULL;
}

/* ---- one event on one thread ---- */

static int code_of(const char *event, int *code)
{
    char copy[PAPI_MAX_STR_LEN];
    snprintf(copy, sizeof copy, "%s", event);
    *code = 0;
    return PAPI_event_name_to_code(copy, code);
}

/* The system counts these while it runs itself; of the rest only the program's own are wanted. */
static int in_kernel(int code)
{
    char name[PAPI_MAX_STR_LEN];
    return PAPI_event_code_to_name(code, name) == PAPI_OK &&
           (strcasestr(name, "switches") || strcasestr(name, "migrations"));
}

static void drop(int *set)
{
    if (*set == PAPI_NULL) return;
    PAPI_cleanup_eventset(*set);
    PAPI_destroy_eventset(set);
}

/* tid 0: this thread, or the machine where the component counts that. */
static int add(int *set, int code, unsigned long tid)
{
    *set = PAPI_NULL;
    int err = PAPI_set_domain(in_kernel(code) ? PAPI_DOM_ALL : PAPI_DOM_USER);
    if (err == PAPI_OK) err = PAPI_create_eventset(set);
    if (err == PAPI_OK) err = PAPI_assign_eventset_component(*set, PAPI_get_event_component(code));
    if (err == PAPI_OK && tid) err = PAPI_attach(*set, tid);
    if (err == PAPI_OK) err = PAPI_add_event(*set, code);
    if (err != PAPI_OK) drop(set);
    return err;
}

/* The kernel lists the processor's counters, where there are any, among its sources of events. */
static int processor_counts(void)
{
    static int known = -1;
    if (known >= 0) return known;
    DIR *dir = opendir("/sys/bus/event_source/devices");
    known = !dir; /* nobody to ask */
    for (const struct dirent *e; dir && (e = readdir(dir));)
        known |= !strncmp(e->d_name, "cpu", 3) || strstr(e->d_name, "pmu");
    if (dir) closedir(dir);
    return known;
}

static void explain(int err, char *why, size_t size)
{
    int paranoid = 0;
    FILE *f = fopen("/proc/sys/kernel/perf_event_paranoid", "r");
    if (f && fscanf(f, "%d", &paranoid) != 1) paranoid = 0;
    if (f) fclose(f);
    if ((err == PAPI_ENOEVNT || err == PAPI_EINVAL) && !processor_counts())
        snprintf(why, size, "the processor's counters are hidden, as in most virtual machines");
    else if (err == PAPI_ENOEVNT || err == PAPI_EINVAL)
        snprintf(why, size, "this machine does not count it (PAPI: %s)", PAPI_strerror(err));
    else if ((err == PAPI_EPERM || err == PAPI_ESYS) && paranoid > 1)
        snprintf(why, size, "not permitted: kernel.perf_event_paranoid is %d (PAPI: %s)", paranoid,
                 PAPI_strerror(err));
    else
        snprintf(why, size, "PAPI: %s", PAPI_strerror(err));
}

/* ---- which events there are ---- */

static int each(int component, int code, int modifier,
                void (*f)(void *ctx, const PAPI_event_info_t *info), void *ctx)
{
    int n = 0, err = PAPI_enum_cmp_event(&code, PAPI_ENUM_FIRST, component);
    for (; err == PAPI_OK; err = PAPI_enum_cmp_event(&code, modifier, component), n++) {
        PAPI_event_info_t info;
        if (f && PAPI_get_event_info(code, &info) == PAPI_OK) f(ctx, &info);
    }
    return n;
}

static void each_event(void (*f)(void *ctx, const PAPI_event_info_t *info), void *ctx)
{
    for (int i = 0; i < PAPI_num_components(); i++) {
        if (PAPI_get_component_info(i)->disabled) continue;
        if (i == 0) each(i, PAPI_PRESET_MASK, PAPI_ENUM_EVENTS, f, ctx);
        each(i, PAPI_NATIVE_MASK, PAPI_ENUM_EVENTS, f, ctx);
    }
}

/* Do PAPI's lists have an event of this name, masks aside, or at least its source? */
struct sought {
    const char *event;
    size_t source, name;
    int source_here, event_here;
};

static void compare(void *ctx, const PAPI_event_info_t *info)
{
    struct sought *s = ctx;
    if (s->source && !strncmp(info->symbol, s->event, s->source)) s->source_here = 1;
    if (!strncmp(info->symbol, s->event, s->name) &&
        (!info->symbol[s->name] || info->symbol[s->name] == ':'))
        s->event_here = 1;
}

/* "skx::INST_RETIRED" is a good name where the processor is another one; "perf::NO_SUCH" is none
 * where PAPI has the source perf. */
static int knows(const char *event)
{
    const char *colons = strstr(event, "::");
    int code;
    if (absent()) return colons || !strncmp(event, "PAPI_", 5);
    if (code_of(event, &code) == PAPI_OK) return 1;
    struct sought s = { .event = event, .source = colons ? (size_t)(colons - event) + 2 : 0 };
    s.name = s.source + strcspn(event + s.source, ":");
    each_event(compare, &s);
    return s.event_here || (colons && !s.source_here);
}

struct listing {
    void (*f)(void *ctx, const char *event, const char *about, const char *why);
    void *ctx;
};

static void list_one(void *ctx, const PAPI_event_info_t *info)
{
    const struct listing *l = ctx;
    char why[128] = "";
    int set, err = add(&set, (int)info->event_code, 0);
    if (err != PAPI_OK)
        explain(err, why, sizeof why);
    else
        drop(&set);
    l->f(l->ctx, info->symbol, info->long_descr, why[0] ? why : NULL);
}

static void list(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx)
{
    struct listing l = { f, ctx };
    if (!absent()) each_event(list_one, &l);
}

/* ---- counting ---- */

struct watch {
    int n, set[MAX_THREADS]; /* started event sets */
    int team;                /* 1: set i belongs to OpenMP's thread i */
};

static int start(struct watch *w, int i, int code, unsigned long tid)
{
    int bad = add(&w->set[i], code, tid);
    if (bad == PAPI_OK && (bad = PAPI_start(w->set[i])) != PAPI_OK) drop(&w->set[i]);
    return bad;
}

static int stop(struct watch *w, long long *sum)
{
    int bad = PAPI_OK;
#pragma omp parallel for schedule(static, 1) num_threads(w->team ? w->n : 1)
    for (int i = 0; i < w->n; i++) {
#pragma omp critical
        {
            long long value = 0;
            int err = w->set[i] == PAPI_NULL ? PAPI_OK : PAPI_stop(w->set[i], &value);
            drop(&w->set[i]);
            if (err != PAPI_OK) bad = err;
            *sum += value;
            if (w->team && i > 0)
                PAPI_unregister_thread(); /* the thread may end before the next count */
        }
    }
    w->n = 0;
    return bad;
}

/* Every thread of this process. */
static int start_attached(struct watch *w, int code)
{
    int bad = PAPI_OK;
    DIR *dir = opendir("/proc/self/task");
    if (!dir) return PAPI_ESYS;
    for (const struct dirent *e; bad == PAPI_OK && w->n < MAX_THREADS && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        bad = start(w, w->n, code, strtoul(e->d_name, NULL, 10));
        w->n += bad == PAPI_OK;
    }
    closedir(dir);
    return bad;
}

static int start_team(struct watch *w, int code, int nthreads)
{
    int bad = PAPI_OK;
    w->team = 1;
    w->n = nthreads;
#pragma omp parallel for schedule(static, 1) num_threads(nthreads)
    for (int i = 0; i < nthreads; i++) {
#pragma omp critical
        {
            int err = PAPI_register_thread();
            if (err == PAPI_OK) err = start(w, i, code, 0);
            if (err != PAPI_OK) bad = err;
        }
    }
    return bad;
}

/* The reference, which has no such parameter, uses all. */
static int threads_of(const struct hone_plan *plan)
{
    int most = plan->device->ncores < MAX_THREADS ? plan->device->ncores : MAX_THREADS;
    return hone_config_get(plan->kernel, &plan->config, "threads", plan->kernel->slow ? most : 1);
}

static int pass(const struct hone_plan *plan, struct hone_case *c, int runs, int code,
                struct hone_counter *counter)
{
    const PAPI_component_info_t *component =
        PAPI_get_component_info(PAPI_get_event_component(code));
    struct watch *w = calloc(1, sizeof *w);
    long long sum = 0;
    int err = HONE_OK, bad = PAPI_ENOEVNT, nthreads = threads_of(plan);
    if (!w) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *w);
    if (!component || !component->attach) {
        bad = start_team(w, code, 1); /* counts the machine */
    } else if ((bad = start_attached(w, code)) != PAPI_OK) {
        stop(w, &sum);
        sum = 0;
        bad = start_team(w, code, nthreads);
        if (bad == PAPI_OK && plan->kernel->build == HONE_LIB && nthreads > 1) {
            snprintf(counter->why, sizeof counter->why,
                     "a library's own threads cannot be watched on this machine");
            goto done;
        }
    }
    for (int i = 0; bad == PAPI_OK && !err && i < runs; i++)
        err = hone_plan_run(plan, c->mem, c->workspace);
    if (!err) err = plan->device->backend->sync(plan->device);
done:;
    int stopped = stop(w, &sum);
    if (bad == PAPI_OK) bad = stopped;
    if (bad != PAPI_OK) explain(bad, counter->why, sizeof counter->why);
    counter->ok = !err && !counter->why[0];
    counter->value = (double)sum / runs;
    free(w);
    return err;
}

static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    int err = hone_plan_run(plan, c->mem, c->workspace); /* starts the threads it uses */
    for (int i = 0; !err && i < n; i++) {
        int code, bad = code_of(event[i], &code);
        if (bad != PAPI_OK)
            explain(bad, counter[i].why, sizeof counter[i].why);
        else
            err = pass(plan, c, runs, code, &counter[i]);
    }
    return err;
}

#else

static const char *absent(void)
{
    return "Hone was built without PAPI (package libpapi-dev, configure --with-papi)";
}

static int knows(const char *event) { return strstr(event, "::") || !strncmp(event, "PAPI_", 5); }

static void list(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx)
{
    (void)f, (void)ctx;
}

static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    (void)plan, (void)c, (void)runs, (void)event;
    for (int i = 0; i < n; i++) snprintf(counter[i].why, sizeof counter[i].why, "%s", absent());
    return HONE_OK;
}

#endif

const struct hone_meter hone_meter_papi = { "papi", absent, knows, list, count };
