/* The product of bf16 matrices in blocks of products (dots.h).
 *
 * A block of B, kc x nc, is copied into tiles and stays in L2, or is all of B; chunks of A's rows are
 * copied too, or read where they lie, and pass over it.  Where the sum has several blocks it lies as
 * floats in scratch memory in between.  Threads share rows, columns or steps: in the last case each has
 * a sum of its own, and these are added up behind. */
#include "kernels/backend/cpu.h"
#include "kernels/backend/dots.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kept.h"

enum { KC, NC, MC, COPY, SHARE, THREADS };
enum { BY_ROWS, BY_COLUMNS, BY_STEPS };

struct job {
    int m, n, k, layout, wide, share, threads, copy, has_bias;
    int steps, kc, nc, mc;
    int64_t a_numbers, b_numbers;   /* of a thread's copies */
    int64_t part, part_row;         /* floats of a thread's sums, of a row of them; 0: none */
    enum hone_act act;
    real alpha, beta;
    const stored *a, *b;
    const real *bias;
    void *c;
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }
static int whole(int a, int b) { return up(a, b) * b; }

static struct job job_of(const struct hone_problem *p, const struct hone_config *c)
{
    const int32_t *dim = p->dim;
    struct job j = { .m = dim[GEMM_M], .n = dim[GEMM_N], .k = dim[GEMM_K], .layout = p->layout,
                     .wide = hone_problem_has(p, "wide"), .share = c->v[SHARE],
                     .threads = c->v[THREADS], .copy = c->v[COPY],
                     .has_bias = hone_problem_has(p, "bias"), .act = hone_act_of(p),
                     .alpha = (real)p->value[GEMM_ALPHA], .beta = (real)p->value[GEMM_BETA] };
    const int m = j.share == BY_ROWS ? whole(up(j.m, j.threads), DOTS_BLOCK) : j.m,
              n = j.share == BY_COLUMNS ? whole(up(j.n, j.threads), DOTS_BLOCK) : j.n,
              k = j.share == BY_STEPS ? whole(up(j.k, j.threads), DOTS_STEPS) : j.k;
    j.steps = dots_steps(k);
    j.kc = least(c->v[KC], whole(k, j.steps));
    j.nc = least(c->v[NC], whole(n, DOTS_BLOCK));
    j.mc = least(c->v[MC], whole(m, DOTS_BLOCK));
    j.a_numbers = (int64_t)j.mc * j.kc;
    j.b_numbers = (int64_t)j.nc * j.kc;
    if (j.kc < k || j.share == BY_STEPS) {
        j.part_row = j.nc;
        j.part = (int64_t)whole(m, DOTS_BLOCK) * j.nc;
    }
    return j;
}

/* ---- copies ---- */

/* Steps [step, step + k) of columns [col, col + n) of B: panels of 32 columns, each tile by tile.  The
 * matrix is read along its rows. */
static void pack_b(const struct job *j, stored *to, int col, int n, int step, int k)
{
    const int nsteps = up(k, j->steps);
    const int64_t tile = (int64_t)j->steps * DOTS, panel = nsteps * 2 * tile;
    if (j->layout == GEMM_NT) {
        for (int t = 0; t < up(n, DOTS); t++)
            for (int s = 0; s < nsteps; s++)
                dots_pack_turned(to + t / 2 * panel + (2 * s + t % 2) * tile, 2 * DOTS,
                                 j->b + (int64_t)(col + t * DOTS) * j->k + step + s * j->steps,
                                 j->k, k - s * j->steps, n - t * DOTS, j->steps);
        return;
    }
    for (int s = 0; s < nsteps; s++)
        for (int t = 0; t < up(n, DOTS); t++)
            dots_pack(to + t / 2 * panel + (2 * s + t % 2) * tile, 2 * DOTS,
                      j->b + (int64_t)(step + s * j->steps) * j->n + col + t * DOTS, j->n,
                      k - s * j->steps, n - t * DOTS, j->steps);
}

/* Steps [step, step + k) of rows [row, row + m) of A: 16 rows, then steps, as tiles. */
static void pack_a(const struct job *j, stored *to, int row, int m, int step, int k)
{
    const int nsteps = up(k, j->steps);
    const int64_t tile = (int64_t)j->steps * DOTS;
    if (j->layout == GEMM_TN) {
        for (int s = 0; s < nsteps; s++)
            for (int t = 0; t < up(m, DOTS); t++)
                dots_pack_rows(to + (t * nsteps + s) * tile, j->steps,
                               j->a + (int64_t)(step + s * j->steps) * j->m + row + t * DOTS, j->m,
                               k - s * j->steps, m - t * DOTS, j->steps);
        return;
    }
    for (int i = 0; i < m; i++)
        for (int s = 0; s < nsteps; s++) {
            const stored *from = j->a + (int64_t)(row + i) * j->k + step + s * j->steps;
            const int n = least(j->steps, k - s * j->steps);
            _mm512_mask_storeu_epi16(to + (i / DOTS * nsteps + s) * tile + i % DOTS * j->steps,
                                     dots_32(j->steps), _mm512_maskz_loadu_epi16(dots_32(n), from));
        }
}

/* ---- blocks ---- */

/* What follows a block's sum, which lies in d: rows x cols of C. */
static void finish(const struct job *j, struct dots *d, int row, int col, int rows, int cols)
{
    const int64_t at = (int64_t)row * j->n + col;
    const real *bias = j->bias ? j->bias + col : NULL;
    float *c = (float *)j->c + at;
    stored *half = (stored *)j->c + at;
    if (j->alpha != 1 || j->beta != 0)
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < cols; v += VL) {
                const int64_t place = (int64_t)i * j->n + v;
                const int n = least(VL, cols - v);
                float *sum = d->c + i * DOTS_BLOCK + v;
                vf x = j->alpha * vf_load(sum);
                if (j->beta != 0)
                    x += j->beta * (j->wide ? vf_load_n(c + place, n)
                                            : vs_load_n(half + place, n));
                vf_store(sum, x);
            }
    if (!j->wide) {
        dots_give_block(j->act, half, j->n, d->c, bias, rows, cols, 0);
        return;
    }
    hone_epilogue(j->act, d->c, DOTS_BLOCK, rows, cols, bias);
    for (int i = 0; i < rows; i++, c += j->n)
        for (int v = 0; v < cols; v += VL)
            vf_store_n(c + v, vf_load(d->c + i * DOTS_BLOCK + v), least(VL, cols - v));
}

/* One block: tiles of A from a on, of B from b on.  part: its sum so far and from here on, or NULL;
 * first, last: of the sum's blocks. */
struct block {
    const stored *a, *b;
    int64_t a_row, a_tile, a_next;
    int nsteps, row, col, rows, cols, first, last;
    float *part;
};

HONE_INLINE void sum_block(int mt, int nt, const struct job *j, struct dots *d,
                           const struct block *b)
{
    const struct dots_sum s = { .a = b->a, .b = b->b, .a_row = b->a_row, .a_tile = b->a_tile,
                                .a_next = b->a_next, .b_row = 2 * DOTS,
                                .b_tile = (int64_t)j->steps * DOTS,
                                .b_next = (int64_t)2 * j->steps * DOTS, .n = b->nsteps };
    if (b->first) dots_zero(mt, nt, d);
    else dots_load(mt, nt, d, b->part, j->part_row);
    dots_add(mt, nt, d, &s);
    if (!b->last) { dots_store(mt, nt, d, b->part, j->part_row); return; }
    if (j->wide && b->rows == mt * DOTS && b->cols == nt * DOTS && !j->bias && j->alpha == 1 &&
        j->beta == 0 && j->act == HONE_ACT_none) {
        dots_store(mt, nt, d, (float *)j->c + (int64_t)b->row * j->n + b->col, j->n);
        return;
    }
    dots_store(mt, nt, d, d->c, DOTS_BLOCK);
    finish(j, d, b->row, b->col, b->rows, b->cols);
}

static void do_block(const struct job *j, struct dots *d, const struct block *b)
{
    if (b->rows > DOTS && b->cols > DOTS) sum_block(2, 2, j, d, b);
    else if (b->rows > DOTS) sum_block(2, 1, j, d, b);
    else if (b->cols > DOTS) sum_block(1, 2, j, d, b);
    else sum_block(1, 1, j, d, b);
}

/* ---- one thread's share ---- */

struct share {
    int m0, m1, n0, n1, k0, k1;
    stored *a, *b;
    float *part;        /* rows from m0, columns from the block's first */
};

/* Rows [row, row + m) with the block of B that is packed. */
static void do_chunk(const struct job *j, struct dots *d, const struct share *w, int row, int m,
                     int col, int n, int step, int k)
{
    const int nsteps = up(k, j->steps);
    const int direct = !j->copy && j->layout != GEMM_TN && m % DOTS == 0 && k % j->steps == 0;
    struct block b = { .a_row = j->steps, .a_tile = (int64_t)nsteps * j->steps * DOTS,
                       .a_next = (int64_t)j->steps * DOTS, .nsteps = nsteps,
                       .first = step == w->k0, .last = step + k == w->k1 && j->share != BY_STEPS };
    const stored *a = w->a;
    if (direct) {
        a = j->a + (int64_t)row * j->k + step;
        b.a_row = j->k, b.a_tile = (int64_t)DOTS * j->k, b.a_next = j->steps;
    } else {
        pack_a(j, w->a, row, m, step, k);
    }
    for (int i = 0; i < m; i += DOTS_BLOCK)
        for (int v = 0; v < n; v += DOTS_BLOCK) {
            b.row = row + i, b.col = col + v;
            b.rows = least(DOTS_BLOCK, m - i), b.cols = least(DOTS_BLOCK, n - v);
            b.a = a + i / DOTS * b.a_tile;
            b.b = w->b + (int64_t)(v / DOTS_BLOCK) * nsteps * j->steps * DOTS_BLOCK;
            b.part = w->part + (int64_t)(row + i - w->m0) * j->part_row + v;
            do_block(j, d, &b);
        }
}

static void work(const struct job *j, const struct share *w)
{
    struct dots d;
    dots_begin(&d, j->steps);
    for (int col = w->n0; col < w->n1; col += j->nc)
        for (int step = w->k0; step < w->k1; step += j->kc) {
            const int n = least(j->nc, w->n1 - col), k = least(j->kc, w->k1 - step);
            pack_b(j, w->b, col, n, step, k);
            for (int row = w->m0; row < w->m1; row += j->mc)
                do_chunk(j, &d, w, row, least(j->mc, w->m1 - row), col, n, step, k);
        }
    dots_end();
}

/* Where part t of `threads` begins, in whole blocks. */
static int from(int n, int block, int threads, int t)
{
    return least(n, whole(up(n, threads), block) * t);
}

/* The threads' sums, blocks of 32 rows of which this thread takes every `threads`th. */
static void add_up(const struct job *j, const float *parts, int thread, int threads)
{
    struct dots d;
    for (int row = thread * DOTS_BLOCK; row < j->m; row += threads * DOTS_BLOCK)
        for (int col = 0; col < j->n; col += DOTS_BLOCK) {
            for (int i = 0; i < DOTS_BLOCK; i++)
                for (int v = 0; v < DOTS_BLOCK; v += VL) {
                    const float *at = parts + (int64_t)(row + i) * j->part_row + col + v;
                    vf sum = vf_load(at);
                    for (int t = 1; t < j->threads; t++) sum += vf_load(at + t * j->part);
                    vf_store(d.c + i * DOTS_BLOCK + v, sum);
                }
            finish(j, &d, row, col, least(DOTS_BLOCK, j->m - row), least(DOTS_BLOCK, j->n - col));
        }
}

/* ---- the kernel ---- */

extern const struct hone_kernel HONE_SYM(gemm_cpu_dots);

/* A block size is worth trying if the next smaller one does not hold everything already. */
static int needed(const struct hone_config *c, int param, int smallest, int size)
{
    return c->v[param] == smallest || c->v[param] / 2 < size;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct job j = job_of(p, c);
    (void)d;
    if (!needed(c, KC, 256, j.k) || !needed(c, NC, 64, j.n) || !needed(c, MC, 32, j.m)) return 0;
    if (!j.copy && (j.layout == GEMM_TN || j.k % j.steps)) return 0;
    if (j.threads == 1) return j.share == BY_ROWS;
    if (j.share == BY_STEPS)
        return j.nc >= j.n && (int64_t)j.m * j.n <= 1 << 20 &&
               from(j.k, DOTS_STEPS, j.threads, j.threads - 1) < j.k;
    const int size = j.share == BY_ROWS ? j.m : j.n;
    return from(size, DOTS_BLOCK, j.threads, j.threads - 1) < size;
}

static int fit(double most, int smallest, int largest, int size)
{
    int v = smallest;
    while (v < largest && v < size && 2.0 * v <= most) v *= 2;
    return v;
}

/* All of the sum at once while a panel of B is no more than a sixteenth of L2; a block of B in a
 * quarter of it, and a chunk of A in an eighth. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const double l2 = (double)d->l2_bytes / 2;   /* in numbers */
    c->v[KC] = fit(l2 / 16 / DOTS_BLOCK, 256, 4096, k);
    c->v[NC] = fit(l2 / 4 / c->v[KC], 64, 4096, n);
    c->v[MC] = fit(l2 / 8 / c->v[KC], 32, 1024, m);
    c->v[COPY] = 1;
    c->v[SHARE] = BY_ROWS, c->v[THREADS] = 1;
    const int share = (int64_t)k >= 16 * (int64_t)m && k >= 16 * n ? BY_STEPS
                      : m >= n ? BY_ROWS : BY_COLUMNS;
    while (p->op->flops(p) > 2e7 && c->v[THREADS] < 64 && 2 * c->v[THREADS] <= d->ncores) {
        struct hone_config more = *c;
        more.v[THREADS] *= 2;
        more.v[SHARE] = share;
        if (!hone_config_valid(&HONE_SYM(gemm_cpu_dots), p, &more, d)) break;
        *c = more;
    }
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct job j = job_of(p, c);
    (void)d;
    return (size_t)j.threads * ((size_t)j.part * sizeof(float) +
                                (size_t)(j.a_numbers + j.b_numbers) * sizeof(stored));
}

/* All terms in a chain, and the threads' sums behind. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    return p->op->growth(p) + (c->v[SHARE] == BY_STEPS ? c->v[THREADS] : 0);
}

static int prepare(struct hone_plan *plan)
{
    const struct job j = job_of(hone_plan_problem(plan), hone_plan_config(plan));
    return hone_plan_keep(plan, &j, sizeof j);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct job j = *(const struct job *)plan->priv;
    const int threads = j.threads;
    float *parts = workspace;
    stored *copies = (stored *)(parts + threads * j.part);
    j.a = mem[GEMM_A];
    j.b = mem[GEMM_B];
    j.c = mem[GEMM_C];
    j.bias = j.has_bias ? mem[GEMM_BIAS] : NULL;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; t++) {
            struct share w = { 0, j.m, 0, j.n, 0, j.k, NULL, NULL, parts + t * j.part };
            w.a = copies + t * (j.a_numbers + j.b_numbers);
            w.b = w.a + j.a_numbers;
            if (j.share == BY_ROWS) {
                w.m0 = from(j.m, DOTS_BLOCK, threads, t);
                w.m1 = from(j.m, DOTS_BLOCK, threads, t + 1);
            } else if (j.share == BY_COLUMNS) {
                w.n0 = from(j.n, DOTS_BLOCK, threads, t);
                w.n1 = from(j.n, DOTS_BLOCK, threads, t + 1);
            } else {
                w.k0 = from(j.k, DOTS_STEPS, threads, t);
                w.k1 = from(j.k, DOTS_STEPS, threads, t + 1);
            }
            work(&j, &w);
        }
        if (j.share == BY_STEPS) add_up(&j, parts, hone_thread(), hone_threads());
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };

const struct hone_kernel HONE_SYM(gemm_cpu_dots) = {
    .name = HONE_NAME("cpu_dots"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("kc", 256, 512, 1024, 2048, 4096),
               HONE_PARAM("nc", 64, 128, 256, 512, 1024, 2048, 4096),
               HONE_PARAM("mc", 32, 64, 128, 256, 512, 1024), HONE_PARAM("copy", 0, 1),
               HONE_PARAM("share", 0, 1, 2), HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .growth = growth,
    .prepare = prepare,
    .release = hone_plan_forget,
    .run = run,
};
