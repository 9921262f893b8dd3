/* Random candidates, as a Latin hypercube spreads them (McKay, Beckman, Conover 1979): of a few
 * drawn evenly the one whose kernel and values came up least so far. */
#include "autotune/search.h"

enum { DRAWN = 6 };

/* How often what i is made of was tried. */
static int used(const struct hone_search *s, int i)
{
    const struct hone_choice *a = &s->pool->at[i];
    const struct hone_pool_kernel *k = &s->pool->kernel[a->kernel];
    int n = 0;
    for (int j = k->first; j < k->first + k->n; j++)
        for (int p = 0; s->ms[j] && p < k->nparams; p++) n += s->pool->at[j].v[p] == a->v[p];
    return k->nparams ? n / k->nparams : n;
}

static int ask(struct hone_search *s)
{
    int best = hone_search_any(s), least = used(s, best);
    for (int n = 1; n < DRAWN; n++) {
        int i = hone_search_any(s), times = used(s, i);
        if (times < least) { best = i; least = times; }
    }
    return best;
}

const struct hone_searcher hone_searcher_random = {
    .name = "random", .about = "drawn evenly, values spread like a Latin hypercube", .ask = ask
};
