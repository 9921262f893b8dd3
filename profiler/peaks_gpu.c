/* A GPU's measured peaks: multiply-adds per second from registers, bytes per second out of L2 and
 * memory, by the whole GPU.  As on the CPU a peak is the best window of many.  Tensor cores' rates
 * are by its clocks (gpu_model.c): no loop of ours would reach them. */
#include "profiler/peaks.h"

#include "kernels/backend/cuda_peaks.h"
#include "kernels/gpu_limits.h"

#include <string.h>
#include <time.h>

/* The kernel of this device's loops, precompiled or else to be compiled; NULL, and why there is
 * none. */
static const struct hone_kernel *loops_of(const struct hone_device *d, const char **why)
{
    *why = "this build has no loops for it";
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (strncmp(k->name, "cuda_peaks", 10) || k->backend != d->backend) continue;
        *why = d->backend->refuse(k, d);
        if (!*why) return k;
    }
    return NULL;
}

struct loops {
    struct hone_plan plan;
    void *mem, *out;
};

static int window(struct loops *l, int loop, int kib, int rounds, double *seconds)
{
    struct hone_device *d = l->plan.device;
    int *v = l->plan.config.v;
    v[PEAKS_LOOP] = loop, v[PEAKS_KIB] = kib, v[PEAKS_ROUNDS] = rounds;
    int err = d->backend->start(d);
    if (!err) err = l->plan.kernel->run(&l->plan, &l->mem, l->out);
    return err ? err : d->backend->stop(d, seconds);
}

/* The best rate of windows of about 2 ms, for about `seconds` in all, eight windows at least; work:
 * of one round. */
static int best_rate(struct loops *l, int loop, int kib, double work, double seconds, double *best)
{
    enum { MOST_ROUNDS = 1 << 28 };
    double took = 0, all = 0;
    int rounds = 1, err = window(l, loop, kib, 1, &took);   /* the first one fills caches */
    *best = 0;
    do {
        if (!err) err = window(l, loop, kib, rounds, &took);
        if (took < 0.002) rounds *= 2;
    } while (!err && took < 0.002 && rounds < MOST_ROUNDS);
    for (int n = 0; !err && (n < 8 || all < seconds); n++) {
        err = window(l, loop, kib, rounds, &took);
        if (!err && took > 0 && work * rounds / took > *best) *best = work * rounds / took;
        all += took > 1e-6 ? took : 1e-6;
    }
    return err;
}

/* Half of L2; and eight times as much as it holds stands for memory. */
static int measure(struct loops *l, double seconds, struct hone_peaks *p)
{
    const struct hone_device *d = l->plan.device;
    const double threads = (double)l->plan.config.v[PEAKS_BLOCKS] * PEAKS_THREADS;
    const double flops = threads * PEAKS_CHAINS * PEAKS_STEPS * 2;
    const int l2 = (int)(d->l2_bytes >> 11), memory = (int)(d->l2_bytes >> 7);
    int err = best_rate(l, PEAKS_FMA_F32, 0, flops, seconds, &p->flops_all[HONE_F32]);
    if (!err) err = best_rate(l, PEAKS_FMA_F64, 0, flops, seconds, &p->flops_all[HONE_F64]);
    if (!err) err = best_rate(l, PEAKS_READ, l2, 1024.0 * l2, seconds, &p->l2_all);
    if (!err) err = best_rate(l, PEAKS_READ, memory, 1024.0 * memory, seconds, &p->memory_all);
    if (!err)
        err = best_rate(l, PEAKS_TRIAD, memory, 48.0 * (memory * 64ll / 3), seconds, &p->triad_all);
    for (int t = HONE_F32; t <= HONE_F64; t++) p->flops_one[t] = p->flops_all[t];
    p->l2_one = p->l2_all, p->memory_one = p->memory_all;
    return err;
}

void hone_peaks_of_halves(const struct hone_device *d, struct hone_peaks *p)
{
    struct hone_peaks clocks;
    if (hone_gpu_peaks(d, &clocks)) return;
    for (int t = 0; t < HONE_NDTYPES; t++)
        if (hone_dtype_is_half((enum hone_dtype)t))
            p->flops_one[t] = p->flops_all[t] = clocks.flops_all[t];
}

int hone_peaks_measure_gpu(struct hone_device *d, double seconds, struct hone_peaks *p)
{
    const char *why;
    const struct hone_kernel *k = loops_of(d, &why);
    struct loops l = { .plan = { .kernel = k, .device = d } };
    struct hone_gpu_limits limits;
    time_t now = time(NULL);
    struct tm utc;
    *p = (struct hone_peaks){ .nthreads = 1, .times = 1, .share = 1 };
    if (!k) return hone_fail(HONE_EREFUSED, "%s", why);
    int err = hone_gpu_limits(d, &limits);
    if (err) return err;
    l.plan.config.v[PEAKS_BLOCKS] = limits.nsms * (limits.threads / PEAKS_THREADS);
    err = k->prepare(&l.plan);
    if (!err) err = d->backend->alloc(d, (size_t)d->l2_bytes * 8, &l.mem);
    if (!err) err = d->backend->alloc(d, k->workspace(NULL, &l.plan.config, d), &l.out);
    if (!err) err = measure(&l, seconds, p);
    d->backend->free(d, l.mem);
    d->backend->free(d, l.out);
    if (l.plan.priv) k->release(&l.plan);
    hone_peaks_of_halves(d, p);
    strftime(p->when, sizeof p->when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return err;
}
