/* Data gradient for few input channels: the gradient that an output pixel passes down is, for one
 * row of the filter, kw * ic numbers that lie side by side in a row of dx.  So these are in the
 * lanes, where input channels alone would leave most empty, and pixels in the lanes would ask for
 * every tap, also those outside.
 *
 * For a row of dx a tile of rp neighbouring pixels of dy x nv vectors stays in registers while all
 * rows of dy that meet it, and their channels, pass: nv vectors of weights are loaded and a number
 * of dy is broadcast to each.  Neighbours' numbers overlap in dx, by all but a stride.  Added up in
 * memory, each pixel's would wait for what its neighbour stored a moment ago at another alignment;
 * so pixels take turns at as many lines, each a row of dx with its padding around it, as it takes
 * for no two to overlap in one, and the row is the sum of the lines.  It, too, would wait for the
 * last stores, so it is left until the next row's tiles are done, which go to other lines, where
 * those of two rows fit into the first cache. */
#include "kernels/backend/cpu.h"
#include "kernels/backend/up_to.h"
#include "kernels/conv2d/conv2d.h"

#include <stdlib.h>

enum { RP, ROWS, THREADS };
enum { MAX_RP = 14, MAX_NV = 4, LATE_BYTES = 32 << 10 };

/* One row of dx: the rows of dy that meet it, and the rows of the filter with which. */
struct row {
    const real *dy;             /* the first of them, at the tile's first pixel */
    const real *w;              /* its filter row: (oc, nv * VL) */
    int n;
    int64_t dy_row, w_row;      /* floats to the next one */
    int64_t next, back;         /* floats from a pixel's place to that of the next one, in the next
                                 * line; from the line behind the last one to the first */
    const real *end;            /* of the last line */
};

/* The tile's first pixel goes to `to`; where the one behind its last goes. */
HONE_INLINE real *tile(int rp, int nv, const struct row *r, int oc, real *to)
{
    vf acc[MAX_RP][MAX_NV];
    HONE_UNROLLED for (int p = 0; p < rp; p++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] = (vf){ 0 };
    for (int i = 0; i < r->n; i++) {
        const real *dy = r->dy + i * r->dy_row, *w = r->w + i * r->w_row;
        for (int o = 0; o < oc; o++, w += nv * VL) {
            vf wv[MAX_NV];
            HONE_UNROLLED for (int v = 0; v < nv; v++) wv[v] = vf_load(w + v * VL);
            HONE_UNROLLED for (int p = 0; p < rp; p++) {
                vf g = vf_set(dy[p * oc + o]);
                HONE_UNROLLED for (int v = 0; v < nv; v++) acc[p][v] += g * wv[v];
            }
        }
    }
    HONE_UNROLLED for (int p = 0; p < rp; p++) {
        HONE_UNROLLED for (int v = 0; v < nv; v++) vf_store(to + v * VL, acc[p][v]);
        to += r->next;
        if (to >= r->end) to -= r->back;
    }
    return to;
}

/* How many pixels the registers hold by vectors: rp * nv sums, nv weights and one broadcast. */
#if HONE_VB == 64
static const int most_pixels[MAX_NV] = { 14, 14, 9, 6 };
#define TILES(X) HONE_UP_TO_14(X, 1) HONE_UP_TO_14(X, 2) HONE_UP_TO_9(X, 3) HONE_UP_TO_6(X, 4)
#else
static const int most_pixels[MAX_NV] = { 14, 6, 4, 2 };
#define TILES(X) HONE_UP_TO_14(X, 1) HONE_UP_TO_6(X, 2) HONE_UP_TO_4(X, 3) HONE_UP_TO_2(X, 4)
#endif

HONE_JIT_INLINE int vectors_of(const struct conv *v) { return (v->kw * v->ic + VL - 1) / VL; }

#ifdef HONE_JIT_BUILD
/* A row's tiles are of one size, or of two; they are inlined, and know it before the compiler has
 * found out what is in v. */
HONE_INLINE real *any_tile(const struct conv *v, int rp, const struct row *r, real *to)
{
    const int32_t *d = hone_jit_problem.dim;
    const int nv = (d[CONV_KW] * d[CONV_IC] + VL - 1) / VL, most = hone_jit_config.v[RP],
              n = (d[CONV_OW] + most - 1) / most, less = d[CONV_OW] / n;
    if (d[CONV_OW] % n && rp > less) return tile(less + 1, nv, r, v->oc, to);
    return tile(less, nv, r, v->oc, to);
}
#else
#define X(rp, nv)                                                                                  \
    static real *tile_##rp##x##nv(const struct row *r, int oc, real *to)                           \
    {                                                                                              \
        return tile(rp, nv, r, oc, to);                                                            \
    }
TILES(X)
#undef X

typedef real *tile_fn(const struct row *r, int oc, real *to);

#define X(rp, nv) [nv - 1][rp - 1] = tile_##rp##x##nv,
static tile_fn *const tiles[MAX_NV][MAX_RP] = { TILES(X) };
#undef X

static real *any_tile(const struct conv *v, int rp, const struct row *r, real *to)
{
    return tiles[vectors_of(v) - 1][rp - 1](r, v->oc, to);
}
#endif

/* ---- how the work is cut ---- */

struct layout {
    struct conv v;
    int nv, tiles;                  /* vectors of kw * ic; tiles of a row of dy, nearly equal */
    int rows, bands;                /* of dx; a band of an image is a unit of work */
    const struct meeting *meeting;  /* (ih) */
    int period, step;               /* rows of the filter that meet a row of dx are so far apart,
                                     * and rows of dy */
    int lines, late;                /* of a row; is it left until the next one is computed? */
    int64_t weight_floats, lines_floats;
    int64_t line_floats;            /* a row of dx, its padding, and what is read beyond */
    int64_t apart;                  /* from a thread's lines to the next one's */
};

HONE_JIT_INLINE int64_t whole(int64_t floats) { return (floats + 15) / 16 * 16; }

HONE_JIT_INLINE struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .v = conv_of(p), .rows = c->v[ROWS] };
    const struct conv *v = &l.v;
    l.nv = vectors_of(v);
    l.tiles = (v->ow + c->v[RP] - 1) / c->v[RP];
    if (!l.rows || l.rows > v->ih) l.rows = v->ih;
    l.bands = (v->ih + l.rows - 1) / l.rows;
    /* y = oy * sh - ph + ky * dh: with ky go those that are a multiple of sh / gcd apart. */
    int gcd = v->sh;
    for (int r = v->dh % gcd, old; r; r = old % r) { old = gcd; gcd = r; }
    l.period = v->sh / gcd;
    l.step = v->dh / gcd;
    l.weight_floats = whole((int64_t)v->kh * v->oc * l.nv * VL);
    l.lines = (v->kw + v->sw - 1) / v->sw;
    const int64_t windows = (int64_t)(v->ow - 1) * v->sw * v->ic + l.nv * VL,
                  pixels = ((int64_t)v->pw + v->iw) * v->ic + VL;
    l.line_floats = whole(windows > pixels ? windows : pixels);
    l.lines_floats = l.lines * l.line_floats;
    l.late = 2 * l.lines_floats * (int64_t)sizeof(real) <= LATE_BYTES;
    l.apart = (1 + l.late) * l.lines_floats + HONE_APART;
    return l;
}

/* Row y of dx meets n rows of dy, oy, oy - step and so on, with rows ky, ky + period and so on of
 * the filter. */
struct meeting { int n, oy, ky; };

static struct meeting meeting_of(const struct layout *l, int y)
{
    const struct conv *v = &l->v;
    struct meeting m = { 0 };
    int ky = 0;
    while (ky < l->period && ky < v->kh && (y + v->ph - (int64_t)ky * v->dh) % v->sh) ky++;
    if (ky == l->period) return m;
    for (; ky < v->kh; ky += l->period) {
        const int64_t at = y + v->ph - (int64_t)ky * v->dh;
        if (at < 0) break;
        if (at / v->sh >= v->oh) continue;
        if (!m.n++) m.ky = ky, m.oy = (int)(at / v->sh);
    }
    return m;
}

/* A row of dx, `to`, is the sum of its lines. */
HONE_INLINE void add_lines(int n, const struct layout *l, const real *lines, real *to)
{
    const int floats = l->v.iw * l->v.ic;
    lines += (int64_t)l->v.pw * l->v.ic;
    for (int i = 0; i < floats; i += VL) {
        vf s = vf_load(lines + i);
        HONE_UNROLLED for (int k = 1; k < n; k++) s += vf_load(lines + k * l->line_floats + i);
        if (floats - i < VL) vf_store_n(to + i, s, floats - i);
        else vf_store(to + i, s);
    }
}

HONE_JIT_INLINE void finish(const struct layout *l, const real *lines, real *to)
{
#define X(n, unused) case n: add_lines(n, l, lines, to); break;
    switch (l->lines) {
    HONE_UP_TO_8(X, 0)
    default: add_lines(l->lines, l, lines, to);
    }
#undef X
}

/* What a thread has of dx: the lines of the row it computes, in which is 0 what no pixel has as its
 * place; and of the row that is left, whose place in dx is `to`, NULL if there is none. */
struct mine { real *lines, *left, *to; };

HONE_JIT_INLINE void unit(const struct layout *l, const real *dy, const real *w, int64_t u,
                          real *dx, struct mine *mine)
{
    const struct conv *v = &l->v;
    const int64_t n = u / l->bands, filter_row = (int64_t)v->oc * l->nv * VL;
    struct row r = { .dy_row = -(int64_t)l->step * v->ow * v->oc, .w_row = l->period * filter_row,
                     .next = l->line_floats + (int64_t)v->sw * v->ic,
                     .back = l->lines_floats };
    const int y0 = (int)(u % l->bands) * l->rows, y1 = y0 + l->rows < v->ih ? y0 + l->rows : v->ih;
    for (int y = y0; y < y1; y++) {
        const struct meeting m = l->meeting[y];
        const real *from = dy + (n * v->oh + m.oy) * v->ow * v->oc;
        real *to = dx + (n * v->ih + y) * v->iw * v->ic, *at = mine->lines;
        r.n = m.n;
        r.w = w + m.ky * filter_row;
        r.end = at + r.back;
        if (!r.n) {
            memset(to, 0, (size_t)v->iw * (size_t)v->ic * sizeof *to);
            continue;
        }
        for (int t = 0; t < l->tiles; t++) {
            const int x0 = (int)((int64_t)v->ow * t / l->tiles),
                      x1 = (int)((int64_t)v->ow * (t + 1) / l->tiles);
            r.dy = from + (int64_t)x0 * v->oc;
            at = any_tile(v, x1 - x0, &r, at);
        }
        if (!l->late) {
            finish(l, mine->lines, to);
            continue;
        }
        if (mine->to) finish(l, mine->left, mine->to);
        *mine = (struct mine){ mine->left, mine->lines, to };
    }
}

/* Row ky of the filter, (oc, kh, kw, ic), of channel o: a whole number of vectors. */
static void pack(const struct layout *l, int o, int ky, const real *w, real *to)
{
    const struct conv *v = &l->v;
    const int run = v->kw * v->ic;
    to += ((int64_t)ky * v->oc + o) * l->nv * VL;
    w += ((int64_t)o * v->kh + ky) * run;
    for (int i = 0; i < l->nv * VL; i++) to[i] = i < run ? w[i] : 0;
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.g > 1) return "it has groups";
    if (v.dw > 1) return "taps lie apart";
    if ((int64_t)v.kw * v.ic > MAX_NV * VL) return "a row of the filter is more than four vectors";
    return NULL;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    const int nv = vectors_of(&v), rp = c->v[RP];
    (void)d;
    if (rp > most_pixels[nv - 1]) return 0;
    /* Of sizes that make equally many tiles, the smallest stands for all. */
    if (rp > 1 && (v.ow + rp - 2) / (rp - 1) == (v.ow + rp - 1) / rp) return 0;
    if (c->v[ROWS] >= v.ih) return 0;
    return (int64_t)v.mb * layout_of(p, c).bands >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct conv v = conv_of(p);
    c->v[THREADS] = hone_conv2d_threads(p, d);
    c->v[ROWS] = v.mb < 4 * c->v[THREADS] && v.ih > 4 ? 4 : 0;
    for (c->v[RP] = MAX_RP; c->v[RP] > 1 && !valid(p, c, d);) c->v[RP]--;
    while (c->v[THREADS] > 1 && !valid(p, c, d)) c->v[THREADS] /= 2;
}

static int prepare(struct hone_plan *plan)
{
    const struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    struct meeting *m = plan->priv = malloc((size_t)l.v.ih * sizeof *m);
    if (!m) return hone_fail(HONE_ENOMEM, "rows of a convolution");
    for (int y = 0; y < l.v.ih; y++) m[y] = meeting_of(&l, y);
    return HONE_OK;
}

static void release(struct hone_plan *plan)
{
    free(plan->priv);
    plan->priv = NULL;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.weight_floats + HONE_APART + c->v[THREADS] * l.apart) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int threads = hone_plan_config(plan)->v[THREADS];
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
        real *dx = mem[0], *weights = workspace, *all = weights + l.weight_floats + HONE_APART;
        const real *dy = mem[1], *w = mem[2];
        const int64_t units = (int64_t)l.v.mb * l.bands;
        l.meeting = plan->priv;
#pragma omp for schedule(static)
        for (int i = 0; i < l.v.oc * l.v.kh; i++) pack(&l, i / l.v.kh, i % l.v.kh, w, weights);
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++) {
            real *lines = all + t * l.apart;
            struct mine mine = { lines, lines + l.lines_floats, NULL };
            memset(lines, 0, (size_t)(l.apart - HONE_APART) * sizeof *lines);
            for (int64_t u = units * t / threads; u < units * (t + 1) / threads; u++)
                unit(&l, dy, weights, u, dx, &mine);
            if (mine.to) finish(&l, mine.left, mine.to);
        }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_scatter) = {
    .name = HONE_NAME("cpu_scatter"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("rp", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
               HONE_PARAM("rows", 0, 4, 8, 16), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
};
