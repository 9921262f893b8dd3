/* The statistics of races and of blocks of them on a made-up machine: every racer's true time is
 * known, and the clock, its drift, a second clock state, outliers, the neighbours' load, and what a
 * process's pages do to each racer are drawn from a seed.  Claims are counted over many
 * sessions. */
#include "config.h"

#include "autotune/blocks.h"
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
    double slow, dwell; /* the second state takes this many times as long; seconds in a state */
    double tick;             /* s: times are multiples of it */
    double place;            /* what a process does to a racer for good, standard deviation */
    double unlucky;          /* share of processes that make a racer 5 to 70 % slower */
    double uneven;           /* the second state, if it dwells long, slows each racer differently */
    double apart;            /* seconds between blocks, if the session waits for other moments */
    /* Set for each race. */
    uint64_t seed, at;
    double now, ms[MOST], of_process[MOST];
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

/* Racer i's own trouble in the present state: some lose more than others. */
static double trouble(const struct machine *m, int i)
{
    const uint64_t stay = (uint64_t)(m->now / m->dwell);
    return 1 + m->uneven * hone_random_unit(m->seed + stay, 1000 + (uint64_t)i);
}

static int window(void *ctx, int i, double *ms)
{
    struct machine *m = ctx;
    *ms = measure(m, m->ms[i] * m->of_process[i] * trouble(m, i));
    return HONE_OK;
}

/* A new process: its pages suit some racers better than others. */
static void renew(struct machine *m)
{
    for (int i = 0; i < MOST; i++) {
        m->of_process[i] = exp(m->place * normal(m));
        if (uniform(m) < m->unlucky) m->of_process[i] *= 1.05 + 0.65 * uniform(m);
    }
    m->now += 0.05;
}

static double sentinel(void *ctx) { return measure(ctx, 0.2); }

static const struct machine machines[] = {
    { .name = "quiet", .noise = 0.004, .slow = 1, .dwell = 1, .tick = 1e-9 },
    { .name = "busy", .noise = 0.02, .outliers = 0.05, .slow = 1, .dwell = 1, .tick = 1e-7 },
    { .name = "drifting", .noise = 0.01, .outliers = 0.02, .drift = 0.5, .slow = 1, .dwell = 1, .tick = 1e-9 },
    { .name = "of two clock states", .noise = 0.01, .outliers = 0.02, .slow = 1.25, .dwell = 0.04, .tick = 1e-9 },
    { .name = "whose processes differ", .noise = 0.01, .outliers = 0.02, .slow = 1, .dwell = 1, .tick = 1e-9,
      .place = 0.008 },
    { .name = "with unlucky processes", .noise = 0.01, .outliers = 0.02, .slow = 1, .dwell = 1, .tick = 1e-9,
      .place = 0.005, .unlucky = 0.03 },
    { .name = "whose states last and are unequal", .noise = 0.01, .outliers = 0.02, .slow = 1.2, .dwell = 0.5,
      .tick = 1e-9, .place = 0.005, .uneven = 0.02 },
    { .name = "of all at once", .noise = 0.02, .outliers = 0.05, .drift = 0.2, .slow = 1.25, .dwell = 0.05, .tick = 1e-6 },
};
enum { NMACHINES = sizeof machines / sizeof *machines, LASTING = 6 };

static const struct hone_kernel kernels[MOST];

/* Blocks of races of n on machine m with the times in ms, until they are settled. */
static void session(struct hone_blocks *b, struct hone_contender of[MOST], struct machine *m,
                    const double *ms, int n, int incumbent, uint64_t seed)
{
    static struct hone_racer racer[MOST];
    struct hone_race r;
    memset(of, 0, MOST * sizeof *of);
    m->seed = seed;
    m->at = 0;
    m->now = 0;
    memcpy(m->ms, ms, (size_t)n * sizeof *ms);
    *b = (struct hone_blocks){ .n = n, .of = of, .leader = -1, .apart = m->apart > 0,
                               .most = m->apart > 0 ? 12 : 0 };
    for (int i = 0; i < n; i++) of[i].kernel = &kernels[i % 4];
    if (incumbent >= 0) of[incumbent].incumbent = 1;
    while (!b->nblocks || !hone_blocks_settled(b)) {
        r = (struct hone_race){ .racer = racer, .window = window, .sentinel = sentinel, .ctx = m,
                                .seed = seed + 1 };
        renew(m);
        m->now += m->apart;
        hone_blocks_next(b, &r);
        if (hone_race_run(&r)) printf("# %s\n", hone_errmsg());
        hone_blocks_add(b, &r);
    }
    hone_blocks_finish(b);
}

/* Is i called slower than j by more than the 1 % of a tie, or is it out as a clear loser? */
static int slower(const struct hone_blocks *b, int i, int j)
{
    return b->of[i].out || (j == b->leader && b->of[i].lo > 1.01);
}

/* ---- two racers ---- */

/* Share of sessions in which one of the two is called slower than the other by more than 1 %. */
static double called(const struct machine *of, double gap, int wrong_too, int trials,
                     double *blocks)
{
    struct machine m = *of;
    struct hone_blocks b;
    static struct hone_contender contender[MOST];
    int n = 0;
    *blocks = 0;
    for (int i = 0; i < trials; i++) {
        const double ms[2] = { 1 + gap, 1 };
        session(&b, contender, &m, ms, 2, -1, 1000 + (uint64_t)i);
        n += slower(&b, 0, 1) || (wrong_too && slower(&b, 1, 0));
        *blocks += (double)b.nblocks / trials;
    }
    return (double)n / trials;
}

static void check_pairs(void)
{
    for (int i = 0; i < NMACHINES; i++) {
        double blocks, more;
        const double same = called(&machines[i], 0, 1, 1000, &blocks),
                     gap = called(&machines[i], 0.03, 0, 500, &more);
        printf("# a machine %s: %.1f blocks of equals, %.1f of a gap, on average\n",
               machines[i].name, blocks, more);
        /* In a state that outlasts a session equals are unequal: no session can know better. */
        if (machines[i].uneven > 0) {
            skip("its states outlast a session",
                 "equals called different in %.1f %%, a gap of 3 %% in %.1f %%", 100 * same, 100 * gap);
            continue;
        }
        ok(same <= 0.01,
           "A against A on a machine %s: called different in %.2f %% of 1000 sessions",
           machines[i].name, 100 * same);
        ok(gap >= 0.95, "a gap of 3 %%: called in %.1f %% of 500", 100 * gap);
    }
    struct machine later = machines[LASTING];
    double blocks, more;
    later.apart = 3;
    const double same = called(&later, 0, 1, 1000, &blocks),
                 gap = called(&later, 0.03, 0, 500, &more);
    ok(same <= 0.01, "blocks apart on a machine %s: A against A called different in %.2f %%",
       later.name, 100 * same);
    ok(gap >= 0.95, "and a gap of 3 %% called in %.1f %%, after %.1f blocks", 100 * gap, more);
    const double far = called(&machines[0], 0.5, 0, 100, &blocks);
    ok(far == 1 && blocks < 2.01, "a clear case ends as soon as it may, after %.1f blocks", blocks);
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
static struct verdict decide(const struct hone_blocks *b)
{
    struct verdict v = { .winner = -1 };
    struct hone_record rec[MOST];
    int n = 0;
    memset(rec, 0, sizeof rec);
    for (int i = 0; i < b->n; i++) {
        if (b->of[i].out) continue;
        hone_blocks_sample(b, i, &rec[n]);
        rec[n].id = i;
        snprintf(rec[n].kernel, sizeof rec[n].kernel, "k%02d", i);
        n++;
    }
    hone_db_rank(rec, n);
    v.winner = n ? (int)rec[0].id : -1;
    for (int i = 0; i < n; i++) v.tied[rec[i].id] = hone_record_ties(&rec[i], rec, n);
    return v;
}

static void check_sessions(void)
{
    enum { PROBLEMS = 50, SESSIONS = 4 };
    for (int k = 0; k < NMACHINES; k++) {
        struct machine m = machines[k];
        int agree = 0, pairs = 0;
        double worst = 0, sum = 0, blocks = 0;
        for (int p = 0; p < PROBLEMS; p++) {
            static struct hone_contender contender[MOST];
            struct verdict v[SESSIONS];
            double ms[MOST];
            int n = problem(p, ms);
            for (int s = 0; s < SESSIONS; s++) {
                struct hone_blocks b;
                session(&b, contender, &m, ms, n, -1, (uint64_t)(100 * p + s) * 977 + 13);
                v[s] = decide(&b);
                const double regret = ms[v[s].winner] - 1;
                sum += regret / (PROBLEMS * SESSIONS);
                worst = regret > worst ? regret : worst;
                blocks += (double)b.nblocks / (PROBLEMS * SESSIONS);
            }
            for (int s = 0; s < SESSIONS; s += 2, pairs++)
                agree += v[s].winner == v[s + 1].winner ||
                         (v[s].tied[v[s + 1].winner] && v[s + 1].tied[v[s].winner]);
        }
        ok(agree >= 0.95 * pairs,
           "two sessions on a machine %s: the same winner or tie on %.1f %% of %d",
           machines[k].name, 100.0 * agree / pairs, pairs);
        ok(sum <= 0.005 && worst <= 0.03,
           "what is chosen costs %.2f %% on average, %.2f %% at worst", 100 * sum, 100 * worst);
        printf("# %.1f blocks on average\n", blocks);
    }
}

/* ---- the incumbent, and what the sentinel sees ---- */

static int incumbent_stays(double gap, int trials)
{
    int n = 0;
    for (int i = 0; i < trials; i++) {
        static struct hone_contender contender[MOST];
        struct machine m = machines[NMACHINES - 1];
        struct hone_blocks b;
        const double ms[2] = { 1 + gap, 1 };
        session(&b, contender, &m, ms, 2, 0, 5000 + (uint64_t)i);
        n += decide(&b).winner == 0;
    }
    return n;
}

static void check_incumbent(void)
{
    const int equal = incumbent_stays(0, 200), worse = incumbent_stays(0.06, 200);
    ok(equal >= 198, "an incumbent that is as good stays: in %d of 200 races", equal);
    ok(worse <= 2, "one that is worse by 6 %% goes: it stays in %d of 200", worse);
}

static double drift_of(struct machine *m)
{
    static struct hone_racer racer[MOST];
    struct hone_race r = { .n = 2, .racer = racer, .window = window, .sentinel = sentinel, .ctx = m,
                           .seed = 4, .rounds = 31, .all = 1 };
    const double ms[2] = { 1, 1.2 };
    memset(racer, 0, sizeof racer);
    m->seed = 3;
    m->at = 0;
    m->now = 0;
    memcpy(m->ms, ms, sizeof ms);
    for (int i = 0; i < 2; i++) racer[i].kernel = &kernels[i];
    renew(m);
    hone_race_run(&r);
    return r.drift;
}

static void check_drift(void)
{
    struct machine m = machines[0];
    double drift = drift_of(&m);
    ok(fabs(drift) < 0.02, "a steady machine: no drift (%.3f)", drift);
    m.drift = 10;
    drift = drift_of(&m);
    ok(drift > 0.05, "one that slows down is seen (%.3f)", drift);
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
