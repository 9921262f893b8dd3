/* Direct convolution, forward and data gradient (gather.h), with neighbouring output pixels in the
 * lanes: for so few output channels (1, 3, 6) that they would leave most lanes empty.
 *
 * The input is split into planes.  A tile of oc channels x pv vectors of pixels stays in registers
 * while all taps pass: pv vectors of x are loaded and oc weights broadcast to each.  The vectors of
 * a tile may lie in different rows.  At the end a shuffle puts the channels side by side again. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/planes.h"

#include <math.h>

enum { OC, PV, ROWS, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_OC = LANES_MAX, MAX_PV = 4 };

/* A vector of pixels: where its inputs and outputs lie in a band, and how many of it count. */
struct slot { int32_t x, y, n; };

/* What all tiles of one block of channels and one phase share. */
struct block {
    const float *w, *bias;      /* (ntaps, oc), (oc) */
    const int32_t *tap;         /* where tap t lies from a slot's x */
    const struct slot *slot;    /* of this phase */
    int ntaps;
    int64_t out_pixel;          /* floats from pixel to pixel of the output */
    int dense;                  /* 1: the block is all channels, and its pixels lie side by side */
    const struct lanes *lanes;
    float lo, hi;               /* clamp: relu and relu6 are done here */
};

HONE_INLINE void tile(int oc, int pv, const struct block *b, const struct slot *slot,
                      const float *in, float *y)
{
    vf acc[MAX_PV][MAX_OC];
    const float *w = b->w, *x[MAX_PV];
    const int32_t *tap = b->tap;
    HONE_UNROLLED for (int p = 0; p < pv; p++) {
        x[p] = in + slot[p].x;
        HONE_UNROLLED for (int o = 0; o < oc; o++) acc[p][o] = vf_set(b->bias[o]);
    }
    for (int t = 0; t < b->ntaps; t++, w += oc) {
        vf xv[MAX_PV];
        HONE_UNROLLED for (int p = 0; p < pv; p++) xv[p] = vf_load(x[p] + tap[t]);
        HONE_UNROLLED for (int o = 0; o < oc; o++) {
            vf wv = vf_set(w[o]);
            HONE_UNROLLED for (int p = 0; p < pv; p++) acc[p][o] += wv * xv[p];
        }
    }
    vf lo = vf_set(b->lo), hi = vf_set(b->hi);
    HONE_UNROLLED for (int p = 0; p < pv; p++) {
        HONE_UNROLLED for (int o = 0; o < oc; o++) {
            /* In this order NaN stays NaN. */
            acc[p][o] = vf_min(hi, vf_max(lo, acc[p][o]));
        }
        if (b->dense) {
            lanes_join(b->lanes, oc, acc[p], y + slot[p].y, slot[p].n);
        } else {
            float sum[MAX_OC][VL];
            HONE_UNROLLED for (int o = 0; o < oc; o++) vf_store(sum[o], acc[p][o]);
            for (int j = 0; j < slot[p].n; j++)
                for (int o = 0; o < oc; o++) y[slot[p].y + j * b->out_pixel + o] = sum[o][j];
        }
    }
}

#define TILE(oc, pv)                                                                               \
    static void tile_##oc##x##pv(const struct block *b, const struct slot *slot, const float *x,   \
                                 float *y)                                                         \
    {                                                                                              \
        tile(oc, pv, b, slot, x, y);                                                               \
    }
#define NAME(oc, pv) tile_##oc##x##pv,
#define TILES_1_TO_4(X, pv) X(1, pv) X(2, pv) X(3, pv) X(4, pv)
#define TILES_5_TO_8(X, pv) X(5, pv) X(6, pv) X(7, pv) X(8, pv)

typedef void tile_fn(const struct block *b, const struct slot *slot, const float *x, float *y);

/* As many as the registers hold: oc * pv sums, pv vectors of x and one broadcast. */
TILES_1_TO_4(TILE, 1) TILES_5_TO_8(TILE, 1)
TILES_1_TO_4(TILE, 2) TILE(5, 2) TILE(6, 2)
TILES_1_TO_4(TILE, 3)
TILE(1, 4) TILE(2, 4) TILE(3, 4)
#if HONE_VB == 64
TILE(7, 2) TILE(8, 2)
TILES_5_TO_8(TILE, 3)
TILE(4, 4) TILE(5, 4) TILE(6, 4)
#endif

static tile_fn *const tiles[MAX_PV][MAX_OC] = {
    { TILES_1_TO_4(NAME, 1) TILES_5_TO_8(NAME, 1) },
#if HONE_VB == 64
    { TILES_1_TO_4(NAME, 2) TILES_5_TO_8(NAME, 2) },
    { TILES_1_TO_4(NAME, 3) TILES_5_TO_8(NAME, 3) },
    { TILES_1_TO_4(NAME, 4) NAME(5, 4) NAME(6, 4) },
#else
    { TILES_1_TO_4(NAME, 2) NAME(5, 2) NAME(6, 2) },
    { TILES_1_TO_4(NAME, 3) },
    { NAME(1, 4) NAME(2, 4) NAME(3, 4) },
#endif
};

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    struct planes s;
    int pv, blocks;                 /* of nearly equally many channels, per group */
    int64_t taps;                   /* of all phases and input channels of a group */
    int64_t weight_floats, bias_floats, tap_floats, slot_floats;
};

static int vectors_of(int pixels) { return (pixels + VL - 1) / VL; }

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .pv = c->v[PV] };
    const struct gather *q = &l.q;
    l.s = planes_of(q, c->v[ROWS]);
    l.blocks = (q->outc + c->v[OC] - 1) / c->v[OC];
    l.taps = (int64_t)q->kh * q->kw * q->inc;
    l.weight_floats = whole_lines(l.taps * q->out_c);
    l.bias_floats = whole_lines(q->out_c);
    l.tap_floats = whole_lines(l.taps);
    for (int i = 0; i < q->phases_w; i++) l.slot_floats += vectors_of(gather_w(q, i).count);
    l.slot_floats = whole_lines(l.slot_floats * q->phases_h * l.s.rows *
                                (int64_t)(sizeof(struct slot) / sizeof(float)));
    return l;
}

/* Block i of a group is channels [first, first + n). */
static int first_of(const struct layout *l, int i)
{
    return (int)((int64_t)l->q.outc * i / l->blocks);
}

/* Weights of channels [first, first + n) of a group for all phases, in the order in which tiles
 * read them: (phases, inc, taps down, taps across, n). */
static void pack(const struct layout *l, int group, int first, int n, const float *w, float *to)
{
    const struct gather *q = &l->q;
    const int64_t in_stride = q->dgrad ? (int64_t)q->kh * q->kw * q->v.icg : 1;
    const int64_t out_stride = q->dgrad ? 1 : (int64_t)q->kh * q->kw * q->v.icg;
    w += (int64_t)group * q->v.ocg * q->kh * q->kw * q->v.icg + first * out_stride;
    for (int phase = 0; phase < q->phases_h * q->phases_w; phase++) {
        struct conv_axis h = gather_h(q, phase / q->phases_w), x = gather_w(q, phase % q->phases_w);
        for (int c = 0; c < q->inc; c++)
            for (int i = 0; i < h.n; i++)
                for (int j = 0; j < x.n; j++, to += n) {
                    int64_t tap =
                        (int64_t)(h.tap + i * h.tap_step) * q->kw + x.tap + j * x.tap_step;
                    for (int o = 0; o < n; o++)
                        to[o] = w[tap * q->v.icg + c * in_stride + o * out_stride];
                }
    }
}

static void list_taps(const struct layout *l, int32_t *tap)
{
    const struct gather *q = &l->q;
    for (int phase = 0; phase < q->phases_h * q->phases_w; phase++) {
        struct conv_axis h = gather_h(q, phase / q->phases_w), w = gather_w(q, phase % q->phases_w);
        for (int c = 0; c < q->inc; c++)
            for (int i = 0; i < h.n; i++)
                for (int j = 0; j < w.n; j++)
                    *tap++ = (int32_t)planes_tap(&l->s, q, &h, &w, c, i, j);
    }
}

/* The vectors of a full band of every phase, row by row. */
static void list_slots(const struct layout *l, struct slot *slot)
{
    const struct gather *q = &l->q;
    for (int phase = 0; phase < q->phases_h * q->phases_w; phase++) {
        struct conv_axis h = gather_h(q, phase / q->phases_w), w = gather_w(q, phase % q->phases_w);
        for (int a = 0; a < l->s.rows; a++)
            for (int at = 0; at < w.count; at += VL) {
                int64_t y =
                    (int64_t)(h.start + a * h.stride) * q->out_w + w.start + (int64_t)at * w.stride;
                *slot++ =
                    (struct slot){ (int32_t)(a * q->step_h * l->s.pitch + at),
                                   (int32_t)(y * q->out_c), w.count - at < VL ? w.count - at : VL };
            }
    }
}

/* One block of n channels, all phases, output rows [a0, a1) of each.  x: the band's planes of the
 * group; y: the image's first output of the block. */
static void sweep(const struct layout *l, struct block b, int n, const float *x, float *y, int a0,
                  int a1)
{
    const struct gather *q = &l->q;
    for (int phase = 0; phase < q->phases_h * q->phases_w; phase++) {
        struct conv_axis h = gather_h(q, phase / q->phases_w), w = gather_w(q, phase % q->phases_w);
        const int vectors = vectors_of(w.count),
                  nslots = ((a1 < h.count ? a1 : h.count) - a0) * vectors;
        float *out = y + (int64_t)a0 * h.stride * q->out_w * q->out_c;
        b.ntaps = h.n * w.n * q->inc;
        b.out_pixel = (int64_t)w.stride * q->out_c;
        b.dense = b.out_pixel == n;
        for (int i = 0; i < nslots; i += l->pv) {
            int pv = nslots - i < l->pv ? nslots - i : l->pv;
            tiles[pv - 1][n - 1](&b, b.slot + i, x, out);
        }
        b.w += (int64_t)b.ntaps * n;
        b.tap += b.ntaps;
        b.slot += (int64_t)l->s.rows * vectors;
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    struct gather q = gather_of(p);
    (void)d;
    return hone_conv2d_not_nhwc(p) ? hone_conv2d_not_nhwc(p) : planes_refuse(&q);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    struct gather q = gather_of(p);
    int oc = c->v[OC], pv = c->v[PV];
    (void)d;
    if (oc * pv + pv + 1 > REGISTERS) return 0;
    /* Of sizes that make equally many blocks, the smallest stands for all. */
    if (oc > 1 && (q.outc + oc - 2) / (oc - 1) == (q.outc + oc - 1) / oc) return 0;
    if (pv > (int64_t)q.count_h * vectors_of(q.count_w)) return 0;
    return c->v[ROWS] < q.count_h;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    struct gather q = gather_of(p);
    c->v[THREADS] = hone_conv2d_threads(p, d);
    c->v[ROWS] = 0;
    if (q.mb < 4 * c->v[THREADS] || (double)planes_of(&q, 0).floats > 0.1 * (double)d->l2_bytes)
        c->v[ROWS] = q.count_h > 8 ? 8 : q.count_h > 4 ? 4 : 0;
    int most = VB == 64 ? 8 : 6;
    c->v[OC] = (q.outc + (q.outc + most - 1) / most - 1) / ((q.outc + most - 1) / most);
    for (c->v[PV] = MAX_PV; c->v[PV] > 1 && !valid(p, c, d);) c->v[PV]--;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.weight_floats + l.bias_floats + l.tap_floats + l.slot_floats +
                    c->v[THREADS] * l.s.floats) *
           sizeof(float);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct layout l = layout_of(p, hone_plan_config(plan));
    const struct gather *q = &l.q;
    const int threads = hone_plan_config(plan)->v[THREADS], nblocks = q->g * l.blocks;
    enum hone_act act = q->dgrad ? HONE_ACT_none : hone_act_of(p);
    const int clamp = act == HONE_ACT_relu || act == HONE_ACT_relu6;
    const float *in = mem[1], *w = mem[2],
                *bias = !q->dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
    float *out = mem[0], *weights = workspace, *biases = weights + l.weight_floats;
    int32_t *taps = (int32_t *)(biases + l.bias_floats);
    struct slot *slots = (struct slot *)(taps + l.tap_floats);
    float *frames = (float *)(taps + l.tap_floats + l.slot_floats);
    const int64_t units = (int64_t)q->mb * l.s.bands;
    struct lanes split, join;
    lanes_init(&split, q->in_c);
    lanes_init(&join, q->out_c);

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int i = 0; i < nblocks; i++) {
            int first = first_of(&l, i % l.blocks), n = first_of(&l, i % l.blocks + 1) - first;
            int channel = i / l.blocks * q->outc + first;
            pack(&l, i / l.blocks, first, n, w, weights + l.taps * channel);
            for (int o = 0; o < n; o++) biases[channel + o] = bias ? bias[channel + o] : 0;
        }
#pragma omp single
        {
            list_taps(&l, taps);
            list_slots(&l, slots);
        }
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            for (int64_t u = units * t / threads; u < units * (t + 1) / threads; u++) {
                const int64_t n = u / l.s.bands;
                const int a0 = (int)(u % l.s.bands) * l.s.rows,
                          a1 = a0 + l.s.rows < q->count_h ? a0 + l.s.rows : q->count_h;
                float *y = out + n * q->out_h * q->out_w * q->out_c, *x = frames + t * l.s.floats;
                planes_fill(&l.s, q, &split, in + n * q->in_h * q->in_w * q->in_c, a0, a1,
                            u == units * t / threads, x);
                for (int i = 0; i < nblocks; i++) {
                    int group = i / l.blocks, first = first_of(&l, i % l.blocks),
                        end = first_of(&l, i % l.blocks + 1);
                    int channel = group * q->outc + first;
                    struct block b = { .w = weights + l.taps * channel,
                                       .bias = biases + channel,
                                       .tap = taps,
                                       .slot = slots,
                                       .lanes = &join,
                                       .lo = clamp ? 0 : -INFINITY,
                                       .hi = act == HONE_ACT_relu6 ? 6 : INFINITY };
                    sweep(&l, b, end - first, x + group * q->inc * l.s.plane, y + channel, a0, a1);
                }
                if (!q->dgrad && !clamp)
                    gather_activate(act, y + (int64_t)a0 * q->out_w * q->out_c,
                                    (int64_t)(a1 - a0) * q->out_w * q->out_c);
            }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_pixels) = {
    .name = HONE_NAME("cpu_pixels"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("oc", 1, 2, 3, 4, 5, 6, 7, 8), HONE_PARAM("pv", 1, 2, 3, 4),
               HONE_PARAM("rows", 0, 4, 8, 16), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
