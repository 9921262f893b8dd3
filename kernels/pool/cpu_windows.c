/* Pooling forward with channels in the lanes: channels last makes every input of a window a run of
 * ic numbers, whatever the window's shape.  The pixels of a row whose windows are whole are one
 * loop; full windows of 2x2 and 3x3, which nets use, have loops of known length inside of it.
 * Threads share the rows of the output. */
#include "kernels/backend/cpu.h"
#include "kernels/pool/pool.h"

enum { BLOCK, THREADS };   /* vectors of channels at a time */

/* Neighbouring pixels of one row whose windows have one shape, h x w: where the first window
 * begins in x and its result lies in y, and how far the next one's are. */
struct pixels { const stored *x; stored *y; int n, h, w, ic; int64_t row, step; real scale; };

/* `block` vectors of channels from c on, the last of them of n lanes, of every pixel. */
HONE_INLINE void channels(int max, int block, int n, int h, int w, const struct pixels *job, int c)
{
    const struct pixels s = *job;
    const stored *x = s.x + c;
    stored *y = s.y + c;
    for (int o = 0; o < s.n; o++, x += s.step, y += s.ic) {
        vf v[4];
        HONE_UNROLLED
        for (int b = 0; b < block; b++)
            v[b] = !max ? (vf){ 0 } : n == VL ? vs_load(x + b * VL) : vs_load_n(x, n);
        for (int i = 0; i < h; i++)
            for (int j = 0; j < w; j++) {
                const stored *in = x + i * s.row + (int64_t)j * s.ic;
                HONE_UNROLLED
                for (int b = 0; b < block; b++) {
                    vf u = n == VL ? vs_load(in + b * VL) : vs_load_n(in, n);
                    v[b] = max ? vf_max(u, v[b]) : v[b] + u;
                }
            }
        HONE_UNROLLED
        for (int b = 0; b < block; b++) {
            if (!max) v[b] = v[b] * s.scale;
            if (n == VL) vs_store(y + b * VL, v[b]);
            else vs_store_n(y, v[b], n);
        }
    }
}

HONE_INLINE void all_channels(int max, int block, int h, int w, const struct pixels *s)
{
    int c = 0;
    for (; c + block * VL <= s->ic; c += block * VL) channels(max, block, VL, h, w, s, c);
    for (; block > 1 && c + VL <= s->ic; c += VL) channels(max, 1, VL, h, w, s, c);
    if (c < s->ic) channels(max, 1, s->ic - c, h, w, s, c);
}

/* Pixels [from, to) of the row that s->x and s->y begin; their windows have columns u. */
HONE_INLINE void some_pixels(int max, int block, const struct hone_problem *p,
                             const struct pixels *row, int from, int to, struct pool_span u)
{
    struct pixels s = *row;
    int area = p->attrs & 1 ? p->dim[POOL_KH] * p->dim[POOL_KW] : s.h * (u.to - u.from);
    s.x += (int64_t)u.from * s.ic;
    s.y += (int64_t)from * s.ic;
    s.n = to - from;
    s.w = u.to - u.from;
    s.scale = 1 / (real)area;
    if (s.h == 2 && s.w == 2) all_channels(max, block, 2, 2, &s);
    else if (s.h == 3 && s.w == 3) all_channels(max, block, 3, 3, &s);
    else all_channels(max, block, s.h, s.w, &s);
}

/* Rows [from, to) of the mb*oh rows of y. */
HONE_INLINE void rows(int max, int block, const struct hone_problem *p, const stored *x, stored *y,
                      int64_t from, int64_t to)
{
    const int32_t *d = p->dim;
    const int oh = d[POOL_OH], ow = d[POOL_OW], kw = d[POOL_KW], sw = d[POOL_SW], pw = d[POOL_PW],
              iw = d[POOL_IW];
    const struct pool_span whole = pool_whole(kw, sw, pw, iw, ow);
    struct pixels row = { .ic = d[POOL_IC],
                          .row = (int64_t)iw * d[POOL_IC],
                          .step = (int64_t)sw * d[POOL_IC] };
    for (int64_t r = from; r < to; r++) {
        struct pool_span v =
            pool_span((int)(r % oh), d[POOL_KH], d[POOL_SH], d[POOL_PH], d[POOL_IH]);
        row.x = x + (r / oh * d[POOL_IH] + v.from) * row.row;
        row.y = y + r * ow * row.ic;
        row.h = v.to - v.from;
        for (int o = 0; o < ow; o++) {
            int next = o == whole.from && whole.to > o ? whole.to : o + 1;
            some_pixels(max, block, p, &row, o, next, pool_span(o, kw, sw, pw, iw));
            o = next - 1;
        }
    }
}

typedef void rows_of(const struct hone_problem *p, const stored *x, stored *y, int64_t from,
                     int64_t to);

#define ROWS(MAX, BLOCK)                                                                           \
    static void rows_##MAX##_##BLOCK(const struct hone_problem *p, const stored *x, stored *y,         \
                                     int64_t from, int64_t to)                                     \
    {                                                                                              \
        rows(MAX, BLOCK, p, x, y, from, to);                                                       \
    }
ROWS(0, 1)
ROWS(0, 2) ROWS(0, 4) ROWS(1, 1) ROWS(1, 2) ROWS(1, 4)

    static rows_of *const variants[2][3] = { { rows_0_1, rows_0_2, rows_0_4 },
                                             { rows_1_1, rows_1_2, rows_1_4 } };

extern const struct hone_kernel HONE_SYM(pool_cpu_windows);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[BLOCK] = p->dim[POOL_IC] >= 4 * VL ? 4 : p->dim[POOL_IC] >= 2 * VL ? 2 : 1;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(pool_cpu_windows), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    rows_of *f = variants[p->op == &hone_op_maxpool_fwd][hone_plan_config(plan)->v[BLOCK] / 2];
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t n = (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH];
    (void)workspace;
    if (threads == 1) { f(p, mem[POOL_X], mem[POOL_Y], 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        f(p, mem[POOL_X], mem[POOL_Y], hone_part(n, 1, threads, t),
          hone_part(n, 1, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_maxpool_fwd, &hone_op_avgpool_fwd, 0 };

const struct hone_kernel HONE_SYM(pool_cpu_windows) = {
    .name = HONE_NAME("cpu_windows"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("block", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "(block == 1 || ic >= block * lanes) && (threads == 1 || mb * oh >= threads)",
    .guess = guess,
    .run = run,
};
