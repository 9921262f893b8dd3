/* The profiler against what is known: intervals against the binomial distribution, times and
 * counters against made-up kernels of known work, peaks and roofs, files that are damaged. */
#define _GNU_SOURCE   /* sched_setaffinity() */
#include "config.h"

#include "profiler/peaks.h"
#include "tests/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hone_device cpu;
static char scratch[] = "/tmp/hone-check-XXXXXX";

/* ---- statistics ---- */

/* P(binomial(n, 1/2) < r), summed from Pascal's triangle. */
static double below(int n, int r)
{
    double row[256] = { 1 }, sum = 0;
    for (int i = 1; i <= n; i++)
        for (int k = i; k >= 0; k--) row[k] = ((i == k ? 0 : row[k]) + (k ? row[k - 1] : 0)) / 2;
    for (int k = 0; k < r; k++) sum += row[k];
    return sum;
}

static void check_intervals(void)
{
    int good = 1;
    for (int n = 1; n <= 200; n++) {
        double t[200], sorted[200];
        int r = 0; /* ranks left out at either end, plus one */
        for (int i = 0; i < n; i++) sorted[i] = i * i, t[i] = sorted[i];
        for (int i = n - 1; i > 0; i--) {
            int j = (int)(hone_random_unit(7, (uint64_t)(n * 1000 + i)) * (i + 1));
            double x = t[i];
            t[i] = t[j], t[j] = x;
        }
        while (r < n / 2 && below(n, r + 1) <= 0.025) r++;
        struct hone_stats s = hone_stats_of(t, n);
        int lo = r ? r - 1 : 0;
        double median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
        if (s.n == n && s.lo == sorted[lo] && s.hi == sorted[n - 1 - lo] && s.median == median &&
            s.min == 0)
            continue;
        good = 0;
        printf("# n %d: [%g, %g], want [%g, %g]\n", n, s.lo, s.hi, sorted[lo], sorted[n - 1 - lo]);
    }
    ok(good, "intervals of 1 to 200 numbers are those of the binomial distribution");
    struct hone_stats none = hone_stats_of(NULL, 0);
    ok(none.n == 0 && none.median == 0, "no numbers give no statistics");
}

/* How often the interval holds the true median of a skewed distribution. */
static void check_coverage(int n, int trials)
{
    double *t = malloc((size_t)n * sizeof *t);
    int held = 0;
    for (int trial = 0; trial < trials; trial++) {
        for (int i = 0; i < n; i++)
            t[i] = -log(1 - hone_random_unit(99, (uint64_t)trial * 10000 + (uint64_t)i));
        struct hone_stats s = hone_stats_of(t, n);
        held += s.lo <= log(2) && log(2) <= s.hi;
    }
    double share = (double)held / trials;
    free(t);
    /* At least 95 %, less three standard deviations of this estimate; more than a percent or two
     * above it would be a needlessly wide interval. */
    double slack = 3 * sqrt(0.95 * 0.05 / trials), most = n > 1000 ? 0.955 : 0.975;
    ok(share > 0.95 - slack && share < most + slack,
       "intervals of %d hold the median in 95 %% of samples", n);
    printf("# %d of %d\n", held, trials);
}

/* ---- kernels of known work ---- */

enum { PAGES = 256, PAGE = 4096 };

static const struct hone_loops *const loops = &hone_loops_plain;

static int spin(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    (void)mem, (void)workspace;
    return loops->fma_f32(plan->config.v[1]) >= 0 ? HONE_OK : HONE_EDEVICE;
}

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

/* Each of the threads touches PAGES pages that no one touched before. */
static int touch(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    int threads = plan->config.v[0], bad = 0;
    (void)mem, (void)workspace;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : bad)
    for (int t = 0; t < threads; t++) {
        char *m =
            mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED) {
            bad++;
            continue;
        }
        madvise(m, PAGES * PAGE, MADV_NOHUGEPAGE);
        for (int i = 0; i < PAGES; i++) ((volatile char *)m)[i * PAGE] = 1;
        munmap(m, PAGES * PAGE);
    }
    return bad ? HONE_EDEVICE : HONE_OK;
}

static int broken(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    (void)plan, (void)mem, (void)workspace;
    return hone_fail(HONE_EDEVICE, "broken on purpose");
}

static const struct hone_kernel known = {
    .name = "known", .param = { HONE_PARAM("threads", 1, 2), HONE_PARAM("steps", 1) },
};

static struct hone_kernel kernel_of(int (*run)(const struct hone_plan *, void *const[], void *))
{
    struct hone_kernel k = known;
    k.backend = cpu.backend;
    k.run = run;
    return k;
}

static struct hone_plan plan_of(const struct hone_kernel *k, const struct hone_case *c, int threads,
                                int steps)
{
    return (struct hone_plan){
        .problem = c->problem, .config = { { threads, steps } }, .kernel = k, .device = &cpu
    };
}

static int open_case(struct hone_case *c, const char *text)
{
    struct hone_problem p;
    int err = hone_problem_parse(text, &p);
    if (!err) err = hone_case_open(c, &p, &cpu, HONE_REALS, 1);
    if (err) printf("Bail out! %s\n", hone_errmsg()), exit(1);
    return err;
}

/* ---- time ---- */

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

static int about_double(double a, double b) { return b > 1.6 * a && b < 2.5 * a; }

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

/* ---- counters ---- */

static struct hone_counter counted(struct hone_case *c, const struct hone_plan *plan,
                                   const char *name)
{
    struct hone_counter counter[HONE_MAX_COUNTERS] = { 0 };
    int n = 0, err = hone_count(plan, c, name, counter, &n);
    if (err || n != 1) snprintf(counter->why, sizeof counter->why, "%.100s", hone_errmsg());
    return counter[0];
}

/* Page faults of touching fresh memory, on one thread and two. */
static void check_page_faults(struct hone_case *c, const char *event)
{
    struct hone_kernel k = kernel_of(touch);
    for (int threads = 1; threads <= 2 && threads <= cpu.ncores; threads++) {
        struct hone_plan plan = plan_of(&k, c, threads, 0);
        struct hone_counter f = counted(c, &plan, event);
        int pages = threads * PAGES;
        if (!f.ok && f.why[0]) {
            skip(f.why, "%s on %d threads", event, threads);
            continue;
        }
        ok(f.ok && f.value >= pages && f.value < 1.5 * pages,
           "%s of touching %d fresh pages on %d threads", event, pages, threads);
        printf("# %g\n", f.value);
    }
}

/* An event proportional to the work, where it can be counted; else it must say why. */
static void check_proportional(struct hone_case *c, const char *event)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan one = plan_of(&k, c, 1, 20000), two = plan_of(&k, c, 1, 40000);
    struct hone_counter a = counted(c, &one, event), b = counted(c, &two, event);
    for (int again = 0; again < 8 && a.ok && b.ok && !about_double(a.value, b.value); again++) {
        a = counted(c, &one, event);
        b = counted(c, &two, event);
    }
    ok(a.ok ? a.value > 0 && !a.why[0] : a.value == 0 && a.why[0], "%s is a value or a reason",
       event);
    if (!a.ok) printf("# n/a (%s)\n", a.why);
    if (!a.ok || !b.ok)
        skip(a.why, "%s doubles with the work", event);
    else
        ok(about_double(a.value, b.value), "%s doubles with the work", event);
}

static void check_lists(struct hone_case *c)
{
    char too_many[1024];
    for (int i = 0, at = 0; i <= HONE_MAX_COUNTERS; i++)
        at += snprintf(too_many + at, sizeof too_many - (size_t)at, "%szen9::E%d", i ? "," : "", i);
    const char *const bad[] = { "",
                                ",",
                                "minflt,",
                                "a,,b",
                                "no_such",
                                "rusage:no_such",
                                "ipc:no_such",
#ifdef HAVE_PAPI /* without it no event of its can be told from another */
                                "PAPI_NO_SUCH",
#endif
                                too_many };
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 100);
    struct hone_counter counter[HONE_MAX_COUNTERS];
    int n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(hone_count(&plan, c, bad[i], counter, &n) == HONE_EPARSE && n == 0,
           "counters '%.30s' are refused: %.70s", bad[i], hone_errmsg());
    int err =
        hone_count(&plan, c, "utime,rusage:nvcsw,zen9::NO_PROCESSOR_OF_OURS,stime", counter, &n);
    ok(!err && n == 4 && !strcmp(counter[0].name, "utime") &&
           !strcmp(counter[1].name, "rusage:nvcsw") && counter[3].ok,
       "counters come back in order");
    ok(!counter[2].ok && counter[2].why[0],
       "another processor's event says why it is not countable: %s", counter[2].why);
}

/* ---- groups and what they give ---- */

static const struct hone_counter *named(const struct hone_counter counter[], int n,
                                        const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(counter[i].name, name)) return &counter[i];
    return NULL;
}

static void check_groups(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 2000);
    struct hone_counter counter[HONE_MAX_COUNTERS];
    double flops = c->problem.op->flops(&c->problem), bytes = hone_problem_bytes(&c->problem);
    int n, before, err = hone_count(&plan, c, "model,minflt,model", counter, &n);
    ok(!err && n == 3 + 2 * 3 && !strcmp(counter[0].name, "model:flops") &&
           !strcmp(counter[2].name, "minflt") && counter[3].is_metric,
       "a group's events come once, in order, its metrics behind them");
    const struct hone_counter *ratio = named(counter, n, "flops/byte");
    ok(ratio && ratio->ok && fabs(ratio->value - flops / bytes) < 1e-12 * flops,
       "the model's flops for each byte are the problem's");
    for (const struct hone_counter_group *g = hone_counter_groups; g->name; g++) {
        int silent = 0, terms = 0;
        err = hone_count(&plan, c, g->name, counter, &n);
        for (int i = 0; i < n; i++) silent += !counter[i].ok && !counter[i].why[0];
        for (int m = 0; m < HONE_GROUP_METRICS && g->metric[m].name; m++)
            for (int i = 0; i < 2 * HONE_METRIC_TERMS; i++) {
                const struct hone_metric *of = &g->metric[m];
                const char *t = i < HONE_METRIC_TERMS ? of->top[i] : of->bottom[i - HONE_METRIC_TERMS];
                terms += t && strcmp(t, "seconds") && !named(counter, n, t);
            }
        ok(!err && n > 1 && !silent && !terms,
           "group %s: values or reasons, and its metrics are made of its events", g->name);
    }
    err = hone_count(&plan, c, "ipc,flops,memory,cache,branch,tlb,stalls,system,model", counter,
                     &before);
    ok(!err && before > 30, "all groups together are one list");
}

/* What a metric of a group says of steps of the loop whose flops are known. */
static struct hone_counter metric(struct hone_case *c, int steps, const char *group,
                                  const char *name)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, steps);
    struct hone_counter counter[HONE_MAX_COUNTERS], none = { .why = "no such metric" };
    int n = 0, err = hone_count(&plan, c, group, counter, &n);
    const struct hone_counter *found = err ? NULL : named(counter, n, name);
    return found ? *found : none;
}

/* Where the processor counts, its counts must be the loop's known work. */
static void check_hardware(struct hone_case *c)
{
    enum { STEPS = 40000 };
    static const struct {
        const char *group, *name;
        double least, most;
    } wants[] = {
        { "ipc", "IPC", 0.2, 8 },
        { "flops", "vector share", 0.95, 1.0001 }, /* the loop is of vectors alone */
        { "cache", "L1 miss ratio", 0, 0.05 },     /* and never leaves the registers */
        { "branch", "misprediction ratio", 0, 0.05 },
    };
    double flops = c->problem.op->flops(&c->problem), known = (double)STEPS * loops->flops_f32;
    struct hone_counter got = metric(c, STEPS, "flops", "counted/model flops");
    if (!got.ok) {
        skip(got.why, "executed flops are those of the loop");
    } else {
        ok(fabs(got.value * flops / known - 1) < 0.02, "executed flops are those of the loop");
        printf("# %g counted, %g known\n", got.value * flops, known);
    }
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        got = metric(c, STEPS, wants[i].group, wants[i].name);
        if (!got.ok) {
            skip(got.why, "%s of the loop", wants[i].name);
            continue;
        }
        ok(got.value >= wants[i].least && got.value <= wants[i].most, "%s of the loop is %g",
           wants[i].name, got.value);
    }
}

/* Two meters on the processor time of the same work; a busy machine may spoil one try. */
static void check_clocks(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 40000);
    struct hone_counter a = { 0 }, b = { 0 };
    for (int again = 0; again < 8; again++) {
        a = counted(c, &plan, "perf::TASK-CLOCK"); /* ns */
        b = counted(c, &plan, "utime");            /* s */
        if (!a.ok || !b.ok || fabs(1e-9 * a.value / b.value - 1) < 0.25) break;
    }
    if (!a.ok) skip(a.why, "PAPI and the system agree on processor time");
    else ok(b.ok && fabs(1e-9 * a.value / b.value - 1) < 0.25,
            "PAPI and the system agree on processor time");
    printf("# %g and %g us\n", 1e-3 * a.value, 1e6 * b.value);
}

/* ---- memory and threads ---- */

static void check_resident(void)
{
    enum { BYTES = 64 << 20 };
    int64_t before = hone_memory_now();
    char *m = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int64_t i = 0; i < BYTES; i += PAGE) ((volatile char *)m)[i] = 1;
    int64_t grown = hone_memory_now() - before;
    munmap(m, BYTES);
    ok(grown > 0.98 * BYTES && grown < 1.05 * BYTES, "touching 64 MiB is seen");
    printf("# %lld\n", (long long)grown);
    ok(hone_memory_peak() >= before + BYTES / 2, "and stays in the peak when it is gone");
    if (!hone_memory_peak_reset())
        skip("/proc/self/clear_refs cannot be written", "the peak begins anew");
    else ok(hone_memory_peak() < before + BYTES / 2, "the peak begins anew");
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

struct listed {
    const struct hone_meter *m;
    int n, unknown, silent;
};

static void see(void *ctx, const char *event, const char *about, const char *why)
{
    struct listed *l = ctx;
    l->n++;
    if (!l->m->knows(event)) l->unknown++, printf("# %s\n", event);
    l->silent += !about || (why && !why[0]);
}

static void check_meters(void)
{
    for (int i = 0; hone_meters[i]; i++) {
        const struct hone_meter *m = hone_meters[i];
        const char *why = m->absent();
        struct listed l = { .m = m };
        if (why) {
            ok(why[0], "meter %s says why it is absent", m->name);
            skip(why, "meter %s knows its events", m->name);
            continue;
        }
        m->list(see, &l);
        ok(l.n && !l.unknown && !l.silent, "meter %s knows all %d events that it lists", m->name,
           l.n);
    }
}

/* ---- peaks ---- */

static int same(double a, double b) { return fabs(a - b) <= 1e-4 * fabs(b); }

static int write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    int good = f && fwrite(text, 1, n, f) == n;
    return f && !fclose(f) && good;
}

/* Everything but the whole file of this device is a miss. */
static void check_damage(const char *path, const struct hone_peaks *peaks)
{
    static const struct {
        const char *what, *from, *to;
    } edits[] = {
        { "another device", "\"cpu:", "\"cpx:" },
        { "another method", "\"method\": 2", "\"method\": 7" },
        { "a negative rate", "\"memory_one\": ", "\"memory_one\": -" },
        { "a text for a rate", "\"l1_one\": ", "\"l1_one\": \"1\", \"x\": " },
        { "no threads", "\"nthreads\": ", "\"nthreads\": 0, \"x\": " },
        { "no f64", "\"f64\"", "\"f46\"" },
    };
    char text[4096], edited[4200];
    struct hone_peaks got;
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = 0;
    int nhits = 0;
    /* The last two bytes are the closing brace and a newline. */
    for (size_t cut = 0; cut + 2 <= n; cut += 5)
        if (write_file(path, text, cut)) nhits += !hone_peaks_load(path, &cpu, &got);
    ok(n > 100 && nhits == 0, "a peaks file cut anywhere is a miss");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *at = strstr(text, edits[i].from);
        if (at)
            snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - text), text, edits[i].to,
                     at + strlen(edits[i].from));
        ok(at && write_file(path, edited, strlen(edited)) &&
               hone_peaks_load(path, &cpu, &got) < 0 && got.nthreads == 0,
           "a peaks file with %s is a miss: %s", edits[i].what, hone_errmsg());
    }
    unlink(path);
    ok(hone_peaks_load(path, &cpu, &got) < 0, "a missing peaks file is a miss");
    ok(!hone_peaks_save(path, &cpu, peaks) && !hone_peaks_load(path, &cpu, &got),
       "a lost peaks file is written again");
}

static void check_peaks_file(const struct hone_peaks *peaks)
{
    char path[512], directory[600];
    struct hone_peaks got;
    int err = hone_peaks_path(&cpu, path, sizeof path);
    if (!ok(!err && !hone_peaks_save(path, &cpu, peaks), "peaks are saved")) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    err = hone_peaks_load(path, &cpu, &got);
    ok(!err && got.cached && got.nthreads == peaks->nthreads &&
           same(got.flops_one[HONE_F64], peaks->flops_one[HONE_F64]) &&
           same(got.flops_one[HONE_BF16], peaks->flops_one[HONE_BF16]) &&
           same(got.triad_all, peaks->triad_all) && same(got.l1_one, peaks->l1_one) &&
           same(got.memory_all, peaks->memory_all) && !strcmp(got.when, peaks->when),
       "peaks read back are those saved");
    err = hone_peaks(&cpu, 0, &got);
    ok(!err && got.cached, "peaks come from the cache");
    check_damage(path, peaks);
    ok(write_file(path, "{", 1) && !hone_peaks(&cpu, 0, &got) && !got.cached && !got.not_kept[0],
       "damaged peaks are measured anew");
    ok(!hone_peaks(&cpu, 0, &got) && (got.cached || got.times == 2), "and kept");
    struct hone_peaks busy = *peaks;
    busy.share = 0.5;
    busy.l1_one *= 100;
    ok(!hone_peaks_save(path, &cpu, &busy) && !hone_peaks(&cpu, 0, &got) && !got.cached &&
           got.times == 2 && same(got.l1_one, busy.l1_one),
       "a busy machine's peaks are measured again, and the best is kept");
    busy.times = 5;
    ok(!hone_peaks_save(path, &cpu, &busy) && !hone_peaks(&cpu, 0, &got) && got.cached &&
           same(got.share, 0.5),
       "but not for ever");
    snprintf(directory, sizeof directory, "%s/none/x.json", scratch);
    ok(hone_peaks_save(directory, &cpu, peaks) == HONE_EIO, "peaks that cannot be saved say so: %s",
       hone_errmsg());
}

static int wide(const struct hone_peaks *p)
{
    return p->flops_one[HONE_F32] > 1.3 * p->flops_one[HONE_F64];
}

static int threads_here(void)
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e; tasks && (e = readdir(tasks));) n += e->d_name[0] != '.';
    if (tasks) closedir(tasks);
    return n;
}

/* The helpers that libgomp would count in forked processes, too, end soon. */
static int end_soon(int threads)
{
    for (int i = 0; i < 500 && threads_here() > threads; i++) usleep(10000);
    return threads_here() <= threads;
}

/* Before anything else has helpers, which stay. */
static void check_helpers(void)
{
    struct hone_peaks p;
    const int threads = threads_here();
    ok(threads > 0 && !hone_peaks_measure(&cpu, 0.001, 8 << 20, &p) && end_soon(threads),
       "the threads that measured peaks are gone");
}

static void check_peaks(void)
{
    struct hone_peaks p;
    int err = hone_peaks_measure(&cpu, 0.004, 64 << 20, &p);
    for (int again = 0; again < 20 && !err && !(wide(&p) && p.l1_one > p.memory_one); again++)
        err = hone_peaks_measure(&cpu, 0.004, 64 << 20, &p);
    ok(!err && p.nthreads == cpu.ncores && p.flops_one[HONE_F32] > 1e8 &&
           p.flops_one[HONE_F64] > 1e8 && p.when[0] && !p.cached,
       "peaks are measured");
    ok(p.l1_one > 0 && p.l2_one > 0 && p.memory_one > 0 && p.l1_all > 0 && p.l2_all > 0 &&
           p.memory_all > 0 && p.triad_all > 0 && (p.l3_one > 0) == (cpu.l3_bytes > 0),
       "bandwidth is measured for each level there is");
    ok(wide(&p), "a vector of f32 holds more numbers than one of f64");
    ok((p.flops_one[HONE_BF16] > p.flops_one[HONE_F32]) == hone_peaks_has(&cpu, HONE_BF16),
       "bf16 is faster where it is multiplied, and not measured elsewhere");
    ok(p.l1_one > p.memory_one, "L1 is faster than memory");
    ok(p.times == 1 && p.share > 0 && p.share < 1.1, "the threads had %.0f %% of the processors",
       100 * p.share);
    p.share = 1; /* whatever else ran just now */
    check_peaks_file(&p);
}

static void check_roof(void)
{
    const struct hone_peaks p = { .nthreads = 4,
                                  .flops_one = { 1e9, 1e8 },
                                  .flops_all = { 3e9, 4e8 },
                                  .l1_one = 8e9,
                                  .l1_all = 32e9,
                                  .l2_one = 4e9,
                                  .l2_all = 16e9,
                                  .l3_one = 2e9,
                                  .l3_all = 4e9,
                                  .memory_one = 1e9,
                                  .memory_all = 2e9 };
    const struct hone_device d = { .l1_bytes = 32768, .l2_bytes = 262144, .l3_bytes = 1 << 20 };
    static const struct {
        const char *problem;
        int threads;
        double seconds;
        const char *bound;
    } cases[] = {
        { "gemm:f32:nn:m64n64k64", 1, 2.0 * 64 * 64 * 64 / 1e9, "compute" },
        { "gemm:f32:nn:m64n64k64", 2, 2.0 * 64 * 64 * 64 / 2e9, "compute" },
        { "gemm:f32:nn:m64n64k64", 4, 2.0 * 64 * 64 * 64 / 3e9,
          "compute" }, /* all together reach 3e9, not 4e9 */
        { "gemm:f32:nn:m1n100k40", 1, 2.0 * 100 * 40 / 1e9, "compute" },
        { "relu:f32:any:n1000000", 1, 8e6 / 1e9, "memory" },
        { "relu:f32:any:n1000000", 4, 8e6 / 2e9, "memory" },
        { "relu:f32:any:n100000", 4, 8e5 / 16e9, "L2" }, /* four threads hold it in their L2s */
        { "relu:f32:any:n100000", 1, 8e5 / 2e9, "L3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hone_problem q;
        const char *bound = "";
        int err = hone_problem_parse(cases[i].problem, &q);
        double t = err ? 0 : hone_roof(&q, &d, &p, cases[i].threads, &bound);
        int good = !err && !strcmp(bound, cases[i].bound) && same(t, cases[i].seconds);
        if (!ok(good, "roof of %s on %d threads is %s", cases[i].problem, cases[i].threads,
                cases[i].bound))
            printf("# %g s by %s, want %g s\n", t, bound, cases[i].seconds);
    }
}

/* ---- memory, paths, progress, interruption ---- */

static void check_memory(void)
{
    const int64_t bytes = 64 << 20;
    int64_t before = hone_memory_peak();
    char *m = malloc((size_t)bytes);
    for (int64_t i = 0; m && i < bytes; i += PAGE) ((volatile char *)m)[i] = 1;
    int64_t after = hone_memory_peak();
    ok(m && before > 0 && after - before > bytes / 2 && after - before < 2 * bytes,
       "peak memory grows by what is touched");
    free(m);
    /* Linux sums its counters of several processors to within a few pages each. */
    ok(hone_memory_peak() > after - (1 << 20), "peak memory stays when memory is given back");
}

static void check_paths(void)
{
    char path[512], want[512], base[400], tiny[8];
    struct stat st = { 0 };
    snprintf(base, sizeof base, "%s/data", scratch);
    setenv("XDG_DATA_HOME", base, 1);
    snprintf(want, sizeof want, "%s/hone/a/b.json", base);
    ok(!hone_user_path("data", "a/b.json", path, sizeof path) && !strcmp(path, want),
       "user paths follow XDG_DATA_HOME");
    *strrchr(path, '/') = 0;
    ok(!stat(path, &st) && S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0700,
       "their directories are the user's own");
    setenv("XDG_DATA_HOME", "relative", 1);
    setenv("HOME", scratch, 1);
    snprintf(want, sizeof want, "%s/.local/share/hone/x", scratch);
    ok(!hone_user_path("data", "x", path, sizeof path) && !strcmp(path, want),
       "a relative XDG_DATA_HOME is ignored");
    ok(hone_user_path("data", "x", tiny, sizeof tiny) == HONE_EINVAL,
       "a path that does not fit is refused");
    ok(hone_user_path("sofa", "x", path, sizeof path) == HONE_EINVAL, "an unknown kind is refused");
    snprintf(base, sizeof base, "%s/file", scratch);
    setenv("XDG_DATA_HOME", base, 1);
    ok(write_file(base, "x", 1) && hone_user_path("data", "x", path, sizeof path) == HONE_EIO,
       "a file in the way is an error: %s", hone_errmsg());
}

/* What hone_progress() writes to stderr when that is fd. */
static size_t shown(int stderr_fd, int read_fd, int end, char *text, size_t size)
{
    int keep = dup(STDERR_FILENO);
    double now = hone_now();
    fflush(stderr);
    dup2(stderr_fd, STDERR_FILENO);
    hone_progress("tuning", 25, 100, now - 20);
    if (end) hone_progress_end();
    fflush(stderr);
    dup2(keep, STDERR_FILENO);
    close(keep);
    fcntl(read_fd, F_SETFL, O_NONBLOCK);
    ssize_t n = read(read_fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    return strlen(text);
}

static void check_progress(void)
{
    char text[512];
    int fd[2];
    ok(!pipe(fd) && shown(fd[1], fd[0], 1, text, sizeof text) == 0,
       "progress is silent where stderr is no terminal");
    close(fd[0]);
    close(fd[1]);
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave = -1;
    if (master >= 0 && !grantpt(master) && !unlockpt(master))
        slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) {
        skip("no pseudo terminals here", "progress on a terminal");
        return;
    }
    shown(slave, master, 0, text, sizeof text);
    ok(strstr(text, "tuning") && strstr(text, "25 %") &&
           (strstr(text, "60 s") || strstr(text, "61 s")),
       "progress shows share and time left");
    shown(slave, master, 1, text, sizeof text);
    size_t n = strlen(text);
    ok(n > 40 && text[n - 1] == '\r' && strspn(text + 1, " ") == n - 2,
       "its end leaves an empty line");
    close(slave);
    close(master);
}

static void check_interrupt(void)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        hone_catch_interrupt();
        if (hone_interrupted()) _exit(3);
        raise(SIGTERM);
        if (!hone_interrupted()) _exit(4);
        raise(SIGINT);
        _exit(5);
    }
    ok(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGINT,
       "the first signal sets the flag, the second ends the program");
}

int main(void)
{
    if (hone_device_open(&cpu, "cpu0") || !mkdtemp(scratch)) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    char text[512];
    snprintf(text, sizeof text, "%s/cache", scratch);
    setenv("XDG_CACHE_HOME", text, 1);
    struct hone_case c;
    check_memory();
    check_helpers();
    check_intervals();
    check_coverage(15, 20000);
    check_coverage(2001, 2000);
    check_clock();
    open_case(&c, "gemm:f32:nn:m4n4k4");
    check_twice_the_work(&c);
    check_measure(&c);
    check_runs_before(&c);
    check_cache_modes();
    check_page_faults(&c, "rusage:minflt");
    check_page_faults(&c, "perf::PAGE-FAULTS");
    check_proportional(&c, "utime");
    check_proportional(&c, "PAPI_TOT_INS");
    check_proportional(&c, "perf::TASK-CLOCK");
    check_lists(&c);
    check_groups(&c);
    check_hardware(&c);
    check_clocks(&c);
    check_resident();
    check_threads(&c);
    check_settle();
    check_meters();
    hone_case_close(&c);
    check_peaks();
    check_roof();
    check_paths();
    check_progress();
    check_interrupt();
    snprintf(text, sizeof text, "rm -rf %s", scratch);
    if (system(text)) printf("# cannot remove %s\n", scratch);
    hone_device_close(&cpu);
    return tap_end();
}
