/* The races of those whose first time was good, and the records of who finished. */
#include "autotune/blocks.h"
#include "autotune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void watch(void *ctx)
{
    const struct hone_tuning *t = ctx;
    const double block = (double)t->worker.board->race.nrounds / HONE_BLOCK_FIRST;
    hone_tuning_report(ctx, 0.7 + 0.3 * (t->blocks + fmin(block, 1)) / HONE_BLOCKS_USUAL);
}

void hone_tuning_collect(struct hone_tuning *t, const struct hone_blocks *b)
{
    for (int i = 0; i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        const struct hone_contender *a = &b->of[i];
        if (a->rounds && b->leader >= 0 && a->ratio > 0) hone_blocks_sample(b, i, &e->record);
        if (!a->out) continue;
        hone_entrant_drop(e, a->why);
        if (a->err) e->record.status = a->err == HONE_EWRONG ? HONE_WRONG : HONE_FAILED;
    }
}

/* One block, in a process of its own.  A race that Ctrl-C ended counts for what it has. */
static int run_block(struct hone_tuning *t, struct hone_blocks *b, struct hone_race *race,
                     const struct hone_job *entry)
{
    struct hone_racer *racer = race->racer;
    *race = (struct hone_race){ .racer = racer, .deadline = t->deadline, .seed = t->o->seed };
    hone_blocks_next(b, race);
    if (b->nblocks) hone_worker_renew(&t->worker);
    const int err = hone_worker_race(&t->worker, race, entry);
    const int whole = !err && race->nrounds;
    /* Of a later block nothing is taken unless it is whole: those before it suffice. */
    if (whole || !b->nblocks) hone_blocks_add(b, race);
    t->blocks = b->nblocks;
    hone_race_finish(race);
    if (!whole) return err;
    t->r->noise = fmax(t->r->noise, race->noise);
    if (fabs(race->drift) > fabs(t->r->drift)) t->r->drift = race->drift;
    if (b->nblocks == 1) t->r->self = race->self;
    return HONE_OK;
}

static int run_blocks(struct hone_tuning *t, struct hone_blocks *b, struct hone_race *race,
                      const struct hone_job *entry)
{
    int err = HONE_OK, before = -1;
    double took = 0;
    while (!err && b->nblocks != before && (!b->nblocks || !hone_blocks_settled(b))) {
        const double started = hone_now();
        /* The next takes about as long as the one before. */
        if (t->deadline > 0 && b->nblocks && started + took > t->deadline) break;
        before = b->nblocks;
        err = run_block(t, b, race, entry);
        took = hone_now() - started;
    }
    return err;
}

int hone_tuning_race(struct hone_tuning *t)
{
    /* What is left of a budget goes to whose final is not certain yet, and rather later than
     * now. */
    struct hone_blocks b = { .n = t->n, .leader = -1,
                             .most = t->deadline > 0 && !t->o->later ? HONE_BLOCKS : 0 };
    struct hone_race race = { 0 };
    struct hone_job entry[HONE_RACERS];
    if (t->n > HONE_RACERS) return hone_fail(HONE_EINVAL, "a race of %d", t->n);
    race.racer = calloc((size_t)t->n + 1, sizeof *race.racer);
    b.of = calloc((size_t)t->n + 1, sizeof *b.of);
    int err = race.racer && b.of ? HONE_OK : hone_fail(HONE_ENOMEM, "race of %d", t->n);
    for (int i = 0; !err && i < t->n; i++) {
        b.of[i].kernel = t->entrant[i].job.kernel;
        b.of[i].incumbent = t->entrant[i].incumbent;
        b.of[i].front = hone_tuning_on_front(t, &t->entrant[i]);
        entry[i] = t->entrant[i].job;
    }
    t->worker.watch = t->o->quiet ? NULL : watch;
    t->worker.ctx = t;
    if (!err) err = run_blocks(t, &b, &race, entry);
    t->worker.watch = NULL;
    if (b.nblocks) {
        hone_blocks_finish(&b);
        if (!err && t->o->later && !t->o->energy) err = hone_tuning_later(t, &b);
        hone_tuning_collect(t, &b);
    }
    free(race.racer);
    free(b.of);
    return err;
}

/* Of the fastest few a GPU's state under load is read, which takes many runs of each. */
static int explain_best(struct hone_tuning *t)
{
    enum { FEW = 3 };
    int err = HONE_OK;
    for (int i = 0; !err && i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        struct hone_answer a;
        int faster = 0;
        for (int j = 0; j < t->n; j++)
            faster += t->entrant[j].record.ms_median < e->record.ms_median;
        if (faster >= FEW || !e->facts[0] || strcmp(t->d->backend->name, "cuda")) continue;
        err = hone_worker_facts(&t->worker, &e->job, &a);
        if (!err && !a.err && a.facts[0]) memcpy(e->facts, a.facts, sizeof e->facts);
    }
    return err;
}

int hone_tuning_finish(struct hone_tuning *t)
{
    int err = t->o->energy ? hone_tuning_weigh(t) : HONE_OK;
    if (!err) err = hone_tuning_sweep(t);   /* those that the race dropped */
    if (!err) err = hone_tuning_count_best(t);
    if (!err) err = explain_best(t);
    hone_tuning_later_tell(t);
    return err ? err : hone_tuning_conclude(t);
}

int hone_tuning_conclude(struct hone_tuning *t)
{
    const int n = t->n;
    int err = HONE_OK;
    struct hone_record **out = calloc((size_t)n + 1, sizeof *out),
                       *all = calloc((size_t)n + 1, sizeof *all);
    if (!out || !all) err = hone_fail(HONE_ENOMEM, "%d records", n);
    for (int i = 0; !err && i < n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        if (!e->record.n) hone_entrant_sample(&e->record, &e->ms, 1);
        hone_entrant_say_more(e);
        out[i] = &e->record;
    }
    if (!err) err = hone_tuning_add(t, out, n);
    for (int i = 0; !err && i < n; i++) all[i] = *out[i];
    if (!err && n) {
        hone_db_rank(all, n);
        hone_db_podium_of(all, n, &t->r->podium);
        t->r->nties = 0;
        for (int i = 1; i < n; i++) t->r->nties += hone_record_ties(&all[i], all, n);
    }
    free(out);
    free(all);
    return err;
}
