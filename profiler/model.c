/* Meter: what the problem says of itself.  Nothing is counted, so it is there on every machine, and
 * tells how far what was counted is from what must be done. */
#include "profiler/profiler.h"

#include <string.h>

extern const struct hone_meter hone_meter_model;

static double flops(const struct hone_problem *p) { return p->op->flops(p); }

static const struct {
    const char *name, *about;
    double (*get)(const struct hone_problem *p);
} events[] = {
    { "flops", "floating-point operations of the definition; a multiply and an add are two",
      flops },
    { "bytes", "every input read once, every output written once", hone_problem_bytes },
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

static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    (void)c, (void)runs;
    for (int i = 0; i < n; i++) {
        int e = find(event[i]);
        if (e == NEVENTS) continue;
        counter[i].value = events[e].get(&plan->problem);
        counter[i].ok = 1;
    }
    return HONE_OK;
}

const struct hone_meter hone_meter_model = { "model", absent, knows, list, count };
