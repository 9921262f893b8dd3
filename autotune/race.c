/* The race: in each round every racer is timed once, in an order drawn anew.  What disturbs the
 * machine for longer than a window hits all of a round alike, so racers are compared by the
 * ratio of their times within rounds.  Clear losers leave early, and the time goes to the rest.
 * The leader, the best library and the best of another kernel than the leader's stay to the end:
 * how they compare is what people ask. */
#include "autotune/race.h"

#include <stdlib.h>
#include <string.h>

static const double TIE = 1.01;         /* within this the rule of ties decides, not time */
static const double CLEAR = 1.10;       /* slower by this in each of the first rounds: a loser */
static const double DISTURBED = 1.30;   /* a sentinel slower by this throws its round away */

enum {
    FEW = 6,            /* rounds that statistics need */
    CROWD = 8,          /* more racers than this may be halved */
    LEAST_ROUNDS = 3    /* in any case */
};

struct standing {
    int leader, library, other;   /* racers; -1: none */
    double *median;               /* (n) ms of those still racing */
};

static double median_of(const double *ms, int n)
{
    double t[HONE_RACE_ROUNDS];
    memcpy(t, ms, (size_t)n * sizeof *t);
    return hone_stats_of(t, n).median;
}

static int faster(const struct standing *s, int i, int j)
{
    return j < 0 || s->median[i] < s->median[j];
}

static void stand(const struct hone_race *r, struct standing *s)
{
    s->leader = s->library = s->other = -1;
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out) continue;
        s->median[i] = median_of(r->racer[i].ms, r->racer[i].n);
        if (faster(s, i, s->leader)) s->leader = i;
        if (r->racer[i].kernel->build == HONE_LIB && faster(s, i, s->library)) s->library = i;
    }
    for (int i = 0; i < r->n; i++)
        if (!r->racer[i].out && r->racer[i].kernel != r->racer[s->leader].kernel &&
            faster(s, i, s->other))
            s->other = i;
}

static int kept(const struct hone_race *r, const struct standing *s, int i)
{
    return i == s->leader || i == s->library || i == s->other || r->racer[i].incumbent;
}

/* Times of racer i over the leader's, round by round. */
static struct hone_stats ratio(const struct hone_race *r, const struct standing *s, int i)
{
    double q[HONE_RACE_ROUNDS];
    const struct hone_racer *a = &r->racer[i], *b = &r->racer[s->leader];
    for (int j = 0; j < a->n; j++) q[j] = a->ms[j] / b->ms[j];
    return hone_stats_of(q, a->n);
}

static void drop(struct hone_race *r, int i, double times, const char *how)
{
    struct hone_racer *a = &r->racer[i];
    a->out = r->nrounds;
    snprintf(a->why, sizeof a->why, "%s %.2f times the leader's time after %d rounds", how, times,
             r->nrounds);
}

static void drop_losers(struct hone_race *r, const struct standing *s)
{
    if (r->nrounds < LEAST_ROUNDS) return;
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out || kept(r, s, i)) continue;
        struct hone_stats q = ratio(r, s, i);
        if (r->nrounds < FEW ? q.min > CLEAR : q.lo > TIE) drop(r, i, q.median, "clearly slower:");
    }
}

/* Where the time left does not suffice for all, the slower half goes (successive halving, Jamieson
 * and Talwalkar 2016). */
static void halve(struct hone_race *r, const struct standing *s)
{
    int racing = 0;
    double t[4096];
    for (int i = 0; i < r->n && racing < 4096; i++)
        if (!r->racer[i].out) t[racing++] = s->median[i];
    double now = hone_now(), round = (now - r->started) / (r->nrounds + r->ndisturbed);
    if (racing <= CROWD || !r->deadline ||
        now + round * (HONE_RACE_LEAST - r->nrounds) < r->deadline)
        return;
    double middle = hone_stats_of(t, racing).median;
    for (int i = 0; i < r->n; i++)
        if (!r->racer[i].out && !kept(r, s, i) && s->median[i] > middle)
            drop(r, i, s->median[i] / s->median[s->leader], "slower half, for lack of time:");
}

/* Does everyone still racing stand clearly behind the leader, or clearly level with it? */
static int settled(const struct hone_race *r, const struct standing *s)
{
    if (r->nrounds < HONE_RACE_LEAST) return 0;
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out || i == s->leader) continue;
        struct hone_stats q = ratio(r, s, i);
        if (q.lo <= 1 && q.hi > TIE) return 0;
    }
    return 1;
}

/* Times everyone once; the times count only if all of them were taken. */
static int run_round(struct hone_race *r, int *order, double *ms)
{
    uint64_t seed = hone_random(r->seed, (uint64_t)(r->nrounds + r->ndisturbed));
    int n = 0, past = 0;
    for (int i = 0; i < r->n; i++)
        if (!r->racer[i].out) order[n++] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(hone_random(seed, (uint64_t)i) % (uint64_t)(i + 1)), k = order[i];
        order[i] = order[j];
        order[j] = k;
    }
    for (int i = 0; i < n; i++) {
        struct hone_racer *a = &r->racer[order[i]];
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        past = r->deadline && r->nrounds >= LEAST_ROUNDS && hone_now() > r->deadline;
        if (past) return 1;
        a->err = r->window(r->ctx, order[i], &ms[order[i]]);
        if (a->err == HONE_EINTR) { a->err = 0; return HONE_EINTR; }
        if (!a->err) continue;
        a->out = r->nrounds + 1;
        snprintf(a->why, sizeof a->why, "%s", hone_errmsg());
    }
    return HONE_OK;
}

static double quantile(const double *t, int n, double share)
{
    double s[4 * HONE_RACE_ROUNDS];
    memcpy(s, t, (size_t)n * sizeof *s);
    hone_stats_of(s, n);   /* sorts */
    return s[(int)(share * (n - 1) + 0.5)];
}

/* Rounds until the race is settled or time is up. */
static int run(struct hone_race *r, struct standing *s, int *order, double *ms)
{
    double *watch = r->watch;
    int err = HONE_OK, racing = 1;
    if (!r->nrounds) r->started = hone_now();
    while (!err && racing && r->nrounds < HONE_RACE_ROUNDS &&
           r->nwatch + 2 <= 4 * HONE_RACE_ROUNDS) {
        if (r->sentinel) watch[r->nwatch++] = r->sentinel(r->ctx);
        if ((err = run_round(r, order, ms))) break;
        if (r->sentinel) watch[r->nwatch++] = r->sentinel(r->ctx);
        /* A noisy machine widens intervals, it does not stop the race: half of the rounds count in
         * any case. */
        double slow = r->nwatch > 4 ? DISTURBED * quantile(watch, r->nwatch, 0.5) : 1e9;
        if (r->nwatch > 4 && r->ndisturbed < r->nrounds &&
            (watch[r->nwatch - 1] > slow || watch[r->nwatch - 2] > slow)) {
            r->ndisturbed++;
            continue;
        }
        r->nrounds++;
        racing = 0;
        for (int i = 0; i < r->n; i++)
            if (!r->racer[i].out) { r->racer[i].ms[r->racer[i].n++] = ms[i]; racing++; }
        if (!racing) break;
        stand(r, s);
        drop_losers(r, s);
        halve(r, s);
        if (r->progress) r->progress(r->ctx, r->nrounds);
        if (settled(r, s)) break;
    }
    if (r->nwatch) r->noise = quantile(watch, r->nwatch, 0.9) / quantile(watch, r->nwatch, 0.5) - 1;
    return err > 0 ? HONE_OK : err;
}

int hone_race_run(struct hone_race *r)
{
    struct standing s = { .median = calloc((size_t)r->n + 1, sizeof(double)) };
    int *order = calloc((size_t)r->n + 1, sizeof *order);
    double *ms = calloc((size_t)r->n + 1, sizeof *ms);
    int err = s.median && order && ms ? HONE_OK : hone_fail(HONE_ENOMEM, "race of %d", r->n);
    if (!err && r->n) err = run(r, &s, order, ms);
    free(s.median);
    free(order);
    free(ms);
    return err;
}
