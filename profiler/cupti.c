/* Meter: a GPU's hardware counters by CUPTI's range profiler.  Each launch of a kernel is a range,
 * and CUPTI runs it once for every pass, after putting back the memory that it changed.
 *
 * What a plan launches is one or more kernels: counts are added up, shares and ratios averaged by
 * the kernels' times.  Written after a program that was compiled only: not run on a GPU yet. */
#include "kernels/library.h"
#include "profiler/cupti.h"

#include <stdlib.h>
#include <string.h>

extern const struct hone_meter hone_meter_cupti;

enum { MAX_RANGES = 256, MAX_NAMES = HONE_MAX_COUNTERS * HONE_GPU_TERMS };

#define TIME "gpu__time_duration.sum"

static struct {
    int (*begin)(struct cupti_begin *p);
    int (*end)(struct cupti_begin *p);
    int (*supported)(struct cupti_supported *p);
    int (*chip_name)(struct cupti_chip_name *p);
    int (*available)(struct cupti_available *p);
    int (*enable)(struct cupti_enable *p);
    int (*disable)(struct cupti_profiler *p);
    int (*start)(struct cupti_profiler *p);
    int (*stop)(struct cupti_stop *p);
    int (*decode)(struct cupti_decode *p);
    int (*data_size)(struct cupti_data_size *p);
    int (*data_init)(struct cupti_data_init *p);
    int (*config)(struct cupti_config *p);
    int (*ranges)(struct cupti_ranges *p);
    int (*values)(struct cupti_values *p);
    int (*context)(void **context);
} cupti;

static const struct hone_symbol symbols[] = {
    { "cuptiProfilerInitialize", &cupti.begin },
    { "cuptiProfilerDeInitialize", &cupti.end },
    { "cuptiProfilerDeviceSupported", &cupti.supported },
    { "cuptiDeviceGetChipName", &cupti.chip_name },
    { "cuptiProfilerGetCounterAvailability", &cupti.available },
    { "cuptiRangeProfilerEnable", &cupti.enable },
    { "cuptiRangeProfilerDisable", &cupti.disable },
    { "cuptiRangeProfilerStart", &cupti.start },
    { "cuptiRangeProfilerStop", &cupti.stop },
    { "cuptiRangeProfilerDecodeData", &cupti.decode },
    { "cuptiRangeProfilerGetCounterDataSize", &cupti.data_size },
    { "cuptiRangeProfilerCounterDataImageInitialize", &cupti.data_init },
    { "cuptiRangeProfilerSetConfig", &cupti.config },
    { "cuptiRangeProfilerGetCounterDataInfo", &cupti.ranges },
    { "cuptiProfilerHostEvaluateToGpuValues", &cupti.values },
    { NULL, NULL },
};
static const struct hone_symbol driver_symbols[] = { { "cuCtxGetCurrent", &cupti.context },
                                                     { NULL, NULL } };

static const struct hone_library library = {
    "CUPTI", { "libcupti.so.13", "libcupti.so.12" }, { "libnvperf_host.so" }, symbols
};
static const struct hone_library driver = {
    "NVIDIA driver", { "libcuda.so.1" }, { NULL }, driver_symbols
};

static const struct hone_backend *cuda(void)
{
    int i = 0;
    while (hone_backends[i] && strcmp(hone_backends[i]->name, "cuda")) i++;
    return hone_backends[i];
}

static const char *absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static int asked;
    const char *no_gpu = cuda() ? cuda()->absent() : "this build of Hone leaves the backend out";
    if (hone_cupti_absent()) return hone_cupti_absent();
    if (no_gpu) return no_gpu;
    if (!asked++ && !hone_library_open(&library, why)) hone_library_open(&driver, why);
    return why[0] ? why : NULL;
}

/* ---- which events there are ---- */

static int knows(const char *event) { return hone_gpu_metric_find(event) != NULL; }

static int begin(void)
{
    struct cupti_begin p;
    static int begun;
    if (begun) return HONE_OK;
    CUPTI_INIT(p, priv);
    int status = cupti.begin(&p);
    begun = !status;
    return status ? hone_cupti_fail(status, "start") : HONE_OK;
}

static int chip_of(int index, const char **chip)
{
    struct cupti_chip_name p;
    int err = begin();
    if (err) return err;
    CUPTI_INIT(p, name);
    p.device = (size_t)index;
    int status = cupti.chip_name(&p);
    *chip = p.name;
    return status ? hone_cupti_fail(status, "name of the chip") : HONE_OK;
}

int hone_gpu_chip(const char *device, char chip[32])
{
    struct hone_device d;
    const char *name = "";
    int err = hone_device_open(&d, device);
    if (err) return err;
    err = absent() ? hone_fail(HONE_EDEVICE, "%s", absent()) : chip_of(d.index, &name);
    snprintf(chip, 32, "%s", name);
    hone_device_close(&d);
    return err;
}

static void list(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx)
{
    struct hone_cupti_chip c;
    const char *chip = NULL;
    struct hone_gpu_sum s;
    int err = chip_of(0, &chip);
    if (!err) err = hone_cupti_open(&c, chip, NULL);
    for (const struct hone_gpu_group *g = hone_gpu_groups; g->name; g++)
        for (const struct hone_gpu_metric *m = g->metric; m->name; m++)
            f(ctx, m->name, m->about, err ? hone_errmsg() : hone_cupti_resolve(&c, m, &s));
    if (!err) hone_cupti_close(&c);
}

/* ---- counting ---- */

/* What is counted together. */
struct session {
    struct hone_cupti_chip chip;
    uint8_t *available, *image, *data;
    size_t image_bytes, data_bytes, passes;
    void *context, *profiler;
    size_t n; /* names, each once; the first is TIME */
    const char *name[MAX_NAMES];
    double total[MAX_NAMES]; /* over all ranges */
};

/* Not every device of a chip has every counter, and not every user may read them. */
static int ask_availability(struct session *s, const struct hone_device *d)
{
    struct cupti_supported may;
    struct cupti_available p;
    CUPTI_INIT(may, api);
    may.device = d->index;
    may.api = CUPTI_RANGE_PROFILING;
    int status = cupti.supported(&may);
    if (!status && may.all != CUPTI_SUPPORTED)
        return hone_fail(HONE_EDEVICE,
                         "%s does not let itself be profiled: architecture %d, SLI %d, vGPU %d, "
                         "confidential computing %d, WSL %d (%d: good)",
                         d->name, may.architecture, may.sli, may.vgpu, may.confidential, may.wsl,
                         CUPTI_SUPPORTED);
    CUPTI_INIT(p, image);
    p.context = s->context;
    if (!status) status = cupti.available(&p);
    if (!status && !(p.image = s->available = malloc(p.bytes)))
        return hone_fail(HONE_ENOMEM, "%zu bytes", p.bytes);
    if (!status) status = cupti.available(&p);
    return status ? hone_cupti_fail(status, "availability of counters") : HONE_OK;
}

static size_t place_of(struct session *s, const char *name)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->name[i], name)) i++;
    if (i == s->n) s->name[s->n++] = name;
    return i;
}

static int make_config(struct session *s)
{
    struct cupti_enable enable;
    struct cupti_data_size size;
    struct cupti_data_init init;
    struct cupti_config p;
    int err = hone_cupti_image(&s->chip, s->name, s->n, &s->image, &s->image_bytes, &s->passes);
    if (err) return err;
    CUPTI_INIT(enable, profiler);
    enable.context = s->context;
    int status = cupti.enable(&enable);
    if (status == CUPTI_DENIED)
        return hone_fail(HONE_EDEVICE, "not permitted: counters are for root, or for all after "
                                       "NVreg_RestrictProfilingToAdminUsers=0 for the driver");
    if (status) return hone_cupti_fail(status, "range profiler");
    s->profiler = enable.profiler;
    CUPTI_INIT(size, bytes);
    size.profiler = s->profiler;
    size.name = s->name;
    size.n = s->n;
    size.nranges = size.nnodes = MAX_RANGES;
    status = cupti.data_size(&size);
    if (status) return hone_cupti_fail(status, "size of counts");
    s->data = calloc(1, s->data_bytes = size.bytes);
    if (!s->data) return hone_fail(HONE_ENOMEM, "%zu bytes", size.bytes);
    CUPTI_INIT(init, data);
    init.profiler = s->profiler;
    init.bytes = s->data_bytes;
    init.data = s->data;
    status = cupti.data_init(&init);
    if (status) return hone_cupti_fail(status, "room for counts");
    CUPTI_INIT(p, level);
    p.profiler = s->profiler;
    p.image = s->image;
    p.image_bytes = s->image_bytes;
    p.data = s->data;
    p.data_bytes = s->data_bytes;
    p.range = CUPTI_RANGE_AUTO;
    p.replay = CUPTI_REPLAY_KERNEL;
    p.nranges = MAX_RANGES;
    p.levels = p.least_level = p.level = 1;
    status = cupti.config(&p);
    return status ? hone_cupti_fail(status, "configuration of ranges") : HONE_OK;
}

/* One run of the plan: CUPTI repeats its kernels by itself. */
static int run_counted(struct session *s, const struct hone_plan *plan, struct hone_case *c)
{
    struct cupti_profiler start;
    struct cupti_stop stop;
    struct cupti_decode decode;
    CUPTI_INIT(start, profiler);
    start.profiler = s->profiler;
    int status = cupti.start(&start);
    if (status) return hone_cupti_fail(status, "start of counting");
    int err = hone_plan_run(plan, c->mem, c->workspace);
    if (!err) err = plan->device->backend->sync(plan->device);
    CUPTI_INIT(stop, complete);
    stop.profiler = s->profiler;
    status = cupti.stop(&stop);
    CUPTI_INIT(decode, ndropped);
    decode.profiler = s->profiler;
    if (!status) status = cupti.decode(&decode);
    if (err) return err;
    if (status) return hone_cupti_fail(status, "end of counting");
    return decode.ndropped
               ? hone_fail(HONE_EDEVICE, "the plan launches more than %d kernels", MAX_RANGES)
               : HONE_OK;
}

static int is_count(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && !strcmp(name + len - 4, ".sum");
}

/* Counts add up; shares and ratios are averaged over time. */
static int add_ranges(struct session *s)
{
    struct cupti_ranges p;
    struct cupti_values v;
    double value[MAX_NAMES];
    CUPTI_INIT(p, n);
    p.data = s->data;
    p.bytes = s->data_bytes;
    int status = cupti.ranges(&p);
    for (size_t r = 0; !status && r < p.n; r++) {
        CUPTI_INIT(v, value);
        v.host = s->chip.host;
        v.data = s->data;
        v.bytes = s->data_bytes;
        v.range = r;
        v.name = s->name;
        v.n = s->n;
        v.value = value;
        status = cupti.values(&v);
        for (size_t i = 0; !status && i < s->n; i++)
            s->total[i] += is_count(s->name[i]) ? value[i] : value[i] * value[0];
    }
    for (size_t i = 0; i < s->n; i++)
        if (!is_count(s->name[i]) && s->total[0] > 0) s->total[i] /= s->total[0];
    return status ? hone_cupti_fail(status, "counts") : HONE_OK;
}

static void close_session(struct session *s)
{
    struct cupti_profiler p;
    CUPTI_INIT(p, profiler);
    p.profiler = s->profiler;
    if (s->profiler) cupti.disable(&p);
    hone_cupti_close(&s->chip);
    free(s->available);
    free(s->image);
    free(s->data);
    free(s);
}

static int open_session(struct session *s, const struct hone_device *d)
{
    const char *chip;
    int err = chip_of(d->index, &chip);
    if (!err && cupti.context(&s->context)) err = hone_fail(HONE_EDEVICE, "cuCtxGetCurrent failed");
    if (!err) err = ask_availability(s, d);
    if (!err) err = hone_cupti_open(&s->chip, chip, s->available);
    place_of(s, TIME);
    return err;
}

static int count(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[])
{
    struct hone_gpu_sum sum[HONE_MAX_COUNTERS];
    (void)runs;
    for (int i = 0; i < n && plan->device->backend != cuda(); i++)
        snprintf(counter[i].why, sizeof counter[i].why, "%.15s is no GPU", plan->device->name);
    if (plan->device->backend != cuda()) return HONE_OK;
    struct session *s = calloc(1, sizeof *s);
    if (!s) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *s);
    int err = open_session(s, plan->device);
    for (int i = 0; !err && i < n; i++) {
        const char *why = hone_cupti_resolve(&s->chip, hone_gpu_metric_find(event[i]), &sum[i]);
        if (why) snprintf(counter[i].why, sizeof counter[i].why, "%.127s", why);
        for (int k = 0; k < sum[i].n; k++) place_of(s, sum[i].term[k].name);
    }
    if (!err) err = make_config(s);
    if (!err) err = run_counted(s, plan, c);
    if (!err) err = add_ranges(s);
    for (int i = 0; i < n; i++) {
        if (err) snprintf(counter[i].why, sizeof counter[i].why, "%.127s", hone_errmsg());
        counter[i].ok = !counter[i].why[0];
        for (int k = 0; counter[i].ok && k < sum[i].n; k++)
            counter[i].value += sum[i].term[k].weight * s->total[place_of(s, sum[i].term[k].name)];
    }
    close_session(s);
    return err == HONE_EINTR ? err : HONE_OK;
}

const struct hone_meter hone_meter_cupti = { "cupti", absent, knows, list, count };
