/* The classic blocked product: B in blocks of kc x nc and A in blocks of mc x kc are copied into
 * panels, and tiles of mr x nv vectors run over them (Goto, van de Geijn: Anatomy of
 * high-performance matrix multiplication, 2008).
 *
 * Rows and columns are split as evenly as can be, into panels of mr rows and nv vectors at most:
 * there is a tile for each size, and at an edge only the rest of a vector is computed in vain.
 *
 * A panel of B (kc x nv vectors) stays in L1 while a block of A (mc x kc) streams past it from L2;
 * or, by rows, a panel of A does while B's block streams past.
 * All threads copy B together; then they are a grid over C's tiles, each with its own copy of A's
 * rows.  Or, for long sums of few numbers, each has a share of the sum's steps, and C is added up
 * in the end: then each number of A and B is read by one thread, and nobody waits between blocks.
 *
 * Matrices of halves are widened as they are copied.  A C of halves is added up as floats in scratch
 * memory, and its tiles are rounded when their sums are whole. */
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/pack.h"
#include "kernels/kept.h"

enum { MR, NV, KC, MC, NC, ORDER, AHEAD, THREADS };

/* ---- tiles: the largest ones X(mr, nv), the values the two parameters take, and all there are
 * ---- */

#if defined __AVX512F__
#define LARGEST(X) X(14, 2) X(12, 2) X(8, 2) X(9, 3) X(8, 3) X(6, 4) X(16, 1)
#define MR_VALUES 14, 12, 8, 9, 6, 16
#define NV_VALUES 2, 3, 4, 1
#define TILES(X) HONE_UP_TO_16(X, 1) HONE_UP_TO_14(X, 2) HONE_UP_TO_9(X, 3) HONE_UP_TO_6(X, 4)
#elif defined __aarch64__
#define LARGEST(X) X(8, 2) X(12, 2) X(8, 3) X(6, 4)
#define MR_VALUES 8, 12, 6
#define NV_VALUES 2, 3, 4
#define TILES(X) HONE_UP_TO_12(X, 1) HONE_UP_TO_12(X, 2) HONE_UP_TO_8(X, 3) HONE_UP_TO_6(X, 4)
#elif defined __AVX2__
#define LARGEST(X) X(6, 2) X(4, 2) X(4, 3) X(8, 1)
#define MR_VALUES 6, 4, 8
#define NV_VALUES 2, 3, 1
#define TILES(X) HONE_UP_TO_8(X, 1) HONE_UP_TO_6(X, 2) HONE_UP_TO_4(X, 3)
#else
#define LARGEST(X) X(4, 2) X(3, 3) X(8, 1)
#define MR_VALUES 4, 3, 8
#define NV_VALUES 2, 3, 1
#define TILES(X) HONE_UP_TO_8(X, 1) HONE_UP_TO_4(X, 2) HONE_UP_TO_3(X, 3)
#endif

/* The one of them for large products, and the one for few columns and many rows. */
#if defined __AVX512F__
enum { WIDE_MR = 6, WIDE_NV = 4, TALL_MR = 9, TALL_NV = 3 };
#elif defined __aarch64__
enum { WIDE_MR = 6, WIDE_NV = 4, TALL_MR = 8, TALL_NV = 3 };
#elif defined __AVX2__
enum { WIDE_MR = 6, WIDE_NV = 2, TALL_MR = 6, TALL_NV = 2 };
#else
enum { WIDE_MR = 4, WIDE_NV = 2, TALL_MR = 4, TALL_NV = 2 };
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
    hone_tile_start(mr, nv, s, t, t->cols);
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
    hone_tile_finish(mr, nv, s, t, t->cols);
}

typedef void tile_fn(const struct hone_tile *t, struct ahead *next);

#ifdef HONE_JIT_BUILD
/* Sizes are constants, and only the tiles that occur are compiled as such; should another be asked
 * for after all, its rows are computed one by one. */
HONE_INLINE int in_rows(int rows, int size)
{
    const int mc = hone_jit_config.v[MC], mr = hone_jit_config.v[MR],
              whole = hone_jit_config.v[ORDER] == 2 || rows <= mc,
              parts = whole ? 1 : (rows + mc - 1) / mc;
    return hone_in_split(rows / parts, mr, size) ||
           (rows % parts && hone_in_split(rows / parts + 1, mr, size));
}

HONE_INLINE int occurs(int mr, int nv)
{
    const int m = hone_jit_problem.dim[GEMM_M], n = hone_jit_problem.dim[GEMM_N],
              nc = hone_jit_config.v[ORDER] == 2 || n < hone_jit_config.v[NC] ? n
                                                                        : hone_jit_config.v[NC],
              threads = hone_jit_config.v[THREADS], most = hone_jit_config.v[NV];
    return (in_rows(m, mr) || in_rows(m / threads, mr) || in_rows((m + threads - 1) / threads, mr)) &&
           (hone_in_split((nc + VL - 1) / VL, most, nv) ||
            hone_in_split((n % nc + VL - 1) / VL, most, nv));
}

#define ODD(nv)                                                                                   \
    static __attribute__((noinline)) void odd_##nv(int mr, const struct hone_tile *t)             \
    {                                                                                             \
        for (int i = 0; i < mr; i++) {                                                            \
            vf s[nv];                                                                             \
            struct hone_tile row = *t;                                                            \
            row.c = t->c + i * t->c_row;                                                          \
            hone_tile_start(1, nv, s, &row, t->cols);                                             \
            hone_tile_columns(1, nv, s, t->k, t->a + i, mr, t->b, nv * VL, nv * VL);              \
            hone_tile_finish(1, nv, s, &row, t->cols);                                            \
        }                                                                                         \
    }
ODD(1) ODD(2) ODD(3) ODD(4)
#define TILE(mr, nv) if (occurs(mr, nv)) tile(mr, nv, t, next); else odd_##nv(mr, t)
#else
#define TILE(mr, nv) tile(mr, nv, t, next)
#endif

#define X(mr, nv)                                                                                 \
    static void tile_##mr##x##nv(const struct hone_tile *t, struct ahead *next)                   \
    { TILE(mr, nv); }
TILES(X)
#undef X

/* By vectors and rows, each less one. */
#define X(mr, nv) [nv - 1][mr - 1] = tile_##mr##x##nv,
static tile_fn *const tiles[4][16] = { TILES(X) };
#undef X

/* A largest tile in the constraint's text. */
#define TILE_TEXT(mr_, nv_) "mr == " #mr_ " && nv == " #nv_ " || "

/* ---- the job: one run, as every thread sees it ---- */

/* What follows a tile: the next rows, so that a panel of B stays in L1 while A's block passes it;
 * the next columns, so that C is written from end to end, as memory likes it; or the next rows, with
 * panels of B copied one at a time, each by who uses it and just before: what is copied goes no
 * further than L1, and is read but once, which is what few rows want.  BY_STEPS: as BY_COLUMNS, but
 * threads share the steps of the sum. */
enum order { BY_COLUMNS, BY_ROWS, BY_PANELS, BY_STEPS };

struct job {
    int m, n, k, layout, has_bias;                  /* k: the steps that are added up here */
    int a_row, b_row;                               /* numbers of a row of A, of B, as they lie */
    int deep;                                       /* threads share the steps */
    int ends;                                       /* what follows the sum follows its last step */
    int mr, nv;                                     /* rows and vectors of a tile at most */
    int kc, mc, nc, threads, down, across;          /* threads are a grid of down x across */
    enum order order;
    int ahead;                                      /* B and A are fetched before their copies */
    const stored *a, *b;
    const real *bias;
    real *c, *packed_a, *packed_b;                  /* packed_a: threads times mc x kc */
    real *sums;                                     /* of all threads but the first */
    stored *out;                                    /* C where c is floats beside it, else NULL */
    int beside;
    real alpha, beta;
    enum hone_act act;
};

static int least(int a, int b) { return a < b ? a : b; }
static int up(int a, int b) { return (a + b - 1) / b; }
static int round_up(int a, int b) { return up(a, b) * b; }
static int64_t round_up64(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

/* Units (rows, vectors) in as few parts of at most so many as can be, all alike but that the first
 * `longer` have one more. */
struct split {
    int parts, each, longer;
};

static struct split split_of(int units, int most)
{
    const int parts = up(units, most);
    return (struct split){ parts, units / parts, units % parts };
}

static int start_of(const struct split *s, int i) { return i * s->each + least(i, s->longer); }
static int size_of(const struct split *s, int i) { return s->each + (i < s->longer); }

/* Share i of n parts, parts [from, to). */
static void share(int parts, int i, int n, int *from, int *to)
{
    *from = (int)((int64_t)parts * i / n);
    *to = (int)((int64_t)parts * (i + 1) / n);
}

/* Numbers in a line of the caches. */
enum { LINE = 64 / (int)sizeof(real) };

/* From one thread's copy of its block of A to the next one's, and likewise of B. */
static int64_t apart(const struct job *j, int64_t size)
{
    return round_up64(size, 16) + (j->threads > 1 ? HONE_APART : 0);
}

static int64_t packed_a_apart(const struct job *j) { return apart(j, (int64_t)j->mc * j->kc); }
static int64_t packed_b_apart(const struct job *j) { return apart(j, (int64_t)j->nc * j->kc); }

/* The grid whose busiest thread has the fewest tiles; of several the one where most threads copy the
 * panels of B that they use, for what another copied comes from its caches. */
static void make_grid(struct job *j)
{
    int best = 0, rows = up(j->m, j->mr), cols = up(up(least(j->n, j->nc), VL), j->nv);
    for (int down = 1; down <= j->threads; down++) {
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
        .nv = c->v[NV],
        .order = (enum order)c->v[ORDER],
        .ahead = c->v[AHEAD],
        .deep = c->v[ORDER] == BY_STEPS && c->v[THREADS] > 1,
        .ends = 1,
        .threads = c->v[THREADS],
        .alpha = (real)p->value[GEMM_ALPHA],
        .beta = (real)p->value[GEMM_BETA],
        .has_bias = hone_problem_has(p, "bias"),
        .act = hone_act_of(p),
        .beside = hone_dtype_is_half(p->dtype) && !hone_problem_has(p, "wide"),
    };
    j.a_row = j.layout == GEMM_TN ? j.m : j.k;
    j.b_row = j.layout == GEMM_NT ? j.k : j.n;
    /* All parts of the sum are about as long, in whole lines of a matrix. */
    const int k = j.deep ? round_up(up(j.k, j.threads), LINE) : j.k;
    j.kc = least(k, round_up(up(k, up(k, c->v[KC])), LINE));
    const int panels = j.order == BY_PANELS;
    j.nc = panels ? j.nv * VL : round_up(least(c->v[NC], j.n), VL);
    j.mc = panels ? j.m : least(c->v[MC], j.m);
    make_grid(&j);
    return j;
}

/* ---- work of one thread ---- */

/* The panels of a block of so many columns. */
static struct split panels_of(const struct job *j, int cols)
{
    return split_of(up(cols, VL), j->nv);
}

/* The panels of it that this thread copies, and where in it these columns are. */
static void share_of_b(const struct job *j, const struct split *panels, int thread, int cols,
                       int *from, int *to)
{
    int first, end;
    share(panels->parts, thread, j->threads, &first, &end);
    *from = start_of(panels, first) * VL;
    *to = least(cols, start_of(panels, end) * VL);
}

/* rows x cols numbers of a matrix with rows of ld, from x on. */
static struct ahead range(const stored *x, int64_t ld, int rows, int cols)
{
    return (struct ahead){ .row = (const char *)x, .row_bytes = ld * (int64_t)sizeof *x,
                           .rows = cols > 0 ? rows : 0, .lines = up(cols * (int)sizeof *x, 64) };
}

/* Columns [from, to) of B from step `step` on. */
static struct ahead columns_ahead(const struct job *j, int from, int to, int step)
{
    const int steps = least(j->kc, j->k - step);
    return j->layout == GEMM_NT
               ? range(j->b + (int64_t)from * j->b_row + step, j->b_row, to - from, steps)
               : range(j->b + (int64_t)step * j->b_row + from, j->b_row, steps, to - from);
}

/* What of B this thread will copy from column col and step `step` on. */
static struct ahead b_ahead(const struct job *j, int thread, int col, int step)
{
    if (!j->ahead || col >= j->n) return (struct ahead){ 0 };
    const int cols = least(j->nc, j->n - col);
    const struct split panels = panels_of(j, cols);
    int from, to;
    share_of_b(j, &panels, thread, cols, &from, &to);
    return columns_ahead(j, col + from, col + to, step);
}

/* Parts [from, to) of what lies along the rows of x, which begin there; a unit is so many numbers,
 * and there are `count` numbers.  Parts of one size are copied together. */
static void pack_along(real *to, const struct split *s, int unit, int from, int end,
                       const stored *x, int64_t ld, int64_t steps, int count)
{
    const int ends[2] = { least(end, s->longer), end }, origin = start_of(s, from) * unit;
    for (int run = 0; run < 2; run++) {
        if (from >= ends[run]) continue;
        const int at = start_of(s, from) * unit - origin, width = size_of(s, from) * unit;
        hone_pack_across(to + at * steps, width, x + at, ld, steps,
                         least(count - at, (ends[run] - from) * width));
        from = ends[run];
    }
}

/* Panels [from, end) of columns [col, col + cols) of B, steps [step, step + steps). */
static void pack_panels(const struct job *j, real *to, const struct split *panels, int from,
                        int end, int col, int cols, int step, int steps)
{
    const int at = start_of(panels, from) * VL;
    if (j->layout != GEMM_NT) {
        pack_along(to, panels, VL, from, end, j->b + (int64_t)step * j->b_row + col + at,
                   j->b_row, steps, cols - at);
        return;
    }
    for (; from < end; from++) {
        const int first = start_of(panels, from) * VL, width = size_of(panels, from) * VL;
        hone_pack_rows(to + (int64_t)(first - at) * steps, width,
                       j->b + (int64_t)(col + first) * j->b_row + step, j->b_row, steps,
                       least(width, cols - first));
    }
}

/* This thread's share of them. */
static void pack_b(const struct job *j, int thread, int col, int cols, int step, int steps)
{
    const struct split panels = panels_of(j, cols);
    int from, end;
    share(panels.parts, thread, j->threads, &from, &end);
    pack_panels(j, j->packed_b + (int64_t)start_of(&panels, from) * VL * steps, &panels, from, end,
                col, cols, step, steps);
}

/* Rows [row, row + rows) of A from step `step` on. */
static struct ahead a_ahead(const struct job *j, int row, int rows, int step)
{
    const int steps = least(j->kc, j->k - step);
    if (!j->ahead || steps <= 0) return (struct ahead){ 0 };
    return j->layout == GEMM_TN
               ? range(j->a + (int64_t)step * j->a_row + row, j->a_row, steps, rows)
               : range(j->a + (int64_t)row * j->a_row + step, j->a_row, rows, steps);
}

static void pack_a(const struct job *j, real *to, int row, int rows, int step, int steps)
{
    const struct split groups = split_of(rows, j->mr);
    if (j->layout == GEMM_TN) {
        pack_along(to, &groups, 1, 0, groups.parts, j->a + (int64_t)step * j->a_row + row, j->a_row,
                   steps, rows);
        return;
    }
    for (int q = 0; q < groups.parts; q++) {
        const int first = start_of(&groups, q), count = size_of(&groups, q);
        hone_pack_rows(to + (int64_t)first * steps, count,
                       j->a + (int64_t)(row + first) * j->a_row + step, j->a_row, steps, count);
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

/* A thread's part of the product between two copies: rows of A and panels [from, to) of the block
 * of B that begins at column col. */
struct part {
    const real *packed_a, *panel;   /* panel: of B, whose turn it is */
    struct split groups, panels;    /* of rows, and of all the block's vectors */
    int row, rows, col, cols, from, to, step, steps;
    struct ahead next, next_a;  /* what is left to fetch of the next blocks of B, of A */
};

/* The tile of group i of rows and panel q. */
static void part_tile(const struct job *j, struct part *w, int i, int q)
{
    const int last = j->ends && w->step + w->steps == j->k, relu = j->act == HONE_ACT_relu;
    const int row = start_of(&w->groups, i), rows = size_of(&w->groups, i),
              vector = start_of(&w->panels, q), nv = size_of(&w->panels, q),
              at = w->col + vector * VL, cols = least(nv * VL, j->n - at);
    const int64_t place = (int64_t)(w->row + row) * j->n + at;
    const struct hone_tile t = {
        .k = w->steps,
        .a = w->packed_a + (int64_t)row * w->steps,
        .b = w->panel,
        .bias = last && j->bias ? j->bias + at : NULL,
        .c = j->c + place,
        .c_row = j->n,
        .alpha = j->alpha,
        .cols = cols,
        .accumulate = w->step > 0 || j->beta != 0,
        .relu = last && relu,
    };
    if (w->step == 0 && j->beta != 0) take_tile(j, place, rows, cols);
    if (w->step == 0 && j->beta != 0 && j->beta != 1)
        hone_scale_rows(j->beta, t.c, j->n, rows, cols);
    tiles[nv - 1][rows - 1](&t, w->next.rows ? &w->next : &w->next_a);
    if (last && !relu) hone_epilogue(j->act, t.c, j->n, rows, cols, NULL);
    if (last) give_tile(j, place, rows, cols);
}

static void block_tile(const struct job *j, struct part *w, int i, int q)
{
    w->panel = j->packed_b + (int64_t)start_of(&w->panels, q) * VL * w->steps;
    part_tile(j, w, i, q);
}

static void run_part(const struct job *j, struct part *w)
{
    if (j->order == BY_ROWS) {
        for (int i = 0; i < w->groups.parts; i++)
            for (int q = w->from; q < w->to; q++) block_tile(j, w, i, q);
    } else {
        for (int q = w->from; q < w->to; q++)
            for (int i = 0; i < w->groups.parts; i++) block_tile(j, w, i, q);
    }
}

/* The product of the block of B that is packed with this thread's rows [row0, row1) of A. */
static void run_block(const struct job *j, struct part *w, real *packed_a, int row0, int row1)
{
    const struct split blocks = split_of(row1 - row0, j->mc);
    for (int b = 0; b < blocks.parts; b++) {
        w->row = row0 + start_of(&blocks, b);
        w->rows = size_of(&blocks, b);
        w->groups = split_of(w->rows, j->mr);
        pack_a(j, packed_a, w->row, w->rows, w->step, w->steps);
        const int more = b + 1 < blocks.parts, next = more ? b + 1 : 0,
                  step = more ? w->step : w->step + w->steps;
        w->next_a = a_ahead(j, row0 + start_of(&blocks, next), size_of(&blocks, next), step);
        run_part(j, w);
    }
}

/* What of B is copied after panel q: the next, or the first of the next steps. */
static struct ahead panel_ahead(const struct job *j, const struct part *w, int q)
{
    const int more = q + 1 < w->to, next = more ? q + 1 : w->from,
              step = more ? w->step : w->step + w->steps, from = start_of(&w->panels, next) * VL;
    if (!j->ahead || step >= j->k) return (struct ahead){ 0 };
    return columns_ahead(j, from, least(j->n, from + size_of(&w->panels, next) * VL), step);
}

/* Each thread has panels of its own, and all rows: there is nothing to wait for. */
static void work_by_panels(const struct job *j, int thread)
{
    real *packed_a = j->packed_a + thread * packed_a_apart(j),
         *packed_b = j->packed_b + thread * packed_b_apart(j);
    struct part w = { .packed_a = packed_a, .panel = packed_b, .rows = j->m, .cols = j->n,
                      .groups = split_of(j->m, j->mr), .panels = panels_of(j, j->n) };
    share(w.panels.parts, thread, j->threads, &w.from, &w.to);
    for (; w.step < j->k && w.to > w.from; w.step += j->kc) {
        w.steps = least(j->kc, j->k - w.step);
        pack_a(j, packed_a, 0, j->m, w.step, w.steps);
        w.next_a = a_ahead(j, 0, j->m, w.step + w.steps);
        for (int q = w.from; q < w.to; q++) {
            pack_panels(j, packed_b, &w.panels, q, q + 1, 0, j->n, w.step, w.steps);
            w.next = panel_ahead(j, &w, q);
            for (int i = 0; i < w.groups.parts; i++) part_tile(j, &w, i, q);
        }
    }
}

static void work(const struct job *j, int thread)
{
    if (j->order == BY_PANELS) { work_by_panels(j, thread); return; }
    const int i = thread % j->down, a = thread / j->down;
    real *packed_a = j->packed_a + thread * packed_a_apart(j);
    struct part w = { .packed_a = packed_a };
    int row0, row1;
    share(j->m, i, j->down, &row0, &row1);
    for (w.col = 0; w.col < j->n; w.col += j->nc) {
        w.cols = least(j->nc, j->n - w.col);
        w.panels = panels_of(j, w.cols);
        share(w.panels.parts, a, j->across, &w.from, &w.to);
        for (w.step = 0; w.step < j->k; w.step += j->kc) {
            w.steps = least(j->kc, j->k - w.step);
            pack_b(j, thread, w.col, w.cols, w.step, w.steps);
            w.next = w.step + w.steps < j->k
                            ? b_ahead(j, thread, w.col, w.step + w.steps)
                            : b_ahead(j, thread, w.col + j->nc, 0);
            if (j->threads > 1) {
#pragma omp barrier
            }
            if (row1 > row0) run_block(j, &w, packed_a, row0, row1);
            if (j->threads > 1) {
#pragma omp barrier
            }
        }
    }
}

/* The step with which share t begins. */
static int share_of_steps(const struct job *j, int t)
{
    return least(j->k, (int)((int64_t)up(j->k, LINE) * t / j->threads) * LINE);
}

/* Numbers of one thread's sums. */
static int64_t sums_apart(const struct job *j)
{
    return round_up64((int64_t)j->m * j->n, 16) + HONE_APART;
}

/* The product of share t of the steps, as one thread computes it. */
static void work_on_steps(const struct job *j, int t)
{
    const int from = share_of_steps(j, t);
    struct job mine = *j;
    mine.threads = mine.down = mine.across = 1;
    mine.ends = 0;
    mine.k = share_of_steps(j, t + 1) - from;
    mine.a += j->layout == GEMM_TN ? (int64_t)from * j->a_row : from;
    mine.b += j->layout == GEMM_NT ? from : (int64_t)from * j->b_row;
    mine.packed_a += t * packed_a_apart(j);
    mine.packed_b += t * packed_b_apart(j);
    if (t) {
        mine.c = j->sums + (t - 1) * sums_apart(j);
        mine.beta = 0;
    }
    work(&mine, 0);
}

static void add_sums(const struct job *j, int t)
{
    int from, to;
    share(j->m, t, j->threads, &from, &to);
    const int64_t at = (int64_t)from * j->n;
    hone_add_shares(j->c + at, to - from, j->n, j->sums + at, j->threads - 1, sums_apart(j),
                    j->bias, j->act);
    for (int i = from; i < to; i++) give_tile(j, (int64_t)i * j->n, 1, j->n);
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

/* No size is small, and L2 has room for a block of B: then B's panels may come from there, and what
 * stays in L1 is a strip of A. */
static int is_large(const struct hone_problem *p, const struct hone_device *d)
{
    const int32_t *dim = p->dim;
    return d->l2_bytes >= 1 << 20 && dim[GEMM_M] >= 384 && dim[GEMM_N] >= 384 &&
           dim[GEMM_K] >= 384;
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct hone_param *q = HONE_SYM(gemm_cpu_blocked).param;
    const int32_t *dim = p->dim;
    c->v[MR] = q[MR].value[0];
    c->v[NV] = q[NV].value[0];
    /* A panel of B in L1. */
    c->v[KC] = fit(&q[KC], (int)(d->l1_bytes / ((int64_t)c->v[NV] * VB)), dim[GEMM_K]);
    c->v[MC] = fit(&q[MC], (int)(d->l2_bytes / 2 / (int64_t)sizeof(real) / c->v[KC]), dim[GEMM_M]);
    c->v[NC] = fit(&q[NC], 2048, dim[GEMM_N]);
    /* A C that is written once and leaves the caches is written from end to end; a B that is read
     * from memory and seldom used is fetched ahead, and copied just before its use. */
    const int64_t word = (int64_t)hone_dtype_bytes(p->dtype);
    const int once =
        dim[GEMM_K] <= c->v[KC] && (int64_t)dim[GEMM_M] * dim[GEMM_N] * word > d->l2_bytes;
    c->v[ORDER] = once ? BY_ROWS : BY_COLUMNS;
    c->v[AHEAD] = (int64_t)dim[GEMM_N] * dim[GEMM_K] * word > d->l2_bytes && dim[GEMM_M] <= 512;
    if (c->v[AHEAD] && dim[GEMM_M] <= 256 && p->layout != GEMM_TN) {
        c->v[ORDER] = BY_PANELS;
        c->v[MC] = q[MC].value[0];
        c->v[NC] = q[NC].value[0];
    } else if (once) {
        /* By rows, nothing is won by many rows of A at a time; of a few the next are fetched ahead
         * while tiles of those before are computed. */
        c->v[MC] = fit(&q[MC], 144, dim[GEMM_M]);
        c->v[AHEAD] = 1;
    }
    if (is_large(p, d)) {
        /* A strip of A in a quarter of L1, a block of B in half of L2. */
        c->v[MR] = WIDE_MR;
        c->v[NV] = WIDE_NV;
        c->v[KC] = fit(&q[KC], (int)(d->l1_bytes / 4 / (c->v[MR] * word)), dim[GEMM_K]);
        c->v[MC] = q[MC].value[0];
        c->v[NC] = fit(&q[NC], (int)(d->l2_bytes / 2 / word / c->v[KC]), dim[GEMM_N]);
        c->v[ORDER] = BY_ROWS;
        c->v[AHEAD] = 0;
    }
    const int exceeds = (int64_t)hone_problem_bytes(p) >= d->l2_bytes;
    /* With a long sum of few numbers threads share the steps, and B's columns are one block. */
    if (dim[GEMM_K] >= 8 * (int64_t)dim[GEMM_N] && dim[GEMM_K] >= 64 && exceeds &&
        dim[GEMM_N] <= 256) {
        c->v[ORDER] = BY_STEPS;
        c->v[AHEAD] = dim[GEMM_M] <= 512;
        c->v[MC] = fit(&q[MC], 144, dim[GEMM_M]);
        c->v[NC] = q[NC].value[0];
    }
    /* Steps that are a page apart are nothing that the processor fetches ahead; and a tile has
     * fewer rows then than a set of L1 has places, since their lines may all belong to one. */
    if (p->layout == GEMM_TN && exceeds && dim[GEMM_M] * word >= 4096 && dim[GEMM_N] <= 256) {
        c->v[ORDER] = BY_COLUMNS;
        c->v[AHEAD] = 1;
        c->v[MR] = TALL_MR;
        c->v[NV] = TALL_NV;
        c->v[MC] = fit(&q[MC], 288, dim[GEMM_M]);
    } else if (p->layout == GEMM_TN && exceeds && dim[GEMM_N] * word >= 4096 &&
               dim[GEMM_M] <= 256) {
        c->v[ORDER] = BY_PANELS;
        c->v[AHEAD] = 1;
        c->v[MR] = WIDE_MR;
        c->v[NV] = WIDE_NV;
        c->v[MC] = q[MC].value[0];
        c->v[NC] = q[NC].value[0];
    }
    /* Threads from about 50 microseconds on. */
    c->v[THREADS] = 1;
    while (p->op->flops(p) > 5e6 && c->v[THREADS] < 64 && 2 * c->v[THREADS] <= d->ncores) {
        const struct hone_config fewer = *c;
        c->v[THREADS] *= 2;
        if (hone_config_valid(&HONE_SYM(gemm_cpu_blocked), p, c, d)) continue;
        if (c->v[ORDER] == BY_STEPS) c->v[ORDER] = BY_COLUMNS;
        if (hone_config_valid(&HONE_SYM(gemm_cpu_blocked), p, c, d)) continue;
        *c = fewer;
        break;
    }
}

static int64_t packed_b_floats(const struct job *j)
{
    const int64_t copies = j->order == BY_PANELS || j->deep ? j->threads : 1;
    return copies * packed_b_apart(j);
}

static int64_t c_floats(const struct job *j)
{
    return j->beside ? round_up64((int64_t)j->m * j->n, 16) : 0;
}

static int64_t packed_a_floats(const struct job *j)
{
    return j->threads * packed_a_apart(j);
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct job j = job_of(p, c);
    (void)d;
    return (size_t)(c_floats(&j) + packed_b_floats(&j) + packed_a_floats(&j) +
                    (j.deep ? (j.threads - 1) * sums_apart(&j) : 0)) *
           sizeof(real);
}

/* The sum is kc products at a time in registers, and the parts one after another in C. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    int k = p->dim[GEMM_K];
    double chain = least(c->v[KC], k) + up(k, c->v[KC]) + 4 +
                   (hone_act_of(p) == HONE_ACT_none ? 0 : 8) +
                   (c->v[ORDER] == BY_STEPS ? c->v[THREADS] : 0);
    return chain < p->op->growth(p) ? chain : p->op->growth(p);
}

static int prepare(struct hone_plan *plan)
{
    const struct job j = job_of(hone_plan_problem(plan), hone_plan_config(plan));
    return hone_plan_keep(plan, &j, sizeof j);
}

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
    j.sums = j.packed_a + packed_a_floats(&j);
    if (j.threads == 1) { work(&j, 0); return HONE_OK; }
#pragma omp parallel num_threads(j.threads)
    {
        /* Fewer threads than asked for compute the same bits. */
        if (j.deep) {
            for (int t = hone_thread(); t < j.threads; t += hone_threads()) work_on_steps(&j, t);
#pragma omp barrier
            for (int t = hone_thread(); t < j.threads; t += hone_threads()) add_sums(&j, t);
        } else {
            struct job mine = j;
            mine.threads = hone_threads();
            make_grid(&mine);
            work(&mine, hone_thread());
        }
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
        HONE_PARAM("nc", 256, 512, 1024, 2048, 4096), HONE_PARAM("order", 0, 1, 2, 3),
        HONE_PARAM("ahead", 0, 1),
        HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64),
    },
    .constraint = "(" LARGEST(TILE_TEXT) "0) && needed(kc, k) && needed(mc, m) && needed(nc, n) && "
                  "(ahead == 0 || bytes >= l2) && "
                  "(order != 2 || (m <= 512 && mc == 48 && nc == 256)) && "
                  "(order < 3 || k >= 64 * threads) && (order < 3 || threads > 1 || k >= 8 * n) && "
                  "threads <= ceil(m, mr) * ceil(n, nv * lanes)",
    .guess = guess, .workspace = workspace, .growth = growth,
    .prepare = prepare, .release = hone_plan_forget, .run = run,
};
