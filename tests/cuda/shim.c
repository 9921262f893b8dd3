/* Runs a CUDA kernel on a processor: a fiber per thread, a block after another.  Blocks and the
 * threads of each run in ascending, descending and random order by turns, so that a kernel that
 * needs one of them gives another result in the next launch; and each load and store is looked at. */
#include "config.h"   /* _GNU_SOURCE */

#include "tests/cuda/shim.h"
#include "tests/cuda/shim_warp.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if !defined __x86_64__
#include <ucontext.h>
#endif

enum { STACK = 64 << 10, MOST = 1024, WARP = 32 };
static const unsigned SEVERAL = ~0u;   /* in place of a thread that read a word */

struct shim_now shim_now;

/* Barriers of the block and of the warp; instructions of a warp and of four, which order no memory;
 * a gate. */
enum { GO, BLOCK, WARPS, LANES, GROUP, GATE };

struct fiber {
    struct shim_index index;
    int done, waits;             /* waits: 0, else a barrier (enum below) */
    unsigned epoch;              /* barriers of the block that it is behind */
    unsigned warp_epoch;
    float shuffled;
    struct shim_lane lane;
#if defined __x86_64__
    void *sp;
#else
    ucontext_t context;
#endif
};

/* Who touched a word of shared memory last: threads count from 1. */
struct word { unsigned writer, write_epoch, write_warp_epoch, reader, read_epoch, read_warp_epoch; };

static struct {
    struct fiber fiber[MOST], *now;
    char *stacks;
    const struct shim_launch *launch;
    unsigned n, block_number;
    unsigned epoch;              /* counts on over blocks, so that words need no clearing */
    int line;                    /* of the barrier that threads wait at */
    int grouped;                 /* some thread was at a gate, or in an instruction of four warps */
    unsigned order;
    struct word *word;
    char wrong[256];
#if defined __x86_64__
    void *sp;
#else
    ucontext_t context;
#endif
} run;

/* ---- switching ---- */

#if defined __x86_64__
/* Saves what a function must leave as it was, and the stack; goes on with another one. */
void shim_switch(void **save, void *load);
__asm__(".text\n.globl shim_switch\n.type shim_switch,@function\nshim_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size shim_switch,.-shim_switch\n");
static void enter(struct fiber *f) { shim_switch(&run.sp, f->sp); }
static void leave(struct fiber *f) { shim_switch(&f->sp, run.sp); }
#else
static void enter(struct fiber *f) { swapcontext(&run.context, &f->context); }
static void leave(struct fiber *f) { swapcontext(&f->context, &run.context); }
#endif

void shim_wrong(const char *fmt, unsigned a, unsigned b, unsigned c)
{
    char what[160];
    if (run.wrong[0]) return;
    snprintf(what, sizeof what, fmt, a, b, c);
    snprintf(run.wrong, sizeof run.wrong, "%.60s: block %u: %s", run.launch->name,
             run.block_number, what);
}

static void body(void)
{
    run.launch->kernel(run.launch->arg);
    run.now->done = 1;
    for (;;) leave(run.now);
}

static void prepare(struct fiber *f, unsigned i)
{
    char *stack = run.stacks + (size_t)i * STACK;
    f->done = f->waits = GO;
    f->lane.number = i;
    f->lane.ncopies = f->lane.groups = 0;
    f->epoch = run.epoch;
    f->warp_epoch = 0;
#if defined __x86_64__
    void **sp = (void **)(void *)(stack + STACK);
    *--sp = NULL;                  /* as after a call, the stack is 8 off a multiple of 16 */
    *--sp = (void *)(uintptr_t)body;
    for (int r = 0; r < 6; r++) *--sp = NULL;
    f->sp = sp;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, body, 0);
#endif
}

/* ---- barriers ---- */

static unsigned number(const struct fiber *f) { return (unsigned)(f - run.fiber); }

void shim_sync_block(int line)
{
    if (!run.line) run.line = line;
    else if (run.line != line)
        shim_wrong("thread %u is at the barrier of line %u, others are at that of line %u",
              number(run.now), (unsigned)line, (unsigned)run.line);
    run.now->waits = BLOCK;
    leave(run.now);
}

void shim_sync_warp(void)
{
    run.now->waits = WARPS;
    leave(run.now);
}

void shim_meet_lanes(void)
{
    run.now->waits = LANES;
    leave(run.now);
}

void shim_meet_group(void)
{
    run.now->waits = GROUP;
    run.grouped = 1;
    leave(run.now);
}

void shim_wait_gate(void)
{
    run.now->waits = GATE;
    run.grouped = 1;
    leave(run.now);
}

void shim_give_up(void)
{
    run.now->done = 1;
    for (;;) leave(run.now);
}

unsigned shim_epoch(void) { return run.now->epoch; }
unsigned shim_shared_bytes(void) { return run.launch->shared_bytes; }
unsigned shim_order(void) { return run.order; }

struct shim_lane *shim_lane_now(void) { return &run.now->lane; }
struct shim_lane *shim_lane_at(unsigned i)
{
    return &run.fiber[number(run.now) / WARP * WARP + i].lane;
}

float shim_shuffle(float v, int lane)
{
    struct fiber *first = run.fiber + number(run.now) / WARP * WARP;
    run.now->shuffled = v;
    shim_meet_lanes();
    v = first + (lane & 31) < run.fiber + run.n ? first[lane & 31].shuffled : v;
    shim_meet_lanes();
    return v;
}

/* Opens a barrier that all of the threads [from, to) have reached; returns 1 if it did. */
static int open_barrier(unsigned from, unsigned to, int kind)
{
    unsigned waiting = 0, done = 0;
    for (unsigned i = from; i < to; i++) {
        waiting += run.fiber[i].waits == kind;
        done += run.fiber[i].done != 0;
    }
    if (waiting && waiting + done == to - from && done)
        shim_wrong("%u threads ended while %u wait at the barrier of line %u", done, waiting,
              kind == BLOCK ? (unsigned)run.line : 0);
    if (!waiting || waiting + done < to - from) return 0;
    if (kind == BLOCK) {
        run.epoch++;
        run.line = 0;
    }
    for (unsigned i = from; i < to; i++) {
        struct fiber *f = &run.fiber[i];
        f->waits = GO;
        if (kind == BLOCK) f->epoch = run.epoch;
        else if (kind == WARPS) f->warp_epoch++;
    }
    return 1;
}

/* ---- order ---- */

static unsigned draw(unsigned *seed, unsigned n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)(*seed >> 1) * n >> 31);
}

static unsigned order_of(const struct shim_launch *l)
{
    const char *fixed = getenv("HONE_PRETEND_ORDER");
    return fixed ? (unsigned)atoi(fixed) : l->number % 3 < 2 ? l->number % 3 : l->number;
}

/* 0: ascending, 1: descending, else random. */
static void arrange(unsigned *at, unsigned n, unsigned order, unsigned *seed)
{
    for (unsigned i = 0; i < n; i++) at[i] = order == 1 ? n - 1 - i : i;
    for (unsigned i = n; order > 1 && i > 1; i--) {
        unsigned j = draw(seed, i), k = at[i - 1];
        at[i - 1] = at[j];
        at[j] = k;
    }
}

/* ---- running ---- */

/* Gates that have opened, and instructions of four warps that all have reached; where nobody else
 * can go on, a box comes.  Returns whether anybody can. */
static unsigned open_groups(unsigned moved, unsigned order)
{
    for (unsigned from = 0; run.grouped && from < run.n; from += 4 * WARP)
        moved += (unsigned)open_barrier(from, from + 4 * WARP < run.n ? from + 4 * WARP : run.n,
                                        GROUP);
    for (unsigned i = 0; run.grouped && i < run.n; i++) {
        if (run.fiber[i].waits != GATE || !shim_gate_is_open(i)) continue;
        run.fiber[i].waits = GO;
        moved++;
    }
    return moved ? moved : (unsigned)shim_box_comes(order);
}

static void run_block(unsigned order, unsigned *seed)
{
    static unsigned at[MOST];
    unsigned live = run.n, warps = (run.n + WARP - 1) / WARP;
    run.line = run.grouped = 0;
    run.order = order;
    run.epoch++;
    shim_group_begin();
    for (unsigned i = 0; i < run.n; i++) prepare(&run.fiber[i], i);
    arrange(at, run.n, order, seed);
    while (live && !run.wrong[0]) {
        unsigned moved = 0;
        for (unsigned i = 0; i < run.n; i++) {
            struct fiber *f = &run.fiber[at[i]];
            if (f->done || f->waits) continue;
            run.now = f;
            shim_now.thread = f->index;
            enter(f);
            live -= f->done != 0;
            moved++;
        }
        for (unsigned w = 0; w < warps; w++) {
            unsigned to = (w + 1) * WARP < run.n ? (w + 1) * WARP : run.n;
            moved += (unsigned)open_barrier(w * WARP, to, WARPS);
            moved += (unsigned)open_barrier(w * WARP, to, LANES);
        }
        moved += (unsigned)open_barrier(0, run.n, BLOCK);
        moved = open_groups(moved, order);
        if (!moved && live) shim_wrong("%u threads wait for ever", live, 0, 0);
    }
    if (!run.wrong[0]) shim_group_end();
}

static int take_memory(const struct shim_launch *l)
{
    const size_t words = (l->shared_bytes + 3) / 4;
    if (!run.stacks) {
        run.stacks = mmap(NULL, (size_t)MOST * STACK, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (run.stacks == MAP_FAILED) run.stacks = NULL;
    }
    shim_now.shared = NULL;
    run.word = calloc(words + 1, sizeof *run.word);
    return run.stacks && run.word && !posix_memalign(&shim_now.shared, 256, words * 4 + 256);
}

const char *shim_run(const struct shim_launch *l)
{
    const unsigned order = order_of(l);
    unsigned seed = l->number * 2654435761u, n = l->grid.x * l->grid.y * l->grid.z;
    unsigned *at = calloc(n + 1, sizeof *at);
    run.launch = l;
    run.wrong[0] = 0;
    run.n = l->block.x * l->block.y * l->block.z;
    shim_now.block_size = l->block;
    shim_now.grid_size = l->grid;
    if (!at || !take_memory(l)) shim_wrong("no memory for %u threads", run.n, 0, 0);
    for (unsigned i = 0; i < run.n; i++)
        run.fiber[i].index = (struct shim_index){ i % l->block.x, i / l->block.x % l->block.y,
                                                  i / l->block.x / l->block.y };
    if (at) arrange(at, n, order, &seed);
    for (unsigned i = 0; i < n && !run.wrong[0]; i++) {
        run.block_number = at[i];
        shim_now.block = (struct shim_index){ at[i] % l->grid.x, at[i] / l->grid.x % l->grid.y,
                                          at[i] / l->grid.x / l->grid.y };
        /* Nobody may count on what is there. */
        memset(shim_now.shared, 0xff, l->shared_bytes);
        run_block(order, &seed);
    }
    free(at);
    free(run.word);
    free(shim_now.shared);
    shim_now.shared = NULL;
    return run.wrong[0] ? run.wrong : NULL;
}

/* ---- loads and stores ---- */

/* Are the accesses of threads a and b, of which b is the one that runs, without a barrier between
 * them?  A barrier of the warp orders those of its own threads. */
static int unordered(unsigned a, unsigned epoch, unsigned warp_epoch)
{
    const unsigned b = number(run.now);
    if (!a || a - 1 == b || epoch != run.now->epoch) return 0;
    if (a == SEVERAL) return 1;
    return (a - 1) / WARP != b / WARP || warp_epoch == run.now->warp_epoch;
}

static void look_at_word(struct word *w, unsigned i, int writes)
{
    const unsigned me = number(run.now) + 1;
    if (unordered(w->writer, w->write_epoch, w->write_warp_epoch))
        shim_wrong(writes ? "race: threads %u and %u both write word %u of shared memory"
                     : "race: thread %u writes what thread %u reads, word %u of shared memory",
              w->writer - 1, me - 1, i);
    if (writes && unordered(w->reader, w->read_epoch, w->read_warp_epoch))
        shim_wrong("race: thread %u reads what thread %u writes, word %u of shared memory",
              w->reader - 1, me - 1, i);
    if (writes) {
        w->writer = me;
        w->write_epoch = run.now->epoch;
        w->write_warp_epoch = run.now->warp_epoch;
    } else {
        w->reader = unordered(w->reader, w->read_epoch, w->read_warp_epoch) ? SEVERAL : me;
        w->read_epoch = run.now->epoch;
        w->read_warp_epoch = run.now->warp_epoch;
    }
}

void shim_look(const void *p, unsigned bytes, int writes)
{
    const char *at = p;
    if (!run.now || (at >= run.stacks && at < run.stacks + (size_t)MOST * STACK) ||
        (at >= (const char *)&shim_now && at < (const char *)(&shim_now + 1)))
        return;
    const char *shared = shim_now.shared;
    if (shared && at >= shared && at < shared + run.launch->shared_bytes + 256) {
        unsigned from = (unsigned)(at - shared);
        if (from + bytes > run.launch->shared_bytes)
            shim_wrong("thread %u is at byte %u of %u of shared memory", number(run.now), from,
                  run.launch->shared_bytes);
        else
            for (unsigned i = from / 4; i <= (from + bytes - 1) / 4; i++)
                look_at_word(&run.word[i], i, writes);
        return;
    }
    const char *why = run.launch->memory(p, bytes, writes, run.launch->number,
                                         run.block_number * MOST + number(run.now),
                                         run.now->epoch);
    if (why && !run.wrong[0])
        snprintf(run.wrong, sizeof run.wrong, "%.60s: block %u: thread %u %s: %.120s",
                 run.launch->name, run.block_number, number(run.now),
                 writes ? "writes" : "reads", why);
    /* What is out of bounds must not be touched. */
    if (run.wrong[0]) shim_give_up();
}

/* What the compiler calls for each of them (GCC's and Clang's ThreadSanitizer). */
#define HOOKS(n)                                                                                   \
    void __tsan_read##n(void *p);                                                                  \
    void __tsan_write##n(void *p);                                                                 \
    void __tsan_unaligned_read##n(void *p);                                                        \
    void __tsan_unaligned_write##n(void *p);                                                       \
    void __tsan_read##n(void *p) { shim_look(p, n, 0); }                                                \
    void __tsan_write##n(void *p) { shim_look(p, n, 1); }                                               \
    void __tsan_unaligned_read##n(void *p) { shim_look(p, n, 0); }                                      \
    void __tsan_unaligned_write##n(void *p) { shim_look(p, n, 1); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_init(void);
void __tsan_func_entry(void *p);
void __tsan_func_exit(void);
void __tsan_read_range(void *p, long bytes);
void __tsan_write_range(void *p, long bytes);
void __tsan_init(void) { }
void __tsan_func_entry(void *p) { (void)p; }
void __tsan_func_exit(void) { }
void __tsan_read_range(void *p, long bytes) { shim_look(p, (unsigned)bytes, 0); }
void __tsan_write_range(void *p, long bytes) { shim_look(p, (unsigned)bytes, 1); }
