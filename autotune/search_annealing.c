/* Simulated annealing (Kirkpatrick, Gelatt, Vecchi 1983): to a neighbour that is better, or, the
 * less likely the worse it is and the longer the search lasts, to one that is not. */
#include "autotune/search.h"

#include <math.h>
#include <stdlib.h>

static const double HOT = 0.3, COOLING = 0.97;   /* a logarithm of times; a trial's share */

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
    /* Now and then elsewhere, or a kernel would never be left. */
    if (t->at >= 0 && hone_search_draw(s, 16)) i = hone_search_near(s, t->at, &differ);
    return i >= 0 ? i : hone_search_any(s);
}

static void tell(struct hone_search *s, int i)
{
    struct state *t = s->state;
    if (s->ms[i] <= 0) return;
    if (t->at < 0) { t->at = s->best; return; }
    double worse = log(s->ms[i] / s->ms[t->at]), heat = HOT * pow(COOLING, s->ntried);
    if (worse < 0 || hone_search_unit(s) < exp(-worse / heat)) t->at = i;
}

const struct hone_searcher hone_searcher_annealing = {
    .name = "annealing", .about = "simulated annealing: worse neighbours, too, while it is hot",
    .open = open_state, .close = close_state, .ask = ask, .tell = tell
};
