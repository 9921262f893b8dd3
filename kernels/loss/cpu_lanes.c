/* Softmax and cross-entropy with rows in the lanes: VL rows are turned into columns, a vector a
 * class, so that a row's maximum and sum need no steps across lanes, and few classes leave no lane
 * empty.  Exponentials rest in a buffer; gradients are turned back when they are stored.
 *
 * Rows are turned in pieces of four numbers, two where vectors have no more: a vector has one piece
 * of each fourth row, and four vectors change places within pieces.  The last piece of a row ends
 * where the row does, so some classes are in two pieces: they are stored twice alike.
 *
 * A few vectors of rows pass together through maxima, exponentials and gradients, for each pass
 * alone is a chain that waits for itself.  A DX that is too large to be found in the caches again
 * is made in a buffer, from which it goes past them during the next rows' exponentials: VL rows are
 * whole vectors, wherever they begin. */
#include "kernels/gemm/pack.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/rows.h"

enum { VECTORS, STREAM, THREADS };
enum { MOST = 4,   /* vectors of rows at a time; at most */
       PIECE = VL < 4 ? VL : 4, LINE = HONE_ALIGN / sizeof(real),
       GRAIN = 16,   /* rows: lines of LOSS, HIT and DX */
       AHEAD = 2048 / sizeof(real) };   /* numbers */

/* ---- rows to columns and back ---- */

/* VL / PIECE pieces of a vector, which are `apart` numbers apart in memory. */
HONE_INLINE vf load_pieces(const real *p, int64_t apart)
{
#if HONE_LANES == 16
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + apart), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 2 * apart), 2);
    return (vf)_mm512_insertf32x4(v, _mm_loadu_ps(p + 3 * apart), 3);
#elif HONE_LANES == 8 && HONE_REAL == 64
    __m512d v = _mm512_castpd256_pd512(_mm256_loadu_pd(p));
    return (vf)_mm512_insertf64x4(v, _mm256_loadu_pd(p + apart), 1);
#elif HONE_LANES == 8
    __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return (vf)_mm256_insertf128_ps(v, _mm_loadu_ps(p + apart), 1);
#else
    (void)apart;
    return vf_load(p);
#endif
}

HONE_INLINE void store_piece(real *p, int q, vf v)
{
#if HONE_LANES == 16
    _mm_storeu_ps(p, q == 0   ? _mm512_castps512_ps128((__m512)v)
                     : q == 1 ? _mm512_extractf32x4_ps((__m512)v, 1)
                     : q == 2 ? _mm512_extractf32x4_ps((__m512)v, 2)
                              : _mm512_extractf32x4_ps((__m512)v, 3));
#elif HONE_LANES == 8 && HONE_REAL == 64
    _mm256_storeu_pd(p, q == 0 ? _mm512_castpd512_pd256((__m512d)v)
                               : _mm512_extractf64x4_pd((__m512d)v, 1));
#elif HONE_LANES == 8
    _mm_storeu_ps(p, q == 0 ? _mm256_castps256_ps128((__m256)v)
                            : _mm256_extractf128_ps((__m256)v, 1));
#else
    (void)q;
    vf_store(p, v);
#endif
}

/* Number j of each piece of r[i] changes places with number i of r[j]'s. */
HONE_INLINE void turn_pieces(vf *r)
{
#if defined __SSE__ && HONE_REAL != 64
    vm a = HONE_MM(unpacklo)((vm)r[0], (vm)r[1]), b = HONE_MM(unpackhi)((vm)r[0], (vm)r[1]),
       c = HONE_MM(unpacklo)((vm)r[2], (vm)r[3]), d = HONE_MM(unpackhi)((vm)r[2], (vm)r[3]);
    r[0] = (vf)HONE_MM(shuffle)(a, c, 0x44);
    r[1] = (vf)HONE_MM(shuffle)(a, c, 0xee);
    r[2] = (vf)HONE_MM(shuffle)(b, d, 0x44);
    r[3] = (vf)HONE_MM(shuffle)(b, d, 0xee);
#else
    HONE_UNROLLED for (int h = PIECE / 2; h; h /= 2)
        HONE_UNROLLED for (int i = 0; i < PIECE; i++) {
            if (i & h) continue;
            vf a = r[i], b = r[i + h];
            r[i] = vf_low(h, a, b);
            r[i + h] = vf_high(h, a, b);
        }
#endif
}

/* a in the lanes where c is the label, else b. */
HONE_INLINE vf where_label(vi c, vi label, vf a, vf b)
{
#if defined __AVX512F__ && HONE_REAL == 64
    return (vf)HONE_MM(mask_mov)((vm)b, _mm512_cmpeq_epi64_mask((__m512i)c, (__m512i)label), (vm)a);
#elif defined __AVX512F__
    return (vf)HONE_MM(mask_mov)((vm)b, _mm512_cmpeq_epi32_mask((__m512i)c, (__m512i)label), (vm)a);
#else
    return vf_select(c == label, a, b);
#endif
}

/* What is found while VL rows are turned: maxima, numbers at the labels, maxima before these. */
struct found { vf most, right, before; };

HONE_INLINE void look_at(struct found *f, vf v, vi c, vi label)
{
    f->right = where_label(c, label, v, f->right);
    f->before = where_label(c, label, f->most, f->before);
    f->most = vf_max(v, f->most);
}

/* Classes from..from + PIECE - 1, the first `known` of which were looked at. */
HONE_INLINE void turn_in(const real *x, int n, int from, int known, real *to, vi c, vi label,
                         struct found *f)
{
    vf r[PIECE];
    HONE_UNROLLED for (int i = 0; i < PIECE; i++)
        r[i] = load_pieces(x + (int64_t)i * n + from, (int64_t)PIECE * n);
    turn_pieces(r);
    HONE_UNROLLED for (int i = 0; i < PIECE; i++, c += 1) {
        vf_store(to + (int64_t)(from + i) * VL, r[i]);
        if (i >= known) look_at(f, r[i], c, label);
    }
}

/* VL rows of n numbers become n vectors. */
HONE_INLINE struct found columns(int few, const real *x, int n, real *to, vi label)
{
    const vf least = vf_set(-__builtin_inff());
    struct found f = { least, least, least };
    vi c = { 0 };
    int j = 0;
    for (; few && j < n; j++, c += 1) {
        for (int i = 0; i < VL; i++) to[j * VL + i] = x[i * n + j];
        look_at(&f, vf_load(to + j * VL), c, label);
    }
    for (; j + PIECE <= n; j += PIECE, c += PIECE) turn_in(x, n, j, 0, to, c, label, &f);
    if (j < n) turn_in(x, n, n - PIECE, PIECE - (n - j), to, c - (PIECE - (n - j)), label, &f);
    return f;
}

/* dx = factor e - target, which is `at` at the label and `rest` elsewhere. */
struct slope { vf factor, at, rest; vi label; };

HONE_INLINE vf slope_of(const struct slope *s, const real *e, vi c)
{
    return vf_load(e) * s->factor - where_label(c, s->label, s->at, s->rest);
}

/* Lines take two pieces at once: rows of one follow each other. */
HONE_INLINE void turn_out(const struct slope *s, const real *e, int n, int from, vi c, real *dx)
{
    vf r[PIECE];
    HONE_UNROLLED for (int i = 0; i < PIECE; i++, c += 1)
        r[i] = slope_of(s, e + (int64_t)(from + i) * VL, c);
    turn_pieces(r);
    HONE_UNROLLED for (int q = 0; q < VL / PIECE; q++) {
        real *p = dx + (int64_t)q * PIECE * n + from;
        HONE_UNROLLED for (int i = 0; i < PIECE; i++) store_piece(p + (int64_t)i * n, q, r[i]);
    }
}

HONE_INLINE void gradients(int few, const struct slope *s, real *e, int n, real *dx)
{
    vi c = { 0 };
    int j = 0;
    for (; few && j < n; j++, c += 1) {
        vf_store(e + j * VL, slope_of(s, e + j * VL, c));
        for (int i = 0; i < VL; i++) dx[i * n + j] = e[j * VL + i];
    }
    for (; j + PIECE <= n; j += PIECE, c += PIECE) turn_out(s, e, n, j, c, dx);
    if (j < n) turn_out(s, e, n, n - PIECE, c - (PIECE - (n - j)), dx);
}

/* ---- groups of rows ---- */

static inline vi labels(const int32_t *p)
{
    vi label;
#if HONE_REAL == 64
    for (int i = 0; i < VL; i++) label[i] = p[i];
#else
    memcpy(&label, p, sizeof label);
#endif
    return label;
}

/* What passes between memory and caches meanwhile: what lies `ahead` numbers behind x is fetched,
 * and n numbers, whole vectors, go to `to`. */
struct meanwhile {
    int64_t ahead, n;
    real *to;
    const real *from;
};

HONE_INLINE void pass(struct meanwhile *w)
{
    if (w->n <= 0) return;
    vf_stream(w->to, vf_load(w->from));
    w->n -= VL, w->to += VL, w->from += VL;
}

/* VL rows that are worked on together with others: e are their exponentials, in columns. */
struct group {
    int live;   /* rows of it that exist */
    const real *x;
    real *e, *y;   /* y: gradients, in rows */
    vi label;
    struct found f;
    vf sum, depth;
};

/* e = exp(x - most), their sum, and where `smooth` that of x - most. */
HONE_INLINE void exponentials(int smooth, int stream, struct group *g, int n, struct meanwhile *w)
{
    const vf zero = { 0 };
    vf sum = zero, depth = zero;
    for (int j = 0; j < n; j++) {
        if (stream) {
            if (j * VL % LINE == 0) __builtin_prefetch(g->x + j * VL + w->ahead);
            pass(w);
        }
        vf v = vf_load(g->e + j * VL) - g->f.most, e = exp_below(v);
        vf_store(g->e + j * VL, e);
        sum += e;
        if (smooth) depth += v;
    }
    g->sum = sum, g->depth = depth;
}

/* A thread's buffers, in numbers: columns, gradients twice, and rows of x in place of some that do
 * not exist. */
static int64_t unit_of(int n) { return (int64_t)VL * n; }
static int64_t own_of(int n, int vectors) { return (3 * (int64_t)vectors + 1) * unit_of(n); }

/* Everything about rows [from, to). */
HONE_INLINE void rows(int few, int smooth, int stream, const struct hone_problem *p, int vectors,
                      void *const mem[], int64_t from, int64_t to, real *own)
{
    const int n = p->dim[LOSS_N];
    const int64_t unit = unit_of(n);
    const real s = (real)p->value[CE_SMOOTH], share = 1 / (real)p->dim[LOSS_M],
               spread = s / (real)n;
    const vf one = vf_set(1), zero = { 0 }, at = vf_set((1 - s + spread) * share),
             rest = vf_set(spread * share);
    real *const made = own + vectors * unit, *const edge = own + 3 * vectors * unit;
    int32_t none[VL] = { 0 };
    struct group group[MOST];
    struct meanwhile w = { .ahead = vectors * unit + AHEAD };
    int turn = 0;
    for (int64_t r = from; r < to; turn = !turn) {
        real *const out = made + turn * vectors * unit;
        int groups = 0;
        const int64_t first = r;
        for (; groups < vectors && r < to; groups++, r += VL) {
            struct group *g = &group[groups];
            g->live = to - r < VL ? (int)(to - r) : VL;
            g->x = (const real *)mem[CE_X] + r * n;
            const int32_t *label = (const int32_t *)mem[CE_LABEL] + r;
            if (g->live < VL) {
                memset(edge, 0, (size_t)unit * sizeof *edge);
                memcpy(edge, g->x, (size_t)g->live * n * sizeof *edge);
                memcpy(none, label, (size_t)g->live * sizeof *none);
                g->x = edge, label = none;
            }
            g->e = own + groups * unit;
            g->y = stream || g->live < VL ? out + groups * unit : (real *)mem[CE_DX] + r * n;
            if (stream) {
                __builtin_prefetch(label + 4 * vectors * VL);
                __builtin_prefetch((real *)mem[CE_LOSS] + r + 4 * vectors * VL, 1);
                __builtin_prefetch((real *)mem[CE_HIT] + r + 4 * vectors * VL, 1);
            }
            g->label = labels(label);
            g->f = columns(few, g->x, n, g->e, g->label);
        }
        for (int i = 0; i < groups; i++) exponentials(smooth, stream, &group[i], n, &w);
        while (stream && w.n > 0) pass(&w);
        for (int i = 0; i < groups; i++) {
            struct group *g = &group[i];
            const int64_t row = first + i * VL;
            const struct found *f = &g->f;
            const struct slope slope = { share / g->sum, at, rest, g->label };
            vf loss = vf_log(g->sum) - (1 - s) * (f->right - f->most);
            if (smooth) loss -= spread * g->depth;
            vi hit = (f->right == f->most) & (f->right > f->before);
            vf_store_n((real *)mem[CE_LOSS] + row, loss, g->live);
            vf_store_n((real *)mem[CE_HIT] + row, vf_select(hit, one, zero), g->live);
            gradients(few, &slope, g->e, n, g->y);
            if (g->live < VL)
                memcpy((real *)mem[CE_DX] + row * n, g->y, (size_t)g->live * n * sizeof *g->y);
            else if (stream)
                w.n += unit;
        }
        w.to = (real *)mem[CE_DX] + first * n, w.from = out;
    }
    while (stream && w.n > 0) pass(&w);
    if (stream) vf_stream_end();
}

static void part(const struct hone_plan *plan, void *const mem[], int64_t from, int64_t to,
                 real *own)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const int *v = hone_plan_config(plan)->v, vectors = v[VECTORS], stream = v[STREAM];
    const int few = p->dim[LOSS_N] < PIECE, smooth = p->value[CE_SMOOTH] != 0;
    if (few) rows(1, smooth, stream, p, vectors, mem, from, to, own);
    else if (smooth && stream) rows(0, 1, 1, p, vectors, mem, from, to, own);
    else if (smooth) rows(0, 1, 0, p, vectors, mem, from, to, own);
    else if (stream) rows(0, 0, 1, p, vectors, mem, from, to, own);
    else rows(0, 0, 0, p, vectors, mem, from, to, own);
}

extern const struct hone_kernel HONE_SYM(loss_cpu_lanes);

/* Where this is faster than cpu_lines. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[LOSS_N] <= 3 * VL && p->dim[LOSS_N] < 32;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[LOSS_N] > 64 ? "more than 64 classes" : NULL;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int m = p->dim[LOSS_M], n = p->dim[LOSS_N];
    c->v[STREAM] = rows_stream(p, d);
    /* Beside memory, more rows at once only make what passes uneven. */
    c->v[VECTORS] = c->v[STREAM] ? 1 + (n <= VL) : m >= 4 * VL ? 4 : 1 + (m >= 2 * VL);
    /* About half a nanosecond a number. */
    c->v[THREADS] = hone_guess_threads(d, m * (n * 5e-4));
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(loss_cpu_lanes), p, c, d))
        c->v[THREADS] /= 2;
}

/* Numbers of the workspace that a thread has. */
static int64_t own_size(const struct hone_problem *p, const struct hone_config *c)
{
    return rows_apart(own_of(p->dim[LOSS_N], c->v[VECTORS]));
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)d;
    return (size_t)(c->v[THREADS] * own_size(p, c)) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_config *c = hone_plan_config(plan);
    return rows_run(part, plan, c->v[THREADS], GRAIN, own_size(hone_plan_problem(plan), c), mem,
                    workspace);
}

static const struct hone_op *const ops[] = { &hone_op_softmax_ce, 0 };

const struct hone_kernel HONE_SYM(loss_cpu_lanes) = {
    .name = HONE_NAME("cpu_lanes"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("vectors", 1, 2, 4), HONE_PARAM("stream", 0, 1),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    /* Streaming pays only where the arguments together exceed the L2 cache. */
    .constraint = "(vectors == 1 || m > lanes * vectors / 2) && "
                  "(stream == 0 || bytes >= l2) && "
                  "(threads == 1 || m >= 32 * threads)",
    .suits = suits,
    .refuse = refuse,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
