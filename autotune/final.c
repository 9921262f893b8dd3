/* The race of those whose first time was good, and the records of who finished. */
#include "autotune/tune.h"

#include <stdlib.h>
#include <string.h>

static int race_window(void *ctx, int i, double *ms)
{
    struct hone_tuning *t = ctx;
    struct hone_entrant *e = &t->entrant[i];
    double s;
    int err = t->resets ? hone_case_reset(hone_tuning_reals(t)) : HONE_OK;
    if (!err) err = hone_time_window(&e->plan, hone_tuning_reals(t), t->o->cache, e->runs, &s);
    *ms = err ? 0 : 1e3 * s;
    return err;
}

/* A fixed chain of dependent multiply-adds, about 0.2 ms: no cache, no memory, no other thread. */
static double race_sentinel(void *ctx)
{
    volatile double out;
    double x = 1, start = hone_now();
    (void)ctx;
    for (int i = 0; i < 50000; i++) x = x * 0.999999 + 1e-6;
    out = x;
    (void)out;
    return hone_now() - start;
}

static void race_progress(void *ctx, int rounds)
{
    hone_tuning_report(ctx, 0.7 + 0.3 * rounds / HONE_RACE_ROUNDS);
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
}

int hone_tuning_race(struct hone_tuning *t)
{
    struct hone_race race = { .n = t->n,
                              .window = race_window,
                              .sentinel = race_sentinel,
                              .progress = race_progress,
                              .ctx = t,
                              .deadline = t->deadline,
                              .seed = t->o->seed };
    race.racer = calloc((size_t)t->n + 1, sizeof *race.racer);
    if (!race.racer) return hone_fail(HONE_ENOMEM, "race of %d", t->n);
    for (int i = 0; i < t->n; i++) {
        race.racer[i].kernel = t->entrant[i].kernel;
        race.racer[i].incumbent = t->entrant[i].incumbent;
    }
    int err = hone_case_reset(hone_tuning_reals(t));
    if (!err) err = hone_race_run(&race);
    collect(t, &race);
    free(race.racer);
    return err;
}

/* What a jit kernel's code took goes into its record. */
static void say_cost(struct hone_entrant *e)
{
    const struct hone_jit_cost *c = hone_plan_jit(&e->plan);
    if (c)
        snprintf(e->record.why, sizeof e->record.why,
                 "compile_ms=%.6g load_ms=%.6g first_ms=%.6g code_bytes=%lld", c->compile_ms,
                 c->load_ms, c->first_ms, (long long)c->code_bytes);
}

int hone_tuning_finish(struct hone_tuning *t)
{
    int err = hone_tuning_sweep(t), n = t->n;   /* those that the race dropped */
    struct hone_record **out = calloc((size_t)n + 1, sizeof *out),
                       *all = calloc((size_t)n + 1, sizeof *all);
    if (!err && (!out || !all)) err = hone_fail(HONE_ENOMEM, "%d records", n);
    for (int i = 0; !err && i < n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        if (!e->record.n) hone_entrant_sample(&e->record, &e->ms, 1);
        say_cost(e);
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
