/* The loops that a GPU's peaks are measured with do what they are counted for, on the pretend
 * driver; and what is measured is kept, with tensor cores' rates by the clocks. */
#include "kernels/backend/cuda_peaks.h"
#include "profiler/peaks.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 5, KIB = 24, FLOATS = KIB * 256, OUT = BLOCKS * PEAKS_THREADS };

static float mem[FLOATS], out[OUT];

/* Runs a loop over mem as it stands, and fetches mem and out. */
static int loop(struct hone_device *d, int which, int rounds)
{
    struct hone_plan plan = { .config = { { which, rounds, BLOCKS, KIB } }, .device = d };
    void *gpu = NULL, *sums = NULL;
    for (int i = 0; hone_kernels[i]; i++)
        if (!strcmp(hone_kernels[i]->name, "cuda_peaks")) plan.kernel = hone_kernels[i];
    if (!plan.kernel || plan.kernel->prepare(&plan)) return -1;
    int err = d->backend->alloc(d, sizeof mem, &gpu);
    if (!err) err = d->backend->alloc(d, plan.kernel->workspace(NULL, &plan.config, d), &sums);
    if (!err) err = d->backend->put(d, gpu, mem, sizeof mem);
    if (!err) err = plan.kernel->run(&plan, &gpu, sums);
    if (!err) err = d->backend->get(d, mem, gpu, sizeof mem);
    if (!err) err = d->backend->get(d, out, sums, sizeof out);
    d->backend->free(d, gpu);
    d->backend->free(d, sums);
    plan.kernel->release(&plan);
    return err;
}

static int all_are(float v)
{
    int n = 0;
    while (n < OUT && out[n] == v) n++;
    return n == OUT;
}

static void check_loops(struct hone_device *d)
{
    double sum = 0;
    int right = 0;
    ok(!loop(d, PEAKS_FMA_F32, 2) && all_are(2 * PEAKS_CHAINS), "chains of f32 go to 2");
    ok(!loop(d, PEAKS_FMA_F64, 4) && all_are(2 * PEAKS_CHAINS), "chains of f64 do");
    for (int i = 0; i < FLOATS; i++) mem[i] = (float)(i % 7);
    for (int i = 0; i < FLOATS; i++) sum += mem[i];
    ok(!loop(d, PEAKS_READ, 3), "memory is read");
    for (int i = 0; i < OUT; i++) sum -= out[i] / 3.0;
    ok(fabs(sum) < 1e-3, "all of it, each round: %g is left", sum);
    ok(!loop(d, PEAKS_TRIAD, 2), "a = b + c / 2");
    for (int i = 0, third = FLOATS / 3; i < third; i++)
        right += mem[i] == (float)((third + i) % 7) + 0.5f * (float)((2 * third + i) % 7);
    ok(right == FLOATS / 3, "of three thirds: %d of %d", right, FLOATS / 3);
}

int main(void)
{
    char path[4096], cache[] = "/tmp/hone-peaks.XXXXXX", file[512];
    const char *dir = getenv("builddir");
    struct hone_device d;
    struct hone_peaks p, again;
    snprintf(path, sizeof path, "%s/tests/pretend_cuda.so", dir ? dir : ".");
    if (!mkdtemp(cache)) return 1;
    setenv("HONE_LIBCUDA", path, 1);
    setenv("HONE_PRETEND_CLOCKS", "1", 1);
    setenv("XDG_CACHE_HOME", cache, 1);
    if (!ok(!hone_device_open(&d, "gpu0"), "the pretend GPU opens")) return tap_end();
    check_loops(&d);
    ok(hone_peaks(&d, 0, &p) && strstr(hone_errmsg(), "hone devices"), "unasked: %s",
       hone_errmsg());
    ok(!hone_peaks_measure(&d, 0.001, 0, &p), "peaks are measured");
    ok(p.flops_all[HONE_F32] > 0 && p.flops_all[HONE_F64] > 0 && p.l2_all > 0 && p.memory_all > 0 &&
           p.triad_all > 0 && p.l1_all == 0 && p.l3_all == 0, "each that there is");
    ok(p.flops_all[HONE_F16] > 100 * p.flops_all[HONE_F32], "tensor cores' are by the clocks");
    ok(!hone_peaks_path(&d, file, sizeof file) && !hone_peaks_save(file, &d, &p) &&
           !hone_peaks(&d, 0, &again) && again.cached, "they are kept");
    ok(fabs(again.memory_all / p.memory_all - 1) < 1e-5 &&
           again.flops_all[HONE_F16] == p.flops_all[HONE_F16],
       "as they were");
    unlink(file);
    setenv("HONE_PRETEND_FAIL", "cuLaunchKernel:3", 1);
    ok(hone_peaks_measure(&d, 0.001, 0, &p) &&
           strstr(hone_errmsg(), "cuLaunchKernel: CUDA_ERROR_UNKNOWN"),
       "a launch that fails is told: %s", hone_errmsg());
    hone_device_close(&d);
    snprintf(file, sizeof file, "rm -rf %s", cache);
    return system(file) ? 1 : tap_end();
}
