/* Convolution of 1x1 without padding, forward and data gradient: a product of pixels x channels
 * with the weights, where in nhwc the pixels' rows already lie as a matrix.
 *
 * The weights are packed into panels once; groups of pixels pass over all panels, and their numbers
 * stay in L2.  A panel of many input channels passes in parts that stay in L1.  Pixels are read in
 * place, but where a stride skips some of them a group is copied first.  A data gradient that skips
 * pixels is copied to its places last, with the zeros between.  An output that is too large to be
 * found in the caches again can go past them. */
#include "kernels/conv2d/gather.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/tiles.h"

enum { NV, GROUP, STREAM, THREADS };
/* Of a panel: a part that leaves room in L1 for the pixels that pass. */
enum { PART_BYTES = 32 << 10 };

/* ---- a tile that fetches what later ones need ---- */

/* Inputs are fetched at least FAR numbers ahead, outputs as many tiles ahead as have SOON inputs a
 * pixel: a line takes longer to come than a tile of few inputs.  Those fetch every STEP inputs. */
enum { LINE = 64 / sizeof(real), FAR = 4096 / sizeof(real), SOON = 64, STEP = 8 };

/* What a tile fetches meanwhile: inputs `tile` numbers ahead where they lie, or, where they are
 * copied, as many pixels of the next group into L2; and outputs `out` numbers ahead, which would
 * else be waited for when they are written.  0: none. */
struct ahead {
    int64_t tile, out;
    int group, stream;
    const real *pixel[16];   /* of the next group */
};

/* Line k of the inputs, where one begins, and `rows` rows of C.  A few at a time, while others
 * multiply: many at once would fill all places where lines are waited for. */
HONE_INLINE void fetch(int mr, int nv, const struct hone_tile *t, int64_t k, const real *out,
                       int rows, const struct ahead *a)
{
    if (a->tile && k % LINE == 0)
        for (int i = 0; i < mr; i++) __builtin_prefetch(t->a + i * t->a_stride + a->tile + k);
    if (a->group && k % LINE == 0)
        for (int i = 0; i < mr; i++) __builtin_prefetch(a->pixel[i] + k, 0, 2);
    for (; rows > 0; rows--, out += t->c_row)
        for (int c = 0; c < nv * VL; c += LINE) __builtin_prefetch(out + c, 1);
}

/* As hone_tile_finish() does, past the caches; of whole vectors, and one sum in one part. */
HONE_INLINE void stream_tile(int mr, int nv, vf *s, const struct hone_tile *t)
{
    if (t->bias && !hone_tile_bias_first(t)) hone_tile_bias(mr, nv, s, t->bias, nv * VL);
    if (t->relu) hone_tile_relu(mr, nv, s);
    HONE_UNROLLED
    for (int i = 0; i < mr; i++)
        HONE_UNROLLED
        for (int v = 0; v < nv; v++) vf_stream(t->c + i * t->c_row + v * VL, s[i * nv + v]);
}

/* As hone_tiles_by_rows, n tiles one below the other; cols as a constant where all lanes exist. */
HONE_INLINE void column(int mr, int nv, const struct hone_tile *first, int n, int cols,
                        const struct ahead *a)
{
    struct hone_tile t = *first;
    t.alpha = 1;
    const int64_t step = t.k < SOON ? STEP : LINE;
    const int rows = a->out ? (int)((mr * step + t.k - 1) / t.k) : 0;   /* of C, at a time */
    for (; n; n--, t.a += mr * t.a_stride, t.c += mr * t.c_row) {
        vf s[HONE_TILE_MAX];
        int left = a->out ? mr : 0;
        const real *out = t.c + a->out;
        hone_tile_start(mr, nv, s, &t, cols);
        for (int64_t k = 0; k < t.k; k += step) {
            fetch(mr, nv, &t, k, out, left < rows ? left : rows, a);
            left -= rows, out += rows * t.c_row;
            hone_tile_rows(mr, nv, s, t.k - k < step ? t.k - k : step, t.a + k, t.a_stride,
                           t.b + k * t.b_step, t.b_step, cols);
        }
        if (a->stream) stream_tile(mr, nv, s, &t);
        else hone_tile_finish(mr, nv, s, &t, cols);
    }
}

#define X(mr, nv)                                                                                  \
    static void column_##mr##x##nv(const struct hone_tile *t, int n, const struct ahead *a)        \
    {                                                                                              \
        if (t->cols == nv * VL) column(mr, nv, t, n, nv * VL, a);                                  \
        else column(mr, nv, t, n, t->cols, a);                                                     \
    }
TILES(X)
#undef X

typedef void column_fn(const struct hone_tile *t, int n, const struct ahead *a);

#define X(mr, nv) [nv - 1][mr - 1] = column_##mr##x##nv,
static column_fn *const columns[4][16] = { TILES(X) };
#undef X

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    int width, panels;       /* channels of a panel, panels */
    int64_t rows;            /* pixels of y or dy */
    int group;               /* of them */
    int copied;              /* 1: rows of the input are copied, and lie `row` floats apart */
    int spread;              /* 1: rows of the output are copied to their places */
    int parts;               /* of a panel's sums */
    int stream;              /* 1: outputs go past the caches */
    int64_t row, own;        /* floats; own: of a thread's copy of a group */
    int64_t weights;         /* floats of the packed weights */
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .width = c->v[NV] * VL, .group = c->v[GROUP] };
    const struct gather *q = &l.q;
    l.panels = up(q->outc, l.width);
    l.rows = (int64_t)q->mb * q->v.oh * q->v.ow;
    if (l.group > l.rows) l.group = (int)l.rows;
    const int skips = q->v.ih != q->v.oh || q->v.iw != q->v.ow;
    l.copied = skips && !q->dgrad;
    l.spread = skips && q->dgrad;
    l.parts = up(q->inc * l.width * (int)sizeof(real), PART_BYTES);
    l.stream = c->v[STREAM];
    l.row = l.copied ? q->inc + VL : q->inc;
    l.own = whole_lines(l.group * (l.copied ? l.row : l.spread ? q->outc : 0));
    l.weights = whole_lines((int64_t)l.panels * l.width * q->inc);
    return l;
}

/* ---- one run, as every thread sees it ---- */

struct job {
    struct layout l;
    enum hone_act act;
    const real *in, *w, *bias;   /* bias: NULL: none */
    real *out, *weights;
};

static void pack(const struct job *j, int panel)
{
    const struct gather *q = &j->l.q;
    const int first = panel * j->l.width, channels = least(j->l.width, q->outc - first);
    real *to = j->weights + (int64_t)first * q->inc;
    if (q->dgrad) hone_pack_columns(to, j->l.width, j->w + first, q->outc, q->inc, channels);
    else hone_pack_rows(to, j->l.width, j->w + (int64_t)first * q->inc, q->inc, q->inc, channels);
}

/* Where the input of output pixel i lies.  *n: how many pixels follow at equal distances, itself
 * included, of `most`. */
static const real *input_of(const struct job *j, int64_t i, int most, int *n)
{
    const struct gather *q = &j->l.q;
    const int64_t w = i % q->out_w, h = i / q->out_w % q->out_h, image = i / q->out_w / q->out_h;
    *n = least(most, q->out_w - (int)w);
    return j->in + ((image * q->in_h + h * q->step_h) * q->in_w + w * q->step_w) * q->inc;
}

/* The inputs of output pixels [first, first + rows). */
static const real *inputs(const struct job *j, int64_t first, int rows, real *own)
{
    const struct gather *q = &j->l.q;
    if (!j->l.copied) return j->in + first * q->inc;
    for (int i = 0, n; i < rows; i += n) {
        const real *from = input_of(j, first + i, rows - i, &n);
        for (int k = 0; k < n; k++)
            memcpy(own + (i + k) * j->l.row, from + (int64_t)k * q->step_w * q->inc,
                   (size_t)q->inc * sizeof(real));
    }
    return own;
}

/* As many pixels of inputs from output pixel `first` on, from input k0 on. */
static void set_ahead(const struct job *j, struct ahead *a, int64_t first, int rows, int k0)
{
    const struct gather *q = &j->l.q;
    a->group = first + rows <= j->l.rows;
    for (int i = 0, n; a->group && i < rows; i += n) {
        const real *from = input_of(j, first + i, rows - i, &n) + k0;
        for (int k = 0; k < n; k++) a->pixel[i + k] = from + (int64_t)k * q->step_w * q->inc;
    }
}

/* Output pixels, their inputs, and where their outputs are to lie side by side. */
struct group {
    int64_t first;
    int rows;
    const real *in;
    real *out;
};

/* A group's outputs of one panel, by inputs [k0, k1): what the first write, others add to. */
static void do_part(const struct job *j, const struct group *g, int panel, int k0, int k1)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const int channel = panel * l->width, cols = least(l->width, q->outc - channel);
    const int nv = up(cols, VL), parts = up(g->rows, HONE_TILE_ROWS(nv)), each = g->rows / parts;
    const int last = k1 == q->inc;
    struct hone_tile t = {
        .k = k1 - k0,
        .a = g->in + k0,
        .a_stride = l->row,
        .b = j->weights + (int64_t)channel * q->inc + (int64_t)k0 * l->width,
        .b_step = l->width,
        .c = g->out + channel,
        .c_row = q->outc,
        .alpha = 1,
        .cols = cols,
        .bias = j->bias && k0 == 0 ? j->bias + channel : NULL,
        .accumulate = k0 > 0,
        .relu = last && j->act == HONE_ACT_relu,
    };
    /* Inputs come from memory once, for the first panel. */
    struct ahead a = { .stream = l->stream };
    int64_t next = g->first + g->rows;
    const int rows_ahead = HONE_TILE_ROWS(nv) * (k1 - k0 < SOON ? SOON / (k1 - k0) : 1);
    if (panel == 0 && !l->copied) a.tile = HONE_TILE_ROWS(nv) * t.a_stride;
    if (a.tile && a.tile < FAR) a.tile = FAR;
    if (k0 == 0 && !l->stream && !l->spread) a.out = rows_ahead * t.c_row;
    for (int i = 0, n; i < parts; i += n) {
        const int more = g->rows % parts, count = each + (i < more);
        n = panel == 0 && l->copied ? 1 : i < more ? more : parts - i;
        if (panel == 0 && l->copied) set_ahead(j, &a, next, count, k0);
        columns[nv - 1][count - 1](&t, n, &a);
        next += count;
        if (last && !t.relu) hone_epilogue(j->act, t.c, t.c_row, n * count, cols, NULL);
        t.a += n * count * t.a_stride;
        t.c += n * count * t.c_row;
    }
}

/* Where dx has what pixel i of dy adds up to; up to where the next one's is, all else is 0. */
static int64_t place_of(const struct gather *q, int64_t i)
{
    const struct conv *v = &q->v;
    const int64_t w = i % v->ow, h = i / v->ow % v->oh, image = i / v->ow / v->oh;
    return ((image * v->ih + h * v->sh) * v->iw + w * v->sw) * v->ic;
}

static void spread(const struct gather *q, int64_t first, int rows, const real *from, real *dx)
{
    const int64_t at = place_of(q, first), end = place_of(q, first + rows);
    const size_t bytes = (size_t)q->outc * sizeof *dx;
    /* In one piece, which processors can clear without reading it. */
    memset(dx + at, 0, (size_t)(end - at) * sizeof *dx);
    for (int i = 0, n; i < rows; i += n) {
        real *to = dx + place_of(q, first + i);
        n = least(rows - i, q->v.ow - (int)((first + i) % q->v.ow));   /* in a row of the image */
        for (int k = 0; k < n; k++)
            memcpy(to + (int64_t)k * q->v.sw * q->v.ic, from + (i + k) * (int64_t)q->outc, bytes);
    }
}

static void do_group(const struct job *j, int64_t first, int rows, real *own)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const struct group g = { first, rows, inputs(j, first, rows, own),
                             l->spread ? own : j->out + first * q->outc };
    const int parts = l->parts;
    for (int panel = 0; panel < l->panels; panel++)
        for (int i = 0; i < parts; i++)
            do_part(j, &g, panel, (int)((int64_t)q->inc * i / parts),
                    (int)((int64_t)q->inc * (i + 1) / parts));
    if (l->spread) spread(q, first, rows, own, j->out);
}

static void work(const struct job *j, int thread, int threads, real *own)
{
    const struct layout *l = &j->l;
    const int64_t from = l->rows * thread / threads, n = l->rows * (thread + 1) / threads - from;
    const int64_t groups = (n + l->group - 1) / l->group;
    for (int64_t i = 0; i < groups; i++) {
        const int64_t first = n * i / groups;
        do_group(j, from + first, (int)(n * (i + 1) / groups - first), own);
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.kh != 1 || v.kw != 1) return "the kernel is not 1x1";
    if (v.g != 1) return "it has groups";
    return v.ph || v.pw || (v.oh - 1) * v.sh >= v.ih || (v.ow - 1) * v.sw >= v.iw
               ? "it has padding"
               : NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    if (c->v[NV] > 1 && (c->v[NV] - 1) * VL >= l.q.outc) return 0;
    /* Past the caches goes what is written once, in whole lines, and not read for an epilogue. */
    if (l.stream && (!hone_conv2d_can_stream(p) || hone_act_of(p) == HONE_ACT_relu6 || l.spread ||
                     l.parts > 1 || hone_problem_bytes(p) < d->l2_bytes))
        return 0;
    return c->v[GROUP] < 2 * l.rows + 28 && c->v[THREADS] <= l.rows;
}

/* Four vectors have the fewest loads per sum, unless the last panel would be mostly empty; a group
 * in half of L2. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    double room = 0.5 * (d->l2_bytes ? (double)d->l2_bytes : 262144) / sizeof(real);
    int vectors = up(q.outc, VL);
    c->v[NV] = vectors <= 4 ? vectors : up(vectors, 4) * 4 - vectors < 2 ? 4 : 3;
    c->v[STREAM] = 0;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    for (c->v[GROUP] = 112; c->v[GROUP] > 28; c->v[GROUP] /= 2)
        if (valid(p, c, d) && (double)c->v[GROUP] * q.inc <= room) break;
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
    c->v[STREAM] = hone_conv2d_stream(p, d);
    if (!valid(p, c, d)) c->v[STREAM] = 0;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.weights + c->v[THREADS] * l.own) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    struct job j = { .l = layout_of(p, c), .in = mem[1], .w = mem[2], .out = mem[0] };
    const struct layout *l = &j.l;
    const int threads = c->v[THREADS];
    j.act = l->q.dgrad ? HONE_ACT_none : hone_act_of(p);
    j.bias = !l->q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;
    j.weights = workspace;
    real *own = j.weights + l->weights;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int i = 0; i < l->panels; i++) pack(&j, i);
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++) work(&j, t, threads, own + t * l->own);
        if (l->stream) vf_stream_end();
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_pointwise) = {
    .name = HONE_NAME("cpu_pointwise"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("nv", 1, 2, 3, 4), HONE_PARAM("group", 28, 56, 112, 224, 448),
               CONV_STREAM, CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
