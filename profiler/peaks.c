/* Measured peaks: multiply-adds per second from registers, bytes per second from each level of
 * memory, for one thread and for all.  A peak is the best window of many: noise only slows. */
#include "config.h"

#include "profiler/peaks.h"

#include "kernels/backend/cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* One measured loop: every thread runs it on its own part of the buffer, or on all of it. */
struct job {
    const struct hone_loops *loops;
    enum { FMA_F32, FMA_F64, READ, TRIAD, PRODUCTS } kind;
    const struct hone_dots_loop *dots;   /* PRODUCTS */
    char *mem;
    int64_t bytes; /* READ, TRIAD: of one thread's part */
    int shared;    /* 1: all threads read the same part, each from another start */
    struct clocks *clocks;
};

/* Of all windows of all threads: seconds that passed, and that the threads ran. */
struct clocks {
    double wall, cpu;
};

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run(const struct job *j, int thread, int nthreads, int64_t times)
{
    char *mem = j->mem + (j->shared ? 0 : thread * j->bytes);
    int64_t third = j->bytes / 3 / HONE_READ_BLOCK * HONE_READ_BLOCK, n = third / 4;
    int64_t start =
        j->shared ? j->bytes / nthreads * thread / HONE_READ_BLOCK * HONE_READ_BLOCK : 0;
    switch (j->kind) {
    case FMA_F32: j->loops->fma_f32(times); break;
    case FMA_F64: j->loops->fma_f64(times); break;
    case PRODUCTS: j->dots->dots(times); break;
    case READ:
        for (int64_t t = 0; start && t < times; t++) {
            j->loops->read(mem + start, j->bytes - start, 1);
            j->loops->read(mem, start, 1);
        }
        if (!start) j->loops->read(mem, j->bytes, times);
        break;
    case TRIAD:
        for (int64_t t = 0; t < times; t++)
            j->loops->triad((float *)mem, (float *)(mem + third), (float *)(mem + 2 * third), 0.5f,
                            n);
        break;
    }
}

/* Flops or bytes of one thread, once. */
static double work(const struct job *j)
{
    switch (j->kind) {
    case FMA_F32: return j->loops->flops_f32;
    case FMA_F64: return j->loops->flops_f64;
    case PRODUCTS: return j->dots->flops;
    case READ: return (double)j->bytes;
    case TRIAD: return 3.0 * (double)(j->bytes / 3 / HONE_READ_BLOCK * HONE_READ_BLOCK);
    }
    return 0;
}

/* The sum of the threads' own rates.  Each thread has its own watch: the team's start and end,
 * where it waits for a thread that another process keeps from its core, are no part of a peak. */
static double rate_of(const struct job *j, int nthreads, int64_t times)
{
    double rate = 0, amount = work(j) * (double)times, first = 1e300, last = 0, longest = 0;
    double wall = 0, cpu = 0;
#pragma omp parallel for num_threads(nthreads) schedule(static, 1) if (nthreads > 1) \
    reduction(+ : rate, wall, cpu) reduction(min : first) reduction(max : last, longest)
    for (int i = 0; i < nthreads; i++) {
        double ran = thread_seconds(), start = hone_now();
        run(j, i, nthreads, times);
        double end = hone_now();
        cpu += thread_seconds() - ran;
        wall += end - start;
        rate += amount / (end - start);
        first = start < first ? start : first;
        last = end > last ? end : last;
        longest = end - start > longest ? end - start : longest;
    }
    j->clocks->wall += wall;
    j->clocks->cpu += cpu;
    /* Threads that ran one after another did not share what they read through. */
    return last - first < 1.25 * longest ? rate : amount * nthreads / (last - first);
}

/* In a window of about 2 ms. */
static int64_t times_of(const struct job *j, int nthreads)
{
    rate_of(j, nthreads, 1); /* wakes the threads, fills the caches */
    for (int64_t times = 1;; times *= 2)
        if (work(j) * (double)times >= 0.002 * rate_of(j, 1, times)) return times;
}

/* The best rate of such windows, for about `seconds` in all, eight windows at least. */
static double best_rate(const struct job *j, int nthreads, double seconds)
{
    const int64_t times = times_of(j, nthreads);
    double start = hone_now(), best = 0;
    for (int n = 0; n < 8 || hone_now() - start < seconds; n++) {
        double rate = rate_of(j, nthreads, times);
        if (rate > best) best = rate;
    }
    return best;
}

const struct hone_loops *hone_loops_for(const struct hone_device *d)
{
#if defined __x86_64__
    if (d->isa >= HONE_ISA_avx512) return &hone_loops_avx512;
    if (d->isa == HONE_ISA_avx2) return &hone_loops_avx2;
#endif
    (void)d;
    return &hone_loops_plain;
}

/* NULL: bf16 is computed in f32. */
static const struct hone_dots_loop *dots_for(const struct hone_device *d)
{
#ifdef HONE_DOTS
    if (d->backend != &hone_backend_cpu) return NULL;
    if (d->isa == HONE_ISA_amx) return &hone_dots_loop_amx_bf16;
    if (d->isa == HONE_ISA_avx512dot) return &hone_dots_loop_avx512dot_bf16;
#endif
    (void)d;
    return NULL;
}

int hone_peaks_has(const struct hone_device *d, enum hone_dtype t)
{
    return t == HONE_F32 || t == HONE_F64 || (t == HONE_BF16 && dots_for(d));
}

static struct job flops_job(const struct hone_device *d, enum hone_dtype t, struct clocks *clocks)
{
    return (struct job){ .loops = hone_loops_for(d),
                         .kind = t == HONE_F32 ? FMA_F32 : t == HONE_F64 ? FMA_F64 : PRODUCTS,
                         .dots = dots_for(d),
                         .clocks = clocks };
}

double hone_peaks_now(const struct hone_device *d, enum hone_dtype t, int nthreads)
{
    struct clocks clocks = { 0, 0 };
    if (d->backend != &hone_backend_cpu) return 0;
    const struct job j = flops_job(d, hone_peaks_has(d, t) ? t : HONE_F32, &clocks);
    const int64_t times = times_of(&j, nthreads);
    return rate_of(&j, nthreads, times);
}

static int64_t blocks(double bytes)
{
    int64_t n = (int64_t)bytes / HONE_READ_BLOCK * HONE_READ_BLOCK;
    return n < 4 * HONE_READ_BLOCK ? 4 * HONE_READ_BLOCK : n;
}

static void measure_flops(const struct hone_device *d, double seconds, struct clocks *clocks,
                          struct hone_peaks *p)
{
    for (int t = HONE_F32; t < HONE_NDTYPES; t++) {
        if (!hone_peaks_has(d, (enum hone_dtype)t)) continue;
        const struct job j = flops_job(d, (enum hone_dtype)t, clocks);
        p->flops_one[t] = best_rate(&j, 1, seconds);
        p->flops_all[t] = p->nthreads > 1 ? best_rate(&j, p->nthreads, seconds) : p->flops_one[t];
    }
}

/* Half of L1 and L2 leave room for what else lives there.  The L3 buffer exceeds L2 and is shared
 * by all threads, since their L2s together may hold as much as the L3. */
static void measure_reads(const struct hone_device *d, const struct hone_loops *loops,
                          double seconds, char *mem, int64_t memory_one, int64_t memory_all,
                          struct clocks *clocks, struct hone_peaks *p)
{
    int n = p->nthreads;
    double l3 = (double)d->l3_bytes / 3;
    if (l3 < 1.5 * (double)d->l2_bytes) l3 = 1.5 * (double)d->l2_bytes;
    const struct {
        int there;
        double bytes_one, bytes_all;
        int shared;
        double *one, *all;
    } levels[] = {
        { 1, (double)d->l1_bytes / 2, (double)d->l1_bytes / 2, 0, &p->l1_one, &p->l1_all },
        { 1, (double)d->l2_bytes / 2, (double)d->l2_bytes / 2, 0, &p->l2_one, &p->l2_all },
        { d->l3_bytes > 0, l3, l3, 1, &p->l3_one, &p->l3_all },
        { 1, (double)memory_one, (double)memory_all / n, 0, &p->memory_one, &p->memory_all },
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!levels[i].there) continue;
        struct job j = { loops, READ, NULL, mem, blocks(levels[i].bytes_one), 0, clocks };
        *levels[i].one = best_rate(&j, 1, seconds);
        j.bytes = blocks(levels[i].bytes_all);
        j.shared = levels[i].shared;
        *levels[i].all = n > 1 ? best_rate(&j, n, seconds) : *levels[i].one;
    }
    struct job j = { loops, TRIAD, NULL, mem, blocks((double)memory_all / n), 0, clocks };
    p->triad_all = best_rate(&j, n, seconds);
}

static int measure(struct hone_device *d, double seconds, int64_t memory_bytes,
                   struct hone_peaks *p)
{
    const struct hone_loops *loops = hone_loops_for(d);
    int64_t one = memory_bytes, all = memory_bytes, page = 2 << 20;
    time_t now = time(NULL);
    struct tm utc;
    memset(p, 0, sizeof *p);
    p->nthreads = d->ncores;
    if (!memory_bytes) {
        one = 4 * d->l3_bytes > 256 << 20 ? 4 * d->l3_bytes : 256 << 20;
        /* Processors of many sockets or clusters have several L3s: 32 MiB a core exceeds them
         * all. */
        all = d->ncores * (32ll << 20) > one ? d->ncores * (32ll << 20) : one;
        if (all > d->memory_bytes / 8) all = d->memory_bytes / 8;
        if (one > all) one = all;
    }
    /* Every level's buffers lie in this one, whatever size was asked for. */
    int64_t room = all;
    if (room < d->ncores * (d->l2_bytes + 65536)) room = d->ncores * (d->l2_bytes + 65536);
    if (room < d->l3_bytes + 2 * d->l2_bytes) room = d->l3_bytes + 2 * d->l2_bytes;
    room = (room + page - 1) / page * page;
    char *mem = aligned_alloc((size_t)page, (size_t)room);
    if (!mem)
        return hone_fail(HONE_ENOMEM, "cannot allocate %lld bytes to measure memory with",
                         (long long)room);
    /* Huge pages where there are any: the peak is the memory's, not the page tables'. */
    madvise(mem, (size_t)room, MADV_HUGEPAGE);
#pragma omp parallel for num_threads(p->nthreads) schedule(static)
    for (int64_t i = 0; i < room / page; i++) memset(mem + i * page, 0, (size_t)page);
    struct clocks clocks = { 0, 0 };
    measure_flops(d, seconds, &clocks, p);
    measure_reads(d, loops, seconds, mem, one, all, &clocks, p);
    free(mem);
    p->times = 1;
    p->share = clocks.cpu / clocks.wall;
    strftime(p->when, sizeof p->when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return HONE_OK;
}

struct measuring {
    struct hone_device *d;
    double seconds;
    int64_t memory_bytes;
    struct hone_peaks *p;
    int err;
    char why[256];
};

static void *measure_in_thread(void *ctx)
{
    struct measuring *m = ctx;
    m->err = measure(m->d, m->seconds, m->memory_bytes, m->p);
    if (m->err) snprintf(m->why, sizeof m->why, "%s", hone_errmsg());
    return NULL;
}

/* In a thread, with which its OpenMP helpers end: libgomp counts them in processes that are forked
 * later, as the tuner's are, and would find the machine too small there to let threads wait in
 * loops, so that two seem slower than one. */
int hone_peaks_measure(struct hone_device *d, double seconds, int64_t memory_bytes,
                       struct hone_peaks *p)
{
    struct measuring m = { .d = d, .seconds = seconds, .memory_bytes = memory_bytes, .p = p };
    pthread_t thread;
    if (d->backend != &hone_backend_cpu)
        return d->backend->start ? hone_peaks_measure_gpu(d, seconds, p)
                                 : hone_fail(HONE_EDEVICE, "%s is described, not here", d->name);
    if (pthread_create(&thread, NULL, measure_in_thread, &m))
        return measure(d, seconds, memory_bytes, p);
    pthread_join(thread, NULL);
    return m.err ? hone_fail(m.err, "%s", m.why) : HONE_OK;
}

/* ---- the cache ---- */

int hone_peaks_path(const struct hone_device *d, char *path, size_t size)
{
    char name[64];
    uint64_t hash = 0;
    for (const char *s = d->id; *s; s++) hash = hone_random(hash, (unsigned char)*s);
    snprintf(name, sizeof name, "peaks-%016llx.json", (unsigned long long)hash);
    return hone_user_path("cache", name, path, size);
}

/* The best of both, each number by itself. */
static void merge(struct hone_peaks *p, const struct hone_peaks *old)
{
    double *const to[] = { &p->l1_one, &p->l2_one, &p->l3_one,     &p->memory_one, &p->l1_all,
                           &p->l2_all, &p->l3_all, &p->memory_all, &p->triad_all,  &p->share };
    const double from[] = {
        old->l1_one, old->l2_one, old->l3_one,     old->memory_one, old->l1_all,
        old->l2_all, old->l3_all, old->memory_all, old->triad_all,  old->share
    };
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        if (from[i] > *to[i]) *to[i] = from[i];
    for (int t = 0; t < HONE_NDTYPES; t++) {
        if (old->flops_one[t] > p->flops_one[t]) p->flops_one[t] = old->flops_one[t];
        if (old->flops_all[t] > p->flops_all[t]) p->flops_all[t] = old->flops_all[t];
    }
    p->times += old->times;
}

int hone_peaks(struct hone_device *d, int again, struct hone_peaks *peaks)
{
    enum { TIMES = 5 };
    static const double seconds = 0.1, quiet = 0.95; /* seconds: for each of 13 to 15 numbers */
    struct hone_peaks old = { .times = 0 };
    char path[512];
    /* A machine without a writable cache is measured each time. */
    int kept = !hone_peaks_path(d, path, sizeof path);
    if (kept && !again && !hone_peaks_load(path, d, &old) &&
        (old.share >= quiet || old.times >= TIMES)) {
        *peaks = old;
        if (d->backend != &hone_backend_cpu) hone_peaks_of_halves(d, peaks);
        return HONE_OK;
    }
    /* Who is about to use a GPU has not asked for its memory to be filled. */
    if (!again && d->backend != &hone_backend_cpu)
        return hone_fail(HONE_EDEVICE, "peaks of %s are not measured: `hone devices` does",
                         d->name);
    int err = hone_peaks_measure(d, seconds, 0, peaks);
    if (err) return hone_fail_at(err, "peaks of %s", d->name);
    if (old.times && old.nthreads == peaks->nthreads) merge(peaks, &old);
    if (!kept || hone_peaks_save(path, d, peaks))
        snprintf(peaks->not_kept, sizeof peaks->not_kept, "%s", hone_errmsg());
    return HONE_OK;
}
