/* Tuning one problem: each candidate is proven, tried once, and, if it is not far behind, raced.
 * What it did is recorded whatever it was.
 *
 * Trials are dealt out by promise: a kernel whose best config is twice as slow as the best of all
 * gets a quarter of the turns.  They take at most TRIALS of the budget, the race gets the rest. */
#include "autotune/db.h"
#include "autotune/race.h"

#include <stdlib.h>
#include <string.h>

static const double TRIALS = 0.6;        /* share of the budget */
static const double TRIAL_WINDOW = 0.0005, RACE_WINDOW = 0.001;   /* s: 10^4 ticks of the clock */
static const double FAR = 1.6;           /* slower than the best trial by this: not raced */
static const double FAR_JIT = 3;         /* likewise: its jit twin, which may be faster, not tried */
static const double BEFORE_JIT = 0.7;    /* share of the trials' time before any is compiled */
static const double FLUSH = 1.0;         /* seconds between writings of what was dropped */

enum {
    CROWD = 48,                          /* racers at most */
    COMPILED = 4                         /* configs of each jit kernel at most */
};

struct entrant {
    const struct hone_kernel *kernel;
    struct hone_plan plan;
    struct hone_record record;
    int incumbent, runs;                 /* runs per window */
    double ms;                           /* of the trial */
};

/* What is known of a kernel while its configs are tried. */
struct lane {
    char version[HONE_TEXT];
    int next;                            /* config */
    double ms;                           /* best trial; 0: none yet */
    int nwrong;                          /* configs found wrong, now or in an earlier session */
    int seen;                            /* has records of this version */
};

struct tuning {
    struct hone_db *db;
    const struct hone_problem *p;
    struct hone_device *d;
    const struct hone_tune_options *o;
    struct hone_tune_result *r;
    char text[HONE_TEXT], session[40];
    double started, deadline, flushed;
    struct hone_space space;
    struct lane *lane;                   /* (space.nkernels) */
    struct hone_record *wrong;           /* (nwrong) wrong before, at this version: not tried */
    int nwrong;
    const struct hone_kernel *incumbent; /* its config stands first; NULL: none */
    struct hone_case cases[2];           /* integers where exact, reals last */
    int ncases;
    int resets;                          /* 1: runs change the inputs, to be renewed each window */
    struct entrant *entrant;             /* (n) still in */
    int n;
    double best_ms;
};

static struct hone_case *reals(struct tuning *t) { return &t->cases[t->ncases - 1]; }

/* ---- history ---- */

/* The precompiled kernel that stands for jit kernel k in its trials; -1: none, or k is no such. */
static int twin_of(const struct tuning *t, int k)
{
    const struct hone_kernel *aot = t->space.kernel[k].kernel->aot;
    for (int i = 0; aot && i < t->space.nkernels; i++)
        if (t->space.kernel[i].kernel == aot) return i;
    return -1;
}

static int remember(void *ctx, const struct hone_record *r)
{
    struct tuning *t = ctx;
    for (int i = 0; i < t->space.nkernels; i++) {
        if (strcmp(t->space.kernel[i].kernel->name, r->kernel) ||
            strcmp(t->lane[i].version, r->version))
            continue;
        t->lane[i].seen = 1;
        if (r->status != HONE_WRONG) continue;
        struct hone_record *more = realloc(t->wrong, (size_t)(t->nwrong + 1) * sizeof *more);
        if (!more) return 1;
        t->wrong = more;
        t->wrong[t->nwrong++] = *r;
    }
    return 0;
}

/* The incumbent is tried first and raced to the end, whatever the options admit: a session without
 * it would hide it. */
static int admit_incumbent(struct tuning *t)
{
    struct hone_config c;
    const struct hone_record *best = &t->r->podium.best;
    const struct hone_kernel *k = best->kernel[0] ? hone_kernel_find(t->p->op, best->kernel) : NULL;
    if (!k || !t->space.n) return HONE_OK;
    hone_config_guess(k, t->p, t->d, &c);
    if (hone_config_parse(k, best->config, &c) || !hone_config_valid(k, t->p, &c, t->d))
        return HONE_OK;
    t->incumbent = k;
    return hone_space_put_first(&t->space, k, &c);
}

/* What the database knows: who was tried, who was wrong, who is best. */
static int look_back(struct tuning *t)
{
    int err = hone_db_podium(t->db, t->p, t->d, &t->r->podium),
        all = t->r->podium.best.kernel[0] != 0, any = 0;
    if (!err) err = admit_incumbent(t);
    if (err) return err;
    t->lane = calloc((size_t)t->space.nkernels + 1, sizeof *t->lane);
    if (!t->lane) return hone_fail(HONE_ENOMEM, "%d kernels", t->space.nkernels);
    for (int i = 0; i < t->space.nkernels; i++)
        hone_kernel_version(t->space.kernel[i].kernel, t->lane[i].version);
    if ((err = hone_db_each(t->db, t->d->id, t->text, remember, t))) return err;
    for (int i = 0; i < t->space.nkernels; i++) any |= t->lane[i].seen && twin_of(t, i) >= 0;
    /* Not every jit kernel is worth compiling: one that was shows that they were looked at. */
    for (int i = 0; i < t->space.nkernels; i++)
        all &= t->lane[i].seen || (any && twin_of(t, i) >= 0);
    t->r->known = all;
    return HONE_OK;
}

/* Without a record: what would run. */
static int default_podium(struct tuning *t)
{
    struct hone_plan plan;
    struct hone_record *r = &t->r->podium.best;
    int err = hone_plan_default(&plan, t->p, t->d);
    if (err) return err;
    snprintf(r->device, sizeof r->device, "%s", t->d->id);
    snprintf(r->problem, sizeof r->problem, "%s", t->text);
    snprintf(r->kernel, sizeof r->kernel, "%s", plan.kernel->name);
    hone_kernel_version(plan.kernel, r->version);
    hone_config_print(plan.kernel, &plan.config, r->config);
    r->workspace_bytes = (int64_t)plan.workspace_bytes;
    hone_plan_close(&plan);
    return HONE_OK;
}

/* ---- recording ---- */

static void count(struct hone_tune_result *r, const struct hone_record *rec)
{
    int *counts[] = { &r->ntimed, &r->nwrong, &r->nfailed, &r->ndropped };
    ++*counts[rec->status];
    if ((rec->status == HONE_WRONG || rec->status == HONE_FAILED) && !r->wrong[0])
        snprintf(r->wrong, sizeof r->wrong, "%.60s/%.180s: %.255s", rec->kernel, rec->config,
                 rec->why);
}

/* Adds records with one commit: a disk is slow, and its work disturbs what is timed next. */
static int add_all(struct tuning *t, struct hone_record *rec[], int n)
{
    int err = n ? hone_db_begin(t->db) : HONE_OK;
    if (err || !n) return err;
    for (int i = 0; !err && i < n; i++) {
        /* What belongs together has one time. */
        if (i) memcpy(rec[i]->when, rec[0]->when, sizeof rec[i]->when);
        else hone_db_now(rec[0]->when);
        err = hone_db_add(t->db, rec[i]);
        count(t->r, rec[i]);
    }
    return hone_db_end(t->db, err);
}

static void set_sample(struct hone_record *rec, double *ms, int n)
{
    struct hone_stats s = hone_stats_of(ms, n);
    rec->n = n;
    rec->ms_median = s.median;
    rec->ms_lo = s.lo;
    rec->ms_hi = s.hi;
}

/* Takes entrants whose record says that they are out off the list, and adds their records. */
static int sweep(struct tuning *t)
{
    struct hone_record **out = calloc((size_t)t->n + 1, sizeof *out);
    struct entrant *gone = calloc((size_t)t->n + 1, sizeof *gone);
    int nout = 0, n = 0, err = out && gone ? HONE_OK : hone_fail(HONE_ENOMEM, "%d records", t->n);
    for (int i = 0; !err && i < t->n; i++) {
        struct entrant *e = &t->entrant[i];
        if (e->record.status == HONE_TIMED) { t->entrant[n++] = *e; continue; }
        hone_plan_close(&e->plan);
        gone[nout] = *e;
        out[nout] = &gone[nout].record;
        nout++;
    }
    if (!err) { t->n = n; err = add_all(t, out, nout); }
    free(out);
    free(gone);
    t->flushed = hone_now();
    return err;
}

static void drop(struct entrant *e, const char *why)
{
    e->record.status = HONE_DROPPED;
    if (!e->record.n) set_sample(&e->record, &e->ms, 1);
    snprintf(e->record.why, sizeof e->record.why, "%s", why);
}

/* ---- trials ---- */

/* Drops who is far behind, and in a crowd the slowest; never the best library, the best of another
 * kernel than the leader's, or the incumbent. */
static int prune(struct tuning *t)
{
    struct entrant *lead = NULL, *library = NULL, *other = NULL;
    for (int i = 0; i < t->n; i++) {
        struct entrant *e = &t->entrant[i];
        if (!lead || e->ms < lead->ms) lead = e;
        if (e->kernel->build == HONE_LIB && (!library || e->ms < library->ms)) library = e;
    }
    for (int i = 0; i < t->n; i++) {
        struct entrant *e = &t->entrant[i];
        if (e->kernel != lead->kernel && (!other || e->ms < other->ms)) other = e;
    }
    double most = t->n ? FAR * lead->ms : 0;
    double *ms = malloc(((size_t)t->n + 1) * sizeof *ms);
    if (!ms) return hone_fail(HONE_ENOMEM, "%d trials", t->n);
    for (int i = 0; i < t->n; i++) ms[i] = t->entrant[i].ms;
    if (t->n > CROWD) {
        hone_stats_of(ms, t->n);   /* sorts */
        if (ms[CROWD - 1] < most) most = ms[CROWD - 1];
    }
    free(ms);
    for (int i = 0; i < t->n; i++) {
        char why[128];
        struct entrant *e = &t->entrant[i];
        if (e->ms <= most || e == library || e == other || e->incumbent) continue;
        snprintf(why, sizeof why, "not raced: %.2f times the best trial's time", e->ms / lead->ms);
        drop(e, why);
    }
    return sweep(t);
}

/* A first time, the least of a few windows: what else runs on the machine can only add, and on a
 * busy one it adds to most.  Who seems far behind is asked more often, unless asking takes long. */
static int time_trial(struct tuning *t, struct entrant *e)
{
    enum { ASKED = 2, ASKED_OFTEN = 8 };
    double s;
    int err = hone_case_reset(reals(t));
    if (!err)
        err = hone_time_calibrate(&e->plan, reals(t), t->o->cache, TRIAL_WINDOW, &e->runs, &s);
    if (err) return err;
    e->ms = 1e3 * s;
    for (int i = 0; !err && i < ASKED_OFTEN; i++) {
        int behind = t->best_ms > 0 && e->ms > FAR * t->best_ms,
            quick = s * e->runs < 8 * TRIAL_WINDOW;
        if (i >= ASKED && !(behind && quick)) break;
        err = hone_time_window(&e->plan, reals(t), t->o->cache, e->runs, &s);
        if (1e3 * s < e->ms) e->ms = 1e3 * s;
    }
    s = 1e-3 * e->ms;
    double runs = s > 0 ? RACE_WINDOW / s : 1e6;
    e->runs = runs < 1 ? 1 : runs > 1e6 ? 1000000 : (int)(runs + 0.5);
    return err;
}

/* Proves and tries one config.  An error is the session's; a candidate's own is its record. */
static int try_config(struct tuning *t, int k, const struct hone_config *c, int incumbent)
{
    const struct hone_kernel *kernel = t->space.kernel[k].kernel;
    struct entrant e = { .kernel = kernel, .incumbent = incumbent };
    struct hone_record *r = &e.record;
    double error;
    snprintf(r->device, sizeof r->device, "%s", t->d->id);
    snprintf(r->problem, sizeof r->problem, "%s", t->text);
    snprintf(r->kernel, sizeof r->kernel, "%s", kernel->name);
    snprintf(r->version, sizeof r->version, "%s", t->lane[k].version);
    snprintf(r->cache, sizeof r->cache, "%s", hone_cache_name(t->o->cache));
    snprintf(r->session, sizeof r->session, "%s", t->session);
    hone_config_print(kernel, c, r->config);
    t->r->ncandidates++;
    int err = hone_plan_open(&e.plan, t->p, kernel, c, t->d);
    r->workspace_bytes = (int64_t)e.plan.workspace_bytes;
    for (int i = 0; !err && i < t->ncases; i++) {
        err = hone_case_check(&t->cases[i], &e.plan, &error);
        if (error > r->error) r->error = error;
    }
    if (!err) err = time_trial(t, &e);
    if (!err) {
        if (t->best_ms <= 0 || e.ms < t->best_ms) t->best_ms = e.ms;
        if (t->lane[k].ms <= 0 || e.ms < t->lane[k].ms) t->lane[k].ms = e.ms;
        t->entrant[t->n++] = e;
        return HONE_OK;
    }
    hone_plan_close(&e.plan);
    if (err == HONE_EINTR) { t->r->ncandidates--; return err; }
    r->status = err == HONE_EWRONG ? HONE_WRONG : HONE_FAILED;
    r->error = 0;
    snprintf(r->why, sizeof r->why, "%s", hone_errmsg());
    t->lane[k].nwrong++;
    return add_all(t, (struct hone_record *[]){ r }, 1);
}

static int was_wrong(const struct tuning *t, int k, const struct hone_config *c)
{
    char text[HONE_TEXT];
    hone_config_print(t->space.kernel[k].kernel, c, text);
    for (int i = 0; i < t->nwrong; i++)
        if (!strcmp(t->wrong[i].kernel, t->space.kernel[k].kernel->name) &&
            !strcmp(t->wrong[i].config, text))
            return 1;
    return 0;
}

/* The kernel whose turn it is: every guess first, then the fewest turns for its promise.  Three
 * turns are free, since one config may be an unlucky one, and nobody gets less than a ninth.  -1:
 * all configs were tried. */
static int next_kernel(const struct tuning *t)
{
    int best = -1;
    double least = 0;
    for (int k = 0; k < t->space.nkernels; k++) {
        const struct lane *l = &t->lane[k];
        if (l->next == t->space.kernel[k].n || twin_of(t, k) >= 0) continue;
        double behind = l->ms > 0 ? l->ms / t->best_ms : 1 + l->nwrong, cost = l->next;
        if (behind > 3) behind = 3;
        if (l->next >= 3) cost *= behind * behind;
        if (best < 0 || cost < least) { best = k; least = cost; }
    }
    return best;
}

static void report(struct tuning *t, double done)
{
    char what[96];
    double now = hone_now();
    if (t->o->quiet) return;
    snprintf(what, sizeof what, "%.60s  %d of %d", t->o->what ? t->o->what : t->text,
             t->r->ncandidates, t->space.n);
    if (t->o->total > 0) hone_progress(what, now - t->o->started, t->o->total, t->o->started);
    else if (t->deadline > 0)
        hone_progress(what, now - t->started, t->deadline - t->started, t->started);
    else hone_progress(what, done, 1, t->started);
}

static int try_incumbent(struct tuning *t)
{
    int k = 0;
    while (t->space.kernel[k].kernel != t->incumbent) k++;
    t->lane[k].next = 1;
    return try_config(t, k, &t->space.kernel[k].config[0], 1);
}

static int by_trial(const void *a, const void *b)
{
    const struct entrant *x = a, *y = b;
    return (x->ms > y->ms) - (x->ms < y->ms);
}

/* Compiling takes a thousand times as long as trying, so a jit kernel gets only the configs with
 * which its twin did best, as long as that is not far behind. */
static int run_jit_trials(struct tuning *t, double end)
{
    int err = HONE_OK, n = t->n;
    struct entrant *tried = calloc((size_t)n + 1, sizeof *tried);
    if (!tried) return hone_fail(HONE_ENOMEM, "%d trials", n);
    memcpy(tried, t->entrant, (size_t)n * sizeof *tried);
    qsort(tried, (size_t)n, sizeof *tried, by_trial);
    for (int i = 0; !err && i < n && tried[i].ms < FAR_JIT * t->best_ms; i++)
        for (int k = 0; !err && k < t->space.nkernels; k++) {
            if (t->space.kernel[k].kernel->aot != tried[i].kernel) continue;
            if (t->lane[k].next >= COMPILED || was_wrong(t, k, &tried[i].plan.config)) continue;
            if (end > 0 && hone_now() > end) break;
            if (hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
            t->lane[k].next++;
            if (!err) err = try_config(t, k, &tried[i].plan.config, 0);
            report(t, 0.7 * t->r->ncandidates / t->space.n);
        }
    free(tried);
    return err;
}

/* Is there a jit kernel that follows its twin? */
static int compiles(const struct tuning *t)
{
    for (int k = 0; k < t->space.nkernels; k++)
        if (twin_of(t, k) >= 0) return 1;
    return 0;
}

static int run_trials(struct tuning *t)
{
    double left = t->deadline > 0 ? TRIALS * (t->deadline - t->started) : 0;
    double last = left > 0 ? t->started + left : 0,
           end = left > 0 && compiles(t) ? t->started + BEFORE_JIT * left : last;
    int err = t->incumbent ? try_incumbent(t) : HONE_OK, k;
    while (!err && (k = next_kernel(t)) >= 0) {
        /* One that works is needed whatever the budget. */
        if (end > 0 && t->n && hone_now() > end) break;
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        const struct hone_config *c = &t->space.kernel[k].config[t->lane[k].next++];
        if (was_wrong(t, k, c)) { t->lane[k].nwrong++; continue; }
        err = try_config(t, k, c, 0);
        if (!err && hone_now() - t->flushed > FLUSH) err = prune(t);
        report(t, 0.7 * t->r->ncandidates / t->space.n);
    }
    if (!err) err = run_jit_trials(t, last);
    return err ? err : prune(t);
}

/* ---- the race ---- */

static int race_window(void *ctx, int i, double *ms)
{
    struct tuning *t = ctx;
    struct entrant *e = &t->entrant[i];
    double s;
    int err = t->resets ? hone_case_reset(reals(t)) : HONE_OK;
    if (!err) err = hone_time_window(&e->plan, reals(t), t->o->cache, e->runs, &s);
    *ms = err ? 0 : 1e3 * s;
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

static void race_progress(void *ctx, int rounds)
{
    report(ctx, 0.7 + 0.3 * rounds / HONE_RACE_ROUNDS);
}

/* Copies what the race found into the records. */
static void collect(struct tuning *t, struct hone_race *race)
{
    for (int i = 0; i < t->n; i++) {
        struct entrant *e = &t->entrant[i];
        struct hone_racer *a = &race->racer[i];
        if (a->n) set_sample(&e->record, a->ms, a->n);
        if (!a->out) continue;
        drop(e, a->why);
        if (a->err) e->record.status = a->err == HONE_EWRONG ? HONE_WRONG : HONE_FAILED;
    }
    t->r->noise = race->noise;
}

static int run_race(struct tuning *t)
{
    struct hone_race race = { .n = t->n,
                              .window = race_window,
                              .sentinel = race_sentinel,
                              .progress = race_progress,
                              .ctx = t,
                              .deadline = t->deadline,
                              .seed = t->o->seed };
    race.racer = calloc((size_t)t->n + 1, sizeof *race.racer);
    if (!race.racer) return hone_fail(HONE_ENOMEM, "race of %d", t->n);
    for (int i = 0; i < t->n; i++) {
        race.racer[i].kernel = t->entrant[i].kernel;
        race.racer[i].incumbent = t->entrant[i].incumbent;
    }
    int err = hone_case_reset(reals(t));
    if (!err) err = hone_race_run(&race);
    collect(t, &race);
    free(race.racer);
    return err;
}

/* What a jit kernel's code took goes into its record. */
static void say_cost(struct entrant *e)
{
    const struct hone_jit_cost *c = hone_plan_jit(&e->plan);
    if (c)
        snprintf(e->record.why, sizeof e->record.why,
                 "compile_ms=%.6g load_ms=%.6g first_ms=%.6g code_bytes=%lld", c->compile_ms,
                 c->load_ms, c->first_ms, (long long)c->code_bytes);
}

/* Records who finished, all in one commit: a session is either best or not there. */
static int finish(struct tuning *t)
{
    int err = sweep(t), n = t->n;   /* those that the race dropped */
    struct hone_record **out = calloc((size_t)n + 1, sizeof *out),
                       *all = calloc((size_t)n + 1, sizeof *all);
    if (!err && (!out || !all)) err = hone_fail(HONE_ENOMEM, "%d records", n);
    for (int i = 0; !err && i < n; i++) {
        if (!t->entrant[i].record.n) set_sample(&t->entrant[i].record, &t->entrant[i].ms, 1);
        say_cost(&t->entrant[i]);
        out[i] = &t->entrant[i].record;
    }
    if (!err) err = add_all(t, out, n);
    for (int i = 0; !err && i < n; i++) all[i] = *out[i];
    if (!err && n) {
        hone_db_rank(all, n);
        hone_db_podium_of(all, n, &t->r->podium);
    }
    free(out);
    free(all);
    return err;
}

/* ---- all of it ---- */

static int open_cases(struct tuning *t)
{
    const struct hone_op *op = t->p->op;
    int err = HONE_OK;
    if (op->exact && op->exact(t->p))
        err = hone_case_open(&t->cases[t->ncases], t->p, t->d, HONE_INTEGERS, t->o->seed + 1);
    if (err) return err;
    t->ncases += op->exact && op->exact(t->p);
    err = hone_case_open(&t->cases[t->ncases], t->p, t->d, HONE_REALS, t->o->seed + 2);
    if (err) return err;
    t->ncases++;
    for (int a = 0; a < reals(t)->nargs; a++) t->resets |= reals(t)->arg[a].io == HONE_INOUT;
    return HONE_OK;
}

static int measure(struct tuning *t)
{
    t->entrant = calloc((size_t)t->space.n + 1, sizeof *t->entrant);
    if (!t->entrant) return hone_fail(HONE_ENOMEM, "%d candidates", t->space.n);
    int err = open_cases(t);
    if (err) return err;
    err = run_trials(t);
    if (!err && t->n) err = run_race(t);
    /* What was found until Ctrl-C is kept like all else. */
    int interrupted = err == HONE_EINTR;
    if (interrupted && (err = prune(t))) return err;
    if (!err) err = finish(t);
    if (!err && interrupted) err = hone_fail(HONE_EINTR, "interrupted");
    if (!err && !t->n)
        err = hone_fail(HONE_EWRONG, "%s: no candidate works; %s", t->text, t->r->wrong);
    return err;
}

int hone_tune(struct hone_db *db, const struct hone_problem *p, struct hone_device *d,
              const struct hone_tune_options *o, struct hone_tune_result *r)
{
    struct tuning t = { .db = db, .p = p, .d = d, .o = o, .r = r, .started = hone_now() };
    memset(r, 0, sizeof *r);
    hone_problem_print(p, t.text);
    hone_db_session(t.session);
    t.flushed = t.started;
    if (o->seconds > 0) t.deadline = t.started + o->seconds;
    int err = hone_space_open(&t.space, p, d, o);
    r->nspace = t.space.nvalid;
    if (!err) err = look_back(&t);
    if (!err && t.space.n && o->seconds != 0 && (!r->known || o->again)) {
        r->known = 0;
        err = measure(&t);
    }
    if (!err && !r->podium.best.kernel[0]) err = default_podium(&t);
    for (int i = 0; i < t.n; i++) hone_plan_close(&t.entrant[i].plan);
    for (int i = 0; i < t.ncases; i++) hone_case_close(&t.cases[i]);
    free(t.entrant);
    free(t.lane);
    free(t.wrong);
    hone_space_close(&t.space);
    r->seconds = hone_now() - t.started;
    return err;
}

double hone_tune_estimate(const struct hone_problem *p, struct hone_device *d,
                          const struct hone_tune_options *o)
{
    struct hone_space s;
    /* 10 GFLOP/s and 5 GB/s: what an average candidate reaches on an average machine, for all that
     * shares need. */
    double flops = p->op->flops(p), bytes = hone_problem_bytes(p),
           run = flops / 10e9 > bytes / 5e9 ? flops / 10e9 : bytes / 5e9;
    if (hone_space_open(&s, p, d, o)) return 0;
    int n = s.n;
    hone_space_close(&s);
    /* Expected outputs twice; each candidate four times for the proof, with copies, and in some
     * windows; then the race. */
    double window = run > RACE_WINDOW ? run : RACE_WINDOW;
    return n ? 2 * (flops < 3e8 ? flops : 3e8) / 1e9 +
                   n * (8 * run + 8 * bytes / 2e9 + 4 * TRIAL_WINDOW) +
                   8 * HONE_RACE_ROUNDS * window
             : 0;
}
