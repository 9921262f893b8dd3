/* The race of those whose first time was good, and the records of who finished. */
#include "autotune/tune.h"

#include <stdlib.h>
#include <string.h>

static void watch(void *ctx)
{
    const struct hone_tuning *t = ctx;
    hone_tuning_report(ctx, 0.7 + 0.3 * t->worker.board->race.nrounds / HONE_RACE_ROUNDS);
}

/* Copies what the race found into the records. */
static void collect(struct hone_tuning *t, struct hone_race *race)
{
    for (int i = 0; i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        struct hone_racer *a = &race->racer[i];
        if (a->n) hone_entrant_sample(&e->record, a->ms, a->n);
        if (!a->out) continue;
        hone_entrant_drop(e, a->why);
        if (a->err) e->record.status = a->err == HONE_EWRONG ? HONE_WRONG : HONE_FAILED;
    }
    t->r->noise = race->noise;
    t->r->drift = race->drift;
    t->r->self = race->self;
}

int hone_tuning_race(struct hone_tuning *t)
{
    struct hone_race race = { .n = t->n, .deadline = t->deadline, .seed = t->o->seed };
    struct hone_job entry[HONE_RACERS];
    if (t->n > HONE_RACERS) return hone_fail(HONE_EINVAL, "a race of %d", t->n);
    race.racer = calloc((size_t)t->n + 1, sizeof *race.racer);
    if (!race.racer) return hone_fail(HONE_ENOMEM, "race of %d", t->n);
    for (int i = 0; i < t->n; i++) {
        race.racer[i].kernel = t->entrant[i].job.kernel;
        race.racer[i].incumbent = t->entrant[i].incumbent;
        race.racer[i].front = hone_tuning_on_front(t, &t->entrant[i]);
        entry[i] = t->entrant[i].job;
    }
    t->worker.watch = t->o->quiet ? NULL : watch;
    t->worker.ctx = t;
    int err = hone_worker_race(&t->worker, &race, entry);
    t->worker.watch = NULL;
    hone_race_finish(&race);
    collect(t, &race);
    free(race.racer);
    return err;
}

/* Of the fastest few a GPU's counters are read, which takes many runs of each; such candidates run
 * in this process. */
static void count_best(struct hone_tuning *t)
{
    enum { FEW = 3 };
    for (int i = 0; t->worker.host && i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        int faster = 0;
        for (int j = 0; j < t->n; j++)
            faster += t->entrant[j].record.ms_median < e->record.ms_median;
        if (faster < FEW && e->facts[0])
            hone_host_facts(t->worker.host, &e->job, e->facts, sizeof e->facts);
    }
}

int hone_tuning_finish(struct hone_tuning *t)
{
    int err = t->o->energy ? hone_tuning_weigh(t) : HONE_OK;
    if (!err) err = hone_tuning_sweep(t);   /* those that the race dropped */
    const int n = t->n;
    count_best(t);
    struct hone_record **out = calloc((size_t)n + 1, sizeof *out),
                       *all = calloc((size_t)n + 1, sizeof *all);
    if (!err && (!out || !all)) err = hone_fail(HONE_ENOMEM, "%d records", n);
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
    }
    free(out);
    free(all);
    return err;
}
