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
    if (!to->at || (from->cost && !to->cost)) return hone_fail(HONE_ENOMEM, "%d candidates", from->n);
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

static void follow(struct hone_search *s, const struct hone_replay *x, const int *place,
                   struct hone_reach *reach)
{
    const double *ms = x->recording->ms;
    struct machine m = { .noise = x->noise, .seed = hone_random(x->seed, 12345) };
    int n = 0, i;
    for (int j = 0; j < s->pool->n; j++)
        if (ms[j] > 0 && (m.best <= 0 || ms[j] < m.best)) m.best = ms[j];
    *reach = (struct hone_reach){ 0, 0 };
    while (!reach->to95 && (i = hone_search_ask(s)) >= 0) {
        double true_ms = ms[place[i]];
        n++;
        if (true_ms > 0 && 0.90 * true_ms <= m.best && !reach->to90) reach->to90 = n;
        if (true_ms > 0 && 0.95 * true_ms <= m.best) reach->to95 = n;
        hone_search_tell(s, i, true_ms > 0 ? trial(&m, true_ms) : 0);
    }
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
    if (!err) follow(&s, x, place, reach);
    hone_search_close(&s);
    if (hidden.at != pool->at) {
        free(hidden.at);
        free(hidden.cost);
    }
    free(place);
    free(prior);
    return err;
}

/* ---- a space that nobody recorded ---- */

static double made_up(uint64_t seed, int kernel, const int v[], int nparams)
{
    double log_ms = 0.35 * hone_random_unit(seed, (uint64_t)kernel);
    for (int p = 0; p < nparams; p++) {
        uint64_t of = hone_random(seed, (uint64_t)(100 + 16 * kernel + p));
        double bottom = 6 * hone_random_unit(of, 0), depth = 0.06 * hone_random_unit(of, 1);
        log_ms += depth * (v[p] - bottom) * (v[p] - bottom);
        /* A cliff, as where a block no longer fits a cache. */
        if (v[p] * v[(p + 1) % nparams] > 8 + 30 * hone_random_unit(of, 2)) log_ms += 0.4;
    }
    for (int p = 0; p < nparams; p++) seed = hone_random(seed, (uint64_t)(v[p] + 7 * kernel));
    return exp(log_ms + 0.05 * hone_random_unit(seed, 9));
}

int hone_recording_synthetic(struct hone_recording *r, uint64_t seed)
{
    enum { KERNELS = 4, PARAMS = 4, VALUES = 6 };
    int err = HONE_OK;
    memset(r, 0, sizeof *r);
    snprintf(r->problem, sizeof r->problem, "synthetic:%llu", (unsigned long long)seed);
    snprintf(r->device, sizeof r->device, "synthetic");
    snprintf(r->cache, sizeof r->cache, "warm");
    for (int k = 0; !err && k < KERNELS; k++) {
        struct hone_pool_kernel *q = hone_pool_kernel_add(&r->pool);
        if (!q) return hone_fail(HONE_ENOMEM, "%d kernels", k);
        snprintf(q->name, sizeof q->name, "made_up%d", k);
        q->isa = HONE_ISA_avx2;
        q->nparams = PARAMS;
        for (int p = 0; p < PARAMS; p++) snprintf(q->param[p], sizeof q->param[p], "p%d", p);
        for (int i = 0; !err && i < VALUES * VALUES * VALUES * VALUES; i += 3) {
            int v[HONE_MAX_PARAMS] = { 1 + i % VALUES, 1 + i / VALUES % VALUES,
                                       1 + i / (VALUES * VALUES) % VALUES,
                                       1 + i / (VALUES * VALUES * VALUES) };
            err = hone_pool_add(&r->pool, v);
        }
    }
    if (!err) r->ms = calloc((size_t)r->pool.n, sizeof *r->ms);
    if (!err && !r->ms) err = hone_fail(HONE_ENOMEM, "%d candidates", r->pool.n);
    for (int i = 0; !err && i < r->pool.n; i++)
        r->ms[i] = made_up(seed, r->pool.at[i].kernel, r->pool.at[i].v, PARAMS);
    if (err) hone_recording_close(r);
    return err;
}
