/* Each part of a step by itself, on the buffers of the net: with the caches as its own last run
 * left them, with none of its arguments in them, and under counters. */
#include "results/profile.h"

#include <stdlib.h>

enum { TIMES = 5 };

/* A case is what timing and counting take; this one borrows the net's memory, and is not closed. */
static void borrow(struct hone_case *c, const struct hone_step *s, struct hone_device *d)
{
    *c = (struct hone_case){ .problem = s->problem, .device = d, .values = HONE_REALS };
    c->nargs = s->problem.op->args(&s->problem, c->arg);
    for (int a = 0; a < c->nargs; a++) c->mem[a] = s->mem[a];
    c->workspace = s->workspace;
    /* As hone_case_workspace() rounds it, which then lets it stand. */
    c->workspace_bytes = (s->plan.workspace_bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN;
}

/* A step that writes over what it reads would feed on its own output: it gets another place to
 * write to.  *mem: to be freed. */
static int write_elsewhere(struct hone_case *c, const struct hone_step *s,
                           const struct hone_net *net, void **mem)
{
    struct hone_device *d = net->device;
    *mem = NULL;
    if (net->tensor[s->arg[0]].over < 0) return HONE_OK;
    for (int a = 1; a < c->nargs; a++)
        if (c->mem[a] == c->mem[0] && !*mem) {
            int err = d->backend->alloc(d, (size_t)hone_arg_bytes(&c->arg[0]), mem);
            if (err) return err;
        }
    if (*mem) c->mem[0] = *mem;
    return HONE_OK;
}

/* A window of short parts is of as many runs as last 50 us. */
static int time_alone(const struct hone_step *s, struct hone_case *c, enum hone_cache cache,
                      double ms, struct hone_stats *stats)
{
    double t[TIMES];
    int runs =
        cache == HONE_CACHE_COLD || ms > 0.05 ? 1 : (int)(0.05 / (ms > 1e-4 ? ms : 1e-4)) + 1;
    for (int i = 0; i < TIMES; i++) {
        int err = hone_time_window(&s->plan, c, cache, runs, &t[i]);
        if (err) return err;
        t[i] *= 1e3;
    }
    *stats = hone_stats_of(t, TIMES);
    return HONE_OK;
}

static int count(struct hone_profile_row *row, const struct hone_step *s, struct hone_case *c,
                 const char *list)
{
    row->counter = calloc(HONE_MAX_COUNTERS, sizeof *row->counter);
    if (!row->counter) return hone_fail(HONE_ENOMEM, "%d counters", HONE_MAX_COUNTERS);
    return hone_count(&s->plan, c, list, row->counter, &row->ncounters);
}

int hone_profile_alone(struct hone_profile *prof, const char *counters)
{
    const struct hone_net *net = prof->net;
    int err = HONE_OK;
    double started = hone_now();
    for (int i = 0; !err && i < net->nsteps; i++) {
        const struct hone_step *s = &net->step[i];
        struct hone_profile_row *row = &prof->row[i];
        struct hone_case c;
        void *elsewhere;
        borrow(&c, s, net->device);
        err = write_elsewhere(&c, s, net, &elsewhere);
        if (!err) err = time_alone(s, &c, HONE_CACHE_WARM, row->ms.median, &row->warm_ms);
        int cold = err ? err : time_alone(s, &c, HONE_CACHE_COLD, row->ms.median, &row->cold_ms);
        /* A processor on which caches cannot be emptied has no such time. */
        if (!err && cold && cold != HONE_EINVAL) err = cold;
        if (!err && counters) err = count(row, s, &c, counters);
        net->device->backend->free(net->device, elsewhere);
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
        hone_progress("parts by themselves", i + 1, net->nsteps, started);
    }
    hone_progress_end();
    return err;
}
