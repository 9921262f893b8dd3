/* The profiler's times against kernels of known work: windows, the runs before them, the modes of
 * the cache, threads and where they run. */
#define _GNU_SOURCE   /* sched_setaffinity() */
#include "config.h"

#include "tests/known.h"

#include <omp.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* One number of each cache line of argument b, so that lines are what it costs. */
static int read_b(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    const volatile float *b = mem[2];
    float sum = 0;
    (void)workspace;
    plan->problem.op->args(&plan->problem, arg);
    int64_t n = hone_arg_len(&arg[2]);
    for (int64_t i = 0; i < n; i += 16) sum += b[i];
    return sum < 1e30f ? HONE_OK : HONE_EDEVICE;
}

static int broken(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    (void)plan, (void)mem, (void)workspace;
    return hone_fail(HONE_EDEVICE, "broken on purpose");
}

static void check_clock(void)
{
    int good = 1;
    double t = hone_now();
    for (int i = 0; i < 100000; i++) {
        double now = hone_now();
        good &= now >= t;
        t = now;
    }
    ok(good, "the clock never goes back");
}

/* A busy machine may spoil a round, and hardly hundreds of them. */
enum { ROUNDS = 400 };

static void check_twice_the_work(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan one = plan_of(&k, c, 1, 20000), two = plan_of(&k, c, 1, 40000);
    double best[2] = { 1, 1 }, t = 0;
    /* In rounds, and the fastest of each: other processes only add. */
    for (int round = 0; round < ROUNDS && !(round > 20 && about_double(best[0], best[1])); round++)
        for (int i = 0; i < 2; i++)
            if (!hone_time_window(i ? &two : &one, c, HONE_CACHE_WARM, 4, &t) && t < best[i])
                best[i] = t;
    ok(about_double(best[0], best[1]), "twice the work takes twice as long");
    printf("# %.4g us, %.4g us\n", 1e6 * best[0], 1e6 * best[1]);

    int runs = 0;
    double estimate = 0;
    int err = hone_time_calibrate(&one, c, HONE_CACHE_WARM, 0.002, &runs, &estimate);
    ok(!err && runs * best[0] > 0.0005 && runs * best[0] < 0.02,
       "a window is about as long as asked for");
    printf("# %d runs of %.4g us\n", runs, 1e6 * estimate);
}

static void check_measure(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin), bad = kernel_of(broken);
    struct hone_plan plan = plan_of(&k, c, 1, 2000), failing = plan_of(&bad, c, 1, 0);
    struct hone_sample s;
    struct hone_timing t = { .cache = HONE_CACHE_WARM, .windows = 9, .window = 0.0002 };
    int err = hone_measure(&plan, c, &t, &s);
    ok(!err && s.ms.n == 9 && s.ms.min > 0 && s.ms.lo <= s.ms.median && s.ms.median <= s.ms.hi,
       "a sample has its windows in order");
    double start = hone_now();
    t = (struct hone_timing){ .cache = HONE_CACHE_WARM, .windows = 100000, .limit = 0.05 };
    err = hone_measure(&plan, c, &t, &s);
    ok(!err && s.ms.n >= 1 && s.ms.n < 100000 && hone_now() - start < 2, "a limit ends sampling");
    t.limit = 1e-9;
    ok(!hone_measure(&plan, c, &t, &s) && s.ms.n == 1, "under any limit there is one window");
    ok(hone_measure(&failing, c, &t, &s) == HONE_EDEVICE && strstr(hone_errmsg(), "on purpose"),
       "a run that fails fails its sample");
}

static int nruns;

static int count_runs(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    (void)plan, (void)mem, (void)workspace;
    nruns++;
    return HONE_OK;
}

/* Runs that a window of 3 takes after one of `before`. */
static int runs_after(const struct hone_plan *before, const struct hone_plan *plan,
                      struct hone_case *c)
{
    double t;
    int err = hone_time_window(before, c, HONE_CACHE_WARM, 1, &t);
    nruns = 0;
    return hone_time_window(plan, c, HONE_CACHE_WARM, 3, &t) || err ? -1 : nruns;
}

/* The runs before a window: more after a kernel that may have written past the caches, where
 * arguments are so large that this matters. */
static void check_runs_before(struct hone_case *small)
{
    struct hone_kernel k = kernel_of(count_runs), writes_past = k, library = k;
    struct hone_case large;
    char text[64];
    snprintf(text, sizeof text, "relu:f32:any:n%d", (int)(cpu.l2_bytes / 4));   /* twice L2 */
    open_case(&large, text);
    writes_past.param[1] = (struct hone_param)HONE_PARAM("stream", 0, 1);
    library.build = HONE_LIB;
    const struct hone_plan plan = plan_of(&k, &large, 1, 0), other = plan_of(&k, &large, 1, 1),
                           past = plan_of(&writes_past, &large, 1, 1),
                           within = plan_of(&writes_past, &large, 1, 0),
                           lib = plan_of(&library, &large, 1, 1);
    ok(runs_after(&other, &plan, &large) == 4 && runs_after(&within, &plan, &large) == 4,
       "one run comes before a window after another plan's");
    ok(runs_after(&past, &plan, &large) == 15 && runs_after(&lib, &plan, &large) == 15 &&
           runs_after(&past, &within, &large) == 15,
       "12 come after one that may have written past the caches");
    ok(runs_after(&past, &past, &large) == 4 && runs_after(&past, &plan, small) == 4,
       "but not after its own window, nor where L2 holds everything");
    hone_case_close(&large);
}

/* Ratio of the fastest windows of two cache modes for a kernel that reads argument b. */
static double slowdown(struct hone_case *c, enum hone_cache than, enum hone_cache mode)
{
    struct hone_kernel k = kernel_of(read_b);
    struct hone_plan plan = plan_of(&k, c, 1, 0);
    double best[2] = { 1, 1 }, t = 0;
    for (int round = 0; round < ROUNDS && !(round > 20 && best[1] > 1.4 * best[0]); round++)
        for (int i = 0; i < 2; i++)
            if (!hone_time_window(&plan, c, i ? mode : than, 4, &t) && t < best[i]) best[i] = t;
    return best[1] / best[0];
}

static void check_cache_modes(void)
{
    struct hone_case big, small, data;
    enum hone_cache mode = HONE_CACHE_COLD;
    open_case(&big, "gemm:f32:nn:m1n256k256");    /* 256 KiB of weights */
    open_case(&small, "gemm:f32:nn:m1n32k32");    /* 4 KiB: they fit half of L1 */
    open_case(&data, "gemm:f32:tn:m256n256k256"); /* b is data here */
    double r = slowdown(&big, HONE_CACHE_WARM, HONE_CACHE_COLD);
    ok(r > 1.4, "cold arguments take longer to read than warm ones");
    printf("# %.2f times\n", r);
    r = slowdown(&big, HONE_CACHE_WARM, HONE_CACHE_WEIGHTS);
    ok(r > 1.4, "mode weights evicts large weights");
    printf("# %.2f times\n", r);
    r = slowdown(&small, HONE_CACHE_WEIGHTS, HONE_CACHE_COLD);
    ok(r > 1.4, "mode weights leaves small weights in the cache");
    printf("# %.2f times\n", r);
    r = slowdown(&data, HONE_CACHE_WEIGHTS, HONE_CACHE_COLD);
    ok(r > 1.4, "mode weights leaves data in the cache");
    printf("# %.2f times\n", r);
    int good = 1;
    for (int i = HONE_CACHE_WEIGHTS; i <= HONE_CACHE_COLD; i++)
        good &= !hone_cache_parse(hone_cache_name((enum hone_cache)i), &mode) && (int)mode == i;
    ok(good && hone_cache_parse("hot", &mode) == HONE_EPARSE, "cache modes are read by name");
    hone_case_close(&big);
    hone_case_close(&small);
    hone_case_close(&data);
}

static void check_threads(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 400000);
    struct hone_threads t;
    double before[HONE_MAX_THREADS], after[HONE_MAX_THREADS], start, spent = 0, others = 0;
    ok(hone_threads_open(&t) >= 1 && t.tid[0] == getpid(), "the first thread is the program's");
    hone_threads_read(&t, before);
    start = hone_now();
    for (int i = 0; i < 10 || spent < 0.05; i++) {
        hone_plan_run(&plan, c->mem, c->workspace);
        hone_threads_read(&t, after);
        spent = after[0] - before[0];
    }
    for (int i = 1; i < t.n; i++) others += after[i] - before[i];
    ok(spent > 0 && spent <= 1.02 * (hone_now() - start) && others < spent / 2,
       "a thread's clock shows its own work");
    printf("# %.4f s of %.4f, others %.4f\n", spent, hone_now() - start, others);
}

/* The other thread is bound to the core of the first, and gets another, to which it is not bound:
 * where that one is busy, it may come back at once, so only that is asked. */
static void check_settle(void)
{
    enum { TIMES = 20 };
    const char *name = "settled threads may use each core again";
    int freed = 0, apart = 0;
    for (int i = 0; i < TIMES; i++) {
        int core[2] = { -1, -1 }, everywhere[2] = { 0 };
        cpu_set_t all;
        if (sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) < 2) {
            skip("one core", "%s", name);
            return;
        }
        const int here = sched_getcpu();
#pragma omp parallel num_threads(2)
        if (omp_get_thread_num() == 1) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(here, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
        hone_settle(2);
#pragma omp parallel num_threads(2)
        {
            const int t = omp_get_thread_num();
            cpu_set_t now;
            core[t] = sched_getcpu();
            everywhere[t] = !sched_getaffinity(0, sizeof now, &now) && CPU_EQUAL(&now, &all);
        }
        freed += everywhere[0] && everywhere[1];
        apart += core[0] != core[1];
    }
    ok(freed == TIMES, "%s", name);
    printf("# %d of %d times, on a core each in %d\n", freed, TIMES, apart);
}

int main(void)
{
    if (hone_device_open(&cpu, "cpu0")) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    struct hone_case c;
    check_clock();
    open_case(&c, "gemm:f32:nn:m4n4k4");
    check_twice_the_work(&c);
    check_measure(&c);
    check_runs_before(&c);
    check_cache_modes();
    check_threads(&c);
    check_settle();
    hone_case_close(&c);
    hone_device_close(&cpu);
    return tap_end();
}
