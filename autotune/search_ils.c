/* Iterated local search (Lourenco, Martin, Stutzle 2003): from the best guess to whoever is better
 * and differs in one parameter; where nobody is, from another place. */
#include "autotune/search.h"

#include <stdlib.h>

struct state { int at; };

static int open_state(struct hone_search *s)
{
    struct state *t = s->state = malloc(sizeof *t);
    if (!t) return hone_fail(HONE_ENOMEM, "search");
    t->at = -1;
    return HONE_OK;
}

static void close_state(struct hone_search *s) { free(s->state); }

static int ask(struct hone_search *s)
{
    struct state *t = s->state;
    int differ, i = hone_search_guess(s);
    if (i >= 0) return i;
    if (t->at < 0) t->at = s->best;
    i = t->at < 0 ? -1 : hone_search_near(s, t->at, &differ);
    if (i >= 0 && differ == 1) return i;
    /* Stuck: half of the times near the best, else anywhere. */
    i = s->best >= 0 && hone_search_draw(s, 2) ? hone_search_near(s, s->best, &differ) : -1;
    if (i < 0) i = hone_search_any(s);
    t->at = -2 - i;   /* wherever that is, it goes on from there */
    return i;
}

static void tell(struct hone_search *s, int i)
{
    struct state *t = s->state;
    if (t->at == -2 - i) t->at = s->ms[i] > 0 ? i : -1;
    else if (t->at >= 0 && s->ms[i] > 0 && s->ms[i] < s->ms[t->at]) t->at = i;
}

const struct hone_searcher hone_searcher_ils = {
    .name = "ils", .about = "iterated local search: better neighbours, then another start",
    .open = open_state, .close = close_state, .ask = ask, .tell = tell
};
