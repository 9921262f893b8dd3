/* Weight gradient of 3x3 without stride by Winograd's minimal filtering: forward
 * (winograd_matrices.h) is linear in the weights, and this is its transpose,
 *
 *     dw = G' (sum over tiles of (B' x B) * (A dy A')) G.
 *
 * Per point the sum is a product of matrices, (out channels, tiles) times (tiles, channels).  All
 * threads transform a group of tiles together, and then share the points among them, so that there
 * is one sum whose order does not depend on their number.  Where these sums are larger than all
 * transformed inputs, or outputs' gradients, as of many channels and few pixels, the inputs are kept,
 * and the sums are those of a few out channels at a time; or the gradients, and of a few channels. */
#include "kernels/conv2d/winograd.h"
#include "kernels/gemm/tiles.h"

enum { M, NV, GROUP, THREADS };

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    struct winograd_tiles t;
    int m, points, nv;
    int group;                       /* tiles of a group */
    int kept_in, kept_out;           /* groups whose inputs are there at once, whose gradients */
    int inputs, outputs;             /* channels whose sums are, out channels */
    int64_t in_row, out_row;         /* floats from tile to tile, of inputs and of outputs */
    int64_t in_point, out_point;     /* from point to point */
    int64_t sum_row, sum_point;      /* of the sums, (points, outputs, channels) */
    int64_t zeros;
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

static int64_t floats(const struct layout *l)
{
    return l->points * (l->kept_in * l->in_point + l->kept_out * l->out_point + l->sum_point);
}

/* Has so many channels and out channels at once, and keeps those of which it has all, where that
 * takes fewer floats. */
static void cut(struct layout *l, int inputs, int outputs, int groups)
{
    struct layout few = *l;
    few.inputs = inputs;
    few.outputs = outputs;
    few.kept_in = outputs < l->q.out_c ? groups : 1;
    few.kept_out = inputs < l->q.in_c ? groups : 1;
    few.in_row = winograd_row(inputs);
    few.in_point = l->group * few.in_row + VL;
    few.out_row = winograd_row(outputs);
    few.out_point = l->group * few.out_row + VL;
    few.sum_row = (int64_t)up(inputs, VL) * VL;
    few.sum_point = outputs * few.sum_row + VL;
    if (!l->inputs || floats(&few) < floats(l)) *l = few;
}

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    enum { FEW = 4 * VL };
    struct layout l = { .q = gather_of(p), .m = c->v[M], .nv = c->v[NV] };
    const struct gather *q = &l.q;
    l.t = winograd_tiles_of(q, l.m);
    l.points = (l.m + 2) * (l.m + 2);
    const int64_t groups = (l.t.count + c->v[GROUP] - 1) / c->v[GROUP];
    l.group = (int)((l.t.count + groups - 1) / groups);
    l.zeros = winograd_zeros(&l.t, q->in_c);
    cut(&l, q->in_c, q->out_c, (int)groups);
    if (q->out_c > FEW) cut(&l, q->in_c, FEW, (int)groups);
    if (q->in_c > FEW) cut(&l, FEW, q->out_c, (int)groups);
    return l;
}

/* ---- transforms ---- */

/* A dy A' of `channels` channels of h x w outputs at dy; beyond them are zeros. */
HONE_INLINE void load_outputs(int m, const real *dy, int h, int w, int64_t row, int64_t pixel,
                              int channels, real *v, int64_t step)
{
    const int n = m + 2;
    for (int c = 0; c < channels; c += VL) {
        const int count = least(channels - c, VL);
        vf y[4], half[4 * WINOGRAD_N], t[WINOGRAD_N];
        HONE_UNROLLED for (int j = 0; j < m; j++) {
            HONE_UNROLLED for (int i = 0; i < m; i++)
                y[i] = i < h && j < w ? vf_load_n(dy + i * row + j * pixel + c, count)
                                      : (vf){ 0 };
            winograd_gradient(m, y, half + j, m);
        }
        HONE_UNROLLED for (int i = 0; i < n; i++) {
            winograd_gradient(m, half + i * m, t, 1);
            HONE_UNROLLED for (int j = 0; j < n; j++) vf_store(v + (i * n + j) * step + c, t[j]);
        }
    }
}

/* Out channels [o, o + channels). */
static void load_tile(const struct layout *l, const real *dy, int64_t tile, int o, int channels,
                      real *v)
{
    const struct gather *q = &l->q;
    const struct winograd_place at = winograd_place_of(&l->t, tile);
    const int h = least(l->m, q->out_h - at.h), w = least(l->m, q->out_w - at.w);
    const int64_t row = (int64_t)q->out_w * q->out_c;
    dy += (((int64_t)at.image * q->out_h + at.h) * q->out_w + at.w) * q->out_c + o;
    if (l->m == 2) load_outputs(2, dy, h, w, row, q->out_c, channels, v, l->out_point);
    else load_outputs(4, dy, h, w, row, q->out_c, channels, v, l->out_point);
}

/* So many channels of dw (3, 3, in_c), which belongs to one out channel, from sums of its points. */
HONE_INLINE void store_weights(int m, const struct layout *l, const real *sum, int channels,
                               real *dw)
{
    const int n = m + 2;
    for (int c = 0; c < channels; c += VL) {
        vf t[WINOGRAD_N], half[3 * WINOGRAD_N], w[3];
        HONE_UNROLLED for (int j = 0; j < n; j++) {
            HONE_UNROLLED for (int i = 0; i < n; i++)
                t[i] = vf_load(sum + (i * n + j) * l->sum_point + c);
            winograd_sum(m, t, half + j, n);
        }
        HONE_UNROLLED for (int r = 0; r < 3; r++) {
            winograd_sum(m, half + r * n, w, 1);
            HONE_UNROLLED for (int s = 0; s < 3; s++)
                vf_store_n(dw + (3 * r + s) * l->q.in_c + c, w[s], least(channels - c, VL));
        }
    }
}

/* ---- a group of tiles ---- */

/* Channels [c, c + inputs) and out channels [o, o + outputs): those whose sums are made at once. */
struct chunk { int c, inputs, o, outputs; };

/* One point's sum over `tiles` tiles for a chunk; the first group sets it, later ones add. */
static void multiply(const struct layout *l, int tiles, const struct chunk *k, const real *x,
                     const real *dy, int add, real *sum)
{
    const int width = l->nv * VL, channels = up(k->inputs, VL) * VL, outputs = k->outputs;
    for (int c = 0; c < channels; c += width) {
        const int cols = least(width, channels - c), nv = up(cols, VL);
        const int parts = up(outputs, HONE_TILE_ROWS(nv)), each = outputs / parts;
        struct hone_tile t = { .k = tiles, .a = dy, .a_stride = l->out_row, .b = x + c,
                               .b_step = l->in_row, .c = sum + c, .c_row = l->sum_row, .alpha = 1,
                               .cols = cols, .accumulate = add };
        for (int i = 0; i < parts; i++) {
            const int count = each + (i < outputs % parts);
            hone_tiles_by_columns[nv - 1][count - 1](&t);
            t.a += count;
            t.c += count * t.c_row;
        }
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
    const struct layout l = layout_of(p, c);
    (void)d;
    if (l.m > 2 && l.q.out_h <= 2 && l.q.out_w <= 2) return 0;
    if ((l.nv - 1) * VL >= l.q.in_c || c->v[THREADS] > l.points) return 0;
    return c->v[GROUP] < 2 * l.t.count + 28;
}

/* Below 16 channels the transforms cost more than they save. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct gather q = gather_of(p);
    (void)d;
    return q.in_c >= 16 && q.out_c >= 16;
}

/* What is transformed of a group should leave room in L2; but the sums are read and written once per
 * group, so that it must not be small where they do not fit. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    const double l2 = d->l2_bytes ? (double)d->l2_bytes : 262144;
    c->v[M] = q.out_h <= 2 && q.out_w <= 2 ? 2 : 4;
    c->v[NV] = q.in_c % (4 * VL) == 0 ? 4 : q.in_c > VL ? 2 : 1;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    c->v[GROUP] = 56;
    const struct layout l = layout_of(p, c);
    const double sums = (double)l.points * up(q.in_c, VL) * VL * q.out_c;
    if (sums * sizeof(real) > 4 * l2) c->v[GROUP] = 112;
    else if ((double)l.points * (double)(l.in_point + l.out_point) * sizeof(real) > 0.6 * l2)
        c->v[GROUP] = 28;
    while (c->v[GROUP] > 28 && !valid(p, c, d)) c->v[GROUP] /= 2;
    while (!valid(p, c, d) && c->v[THREADS] > 1) c->v[THREADS] /= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.zeros + floats(&l)) * sizeof(real);
}

/* Sums run over the tiles of a group in registers, and over the groups in memory. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    const struct layout l = layout_of(p, c);
    return (double)l.t.count + (double)(l.t.count / l.group) + winograd_wgrad_chain(l.m);
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

/* Who reads and writes what in a run. */
struct job {
    struct layout l;
    const real *x, *dy;
    real *dw, *zeros, *in, *out, *sum;
};

/* The chunk's sums over the tiles of group g.  What is kept was put to its place with the first
 * chunk. */
static void add_group(const struct job *j, int64_t g, int64_t groups, const struct chunk *k)
{
    const struct layout *l = &j->l;
    const int64_t first = l->t.count * g / groups;
    const int tiles = (int)(l->t.count * (g + 1) / groups - first);
    real *in = j->in + (l->kept_in > 1 ? g * l->points * l->in_point : 0);
    real *out = j->out + (l->kept_out > 1 ? g * l->points * l->out_point : 0);
#pragma omp for schedule(static)
    for (int i = 0; i < tiles; i++) {
        if (!k->o)
            winograd_load(&l->t, &l->q, j->x, j->zeros, first + i, k->c, k->inputs,
                          in + i * l->in_row, l->in_point);
        if (!k->c) load_tile(l, j->dy, first + i, k->o, k->outputs, out + i * l->out_row);
    }
#pragma omp for schedule(static)
    for (int p = 0; p < l->points; p++)
        multiply(l, tiles, k, in + p * l->in_point, out + p * l->out_point, g > 0,
                 j->sum + p * l->sum_point);
}

static void store_sums(const struct job *j, const struct chunk *k)
{
    const struct layout *l = &j->l;
#pragma omp for schedule(static)
    for (int i = 0; i < k->outputs; i++) {
        const real *from = j->sum + i * l->sum_row;
        real *to = j->dw + (int64_t)(k->o + i) * 9 * l->q.in_c + k->c;
        if (l->m == 2) store_weights(2, l, from, k->inputs, to);
        else store_weights(4, l, from, k->inputs, to);
    }
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct job j = { .l = layout_of(hone_plan_problem(plan), hone_plan_config(plan)),
                     .x = mem[CONV_DWT_X], .dy = mem[CONV_DWT_DY], .dw = mem[CONV_DWT],
                     .zeros = workspace };
    const struct layout *l = &j.l;
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t groups = (l->t.count + l->group - 1) / l->group;
    j.in = j.zeros + l->zeros;
    j.out = j.in + l->kept_in * l->points * l->in_point;
    j.sum = j.out + l->kept_out * l->points * l->out_point;
    memset(j.zeros, 0, (size_t)l->zeros * sizeof(real));

#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int o = 0; o < l->q.out_c; o += l->outputs)
        for (int c = 0; c < l->q.in_c; c += l->inputs) {
            const struct chunk k = { c, least(l->inputs, l->q.in_c - c), o,
                                     least(l->outputs, l->q.out_c - o) };
            for (int64_t g = 0; g < groups; g++) add_group(&j, g, groups, &k);
            store_sums(&j, &k);
        }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_winograd_wgrad) = {
    .name = HONE_NAME("cpu_winograd_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("m", 2, 4), HONE_PARAM("nv", 1, 2, 3, 4),
               HONE_PARAM("group", 28, 56, 112, 224, 448, 896), CONV_THREADS },
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
