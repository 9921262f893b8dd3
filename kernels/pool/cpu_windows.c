/* Pooling forward, window by window with channels in the lanes: channels last makes every input of
 * a window a run of ic numbers, whatever the window's shape.  Full windows of 2x2 and 3x3, which
 * nets use, have loops of known length; threads share the rows of the output. */
#include "kernels/backend/cpu.h"
#include "kernels/pool/pool.h"

enum { BLOCK, THREADS };   /* vectors of channels at a time */

/* What one output pixel needs: the corner of its window in x, and the window's part inside. */
struct window { const float *x; int h, w; int64_t row; float scale; };

/* `block` vectors of channels from c on, the last of them of n lanes. */
HONE_INLINE void channels(int max, int block, int n, int h, int w, const struct window *win, int ic, int c, float *y)
{
    vf v[4];
    HONE_UNROLLED
    for (int b = 0; b < block; b++)
        v[b] = !max ? (vf){ 0 } : n == VL ? vf_load(win->x + c + b * VL) : vf_load_n(win->x + c, n);
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            const float *x = win->x + i * win->row + (int64_t)j * ic + c;
            HONE_UNROLLED
            for (int b = 0; b < block; b++) {
                vf in = n == VL ? vf_load(x + b * VL) : vf_load_n(x, n);
                v[b] = max ? vf_max(in, v[b]) : v[b] + in;
            }
        }
    HONE_UNROLLED
    for (int b = 0; b < block; b++) {
        if (!max) v[b] = v[b] * win->scale;
        if (n == VL) vf_store(y + c + b * VL, v[b]);
        else vf_store_n(y + c, v[b], n);
    }
}

HONE_INLINE void pixel(int max, int block, int h, int w, const struct window *win, int ic, float *y)
{
    int c = 0;
    for (; c + block * VL <= ic; c += block * VL) channels(max, block, VL, h, w, win, ic, c, y);
    for (; block > 1 && c + VL <= ic; c += VL) channels(max, 1, VL, h, w, win, ic, c, y);
    if (c < ic) channels(max, 1, ic - c, h, w, win, ic, c, y);
}

/* Rows [from, to) of the mb*oh rows of y. */
HONE_INLINE void rows(int max, int block, const struct hone_problem *p, const float *x, float *y, int64_t from, int64_t to)
{
    const int32_t *d = p->dim;
    const int ic = d[POOL_IC], oh = d[POOL_OH], ow = d[POOL_OW], include_pad = (int)(p->attrs & 1);
    struct window win = { .row = (int64_t)d[POOL_IW] * ic };
    for (int64_t r = from; r < to; r++) {
        struct pool_span v = pool_span((int)(r % oh), d[POOL_KH], d[POOL_SH], d[POOL_PH], d[POOL_IH]);
        const float *top = x + (r / oh * d[POOL_IH] + v.from) * win.row;
        win.h = v.to - v.from;
        for (int o = 0; o < ow; o++) {
            struct pool_span u = pool_span(o, d[POOL_KW], d[POOL_SW], d[POOL_PW], d[POOL_IW]);
            float *out = y + (r * ow + o) * ic;
            win.w = u.to - u.from;
            win.x = top + (int64_t)u.from * ic;
            win.scale = 1 / (include_pad ? (float)d[POOL_KH] * (float)d[POOL_KW] : (float)win.h * (float)win.w);
            if (win.h == 2 && win.w == 2) pixel(max, block, 2, 2, &win, ic, out);
            else if (win.h == 3 && win.w == 3) pixel(max, block, 3, 3, &win, ic, out);
            else pixel(max, block, win.h, win.w, &win, ic, out);
        }
    }
}

typedef void rows_of(const struct hone_problem *p, const float *x, float *y, int64_t from, int64_t to);

#define ROWS(MAX, BLOCK)                                                                                          \
    static void rows_##MAX##_##BLOCK(const struct hone_problem *p, const float *x, float *y, int64_t from, int64_t to) \
    {                                                                                                             \
        rows(MAX, BLOCK, p, x, y, from, to);                                                                      \
    }
ROWS(0, 1) ROWS(0, 2) ROWS(0, 4) ROWS(1, 1) ROWS(1, 2) ROWS(1, 4)

static rows_of *const variants[2][3] = { { rows_0_1, rows_0_2, rows_0_4 }, { rows_1_1, rows_1_2, rows_1_4 } };

static int valid(const struct hone_problem *p, const struct hone_config *c, const struct hone_device *d)
{
    (void)d;
    if (c->v[BLOCK] > 1 && p->dim[POOL_IC] < c->v[BLOCK] * VL) return 0;
    return c->v[THREADS] == 1 || (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH] >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[BLOCK] = p->dim[POOL_IC] >= 4 * VL ? 4 : p->dim[POOL_IC] >= 2 * VL ? 2 : 1;
    c->v[THREADS] = hone_guess_threads(d, hone_problem_bytes(p) / 10e3);   /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    rows_of *f = variants[p->op == &hone_op_maxpool_fwd][plan->config.v[BLOCK] / 2];
    const int threads = plan->config.v[THREADS];
    const int64_t n = (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH];
    (void)workspace;
    if (threads == 1) { f(p, mem[POOL_X], mem[POOL_Y], 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        f(p, mem[POOL_X], mem[POOL_Y], hone_part(n, 1, threads, t), hone_part(n, 1, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_maxpool_fwd, &hone_op_avgpool_fwd, 0 };

const struct hone_kernel HONE_SYM(pool_cpu_windows) = {
    .name = HONE_NAME("cpu_windows"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .param = { HONE_PARAM("block", 1, 2, 4), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
