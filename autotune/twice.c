/* Two sessions, each with a database of its own, and a long re-measurement of whom they let finish:
 * blocks of rounds, each block in a process of its own, and those of a problem apart in time, since
 * all problems have their turn in between.  The odd blocks say who is truly the best, the even ones
 * what a winner takes beside it: were it the same blocks, the luckiest would be called the best and
 * all others slower than they are. */
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

/* The finishers of both sessions on one problem. */
struct final {
    struct hone_record *all[2];          /* (n[.]) best first */
    int n[2];
    int racers, blocks, winner[2];       /* winner: whom each session chose */
    char text[MOST][HONE_TEXT];          /* of configs */
    struct hone_job job[MOST];
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
static int enter(struct final *f, struct hone_worker *w, const struct hone_record *r)
{
    struct hone_job *job = &f->job[f->racers];
    struct hone_answer answer;
    for (int i = 0; i < f->racers; i++)
        if (!strcmp(f->job[i].kernel->name, r->kernel) && !strcmp(f->text[i], r->config)) return i;
    if (f->racers == MOST) return -1;
    *job = (struct hone_job){ .id = f->racers + 1,
                              .kernel = hone_kernel_find(w->p->op, r->kernel) };
    snprintf(f->text[f->racers], sizeof f->text[0], "%s", r->config);
    hone_config_guess(job->kernel, w->p, w->d, &job->config);
    int err = hone_config_parse(job->kernel, r->config, &job->config);
    if (!err) err = hone_worker_try(w, job, 0, &answer);
    if (!err && answer.err) err = hone_fail(answer.err, "%s", answer.why);
    if (err) return err;
    job->runs = answer.runs;
    return f->racers++;
}

static int enter_all(struct final *f, struct hone_worker *w)
{
    for (int s = 0; s < 2; s++)
        if ((f->winner[s] = enter(f, w, &f->all[s][0])) < 0) return f->winner[s];
    for (int s = 0; s < 2; s++)
        for (int i = 1; i < f->n[s] && f->racers < MOST; i++) {
            const struct hone_record *r = &f->all[s][i];
            int at = r->ms_median < NEAR * f->all[s][0].ms_median ? enter(f, w, r) : 0;
            if (at < 0) return at;
        }
    return HONE_OK;
}

/* One block, in a process of its own. */
static int run_block(struct final *f, struct hone_worker *w, uint64_t seed)
{
    struct hone_racer *racer = calloc(MOST, sizeof *racer);
    struct hone_race race = { .n = f->racers, .racer = racer, .rounds = ROUNDS, .all = 1,
                              .seed = seed + (unsigned)f->blocks };
    if (!racer) return hone_fail(HONE_ENOMEM, "race of %d", MOST);
    for (int i = 0; i < f->racers; i++) racer[i].kernel = f->job[i].kernel;
    hone_worker_renew(w);
    int err = hone_worker_race(w, &race, f->job);
    for (int i = 0; !err && i < f->racers; i++) {
        if (racer[i].err) err = hone_fail(racer[i].err, "%s", racer[i].why);
        else f->log_ms[i][f->blocks] = log(hone_race_ratio(&race, i, 0).median);
    }
    if (!err) f->blocks++;
    free(racer);
    return err;
}

static int visit(struct final *f, const struct hone_problem *p, struct hone_device *d,
                 const struct hone_tune_options *o)
{
    struct hone_worker w;
    int err = hone_worker_open(&w, p, d, o);
    if (!err && !f->blocks) err = enter_all(f, &w);
    if (!err) err = run_block(f, &w, o->seed);
    hone_worker_close(&w);
    return err;
}

/* The mean of i's times over j's, of every other block from `first` on: blocks lie apart in time,
 * and what the machine was like is part of them. */
static double ratio(const struct final *f, int i, int j, int first)
{
    double sum = 0;
    int n = 0;
    for (int k = first; k < f->blocks; k += 2, n++) sum += f->log_ms[i][k] - f->log_ms[j][k];
    return exp(sum / n);
}

static double regret(const struct final *f, int winner)
{
    int best = 0;
    for (int i = 1; i < f->racers; i++)
        if (ratio(f, i, best, 1) < 1) best = i;
    return fmax(ratio(f, winner, best, 0) - 1, 0);
}

/* ---- all problems ---- */

static void tell(struct hone_twice *x, const struct hone_problem *p, const struct final *f)
{
    char text[HONE_TEXT];
    const struct hone_record *a = f->all[0], *b = f->all[1];
    const double regrets[2] = { regret(f, f->winner[0]), regret(f, f->winner[1]) };
    const int agreed = same(a, b) || (ties(a, b, f->n[1]) && ties(b, a, f->n[0])),
              level = !agreed && fabs(regrets[0] - regrets[1]) < TIE - 1;
    hone_problem_print(p, text);
    x->n++;
    x->blocks = f->blocks;
    x->agreed += agreed;
    x->level += level;
    printf("%-52s %-9s", text,
           same(a, b) ? "same" : agreed ? "tie" : level ? "level" : "DIFFERENT");
    for (int s = 0; s < 2; s++) {
        printf("  %s %s +%.2f %%", f->all[s]->kernel, f->all[s]->config, 100 * regrets[s]);
        x->sum += regrets[s];
        x->measured++;
        if (regrets[s] <= x->worst) continue;
        x->worst = regrets[s];
        snprintf(x->of, sizeof x->of, "%s", text);
    }
    putchar('\n');
    fflush(stdout);
}

static int open_final(struct hone_twice *x, struct final *f, const struct hone_problem *p,
                      struct hone_device *d)
{
    for (int s = 0; s < 2; s++) {
        if (!(f->all[s] = calloc(HONE_RACERS, sizeof **f->all)))
            return hone_fail(HONE_ENOMEM, "finishers");
        f->n[s] = hone_db_best(&x->db[s], p, d, f->all[s], HONE_RACERS);
        if (f->n[s] < 0) return f->n[s];
    }
    return HONE_OK;
}

/* All finals in turn, so that the blocks of one lie apart in time. */
static int measure(struct hone_twice *x, struct final *f, const struct hone_problem *p, int n,
                   struct hone_device *d, const struct hone_tune_options *o)
{
    const double started = hone_now();
    for (int k = 0; k < BLOCKS; k++) {
        if (o->seconds > 0 && k >= FEWEST && hone_now() - started > o->seconds) break;
        for (int i = 0; i < n; i++) {
            int err = k ? HONE_OK : open_final(x, &f[i], &p[i], d);
            /* What a session had no time for is not compared. */
            if (!err && f[i].n[0] && f[i].n[1]) err = visit(&f[i], &p[i], d, o);
            if (err) return err;
            hone_progress("re-measurement", k * n + i + 1, BLOCKS * n, started);
        }
    }
    hone_progress_end();
    return HONE_OK;
}

int hone_twice_measure(struct hone_twice *x, const struct hone_problem *p, int n,
                       struct hone_device *d, const struct hone_tune_options *o)
{
    struct final *f = calloc((size_t)n + 1, sizeof *f);
    if (!f) return hone_fail(HONE_ENOMEM, "finals of %d problems", n);
    int err = measure(x, f, p, n, d, o);
    for (int i = 0; i < n; i++) {
        if (!err && f[i].blocks) tell(x, &p[i], &f[i]);
        for (int s = 0; s < 2; s++) free(f[i].all[s]);
    }
    free(f);
    return err;
}

void hone_twice_print(const struct hone_twice *x)
{
    if (!x->n) return;
    printf("%d problems twice: the same winner, or a tie, in %.1f %%, and %.1f %% with those whose "
           "winners %d more rounds in %d processes find level; regret: mean %.2f %%, worst %.2f "
           "%%%s%s\n",
           x->n, 100.0 * x->agreed / x->n, 100.0 * (x->agreed + x->level) / x->n,
           x->blocks * ROUNDS, x->blocks, 100 * x->sum / x->measured, 100 * x->worst,
           x->of[0] ? " of " : "", x->of);
}
