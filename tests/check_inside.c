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

static void check_race(void)
{
    struct hone_problem p;
    struct hone_record alone[48], now[48];
    int err = tune(1.5);
    if (!err) err = hone_problem_parse(conv, &p);
    const int before = err ? 0 : hone_db_best(&db, &p, &cpu, alone, 48);
    int near = 0;
    for (int i = 0; i < before; i++) near += alone[i].ms_median <= 1.4 * alone[0].ms_median;
    if (near > 6) near = 6;
    if (!err) err = race("lenet5", "f32", "sgd,adam", 0.5);
    if (!ok(!err, "a net's problem is raced inside it"))
        printf("# %s\n", hone_errmsg());
    const struct seen s = count();
    const int n = hone_db_best(&db, &p, &cpu, now, 48);
    ok(near > 1 ? s.inside >= 1 && s.inside <= near && n == s.inside && s.alone >= before && !s.slow
                : !s.inside,
       "%d of %d records were near the best alone; %d times inside, of one session", near, before,
       s.inside);
    int known = 0, first = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < before; k++)
            known += !strcmp(now[i].kernel, alone[k].kernel) &&
                     !strcmp(now[i].config, alone[k].config);
    ok(near < 2 || (known == n && !strcmp(now[0].cache, "net")),
       "what they took there is what is served now");
    /* It is among them, and who is ahead of it is so beyond doubt. */
    for (int i = 0; i < n; i++)
        first |= !strcmp(now[i].kernel, alone[0].kernel) && !strcmp(now[i].config, alone[0].config);
    ok(first || near < 2, "the fastest alone among them");
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
