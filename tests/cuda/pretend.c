/* A driver that pretends to be NVIDIA's, for tests on machines without a GPU: it is opened where
 * $HONE_LIBCUDA names it, and never installed.  Device memory is an arena that only copies and
 * kernels may touch: the host's hands on it end the process.  Kernels are the program's own .cu
 * files, which this library holds compiled for the processor.
 *
 * HONE_PRETEND_FAIL=SYMBOL:N lets the Nth call of SYMBOL fail; what was not given back is told on
 * stderr when the process ends; HONE_PRETEND_CC=75 is another architecture than 9.0;
 * HONE_PRETEND_COUNTS=FILE gets what was launched, copied and waited for in all;
 * HONE_PRETEND_NAMELESS=1: errors have no names; HONE_PRETEND_CLUSTER=4: there is room for clusters
 * of no more blocks; HONE_PRETEND_MEMORY is how many bytes of memory the device says that it has.
 * What is enqueued is done as late as it may be: pretend_stream.c.  HONE_PRETEND_DEAF=1 lets who
 * waits for an event go on at once, as a program would that forgot to.  HONE_PRETEND_PIDS=FILE gets
 * the number of each process that opens the driver; HONE_PRETEND_ALONE=1: no worker may;
 * HONE_PRETEND_FAULT lets kernels go wrong: pretend_stream.c. */
#include "config.h"   /* _GNU_SOURCE */

#include "tests/cuda/pretend.h"
#include "tests/cuda/shim.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const int hone_pretend_driver = 1;

static const struct { unsigned code; const char *name; } names[] = {
    { GOOD, "CUDA_SUCCESS" }, { INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE" },
    { OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY" }, { INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE" },
    { INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT" },
    { NOT_FOUND, "CUDA_ERROR_NOT_FOUND" },
    { OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES" },
    { ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS" },
    { LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED" }, { NOT_READY, "CUDA_ERROR_NOT_READY" },
    { UNKNOWN, "CUDA_ERROR_UNKNOWN" },
    { NO_CAPTURE, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" },
    { BAD_CLUSTER, "CUDA_ERROR_INVALID_CLUSTER_SIZE" },
};

/* ---- what is alive, and calls that fail ---- */

struct pretend_live pretend_live;
struct pretend_counts pretend_counts;
#define live pretend_live
#define counts pretend_counts

static void tell_counts(void)
{
    const char *path = getenv("HONE_PRETEND_COUNTS");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "launches %lu graphs %lu puts %lu bytes %lu gets %lu bytes %lu waits %lu\n",
            counts.kernels, counts.graphs, counts.puts, counts.put_bytes, counts.gets,
            counts.get_bytes, counts.waits);
    fclose(f);
}

__attribute__((destructor)) static void tell(void)
{
    tell_counts();
    const struct { int n; const char *what; } left[] = {
        { live.contexts, "contexts" }, { live.streams, "streams" }, { live.events, "events" },
        { live.memories, "pieces of device memory" }, { live.pinned, "pieces of pinned memory" },
        { live.modules, "modules" }, { live.graphs, "graphs" },
    };
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (left[i].n) fprintf(stderr, "pretend driver: %d %s left\n", left[i].n, left[i].what);
}

int pretend_fails(const char *symbol)
{
    static int calls;
    const char *which = getenv("HONE_PRETEND_FAIL");
    size_t n = strlen(symbol);
    if (!which || strncmp(which, symbol, n) || which[n] != ':') return 0;
    return ++calls == atoi(which + n + 1);
}

/* ---- memory ---- */

static const size_t ARENA = (size_t)1 << 30;
enum { ALIGN = 256, BLOCKS = 4096 };

static struct block { size_t from, bytes; } block[BLOCKS];   /* by address */
static int nblocks;
static char *arena;
/* Who wrote a byte of the arena last: threads count from 1 over all blocks of a launch. */
static struct trace { unsigned launch, thread, epoch; } *trace;

static int open_arena(void)
{
    if (arena) return 1;
    arena = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    trace = mmap(NULL, ARENA * sizeof *trace, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return arena != MAP_FAILED && trace != MAP_FAILED;
}

static size_t used(void)
{
    return nblocks ? block[nblocks - 1].from + block[nblocks - 1].bytes : 0;
}

/* The arena is the device's but while a call works on it. */
void pretend_unlock(void) { if (used()) mprotect(arena, used(), PROT_READ | PROT_WRITE); }
void pretend_lock(void) { if (used()) mprotect(arena, used(), PROT_NONE); }

/* The piece that holds all of [at, at + bytes), or NULL. */
static const struct block *block_of(const char *at, size_t bytes)
{
    static int last;
    size_t from = (size_t)(at - arena);
    if (!arena || at < arena || from >= ARENA) return NULL;
    for (int i = -1; i < nblocks; i++) {
        const struct block *b = &block[i < 0 ? last : i];
        if ((i < 0 && last >= nblocks) || from < b->from || from + bytes > b->from + b->bytes)
            continue;
        last = (int)(b - block);
        return b;
    }
    return NULL;
}

int pretend_is_device(const void *at, size_t bytes) { return block_of(at, bytes) != NULL; }

hone_cu_result cuMemAlloc_v2(hone_cu_address *mem, size_t bytes)
{
    CALL_IN_CONTEXT();
    int at = 0;
    size_t from = ALIGN;
    if (!bytes) return INVALID_VALUE;
    if (!open_arena() || nblocks == BLOCKS) return OUT_OF_MEMORY;
    /* Between two pieces there is room that belongs to none. */
    for (; at < nblocks && block[at].from < from + bytes + ALIGN; at++)
        from = (block[at].from + block[at].bytes + 2 * ALIGN - 1) / ALIGN * ALIGN;
    if (from + bytes > ARENA) return OUT_OF_MEMORY;
    memmove(&block[at + 1], &block[at], (size_t)(nblocks - at) * sizeof *block);
    block[at] = (struct block){ from, bytes };
    nblocks++;
    live.memories++;
    *mem = (uintptr_t)(arena + from);
    return GOOD;
}

/* Freeing waits. */
hone_cu_result cuMemFree_v2(hone_cu_address mem)
{
    CALL_IN_CONTEXT();
    pretend_do_all();
    const struct block *b = block_of((char *)(uintptr_t)mem, 1);
    if (!b || arena + b->from != (char *)(uintptr_t)mem) return INVALID_VALUE;
    size_t end = used();
    int at = (int)(b - block);
    memmove(&block[at], &block[at + 1], (size_t)(nblocks - at - 1) * sizeof *block);
    nblocks--;
    live.memories--;
    if (used() < end) mprotect(arena + used(), end - used(), PROT_NONE);
    return GOOD;
}

enum { PINNED = 64 };
static struct { char *mem; size_t bytes; } pinned[PINNED];

int pretend_is_pinned(const void *at, size_t bytes)
{
    const char *from = at;
    for (int i = 0; i < PINNED; i++)
        if (pinned[i].mem && from >= pinned[i].mem &&
            from + bytes <= pinned[i].mem + pinned[i].bytes)
            return 1;
    return 0;
}

hone_cu_result cuMemHostAlloc(void **mem, size_t bytes, unsigned flags)
{
    CALL_IN_CONTEXT();
    int at = 0;
    (void)flags;
    while (at < PINNED && pinned[at].mem) at++;
    if (at == PINNED || !(*mem = malloc(bytes))) return OUT_OF_MEMORY;
    pinned[at].mem = *mem;
    pinned[at].bytes = bytes;
    live.pinned++;
    return GOOD;
}

hone_cu_result cuMemFreeHost(void *mem)
{
    CALL_IN_CONTEXT();
    int at = 0;
    pretend_do_all();
    while (at < PINNED && pinned[at].mem != mem) at++;
    if (!mem || at == PINNED) return INVALID_VALUE;
    pinned[at].mem = NULL;
    free(mem);
    live.pinned--;
    return GOOD;
}

/* ---- devices ---- */

static int is_open;

static int is_worker(void)
{
    char line[256] = "";
    FILE *f = fopen("/proc/self/cmdline", "r");
    size_t n = f ? fread(line, 1, sizeof line - 1, f) : 0;
    if (f) fclose(f);
    for (size_t i = 0; i + 1 < n; i++)
        if (!line[i]) line[i] = ' ';
    return strstr(line, "--worker") != NULL;
}

hone_cu_result cuInit(unsigned flags)
{
    CALL();
    const char *path = getenv("HONE_PRETEND_PIDS");
    FILE *f = path ? fopen(path, "a") : NULL;
    if (f) {
        fprintf(f, "%ld\n", (long)getpid());
        fclose(f);
    }
    /* The session opens it first; a worker's parent has done so. */
    if (getenv("HONE_PRETEND_ALONE") && is_worker()) return UNKNOWN;
    is_open = !flags;
    return flags ? INVALID_VALUE : GOOD;
}

hone_cu_result cuDriverGetVersion(int *version) { CALL(); *version = 13000; return GOOD; }

hone_cu_result cuGetErrorName(hone_cu_result code, const char **name)
{
    if (getenv("HONE_PRETEND_NAMELESS")) return INVALID_VALUE;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == code) { *name = names[i].name; return GOOD; }
    return INVALID_VALUE;
}

hone_cu_result cuDeviceGetCount(int *n) { CALL(); *n = 1; return is_open ? GOOD : UNKNOWN; }

hone_cu_result cuDeviceGet(int *device, int index)
{
    CALL();
    *device = index;
    return index ? INVALID_VALUE : GOOD;
}

hone_cu_result cuDeviceGetName(char *name, int size, int device)
{
    CALL();
    (void)device;
    snprintf(name, (size_t)size, "pretend GPU (this processor, for tests)");
    return GOOD;
}

/* What only the profiler asks for: of a multiprocessor, and, where a test wants a roof, kHz of both
 * clocks and bits of the bus. */
enum { HONE_CU_REGISTERS_PER_SM = 82, HONE_CU_BLOCKS_PER_SM = 106, HONE_CU_RESERVED_SHARED = 111 };
static const struct { unsigned attribute; int value; } clocks[] = {
    { 13, 1980000 }, { 36, 3201000 }, { 37, 6144 }
};

int pretend_capability(void)
{
    const char *cc = getenv("HONE_PRETEND_CC");
    return cc ? atoi(cc) : 90;
}

hone_cu_result cuDeviceGetAttribute(int *value, unsigned attribute, int device)
{
    CALL();
    const int capability = pretend_capability();
    (void)device;
    switch (attribute) {
    case HONE_CU_THREADS_PER_BLOCK: *value = 1024; break;
    case HONE_CU_SHARED_PER_BLOCK: *value = 48 << 10; break;
    case HONE_CU_REGISTERS_PER_BLOCK: *value = 64 << 10; break;
    case HONE_CU_NSMS: *value = 4; break;
    case HONE_CU_L2_BYTES: *value = 256 << 10; break;
    case HONE_CU_THREADS_PER_SM: *value = 2048; break;
    case HONE_CU_MAJOR: *value = capability / 10; break;
    case HONE_CU_MINOR: *value = capability % 10; break;
    case HONE_CU_SHARED_PER_SM: *value = 228 << 10; break;
    case HONE_CU_SHARED_OPT_IN: *value = 227 << 10; break;
    case HONE_CU_REGISTERS_PER_SM: *value = 64 << 10; break;
    case HONE_CU_BLOCKS_PER_SM: *value = 32; break;
    case HONE_CU_RESERVED_SHARED: *value = 1 << 10; break;
    default:
        for (int i = 0; i < 3; i++)
            if (getenv("HONE_PRETEND_CLOCKS") && clocks[i].attribute == attribute) {
                *value = clocks[i].value;
                return GOOD;
            }
        return INVALID_VALUE;
    }
    return GOOD;
}

hone_cu_result cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    CALL();
    const char *said = getenv("HONE_PRETEND_MEMORY");
    (void)device;
    *bytes = said ? strtoull(said, NULL, 10) : ARENA;
    return GOOD;
}

/* NVML's meter asks for it, and no kernel. */
hone_cu_result cuDeviceGetPCIBusId(char *id, int size, int device);
hone_cu_result cuDeviceGetPCIBusId(char *id, int size, int device)
{
    CALL();
    (void)device;
    return snprintf(id, (size_t)size, "0000:1B:00.0") < size ? GOOD : INVALID_VALUE;
}

hone_cu_result cuDevicePrimaryCtxRetain(void **context, int device)
{
    CALL();
    (void)device;
    *context = &live;
    live.contexts++;
    return GOOD;
}

hone_cu_result cuDevicePrimaryCtxRelease_v2(int device)
{
    CALL();
    (void)device;
    live.contexts--;
    return GOOD;
}

/* Each thread has its own. */
static _Thread_local int has_context;
int pretend_has_context(void) { return has_context; }

hone_cu_result cuCtxSetCurrent(void *context)
{
    CALL();
    has_context = context == &live;
    return has_context ? GOOD : INVALID_VALUE;
}

/* ---- functions ---- */

struct module { void *lib; struct pretend_function *functions; };

/* This library itself, whose symbols all that is loaded later may use. */
static void *self(void)
{
    static void *lib;
    Dl_info info;
    if (!lib && dladdr((void *)&hone_pretend_driver, &info))
        lib = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    return lib;
}

/* Code of this processor comes from the compiler that pretends to be NVRTC: a shared object, whose
 * sections' table is the last thing in it. */
static void *load(const void *image)
{
    const ElfW(Ehdr) *head = image;
    char path[64];
    size_t size = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
    int fd = memfd_create("hone pretend", 0);
    if (fd < 0 || write(fd, image, size) != (ssize_t)size) return NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *lib = self() ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!lib) fprintf(stderr, "pretend driver: %s\n", dlerror());
    close(fd);
    return lib;
}

hone_cu_result cuModuleLoadData(void **module, const void *image)
{
    CALL_IN_CONTEXT();
    const ElfW(Ehdr) *head = image, *own = NULL;
    Dl_info info;
    if (dladdr((void *)&hone_pretend_driver, &info)) own = info.dli_fbase;
    struct module *m = calloc(1, sizeof *m);
    if (!m) return OUT_OF_MEMORY;
    if (!memcmp(image, ELFMAG, SELFMAG) && own && head->e_machine == own->e_machine) {
        if (!(m->lib = load(image))) { free(m); return INVALID_IMAGE; }
    }
    *module = m;
    live.modules++;
    return GOOD;
}

hone_cu_result cuModuleUnload(void *module)
{
    CALL_IN_CONTEXT();
    struct module *m = module;
    pretend_do_all();
    for (struct pretend_function *f = m->functions, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    if (m->lib) dlclose(m->lib);
    free(m);
    live.modules--;
    return GOOD;
}

hone_cu_result cuModuleGetFunction(void **function, void *module, const char *name)
{
    CALL_IN_CONTEXT();
    struct module *m = module;
    void *lib = m->lib ? m->lib : self();
    char symbol[96];
    struct pretend_function *f = m->functions;
    /* A module's function is one, with its attributes, whoever asks for it. */
    while (f && strcmp(f->name, name)) f = f->next;
    if ((*function = f)) return GOOD;
    if (!(f = calloc(1, sizeof *f))) return OUT_OF_MEMORY;
    snprintf(f->name, sizeof f->name, "%s", name);
    *(void **)&f->kernel = dlsym(lib, name);
    snprintf(symbol, sizeof symbol, "%s_bytes", name);
    const unsigned *bytes = dlsym(lib, symbol);
    snprintf(symbol, sizeof symbol, "%s_threads", name);
    const unsigned *threads = dlsym(lib, symbol);
    if (!f->kernel || !bytes || !threads) { free(f); return NOT_FOUND; }
    f->bytes = *bytes;
    f->threads = *threads;
    f->shared_bytes = 48 << 10;
    f->next = m->functions;
    m->functions = f;
    *function = f;
    return GOOD;
}

hone_cu_result cuFuncSetAttribute(void *function, unsigned attribute, int value)
{
    CALL_IN_CONTEXT();
    struct pretend_function *f = function;
    if (attribute == HONE_CU_FUNC_NON_PORTABLE_CLUSTER) {
        f->non_portable = value;
        return value == 0 || value == 1 ? GOOD : INVALID_VALUE;
    }
    if (attribute != HONE_CU_FUNC_MAX_DYNAMIC_SHARED || value > 227 << 10) return INVALID_VALUE;
    f->shared_bytes = (unsigned)value;
    return GOOD;
}

/* ---- maps ---- */

/* As the driver's documentation has it, of what Hone asks for: rows of 128 bytes, swizzled. */
hone_cu_result cuTensorMapEncodeTiled(void *map, unsigned type, unsigned rank, void *from,
                                      const unsigned long long *sizes,
                                      const unsigned long long *strides, const unsigned *box,
                                      const unsigned *steps, unsigned interleave, unsigned swizzle,
                                      unsigned l2, unsigned fill)
{
    CALL();
    const unsigned size = type == 1 ? 2 : type == 2 ? 4 : 0;
    struct shim_map m = { SHIM_MAP, from, rank == 2 ? (int64_t)sizes[1] : 0, (int64_t)sizes[0],
                          (int64_t)strides[0], box[1], box[0], size };
    if ((uintptr_t)map % 128 || !size || rank != 2 || interleave || swizzle != 3 || l2 > 3 ||
        fill || (uintptr_t)from % 16 || m.pitch % 16 || m.pitch >= 1ll << 40 || m.rows < 1 ||
        m.cols < 1 || m.rows > 1ll << 32 || m.cols > 1ll << 32 || m.pitch < m.cols * size ||
        box[0] * size != 128 || !box[1] || box[1] > 256 || steps[0] != 1 || steps[1] != 1)
        return INVALID_VALUE;
    memset(map, 0, 128);
    memcpy(map, &m, sizeof m);
    return GOOD;
}

/* ---- what a kernel touches ---- */

/* A byte that two threads of a launch touch and one writes, unless a barrier of their block
 * stands between. */
const char *pretend_look(const void *p, unsigned bytes, int writes, unsigned launch,
                         unsigned thread, unsigned epoch)
{
    static char why[120];
    const char *at = p;
    if (!block_of(at, bytes)) {
        snprintf(why, sizeof why, "%u bytes at %p, which is no device memory", bytes, p);
        return why;
    }
    for (size_t w = (size_t)(at - arena); w < (size_t)(at - arena) + bytes; w++) {
        struct trace *t = &trace[w];
        if (t->launch == launch && t->thread != thread + 1 &&
            ((t->thread - 1) / 1024 != thread / 1024 || t->epoch == epoch)) {
            snprintf(why, sizeof why, "race: thread %u of block %u wrote that in this launch, too",
                     (t->thread - 1) % 1024, (t->thread - 1) / 1024);
            return why;
        }
        if (writes) *t = (struct trace){ launch, thread + 1, epoch };
    }
    return NULL;
}
