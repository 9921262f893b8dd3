/* Simulated annealing (Kirkpatrick, Gelatt, Vecchi 1983): to a neighbour that is better, or, the
 * less likely the worse it is and the longer the search lasts, to one that is not. */
#include "autotune/search.h"

#include <math.h>

static const double HOT = 0.3, COOLING = 0.97;   /* a logarithm of times; a trial's share */

static int ask(struct hone_search *s)
{
    int differ, i = hone_search_guess(s);
    if (i >= 0) return i;
    if (s->at < 0) s->at = s->best;
    /* Now and then elsewhere, or a kernel would never be left. */
    if (s->at >= 0 && hone_search_draw(s, 16)) i = hone_search_near(s, s->at, &differ);
    return i >= 0 ? i : hone_search_any(s);
}

static void tell(struct hone_search *s, int i)
{
    if (s->ms[i] <= 0) return;
    if (s->at < 0) { s->at = s->best; return; }
    double worse = log(s->ms[i] / s->ms[s->at]), heat = HOT * pow(COOLING, s->ntried);
    if (worse < 0 || hone_search_unit(s) < exp(-worse / heat)) s->at = i;
}

const struct hone_searcher hone_searcher_annealing = {
    .name = "annealing", .about = "simulated annealing: worse neighbours, too, while it is hot",
    .ask = ask, .tell = tell
};
