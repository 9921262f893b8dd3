/* The race's statistics on a made-up machine: every racer's true time is known, and the clock, its
 * drift, a second clock state, outliers and the neighbours' load are drawn from a seed.  Claims are
 * counted over many races. */
#include "config.h"

#include "autotune/race.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

/* ---- the machine ---- */

struct machine {
    const char *name;
    double noise;            /* of a window, standard deviation */
    double outliers;         /* share of windows that take up to three times as long */
    double drift;            /* by how much it slows down over a second of its clock */
    double slow, dwell;      /* the second state takes this many times as long; seconds in a state */
    double tick;             /* s: times are multiples of it */
    /* Set for each race. */
    uint64_t seed, at;
    double now, ms[MOST];
};

static double uniform(struct machine *m) { return hone_random_unit(m->seed, m->at++); }

static double normal(struct machine *m)
{
    const double u = 1 - uniform(m), v = uniform(m);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979 * v);
}

/* How many times as long anything takes now. */
static double slowness(struct machine *m)
{
    const uint64_t stay = (uint64_t)(m->now / m->dwell);
    const double state = hone_random_unit(m->seed ^ 0x5eed, stay) < 0.5 ? 1 : m->slow;
    return state * (1 + m->drift * m->now);
}

static double measure(struct machine *m, double ms)
{
    double t = ms * slowness(m) * (1 + m->noise * normal(m));
    if (uniform(m) < m->outliers) t *= 1 + 2 * uniform(m);
    if (t < 0.1 * ms) t = 0.1 * ms;
    m->now += 1e-3 * t;
    return 1e3 * m->tick * ceil(t / (1e3 * m->tick));
}

static int window(void *ctx, int i, double *ms)
{
    struct machine *m = ctx;
    *ms = measure(m, m->ms[i]);
    return HONE_OK;
}

static double sentinel(void *ctx) { return measure(ctx, 0.2); }

static const struct machine machines[] = {
    { .name = "quiet", .noise = 0.004, .slow = 1, .dwell = 1, .tick = 1e-9 },
    { .name = "busy", .noise = 0.02, .outliers = 0.05, .slow = 1, .dwell = 1, .tick = 1e-7 },
    { .name = "drifting", .noise = 0.01, .outliers = 0.02, .drift = 0.5, .slow = 1, .dwell = 1, .tick = 1e-9 },
    { .name = "of two clock states", .noise = 0.01, .outliers = 0.02, .slow = 1.25, .dwell = 0.04, .tick = 1e-9 },
    { .name = "of all at once", .noise = 0.02, .outliers = 0.05, .drift = 0.2, .slow = 1.25, .dwell = 0.05, .tick = 1e-6 },
};
enum { NMACHINES = sizeof machines / sizeof *machines };

static const struct hone_kernel kernels[MOST];

/* Runs a race of n on machine m with the times in ms. */
static void race(struct hone_race *r, struct hone_racer racer[MOST], struct machine *m,
                 const double *ms, int n, uint64_t seed)
{
    memset(racer, 0, MOST * sizeof *racer);
    m->seed = seed;
    m->at = 0;
    m->now = 0;
    memcpy(m->ms, ms, (size_t)n * sizeof *ms);
    *r = (struct hone_race){ .n = n, .racer = racer, .window = window, .sentinel = sentinel,
                             .ctx = m, .seed = seed + 1 };
    for (int i = 0; i < n; i++) racer[i].kernel = &kernels[i % 4];
    if (hone_race_run(r)) printf("# %s\n", hone_errmsg());
    hone_race_finish(r);
}

/* ---- two racers ---- */

/* Share of races in which one of the two is called slower than the other by more than 1 %. */
static double called(const struct machine *of, double gap, int wrong_too, int trials, double *rounds)
{
    struct machine m = *of;
    struct hone_race r;
    static struct hone_racer racer[MOST];
    int n = 0;
    *rounds = 0;
    for (int i = 0; i < trials; i++) {
        const double ms[2] = { 1 + gap, 1 };
        race(&r, racer, &m, ms, 2, 1000 + (uint64_t)i);
        n += hone_race_slower(&r, 0, 1) || (wrong_too && hone_race_slower(&r, 1, 0));
        *rounds += (double)r.nrounds / trials;
    }
    return (double)n / trials;
}

static void check_pairs(void)
{
    for (int i = 0; i < NMACHINES; i++) {
        double rounds;
        double share = called(&machines[i], 0, 1, 2000, &rounds);
        ok(share <= 0.01, "A against A on a machine %s: called different in %.2f %% of 2000 races",
           machines[i].name, 100 * share);
        printf("# %.1f rounds on average\n", rounds);
        share = called(&machines[i], 0.03, 0, 1000, &rounds);
        ok(share >= 0.95, "a gap of 3 %%: called in %.1f %% of 1000", 100 * share);
        printf("# %.1f rounds on average\n", rounds);
    }
}

/* ---- whole problems ---- */

/* True times of problem p: the best is 1 ms, and the others are behind by a few percent each, some
 * by next to nothing. */
static int problem(int p, double ms[MOST])
{
    double t = 1;
    const int n = 6 + p % 11;
    for (int i = 0; i < n; i++) {
        ms[(i + p) % n] = t;
        t *= 1 + 0.03 * hone_random_unit(77, (uint64_t)(p * MOST + i)) *
                     (i % 3 ? 1 : hone_random_unit(78, (uint64_t)(p * MOST + i)) * 0.2);
    }
    return n;
}

struct verdict {
    int winner, tied[MOST];
};

/* As a session decides: records of who finished, ranked by the rule of the best. */
static struct verdict decide(const struct hone_race *r)
{
    struct verdict v = { .winner = -1 };
    struct hone_record rec[MOST];
    int n = 0;
    memset(rec, 0, sizeof rec);
    for (int i = 0; i < r->n; i++) {
        if (r->racer[i].out) continue;
        double t[HONE_RACE_ROUNDS];
        memcpy(t, r->racer[i].ms, sizeof t);
        struct hone_stats s = hone_stats_of(t, r->racer[i].n);
        rec[n].ms_median = s.median;
        rec[n].id = i;
        snprintf(rec[n].kernel, sizeof rec[n].kernel, "k%02d", i);
        n++;
    }
    hone_db_rank(rec, n);
    v.winner = n ? (int)rec[0].id : -1;
    for (int i = 0; i < r->n; i++)
        v.tied[i] = !r->racer[i].out && !hone_race_slower(r, i, v.winner);
    return v;
}

static void check_sessions(void)
{
    enum { PROBLEMS = 50, SESSIONS = 4 };
    for (int k = 0; k < NMACHINES; k++) {
        struct machine m = machines[k];
        int agree = 0, pairs = 0;
        double worst = 0, sum = 0, rounds = 0;
        for (int p = 0; p < PROBLEMS; p++) {
            static struct hone_racer racer[MOST];
            struct verdict v[SESSIONS];
            double ms[MOST];
            int n = problem(p, ms);
            for (int s = 0; s < SESSIONS; s++) {
                struct hone_race r;
                race(&r, racer, &m, ms, n, (uint64_t)(100 * p + s) * 977 + 13);
                v[s] = decide(&r);
                const double regret = ms[v[s].winner] - 1;
                sum += regret / (PROBLEMS * SESSIONS);
                worst = regret > worst ? regret : worst;
                rounds += (double)r.nrounds / (PROBLEMS * SESSIONS);
            }
            for (int s = 0; s < SESSIONS; s += 2, pairs++)
                agree += v[s].winner == v[s + 1].winner ||
                         (v[s].tied[v[s + 1].winner] && v[s + 1].tied[v[s].winner]);
        }
        ok(agree >= 0.95 * pairs, "two sessions on a machine %s: the same winner or tie on %.1f %% of %d",
           machines[k].name, 100.0 * agree / pairs, pairs);
        ok(sum <= 0.005 && worst <= 0.03, "what is chosen costs %.2f %% on average, %.2f %% at worst",
           100 * sum, 100 * worst);
        printf("# %.1f rounds on average\n", rounds);
    }
}

/* ---- the incumbent, and what the sentinel sees ---- */

static int incumbent_stays(double gap, int trials)
{
    int n = 0;
    for (int i = 0; i < trials; i++) {
        static struct hone_racer racer[MOST];
        struct machine m = machines[NMACHINES - 1];
        struct hone_race r;
        memset(racer, 0, sizeof racer);
        m.seed = 5000 + (uint64_t)i;
        m.ms[0] = 1 + gap;
        m.ms[1] = 1;
        r = (struct hone_race){ .n = 2, .racer = racer, .window = window, .sentinel = sentinel,
                                .ctx = &m, .seed = 1 };
        racer[0].kernel = racer[1].kernel = &kernels[0];
        racer[0].incumbent = 1;
        hone_race_run(&r);
        hone_race_finish(&r);
        n += decide(&r).winner == 0;
    }
    return n;
}

static void check_incumbent(void)
{
    const int equal = incumbent_stays(0, 200), worse = incumbent_stays(0.06, 200);
    ok(equal >= 198, "an incumbent that is as good stays: in %d of 200 races", equal);
    ok(worse <= 2, "one that is worse by 6 %% goes: it stays in %d of 200", worse);
}

static void check_drift(void)
{
    struct hone_race r;
    static struct hone_racer racer[MOST];
    const double ms[2] = { 1, 1.2 };
    struct machine m = machines[0];
    race(&r, racer, &m, ms, 2, 3);
    ok(fabs(r.drift) < 0.02, "a steady machine: no drift (%.3f)", r.drift);
    m.drift = 10;
    race(&r, racer, &m, ms, 2, 3);
    ok(r.drift > 0.05, "one that slows down is seen (%.3f)", r.drift);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    check_pairs();
    check_sessions();
    check_incumbent();
    check_drift();
    return tap_end();
}
