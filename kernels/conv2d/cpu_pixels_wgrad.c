/* Direct weight gradient with neighbouring pixels in the lanes, for few output channels.
 *
 * x and dy are split into planes.  A tile of oc channels x kt taps stays in registers while a band
 * of pixels passes: per VL pixels oc vectors of dy and kt of x make oc * kt vectors of products.
 * Lanes are added up once, at the very end.  Every thread sums its images into vectors of its own;
 * these are added in fixed order. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/planes.h"

enum { OC, KT, ROWS, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_OC = LANES_MAX, MAX_KT = 6 };

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
    struct layout l = layout_of(p, c);
    int oc = c->v[OC], kt = c->v[KT];
    (void)d;
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
    c->v[OC] = (q.outc + (q.outc + most - 1) / most - 1) / ((q.outc + most - 1) / most);
    for (c->v[KT] = MAX_KT; c->v[KT] > 1 && !valid(p, c, d);) c->v[KT]--;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.tap_floats + c->v[THREADS] * (l.sum_floats + l.s.floats + l.dy_floats)) *
           sizeof(float);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
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
               HONE_PARAM("rows", 0, 4, 8, 16), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
