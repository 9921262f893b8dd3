/* Time: windows of many runs, far above the clock's resolution, in a named cache state; medians
 * with intervals that assume nothing about the noise. */
#include "profiler/profiler.h"

#include "kernels/backend/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined __x86_64__
#include <cpuid.h>
#endif

double hone_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined __x86_64__
/* Since about 2008 the time stamp counter runs at one rate, through all states of the processor. */
static int counter_is_even(void)
{
    static int known = -1;
    unsigned a, b, c, d;
    if (known < 0) known = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
    return known;
}

uint64_t hone_ticks(void)
{
    return counter_is_even() ? __builtin_ia32_rdtsc() : (uint64_t)(1e9 * hone_now());
}
#elif defined __aarch64__
uint64_t hone_ticks(void)
{
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
}
#else
uint64_t hone_ticks(void) { return (uint64_t)(1e9 * hone_now()); }
#endif

/* ---- statistics ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How many order statistics the interval leaves out at either end: the largest r with
 * P(binomial(n, 1/2) < r) <= 2.5 %. */
static int left_out(int n)
{
    /* Beyond 1000 the normal approximation is exact to a rank, and 2^-n would vanish. */
    if (n > 1000) return (int)floor(0.5 * (n - 1.959964 * sqrt(n)));
    double term = ldexp(1, -n), below = term;
    int r = 0;
    while (below <= 0.025) {
        r++;
        term *= (double)(n - r + 1) / r;
        below += term;
    }
    return r;
}

struct hone_stats hone_stats_of(double *t, int n)
{
    struct hone_stats s = { .n = n };
    if (n <= 0) return s;
    qsort(t, (size_t)n, sizeof *t, by_value);
    int r = left_out(n);
    if (r > 0) r--; /* the r-th order statistic bounds the interval, and counts from 0 here */
    s.min = t[0];
    s.lo = t[r];
    s.hi = t[n - 1 - r];
    s.median = 0.5 * (t[(n - 1) / 2] + t[n / 2]);
    return s;
}

/* ---- cache states ---- */

static const char *const cache_names[] = {
    [HONE_CACHE_WEIGHTS] = "weights",
    [HONE_CACHE_WARM] = "warm",
    [HONE_CACHE_COLD] = "cold",
};

const char *hone_cache_name(enum hone_cache cache) { return cache_names[cache]; }

int hone_cache_parse(const char *text, enum hone_cache *cache)
{
    for (size_t i = 0; i < sizeof cache_names / sizeof *cache_names; i++)
        if (!strcmp(text, cache_names[i])) {
            *cache = (enum hone_cache)i;
            return HONE_OK;
        }
    return hone_fail(HONE_EPARSE, "cache mode '%s': expected warm, weights or cold", text);
}

#if defined __x86_64__
#define CAN_EVICT 1
enum { LINE = 64 };

/* Asked once: a virtual machine answers cpuid by leaving the guest. */
static int has_clflushopt(void)
{
    static int known = -1;
    unsigned a, b, c, d;
    if (known < 0) known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 23 & 1);
    return known;
}

/* Sends every line of mem[0..bytes) to memory and out of all caches of all cores. */
static void evict(const void *mem, int64_t bytes)
{
    const char *p = mem;
    int opt = has_clflushopt();
    for (int64_t i = 0; i < bytes; i += LINE) {
        if (opt)
            __asm__ volatile("clflushopt %0" ::"m"(p[i]) : "memory");
        else
            __asm__ volatile("clflush %0" ::"m"(p[i]) : "memory");
    }
    __asm__ volatile("mfence" ::: "memory");
}
#elif defined __aarch64__
#define CAN_EVICT 1
enum { LINE = 64 }; /* the smallest in use; a second flush of a longer line is harmless */

static void evict(const void *mem, int64_t bytes)
{
    const char *p = mem;
    for (int64_t i = 0; i < bytes; i += LINE)
        __asm__ volatile("dc civac, %0" ::"r"(p + i) : "memory");
    __asm__ volatile("dsb ish" ::: "memory");
}
#else
#define CAN_EVICT 0
static void evict(const void *mem, int64_t bytes)
{
    (void)mem;
    (void)bytes;
}
#endif

/* Which arguments (bit a) the mode evicts before each run. */
static unsigned to_evict(const struct hone_case *c, enum hone_cache cache)
{
    unsigned all = 0, weights = 0;
    int64_t bytes = 0;
    for (int a = 0; a < c->nargs; a++) {
        all |= 1u << a;
        if (!c->arg[a].weight) continue;
        weights |= 1u << a;
        bytes += hone_arg_bytes(&c->arg[a]);
    }
    if (cache == HONE_CACHE_COLD) return all;
    return cache == HONE_CACHE_WEIGHTS && bytes > c->device->l1_bytes / 2 ? weights : 0;
}

static int64_t case_bytes(const struct hone_case *c)
{
    int64_t bytes = 0;
    for (int a = 0; a < c->nargs; a++) bytes += hone_arg_bytes(&c->arg[a]);
    return bytes;
}

/* A net's other steps, of one thread mostly where data are small, leave them in the cache of the
 * core that calls; run after run of the same kernel, each of its threads would find its own part in
 * its own cache, and two threads would seem to pay where they do not.  What a kernel both reads and
 * writes, as an optimizer's moments, stays where its threads left it; so does what a whole training
 * step writes, which has its weights to itself, and no other steps beside it.  Which arguments (bit
 * a) the calling thread is to have. */
static unsigned come_home(const struct hone_plan *plan, const struct hone_case *c,
                          enum hone_cache cache)
{
    unsigned in = 0, out = 0, whole = 0;
    if (cache != HONE_CACHE_WEIGHTS || plan->device->backend != &hone_backend_cpu ||
        hone_config_get(plan->kernel, &plan->config, "threads", 1) == 1 ||
        case_bytes(c) > 2 * c->device->l1_bytes)
        return 0;
    for (int a = 0; a < c->nargs; a++) {
        in |= (unsigned)(c->arg[a].io == HONE_IN) << a;
        out |= (unsigned)(c->arg[a].io == HONE_OUT) << a;
        whole |= c->arg[a].io == HONE_INOUT && c->arg[a].weight;
    }
    return whole ? in : in | out;
}

/* Every line is written by the calling thread, with what is there. */
static void bring_home(void *mem, int64_t bytes)
{
    volatile char *p = mem;
    for (int64_t i = 0; i < bytes; i += 64) p[i] = p[i];
}

/* ---- windows ---- */

/* What two readings of the clock cost; the least of a few, since noise only adds. */
static double clock_cost(void)
{
    double least = 1;
    for (int i = 0; i < 16; i++) {
        double t = hone_now(), dt = hone_now() - t;
        if (dt < least) least = dt;
    }
    return least;
}

static int time_batch(const struct hone_plan *plan, struct hone_case *c, int runs, double *seconds)
{
    struct hone_device *d = plan->device;
    int err = d->backend->sync(d);
    if (!err && d->backend->start) err = d->backend->start(d);
    double start = hone_now();
    for (int i = 0; !err && i < runs; i++) err = hone_plan_run(plan, c->mem, c->workspace);
    if (!err && !d->backend->stop) err = d->backend->sync(d);
    *seconds = hone_now() - start;
    if (!err && d->backend->stop) err = d->backend->stop(d, seconds);
    *seconds /= runs;
    return err;
}

/* Each run by itself, after its arguments were put where a net has them. */
static int time_placed(const struct hone_plan *plan, struct hone_case *c, unsigned evicted,
                       unsigned home, int runs, double *seconds)
{
    double cost = clock_cost(), sum = 0;
    int err = HONE_OK;
    for (int i = 0; !err && i < runs; i++) {
        for (int a = 0; a < c->nargs; a++)
            if (evicted >> a & 1) evict(c->mem[a], hone_arg_bytes(&c->arg[a]));
            else if (home >> a & 1)
                bring_home(c->mem[a], hone_arg_bytes(&c->arg[a]));
        double start = hone_now();
        err = hone_plan_run(plan, c->mem, c->workspace);
        double t = hone_now() - start - cost;
        sum += t > 0 ? t : 0;
    }
    *seconds = sum / runs;
    return err;
}

/* On a device that is told to evict: all arguments go, whichever were asked for, since nobody can
 * say there which lines are whose. */
static int time_emptied(const struct hone_plan *plan, struct hone_case *c, int runs,
                        double *seconds)
{
    struct hone_device *d = plan->device;
    double sum = 0, one = 0;
    int err = HONE_OK;
    for (int i = 0; !err && i < runs; i++) {
        err = d->backend->evict(d);
        if (!err) err = d->backend->start(d);
        if (!err) err = hone_plan_run(plan, c->mem, c->workspace);
        if (!err) err = d->backend->stop(d, &one);
        sum += one;
    }
    *seconds = sum / runs;
    return err;
}

/* Might a run of it have written past the caches?  Libraries do not say. */
static int streams(const struct hone_kernel *k, const struct hone_config *c)
{
    return k->build == HONE_LIB || hone_config_get(k, c, "stream", 0);
}

/* Runs that come before a window so that caches are as this plan leaves them; most of them only
 * until ENOUGH seconds are over.  Threads of one kernel may wait for its next run in a loop, as in
 * use; not beside another's.
 *
 * After another plan's window one run will do, unless that plan may have written past the caches:
 * what lies in memory does not come to stay in the last cache at once.  Of 33 MB that were written
 * so, runs of a depthwise convolution took 2.43, 2.43, 1.95, 1.38, 1.20, 1.25, 1.17 ms (a Xeon
 * whose last cache is no copy of L2), so whoever came next would have been judged by half. */
static int runs_before(const struct hone_plan *plan, const struct hone_case *c, int runs)
{
    enum { TO_STAY = 12 };
    static const struct hone_kernel *last;
    static struct hone_config config;
    static int streamed, threads;   /* might the last have?  Its threads */
    const int cpu = plan->device->backend == &hone_backend_cpu, other = plan->kernel != last,
              differs = other || memcmp(&config, &plan->config, sizeof config),
              away = cpu && differs && streamed && case_bytes(c) > plan->device->l2_bytes,
              more = hone_config_get(plan->kernel, &plan->config, "threads", 1) > threads;
    threads = hone_config_get(plan->kernel, &plan->config, "threads", 1);
    if (cpu && (other || more)) hone_settle(threads);
    last = plan->kernel;
    config = plan->config;
    streamed = streams(last, &config);
    return away ? TO_STAY : differs || runs > 1;
}

static const double ENOUGH = 0.04;   /* seconds of runs before a window */

int hone_time_window(const struct hone_plan *plan, struct hone_case *c, enum hone_cache cache,
                     int runs, double *seconds)
{
    unsigned evicted = to_evict(c, cache);
    size_t workspace_bytes = c->workspace_bytes;
    const int emptied = evicted && plan->device->backend->evict;
    const unsigned home = come_home(plan, c, cache);
    if (evicted && !emptied && (!CAN_EVICT || plan->device->backend != &hone_backend_cpu))
        return hone_fail(HONE_EINVAL,
                         "cache mode %s: Hone cannot evict caches on this device; use warm",
                         hone_cache_name(cache));
    int err = hone_case_workspace(c, plan);
    const int before = runs_before(plan, c, runs) + (c->workspace_bytes != workspace_bytes);
    const double start = hone_now();
    for (int i = 0; !err && i < before && (!i || hone_now() - start < ENOUGH); i++)
        err = hone_plan_run(plan, c->mem, c->workspace);
    if (err) return err;
    if (emptied) return time_emptied(plan, c, runs, seconds);
    return evicted || home ? time_placed(plan, c, evicted, home, runs, seconds)
                           : time_batch(plan, c, runs, seconds);
}

int hone_time_calibrate(const struct hone_plan *plan, struct hone_case *c, enum hone_cache cache,
                        double window, int *runs, double *estimate)
{
    enum { MOST = 1 << 24 };
    int n = 1, enough = 0;
    double start = hone_now(), one;
    /* The first run pays for page faults, sleeping threads and a slow clock. */
    int err = hone_time_window(plan, c, cache, 1, estimate);
    double fastest = hone_now() - start;
    while (!err && !enough) {
        start = hone_now();
        err = hone_time_window(plan, c, cache, n, &one);
        /* Eviction is not counted, but it is waited for: it belongs to the window's length. */
        double length = (hone_now() - start) * n / (n > 1 ? n + 1 : 1);
        if (one < *estimate) *estimate = one;
        /* The fastest run tells, since a slow one may be slow by another process. */
        if (length / n < fastest) fastest = length / n;
        if (fastest * n < window && n < MOST)
            n *= 2;
        else
            enough = 1;
        if (hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
    }
    *runs = n;
    return err;
}

int hone_measure(const struct hone_plan *plan, struct hone_case *c, const struct hone_timing *t,
                 struct hone_sample *s)
{
    int windows = t->windows > 0 ? t->windows : 15, n = 0;
    double start = hone_now(), one;
    double *ms = malloc((size_t)windows * sizeof *ms);
    memset(s, 0, sizeof *s);
    if (!ms) return hone_fail(HONE_ENOMEM, "%d windows", windows);
    int err = hone_case_reset(c);
    if (!err)
        err = hone_time_calibrate(plan, c, t->cache, t->window > 0 ? t->window : 0.002, &s->nruns,
                                  &one);
    while (!err && n < windows && (!n || t->limit <= 0 || hone_now() - start < t->limit)) {
        err = hone_time_window(plan, c, t->cache, s->nruns, &one);
        ms[n++] = 1e3 * one;
        if (hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
    }
    if (!err) s->ms = hone_stats_of(ms, n);
    free(ms);
    return err;
}
