/* A second trial of who may have been unlucky in the first.
 *
 * A trial takes a few milliseconds, and so may what a neighbour on the machine does to all of them:
 * a good candidate that looks twice as slow as the best is not raced.  So before the race those are
 * asked again, in a new process, who should be good: kernels' guesses, and those that differ from
 * the best in one parameter. */
#include "autotune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double HOPELESS = 4;        /* times the best trial: no bad luck explains that */
static const double SHARE = 0.15;        /* of the time that the first trials took, */
static const double LEAST = 0.05;        /* seconds: or so long */

enum { MOST = 12, PASSES = 2 };

/* The fastest of those to ask again, by their first trial; -1: there is none. */
static int next(struct hone_tuning *t, int best, const signed char *asked)
{
    int who = -1;
    for (int i = 0; i < t->pool.n; i++) {
        const double ms = t->search.ms[i];
        if (ms <= 0 || ms > HOPELESS * t->best_ms || asked[i]) continue;
        if (who >= 0 && ms >= t->search.ms[who]) continue;
        const int guess = i == t->pool.kernel[t->pool.at[i].kernel].first;
        if ((guess || hone_pool_differ(&t->pool, i, best) == 1) && !hone_tuning_entrant(t, i))
            who = i;
    }
    return who;
}

static int ask_again(struct hone_tuning *t, signed char *asked, double end)
{
    int err = HONE_OK, i;
    for (int n = 0; !err && n < MOST && (i = next(t, t->search.best, asked)) >= 0; n++) {
        double ms = 0;
        if (hone_now() > end || (t->o->trials && t->r->ncandidates >= t->o->trials)) break;
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        asked[i] = 1;
        err = hone_tuning_try(t, t->pool.at[i].kernel, hone_tuning_config(t, i), 0, &ms);
        if (!err && ms > 0 && ms < t->search.ms[i]) hone_search_amend(&t->search, i, ms);
        hone_tuning_report(t, 0.7 * t->r->ncandidates / t->space.n);
    }
    return err;
}

int hone_tuning_again(struct hone_tuning *t, double last)
{
    signed char *asked = calloc((size_t)t->pool.n + 1, sizeof *asked);
    if (!asked) return hone_fail(HONE_ENOMEM, "%d candidates", t->pool.n);
    double end = hone_now() + fmax(SHARE * (hone_now() - t->started), LEAST);
    if (last > 0) end = fmin(end, last);
    int err = HONE_OK, best = -1;
    /* A better one has other neighbours. */
    for (int pass = 0; pass < PASSES; pass++) {
        if (err || t->search.best < 0 || t->search.best == best) break;
        best = t->search.best;
        if (!(err = hone_tuning_prune(t))) hone_worker_renew(&t->worker);
        if (!err) err = ask_again(t, asked, end);
    }
    free(asked);
    return err;
}
