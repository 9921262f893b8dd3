/* Small and skinny products: tiles read A where it lies, and B too, unless it is transposed (nt) or
 * asked to be packed; one column of C is dot products.
 *
 * There is a tile for every number of rows, so that rows are split evenly and no edge costs extra;
 * the last columns are masked.  kc bounds the part of B that stays in L1 while the rows pass. */
#include "kernels/gemm/dots.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/tiles.h"
#include "kernels/kept.h"

enum { NV, KC, PACK, TURN, SHARE, THREADS };

/* What threads share: rows; columns, of which each copies its own; or steps of the sum, so that
 * each number of A and B is read by one of them, and C is added up in the end. */
enum share { ROWS, COLUMNS, STEPS };

/* In a jit build for one thread there are but the tiles that are called: with more the compiler
 * knows too little of how many rows a thread has. */
HONE_INLINE void run_tile(int a_columns, int mr, int nv, const struct hone_tile *t)
{
#if defined HONE_JIT_BUILD && !defined _OPENMP
    if (a_columns) tile_columns(mr, nv, t);
    else tile_rows(mr, nv, t);
#else
    (a_columns ? hone_tiles_by_columns : hone_tiles_by_rows)[nv - 1][mr - 1](t);
#endif
}

/* ---- the job: one run, as every thread sees it ---- */

struct job {
    int m, n, k, layout;
    int a_arg, b_arg, has_bias; /* which argument is read as A, as B */
    const real *a, *b, *bias;  /* bias: NULL: none */
    real *c, *packed, *sums;    /* sums: of all threads but the first, where they share steps */
    int64_t a_stride, b_step;
    int a_columns;              /* a(i, l) is a[l * a_stride + i], not a[i * a_stride + l] */
    int b_rows;                 /* b(l, j) is b[j * k + l], not b[l * b_step + j]: must be packed */
    int dots;                   /* C is m dot products of rows of A with b */
    int bias_each;              /* of them: one bias for each, not one for all */
    int turned;                 /* c(i, j) is c[j * m + i] */
    int nr, kc, threads, pack;
    enum share share;
    real alpha, beta;
    enum hone_act act;
};

HONE_JIT_INLINE int least(int a, int b) { return a < b ? a : b; }
HONE_JIT_INLINE int up(int a, int b) { return (a + b - 1) / b; }

/* The same numbers seen as another product: a matrix of one row or column has no order, so that a
 * transposed one need not be. */
HONE_JIT_INLINE void simplify(struct job *j)
{
    if (j->a_columns && j->m == 1) { j->a_columns = 0; j->a_stride = j->k; }
    if (j->b_rows && j->k == 1) { j->b_rows = 0; j->b_step = j->n; }
    if (!j->a_columns && j->n == 1) {
        j->dots = 1;
    } else if (j->b_rows && j->m == 1) {
        struct job other = *j;
        other.a_arg = j->b_arg;
        other.b_arg = j->a_arg;
        other.m = j->n;
        other.n = 1;
        other.dots = other.bias_each = 1;
        *j = other;
    } else if (j->a_columns && j->n == 1 && !j->has_bias) {
        struct job other = *j;
        other.a_arg = j->b_arg;
        other.b_arg = j->a_arg;
        other.n = j->m;
        other.m = 1;
        other.a_columns = other.b_rows = 0;
        other.a_stride = j->k;
        other.b_step = j->m;
        *j = other;
    }
}

/* Few columns leave lanes of a vector idle; where A is transposed, its columns may lie along the
 * lanes just as well, and C's tiles are turned when their sums are done. */
HONE_JIT_INLINE int can_turn(const struct job *j)
{
    return j->a_columns && !j->b_rows && j->n > 1 && !j->has_bias && j->act == HONE_ACT_none;
}

HONE_JIT_INLINE void turn(struct job *j)
{
    const struct job other = *j;
    j->a_arg = other.b_arg;
    j->b_arg = other.a_arg;
    j->m = other.n;
    j->n = other.m;
    j->a_stride = other.b_step;
    j->b_step = other.a_stride;
    j->turned = 1;
}

/* All of it but the addresses. */
HONE_JIT_INLINE struct job job_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct job j = {
        .m = p->dim[GEMM_M],
        .n = p->dim[GEMM_N],
        .k = p->dim[GEMM_K],
        .layout = p->layout,
        .a_arg = GEMM_A,
        .b_arg = GEMM_B,
        .has_bias = hone_problem_has(p, "bias"),
        .a_columns = p->layout == GEMM_TN,
        .b_rows = p->layout == GEMM_NT,
        .nr = c->v[NV] * VL,
        .kc = c->v[KC],
        .threads = c->v[THREADS],
        .share = c->v[THREADS] > 1 ? (enum share)c->v[SHARE] : ROWS,
        .alpha = (real)p->value[GEMM_ALPHA],
        .beta = (real)p->value[GEMM_BETA],
        .act = hone_act_of(p),
    };
    j.a_stride = j.a_columns ? j.m : j.k;
    j.b_step = j.n;
    simplify(&j);
    if (c->v[TURN] && can_turn(&j)) turn(&j);
    j.pack = !j.dots && (c->v[PACK] || j.b_rows);
    return j;
}

/* ---- dot products ---- */

static real dot(const real *a, const real *x, int k)
{
    vf s = { 0 };
    for (; k >= VL; k -= VL, a += VL, x += VL) s += vf_load(a) * vf_load(x);
    if (k) s += vf_load_n(a, k) * vf_load_n(x, k);
    return vf_sum(s);
}

HONE_JIT_INLINE void dots(const struct job *j, int row0, int row1)
{
    const real bias = j->bias && !j->bias_each ? j->bias[0] : 0;
    real *c = j->c;
    int i = row0;
    for (; i + VL <= row1; i += VL) {
        vf y = hone_dots(j->a + i * j->a_stride, j->a_stride, j->b, j->k) * j->alpha + bias;
        if (j->beta != 0) y += j->beta * vf_load(c + i);
        vf_store(c + i, y);
    }
    for (; i < row1; i++) {
        real y = dot(j->a + i * j->a_stride, j->b, j->k) * j->alpha + bias;
        if (j->beta != 0) y += j->beta * c[i];
        c[i] = y;
    }
    hone_epilogue(j->act, c + row0, 0, 1, row1 - row0,
                  j->bias_each && j->bias ? j->bias + row0 : NULL);
}

/* ---- tiles over rows and columns ---- */

/* What is between two edges: rows from..., columns from..., steps of the sum from....  first, last:
 * of the sum's steps; what follows the last is done here. */
struct part {
    int row, rows, col, cols, step, steps, first, last;
};

/* Row i of the tile is column i of rows x cols of C, from c on, where beta of what is there stays. */
HONE_JIT_INLINE void store_turned(const real *tile, int tile_row, real *c, int64_t c_row, int rows,
                                  int cols, real beta)
{
    for (int col = 0; col < cols; col += VL, c += VL * c_row) {
        vf r[VL];
        HONE_UNROLLED for (int i = 0; i < VL; i++)
            r[i] = i < rows ? vf_load(tile + i * tile_row + col) : (vf){ 0 };
        hone_transpose(r);
        HONE_UNROLLED for (int i = 0; i < VL; i++) {
            if (i >= cols - col) continue;
            if (beta != 0) r[i] += beta * vf_load_n(c + i * c_row, rows);
            vf_store_n(c + i * c_row, r[i], rows);
        }
    }
}

/* `count` rows of the panel, from row i on. */
HONE_JIT_INLINE void group(const struct job *j, const struct part *w, struct hone_tile *t, int i,
                           int count)
{
    const int relu = j->act == HONE_ACT_relu;
    real tile[HONE_TILE_MAX * VL] __attribute__((aligned(HONE_ALIGN)));   /* before it is turned */
    t->a = j->a + (j->a_columns ? w->step * j->a_stride + i : i * j->a_stride + w->step);
    t->c = j->turned ? tile : j->c + (int64_t)i * j->n + w->col;
    if (!j->turned && w->first && j->beta != 0 && j->beta != 1)
        hone_scale_rows(j->beta, t->c, j->n, count, w->cols);
    run_tile(j->a_columns, count, up(w->cols, VL), t);
    if (!j->turned && w->last && !relu) hone_epilogue(j->act, t->c, j->n, count, w->cols, NULL);
    for (int r = 0; j->turned && r < count; r += VL)
        store_turned(tile + r * t->c_row, (int)t->c_row, j->c + (int64_t)w->col * j->m + i + r, j->m,
                     least(VL, count - r), w->cols, w->first ? j->beta : 1);
}

/* One panel of columns, whose part of B starts at b. */
HONE_JIT_INLINE void panel(const struct job *j, const struct part *w, const real *b, int64_t b_step)
{
    const int relu = j->act == HONE_ACT_relu;
    const int groups = up(w->rows, HONE_TILE_ROWS(up(w->cols, VL)));
    struct hone_tile t = {
        .k = w->steps,
        .a_stride = j->a_stride,
        .b = b,
        .b_step = b_step,
        .c_row = j->turned ? up(w->cols, VL) * VL : j->n,
        .alpha = j->alpha,
        .cols = w->cols,
        .bias = w->last && j->bias ? j->bias + w->col : NULL,
        .accumulate = !j->turned && (!w->first || j->beta != 0),
        .relu = w->last && relu,
    };
    /* Groups of rows as equal as can be: the first `longer` have one more. */
    const int each = w->rows / groups, longer = w->rows % groups;
    const int middle = w->row + longer * (each + 1), end = w->row + w->rows;
    for (int i = w->row; longer && i < middle; i += each + 1) group(j, w, &t, i, each + 1);
    for (int i = middle; i < end; i += each) group(j, w, &t, i, each);
}

/* The width of a panel's copy. */
HONE_JIT_INLINE int width_of(int cols) { return up(cols, VL) * VL; }

/* Columns [col, end), whose panels begin there, and steps [step, step + steps). */
HONE_JIT_INLINE void pack_panels(const struct job *j, int col, int end, int step, int steps)
{
    for (; col < end; col += j->nr) {
        const int cols = least(j->nr, end - col), width = width_of(cols);
        real *to = j->packed + (int64_t)col * j->k + (int64_t)step * width;
        if (j->b_rows)
            hone_pack_rows(to, width, j->b + (int64_t)col * j->k + step, j->k, steps, cols);
        else
            hone_pack_columns(to, width, j->b + step * j->b_step + col, j->b_step, steps, cols);
    }
}

HONE_JIT_INLINE void one_panel(const struct job *j, struct part *w, int col, int cols)
{
    const int64_t b_step = j->pack ? width_of(cols) : j->b_step;
    w->col = col;
    w->cols = cols;
    panel(j, w, j->pack ? j->packed + (int64_t)col * j->k + w->step * b_step
                        : j->b + w->step * b_step + col, b_step);
}

/* Columns [col, end).  All panels but the last are alike. */
HONE_JIT_INLINE void steps_of(const struct job *j, struct part w, int col, int end)
{
    const int whole = col + (end - col) / j->nr * j->nr;
    for (; col < whole; col += j->nr) one_panel(j, &w, col, j->nr);
    if (col < end) one_panel(j, &w, col, end - col);
}

/* Steps [from, to) of the sum, kc at a time; `last`: what follows the sum is done behind them. */
HONE_JIT_INLINE void sums_of(const struct job *j, struct part w, int col, int end, int from, int to,
                             int last)
{
    w.step = from;
    w.first = 1;
    if (j->kc >= to - from) {
        w.steps = to - from;
        w.last = last;
        steps_of(j, w, col, end);
        return;
    }
    for (; w.step < to; w.step += j->kc, w.first = 0) {
        w.steps = least(j->kc, to - w.step);
        w.last = last && w.step + w.steps == to;
        steps_of(j, w, col, end);
    }
}

HONE_JIT_INLINE void rows_of(const struct job *j, int row, int rows, int col, int end)
{
    const struct part w = { .row = row, .rows = rows };
    if (j->dots) dots(j, row, row + rows);
    else sums_of(j, w, col, end, 0, j->k, 1);
}

/* ---- threads ---- */

/* Where share t of n begins when all threads have one. */
HONE_JIT_INLINE int share(const struct job *j, int n, int t)
{
    return (int)((int64_t)n * t / j->threads);
}

/* Shares of panels, of columns in whole vectors, of steps in whole vectors. */
HONE_JIT_INLINE int share_of_panels(const struct job *j, int t)
{
    return least(j->n, share(j, up(j->n, j->nr), t) * j->nr);
}

HONE_JIT_INLINE int share_of_columns(const struct job *j, int t)
{
    return least(j->n, share(j, up(j->n, VL), t) * VL);
}

HONE_JIT_INLINE int share_of_steps(const struct job *j, int t)
{
    return least(j->k, share(j, up(j->k, VL), t) * VL);
}

/* Numbers of one thread's sums. */
HONE_JIT_INLINE int64_t sums_apart(const struct job *j)
{
    return ((int64_t)j->m * j->n + HONE_APART - 1) / HONE_APART * HONE_APART;
}

HONE_JIT_INLINE void compute_rows(const struct job *j, int t)
{
    /* Where the compiler knows the sizes, it is to know how many rows these are. */
    const int few = j->m / j->threads, row = share(j, j->m, t),
              more = j->m % j->threads && share(j, j->m, t + 1) - row > few;
    if (more) rows_of(j, row, few + 1, 0, j->n);
    else if (few) rows_of(j, row, few, 0, j->n);
}

HONE_JIT_INLINE void compute_steps(const struct job *j, int t)
{
    const struct part w = { .rows = j->m };
    const int from = share_of_steps(j, t), to = share_of_steps(j, t + 1);
    struct job mine = *j;
    if (t) {
        mine.c = j->sums + (t - 1) * sums_apart(j);
        mine.beta = 0;
    }
    if (j->pack) pack_panels(j, 0, j->n, from, to - from);
    sums_of(&mine, w, 0, j->n, from, to, 0);
}

/* Of C as it lies. */
HONE_JIT_INLINE void add_sums(const struct job *j, int t)
{
    const int rows = j->turned ? j->n : j->m, cols = j->turned ? j->m : j->n,
              row = share(j, rows, t);
    hone_add_shares(j->c + (int64_t)row * cols, share(j, rows, t + 1) - row, cols,
                    j->sums + (int64_t)row * cols, j->threads - 1, sums_apart(j), j->bias, j->act);
}

/* What a thread does before all of them wait, if they do, and then. */
HONE_JIT_INLINE void begin_share(const struct job *j, int t)
{
    const int panels = share_of_panels(j, t), columns = share_of_columns(j, t),
              end = share_of_columns(j, t + 1);
    if (j->share == ROWS && j->pack)
        pack_panels(j, panels, share_of_panels(j, t + 1), 0, j->k);
    if (j->share == COLUMNS && j->pack) pack_panels(j, columns, end, 0, j->k);
    if (j->share == COLUMNS) rows_of(j, 0, j->m, columns, end);
    if (j->share == STEPS) compute_steps(j, t);
}

HONE_JIT_INLINE void end_share(const struct job *j, int t)
{
    if (j->share == ROWS) compute_rows(j, t);
    if (j->share == STEPS) add_sums(j, t);
}

/* ---- the kernel ---- */

extern const struct hone_kernel HONE_SYM(gemm_cpu_small);

/* A block size is worth trying if the next smaller one does not hold everything already. */
static int useful(const struct hone_param *q, int value, int size)
{
    int i = 0;
    while (i < q->nvalues && q->value[i] != value) i++;
    return i == 0 || q->value[i - 1] < size;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[GEMM_M] >= 192 && p->dim[GEMM_N] >= 192 && p->dim[GEMM_K] >= 192 ?
           "no size is below 192: packing both matrices wins" : NULL;
}

/* Beyond L2, what cpu_blocked does for each level of the caches pays, as long as packing is spread
 * over some rows. */
static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    return p->dim[GEMM_M] < 4 || hone_problem_bytes(p) <= (double)d->l2_bytes;
}

/* What of B is copied is copied by the thread that uses it, but where it has too few vectors to be
 * shared evenly; and of a long sum of few numbers each thread has its own steps. */
static enum share guess_share(const struct job *j)
{
    if (j->dots) return ROWS;
    if (j->layout == GEMM_NN && j->pack && j->k >= 3 * (int64_t)j->n && j->k >= 64) return STEPS;
    return (j->turned || j->pack) && up(j->n, VL) >= 4 ? COLUMNS : ROWS;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct hone_param *q = HONE_SYM(gemm_cpu_small).param;
    struct job j = job_of(p, c);
    (void)d;
    if (c->v[TURN] != j.turned) return 0;
    if (j.threads == 1 && c->v[SHARE] != (int)guess_share(&j)) return 0;   /* all are one */
    if (j.dots)
        return j.share == ROWS && c->v[NV] == 1 && c->v[KC] == q[KC].value[0] &&
               !c->v[PACK] && j.threads <= up(j.m, VL);
    return c->v[NV] <= up(j.n, VL) && useful(&q[KC], j.kc, j.k) && c->v[PACK] == j.pack &&
           j.threads <= (j.share == ROWS ? j.m : j.share == COLUMNS ? up(j.n, VL) : j.k / 32);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct hone_param *q = HONE_SYM(gemm_cpu_small).param;
    struct job j;
    *c = (struct hone_config){ { [NV] = 1, [KC] = q[KC].value[0], [THREADS] = 1 } };
    j = job_of(p, c);
    /* Idle lanes; or steps a page apart, of which tiles along them read whole lines. */
    c->v[TURN] = can_turn(&j) && j.m >= VL &&
                 (up(j.n, VL) * VL > j.n + j.n / 4 ||
                  j.a_stride * (int64_t)sizeof(real) >= 4096);
    j = job_of(p, c);
    if (!j.dots) {
        int vectors = up(j.n, VL);
        /* What does not stay in L1 is copied, and passed as seldom as can be. */
        c->v[PACK] = j.pack || (j.layout == GEMM_NN && j.m >= 32 && j.n > VL &&
                                (int64_t)j.n * j.k * (int64_t)sizeof(real) > d->l1_bytes / 2);
        /* Two vectors have the fewest loads per sum; three where they are all, or where one row
         * alone has too few sums to hide the latency of the additions. */
        const int three = vectors == 3 || (vectors > 3 && (j.m == 1 || c->v[PACK]));
        c->v[NV] = vectors == 1 ? 1 : three ? 3 : 2;
        /* The part of B that a panel uses, in half of L1. */
        int most = (int)(d->l1_bytes / 2 / (int64_t)sizeof(real)) / (c->v[NV] * VL), i = 0;
        while (i + 1 < q[KC].nvalues && q[KC].value[i] < j.k && q[KC].value[i + 1] <= 2 * most) i++;
        c->v[KC] = q[KC].value[i];
    }
    j = job_of(p, c);
    c->v[SHARE] = (int)guess_share(&j);
    while (p->op->flops(p) > 2e6 * c->v[THREADS] && c->v[THREADS] < 64 &&
           2 * c->v[THREADS] <= d->ncores) {
        const struct hone_config fewer = *c;
        c->v[THREADS] *= 2;
        if (valid(p, c, d)) continue;
        c->v[SHARE] = ROWS;
        if (valid(p, c, d)) continue;
        *c = fewer;
        break;
    }
}

static int64_t packed_size(const struct job *j)
{
    return j->pack ? (int64_t)width_of(j->n) * j->k : 0;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct job j = job_of(p, c);
    (void)d;
    return (size_t)(packed_size(&j) + (j.share == STEPS ? (j.threads - 1) * sums_apart(&j) : 0)) *
           sizeof(real);
}

static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    struct job j = job_of(p, c);
    double sum = j.dots ? up(j.k, VL) + 6 : least(j.kc, j.k) + up(j.k, j.kc) + j.threads,
           most = p->op->growth(p);
    double chain = sum + 4 + (j.act == HONE_ACT_none ? 0 : 8);
    return chain < most ? chain : most;
}

static int prepare(struct hone_plan *plan)
{
    const struct job j = job_of(&plan->problem, &plan->config);
    return hone_plan_keep(plan, &j, sizeof j);
}

/* As every thread sees it: where sizes are constants, each makes it anew. */
HONE_JIT_INLINE struct job job_at(const struct hone_plan *plan, void *const mem[], void *workspace)
{
#ifdef HONE_JIT_BUILD
    struct job j = job_of(hone_plan_problem(plan), hone_plan_config(plan));
#else
    struct job j = *(const struct job *)plan->priv;
#endif
    j.a = mem[j.a_arg];
    j.b = mem[j.b_arg];
    j.c = mem[GEMM_C];
    j.bias = j.has_bias ? mem[GEMM_BIAS] : NULL;
    j.packed = workspace;
    j.sums = j.packed + packed_size(&j);
    return j;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct job j = job_at(plan, mem, workspace);
    if (j.threads == 1) {
        begin_share(&j, 0);
        end_share(&j, 0);
        return HONE_OK;
    }
    const int threads = hone_plan_config(plan)->v[THREADS];
    /* Fewer threads than asked for compute the same bits. */
#pragma omp parallel num_threads(threads)
    {
        for (int t = hone_thread(); t < threads; t += hone_threads()) {
            const struct job mine = job_at(plan, mem, workspace);
            begin_share(&mine, t);
        }
        if (j.share == STEPS || (j.share == ROWS && j.pack)) {
#pragma omp barrier
        }
        for (int t = hone_thread(); t < threads; t += hone_threads()) {
            const struct job mine = job_at(plan, mem, workspace);
            end_share(&mine, t);
        }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, 0 };

const struct hone_kernel HONE_SYM(gemm_cpu_small) = {
    .name = HONE_NAME("cpu_small"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = {
        HONE_PARAM("nv", 1, 2, 3), HONE_PARAM("kc", 128, 256, 512, 1024, 1048576),
        HONE_PARAM("pack", 0, 1), HONE_PARAM("turn", 0, 1),
        HONE_PARAM("share", 0, 1, 2),
        HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64),
    },
    .refuse = refuse, .suits = suits, .valid = valid, .guess = guess, .workspace = workspace,
    .growth = growth, .prepare = prepare, .release = hone_plan_forget, .run = run,
};
