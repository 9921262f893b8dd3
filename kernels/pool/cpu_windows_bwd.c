/* Gradients of pooling, window by window with channels in the lanes.
 *
 * Where windows do not overlap, each input belongs to one window at most and is written once: the
 * rows of the output are shared by the threads, each with the strip of input rows down to the next
 * window's, and whole lines may go past the caches.  Where they overlap, an image is
 * cleared and its windows add to it in order, and threads share images; of bf16 numbers the sums lie
 * in scratch memory until the image is done, so that they are rounded once. */
#include "kernels/backend/ahead.h"
#include "kernels/pool/pool.h"

enum { STREAM, THREADS };
enum { AHEAD = 16 };   /* pixels */

/* Neighbouring pixels of one row whose windows have one shape, h x w: where the first window
 * begins in dx (and x, for the maximum) and where its dy lies (and its index), and how far the next
 * one's are.  first, kw: the place of the windows' first input, and the places of a row. */
struct pixels {
    stored *dx;
    real *sum;   /* dx where windows add to it */
    const stored *x, *dy;
    const uint8_t *index;
    int n, h, w, ic, first, kw;
    int64_t row, step;
    real scale;
};

/* Do sums lie beside dx?  Else dx itself holds them. */
enum { BESIDE = sizeof(stored) < sizeof(real) };

/* Puts or adds `gradient`, n lanes, `at` numbers from where s begins. */
HONE_INLINE void put(int add, int stream, int n, const struct pixels *s, int64_t at, vf gradient)
{
    real *sum = s->sum + at;
    if (add) {
        if (n == VL) vf_store(sum, vf_load(sum) + gradient);
        else vf_store_n(sum, vf_load_n(sum, n) + gradient, n);
    } else if (stream) {
        vs_stream(s->dx + at, gradient);
    } else if (n == VL) {
        vs_store(s->dx + at, gradient);
    } else {
        vs_store_n(s->dx + at, gradient, n);
    }
}

/* Which tap of an h x w window at x holds the first maximum, lane by lane. */
HONE_INLINE vi first_maximum(int stream, int n, int h, int w, const stored *x, int ic, int64_t row)
{
    vf best = n == VL ? vs_load(x) : vs_load_n(x, n);
    vi at = { 0 };
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            const stored *tap = x + i * row + (int64_t)j * ic;
            if (stream) fetch_ahead(tap);
            vf in = n == VL ? vs_load(tap) : vs_load_n(tap, n);
            vi more = in > best, here = (vi){ 0 } + (i * w + j);
            at = (vi)vf_select(more, (vf)here, (vf)at);
            best = vf_select(more, in, best);
        }
    return at;
}

/* n of VL places. */
HONE_INLINE vi get_bytes(const uint8_t *from, int n)
{
    typedef uint8_t bytes __attribute__((vector_size(HONE_LANES)));
    bytes b = { 0 };
    memcpy(&b, from, (size_t)n);
    return __builtin_convertvector(b, vi);
}

/* One vector of channels from c on, of n lanes, of every pixel.  A few pixels' maxima are found
 * before their gradients are written: x and dx often lie at the same place of a page, and a
 * processor that sees a load after such a store waits for it. */
HONE_INLINE void channels(enum pool_way way, int add, int stream, int n, int h, int w,
                          const struct pixels *job, int c)
{
    const struct pixels s = *job;
    const int indexed = way == POOL_WITH_INDEX, base = indexed ? s.first : 0,
              pitch = indexed ? s.kw : w;
    vi at[AHEAD];
    for (int from = 0; from < s.n; from += AHEAD) {
        int k = s.n - from < AHEAD ? s.n - from : AHEAD;
        for (int o = 0; way == POOL_MAXIMUM && o < k; o++)
            at[o] = first_maximum(stream, n, h, w, s.x + (from + o) * s.step + c, s.ic, s.row);
        for (int o = 0; o < k; o++) {
            const stored *dy = s.dy + (int64_t)(from + o) * s.ic + c;
            const int64_t first = (from + o) * s.step + c;
            if (stream) fetch_ahead(dy);
            if (stream && indexed) fetch_ahead(s.index + (int64_t)(from + o) * s.ic + c);
            vf g = n == VL ? vs_load(dy) : vs_load_n(dy, n), zero = { 0 };
            const vi most =
                indexed ? get_bytes(s.index + (int64_t)(from + o) * s.ic + c, n) : at[o];
            if (way == POOL_AVERAGE) g = g * s.scale;
            for (int i = 0; i < h; i++)
                for (int j = 0; j < w; j++) {
                    vi here = (vi){ 0 } + (base + i * pitch + j);
                    put(add, stream, n, &s, first + i * s.row + (int64_t)j * s.ic,
                        way == POOL_AVERAGE ? g : vf_select(most == here, g, zero));
                }
        }
    }
}

HONE_INLINE void all_channels(enum pool_way way, int add, int stream, int h, int w,
                              const struct pixels *s)
{
    int c = 0;
    for (int o = 0; stream && way != POOL_MAXIMUM && o < s->n; o++) {
        /* Neighbouring lines one after the other are what leaves for memory fastest. */
        struct pixels one = *s;
        one.n = 1;
        one.dx += o * s->step;
        one.dy += (int64_t)o * s->ic;
        one.index = s->index ? s->index + (int64_t)o * s->ic : NULL;
        for (int k = 0; k < s->ic; k += VL) channels(way, 0, 1, VL, h, w, &one, k);
    }
    if (stream && way != POOL_MAXIMUM) return;
    for (; c + VL <= s->ic; c += VL) channels(way, add, stream, VL, h, w, s, c);
    if (!stream && c < s->ic) channels(way, add, 0, s->ic - c, h, w, s, c);
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
    return d[POOL_KW] >= d[POOL_SW] &&
           (d[POOL_OW] - 1) * d[POOL_SW] - d[POOL_PW] + d[POOL_KW] >= d[POOL_IW];
}

/* Pixels [from, to) of the row that s->dx, s->x and s->dy begin; their windows have columns u,
 * which begin at column `left` of the window. */
HONE_INLINE void some_pixels(enum pool_way way, int stream, const struct hone_problem *p,
                             const struct pixels *row, int from, int to, struct pool_span u,
                             int left)
{
    struct pixels s = *row;
    int area = p->attrs & 1 ? p->dim[POOL_KH] * p->dim[POOL_KW] : s.h * (u.to - u.from);
    s.dx += (int64_t)u.from * s.ic;
    s.sum = s.sum ? s.sum + (int64_t)u.from * s.ic : NULL;
    s.x = way == POOL_MAXIMUM ? s.x + (int64_t)u.from * s.ic : NULL;
    s.index = way == POOL_WITH_INDEX ? s.index + (int64_t)from * s.ic : NULL;
    s.first += left;
    s.dy += (int64_t)from * s.ic;
    s.n = to - from;
    s.w = u.to - u.from;
    s.scale = 1 / (real)area;
    if (!stream && overlap(p)) all_channels(way, 1, 0, s.h, s.w, &s);
    else if (s.h == 2 && s.w == 2) all_channels(way, 0, stream, 2, 2, &s);
    else all_channels(way, 0, stream, s.h, s.w, &s);
}

/* Clears what of row r's strip of dx (ih, row) its windows will not write; where windows add, the
 * first row clears their sums. */
static void clear(const struct hone_problem *p, int o, struct pool_span v, stored *dx, real *sum,
                  int64_t row)
{
    struct pool_span own = strip(p, o);
    if (overlap(p)) {
        if (!o) memset(sum, 0, (size_t)(p->dim[POOL_IH] * row) * sizeof *sum);
        return;
    }
    if (own.from == v.from && own.to == v.to && columns_covered(p)) return;
    memset(dx + own.from * row, 0, (size_t)((own.to - own.from) * row) * sizeof *dx);
}

/* Rows [from, to) of the mb*oh rows of windows; whole images where windows overlap, whose sums may
 * lie `beside`. */
HONE_INLINE void rows(enum pool_way way, int stream, const struct hone_problem *p, stored *dx,
                      const stored *dy, const void *which, real *beside, int64_t from, int64_t to)
{
    const int32_t *d = p->dim;
    const int oh = d[POOL_OH], ow = d[POOL_OW], kw = d[POOL_KW], sw = d[POOL_SW], pw = d[POOL_PW],
              iw = d[POOL_IW];
    const struct pool_span whole = pool_whole(kw, sw, pw, iw, ow);
    struct pixels row = { .ic = d[POOL_IC],
                          .kw = kw,
                          .row = (int64_t)iw * d[POOL_IC],
                          .step = (int64_t)sw * d[POOL_IC] };
    for (int64_t r = from; r < to; r++) {
        int64_t image = r / oh * d[POOL_IH];
        struct pool_span v =
            pool_span((int)(r % oh), d[POOL_KH], d[POOL_SH], d[POOL_PH], d[POOL_IH]);
        real *sum = BESIDE ? beside : (real *)dx + image * row.row;
        clear(p, (int)(r % oh), v, dx + image * row.row, sum, row.row);
        row.dx = dx + (image + v.from) * row.row;
        row.sum = sum ? sum + v.from * row.row : NULL;
        row.x = way == POOL_MAXIMUM ? (const stored *)which + (image + v.from) * row.row : NULL;
        row.index = way == POOL_WITH_INDEX ? (const uint8_t *)which + r * ow * row.ic : NULL;
        row.first = (v.from - ((int)(r % oh) * d[POOL_SH] - d[POOL_PH])) * kw;
        row.dy = dy + r * ow * row.ic;
        row.h = v.to - v.from;
        for (int o = 0; o < ow; o++) {
            int next = o == whole.from && whole.to > o ? whole.to : o + 1;
            const struct pool_span u = pool_span(o, kw, sw, pw, iw);
            some_pixels(way, stream, p, &row, o, next, u, u.from - (o * sw - pw));
            o = next - 1;
        }
        if (beside && r % oh == oh - 1)
            vs_narrow(dx + image * row.row, beside, d[POOL_IH] * row.row);
    }
    if (stream) vf_stream_end();
}

/* which: x or the index, for the maximum. */
HONE_INLINE void all_rows(int stream, const struct hone_problem *p, stored *dx, const stored *dy,
                          const void *which, real *beside, int64_t from, int64_t to)
{
    const enum pool_way way = pool_way(p);
    if (way == POOL_WITH_INDEX) rows(POOL_WITH_INDEX, stream, p, dx, dy, which, beside, from, to);
    else if (way == POOL_MAXIMUM) rows(POOL_MAXIMUM, stream, p, dx, dy, which, beside, from, to);
    else rows(POOL_AVERAGE, stream, p, dx, dy, NULL, beside, from, to);
}

static void share(int stream, const struct hone_problem *p, stored *dx, const stored *dy,
                  const void *which, real *beside, int64_t from, int64_t to)
{
    if (stream) all_rows(1, p, dx, dy, which, beside, from, to);
    else all_rows(0, p, dx, dy, which, beside, from, to);
}

/* Reals of one thread's sums: of an image, in whole lines. */
static int64_t beside_each(const struct hone_problem *p)
{
    const int64_t image = (int64_t)p->dim[POOL_IH] * p->dim[POOL_IW] * p->dim[POOL_IC];
    return BESIDE && overlap(p) ? (image + 15) / 16 * 16 : 0;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return (size_t)(c->v[THREADS] * beside_each(p)) * sizeof(real);
}

/* Rows that go together: a whole image's where windows overlap. */
static int grain(const struct hone_problem *p) { return overlap(p) ? p->dim[POOL_OH] : 1; }

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    /* Past the caches only what they do not hold, and lines in one piece. */
    if (c->v[STREAM] && (overlap(p) || AHEAD_VECTORS > 1 || p->dim[POOL_IC] % VL ||
                         hone_problem_bytes(p) < (double)d->l2_bytes))
        return 0;
    return c->v[THREADS] == 1 ||
           (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH] / grain(p) >= c->v[THREADS];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[STREAM] = 0;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (!valid(p, c, d)) c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int threads = hone_plan_config(plan)->v[THREADS],
              stream = hone_plan_config(plan)->v[STREAM], whole = grain(p);
    const int64_t n = (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH];
    const int64_t each = beside_each(p);
    stored *dx = mem[POOL_DX];
    const stored *dy = mem[POOL_DY];
    const void *which = pool_is_max(p) ? mem[POOL_BWD_X] : NULL;
    real *beside = each ? workspace : NULL;
    if (threads == 1) { share(stream, p, dx, dy, which, beside, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        share(stream, p, dx, dy, which, beside ? beside + t * each : NULL,
              hone_part(n, whole, threads, t), hone_part(n, whole, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_maxpool_bwd, &hone_op_avgpool_bwd, 0 };

const struct hone_kernel HONE_SYM(pool_cpu_windows_bwd) = {
    .name = HONE_NAME("cpu_windows_bwd"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("stream", 0, 1), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
