/* Gradients of pooling, window by window with channels in the lanes.
 *
 * Where windows do not overlap, each input belongs to one window at most and is written once: the
 * rows of the output are shared by the threads, each with the strip of input rows down to the next
 * window's.  Where they overlap, an image is cleared and its windows add to it in order, and
 * threads share images. */
#include "kernels/backend/cpu.h"
#include "kernels/pool/pool.h"

enum { BLOCK, THREADS };   /* vectors of channels at a time */

/* One output pixel's window: its corner in dx (and x, for the maximum), and its part inside. */
struct window { float *dx; const float *x, *dy; int h, w; int64_t row; float scale; };

/* Puts or adds `gradient` at dx, n lanes. */
HONE_INLINE void put(int add, int n, float *dx, vf gradient)
{
    if (add) gradient = gradient + (n == VL ? vf_load(dx) : vf_load_n(dx, n));
    if (n == VL) vf_store(dx, gradient);
    else vf_store_n(dx, gradient, n);
}

/* One vector of channels, of n lanes. */
HONE_INLINE void channels(int max, int add, int n, int h, int w, const struct window *win, int ic, int c)
{
    vf dy = n == VL ? vf_load(win->dy + c) : vf_load_n(win->dy + c, n), best = { 0 };
    vi at = { 0 };   /* the tap that holds the first maximum, lane by lane */
    if (!max) dy = dy * win->scale;
    for (int i = 0; max && i < h; i++)
        for (int j = 0; j < w; j++) {
            const float *x = win->x + i * win->row + (int64_t)j * ic + c;
            vf in = n == VL ? vf_load(x) : vf_load_n(x, n);
            if (i == 0 && j == 0) { best = in; continue; }
            vi tap = (vi){ 0 } + (i * w + j), more = in > best;
            at = (vi)vf_select(more, (vf)tap, (vf)at);
            best = vf_select(more, in, best);
        }
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            vi tap = (vi){ 0 } + (i * w + j);
            put(add, n, win->dx + i * win->row + (int64_t)j * ic + c, max ? vf_select(at == tap, dy, (vf){ 0 }) : dy);
        }
}

HONE_INLINE void pixel(int max, int add, int block, int h, int w, const struct window *win, int ic)
{
    int c = 0;
    for (; c + block * VL <= ic; c += block * VL)
        HONE_UNROLLED
        for (int b = 0; b < block; b++) channels(max, add, VL, h, w, win, ic, c + b * VL);
    for (; block > 1 && c + VL <= ic; c += VL) channels(max, add, VL, h, w, win, ic, c);
    if (c < ic) channels(max, add, ic - c, h, w, win, ic, c);
}

static int overlap(const struct hone_problem *p)
{
    return p->dim[POOL_KH] > p->dim[POOL_SH] || p->dim[POOL_KW] > p->dim[POOL_SW];
}

/* The input rows that belong to row o of windows, where windows do not overlap: its own, and
 * those that no window holds up to the next. */
static struct pool_span strip(const struct hone_problem *p, int o)
{
    const int32_t *d = p->dim;
    int from = o ? o * d[POOL_SH] - d[POOL_PH] : 0, to = (o + 1) * d[POOL_SH] - d[POOL_PH];
    return (struct pool_span){ from, o == d[POOL_OH] - 1 || to > d[POOL_IH] ? d[POOL_IH] : to };
}

/* Do a row's windows hold every column? */
static int columns_covered(const struct hone_problem *p)
{
    const int32_t *d = p->dim;
    return d[POOL_KW] >= d[POOL_SW] && (d[POOL_OW] - 1) * d[POOL_SW] - d[POOL_PW] + d[POOL_KW] >= d[POOL_IW];
}

/* Rows [from, to) of the mb*oh rows of windows; whole images where windows overlap. */
HONE_INLINE void rows(int max, int block, const struct hone_problem *p, float *dx, const float *dy, const float *x,
                      int64_t from, int64_t to)
{
    const int32_t *d = p->dim;
    const int ic = d[POOL_IC], oh = d[POOL_OH], ow = d[POOL_OW], include_pad = (int)(p->attrs & 1);
    const int add = overlap(p), covered = columns_covered(p);
    struct window win = { .row = (int64_t)d[POOL_IW] * ic };
    for (int64_t r = from; r < to; r++) {
        int o = (int)(r % oh);
        int64_t image = r / oh * d[POOL_IH];
        struct pool_span v = pool_span(o, d[POOL_KH], d[POOL_SH], d[POOL_PH], d[POOL_IH]), own = strip(p, o);
        if (add) own = (struct pool_span){ 0, o ? 0 : d[POOL_IH] };
        if (add || !covered || own.from != v.from || own.to != v.to)
            memset(dx + (image + own.from) * win.row, 0, (size_t)((own.to - own.from) * win.row) * sizeof *dx);
        win.h = v.to - v.from;
        for (int i = 0; i < ow; i++) {
            struct pool_span u = pool_span(i, d[POOL_KW], d[POOL_SW], d[POOL_PW], d[POOL_IW]);
            int64_t corner = (image + v.from) * win.row + (int64_t)u.from * ic;
            win.dx = dx + corner;
            win.x = max ? x + corner : NULL;
            win.dy = dy + (r * ow + i) * ic;
            win.w = u.to - u.from;
            win.scale = 1 / (include_pad ? (float)d[POOL_KH] * (float)d[POOL_KW] : (float)win.h * (float)win.w);
            if (add) pixel(max, 1, 1, win.h, win.w, &win, ic);
            else if (win.h == 2 && win.w == 2) pixel(max, 0, block, 2, 2, &win, ic);
            else pixel(max, 0, 1, win.h, win.w, &win, ic);
        }
    }
}

typedef void rows_of(const struct hone_problem *p, float *dx, const float *dy, const float *x, int64_t from, int64_t to);

#define ROWS(MAX, BLOCK)                                                                                          \
    static void rows_##MAX##_##BLOCK(const struct hone_problem *p, float *dx, const float *dy, const float *x,    \
                                     int64_t from, int64_t to)                                                    \
    {                                                                                                             \
        rows(MAX, BLOCK, p, dx, dy, x, from, to);                                                                 \
    }
ROWS(0, 1) ROWS(0, 2) ROWS(1, 1) ROWS(1, 2)

static rows_of *const variants[2][2] = { { rows_0_1, rows_0_2 }, { rows_1_1, rows_1_2 } };

/* Rows that go together: a whole image's where windows overlap. */
static int grain(const struct hone_problem *p) { return overlap(p) ? p->dim[POOL_OH] : 1; }

static int valid(const struct hone_problem *p, const struct hone_config *c, const struct hone_device *d)
{
    (void)d;
    if (c->v[BLOCK] > 1 && (overlap(p) || p->dim[POOL_IC] < c->v[BLOCK] * VL || p->dim[POOL_KH] != 2)) return 0;
    return c->v[THREADS] == 1 || (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH] / grain(p) >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[BLOCK] = 1;
    c->v[THREADS] = hone_guess_threads(d, hone_problem_bytes(p) / 10e3);   /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int max = p->op == &hone_op_maxpool_bwd, threads = plan->config.v[THREADS], whole = grain(p);
    rows_of *f = variants[max][plan->config.v[BLOCK] - 1];
    const int64_t n = (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH];
    float *dx = mem[POOL_DX];
    const float *dy = mem[POOL_DY], *x = max ? mem[POOL_BWD_X] : NULL;
    (void)workspace;
    if (threads == 1) { f(p, dx, dy, x, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        f(p, dx, dy, x, hone_part(n, whole, threads, t), hone_part(n, whole, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_maxpool_bwd, &hone_op_avgpool_bwd, 0 };

const struct hone_kernel HONE_SYM(pool_cpu_windows_bwd) = {
    .name = HONE_NAME("cpu_windows_bwd"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .param = { HONE_PARAM("block", 1, 2), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid, .guess = guess, .run = run,
};
