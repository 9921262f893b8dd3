/* Finals that go on later.
 *
 * What neighbours do to a machine lasts for seconds or minutes, and for as long it favours one
 * candidate or another: those of one thread where two processors are one, small ones where a cache
 * is shared.  However many rounds are run in such a time, they do not average that out.  So what
 * time a session has left goes to the finals of its problems in turn: each visit is one more block,
 * in a new process and at another moment, beside the first one, which is the race as it was. */
#include "autotune/blocks.h"
#include "autotune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double NEAR = 1.3;          /* times the leader's time: the best of another moment */
static const double OTHER = 4;           /* likewise of another number of threads */

/* Racers, those that are near, and moments, at most. */
enum { MOST = 14, CLOSE = 10, VISITS = HONE_BLOCKS };

struct hone_later {
    struct hone_problem p;
    struct hone_blocks blocks;
    struct hone_contender of[MOST];
    struct hone_entrant entrant[MOST];
};

/* ---- who is raced again ---- */

static int threads_of(const struct hone_entrant *e)
{
    const struct hone_kernel *k = e->job.kernel;
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++)
        if (!strcmp(k->param[i].name, "threads")) return e->job.config.v[i];
    return 0;
}

static void add(struct hone_later *l, const struct hone_entrant *e, const struct hone_contender *c)
{
    struct hone_contender *a = &l->of[l->blocks.n];
    l->entrant[l->blocks.n++] = *e;
    *a = (struct hone_contender){ .kernel = c->kernel, .incumbent = c->incumbent,
                                  .front = c->front, .rounds = c->rounds, .n = 1 };
    a->ms[0] = a->ratio = c->ratio;
    a->lo = c->lo;
    a->hi = c->hi;
}

/* Is e worth it beside those that were chosen before, all of them faster? */
static int chosen(const struct hone_later *l, const struct hone_entrant *e,
                  const struct hone_contender *c)
{
    const struct hone_kernel *k = e->job.kernel;
    int threads = 0, library = 0, other = 0;
    for (int i = 0; i < l->blocks.n; i++) {
        threads |= threads_of(&l->entrant[i]) == threads_of(e);
        library |= l->of[i].kernel->build == HONE_LIB;
        other |= l->of[i].kernel != l->of[0].kernel;
    }
    return (c->ratio < NEAR && l->blocks.n < CLOSE) || (!threads && c->ratio < OTHER) ||
           (!library && k->build == HONE_LIB) || (!other && k != l->of[0].kernel) ||
           c->incumbent || (c->front && !c->out);
}

/* The next fastest one after `last`, by its ratio and then its place; -1: none. */
static int after(const struct hone_blocks *b, int last)
{
    int best = -1;
    for (int i = 0; i < b->n; i++) {
        const struct hone_contender *a = &b->of[i], *q = last < 0 ? NULL : &b->of[last];
        if (a->err || !a->n || !(a->ratio > 0)) continue;
        if (q && (a->ratio < q->ratio || (a->ratio == q->ratio && i <= last))) continue;
        if (best < 0 || a->ratio < b->of[best].ratio) best = i;
    }
    return best;
}

int hone_tuning_later(struct hone_tuning *t, const struct hone_blocks *b)
{
    struct hone_later *l = calloc(1, sizeof *l);
    if (!l) return hone_fail(HONE_ENOMEM, "a race to go on");
    l->p = *t->p;
    l->blocks = (struct hone_blocks){ .of = l->of, .most = VISITS, .apart = 1, .nblocks = 1 };
    for (int i = -1; l->blocks.n < MOST && (i = after(b, i)) >= 0;)
        if (chosen(l, &t->entrant[i], &b->of[i])) add(l, &t->entrant[i], &b->of[i]);
    if (l->blocks.n < 2) { free(l); return HONE_OK; }
    double ms[HONE_BLOCKS];
    for (int k = 0; k < b->nblocks; k++) ms[k] = b->ms[k];
    l->blocks.ms[0] = hone_stats_of(ms, b->nblocks).median;
    t->r->later = l;
    return HONE_OK;
}

void hone_tuning_later_tell(struct hone_tuning *t)
{
    struct hone_later *l = t->r->later;
    for (int i = 0; l && i < l->blocks.n; i++)
        for (int j = 0; j < t->n; j++) {
            const struct hone_entrant *e = &t->entrant[j];
            if (e->job.id != l->entrant[i].job.id) continue;
            memcpy(l->entrant[i].record.counters, e->record.counters, sizeof e->record.counters);
            memcpy(l->entrant[i].facts, e->facts, sizeof e->facts);
        }
}

void hone_later_close(struct hone_later *l) { free(l); }

/* ---- another moment ---- */

int hone_later_settled(const struct hone_later *l) { return hone_blocks_settled(&l->blocks); }

int hone_later_race(struct hone_later *l, struct hone_device *d, const struct hone_tune_options *o)
{
    struct hone_worker w;
    struct hone_racer *racer = calloc(MOST, sizeof *racer);
    struct hone_job job[MOST];
    if (!racer) return hone_fail(HONE_ENOMEM, "race of %d", MOST);
    for (int i = 0; i < l->blocks.n; i++) job[i] = l->entrant[i].job;
    struct hone_race race = { .racer = racer, .seed = o->seed };
    hone_blocks_next(&l->blocks, &race);
    int err = hone_worker_open(&w, &l->p, d, o);
    if (!err) err = hone_worker_race(&w, &race, job);
    if (!err && race.nrounds) hone_blocks_add(&l->blocks, &race);
    hone_worker_close(&w);
    free(racer);
    return err;
}

/* ---- the end ---- */

int hone_later_keep(struct hone_later *l, struct hone_db *db, struct hone_device *d,
                    const struct hone_tune_options *o, struct hone_tune_result *r)
{
    struct hone_tune_result all = { 0 };   /* these candidates were counted before */
    struct hone_tuning t = { .db = db, .p = &l->p, .d = d, .o = o, .r = &all,
                             .entrant = l->entrant, .n = l->blocks.n };
    struct hone_record *out[MOST];
    int nout = 0, n = 0;
    if (l->blocks.nblocks < 2) return HONE_OK;
    hone_blocks_finish(&l->blocks);
    /* Named after the session that it belongs to, behind which it sorts. */
    snprintf(t.session, sizeof t.session, "%.30s" HONE_DB_LATER, t.entrant[0].record.session);
    for (int i = 0; i < t.n; i++)
        memcpy(t.entrant[i].record.session, t.session, sizeof t.session);
    hone_tuning_collect(&t, &l->blocks);
    /* Those who are out go behind the others, where they are recorded first. */
    for (int i = 0; i < t.n; i++) {
        struct hone_entrant e = t.entrant[i];
        if (e.record.status != HONE_TIMED) continue;
        memmove(&t.entrant[n + 1], &t.entrant[n], (size_t)(i - n) * sizeof e);
        t.entrant[n++] = e;
    }
    for (int i = n; i < t.n; i++) out[nout++] = &t.entrant[i].record;
    t.n = n;
    int err = hone_tuning_add(&t, out, nout);
    if (!err) err = hone_tuning_conclude(&t);
    if (err) return err;
    r->podium = all.podium;
    r->nties = all.nties;
    return HONE_OK;
}
