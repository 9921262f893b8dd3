/* NVIDIA GPUs through the driver, which is opened at run time: one program for machines with and
 * without.  A device has one stream, in which everything is enqueued; put() and get() go through
 * pinned memory in pieces, so that the host's may be used again at once. */
#include "kernels/backend/cuda.h"
#include "kernels/backend/cuda_driver.h"
#include "kernels/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { STAGE = 1 << 20 };   /* bytes of each of two pinned pieces */

struct gpu {
    struct hone_cuda_limits limits;
    int device;
    void *context, *stream;
    void *from, *to;                 /* events of start() and stop() */
    struct stage { char *mem; void *copied; } stage[2];
    int turn;                        /* the stage that is used next */
    hone_cu_address wiped;           /* for evict() */
    size_t wiped_bytes;
    struct module {
        const void *image;
        void *module;
        struct module *next;
    } *modules;
};

struct hone_cu hone_cu;

static struct gpu *gpu_of(const struct hone_device *d) { return d->priv; }
const struct hone_cuda_limits *hone_cuda_limits(const struct hone_device *d)
{
    return &gpu_of(d)->limits;
}
void *hone_cuda_stream(const struct hone_device *d) { return gpu_of(d)->stream; }

/* ---- the library ---- */

static int is_pretend;
int hone_cuda_is_pretend(void) { return is_pretend; }

int hone_cu_check(unsigned result, const char *call)
{
    const char *name = NULL;
    if (!result) return HONE_OK;
    if (!hone_cu.cuGetErrorName || hone_cu.cuGetErrorName(result, &name)) name = NULL;
    return hone_fail(result == HONE_CU_OUT_OF_MEMORY ? HONE_ENOMEM : HONE_EDEVICE, "%s: %s (%u)",
                     call, name ? name : "an error without a name", result);
}

/* Opens the driver; NULL, or why there is none. */
static const char *load(char why[HONE_LIBRARY_WHY])
{
    static const struct hone_symbol symbols[] = {
#define X(name, symbol, parameters) { #symbol, &hone_cu.name },
        HONE_CU_CALLS(X)
#undef X
        { NULL, NULL }
    };
    const char *own = getenv("HONE_LIBCUDA"), *file = own ? own : "libcuda.so.1";
    const struct hone_library library = { .name = "NVIDIA driver", .file = { file },
                                          .symbol = symbols };
    const char *missing = hone_library_open(&library, why);
    if (missing) return missing;
    void *lib = dlopen(file, RTLD_NOW | RTLD_NOLOAD);
#define X(name, symbol, parameters) if (lib) *(void **)&hone_cu.name = dlsym(lib, #symbol);
    HONE_CU_LATER_CALLS(X)
#undef X
    is_pretend = lib && dlsym(lib, "hone_pretend_driver");
    int n = 0;
    unsigned code = hone_cu.cuInit(0);
    if (code == HONE_CU_STUB) return "libcuda.so.1 is the stub that programs are linked with";
    int err = code == HONE_CU_NO_DEVICE ? HONE_OK : hone_cu_check(code, "cuInit");
    if (!err && !code) err = HONE_CU(cuDeviceGetCount, &n);
    if (!err) return n ? NULL : "NVIDIA driver is here, but it has no device";
    snprintf(why, HONE_LIBRARY_WHY, "NVIDIA driver is here, but %.200s", hone_errmsg());
    return why;
}

static int count(void)
{
    int n = 0;
    return HONE_CU(cuDeviceGetCount, &n) ? 0 : n;
}

static const char *absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static const char *known;
    static int asked;
    if (!asked) known = load(why);
    asked = 1;
    return known;
}

/* ---- devices ---- */

static int limits_of(struct gpu *g)
{
    int value[128] = { 0 }, err = HONE_OK;
#define X(name, number, theirs)                                                                    \
    if (!err)                                                                                      \
        err = HONE_CU(cuDeviceGetAttribute, &value[HONE_CU_##name], HONE_CU_##name, g->device);
    HONE_CU_ATTRIBUTES(X)
#undef X
    int most = value[HONE_CU_SHARED_OPT_IN];
    if (most < value[HONE_CU_SHARED_PER_BLOCK]) most = value[HONE_CU_SHARED_PER_BLOCK];
    g->limits = (struct hone_cuda_limits){
        .major = value[HONE_CU_MAJOR], .minor = value[HONE_CU_MINOR], .nsms = value[HONE_CU_NSMS],
        .threads_per_block = value[HONE_CU_THREADS_PER_BLOCK],
        .threads_per_sm = value[HONE_CU_THREADS_PER_SM],
        .registers_per_block = value[HONE_CU_REGISTERS_PER_BLOCK],
        .shared_per_block = most, .shared_per_sm = value[HONE_CU_SHARED_PER_SM],
    };
    g->wiped_bytes = 2 * (size_t)value[HONE_CU_L2_BYTES];
    return err;
}

/* Name, memory and the rest of what tells this GPU from another. */
static int describe(struct hone_device *d, struct gpu *g)
{
    size_t bytes = 0;
    int driver = 0;
    int err = HONE_CU(cuDeviceGetName, d->text, (int)sizeof d->text, g->device);
    if (!err) err = HONE_CU(cuDeviceTotalMem, &bytes, g->device);
    if (!err) err = HONE_CU(cuDriverGetVersion, &driver);
    if (!err) err = limits_of(g);
    if (err) return err;
    d->ncores = g->limits.nsms;
    d->l1_bytes = g->limits.shared_per_sm;
    d->l2_bytes = (int64_t)g->wiped_bytes / 2;
    d->memory_bytes = (int64_t)bytes;
    snprintf(d->id, sizeof d->id, "gpu:%.80s:sm_%d%d:%dsms:%lldMiB:driver%d", d->text,
             g->limits.major, g->limits.minor, g->limits.nsms, (long long)(bytes >> 20), driver);
    return HONE_OK;
}

static int make_stream(struct gpu *g)
{
    int err = HONE_CU(cuStreamCreate, &g->stream, HONE_CU_STREAM_NON_BLOCKING);
    if (!err) err = HONE_CU(cuEventCreate, &g->from, 0);
    if (!err) err = HONE_CU(cuEventCreate, &g->to, 0);
    for (int i = 0; !err && i < 2; i++) {
        err = HONE_CU(cuMemHostAlloc, (void **)&g->stage[i].mem, STAGE, 0);
        if (!err)
            err = HONE_CU(cuEventCreate, &g->stage[i].copied, HONE_CU_EVENT_DISABLE_TIMING);
    }
    return err;
}

/* Nothing is done about an error here: the first one was reported, and this gives back the rest. */
static void close_gpu(struct hone_device *d)
{
    struct gpu *g = gpu_of(d);
    if (!g) return;
    if (g->stream) hone_cu.cuStreamSynchronize(g->stream);
    for (struct module *m = g->modules, *next; m; m = next) {
        next = m->next;
        hone_cu.cuModuleUnload(m->module);
        free(m);
    }
    for (int i = 0; i < 2; i++) {
        if (g->stage[i].copied) hone_cu.cuEventDestroy(g->stage[i].copied);
        if (g->stage[i].mem) hone_cu.cuMemFreeHost(g->stage[i].mem);
    }
    if (g->wiped) hone_cu.cuMemFree(g->wiped);
    if (g->from) hone_cu.cuEventDestroy(g->from);
    if (g->to) hone_cu.cuEventDestroy(g->to);
    if (g->stream) hone_cu.cuStreamDestroy(g->stream);
    if (g->context) hone_cu.cuDevicePrimaryCtxRelease(g->device);
    free(g);
    d->priv = NULL;
}

static int open_gpu(struct hone_device *d, int index)
{
    struct gpu *g = calloc(1, sizeof *g);
    *d = (struct hone_device){ .backend = &hone_backend_cuda, .index = index, .priv = g };
    if (!g) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *g);
    int err = HONE_CU(cuDeviceGet, &g->device, index);
    if (!err) err = describe(d, g);
    if (!err) err = HONE_CU(cuDevicePrimaryCtxRetain, &g->context, g->device);
    if (!err) err = HONE_CU(cuCtxSetCurrent, g->context);
    if (!err) err = make_stream(g);
    if (!err) return HONE_OK;
    close_gpu(d);
    *d = (struct hone_device){ 0 };
    return err;
}

/* ---- memory ---- */

static int gpu_alloc(struct hone_device *d, size_t bytes, void **mem)
{
    hone_cu_address at = 0;
    (void)d;
    *mem = NULL;
    int err = HONE_CU(cuMemAlloc, &at, bytes ? bytes : HONE_ALIGN);
    if (err) return hone_fail_at(err, "%zu bytes of GPU memory", bytes);
    *mem = (void *)(uintptr_t)at;
    return HONE_OK;
}

static void gpu_free(struct hone_device *d, void *mem)
{
    if (!mem) return;
    /* What is enqueued may use it still. */
    hone_cu.cuStreamSynchronize(gpu_of(d)->stream);
    hone_cu.cuMemFree((uintptr_t)mem);
}

/* The stage of this turn, once its last copy is over. */
static int next_stage(struct gpu *g, struct stage **s)
{
    *s = &g->stage[g->turn];
    g->turn = !g->turn;
    return HONE_CU(cuEventSynchronize, (*s)->copied);
}

static int gpu_put(struct hone_device *d, void *dst, const void *host, size_t bytes)
{
    struct gpu *g = gpu_of(d);
    struct stage *s;
    int err = HONE_OK;
    for (size_t at = 0; !err && at < bytes; at += STAGE) {
        size_t n = bytes - at < STAGE ? bytes - at : STAGE;
        if ((err = next_stage(g, &s))) break;
        memcpy(s->mem, (const char *)host + at, n);
        err = HONE_CU(cuMemcpyHtoDAsync, (uintptr_t)dst + at, s->mem, n, g->stream);
        if (!err) err = HONE_CU(cuEventRecord, s->copied, g->stream);
    }
    return err;
}

/* Two pieces are under way at a time: while one is copied here, the next one comes. */
static int gpu_get(struct hone_device *d, void *host, const void *src, size_t bytes)
{
    struct gpu *g = gpu_of(d);
    struct stage *s;
    size_t asked = 0;
    int err = HONE_OK;
    for (size_t at = 0; !err && at < bytes; at += STAGE) {
        for (; !err && asked < bytes && asked < at + 2 * STAGE; asked += STAGE) {
            size_t n = bytes - asked < STAGE ? bytes - asked : STAGE;
            s = &g->stage[asked / STAGE % 2];
            err = HONE_CU(cuMemcpyDtoHAsync, s->mem, (uintptr_t)src + asked, n, g->stream);
            if (!err) err = HONE_CU(cuEventRecord, s->copied, g->stream);
        }
        s = &g->stage[at / STAGE % 2];
        if (!err) err = HONE_CU(cuEventSynchronize, s->copied);
        if (!err) memcpy((char *)host + at, s->mem, bytes - at < STAGE ? bytes - at : STAGE);
    }
    return err;
}

static int gpu_sync(struct hone_device *d) { return HONE_CU(cuStreamSynchronize, gpu_of(d)->stream); }

/* ---- copies that nobody waits for ---- */

static int pin(struct hone_device *d, size_t bytes, void **host)
{
    (void)d;
    *host = NULL;
    int err = HONE_CU(cuMemHostAlloc, host, bytes ? bytes : HONE_ALIGN, 0);
    if (err) *host = NULL;
    return err ? hone_fail_at(err, "%zu bytes of pinned memory", bytes) : HONE_OK;
}

static void unpin(struct hone_device *d, void *host)
{
    if (!host) return;
    /* What is enqueued may use it still. */
    hone_cu.cuStreamSynchronize(gpu_of(d)->stream);
    hone_cu.cuMemFreeHost(host);
}

static int send(struct hone_device *d, void *dst, const void *pinned, size_t bytes)
{
    return HONE_CU(cuMemcpyHtoDAsync, (uintptr_t)dst, pinned, bytes, gpu_of(d)->stream);
}

static int receive(struct hone_device *d, void *pinned, const void *src, size_t bytes)
{
    return HONE_CU(cuMemcpyDtoHAsync, pinned, (uintptr_t)src, bytes, gpu_of(d)->stream);
}

static int mark(struct hone_device *d, void **mark)
{
    int err = *mark ? HONE_OK : HONE_CU(cuEventCreate, mark, HONE_CU_EVENT_DISABLE_TIMING);
    return err ? err : HONE_CU(cuEventRecord, *mark, gpu_of(d)->stream);
}

static int reach(struct hone_device *d, void *mark)
{
    (void)d;
    return HONE_CU(cuEventSynchronize, mark);
}

static void unmark(struct hone_device *d, void *mark)
{
    (void)d;
    if (mark) hone_cu.cuEventDestroy(mark);
}

/* ---- time ---- */

static int start(struct hone_device *d)
{
    return HONE_CU(cuEventRecord, gpu_of(d)->from, gpu_of(d)->stream);
}

static int stop(struct hone_device *d, double *seconds)
{
    struct gpu *g = gpu_of(d);
    float ms = 0;
    int err = HONE_CU(cuEventRecord, g->to, g->stream);
    if (!err) err = HONE_CU(cuEventSynchronize, g->to);
    if (!err) err = HONE_CU(cuEventElapsedTime, &ms, g->from, g->to);
    *seconds = 1e-3 * (double)ms;
    return err;
}

/* Writing twice as much as L2 holds leaves nothing else there. */
static int evict(struct hone_device *d)
{
    struct gpu *g = gpu_of(d);
    int err = g->wiped || !g->wiped_bytes ? HONE_OK : HONE_CU(cuMemAlloc, &g->wiped, g->wiped_bytes);
    return err || !g->wiped
               ? err
               : HONE_CU(cuMemsetD8Async, g->wiped, 0, g->wiped_bytes, g->stream);
}

/* ---- graphs ---- */

static int record(struct hone_device *d)
{
    return HONE_CU(cuStreamBeginCapture, gpu_of(d)->stream, HONE_CU_CAPTURE_RELAXED);
}

static int recorded(struct hone_device *d, void **graph)
{
    void *nodes = NULL;
    *graph = NULL;
    int err = HONE_CU(cuStreamEndCapture, gpu_of(d)->stream, &nodes);
    if (!err) err = HONE_CU(cuGraphInstantiate, graph, nodes, 0);
    if (nodes) hone_cu.cuGraphDestroy(nodes);
    return err;
}

static int replay(struct hone_device *d, void *graph)
{
    return HONE_CU(cuGraphLaunch, graph, gpu_of(d)->stream);
}

static void forget(struct hone_device *d, void *graph)
{
    hone_cu.cuStreamSynchronize(gpu_of(d)->stream);
    hone_cu.cuGraphExecDestroy(graph);
}

/* ---- code ---- */

int hone_cuda_module(struct hone_device *d, const void *image, void **module)
{
    struct gpu *g = gpu_of(d);
    struct module *m = g->modules;
    while (m && m->image != image) m = m->next;
    if (m) {
        *module = m->module;
        return HONE_OK;
    }
    if (!(m = calloc(1, sizeof *m))) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *m);
    int err = HONE_CU(cuModuleLoadData, &m->module, image);
    if (err) {
        free(m);
        return err;
    }
    m->image = image;
    m->next = g->modules;
    g->modules = m;
    *module = m->module;
    return HONE_OK;
}

/* A GPU runs code of its own major architecture with a minor that is not above its own, and
 * compiles PTX of any lower one; which of them an image holds is nvcc's list. */
static int has_code_for(const struct hone_cuda_limits *l)
{
    int cc, major = l->major, minor = l->minor;
    for (const char *s = hone_cuda_nvcc; (s = strchr(s, '_')); s++) {
        if (sscanf(s, "_%d", &cc) != 1) continue;
        if (s[-1] == 'm' ? cc / 10 == major && cc % 10 <= minor : cc <= 10 * major + minor)
            return 1;
    }
    return 0;
}

static const char *refuse(const struct hone_kernel *k, const struct hone_device *d)
{
    static _Thread_local char why[256];
    if (k->build == HONE_JIT) return hone_nvrtc_absent();
    if (k->build != HONE_AOT || is_pretend) return NULL;
    if (!hone_cuda_nvcc[0]) return "this build of Hone holds no GPU code: it was made without nvcc";
    if (has_code_for(hone_cuda_limits(d))) return NULL;
    snprintf(why, sizeof why, "this build of Hone holds no code for sm_%d%d (%.200s)",
             hone_cuda_limits(d)->major, hone_cuda_limits(d)->minor, hone_cuda_nvcc);
    return why;
}

static const char *nvcc(void) { return hone_cuda_nvcc[0] ? hone_cuda_nvcc : "no nvcc"; }

const struct hone_backend hone_backend_cuda = {
    .name = "cuda", .absent = absent, .count = count, .open = open_gpu, .close = close_gpu,
    .alloc = gpu_alloc, .free = gpu_free, .put = gpu_put, .get = gpu_get, .sync = gpu_sync,
    .pin = pin, .unpin = unpin, .send = send, .receive = receive,
    .mark = mark, .reach = reach, .unmark = unmark,
    .start = start, .stop = stop, .evict = evict,
    .record = record, .recorded = recorded, .replay = replay, .forget = forget,
    .refuse = refuse, .jit_compiler = hone_nvrtc_version, .aot_compiler = nvcc,
};
