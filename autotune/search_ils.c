/* Iterated local search (Lourenco, Martin, Stutzle 2003): from the best guess to whoever is better
 * and differs in one parameter; where nobody is, from another place. */
#include "autotune/search.h"

static int ask(struct hone_search *s)
{
    int differ, i = hone_search_guess(s);
    if (i >= 0) return i;
    if (s->at < 0) s->at = s->best;
    i = s->at < 0 ? -1 : hone_search_near(s, s->at, &differ);
    if (i >= 0 && differ == 1) return i;
    /* Stuck: half of the times near the best, else anywhere. */
    i = s->best >= 0 && hone_search_draw(s, 2) ? hone_search_near(s, s->best, &differ) : -1;
    if (i < 0) i = hone_search_any(s);
    s->at = -2 - i;   /* wherever that is, it goes on from there */
    return i;
}

static void tell(struct hone_search *s, int i)
{
    if (s->at == -2 - i) s->at = s->ms[i] > 0 ? i : -1;
    else if (s->at >= 0 && s->ms[i] > 0 && s->ms[i] < s->ms[s->at]) s->at = i;
}

const struct hone_searcher hone_searcher_ils = {
    .name = "ils", .about = "iterated local search: better neighbours, then another start",
    .ask = ask, .tell = tell
};
