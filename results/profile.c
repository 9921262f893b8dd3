/* Measures a net's training step part by part.  Whole steps run with and without a clock reading
 * between their parts, in turn: the parts are seen with the caches as the step leaves them, and
 * what the looking costs is known. */
#include "results/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 3, LEAST_ROUNDS = 5, THREAD_ROUNDS = 5 };

/* Steps [from, to), until the device has done them. */
static int run_steps(const struct hone_net *net, int from, int to)
{
    int err = hone_net_run(net, from, to);
    return err ? err : net->device->backend->sync(net->device);
}

/* ---- first steps ---- */

/* What libraries keep for themselves: only they can say how much, and they do not.  So it is what
 * the process holds after a step beyond the net's own pages, if the net runs a library at all. */
static int64_t library_memory(const struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    const struct {
        const void *mem;
        int64_t bytes;
    } own[] = { { net->arena, net->arena_bytes + net->workspace_bytes },
                { net->weights, net->weights_bytes },
                { net->gradients, net->gradients_bytes },
                { net->state, net->state_bytes },
                { net->data, net->data_bytes } };
    if (net->device->backend->start) return 0;   /* a device with memory of its own */
    int64_t more = hone_memory_now() - hone_memory_files() - prof->base_bytes;
    int n = 0;
    for (int s = 0; s < net->nsteps; s++)
        n += !strncmp(net->step[s].plan.kernel->name, "lib_", 4);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i].mem) more -= hone_memory_of(own[i].mem, (size_t)own[i].bytes);
    return n && more > 0 ? more : 0;
}

/* The net's very first step pays for pages that nobody has touched; its memory is looked at. */
static int first_steps(struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    int err = HONE_OK;
    for (int s = 0; !err && s < net->nsteps; s++) {
        double before = hone_now();
        err = run_steps(net, s, s + 1);
        prof->row[s].first_ms = 1e3 * (hone_now() - before);
        prof->first_ms += prof->row[s].first_ms;
        prof->row[s].resident_bytes = hone_memory_now();
    }
    if (!err) prof->library_bytes = library_memory(prof);
    for (int r = 1; !err && r < WARM_UP; r++) err = run_steps(net, 0, net->nsteps);
    prof->peak_bytes = hone_memory_peak();
    /* Code becomes resident as it first runs: it is no part of the net's memory. */
    prof->base_bytes += hone_memory_files();
    return err;
}

/* Of one look at the counter: the least of a few, since noise only adds. */
static double look_cost(void)
{
    enum { LOOKS = 1000 };
    double least = 1;
    for (int i = 0; i < 9; i++) {
        double t = hone_now();
        for (int k = 0; k < LOOKS; k++) hone_ticks();
        t = (hone_now() - t) / LOOKS;
        if (t < least) least = t;
    }
    return least;
}

/* ---- rounds ---- */

/* Between the parts the processor's counter is read, which is cheaper than the clock; the clock
 * says at both ends what a tick is. */
static int traced_step(const struct hone_net *net, uint64_t ticks[], double ms[])
{
    int n = net->nsteps;
    double begin = hone_now();
    ticks[0] = hone_ticks();
    for (int s = 0; s < n; s++) {
        int err = run_steps(net, s, s + 1);
        if (err) return err;
        ticks[s + 1] = hone_ticks();
    }
    double tick = 1e3 * (hone_now() - begin) / (double)(ticks[n] - ticks[0]);
    for (int s = 0; s < n; s++) ms[s] = tick * (double)(ticks[s + 1] - ticks[s]);
    return HONE_OK;
}

static int whole_step(const struct hone_net *net, double *ms)
{
    double before = hone_now();
    int err = run_steps(net, 0, net->nsteps);
    *ms = 1e3 * (hone_now() - before);
    return err;
}

/* A round is a traced and an untraced step: part (nsteps), their sum, the untraced step. */
struct rounds {
    int n, most;
    double *part, *sum, *whole; /* (most, nsteps), (most), (most) */
    uint64_t *ticks;            /* (nsteps + 1) of a traced step */
};

/* Who goes first changes from round to round: what one leaves in the caches, the other finds. */
static int time_rounds(const struct hone_net *net, double seconds, struct rounds *t)
{
    double started = hone_now();
    for (t->n = 0; t->n < t->most; t->n++) {
        double *part = t->part + (size_t)t->n * (size_t)net->nsteps;
        int err = HONE_OK;
        if (t->n >= LEAST_ROUNDS && seconds > 0 && hone_now() - started > seconds) break;
        for (int i = 0; !err && i < 2; i++)
            err = (t->n + i) % 2 ? whole_step(net, &t->whole[t->n])
                                 : traced_step(net, t->ticks, part);
        if (err) return err;
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        t->sum[t->n] = 0;
        for (int s = 0; s < net->nsteps; s++) t->sum[t->n] += part[s];
        hone_progress("profile", t->n + 1, t->most, started);
    }
    return HONE_OK;
}

/* The round whose sum is nearest the median stands for all in the trace. */
static void keep_example(struct hone_profile *prof, const struct rounds *t)
{
    int best = 0, n = prof->net->nsteps;
    double at = 0, median = prof->traced_ms.median;
    for (int r = 1; r < t->n; r++)
        if (fabs(t->sum[r] - median) < fabs(t->sum[best] - median)) best = r;
    for (int s = 0; s < n; s++) {
        prof->row[s].at_ms = at;
        prof->row[s].took_ms = t->part[(size_t)best * (size_t)n + (size_t)s];
        at += prof->row[s].took_ms;
    }
}

static void conclude(struct hone_profile *prof, const struct rounds *t, double column[])
{
    int n = prof->net->nsteps;
    for (int s = 0; s < n; s++) {
        for (int r = 0; r < t->n; r++) column[r] = t->part[(size_t)r * (size_t)n + (size_t)s];
        prof->row[s].ms = hone_stats_of(column, t->n);
    }
    for (int r = 0; r < t->n; r++) column[r] = t->sum[r] / t->whole[r] - 1;
    prof->overhead = hone_stats_of(column, t->n);
    memcpy(column, t->sum, (size_t)t->n * sizeof *column);
    prof->traced_ms = hone_stats_of(column, t->n);
    prof->rounds = t->n;
    keep_example(prof, t);
    prof->step_ms = hone_stats_of(t->whole, t->n);
}

static int measure(struct hone_profile *prof, const struct hone_profile_options *o)
{
    size_t most = (size_t)o->rounds, n = (size_t)prof->net->nsteps;
    struct rounds t = { .most = o->rounds };
    double *all = malloc(sizeof *all * (most * (n + 3) + n + 1));
    if (!all) return hone_fail(HONE_ENOMEM, "%zu rounds of %zu times", most, n);
    t.part = all;
    t.ticks = (uint64_t *)(all + most * (n + 3));
    t.sum = all + most * n;
    t.whole = t.sum + most;
    int err = time_rounds(prof->net, o->seconds, &t);
    hone_progress_end();
    if (!err) conclude(prof, &t, t.whole + most);
    free(all);
    return err;
}

/* ---- as one graph ---- */

static int graph_step(struct hone_profile *prof, double *ms)
{
    struct hone_net *net = prof->net;
    double before = hone_now();
    int err = hone_net_run_whole(net, prof->no_graph);
    if (!err) err = net->device->backend->sync(net->device);
    *ms = 1e3 * (hone_now() - before);
    return err;
}

/* As training runs the step on a device that has graphs, in turn with steps without one.  The first
 * run loads what cannot be recorded, the second records. */
static int time_graph(struct hone_profile *prof, const struct hone_profile_options *o)
{
    const size_t most = (size_t)prof->rounds;
    const double started = hone_now();
    double ignored, plain;
    size_t n = 0;
    if (!hone_net_has_graph(prof->net)) return HONE_OK;
    double *ms = malloc(2 * most * sizeof *ms);
    if (!ms) return hone_fail(HONE_ENOMEM, "%zu rounds", most);
    int err = graph_step(prof, &ignored);
    if (!err) err = graph_step(prof, &ignored);
    while (!err && n < most && hone_net_has_graph(prof->net)) {
        if (n >= LEAST_ROUNDS && o->seconds > 0 && hone_now() - started > o->seconds / 2) break;
        err = whole_step(prof->net, &plain);
        if (!err) err = graph_step(prof, &ms[n]);
        ms[most + n] = plain / ms[n];
        n++;
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
    }
    if (!err && n) {
        prof->graph_ms = hone_stats_of(ms, (int)n);
        prof->graph_gain = hone_stats_of(ms + most, (int)n);
    }
    free(ms);
    hone_net_forget_graph(prof->net);
    return err;
}

/* ---- threads ---- */

/* Steps of their own, since reading threads' clocks asks the system once for each. */
static int time_threads(struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    struct hone_threads *t = &prof->threads;
    double before[HONE_MAX_THREADS], after[HONE_MAX_THREADS];
    int rounds = prof->step_ms.median > 200 ? 1 : THREAD_ROUNDS, err = HONE_OK;
    hone_threads_open(t);
    for (int s = 0; s < net->nsteps; s++)
        if (!(prof->row[s].cpu_ms = calloc((size_t)t->n, sizeof(double))))
            return hone_fail(HONE_ENOMEM, "%d threads", t->n);
    for (int r = 0; !err && r < rounds; r++) {
        hone_threads_read(t, before);
        for (int s = 0; !err && s < net->nsteps; s++) {
            err = run_steps(net, s, s + 1);
            hone_threads_read(t, after);
            for (int i = 0; i < t->n; i++) {
                double ms = 1e3 * (after[i] - before[i]) / rounds;
                prof->row[s].cpu_ms[i] += ms > 0 ? ms : 0;
                before[i] = after[i];
            }
        }
    }
    return err;
}

/* ---- all of it ---- */

/* Peaks and records first: what they need of memory, a small net's many times over, is there or
 * gone when the net's is measured. */
static int assemble(struct hone_profile *prof, struct hone_net *net, struct hone_db *db,
                    struct hone_device *d)
{
    int err = hone_peaks(d, 0, &prof->peaks);
    /* Of a GPU that nobody measured the roof is by its clocks, or there is none. */
    if (err && d->backend->start) {
        err = HONE_OK;
        if (hone_gpu_peaks(d, &prof->peaks))
            prof->peaks = (struct hone_peaks){ .nthreads = d->ncores, .share = 1 };
    }
    if (!err) err = hone_profile_look_up(prof, db, d);
    if (err) return err;
    hone_db_rest(db);   /* what is given back later would count for less than nothing */
    hone_memory_trim();
    prof->peak_is_all = !hone_memory_peak_reset();
    prof->base_bytes = hone_memory_now() - hone_memory_files();
    err = hone_net_assemble(net, db, d, NULL);
    if (!err) err = hone_net_init(net, 1);
    return err ? err : hone_net_fill(net);
}

int hone_profile_open(struct hone_profile *prof, struct hone_net *net, struct hone_db *db,
                      struct hone_device *d, const struct hone_profile_options *o)
{
    memset(prof, 0, sizeof *prof);
    prof->net = net;
    prof->row = calloc((size_t)net->nsteps, sizeof *prof->row);
    if (!prof->row) return hone_fail(HONE_ENOMEM, "%d rows", net->nsteps);
    /* Its own pages are touched now, or they would be taken for the net's. */
    for (size_t i = 0; i < (size_t)net->nsteps * sizeof *prof->row; i += 1024)
        ((volatile char *)prof->row)[i] = 0;
    int err = assemble(prof, net, db, d);
    if (!err) err = first_steps(prof);
    prof->look_ms = 1e3 * look_cost();
    if (!err) err = measure(prof, o);
    if (!err) err = time_graph(prof, o);
    hone_gpu_now(d, prof->gpu, sizeof prof->gpu);
    if (!err) err = time_threads(prof);
    if (!err) err = hone_profile_activity(prof);
    if (!err) err = hone_profile_alone(prof, o->counters);
    if (!err) err = hone_profile_explain(prof, db);
    if (err) hone_profile_close(prof);
    return err;
}

void hone_profile_close(struct hone_profile *prof)
{
    for (int s = 0; prof->row && s < prof->net->nsteps; s++) {
        free(prof->row[s].cpu_ms);
        free(prof->row[s].counter);
    }
    free(prof->row);
    hone_activity_close(&prof->activity);
    memset(prof, 0, sizeof *prof);
}
