/* Candidates that do every kind of harm: each is a record of the right class, none is tried twice,
 * none is blamed for what another did, and the session goes on to its end. */
#include "config.h"

#include "autotune/db.h"
#include "autotune/race.h"
#include "tests/product.h"
#include "tests/tap.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

extern const struct hone_backend hone_backend_cpu;
extern const struct hone_op hone_op_gemm;

static char dir[] = "/tmp/hone-faults-XXXXXX";
static struct hone_device cpu;
static struct hone_problem gemm;   /* gemm:f32:nn:m5n7k6 */
static volatile int zero, sink;

enum { LAST = 5 * 7 - 1 };

/* ---- harm ---- */

typedef void harm_fn(float *c, const float *b, float *workspace);

static void null_write(float *c, const float *b, float *w)
{
    (void)c, (void)b, (void)w;
    *(volatile int *)(uintptr_t)zero = 1;
}
static void far_write(float *c, const float *b, float *w)
{
    (void)b, (void)w;
    ((volatile float *)c)[(int64_t)1 << 40] = 1;
}
static void divide(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; sink = 1 / zero; raise(SIGFPE); }
static void illegal(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; raise(SIGILL); }
static void aborts(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; abort(); }
static int deeper(int n)
{
    volatile char room[4096];
    room[n % 4096] = (char)n;
    return n < 0 ? 0 : deeper(n + 1) + room[(n + 1) % 4096];
}
static void overflow(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; sink = deeper(1); }
static void spins(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; while (!zero) {} }
static void sleeps(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; while (!zero) pause(); }
static void exits(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; exit(0); }
static void exits3(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; _exit(3); }
static void killed(float *c, const float *b, float *w) { (void)c, (void)b, (void)w; kill(getpid(), SIGKILL); }
static void eats(float *c, const float *b, float *w)
{
    (void)c, (void)b, (void)w;
    for (;;) *(volatile char *)malloc(4 << 20) = 1;
}
static void past_end(float *c, const float *b, float *w) { (void)b, (void)w; c[LAST + 1 + zero] = 1; }
static void before(float *c, const float *b, float *w) { (void)b, (void)w; c[-1 - zero] = 1; }
static void past_workspace(float *c, const float *b, float *w) { (void)c, (void)b; w[16] = 1; }
static void input(float *c, const float *b, float *w) { (void)c, (void)w; ((float *)(uintptr_t)b)[1] += 1; }
static void nan_one(float *c, const float *b, float *w) { (void)b, (void)w; c[3] = NAN; }
static void wrong(float *c, const float *b, float *w) { (void)b, (void)w; c[LAST] += 1; }
static void inf(float *c, const float *b, float *w) { (void)b, (void)w; c[0] = INFINITY; }
static void unstable(float *c, const float *b, float *w)
{
    static int calls;
    (void)b, (void)w;
    for (int i = 0; i <= LAST; i++) c[i] *= 1 + (float)(calls % 2) * 0x1p-23f;
    calls++;
}

/* ---- kernels: one of each harm, in 48 configs that differ in name only ---- */

#define EACH_HARM(X)                                                                               \
    X(null_write, CRASH) X(far_write, CRASH) X(divide, CRASH) X(illegal, CRASH) X(aborts, CRASH)   \
    X(overflow, CRASH) X(killed, CRASH) X(exits, EXIT) X(exits3, EXIT)                             \
    X(eats, MEMORY) X(past_end, OVERRUN) X(before, OVERRUN)                                        \
    X(past_workspace, OVERRUN) X(input, INPUT) X(nan_one, NAN) X(wrong, VALUE) X(inf, VALUE)       \
    X(unstable, UNSTABLE)

static size_t cache_line(const struct hone_problem *p, const struct hone_config *c,
                         const struct hone_device *d)
{
    (void)p, (void)c, (void)d;
    return 64;
}

#define RUN(what, fault)                                                                           \
    static int run_##what(const struct hone_plan *plan, void *const mem[], void *w)                \
    {                                                                                              \
        harm_fn *harm = what;                                                                      \
        product(plan, mem);                                                                        \
        harm(mem[0], mem[2], w);                                                                   \
        return HONE_OK;                                                                            \
    }
EACH_HARM(RUN)
RUN(spins, HANG)
RUN(sleeps, HANG)

static int run_right(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    product(plan, mem);
    return HONE_OK;
}
static int run_error(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)plan, (void)mem, (void)w;
    return hone_fail(HONE_EDEVICE, "the device is on fire");
}
static int cannot_open(struct hone_plan *plan)
{
    (void)plan;
    return hone_fail(HONE_EIO, "the compiler says no");
}
static int no_memory(struct hone_plan *plan)
{
    (void)plan;
    return hone_fail(HONE_ENOMEM, "no room for a table");
}
static int crashes_open(struct hone_plan *plan)
{
    (void)plan;
    null_write(NULL, NULL, NULL);
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

#define CONFIGS .param = { HONE_PARAM("a", 1, 2, 3, 4, 5, 6), HONE_PARAM("b", 1, 2, 3, 4, 5, 6, 7, 8) }
#define COMMON .ops = ops, .backend = &hone_backend_cpu, .workspace = cache_line
#define KERNEL(what, fault) { .name = "test_" #what, COMMON, CONFIGS, .run = run_##what },
#define CLASS(what, fault) HONE_FAULT_##fault,

static const struct hone_kernel harmful[] = {
    EACH_HARM(KERNEL)
    { .name = "test_spins", COMMON, .run = run_spins, .param = { HONE_PARAM("a", 1, 2, 3, 4, 5, 6) } },
    { .name = "test_sleeps", COMMON, .run = run_sleeps, .param = { HONE_PARAM("a", 1, 2, 3) } },
    { .name = "test_error", COMMON, CONFIGS, .run = run_error },
    { .name = "test_build", COMMON, CONFIGS, .run = run_right, .prepare = cannot_open, .build = HONE_JIT },
    { .name = "test_no_memory", COMMON, CONFIGS, .run = run_right, .prepare = no_memory },
    { .name = "test_crashes_open", COMMON, CONFIGS, .run = run_right, .prepare = crashes_open },
};
static const enum hone_fault class_of[] = {
    EACH_HARM(CLASS) HONE_FAULT_HANG, HONE_FAULT_HANG, HONE_FAULT_ERROR, HONE_FAULT_BUILD, HONE_FAULT_MEMORY, HONE_FAULT_CRASH,
};
enum { NHARMFUL = sizeof harmful / sizeof *harmful };

/* A hang takes its time: those are fewer. */
static int configs_of(int i)
{
    int n = 1;
    for (int p = 0; p < 2 && harmful[i].param[p].name; p++) n *= harmful[i].param[p].nvalues;
    return n;
}

static const struct hone_kernel right = { .name = "test_right", COMMON, .run = run_right };

/* ---- harm that comes late, and harm done to others ---- */

/* Two milliseconds a run: the proof and the first time take some fifteen of them. */
static int late(const struct hone_plan *plan, void *const mem[], harm_fn *harm)
{
    static int runs;
    double until = hone_now() + 0.002;
    product(plan, mem);
    while (hone_now() < until) {}
    if (++runs > 16) harm(mem[0], mem[2], NULL);
    return HONE_OK;
}
static int run_late_crash(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    return late(plan, mem, null_write);
}
static int run_late_hang(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    return late(plan, mem, spins);
}
static int run_late_exit(const struct hone_plan *plan, void *const mem[], void *w)
{
    (void)w;
    return late(plan, mem, exits);
}
static const struct hone_kernel late_ones[] = {
    { .name = "test_late_crash", COMMON, .run = run_late_crash },
    { .name = "test_late_hang", COMMON, .run = run_late_hang },
    { .name = "test_late_exit", COMMON, .run = run_late_exit },
};
static const enum hone_fault late_class[] = { HONE_FAULT_CRASH, HONE_FAULT_HANG, HONE_FAULT_EXIT };

static int poisoned;   /* of the process */

static int run_poison(const struct hone_plan *plan, void *const mem[], void *w)
{
    poisoned = 1;
    return run_right(plan, mem, w);
}
static int run_victim(const struct hone_plan *plan, void *const mem[], void *w)
{
    if (poisoned) abort();
    return run_right(plan, mem, w);
}
static const struct hone_kernel poison = { .name = "test_poison", COMMON, .run = run_poison },
                                victim = { .name = "test_victim", COMMON, .run = run_victim };

/* ---- sessions ---- */

static const struct hone_tune_options quick = { .seconds = -1,
                                                .search = "exhaustive",
                                                .cache = HONE_CACHE_WARM,
                                                .seed = 1,
                                                .quiet = 1,
                                                .candidate_seconds = 0.2,
                                                .candidate_bytes = 96 << 20 };

struct tally {
    const char *kernel;
    int n, fault[HONE_NFAULTS];
    char why[256];
};

static int tally_one(void *ctx, const struct hone_record *r)
{
    struct tally *t = ctx;
    if (strcmp(r->kernel, t->kernel)) return 0;
    t->n++;
    t->fault[hone_record_fault(r)]++;
    snprintf(t->why, sizeof t->why, "%s", r->why);
    return 0;
}

static struct tally tally(struct hone_db *db, const char *kernel)
{
    struct tally t = { .kernel = kernel };
    hone_db_each(db, NULL, NULL, tally_one, &t);
    return t;
}

static int session(struct hone_db *db, const struct hone_kernel *const list[], int again,
                   struct hone_tune_result *r)
{
    struct hone_tune_options o = quick;
    o.kernels = list;
    o.again = again;
    o.builds = 1u << HONE_AOT | 1u << HONE_LIB | 1u << HONE_JIT;
    int err = hone_tune(db, &gemm, &cpu, &o, r);
    if (err) printf("# %s\n", hone_errmsg());
    return err;
}

static void open_db(struct hone_db *db, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (hone_db_open(db, path, 1)) printf("# %s\n", hone_errmsg());
}

__attribute__((unused)) static void check_thousand(void)
{
    const struct hone_kernel *list[NHARMFUL + 2] = { NULL };
    struct hone_tune_result r, again;
    struct hone_db db;
    int all = 0;
    for (int i = 0; i < NHARMFUL; i++) { list[i] = &harmful[i]; all += configs_of(i); }
    list[NHARMFUL] = &right;
    open_db(&db, "thousand.db");
    double started = hone_now();
    int err = session(&db, list, 0, &r);
    ok(!err && !strcmp(r.podium.best.kernel, "test_right"),
       "among %d candidates that do harm the one that is right is chosen", r.nwrong + r.nfailed);
    ok(r.nwrong + r.nfailed == all && r.nwrong + r.nfailed >= 1000 && r.ntimed == 1,
       "every one was tried: %d wrong, %d failed", r.nwrong, r.nfailed);
    printf("# %.1f s\n", hone_now() - started);
    for (int i = 0; i < NHARMFUL; i++) {
        struct tally t = tally(&db, harmful[i].name);
        int n = configs_of(i), good = t.n == n && t.fault[class_of[i]] == n;
        ok(good, "%s: %d of %d recorded as %s: %s", harmful[i].name, t.fault[class_of[i]],
           n, hone_fault_name(class_of[i]), t.why);
    }
    err = session(&db, list, 1, &again);
    ok(!err && again.ncandidates == 1 && again.ntimed == 1, "and none is tried again: %d were",
       again.ncandidates - again.ntimed);
    hone_db_close(&db);
}

__attribute__((unused)) static void check_late(void)
{
    for (int i = 0; i < 3; i++) {
        const struct hone_kernel *list[] = { &right, &late_ones[i], NULL };
        struct hone_tune_result r;
        struct hone_db db;
        open_db(&db, late_ones[i].name);
        int err = session(&db, list, 0, &r);
        struct tally t = tally(&db, late_ones[i].name);
        ok(!err && !strcmp(r.podium.best.kernel, "test_right") && r.podium.best.n >= 11,
           "%s: the race goes on without it, %d rounds", late_ones[i].name, r.podium.best.n);
        ok(t.n == 1 && t.fault[late_class[i]] == 1 && strstr(t.why, "in the race"),
           "and it is recorded as %s: %s", hone_fault_name(late_class[i]), t.why);
        hone_db_close(&db);
    }
}

static void check_blame(void)
{
    const struct hone_kernel *list[] = { &poison, &victim, NULL };
    struct hone_tune_result r;
    struct hone_db db;
    open_db(&db, "blame.db");
    /* Both race in one process in the end, where the damage is done again: but not before. */
    int err = session(&db, list, 0, &r);
    struct tally t = tally(&db, "test_victim");
    ok(!err && t.n == 1 && !strstr(t.why, "in the proof"),
       "nobody is blamed for the damage that another did before");
    hone_db_close(&db);
}

/* ---- what it costs ---- */

static double cpu_seconds(void)
{
    double s = 0;
    static const int who[] = { RUSAGE_SELF, RUSAGE_CHILDREN };
    for (int i = 0; i < 2; i++) {
        struct rusage u;
        getrusage(who[i], &u);
        s += (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec +
             (double)u.ru_stime.tv_sec + 1e-6 * (double)u.ru_stime.tv_usec;
    }
    return s;
}

/* Processor time of a full session, per candidate, in a worker and without one; what the kernels
 * themselves take is the same. */
static void check_cost(void)
{
    const struct hone_kernel *list[] = { &right, NULL };
    double cost[2] = { 0 };
    enum { PAIRS = 5 };
    for (int pair = 0; pair < PAIRS; pair++)
        for (int apart = 0; apart < 2; apart++) {
            struct hone_tune_options o = quick;
            struct hone_tune_result r;
            struct hone_db db;
            char name[32];
            snprintf(name, sizeof name, "cost%d%d.db", pair, apart);
            open_db(&db, name);
            o.kernels = list;
            o.in_process = !apart;
            double before = cpu_seconds();
            if (hone_tune(&db, &gemm, &cpu, &o, &r)) printf("# %s\n", hone_errmsg());
            cost[apart] += (cpu_seconds() - before) / PAIRS;
            hone_db_close(&db);
        }
    printf("# a session of one candidate: %.2f ms of processor time in a worker, %.2f without\n",
           1e3 * cost[1], 1e3 * cost[0]);
    ok(cost[1] - cost[0] < 0.05, "a worker costs %.2f ms a problem", 1e3 * (cost[1] - cost[0]));
}

int main(void)
{
    if (!mkdtemp(dir) || hone_device_open(&cpu, "cpu0") ||
        hone_problem_parse("gemm:f32:nn:m5n7k6", &gemm)) {
        printf("Bail out! no place to test in\n");
        return 1;
    }
#ifdef __SANITIZE_ADDRESS__
    skip("a sanitizer has its own ways with memory and faults", "faults of every kind");
#else
    check_thousand();
    check_late();
#endif
    check_blame();
    check_cost();
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) printf("# %s is left behind\n", dir);
    hone_device_close(&cpu);
    return tap_end();
}
