/* Direct weight gradient with neighbouring pixels in the lanes, for few output channels.
 *
 * x and dy are split into planes.  A tile of oc channels x kt taps stays in registers while a band
 * of pixels passes: per VL pixels oc vectors of dy and kt of x make oc * kt vectors of products.
 * Lanes are added up once, at the very end.  Every thread sums its images into vectors of its own;
 * these are added in fixed order.
 *
 * With one input channel and no stride, dy may stay as it is instead: x is spread, each number as
 * often as there are output channels, so that dy's VL neighbouring numbers lie beside what they
 * meet.  Down a column of such vectors, a row of x meets the last kh rows of dy, which stay in
 * registers: for kh x kw taps one vector of dy and kw of x are loaded.  Columns that begin with the
 * same channel add to the same sums. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/planes.h"

enum { OC, KT, ROWS, SPREAD, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_OC = LANES_MAX, MAX_KT = 6 };
enum { MAX_SPREAD = 5, MAX_OUT = 32 };   /* taps each way; output channels */

/* The pixels that pass: rows x vectors, and how they lie. */
struct band {
    int rows, vectors;
    int64_t x_row, dy_row, dy_plane;
};

/* sum (oc, kt) of vectors += over all pixels dy (oc) * x (kt taps). */
HONE_INLINE void tile(int oc, int kt, const struct band *b, const float *x, const int32_t *tap,
                                                       const float *dy, float *sum)
{
    vf acc[MAX_OC][MAX_KT];
    const float *at[MAX_KT];
    const int64_t dy_plane = b->dy_plane;
    HONE_UNROLLED for (int t = 0; t < kt; t++) {
        at[t] = x + tap[t];
        HONE_UNROLLED for (int o = 0; o < oc; o++) acc[o][t] = vf_load(sum + (o * kt + t) * VL);
    }
    for (int i = 0; i < b->rows; i++)
        for (int j = 0; j < b->vectors; j++) {
            const float *from = dy + i * b->dy_row + j * VL;
            const int64_t place = i * b->x_row + j * VL;
            vf xv[MAX_KT];
            HONE_UNROLLED for (int t = 0; t < kt; t++) xv[t] = vf_load(at[t] + place);
            HONE_UNROLLED for (int o = 0; o < oc; o++) {
                vf dv = vf_load(from + o * dy_plane);
                HONE_UNROLLED for (int t = 0; t < kt; t++) acc[o][t] += dv * xv[t];
            }
        }
    HONE_UNROLLED for (int o = 0; o < oc; o++)
        HONE_UNROLLED for (int t = 0; t < kt; t++) vf_store(sum + (o * kt + t) * VL, acc[o][t]);
}

#define TILE(oc, kt)                                                                               \
    static void tile_##oc##x##kt(const struct band *b, const float *x, const int32_t *tap,         \
                                 const float *dy, float *sum)                                      \
    {                                                                                              \
        tile(oc, kt, b, x, tap, dy, sum);                                                          \
    }
#define NAME(oc, kt) tile_##oc##x##kt,
#define TILES_1_TO_4(X, kt) X(1, kt) X(2, kt) X(3, kt) X(4, kt)
#define TILES_5_TO_8(X, kt) X(5, kt) X(6, kt) X(7, kt) X(8, kt)

typedef void tile_fn(const struct band *b, const float *x, const int32_t *tap, const float *dy,
                     float *sum);

/* As many as the registers hold: oc * kt sums, kt vectors of x and one of dy. */
TILES_1_TO_4(TILE, 1) TILES_5_TO_8(TILE, 1)
TILES_1_TO_4(TILE, 2) TILE(5, 2) TILE(6, 2)
TILES_1_TO_4(TILE, 3)
TILE(1, 4) TILE(2, 4)
TILE(1, 5) TILE(2, 5)
TILE(1, 6)
#if HONE_VB == 64
TILE(7, 2) TILE(8, 2)
TILES_5_TO_8(TILE, 3)
TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4)
TILE(3, 5) TILE(4, 5) TILE(5, 5)
TILE(2, 6) TILE(3, 6) TILE(4, 6)
#endif

static tile_fn *const tiles[MAX_KT][MAX_OC] = {
    { TILES_1_TO_4(NAME, 1) TILES_5_TO_8(NAME, 1) },
#if HONE_VB == 64
    { TILES_1_TO_4(NAME, 2) TILES_5_TO_8(NAME, 2) },
    { TILES_1_TO_4(NAME, 3) TILES_5_TO_8(NAME, 3) },
    { TILES_1_TO_4(NAME, 4) NAME(5, 4) NAME(6, 4) },
    { TILES_1_TO_4(NAME, 5) NAME(5, 5) },
    { TILES_1_TO_4(NAME, 6) },
#else
    { TILES_1_TO_4(NAME, 2) NAME(5, 2) NAME(6, 2) },
    { TILES_1_TO_4(NAME, 3) },
    { NAME(1, 4) NAME(2, 4) },
    { NAME(1, 5) NAME(2, 5) },
    { NAME(1, 6) },
#endif
};

/* ---- tiles of spread x ---- */

/* The columns of vectors that pass, every period-th one, and how they lie. */
struct columns {
    int n, period, last;            /* last: floats of the last one */
    int rows, r0, r1;               /* of dy; of x, those that are not padding */
    int64_t x_row, x_tap, dy_row;
    int kw;                         /* sum: (kh, kw) vectors */
    const float *ahead;             /* what is fetched meanwhile, a line for each row */
};

/* sum of vectors += over all columns and rows dy (row r) * x (row r + i, tap j), i < kh, j < kw. */
HONE_INLINE void spread_tile(int kh, int kw, const struct columns *b, int first, const float *x,
                             const float *dy, float *sum)
{
    vf acc[MAX_SPREAD][MAX_SPREAD], d[MAX_SPREAD];   /* d: row r of dy is in r % kh */
    const float *ahead = b->ahead;
    HONE_UNROLLED for (int i = 0; i < kh; i++)
        HONE_UNROLLED for (int j = 0; j < kw; j++) acc[i][j] = vf_load(sum + (i * b->kw + j) * VL);
    for (int v = first; v < b->n; v += b->period) {
        const int lanes = v == b->n - 1 ? b->last : VL;
        const float *at = x + v * VL + b->r0 * b->x_row, *from = dy + v * VL + b->r0 * b->dy_row;
        HONE_UNROLLED for (int i = 1; i < kh; i++) {
            const int r = b->r0 - i;
            d[kh - i] = r >= 0 && r < b->rows ? vf_load_n(from - i * b->dy_row, lanes) : (vf){ 0 };
        }
        for (int r = b->r0; r < b->r1; r += kh) {
            HONE_UNROLLED for (int k = 0; k < kh; k++) {
                if (r + k >= b->r1) break;
                d[k] = (vf){ 0 };
                if (r + k < b->rows) d[k] = vf_load_n(from, lanes);
                HONE_UNROLLED for (int j = 0; j < kw; j++) {
                    vf xv = vf_load(at + j * b->x_tap);
                    HONE_UNROLLED for (int i = 0; i < kh; i++)
                        acc[i][j] += xv * d[(k - i + kh) % kh];
                }
                __builtin_prefetch(ahead, 0, 2);
                at += b->x_row, from += b->dy_row, ahead += VL;
            }
        }
    }
    HONE_UNROLLED for (int i = 0; i < kh; i++)
        HONE_UNROLLED for (int j = 0; j < kw; j++) vf_store(sum + (i * b->kw + j) * VL, acc[i][j]);
}

#define SPREAD_TILE(kh, kw)                                                                        \
    static void spread_##kh##x##kw(const struct columns *b, int first, const float *x,             \
                                   const float *dy, float *sum)                                    \
    {                                                                                              \
        spread_tile(kh, kw, b, first, x, dy, sum);                                                 \
    }
#define SPREAD_NAME(kh, kw) spread_##kh##x##kw,
#define SPREAD_1_TO_5(X, kh) X(kh, 1) X(kh, 2) X(kh, 3) X(kh, 4) X(kh, 5)

typedef void spread_fn(const struct columns *b, int first, const float *x, const float *dy,
                       float *sum);

#if HONE_VB == 64
SPREAD_1_TO_5(SPREAD_TILE, 1)
SPREAD_1_TO_5(SPREAD_TILE, 2)
SPREAD_1_TO_5(SPREAD_TILE, 3)
SPREAD_1_TO_5(SPREAD_TILE, 4)
SPREAD_1_TO_5(SPREAD_TILE, 5)

static spread_fn *const spread_tiles[MAX_SPREAD][MAX_SPREAD] = {
    { SPREAD_1_TO_5(SPREAD_NAME, 1) }, { SPREAD_1_TO_5(SPREAD_NAME, 2) },
    { SPREAD_1_TO_5(SPREAD_NAME, 3) }, { SPREAD_1_TO_5(SPREAD_NAME, 4) },
    { SPREAD_1_TO_5(SPREAD_NAME, 5) },
};
#endif

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;                /* as forward sees it: in is x, out is y */
    struct planes s;
    int kt, blocks;                 /* blocks of nearly equally many channels, per group */
    int ntaps, ntiles;              /* of one group's channels; the tiles that cover them */
    int64_t dy_pitch, dy_plane; /* floats from row to row and channel to channel of dy's planes */
    int64_t tap_floats, dy_floats, sum_floats;
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .kt = c->v[KT] };
    const struct gather *q = &l.q;
    l.s = planes_of(q, c->v[ROWS]);
    l.blocks = (q->outc + c->v[OC] - 1) / c->v[OC];
    l.ntaps = q->kh * q->kw * q->inc;
    l.ntiles = (l.ntaps + l.kt - 1) / l.kt;
    l.tap_floats = whole_lines(l.ntaps);
    l.dy_pitch = (q->out_w + VL - 1) / VL * VL;
    l.dy_plane = l.dy_pitch * l.s.rows;
    l.dy_floats = whole_lines(l.dy_plane * q->out_c) + HONE_APART;
    l.sum_floats = (int64_t)l.ntaps * q->out_c * VL + HONE_APART;
    return l;
}

/* Block i of a group is channels [first, first + n); tile t is taps [from, to). */
static int first_of(const struct layout *l, int i)
{
    return (int)((int64_t)l->q.outc * i / l->blocks);
}
static int tap_of(const struct layout *l, int t)
{
    return (int)((int64_t)l->ntaps * t / l->ntiles);
}

/* In the order (kh, kw, icg) of a row of dw. */
static void list_taps(const struct layout *l, int32_t *tap)
{
    struct conv_axis h = gather_h(&l->q, 0), w = gather_w(&l->q, 0);
    for (int i = 0; i < l->q.kh; i++)
        for (int j = 0; j < l->q.kw; j++)
            for (int c = 0; c < l->q.inc; c++)
                *tap++ = (int32_t)planes_tap(&l->s, &l->q, &h, &w, c, i, j);
}

/* All of one thread's units, one after another.  sums: (out_c / n, ntiles, n, taps of the tile)
 * vectors. */
static void sum_units(const struct layout *l, int64_t from, int64_t to, const float *x,
                      const float *dy, const int32_t *tap, const struct lanes *split_x,
                      const struct lanes *split_dy, float *sums, float *planes)
{
    const struct gather *q = &l->q;
    float *dys = planes + l->s.floats;
    memset(sums, 0, (size_t)l->sum_floats * sizeof *sums);
    memset(dys, 0, (size_t)l->dy_floats * sizeof *dys);
    for (int64_t u = from; u < to; u++) {
        const int64_t n = u / l->s.bands;
        const int a0 = (int)(u % l->s.bands) * l->s.rows,
                  a1 = a0 + l->s.rows < q->count_h ? a0 + l->s.rows : q->count_h;
        const struct band b = { a1 - a0, (int)(l->dy_pitch / VL), q->step_h * l->s.pitch,
                                l->dy_pitch, l->dy_plane };
        planes_fill(&l->s, q, split_x, x + n * q->in_h * q->in_w * q->in_c, a0, a1, u == from,
                    planes);
        for (int a = a0; a < a1; a++)
            lanes_split(split_dy, dy + (n * q->out_h + a) * q->out_w * q->out_c, q->out_w,
                        dys + (a - a0) * l->dy_pitch, l->dy_plane);
        for (int i = 0; i < q->g * l->blocks; i++) {
            int group = i / l->blocks, first = first_of(l, i % l->blocks),
                oc = first_of(l, i % l->blocks + 1) - first;
            int channel = group * q->outc + first;
            float *sum = sums + (int64_t)channel * l->ntaps * VL;
            for (int t = 0; t < l->ntiles; t++) {
                int first_tap = tap_of(l, t), kt = tap_of(l, t + 1) - first_tap;
                tiles[kt - 1][oc - 1](&b, planes + group * q->inc * l->s.plane, tap + first_tap,
                                      dys + channel * l->dy_plane,
                                      sum + (int64_t)first_tap * oc * VL);
            }
        }
    }
}

/* Adds the threads' sums of block i in order of thread, then their lanes: dw (oc, ntaps). */
static void add_up(const struct layout *l, int threads, int i, const float *sums, float *dw)
{
    int first = first_of(l, i % l->blocks), oc = first_of(l, i % l->blocks + 1) - first;
    int channel = i / l->blocks * l->q.outc + first;
    const float *from = sums + (int64_t)channel * l->ntaps * VL;
    for (int t = 0; t < l->ntiles; t++) {
        int first_tap = tap_of(l, t), kt = tap_of(l, t + 1) - first_tap;
        for (int o = 0; o < oc; o++)
            for (int k = 0; k < kt; k++, from += VL) {
                vf s = vf_load(from);
                for (int other = 1; other < threads; other++)
                    s += vf_load(from + other * l->sum_floats);
                dw[(int64_t)(channel + o) * l->ntaps + first_tap + k] = vf_sum(s);
            }
    }
}

/* ---- how it is cut where x is spread ---- */

struct spread {
    struct gather q;
    int rows, bands;            /* rows of dy per band; bands per image */
    int columns, period;        /* vectors across dy; until one begins with channel 0 again */
    int width;                  /* input pixels of a row that count */
    int64_t lead;               /* floats of a row of spread x before its first input */
    int64_t pitch;              /* and from row to row */
    int64_t spread_floats, sum_floats;
};

static struct spread spread_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct spread s = { .q = gather_of(p) };
    const struct gather *q = &s.q;
    const int rows = c->v[ROWS], left = -q->from_w * q->out_c;
    int64_t reach;
    s.rows = rows && rows < q->count_h ? rows : q->count_h;
    s.bands = (q->count_h + s.rows - 1) / s.rows;
    s.columns = (q->out_w * q->out_c + VL - 1) / VL;
    for (s.period = 1; s.period * VL % q->out_c;) s.period++;
    s.width = q->in_w < q->to_w + 1 ? q->in_w : q->to_w + 1;
    s.lead = whole_lines(left);
    s.pitch = s.lead + whole_lines((int64_t)s.width * q->out_c);
    reach = s.lead - left + (int64_t)s.columns * VL + (int64_t)(q->kw - 1) * q->v.dw * q->out_c;
    if (reach > s.pitch) s.pitch = whole_lines(reach);
    s.spread_floats = whole_lines(s.pitch * gather_rows(q, s.rows)) + HONE_APART;
    s.sum_floats = (int64_t)s.period * q->kh * q->kw * VL + HONE_APART;
    return s;
}

#if HONE_VB == 64

/* n vectors of 'to', `to_row` floats apart, from the first VL at most `left` pixels at x, `x_row`
 * apart; index says which. */
static void spread_column(const float *x, int64_t x_row, int left, vi index, int n, float *to,
                          int64_t to_row)
{
    const int pixels = left < VL ? left : VL;
    for (int r = 0; r < n; r++, x += x_row, to += to_row)
        vf_store(to, (vf)_mm512_permutexvar_ps((__m512i)index, (__m512)vf_load_n(x, pixels)));
}

/* Rows [r0, r1) of the band, whose first input row is x, spread.  index: which pixels, from its
 * first one on, the vectors of a period take. */
static void spread_band(const struct spread *s, const vi *index, const float *x, int r0, int r1,
                        float *to)
{
    const int n = s->width * s->q.out_c;
    x += (int64_t)r0 * s->q.in_w;
    to += r0 * s->pitch + s->lead;
    for (int i = 0; i < n; i += VL) {
        const int at = i / s->q.out_c;
        spread_column(x + at, s->q.in_w, s->width - at, index[i / VL % s->period], r1 - r0, to + i,
                      s->pitch);
    }
}

/* All of one thread's units.  sums: (period, kh, kw) vectors. */
static void sum_spread(const struct spread *s, int64_t u0, int64_t u1, const float *x,
                       const float *dy, float *sums, float *spread)
{
    const struct gather *q = &s->q;
    const int64_t dy_row = (int64_t)q->out_w * q->out_c;
    vi index[MAX_OUT];
    for (int i = 0; i < s->period; i++)
        for (int j = 0; j < VL; j++) index[i][j] = (i * VL + j) / q->out_c - i * VL / q->out_c;
    memset(sums, 0, (size_t)s->sum_floats * sizeof *sums);
    memset(spread, 0, (size_t)s->spread_floats * sizeof *spread);
    for (int64_t u = u0; u < u1; u++) {
        const int64_t n = u / s->bands;
        const int a0 = (int)(u % s->bands) * s->rows,
                  rows = s->rows < q->count_h - a0 ? s->rows : q->count_h - a0,
                  first = a0 + q->from_h, nrows = (int)gather_rows(q, rows);
        const int r0 = first < 0 ? -first : 0,
                  r1 = nrows < q->in_h - first ? nrows : q->in_h - first;
        const float *band = dy + (n * q->out_h + a0) * dy_row,
                    *in = x + (n * q->in_h + first) * q->in_w;
        const float *next = in + (int64_t)(s->bands == 1 ? q->in_h : rows) * q->in_w;
        struct columns b = { .n = s->columns, .period = s->period, .rows = rows,
                             .last = (int)(dy_row - (s->columns - 1) * VL), .x_row = s->pitch,
                             .x_tap = (int64_t)q->v.dw * q->out_c, .dy_row = dy_row, .kw = q->kw };
        spread_band(s, index, in, r0, r1, spread);
        /* The next unit's x, and with the tiles its dy. */
        for (int i = r0 * q->in_w; i < r1 * q->in_w; i += VL) __builtin_prefetch(next + i, 0, 2);
        for (int i = 0; i < s->period; i++) {
            const float *from = spread + s->lead + q->from_w * q->out_c;
            float *sum = sums + (int64_t)i * q->kh * q->kw * VL;
            b.ahead = band + rows * dy_row * (s->period + i) / s->period;
            for (int kh = 0; kh < q->kh; kh += MAX_SPREAD) {
                const int down = q->kh - kh < MAX_SPREAD ? q->kh - kh : MAX_SPREAD;
                b.r0 = r0 > kh ? r0 - kh : 0;
                b.r1 = r1 - kh < rows + down - 1 ? r1 - kh : rows + down - 1;
                for (int kw = 0; kw < q->kw; kw += MAX_SPREAD) {
                    const int across = q->kw - kw < MAX_SPREAD ? q->kw - kw : MAX_SPREAD;
                    spread_tiles[down - 1][across - 1](
                        &b, i, from + kh * s->pitch + kw * b.x_tap, band,
                        sum + (kh * q->kw + kw) * VL);
                }
            }
        }
    }
}

/* Adds the threads' sums under tap t in order of thread, then their lanes. */
static void add_up_spread(const struct spread *s, int threads, int t, const float *sums, float *dw)
{
    const struct gather *q = &s->q;
    const int taps = q->kh * q->kw;
    float total[MAX_OUT] = { 0 };
    for (int i = 0, o = 0; i < s->period; i++) {
        const float *from = sums + ((int64_t)i * taps + t) * VL;
        float lane[VL];
        vf sum = vf_load(from);
        for (int other = 1; other < threads; other++)
            sum += vf_load(from + other * s->sum_floats);
        vf_store(lane, sum);
        for (int j = 0; j < VL; j++) {
            total[o] += lane[j];
            if (++o == q->out_c) o = 0;
        }
    }
    for (int o = 0; o < q->out_c; o++) dw[o * taps + t] = total[o];
}

#endif

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    struct gather q = gather_of(p);
    (void)d;
    return hone_conv2d_not_nhwc(p) ? hone_conv2d_not_nhwc(p) : planes_refuse(&q);
}

static int may_spread(const struct gather *q)
{
    return VB == 64 && q->in_c == 1 && q->out_c <= MAX_OUT && q->step_h == 1 && q->step_w == 1 &&
           (q->kh == 1 || q->v.dh == 1);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    int oc = c->v[OC], kt = c->v[KT];
    (void)d;
    if (c->v[SPREAD]) return oc == 1 && kt == 1 && may_spread(&l.q) && c->v[ROWS] < l.q.count_h;
    if (oc * kt + kt + 1 > REGISTERS) return 0;
    /* Of sizes that make equally many blocks or tiles, the smallest stands for all. */
    if (oc > 1 && (l.q.outc + oc - 2) / (oc - 1) == l.blocks) return 0;
    if (kt > 1 && (l.ntaps + kt - 2) / (kt - 1) == l.ntiles) return 0;
    return c->v[ROWS] < l.q.count_h;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    struct gather q = gather_of(p);
    int most = 6;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    c->v[ROWS] = 0;
    if (q.mb < 4 * c->v[THREADS] || (double)planes_of(&q, 0).floats > 0.1 * (double)d->l2_bytes)
        c->v[ROWS] = q.count_h > 8 ? 8 : q.count_h > 4 ? 4 : 0;
    c->v[SPREAD] = may_spread(&q);
    if (c->v[SPREAD]) {
        c->v[OC] = c->v[KT] = 1;
        return;
    }
    c->v[OC] = (q.outc + (q.outc + most - 1) / most - 1) / ((q.outc + most - 1) / most);
    for (c->v[KT] = MAX_KT; c->v[KT] > 1 && !valid(p, c, d);) c->v[KT]--;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    struct spread s = spread_of(p, c);
    (void)d;
    if (c->v[SPREAD])
        return (size_t)c->v[THREADS] * (size_t)(s.sum_floats + s.spread_floats) * sizeof(float);
    return (size_t)(l.tap_floats + c->v[THREADS] * (l.sum_floats + l.s.floats + l.dy_floats)) *
           sizeof(float);
}

static void run_spread(const struct hone_plan *plan, void *const mem[], void *workspace)
{
#if HONE_VB == 64
    const struct spread s = spread_of(hone_plan_problem(plan), hone_plan_config(plan));
    const int threads = hone_plan_config(plan)->v[THREADS], taps = s.q.kh * s.q.kw;
    const float *x = mem[CONV_DWT_X], *dy = mem[CONV_DWT_DY];
    float *dw = mem[CONV_DWT], *sums = workspace, *spreads = sums + threads * s.sum_floats;
    const int64_t units = (int64_t)s.q.mb * s.bands;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            sum_spread(&s, units * t / threads, units * (t + 1) / threads, x, dy,
                       sums + t * s.sum_floats, spreads + t * s.spread_floats);
#pragma omp for schedule(static)
        for (int i = 0; i < taps; i++) add_up_spread(&s, threads, i, sums, dw);
    }
#else
    (void)plan, (void)mem, (void)workspace;
#endif
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    if (hone_plan_config(plan)->v[SPREAD]) {
        run_spread(plan, mem, workspace);
        return HONE_OK;
    }
    const struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    const int threads = hone_plan_config(plan)->v[THREADS], nblocks = l.q.g * l.blocks;
    const float *x = mem[CONV_DWT_X], *dy = mem[CONV_DWT_DY];
    int32_t *taps = workspace;
    float *dw = mem[CONV_DWT], *sums = (float *)(taps + l.tap_floats),
          *planes = sums + threads * l.sum_floats;
    const int64_t units = (int64_t)l.q.mb * l.s.bands;
    struct lanes split_x, split_dy;
    lanes_init(&split_x, l.q.in_c);
    lanes_init(&split_dy, l.q.out_c);
    list_taps(&l, taps);

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            sum_units(&l, units * t / threads, units * (t + 1) / threads, x, dy, taps, &split_x,
                      &split_dy, sums + t * l.sum_floats, planes + t * (l.s.floats + l.dy_floats));
#pragma omp for schedule(static)
        for (int i = 0; i < nblocks; i++) add_up(&l, threads, i, sums, dw);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_pixels_wgrad) = {
    .name = HONE_NAME("cpu_pixels_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("oc", 1, 2, 3, 4, 5, 6, 7, 8), HONE_PARAM("kt", 1, 2, 3, 4, 5, 6),
               HONE_PARAM("rows", 0, 4, 8, 16), HONE_PARAM("spread", 0, 1), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
