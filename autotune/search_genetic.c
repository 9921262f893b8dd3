/* A genetic algorithm without generations: each child of two of the best replaces whoever is worse
 * (Whitley's steady state, 1989).  A child that is not in the pool, or was tried, is replaced by
 * whoever is nearest to it. */
#include "autotune/search.h"

enum { POPULATION = 12, TOURNAMENT = 3 };

static const double MUTATION = 0.15;   /* of each parameter */

/* The candidates tried that have the least times. */
static int population(const struct hone_search *s, int best[POPULATION])
{
    int n = 0;
    for (int i = 0; i < s->pool->n; i++) {
        if (s->ms[i] <= 0) continue;
        int at = n < POPULATION ? n++ : POPULATION;
        if (at == POPULATION && s->ms[i] >= s->ms[best[--at]]) continue;
        for (; at > 0 && s->ms[best[at - 1]] > s->ms[i]; at--) best[at] = best[at - 1];
        best[at] = i;
    }
    return n;
}

static int select_one(struct hone_search *s, int n)
{
    int at = n;
    for (int i = 0; i < TOURNAMENT; i++) {
        int j = hone_search_draw(s, n);
        if (j < at) at = j;
    }
    return at;
}

/* Who is not tried and differs least from the values, of one kernel. */
static int nearest(struct hone_search *s, int kernel, const int v[])
{
    const struct hone_pool_kernel *k = &s->pool->kernel[kernel];
    int best = -1, least = HONE_MAX_PARAMS + 1, ties = 0;
    for (int j = k->first; j < k->first + k->n; j++) {
        int differ = 0;
        for (int p = 0; p < k->nparams; p++) differ += s->pool->at[j].v[p] != v[p];
        if (s->ms[j] || differ > least) continue;
        if (differ < least) ties = 0;
        least = differ;
        if (!hone_search_draw(s, ++ties)) best = j;
    }
    return best;
}

static int ask(struct hone_search *s)
{
    int best[POPULATION], v[HONE_MAX_PARAMS], i = hone_search_guess(s);
    if (i >= 0) return i;
    int n = population(s, best);
    if (n < 2 || s->ntried < s->pool->nkernels + POPULATION / 2) return hone_search_any(s);
    const struct hone_choice *a = &s->pool->at[best[select_one(s, n)]];
    const struct hone_choice *b = &s->pool->at[best[select_one(s, n)]];
    const struct hone_pool_kernel *k = &s->pool->kernel[a->kernel];
    if (b->kernel != a->kernel) b = a;
    for (int p = 0; p < k->nparams; p++) {
        v[p] = hone_search_draw(s, 2) ? a->v[p] : b->v[p];
        if (hone_search_unit(s) < MUTATION)
            v[p] = s->pool->at[k->first + hone_search_draw(s, k->n)].v[p];
    }
    i = nearest(s, a->kernel, v);
    return i >= 0 ? i : hone_search_any(s);
}

const struct hone_searcher hone_searcher_genetic = {
    .name = "genetic", .about = "children of the best, values from both, some changed", .ask = ask
};
