/* What a GPU could do, by its own data: rates at its highest clocks, and how much of a
 * multiprocessor a kernel fills (NVIDIA, CUDA C++ Programming Guide, "Multiprocessor Level", and its occupancy
 * calculator).  Computed, not measured: a roof that no run reaches quite. */
#include "kernels/library.h"
#include "profiler/profiler.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { WARP = 32 };

/* ---- limits ---- */

/* By the driver's numbers of attributes, and by the names in cuDNN's description. */
static const struct {
    int attribute;
    const char *name;
    size_t at;
} rows[] = {
#define ROW(attribute, name, member) { attribute, name, offsetof(struct hone_gpu_limits, member) }
    ROW(16, "multiProcessorCount", nsms),
    ROW(39, "maxThreadsPerSM", threads),
    ROW(106, "maxCtasPerSM", blocks),
    ROW(82, "maxRegistersPerSM", registers),
    ROW(81, NULL, shared_bytes),
    ROW(111, "reservedSharedMemoryPerBlock", reserved_bytes),
    ROW(13, "smClockRateKHz", clock_khz),
    ROW(36, "memClockRateKHz", memory_khz),
    ROW(37, NULL, bus_bits),
    ROW(75, NULL, major),
    ROW(76, NULL, minor),
#undef ROW
};
enum { NROWS = sizeof rows / sizeof *rows };

static int *member(struct hone_gpu_limits *l, int i) { return (int *)((char *)l + rows[i].at); }

static int described(const char *description, struct hone_gpu_limits *l)
{
    json_t *root = json_loads(description, 0, NULL);
    for (int i = 0; i < NROWS; i++)
        if (rows[i].name)
            *member(l, i) = (int)json_integer_value(json_object_get(root, rows[i].name));
    const int version = (int)json_integer_value(json_object_get(root, "deviceVer"));
    l->major = version / 100;
    l->minor = version / 10 % 10;
    l->shared_bytes =
        (int)json_integer_value(json_object_get(root, "maxSharedMemoryPerBlockOptin")) +
        l->reserved_bytes;
    json_decref(root);
    return HONE_OK;
}

int hone_gpu_limits(const struct hone_device *d, struct hone_gpu_limits *l)
{
    static int (*get)(int *value, int attribute, int device);
    static const struct hone_symbol symbols[] = { { "cuDeviceGetAttribute", &get },
                                                  { NULL, NULL } };
    const char *own = getenv("HONE_LIBCUDA");
    const struct hone_library driver = {
        "NVIDIA driver", { own ? own : "libcuda.so.1" }, { NULL }, symbols
    };
    char why[HONE_LIBRARY_WHY];
    *l = (struct hone_gpu_limits){ 0 };
    if (d->description) return described(d->description, l);
    if (strcmp(d->backend->name, "cuda")) return hone_fail(HONE_EINVAL, "%s is no GPU", d->name);
    if (!get && hone_library_open(&driver, why)) return hone_fail(HONE_EDEVICE, "%s", why);
    for (int i = 0; i < NROWS; i++)
        if (get(member(l, i), rows[i].attribute, d->index)) *member(l, i) = 0;
    return HONE_OK;
}

/* ---- peaks ---- */

/* Operations of one multiprocessor in a cycle, two for a multiply-add; tensor cores: halves summed in
 * f32, dense. */
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

/* ---- occupancy ---- */

static int round_up(int n, int step) { return (n + step - 1) / step * step; }

/* A warp's registers come in pieces of 256 out of one of four partitions; shared memory in pieces
 * of 128 bytes, and the system keeps some of each block. */
double hone_occupancy(const struct hone_gpu_limits *l, int registers, int shared_bytes, int threads,
                      const char **by)
{
    enum { PARTITIONS = 4, REGISTERS = 256, SHARED = 128 };
    const int warps = round_up(threads, WARP) / WARP, most = l->threads / WARP,
              of_warp = round_up(registers * WARP, REGISTERS),
              of_block = round_up(shared_bytes + l->reserved_bytes, SHARED);
    if (warps < 1 || most < 1) return 0;
    const struct {
        const char *name;
        int blocks;
    } limit[] = {
        { "threads", most / warps },
        { "blocks", l->blocks },
        { "registers",
          of_warp ? l->registers / PARTITIONS / of_warp * PARTITIONS / warps : most / warps },
        { "shared memory", of_block ? l->shared_bytes / of_block : most / warps },
    };
    int least = 0;
    for (int i = 1; i < (int)(sizeof limit / sizeof *limit); i++)
        if (limit[i].blocks < limit[least].blocks) least = i;
    *by = limit[least].name;
    return (double)limit[least].blocks * warps / most;
}
