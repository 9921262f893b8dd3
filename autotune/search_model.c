/* The model-guided search, and the default: a Gaussian process over the logarithm of time says of
 * every candidate what it should take and how sure that is; tried is who should improve on the best
 * the most (expected improvement: Jones, Schonlau, Welch 1998).
 *
 * Candidates are alike by kernel, and within a kernel by how many steps of their values they are
 * apart: a sum of effects of single parameters and of all of them together.  What is expected
 * before anything was tried comes from what other problems taught (s->prior), or else from this:
 * wider vectors are faster, and a kernel's guess is good.
 *
 * Several such models stand side by side, which start from nothing, from what was taught, or from
 * an analytic model of cost (s->pool->cost), and with effects that reach far or near.  Once some
 * were counted (s->counts) there are two more, in which candidates are also alike that should count
 * alike, be they of different kernels.  Each is weighed by how likely it made what was seen (its
 * evidence), so that knowledge that misleads is dropped after a few trials: that is the guard
 * against bad transfer.
 *
 * A trial costs O(candidates * trials): the Cholesky factor grows by a row, and the means and
 * variances of all candidates are kept (Rasmussen and Williams 2006, chapters 2 and 5). */
#include "autotune/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNTAUGHT, TAUGHT, COST };   /* what a model starts from */
enum { MODELS = 8, TRIALS = 400, STEPS = 16 };

/* odds: before any trial; counted: how far counters reach, in how much they differ; 0: without. */
static const struct { int from; double reach, odds, counted; } kinds[MODELS] = {
    { UNTAUGHT, 2.0, 1, 0 }, { UNTAUGHT, 6.0, 1, 0 }, { TAUGHT, 2.0, 3, 0 }, { TAUGHT, 6.0, 3, 0 },
    { COST, 2.0, 1, 0 },     { COST, 6.0, 1, 0 },     { TAUGHT, 6.0, 2, 1 }, { TAUGHT, 6.0, 2, 3 }
};

/* Shares of variance: kernels, families of kernels, effects of single parameters, of all together;
 * what two runs of one candidate differ by. */
static const double KERNEL = 0.25, FAMILY = 0.10, SINGLE = 0.25, JOINT = 0.40, NOISE = 0.003;

/* Of the values of a parameter, about. */
static const double MIDDLE = 2.5;

/* With counters: what of all that is said by them. */
static const double COUNTED = 0.5;

/* Prior variance of the logarithm of time, and of its level. */
static const double SPREAD = 0.35, LEVEL = 4;

struct model {
    double like[STEPS];       /* of values so many steps apart */
    double weight;            /* of the evidence of all models */
    double *expect;           /* (pool.n) before any trial */
    double *z, *b;            /* (TRIALS) whitened observations, and ones */
    double *mean_z, *mean_b, *explained;   /* (pool.n) */
    float *v;                 /* (TRIALS, pool.n) rows of the factor's solutions */
    double log_det;
};

struct state {
    struct model model[MODELS];
    signed char (*step)[HONE_MAX_PARAMS];   /* (pool.n) ranks of values among the kernel's */
    int *family;                            /* (pool.nkernels) */
    double *row;                            /* (pool.n) */
    int counted;                            /* 1: what candidates count is expected */
    double scale;                           /* first time: what logarithms are relative to */
    int n, at[TRIALS];
    double y[TRIALS];
};

/* ---- likeness ---- */

static int rank_of(const struct hone_pool *pool, const struct hone_pool_kernel *k, int i, int p)
{
    unsigned char seen[STEPS] = { 0 };
    int values[STEPS], n = 0, rank = 0;
    (void)seen;
    for (int j = k->first; j < k->first + k->n; j++) {
        int v = pool->at[j].v[p], known = v >= pool->at[i].v[p];
        for (int m = 0; m < n && !known; m++) known = values[m] == v;
        if (!known && n < STEPS) { values[n++] = v; rank++; }
    }
    return rank < STEPS ? rank : STEPS - 1;
}

/* "cpu_direct" of "cpu_direct_avx2". */
static size_t family_length(const char *name)
{
    const char *end = strrchr(name, '_');
    return end ? (size_t)(end - name) : strlen(name);
}

static void describe(struct state *t, const struct hone_pool *pool)
{
    for (int k = 0; k < pool->nkernels; k++) {
        const struct hone_pool_kernel *q = &pool->kernel[k];
        size_t len = family_length(q->name);
        t->family[k] = k;
        for (int j = 0; j < k; j++)
            if (family_length(pool->kernel[j].name) == len &&
                !strncmp(pool->kernel[j].name, q->name, len)) { t->family[k] = j; break; }
        for (int i = q->first; i < q->first + q->n; i++)
            for (int p = 0; p < q->nparams; p++)
                t->step[i][p] = (signed char)rank_of(pool, q, i, p);
    }
}

/* Of order 3/2. */
static double matern(double apart, double reach)
{
    double x = sqrt(3) * apart / reach;
    return (1 + x) * exp(-x);
}

static double by_values(const struct hone_search *s, const struct model *m, int i, int j)
{
    const struct state *t = s->state;
    int a = s->pool->at[i].kernel, b = s->pool->at[j].kernel, n = s->pool->kernel[a].nparams;
    double sum = 0, product = 1;
    if (t->family[a] != t->family[b]) return 0;
    if (a != b) return FAMILY;
    for (int p = 0; p < n; p++) {
        int apart = t->step[i][p] - t->step[j][p];
        double like = m->like[apart < 0 ? -apart : apart];
        sum += like;
        product *= like;
    }
    return KERNEL + FAMILY + SINGLE * (n ? sum / n : 1) + JOINT * product;
}

static double alike(const struct hone_search *s, const struct model *m, int i, int j)
{
    const struct state *t = s->state;
    const double own = by_values(s, m, i, j), reach = kinds[m - t->model].counted;
    if (!(reach > 0)) return own;
    const double apart = i == j ? 0 : hone_counts_apart(&s->counts, s->pool, i, j);
    return (1 - COUNTED) * own + (apart < 0 ? 0 : COUNTED * matern(apart, reach));
}

/* What is counted is mostly a product of one effect of each parameter, often of a power of it. */
static double count_alike(const void *ctx, int i, int j)
{
    const struct hone_search *s = ctx;
    const struct state *t = s->state;
    const int n = s->pool->kernel[s->pool->at[i].kernel].nparams;
    double sum = 0, product = 1, line = 0;
    for (int p = 0; p < n; p++) {
        const double like = matern(abs(t->step[i][p] - t->step[j][p]), 6);
        sum += like;
        product *= like;
        line += (t->step[i][p] - MIDDLE) * (t->step[j][p] - MIDDLE);
    }
    return n ? 0.5 * sum / n + 0.1 * product + 0.2 * line / n : 1;
}

/* ---- what is expected before any trial ---- */

static double of_kernel(const struct hone_search *s, int i)
{
    static const double wide[HONE_NISAS] = { [HONE_ISA_plain] = 1.0, [HONE_ISA_avx2] = 0.3 };
    const struct hone_pool_kernel *k = &s->pool->kernel[s->pool->at[i].kernel];
    return (k->build == HONE_LIB ? 0 : wide[k->isa < HONE_NISAS ? k->isa : 0]) +
           0.01 * (k - s->pool->kernel);
}

static double untaught(const struct hone_search *s, int i)
{
    const struct state *t = s->state;
    const struct hone_pool_kernel *k = &s->pool->kernel[s->pool->at[i].kernel];
    double steps = 0;
    for (int p = 0; p < k->nparams; p++)
        steps += fabs((double)t->step[i][p] - t->step[k->first][p]);
    return of_kernel(s, i) + 0.2 * (1 - exp(-steps / 3));
}

static void expect(const struct hone_search *s, struct model *m, int from)
{
    for (int i = 0; i < s->pool->n; i++) {
        double own = untaught(s, i);
        if (from == TAUGHT && s->prior && isfinite(s->prior[i])) own = s->prior[i];
        if (from == COST && isfinite(s->pool->cost[i])) own = of_kernel(s, i) + s->pool->cost[i];
        m->expect[i] = own;
    }
}

/* ---- models ---- */

static int open_model(struct hone_search *s, struct model *m, int kind)
{
    size_t n = (size_t)s->pool->n;
    int room = s->pool->n < TRIALS ? s->pool->n : TRIALS;
    for (int i = 0; i < STEPS; i++) m->like[i] = matern(i, kinds[kind].reach);
    double *mem = m->expect = calloc(4 * n + 2 * (size_t)room, sizeof *mem);
    m->v = calloc(n * (size_t)room, sizeof *m->v);
    if (!mem || !m->v) return hone_fail(HONE_ENOMEM, "model of %d candidates", s->pool->n);
    m->mean_z = mem + n;
    m->mean_b = mem + 2 * n;
    m->explained = mem + 3 * n;
    m->z = mem + 4 * n;
    m->b = m->z + room;
    expect(s, m, kinds[kind].from);
    return HONE_OK;
}

/* Is there what models of this kind start from? */
static int stands(const struct hone_search *s, int kind)
{
    if (kinds[kind].counted > 0) return ((const struct state *)s->state)->counted;
    return kinds[kind].from == UNTAUGHT || (kinds[kind].from == TAUGHT && s->prior) ||
           (kinds[kind].from == COST && s->pool->cost);
}

/* Observation n: a row of the factor, and what it says of every candidate. */
static void observe(struct hone_search *s, struct model *m, int n, int i, double y)
{
    struct state *t = s->state;
    int all = s->pool->n;
    double *row = t->row, own = alike(s, m, i, i) + NOISE, z = y - m->expect[i], b = 1;
    for (int j = 0; j < all; j++) row[j] = alike(s, m, i, j);
    for (int k = 0; k < n; k++) {
        const float *v = m->v + (size_t)k * (size_t)all;
        double c = v[i];
        own -= c * c;
        z -= c * m->z[k];
        b -= c * m->b[k];
        for (int j = 0; j < all; j++) row[j] -= c * (double)v[j];
    }
    double d = sqrt(own > NOISE ? own : NOISE);
    float *v = m->v + (size_t)n * (size_t)all;
    m->z[n] = z / d;
    m->b[n] = b / d;
    m->log_det += log(d);
    for (int j = 0; j < all; j++) {
        double x = row[j] / d;
        v[j] = (float)x;
        m->mean_z[j] += x * m->z[n];
        m->mean_b[j] += x * m->b[n];
        m->explained[j] += x * x;
    }
}

struct level { double mean, spread; };   /* of the constant; variance of what the kernel scales */

static struct level level_of(const struct model *m, int n)
{
    double bb = 1 / LEVEL, bz = 0, rest = 0;
    for (int k = 0; m->b && k < n; k++) { bb += m->b[k] * m->b[k]; bz += m->b[k] * m->z[k]; }
    struct level l = { .mean = bz / bb };
    for (int k = 0; m->b && k < n; k++) {
        double r = m->z[k] - l.mean * m->b[k];
        rest += r * r;
    }
    /* A prior worth four observations keeps the first few from saying too much. */
    l.spread = (rest + 4 * SPREAD * SPREAD) / (n + 4);
    return l;
}

static void weigh(struct hone_search *s)
{
    struct state *t = s->state;
    double evidence[MODELS], most = -1e300, sum = 0;
    for (int m = 0; m < MODELS; m++) {
        struct level l = level_of(&t->model[m], t->n);
        evidence[m] = !stands(s, m)
                          ? -1e300
                          : log(kinds[m].odds) - 0.5 * (t->n + 4) * log(l.spread) -
                                t->model[m].log_det;
        if (evidence[m] > most) most = evidence[m];
    }
    for (int m = 0; m < MODELS; m++) sum += t->model[m].weight = exp(evidence[m] - most);
    for (int m = 0; m < MODELS; m++) t->model[m].weight /= sum;
}

/* ---- ask and tell ---- */

static double improvement(const struct model *m, struct level l, int i, double best)
{
    double mean = m->expect[i] + l.mean + m->mean_z[i] - l.mean * m->mean_b[i];
    double sd = sqrt(l.spread * fmax(1.0 - m->explained[i], 1e-6));
    double u = (best - mean) / sd;
    return sd * (u * 0.5 * erfc(-u * M_SQRT1_2) + exp(-0.5 * u * u) * 0.3989422804014327);
}

/* What everybody should count has changed: models by counters begin anew with what was seen. */
static int count(struct hone_search *s)
{
    struct state *t = s->state;
    int known = 0, err = hone_counts_expect(&s->counts, s->pool, count_alike, s);
    for (int q = 0; !err && q < s->pool->nkernels; q++) known |= s->counts.known[q];
    t->counted = known;
    for (int k = 0; !err && known && k < MODELS; k++) {
        struct model *m = &t->model[k];
        if (!(kinds[k].counted > 0)) continue;
        free(m->expect);
        free(m->v);
        *m = (struct model){ .weight = 0 };
        err = open_model(s, m, k);
        for (int n = 0; !err && n < t->n; n++) observe(s, m, n, t->at[n], t->y[n]);
    }
    if (!err) weigh(s);
    return err;
}

/* The first trial is what would run untuned, whatever was taught: it was chosen with care, and it
 * is what all else is measured by. */
static int first(const struct hone_search *s)
{
    const struct state *t = s->state;
    const double *expect = t->model[0].expect;
    int best = -1;
    for (int i = 0; i < s->pool->n; i++)
        if (!s->ms[i] && (best < 0 || expect[i] < expect[best])) best = i;
    return best;
}

static int ask(struct hone_search *s)
{
    struct state *t = s->state;
    struct level l[MODELS];
    double best = 1e300, most = -1;
    int next = -1;
    for (int k = 0; k < t->n; k++)
        if (t->y[k] < best) best = t->y[k];
    if (s->counts.nnotes && !s->counts.place) {   /* that were taught */
        int err = count(s);
        if (err) return err;
    }
    if (!t->n || s->best < 0) return first(s);
    for (int m = 0; m < MODELS; m++) l[m] = level_of(&t->model[m], t->n);
    for (int i = 0; i < s->pool->n; i++) {
        double gain = 0;
        if (s->ms[i]) continue;
        for (int m = 0; m < MODELS; m++)
            if (t->model[m].weight > 1e-3)
                gain += t->model[m].weight * improvement(&t->model[m], l[m], i, best);
        if (gain > most) { most = gain; next = i; }
    }
    s->gain = most;
    return next;
}

/* What the models were before they believed anything. */
struct before {
    int n;
    double gain, log_det[MODELS], weight[MODELS];
    double *kept;              /* (MODELS, 3 * pool.n) */
};

static int remember(const struct hone_search *s, struct before *b)
{
    const struct state *t = s->state;
    const size_t n = 3 * (size_t)s->pool->n;
    *b =
        (struct before){ .n = t->n, .gain = s->gain, .kept = malloc(MODELS * n * sizeof *b->kept) };
    for (int m = 0; b->kept && m < MODELS; m++) {
        b->log_det[m] = t->model[m].log_det;
        b->weight[m] = t->model[m].weight;
        if (stands(s, m)) memcpy(b->kept + (size_t)m * n, t->model[m].mean_z, n * sizeof *b->kept);
    }
    return b->kept ? HONE_OK : hone_fail(HONE_ENOMEM, "%d candidates", s->pool->n);
}

static void restore(struct hone_search *s, struct before *b, const int believed[], int nbelieved)
{
    struct state *t = s->state;
    const size_t n = 3 * (size_t)s->pool->n;
    for (int m = 0; m < MODELS; m++) {
        t->model[m].log_det = b->log_det[m];
        t->model[m].weight = b->weight[m];
        if (stands(s, m)) memcpy(t->model[m].mean_z, b->kept + (size_t)m * n, n * sizeof *b->kept);
    }
    for (int k = 0; k < nbelieved; k++) s->ms[believed[k]] = 0;
    t->n = b->n;
    s->gain = b->gain;
    free(b->kept);
}

/* Candidate i takes what is expected of it ("kriging believer": Ginsbourger et al. 2010). */
static void believe(struct hone_search *s, int i)
{
    struct state *t = s->state;
    double y = 0;
    for (int m = 0; m < MODELS; m++) {
        const struct model *q = &t->model[m];
        const struct level l = level_of(q, t->n);
        if (q->weight > 1e-3)
            y += q->weight * (q->expect[i] + l.mean + q->mean_z[i] - l.mean * q->mean_b[i]);
    }
    for (int m = 0; m < MODELS; m++)
        if (stands(s, m)) observe(s, &t->model[m], t->n, i, y);
    t->y[t->n] = y;
    t->at[t->n++] = i;
    s->ms[i] = t->scale * exp(y);
}

static int batch(struct hone_search *s, int n, int next[])
{
    const struct state *t = s->state;
    struct before b;
    int found = 1, err;
    if ((next[0] = ask(s)) < 0) return next[0];
    if (!t->n || s->best < 0 || t->n + n > TRIALS) return 1;
    if ((err = remember(s, &b))) return err;
    for (; found < n; found++) {
        believe(s, next[found - 1]);
        if ((next[found] = ask(s)) < 0) break;
    }
    restore(s, &b, next, found < n ? found : n - 1);
    return found;
}

/* What is very slow says little about who is fast, and must not set the scale. */
static double compressed(double y) { return y < 0.7 ? y : 0.7 + 0.3 * (y - 0.7); }

static void tell(struct hone_search *s, int i)
{
    struct state *t = s->state;
    double y = 0;
    if (t->n == TRIALS) return;
    if (s->ms[i] > 0) {
        if (t->scale <= 0) t->scale = s->ms[i];
        y = compressed(log(s->ms[i] / t->scale));
    } else {
        /* Does not work: as bad as the worst. */
        for (int k = 0; k < t->n; k++)
            if (t->y[k] > y) y = t->y[k];
    }
    for (int m = 0; m < MODELS; m++)
        if (stands(s, m)) observe(s, &t->model[m], t->n, i, y);
    t->y[t->n] = y;
    t->at[t->n++] = i;
    weigh(s);
}

static void close_state(struct hone_search *s)
{
    struct state *t = s->state;
    for (int m = 0; m < MODELS; m++) {
        free(t->model[m].expect);
        free(t->model[m].v);
    }
    free(t->step);
    free(t->family);
    free(t->row);
    free(t);
}

static int open_state(struct hone_search *s)
{
    struct state *t = s->state = calloc(1, sizeof *t);
    if (!t) return hone_fail(HONE_ENOMEM, "model");
    t->step = calloc((size_t)s->pool->n + 1, sizeof *t->step);
    t->family = calloc((size_t)s->pool->nkernels + 1, sizeof *t->family);
    t->row = calloc((size_t)s->pool->n + 1, sizeof *t->row);
    if (!t->step || !t->family || !t->row) return hone_fail(HONE_ENOMEM, "model");
    describe(t, s->pool);
    int err = HONE_OK;
    for (int m = 0; !err && m < MODELS; m++)
        if (stands(s, m)) err = open_model(s, &t->model[m], m);
    weigh(s);
    return err;
}

const struct hone_searcher hone_searcher_model = {
    .name = "model",
    .about = "a model of all candidates, which starts from what other problems taught",
    .open = open_state, .close = close_state, .ask = ask, .tell = tell,
    .batch = batch, .count = count
};
