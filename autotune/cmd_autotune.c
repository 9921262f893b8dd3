/* hone autotune: finds the fastest kernels for problems, or for a net's, and keeps them in the
 * database. */
#include "autotune/options.h"
#include "autotune/shares.h"
#include "autotune/twice.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Of the sentinel's times: spread, and change in the course of a race, that a report tells. */
static const double BUSY = 0.1, DRIFT = 0.05;

/* Put aside of a budget for later races where each problem has so many seconds. */
static const double LATER = 0.35, ENOUGH = 2;

/* A first look at a problem takes so many seconds, and at all of them this share of a budget. */
static const double LOOK = 0.2, LOOKS = 0.125;

/* All that a session has open. */
struct session {
    const struct hone_autotune_options *o;
    struct hone_device d;
    struct hone_db db;
    struct hone_peaks peaks;
    int have_peaks;
    int n, done, nfailed, nleft;      /* nleft: not tuned for lack of time */
    struct hone_problem *p;       /* (HONE_MOST_PROBLEMS) n of them */
    struct hone_share *share;     /* (HONE_MOST_PROBLEMS) n of them */
    struct hone_tune_result *r;   /* (n) */
    char *shown;                  /* (n) 1: r is there */
    char *looked;                 /* (n) LOOKED, FAILED */
    int nlost;                    /* looked at only, as tuning them gains nothing */
    int nlater, nchanged;         /* races at later moments; problems whose winner they changed */
    hone_net_race_fn *net_race;
    int ninside;                  /* nets' problems whose winner whole training steps changed */
    int width;                    /* of the longest problem's text */
    json_t *rows;
    struct hone_twice twice;
};

enum { LOOKED = 1, FAILED };

/* ---- problems and their shares of the budget ---- */

static int add_problem(struct session *s, const struct hone_problem *p, const struct hone_use *use)
{
    char text[HONE_TEXT];
    for (int i = 0; i < s->n; i++) {
        struct hone_use *u = &s->share[i].use;
        if (!hone_problem_equal(&s->p[i], p)) continue;
        const int times = u->times + use->times;
        if (use->in) *u = *use;
        u->times = times;
        return HONE_OK;
    }
    if (s->n == HONE_MOST_PROBLEMS)
        return hone_fail(HONE_EINVAL, "more than %d problems", HONE_MOST_PROBLEMS);
    s->share[s->n].use = *use;
    s->p[s->n++] = *p;
    hone_problem_print(p, text);
    if ((int)strlen(text) > s->width) s->width = (int)strlen(text);
    return HONE_OK;
}

/* A step that is one op on some devices only, such as an MLP's, is nothing to tune on the
 * others. */
static int is_choice(const struct hone_problem *p, const struct hone_device *d)
{
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (k->slow || k->backend != d->backend) continue;
        for (int j = 0; k->ops[j]; j++)
            if (k->ops[j] == p->op) return 1;
    }
    return 0;
}

static int list_problems(struct session *s, hone_net_problems_fn *net_problems)
{
    const struct hone_autotune_options *o = s->o;
    struct hone_problem p;
    int err = HONE_OK;
    for (int i = 0; !err && i < o->ntexts; i++)
        if (!(err = hone_problem_parse(o->text[i], &p)))
            err = add_problem(s, &p, &(struct hone_use){ .times = 1 });
    if (err || !o->net) return err;
    if (!net_problems)
        return hone_fail(HONE_EINVAL, "net '%s': this program was built without nets", o->net);
    struct hone_problem *of_net = calloc(HONE_MOST_PROBLEMS, sizeof *of_net);
    struct hone_use *use = calloc(HONE_MOST_PROBLEMS, sizeof *use);
    int n = of_net && use
                ? net_problems(o->net, o->batch, o->dtype, o->optimizers, &s->d, of_net, use,
                               HONE_MOST_PROBLEMS)
                : hone_fail(HONE_ENOMEM, "%d problems", HONE_MOST_PROBLEMS);
    if (n < 0) err = n;
    for (int i = 0; !err && i < n; i++)
        if (is_choice(&of_net[i], &s->d)) err = add_problem(s, &of_net[i], &use[i]);
    free(of_net);
    free(use);
    return err;
}

struct turn { int op, place; double all; struct hone_problem p; struct hone_share share; };

static int by_turn(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    if (x->op != y->op) return y->op - x->op;
    if (x->all != y->all) return x->all < y->all ? 1 : -1;
    return x->place - y->place;
}

/* A net's whole steps come first, since what they take says what their parts are worth.  Under a
 * limit of time the largest shares follow, since a proof takes its time, and when the time is over
 * the rest stays as it is. */
static int share_budget(struct session *s)
{
    struct turn *turn = calloc((size_t)s->n + 1, sizeof *turn);
    if (!turn) return hone_fail(HONE_ENOMEM, "%d problems", s->n);
    for (int i = 0; i < s->n; i++) {
        struct hone_share *a = &s->share[i];
        a->estimate = hone_tune_estimate(&s->p[i], &s->d, &s->o->tune);
        turn[i] = (struct turn){ .op = a->use.whole > 0, .place = i, .p = s->p[i], .share = *a };
        if (s->o->tune.seconds > 0) turn[i].all = a->use.times * a->estimate;
    }
    qsort(turn, (size_t)s->n, sizeof *turn, by_turn);
    for (int i = 0; i < s->n; i++) {
        s->p[i] = turn[i].p;
        s->share[i] = turn[i].share;
    }
    free(turn);
    hone_shares_set(s->share, s->n);
    return HONE_OK;
}

/* Problem i's part of what is left; what one does not use, the rest inherits. */
static double budget_of(const struct session *s, int i, double deadline)
{
    double left = deadline - hone_now(), shares = 0;
    for (int j = i; j < s->n; j++) shares += s->share[j].share;
    left *= s->share[i].share / shares;
    return left > 1e-3 ? left : 1e-3;
}

/* ---- printing ---- */

static double roof_share(const struct session *s, const struct hone_problem *p, double ms,
                         const char **bound)
{
    *bound = NULL;
    return s->have_peaks && ms > 0
               ? hone_roof(p, &s->d, &s->peaks, s->d.ncores, bound) / (1e-3 * ms)
               : 0;
}

static double times(const struct hone_record *r, const struct hone_record *best)
{
    return r->ms_median / best->ms_median;
}

static void print_rival(const char *word, const struct hone_record *r,
                        const struct hone_record *best)
{
    if (!r->kernel[0]) printf("  %s -", word);
    else if (!strcmp(r->kernel, best->kernel)) printf("  %s wins", word);
    else printf("  %s %.2fx (%s)", word, times(r, best), r->kernel);
}

static void print_row(const struct session *s, const struct hone_problem *p,
                      const struct hone_tune_result *r)
{
    char text[HONE_TEXT], winner[HONE_TEXT + 80];
    const struct hone_record *b = &r->podium.best;
    const char *bound;
    hone_problem_print(p, text);
    snprintf(winner, sizeof winner, "%s %s", b->kernel, b->config);
    printf("%-*s  %-48s", s->width, text, winner);
    if (!b->n) {
        printf(r->wisdom[0] ? "  untuned: as on %s\n" : "  untuned: the default\n", r->wisdom);
        return;
    }
    double share = roof_share(s, p, b->ms_median, &bound);
    printf("  %9.4g ms +-%4.1f %%  %7.2f GFLOP/s", b->ms_median,
           50 * (b->ms_hi - b->ms_lo) / b->ms_median, p->op->flops(p) / b->ms_median * 1e-6);
    if (bound) printf("  %3.0f %% of %s roof", 100 * share, bound);
    print_rival("lib", &r->podium.library, b);
    print_rival("next", &r->podium.runner_up, b);
    if (!r->ncandidates)
        printf("  known since %s%s\n", b->when, r->known ? "" : ", but not every kernel was tried");
    else
        printf("  ties %d  tried %d of %lld, %d wrong, %d failed\n", r->nties, r->ncandidates,
               (long long)r->nspace, r->nwrong, r->nfailed);
}

static json_t *record_json(const struct hone_record *r)
{
    if (!r->kernel[0]) return json_null();
    json_t *j = json_pack("{ss ss ss sI}", "kernel", r->kernel, "config", r->config, "version",
                          r->version, "workspace_bytes", (json_int_t)r->workspace_bytes);
    if (r->n && j)
        json_object_update_new(j, json_pack("{si sf sf sf sf ss ss}", "n", r->n, "ms_median",
                                            r->ms_median, "ms_lo", r->ms_lo, "ms_hi", r->ms_hi,
                                            "error", r->error, "cache", r->cache, "when", r->when));
    return j;
}

static json_t *row_json(const struct session *s, const struct hone_problem *p,
                        const struct hone_tune_result *r)
{
    char text[HONE_TEXT];
    const struct hone_record *b = &r->podium.best;
    const char *bound;
    hone_problem_print(p, text);
    double share = roof_share(s, p, b->ms_median, &bound);
    json_t *j =
        json_pack("{ss sb sb so so so}", "problem", text, "tuned", b->n > 0, "known", r->known,
                  "best", record_json(b), "runner_up", record_json(&r->podium.runner_up), "library",
                  record_json(&r->podium.library));
    /* A budget of 0 does not count it. */
    json_object_set_new(j, "space", s->o->tune.seconds ? json_integer(r->nspace) : json_null());
    json_object_update_new(j, json_pack("{si si si si si sf sf}", "candidates", r->ncandidates, "timed", r->ntimed, "dropped",
                                        r->ndropped, "wrong", r->nwrong, "failed", r->nfailed,
                                        "seconds", r->seconds, "noise", r->noise));
    json_object_update_new(j, json_pack("{si sf si}", "compiled_ahead", r->nahead, "ahead_seconds",
                                        r->ahead_seconds, "counted", r->ncounted));
    json_object_set_new(j, "ties", json_integer(r->nties));
    json_object_set_new(j, "a_against_a", json_real(r->self));
    json_object_set_new(j, "drift", json_real(r->drift));
    if (b->n) json_object_set_new(j, "gflops", json_real(p->op->flops(p) / b->ms_median * 1e-6));
    if (bound) json_object_update_new(j, json_pack("{sf ss}", "roof_share", share, "bound", bound));
    return j;
}

static void show(struct session *s, int i)
{
    const struct hone_tune_result *r = &s->r[i];
    hone_progress_end();
    s->shown[i] = 1;
    if (!s->rows) print_row(s, &s->p[i], r);
    fflush(stdout);
    if (r->nwrong + r->nfailed && !s->nlater)
        fprintf(stderr, "hone autotune: %d of %d candidates do not work, the first: %s\n",
                r->nwrong + r->nfailed, r->ncandidates, r->wrong);
    if (!r->nspace && s->o->tune.kernel)
        fprintf(stderr, "hone autotune: %s has no config for it; `hone kernels -p` tells why\n",
                s->o->tune.kernel);
}

/* Where nothing can be counted that is said once, and not tried again. */
static void tell_uncounted(struct hone_tune_options *o, const struct hone_tune_result *r)
{
    if (!r->uncounted[0]) return;
    fprintf(stderr, "hone autotune: nothing is counted: %s; the search goes without\n",
            r->uncounted);
    o->counters = "none";
}

/* How much the numbers above are to be believed. */
static void conclude(const struct session *s, double seconds)
{
    double noise = 0, self = 0, drift = 0;
    for (int i = 0; i < s->n; i++) {
        const struct hone_tune_result *r = &s->r[i];
        noise = fmax(noise, r->noise);
        self = fmax(self, fabs(r->self));
        if (fabs(r->drift) > fabs(drift)) drift = r->drift;
    }
    fprintf(stderr,
            "%d problems in %.1f s; A against A differs by %.1f %% at most; database %s%s\n",
            s->done, seconds, 100 * self, s->db.path,
            noise > BUSY ? "; the machine was busy, intervals are wide" : "");
    if (s->nlater)
        fprintf(stderr, "finals were raced %d times more, at later moments, which changed %d "
                "winners\n", s->nlater, s->nchanged);
    if (s->ninside >= 0)
        fprintf(stderr, "the nearly fastest raced once more inside the net, which changed %d "
                "winners\n", s->ninside);
    if (fabs(drift) > DRIFT)
        fprintf(stderr, "the machine became %.0f %% %s during a race, as with heat or other work: "
                "rounds were compared within themselves, but times are not to be read alone\n",
                100 * fabs(drift), drift > 0 ? "slower" : "faster");
    if (s->nleft)
        fprintf(stderr, "%d of %d problems were not tuned for lack of time, those of the smallest "
                "shares: they keep what they had; a longer --budget reaches them\n",
                s->nleft, s->n);
    if (s->nlost)
        fprintf(stderr, "%d of %d problems were looked at, and no more: a training step as one op, "
                "or else step by step, takes half the time that it takes with them, or less\n",
                s->nlost, s->n);
}

/* ---- what time is left for ---- */

static int same(const struct hone_record *a, const struct hone_record *b)
{
    return !strcmp(a->kernel, b->kernel) && !strcmp(a->config, b->config);
}

/* The finals of all problems in turn, until each is settled or the time is over. */
static int race_later(struct session *s, const struct hone_tune_options *o, double deadline)
{
    double longest = 0;
    for (int pass = 1, any = 1; any; pass++) {
        any = 0;
        for (int i = 0; i < s->n; i++) {
            struct hone_later *l = s->r[i].later;
            const double started = hone_now();
            if (!l || hone_later_settled(l)) continue;
            if (started + longest > deadline) return HONE_OK;
            const int err = hone_later_race(l, &s->d, o);
            if (err) return err;
            any = 1;
            s->nlater++;
            longest = fmax(longest, hone_now() - started);
            if (!o->quiet)
                hone_progress("finals, once more", hone_now() - o->started, o->total, o->started);
        }
    }
    return HONE_OK;
}

static int keep_later(struct session *s, struct hone_db *db, const struct hone_tune_options *o)
{
    int err = HONE_OK;
    for (int i = 0; !err && i < s->n; i++) {
        const struct hone_record before = s->r[i].podium.best;
        if (!s->r[i].later) continue;
        err = hone_later_keep(s->r[i].later, db, &s->d, o, &s->r[i]);
        if (err || !s->nlater || same(&before, &s->r[i].podium.best)) continue;
        if (!s->nchanged++ && !s->rows && !s->o->twice) {
            hone_progress_end();
            printf("after races at later moments:\n");
        }
        if (!s->o->twice) show(s, i);
    }
    return err;
}

/* ---- the session ---- */

/* One for which no candidate works is left out: the other problems can still be tuned. */
static int leave_out(struct session *s)
{
    hone_progress_end();
    fprintf(stderr, "hone autotune: %s\n", hone_errmsg());
    s->nfailed++;
    return HONE_OK;
}

/* Tunes problem i, and shows it. */
static int tune_one(struct session *s, int i, struct hone_db *db, struct hone_tune_options *o)
{
    struct hone_tune_result *r = &s->r[i];
    int err = hone_tune(db, &s->p[i], &s->d, o, r);
    if (err == HONE_EWRONG) return leave_out(s);
    if (!s->o->twice && (!err || (err == HONE_EINTR && r->podium.best.n))) show(s, i);
    if (err) return err;
    s->done++;
    if (!o->seconds && s->o->tune.seconds && !r->known && !s->share[i].lost) s->nleft++;
    tell_uncounted(o, r);
    return HONE_OK;
}

/* ---- a training step as one op, or step by step ---- */

/* The best of every kernel's guess, which is enough to tell one from twice its time. */
static int look_at(struct session *s, int i, struct hone_db *db, const struct hone_tune_options *o)
{
    struct hone_podium known = { .best = { .n = 0 } };
    struct hone_tune_result *r = &s->r[i];
    int err = o->again ? HONE_OK : hone_db_podium(db, &s->p[i], &s->d, &known);
    if (err || known.best.n) {
        s->share[i].ms = known.best.ms_median;
        return err;
    }
    err = hone_tune(db, &s->p[i], &s->d, o, r);
    s->looked[i] = err ? FAILED : LOOKED;
    if (err == HONE_EWRONG) return leave_out(s);
    s->share[i].ms = r->podium.best.n ? r->podium.best.ms_median : 0;
    return err;
}

/* Where a net's step can be one op: what the op and the steps take, more or less, so that the time
 * goes to those who may win.  Compiling would take longer than that. */
static int look(struct session *s, struct hone_db *db, const struct hone_tune_options *o)
{
    const unsigned usual = 1u << HONE_AOT | 1u << HONE_LIB,
                   builds = (o->builds ? o->builds : usual) & ~(1u << HONE_JIT);
    const double end = hone_now() + LOOKS * 2 * o->seconds;
    struct hone_tune_options quick = *o;
    int err = HONE_OK;
    if (!hone_shares_whole(s->share, s->n) || o->trials || o->exhaust || o->kernel || o->energy)
        return HONE_OK;
    if (builds) quick.builds = builds;
    quick.trials = 1;
    quick.later = 0;
    quick.counters = "none";
    quick.seconds = o->seconds > 0 ? fmin(LOOK, LOOKS * o->seconds / s->n) : LOOK;
    quick.what = "first looks";
    for (int i = 0; !err && i < s->n; i++) {
        if (o->seconds > 0 && hone_now() > end) break;
        if (s->share[i].use.in) err = look_at(s, i, db, &quick);
    }
    hone_shares_set(s->share, s->n);
    return err;
}

/* The best of another problem that is the net's step as one op, with the same optimizer: so many
 * steps at once, or one. */
static const struct hone_record *hint_for(const struct session *s, int i, struct hone_db *db,
                                          struct hone_record *hint)
{
    const struct hone_use *u = &s->share[i].use;
    for (int j = 0; u->whole && j < s->n; j++) {
        const struct hone_use *v = &s->share[j].use;
        if (j == i || !v->whole || v->in != u->in) continue;
        if (hone_db_best(db, &s->p[j], &s->d, hint, 1) == 1) return hint;
    }
    return NULL;
}

/* What jit kernels of problem i's op took in this session; 0: there were none. */
static double compile_seconds(const struct session *s, int i)
{
    double most = 0;
    for (int j = 0; j < i; j++)
        if (s->p[j].op == s->p[i].op) most = fmax(most, s->r[j].compile_seconds);
    return most;
}

/* What was found of problem i tells more of the others that have lost. */
static void learn(struct session *s, int i)
{
    const struct hone_record *best = &s->r[i].podium.best;
    if (best->n) s->share[i].ms = best->ms_median;
    hone_shares_set(s->share, s->n);
}

/* Shows problem i, which has lost, as it was looked at, or as it is known. */
static int pass_over(struct session *s, int i, struct hone_db *db,
                     const struct hone_tune_options *o)
{
    struct hone_tune_options none = *o;
    none.seconds = 0;
    s->nlost++;
    if (!s->looked[i]) return tune_one(s, i, db, &none);
    if (!s->o->twice) show(s, i);
    s->done++;
    return HONE_OK;
}

static void forget_results(struct session *s)
{
    for (int i = 0; i < s->n; i++) hone_later_close(s->r[i].later);
    memset(s->r, 0, (size_t)s->n * sizeof *s->r);
    memset(s->looked, 0, (size_t)s->n);
    for (int i = 0; i < s->n; i++) s->share[i].ms = 0;
    hone_shares_set(s->share, s->n);
    s->done = s->nleft = s->nlost = s->nlater = s->nchanged = 0;
}

/* How many have not lost. */
static int nopen(const struct session *s)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) n += !s->share[i].lost;
    return n;
}

/* Problem i of tune_all(). */
static int tune_next(struct session *s, int i, struct hone_db *db, struct hone_tune_options *o)
{
    char what[96], text[HONE_TEXT];
    struct hone_record hint;
    const int again = o->again;
    if (s->looked[i] == FAILED) return HONE_OK;
    if (s->share[i].lost) return pass_over(s, i, db, o);
    hone_problem_print(&s->p[i], text);
    snprintf(what, sizeof what, "%d/%d %.40s", i + 1, s->n, text);
    o->what = what;
    o->hint = hint_for(s, i, db, &hint);
    o->compile_seconds = compile_seconds(s, i);
    o->again |= s->looked[i];
    const int err = tune_one(s, i, db, o);
    o->what = NULL;
    o->hint = NULL;
    o->again = again;
    if (!err) learn(s, i);
    return err;
}

/* All problems once, with `seconds` (0: measure nothing; negative: no limit), and then, with what
 * is left or was put aside of them, their finals again. */
static int tune_all(struct session *s, struct hone_db *db, double seconds, uint64_t seed)
{
    struct hone_tune_options o = s->o->tune;
    const double started = hone_now(), deadline = started + seconds;
    int err = HONE_OK;
    o.seed = seed;
    o.seconds = seconds;
    o.later = seconds > 0;
    if (seconds > 0) o.started = started, o.total = seconds;
    if (seconds) err = look(s, db, &o);
    const double aside = seconds > ENOUGH * nopen(s) ? LATER * seconds : 0;
    for (int i = 0; !err && i < s->n; i++) {
        /* No time is left: what is known is said, and nothing is measured. */
        if (seconds > 0) o.seconds = hone_now() < deadline ? budget_of(s, i, deadline - aside) : 0;
        err = tune_next(s, i, db, &o);
    }
    if (!err && o.later) {
        err = race_later(s, &o, deadline);
        const int kept = keep_later(s, db, &o);
        if (!err) err = kept;
    }
    hone_progress_end();
    return err;
}

/* Of the budget, what whole training steps get; they are asked where that is enough for them. */
static double inside_seconds(const struct session *s)
{
    static const double share = 0.2, least = 4;
    const struct hone_tune_options *o = &s->o->tune;
    const double seconds = share * o->seconds;
    return s->o->net && s->net_race && !s->d.backend->start && !o->kernel && !o->energy &&
                   seconds >= least
               ? seconds
               : 0;
}

/* Problem i as it is served now; shown where another kernel or config is. */
static int look_again(struct session *s, int i)
{
    struct hone_podium now;
    const int err = hone_db_podium(&s->db, &s->p[i], &s->d, &now);
    if (err || strcmp(now.best.cache, "net")) return err;
    const int changed = !same(&now.best, &s->r[i].podium.best);
    s->r[i].podium = now;
    if (!changed) return HONE_OK;
    if (!s->ninside++ && !s->rows) printf("after races inside the net:\n");
    show(s, i);
    return HONE_OK;
}

static int race_inside(struct session *s, double seconds)
{
    const struct hone_autotune_options *o = s->o;
    int measured = 0;
    for (int i = 0; i < s->n; i++) measured |= s->r[i].ncandidates > 0;
    if (!measured || seconds <= 0) return HONE_OK;
    int err = s->net_race(o->net, o->batch, o->dtype, o->optimizers, &s->db, &s->d, seconds,
                          o->tune.seed);
    s->ninside = 0;
    for (int i = 0; !err && i < s->n; i++) err = look_again(s, i);
    return err;
}

static int tune_once(struct session *s)
{
    const double started = hone_now(), inside = inside_seconds(s);
    int err = tune_all(s, &s->db, s->o->tune.seconds - inside, s->o->tune.seed);
    if (!err) err = race_inside(s, inside);
    if (err == HONE_EINTR)
        hone_fail(err, "interrupted: %d of %d problems are done; all results so far are kept",
                  s->done, s->n);
    else if (!err && s->o->tune.seconds)
        conclude(s, hone_now() - started);
    return err;
}

/* Each of the two sessions gets a third of the time, as does the re-measurement. */
static int tune_twice(struct session *s)
{
    struct hone_tune_options o = s->o->tune;
    int err = HONE_OK;
    if (o.seconds > 0) o.seconds /= 3;
    for (int k = 0; !err && k < 2; k++) {
        forget_results(s);
        err = tune_all(s, &s->twice.db[k], o.seconds, o.seed + 1000u * (unsigned)k);
    }
    if (!err) err = hone_twice_measure(&s->twice, s->p, s->n, &s->d, &o);
    return err;
}

static int print_json(struct session *s)
{
    json_t *j =
        json_pack("{ss ss so}", "device", s->d.text, "device_id", s->d.id, "problems", s->rows);
    s->rows = NULL;
    int bad = !j || json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(j);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

static int record(struct session *s)
{
    struct hone_recording r;
    if (s->n != 1) return hone_fail(HONE_EINVAL, "--record: one problem, not %d", s->n);
    int err = hone_recording_make(&r, &s->p[0], &s->d, &s->o->tune);
    if (err) return err;
    FILE *f = fopen(s->o->record, "w");
    err = f ? hone_recording_write(&r, f)
            : hone_fail(HONE_EIO, "%s: cannot write", s->o->record);
    if (f && fclose(f) && !err) err = hone_fail(HONE_EIO, "%s: cannot write", s->o->record);
    if (!err) fprintf(stderr, "%d configs of %d kernels\n", r.pool.n, r.pool.nkernels);
    hone_recording_close(&r);
    return err;
}

static int run(struct session *s, hone_net_problems_fn *net_problems)
{
    const struct hone_autotune_options *o = s->o;
    int measures = o->tune.seconds != 0;
    int err = hone_device_open(&s->d, o->device);
    if (!err && (err = hone_device_limit(&s->d, o->max_error))) hone_fail_at(err, "--max-error");
    if (!err && o->tune.energy && (err = hone_tuning_meter(&s->d)))
        hone_fail_at(err, "--objective energy");
    if (!err) err = list_problems(s, net_problems);
    for (int i = 0, found = !o->tune.kernel; !err && i < s->n; i++) {
        found |= o->tune.kernel && hone_kernel_find(s->p[i].op, o->tune.kernel);
        if (i == s->n - 1 && !found)
            err = hone_fail(HONE_EINVAL, "kernel '%s': no such kernel; `hone kernels` lists them",
                            o->tune.kernel);
    }
    if (!err && o->record) return record(s);
    if (!err && measures) err = share_budget(s);
    if (!err && o->twice && !measures) err = hone_fail(HONE_EINVAL, "--twice needs a budget");
    if (!err) err = o->twice ? hone_twice_open(&s->twice) : hone_db_open(&s->db, o->db, measures);
    if (err) return err;
    s->db.max_workspace = o->max_workspace;
    if (measures && !(s->have_peaks = !hone_peaks(&s->d, 0, &s->peaks)))
        fprintf(stderr, "hone autotune: no roof is shown: %s\n", hone_errmsg());
    if (o->json) s->rows = json_array();
    s->r = calloc((size_t)s->n + 1, sizeof *s->r);
    s->shown = calloc((size_t)s->n + 1, 1);
    s->looked = calloc((size_t)s->n + 1, 1);
    if (!s->r || !s->shown || !s->looked) return hone_fail(HONE_ENOMEM, "%d problems", s->n);
    err = o->twice ? tune_twice(s) : tune_once(s);
    for (int i = 0; s->rows && i < s->n; i++)
        if (s->shown[i]) json_array_append_new(s->rows, row_json(s, &s->p[i], &s->r[i]));
    if (s->rows && (!err || err == HONE_EINTR)) {
        int interrupted = err;
        err = print_json(s);
        if (!err && interrupted)
            err = hone_fail(HONE_EINTR,
                            "interrupted: %d of %d problems are done; all results so far are kept",
                            s->done, s->n);
    }
    return err;
}

static int replay(struct hone_autotune_options *o)
{
    for (int i = 0; i < o->ntexts && o->replay.nfiles < HONE_MAX_REPLAYS; i++)
        o->replay.file[o->replay.nfiles++] = o->text[i];
    o->replay.search = o->tune.search;
    o->replay.json = o->json;
    o->replay.uncounted = o->tune.counters && !strcmp(o->tune.counters, "none");
    int err = hone_replay_command(&o->replay);
    if (err) fprintf(stderr, "hone autotune: %s\n", hone_errmsg());
    return err ? 1 : 0;
}

int hone_cmd_autotune(int argc, char **argv, hone_net_problems_fn *net_problems,
                      hone_net_race_fn *net_race)
{
    struct hone_autotune_options o;
    if (hone_autotune_options_read(argc, argv, &o)) return 2;
    struct session s = { .o = &o,
                         .net_race = net_race,
                         .ninside = -1,
                         .p = calloc(HONE_MOST_PROBLEMS, sizeof *s.p),
                         .share = calloc(HONE_MOST_PROBLEMS, sizeof *s.share) };
    signal(SIGXFSZ, SIG_IGN);   /* a file-size limit then is an error like a full disk */
    hone_catch_interrupt();
    if (o.replay.nfiles) return replay(&o);
    int err = s.p && s.share ? run(&s, net_problems)
                             : hone_fail(HONE_ENOMEM, "%d problems", HONE_MOST_PROBLEMS);
    if (err) fprintf(stderr, "hone autotune: %s\n", hone_errmsg());
    json_decref(s.rows);
    hone_twice_print(&s.twice);
    hone_twice_close(&s.twice);
    hone_db_close(&s.db);
    hone_device_close(&s.d);
    if (s.r && s.looked) forget_results(&s);
    free(s.r);
    free(s.shown);
    free(s.looked);
    free(s.share);
    free(s.p);
    return err || s.nfailed ? 1 : 0;
}
