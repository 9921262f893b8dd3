/* Racing inside a net (nets/inside.c): a problem's best alone run in whole training steps, and what
 * they took there is served from then on; who is not nearly the fastest alone is not asked. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct hone_device cpu;
static struct hone_db db;

static const char conv[] = "conv2d_fwd:f32:nhwc:mb16ic1ih28oc6oh28kh5ph2:bias";

struct seen { int inside, alone, slow; char session[40]; };

static int see(void *ctx, const struct hone_record *r)
{
    struct seen *s = ctx;
    const int inside = !strcmp(r->cache, "net");
    if (r->status != HONE_TIMED) return 0;
    *(inside ? &s->inside : &s->alone) += 1;
    if (!inside) return 0;
    s->slow += r->n < 6 || r->ms_lo > r->ms_median || r->ms_median > r->ms_hi;
    if (s->session[0] && strcmp(s->session, r->session)) s->slow++;
    snprintf(s->session, sizeof s->session, "%s", r->session);
    return 0;
}

/* Records of the problem alone. */
static int tune(double seconds)
{
    struct hone_problem p;
    struct hone_tune_result r;
    struct hone_tune_options o = { .seconds = seconds, .quiet = 1 };
    int err = hone_problem_parse(conv, &p);
    return err ? err : hone_tune(&db, &p, &cpu, &o, &r);
}

static int race(const char *net, const char *dtype, const char *optimizers, double seconds)
{
    return hone_net_race(net, 16, dtype, optimizers, &db, &cpu, seconds, 1);
}

static struct seen count(void)
{
    struct seen s = { .inside = 0 };
    hone_db_each(&db, cpu.id, conv, see, &s);
    return s;
}

/* Of three records the second is made nearly as fast as the first, alone, and the third is not. */
static void check_race(void)
{
    struct hone_problem p;
    struct hone_record alone[48], now[48];
    int err = tune(1.5);
    if (!err) err = hone_problem_parse(conv, &p);
    if (!ok(!err && hone_db_best(&db, &p, &cpu, alone, 48) >= 3, "three records and more"))
        return;
    const double ms = alone[0].ms_median;
    for (int k = 7; !err && k >= 0; k--) {
        for (int i = 0; i < 3; i++)
            alone[i].ms_lo = alone[i].ms_median = alone[i].ms_hi =
                ((double[]){ 1, 1.2, 2 }[i] + k) * ms;
        err = hone_db_add_session(&db, alone, 3);
    }
    ok(!err && hone_db_best(&db, &p, &cpu, now, 48) == 3 && now[0].ms_median == ms,
       "of sessions of one second the latest is served");
    if (!err) err = race("lenet5", "f32", "sgd,adam", 1.1);
    if (!ok(!err, "a net's problem is raced inside it")) printf("# %s\n", hone_errmsg());
    const struct seen s = count();
    const int n = hone_db_best(&db, &p, &cpu, now, 48);
    int first = 0, third = 0;
    for (int i = 0; i < n; i++) {
        first |= !strcmp(now[i].kernel, alone[0].kernel) && !strcmp(now[i].config, alone[0].config);
        third |= !strcmp(now[i].kernel, alone[2].kernel) && !strcmp(now[i].config, alone[2].config);
    }
    ok(s.inside >= 1 && s.inside <= 2 && !s.slow, "%d times inside, of one session", s.inside);
    ok(n == s.inside && !strcmp(now[0].cache, "net"), "they are what is served now");
    ok(first, "the fastest alone among them: who is ahead of it is so beyond doubt");
    ok(!third, "who was not nearly the fastest alone is not asked");
}

static void check_refusals(void)
{
    const struct seen before = count();
    ok(race("no-such-net", "f32", "sgd", 0.1) < 0, "no such net");
    ok(race("lenet5", "f3", "sgd", 0.1) < 0, "no such number type");
    ok(race("lenet5", "f32", "none", 0.1) < 0, "no such optimizer");
    ok(race("lenet5", "f32", "sgd", 0) == 0, "no time: nothing is recorded");
    ok(count().inside == before.inside, "and no record came of all that");
    ok(race("letter-mlp", "f32", "sgd", 0.2) == 0 && count().inside == before.inside,
       "nor is one raced whose step is one op");
    ok(race("mnist-cnn", "f32", "sgd", 0.2) == 0 && count().inside == before.inside,
       "a net none of whose problems is known has nothing to race");
}

int main(void)
{
    char path[] = "/tmp/hone-inside-XXXXXX";
    int f = mkstemp(path);
    if (f >= 0) close(f), unlink(path);
    if (!ok(!hone_device_open(&cpu, "cpu0"), "cpu0 opens")) return tap_end();
    if (ok(!hone_db_open(&db, path, 1), "a database")) {
        check_race();
        check_refusals();
    }
    hone_db_close(&db);
    unlink(path);
    hone_device_close(&cpu);
    return tap_end();
}
