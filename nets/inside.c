/* Which kernels are the fastest inside the net: there a kernel finds the caches as the steps before
 * leave them, and what it takes of them or leaves in them the next step feels.  So those that were
 * nearly the fastest alone are run in whole training steps, in turn, each at all places of its
 * problem.  What one took, and what the steps right behind it took more or less than they otherwise
 * do, is recorded as a session of its own, the latest, whose best a net takes; but of those that
 * seem faster than the fastest alone only who is so beyond doubt. */
#include "nets/lower.h"

#include <stdlib.h>
#include <string.h>

enum { RACERS = 6, ROUNDS = 2000, TIMES = 1 << 20 };   /* TIMES: that are kept, at most */
enum { LEAST = 6 };                                    /* rounds of each racer that is recorded */
static const double NEAR = 1.4;                        /* times the time of the fastest alone */

/* A problem, and who may do it; turn: whose it is. */
struct field {
    struct hone_problem p;
    struct hone_record *r;     /* (RACERS) n of them, and their plans */
    struct hone_plan *plan;
    int n, places, turn;
};

struct inside {
    struct hone_net net;
    struct hone_db *db;
    struct hone_device *d;
    struct field *field;
    int nfields;
    int *of;             /* (nsteps) index into field */
    void *workspace;     /* of racers that need more than the step's place in the arena has */
    int nrounds;
    float *ms;           /* (nrounds, nsteps) */
    char *who;           /* (nrounds, nfields) the racer */
    double *sorted;      /* (most rounds) */
};

/* ---- who runs ---- */

/* What the ranking leaves out of a record. */
static int take_words(void *ctx, const struct hone_record *r)
{
    struct hone_record *to = ctx;
    if (r->id != to->id) return 0;
    memcpy(to->why, r->why, sizeof to->why);
    memcpy(to->counters, r->counters, sizeof to->counters);
    return 1;
}

static int find_racers(struct inside *x, struct field *f)
{
    f->r = calloc(RACERS, sizeof *f->r);
    f->plan = calloc(RACERS, sizeof *f->plan);
    if (!f->r || !f->plan) return hone_fail(HONE_ENOMEM, "%d racers", RACERS);
    const int n = hone_db_best(x->db, &f->p, x->d, f->r, RACERS);
    for (int i = 0; i < n && f->r[i].ms_median <= NEAR * f->r[0].ms_median; i++) {
        if (hone_plan_of_record(&f->plan[f->n], &f->r[i], &f->p, x->d)) continue;
        f->r[f->n] = f->r[i];
        hone_db_each(x->db, x->d->id, f->r[f->n].problem, take_words, &f->r[f->n]);
        f->n++;
    }
    return n < 0 ? n : HONE_OK;
}

static int find_fields(struct inside *x)
{
    const struct hone_net *net = &x->net;
    x->field = calloc((size_t)net->nsteps, sizeof *x->field);
    x->of = calloc((size_t)net->nsteps, sizeof *x->of);
    if (!x->field || !x->of) return hone_fail(HONE_ENOMEM, "%d steps", net->nsteps);
    int err = HONE_OK;
    for (int i = 0; !err && i < net->nsteps; i++) {
        int f = 0;
        while (f < x->nfields && !hone_problem_equal(&x->field[f].p, &net->step[i].problem)) f++;
        x->of[i] = f;
        x->field[f].places++;
        if (f < x->nfields) continue;
        x->field[x->nfields++].p = net->step[i].problem;
        err = find_racers(x, &x->field[f]);
    }
    return err;
}

/* Where an output lies over an input, libraries' kernels may not write it. */
static void leave_libraries(struct inside *x)
{
    for (int i = 0; i < x->net.nsteps; i++) {
        struct field *f = &x->field[x->of[i]];
        int n = 0;
        if (x->net.tensor[x->net.step[i].arg[0]].over < 0) continue;
        for (int k = 0; k < f->n; k++) {
            if (f->plan[k].kernel->build == HONE_LIB) {
                hone_plan_close(&f->plan[k]);
                continue;
            }
            if (n < k) {
                f->r[n] = f->r[k];
                f->plan[n] = f->plan[k];
            }
            n++;
        }
        f->n = n;
    }
}

static int make_room(struct inside *x)
{
    size_t most = 0, rounds = TIMES / (size_t)x->net.nsteps;
    if (rounds > ROUNDS) rounds = ROUNDS;
    for (int f = 0; f < x->nfields; f++)
        for (int i = 0; i < x->field[f].n; i++)
            if (x->field[f].plan[i].workspace_bytes > most)
                most = x->field[f].plan[i].workspace_bytes;
    x->ms = malloc(rounds * (size_t)x->net.nsteps * sizeof *x->ms + 1);
    x->who = malloc(rounds * (size_t)x->nfields + 1);
    x->sorted = malloc(rounds * sizeof *x->sorted + 1);
    if (!x->ms || !x->who || !x->sorted) return hone_fail(HONE_ENOMEM, "%zu rounds", rounds);
    return most ? x->d->backend->alloc(x->d, most, &x->workspace) : HONE_OK;
}

/* Of a racer; those of the other steps' plans are no more. */
static int most_threads(const struct inside *x)
{
    int most = 1;
    for (int f = 0; f < x->nfields; f++)
        for (int i = 0; i < x->field[f].n; i++) {
            const struct hone_plan *plan = &x->field[f].plan[i];
            const int threads = hone_config_get(plan->kernel, &plan->config, "threads", 1);
            if (threads > most) most = threads;
        }
    return most;
}

/* ---- rounds ---- */

/* In each cycle of a field's racers every one runs once; which comes first changes. */
static void take_turns(struct inside *x, int round, uint64_t seed)
{
    for (int i = 0; i < x->nfields; i++) {
        struct field *f = &x->field[i];
        if (f->n)
            f->turn = (int)((hone_random(seed + (uint64_t)i, (uint64_t)(round / f->n)) % 64 +
                             (uint64_t)round) % (uint64_t)f->n);
    }
}

static int run_step(struct inside *x, int i)
{
    const struct hone_step *s = &x->net.step[i];
    const struct field *f = &x->field[x->of[i]];
    const struct hone_plan *plan = f->n ? &f->plan[f->turn] : &s->plan;
    return plan->kernel->run(plan, s->mem, plan->workspace_bytes > s->plan.workspace_bytes
                                               ? x->workspace
                                               : s->workspace);
}

/* Between the steps the processor's counter is read, and the clock says what a tick is. */
static int run_round(struct inside *x, float *ms)
{
    const double began = hone_now();
    const uint64_t first = hone_ticks();
    uint64_t before = first, now = first;
    int err = HONE_OK;
    for (int i = 0; !err && i < x->net.nsteps; i++, before = now) {
        err = run_step(x, i);
        now = hone_ticks();
        ms[i] = (float)(now - before);
    }
    const double tick = 1e3 * (hone_now() - began) / (double)(now - first);
    for (int i = 0; i < x->net.nsteps; i++) ms[i] *= (float)tick;
    return err;
}

/* As many racers, the fastest alone, as so many rounds are enough for. */
static void leave_racers(struct inside *x, double rounds)
{
    const int most = rounds < RACERS * LEAST ? (int)(rounds / LEAST) : RACERS;
    for (int i = 0; i < x->nfields; i++)
        for (struct field *f = &x->field[i]; f->n > most;) hone_plan_close(&f->plan[--f->n]);
}

/* Two rounds more come first: pages are touched, and it is known how long one takes. */
static int run_rounds(struct inside *x, double seconds, uint64_t seed)
{
    enum { WARM_UP = 2 };
    const int nsteps = x->net.nsteps, most = TIMES / nsteps < ROUNDS ? TIMES / nsteps : ROUNDS;
    const double end = hone_now() + seconds;
    double began = 0;
    int err = HONE_OK;
    for (int r = -WARM_UP; !err && r < most && (r < 0 || hone_now() < end); r++) {
        if (!r) leave_racers(x, (end - hone_now()) / (hone_now() - began));
        began = hone_now();
        take_turns(x, r + WARM_UP, seed);
        err = run_round(x, x->ms + (int64_t)x->nrounds * nsteps);
        for (int i = 0; i < x->nfields; i++)
            x->who[(int64_t)x->nrounds * x->nfields + i] = (char)x->field[i].turn;
        x->nrounds += r >= 0;
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
    }
    return err;
}

/* ---- what came out ---- */

static int who(const struct inside *x, int round, int f)
{
    return x->who[(int64_t)round * x->nfields + f];
}

/* usual (nrounds, nsteps): of every time the median of its step with that racer. */
static void find_usual(struct inside *x, float *usual)
{
    const int nsteps = x->net.nsteps;
    for (int i = 0; i < nsteps; i++)
        for (int c = 0; c < RACERS; c++) {
            int n = 0;
            for (int r = 0; r < x->nrounds; r++)
                if (who(x, r, x->of[i]) == c)
                    x->sorted[n++] = (double)x->ms[(int64_t)r * nsteps + i];
            const double median = n ? hone_stats_of(x->sorted, n).median : 0;
            for (int r = 0; r < x->nrounds; r++)
                if (who(x, r, x->of[i]) == c) usual[(int64_t)r * nsteps + i] = (float)median;
        }
}

/* Neighbours slow whole rounds down: what a round took in all beyond the usual is taken out of its
 * times. */
static void even_rounds(struct inside *x, const float *usual)
{
    const int nsteps = x->net.nsteps;
    for (int r = 0; r < x->nrounds; r++) {
        float *ms = x->ms + (int64_t)r * nsteps;
        const float *often = usual + (int64_t)r * nsteps;
        double all = 0, of = 0;
        for (int i = 0; i < nsteps; i++) all += (double)ms[i], of += (double)often[i];
        for (int i = 0; i < nsteps && all > 0; i++) ms[i] *= (float)(of / all);
    }
}

/* What racer c of field f took, with what the steps behind it took beyond the usual: the mean over
 * its places. */
static struct hone_stats took(struct inside *x, const float *usual, int f, int c)
{
    const int nsteps = x->net.nsteps;
    int n = 0;
    for (int r = 0; r < x->nrounds; r++) {
        if (who(x, r, f) != c) continue;
        double sum = 0;
        for (int i = 0; i < nsteps; i++) {
            if (x->of[i] != f) continue;
            sum += (double)x->ms[(int64_t)r * nsteps + i];
            if (i + 1 < nsteps)
                sum += (double)x->ms[(int64_t)r * nsteps + i + 1] -
                       (double)usual[(int64_t)r * nsteps + i + 1];
        }
        x->sorted[n++] = sum / x->field[f].places;
    }
    return n ? hone_stats_of(x->sorted, n) : (struct hone_stats){ .n = 0 };
}

/* Puts the records of field f at r; returns how many.  Its first racer is the fastest alone. */
static int records_of(struct inside *x, const float *usual, int f, struct hone_record *r)
{
    const struct field *of = &x->field[f];
    int n = 0;
    for (int i = 0; i < of->n; i++) {
        const struct hone_stats s = took(x, usual, f, i);
        if (of->n < 2 || s.n < LEAST || s.median <= 0) return 0;
        if (i && s.median < r[0].ms_median && s.hi >= r[0].ms_median) continue;   /* in doubt */
        r[n] = of->r[i];
        r[n].n = s.n;
        r[n].ms_median = s.median, r[n].ms_lo = s.lo, r[n].ms_hi = s.hi;
        snprintf(r[n++].cache, sizeof r->cache, "net");
    }
    return n;
}

static int keep(struct inside *x)
{
    struct hone_record *r = calloc((size_t)x->nfields * RACERS + 1, sizeof *r);
    float *usual = calloc((size_t)x->nrounds * (size_t)x->net.nsteps + 1, sizeof *usual);
    int n = 0, err = r && usual ? HONE_OK : hone_fail(HONE_ENOMEM, "records");
    if (!err) find_usual(x, usual), even_rounds(x, usual), find_usual(x, usual);
    for (int f = 0; !err && f < x->nfields; f++) n += records_of(x, usual, f, r + n);
    if (!err && n) err = hone_db_add_session(x->db, r, n);
    free(r);
    free(usual);
    return err;
}

static void close_all(struct inside *x)
{
    for (int f = 0; f < x->nfields; f++) {
        for (int i = 0; i < x->field[f].n; i++) hone_plan_close(&x->field[f].plan[i]);
        free(x->field[f].plan);
        free(x->field[f].r);
    }
    if (x->workspace) x->d->backend->free(x->d, x->workspace);
    free(x->field);
    free(x->of);
    free(x->ms);
    free(x->who);
    free(x->sorted);
    hone_net_close(&x->net);
}

int hone_net_race(const char *name, int batch, const char *dtype, const char *optimizers,
                  struct hone_db *db, struct hone_device *d, double seconds, uint64_t seed)
{
    struct inside x = { .db = db, .d = d };
    struct hone_lowering how = { .batch = batch, .train = 1, .device = d, .db = db,
                                 .whole = HONE_WHOLE_ALWAYS };
    char first[HONE_TEXT];
    if (d->backend->start) return HONE_OK;   /* its steps are enqueued, on caches of their own */
    snprintf(first, sizeof first, "%.*s", (int)strcspn(optimizers, ","), optimizers);
    int err = hone_net_dtype_find(dtype, &how.dtype);
    if (!err) err = hone_optim_parse(first, &how.optim);
    if (!err) err = hone_net_open(&x.net, name, &how);
    /* Steps that one op can do lie in L1 and L2, and are compared with it as they are alone. */
    if (!err && x.net.launch) {
        hone_net_close(&x.net);
        return HONE_OK;
    }
    if (!err) err = hone_net_assemble(&x.net, db, d, NULL);
    if (!err) err = hone_net_init(&x.net, 1);
    if (!err) err = hone_net_fill(&x.net);
    if (!err) err = find_fields(&x);
    if (!err) leave_libraries(&x);
    if (!err) err = make_room(&x);
    if (!err) hone_settle(most_threads(&x));   /* on a core each, as in training */
    if (!err) err = run_rounds(&x, seconds, seed);
    if (!err) err = keep(&x);
    close_all(&x);
    return err;
}
