/* Pooling forward with channels in the lanes: channels last makes every input of a window a run of
 * ic numbers, whatever the window's shape.  The pixels of a row whose windows are whole are one
 * loop; full windows of 2x2 and 3x3, which nets use, have loops of known length inside of it.
 * Threads share the rows of the output, which go past the caches where they are too large to be
 * found there again. */
#include "kernels/backend/ahead.h"
#include "kernels/pool/pool.h"

enum { BLOCK, STREAM, THREADS };   /* BLOCK: vectors of channels at a time */

/* Neighbouring pixels of one row whose windows have one shape, h x w: where the first window
 * begins in x and its result lies in y, how far the next one's are (step) and those of the row of
 * windows below (below).  Of an index: where it lies, the place of the windows' first input, and
 * the places of a row of a window. */
struct pixels {
    const stored *x;
    stored *y;
    uint8_t *index;
    int n, h, w, ic, first, kw;
    int64_t row, step, below;
    real scale, most;
};

typedef uint8_t bytes __attribute__((vector_size(HONE_LANES)));

/* Stores the first n of VL bytes. */
HONE_INLINE void put_bytes(uint8_t *to, vi v, int n, int stream)
{
    const bytes b = __builtin_convertvector(v, bytes);
#if defined __AVX512F__ && HONE_LANES == 16
    if (stream) { _mm_stream_si128((__m128i *)to, (__m128i)b); return; }
#else
    (void)stream;
#endif
    memcpy(to, &b, (size_t)n);
}

/* here where u > v, else at; without a way round through a vector of the mask. */
HONE_INLINE vi place_of_more(vf u, vf v, vi here, vi at)
{
#if defined __AVX512F__ && HONE_REAL != 64
    return (vi)_mm512_mask_blend_epi32(_mm512_cmp_ps_mask((vm)u, (vm)v, _CMP_GT_OQ), (__m512i)at,
                                       (__m512i)here);
#else
    return (vi)vf_select(u > v, (vf)here, (vf)at);
#endif
}

/* `block` vectors of channels from c on, the last of them of n lanes, of every pixel. */
HONE_INLINE void channels(enum pool_way way, int block, int stream, int n, int h, int w,
                          const struct pixels *job, int c)
{
    const struct pixels s = *job;
    const int indexed = way >= POOL_WITH_INDEX;
    const vf zero = { 0 }, most = vf_set(s.most);
    const vi none = (vi){ 0 } + POOL_NONE;
    const stored *x = s.x + c;
    stored *y = s.y + c;
    uint8_t *index = indexed ? s.index + c : NULL;
    for (int o = 0; o < s.n; o++, x += s.step, y += s.ic) {
        vf v[4];
        vi at[4];
        HONE_UNROLLED
        for (int b = 0; b < block; b++) {
            v[b] = way == POOL_AVERAGE ? zero : n == VL ? vs_load(x + b * VL) : vs_load_n(x, n);
            at[b] = (vi){ 0 } + s.first;
        }
        for (int i = 0; i < h; i++)
            for (int j = 0; j < w; j++) {
                const stored *in = x + i * s.row + (int64_t)j * s.ic;
                const vi here = (vi){ 0 } + (s.first + i * s.kw + j);
                HONE_UNROLLED
                for (int b = 0; b < block; b++) {
                    if (stream && b % AHEAD_VECTORS == 0) fetch_to_l2(in + b * VL + s.below);
                    vf u = n == VL ? vs_load(in + b * VL) : vs_load_n(in, n);
                    if (indexed) at[b] = place_of_more(u, v[b], here, at[b]);
                    v[b] = way == POOL_AVERAGE ? v[b] + u : vf_max(u, v[b]);
                }
            }
        HONE_UNROLLED
        for (int b = 0; b < block; b++) {
            if (way == POOL_AVERAGE) v[b] = v[b] * s.scale;
            if (way == POOL_WITH_CUT) {
                at[b] = (vi)vf_select((v[b] > zero) & (v[b] < most), (vf)at[b], (vf)none);
                v[b] = vf_min(most, vf_max(zero, v[b]));
            }
            if (stream) vs_stream(y + b * VL, v[b]);
            else if (n == VL) vs_store(y + b * VL, v[b]);
            else vs_store_n(y, v[b], n);
            if (indexed) put_bytes(index + b * VL, at[b], n, stream);
        }
        if (indexed) index += s.ic;
    }
}

/* Only whole vectors go past the caches; the constraint sees to it that there are no others. */
HONE_INLINE void all_channels(enum pool_way way, int block, int stream, int h, int w,
                              const struct pixels *s)
{
    int c = 0;
    for (; c + block * VL <= s->ic; c += block * VL) channels(way, block, stream, VL, h, w, s, c);
    for (; block > 1 && c + VL <= s->ic; c += VL) channels(way, 1, stream, VL, h, w, s, c);
    if (!stream && c < s->ic) channels(way, 1, 0, s->ic - c, h, w, s, c);
}

/* Pixels [from, to) of the row that s->x and s->y begin; their windows have columns u, which begin
 * at column `left` of the window. */
HONE_INLINE void some_pixels(enum pool_way way, int block, int stream,
                             const struct hone_problem *p, const struct pixels *row, int from,
                             int to, struct pool_span u, int left)
{
    struct pixels s = *row;
    int area = p->attrs & 1 ? p->dim[POOL_KH] * p->dim[POOL_KW] : s.h * (u.to - u.from);
    s.x += (int64_t)u.from * s.ic;
    s.y += (int64_t)from * s.ic;
    s.index = s.index ? s.index + (int64_t)from * s.ic : NULL;
    s.first += left;
    s.n = to - from;
    s.w = u.to - u.from;
    s.scale = 1 / (real)area;
    if (s.h == 2 && s.w == 2) all_channels(way, block, stream, 2, 2, &s);
    else if (s.h == 3 && s.w == 3) all_channels(way, block, stream, 3, 3, &s);
    else all_channels(way, block, stream, s.h, s.w, &s);
}

/* Rows [from, to) of the mb*oh rows of y. */
HONE_INLINE void rows(enum pool_way way, int block, int stream, const struct hone_problem *p,
                      const stored *x, stored *y, uint8_t *index, int64_t from, int64_t to)
{
    const int32_t *d = p->dim;
    const int oh = d[POOL_OH], ow = d[POOL_OW], kw = d[POOL_KW], sw = d[POOL_SW], pw = d[POOL_PW],
              iw = d[POOL_IW];
    const struct pool_span whole = pool_whole(kw, sw, pw, iw, ow);
    struct pixels row = { .ic = d[POOL_IC],
                          .kw = kw,
                          .row = (int64_t)iw * d[POOL_IC],
                          .step = (int64_t)sw * d[POOL_IC],
                          .below = (int64_t)d[POOL_SH] * iw * d[POOL_IC],
                          .most = way == POOL_WITH_CUT ? (real)pool_cut(p) : 0 };
    for (int64_t r = from; r < to; r++) {
        const int top = (int)(r % oh) * d[POOL_SH] - d[POOL_PH];
        struct pool_span v =
            pool_span((int)(r % oh), d[POOL_KH], d[POOL_SH], d[POOL_PH], d[POOL_IH]);
        row.x = x + (r / oh * d[POOL_IH] + v.from) * row.row;
        row.y = y + r * ow * row.ic;
        row.index = index ? index + r * ow * row.ic : NULL;
        row.first = (v.from - top) * kw;
        row.h = v.to - v.from;
        for (int o = 0; o < ow; o++) {
            int next = o == whole.from && whole.to > o ? whole.to : o + 1;
            const struct pool_span u = pool_span(o, kw, sw, pw, iw);
            some_pixels(way, block, stream, p, &row, o, next, u, u.from - (o * sw - pw));
            o = next - 1;
        }
    }
    if (stream) vf_stream_end();
}

typedef void rows_of(const struct hone_problem *p, const stored *x, stored *y, uint8_t *index,
                     int64_t from, int64_t to);

#define ROWS(WAY, BLOCK, STREAM)                                                                   \
    static void rows_##WAY##_##BLOCK##_##STREAM(const struct hone_problem *p, const stored *x,     \
                                                stored *y, uint8_t *index, int64_t from,           \
                                                int64_t to)                                        \
    {                                                                                              \
        rows(WAY, BLOCK, STREAM, p, x, y, index, from, to);                                        \
    }
#define ROWS_OF(WAY)                                                                               \
    ROWS(WAY, 1, 0) ROWS(WAY, 2, 0) ROWS(WAY, 4, 0)                                                \
    ROWS(WAY, 1, 1) ROWS(WAY, 2, 1) ROWS(WAY, 4, 1)
ROWS_OF(POOL_AVERAGE) ROWS_OF(POOL_MAXIMUM) ROWS_OF(POOL_WITH_INDEX) ROWS_OF(POOL_WITH_CUT)

#define ROW(WAY)                                                                                   \
    [WAY] = { { rows_##WAY##_1_0, rows_##WAY##_1_1 }, { rows_##WAY##_2_0, rows_##WAY##_2_1 },      \
              { rows_##WAY##_4_0, rows_##WAY##_4_1 } }
static rows_of *const variants[][3][2] = { ROW(POOL_AVERAGE), ROW(POOL_MAXIMUM),
                                           ROW(POOL_WITH_INDEX), ROW(POOL_WITH_CUT) };

extern const struct hone_kernel HONE_SYM(pool_cpu_windows);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    c->v[BLOCK] = p->dim[POOL_IC] >= 4 * VL ? 4 : p->dim[POOL_IC] >= 2 * VL ? 2 : 1;
    c->v[STREAM] = 0;
    c->v[THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(pool_cpu_windows), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    rows_of *f = variants[pool_way(p)][c->v[BLOCK] / 2][c->v[STREAM]];
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t n = (int64_t)p->dim[POOL_MB] * p->dim[POOL_OH];
    uint8_t *index = pool_has_index(p) ? mem[POOL_INDEX] : NULL;
    (void)workspace;
    if (index) memset(index + pool_outputs(p), 0, (size_t)(-pool_outputs(p) & 3));
    if (threads == 1) { f(p, mem[POOL_X], mem[POOL_Y], index, 0, n); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        f(p, mem[POOL_X], mem[POOL_Y], index, hone_part(n, 1, threads, t),
          hone_part(n, 1, threads, t + 1));
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_maxpool_fwd, &hone_op_avgpool_fwd, 0 };

const struct hone_kernel HONE_SYM(pool_cpu_windows) = {
    .name = HONE_NAME("cpu_windows"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("block", 1, 2, 4), HONE_PARAM("stream", 0, 1),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .constraint = "(block == 1 || ic >= block * lanes) && (threads == 1 || mb * oh >= threads) && "
                  "(stream == 0 || ic % lanes == 0 && bytes >= l2)",
    .guess = guess,
    .run = run,
};
