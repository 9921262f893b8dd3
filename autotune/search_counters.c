/* Counters as a searcher uses them: a few candidates were counted, here or on other problems, and
 * of all others what they would count is expected from how alike their parameters are.  Counters
 * say why a candidate takes its time.  They change with parameters in a more regular way than the
 * time, which is that of whichever part of the machine has the most to do, and in much the same way
 * on other problems and devices (Filipovic et al. 2022: from parameters to counters, and from
 * counters to time). */
#include "autotune/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double NOISE = 0.005;     /* of a count, in units of what likeness says */
static const double LEVEL = 4;         /* likewise how much lessons differ as a whole */
static const double SLOW = 1.5;        /* who takes so much longer than the best explains little */
static const double SAME = 0.02;       /* counters that differ by less say nothing */

/* Of a kernel: so many notes of this search, or so many taught, allow to expect; notes heard. */
enum { OWN = 4, TAUGHT = 8, HEARD = 96 };

enum { EVERY = 8 };                    /* trials to one that is counted */

/* ---- whom to count ---- */

/* The largest share of parameters in which i equals one that was counted. */
static double told(const struct hone_search *s, int i)
{
    const struct hone_counts *c = &s->counts;
    const int n = s->pool->kernel[s->pool->at[i].kernel].nparams;
    double most = 0;
    for (int k = 0; k < c->nnotes; k++) {
        const int j = c->note[k].at;
        if (c->note[k].lesson || s->pool->at[i].kernel != s->pool->at[j].kernel) continue;
        if (i == j) return 2;
        most = fmax(most, 1 - (double)hone_pool_differ(s->pool, i, j) / (n + 1));
    }
    return most;
}

int hone_search_curious(const struct hone_search *s)
{
    const struct hone_counts *c = &s->counts;
    double least = 1;
    int next = -1;
    if (!s->searcher->count || s->best < 0) return -1;
    if (c->n == HONE_COUNTED || EVERY * (c->n + 1) > s->ntried) return -1;
    if (told(s, s->best) <= 1) return s->best;
    for (int i = 0; i < s->pool->n; i++) {
        if (!(s->ms[i] > 0) || s->ms[i] > SLOW * s->ms[s->best]) continue;
        const double t = told(s, i);
        if (t > least || (t == least && (next < 0 || s->ms[i] >= s->ms[next]))) continue;
        least = t;
        next = i;
    }
    return next;
}

/* ---- what was counted ---- */

static int note_down(struct hone_search *s, int i, int lesson, const double value[], int nwhat)
{
    struct hone_counts *c = &s->counts;
    if (nwhat > HONE_COUNTS) nwhat = HONE_COUNTS;
    if (c->nnotes && nwhat != c->nwhat) return hone_fail(HONE_EINVAL, "other counters than before");
    if (!(c->nnotes & (c->nnotes - 1))) {
        const size_t room = c->nnotes ? 2 * (size_t)c->nnotes : 1;
        struct hone_count_note *more = realloc(c->note, room * sizeof *more);
        if (!more) return hone_fail(HONE_ENOMEM, "%zu counted candidates", room);
        c->note = more;
    }
    struct hone_count_note *to = &c->note[c->nnotes++];
    *to = (struct hone_count_note){ .at = i, .lesson = lesson };
    c->nwhat = nwhat;
    for (int w = 0; w < nwhat; w++)
        to->log[w] = isfinite(value[w]) ? log1p(fmax(value[w], 0)) : NAN;
    return HONE_OK;
}

int hone_search_count(struct hone_search *s, int i, const double value[], int nwhat)
{
    if (!s->searcher->count || nwhat < 1) return HONE_OK;
    int err = note_down(s, i, 0, value, nwhat);
    if (err) return err;
    s->counts.n++;
    return s->searcher->count(s);
}

int hone_search_count_taught(struct hone_search *s, int i, int lesson, const double value[],
                             int nwhat)
{
    return s->searcher->count && nwhat > 0 ? note_down(s, i, lesson, value, nwhat) : HONE_OK;
}

/* ---- what others should count ---- */

/* What is known of one kernel, and what that makes of all its candidates. */
struct guess {
    int n, nown, at[HEARD], lesson[HEARD];
    double y[HEARD][HONE_COUNTS];   /* counts over the lesson's mean; solved: weights */
    double a[HEARD][HEARD];         /* likenesses; factored in place */
    double own[HONE_COUNTS];        /* this search's mean */
};

/* Notes of kernel q, this search's first. */
static void collect(struct guess *g, const struct hone_counts *c, const struct hone_pool *pool,
                    int q)
{
    g->n = g->nown = 0;
    for (int own = 1; own >= 0; own--)
        for (int k = 0; k < c->nnotes && g->n < HEARD; k++) {
            const struct hone_count_note *x = &c->note[k];
            if ((x->lesson == 0) != own || pool->at[x->at].kernel != q) continue;
            g->at[g->n] = x->at;
            g->lesson[g->n] = x->lesson;
            memcpy(g->y[g->n++], x->log, sizeof x->log);
            g->nown += own;
        }
}

static double mean_of(const struct guess *g, int first, int w, int all)
{
    double sum = 0;
    int n = 0;
    for (int k = first; k < g->n; k++) {
        if ((!all && g->lesson[k] != g->lesson[first]) || !isfinite(g->y[k][w])) continue;
        sum += g->y[k][w];
        n++;
    }
    return n ? sum / n : 0;
}

/* Of a kernel that this search has not counted yet the level is that of the others. */
static void subtract_means(struct guess *g, int nwhat)
{
    for (int w = 0; w < nwhat; w++) g->own[w] = mean_of(g, 0, w, !g->nown);
    for (int first = 0; first < g->n; first++) {
        int seen = 0;
        for (int k = 0; k < first; k++) seen |= g->lesson[k] == g->lesson[first];
        for (int w = 0; !seen && w < nwhat; w++) {
            const double mean = mean_of(g, first, w, 0);
            for (int k = first; k < g->n; k++)
                if (g->lesson[k] == g->lesson[first])
                    g->y[k][w] = isfinite(g->y[k][w]) ? g->y[k][w] - mean : 0;
        }
    }
}

/* Cholesky, and the weights of notes for each counter. */
static void solve(struct guess *g, int nwhat)
{
    const int n = g->n;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = g->a[i][j];
            for (int k = 0; k < j; k++) sum -= g->a[i][k] * g->a[j][k];
            g->a[i][j] = i == j ? sqrt(fmax(sum, NOISE)) : sum / g->a[j][j];
        }
        for (int w = 0; w < nwhat; w++) {
            for (int k = 0; k < i; k++) g->y[i][w] -= g->a[i][k] * g->y[k][w];
            g->y[i][w] /= g->a[i][i];
        }
    }
    for (int i = n - 1; i >= 0; i--)
        for (int w = 0; w < nwhat; w++) {
            for (int k = i + 1; k < n; k++) g->y[i][w] -= g->a[k][i] * g->y[k][w];
            g->y[i][w] /= g->a[i][i];
        }
}

static void expect_kernel(struct hone_counts *c, const struct hone_pool *pool, int q,
                          hone_alike_fn *alike, const void *ctx, struct guess *g)
{
    const struct hone_pool_kernel *k = &pool->kernel[q];
    collect(g, c, pool, q);
    c->known[q] = g->nown >= OWN || g->n - g->nown >= TAUGHT;
    if (!c->known[q]) return;
    subtract_means(g, c->nwhat);
    for (int i = 0; i < g->n; i++) {
        for (int j = 0; j <= i; j++)
            g->a[i][j] = alike(ctx, g->at[i], g->at[j]) + LEVEL * (g->lesson[i] == g->lesson[j]);
        g->a[i][i] += NOISE;
    }
    solve(g, c->nwhat);
    for (int i = k->first; i < k->first + k->n; i++) {
        double sum[HONE_COUNTS];
        memcpy(sum, g->own, sizeof sum);
        for (int j = 0; j < g->n; j++) {
            const double like = alike(ctx, i, g->at[j]) + LEVEL * !g->lesson[j];
            for (int w = 0; w < c->nwhat; w++) sum[w] += like * g->y[j][w];
        }
        for (int w = 0; w < c->nwhat; w++)
            c->place[(size_t)i * (size_t)c->nwhat + (size_t)w] = (float)sum[w];
    }
}

/* Puts counter w of all candidates that are known into units of how much they differ. */
static void scale(struct hone_counts *c, const struct hone_pool *pool, int w)
{
    double sum = 0, squares = 0;
    int n = 0;
    for (int i = 0; i < pool->n; i++) {
        const double x = (double)c->place[(size_t)i * (size_t)c->nwhat + (size_t)w];
        if (!c->known[pool->at[i].kernel]) continue;
        sum += x;
        squares += x * x;
        n++;
    }
    const double spread = n ? sqrt(fmax(squares / n - (sum / n) * (sum / n), 0)) : 0;
    const float factor = spread > SAME ? (float)(1 / spread) : 0;
    for (int i = 0; i < pool->n; i++) c->place[(size_t)i * (size_t)c->nwhat + (size_t)w] *= factor;
    c->nactive += spread > SAME;
}

int hone_counts_expect(struct hone_counts *c, const struct hone_pool *pool, hone_alike_fn *alike,
                       const void *ctx)
{
    const size_t n = (size_t)pool->n * (size_t)c->nwhat;
    struct guess *g = malloc(sizeof *g);
    if (!c->place) c->place = malloc((n + 1) * sizeof *c->place);
    if (!c->known) c->known = calloc((size_t)pool->nkernels + 1, 1);
    if (!g || !c->place || !c->known) {
        free(g);
        return hone_fail(HONE_ENOMEM, "%d candidates", pool->n);
    }
    memset(c->place, 0, n * sizeof *c->place);
    for (int q = 0; q < pool->nkernels; q++) expect_kernel(c, pool, q, alike, ctx, g);
    c->nactive = 0;
    for (int w = 0; w < c->nwhat; w++) scale(c, pool, w);
    free(g);
    return HONE_OK;
}

double hone_counts_apart(const struct hone_counts *c, const struct hone_pool *pool, int i, int j)
{
    const float *x = c->place + (size_t)i * (size_t)c->nwhat,
                *y = c->place + (size_t)j * (size_t)c->nwhat;
    float sum = 0;
    if (!c->known[pool->at[i].kernel] || !c->known[pool->at[j].kernel]) return -1;
    for (int w = 0; w < c->nwhat; w++) sum += (x[w] - y[w]) * (x[w] - y[w]);
    return c->nactive ? sqrt((double)sum / c->nactive) : -1;
}

int hone_counts_read(struct hone_count_names *names, const char *text, double value[HONE_COUNTS])
{
    char name[64];
    double v;
    int used, n = 0;
    for (int w = 0; w < HONE_COUNTS; w++) value[w] = NAN;
    for (; sscanf(text, " %63[^= ]=%lf%n", name, &v, &used) == 2; text += used) {
        int w = 0;
        while (w < HONE_COUNTS && names->name[w][0] && strcmp(names->name[w], name)) w++;
        if (w == HONE_COUNTS) continue;
        memcpy(names->name[w], name, sizeof name);
        value[w] = v;
        n++;
    }
    return n;
}

void hone_counts_close(struct hone_counts *c)
{
    free(c->note);
    free(c->place);
    free(c->known);
    memset(c, 0, sizeof *c);
}
