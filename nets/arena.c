/* One array for all activations and workspaces: what does not live at the same time may lie at the
 * same place, a step's workspace too, and a step that can writes its output over an input that
 * nobody reads afterwards. */
#include "nets/arena.h"
#include "nets/lower.h"

#include <stdlib.h>
#include <string.h>

/* A tensor's bytes and the steps [first, last] between which they must stay; or a workspace's,
 * whose owner is ntensors and its step. */
struct block {
    int owner, first, last;
    int64_t bytes, offset, best;   /* best: the offset in the best layout so far */
};

static int64_t aligned(int64_t bytes) { return (bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN; }

static int outlives_the_step(const struct hone_net *net, int t)
{
    return t == net->loss || t == net->hit || t == net->output;
}

void hone_net_lifetimes(const struct hone_net *net, int first[], int last[])
{
    for (int t = 0; t < net->ntensors; t++) first[t] = last[t] = -1;
    for (int i = 0; i < net->nsteps; i++) {
        for (int a = 0; a < net->step[i].nargs; a++) {
            int t = net->step[i].arg[a];
            while (net->tensor[t].within >= 0) t = net->tensor[t].within;
            if (net->tensor[t].role != HONE_ROLE_ACTIVATION) continue;
            if (first[t] < 0) first[t] = i;
            last[t] = outlives_the_step(net, t) ? net->nsteps : i;
        }
    }
}

/* ---- outputs over inputs ---- */

/* Ops each number of whose first argument needs of the large inputs only the numbers at its place,
 * once all sums are done; our kernels read them before they write it (tests/check_in_place.c). */
int hone_step_in_place(const struct hone_step *s)
{
    static const char *const ops[] = { "add", "dropout", "bnorm_fwd", "bnorm_infer", "bnorm_bwd" };
    const char *name = s->problem.op->name, *end = strstr(name, "_bwd");
    char act[HONE_NAME];
    if (s->plan.kernel && !strncmp(s->plan.kernel->name, "lib_", 4)) return 0;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(name, ops[i])) return 1;
    snprintf(act, sizeof act, "%.*s", end ? (int)(end - name) : HONE_NAME, name);
    const struct hone_layer_kind *kind = hone_layer_kind_find(act);
    return kind && kind->is_act;
}

/* The input that step i's first argument, which it is the first to write, may be written over: one
 * that is as large and is read for the last time; -1: none. */
static int written_over(const struct hone_net *net, int i, const int first[], const int last[])
{
    const struct hone_step *s = &net->step[i];
    struct hone_arg arg[HONE_MAX_ARGS];
    int to = s->arg[0], over = -1;
    if (net->tensor[to].role != HONE_ROLE_ACTIVATION || first[to] != i || !hone_step_in_place(s))
        return -1;
    s->problem.op->args(&s->problem, arg);
    for (int a = s->nargs - 1; a > 0; a--)
        if (net->tensor[s->arg[a]].role == HONE_ROLE_ACTIVATION && last[s->arg[a]] == i &&
            arg[a].io == HONE_IN && arg[a].rank == arg[0].rank && arg[a].dtype == arg[0].dtype &&
            hone_arg_len(&arg[a]) == hone_arg_len(&arg[0]))
            over = s->arg[a];
    return over;
}

static void take_over(struct hone_net *net, const int first[], const int last[])
{
    for (int t = 0; t < net->ntensors; t++) net->tensor[t].over = -1;
    for (int i = 0; i < net->nsteps; i++) {
        int over = written_over(net, i, first, last);
        if (over >= 0) net->tensor[net->step[i].arg[0]].over = over;
    }
}

/* The tensor at whose place t lies, at the end of a chain of those written over each other. */
static int place_of(const struct hone_net *net, int t)
{
    while (net->tensor[t].over >= 0) t = net->tensor[t].over;
    return t;
}

/* ---- places ---- */

/* The blocks of all activations that a step reads or writes; returns how many. */
static int find_blocks(const struct hone_net *net, struct block *block, const int first[],
                       int last[])
{
    int n = 0;
    for (int t = 0; t < net->ntensors; t++) {
        int at = place_of(net, t);
        if (last[at] < last[t]) last[at] = last[t];
    }
    for (int t = 0; t < net->ntensors; t++)
        if (first[t] >= 0 && net->tensor[t].over < 0)
            block[n++] = (struct block){ .owner = t,
                                         .first = first[t],
                                         .last = last[t],
                                         .bytes = aligned(hone_tensor_bytes(&net->tensor[t])) };
    return n;
}

static int add_workspaces(const struct hone_net *net, struct block *block, int n)
{
    for (int i = 0; i < net->nsteps; i++)
        if (net->step[i].plan.workspace_bytes)
            block[n++] = (struct block){
                .owner = net->ntensors + i,
                .first = i,
                .last = i,
                .bytes = aligned((int64_t)net->step[i].plan.workspace_bytes),
            };
    return n;
}

static int by_lifetime(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    const int more = (y->last - y->first) - (x->last - x->first);
    return more ? more : x->owner - y->owner;
}

static int by_bytes(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    return x->bytes != y->bytes ? x->bytes < y->bytes ? 1 : -1 : x->owner - y->owner;
}

/* Inserts b among placed[0..n), which are in order of their offsets. */
static void place(struct block *b, struct block *placed[], int n)
{
    int at = n;
    for (; at && placed[at - 1]->offset > b->offset; at--) placed[at] = placed[at - 1];
    placed[at] = b;
}

/* The smallest gap that holds b between those of placed[0..n) (by offset) that live when b does;
 * else behind them. */
static int64_t best_fit(const struct block *b, struct block *const placed[], int n)
{
    int64_t end = 0, at = -1, gap = INT64_MAX;
    for (int i = 0; i < n; i++) {
        const struct block *p = placed[i];
        if (p->last < b->first || p->first > b->last) continue;
        int64_t room = p->offset - end;
        if (room >= b->bytes && room < gap) {
            at = end;
            gap = room;
        }
        if (p->offset + p->bytes > end) end = p->offset + p->bytes;
    }
    return at >= 0 ? at : end;
}

/* Each in turn into the smallest gap among those placed before whose lifetimes meet its own.  Returns
 * which of them ends last. */
static int lay_out_once(struct block block[], struct block *placed[], int n)
{
    int last = 0;
    for (int i = 0; i < n; i++) {
        block[i].offset = best_fit(&block[i], placed, i);
        place(&block[i], placed, i);
        if (block[i].offset + block[i].bytes > block[last].offset + block[last].bytes) last = i;
    }
    return last;
}

/* The bytes that live at the same step, at most: no layout takes less. */
static int64_t most_alive(const struct block block[], int n)
{
    int64_t most = 0;
    for (int i = 0; i < n; i++) {
        int64_t sum = 0;   /* as much as ever lives begins with some block */
        for (int k = 0; k < n; k++)
            if (block[k].first <= block[i].first && block[k].last >= block[i].first)
                sum += block[k].bytes;
        if (sum > most) most = sum;
    }
    return most;
}

/* Greedy, best fit, in the order that `compare` says.  While that takes more than lives at once,
 * the block that ends last comes in half as many turns, and all are laid out again.  Takes the best
 * of these if it takes fewer than `end` bytes; returns the bytes of the best layout so far. */
static int64_t lay_out_by(int (*compare)(const void *, const void *), struct block block[],
                          struct block *placed[], int n, int64_t least, int64_t end)
{
    enum { TRIES = 32 };
    qsort(block, (size_t)n, sizeof *block, compare);
    for (int t = 0; t < TRIES && end > least; t++) {
        const int last = lay_out_once(block, placed, n), to = last / 2;
        if (block[last].offset + block[last].bytes < end) {
            end = block[last].offset + block[last].bytes;
            for (int i = 0; i < n; i++) block[i].best = block[i].offset;
        }
        const struct block sooner = block[last];
        memmove(&block[to + 1], &block[to], (size_t)(last - to) * sizeof *block);
        block[to] = sooner;
    }
    return end;
}

/* What lives longest first, or what is largest (Pisarchyk and Lee 2020 compare orders).  Returns
 * the bytes of the best. */
static int64_t lay_out(struct block block[], struct block *placed[], int n)
{
    if (!n) return 0;
    const int64_t least = most_alive(block, n);
    int64_t end = lay_out_by(by_lifetime, block, placed, n, least, INT64_MAX);
    end = lay_out_by(by_bytes, block, placed, n, least, end);
    for (int i = 0; i < n; i++) block[i].offset = block[i].best;
    return end;
}

static void keep_places(struct hone_net *net, const struct block block[], int n)
{
    for (int i = 0; i < n; i++)
        if (block[i].owner < net->ntensors) net->tensor[block[i].owner].offset = block[i].offset;
        else net->step[block[i].owner - net->ntensors].workspace_offset = block[i].offset;
    for (int t = 0; t < net->ntensors; t++)
        if (net->tensor[t].over >= 0)
            net->tensor[t].offset = net->tensor[place_of(net, t)].offset;
}

/* Workspaces lie where activations leave room at their step, unless one place for all behind the
 * activations takes less. */
static void plan(struct hone_net *net, struct block block[], struct block *placed[], int n)
{
    int64_t most = 0;
    for (int i = 0; i < net->nsteps; i++)
        if (aligned((int64_t)net->step[i].plan.workspace_bytes) > most)
            most = aligned((int64_t)net->step[i].plan.workspace_bytes);
    int64_t alone = lay_out(block, placed, n);
    keep_places(net, block, n);
    for (int i = 0; i < net->nsteps; i++) net->step[i].workspace_offset = alone;
    n = add_workspaces(net, block, n);
    int64_t all = lay_out(block, placed, n), end = all < alone + most ? all : alone + most;
    if (all <= alone + most) keep_places(net, block, n);
    net->arena_bytes = alone < end ? alone : end;
    net->workspace_bytes = end - net->arena_bytes;
}

int hone_net_plan_arena(struct hone_net *net)
{
    size_t ntensors = (size_t)net->ntensors, n = ntensors + (size_t)net->nsteps;
    struct block *block = calloc(n, sizeof *block), **placed = calloc(n, sizeof *placed);
    int *first = calloc(2 * ntensors, sizeof *first), *last = first + ntensors, err = HONE_OK;
    if (!block || !placed || !first) {
        err = hone_fail(HONE_ENOMEM, "an arena of %zu tensors", ntensors);
    } else {
        hone_net_lifetimes(net, first, last);
        take_over(net, first, last);
        plan(net, block, placed, find_blocks(net, block, first, last));
    }
    free(block);
    free(placed);
    free(first);
    return err;
}
