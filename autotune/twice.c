/* Two sessions on one problem, each with a database of its own, and a long re-measurement of whom
 * they let finish: blocks of rounds, each block in a process of its own.  The odd blocks say who
 * is truly the best, the even ones what a winner takes beside it: were it the same blocks, the
 * luckiest would be called the best and all others slower than they are. */
#include "autotune/twice.h"

#include "autotune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double TIE = 1.01;
static const double NEAR = 1.05;         /* finishers slower by more cannot be the best */

/* Fewer blocks where they take too long. */
enum { MOST = 10, BLOCKS = 8, FEWEST = 4, ROUNDS = 21 };

struct final {
    struct hone_worker worker;
    int n, blocks, winner[2];            /* winner: whom each session chose */
    double limit;                        /* seconds of blocks; negative: none */
    char text[MOST][HONE_TEXT];          /* of configs */
    struct hone_job job[MOST];
    struct hone_racer racer[MOST];
    double log_ms[MOST][BLOCKS];         /* over the first one's */
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
    for (int i = 0; i < n; i++)
        if (same(r, &all[i])) return hone_record_ties(&all[i], all, n);
    return 0;
}

/* ---- the long re-measurement ---- */

/* Enters the record's candidate, once; its place, or a negative code. */
static int enter(struct final *f, const struct hone_record *r)
{
    struct hone_job *job = &f->job[f->n];
    struct hone_worker *w = &f->worker;
    struct hone_answer answer;
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->job[i].kernel->name, r->kernel) && !strcmp(f->text[i], r->config)) return i;
    if (f->n == MOST) return -1;
    *job = (struct hone_job){ .id = f->n + 1, .kernel = hone_kernel_find(w->p->op, r->kernel) };
    snprintf(f->text[f->n], sizeof f->text[0], "%s", r->config);
    hone_config_guess(job->kernel, w->p, w->d, &job->config);
    int err = hone_config_parse(job->kernel, r->config, &job->config);
    if (!err) err = hone_worker_try(w, job, 0, &answer);
    if (!err && answer.err) err = hone_fail(answer.err, "%s", answer.why);
    if (err) return err;
    job->runs = answer.runs;
    return f->n++;
}

static int enter_all(struct final *f, struct hone_record *all[2], const int n[2])
{
    for (int s = 0; s < 2; s++)
        if ((f->winner[s] = enter(f, &all[s][0])) < 0) return f->winner[s];
    for (int s = 0; s < 2; s++)
        for (int i = 1; i < n[s] && f->n < MOST; i++) {
            int at = all[s][i].ms_median < NEAR * all[s][0].ms_median ? enter(f, &all[s][i]) : 0;
            if (at < 0) return at;
        }
    return HONE_OK;
}

static int run_blocks(struct final *f, uint64_t seed)
{
    const double started = hone_now();
    for (int k = 0; k < BLOCKS; k++) {
        if (f->limit > 0 && k >= FEWEST && hone_now() - started > f->limit) break;
        struct hone_race race = { .n = f->n, .racer = f->racer, .rounds = ROUNDS, .all = 1,
                                  .seed = seed + (unsigned)k };
        memset(f->racer, 0, sizeof f->racer);
        for (int i = 0; i < f->n; i++) f->racer[i].kernel = f->job[i].kernel;
        hone_worker_renew(&f->worker);
        int err = hone_worker_race(&f->worker, &race, f->job);
        for (int i = 0; !err && i < f->n; i++) {
            if (f->racer[i].err) return hone_fail(f->racer[i].err, "%s", f->racer[i].why);
            f->log_ms[i][k] = log(hone_race_ratio(&race, i, 0).median);
        }
        if (err) return err;
        f->blocks++;
    }
    return HONE_OK;
}

/* The median of i's times over j's, of every other block from `first` on. */
static double ratio(const struct final *f, int i, int j, int first)
{
    double q[BLOCKS];
    int n = 0;
    for (int k = first; k < f->blocks; k += 2) q[n++] = f->log_ms[i][k] - f->log_ms[j][k];
    return exp(hone_stats_of(q, n).median);
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
    struct final *f = calloc(1, sizeof *f);
    if (!f) return hone_fail(HONE_ENOMEM, "final");
    f->limit = o->seconds;
    int err = hone_worker_open(&f->worker, p, d, o);
    if (!err) err = enter_all(f, all, n);
    if (!err) err = run_blocks(f, o->seed);
    for (int s = 0; !err && s < 2; s++) regrets[s] = regret(f, f->winner[s]);
    hone_worker_close(&f->worker);
    free(f);
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
        const int agreed = same(&all[0][0], &all[1][0]) || (ties(&all[0][0], all[1], n[1]) &&
                                                            ties(&all[1][0], all[0], n[0]));
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
           "winners %d more rounds in %d processes find level; regret: mean %.2f %%, worst %.2f "
           "%%%s%s\n",
           x->n, 100.0 * x->agreed / x->n, 100.0 * (x->agreed + x->level) / x->n, BLOCKS * ROUNDS,
           BLOCKS,
           100 * x->sum / x->measured, 100 * x->worst, x->of[0] ? " of " : "", x->of);
}
