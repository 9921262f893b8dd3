/* The objective of least energy: of those who finished the race, who takes more than the least is
 * dropped, so that the best of the session is the one of least energy, and any who is level with it
 * goes by the rule of ties. */
#include "autotune/tune.h"

#include <string.h>

static const double TIE = 1.01;

static const char *counter_of(const struct hone_device *d)
{
    return strcmp(d->backend->name, "cuda") ? "rapl:energy" : "nvml:energy";
}

int hone_tuning_meter(const struct hone_device *d)
{
    const char *name = counter_of(d);
    for (int i = 0; hone_meters[i]; i++) {
        const size_t n = strlen(hone_meters[i]->name);
        if (strncmp(name, hone_meters[i]->name, n) || name[n] != ':') continue;
        const char *why = hone_meters[i]->absent();
        return why ? hone_fail(HONE_EDEVICE, "%s", why) : HONE_OK;
    }
    return hone_fail(HONE_EDEVICE, "no meter has %s", name);
}

int hone_host_energy(struct hone_host *h, const struct hone_plan *plan, struct hone_case *c,
                     double *joules)
{
    struct hone_counter got[HONE_MAX_COUNTERS];
    int n, err = hone_case_reset(c);
    if (!err) err = hone_case_workspace(c, plan);
    if (!err) err = hone_count(plan, c, counter_of(h->d), got, &n);
    if (!err && !got[0].ok) err = hone_fail(HONE_EDEVICE, "%s: %s", got[0].name, got[0].why);
    *joules = err ? 0 : got[0].value;
    return err;
}

int hone_tuning_weigh(struct hone_tuning *t)
{
    struct hone_answer a;
    double least = 0;
    for (int i = 0; i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        if (e->record.status != HONE_TIMED) continue;
        int err = hone_worker_energy(&t->worker, &e->job, &a);
        if (!err && a.err) err = hone_fail(a.err, "%s", a.why);
        if (err) return err;
        e->joules = a.joules;
        snprintf(e->facts, sizeof e->facts, "joules=%.4g", a.joules);
        if (least <= 0 || e->joules < least) least = e->joules;
    }
    for (int i = 0; i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        char why[128];
        if (e->record.status != HONE_TIMED || e->joules <= TIE * least) continue;
        snprintf(why, sizeof why, "takes %.3f times the least energy", e->joules / least);
        hone_entrant_drop(e, why);
    }
    return HONE_OK;
}
