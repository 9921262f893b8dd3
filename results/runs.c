/* Which training run a report is about, and when that reached an accuracy. */
#include "results/layers.h"

#include <math.h>
#include <string.h>

struct search {
    const char *wanted, *net; /* NULL: the latest; of any net */
    int batch;
    struct hone_run run;
    int n, found;
};

static int see_run(void *ctx, const struct hone_run *r)
{
    struct search *s = ctx;
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)r->id);
    s->n++;
    if (s->wanted && strcmp(s->wanted, number) && strcmp(s->wanted, r->session)) return 0;
    if (!s->wanted && s->net && (strcmp(s->net, r->net) || s->batch != r->batch)) return 0;
    /* Of runs that began in the same second the one that was added last. */
    if (s->found && !strcmp(s->run.when, r->when) && r->id < s->run.id) return 0;
    s->run = *r;
    s->found = 1;
    return 0;
}

int hone_run_find(struct hone_db *db, const char *wanted, const char *net, int batch,
                    struct hone_run *run)
{
    struct search s = { .wanted = wanted, .net = net, .batch = batch };
    int err = hone_db_each_run(db, see_run, &s);
    if (err) return err;
    *run = s.run;
    if (!s.n)
        return hone_fail(HONE_EDB, "%s: no training run is in it",
                         db->path[0] ? db->path : "no database");
    if (!s.found && wanted)
        return hone_fail(HONE_EDB, "--run: '%s' is none of the %d runs in %s", wanted, s.n,
                         db->path);
    if (!s.found)
        return hone_fail(HONE_EDB, "%s: none of %d runs is of %s, batch %d", db->path, s.n, net,
                         batch);
    if (net && (strcmp(net, run->net) || batch != run->batch))
        return hone_fail(HONE_EDB, "--run: run %s is of %s, batch %d, not of %s, batch %d", wanted,
                         run->net, run->batch, net, batch);
    return HONE_OK;
}

static int see_epoch(void *ctx, const struct hone_epoch *e)
{
    struct hone_goal *g = ctx;
    if (isnan(e->seconds) || isnan(e->images_per_s)) return 0;
    g->epochs++;
    g->rows += e->seconds * e->images_per_s;
    if (e->test_accuracy > g->best) g->best = e->test_accuracy;
    return g->best >= g->accuracy;
}

int hone_run_goal(struct hone_db *db, const struct hone_run *run, double accuracy,
                     struct hone_goal *g)
{
    *g = (struct hone_goal){ .accuracy = accuracy };
    int err = hone_db_each_epoch(db, run, see_epoch, g);
    if (err < 0) return err;
    if (g->best < accuracy)
        return hone_fail(HONE_EDB, "run %lld (%s on %s): the best test accuracy of its %d epochs is "
                                   "%.4g, not %.4g", (long long)run->id, run->net, run->data,
                         g->epochs, g->best, accuracy);
    return HONE_OK;
}
