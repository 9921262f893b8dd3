/* Two sessions on one problem, each with a database of its own, and a long re-measurement of whom
 * they let finish: in every round everyone is timed once.  The odd rounds say who is truly the
 * best, the even ones what a winner takes beside it: were it the same rounds, the luckiest would be
 * called the best and all others slower than they are. */
#include "autotune/twice.h"

#include "autotune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double TIE = 1.01;
static const double NEAR = 1.05;         /* finishers slower by more cannot be the best */
static const double WINDOW = 0.002;      /* seconds */

enum { MOST = 10, ROUNDS = 80, FEWEST = 20 };   /* fewer rounds where they take too long */

struct finalist {
    struct hone_plan plan;
    int runs;
    double ms[ROUNDS];
};

struct final {
    struct hone_case c;
    int n, resets, rounds, winner[2];    /* winner: whom each session chose */
    double limit;                        /* seconds of rounds; negative: none */
    struct finalist *of;                 /* (MOST) */
};

int hone_twice_open(struct hone_twice *x)
{
    char path[300];
    const char *tmp = getenv("TMPDIR");
    memset(x, 0, sizeof *x);
    snprintf(x->dir, sizeof x->dir, "%.200s/hone-twice-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(x->dir)) {
        x->dir[0] = 0;
        return hone_fail(HONE_EIO, "no place for two databases");
    }
    int err = HONE_OK;
    for (int i = 0; !err && i < 2; i++) {
        snprintf(path, sizeof path, "%s/%d.db", x->dir, i);
        err = hone_db_open(&x->db[i], path, 1);
    }
    return err;
}

void hone_twice_close(struct hone_twice *x)
{
    char path[300];
    if (!x->dir[0]) return;
    for (int i = 0; i < 2; i++) {
        hone_db_close(&x->db[i]);
        snprintf(path, sizeof path, "%s/%d.db", x->dir, i);
        remove(path);
    }
    rmdir(x->dir);
}

/* ---- agreement ---- */

static int same(const struct hone_record *a, const struct hone_record *b)
{
    return !strcmp(a->kernel, b->kernel) && !strcmp(a->config, b->config);
}

/* Was the record's candidate as fast as any in a session with these finishers? */
static int ties(const struct hone_record *r, const struct hone_record *all, int n)
{
    double least = INFINITY;
    for (int i = 0; i < n; i++) least = fmin(least, all[i].ms_median);
    for (int i = 0; i < n; i++)
        if (same(r, &all[i])) return all[i].ms_median <= TIE * least;
    return 0;
}

/* ---- the long re-measurement ---- */

static int enter(struct final *f, const struct hone_record *r, const struct hone_problem *p,
                 struct hone_device *d)
{
    const struct hone_kernel *k = hone_kernel_find(p->op, r->kernel);
    struct finalist *a = &f->of[f->n];
    struct hone_config c;
    double s;
    for (int i = 0; i < f->n; i++) {
        char text[HONE_TEXT];
        hone_config_print(f->of[i].plan.kernel, &f->of[i].plan.config, text);
        if (!strcmp(f->of[i].plan.kernel->name, r->kernel) && !strcmp(text, r->config)) return i;
    }
    if (f->n == MOST) return -1;
    hone_config_guess(k, p, d, &c);
    int err = hone_config_parse(k, r->config, &c);
    if (!err) err = hone_plan_open(&a->plan, p, k, &c, d);
    if (!err) err = hone_case_workspace(&f->c, &a->plan);
    if (!err)
        err = hone_time_calibrate(&a->plan, &f->c, HONE_CACHE_WEIGHTS, WINDOW, &a->runs, &s);
    if (!err) return f->n++;
    hone_plan_close(&a->plan);
    return err;
}

static int enter_all(struct final *f, struct hone_record *all[2], const int n[2],
                     const struct hone_problem *p, struct hone_device *d)
{
    for (int s = 0; s < 2; s++)
        if ((f->winner[s] = enter(f, &all[s][0], p, d)) < 0) return f->winner[s];
    for (int s = 0; s < 2; s++)
        for (int i = 1; i < n[s] && f->n < MOST; i++) {
            int at = all[s][i].ms_median < NEAR * all[s][0].ms_median ? enter(f, &all[s][i], p, d)
                                                                      : 0;
            if (at < 0) return at;
        }
    return HONE_OK;
}

static int run_rounds(struct final *f, uint64_t seed)
{
    const double started = hone_now();
    int err = HONE_OK;
    double s;
    for (int r = 0; !err && r < ROUNDS; r++, f->rounds++) {
        if (f->limit > 0 && r >= FEWEST && hone_now() - started > f->limit) break;
        const int first = (int)(hone_random(seed, (uint64_t)r) % (uint64_t)f->n);
        for (int i = 0; !err && i < f->n; i++) {
            /* Another one begins each time, and every other round goes backwards. */
            struct finalist *a = &f->of[(first + (r % 2 ? f->n - i : i)) % f->n];
            if (f->resets) err = hone_case_reset(&f->c);
            if (!err) err = hone_case_workspace(&f->c, &a->plan);
            if (!err)
                err = hone_time_window(&a->plan, &f->c, HONE_CACHE_WEIGHTS, a->runs, &s);
            a->ms[r] = 1e3 * s;
        }
    }
    return err;
}

/* The median of i's times over j's, of every other round from `first` on. */
static double ratio(const struct final *f, int i, int j, int first)
{
    double q[ROUNDS];
    int n = 0;
    for (int r = first; r < f->rounds; r += 2) q[n++] = f->of[i].ms[r] / f->of[j].ms[r];
    return hone_stats_of(q, n).median;
}

static double regret(const struct final *f, int winner)
{
    int best = 0;
    for (int i = 1; i < f->n; i++)
        if (ratio(f, i, best, 1) < 1) best = i;
    return fmax(ratio(f, winner, best, 0) - 1, 0);
}

static int measure(struct hone_record *all[2], const int n[2], const struct hone_problem *p,
                   struct hone_device *d, const struct hone_tune_options *o, double regrets[2])
{
    struct final f = { .of = calloc(MOST, sizeof *f.of), .limit = o->seconds };
    int err = f.of ? hone_case_open(&f.c, p, d, HONE_REALS, o->seed)
                   : hone_fail(HONE_ENOMEM, "final");
    for (int a = 0; !err && a < f.c.nargs; a++) f.resets |= f.c.arg[a].io == HONE_INOUT;
    if (!err) err = enter_all(&f, all, n, p, d);
    if (!err) err = run_rounds(&f, o->seed);
    for (int s = 0; !err && s < 2; s++) regrets[s] = regret(&f, f.winner[s]);
    for (int i = 0; i < f.n; i++) hone_plan_close(&f.of[i].plan);
    hone_case_close(&f.c);
    free(f.of);
    return err;
}

/* ---- one problem ---- */

static void tell(struct hone_twice *x, const struct hone_problem *p, struct hone_record *all[2],
                 int agreed, const double regrets[2])
{
    char text[HONE_TEXT];
    const int level = !agreed && fabs(regrets[0] - regrets[1]) < TIE - 1;
    hone_problem_print(p, text);
    x->n++;
    x->agreed += agreed;
    x->level += level;
    printf("%-52s %-9s", text,
           same(&all[0][0], &all[1][0]) ? "same" : agreed ? "tie" : level ? "level" : "DIFFERENT");
    for (int s = 0; s < 2; s++) {
        printf("  %s %s +%.2f %%", all[s][0].kernel, all[s][0].config, 100 * regrets[s]);
        x->sum += regrets[s];
        x->measured++;
        if (regrets[s] <= x->worst) continue;
        x->worst = regrets[s];
        snprintf(x->of, sizeof x->of, "%s", text);
    }
    putchar('\n');
    fflush(stdout);
}

int hone_twice_run(struct hone_twice *x, const struct hone_problem *p, struct hone_device *d,
                   const struct hone_tune_options *o)
{
    struct hone_tune_options with = *o;
    struct hone_record *all[2] = { calloc(HONE_RACERS, sizeof **all),
                                   calloc(HONE_RACERS, sizeof **all) };
    struct hone_tune_result r;
    double regrets[2];
    int n[2], err = all[0] && all[1] ? HONE_OK : hone_fail(HONE_ENOMEM, "two sessions");
    for (int s = 0; !err && s < 2; s++) {
        with.seed = o->seed + 1000u * (unsigned)s;
        if ((err = hone_tune(&x->db[s], p, d, &with, &r))) break;
        n[s] = hone_db_best(&x->db[s], p, d, all[s], HONE_RACERS);
        if (n[s] < 1) err = n[s] ? n[s] : hone_fail(HONE_EWRONG, "nothing was timed");
    }
    if (!err) err = measure(all, n, p, d, o, regrets);
    hone_progress_end();
    if (!err) {
        const int agreed = same(&all[0][0], &all[1][0]) || ties(&all[0][0], all[1], n[1]) ||
                           ties(&all[1][0], all[0], n[0]);
        tell(x, p, all, agreed, regrets);
    }
    free(all[0]);
    free(all[1]);
    return err;
}

void hone_twice_print(const struct hone_twice *x)
{
    if (!x->n) return;
    printf("%d problems twice: the same winner, or a tie, in %.1f %%, and %.1f %% with those whose "
           "winners up to %d more rounds find level; regret: mean %.2f %%, worst %.2f %%%s%s\n",
           x->n, 100.0 * x->agreed / x->n, 100.0 * (x->agreed + x->level) / x->n, ROUNDS,
           100 * x->sum / x->measured, 100 * x->worst, x->of[0] ? " of " : "", x->of);
}
