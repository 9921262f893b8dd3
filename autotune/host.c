/* The side that runs kernels: cases, plans, first times and the race's windows.  It tells on the
 * board what it is about to do, for it may not live to tell what came of it. */
#include "autotune/worker.h"
#include "autotune/tune.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double FAR = 1.6;           /* slower than the best trial by this: asked more often */

struct hone_hosted {
    int64_t id;
    struct hone_plan plan;
};

static struct hone_case *reals(struct hone_host *h) { return &h->cases[h->ncases - 1]; }

static void phase(struct hone_host *h, enum hone_phase now)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    h->board->cpu = (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
    h->board->since = hone_now();
    h->board->phase = now;
}

int hone_cases_open(struct hone_case cases[2], int *n, const struct hone_problem *p,
                    struct hone_device *d, uint64_t seed)
{
    const int exact = p->op->exact && p->op->exact(p);
    *n = 0;
    for (int values = exact ? HONE_INTEGERS : HONE_REALS; values <= HONE_REALS; values++) {
        int err = hone_case_open(&cases[*n], p, d, (enum hone_values)values,
                                 seed + 1 + (unsigned)values);
        if (err) { hone_cases_close(cases, n); return err; }
        ++*n;
    }
    return HONE_OK;
}

void hone_cases_close(struct hone_case cases[2], int *n)
{
    for (int i = 0; i < *n; i++) hone_case_close(&cases[i]);
    *n = 0;
}

int hone_host_open(struct hone_host *h, const struct hone_problem *p, struct hone_device *d,
                   const struct hone_tune_options *o, struct hone_board *board,
                   const struct hone_case *cases, int ncases)
{
    *h = (struct hone_host){ .p = p, .d = d, .o = o, .board = board, .ncases = ncases };
    phase(h, HONE_STARTING);
    memcpy(h->cases, cases, (size_t)ncases * sizeof *cases);
    /* Writing to its buffers gives a new process pages of its own. */
    for (int i = 0; i < ncases; i++) {
        int err = hone_case_reset(&h->cases[i]);
        if (err) return err;
    }
    for (int a = 0; a < reals(h)->nargs; a++) h->resets |= reals(h)->arg[a].io == HONE_INOUT;
    phase(h, HONE_IDLE);
    return HONE_OK;
}

void hone_host_close(struct hone_host *h)
{
    for (int i = 0; i < h->n; i++) hone_plan_close(&h->plan[i].plan);
    hone_cases_close(h->cases, &h->ncases);
    free(h->plan);
    memset(h, 0, sizeof *h);
}

/* ---- plans ---- */

static struct hone_plan *find(const struct hone_host *h, int64_t id)
{
    for (int i = 0; i < h->n; i++)
        if (h->plan[i].id == id) return &h->plan[i].plan;
    return NULL;
}

/* The plan of a job, which stays open under its number. */
static int open_plan(struct hone_host *h, const struct hone_job *job, struct hone_plan **plan)
{
    if ((*plan = find(h, job->id))) return HONE_OK;
    if (h->n == h->room) {
        int room = 2 * h->room + 16;
        struct hone_hosted *more = realloc(h->plan, (size_t)room * sizeof *more);
        if (!more) return hone_fail(HONE_ENOMEM, "%d plans", room);
        h->plan = more;
        h->room = room;
    }
    struct hone_hosted *at = &h->plan[h->n];
    int err = hone_plan_open(&at->plan, h->p, job->kernel, &job->config, h->d);
    if (err) return err;
    at->id = job->id;
    h->n++;
    *plan = &at->plan;
    return HONE_OK;
}

void hone_host_forget(struct hone_host *h)
{
    struct hone_plan *plan = find(h, h->board->job.id);
    if (!plan) return;
    struct hone_hosted *at = (struct hone_hosted *)((char *)plan - offsetof(struct hone_hosted, plan));
    hone_plan_close(plan);
    *at = h->plan[--h->n];
}

/* ---- one candidate ---- */

/* A first time, the least of a few windows: what else runs on the machine can only add, and on a
 * busy one it adds to most.  Who seems far behind is asked more often, unless asking takes long. */
static int first_time(struct hone_host *h, const struct hone_plan *plan, struct hone_answer *a)
{
    enum { ASKED = 2, ASKED_OFTEN = 8 };
    const double best = h->board->best_ms;
    double s;
    int err = hone_case_reset(reals(h));
    if (!err)
        err = hone_time_calibrate(plan, reals(h), h->o->cache, HONE_TRIAL_WINDOW, &a->runs, &s);
    if (err) return err;
    a->ms = 1e3 * s;
    for (int i = 0; !err && i < ASKED_OFTEN; i++) {
        int behind = best > 0 && a->ms > FAR * best, quick = s * a->runs < 8 * HONE_TRIAL_WINDOW;
        if (i >= ASKED && !(behind && quick)) break;
        phase(h, HONE_TIMING);
        err = hone_time_window(plan, reals(h), h->o->cache, a->runs, &s);
        if (1e3 * s < a->ms) a->ms = 1e3 * s;
    }
    s = 1e-3 * a->ms;
    double runs = s > 0 ? HONE_RACE_WINDOW / s : 1e6;
    a->runs = runs < 1 ? 1 : runs > 1e6 ? 1000000 : (int)(runs + 0.5);
    return err;
}

/* After some errors a GPU answers nothing more in the process that made them. */
static int is_broken(struct hone_host *h)
{
    return h->board->apart && h->d->backend->sync(h->d) != HONE_OK;
}

/* The class of what went wrong stands before the message; of a wrong result the case says it. */
static void say(struct hone_host *h, const struct hone_kernel *k, int err, char *why, size_t size)
{
    const int building = h->board->phase == HONE_OPENING && k->build == HONE_JIT;
    const char *class = err == HONE_EWRONG ? NULL
                        : err == HONE_ENOMEM ? "memory"
                        : building           ? "build"
                                             : "error";
    snprintf(why, size, "%s%s%s", class ? class : "", class ? ": " : "", hone_errmsg());
}

static int prove(struct hone_host *h, const struct hone_plan *plan, double *worst)
{
    int err = HONE_OK;
    for (int i = 0; !err && i < h->ncases; i++) {
        double error = 0;
        phase(h, HONE_PROVING);
        err = hone_case_check(&h->cases[i], plan, &error);
        if (error > *worst) *worst = error;
    }
    return err;
}

void hone_host_try(struct hone_host *h)
{
    const struct hone_job *job = &h->board->job;
    struct hone_answer *a = &h->board->answer;
    struct hone_plan *plan = NULL;
    *a = (struct hone_answer){ 0 };
    phase(h, HONE_OPENING);
    a->err = open_plan(h, job, &plan);
    if (!a->err) {
        a->workspace_bytes = (int64_t)plan->workspace_bytes;
        a->err = prove(h, plan, &a->error);
    }
    if (!a->err) {
        phase(h, HONE_TIMING);
        a->err = first_time(h, plan, a);
    }
    if (!a->err) hone_gpu_now(h->d, a->facts, sizeof a->facts);
    const struct hone_jit_cost *cost = a->err ? NULL : hone_plan_jit(plan);
    if (cost) { a->compiled = 1; a->cost = *cost; }
    if (a->err) {
        a->error = 0;
        say(h, job->kernel, a->err, a->why, sizeof a->why);
        a->broken = is_broken(h);
        if (!a->broken) hone_host_forget(h);
    }
    phase(h, HONE_IDLE);
}

/* Of what was asked more of a candidate. */
static void finish(struct hone_host *h)
{
    struct hone_answer *a = &h->board->answer;
    if (a->err) {
        say(h, h->board->job.kernel, a->err, a->why, sizeof a->why);
        a->broken = is_broken(h);
    }
    phase(h, HONE_IDLE);
}

void hone_host_weigh(struct hone_host *h)
{
    struct hone_answer *a = &h->board->answer;
    struct hone_plan *plan = NULL;
    *a = (struct hone_answer){ 0 };
    phase(h, HONE_RACING);
    a->err = open_plan(h, &h->board->job, &plan);
    if (!a->err) a->err = hone_host_energy(h, plan, reals(h), &a->joules);
    finish(h);
}

void hone_host_facts(struct hone_host *h)
{
    struct hone_answer *a = &h->board->answer;
    struct hone_plan *plan = NULL;
    *a = (struct hone_answer){ 0 };
    phase(h, HONE_RACING);
    a->err = open_plan(h, &h->board->job, &plan);
    if (!a->err) a->err = hone_case_reset(reals(h));
    if (!a->err) a->err = hone_case_workspace(reals(h), plan);
    if (!a->err) hone_gpu_facts(plan, reals(h), a->facts, sizeof a->facts);
    finish(h);
}

/* "papi:PAPI_TOT_INS" and "GB/s from memory" as names that hold no sign of the text's. */
static void add_count(char *text, size_t size, const struct hone_counter *c)
{
    const char *colon = strchr(c->name, ':'),
               *name = colon && colon[1] != ':' ? colon + 1 : c->name;
    const size_t at = strlen(text);
    const int n = snprintf(text + at, size - at, "%s%s=%.6g", at ? " " : "", name, c->value);
    if (n >= (int)(size - at)) { text[at] = 0; return; }
    for (char *s = text + at + (at > 0); *s && *s != '='; s++)
        if (*s == ' ') *s = '_';
}

void hone_host_count(struct hone_host *h)
{
    struct hone_answer *a = &h->board->answer;
    struct hone_counter counter[HONE_MAX_COUNTERS];
    struct hone_plan *plan = NULL;
    int n = 0;
    *a = (struct hone_answer){ 0 };
    phase(h, HONE_COUNTING);
    a->err = open_plan(h, &h->board->job, &plan);
    if (!a->err) a->err = hone_case_reset(reals(h));
    if (!a->err) a->err = hone_case_workspace(reals(h), plan);
    if (!a->err)
        a->err = hone_count_for(plan, reals(h), h->board->list, HONE_RACE_WINDOW, counter, &n);
    for (int i = 0; !a->err && i < n; i++) {
        if (counter[i].ok) add_count(a->counters, sizeof a->counters, &counter[i]);
        else if (!a->why[0]) snprintf(a->why, sizeof a->why, "%s", counter[i].why);
    }
    finish(h);
}

/* ---- the race ---- */

/* Nobody else can race in this process: it ends, and who had the turn is out. */
static void leave_broken(struct hone_host *h, const char *why)
{
    if (!is_broken(h)) return;
    snprintf(h->board->broken, sizeof h->board->broken, "%.200s", why);
    _exit(3);
}

static int race_window(void *ctx, int i, double *ms)
{
    struct hone_host *h = ctx;
    const struct hone_job *job = &h->board->entry[i];
    double s = 0;
    h->board->racer = i;
    phase(h, HONE_RACING);
    int err = h->resets ? hone_case_reset(reals(h)) : HONE_OK;
    if (!err) err = hone_time_window(find(h, job->id), reals(h), h->o->cache, job->runs, &s);
    *ms = err ? 0 : 1e3 * s;
    if (err && err != HONE_EINTR) {
        char why[256];
        say(h, job->kernel, err, why, sizeof why);
        leave_broken(h, why);
        hone_fail(err, "%s", why);
    }
    return err;
}

/* A fixed chain of dependent multiply-adds, about 0.2 ms: no cache, no memory, no other thread. */
static double race_sentinel(void *ctx)
{
    volatile double out;
    double x = 1, start = hone_now();
    (void)ctx;
    for (int i = 0; i < 50000; i++) x = x * 0.999999 + 1e-6;
    out = x;
    (void)out;
    return hone_now() - start;
}

/* A plan that is new to this process runs once before it is timed: page faults, tables. */
static int enter(struct hone_host *h, int i)
{
    const struct hone_job *job = &h->board->entry[i];
    struct hone_plan *plan;
    double s;
    if (find(h, job->id)) return HONE_OK;
    h->board->racer = i;
    phase(h, HONE_RACING);
    int err = open_plan(h, job, &plan);
    if (!err) err = hone_case_workspace(reals(h), plan);
    if (!err) err = hone_time_window(plan, reals(h), h->o->cache, 1, &s);
    return err;
}

int hone_host_race(struct hone_host *h)
{
    struct hone_race *r = &h->board->race;
    r->window = race_window;
    r->sentinel = race_sentinel;
    r->ctx = h;
    r->racer = h->board->racer_of;
    int err = hone_case_reset(reals(h));
    for (int i = 0; !err && i < r->n; i++) {
        struct hone_racer *a = &r->racer[i];
        if (a->out) continue;
        a->err = enter(h, i);
        if (a->err == HONE_EINTR) { a->err = 0; return HONE_EINTR; }
        if (!a->err) continue;
        a->out = r->nrounds + 1;
        say(h, h->board->entry[i].kernel, a->err, a->why, sizeof a->why);
        leave_broken(h, a->why);
    }
    if (!err) err = hone_race_run(r);
    phase(h, HONE_IDLE);
    return err;
}
