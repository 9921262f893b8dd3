/* The classic blocked product: B in blocks of kc x nc and A in blocks of mc x kc are copied into
 * panels, and tiles of mr x nv vectors run over them (Goto, van de Geijn: Anatomy of
 * high-performance matrix multiplication, 2008).
 *
 * A panel of B (kc x nv vectors) stays in L1 while a block of A (mc x kc) streams past it from L2.
 * All threads copy B together; then they are a grid over C's tiles, each with its own copy of A's
 * rows.
 *
 * Matrices of halves are widened as they are copied.  A C of halves is added up as floats in scratch
 * memory, and its tiles are rounded when their sums are whole. */
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/pack.h"

#include <stdlib.h>

enum { MR, NV, KC, MC, NC, ORDER, AHEAD, THREADS };

/* ---- tiles: X(mr, nv), and the values the two parameters take ---- */

#if defined __AVX512F__
#define TILES(X) X(14, 2) X(12, 2) X(8, 2) X(9, 3) X(8, 3) X(6, 4) X(16, 1)
#define MR_VALUES 14, 12, 8, 9, 6, 16
#define NV_VALUES 2, 3, 4, 1
#elif defined __aarch64__
#define TILES(X) X(8, 2) X(12, 2) X(8, 3) X(6, 4)
#define MR_VALUES 8, 12, 6
#define NV_VALUES 2, 3, 4
#elif defined __AVX2__
#define TILES(X) X(6, 2) X(4, 2) X(4, 3) X(8, 1)
#define MR_VALUES 6, 4, 8
#define NV_VALUES 2, 3, 1
#else
#define TILES(X) X(4, 2) X(3, 3) X(8, 1)
#define MR_VALUES 4, 3, 8
#define NV_VALUES 2, 3, 1
#endif

/* Rows of a matrix that will be copied next, fetched into L2 while tiles are computed: memory has
 * nothing else to do then.  line: of the row's lines, which is next. */
struct ahead {
    const char *row;
    int64_t row_bytes;
    int rows, lines, line;
};

HONE_INLINE void fetch_ahead(struct ahead *x)
{
    if (!x->rows) return;
    __builtin_prefetch(x->row + 64 * x->line, 0, 2);
    if (++x->line < x->lines) return;
    x->line = 0;
    x->row += x->row_bytes;
    x->rows--;
}

HONE_INLINE void tile(int mr, int nv, const struct hone_tile *t, struct ahead *next)
{
    vf s[HONE_TILE_MAX];
    const real *a = t->a, *b = t->b, *c = t->c;
    struct ahead x = *next;
    int64_t k = t->k;
    int row = 0;
    hone_tile_start(mr, nv, s, t, nv * VL);
    /* C is fetched while the sum is computed, a row every fourth step: all at once they would take
     * the places in which lines of A and B wait for L2. */
    for (; k >= 4; k -= 4, a += 4 * mr, b += 4 * nv * VL) {
        if (row < mr) {
            HONE_UNROLLED for (int v = 0; v < nv; v += 64 / VB) __builtin_prefetch(c + v * VL, 1);
            c += t->c_row;
            row++;
        }
        fetch_ahead(&x);
        HONE_UNROLLED for (int u = 0; u < 4; u++)
            hone_tile_column(mr, nv, s, a + u * mr, b + u * nv * VL, nv * VL);
    }
    hone_tile_columns(mr, nv, s, k, a, mr, b, nv * VL, nv * VL);
    *next = x;
    hone_tile_finish(mr, nv, s, t, nv * VL);
}

typedef void tile_fn(const struct hone_tile *t, struct ahead *next);

#define X(mr, nv)                                                                                 \
    static void tile_##mr##x##nv(const struct hone_tile *t, struct ahead *next)                   \
    { tile(mr, nv, t, next); }
TILES(X)
#undef X

/* A tile in the constraint's text. */
#define TILE_TEXT(mr_, nv_) "mr == " #mr_ " && nv == " #nv_ " || "

static const struct { int mr, nv; tile_fn *fn; } tiles[] = {
#define X(mr, nv) { mr, nv, tile_##mr##x##nv },
    TILES(X)
#undef X
};

static tile_fn *find_tile(int mr, int nv)
{
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
        if (tiles[i].mr == mr && tiles[i].nv == nv) return tiles[i].fn;
    return NULL;
}

/* ---- the job: one run, as every thread sees it ---- */

struct job {
    int m, n, k, layout, has_bias;
    int mr, nr, kc, mc, nc, threads, down, across;   /* threads are a grid of down x across */
    int along_rows;                                 /* tiles one after another: of rows, not columns */
    int ahead;                                      /* B is fetched before it is copied */
    const stored *a, *b;
    const real *bias;
    real *c, *packed_a, *packed_b;                  /* packed_a: threads times mc x kc */
    stored *out;                                    /* C where c is floats beside it, else NULL */
    int beside;
    real alpha, beta;
    enum hone_act act;
    tile_fn *tile;
};

static int least(int a, int b) { return a < b ? a : b; }
static int up(int a, int b) { return (a + b - 1) / b; }
static int round_up(int a, int b) { return up(a, b) * b; }

/* The grid whose busiest thread has the fewest tiles. */
static void make_grid(struct job *j)
{
    int best = 0, rows = up(j->m, j->mr), cols = up(least(j->n, j->nc), j->nr);
    for (int down = j->threads; down >= 1; down--) {
        if (j->threads % down) continue;
        int worst = up(rows, down) * up(cols, j->threads / down);
        if (best && worst >= best) continue;
        best = worst;
        j->down = down;
    }
    j->across = j->threads / j->down;
}

static struct job job_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct job j = {
        .m = p->dim[GEMM_M],
        .n = p->dim[GEMM_N],
        .k = p->dim[GEMM_K],
        .layout = p->layout,
        .mr = c->v[MR],
        .nr = c->v[NV] * VL,
        .along_rows = c->v[ORDER],
        .ahead = c->v[AHEAD],
        .threads = c->v[THREADS],
        .alpha = (real)p->value[GEMM_ALPHA],
        .beta = (real)p->value[GEMM_BETA],
        .has_bias = hone_problem_has(p, "bias"),
        .act = hone_act_of(p),
        .tile = find_tile(c->v[MR], c->v[NV]),
        .beside = hone_dtype_is_half(p->dtype) && !hone_problem_has(p, "wide"),
    };
    j.kc = least(c->v[KC], j.k);
    j.nc = round_up(least(c->v[NC], j.n), j.nr);
    j.mc = round_up(least(c->v[MC], j.m), j.mr);
    make_grid(&j);
    return j;
}

/* ---- work of one thread ---- */

/* The columns among `cols` that this thread copies: whole panels of them. */
static void share_of_b(const struct job *j, int thread, int cols, int *from, int *to)
{
    const int64_t panels = up(cols, j->nr);
    *from = (int)(panels * thread / j->threads) * j->nr;
    *to = least(cols, (int)(panels * (thread + 1) / j->threads) * j->nr);
}

/* What of B this thread will copy from column col and step `step` on. */
static struct ahead b_ahead(const struct job *j, int thread, int col, int step)
{
    const int turned = j->layout == GEMM_NT, steps = least(j->kc, j->k - step);
    const int64_t ld = turned ? j->k : j->n;
    int from, to;
    if (!j->ahead || col >= j->n) return (struct ahead){ 0 };
    share_of_b(j, thread, least(j->nc, j->n - col), &from, &to);
    from += col;
    to += col;
    return (struct ahead){
        .row = (const char *)(j->b + (turned ? from * ld + step : step * ld + from)),
        .row_bytes = ld * (int64_t)sizeof *j->b,
        .rows = turned ? to - from : to > from ? steps : 0,
        .lines = up((turned ? steps : to - from) * (int)sizeof *j->b, 64),
    };
}

/* This thread's panels of columns [col, col + cols) of B, steps [step, step + steps). */
static void pack_b(const struct job *j, int thread, int col, int cols, int step, int steps)
{
    int from, to;
    share_of_b(j, thread, cols, &from, &to);
    real *packed = j->packed_b + (int64_t)from * steps;
    if (j->layout != GEMM_NT) {
        hone_pack_across(packed, j->nr, j->b + (int64_t)step * j->n + col + from, j->n, steps,
                         to - from);
        return;
    }
    for (; from < to; from += j->nr, packed += (int64_t)j->nr * steps)
        hone_pack_rows(packed, j->nr, j->b + (int64_t)(col + from) * j->k + step, j->k, steps,
                       least(j->nr, to - from));
}

static void pack_a(const struct job *j, real *to, int row, int rows, int step, int steps)
{
    if (j->layout == GEMM_TN) {
        hone_pack_across(to, j->mr, j->a + (int64_t)step * j->m + row, j->m, steps, rows);
        return;
    }
    for (int q = 0; q * j->mr < rows; q++, to += (int64_t)j->mr * steps) {
        int at = row + q * j->mr;
        hone_pack_rows(to, j->mr, j->a + (int64_t)at * j->k + step, j->k, steps,
                       least(j->mr, row + rows - at));
    }
}

/* A tile that reaches over the edge of C is computed beside it. */
static void edge_tile(const struct job *j, struct hone_tile t, int rows, int cols,
                      struct ahead *next)
{
    real beside[HONE_TILE_MAX * VL] __attribute__((aligned(HONE_ALIGN)));
    const real *bias = t.bias;
    real *c = t.c;
    int accumulate = t.accumulate;
    t.c = beside;
    t.c_row = j->nr;
    t.bias = NULL;
    t.accumulate = t.relu = 0;
    j->tile(&t, next);
    for (int i = 0; i < rows; i++, c += j->n)
        for (int col = 0; col < cols; col++) {
            real x = beside[i * j->nr + col];
            if (accumulate) x += c[col];
            if (bias) x += bias[col];
            c[col] = x;
        }
}

/* rows x cols of C, as floats before the sum and to C behind it; `at` numbers from C's start. */
static void take_tile(const struct job *j, int64_t at, int rows, int cols)
{
    for (int i = 0; i < rows && j->out; i++, at += j->n) vs_widen(j->c + at, j->out + at, cols);
}

static void give_tile(const struct job *j, int64_t at, int rows, int cols)
{
    for (int i = 0; i < rows && j->out; i++, at += j->n) vs_narrow(j->out + at, j->c + at, cols);
}

/* A thread's part of the product between two copies: rows of A and panels [from, to) of the block of
 * B that begins at column col. */
struct part {
    const real *packed_a;
    int row, rows, col, from, to, step, steps;
    struct ahead next;          /* what is left to fetch of the next block of B */
};

/* The tile of the part's rows from i on and of panel q. */
static void part_tile(const struct job *j, struct part *w, int i, int q)
{
    const int last = w->step + w->steps == j->k, relu = j->act == HONE_ACT_relu;
    const int at = w->col + q * j->nr, cols = least(j->nr, j->n - at),
              rows = least(j->mr, w->rows - i), whole = cols == j->nr && rows == j->mr;
    const int64_t place = (int64_t)(w->row + i) * j->n + at;
    const struct hone_tile t = {
        .k = w->steps,
        .a = w->packed_a + (int64_t)i * w->steps,
        .b = j->packed_b + (int64_t)q * j->nr * w->steps,
        .bias = last && j->bias ? j->bias + at : NULL,
        .c = j->c + place,
        .c_row = j->n,
        .alpha = j->alpha,
        .accumulate = w->step > 0 || j->beta != 0,
        .relu = last && relu,
    };
    if (w->step == 0 && j->beta != 0) take_tile(j, place, rows, cols);
    if (w->step == 0 && j->beta != 0 && j->beta != 1)
        hone_scale_rows(j->beta, t.c, j->n, rows, cols);
    if (whole) j->tile(&t, &w->next);
    else edge_tile(j, t, rows, cols, &w->next);
    if (last && !(whole && relu)) hone_epilogue(j->act, t.c, j->n, rows, cols, NULL);
    if (last) give_tile(j, place, rows, cols);
}

/* Along rows C is written from end to end, as memory likes it; along columns a panel of B stays in
 * L1 while A's block passes it. */
static void run_part(const struct job *j, struct part *w)
{
    if (j->along_rows) {
        for (int i = 0; i < w->rows; i += j->mr)
            for (int q = w->from; q < w->to; q++) part_tile(j, w, i, q);
    } else {
        for (int q = w->from; q < w->to; q++)
            for (int i = 0; i < w->rows; i += j->mr) part_tile(j, w, i, q);
    }
}

static void work(const struct job *j, int thread)
{
    const int row_tiles = up(j->m, j->mr), i = thread % j->down, a = thread / j->down;
    const int row0 = (int)((int64_t)row_tiles * i / j->down) * j->mr;
    const int row1 = least(j->m, (int)((int64_t)row_tiles * (i + 1) / j->down) * j->mr);
    real *packed_a = j->packed_a + (int64_t)thread * j->mc * j->kc;
    struct part w = { .packed_a = packed_a };
    for (w.col = 0; w.col < j->n; w.col += j->nc) {
        int cols = least(j->nc, j->n - w.col), panels = up(cols, j->nr);
        w.from = (int)((int64_t)panels * a / j->across);
        w.to = (int)((int64_t)panels * (a + 1) / j->across);
        for (w.step = 0; w.step < j->k; w.step += j->kc) {
            w.steps = least(j->kc, j->k - w.step);
            pack_b(j, thread, w.col, cols, w.step, w.steps);
            w.next = w.step + w.steps < j->k ? b_ahead(j, thread, w.col, w.step + w.steps)
                                             : b_ahead(j, thread, w.col + j->nc, 0);
            if (j->threads > 1) {
#pragma omp barrier
            }
            for (w.row = row0; w.row < row1; w.row += j->mc) {
                w.rows = least(j->mc, row1 - w.row);
                pack_a(j, packed_a, w.row, w.rows, w.step, w.steps);
                run_part(j, &w);
            }
            if (j->threads > 1) {
#pragma omp barrier
            }
        }
    }
}

/* ---- the kernel ---- */

/* A block size is worth trying if the next smaller one does not hold everything already. */
static int useful(const struct hone_param *q, int value, int size)
{
    int i = 0;
    while (i < q->nvalues && q->value[i] != value) i++;
    return i == 0 || q->value[i - 1] < size;
}

extern const struct hone_kernel HONE_SYM(gemm_cpu_blocked);

static int fit(const struct hone_param *q, int value, int size)
{
    int i = q->nvalues - 1;
    while (i > 0 && (q->value[i] > value || !useful(q, q->value[i], size))) i--;
    return q->value[i];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct hone_param *q = HONE_SYM(gemm_cpu_blocked).param;
    const int32_t *dim = p->dim;
    c->v[MR] = tiles[0].mr;
    c->v[NV] = dim[GEMM_N] <= VL && find_tile(16, 1) ? 1 : tiles[0].nv;
    if (c->v[NV] == 1) c->v[MR] = 16;
    /* A panel of B in L1. */
    c->v[KC] = fit(&q[KC], (int)(d->l1_bytes / ((int64_t)c->v[NV] * VB)), dim[GEMM_K]);
    c->v[MC] = fit(&q[MC], (int)(d->l2_bytes / 2 / (int64_t)sizeof(real) / c->v[KC]), dim[GEMM_M]);
    c->v[NC] = fit(&q[NC], 2048, dim[GEMM_N]);
    /* A C that is written once and leaves the caches is written from end to end; a B that is read
     * from memory and seldom used is fetched ahead. */
    const int64_t word = (int64_t)hone_dtype_bytes(p->dtype);
    c->v[ORDER] =
        dim[GEMM_K] <= c->v[KC] && (int64_t)dim[GEMM_M] * dim[GEMM_N] * word > d->l2_bytes;
    c->v[AHEAD] = (int64_t)dim[GEMM_N] * dim[GEMM_K] * word > d->l2_bytes && dim[GEMM_M] <= 512;
    /* Threads from about 50 microseconds on. */
    c->v[THREADS] = 1;
    while (p->op->flops(p) > 5e6 && c->v[THREADS] < 64 && 2 * c->v[THREADS] <= d->ncores) {
        c->v[THREADS] *= 2;
        if (!hone_config_valid(&HONE_SYM(gemm_cpu_blocked), p, c, d)) { c->v[THREADS] /= 2; break; }
    }
}

static int64_t packed_b_floats(const struct job *j)
{
    return ((int64_t)j->nc * j->kc + 15) / 16 * 16;
}

static int64_t c_floats(const struct job *j)
{
    return j->beside ? ((int64_t)j->m * j->n + 15) / 16 * 16 : 0;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct job j = job_of(p, c);
    (void)d;
    return (size_t)(c_floats(&j) + packed_b_floats(&j) + (int64_t)j.threads * j.mc * j.kc) *
           sizeof(real);
}

/* The sum is kc products at a time in registers, and the parts one after another in C. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    int k = p->dim[GEMM_K];
    double chain =
        least(c->v[KC], k) + up(k, c->v[KC]) + 4 + (hone_act_of(p) == HONE_ACT_none ? 0 : 8);
    return chain < p->op->growth(p) ? chain : p->op->growth(p);
}

/* Attributes are looked up by name, once. */
static int prepare(struct hone_plan *plan)
{
    struct job *j = malloc(sizeof *j);
    if (!j) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *j);
    *j = job_of(hone_plan_problem(plan), hone_plan_config(plan));
    plan->priv = j;
    return HONE_OK;
}

static void release(struct hone_plan *plan) { free(plan->priv); }

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct job j = *(const struct job *)plan->priv;
    j.a = mem[GEMM_A];
    j.b = mem[GEMM_B];
    j.c = j.beside ? workspace : mem[GEMM_C];
    j.out = j.beside ? mem[GEMM_C] : NULL;
    j.bias = j.has_bias ? mem[GEMM_BIAS] : NULL;
    j.packed_b = (real *)workspace + c_floats(&j);
    j.packed_a = j.packed_b + packed_b_floats(&j);
    if (j.threads == 1) { work(&j, 0); return HONE_OK; }
#pragma omp parallel num_threads(j.threads)
    {
        /* Fewer threads than asked for compute the same bits. */
        struct job mine = j;
        mine.threads = hone_threads();
        make_grid(&mine);
        work(&mine, hone_thread());
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, 0 };

const struct hone_kernel HONE_SYM(gemm_cpu_blocked) = {
    .name = HONE_NAME("cpu_blocked"), .ops = ops, .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA, .dtypes = HONE_THIS_DTYPES,
    .param = {
        HONE_PARAM("mr", MR_VALUES), HONE_PARAM("nv", NV_VALUES),
        HONE_PARAM("kc", 128, 192, 256, 320, 384, 512, 768),
        HONE_PARAM("mc", 48, 96, 144, 192, 288, 384, 576, 1024),
        HONE_PARAM("nc", 256, 512, 1024, 2048, 4096), HONE_PARAM("rows", 0, 1),
        HONE_PARAM("ahead", 0, 1),
        HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64),
    },
    .constraint = "(" TILES(TILE_TEXT) "0) && needed(kc, k) && needed(mc, m) && needed(nc, n) && "
                  "(ahead == 0 || bytes >= l2) && "
                  "threads <= ceil(m, mr) * ceil(n, nv * lanes)",
    .guess = guess, .workspace = workspace, .growth = growth,
    .prepare = prepare, .release = release, .run = run,
};
