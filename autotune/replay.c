/* A search on a recorded space: what a machine would have said is read from the recording, and made
 * as noisy as the noise says. */
#include "autotune/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOWS = 2 };   /* of a trial, whose time is the least of them */

/* ---- noise ---- */

int hone_noise_parse(const char *text, struct hone_noise *noise)
{
    static const struct { const char *name; struct hone_noise noise; } known[] = {
        { "none", { .jitter = 0 } },
        { "quiet", { .jitter = 0.02 } },
        { "busy", { .jitter = 0.05, .drift = 0.1, .states = 0.25, .outliers = 0.1, .quantum = 0.01 } },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, text)) { *noise = known[i].noise; return HONE_OK; }
    memset(noise, 0, sizeof *noise);
    const struct { const char *name; double *value; } part[] = {
        { "jitter=", &noise->jitter },     { "drift=", &noise->drift },
        { "states=", &noise->states },     { "outliers=", &noise->outliers },
        { "quantum=", &noise->quantum },
    };
    for (const char *s = text; *s;) {
        char *end = NULL;
        for (size_t i = 0; i < sizeof part / sizeof *part; i++)
            if (!strncmp(s, part[i].name, strlen(part[i].name)))
                *part[i].value = strtod(s + strlen(part[i].name), &end);
        if (!end || (*end && *end != ',') || end[-1] == '=')
            return hone_fail(HONE_EPARSE, "noise '%s': expected none, quiet, busy, or a list such as "
                             "jitter=0.02,drift=0.1,states=0.25,outliers=0.05,quantum=0.01", text);
        s = end + (*end == ',');
    }
    return HONE_OK;
}

struct machine {
    struct hone_noise noise;
    double best;
    uint64_t seed, drawn;
    int window, slow;            /* slow: windows left in the second state */
};

static double unit(struct machine *m) { return hone_random_unit(m->seed, m->drawn++); }

static double window_of(struct machine *m, double ms)
{
    const struct hone_noise *q = &m->noise;
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += unit(m);   /* nearly normal */
    double t = ms * exp(q->jitter * sum) * (1 + q->drift * 0.5 * (1 + sin(0.07 * m->window++)));
    if (!m->slow && unit(m) < 0.05) m->slow = 1 + (int)(20 * unit(m));
    if (m->slow) { t *= 1 + q->states; m->slow--; }
    if (unit(m) < q->outliers) t *= 2 + 3 * unit(m);
    if (q->quantum > 0) t = q->quantum * m->best * fmax(1, round(t / (q->quantum * m->best)));
    return t;
}

static double trial(struct machine *m, double ms)
{
    double least = 0;
    for (int i = 0; i < WINDOWS; i++) {
        double t = window_of(m, ms);
        if (!i || t < least) least = t;
    }
    return least;
}

/* ---- replay ---- */

/* Hides the guesses: candidates of each kernel in any order.  place[i]: where i was. */
static int shuffle(const struct hone_pool *from, struct hone_pool *to, int *place, uint64_t seed)
{
    *to = *from;
    to->cost = from->cost ? malloc((size_t)from->n * sizeof *to->cost) : NULL;
    to->at = malloc((size_t)from->n * sizeof *to->at);
    if (!to->at || (from->cost && !to->cost))
        return hone_fail(HONE_ENOMEM, "%d candidates", from->n);
    for (int i = 0; i < from->n; i++) place[i] = i;
    for (int k = 0; k < from->nkernels; k++) {
        int *at = place + from->kernel[k].first;
        for (int i = from->kernel[k].n - 1; i > 0; i--) {
            int j = (int)(hone_random(seed, (uint64_t)i) % (uint64_t)(i + 1)), was = at[i];
            at[i] = at[j];
            at[j] = was;
        }
    }
    for (int i = 0; i < from->n; i++) to->at[i] = from->at[place[i]];
    for (int i = 0; to->cost && i < from->n; i++) to->cost[i] = from->cost[place[i]];
    return HONE_OK;
}

static int follow(struct hone_search *s, const struct hone_replay *x, const int *place,
                  struct hone_reach *reach)
{
    const struct hone_recording *r = x->recording;
    const double *ms = r->ms;
    struct machine m = { .noise = x->noise, .seed = hone_random(x->seed, 12345) };
    int n = 0, i, err = HONE_OK;
    for (int j = 0; j < s->pool->n; j++)
        if (ms[j] > 0 && (m.best <= 0 || ms[j] < m.best)) m.best = ms[j];
    *reach = (struct hone_reach){ .to90 = 0 };
    while (!err && !reach->to95 && (i = hone_search_ask(s)) >= 0) {
        double true_ms = ms[place[i]];
        n++;
        if (true_ms > 0 && 0.90 * true_ms <= m.best && !reach->to90) reach->to90 = n;
        if (true_ms > 0 && 0.95 * true_ms <= m.best) reach->to95 = n;
        hone_search_tell(s, i, true_ms > 0 ? trial(&m, true_ms) : 0);
        const int curious = x->uncounted || !r->nwhat ? -1 : hone_search_curious(s);
        if (curious < 0) continue;
        err = hone_search_count(s, curious, r->count + (size_t)place[curious] * (size_t)r->nwhat,
                                r->nwhat);
        reach->ncounted++;
        n++;
    }
    return err;
}

/* What a session on another space would have counted: a few candidates, drawn evenly. */
static int teach(struct hone_search *s, const struct hone_recording *r,
                 const struct hone_recording *from, const int *place, int lesson, uint64_t seed)
{
    enum { DRAWN = HONE_COUNTED };
    int err = HONE_OK;
    for (int i = 0; !err && from->nwhat && from->nwhat == r->nwhat && i < DRAWN; i++) {
        const int j = (int)(hone_random(seed, (uint64_t)(1000 * lesson + i)) % (uint64_t)from->pool.n);
        const struct hone_choice *a = &from->pool.at[j];
        const struct hone_pool_kernel *k = &from->pool.kernel[a->kernel];
        int at = hone_pool_find(&r->pool, k->name, a->v, k->nparams), to = 0;
        while (at >= 0 && to < s->pool->n && place[to] != at) to++;
        if (at >= 0)
            err = hone_search_count_taught(s, to, lesson, from->count + (size_t)j * (size_t)from->nwhat,
                                           from->nwhat);
    }
    return err;
}

int hone_replay_run(const struct hone_replay *x, struct hone_reach *reach)
{
    const struct hone_pool *pool = &x->recording->pool;
    struct hone_pool hidden = *pool;
    struct hone_search s = { 0 };
    int *place = calloc((size_t)pool->n, sizeof *place);
    double *prior = calloc((size_t)pool->n, sizeof *prior);
    int err = place && prior ? HONE_OK : hone_fail(HONE_ENOMEM, "%d candidates", pool->n);
    for (int i = 0; !err && i < pool->n; i++) place[i] = i;
    if (!err && x->blind) err = shuffle(pool, &hidden, place, x->seed);
    for (int i = 0; !err && x->prior && i < pool->n; i++) prior[i] = x->prior[place[i]];
    if (!err) err = hone_search_open(&s, x->searcher, &hidden, x->prior ? prior : NULL, x->seed);
    for (int k = 0; !err && k < x->nteachers && !x->uncounted; k++)
        err = teach(&s, x->recording, x->teacher[k], place, k + 1, x->seed);
    if (!err) err = follow(&s, x, place, reach);
    hone_search_close(&s);
    if (hidden.at != pool->at) {
        free(hidden.at);
        free(hidden.cost);
    }
    free(place);
    free(prior);
    return err;
}
