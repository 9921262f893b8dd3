/* The pretend driver's stream: launches, graphs, copies and events.  What is enqueued is done as
 * late as a driver may do it: when somebody waits for it, and no further than to there.  Copies
 * read pinned memory then, and what they will write there is unreadable until then; memory that is
 * not pinned is copied at once, for which all before it must be done.  So a program that reads a
 * number too early, or writes where a copy is yet to read, has wrong results. */
#include "config.h"   /* _GNU_SOURCE */

#include "tests/cuda/pretend.h"
#include "tests/cuda/shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct node {
    const struct pretend_function *function;
    struct shim_index grid, block;
    unsigned cluster, shared_bytes;
    char args[1024];
};

/* after: so many tasks must be done before its last record is reached. */
struct event { struct timespec at; unsigned long after; };

struct task {
    enum { LAUNCH, COPY, FILL, RECORD } kind;
    struct node *node;             /* LAUNCH */
    void *to, *device;             /* COPY, FILL; device: the side that must be its memory */
    const void *from;
    size_t bytes;
    unsigned char byte;
    struct event *event;           /* RECORD */
};

/* Tasks number `done` to `end`, counted from the start of the process, stand in task[]. */
static struct task *task;
static unsigned long done, end, base;
static size_t room;
static hone_cu_result broken;      /* by a task: all is refused from then on */

struct graph { int n, room; struct node *node; };
static struct graph *recording;

/* ---- doing ---- */

/* HONE_PRETEND_FAULT=KIND:NAME:BLOCK.GRID[:N],...: the kernel of that name with so many threads and
 * blocks goes wrong from its Nth launch of the process on: illegal (all that follows fails), hang,
 * crash or exit. */
static hone_cu_result fault(const struct node *n)
{
    static unsigned launches[8];
    const char *s = getenv("HONE_PRETEND_FAULT");
    for (int i = 0; s && *s && i < 8; i++) {
        char kind[16], name[64];
        unsigned block = 0, grid = 0, from = 1;
        const int got = sscanf(s, "%15[^:]:%63[^:]:%u.%u:%u", kind, name, &block, &grid, &from);
        s += strcspn(s, ",");
        s += *s == ',';
        if (got < 4 || n->block.x != block || n->grid.x != grid) continue;
        if (!strstr(n->function->name, name) || ++launches[i] < from) continue;
        if (!strcmp(kind, "crash")) abort();
        if (!strcmp(kind, "exit")) exit(0);
        for (volatile int on = 1; on && !strcmp(kind, "hang");) {}
        return ILLEGAL_ADDRESS;
    }
    return GOOD;
}

static hone_cu_result run(const struct node *n)
{
    if (fault(n)) return ILLEGAL_ADDRESS;
    static unsigned launches;
    /* A struct with maps in it begins on a boundary of 128 bytes. */
    char args[sizeof n->args] __attribute__((aligned(128)));
    memcpy(args, n->args, sizeof args);
    void *arg[] = { args };
    const struct shim_launch l = { n->function->name, n->function->kernel, arg, n->grid, n->block,
                                   n->cluster, n->shared_bytes, ++launches, pretend_look };
    pretend_unlock();
    const char *why = shim_run(&l);
    pretend_lock();
    if (why) fprintf(stderr, "pretend driver: %s\n", why);
    return why ? LAUNCH_FAILED : GOOD;
}

static hone_cu_result carry_out(const struct task *t)
{
    if (t->kind == LAUNCH) return run(t->node);
    if (t->kind == RECORD) {
        clock_gettime(CLOCK_MONOTONIC, &t->event->at);
        return GOOD;
    }
    if (!pretend_is_device(t->device, t->bytes)) return INVALID_VALUE;
    pretend_unlock();
    if (t->kind == COPY) memcpy(t->to, t->from, t->bytes);
    else memset(t->to, t->byte, t->bytes);
    pretend_lock();
    return GOOD;
}

/* Does the first `until` tasks ever enqueued. */
static void do_until(unsigned long until)
{
    for (; done < until; done++) {
        struct task *t = &task[done - base];
        if (!broken) broken = carry_out(t);
        free(t->node);
    }
    if (done == end) base = end;
}

void pretend_do_all(void) { do_until(end); }

static hone_cu_result wait_until(unsigned long until)
{
    pretend_counts.waits += done < until;
    do_until(until);
    return broken;
}

/* ---- enqueueing ---- */

static hone_cu_result enqueue(const struct task *t)
{
    if (broken) return broken;
    if (end - base == room && done - base > room / 2) {
        memmove(task, task + (done - base), (end - done) * sizeof *task);
        base = done;
    }
    if (end - base == room) {
        struct task *more = realloc(task, (2 * room + 64) * sizeof *more);
        if (!more) return OUT_OF_MEMORY;
        task = more;
        room = 2 * room + 64;
    }
    task[end++ - base] = *t;
    return GOOD;
}

static hone_cu_result enqueue_node(const struct node *n)
{
    struct task t = { .kind = LAUNCH, .node = malloc(sizeof *n) };
    if (!t.node) return OUT_OF_MEMORY;
    *t.node = *n;
    hone_cu_result err = enqueue(&t);
    if (err) free(t.node);
    return err;
}

static hone_cu_result add(struct graph *g, const struct node *n)
{
    if (g->n == g->room) {
        struct node *more = realloc(g->node, (size_t)(2 * g->room + 8) * sizeof *more);
        if (!more) return OUT_OF_MEMORY;
        g->node = more;
        g->room = 2 * g->room + 8;
    }
    g->node[g->n++] = *n;
    return GOOD;
}

/* Can a function be launched so?  The driver says how many clusters there is room for. */
static hone_cu_result look_at_launch(const struct node *n)
{
    const struct pretend_function *f = n->function;
    const struct shim_index g = n->grid, b = n->block;
    if (!g.x || !g.y || !g.z || !b.x || !b.y || !b.z || g.y > 65535 || g.z > 65535 || b.z > 64 ||
        f->bytes > sizeof n->args || (size_t)b.x * b.y * b.z > 1024 ||
        n->shared_bytes > f->shared_bytes)
        return INVALID_VALUE;
    if (b.x * b.y * b.z > f->threads) return OUT_OF_RESOURCES;
    return n->cluster == 1 || (pretend_capability() >= 90 && n->cluster && g.x % n->cluster == 0 &&
                               n->cluster <= (f->non_portable ? 16 : 8)) ? GOOD : BAD_CLUSTER;
}

static hone_cu_result launch(struct node *n, void *stream, void **arguments)
{
    hone_cu_result err = stream ? look_at_launch(n) : INVALID_VALUE;
    if (err) return err;
    memcpy(n->args, arguments[0], n->function->bytes);
    pretend_counts.kernels += !recording;
    return recording ? add(recording, n) : enqueue_node(n);
}

hone_cu_result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                              unsigned by, unsigned bz, unsigned shared_bytes, void *stream,
                              void **arguments, void **extra)
{
    CALL_IN_CONTEXT();
    struct node n = { function, { gx, gy, gz }, { bx, by, bz }, 1, shared_bytes, { 0 } };
    (void)extra;
    return launch(&n, stream, arguments);
}

/* ---- clusters ---- */

static hone_cu_result node_of(struct node *n, void *function, const struct hone_cu_launch *l)
{
    const unsigned *g = l->grid, *b = l->block, *c = l->attribute->cluster;
    *n = (struct node){ function, { g[0], g[1], g[2] }, { b[0], b[1], b[2] }, c[0],
                        l->shared_bytes, { 0 } };
    const int ours = l->nattributes == 1 && l->attribute->id == HONE_CU_LAUNCH_CLUSTER;
    return ours && c[1] == 1 && c[2] == 1 ? GOOD : INVALID_VALUE;
}

static unsigned room_for_blocks(void)
{
    const char *most = getenv("HONE_PRETEND_CLUSTER");
    return most ? (unsigned)atoi(most) : SHIM_CLUSTER;
}

hone_cu_result cuOccupancyMaxActiveClusters(int *clusters, void *function,
                                            const struct hone_cu_launch *l)
{
    CALL_IN_CONTEXT();
    struct node n;
    hone_cu_result err = node_of(&n, function, l);
    if (!err) err = look_at_launch(&n);
    *clusters = !err && n.cluster <= room_for_blocks();
    return err;
}

hone_cu_result cuLaunchKernelEx(const struct hone_cu_launch *l, void *function, void **arguments,
                                void **extra)
{
    CALL_IN_CONTEXT();
    struct node n;
    hone_cu_result err = node_of(&n, function, l);
    (void)extra;
    if (!err && n.cluster > room_for_blocks()) err = OUT_OF_RESOURCES;
    return err ? err : launch(&n, l->stream, arguments);
}

/* ---- graphs ---- */

hone_cu_result cuStreamBeginCapture_v2(void *stream, unsigned mode)
{
    CALL_IN_CONTEXT();
    (void)stream, (void)mode;
    if (recording || !(recording = calloc(1, sizeof *recording))) return UNKNOWN;
    pretend_live.graphs++;
    return GOOD;
}

hone_cu_result cuStreamEndCapture(void *stream, void **graph)
{
    (void)stream;
    *graph = recording;
    recording = NULL;
    CALL_IN_CONTEXT();
    return *graph ? GOOD : UNKNOWN;
}

hone_cu_result cuGraphDestroy(void *graph)
{
    struct graph *g = graph;
    free(g->node);
    free(g);
    pretend_live.graphs--;
    CALL_IN_CONTEXT();
    return GOOD;
}

hone_cu_result cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
    CALL_IN_CONTEXT();
    const struct graph *from = graph;
    struct graph *g = calloc(1, sizeof *g);
    (void)flags;
    for (int i = 0; g && i < from->n; i++)
        if (add(g, &from->node[i])) return OUT_OF_MEMORY;
    *exec = g;
    pretend_live.graphs++;
    return g ? GOOD : OUT_OF_MEMORY;
}

hone_cu_result cuGraphExecDestroy(void *exec) { return cuGraphDestroy(exec); }

hone_cu_result cuGraphLaunch(void *exec, void *stream)
{
    CALL_IN_CONTEXT();
    struct graph *g = exec;
    hone_cu_result err = GOOD;
    pretend_counts.graphs++;
    (void)stream;
    for (int i = 0; !err && i < g->n; i++) err = enqueue_node(&g->node[i]);
    return err;
}

/* ---- streams ---- */

hone_cu_result cuStreamCreate(void **stream, unsigned flags)
{
    CALL_IN_CONTEXT();
    (void)flags;
    pretend_live.streams++;
    return (*stream = malloc(1)) ? GOOD : OUT_OF_MEMORY;
}

/* The next one begins anew. */
hone_cu_result cuStreamDestroy_v2(void *stream)
{
    CALL_IN_CONTEXT();
    pretend_do_all();
    broken = GOOD;
    free(task);
    task = NULL;
    room = 0;
    free(stream);
    pretend_live.streams--;
    return GOOD;
}

hone_cu_result cuStreamSynchronize(void *stream)
{
    CALL_IN_CONTEXT();
    return !stream ? INVALID_VALUE : recording ? NO_CAPTURE : wait_until(end);
}

/* ---- events ---- */

hone_cu_result cuEventCreate(void **event, unsigned flags)
{
    CALL_IN_CONTEXT();
    (void)flags;
    pretend_live.events++;
    return (*event = calloc(1, sizeof(struct event))) ? GOOD : OUT_OF_MEMORY;
}

hone_cu_result cuEventDestroy_v2(void *event)
{
    CALL_IN_CONTEXT();
    do_until(((struct event *)event)->after);
    free(event);
    pretend_live.events--;
    return GOOD;
}

hone_cu_result cuEventRecord(void *event, void *stream)
{
    CALL_IN_CONTEXT();
    struct event *e = event;
    (void)stream;
    if (recording) return NO_CAPTURE;
    hone_cu_result err = enqueue(&(struct task){ .kind = RECORD, .event = e });
    if (!err) e->after = end;
    return err;
}

hone_cu_result cuEventSynchronize(void *event)
{
    CALL_IN_CONTEXT();
    if (!event || recording) return INVALID_VALUE;
    return getenv("HONE_PRETEND_DEAF") ? broken : wait_until(((struct event *)event)->after);
}

hone_cu_result cuEventElapsedTime(float *ms, void *from, void *to)
{
    CALL_IN_CONTEXT();
    const struct event *a = from, *b = to;
    if (a->after > done || b->after > done) return NOT_READY;
    *ms = (float)(1e3 * (double)(b->at.tv_sec - a->at.tv_sec) +
                  1e-6 * (double)(b->at.tv_nsec - a->at.tv_nsec));
    return GOOD;
}

/* ---- copies ---- */

static hone_cu_result copy(void *to, const void *from, size_t bytes, void *device, int is_pinned)
{
    const struct task t = { .kind = COPY, .to = to, .from = from, .bytes = bytes,
                            .device = device };
    if (recording) return NO_CAPTURE;
    if (!pretend_is_device(device, bytes)) return INVALID_VALUE;
    hone_cu_result err = enqueue(&t);
    return err || is_pinned ? err : wait_until(end);
}

hone_cu_result cuMemcpyHtoDAsync_v2(hone_cu_address to, const void *from, size_t bytes,
                                    void *stream)
{
    CALL_IN_CONTEXT();
    void *mem = (void *)(uintptr_t)to;
    (void)stream;
    pretend_counts.puts++;
    pretend_counts.put_bytes += bytes;
    return copy(mem, from, bytes, mem, pretend_is_pinned(from, bytes));
}

/* Is there a copy to come that reads of these bytes? */
static int is_read(const char *at, size_t bytes)
{
    for (unsigned long i = done; i < end; i++) {
        const struct task *t = &task[i - base];
        const char *from = t->from;
        if (t->kind == COPY && from < at + bytes && at < from + t->bytes) return 1;
    }
    return 0;
}

hone_cu_result cuMemcpyDtoHAsync_v2(void *to, hone_cu_address from, size_t bytes, void *stream)
{
    CALL_IN_CONTEXT();
    void *mem = (void *)(uintptr_t)from;
    const int is_pinned = pretend_is_pinned(to, bytes);
    (void)stream;
    pretend_counts.gets++;
    pretend_counts.get_bytes += bytes;
    hone_cu_result err = copy(to, mem, bytes, mem, is_pinned);
    /* Bytes of ones are no number, and what reads them says so. */
    if (!err && is_pinned && !is_read(to, bytes)) memset(to, 0xff, bytes);
    return err;
}

hone_cu_result cuMemsetD8Async(hone_cu_address to, unsigned char byte, size_t n, void *stream)
{
    CALL_IN_CONTEXT();
    void *mem = (void *)(uintptr_t)to;
    (void)stream;
    if (recording) return NO_CAPTURE;
    if (!pretend_is_device(mem, n)) return INVALID_VALUE;
    return enqueue(&(struct task){ .kind = FILL, .to = mem, .device = mem, .bytes = n,
                                   .byte = byte });
}
