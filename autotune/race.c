/* The race: in each round every racer is timed once, in an order drawn anew.  What disturbs the
 * machine for longer than a window hits all of a round alike, so racers are compared by the
 * ratio of their times within rounds.  With a clock of two states, as under turbo, medians of plain
 * times could come from one state for one racer and from the other for the next.  Clear losers
 * leave early, and the time goes to the rest.  The leader, the best library, the best of another
 * kernel than the leader's, and the fastest under each limit of workspace stay to the end: how they
 * compare is what people ask. */
#include "autotune/race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TIE = 1.01;         /* within this the rule of ties decides, not time */
static const double CLEAR = 1.10;       /* slower by this in each of a few rounds: a loser */
static const double FAR = 1.30;         /* likewise, in even fewer */
static const double DISTURBED = 1.30;   /* a sentinel slower by this throws its round away */

enum {
    LEAST_ROUNDS = 3,   /* in any case, and for a loser by FAR */
    CLEAR_ROUNDS = 5,
    FEW = 10,           /* rounds from which on who is slower in all is so by p = 1/1000 */
    CROWD = 8           /* more racers than this may be halved */
};

struct standing {
    int leader, library, other;   /* racers; -1: none */
    double *median;               /* (n) of those still racing, in units of their rounds' level */
};

static double median_of(const double *ms, int n)
{
    double t[HONE_RACE_ROUNDS];
    memcpy(t, ms, (size_t)n * sizeof *t);
    return hone_stats_of(t, n).median;
}

/* How slow each round was: the geometric mean of its times, of those still racing. */
static void levels(const struct hone_race *r, double level[HONE_RACE_ROUNDS])
{
    for (int j = 0; j < r->nrounds; j++) {
        double sum = 0;
        int n = 0;
        for (int i = 0; i < r->n; i++)
            if (!r->racer[i].out) { sum += log(r->racer[i].ms[j]); n++; }
        level[j] = exp(sum / (n ? n : 1));
    }
}

static double median_over(const double *ms, const double *level, int n)
{
    double q[HONE_RACE_ROUNDS];
    for (int j = 0; j < n; j++) q[j] = ms[j] / level[j];
    return hone_stats_of(q, n).median;
}

static int faster(const struct standing *s, int i, int j)
{
    return j < 0 || s->median[i] < s->median[j];
}

static void stand(const struct hone_race *r, struct standing *s)
{
    double level[HONE_RACE_ROUNDS];
    s->leader = s->library = s->other = -1;
    levels(r, level);
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out) continue;
        s->median[i] = median_over(r->racer[i].ms, level, r->racer[i].n);
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
    const struct hone_racer *a = &r->racer[i];
    return i == s->leader || i == s->library || i == s->other || a->incumbent || a->front;
}

struct hone_stats hone_race_ratio(const struct hone_race *r, int i, int j)
{
    double q[HONE_RACE_ROUNDS];
    const struct hone_racer *a = &r->racer[i], *b = &r->racer[j];
    const int n = a->n < b->n ? a->n : b->n;
    for (int k = 0; k < n; k++) q[k] = a->ms[k] / b->ms[k];
    return hone_stats_of(q, n);
}

static void drop(struct hone_race *r, int i, double times, const char *how)
{
    struct hone_racer *a = &r->racer[i];
    a->out = r->nrounds;
    snprintf(a->why, sizeof a->why, "%s %.2f times the leader's time after %d rounds", how, times,
             r->nrounds);
}

/* Is racer i slower than the leader by more than a tie?  A sign test of the rounds at p = 1/1000,
 * since it is asked after every round, and 1,000 looks at equals should find a loser once. */
static int proven_slower(const struct hone_race *r, const struct standing *s, int i)
{
    const struct hone_racer *a = &r->racer[i], *b = &r->racer[s->leader];
    int better = 0;
    double p = 0, term = pow(0.5, a->n);   /* of k heads in n throws */
    for (int k = 0; k < a->n; k++) better += a->ms[k] <= TIE * b->ms[k];
    for (int k = 0; k <= better; k++) {
        p += term;
        term *= (double)(a->n - k) / (k + 1);
    }
    return p <= 1e-3;
}

static void drop_losers(struct hone_race *r, const struct standing *s)
{
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out || kept(r, s, i)) continue;
        struct hone_stats q = hone_race_ratio(r, i, s->leader);
        const int out = r->nrounds < LEAST_ROUNDS ? 0
                        : r->nrounds < CLEAR_ROUNDS ? q.min > FAR
                        : r->nrounds < FEW ? q.min > CLEAR : proven_slower(r, s, i);
        if (out) drop(r, i, q.median, "clearly slower:");
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
        now + round * (r->rounds - r->nrounds) < r->deadline)
        return;
    double middle = hone_stats_of(t, racing).median;
    for (int i = 0; i < r->n; i++)
        if (!r->racer[i].out && !kept(r, s, i) && s->median[i] > middle)
            drop(r, i, s->median[i] / s->median[s->leader], "slower half, for lack of time:");
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

/* Rounds until there are as many as asked for, or time is up. */
static int run(struct hone_race *r, struct standing *s, int *order, double *ms)
{
    double *watch = r->watch;
    int err = HONE_OK, racing = 1;
    if (!r->nrounds) r->started = hone_now();
    while (!err && racing && r->nrounds < r->rounds &&
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
        if (!r->all) drop_losers(r, s);
        if (!r->all) halve(r, s);
        if (r->progress) r->progress(r->ctx, r->nrounds);
    }
    if (r->nwatch >= 6)
        r->drift = quantile(watch + r->nwatch - r->nwatch / 3, r->nwatch / 3, 0.5) /
                       quantile(watch, r->nwatch / 3, 0.5) - 1;
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

/* ---- the end ---- */

/* The leader against itself: what two racers that are the same one would show. */
static double self_test(const struct hone_race *r)
{
    double part[2][HONE_RACE_ROUNDS];
    int n[2] = { 0 }, leader = -1;
    double least = 0;
    for (int i = 0; i < r->n; i++) {
        const double ms = r->racer[i].out ? 0 : median_of(r->racer[i].ms, r->racer[i].n);
        if (ms > 0 && (leader < 0 || ms < least)) { leader = i; least = ms; }
    }
    for (int j = 0; leader >= 0 && j < r->racer[leader].n; j++)
        part[j % 2][n[j % 2]++] = r->racer[leader].ms[j];
    return n[1] ? median_of(part[1], n[1]) / median_of(part[0], n[0]) - 1 : 0;
}

void hone_race_finish(struct hone_race *r)
{
    double level[HONE_RACE_ROUNDS], all;
    if (!r->nrounds) return;
    levels(r, level);
    all = median_of(level, r->nrounds);
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out) continue;
        for (int j = 0; j < r->racer[i].n; j++) r->racer[i].ms[j] *= all / level[j];
    }
    r->self = self_test(r);
}
