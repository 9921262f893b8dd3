/* Softmax and cross-entropy, some rows at a time in passes: maxima, exponentials with their sums,
 * logarithms and reciprocals (of all rows at once), gradients.  One row's chain of maximum, exp,
 * sum and log is long; in passes the chains of several rows overlap, few classes cost no more than
 * their share, and a row has its gradient while one of the next group has its exponentials: nothing
 * waits for the sums.  exp(x - max) rests in between in a buffer of whole vectors where rows are
 * short, else where the gradient goes.
 *
 * As many rows as stay in L1 with it: x comes from memory once, fetched while the rows before have
 * their exponentials.  A DX that is too large to be found in the caches again is made in a buffer,
 * from which whole lines go past them, wherever rows begin in a line: a vector at a time while
 * others have their exponentials, for many at once would keep the processor waiting. */
#include "kernels/backend/ahead.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/rows.h"

enum { UNROLL, STREAM, THREADS };
enum { ROWS = 32, SHORT = 64,   /* rows at a time, numbers in a short row; at most */
       LAG = 128,   /* numbers between what is written and what is read again to be put past */
       GROUP = 8192 / sizeof(real), LINE = HONE_ALIGN / sizeof(real) };   /* numbers */

/* Rows of n at a time. */
static inline int group_of(int n) { return n * ROWS <= GROUP ? ROWS : n < GROUP ? GROUP / n : 1; }

/* Numbers of one of a thread's buffers: a group of rows, and what the one before left of a line. */
static inline int64_t own_of(int n)
{
    return ((int64_t)group_of(n) * n + 2 * LINE - 1) / LINE * LINE;
}

/* What passes between memory and caches meanwhile: what lies `ahead` numbers behind x is fetched,
 * unless that is 0, and n numbers, whole lines, go to `to`. */
struct meanwhile {
    int64_t ahead, n;
    real *to;
    const real *from;
};

HONE_INLINE void pass(const struct meanwhile *w, const real *x, int64_t j)
{
    if (!w->ahead) return;
    if (j % LINE == 0) __builtin_prefetch(x + j + w->ahead);
    if (j < w->n) vf_stream(w->to + j, vf_load(w->from + j));
}

/* That n numbers of it, or all there were, are there. */
HONE_INLINE void passed(struct meanwhile *w, int64_t n)
{
    if (n > w->n) n = w->n;
    w->n -= n, w->to += n, w->from += n;
}

/* All that is left of it. */
HONE_INLINE void put_lines(struct meanwhile *w)
{
    for (; w->n > 0; passed(w, VL)) vf_stream(w->to, vf_load(w->from));
}

/* e = exp(x - most), n numbers, or where `whole` up to the end of a vector; returns the sum. */
HONE_INLINE real row_exp(int unroll, int whole, const real *x, int n, real most, real *e,
                         const struct meanwhile *w)
{
    const vf m = vf_set(most), zero = { 0 };
    vf sum[4] = { zero, zero, zero, zero };
    int j = 0;
    for (; j + unroll * VL <= n; j += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            pass(w, x, j + u * VL);
            vf v = exp_below(vf_load(x + j + u * VL) - m);
            vf_store(e + j + u * VL, v);
            sum[u] += v;
        }
    for (; unroll > 1 && j + VL <= n; j += VL) {
        pass(w, x, j);
        vf v = exp_below(vf_load(x + j) - m);
        vf_store(e + j, v);
        sum[0] += v;
    }
    if (j < n) {
        pass(w, x, j);
        vf v = first_lanes(exp_below(vf_load_n(x + j, n - j) - m), n - j, zero);
        if (whole) vf_store(e + j, v);
        else vf_store_n(e + j, v, n - j);
        sum[0] += v;
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Sum of x - most. */
static inline real row_depth(const real *x, int n, real most)
{
    const vf m = vf_set(most), zero = { 0 };
    vf sum = zero;
    int j = 0;
    for (; j + VL <= n; j += VL) sum += vf_load(x + j) - m;
    if (j < n) sum += first_lanes(vf_load_n(x + j, n - j) - m, n - j, zero);
    return vf_sum(sum);
}

/* dx = factor e - target, which is `at` at the label and `else_` elsewhere; e may lie where dx
 * does, or (`whole`) in whole vectors. */
HONE_INLINE void row_gradient(int whole, const real *e, int n, real factor, int label, real at,
                              real else_, real *dx)
{
    const vf rest = vf_set(else_);
    const real labelled = e[label] * factor - at;
    int j = 0;
    for (; j + VL <= n; j += VL) vf_store(dx + j, vf_load(e + j) * factor - rest);
    if (j < n) {
        vf last = whole ? vf_load(e + j) : vf_load_n(e + j, n - j);
        vf_store_n(dx + j, last * factor - rest, n - j);
    }
    dx[label] = labelled;
}

/* Rows that are worked on together. */
struct group {
    int rows;
    const real *x;
    const int32_t *label;
    real *loss, *hit, *e, *y;   /* e, y: exponentials, gradients */
    real most[ROWS], sum[ROWS], factor[ROWS];
};

/* What a row's target is made of. */
struct target { real share, smooth, spread; };

/* Loss, hit and gradient of row i of a group. */
HONE_INLINE void finish_row(int whole, const struct group *g, int i, int n, int64_t stride,
                            const struct target *t)
{
    const int at = g->label[i];
    const real *row = g->x + (int64_t)i * n, most = g->most[i];
    real loss = g->sum[i] - (1 - t->smooth) * (row[at] - most);
    if (t->smooth != 0) loss -= t->spread * row_depth(row, n, most);
    g->loss[i] = loss;
    g->hit[i] = row[at] == most && row_first(row, at, most) < 0;
    row_gradient(whole, g->e + i * stride, n, g->factor[i], at,
                 (1 - t->smooth + t->spread) * t->share, t->spread * t->share,
                 g->y + (int64_t)i * n);
}

/* Everything about rows [from, to), the first of which begins a line of DX.  Where `stream`,
 * gradients are made in `own`, two buffers by turns: the last numbers of the group of rows before,
 * less than a line, then those of this one. */
HONE_INLINE void rows(int unroll, int whole, int stream, const struct hone_problem *p,
                      void *const mem[], int64_t from, int64_t to, real *own)
{
    const int n = p->dim[LOSS_N], most = group_of(n), in_loops = (n + VL - 1) / VL * VL;
    const int64_t stride = whole ? in_loops : n;
    /* Short rows have their gradients at once: together they wait less for LOSS and HIT.  So does a
     * row that fills L1. */
    const int at_once = whole || most == 1;
    const real smooth = (real)p->value[CE_SMOOTH];
    const struct target t = { 1 / (real)p->dim[LOSS_M], smooth, smooth / (real)n };
    real buffer[2][ROWS * SHORT] __attribute__((aligned(64)));
    struct group groups[2] = { { .rows = 0 } };
    int64_t left = 0;   /* numbers in `own` before the rows of the group, at `rest` */
    real *rest = own;
    struct meanwhile w = { .ahead = stream ? (int64_t)most * n : 0 };
    /* Once more than there are groups: it finishes the last. */
    for (int64_t r = from, turn = 0, more = 1; more; turn = !turn) {
        struct group *g = &groups[turn], *before = &groups[!turn];
        more = r < to;
        real *const out = own + turn * own_of(n), *const dx = (real *)mem[CE_DX] + r * n;
        const int64_t had = left, have = had + (int64_t)before->rows * n;
        int64_t lines = at_once ? have / LINE * LINE : 0;   /* numbers of `before` given to w */
        w.n = lines, w.to = dx - have, w.from = own + !turn * own_of(n);
        left = have % LINE;
        g->rows = to - r < most ? (int)(to - r) : most;
        g->x = (const real *)mem[CE_X] + r * n;
        g->label = (const int32_t *)mem[CE_LABEL] + r;
        g->loss = (real *)mem[CE_LOSS] + r, g->hit = (real *)mem[CE_HIT] + r;
        /* A line that is waited for keeps all later ones of DX waiting. */
        for (int i = 0; i < most; i += LINE) {
            __builtin_prefetch(g->label + 4 * most + i);
            __builtin_prefetch(g->loss + 4 * most + i, 1);
            __builtin_prefetch(g->hit + 4 * most + i, 1);
        }
        g->y = stream ? out + left : dx;
        g->e = whole ? buffer[turn] : g->y;
        for (int i = 0; i < g->rows; i++) g->most[i] = row_max(g->x + (int64_t)i * n, n);
        for (int i = 0; i < g->rows || (!at_once && i < before->rows); i++) {
            if (i < g->rows)
                g->sum[i] = row_exp(unroll, whole, g->x + (int64_t)i * n, n, g->most[i],
                                    g->e + i * stride, &w);
            if (stream && i < g->rows) passed(&w, in_loops);
            if (!at_once && i < before->rows) {
                finish_row(whole, before, i, n, stride, &t);
                const int64_t done = (had + (int64_t)(i + 1) * n - LAG) / LINE * LINE;
                if (done > lines) w.n += done - lines, lines = done;
            }
        }
        if (stream) {
            w.n += have / LINE * LINE - lines;
            put_lines(&w);
            memcpy(out, w.from, (size_t)left * sizeof *out);
            rest = out;
        }
        for (int i = g->rows; i < ROWS; i++) g->sum[i] = 1;
        for (int i = 0; i < g->rows; i += VL) {
            vf s = vf_load(g->sum + i);
            vf_store(g->factor + i, t.share / s);
            vf_store(g->sum + i, vf_log(s));
        }
        for (int i = 0; at_once && i < g->rows; i++) finish_row(whole, g, i, n, stride, &t);
        r += g->rows;
    }
    if (!stream) return;
    memcpy((real *)mem[CE_DX] + to * n - left, rest, (size_t)left * sizeof *rest);
    vf_stream_end();
}

static void part(const struct hone_plan *plan, void *const mem[], int64_t from, int64_t to,
                 real *out)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int *v = hone_plan_config(plan)->v, unroll = v[UNROLL], stream = v[STREAM];
    const int whole = p->dim[LOSS_N] <= SHORT;
    if (whole && stream) rows(1, 1, 1, p, mem, from, to, out);
    else if (whole) rows(1, 1, 0, p, mem, from, to, out);
    else if (unroll == 1 && stream) rows(1, 0, 1, p, mem, from, to, out);
    else if (unroll == 1) rows(1, 0, 0, p, mem, from, to, out);
    else if (unroll == 2 && stream) rows(2, 0, 1, p, mem, from, to, out);
    else if (unroll == 2) rows(2, 0, 0, p, mem, from, to, out);
    else if (stream) rows(4, 0, 1, p, mem, from, to, out);
    else rows(4, 0, 0, p, mem, from, to, out);
}

/* Numbers of the workspace that a thread has. */
static int64_t own_size(const struct hone_problem *p, const struct hone_config *c)
{
    return c->v[STREAM] ? rows_apart(2 * own_of(p->dim[LOSS_N])) : 0;
}

extern const struct hone_kernel HONE_SYM(loss_cpu_softmax);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* About 10 ns a row and half a nanosecond a number. */
    c->v[UNROLL] = p->dim[LOSS_N] > SHORT ? 2 : 1;
    c->v[STREAM] = rows_stream(p, d);
    c->v[THREADS] = hone_guess_threads(d, p->dim[LOSS_M] * (0.01 + p->dim[LOSS_N] * 5e-4));
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_softmax), p, c, d))
        c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return (size_t)(c->v[THREADS] * own_size(p, c)) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_config *c = hone_plan_config(plan);
    return rows_run(part, plan, c->v[THREADS], ROWS, own_size(hone_plan_problem(plan), c), mem,
                    workspace);
}

static const struct hone_op *const ops[] = { &hone_op_softmax_ce, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_softmax) = {
    .name = HONE_NAME("cpu_softmax"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("stream", 0, 1),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    /* Streaming pays only where the arguments together exceed the L2 cache. */
    .constraint = "(unroll == 1 || n > 64 && n >= unroll * lanes) && "
                  "(stream == 0 || bytes >= l2) && "
                  "(threads == 1 || m >= 32 * threads)",
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
