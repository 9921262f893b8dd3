/* Meter: energy of the processor's packages, from Linux's powercap tree (RAPL).  The counters are
 * of the whole machine, whoever uses it, move once a millisecond, and start anew after some
 * minutes.  $HONE_POWERCAP names another tree. */
#include "profiler/profiler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct hone_meter hone_meter_rapl;

enum { PACKAGES = 16 };

static const double LEAST = 0.2;   /* seconds of counting: 200 steps of the counter */

static const char *root(void)
{
    const char *own = getenv("HONE_POWERCAP");
    return own && own[0] ? own : "/sys/class/powercap";
}

/* Reads a number of package i; the errno of the failure, or 0. */
static int read_number(int i, const char *name, double *v)
{
    char path[512];
    snprintf(path, sizeof path, "%s/intel-rapl:%d/%s", root(), i, name);
    FILE *f = fopen(path, "r");
    if (!f) return errno;
    const int good = fscanf(f, "%lf", v) == 1;
    fclose(f);
    return good ? 0 : EIO;
}

/* Microjoules of each package; how many there are. */
static int read_all(double uj[PACKAGES])
{
    int n = 0;
    while (n < PACKAGES && !read_number(n, "energy_uj", &uj[n])) n++;
    return n;
}

static const char *absent(void)
{
    static _Thread_local char why[400];
    double uj;
    const int err = read_number(0, "energy_uj", &uj);
    if (!err) return NULL;
    snprintf(why, sizeof why, "no energy counter: %.200s/intel-rapl:0/energy_uj: %s", root(),
             strerror(err));
    return why;
}

static int knows(const char *event) { return !strcmp(event, "energy"); }

static void list(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx)
{
    f(ctx, "energy", "joules of a run, of all processor packages and whatever else they do",
      absent());
}

/* What was used between two readings, in joules. */
static double joules(const double before[], const double after[], int n)
{
    double sum = 0, range;
    for (int i = 0; i < n; i++) {
        double uj = after[i] - before[i];
        if (uj < 0 && !read_number(i, "max_energy_range_uj", &range)) uj += range;
        sum += uj;
    }
    return 1e-6 * sum;
}

static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    double before[PACKAGES], after[PACKAGES];
    const double started = hone_now();
    const int packages = read_all(before);
    int64_t total = 0;
    int err = HONE_OK;
    (void)event;
    while (!err && hone_now() - started < LEAST) {
        for (int i = 0; !err && i < runs; i++) err = hone_plan_run(plan, c->mem, c->workspace);
        if (!err) err = plan->device->backend->sync(plan->device);
        total += runs;
    }
    if (err) return err;
    const int still = read_all(after);
    for (int i = 0; i < n; i++) {
        const double j = joules(before, after, packages < still ? packages : still);
        counter[i].ok = packages > 0 && packages == still && j > 0;
        if (counter[i].ok) counter[i].value = j / (double)total;
        else snprintf(counter[i].why, sizeof counter[i].why, "the energy counter stands still");
    }
    return HONE_OK;
}

const struct hone_meter hone_meter_rapl = { "rapl", absent, knows, list, count };
