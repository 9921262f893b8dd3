/* Tuning one problem: each candidate is proven, tried once, and, if it is not far behind, raced.
 * What it did is recorded whatever it was.
 *
 * Who is tried is a searcher's to say (search.h).  Trials take at most TRIALS of the budget, the
 * race gets the rest; they end early where the searcher expects no gain any more. */
#include "autotune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TRIALS = 0.6;        /* share of the budget */
static const double FAR_JIT = 3;         /* slower than the best trial by this: its jit twin, which
                                          * may be faster, is not tried */
static const double BEFORE_JIT = 0.7;    /* share of the trials' time before any is compiled */
static const double UNTIL_JIT = 0.95;    /* of the budget, when the last must have been compiled */
static const double COMPILE = 1;         /* seconds, where it is not known yet */
static const double FLUSH = 1.0;         /* seconds between writings of what was dropped */

static const double LITTLE = 0.003;      /* share of the best time: less is no gain */

enum {
    COMPILED = 4,                        /* configs of each jit kernel at most */
    MUCH = 1 << 20,                      /* bytes of workspace that are worth one more trial */
    STALE = 4,                           /* trials in a row that promise no gain end the search, */
    IDLE = 60                            /* or so many that brought none */
};

/* ---- history ---- */

/* The precompiled kernel that stands for jit kernel k in its trials; -1: none, or k is no such. */
static int twin_of(const struct hone_tuning *t, int k)
{
    const struct hone_kernel *aot = t->space.kernel[k].kernel->aot;
    for (int i = 0; aot && i < t->space.nkernels; i++)
        if (t->space.kernel[i].kernel == aot) return i;
    return -1;
}

static int remember(void *ctx, const struct hone_record *r)
{
    struct hone_tuning *t = ctx;
    for (int i = 0; i < t->space.nkernels; i++) {
        if (strcmp(t->space.kernel[i].kernel->name, r->kernel) ||
            strcmp(t->lane[i].version, r->version))
            continue;
        t->lane[i].seen = 1;
        if (r->status != HONE_WRONG && r->status != HONE_FAILED) continue;
        struct hone_record *more = realloc(t->wrong, (size_t)(t->nwrong + 1) * sizeof *more);
        if (!more) return 1;
        t->wrong = more;
        t->wrong[t->nwrong++] = *r;
    }
    return 0;
}

/* The incumbent is tried first and raced to the end, whatever the options admit: a session without
 * it would hide it. */
static int admit_incumbent(struct hone_tuning *t)
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
static int look_back(struct hone_tuning *t)
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
static int default_podium(struct hone_tuning *t)
{
    struct hone_plan plan;
    struct hone_record *r = &t->r->podium.best;
    int err = hone_wisdom_plan(&plan, t->db, t->p, t->d, 1, t->r->wisdom);
    if (err) err = hone_plan_default(&plan, t->p, t->d);
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

/* ---- trials ---- */

static int was_wrong(const struct hone_tuning *t, int k, const struct hone_config *c)
{
    char text[HONE_TEXT];
    hone_config_print(t->space.kernel[k].kernel, c, text);
    for (int i = 0; i < t->nwrong; i++)
        if (!strcmp(t->wrong[i].kernel, t->space.kernel[k].kernel->name) &&
            !strcmp(t->wrong[i].config, text))
            return 1;
    return 0;
}

static const struct hone_kernel *kernel_of(const struct hone_tuning *t, int i)
{
    return t->space.kernel[t->pool.at[i].kernel].kernel;
}

/* The first of the candidates, and those behind it that are to be compiled with it; how many. */
static int compile_few(struct hone_tuning *t, const int next[], int n, int *err)
{
    struct hone_said jobs[HONE_AHEAD];
    int some = 0;
    for (; some < n && kernel_of(t, next[some])->build == HONE_JIT; some++)
        jobs[some] = (struct hone_said){ .kernel = kernel_of(t, next[some]),
                                         .config = *hone_tuning_config(t, next[some]) };
    *err = hone_tuning_compile(t, jobs, some);
    return some ? some : 1;
}

/* The candidates whose turn it is: every kernel's guess first, so that each has a record, then whom
 * the searcher names; some at once where they are compiled at once.  0: nobody is left, or nobody
 * left is worth a trial. */
static int next_candidates(struct hone_tuning *t, int *stale, int next[HONE_AHEAD])
{
    int some = hone_tuning_jobs(t), n = hone_search_guesses(&t->search, some, next);
    if (n) return n;
    if (t->o->trials && t->r->ncandidates >= t->o->trials) return 0;
    if (t->o->trials && some > t->o->trials - t->r->ncandidates)
        some = t->o->trials - t->r->ncandidates;
    n = hone_search_ask_few(&t->search, t->jit ? some : 1, next);
    if (n < 1) return n == -1 ? 0 : n;
    if (t->search.gain >= 0) *stale = t->search.gain < LITTLE ? *stale + 1 : 0;
    if (*stale && !t->exhaust) n = 1;   /* no more than are tried before it ends */
    /* A searcher that cannot tell has not found a better one for as many trials as it took to find
     * the best, and some. */
    int idle = t->search.gain < 0 && t->since_best > IDLE + t->at_best;
    return t->exhaust || !(idle || *stale >= STALE) ? n : 0;
}

void hone_tuning_report(struct hone_tuning *t, double done)
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

/* Tries candidate i of the pool and tells the searcher. */
static int try_candidate(struct hone_tuning *t, int i, int incumbent)
{
    const struct hone_choice *a = &t->pool.at[i];
    const struct hone_config *c = hone_tuning_config(t, i);
    double ms = 0;
    int err = HONE_OK, best = t->search.best;
    if (was_wrong(t, a->kernel, c)) t->lane[a->kernel].nwrong++;
    else err = hone_tuning_try(t, a->kernel, c, incumbent, &ms);
    if (err) return err;
    hone_search_tell(&t->search, i, ms);
    t->since_best++;
    if (t->search.best != best) { t->at_best = t->search.ntried; t->since_best = 0; }
    return HONE_OK;
}

static int try_incumbent(struct hone_tuning *t)
{
    int k = 0;
    while (t->space.kernel[k].kernel != t->incumbent) k++;
    if (t->pool.kernel[k].n) return try_candidate(t, t->pool.kernel[k].first, 1);
    double ms;   /* of a jit kernel, which is in no pool */
    t->lane[k].next = 1;
    return hone_tuning_try(t, k, &t->space.kernel[k].config[0], 1, &ms);
}

/* What runs untuned, whatever the budget: nobody who is worse may hide it, were he the incumbent. */
static int try_usual(struct hone_tuning *t)
{
    const int usual = t->pool.usual;
    if (!usual || !t->pool.kernel[usual - 1].n) return HONE_OK;
    const int i = t->pool.kernel[usual - 1].first;
    return t->search.ms[i] ? HONE_OK : try_candidate(t, i, 0);
}

/* A jit kernel that follows its twin gets the config from there. */
static int try_hint(struct hone_tuning *t)
{
    const struct hone_kernel *k = NULL;
    struct hone_config c;
    int i = -1;
    for (int j = 0; j < t->space.nkernels; j++)
        if (!strcmp(t->space.kernel[j].kernel->name, t->o->hint->kernel))
            k = t->space.kernel[j].kernel;
    if (!k) return HONE_OK;
    hone_config_guess(k, t->p, t->d, &c);
    if (hone_config_parse(k, t->o->hint->config, &c)) return HONE_OK;
    for (; k && i < 0; k = k->aot) {
        int n = 0;
        while (n < HONE_MAX_PARAMS && k->param[n].name) n++;
        i = hone_pool_find(&t->pool, k->name, c.v, n);
    }
    return i < 0 || t->search.ms[i] ? HONE_OK : try_candidate(t, i, 0);
}

static int by_trial(const void *a, const void *b)
{
    const struct hone_entrant *x = a, *y = b;
    return (x->ms > y->ms) - (x->ms < y->ms);
}

/* Is jit kernel k, which follows e's, worth compiling with e's config?  The incumbent was. */
static int is_twin(const struct hone_tuning *t, int k, const struct hone_entrant *e)
{
    for (int i = 0; i < t->n; i++)
        if (t->entrant[i].job.kernel == t->space.kernel[k].kernel &&
            !memcmp(&t->entrant[i].job.config, &e->job.config, sizeof e->job.config))
            return 0;
    return t->space.kernel[k].kernel->aot == e->job.kernel && t->lane[k].next < COMPILED &&
           !was_wrong(t, k, &e->job.config);
}

/* Compiling takes far longer than all else: will it be over in time? */
static int has_time(const struct hone_tuning *t)
{
    double takes = t->o->compile_seconds > 0 ? t->o->compile_seconds : COMPILE;
    if (t->r->compile_seconds > 0) takes = t->r->compile_seconds;
    return t->deadline <= 0 ||
           hone_now() + takes <= t->started + UNTIL_JIT * (t->deadline - t->started);
}

/* Compiled together, and tried one by one. */
static int try_twins(struct hone_tuning *t, const struct hone_said jobs[], int n)
{
    double ms;
    const double began = hone_now();
    int err = hone_tuning_compile(t, jobs, n);
    for (int i = 0; !err && i < n; i++) {
        int k = 0;
        while (t->space.kernel[k].kernel != jobs[i].kernel) k++;
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        err = hone_tuning_try(t, k, &jobs[i].config, 0, &ms);
        hone_tuning_report(t, 0.7 * t->r->ncandidates / t->space.n);
    }
    t->r->compile_seconds = fmax(t->r->compile_seconds, hone_now() - began);
    return err;
}

/* Compiling takes a thousand times as long as trying, so a jit kernel gets only the configs with
 * which its twin did best, as long as that is not far behind. */
static int run_jit_trials(struct hone_tuning *t)
{
    const int width = hone_tuning_jobs(t);
    int err = HONE_OK, n = t->n, some = 0;
    struct hone_said jobs[HONE_AHEAD];
    struct hone_entrant *tried = calloc((size_t)n + 1, sizeof *tried);
    if (!tried) return hone_fail(HONE_ENOMEM, "%d trials", n);
    if (n) memcpy(tried, t->entrant, (size_t)n * sizeof *tried);
    qsort(tried, (size_t)n, sizeof *tried, by_trial);
    for (int i = 0; !err && i < n && tried[i].ms < FAR_JIT * t->best_ms && has_time(t); i++)
        for (int k = 0; !err && k < t->space.nkernels; k++) {
            if (!is_twin(t, k, &tried[i])) continue;
            t->lane[k].next++;
            jobs[some++] = (struct hone_said){ .kernel = t->space.kernel[k].kernel,
                                               .config = tried[i].job.config };
            if (some < width) continue;
            err = try_twins(t, jobs, some);
            some = 0;
        }
    if (!err && some && has_time(t)) err = try_twins(t, jobs, some);
    free(tried);
    return err;
}

/* Is there a jit kernel that follows its twin? */
static int compiles(const struct hone_tuning *t)
{
    for (int k = 0; k < t->space.nkernels; k++)
        if (twin_of(t, k) >= 0) return 1;
    return 0;
}

/* 1 + the index of the kernel that hone_plan_default() takes; 0: it may not compete. */
static int usual_of(const struct hone_tuning *t)
{
    for (int k = 0; k < t->space.nkernels; k++) {
        const struct hone_kernel *of = t->space.kernel[k].kernel;
        if (of->build != HONE_JIT && (!of->suits || of->suits(t->p, t->d))) return k + 1;
    }
    return 0;
}

/* A jit kernel that follows its twin is not searched. */
static int open_search(struct hone_tuning *t)
{
    const struct hone_searcher *searcher;
    int err = hone_searcher_find(t->o->search, &searcher);
    t->exhaust = t->o->exhaust || !strcmp(searcher->name, "exhaustive");
    for (int k = 0; !err && k < t->space.nkernels; k++) {
        t->space.kernel[k].follows = twin_of(t, k) >= 0;
        t->jit |= !t->space.kernel[k].follows && t->space.kernel[k].kernel->build == HONE_JIT;
    }
    if (!err) err = hone_pool_of_space(&t->pool, &t->space);
    if (!err) t->pool.usual = usual_of(t);
    if (!err) err = hone_pool_expect(&t->pool, t->p, t->d);
    if (!err) t->prior = calloc((size_t)t->pool.n + 1, sizeof *t->prior);
    if (!err && !t->prior) err = hone_fail(HONE_ENOMEM, "%d candidates", t->pool.n);
    int taught = 0;
    if (!err) err = hone_lessons(t->db, t->p, t->d, &t->pool, t->prior, &taught);
    if (err) return err;
    err = hone_search_open(&t->search, searcher, &t->pool, taught ? t->prior : NULL, t->o->seed);
    if (err || (t->o->counters && !strcmp(t->o->counters, "none"))) return err;
    return hone_lessons_count(t->db, t->p, &t->search, &t->names);
}

/* Tries one after another; *over: the budget is, or Ctrl-C was pressed. */
static int try_few(struct hone_tuning *t, const int next[], int n, double end, int *over)
{
    int err = HONE_OK;
    for (int i = 0; !err && i < n; i++) {
        /* One that works is needed whatever the budget. */
        if ((*over = end > 0 && t->n && hone_now() > end)) break;
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        err = try_candidate(t, next[i], 0);
        if (!err) err = hone_tuning_count(t);
        if (!err && hone_now() - t->flushed > FLUSH) err = hone_tuning_prune(t);
        hone_tuning_report(t, 0.7 * t->r->ncandidates / t->space.n);
    }
    return err;
}

static size_t workspace_of(const struct hone_tuning *t, int i)
{
    const struct hone_kernel *k = kernel_of(t, i);
    return k->workspace ? k->workspace(t->p, hone_tuning_config(t, i), t->d) : 0;
}

/* By what factor do candidates i and j of one kernel differ in one parameter alone, which is not the
 * threads?  INFINITY: they differ in others. */
static double apart(const struct hone_tuning *t, int i, int j)
{
    const struct hone_choice *a = &t->pool.at[i], *b = &t->pool.at[j];
    const struct hone_pool_kernel *k = &t->pool.kernel[a->kernel];
    double factor = 0;
    for (int v = 0; v < k->nparams; v++) {
        if (a->v[v] == b->v[v]) continue;
        if (factor > 0 || !strcmp(k->param[v], "threads")) return INFINITY;
        factor = (fmax(a->v[v], b->v[v]) + 1) / (fmin(a->v[v], b->v[v]) + 1);
    }
    return factor;
}

/* The best one's nearest neighbour that needs a quarter less workspace, where it needs much: as fast,
 * it wins, and a net that is short of memory may take it. */
static int try_leaner(struct hone_tuning *t)
{
    const int best = t->search.best;
    double nearest = INFINITY;
    int at = -1;
    if (best < 0 || workspace_of(t, best) < MUCH) return HONE_OK;
    for (int i = 0; i < t->pool.n; i++)
        if (t->pool.at[i].kernel == t->pool.at[best].kernel && apart(t, i, best) < nearest &&
            4 * workspace_of(t, i) <= 3 * workspace_of(t, best)) {
            nearest = apart(t, i, best);
            at = i;
        }
    return at < 0 || t->search.ms[at] ? HONE_OK : try_candidate(t, at, 0);
}

static int run_trials(struct hone_tuning *t)
{
    double left = t->deadline > 0 ? TRIALS * (t->deadline - t->started) : 0;
    double last = left > 0 ? t->started + left : 0,
           end = left > 0 && compiles(t) ? t->started + BEFORE_JIT * left : last;
    int err = open_search(t), n, stale = 0, over = 0, next[HONE_AHEAD];
    if (!err && t->incumbent) err = try_incumbent(t);
    if (!err && t->incumbent) err = try_usual(t);
    if (!err && t->o->hint) err = try_hint(t);
    while (!err && !over && (n = next_candidates(t, &stale, next))) {
        if (n < 0) return n;
        if ((over = end > 0 && t->n && hone_now() > end)) break;
        n = compile_few(t, next, n, &err);
        if (!err) err = try_few(t, next, n, end, &over);
    }
    if (!err && !t->exhaust && (last <= 0 || hone_now() < t->deadline)) err = try_leaner(t);
    if (!err && !t->exhaust) err = hone_tuning_again(t, last);
    if (!err) err = run_jit_trials(t);
    return err ? err : hone_tuning_prune(t);
}

/* ---- all of it ---- */

static int measure(struct hone_tuning *t)
{
    int err = hone_worker_open(&t->worker, t->p, t->d, t->o);
    if (err) return err;
    err = run_trials(t);
    if (!err && t->n) err = hone_tuning_race(t);
    /* What was found until Ctrl-C is kept like all else. */
    int interrupted = err == HONE_EINTR;
    if (interrupted && (err = hone_tuning_prune(t))) return err;
    if (!err) err = hone_tuning_finish(t);
    if (!err && interrupted) err = hone_fail(HONE_EINTR, "interrupted");
    if (!err && !t->n)
        err = hone_fail(HONE_EWRONG, "%s: no candidate works; %s", t->text, t->r->wrong);
    return err;
}

int hone_tune(struct hone_db *db, const struct hone_problem *p, struct hone_device *d,
              const struct hone_tune_options *o, struct hone_tune_result *r)
{
    struct hone_tuning t = { .db = db, .p = p, .d = d, .o = o, .r = r, .started = hone_now() };
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
    hone_worker_close(&t.worker);
    hone_tuning_compile_end(&t);
    hone_search_close(&t.search);
    hone_pool_close(&t.pool);
    free(t.prior);
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
    enum { TRIED = 60 };   /* candidates until no gain is expected, more or less */
    /* 10 GFLOP/s and 5 GB/s: what an average candidate reaches on an average machine, for all that
     * shares need. */
    double flops = p->op->flops(p), bytes = hone_problem_bytes(p),
           run = flops / 10e9 > bytes / 5e9 ? flops / 10e9 : bytes / 5e9;
    (void)d, (void)o;
    /* Expected outputs twice; each candidate four times for the proof, with copies, and in some
     * windows; then the race. */
    double window = run > HONE_RACE_WINDOW ? run : HONE_RACE_WINDOW;
    return 2 * (flops < 3e8 ? flops : 3e8) / 1e9 +
           TRIED * (8 * run + 8 * bytes / 2e9 + 4 * HONE_TRIAL_WINDOW) +
           8 * HONE_RACE_ROUNDS * window;
}
