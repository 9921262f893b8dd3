/* Distillation, a row at a time: the softmaxes of student and teacher at temperature t, and where
 * labels count at another temperature, the student's at 1; each is exp(x - max) in whole vectors
 * of workspace with its sum, and the gradient is one combination of them. */
#include "kernels/loss/loss.h"
#include "kernels/loss/rows.h"

enum { UNROLL, THREADS };

/* Room for a row's numbers three times. */
static int64_t stride(const struct hone_problem *p)
{
    return ((int64_t)p->dim[LOSS_N] + 15) / 16 * 16;
}

/* e = exp((x - most) inverse), 0 behind n up to the end of a vector; returns the sum. */
HONE_INLINE real row_exp(int unroll, const real *x, int n, real most, real inverse, real *e)
{
    const vf m = vf_set(most), f = vf_set(inverse), zero = { 0 };
    vf sum[2] = { zero, zero };
    int j = 0;
    for (; j + unroll * VL <= n; j += unroll * VL)
        HONE_UNROLLED
        for (int u = 0; u < unroll; u++) {
            vf v = vf_exp((vf_load(x + j + u * VL) - m) * f);
            vf_store(e + j + u * VL, v);
            sum[u] += v;
        }
    for (; j < n; j += VL) {
        int k = n - j < VL ? n - j : VL;
        vf v = first_lanes(vf_exp((vf_load_n(x + j, k) - m) * f), k, zero);
        vf_store(e + j, v);
        sum[0] += v;
    }
    return vf_sum(sum[0] + sum[1]);
}

/* Sum of q (most - x), whose numbers are all at least 0. */
static inline real row_below(const real *q, const real *x, int n, real most)
{
    const vf m = vf_set(most);
    vf sum = { 0 };
    int j = 0;
    for (; j + VL <= n; j += VL) sum += vf_load(q + j) * (m - vf_load(x + j));
    if (j < n) sum += vf_load(q + j) * (m - vf_load_n(x + j, n - j));   /* q is 0 behind n */
    return vf_sum(sum);
}

/* dx = a s - b q + c h; c 0: without h. */
static inline void row_gradient(const real *s, real a, const real *q, real b, const real *h, real c,
                                int n, real *dx)
{
    for (int j = 0; j < n; j += VL) {
        vf v = vf_load(s + j) * a - vf_load(q + j) * b;
        if (c != 0) v += vf_load(h + j) * c;
        vf_store_n(dx + j, v, n - j < VL ? n - j : VL);
    }
}

static real scalar_log(real x) { return vf_log(vf_set(x))[0]; }

/* Rows [from, to); room: three rows. */
HONE_INLINE void rows(int unroll, const struct hone_problem *p, void *const mem[], real *room,
                      int64_t from, int64_t to)
{
    const int n = p->dim[LOSS_N];
    const real share = 1 / (real)p->dim[LOSS_M], t = (real)p->value[DISTILL_T],
               mix = (real)p->value[DISTILL_MIX];
    const real inverse = 1 / t, hard_share = (real)(1 - p->value[DISTILL_MIX]);
    const int hard = hard_share > 0,
              own = hard && t != 1; /* at temperature 1 both softmaxes are one */
    const int32_t *label = mem[DISTILL_LABEL];
    real *loss = mem[DISTILL_LOSS], *hit = mem[DISTILL_HIT], *s = room, *q = room + stride(p),
         *h = q + stride(p);
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)mem[DISTILL_X] + r * n,
                   *z = (const real *)mem[DISTILL_Z] + r * n;
        real *dx = (real *)mem[DISTILL_DX] + r * n, most = row_max(x, n);
        real s_sum = row_exp(unroll, x, n, most, inverse, s),
             q_sum = row_exp(unroll, z, n, row_max(z, n), inverse, q);
        real h_sum = own ? row_exp(unroll, x, n, most, 1, h) : s_sum, soft = mix * t * share;
        int at = label[r];
        loss[r] = mix * t * t * (scalar_log(s_sum) + row_below(q, x, n, most) * inverse / q_sum);
        if (hard) loss[r] += hard_share * (scalar_log(h_sum) + (most - x[at]));
        hit[r] = row_first(x, n, most) == at;
        if (own)
            row_gradient(s, soft / s_sum, q, soft / q_sum, h, hard_share * share / h_sum, n, dx);
        else row_gradient(s, (soft + hard_share * share) / s_sum, q, soft / q_sum, h, 0, n, dx);
        dx[at] -= hard_share * share;
    }
}

static void rows_unrolled(int unroll, const struct hone_problem *p, void *const mem[], real *room,
                          int64_t from, int64_t to)
{
    if (unroll == 1) rows(1, p, mem, room, from, to);
    else rows(2, p, mem, room, from, to);
}

extern const struct hone_kernel HONE_SYM(loss_cpu_distill);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* About 60 ns a row and a nanosecond a number. */
    c->v[UNROLL] = p->dim[LOSS_N] >= 4 * VL ? 2 : 1;
    c->v[THREADS] = hone_guess_threads(d, p->dim[LOSS_M] * (0.06 + p->dim[LOSS_N] * 1e-3));
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_distill), p, c, d))
        c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return (size_t)(3 * stride(p) * c->v[THREADS]) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS],
              unroll = hone_plan_config(plan)->v[UNROLL];
    const int64_t m = p->dim[LOSS_M], each = 3 * stride(p);
    real *room = workspace;
    if (threads == 1) { rows_unrolled(unroll, p, mem, room, 0, m); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        rows_unrolled(unroll, p, mem, room + t * each, hone_part(m, 16, threads, t),
                      hone_part(m, 16, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_distill, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_distill) = {
    .name = HONE_NAME("cpu_distill"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("unroll", 1, 2), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "(unroll == 1 || n >= unroll * lanes) && (threads == 1 || m >= 16 * threads)",
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
