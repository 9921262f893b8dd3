/* Softmax and cross-entropy, some rows at a time in passes: maxima, exponentials with their sums,
 * logarithms and reciprocals (of all rows at once), gradients.  One row's chain of maximum, exp,
 * sum and log is long; in passes the chains of several rows overlap, and few classes cost no more
 * than their share.  exp(x - max) rests between the passes in a buffer of whole vectors where rows
 * are short, else where the gradient goes.
 *
 * As many rows as stay in L1 with it: x comes from memory once, fetched while the rows before have
 * their exponentials.  A DX that is too large to be found in the caches again is made in a buffer,
 * from which whole lines go past them, wherever rows begin in a line: a vector at a time while the
 * next rows have their exponentials, for many at once would keep the processor waiting. */
#include "kernels/backend/ahead.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/rows.h"

enum { UNROLL, STREAM, THREADS };
enum { ROWS = 32, SHORT = 64,   /* rows at a time, numbers in a short row; at most */
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

/* All that is left of it. */
HONE_INLINE void put_lines(struct meanwhile *w)
{
    for (; w->n > 0; w->n -= VL, w->to += VL, w->from += VL) vf_stream(w->to, vf_load(w->from));
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
            vf v = vf_exp_down(vf_load(x + j + u * VL) - m);
            vf_store(e + j + u * VL, v);
            sum[u] += v;
        }
    for (; unroll > 1 && j + VL <= n; j += VL) {
        pass(w, x, j);
        vf v = vf_exp_down(vf_load(x + j) - m);
        vf_store(e + j, v);
        sum[0] += v;
    }
    if (j < n) {
        pass(w, x, j);
        vf v = first_lanes(vf_exp_down(vf_load_n(x + j, n - j) - m), n - j, zero);
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

/* Everything about rows [from, to), the first of which begins a line of DX.  Where `stream`,
 * gradients are made in `own`, two buffers by turns: the last numbers of the group of rows before,
 * less than a line, then those of this one. */
HONE_INLINE void rows(int unroll, int whole, int stream, const struct hone_problem *p,
                      void *const mem[], int64_t from, int64_t to, real *own)
{
    const int n = p->dim[LOSS_N], group = group_of(n), in_loops = (n + VL - 1) / VL * VL;
    const real share = 1 / (real)p->dim[LOSS_M], smooth = (real)p->value[CE_SMOOTH],
               spread = smooth / (real)n;
    const int32_t *label = mem[CE_LABEL];
    real *loss = mem[CE_LOSS], *hit = mem[CE_HIT], most[ROWS], sum[ROWS], factor[ROWS];
    real buffer[ROWS * SHORT] __attribute__((aligned(64)));
    const int64_t stride = whole ? in_loops : n;
    real *out = own, *next = own + own_of(n);
    int64_t left = 0;   /* numbers of the group before in `out` */
    struct meanwhile w = { .ahead = stream ? (int64_t)group * n : 0 };
    for (int64_t r = from; r < to; r += group) {
        const real *x = (const real *)mem[CE_X] + r * n;
        real *dx = (real *)mem[CE_DX] + r * n, *y = stream ? out + left : dx,
             *e = whole ? buffer : y;
        const int k = to - r < group ? (int)(to - r) : group;
        for (int i = 0; i < k; i++) most[i] = row_max(x + (int64_t)i * n, n);
        for (int i = 0; i < k; i++) {
            sum[i] = row_exp(unroll, whole, x + (int64_t)i * n, n, most[i], e + i * stride, &w);
            w.n -= in_loops, w.to += in_loops, w.from += in_loops;
        }
        for (int i = k; i < ROWS; i++) sum[i] = 1;
        for (int i = 0; i < k; i += VL) {
            vf s = vf_load(sum + i);
            vf_store(factor + i, share / s);
            vf_store(sum + i, vf_log(s));
        }
        for (int i = 0; i < k; i++) {
            const int at = label[r + i];
            const real *row = x + (int64_t)i * n;
            loss[r + i] = sum[i] - (1 - smooth) * (row[at] - most[i]);
            if (smooth != 0) loss[r + i] -= spread * row_depth(row, n, most[i]);
            hit[r + i] = row[at] == most[i] && row_first(row, at, most[i]) < 0;
            row_gradient(whole, e + i * stride, n, factor[i], at, (1 - smooth + spread) * share,
                         spread * share, y + (int64_t)i * n);
        }
        if (!stream) continue;
        put_lines(&w);
        const int64_t have = left + (int64_t)k * n;
        w.n = have / LINE * LINE, w.to = dx - left, w.from = out;
        left = have - w.n;
        memcpy(next, out + w.n, (size_t)left * sizeof *out);
        real *turn = out;
        out = next, next = turn;
    }
    if (!stream) return;
    put_lines(&w);
    memcpy((real *)mem[CE_DX] + to * n - left, out, (size_t)left * sizeof *out);
    vf_stream_end();
}

static void rows_unrolled(int unroll, int stream, const struct hone_problem *p, void *const mem[],
                          int64_t from, int64_t to, real *out)
{
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

/* Numbers of a thread's buffers. */
static int64_t own_size(const struct hone_problem *p, const struct hone_config *c)
{
    return c->v[STREAM] ? 2 * own_of(p->dim[LOSS_N]) : 0;
}

extern const struct hone_kernel HONE_SYM(loss_cpu_softmax);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* About 10 ns a row and half a nanosecond a number. */
    c->v[UNROLL] = p->dim[LOSS_N] > SHORT ? 2 : 1;
    /* As convolutions do. */
    c->v[STREAM] = p->dim[LOSS_M] * (double)p->dim[LOSS_N] * sizeof(real) >
                   (double)(d->l3_bytes ? d->l3_bytes : d->l2_bytes) / 3;
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
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    const int threads = c->v[THREADS], unroll = c->v[UNROLL], stream = c->v[STREAM];
    const int64_t m = p->dim[LOSS_M];
    if (threads == 1) {
        rows_unrolled(unroll, stream, p, mem, 0, m, workspace);
        return HONE_OK;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        rows_unrolled(unroll, stream, p, mem, hone_part(m, ROWS, threads, t),
                      hone_part(m, ROWS, threads, t + 1), (real *)workspace + t * own_size(p, c));
    return HONE_OK;
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
