/* Softmax and cross-entropy with classes in the lanes, whatever lines rows begin in: a group of
 * rows is one run of whole vectors, and a vector that holds the end of one row and the beginning of
 * the next belongs to both.  So all loads and stores are aligned, no lane is empty, and x is read
 * and DX written a line after the other.
 *
 * A group has its exponentials while the one before has its gradients, which go straight to DX,
 * past the caches if it is too large to be found there again, and the next one its maxima, while
 * x of the one after that is fetched: one pass is all there is, and memory is busy all the time.
 * Steps across lanes, of maxima and sums, are shared by as many rows as there are lanes.  At the
 * label, e minus the sum stands for e: its gradient then is computed like the others. */
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
    real *e, *y, *loss, *hit;   /* e, y: exponentials, gradients */
    real most[ROWS], sum[ROWS], factor[ROWS], depth[ROWS];
};

/* A pass over groups: exponentials of `g`, gradients of `before`, maxima of `next`; NULL: none. */
struct pass {
    struct group *g, *before, *next;
    int64_t ahead;   /* numbers from next's x to what is fetched; 0: nothing is */
    int stream;
    vf rest;
    vf e, d, x;   /* the last exponentials, their arguments, and numbers of next */
};

HONE_INLINE void step(struct pass *p, int j, vf most, vf factor)
{
    if (p->next) {
        if (p->ahead && j % LINE == 0) __builtin_prefetch(p->next->x + j + p->ahead);
        p->x = vf_load(p->next->x + j);
    }
    if (p->g) {
        p->d = vf_load(p->g->x + j) - most;
        p->e = exp_below(p->d);
        vf_store(p->g->e + j, p->e);
    }
    if (p->before) {
        const vf y = vf_load(p->before->e + j) * factor - p->rest;
        if (p->stream) vf_stream(p->before->y + j, y);
        else vf_store(p->before->y + j, y);
    }
}

/* Where `smooth`, sums of the arguments, too. */
HONE_INLINE void pass(int smooth, struct pass p, int n)
{
    const vf zero = { 0 }, least = vf_set(-__builtin_inff());
    vf sums[ROWS], depths[ROWS], mosts[ROWS], sum = zero, depth = zero, larger = least;
    p.e = p.d = zero, p.x = least;
    for (int i = 0, j = 0; i < ROWS; i++) {
        const int end = (i + 1) * n;
        const vf most = p.g ? vf_set(p.g->most[i]) : zero,
                 factor = p.before ? vf_set(p.before->factor[i]) : zero;
        for (; j + VL <= end; j += VL) {
            step(&p, j, most, factor);
            sum += p.e;
            if (smooth) depth += p.d;
            larger = vf_max(p.x, larger);
        }
        sums[i] = sum, depths[i] = depth, mosts[i] = larger;
        sum = depth = zero, larger = least;
        if (j < end) {
            const int k = end - j;
            step(&p, j, p.g ? first_lanes(most, k, vf_set(p.g->most[i + 1])) : zero,
                 p.before ? first_lanes(factor, k, vf_set(p.before->factor[i + 1])) : zero);
            sums[i] += first_lanes(p.e, k, zero), sum = last_lanes(p.e, k, zero);
            if (smooth) {
                depths[i] += first_lanes(p.d, k, zero);
                depth = last_lanes(p.d, k, zero);
            }
            mosts[i] = vf_max(first_lanes(p.x, k, least), mosts[i]);
            larger = vf_max(last_lanes(p.x, k, least), least);
            j += VL;
        }
    }
    for (int i = 0; i < ROWS; i += VL) {
        if (p.next) vf_store(p.next->most + i, max_lanes(mosts + i));
        if (p.g) vf_store(p.g->sum + i, hone_sum_lanes(sums + i));
        if (p.g && smooth) vf_store(p.g->depth + i, hone_sum_lanes(depths + i));
    }
}

/* The first and the last passes, where some groups are missing: the compiler shall see which. */
static void pass_some(int smooth, struct pass p, int n)
{
    if (p.g && p.before) p.next = NULL, pass(smooth, p, n);
    else if (p.g && p.next) p.before = NULL, pass(smooth, p, n);
    else if (p.g) p.before = p.next = NULL, pass(smooth, p, n);
    else if (p.next) p.g = p.before = NULL, pass(smooth, p, n);
    else p.g = p.next = NULL, pass(smooth, p, n);
}

HONE_INLINE void pass_all(int smooth, int stream, struct pass p, int n)
{
    p.stream = stream;
    pass(smooth, p, n);
}

/* Losses and hits of a group, and what its gradients need. */
HONE_INLINE void finish(int smooth, struct group *g, int n, real s, real share)
{
    const vf zero = { 0 };
    real right[ROWS];
    for (int i = 0; i < ROWS; i++) right[i] = g->x[i * n + g->label[i]];
    for (int i = 0; i < ROWS && i < g->live; i += VL) {
        const int live = g->live - i < VL ? g->live - i : VL;
        const vf sum = vf_load(g->sum + i), most = vf_load(g->most + i), at = vf_load(right + i);
        vf loss = vf_log(sum) - (1 - s) * (at - most);
        if (smooth) loss -= s / (real)n * vf_load(g->depth + i);
        vf_store_n(g->loss + i, loss, live);
        vf_store_n(g->hit + i, vf_select(at == most, vf_set(1), zero), live);
        /* Of several largest the first counts. */
        for (unsigned left = vf_bits(at == most) & ((1u << live) - 1); left; left &= left - 1) {
            const int l = i + __builtin_ctz(left);
            if (row_first(g->x + l * n, g->label[l], g->most[l]) >= 0) g->hit[l] = 0;
        }
        vf_store(g->factor + i, share / sum);
    }
    for (int i = 0; i < ROWS; i++) g->e[i * n + g->label[i]] -= (1 - s) * g->sum[i];
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
    real *const x = own + 2 * numbers, *const y = own + 3 * numbers;
    int32_t none[ROWS] = { 0 };
    struct group group[3], *before = NULL, *g = NULL;
    int64_t r = from;
    for (int i = 0; r < to || g || before; i++) {
        struct group *next = NULL;
        if (r < to) {
            next = &group[i % 3];
            *next = (struct group){
                .live = to - r < ROWS ? (int)(to - r) : ROWS, .x = (const real *)mem[CE_X] + r * n,
                .label = (const int32_t *)mem[CE_LABEL] + r, .e = own + i % 2 * numbers,
                .y = (real *)mem[CE_DX] + r * n, .loss = (real *)mem[CE_LOSS] + r,
                .hit = (real *)mem[CE_HIT] + r
            };
            /* A line that is waited for keeps all later ones of DX waiting. */
            if (stream) {
                __builtin_prefetch(next->label + 4 * ROWS);
                for (int l = 0; l < ROWS; l += LINE) {
                    __builtin_prefetch(next->loss + 4 * ROWS + l, 1);
                    __builtin_prefetch(next->hit + 4 * ROWS + l, 1);
                }
            }
            if (next->live < ROWS) {
                memset(x, 0, (size_t)numbers * sizeof *x);
                memcpy(x, next->x, (size_t)next->live * n * sizeof *x);
                memcpy(none, next->label, (size_t)next->live * sizeof *none);
                next->x = x, next->label = none, next->y = y;
            }
            r += next->live;
        }
        struct pass w = { .g = g, .before = before, .next = next, .ahead = stream ? numbers : 0,
                          .stream = stream && before && before->live == ROWS,
                          .rest = vf_set(s / (real)n * share) };
        if (g && before && next) pass_all(smooth, stream, w, n);
        else pass_some(smooth, w, n);
        if (g) finish(smooth, g, n, s, share);
        if (before && before->live < ROWS)
            memcpy((real *)mem[CE_DX] + (to - before->live) * n, y,
                   (size_t)before->live * n * sizeof *y);
        before = g, g = next;
    }
    if (stream) vf_stream_end();
}

static void part(const struct hone_plan *plan, void *const mem[], int64_t from, int64_t to,
                 real *own)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int stream = hone_plan_config(plan)->v[STREAM];
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

/* Where x of three groups and exponentials of two find room in L1 together.  Else cpu_softmax is as
 * fast, and faster where x is beyond the caches. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    return 5 * group_of(p->dim[LOSS_N]) * (int64_t)sizeof(real) <= d->l1_bytes;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    c->v[STREAM] = rows_stream(p, d);
    /* About a quarter of a nanosecond a number. */
    c->v[THREADS] = hone_guess_threads(d, m * (n * 2.5e-4));
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_lines), p, c, d))
        c->v[THREADS] /= 2;
}

/* Numbers of the workspace that a thread has. */
static int64_t own_size(const struct hone_problem *p) { return rows_apart(own_of(p->dim[LOSS_N])); }

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return (size_t)(c->v[THREADS] * own_size(p)) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    return rows_run(part, plan, hone_plan_config(plan)->v[THREADS], ROWS,
                    own_size(hone_plan_problem(plan)), mem, workspace);
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
