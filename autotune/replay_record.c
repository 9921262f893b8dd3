/* Records a space: every config of every kernel is proven and then timed in rounds.  Kept is the
 * least of its windows, since what else runs on the machine can only add; who is far from the best
 * is not asked again, since nobody needs to know by how much.  On one core it is processor time,
 * which stands still while others have the core: that can be done beside anything. */
#include "autotune/replay.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double WINDOW = 0.0004;   /* s: likely to pass between two switches of the core */

enum { ROUNDS = 14 };

struct subject {
    struct hone_plan plan;
    int runs;
};

struct session {
    struct hone_recording *r;
    struct hone_device *d;
    const struct hone_tune_options *o;
    struct hone_case cases[2];
    int ncases;
    struct subject *subject;   /* (pool.n) */
    double started;
};

static struct hone_case *reals(struct session *s) { return &s->cases[s->ncases - 1]; }

static int open_cases(struct session *s, const struct hone_problem *p)
{
    int exact = p->op->exact && p->op->exact(p), err = HONE_OK;
    for (int i = !exact; !err && i < 2; i++) {
        err = hone_case_open(&s->cases[s->ncases], p, s->d, i ? HONE_REALS : HONE_INTEGERS,
                             s->o->seed + (uint64_t)i);
        s->ncases += !err;
    }
    return err;
}

static double now(const struct session *s)
{
    struct timespec t;
    clock_gettime(s->d->ncores == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Milliseconds of a run, caches as the last one left them. */
static int time_window(struct session *s, struct subject *u, double *ms)
{
    struct hone_case *c = reals(s);
    int err = hone_case_workspace(c, &u->plan);
    if (!err) err = hone_plan_run(&u->plan, c->mem, c->workspace);
    double started = now(s);
    for (int i = 0; !err && i < u->runs; i++) err = hone_plan_run(&u->plan, c->mem, c->workspace);
    *ms = 1e3 * (now(s) - started) / u->runs;
    return err;
}

/* What does not work has no time; that is no error of the recording. */
static int prove(struct session *s, int i, const struct hone_problem *p,
                 const struct hone_kernel *k)
{
    struct subject *u = &s->subject[i];
    struct hone_config c = { 0 };
    double ms = 0;
    memcpy(c.v, s->r->pool.at[i].v, sizeof c.v);
    int err = hone_plan_open(&u->plan, p, k, &c, s->d);
    for (int j = 0; !err && j < s->ncases; j++)
        err = hone_case_check(&s->cases[j], &u->plan, NULL);
    if (!err) err = hone_case_reset(reals(s));
    u->runs = 1;
    if (!err) err = time_window(s, u, &ms);
    if (ms < 1e3 * WINDOW) u->runs = 1 + (int)(1e3 * WINDOW / (ms + 1e-6));
    if (!err) err = time_window(s, u, &ms);
    if (err) hone_plan_close(&u->plan);
    s->r->ms[i] = err ? 0 : ms;
    return HONE_OK;
}

static double least(const struct hone_recording *r)
{
    double best = 0;
    for (int i = 0; i < r->pool.n; i++)
        if (r->ms[i] > 0 && (best <= 0 || r->ms[i] < best)) best = r->ms[i];
    return best;
}

/* How far from the best one may be to be asked in a round. */
static double horizon(int round) { return round < 2 ? 4 : round < 4 ? 2 : round < 8 ? 1.4 : 1.15; }

static int run_round(struct session *s, int round)
{
    struct hone_recording *r = s->r;
    double most = horizon(round) * least(r), ms;
    int n = r->pool.n, err = HONE_OK;
    /* A stride that shares no factor with n visits all, in another order each round. */
    int stride = 1 + (int)(hone_random(s->o->seed, (uint64_t)round) % (uint64_t)n);
    for (int a = stride, b = n; b;) {
        int c = a % b;
        a = b;
        b = c;
        if (!b && a != 1) { a = ++stride; b = n; }
    }
    for (int j = 0, i = 0; !err && j < n; j++, i = (i + stride) % n) {
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        if (r->ms[i] <= 0 || r->ms[i] > most) continue;
        err = hone_case_reset(reals(s));
        if (!err) err = time_window(s, &s->subject[i], &ms);
        if (!err && ms < r->ms[i]) r->ms[i] = ms;
    }
    if (!s->o->quiet) hone_progress(r->problem, 0.4 + 0.6 * (round + 1) / ROUNDS, 1, s->started);
    return err;
}

static int measure(struct session *s, const struct hone_problem *p, const struct hone_space *space)
{
    int err = open_cases(s, p);
    for (int i = 0; !err && i < s->r->pool.n; i++) {
        err = hone_interrupted() ? hone_fail(HONE_EINTR, "interrupted")
                                 : prove(s, i, p, space->kernel[s->r->pool.at[i].kernel].kernel);
        if (!s->o->quiet) hone_progress(s->r->problem, 0.4 * i / s->r->pool.n, 1, s->started);
    }
    for (int round = 0; !err && round < ROUNDS; round++) err = run_round(s, round);
    if (!err && least(s->r) <= 0)
        err = hone_fail(HONE_EWRONG, "%s: no config works", s->r->problem);
    return err;
}

int hone_recording_make(struct hone_recording *r, const struct hone_problem *p,
                        struct hone_device *d, const struct hone_tune_options *o)
{
    struct hone_tune_options all = *o;
    struct hone_space space;
    struct session s = { .r = r, .d = d, .o = o, .started = hone_now() };
    all.search = "exhaustive";
    all.seconds = -1;
    memset(r, 0, sizeof *r);
    hone_problem_print(p, r->problem);
    snprintf(r->device, sizeof r->device, "%s", d->id);
    snprintf(r->cache, sizeof r->cache, "%s", hone_cache_name(HONE_CACHE_WARM));
    int err = hone_space_open(&space, p, d, &all);
    if (err) return err;
    err = hone_pool_of_space(&r->pool, &space);
    if (!err && !r->pool.n) err = hone_fail(HONE_EREFUSED, "%s: no kernel accepts it", r->problem);
    if (!err) {
        r->ms = calloc((size_t)r->pool.n, sizeof *r->ms);
        s.subject = calloc((size_t)r->pool.n, sizeof *s.subject);
        if (!r->ms || !s.subject) err = hone_fail(HONE_ENOMEM, "%d configs", r->pool.n);
    }
    if (!err) err = measure(&s, p, &space);
    hone_progress_end();
    for (int i = 0; s.subject && i < r->pool.n; i++) hone_plan_close(&s.subject[i].plan);
    for (int i = 0; i < s.ncases; i++) hone_case_close(&s.cases[i]);
    free(s.subject);
    hone_space_close(&space);
    if (err) hone_recording_close(r);
    return err;
}
