/* Softmax and cross-entropy with classes in the lanes, whatever lines rows begin in: a group of
 * rows is one run of whole vectors, and a vector that holds the end of one row and the beginning of
 * the next belongs to both.  So all loads and stores are aligned, no lane is empty, and x is read
 * and DX written a line after the other.
 *
 * A group has its exponentials while the one before has its gradients, which go straight to DX,
 * past the caches if it is too large to be found there again, and while the next one's x is
 * fetched: memory is busy all the time.  Steps across lanes, of maxima and sums, are shared by as
 * many rows as there are lanes.  At the label, e minus the sum stands for e: its gradient then is
 * computed like the others. */
#include "kernels/gemm/pack.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/rows.h"

enum { STREAM, THREADS };
enum { ROWS = 16, LINE = HONE_ALIGN / sizeof(real),
       MOST = 2048 / sizeof(real) };   /* numbers in a row, for which caches have room; at most */

/* The lanes of v from n on, the others `fill`. */
HONE_INLINE vf last_lanes(vf v, int n, vf fill) { return first_lanes(fill, n, v); }

/* Lane i of the result is the largest of r[i]'s lanes, as hone_sum_lanes() has their sum. */
HONE_INLINE vf max_lanes(vf *r)
{
    HONE_UNROLLED for (int h = VL / 2; h; h /= 2)
        HONE_UNROLLED for (int i = 0; i < h; i++)
            r[i] = vf_max(vf_low(h, r[i], r[i + h]), vf_high(h, r[i], r[i + h]));
    return r[0];
}

struct group {
    int live;   /* rows of it that exist */
    const real *x;
    const int32_t *label;
    real *e, *y;   /* exponentials, gradients */
    real most[ROWS], sum[ROWS], factor[ROWS], depth[ROWS];
};

static inline void maxima(struct group *g, int n)
{
    const vf least = vf_set(-__builtin_inff());
    vf lanes[ROWS], head = least;
    const real *x = g->x;
    for (int i = 0, j = 0; i < ROWS; i++) {
        const int end = (i + 1) * n;
        vf most = vf_max(head, least);
        for (; j + VL <= end; j += VL) most = vf_max(vf_load(x + j), most);
        head = least;
        if (j < end) {
            const vf v = vf_load(x + j);
            most = vf_max(first_lanes(v, end - j, least), most);
            head = last_lanes(v, end - j, least);
            j += VL;
        }
        lanes[i] = most;
    }
    for (int i = 0; i < ROWS; i += VL) vf_store(g->most + i, max_lanes(lanes + i));
}

/* What each vector of a pass needs. */
struct pass {
    int exps, slopes, smooth, stream;
    int64_t ahead;
    const struct group *g, *before;   /* for exponentials, for gradients */
    vf rest, e, d;   /* e: the last exponentials, d: their arguments */
};

HONE_INLINE void pass(struct pass *p, int j, vf most, vf factor)
{
    if (p->exps) {
        if (p->stream && j % LINE == 0) __builtin_prefetch(p->g->x + j + p->ahead);
        p->d = vf_load(p->g->x + j) - most;
        p->e = exp_below(p->d);
        vf_store(p->g->e + j, p->e);
    }
    if (p->slopes) {
        const vf y = vf_load(p->before->e + j) * factor - p->rest;
        if (p->stream) vf_stream(p->before->y + j, y);
        else vf_store(p->before->y + j, y);
    }
}

/* Exponentials of g and their sums, where `smooth` those of their arguments, too; gradients of
 * `before`. */
HONE_INLINE void passes(int exps, int slopes, int smooth, int stream, struct group *g,
                        const struct group *before, int n, vf rest)
{
    const vf zero = { 0 };
    struct pass p = { exps, slopes, smooth, stream, (int64_t)ROWS * n, g, before, rest, zero,
                      zero };
    vf sums[ROWS], depths[ROWS], sum_head = zero, depth_head = zero;
    for (int i = 0, j = 0; i < ROWS; i++) {
        const int end = (i + 1) * n;
        const vf most = exps ? vf_set(g->most[i]) : zero,
                 factor = slopes ? vf_set(before->factor[i]) : zero;
        vf sum = sum_head, depth = depth_head;
        for (; j + VL <= end; j += VL) {
            pass(&p, j, most, factor);
            sum += p.e;
            if (smooth) depth += p.d;
        }
        sum_head = depth_head = zero;
        if (j < end) {
            const int k = end - j;
            pass(&p, j, exps ? first_lanes(most, k, vf_set(g->most[i + 1])) : zero,
                 slopes ? first_lanes(factor, k, vf_set(before->factor[i + 1])) : zero);
            sum += first_lanes(p.e, k, zero);
            sum_head = last_lanes(p.e, k, zero);
            if (smooth) {
                depth += first_lanes(p.d, k, zero);
                depth_head = last_lanes(p.d, k, zero);
            }
            j += VL;
        }
        sums[i] = sum, depths[i] = depth;
    }
    for (int i = 0; exps && i < ROWS; i += VL) {
        vf_store(g->sum + i, hone_sum_lanes(sums + i));
        if (smooth) vf_store(g->depth + i, hone_sum_lanes(depths + i));
    }
}

/* Losses and hits of a group, and what its gradients need. */
HONE_INLINE void finish(int smooth, struct group *g, int n, real s, real share, real *loss,
                        real *hit)
{
    real right[ROWS];
    for (int i = 0; i < ROWS; i++) right[i] = g->x[i * n + g->label[i]];
    for (int i = 0; i < ROWS; i += VL) {
        const vf sum = vf_load(g->sum + i);
        vf l = vf_log(sum) - (1 - s) * (vf_load(right + i) - vf_load(g->most + i));
        if (smooth) l -= s / (real)n * vf_load(g->depth + i);
        vf_store(g->factor + i, share / sum);
        if (i < g->live) vf_store_n(loss + i, l, g->live - i < VL ? g->live - i : VL);
    }
    for (int i = 0; i < ROWS; i++) {
        const int at = g->label[i];
        if (i < g->live)
            hit[i] = right[i] == g->most[i] && row_first(g->x + i * n, at, g->most[i]) < 0;
        g->e[i * n + at] -= (1 - s) * g->sum[i];
    }
}

static int64_t group_of(int n) { return (int64_t)ROWS * n; }

/* A thread's buffers, in numbers: exponentials twice, x and gradients of rows some of which do not
 * exist. */
static int64_t own_of(int n) { return 4 * group_of(n); }

/* Everything about rows [from, to), the first of which begins a line. */
HONE_INLINE void rows(int smooth, int stream, const struct hone_problem *p, void *const mem[],
                      int64_t from, int64_t to, real *own)
{
    const int n = p->dim[LOSS_N];
    const int64_t numbers = group_of(n);
    const real s = (real)p->value[CE_SMOOTH], share = 1 / (real)p->dim[LOSS_M];
    const vf rest = vf_set(s / (real)n * share);
    real *const x = own + 2 * numbers, *const y = own + 3 * numbers;
    int32_t none[ROWS] = { 0 };
    struct group group[2];
    int turn = 0;
    for (int64_t r = from; r < to; r += ROWS, turn = !turn) {
        struct group *g = &group[turn], *before = &group[!turn];
        g->live = to - r < ROWS ? (int)(to - r) : ROWS;
        g->x = (const real *)mem[CE_X] + r * n;
        g->label = (const int32_t *)mem[CE_LABEL] + r;
        g->e = own + turn * numbers;
        g->y = (real *)mem[CE_DX] + r * n;
        if (g->live < ROWS) {
            memset(x, 0, (size_t)numbers * sizeof *x);
            memcpy(x, g->x, (size_t)g->live * n * sizeof *x);
            memcpy(none, g->label, (size_t)g->live * sizeof *none);
            g->x = x, g->label = none, g->y = y;
        }
        /* A line that is waited for keeps all later ones of DX waiting. */
        if (stream) {
            __builtin_prefetch((const int32_t *)mem[CE_LABEL] + r + 4 * ROWS);
            for (int i = 0; i < ROWS; i += LINE) {
                __builtin_prefetch((real *)mem[CE_LOSS] + r + 4 * ROWS + i, 1);
                __builtin_prefetch((real *)mem[CE_HIT] + r + 4 * ROWS + i, 1);
            }
        }
        maxima(g, n);
        if (r == from) passes(1, 0, smooth, stream, g, before, n, rest);
        else passes(1, 1, smooth, stream, g, before, n, rest);
        finish(smooth, g, n, s, share, (real *)mem[CE_LOSS] + r, (real *)mem[CE_HIT] + r);
    }
    if (from == to) return;
    const struct group *last = &group[!turn];
    passes(0, 1, 0, stream && last->live == ROWS, NULL, last, n, rest);
    if (last->live < ROWS)
        memcpy((real *)mem[CE_DX] + (to - last->live) * n, y,
               (size_t)last->live * n * sizeof *y);
    if (stream) vf_stream_end();
}

static void rows_of(int stream, const struct hone_problem *p, void *const mem[], int64_t from,
                    int64_t to, real *own)
{
    const int smooth = p->value[CE_SMOOTH] != 0;
    if (smooth && stream) rows(1, 1, p, mem, from, to, own);
    else if (smooth) rows(1, 0, p, mem, from, to, own);
    else if (stream) rows(0, 1, p, mem, from, to, own);
    else rows(0, 0, p, mem, from, to, own);
}

extern const struct hone_kernel HONE_SYM(loss_cpu_lines);

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (p->dim[LOSS_N] < VL) return "fewer classes than a vector has lanes";
    return p->dim[LOSS_N] > MOST ? "rows are too long for 16 of them to stay in the caches" : NULL;
}

/* Where this is faster than cpu_softmax: the wider vectors are, the more of them are cut by rows'
 * ends and by those of lines. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return VB > 16 && p->dim[LOSS_N] <= 256;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    /* As convolutions do. */
    c->v[STREAM] = m * (double)n * sizeof(real) >
                   (double)(d->l3_bytes ? d->l3_bytes : d->l2_bytes) / 3;
    /* About a quarter of a nanosecond a number. */
    c->v[THREADS] = hone_guess_threads(d, m * (n * 2.5e-4));
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_lines), p, c, d))
        c->v[THREADS] /= 2;
}

/* Of a thread's buffers: whole pages, for two threads write at their edges. */
static int64_t own_size(const struct hone_problem *p)
{
    return (own_of(p->dim[LOSS_N]) + HONE_APART - 1) / HONE_APART * HONE_APART;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return (size_t)(c->v[THREADS] * own_size(p)) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    const int threads = c->v[THREADS], stream = c->v[STREAM];
    const int64_t m = p->dim[LOSS_M];
    if (threads == 1) {
        rows_of(stream, p, mem, 0, m, workspace);
        return HONE_OK;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        rows_of(stream, p, mem, hone_part(m, ROWS, threads, t), hone_part(m, ROWS, threads, t + 1),
                (real *)workspace + t * own_size(p));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_softmax_ce, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_lines) = {
    .name = HONE_NAME("cpu_lines"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("stream", 0, 1), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    /* Streaming pays only where the arguments together exceed the L2 cache. */
    .constraint = "(stream == 0 || bytes >= l2) && (threads == 1 || m >= 32 * threads)",
    .suits = suits,
    .refuse = refuse,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
