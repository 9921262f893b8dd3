/* Spaces that nobody recorded, for replays. */
#include "autotune/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- bowls, steps and interactions ---- */

static double made_up(uint64_t seed, int kernel, const int v[], int nparams)
{
    double log_ms = 0.35 * hone_random_unit(seed, (uint64_t)kernel);
    for (int p = 0; p < nparams; p++) {
        uint64_t of = hone_random(seed, (uint64_t)(100 + 16 * kernel + p));
        double bottom = 6 * hone_random_unit(of, 0), depth = 0.06 * hone_random_unit(of, 1);
        log_ms += depth * (v[p] - bottom) * (v[p] - bottom);
        /* A cliff, as where a block no longer fits a cache. */
        if (v[p] * v[(p + 1) % nparams] > 8 + 30 * hone_random_unit(of, 2)) log_ms += 0.4;
    }
    for (int p = 0; p < nparams; p++) seed = hone_random(seed, (uint64_t)(v[p] + 7 * kernel));
    return exp(log_ms + 0.05 * hone_random_unit(seed, 9));
}

int hone_recording_synthetic(struct hone_recording *r, uint64_t seed)
{
    enum { KERNELS = 4, PARAMS = 4, VALUES = 6 };
    int err = HONE_OK;
    memset(r, 0, sizeof *r);
    snprintf(r->problem, sizeof r->problem, "synthetic:%llu", (unsigned long long)seed);
    snprintf(r->device, sizeof r->device, "synthetic");
    snprintf(r->cache, sizeof r->cache, "warm");
    for (int k = 0; !err && k < KERNELS; k++) {
        struct hone_pool_kernel *q = hone_pool_kernel_add(&r->pool);
        if (!q) return hone_fail(HONE_ENOMEM, "%d kernels", k);
        snprintf(q->name, sizeof q->name, "made_up%d", k);
        q->isa = HONE_ISA_avx2;
        q->nparams = PARAMS;
        for (int p = 0; p < PARAMS; p++) snprintf(q->param[p], sizeof q->param[p], "p%d", p);
        for (int i = 0; !err && i < VALUES * VALUES * VALUES * VALUES; i += 3) {
            int v[HONE_MAX_PARAMS] = { 1 + i % VALUES, 1 + i / VALUES % VALUES,
                                       1 + i / (VALUES * VALUES) % VALUES,
                                       1 + i / (VALUES * VALUES * VALUES) };
            err = hone_pool_add(&r->pool, v);
        }
    }
    if (!err) r->ms = calloc((size_t)r->pool.n, sizeof *r->ms);
    if (!err && !r->ms) err = hone_fail(HONE_ENOMEM, "%d candidates", r->pool.n);
    for (int i = 0; !err && i < r->pool.n; i++)
        r->ms[i] = made_up(seed, r->pool.at[i].kernel, r->pool.at[i].v, PARAMS);
    if (err) hone_recording_close(r);
    return err;
}

/* ---- a machine with parts ---- */

/* What config v of a product with blocks of tm x tn, steps of tk and so many threads asks of the
 * machine: words from memory, words from the cache, instructions, and how many threads are in
 * flight, which hide waiting. */
enum { MEMORY, CACHE, WORK, FLIGHT, WHATS };
enum { TM, TN, TK, UNROLL, THREADS, TILES };

static void counts_of(uint64_t seed, int kernel, const int v[], double count[WHATS])
{
    static const int threads[] = { 32, 64, 128, 256, 512 };
    const double tm = 4 << v[TM], tn = 4 << v[TN], tk = 4 << v[TK], unroll = 1 << v[UNROLL],
                 nthreads = threads[v[THREADS]], each = fmax(tm * tn / nthreads, 0.25);
    double mixed[8];
    for (int i = 0; i < 8; i++) mixed[i] = hone_random_unit(seed, (uint64_t)(8 * kernel + i));
    const double registers = 16 + each * (1 + 0.3 * mixed[0]) + 3 * unroll,
                 blocks = fmin(65536 / (registers * nthreads), 24576 / ((tm + tn) * tk));
    count[MEMORY] = 1e8 * (1 / tm + 1 / tn) * (1 + 0.2 * mixed[1] * (tk < 16)) + 1e6;
    count[CACHE] = 2e9 * (1 / sqrt(each) + mixed[2] / tk) * (1 + 0.5 / unroll) + 1e7;
    count[WORK] = 1e9 * (1 + (1 + mixed[3]) / (unroll * fmin(tk, 32)) + 0.7 * mixed[4] / each);
    count[FLIGHT] = fmin(2048, fmax(blocks, 0.2) * nthreads);
}

static double time_of(uint64_t seed, const double count[WHATS])
{
    const double memory = 2e9 * (0.5 + hone_random_unit(seed, 1001)),
                 cache = 2e10 * (0.5 + hone_random_unit(seed, 1002)),
                 work = 4e10 * (0.5 + hone_random_unit(seed, 1003)),
                 hides = count[FLIGHT] / (count[FLIGHT] + 400 * hone_random_unit(seed, 1004));
    const double most = fmax(count[CACHE] / cache, count[WORK] / work);
    return 1e3 * fmax(count[MEMORY] / memory, most) / hides;
}

static int add_tiles(struct hone_recording *r, uint64_t seed, int kernel)
{
    static const int most[TILES] = { 6, 6, 4, 4, 5 };
    int v[HONE_MAX_PARAMS] = { 0 }, err = HONE_OK, p = 0;
    while (!err && p < TILES) {
        const int n = r->pool.n;
        /* Every third, or the space would be larger than ours are. */
        if ((v[TM] + v[TN] + v[TK] + v[UNROLL] + v[THREADS]) % 3 == kernel % 3) {
            if (!hone_recording_grow(r, n)) return HONE_ENOMEM;
            double *count = r->count + (size_t)n * WHATS;
            counts_of(seed, kernel, v, count);
            r->ms[n] = time_of(seed, count) *
                       (1 + 0.03 * hone_random_unit(seed, (uint64_t)n + 5000));
            err = hone_pool_add(&r->pool, v);
        }
        for (p = 0; p < TILES && ++v[p] == most[p]; p++) v[p] = 0;
    }
    return err;
}

int hone_recording_roofline(struct hone_recording *r, uint64_t seed)
{
    enum { KERNELS = 2 };
    static const char *const what[WHATS] = { "memory", "cache", "work", "flight" },
                      *const param[TILES] = { "tm", "tn", "tk", "unroll", "threads" };
    int err = HONE_OK;
    memset(r, 0, sizeof *r);
    snprintf(r->problem, sizeof r->problem, "roofline:%llu", (unsigned long long)seed);
    snprintf(r->device, sizeof r->device, "made up");
    snprintf(r->cache, sizeof r->cache, "warm");
    r->nwhat = WHATS;
    for (int w = 0; w < WHATS; w++) snprintf(r->what[w], sizeof r->what[w], "%s", what[w]);
    for (int k = 0; !err && k < KERNELS; k++) {
        struct hone_pool_kernel *q = hone_pool_kernel_add(&r->pool);
        if (!q) { err = hone_fail(HONE_ENOMEM, "%d kernels", k); break; }
        snprintf(q->name, sizeof q->name, "tiles%d", k);
        q->isa = HONE_ISA_avx2;
        q->nparams = TILES;
        for (int p = 0; p < TILES; p++) snprintf(q->param[p], sizeof q->param[p], "%s", param[p]);
        err = add_tiles(r, seed, k);
    }
    if (err) hone_recording_close(r);
    return err;
}
