/* Runs a CUDA kernel on a processor: a fiber per thread, a block after another, those of a cluster
 * together.  Clusters and the threads of each run in ascending, descending and random order by
 * turns, so that a kernel that needs one of them gives another result in the next launch; and each
 * load and store is looked at.  A block outside of clusters is one of its own. */
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

enum { STACK = 64 << 10, MOST = 1024, WARP = 32, FIBERS = MOST * SHIM_CLUSTER };

/* In place of a thread that read a word: several of block number n of the cluster; of several. */
#define SEVERAL(n) (1u << 31 | (n))
static const unsigned SEVERAL_BLOCKS = ~0u;

struct shim_now shim_now;

/* Barriers of the block, of the warp and of the cluster; instructions of a warp and of four, which
 * order no memory; a gate. */
enum { GO, BLOCK, WARPS, CLUSTER, LANES, GROUP, GATE };

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

/* When a thread touched a word of shared memory: it counts from 1 over the cluster's blocks, each
 * of which has room for MOST. */
struct touch { unsigned thread, epoch, cluster_epoch, warp_epoch; };
struct word { struct touch write, read; };

/* Of a block of the cluster that runs; reached: the epoch of the cluster in which another block was
 * at its shared memory last; line: of the barrier that its threads wait at. */
struct block {
    struct shim_index index;
    char *shared;
    struct word *word;
    unsigned reached;
    int line;
};

static struct {
    struct fiber fiber[FIBERS], *now;
    struct block block[SHIM_CLUSTER];
    char *stacks, *shared;
    size_t shared_room;          /* bytes from a block's shared memory to the next one's */
    const struct shim_launch *launch;
    unsigned n, first_block;     /* threads of a block; of the cluster */
    unsigned epoch;              /* counts on over blocks, so that words need no clearing */
    unsigned cluster_epoch, begun;   /* of the cluster; at its beginning */
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

static unsigned number(const struct fiber *f) { return (unsigned)(f - run.fiber); }
static struct block *block_of(const struct fiber *f) { return &run.block[number(f) / MOST]; }
static unsigned block_number(void) { return run.first_block + number(run.now) / MOST; }

void shim_wrong(const char *fmt, unsigned a, unsigned b, unsigned c)
{
    char what[160];
    if (run.wrong[0]) return;
    snprintf(what, sizeof what, fmt, a, b, c);
    snprintf(run.wrong, sizeof run.wrong, "%.60s: block %u: %s", run.launch->name,
             block_number(), what);
}

static void body(void)
{
    run.launch->kernel(run.launch->arg);
    run.now->done = 1;
    for (;;) leave(run.now);
}

static void prepare(struct fiber *f)
{
    char *stack = run.stacks + (size_t)number(f) * STACK;
    const unsigned i = number(f) % MOST, x = run.launch->block.x, y = run.launch->block.y;
    f->index = (struct shim_index){ i % x, i / x % y, i / x / y };
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

static void meet(int kind, int line)
{
    int *others = &block_of(run.now)->line;
    if (!*others) *others = line;
    else if (*others != line)
        shim_wrong("thread %u is at the barrier of line %u, others are at that of line %u",
                   run.now->lane.number, (unsigned)line, (unsigned)*others);
    run.now->waits = kind;
    leave(run.now);
}

void shim_sync_block(int line) { meet(BLOCK, line); }
void shim_sync_cluster(int line) { meet(CLUSTER, line); }

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

/* shim_group.c knows one block's gates and products. */
static void group(int kind)
{
    if (run.launch->cluster > 1)
        shim_wrong("thread %u is at a gate or a product, which is not for clusters here",
                   run.now->lane.number, 0, 0);
    run.now->waits = kind;
    run.grouped = 1;
    leave(run.now);
}

void shim_meet_group(void) { group(GROUP); }
void shim_wait_gate(void) { group(GATE); }

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
    v = number(first) % MOST + (unsigned)(lane & 31) < run.n ? first[lane & 31].shuffled : v;
    shim_meet_lanes();
    return v;
}

unsigned cluster_rank(void) { return number(run.now) / MOST; }
unsigned cluster_blocks(void) { return run.launch->cluster; }

float *cluster_place(float *p, unsigned rank)
{
    char *at = (char *)p, *own = block_of(run.now)->shared;
    if (at < own || at >= own + run.shared_room || rank >= run.launch->cluster) {
        shim_wrong(rank < run.launch->cluster
                       ? "thread %u asks where in block %u what is not shared memory lies"
                       : "thread %u asks for block %u of a cluster of %u",
                   run.now->lane.number, rank, run.launch->cluster);
        shim_give_up();
    }
    return (float *)(void *)(run.block[rank].shared + (at - own));
}

/* Has everybody of [from, to) reached this barrier?  Nobody may have ended. */
static int all_wait(unsigned from, unsigned to, int kind)
{
    unsigned waiting = 0, done = 0;
    for (unsigned i = from; i < to; i++) {
        waiting += run.fiber[i].waits == kind;
        done += run.fiber[i].done != 0;
    }
    if (waiting && waiting + done == to - from && done)
        shim_wrong("%u threads ended while %u wait at the barrier of line %u", done, waiting,
                   kind == BLOCK || kind == CLUSTER ? (unsigned)run.block[from / MOST].line : 0);
    return waiting && waiting + done == to - from;
}

/* Lets the threads [from, to) go on. */
static void go_on(unsigned from, unsigned to, int kind)
{
    const int of_block = kind == BLOCK || kind == CLUSTER;
    if (of_block) {
        run.epoch++;
        run.block[from / MOST].line = 0;
    }
    for (unsigned i = from; i < to; i++) {
        struct fiber *f = &run.fiber[i];
        f->waits = GO;
        if (of_block) f->epoch = run.epoch;
        else if (kind == WARPS) f->warp_epoch++;
    }
}

/* Opens a barrier that all of the threads [from, to) have reached; returns 1 if it did. */
static int open_barrier(unsigned from, unsigned to, int kind)
{
    const int open = all_wait(from, to, kind);
    if (open) go_on(from, to, kind);
    return open;
}

/* The same of all blocks of the cluster. */
static int open_cluster(void)
{
    unsigned open = 0;
    for (unsigned b = 0; b < run.launch->cluster; b++)
        open += (unsigned)all_wait(b * MOST, b * MOST + run.n, CLUSTER);
    if (open < run.launch->cluster) return 0;
    for (unsigned b = 0; b < run.launch->cluster; b++)
        go_on(b * MOST, b * MOST + run.n, CLUSTER);
    run.cluster_epoch = ++run.epoch;
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

/* Opens what can be opened in block number b of the cluster; returns how many barriers. */
static unsigned open_block(unsigned b)
{
    const unsigned first = b * MOST, end = first + run.n;
    unsigned opened = 0;
    for (unsigned from = first; from < end; from += WARP) {
        const unsigned to = from + WARP < end ? from + WARP : end;
        opened += (unsigned)open_barrier(from, to, WARPS);
        opened += (unsigned)open_barrier(from, to, LANES);
    }
    return opened + (unsigned)open_barrier(first, end, BLOCK);
}

static void let_run(struct fiber *f)
{
    const struct block *b = block_of(f);
    run.now = f;
    shim_now.thread = f->index;
    shim_now.block = b->index;
    shim_now.shared = b->shared;
    enter(f);
}

/* Another block's shared memory is there from when all have begun to when none may end. */
static void look_at_end(void)
{
    for (unsigned b = 0; b < run.launch->cluster; b++)
        if (run.block[b].reached == run.cluster_epoch)
            shim_wrong("block %u of the cluster may have ended while others are at its memory", b,
                       0, 0);
}

static void run_cluster(unsigned order, unsigned *seed)
{
    static unsigned at[FIBERS];
    const unsigned cluster = run.launch->cluster, all = cluster * run.n;
    unsigned live = all;
    run.grouped = 0;
    run.order = order;
    run.begun = run.cluster_epoch = ++run.epoch;
    shim_group_begin();
    for (unsigned b = 0; b < cluster; b++) {
        run.epoch++;
        for (unsigned i = 0; i < run.n; i++) prepare(&run.fiber[b * MOST + i]);
    }
    arrange(at, all, order, seed);
    while (live && !run.wrong[0]) {
        unsigned moved = 0;
        for (unsigned i = 0; i < all; i++) {
            struct fiber *f = &run.fiber[at[i] / run.n * MOST + at[i] % run.n];
            if (f->done || f->waits) continue;
            let_run(f);
            live -= f->done != 0;
            moved++;
        }
        for (unsigned b = 0; b < cluster; b++) moved += open_block(b);
        moved += (unsigned)open_cluster();
        moved = open_groups(moved, order);
        if (!moved && live) shim_wrong("%u threads wait for ever", live, 0, 0);
    }
    if (!run.wrong[0]) look_at_end();
    if (!run.wrong[0]) shim_group_end();
}

static int take_memory(const struct shim_launch *l)
{
    const size_t words = (l->shared_bytes + 3) / 4 + 1;
    struct word *word = calloc(words * l->cluster, sizeof *word);
    void *shared = NULL;
    if (!run.stacks) {
        run.stacks = mmap(NULL, (size_t)FIBERS * STACK, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (run.stacks == MAP_FAILED) run.stacks = NULL;
    }
    run.shared_room = (words * 4 + 511) / 256 * 256;
    if (posix_memalign(&shared, 256, run.shared_room * l->cluster)) shared = NULL;
    run.shared = shared;
    for (unsigned b = 0; b < l->cluster; b++)
        run.block[b] = (struct block){ .shared = run.shared + b * run.shared_room,
                                       .word = word + b * words };
    return run.stacks && word && shared;
}

/* Number of the cluster's first block, of the grid's. */
static void begin_cluster(const struct shim_launch *l, unsigned first)
{
    run.first_block = first;
    for (unsigned b = 0; b < l->cluster; b++) {
        const unsigned i = first + b, x = l->grid.x, y = l->grid.y;
        run.block[b].index = (struct shim_index){ i % x, i / x % y, i / x / y };
        run.block[b].line = 0;
        run.block[b].reached = 0;
        /* Nobody may count on what is there. */
        memset(run.block[b].shared, 0xff, l->shared_bytes);
    }
}

const char *shim_run(const struct shim_launch *l)
{
    const unsigned order = order_of(l);
    unsigned seed = l->number * 2654435761u;
    const unsigned n = l->grid.x * l->grid.y * l->grid.z / l->cluster;
    unsigned *at = calloc(n + 1, sizeof *at);
    run.launch = l;
    run.now = run.fiber;
    run.wrong[0] = 0;
    run.n = l->block.x * l->block.y * l->block.z;
    shim_now.block_size = l->block;
    shim_now.grid_size = l->grid;
    if (!take_memory(l) || !at) shim_wrong("no memory for %u blocks of threads", n, 0, 0);
    if (at) arrange(at, n, order, &seed);
    for (unsigned i = 0; i < n && !run.wrong[0]; i++) {
        begin_cluster(l, at[i] * l->cluster);
        run_cluster(order, &seed);
    }
    free(at);
    free(run.block[0].word);
    free(run.shared);
    shim_now.shared = NULL;
    run.shared = NULL;
    return run.wrong[0] ? run.wrong : NULL;
}

/* ---- loads and stores ---- */

/* May what was done then and what the thread that runs does now come in any order?  A barrier of
 * the warp orders those of its own threads, one of the block its own, one of the cluster all. */
static int unordered(const struct touch *t)
{
    const unsigned a = t->thread - 1, b = number(run.now);
    if (!t->thread || a == b || t->cluster_epoch != run.cluster_epoch) return 0;
    if (t->thread == SEVERAL_BLOCKS) return 1;
    if (t->thread & SEVERAL(0)) return t->thread != SEVERAL(b / MOST) || t->epoch == run.now->epoch;
    if (a / MOST != b / MOST) return 1;
    return t->epoch == run.now->epoch &&
           (a / WARP != b / WARP || t->warp_epoch == run.now->warp_epoch);
}

static unsigned several(unsigned thread, unsigned block)
{
    return thread == SEVERAL(block) || (thread - 1) / MOST == block ? SEVERAL(block)
                                                                    : SEVERAL_BLOCKS;
}

static void look_at_word(struct word *w, unsigned i, int writes)
{
    const unsigned me = number(run.now);
    const struct touch now = { me + 1, run.now->epoch, run.cluster_epoch, run.now->warp_epoch };
    if (unordered(&w->write))
        shim_wrong(writes ? "race: threads %u and %u both write word %u of shared memory"
                          : "race: thread %u writes what thread %u reads, word %u of shared memory",
                   w->write.thread - 1, me, i);
    if (writes && unordered(&w->read))
        shim_wrong("race: thread %u reads what thread %u writes, word %u of shared memory",
                   w->read.thread - 1, me, i);
    if (writes) {
        w->write = now;
    } else {
        const unsigned reader = unordered(&w->read) ? several(w->read.thread, me / MOST) : me + 1;
        w->read = now;
        w->read.thread = reader;
    }
}

/* Shared memory, of this block or another one of the cluster. */
static void look_at_shared(size_t at, unsigned bytes, int writes)
{
    struct block *b = &run.block[at / run.shared_room];
    const unsigned from = (unsigned)(at % run.shared_room);
    if (from + bytes > run.launch->shared_bytes) {
        shim_wrong("thread %u is at byte %u of %u of shared memory", run.now->lane.number, from,
                   run.launch->shared_bytes);
        return;
    }
    if (b != block_of(run.now)) b->reached = run.cluster_epoch;
    if (b != block_of(run.now) && run.cluster_epoch == run.begun)
        shim_wrong("thread %u is at the memory of block %u of the cluster, which may not have begun",
                   run.now->lane.number, (unsigned)(b - run.block), 0);
    for (unsigned i = from / 4; i <= (from + bytes - 1) / 4; i++)
        look_at_word(&b->word[i], i, writes);
}

void shim_look(const void *p, unsigned bytes, int writes)
{
    const char *at = p;
    if (!run.now || (at >= run.stacks && at < run.stacks + (size_t)FIBERS * STACK) ||
        (at >= (const char *)&shim_now && at < (const char *)(&shim_now + 1)))
        return;
    if (run.shared && at >= run.shared &&
        at < run.shared + run.shared_room * run.launch->cluster) {
        look_at_shared((size_t)(at - run.shared), bytes, writes);
        return;
    }
    const unsigned thread = run.now->lane.number, block = block_number();
    const char *why = run.launch->memory(p, bytes, writes, run.launch->number,
                                         block * MOST + thread, run.now->epoch);
    if (why && !run.wrong[0])
        snprintf(run.wrong, sizeof run.wrong, "%.60s: block %u: thread %u %s: %.120s",
                 run.launch->name, block, thread, writes ? "writes" : "reads", why);
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
