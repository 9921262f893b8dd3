/* What a GPU's multiprocessor has, by the driver or by a description, and how much of it a kernel
 * fills (NVIDIA, CUDA C++ Programming Guide, "Multiprocessor Level", and its occupancy
 * calculator). */
#include "kernels/gpu_limits.h"
#include "kernels/library.h"

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

/* ---- occupancy ---- */

static int round_up(int n, int step) { return (n + step - 1) / step * step; }

/* A warp's registers come in pieces of 256 out of one of four partitions; shared memory in pieces
 * of 128 bytes, and the system keeps some of each block. */
int hone_gpu_blocks(const struct hone_gpu_limits *l, enum hone_gpu_bound by, int amount,
                    int threads)
{
    enum { PARTITIONS = 4, REGISTERS = 256, SHARED = 128 };
    const int warps = round_up(threads, WARP) / WARP;
    int blocks = warps < 1 ? 0 : l->threads / WARP / warps;
    if (by == HONE_BY_BLOCKS) blocks = l->blocks;
    if (by == HONE_BY_REGISTERS && amount > 0 && warps > 0)
        blocks = l->registers / PARTITIONS / round_up(amount * WARP, REGISTERS) * PARTITIONS / warps;
    if (by == HONE_BY_SHARED && amount + l->reserved_bytes > 0)
        blocks = l->shared_bytes / round_up(amount + l->reserved_bytes, SHARED);
    return blocks;
}

double hone_occupancy(const struct hone_gpu_limits *l, int registers, int shared_bytes, int threads,
                      const char **by)
{
    static const char *const name[] = { "threads", "blocks", "registers", "shared memory" };
    const int amount[] = { 0, 0, registers, shared_bytes };
    const int warps = round_up(threads, WARP) / WARP, most = l->threads / WARP;
    int least = 0, blocks = hone_gpu_blocks(l, HONE_BY_THREADS, 0, threads);
    if (warps < 1 || most < 1) return 0;
    for (int i = 1; i < HONE_NGPU_BOUNDS; i++) {
        const int n = hone_gpu_blocks(l, (enum hone_gpu_bound)i, amount[i], threads);
        if (n < blocks) blocks = n, least = i;
    }
    *by = name[least];
    return (double)blocks * warps / most;
}
