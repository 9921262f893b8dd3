/* Softmax and cross-entropy, 16 rows at a time in passes: maxima, exponentials with their sums,
 * logarithms and reciprocals (of all 16 at once), scaling.  One row's chain of maximum, exp, sum
 * and log is long; in passes the chains of 16 rows overlap, and few classes cost no more than
 * their share.  exp(x - max) rests in DX between the passes. */
#include "kernels/activation/vector.h"
#include "kernels/loss/loss.h"

enum { UNROLL, THREADS };
enum { ROWS = 16 };

/* The first n lanes of v, the others `fill`. */
static inline vf first_lanes(vf v, int n, vf fill)
{
    static const int32_t lanes[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    vi lane;
    memcpy(&lane, lanes, sizeof lane);
    return vf_select(lane < (vi){ 0 } + n, v, fill);
}

static inline float row_max(const float *x, int n)
{
    vf least = vf_set(-__builtin_inff()), most = least;
    int j = 0;
    for (; j + VL <= n; j += VL) most = vf_max(vf_load(x + j), most);
    if (j < n) most = vf_max(first_lanes(vf_load_n(x + j, n - j), n - j, least), most);
    return vf_most(most);
}

/* e = exp(x - most); returns the sum. */
HONE_INLINE float row_exp(int unroll, const float *x, int n, float most, float *e)
{
    const vf m = vf_set(most), zero = { 0 };
    vf sum[4] = { zero, zero, zero, zero };
    int j = 0;
    for (; j + unroll * VL <= n; j += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            vf v = vf_exp(vf_load(x + j + u * VL) - m);
            vf_store(e + j + u * VL, v);
            sum[u] += v;
        }
    for (; unroll > 1 && j + VL <= n; j += VL) {
        vf v = vf_exp(vf_load(x + j) - m);
        vf_store(e + j, v);
        sum[0] += v;
    }
    if (j < n) {
        vf v = first_lanes(vf_exp(vf_load_n(x + j, n - j) - m), n - j, zero);
        vf_store_n(e + j, v, n - j);
        sum[0] += v;
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static inline void row_scale(float *e, int n, float factor)
{
    int j = 0;
    for (; j + VL <= n; j += VL) vf_store(e + j, vf_load(e + j) * factor);
    if (j < n) vf_store_n(e + j, vf_load_n(e + j, n - j) * factor, n - j);
}

/* Is the first of the largest at `label`? */
static inline float row_hit(const float *x, int label, float most)
{
    int earlier = x[label] != most;
    if (!earlier)
        for (int j = 0; j < label; j++) earlier |= x[j] == most;
    return earlier ? 0 : 1;
}

/* Everything about rows [from, to). */
HONE_INLINE void rows(int unroll, const struct hone_problem *p, void *const mem[], int64_t from, int64_t to)
{
    const int n = p->dim[LOSS_N];
    const float share = 1 / (float)p->dim[LOSS_M];
    const int32_t *label = mem[CE_LABEL];
    float *loss = mem[CE_LOSS], *hit = mem[CE_HIT], most[ROWS], sum[ROWS], factor[ROWS];
    for (int64_t r = from; r < to; r += ROWS) {
        const float *x = (const float *)mem[CE_X] + r * n;
        float *dx = (float *)mem[CE_DX] + r * n;
        int k = to - r < ROWS ? (int)(to - r) : ROWS;
        for (int i = 0; i < k; i++) most[i] = row_max(x + (int64_t)i * n, n);
        for (int i = 0; i < k; i++) sum[i] = row_exp(unroll, x + (int64_t)i * n, n, most[i], dx + (int64_t)i * n);
        for (int i = k; i < ROWS; i++) sum[i] = 1;
        for (int i = 0; i < ROWS; i += VL) {
            vf s = vf_load(sum + i);
            vf_store(factor + i, share / s);
            vf_store(sum + i, vf_log(s));
        }
        for (int i = 0; i < k; i++) {
            int at = label[r + i];
            const float *row = x + (int64_t)i * n;
            loss[r + i] = sum[i] - (row[at] - most[i]);
            hit[r + i] = row_hit(row, at, most[i]);
            row_scale(dx + (int64_t)i * n, n, factor[i]);
            dx[(int64_t)i * n + at] -= share;
        }
    }
}

static void rows_unrolled(int unroll, const struct hone_problem *p, void *const mem[], int64_t from, int64_t to)
{
    if (unroll == 1) rows(1, p, mem, from, to);
    else if (unroll == 2) rows(2, p, mem, from, to);
    else rows(4, p, mem, from, to);
}

static int valid(const struct hone_problem *p, const struct hone_config *c, const struct hone_device *d)
{
    (void)d;
    if (c->v[UNROLL] > 1 && p->dim[LOSS_N] < c->v[UNROLL] * VL) return 0;
    return c->v[THREADS] == 1 || p->dim[LOSS_M] >= ROWS * c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* About 10 ns a row and half a nanosecond a number. */
    c->v[UNROLL] = p->dim[LOSS_N] >= 8 * VL ? 2 : 1;
    c->v[THREADS] = hone_guess_threads(d, p->dim[LOSS_M] * (0.01 + p->dim[LOSS_N] * 5e-4));
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int threads = plan->config.v[THREADS], unroll = plan->config.v[UNROLL];
    const int64_t m = p->dim[LOSS_M];
    (void)workspace;
    if (threads == 1) { rows_unrolled(unroll, p, mem, 0, m); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        rows_unrolled(unroll, p, mem, hone_part(m, ROWS, threads, t), hone_part(m, ROWS, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_softmax_ce, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_softmax) = {
    .name = HONE_NAME("cpu_softmax"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .param = { HONE_PARAM("unroll", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
