/* Convolution in nchw, forward and data gradient (gather.h), with neighbouring pixels in the lanes.
 *
 * A tile of ro output channels x nv vectors of pixels stays in registers while all channels and taps
 * pass: nv loads of the input and ro broadcasts of weights serve ro * nv products.  frames.h makes
 * the pixels of an image one run, so that rows shorter than a vector fill it nevertheless; a 1x1
 * convolution without stride reads the image as it lies. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/frames.h"

#include <math.h>

enum { RO, NV, ROWS, IMAGES, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_RO = 8, MAX_NV = 4 };

/* What all tiles of one block of channels and one phase share. */
struct block {
    const real *w, *bias;      /* (inc, taps, ro), (ro) */
    const int32_t *tap;        /* (taps): reals from the run's first number */
    int inc, taps;
    int64_t channel;           /* reals from input channel to input channel */
    int64_t to_pitch;          /* from output channel to output channel */
    int channels;              /* of ro: those that there are */
    real lo, hi;               /* clamp: relu and relu6 are done here */
};

/* lanes: of the last vector; VL is a constant to the compiler, fewer are not. */
HONE_INLINE void tile(int ro, int nv, int lanes, const struct block *b, const real *x, real *to)
{
    vf acc[MAX_RO][MAX_NV];
    const real *w = b->w;
    HONE_UNROLLED for (int r = 0; r < ro; r++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) acc[r][v] = vf_set(b->bias[r]);
    for (int c = 0; c < b->inc; c++, x += b->channel)
        for (int t = 0; t < b->taps; t++, w += ro) {
            const real *at = x + b->tap[t];
            vf xv[MAX_NV];
            HONE_UNROLLED for (int v = 0; v < nv; v++)
                xv[v] = v == nv - 1 && lanes < VL ? vf_load_n(at + v * VL, lanes)
                                                  : vf_load(at + v * VL);
            HONE_UNROLLED for (int r = 0; r < ro; r++) {
                const vf wv = vf_set(w[r]);
                HONE_UNROLLED for (int v = 0; v < nv; v++) acc[r][v] += wv * xv[v];
            }
        }
    const vf lo = vf_set(b->lo), hi = vf_set(b->hi);
    HONE_UNROLLED for (int r = 0; r < ro; r++) {
        if (r >= b->channels) break;
        HONE_UNROLLED for (int v = 0; v < nv; v++) {
            /* In this order NaN stays NaN. */
            const vf s = vf_min(hi, vf_max(lo, acc[r][v]));
            real *at = to + r * b->to_pitch + v * VL;
            if (v == nv - 1 && lanes < VL) vf_store_n(at, s, lanes);
            else vf_store(at, s);
        }
    }
}

#define TILE(ro, nv)                                                                               \
    static void tile_##ro##x##nv(const struct block *b, const real *x, real *to)                   \
    {                                                                                              \
        tile(ro, nv, VL, b, x, to);                                                                \
    }
#define END(ro)                                                                                    \
    static void end_##ro(const struct block *b, const real *x, real *to, int lanes)                \
    {                                                                                              \
        tile(ro, 1, lanes, b, x, to);                                                              \
    }

/* As many as the registers hold: ro * nv sums, nv vectors of pixels and one broadcast. */
TILE(1, 1) TILE(1, 2) TILE(1, 3) TILE(1, 4) TILE(2, 1) TILE(2, 2) TILE(2, 3) TILE(2, 4)
TILE(4, 1) TILE(4, 2) TILE(4, 3) TILE(6, 1) TILE(6, 2) TILE(8, 1)
END(1) END(2) END(4) END(6) END(8)
#if HONE_VB == 64
TILE(4, 4) TILE(6, 3) TILE(6, 4) TILE(8, 2) TILE(8, 3)
#endif

typedef void tile_function(const struct block *b, const real *x, real *to);
static const struct shape {
    int ro;
    tile_function *tile[MAX_NV];
    void (*end)(const struct block *b, const real *x, real *to, int lanes);
} shapes[] = {
    { 1, { tile_1x1, tile_1x2, tile_1x3, tile_1x4 }, end_1 },
    { 2, { tile_2x1, tile_2x2, tile_2x3, tile_2x4 }, end_2 },
#if HONE_VB == 64
    { 4, { tile_4x1, tile_4x2, tile_4x3, tile_4x4 }, end_4 },
    { 6, { tile_6x1, tile_6x2, tile_6x3, tile_6x4 }, end_6 },
    { 8, { tile_8x1, tile_8x2, tile_8x3, NULL }, end_8 },
#else
    { 4, { tile_4x1, tile_4x2, tile_4x3, NULL }, end_4 },
    { 6, { tile_6x1, tile_6x2, NULL, NULL }, end_6 },
    { 8, { tile_8x1, NULL, NULL, NULL }, end_8 },
#endif
};

static const struct shape *shape_of(int ro)
{
    const struct shape *s = shapes;
    while (s->ro != ro) s++;
    return s;
}

/* A block of channels over a run of n pixels. */
static void sweep(const struct shape *s, int nv, const struct block *b, const real *x, int64_t n,
                  real *to)
{
    while (n > 0) {
        const int64_t whole = n / VL;
        const int take = whole < nv ? (int)whole : nv;
        if (!take) { s->end(b, x, to, (int)n); return; }
        s->tile[take - 1](b, x, to);
        x += take * VL, to += take * VL, n -= take * VL;
    }
}

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    struct frames f;
    int ro, nv, blocks;              /* blocks of ro channels, per group */
    int64_t block_reals, weight_reals, bias_reals, tap_reals, run;   /* run: of one channel */
    int64_t thread_reals;            /* frame, and ro runs of output */
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .ro = c->v[RO], .nv = c->v[NV] };
    const struct gather *q = &l.q;
    l.f = frames_of(q, c->v[ROWS], c->v[IMAGES]);
    l.blocks = (q->outc + l.ro - 1) / l.ro;
    l.block_reals = (int64_t)q->kh * q->kw * q->inc * l.ro;
    l.weight_reals = l.block_reals * l.blocks * q->g;
    l.bias_reals = (int64_t)q->g * l.blocks * l.ro;
    l.tap_reals = whole_lines((int64_t)q->kh * q->kw);
    l.run = whole_lines(frames_run(&l.f, l.f.images, l.f.rows, q->count_w));
    l.thread_reals = l.f.reals + l.ro * l.run;
    return l;
}

/* Where the taps lie, phase by phase. */
static void list_taps(const struct layout *l, int32_t *tap)
{
    const struct gather *q = &l->q;
    for (int ph = 0; ph < q->phases_h; ph++)
        for (int pw = 0; pw < q->phases_w; pw++) {
            const struct conv_axis h = gather_h(q, ph), w = gather_w(q, pw);
            for (int i = 0; i < h.n; i++)
                for (int j = 0; j < w.n; j++) *tap++ = (int32_t)frames_tap(&l->f, q, &h, &w, i, j);
        }
}

/* Weights of one block for all phases, and its bias, in the order in which tiles read them. */
static void pack(const struct layout *l, int group, int index, const real *w, const real *bias,
                 real *to, real *to_bias)
{
    const struct gather *q = &l->q;
    const int64_t taps = (int64_t)q->kh * q->kw, across = q->v.icg * taps;
    const int64_t in_step = q->dgrad ? across : taps, out_step = q->dgrad ? taps : across;
    const int first = index * l->ro, n = q->outc - first < l->ro ? q->outc - first : l->ro;
    w += group * q->v.ocg * across + first * out_step;
    for (int o = 0; o < l->ro; o++)
        to_bias[o] = bias && o < n ? bias[group * q->outc + first + o] : 0;
    for (int ph = 0; ph < q->phases_h; ph++)
        for (int pw = 0; pw < q->phases_w; pw++) {
            const struct conv_axis h = gather_h(q, ph), x = gather_w(q, pw);
            for (int c = 0; c < q->inc; c++)
                for (int i = 0; i < h.n; i++)
                    for (int j = 0; j < x.n; j++, to += l->ro) {
                        const real *from = w + c * in_step +
                                           (int64_t)(h.tap + i * h.tap_step) * q->kw + x.tap +
                                           j * x.tap_step;
                        for (int o = 0; o < l->ro; o++) to[o] = o < n ? from[o * out_step] : 0;
                    }
        }
}

/* A unit of work: output rows [a0, a1) of images [n, n + images). */
struct unit {
    int n, images, a0, a1;
};

static struct unit unit_of(const struct layout *l, int64_t i)
{
    const struct frames *f = &l->f;
    struct unit u = { (int)(i / f->bands) * f->images, f->images, (int)(i % f->bands) * f->rows, 0 };
    if (u.images > l->q.mb - u.n) u.images = l->q.mb - u.n;
    u.a1 = u.a0 + f->rows < l->q.count_h ? u.a0 + f->rows : l->q.count_h;
    return u;
}

/* The rows of a phase of one channel, out of their run. */
static void put_rows(const struct layout *l, const struct unit *u, const struct conv_axis *h,
                     const struct conv_axis *w, const real *run, int rows, int channel, real *out)
{
    const struct gather *q = &l->q;
    for (int i = 0; i < u->images; i++)
        for (int a = 0; a < rows; a++) {
            const real *from = run + ((int64_t)i * l->f.heap_rows + a) * l->f.pitch;
            real *to = out + (((int64_t)(u->n + i) * q->out_c + channel) * q->out_h + h->start +
                              (int64_t)(u->a0 + a) * h->stride) * q->out_w + w->start;
            if (w->stride == 1) memcpy(to, from, (size_t)w->count * sizeof *to);
            else for (int b = 0; b < w->count; b++) to[(int64_t)b * w->stride] = from[b];
        }
}

/* One block of channels of a unit, all phases. */
static void do_block(const struct layout *l, const struct unit *u, struct block b, const real *x,
                     int channel, real *run, real *out)
{
    const struct gather *q = &l->q;
    const struct shape *s = shape_of(l->ro);
    for (int ph = 0; ph < q->phases_h; ph++)
        for (int pw = 0; pw < q->phases_w; pw++) {
            const struct conv_axis h = gather_h(q, ph), w = gather_w(q, pw);
            const int rows = (u->a1 < h.count ? u->a1 : h.count) - u->a0;
            b.taps = h.n * w.n;
            if (rows > 0 && w.count > 0) {
                const int64_t n = frames_run(&l->f, u->images, rows, w.count);
                const int whole = h.stride == 1 && w.stride == 1 && l->f.pitch == q->out_w &&
                                  u->images == 1;
                real *to = whole ? out + (((int64_t)u->n * q->out_c + channel) * q->out_h + u->a0) *
                                             q->out_w : run;
                b.to_pitch = whole ? (int64_t)q->out_h * q->out_w : l->run;
                sweep(s, l->nv, &b, x, n, to);
                for (int r = 0; !whole && r < b.channels; r++)
                    put_rows(l, u, &h, &w, run + r * l->run, rows, channel + r, out);
            }
            b.w += (int64_t)b.taps * q->inc * l->ro;
            b.tap += b.taps;
        }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return frames_refuse(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct gather q = gather_of(p);
    const int ro = c->v[RO], nv = c->v[NV];
    (void)d;
    if (ro * nv + nv + 1 > REGISTERS || (ro > 1 && ro / 2 >= q.outc)) return 0;
    if (!frames_valid(&q, c->v[ROWS], c->v[IMAGES])) return 0;
    return nv == 1 || (nv - 1) * VL < layout_of(p, c).run;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    c->v[THREADS] = hone_conv2d_threads(p, d);
    frames_guess(&q, d, c->v[THREADS], &c->v[ROWS], &c->v[IMAGES]);
    c->v[RO] = q.outc == 1 ? 1 : q.outc <= 2 ? 2 : q.outc <= 4 || VB < 64 ? 4 : 8;
    for (c->v[NV] = MAX_NV; c->v[NV] > 1 && !valid(p, c, d);) c->v[NV]--;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.tap_reals + whole_lines(l.weight_reals + l.bias_reals) +
                    c->v[THREADS] * l.thread_reals) * sizeof(real);
}

/* What threads share. */
struct job {
    struct layout l;
    const real *in, *weights, *biases;
    const int32_t *tap;
    real *out, lo, hi;
    enum hone_act act;           /* what is left to do after the tiles */
};

static void do_unit(const struct job *j, int64_t index, real *mine)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const struct unit u = unit_of(l, index);
    for (int g = 0; g < q->g; g++) {
        const real *x = frames_fill(&l->f, q, j->in, u.n, u.images, g, u.a0, u.a1, mine);
        for (int i = 0; i < l->blocks; i++) {
            const int64_t block = (int64_t)g * l->blocks + i;
            const int left = q->outc - i * l->ro;
            const struct block b = { .w = j->weights + block * l->block_reals,
                                     .bias = j->biases + block * l->ro, .tap = j->tap,
                                     .inc = q->inc, .channel = l->f.channel,
                                     .channels = left < l->ro ? left : l->ro, .lo = j->lo,
                                     .hi = j->hi };
            do_block(l, &u, b, x, g * q->outc + i * l->ro, mine + l->f.reals, j->out);
        }
    }
    for (int64_t c = 0; j->act != HONE_ACT_none && c < (int64_t)u.images * q->out_c; c++)
        gather_activate(j->act, j->out + ((u.n * (int64_t)q->out_c + c) * q->out_h + u.a0) * q->out_w,
                        (int64_t)(u.a1 - u.a0) * q->out_w);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    struct job j = { .l = layout_of(p, hone_plan_config(plan)), .in = mem[1], .out = mem[0],
                     .lo = -INFINITY, .hi = INFINITY };
    const struct layout *l = &j.l;
    const int threads = hone_plan_config(plan)->v[THREADS];
    const real *w = mem[2],
               *bias = !l->q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
    int32_t *tap = workspace;
    real *weights = (real *)workspace + l->tap_reals, *biases = weights + l->weight_reals;
    real *mine = weights + whole_lines(l->weight_reals + l->bias_reals);
    const int64_t units = (int64_t)l->f.blocks * l->f.bands, nblocks = (int64_t)l->q.g * l->blocks;
    j.tap = tap, j.weights = weights, j.biases = biases;
    j.act = l->q.dgrad ? HONE_ACT_none : hone_act_of(p);
    if (j.act == HONE_ACT_relu || j.act == HONE_ACT_relu6) {
        j.lo = 0;
        if (j.act == HONE_ACT_relu6) j.hi = 6;
        j.act = HONE_ACT_none;
    }
    list_taps(l, tap);

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < nblocks; i++)
            pack(l, (int)(i / l->blocks), (int)(i % l->blocks), w, bias,
                 weights + i * l->block_reals, biases + i * l->ro);
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; t++)
            for (int64_t u = units * t / threads; u < units * (t + 1) / threads; u++)
                do_unit(&j, u, mine + t * l->thread_reals);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_nchw) = {
    .name = HONE_NAME("cpu_nchw"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("ro", 1, 2, 4, 6, 8), HONE_PARAM("nv", 1, 2, 3, 4), FRAMES_ROWS,
               FRAMES_IMAGES, CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
