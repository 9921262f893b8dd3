/* Meter: the state of an NVIDIA GPU.  NVML comes with the driver and is opened at run time, by
 * declarations of our own.  Not run on a GPU yet; tests/check_nvml.c has a library that pretends.
 */
#include "kernels/library.h"
#include "profiler/nvml.h"
#include "profiler/profiler.h"

#include <stdlib.h>
#include <string.h>

extern const struct hone_meter hone_meter_nvml;

typedef void *gpu;

enum { CLOCK_SM = 1, CLOCK_MEMORY = 2, SENSOR_GPU = 0 };

static struct {
    int (*init)(void);
    const char *(*error)(int code);
    int (*by_index)(unsigned index, gpu *g);
    int (*by_bus_id)(const char *id, gpu *g);
    int (*clock)(gpu g, int which, unsigned *mhz);
    int (*power)(gpu g, unsigned *milliwatts);
    int (*energy)(gpu g, unsigned long long *millijoules);
    int (*temperature)(gpu g, int sensor, unsigned *celsius);
    int (*throttle)(gpu g, unsigned long long *bits);
} nvml;

static const struct hone_symbol symbols[] = {
    { "nvmlInit_v2", &nvml.init },
    { "nvmlErrorString", &nvml.error },
    { "nvmlDeviceGetHandleByIndex_v2", &nvml.by_index },
    { "nvmlDeviceGetHandleByPciBusId_v2", &nvml.by_bus_id },
    { "nvmlDeviceGetClockInfo", &nvml.clock },
    { "nvmlDeviceGetPowerUsage", &nvml.power },
    { "nvmlDeviceGetTotalEnergyConsumption", &nvml.energy },
    { "nvmlDeviceGetTemperature", &nvml.temperature },
    { "nvmlDeviceGetCurrentClocksThrottleReasons", &nvml.throttle },
    { NULL, NULL },
};

static const struct hone_library library = { "NVML", { "libnvidia-ml.so.1" }, { NULL }, symbols };

const char *hone_nvml_absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static int asked;
    if (asked++) return why[0] ? why : NULL;
    if (hone_library_open(&library, why)) return why;
    int code = nvml.init();
    if (code) snprintf(why, sizeof why, "NVML does not start: %s", nvml.error(code));
    return why[0] ? why : NULL;
}

static int fail(int code, const char *what)
{
    return hone_fail(HONE_EDEVICE, "NVML: %s: %s", what, nvml.error(code));
}

static int find(const char *bus_id, gpu *g)
{
    if (hone_nvml_absent()) return hone_fail(HONE_EDEVICE, "%s", hone_nvml_absent());
    int code = bus_id ? nvml.by_bus_id(bus_id, g) : nvml.by_index(0, g);
    return code ? fail(code, bus_id ? bus_id : "GPU 0") : HONE_OK;
}

int hone_gpu_state(const char *bus_id, struct hone_gpu_state *s)
{
    gpu g;
    unsigned u;
    unsigned long long l;
    *s = (struct hone_gpu_state){ -1, -1, -1, -1, -1, 0, 0 };
    int err = find(bus_id, &g);
    if (err) return err;
    if (!nvml.clock(g, CLOCK_SM, &u)) s->sm_mhz = u;
    if (!nvml.clock(g, CLOCK_MEMORY, &u)) s->memory_mhz = u;
    if (!nvml.power(g, &u)) s->watts = u * 1e-3;
    if (!nvml.energy(g, &l)) s->joules = (double)l * 1e-3;
    if (!nvml.temperature(g, SENSOR_GPU, &u)) s->celsius = u;
    s->throttle_known = !nvml.throttle(g, &l);
    if (s->throttle_known) s->throttle = l;
    return HONE_OK;
}

const char *hone_throttle_text(uint64_t bits, char text[160])
{
    static const char *const name[] = {
        "idle", "set clocks",      "power cap",   "hardware", "sync boost",
        "heat", "heat (hardware)", "power brake", "display"
    };
    enum { N = sizeof name / sizeof *name };
    size_t len = 0;
    text[0] = 0;
    for (int i = 0; i < N; i++)
        if (bits >> i & 1)
            len += (size_t)snprintf(text + len, 160 - len, "%s%s", len ? ", " : "", name[i]);
    if (bits >> N) snprintf(text + len, 160 - len, "%sothers", len ? ", " : "");
    return bits ? text : strcpy(text, "none");
}

/* ---- the meter ---- */

/* Energy is what a run took; all else is as it was after the last. */
static const struct {
    const char *name, *about;
} events[] = {
    { "sm_clock", "MHz of the GPU's multiprocessors" },
    { "memory_clock", "MHz of the GPU's memory" },
    { "power", "watts that the GPU draws" },
    { "energy", "joules of a run on the GPU" },
    { "temperature", "degrees Celsius of the GPU" },
    { "throttle", "what keeps the GPU's clocks down, as NVML's bits" },
};

enum { ENERGY = 3, NEVENTS = sizeof events / sizeof *events };

static double value_of(const struct hone_gpu_state *s, int event)
{
    const double v[NEVENTS] = { s->sm_mhz,  s->memory_mhz,
                                s->watts,   s->joules,
                                s->celsius, s->throttle_known ? (double)s->throttle : -1 };
    return v[event];
}

static int number_of(const char *event)
{
    int i = 0;
    while (i < NEVENTS && strcmp(events[i].name, event)) i++;
    return i;
}

static int knows(const char *event) { return number_of(event) < NEVENTS; }

static void list(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx)
{
    struct hone_gpu_state s;
    int err = hone_gpu_state(NULL, &s);
    for (int i = 0; i < NEVENTS; i++)
        f(ctx, events[i].name, events[i].about,
          err                   ? hone_errmsg()
          : value_of(&s, i) < 0 ? "this GPU does not tell"
                                : NULL);
}

/* CUDA and NVML number GPUs differently, but agree about the bus. */
static int bus_id_of(const struct hone_device *d, char id[32])
{
    static int (*get)(char *id, int size, int device);
    static const struct hone_symbol driver_symbols[] = { { "cuDeviceGetPCIBusId", &get },
                                                         { NULL, NULL } };
    const char *own = getenv("HONE_LIBCUDA");
    const struct hone_library driver = {
        "NVIDIA driver", { own ? own : "libcuda.so.1" }, { NULL }, driver_symbols
    };
    char why[HONE_LIBRARY_WHY];
    if (!get && hone_library_open(&driver, why)) return hone_fail(HONE_EDEVICE, "%s", why);
    return get(id, 32, d->index) ? hone_fail(HONE_EDEVICE, "%s has no bus id", d->name) : HONE_OK;
}

int hone_gpu_state_of(const struct hone_device *d, struct hone_gpu_state *s)
{
    char id[32];
    int err = bus_id_of(d, id);
    return err ? err : hone_gpu_state(id, s);
}

static int count_on(const struct hone_plan *plan, struct hone_case *c, int runs,
                    struct hone_gpu_state *before, struct hone_gpu_state *after)
{
    struct hone_device *d = plan->device;
    int err = hone_gpu_state_of(d, before);
    for (int i = 0; !err && i < runs; i++) err = hone_plan_run(plan, c->mem, c->workspace);
    if (!err) err = d->backend->sync(d);
    return err ? err : hone_gpu_state_of(d, after);
}

static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    struct hone_gpu_state before, after;
    const int is_gpu = !strcmp(plan->device->backend->name, "cuda");
    int err = is_gpu ? count_on(plan, c, runs, &before, &after) : HONE_OK;
    for (int i = 0; i < n; i++) {
        const int e = number_of(event[i]);
        if (!is_gpu || err) {
            snprintf(counter[i].why, sizeof counter[i].why, is_gpu ? "%.127s" : "%.15s is no GPU",
                     is_gpu ? hone_errmsg() : plan->device->name);
            continue;
        }
        counter[i].value = value_of(&after, e);
        counter[i].ok = counter[i].value >= 0;
        if (!counter[i].ok)
            snprintf(counter[i].why, sizeof counter[i].why, "this GPU does not tell");
        else if (e == ENERGY)
            counter[i].value = (after.joules - before.joules) / runs;
    }
    return err == HONE_EINTR ? err : HONE_OK;
}

const struct hone_meter hone_meter_nvml = { "nvml", hone_nvml_absent, knows, list, count };
