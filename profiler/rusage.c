/* Meter: what the operating system counts for the whole process, all threads together. */
#include "profiler/profiler.h"

#include <string.h>
#include <sys/resource.h>

extern const struct hone_meter hone_meter_rusage;

static double seconds(struct timeval t) { return (double)t.tv_sec + 1e-6 * (double)t.tv_usec; }

static double minflt(const struct rusage *u) { return (double)u->ru_minflt; }
static double majflt(const struct rusage *u) { return (double)u->ru_majflt; }
static double nvcsw(const struct rusage *u) { return (double)u->ru_nvcsw; }
static double nivcsw(const struct rusage *u) { return (double)u->ru_nivcsw; }
static double utime(const struct rusage *u) { return seconds(u->ru_utime); }
static double stime(const struct rusage *u) { return seconds(u->ru_stime); }

static const struct {
    const char *name, *about;
    double (*get)(const struct rusage *u);
} events[] = {
    { "minflt", "page faults served without reading a file", minflt },
    { "majflt", "page faults that read a file", majflt },
    { "nvcsw", "context switches by waiting", nvcsw },
    { "nivcsw", "context switches by force", nivcsw },
    { "utime", "seconds of processor time in the program, all threads", utime },
    { "stime", "seconds of processor time in the system, all threads", stime },
};

enum { NEVENTS = sizeof events / sizeof *events };

static const char *absent(void) { return NULL; }

static int find(const char *event)
{
    int i = 0;
    while (i < NEVENTS && strcmp(events[i].name, event)) i++;
    return i;
}

static int knows(const char *event) { return find(event) < NEVENTS; }

static void list(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx)
{
    for (int i = 0; i < NEVENTS; i++) f(ctx, events[i].name, events[i].about, NULL);
}

/* One pass gives them all. */
static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    struct rusage before, after;
    int err = HONE_OK;
    if (getrusage(RUSAGE_SELF, &before)) return hone_fail(HONE_EDEVICE, "getrusage failed");
    for (int i = 0; !err && i < runs; i++) err = hone_plan_run(plan, c->mem, c->workspace);
    if (!err) err = plan->device->backend->sync(plan->device);
    if (err || getrusage(RUSAGE_SELF, &after))
        return err ? err : hone_fail(HONE_EDEVICE, "getrusage failed");
    for (int i = 0; i < n; i++) {
        int e = find(event[i]);
        if (e == NEVENTS) continue;
        counter[i].value = (events[e].get(&after) - events[e].get(&before)) / runs;
        counter[i].ok = 1;
    }
    return HONE_OK;
}

const struct hone_meter hone_meter_rusage = { "rusage", absent, knows, list, count };
