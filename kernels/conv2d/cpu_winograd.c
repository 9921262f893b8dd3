/* Winograd's minimal filtering (winograd_matrices.h), forward and data gradient of 3x3 without
 * stride.
 *
 * Tiles of m x m outputs of all images are one list.  A thread takes a group of them: their inputs
 * are transformed, channels in the lanes, into n * n matrices (tiles, in channels); each is
 * multiplied by that point's weights, a panel of out channels at a time; the n * n products of a
 * panel are transformed back and stored.  A group and a panel's products stay in L2, only the
 * transformed weights are as large as the layer.  Where these are larger than all transformed
 * inputs, as of many channels and few pixels, it is the other way round: the inputs are kept, and
 * the weights transformed a few panels at a time, each multiplied by all groups.  The gradient is
 * the same with the taps turned around and the channels exchanged (gather.h). */
#include "kernels/conv2d/winograd.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/tiles.h"

#include <math.h>

enum { M, NV, GROUP, STREAM, THREADS };

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    struct winograd_tiles t;
    int m, points, nv, width;        /* width: channels of a panel, nv * VL */
    int panels, at_once;             /* of all; of those whose weights are there at once */
    int group, kept;                 /* tiles of a group, groups of a thread that are kept */
    int64_t row;                     /* floats from tile to tile of transformed inputs */
    int64_t in_point, out_point;     /* from point to point, of inputs and of products */
    int64_t inputs, products;        /* floats of a group */
    int64_t panel, bias;             /* floats of a panel's weights, of the bias */
    int64_t zeros, own;              /* a row of zeros; a thread's own scratch */
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

/* Panels of which all threads have something to transform, and enough to be worth a meeting. */
static int few_panels(const struct layout *l, int threads)
{
    enum { NUMBERS = 1 << 18, SLICES = 4 };
    const int slices = up(l->q.inc, VL), n = up(SLICES * threads, slices);
    const int64_t large = (NUMBERS + l->panel - 1) / l->panel;
    return least(l->panels, n > large ? n : (int)large);
}

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .m = c->v[M], .nv = c->v[NV], .kept = 1 };
    const struct gather *q = &l.q;
    const int threads = c->v[THREADS];
    l.t = winograd_tiles_of(q, l.m);
    l.points = (l.m + 2) * (l.m + 2);
    l.width = l.nv * VL;
    l.panels = l.at_once = up(q->outc, l.width);
    const int64_t tiles = (l.t.count + threads - 1) / threads,
                  groups = (tiles + c->v[GROUP] - 1) / c->v[GROUP];
    l.group = (int)((tiles + groups - 1) / groups);
    l.row = winograd_row(q->inc);
    l.in_point = l.group * l.row + VL;
    l.out_point = l.group * l.width + VL;
    l.inputs = l.points * l.in_point;
    l.products = l.points * l.out_point;
    if (l.products < 9 * VL * l.width) l.products = 9 * VL * l.width;
    l.panel = (int64_t)l.points * q->inc * l.width;
    l.bias = whole_lines((int64_t)l.panels * l.width);
    l.zeros = winograd_zeros(&l.t, q->inc);
    const int few = few_panels(&l, threads);
    if ((groups - 1) * l.inputs * threads < (l.panels - few) * l.panel) {
        l.kept = (int)groups;
        l.at_once = few;
    }
    l.own = whole_lines(l.kept * l.inputs + l.products);
    return l;
}

/* ---- weights ---- */

/* Taps of in channels [c, c + count) of a panel, each (count, width), to points of the panel. */
HONE_INLINE void transform_weights(int m, const struct layout *l, const real *taps, int count,
                                   real *to)
{
    const int n = m + 2;
    const int64_t tap = (int64_t)VL * l->width, point = (int64_t)l->q.inc * l->width;
    for (int64_t i = 0; i < (int64_t)count * l->width; i += VL) {
        vf w[3], half[3 * WINOGRAD_N], t[WINOGRAD_N];
        HONE_UNROLLED for (int s = 0; s < 3; s++) {
            HONE_UNROLLED for (int r = 0; r < 3; r++) w[r] = vf_load(taps + (3 * r + s) * tap + i);
            winograd_weights(m, w, half + s, 3);
        }
        HONE_UNROLLED for (int a = 0; a < n; a++) {
            winograd_weights(m, half + 3 * a, t, 1);
            HONE_UNROLLED for (int b = 0; b < n; b++) vf_store(to + (a * n + b) * point + i, t[b]);
        }
    }
}

/* In channels [c, c + count), count <= VL, of panel q, whose points lie at `to`; taps: 9 * VL * width
 * floats of scratch. */
static void pack(const struct layout *l, int q, int c, int count, const real *w, real *taps,
                 real *to)
{
    const struct gather *g = &l->q;
    const int first = q * l->width, channels = least(l->width, g->outc - first);
    for (int t = 0; t < 9; t++) {
        real *tap = taps + (int64_t)t * VL * l->width;
        if (g->dgrad)
            hone_pack_columns(tap, l->width, w + ((int64_t)c * 9 + 8 - t) * g->outc + first,
                              9 * (int64_t)g->outc, count, channels);
        else
            hone_pack_rows(tap, l->width, w + ((int64_t)first * 9 + t) * g->inc + c,
                           9 * (int64_t)g->inc, count, channels);
    }
    to += (int64_t)c * l->width;
    if (l->m == 2) transform_weights(2, l, taps, count, to);
    else transform_weights(4, l, taps, count, to);
}

/* ---- outputs ---- */

/* What a panel's outputs need. */
struct end {
    const real *bias;
    int channels;            /* of the panel that exist */
    real lo, hi;             /* clamp: relu and relu6 are done here */
    int stream;              /* write past the caches */
};

/* h x w of m x m outputs at y. */
HONE_INLINE void transform_output(int m, const struct layout *l, const struct end *e,
                                  const real *product, real *y, int h, int w)
{
    const int n = m + 2;
    const int64_t pixel = l->q.outc, row = l->q.out_w * pixel;
    const vf lo = vf_set(e->lo), hi = vf_set(e->hi);
    const int vectors = l->nv;
    for (int v = 0; v < vectors; v++) {
        vf x[WINOGRAD_N], half[4 * WINOGRAD_N], out[4], bias = vf_load(e->bias + v * VL);
        const int count = least(VL, e->channels - v * VL);
        if (count <= 0) return;
        HONE_UNROLLED for (int j = 0; j < n; j++) {
            HONE_UNROLLED for (int i = 0; i < n; i++)
                x[i] = vf_load(product + (i * n + j) * l->out_point + v * VL);
            winograd_output(m, x, half + j, n);
        }
        HONE_UNROLLED for (int i = 0; i < m; i++) {
            if (i >= h) continue;
            winograd_output(m, half + i * n, out, 1);
            HONE_UNROLLED for (int j = 0; j < m; j++) {
                /* In this order NaN stays NaN. */
                out[j] = vf_min(hi, vf_max(lo, out[j] + bias));
                if (j >= w) continue;
                if (e->stream) vf_stream(y + i * row + j * pixel + v * VL, out[j]);
                else vf_store_n(y + i * row + j * pixel + v * VL, out[j], count);
            }
        }
    }
}

/* The products of a panel back to outputs, with bias and activation. */
static void store_tile(const struct layout *l, const struct end *e, enum hone_act act,
                       const real *product, int64_t tile, int panel, real *out)
{
    const struct gather *q = &l->q;
    const struct winograd_place at = winograd_place_of(&l->t, tile);
    const int h = least(l->m, q->out_h - at.h), w = least(l->m, q->out_w - at.w);
    const int64_t row = (int64_t)q->out_w * q->outc;
    real *y = out + (((int64_t)at.image * q->out_h + at.h) * q->out_w + at.w) * q->outc +
              panel * l->width;
    if (l->m == 2) transform_output(2, l, e, product, y, h, w);
    else transform_output(4, l, e, product, y, h, w);
    if (act == HONE_ACT_none || act == HONE_ACT_relu || act == HONE_ACT_relu6) return;
    const int channels = least(l->width, q->outc - panel * l->width);
    for (int i = 0; i < h; i++) hone_epilogue(act, y + i * row, q->outc, w, channels, NULL);
}

/* ---- a group of tiles ---- */

/* Products of `tiles` tiles with one panel, point by point. */
static void multiply(const struct layout *l, int tiles, int nv, const real *v, const real *weights,
                     real *product)
{
    const int parts = up(tiles, HONE_TILE_ROWS(nv)), each = tiles / parts, longer = tiles % parts;
    struct hone_tile t = { .k = l->q.inc, .a_stride = l->row, .b_step = l->width,
                           .c_row = l->width, .alpha = 1, .cols = nv * VL };
    for (int p = 0; p < l->points; p++) {
        t.a = v + p * l->in_point;
        t.b = weights + (int64_t)p * l->q.inc * l->width;
        t.c = product + p * l->out_point;
        for (int i = 0; i < parts; i++) {
            const int count = each + (i < longer);
            hone_tiles_by_rows[nv - 1][count - 1](&t);
            t.a += count * l->row;
            t.c += count * l->width;
        }
    }
}

/* Who reads and writes what in a run. */
struct job {
    struct layout l;
    enum hone_act act;
    int stream;
    const real *in, *w, *bias;           /* bias: NULL: none */
    real *out, *weights, *biases, *zeros;
};

/* With the panels from `panel` on that are there; with the first of all the inputs are put to v. */
static void do_group(const struct job *j, int64_t first, int tiles, int panel, real *v,
                     real *product)
{
    const struct layout *l = &j->l;
    const int clamp = j->act == HONE_ACT_relu || j->act == HONE_ACT_relu6,
              last = least(panel + l->at_once, l->panels);
    for (int i = 0; !panel && i < tiles; i++)
        winograd_load(&l->t, &l->q, j->in, j->zeros, first + i, 0, l->q.in_c, v + i * l->row,
                      l->in_point);
    for (int q = panel; q < last; q++) {
        const int channels = least(l->width, l->q.outc - q * l->width), nv = up(channels, VL);
        struct end e = { .bias = j->biases + q * l->width, .channels = channels,
                         .stream = j->stream, .lo = clamp ? 0 : -INFINITY,
                         .hi = j->act == HONE_ACT_relu6 ? 6 : INFINITY };
        multiply(l, tiles, nv, v, j->weights + (q - panel) * l->panel, product);
        for (int i = 0; i < tiles; i++)
            store_tile(l, &e, j->act, product + i * l->width, first + i, q, j->out);
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return winograd_refuse(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    (void)d;
    if (l.m > 2 && l.q.out_h <= 2 && l.q.out_w <= 2) return 0;
    if (c->v[STREAM] && !hone_conv2d_can_stream(p)) return 0;
    return (l.nv - 1) * VL < l.q.outc && c->v[GROUP] <= 14 + l.t.count &&
           c->v[THREADS] <= l.t.count;
}

/* Below 16 channels the transforms cost more than they save. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    struct gather q = gather_of(p);
    (void)d;
    return q.inc >= 16 && q.outc >= 16;
}

/* The largest group of which inputs and products leave room in L2; but weights that do not fit there
 * are read again for every group, so that it must not be small. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    struct gather q = gather_of(p);
    const double l2 = d->l2_bytes ? (double)d->l2_bytes : 262144;
    c->v[M] = q.out_h <= 2 && q.out_w <= 2 ? 2 : 4;
    c->v[NV] = q.outc > VL ? 2 : 1;
    c->v[STREAM] = hone_conv2d_stream(p, d);
    c->v[THREADS] = hone_conv2d_threads(p, d);
    for (c->v[GROUP] = 112; c->v[GROUP] > 28; c->v[GROUP] /= 2) {
        struct layout l = layout_of(p, c);
        const int large = (double)l.panels * (double)l.panel * sizeof(real) > 4 * l2;
        if (large && q.outc % (4 * VL) == 0) c->v[NV] = 4;
        if (!valid(p, c, d) || l.t.count < (int64_t)c->v[THREADS] * c->v[GROUP]) continue;
        if (large || (double)l.own * sizeof(real) <= 0.4 * l2) break;
    }
    if (!valid(p, c, d)) c->v[GROUP] = 14;
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(whole_lines(l.at_once * l.panel) + l.bias + l.zeros + c->v[THREADS] * l.own) *
           sizeof(real);
}

static double scale(const struct hone_problem *p, const struct hone_config *c,
                    const double *const in[], int out, int64_t i)
{
    (void)out;
    return winograd_scale(p, c->v[M], in, i);
}

static double amplify(const struct hone_problem *p, const struct hone_config *c)
{
    return winograd_amplified(p, c->v[M]);
}

static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    return winograd_growth(p, c->v[M]);
}

static void work(const struct job *j, int thread, int threads, int panel, real *scratch)
{
    const struct layout *l = &j->l;
    real *product = scratch + l->kept * l->inputs;
    const int64_t from = l->t.count * thread / threads, to = l->t.count * (thread + 1) / threads;
    const int64_t groups = (to - from + l->group - 1) / l->group;
    for (int64_t i = 0; i < groups; i++) {
        const int64_t first = from + (to - from) * i / groups;
        do_group(j, first, (int)(from + (to - from) * (i + 1) / groups - first), panel,
                 scratch + (l->kept > 1 ? i * l->inputs : 0), product);
    }
    if (j->stream) vf_stream_end();
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    struct job j = { .l = layout_of(p, c), .in = mem[1], .w = mem[2], .out = mem[0] };
    const struct layout *l = &j.l;
    const int threads = c->v[THREADS], slices = up(l->q.inc, VL);
    j.act = l->q.dgrad ? HONE_ACT_none : hone_act_of(p);
    j.bias = !l->q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
    j.weights = workspace;
    j.stream = hone_plan_config(plan)->v[STREAM];
    j.biases = j.weights + whole_lines(l->at_once * l->panel);
    j.zeros = j.biases + l->bias;
    real *scratch = j.zeros + l->zeros;
    memset(j.zeros, 0, (size_t)l->zeros * sizeof(real));
    for (int i = 0; i < l->panels * l->width; i++)
        j.biases[i] = j.bias && i < l->q.outc ? j.bias[i] : 0;

#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int panel = 0; panel < l->panels; panel += l->at_once) {
        const int n = least(l->at_once, l->panels - panel);
        real *taps = scratch + hone_thread() * l->own + l->kept * l->inputs;
#pragma omp for schedule(static)
        for (int i = 0; i < n * slices; i++) {
            const int c = i % slices * VL, q = i / slices;
            pack(l, panel + q, c, least(VL, l->q.inc - c), j.w, taps, j.weights + q * l->panel);
        }
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++) work(&j, t, threads, panel, scratch + t * l->own);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_winograd) = {
    .name = HONE_NAME("cpu_winograd"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("m", 2, 4), HONE_PARAM("nv", 1, 2, 3, 4),
               HONE_PARAM("group", 14, 28, 56, 112), CONV_STREAM, CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .growth = growth,
    .scale = scale,
    .amplify = amplify,
    .run = run,
};
