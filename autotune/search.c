/* What all searchers share: who was tried, who is best, random numbers, and neighbours. */
#include "autotune/search.h"

#include <stdlib.h>
#include <string.h>

int hone_searcher_find(const char *name, const struct hone_searcher **searcher)
{
    char list[256] = "";
    size_t n = 0;
    *searcher = hone_searchers[0];
    if (!name) return HONE_OK;
    for (int i = 0; hone_searchers[i]; i++) {
        *searcher = hone_searchers[i];
        if (!strcmp(hone_searchers[i]->name, name)) return HONE_OK;
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "",
                              hone_searchers[i]->name);
    }
    return hone_fail(HONE_EPARSE, "search '%s': expected one of %s", name, list);
}

int hone_search_open(struct hone_search *s, const struct hone_searcher *searcher,
                     const struct hone_pool *pool, const double *prior, uint64_t seed)
{
    *s = (struct hone_search){
        .searcher = searcher, .pool = pool, .prior = prior, .best = -1, .at = -1, .gain = -1,
        .seed = seed
    };
    s->ms = calloc((size_t)pool->n + 1, sizeof *s->ms);
    if (!s->ms) return hone_fail(HONE_ENOMEM, "%d candidates", pool->n);
    int err = searcher->open ? searcher->open(s) : HONE_OK;
    if (err) hone_search_close(s);
    return err;
}

void hone_search_close(struct hone_search *s)
{
    if (s->searcher && s->searcher->close && s->state) s->searcher->close(s);
    free(s->ms);
    hone_counts_close(&s->counts);
    memset(s, 0, sizeof *s);
}

int hone_search_ask(struct hone_search *s)
{
    return s->ntried == s->pool->n ? -1 : s->searcher->ask(s);
}

int hone_search_ask_few(struct hone_search *s, int n, int next[])
{
    const int left = s->pool->n - s->ntried;
    if (n > left) n = left;
    if (n > 1 && s->searcher->batch) return s->searcher->batch(s, n, next);
    next[0] = hone_search_ask(s);
    return next[0] < 0 ? next[0] : 1;
}

void hone_search_tell(struct hone_search *s, int i, double ms)
{
    if (s->ms[i]) return;   /* told twice: the first answer stands */
    s->ms[i] = ms > 0 ? ms : -1;
    s->ntried++;
    if (ms > 0 && (s->best < 0 || ms < s->ms[s->best])) s->best = i;
    if (s->searcher->tell) s->searcher->tell(s, i);
}

void hone_search_amend(struct hone_search *s, int i, double ms)
{
    s->ms[i] = ms;
    if (s->best < 0 || ms < s->ms[s->best]) s->best = i;
}

int hone_search_draw(struct hone_search *s, int n)
{
    return (int)(hone_random(s->seed, s->drawn++) % (uint64_t)n);
}

double hone_search_unit(struct hone_search *s) { return hone_random_unit(s->seed, s->drawn++); }

static int is_among(const int list[], int n, int i)
{
    while (n && list[n - 1] != i) n--;
    return n > 0;
}

/* What runs untuned comes first: a budget that ends behind it leaves nothing worse. */
int hone_search_guesses(const struct hone_search *s, int n, int next[])
{
    int found = 0;
    if (s->pool->usual && n > 0) {
        const struct hone_pool_kernel *k = &s->pool->kernel[s->pool->usual - 1];
        if (k->n && !s->ms[k->first]) next[found++] = k->first;
    }
    for (int best = 0; best >= 0 && found < n;) {
        best = -1;
        for (int k = 0; k < s->pool->nkernels; k++) {
            const int i = s->pool->kernel[k].first;
            if (!s->pool->kernel[k].n || s->ms[i] || is_among(next, found, i)) continue;
            /* Who was slow on other problems waits: the budget may be over before its turn. */
            if (best < 0 || (s->prior && s->prior[i] < s->prior[best])) best = i;
        }
        if (best >= 0) next[found++] = best;
    }
    return found;
}

int hone_search_guess(const struct hone_search *s)
{
    int i;
    return hone_search_guesses(s, 1, &i) ? i : -1;
}

int hone_search_any(struct hone_search *s)
{
    int skip = hone_search_draw(s, s->pool->n - s->ntried), i = 0;
    for (;; i++)
        if (!s->ms[i] && !skip--) return i;
}

int hone_pool_differ(const struct hone_pool *pool, int i, int j)
{
    const struct hone_choice *a = &pool->at[i], *b = &pool->at[j];
    int n = 0;
    if (a->kernel != b->kernel) return HONE_MAX_PARAMS + 1;
    for (int p = 0; p < pool->kernel[a->kernel].nparams; p++) n += a->v[p] != b->v[p];
    return n;
}

int hone_search_near(struct hone_search *s, int i, int *differ)
{
    const struct hone_pool_kernel *k = &s->pool->kernel[s->pool->at[i].kernel];
    int best = -1, ties = 0;
    *differ = HONE_MAX_PARAMS + 1;
    for (int j = k->first; j < k->first + k->n; j++) {
        int d = s->ms[j] ? *differ + 1 : hone_pool_differ(s->pool, i, j);
        if (d > *differ) continue;
        if (d < *differ) ties = 0;
        *differ = d;
        /* Of equals each is taken with the same chance (reservoir sampling). */
        if (!hone_search_draw(s, ++ties)) best = j;
    }
    return best;
}
