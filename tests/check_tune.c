/* The tuner: spaces hold what they should, the race finds the best under noise, a wrong kernel is
 * recorded and never chosen, and what is known is neither measured again nor served when stale. */
#include "config.h"

#include "autotune/db.h"
#include "autotune/blocks.h"
#include "autotune/shares.h"
#include "tests/product.h"
#include "tests/tap.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern const struct hone_backend hone_backend_cpu;

static char dir[] = "/tmp/hone-tune-XXXXXX";
static struct hone_device cpu;
static struct hone_problem gemm;   /* gemm:f32:nn:m5n7k6 */

/* ---- kernels of this test: a plain gemm, with one seeded bug each, or as slow as its config says
 * ---- */

static int last(const struct hone_plan *plan)
{
    return plan->problem.dim[0] * plan->problem.dim[1] - 1;
}

static int run_right(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    product(plan, mem);
    return HONE_OK;
}

static int run_index(const struct hone_plan *plan, void *const mem[], void *w)
{
    float *c = mem[0], first;
    (void)w;
    product(plan, mem);
    first = c[0];
    c[0] = c[1];
    c[1] = first;
    return HONE_OK;
}

static int run_tail(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    product(plan, mem);
    ((float *)mem[0])[last(plan)] = 0;
    return HONE_OK;
}

static int run_unwritten(const struct hone_plan *plan, void *const mem[], void *w)
{
    float *c = mem[0], before = c[last(plan)];
    (void)w;
    product(plan, mem);
    c[last(plan)] = before;
    return HONE_OK;
}

static int run_past_end(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    product(plan, mem);
    ((float *)mem[0])[last(plan) + 1] = 1;
    return HONE_OK;
}

static int run_nan(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    product(plan, mem);
    ((float *)mem[0])[1] = NAN;
    return HONE_OK;
}

static int run_random(const struct hone_plan *plan, void *const mem[], void *w)
{
    static int calls;
    float *c = mem[0];
    (void)w;
    product(plan, mem);
    for (int i = 0; i <= last(plan); i++) c[i] *= 1 + (float)(calls % 2) * 0x1p-23f;
    calls++;
    return HONE_OK;
}

static int run_fails(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)plan, (void)mem, (void)w;
    return hone_fail(HONE_EDEVICE, "the device is on fire");
}

/* Right, and takes 20 us times what the parameters say: a bowl with its bottom at a = 3, b = 5. */
static double cost(const struct hone_config *c)
{
    int da = c->v[0] - 3, db = c->v[1] - 5;
    return 20e-6 * (1 + 0.25 * da * da + 0.15 * db * db);
}

static int run_bowl(const struct hone_plan *plan, void *const mem[], void *w)
{
    double until = hone_now() + cost(&plan->config);
    (void)w;
    product(plan, mem);
    while (hone_now() < until) {}
    return HONE_OK;
}

/* The best of its kernel, but not in the first process that it runs in: *unlucky, which processes
 * share. */
static pid_t *unlucky;

static int run_unlucky(const struct hone_plan *plan, void *const mem[], void *w)
{
    const int a = plan->config.v[0];
    if (a == 1 && !*unlucky) *unlucky = getpid();
    const double until = hone_now() + 20e-6 * (0.5 + 0.5 * a) *
                                          (a == 1 && *unlucky == getpid() ? 2.5 : 1);
    (void)w;
    product(plan, mem);
    while (hone_now() < until) {}
    return HONE_OK;
}

static int odd_sum_only(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)p, (void)d;
    return (c->v[0] + c->v[1]) % 2 == 0;
}

static int runs_until_interrupt;

static int run_interrupted(const struct hone_plan *plan, void *const mem[], void *w)
{
    if (--runs_until_interrupt == 0) raise(SIGINT);
    return run_bowl(plan, mem, w);
}

extern const struct hone_op hone_op_gemm;
static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

#define WRONG_KERNEL(what)                                                                         \
    {                                                                                              \
        .name = "test_" #what, .ops = ops, .backend = &hone_backend_cpu, .run = run_##what         \
    }
static const struct hone_kernel faulty[] = {
    WRONG_KERNEL(index), WRONG_KERNEL(tail),   WRONG_KERNEL(unwritten), WRONG_KERNEL(past_end),
    WRONG_KERNEL(nan),   WRONG_KERNEL(random), WRONG_KERNEL(fails),
};
enum { NFAULTY = sizeof faulty / sizeof *faulty };
static const struct hone_kernel right = {
    .name = "test_right", .ops = ops, .backend = &hone_backend_cpu, .run = run_right
};
static const struct hone_kernel bowl = { .name = "test_bowl",
                                         .ops = ops,
                                         .backend = &hone_backend_cpu,
                                         .run = run_bowl,
                                         .param = { HONE_PARAM("a", 1, 2, 3, 4, 5, 6),
                                                    HONE_PARAM("b", 1, 2, 3, 4, 5, 6, 7, 8) },
                                         .valid = odd_sum_only };
static const struct hone_kernel starts_badly = { .name = "test_unlucky",
                                                 .ops = ops,
                                                 .backend = &hone_backend_cpu,
                                                 .run = run_unlucky,
                                                 .param = { HONE_PARAM("a", 1, 2, 3, 4) } };
static const struct hone_kernel slow_library = { .name = "test_library",
                                                 .ops = ops,
                                                 .backend = &hone_backend_cpu,
                                                 .build = HONE_LIB,
                                                 .run = run_bowl,
                                                 .param = { HONE_PARAM("a", 8, 9),
                                                            HONE_PARAM("b", 5) } };
static const struct hone_kernel stopping = { .name = "test_stopping",
                                             .ops = ops,
                                             .backend = &hone_backend_cpu,
                                             .run = run_interrupted,
                                             .param = { HONE_PARAM("a", 1, 2, 3, 4, 5, 6),
                                                        HONE_PARAM("b", 1, 2, 3, 4, 5, 6, 7, 8) } };

static size_t room(const struct hone_problem *p, const struct hone_config *c,
                   const struct hone_device *d)
{
    (void)p, (void)d;
    return (size_t)c->v[0] << 20;
}

static const struct hone_kernel roomy = { .name = "test_roomy",
                                          .ops = ops,
                                          .backend = &hone_backend_cpu,
                                          .run = run_right,
                                          .workspace = room,
                                          .param = { HONE_PARAM("a", 8, 1, 2, 4, 6, 7),
                                                     HONE_PARAM("threads", 1, 2) } };

/* ---- spaces ---- */

static const struct hone_kernel huge = {
    .name = "test_huge",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .run = run_right,
    .param = { HONE_PARAM("a", 1, 2, 3, 4, 5, 6, 7, 8), HONE_PARAM("b", 1, 2, 3, 4, 5, 6, 7, 8),
               HONE_PARAM("c", 1, 2, 3, 4, 5, 6, 7, 8), HONE_PARAM("d", 1, 2, 3, 4, 5, 6, 7, 8),
               HONE_PARAM("e", 1, 2, 3, 4, 5, 6, 7, 8), HONE_PARAM("f", 1, 2, 3, 4, 5, 6, 7, 8),
               HONE_PARAM("g", 1, 2, 3, 4, 5, 6, 7, 8), HONE_PARAM("h", 1, 2, 3, 4, 5, 6, 7, 8) },
    .valid = odd_sum_only,
};

static int all_differ(const struct hone_space_kernel *k)
{
    for (int i = 0; i < k->n; i++)
        for (int j = 0; j < i; j++)
            if (!memcmp(&k->config[i], &k->config[j], sizeof *k->config)) return 0;
    return 1;
}

static int all_valid(const struct hone_space_kernel *k)
{
    for (int i = 0; i < k->n; i++)
        if (!hone_config_valid(k->kernel, &gemm, &k->config[i], &cpu)) return 0;
    return 1;
}

/* Over a space too large to enumerate each value of each parameter should come up equally often;
 * the bound is 5 standard deviations of a binomial, per value. */
static int even(const struct hone_space_kernel *k)
{
    double expect = k->n / 8.0, allowed = 5 * sqrt(expect * (1 - 1 / 8.0));
    for (int p = 0; p < 8; p++) {
        int times[9] = { 0 };
        for (int i = 0; i < k->n; i++) times[k->config[i].v[p]]++;
        for (int v = 1; v <= 8; v++)
            if (fabs(times[v] - expect) > allowed) {
                printf("# %s=%d came up %d times, expected %.0f\n", k->kernel->param[p].name, v,
                       times[v], expect);
                return 0;
            }
    }
    return 1;
}

static void check_spaces(void)
{
    const struct hone_kernel *list[] = { &bowl, &right, &slow_library, NULL },
                             *large[] = { &huge, &bowl, NULL };
    struct hone_tune_options o = { .seconds = -1, .kernels = list, .seed = 7 };
    struct hone_space s, t;
    ok(!hone_space_open(&s, &gemm, &cpu, &o) && s.nkernels == 3 && s.n == 24 + 1 + 2 &&
           s.nvalid == s.n,
       "a small space holds every valid config");
    ok(all_differ(&s.kernel[0]) && all_valid(&s.kernel[0]), "each once, and no other");
    struct hone_config guess;
    hone_config_guess(&bowl, &gemm, &cpu, &guess);
    ok(!memcmp(&s.kernel[0].config[0], &guess, sizeof guess), "the guess first");
    o.seed = 8;
    hone_space_open(&t, &gemm, &cpu, &o);
    ok(memcmp(s.kernel[0].config, t.kernel[0].config, 24 * sizeof guess),
       "the rest in an order of the seed's");
    hone_space_close(&t);
    o.seed = 7;
    hone_space_open(&t, &gemm, &cpu, &o);
    ok(!memcmp(s.kernel[0].config, t.kernel[0].config, 24 * sizeof guess),
       "equal seeds, equal order");
    hone_space_close(&t);
    hone_space_close(&s);
    o.builds = 1u << HONE_LIB;
    hone_space_open(&s, &gemm, &cpu, &o);
    ok(s.nkernels == 1 && s.kernel[0].kernel == &slow_library,
       "only libraries, where only they may compete");
    hone_space_close(&s);
    o.builds = 0;
    o.kernel = "test_right";
    hone_space_open(&s, &gemm, &cpu, &o);
    ok(s.nkernels == 1 && s.n == 1, "only the kernel that was named");
    hone_space_close(&s);
    o.kernel = NULL;
    o.kernels = large;
    hone_space_open(&s, &gemm, &cpu, &o);
    ok(s.nkernels == 2 && s.kernel[1].n == 24, "a sample keeps all of a small kernel's configs");
    ok(s.kernel[0].n > 300 && all_differ(&s.kernel[0]) && all_valid(&s.kernel[0]),
       "and of a huge one a sample: %d, all different, all valid", s.kernel[0].n);
    ok(fabs((double)s.kernel[0].nvalid / 8388608 - 1) < 0.2,
       "whose size it estimates: %lld of 8388608", (long long)s.kernel[0].nvalid);
    ok(even(&s.kernel[0]), "every value equally likely");
    hone_space_close(&s);
}

/* ---- the race, on times that are made up ---- */

enum { NRACERS = 24 };

struct course {
    double ms[NRACERS];      /* true times */
    double noise;            /* each window: up to this share longer */
    int windows[NRACERS], fails;
    uint64_t at;
};

static int made_up(void *ctx, int i, double *ms)
{
    struct course *c = ctx;
    c->windows[i]++;
    if (i == c->fails) return hone_fail(HONE_EDEVICE, "flat tyre");
    *ms = c->ms[i] * (1 + c->noise * hone_random_unit(99, c->at++));
    return HONE_OK;
}

static double calm(void *ctx) { (void)ctx; return 1; }

static void start(struct hone_race *r, struct hone_racer racer[], struct course *c, double step,
                  double noise)
{
    memset(racer, 0, NRACERS * sizeof *racer);
    *c = (struct course){ .noise = noise, .fails = -1 };
    *r = (struct hone_race){
        .n = NRACERS, .racer = racer, .window = made_up, .sentinel = calm, .ctx = c, .seed = 3,
        .rounds = 31
    };
    /* The fastest is number 17, the library number 4; 20 alone has another kernel. */
    for (int i = 0; i < NRACERS; i++) {
        racer[i].kernel = i == 4 ? &slow_library : i == 20 ? &right : &bowl;
        c->ms[i] = 1 + step * ((i + NRACERS - 17) % NRACERS);
    }
}

static int fastest(const struct hone_race *r)
{
    int best = -1;
    double least = 0;
    for (int i = 0; i < r->n; i++) {
        double t[HONE_RACE_ROUNDS];
        if (r->racer[i].out) continue;
        memcpy(t, r->racer[i].ms, sizeof t);
        double median = hone_stats_of(t, r->racer[i].n).median;
        if (best < 0 || median < least) { best = i; least = median; }
    }
    return best;
}

static void check_race(void)
{
    static struct hone_racer racer[NRACERS];
    struct hone_race r;
    struct course c;
    int windows = 0, in = 0;
    start(&r, racer, &c, 0.05, 0.2);
    ok(!hone_race_run(&r) && fastest(&r) == 17,
       "the fastest of 24 is found, though windows vary by 20 %%");
    for (int i = 0; i < NRACERS; i++) windows += c.windows[i];
    ok(windows < NRACERS * r.nrounds * 2 / 3, "losers leave early: %d windows instead of %d",
       windows, NRACERS * r.nrounds);
    ok(!racer[4].out && !racer[20].out,
       "the best library and the best other kernel stay to the end");
    ok(racer[16].out && racer[16].n < 6 && strstr(racer[16].why, "times the leader's"),
       "the slowest goes first, with a reason");
    ok(racer[4].n == r.nrounds && racer[17].n == r.nrounds,
       "and all who finished ran in the same rounds");

    start(&r, racer, &c, 0, 0.02);
    hone_race_run(&r);
    for (int i = 0; i < NRACERS; i++) in += !racer[i].out;
    ok(in >= NRACERS - 2, "of equals nobody is dropped as a loser: %d of %d stay", in, NRACERS);
    ok(r.nrounds == r.rounds, "a tie takes its rounds");

    start(&r, racer, &c, 0.5, 0.001);
    racer[2].incumbent = racer[15].front = 1;
    hone_race_run(&r);
    for (int i = in = 0; i < NRACERS; i++) in += !racer[i].out;
    ok(in < 8, "in a clear case few stay: %d", in);
    ok(!racer[2].out, "the incumbent stays to the end");
    ok(!racer[15].out && racer[14].out, "so does the best for a workspace, however slow");

    start(&r, racer, &c, 0.05, 0.2);
    c.fails = 17;
    ok(!hone_race_run(&r) && racer[17].err == HONE_EDEVICE && fastest(&r) == 18 &&
           strstr(racer[17].why, "flat tyre"),
       "who fails in a race is out, and the next one wins");

    start(&r, racer, &c, 0.05, 0.2);
    r.deadline = hone_now() - 1;
    ok(!hone_race_run(&r) && r.nrounds == 3 && fastest(&r) >= 0,
       "without time three rounds are run");
}

/* ---- tuning ---- */

struct tally {
    int n, status[4];
    char why[256];
};

struct find {
    const char *kernel;
    struct tally t;
};

static int tally_one(void *ctx, const struct hone_record *r)
{
    struct find *f = ctx;
    if (f->kernel && strcmp(r->kernel, f->kernel)) return 0;
    f->t.n++;
    f->t.status[r->status]++;
    snprintf(f->t.why, sizeof f->t.why, "%s", r->why);
    return 0;
}

static struct tally tally(struct hone_db *db, const char *kernel)
{
    struct find f = { .kernel = kernel };
    hone_db_each(db, NULL, NULL, tally_one, &f);
    return f.t;
}

static void open_db(struct hone_db *db, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (hone_db_open(db, path, 1)) printf("# %s\n", hone_errmsg());
}

static void check_faults(void)
{
    const struct hone_kernel *list[NFAULTY + 2] = { NULL };
    struct hone_tune_options o = {
        .kernels = list, .seconds = 20, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1
    };
    struct hone_tune_result r;
    struct hone_db db;
    for (int i = 0; i < NFAULTY; i++) list[i] = &faulty[i];
    list[NFAULTY] = &right;
    open_db(&db, "faults.db");
    int err = hone_tune(&db, &gemm, &cpu, &o, &r);
    if (!ok(!err && !strcmp(r.podium.best.kernel, "test_right"),
            "among %d faulty kernels the right one is chosen", NFAULTY))
        printf("# %s\n", hone_errmsg());
    ok(r.ncandidates == NFAULTY + 1 && r.nwrong == NFAULTY - 1 && r.nfailed == 1 && r.ntimed == 1 &&
           r.wrong[0],
       "every outcome is counted");
    for (int i = 0; i < NFAULTY; i++) {
        struct tally t = tally(&db, faulty[i].name);
        int as = i == NFAULTY - 1 ? HONE_FAILED : HONE_WRONG;
        ok(t.n == 1 && t.status[as] == 1 && t.why[0], "%s is recorded as %s: %s", faulty[i].name,
           hone_status_name((enum hone_status)as), t.why);
    }
    list[NFAULTY] = NULL;
    hone_db_close(&db);
    open_db(&db, "hopeless.db");
    ok(hone_tune(&db, &gemm, &cpu, &o, &r) == HONE_EWRONG && !strchr(hone_errmsg(), '\n'),
       "nobody right: an error that says who and why");
    ok(tally(&db, NULL).status[HONE_WRONG] == NFAULTY - 1 &&
           tally(&db, NULL).status[HONE_TIMED] == 0,
       "and nothing is timed");
    o.again = 1;
    hone_tune(&db, &gemm, &cpu, &o, &r);
    ok(r.nwrong == 0 && tally(&db, NULL).status[HONE_WRONG] == NFAULTY - 1,
       "who was wrong is not tried again");
    hone_db_close(&db);
}

static void check_search(void)
{
    const struct hone_kernel *list[] = { &slow_library, &bowl, &right, NULL },
                             *hard[] = { &slow_library, &bowl, NULL };
    struct hone_tune_options o = {
        .kernels = hard, .seconds = 8, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1
    };
    struct hone_tune_result r;
    struct hone_db db;
    /* The kernels wait by the clock, so another process that holds the core for a trial's few
     * windows makes a good candidate a bad one: two of three sessions that know nothing of each
     * other. */
    int err = HONE_OK, found = 0;
    for (int i = 0; i < 3 && !err && found < 2; i++) {
        if (i) hone_db_close(&db);
        open_db(&db, i == 0 ? "search.db" : i == 1 ? "search2.db" : "search3.db");
        err = hone_tune(&db, &gemm, &cpu, &o, &r);
        found += !strcmp(r.podium.best.kernel, "test_bowl") &&
                 !strcmp(r.podium.best.config, "a=3,b=5");
    }
    if (!ok(!err && found == 2, "the bottom of the bowl is found"))
        printf("# %s %s, %d tried\n", r.podium.best.kernel, r.podium.best.config, r.ncandidates);
    ok(!strcmp(r.podium.library.kernel, "test_library") && r.podium.library.n > HONE_BLOCK_FIRST,
       "the library ran with it to the end");
    ok(!strcmp(r.podium.runner_up.kernel, "test_library"), "and is the best of another kernel");
    ok(r.ncandidates == r.ntimed + r.nwrong + r.nfailed + r.ndropped &&
           tally(&db, NULL).n == r.ncandidates,
       "there is a record of every candidate");
    ok(r.podium.best.n >= 3 && r.podium.best.ms_lo <= r.podium.best.ms_median &&
           r.podium.best.ms_median <= r.podium.best.ms_hi,
       "with its interval");
    o.kernels = list;
    hone_db_close(&db);
    open_db(&db, "small.db");
    o.seconds = 1e-3;
    double began = hone_now();
    err = hone_tune(&db, &gemm, &cpu, &o, &r);
    ok(!err && r.ntimed >= 1 && r.podium.best.n > 0 && hone_now() - began < 2,
       "a budget of a millisecond gives a winner, too");
    hone_db_close(&db);
}

/* A real kernel of the registry, so that what was found can be looked up. */
static void check_again(void)
{
    const struct hone_kernel *list[] = { &starts_badly, NULL };
    struct hone_tune_options o = {
        .kernels = list, .seconds = 8, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1
    };
    struct hone_tune_result r;
    struct hone_db db;
    unlucky = mmap(NULL, sizeof *unlucky, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!ok(unlucky != MAP_FAILED, "memory that processes share")) return;
    open_db(&db, "again.db");
    const int err = hone_tune(&db, &gemm, &cpu, &o, &r);
    if (!ok(!err && *unlucky && !strcmp(r.podium.best.config, "a=1"),
            "whose first trial was unlucky is asked again, and wins"))
        printf("# %s, %.4f ms, %d tried\n", r.podium.best.config, r.podium.best.ms_median,
               r.ncandidates);
    hone_db_close(&db);
    munmap(unlucky, sizeof *unlucky);
}

static void check_known(void)
{
    const struct hone_kernel *one[] = { NULL, NULL }, *two[] = { NULL, NULL, NULL };
    struct hone_tune_options o = {
        .kernels = one, .seconds = 1, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1
    };
    struct hone_tune_result r;
    struct hone_plan plan;
    struct hone_db db;
    int known, n = 0;
    for (int i = 0; hone_kernels[i] && n < 2; i++)
        if (!hone_kernels[i]->slow && !hone_kernel_refuse(hone_kernels[i], &gemm, &cpu) &&
            (!hone_kernels[i]->suits || hone_kernels[i]->suits(&gemm, &cpu)))
            two[n++] = hone_kernels[i];
    if (!ok(n == 2, "the registry has two kernels for this problem")) return;
    one[0] = two[1];
    open_db(&db, "known.db");
    o.seconds = 0;
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && !r.ncandidates && r.podium.best.kernel[0] &&
           !r.podium.best.n && !tally(&db, NULL).n,
       "a budget of 0 measures nothing and says what would be used");
    o.seconds = 1;
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && !r.known && r.podium.best.n,
       "an unknown problem is tuned");
    char config[HONE_TEXT], used[HONE_TEXT];
    snprintf(config, sizeof config, "%s", r.podium.best.config);
    ok(!hone_plan_best(&plan, &db, &gemm, &cpu, NULL, &known) && known && plan.kernel == one[0],
       "and its winner is what plans use");
    hone_config_print(plan.kernel, &plan.config, used);
    ok(!strcmp(used, config), "with the config that won");
    int records = tally(&db, NULL).n;
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && r.known && !r.ncandidates &&
           tally(&db, NULL).n == records,
       "a known problem is left alone");
    o.kernels = two;
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && !r.known && r.ncandidates > 0,
       "unless a kernel came that was never tried");
    records = tally(&db, NULL).n;
    o.again = 1;
    o.kernels = NULL;
    o.kernel = two[0]->name;
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && tally(&db, NULL).n > records,
       "or it is asked for again");
    struct hone_problem other;
    struct hone_plan like;
    hone_problem_parse("gemm:f32:nn:m6n7k6", &other);
    hone_plan_close(&plan);
    hone_plan_open(&like, &gemm, two[1], NULL, &cpu);
    ok(!hone_plan_best(&plan, &db, &other, &cpu, &like, &known) && !known && plan.kernel == two[1],
       "without a record a like plan's kernel is used");
    hone_plan_close(&plan);
    ok(!hone_plan_best(&plan, NULL, &other, &cpu, NULL, &known) && !known && plan.kernel == two[0],
       "and without that the default, even without a database");
    hone_plan_close(&plan);
    hone_plan_close(&like);
    hone_db_close(&db);
}

/* The incumbent of a database takes part in sessions that would not admit it, so that these cannot
 * hide it. */
static void check_incumbent(void)
{
    struct hone_tune_options o = { .seconds = 1, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1 };
    struct hone_tune_result r;
    struct hone_db db;
    const struct hone_kernel *worse = NULL;
    open_db(&db, "incumbent.db");
    hone_tune(&db, &gemm, &cpu, &o, &r);
    for (int i = 0; hone_kernels[i]; i++)
        if (!hone_kernel_refuse(hone_kernels[i], &gemm, &cpu) &&
            strcmp(hone_kernels[i]->name, r.podium.best.kernel))
            worse = hone_kernels[i];
    if (!ok(worse != NULL, "there is a worse kernel than the winner: the reference")) return;
    char winner[64];
    snprintf(winner, sizeof winner, "%s", r.podium.best.kernel);
    o.again = 1;
    o.kernel = worse->name;
    int err = hone_tune(&db, &gemm, &cpu, &o, &r);
    if (!ok(!err && strcmp(r.podium.best.kernel, worse->name),
            "a session for %s alone does not make it best", worse->name))
        printf("# %s is best, was %s\n", r.podium.best.kernel, winner);
    hone_db_close(&db);
}

struct timings { struct hone_plan plan; int n; };

static int count_timed(void *ctx, const struct hone_record *r)
{
    struct timings *t = ctx;
    char config[HONE_TEXT];
    hone_config_print(t->plan.kernel, &t->plan.config, config);
    t->n += r->status == HONE_TIMED && !strcmp(r->kernel, t->plan.kernel->name) &&
            !strcmp(r->config, config);
    return 0;
}

/* Of a database that knows but a library, which is no default, and in no time. */
static void check_usual(void)
{
    struct hone_tune_options o = { .seconds = 1e-9, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1,
                                   .again = 1, .kernel = "lib_openblas" };
    struct hone_tune_result r;
    struct hone_db db;
    struct timings usual = { .n = 0 };
    char text[HONE_TEXT];
    open_db(&db, "usual.db");
    hone_problem_print(&gemm, text);
    if (hone_plan_default(&usual.plan, &gemm, &cpu)) abort();
    int err = hone_tune(&db, &gemm, &cpu, &o, &r);
    if (!err) err = hone_db_each(&db, cpu.id, text, count_timed, &usual);
    ok(!err && !strcmp(r.podium.best.kernel, "lib_openblas") && !usual.n,
       "a session for a library alone, in no time: it is the best that is known");
    o.kernel = NULL;
    err = hone_tune(&db, &gemm, &cpu, &o, &r);
    if (!err) err = hone_db_each(&db, cpu.id, text, count_timed, &usual);
    ok(!err && usual.n == 1, "the next one, for all, times what runs untuned, too: %s",
       usual.plan.kernel->name);
    hone_plan_close(&usual.plan);
    hone_db_close(&db);
}

/* ---- shares of a budget ---- */

static double sum_of(const struct hone_share s[], int from, int to)
{
    double sum = 0;
    for (int i = from; i < to; i++) sum += s[i].share;
    return sum;
}

/* Two steps, the first of them there three times, and two ops in place of them: of 16 steps, and
 * of one. */
static void check_shares(void)
{
    enum { MANY, ONE, PARTS, N = 4 };
    struct hone_share s[N] = {
        [MANY] = { .use = { .times = 1, .whole = 16, .in = 1, .each = 1 }, .estimate = 1 },
        [ONE] = { .use = { .times = 1, .whole = 1, .in = 1, .each = 1 }, .estimate = 1 },
        [PARTS] = { .use = { .times = 6, .in = 1, .each = 3 }, .estimate = 9 },
        [PARTS + 1] = { .use = { .times = 2, .in = 1, .each = 1 }, .estimate = 9 },
    };
    hone_shares_set(s + PARTS, 2);
    ok(fabs(sum_of(s, PARTS, N) - 1) < 1e-12 && fabs(s[PARTS].share - 0.625) < 1e-12,
       "steps alone share half evenly, half by their work");
    ok(!hone_shares_whole(s + PARTS, 2) && hone_shares_whole(s, N),
       "a whole step among problems is seen");
    hone_shares_set(s, N);
    ok(fabs(sum_of(s, 0, PARTS) - 5 / 6.0) < 1e-12 && fabs(sum_of(s, 0, N) - 1) < 1e-12,
       "of a whole step nothing is known: it gets five sixths");
    s[PARTS].ms = 2, s[PARTS + 1].ms = 4;   /* 10 ms a step */
    s[MANY].ms = 16 * 9, s[ONE].ms = 11;
    hone_shares_set(s, N);
    ok(fabs(sum_of(s, 0, PARTS) - 5 / 6.0) < 1e-12 && !s[MANY].lost && !s[ONE].lost &&
           !s[PARTS].lost,
       "nothing changes where one form is ahead, and the other is not");
    s[MANY].ms = 16 * 11;
    hone_shares_set(s, N);
    ok(fabs(sum_of(s, 0, PARTS) - 1 / 6.0) < 1e-12, "the steps are ahead: five sixths for them");
    s[MANY].ms = 16 * 20;
    hone_shares_set(s, N);
    ok(s[MANY].lost && !s[MANY].share && !s[ONE].lost && fabs(sum_of(s, 0, N) - 1) < 1e-12,
       "an op that takes twice as long as its steps has lost");
    s[PARTS].ms = 0;
    hone_shares_set(s, N);
    ok(!s[MANY].lost, "but not while one of these is not known");
    s[PARTS].ms = 2;
    s[MANY].ms = 16 * 5, s[ONE].ms = 6;
    hone_shares_set(s, N);
    ok(!s[PARTS].lost, "one of two forms wins by far: the steps may still be needed");
    s[ONE].ms = 5;
    hone_shares_set(s, N);
    ok(s[PARTS].lost && s[PARTS + 1].lost && fabs(s[MANY].share + s[ONE].share - 1) < 1e-12,
       "both do: the steps have lost");
    s[PARTS].use.in = 3;
    hone_shares_set(s, N);
    ok(!s[PARTS].lost && s[PARTS + 1].lost, "but not one that another optimizer's step has, too");
    s[PARTS].use.in = 0;
    hone_shares_set(s, N);
    ok(!s[PARTS].lost && s[PARTS].share > 0, "nor one that is of no such net");
}

static int is_lean(void *ctx, const struct hone_record *r)
{
    *(int *)ctx += !strcmp(r->config, "a=6,threads=1") && r->workspace_bytes == 6 << 20;
    return 0;
}

/* Who needs much workspace has a neighbour tried that needs a quarter less. */
static void check_leaner(void)
{
    const struct hone_kernel *list[] = { &roomy, NULL };
    struct hone_tune_options o = { .kernels = list, .seconds = 4, .cache = HONE_CACHE_WARM,
                                   .seed = 1, .quiet = 1, .trials = 1 };
    struct hone_tune_result r;
    struct hone_db db;
    int lean = 0;
    open_db(&db, "lean.db");
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && r.ncandidates == 2 &&
           !hone_db_each(&db, NULL, NULL, is_lean, &lean) && lean,
       "of what needs 8 MiB the nearest that needs 6 or less is tried, too");
    hone_db_close(&db);
}

/* A hint is tried even where no search follows. */
static void check_hint(void)
{
    const struct hone_kernel *list[] = { &bowl, NULL };
    struct hone_record hint = { .kernel = "test_bowl", .config = "a=3,b=5" };
    struct hone_tune_options o = { .kernels = list, .seconds = 4, .cache = HONE_CACHE_WARM,
                                   .seed = 1, .quiet = 1, .trials = 1 };
    struct hone_tune_result r;
    struct hone_db db;
    open_db(&db, "hint.db");
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && r.ncandidates == 1 &&
           strcmp(r.podium.best.config, hint.config),
       "a search of one trial finds the guess alone");
    o.hint = &hint;
    o.again = 1;
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r) && !strcmp(r.podium.best.config, hint.config),
       "what was best of a like problem is tried with it");
    snprintf(hint.kernel, sizeof hint.kernel, "no_such");
    ok(!hone_tune(&db, &gemm, &cpu, &o, &r), "a hint at a kernel that is gone is none");
    hone_db_close(&db);
}

/* Last, since an interruption cannot be taken back. */
static void check_interrupt(void)
{
    const struct hone_kernel *list[] = { &stopping, NULL };
    struct hone_tune_options o = {
        .kernels = list, .seconds = -1, .cache = HONE_CACHE_WARM, .seed = 1, .quiet = 1
    };
    struct hone_tune_result r;
    struct hone_db db;
    hone_catch_interrupt();
    open_db(&db, "interrupt.db");
    runs_until_interrupt = 400;
    ok(hone_tune(&db, &gemm, &cpu, &o, &r) == HONE_EINTR, "Ctrl-C ends the search");
    struct tally t = tally(&db, NULL);
    ok(t.n > 0 && t.n == r.ntimed + r.ndropped && t.n < 48 && r.podium.best.n,
       "and all %d candidates so far are kept", t.n);
    hone_db_close(&db);
}

int main(void)
{
    char command[128];
    if (!mkdtemp(dir) || hone_device_open(&cpu, "cpu0") ||
        hone_problem_parse("gemm:f32:nn:m5n7k6", &gemm)) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    check_spaces();
    check_race();
    check_faults();
    check_search();
    check_again();
    check_known();
    check_incumbent();
    check_usual();
    check_shares();
    check_leaner();
    check_hint();
    check_interrupt();
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) printf("# %s is left behind\n", dir);
    hone_device_close(&cpu);
    return tap_end();
}
