/* Convolution of bf16, forward and data gradient (gather.h), in blocks of products (dots.h) with
 * pixels of one output row in a block's rows: the channels under a row of the kernel then lie in
 * one run, so that taps of few channels share a tile's steps, tiles of A overlap, and what is
 * written lies side by side.  For wide images; cpu_dots.c has those of small ones.
 *
 * A thread has one image at a time, with zeros beside its rows in scratch memory.  `rows` of the
 * output are computed for one panel of 32 channels after the other. */
#include "kernels/backend/cpu.h"
#include "kernels/backend/dots.h"
#include "kernels/conv2d/gather.h"

#include <string.h>

enum { ROWS, STREAM, THREADS };
enum { LEAST = 12 };   /* pixels in a row: a tile has 16 */

struct layout {
    struct gather q;
    struct conv_axis h, w;
    int inc;                    /* channels of a pixel in scratch memory: an even number */
    int left;                   /* pixels of zeros before a row */
    int runs, run;              /* under a row of the kernel: runs of so many numbers */
    int steps, nsteps;          /* tiles of a run, which fill it: none multiplies what is behind */
    int rows, panels;           /* rows of output at a time, panels of 32 output channels */
    int64_t row, scratch;       /* numbers of scratch memory of an input row, of a thread */
    int64_t tap, panel;         /* numbers of a packed panel's row of the kernel, of the panel */
};

struct job {
    struct layout l;
    enum hone_act act;
    int stream;
    const stored *in, *w;
    const real *bias;           /* NULL: none */
    stored *out, *weights;
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

/* The most steps of a tile that divide a run of so many numbers, which are even. */
static int steps_of(int run)
{
    int steps = least(run, DOTS_STEPS);
    while (run % steps || steps % 2) steps--;
    return steps;
}

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p) };
    const struct gather *q = &l.q;
    l.h = gather_h(q, 0);
    l.w = gather_w(q, 0);
    l.inc = up(q->inc, 2) * 2;
    l.left = l.w.at < 0 ? -l.w.at : 0;
    const int end = (l.w.count - 1) * l.w.step + l.w.at + (l.w.n - 1) * l.w.dist + 1;
    const int columns = l.left + (end > q->in_w ? end : q->in_w), dense = l.w.dist == 1;
    l.runs = dense ? 1 : l.w.n;
    l.run = dense ? l.w.n * l.inc : l.inc;
    l.steps = steps_of(l.run);
    l.nsteps = l.run / l.steps;
    l.rows = least(c->v[ROWS], q->out_h);
    l.panels = up(q->outc, DOTS_BLOCK);
    l.row = (int64_t)columns * l.inc;
    /* The pixels of the last tile go on behind the last row. */
    l.scratch = whole_lines(l.row * q->in_h + DOTS_BLOCK * (int64_t)l.w.step * l.inc + l.run +
                          DOTS_STEPS);
    l.tap = (int64_t)l.runs * l.run * DOTS_BLOCK;
    l.panel = l.tap * l.h.n;
    return l;
}

/* The channels of a panel, which are fewer in the last. */
static int channels_of(const struct layout *l, int panel)
{
    return least(DOTS_BLOCK, l->q.outc - panel * DOTS_BLOCK);
}

/* ---- copies ---- */

/* Where the weights begin that output channel col has for number k of the run under a row of the
 * kernel; NULL: there are none, as the number of channels is odd. */
static const stored *weight_at(const struct job *j, int row, int k, int col)
{
    const struct gather *q = &j->l.q;
    const int tap = j->l.w.tap + k / j->l.inc * j->l.w.tap_step, in = k % j->l.inc;
    const int64_t filter = (int64_t)q->kh * q->kw * q->v.ic,
                  at = ((int64_t)row * q->kw + tap) * q->v.ic;
    if (in >= q->inc) return NULL;
    return j->w + at + (q->dgrad ? in * filter + col : col * filter + in);
}

/* A tile of B: n columns from col on, for the steps from k on. */
static void pack_tile(const struct job *j, int row, int k, int col, int n, stored *to)
{
    const struct gather *q = &j->l.q;
    const int64_t filter = (int64_t)q->kh * q->kw * q->v.ic;
    const int steps = j->l.steps;
    if (q->dgrad) {
        for (int i = 0; i < steps; i += 2, to += 2 * DOTS)
            _mm512_storeu_si512(to, dots_pair(weight_at(j, row, k + i, col),
                                              weight_at(j, row, k + i + 1, col), dots_16(n)));
    } else if (j->l.inc == q->inc) {
        dots_pack_turned(to, 2 * DOTS, weight_at(j, row, k, col), filter, steps, n, steps);
    } else {
        for (int i = 0; i < steps; i++)
            for (int c = 0; c < DOTS; c++) {
                const stored *w = c < n ? weight_at(j, row, k + i, col + c) : NULL;
                to[i / 2 * 2 * DOTS + 2 * c + i % 2] = w ? *w : (stored){ 0 };
            }
    }
}

/* One row of the kernel of a panel's weights as tiles of B: runs, steps, then columns. */
static void pack_row(const struct job *j, int panel, int i)
{
    const struct layout *l = &j->l;
    const int channels = channels_of(l, panel), row = l->h.tap + i * l->h.tap_step;
    stored *to = j->weights + panel * l->panel + i * l->tap;
    for (int k = 0; k < l->runs * l->run; k += l->steps)
        for (int c = 0; c < channels; c += DOTS, to += l->steps * DOTS)
            pack_tile(j, row, k, panel * DOTS_BLOCK + c, channels - c, to);
}

/* n pixels of an odd number of channels with a zero behind each: as many at a time as a vector has
 * room for, and what it writes beyond them is written again or is zero. */
static void spread(const stored *from, int inc, int n, stored *to)
{
    const int even = inc + 1, many = inc < DOTS_STEPS ? DOTS_STEPS / even : 1;
    uint16_t at[DOTS_STEPS];
    uint32_t some = 0;
    for (int i = 0; i < DOTS_STEPS; i++) {
        at[i] = (uint16_t)(i / even * inc + i % even);
        some |= (uint32_t)(i / even < many && i % even < inc) << i;
    }
    const __m512i index = _mm512_loadu_si512(at);
    for (int x = 0; inc < DOTS_STEPS && x < n; x += many, from += many * inc, to += many * even)
        _mm512_storeu_si512(to, _mm512_maskz_permutexvar_epi16(
            some, index, _mm512_maskz_loadu_epi16(dots_32(least(many, n - x) * inc), from)));
    for (int x = 0; inc > DOTS_STEPS && x < n; x++, from += inc, to += even)
        memcpy(to, from, (size_t)inc * sizeof *to);
}

/* The rows of an image between their zeros, which are there. */
static void copy_image(const struct layout *l, const stored *in, stored *scratch)
{
    const int inc = l->q.inc;
    const int64_t width = (int64_t)l->q.in_w * inc;
    for (int y = 0; y < l->q.in_h; y++, in += width) {
        stored *to = scratch + y * l->row + (int64_t)l->left * l->inc;
        if (inc == l->inc) memcpy(to, in, (size_t)width * sizeof *to);
        else spread(in, inc, l->q.in_w, to);
    }
}

/* ---- an image ---- */

/* Which rows of the kernel meet rows of the input under output row y: [from, end). */
static void rows_of(const struct layout *l, int y, int *from, int *end)
{
    const int first = y * l->h.step + l->h.at;
    for (*from = 0; *from < l->h.n && first + *from * l->h.dist < 0; ) ++*from;
    for (*end = l->h.n; *end > *from && first + (*end - 1) * l->h.dist >= l->q.in_h; ) --*end;
}

/* mt x nt tiles of sums: 16 pixels from x on of output row y, and the next 16; or those of row
 * y + 1, which has the same rows of the kernel. */
HONE_INLINE void sums(int mt, int nt, const struct job *j, struct dots *d, int panel, int y, int x,
                      int64_t next, const stored *scratch)
{
    const struct layout *l = &j->l;
    const int64_t pixel = l->inc;
    const stored *a = scratch + (y * l->h.step + l->h.at) * l->row +
                      (x * l->w.step + l->w.at + l->left) * pixel;
    struct dots_sum s = { .a_row = l->w.step * pixel, .a_tile = next, .a_next = l->steps,
                          .b_row = 2 * DOTS, .b_tile = (int64_t)DOTS * l->steps,
                          .b_next = (int64_t)nt * DOTS * l->steps, .n = l->nsteps };
    int from, end;
    rows_of(l, y, &from, &end);
    dots_zero(mt, nt, d);
    for (int i = from; i < end; i++)
        for (int r = 0; r < l->runs; r++) {
            s.a = a + i * l->h.dist * l->row + r * l->w.dist * pixel;
            s.b = j->weights + panel * l->panel + i * l->tap +
                  (int64_t)r * l->run * nt * DOTS;
            dots_add(mt, nt, d, &s);
        }
    dots_store(mt, nt, d, d->c, DOTS_BLOCK);
}

static void block(int mt, const struct job *j, struct dots *d, int panel, int y, int x,
                  int64_t next, const stored *scratch)
{
    const int wide = channels_of(&j->l, panel) > DOTS;
    if (mt > 1 && wide) sums(2, 2, j, d, panel, y, x, next, scratch);
    else if (mt > 1) sums(2, 1, j, d, panel, y, x, next, scratch);
    else if (wide) sums(1, 2, j, d, panel, y, x, next, scratch);
    else sums(1, 1, j, d, panel, y, x, next, scratch);
}

/* The first n rows of c are pixels from x on of output row y. */
static void give(const struct job *j, const float *c, int panel, int y, int x, int n, stored *out)
{
    const struct gather *q = &j->l.q;
    const int channel = panel * DOTS_BLOCK;
    dots_give_block(j->act, out + ((int64_t)y * q->out_w + x) * q->outc + channel, q->outc, c,
                    j->bias ? j->bias + channel : NULL, n, channels_of(&j->l, panel), j->stream);
}

/* Output row y, and the next where both fit into a block; returns how many were done. */
static int do_row(const struct job *j, struct dots *d, int panel, int y, int end, stored *out,
                  const stored *scratch)
{
    const struct layout *l = &j->l;
    const int width = l->q.out_w;
    int from[2], to[2];
    if (width <= DOTS && y + 1 < end) {
        for (int i = 0; i < 2; i++) rows_of(l, y + i, &from[i], &to[i]);
        if (from[0] == from[1] && to[0] == to[1]) {
            block(2, j, d, panel, y, 0, l->h.step * l->row, scratch);
            give(j, d->c, panel, y, 0, width, out);
            give(j, d->c + DOTS * DOTS_BLOCK, panel, y + 1, 0, width, out);
            return 2;
        }
    }
    for (int x = 0; x < width; x += DOTS_BLOCK) {
        const int n = least(DOTS_BLOCK, width - x);
        block(n > DOTS ? 2 : 1, j, d, panel, y, x, (int64_t)DOTS * l->w.step * l->inc, scratch);
        give(j, d->c, panel, y, x, n, out);
    }
    return 1;
}

static void do_image(const struct job *j, struct dots *d, int image, stored *scratch)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    stored *out = j->out + (int64_t)image * q->out_h * q->out_w * q->outc;
    copy_image(l, j->in + (int64_t)image * q->in_h * q->in_w * q->inc, scratch);
    for (int r = 0; r < q->out_h; r += l->rows) {
        const int end = least(q->out_h, r + l->rows);
        for (int panel = 0; panel < l->panels; panel++)
            for (int y = r; y < end; ) y += do_row(j, d, panel, y, end, out, scratch);
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct gather q = gather_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (q.g != 1) return "it has groups";
    return q.phases_h > 1 || q.phases_w > 1 ? "its gradient has phases" : NULL;
}

/* Narrow rows leave tiles empty, short tiles the multiplier. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct hone_config any = { .v = { [ROWS] = 1 } };
    const struct layout l = layout_of(p, &any);
    (void)d;
    return l.q.out_w >= LEAST && (l.steps >= DOTS_STEPS / 2 || l.nsteps == 1) && l.q.outc >= 8;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct gather q = gather_of(p);
    (void)d;
    if (c->v[ROWS] > 1 && c->v[ROWS] / 2 >= q.out_h) return 0;
    if (c->v[STREAM] && q.outc % DOTS_BLOCK) return 0;
    return c->v[THREADS] <= q.mb;
}

/* The input rows of a chunk in half of L1; all rows where there is but one panel. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    *c = (struct hone_config){ .v = { [ROWS] = 1, [THREADS] = 1 } };
    const struct layout l = layout_of(p, c);
    while (c->v[THREADS] * 2 <= hone_conv2d_threads(p, d) && c->v[THREADS] * 2 <= l.q.mb)
        c->v[THREADS] *= 2;
    while (c->v[ROWS] < 64) {
        struct hone_config more = *c;
        more.v[ROWS] *= 2;
        const int64_t held = gather_rows(&l.q, more.v[ROWS]) * l.row * (int64_t)sizeof(stored);
        if (!valid(p, &more, d) || (l.panels > 1 && 2 * held > d->l1_bytes)) break;
        *c = more;
    }
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.panels * l.panel + c->v[THREADS] * l.scratch) * sizeof(stored);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    struct job j = { .l = layout_of(p, c), .stream = c->v[STREAM], .out = mem[0], .in = mem[1],
                     .w = mem[2], .weights = workspace };
    const struct layout *l = &j.l;
    const int threads = c->v[THREADS], mb = l->q.mb;
    stored *scratch = j.weights + l->panels * l->panel;
    j.act = l->q.dgrad ? HONE_ACT_none : hone_act_of(p);
    j.bias = !l->q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int i = 0; i < l->panels * l->h.n; i++) pack_row(&j, i / l->h.n, i % l->h.n);
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; t++) {
            stored *own = scratch + t * l->scratch;
            struct dots d;
            memset(own, 0, (size_t)l->scratch * sizeof *own);
            dots_begin(&d, l->steps);
            for (int i = mb * t / threads; i < mb * (t + 1) / threads; i++)
                do_image(&j, &d, i, own);
            dots_end();
            if (j.stream) vf_stream_end();
        }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_dots_pixels) = {
    .name = HONE_NAME("cpu_dots_pixels"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("rows", 1, 2, 4, 8, 16, 32, 64), CONV_STREAM, CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
