/* What a GPU could do, by its own data: rates at its highest clocks.  Computed, not measured: a
 * roof that no run reaches quite. */
#include "profiler/profiler.h"

/* ---- peaks ---- */

/* Operations of one multiprocessor in a cycle, two for a multiply-add; tensor cores: halves summed
 * in f32, dense. */
static const struct {
    int capability, f32, half;
} rates[] = {
    { 75, 128, 0 },    { 80, 128, 2048 },  { 86, 256, 1024 }, { 87, 256, 1024 },
    { 89, 256, 1024 }, { 90, 256, 4096 },  { 100, 256, 8192 }, { 103, 256, 8192 },
    { 120, 256, 1024 }, { 121, 256, 1024 },
};

int hone_gpu_peaks(const struct hone_device *d, struct hone_peaks *p)
{
    struct hone_gpu_limits l;
    const int n = (int)(sizeof rates / sizeof *rates);
    int i = 0, err = hone_gpu_limits(d, &l);
    *p = (struct hone_peaks){ .nthreads = 1, .share = 1 };
    if (err) return err;
    while (i < n && rates[i].capability != 10 * l.major + l.minor) i++;
    if (i == n || !l.clock_khz)
        return hone_fail(HONE_EDEVICE, "%s does not tell its rates", d->name);
    const double cycles = 1e3 * l.clock_khz * l.nsms;
    p->flops_one[HONE_F32] = p->flops_all[HONE_F32] = cycles * rates[i].f32;
    for (int t = 0; t < HONE_NDTYPES; t++)
        if (hone_dtype_is_half((enum hone_dtype)t))
            p->flops_one[t] = p->flops_all[t] = cycles * rates[i].half;
    /* Two transfers in a cycle of the memory's clock. */
    p->memory_one = p->memory_all = 2e3 * l.memory_khz * (l.bus_bits / 8);
    snprintf(p->when, sizeof p->when, "by its clocks");
    return HONE_OK;
}
