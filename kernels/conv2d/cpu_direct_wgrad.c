/* Direct weight gradient with output channels in the lanes.
 *
 * dw is a sum over all pixels of outer products x * dy.  A tile of rr weights x nv vectors of
 * output channels stays in registers while a band of pixels passes: per pixel nv vectors of dy are
 * loaded and rr neighbouring numbers of x broadcast; where taps lie side by side these come from
 * one run over (kw, ic).  Runs as short as few input channels have them are all in one tile, a run
 * for each row of the kernel.  Meanwhile each tile fetches a line of every pixel of the next band,
 * so that memory is read while others multiply.  Every thread sums its images into a dw of its own;
 * these are added in fixed order. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/gather.h"
#include "kernels/gemm/pack.h"

enum { RR, NV, PIXELS, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_RR = 16, MAX_NV = 4,
       MAX_TALL = 5, MAX_TALL_RUN = 9, MAX_SUMS = 28 };
/* Pixels so many bytes apart fall on so few places of L1 that a band's would not stay there: a copy
 * of dy has them side by side, and pays where each number of it meets so many of x. */
enum { ALIASED = 1024, PAYS = 64 };

/* The pixels that pass, and how they lie. */
struct band {
    int rows, cols;
    int64_t x_row, x_pixel, dy_row, dy_pixel;   /* floats from row to row, pixel to pixel */
    int64_t tap_row;                            /* floats from a row of taps to the next */
    int lanes;                                  /* channels in the last vector */
    const char *ahead;                          /* a line that the next band needs of each pixel */
    int64_t ahead_row, ahead_pixel;             /* bytes */
};

/* sum (kh, rr, nv * VL) += over all pixels x (kh, rr) * dy (nv * VL). */
HONE_INLINE void tile(int kh, int rr, int nv, int tail, const struct band *b, const real *x,
                      const real *dy, real *sum)
{
    vf acc[MAX_SUMS][MAX_NV];
    const int64_t x_pixel = b->x_pixel, dy_pixel = b->dy_pixel, ahead_pixel = b->ahead_pixel;
    const int lanes = b->lanes;
    HONE_UNROLLED for (int r = 0; r < kh * rr; r++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) acc[r][v] = vf_load(sum + (r * nv + v) * VL);
    for (int i = 0; i < b->rows; i++) {
        const real *at[MAX_TALL], *from = dy + i * b->dy_row;
        const char *ahead = b->ahead + i * b->ahead_row;
        HONE_UNROLLED for (int h = 0; h < kh; h++) at[h] = x + i * b->x_row + h * b->tap_row;
        for (int j = 0; j < b->cols; j++, from += dy_pixel, ahead += ahead_pixel) {
            vf dv[MAX_NV];
            /* A pointer each: the compiler would have a register, or none left, for each sum. */
            HONE_UNROLLED for (int h = 0; h < kh && kh > 1; h++) __asm__("" : "+r"(at[h]));
            __builtin_prefetch(ahead, 0, 2);
            HONE_UNROLLED for (int v = 0; v < nv - 1; v++) dv[v] = vf_load(from + v * VL);
            if (tail) dv[nv - 1] = vf_load_n(from + (nv - 1) * VL, lanes);
            else dv[nv - 1] = vf_load(from + (nv - 1) * VL);
            HONE_UNROLLED for (int r = 0; r < kh * rr; r++) {
                vf xv = vf_set(at[r / rr][r % rr]);
                HONE_UNROLLED for (int v = 0; v < nv; v++) acc[r][v] += xv * dv[v];
            }
            HONE_UNROLLED for (int h = 0; h < kh; h++) at[h] += x_pixel;
        }
    }
    HONE_UNROLLED for (int r = 0; r < kh * rr; r++)
        HONE_UNROLLED for (int v = 0; v < nv; v++) vf_store(sum + (r * nv + v) * VL, acc[r][v]);
}

#define TILE(rr, nv)                                                                               \
    static void tile_##rr##x##nv(const struct band *b, const real *x, const real *dy,            \
                                 real *sum)                                                       \
    {                                                                                              \
        if (b->lanes == VL)                                                                        \
            tile(1, rr, nv, 0, b, x, dy, sum);                                                     \
        else                                                                                       \
            tile(1, rr, nv, 1, b, x, dy, sum);                                                     \
    }
#define NAME(rr, nv) tile_##rr##x##nv,
#define TILES_1_TO_4(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv)
#define TILES_5_TO_8(X, nv) X(5, nv) X(6, nv) X(7, nv) X(8, nv)
#define TILES_9_TO_14(X, nv) X(9, nv) X(10, nv) X(11, nv) X(12, nv) X(13, nv) X(14, nv)

typedef void tile_fn(const struct band *b, const real *x, const real *dy, real *sum);

/* As many as the registers hold: rr * nv sums, nv vectors of dy and one broadcast. */
TILES_1_TO_4(TILE, 1) TILES_5_TO_8(TILE, 1) TILES_9_TO_14(TILE, 1)
TILES_1_TO_4(TILE, 2) TILE(5, 2) TILE(6, 2)
TILES_1_TO_4(TILE, 3)
#if HONE_VB == 64
TILE(15, 1) TILE(16, 1)
TILE(7, 2) TILE(8, 2) TILES_9_TO_14(TILE, 2)
TILES_5_TO_8(TILE, 3)
TILES_1_TO_4(TILE, 4) TILE(5, 4) TILE(6, 4)
#endif

static tile_fn *const tiles[MAX_NV][MAX_RR] = {
#if HONE_VB == 64
    { TILES_1_TO_4(NAME, 1) TILES_5_TO_8(NAME, 1) TILES_9_TO_14(NAME, 1) NAME(15, 1) NAME(16, 1) },
    { TILES_1_TO_4(NAME, 2) TILES_5_TO_8(NAME, 2) TILES_9_TO_14(NAME, 2) },
    { TILES_1_TO_4(NAME, 3) TILES_5_TO_8(NAME, 3) },
    { TILES_1_TO_4(NAME, 4) NAME(5, 4) NAME(6, 4) },
#else
    { TILES_1_TO_4(NAME, 1) TILES_5_TO_8(NAME, 1) TILES_9_TO_14(NAME, 1) },
    { TILES_1_TO_4(NAME, 2) NAME(5, 2) NAME(6, 2) },
    { TILES_1_TO_4(NAME, 3) },
    { NULL },
#endif
};

/* One vector of channels, all rows of kernels of 3 and 5. */
#if HONE_VB == 64
#define TALL_TILES(X)                                                                              \
    X(3, 1) X(3, 2) X(3, 3) X(3, 4) X(3, 5) X(3, 6) X(3, 7) X(3, 8) X(3, 9)                        \
    X(5, 1) X(5, 2) X(5, 3) X(5, 4) X(5, 5)
#else
#define TALL_TILES(X) X(3, 1) X(3, 2) X(3, 3) X(3, 4) X(5, 1) X(5, 2)
#endif

#define X(kh, rr)                                                                                  \
    static void tall_##kh##x##rr(const struct band *b, const real *x, const real *dy, real *sum)   \
    {                                                                                              \
        if (b->lanes == VL)                                                                        \
            tile(kh, rr, 1, 0, b, x, dy, sum);                                                     \
        else                                                                                       \
            tile(kh, rr, 1, 1, b, x, dy, sum);                                                     \
    }
TALL_TILES(X)
#undef X

#define X(kh, rr) [kh][rr] = tall_##kh##x##rr,
static tile_fn *const tall_tiles[MAX_TALL + 1][MAX_TALL_RUN + 1] = { TALL_TILES(X) };
#undef X

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;            /* as forward sees it: in is x, out is y */
    struct conv_axis h, w;
    int rr, nv, rows, bands;    /* output rows per band; a band of an image is a unit of work */
    int blocks;                 /* of nv vectors of channels, per group */
    int taps_w, run;            /* taps across, and numbers side by side under each, per tap down */
    tile_fn *tall;              /* for all taps of a vector of channels; NULL: there is none */
    int64_t tap_w, pitch;       /* floats from tap to tap, from row to row */
    int copied;                 /* 1: a band's dy is copied, block by block */
    int64_t block_floats, sum_floats, frame_floats, copy_floats;
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p), .rr = c->v[RR], .nv = c->v[NV] };
    struct gather *q = &l.q;
    l.h = gather_h(q, 0), l.w = gather_w(q, 0);
    int joined = q->g == 1 && l.w.dist == 1;
    /* Under single taps images are one tall image. */
    if (q->kh == 1 && q->kw == 1 && !gather_padded(q) && q->in_h == q->out_h * q->step_h)
        q->in_h *= q->mb, q->out_h *= q->mb, q->count_h *= q->mb, q->mb = 1;
    l.rows = c->v[PIXELS] / q->out_w;
    if (l.rows < 1) l.rows = 1;
    if (l.rows > q->count_h) l.rows = q->count_h;
    l.bands = (q->count_h + l.rows - 1) / l.rows;
    l.blocks = (q->outc + l.nv * VL - 1) / (l.nv * VL);
    l.taps_w = joined ? 1 : q->kw;
    l.run = joined ? q->kw * q->in_c : q->inc;
    if (l.taps_w == 1 && l.run <= l.rr && l.run <= MAX_TALL_RUN && q->kh <= MAX_TALL)
        l.tall = tall_tiles[q->kh][l.run];
    l.tap_w = (int64_t)l.w.dist * q->in_c;
    l.pitch = gather_pitch(q);
    l.block_floats = (int64_t)q->kh * q->kw * q->inc * l.nv * VL;
    l.sum_floats = l.block_floats * l.blocks * q->g + HONE_APART;
    l.frame_floats =
        gather_padded(q) ? whole_lines(gather_rows(q, l.rows) * l.pitch) + HONE_APART : 0;
    l.copied = q->out_c * sizeof(real) % ALIASED == 0 && q->kh * q->kw * q->inc >= PAYS;
    l.copy_floats = l.copied ? (int64_t)l.rows * q->out_w * l.nv * VL + HONE_APART : 0;
    return l;
}

/* Vectors of channels in block i: the last may have fewer. */
static int vectors_of(const struct layout *l, int i)
{
    int left = (l->q.outc - i * l->nv * VL + VL - 1) / VL;
    return left < l->nv ? left : l->nv;
}

/* The next band, of which each tile fetches a line of each pixel: of x those that no band before
 * had, then of dy. */
struct next {
    const char *x, *dy;
    int64_t x_row;              /* bytes */
    int x_rows, x_lines, dy_lines;   /* under a pixel */
    int line;                   /* that the next tile fetches */
};

static void set_ahead(const struct layout *l, struct next *next, struct band *b)
{
    const int line = next->line++, n = next->x_rows * next->x_lines;
    if (line < n) {
        b->ahead = next->x + line / next->x_lines * next->x_row + line % next->x_lines * 64;
        b->ahead_row = next->x_row * l->q.step_h;
        b->ahead_pixel = (int64_t)sizeof(real) * l->q.step_w * l->q.in_c;
    } else if (line - n < next->dy_lines) {
        b->ahead = next->dy + (line - n) * 64;
        b->ahead_pixel = (int64_t)sizeof(real) * l->q.out_c;
        b->ahead_row = l->q.out_w * b->ahead_pixel;
    } else {
        b->ahead = (const char *)b;
        b->ahead_row = b->ahead_pixel = 0;
    }
}

/* All of the next band's x at once, where tiles are too few to fetch it by and by: of the few
 * channels that those have it is little. */
static void fetch_x(const struct layout *l, struct next *next)
{
    const int64_t bytes = l->rows * l->q.step_h * next->x_row;
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(next->x + i, 0, 2);
    next->line = next->x_rows * next->x_lines;
}

/* Adds what a band contributes to one block: sum (kh, taps_w, run, vectors * VL). */
static void sweep(const struct layout *l, struct band *b, struct next *next, int vectors,
                  const real *x, const real *dy, real *sum)
{
    const int ntiles = (l->run + l->rr - 1) / l->rr;
    if (l->tall && vectors == 1) {
        if (!next->line) fetch_x(l, next);
        set_ahead(l, next, b);
        l->tall(b, x, dy, sum);
        return;
    }
    for (int i = 0; i < l->q.kh; i++)
        for (int j = 0; j < l->taps_w; j++) {
            const real *at = x + i * l->h.dist * l->pitch + j * l->tap_w;
            for (int t = 0; t < ntiles; t++) {
                int n = l->run / ntiles + (t < l->run % ntiles);
                set_ahead(l, next, b);
                tiles[vectors - 1][n - 1](b, at, dy, sum);
                at += n;
                sum += n * vectors * VL;
            }
        }
}

/* What unit u reads: its rows of dy, and the rows of x at their first taps. */
static struct next next_of(const struct layout *l, int64_t u, const real *x, const real *dy)
{
    const struct gather *q = &l->q;
    const int64_t n = u / l->bands, a = u % l->bands * l->rows, word = sizeof(real);
    const int rows = q->kh < q->step_h ? q->kh : q->step_h,
              cols = q->kw < q->step_w ? q->kw : q->step_w;
    return (struct next){
        .x = (const char *)(x + (n * q->in_h + a * q->step_h) * q->in_w * q->in_c),
        .dy = (const char *)(dy + (n * q->out_h + a) * q->out_w * q->out_c),
        .x_row = q->in_w * q->in_c * word,
        .x_rows = rows,
        .x_lines = (int)((cols * q->in_c * word + 63) / 64),
        .dy_lines = (int)((q->out_c * word + 63) / 64),
    };
}

/* A band's dy of a block, pixels side by side. */
static void copy_dy(const struct layout *l, const struct band *b, int vectors, const real *dy,
                    real *to)
{
    for (int64_t n = (int64_t)b->rows * b->cols; n; n--, dy += l->q.out_c, to += vectors * VL) {
        for (int v = 0; v < vectors - 1; v++) vf_store(to + v * VL, vf_load(dy + v * VL));
        vf_store(to + (vectors - 1) * VL, vf_load_n(dy + (vectors - 1) * VL, b->lanes));
    }
}

/* All of one thread's units, one after another, into its own sums. */
static void sum_units(const struct layout *l, int64_t from, int64_t to, const real *x,
                      const real *dy, real *sums, real *frame)
{
    const struct gather *q = &l->q;
    real *copy = frame + l->frame_floats;
    memset(sums, 0, (size_t)l->sum_floats * sizeof *sums);
    for (int64_t u = from; u < to; u++) {
        const int64_t n = u / l->bands;
        const int a0 = (int)(u % l->bands) * l->rows,
                  a1 = a0 + l->rows < q->count_h ? a0 + l->rows : q->count_h;
        const real *in = gather_frame(q, x + n * q->in_h * q->in_w * q->in_c, a0, a1,
                                      l->bands == 1 && u > from, frame);
        const real *out = dy + (n * q->out_h + a0) * q->out_w * q->out_c;
        struct next next = next_of(l, u + 1 < to ? u + 1 : u, x, dy);
        struct band b = { .rows = a1 - a0,
                          .cols = q->out_w,
                          .x_row = q->step_h * l->pitch,
                          .x_pixel = (int64_t)q->step_w * q->in_c,
                          .dy_row = (int64_t)q->out_w * q->out_c,
                          .dy_pixel = q->out_c,
                          .tap_row = l->h.dist * l->pitch };
        /* Rows without a gap between them are one. */
        if (b.x_row == b.cols * b.x_pixel) b.cols *= b.rows, b.rows = 1;
        for (int i = 0; i < q->g * l->blocks; i++) {
            int group = i / l->blocks, index = i % l->blocks, vectors = vectors_of(l, index);
            int left = q->outc - index * l->nv * VL;
            b.lanes = left >= vectors * VL ? VL : left - (vectors - 1) * VL;
            const real *from = out + group * q->outc + index * l->nv * VL;
            if (l->copied) {
                copy_dy(l, &b, vectors, from, copy);
                b.lanes = VL, b.dy_pixel = vectors * VL, b.dy_row = b.cols * b.dy_pixel;
                from = copy;
            }
            sweep(l, &b, &next, vectors, in + group * q->inc, from, sums + i * l->block_floats);
        }
    }
}

/* Adds the threads' sums of block i, kernel row kh, in order of thread, and turns them into
 * dw (oc, kh, kw, icg). */
static void add_up(const struct layout *l, int threads, int i, int kh, const real *sums, real *dw)
{
    const struct gather *q = &l->q;
    const int index = i % l->blocks, width = vectors_of(l, index) * VL,
              left = q->outc - index * l->nv * VL;
    const int64_t row = (int64_t)q->kw * q->inc;
    const real *from = sums + i * l->block_floats + kh * row * width;
    real *to = dw + (((int64_t)(i / l->blocks) * q->outc + index * l->nv * VL) * q->kh + kh) * row;
    for (int64_t r = 0; r < row; r += VL)
        for (int o = 0; o < width && o < left; o += VL) {
            const int rows = row - r < VL ? (int)(row - r) : VL;
            vf s[VL];
            HONE_UNROLLED for (int j = 0; j < VL; j++)
                s[j] = j < rows ? vf_load(from + (r + j) * width + o) : (vf){ 0 };
            for (int t = 1; t < threads; t++)
                HONE_UNROLLED for (int j = 0; j < VL; j++)
                    if (j < rows) s[j] += vf_load(from + t * l->sum_floats + (r + j) * width + o);
            hone_transpose(s);
            HONE_UNROLLED for (int j = 0; j < VL; j++)
                if (o + j < left) vf_store_n(to + (o + j) * q->kh * row + r, s[j], rows);
        }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return hone_conv2d_not_nhwc(p);
}

/* Of sizes that make the same band, the smallest stands for all. */
static int valid_pixels(const struct hone_problem *p, const struct hone_config *c)
{
    struct hone_config half = *c;
    half.v[PIXELS] /= 2;
    return c->v[PIXELS] == 64 || layout_of(p, &half).rows != layout_of(p, c).rows;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    static const int rrs[] = { 4, 6, 8, 10, 12, 14, 16 };
    struct layout l = layout_of(p, c);
    int rr = c->v[RR], nv = c->v[NV];
    (void)d;
    if (rr * nv + nv + 1 > REGISTERS) return 0;
    if (nv > 1 && (nv - 1) * VL >= l.q.outc) return 0;
    if (!valid_pixels(p, c)) return 0;
    /* Of sizes that cut a run into equally many tiles, the smallest stands for all. */
    for (size_t i = 0; i < sizeof rrs / sizeof *rrs && rrs[i] < rr; i++)
        if ((l.run + rrs[i] - 1) / rrs[i] == (l.run + rr - 1) / rr) return 0;
    return 1;
}

static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    struct gather q = gather_of(p);
    return gather_weights_pay(&q, d);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    static const int rrs[] = { 16, 14, 12, 10, 8, 6, 4 };
    struct gather q = gather_of(p);
    const int single = q.kh * q.kw == 1;
    c->v[THREADS] = hone_conv2d_threads(p, d);
    /* Single taps have a run of input channels alone: few of it for many vectors of channels are the
     * fewest loads. */
    c->v[NV] = VB == 64 && single && q.outc % (4 * VL) == 0 ? 4 : q.outc > VL ? 2 : 1;
    /* Few pixels stay in L1; more make up for rows of a frame that bands share, and for sums of
     * several taps that come from L2. */
    c->v[PIXELS] = 128;
    const int64_t sums = layout_of(p, c).sum_floats * (int64_t)sizeof(real);
    if (!valid_pixels(p, c) || (!gather_padded(&q) && (single || 8 * sums <= d->l2_bytes)))
        c->v[PIXELS] = 64;
    for (size_t i = 0; i < sizeof rrs / sizeof *rrs; i++) {
        c->v[RR] = rrs[i];
        if (valid(p, c, d)) return;
    }
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(c->v[THREADS] * (l.sum_floats + l.frame_floats + l.copy_floats)) *
           sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    const int threads = hone_plan_config(plan)->v[THREADS], nblocks = l.q.g * l.blocks;
    const real *x = mem[CONV_DWT_X], *dy = mem[CONV_DWT_DY];
    real *dw = mem[CONV_DWT], *sums = workspace, *frames = sums + threads * l.sum_floats;
    const int64_t units = (int64_t)l.q.mb * l.bands;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            sum_units(&l, units * t / threads, units * (t + 1) / threads, x, dy,
                      sums + t * l.sum_floats, frames + t * (l.frame_floats + l.copy_floats));
#pragma omp for collapse(2) schedule(static)
        for (int i = 0; i < nblocks; i++)
            for (int kh = 0; kh < l.q.kh; kh++) add_up(&l, threads, i, kh, sums, dw);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_direct_wgrad) = {
    .name = HONE_NAME("cpu_direct_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("rr", 4, 6, 8, 10, 12, 14, 16), HONE_PARAM("nv", 1, 2, 3, 4),
               HONE_PARAM("pixels", 64, 128, 256), CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
