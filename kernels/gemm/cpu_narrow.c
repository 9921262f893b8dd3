/* Products with few columns, as a classifier's last layer has: where they lay along the lanes most
 * lanes were idle.  So the steps of the sum lie there: a vector of a row of A, read where it lies,
 * is multiplied with one of each column of B, and each row's sums are added up across their lanes
 * in the end, which gives a row of C.
 *
 * B is copied so that a group of columns' vectors for the same steps are side by side; kc bounds
 * the part of it that stays in the caches while the rows pass. */
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/pack.h"
#include "kernels/kept.h"

enum { KC, THREADS };
enum { AHEAD = 2048 / sizeof(real) };   /* numbers of B, which come from memory */

/* Columns X(g) of a group, and rows: all their sums stay in registers, and each number that is
 * loaded is of use to several of them.  Columns that would leave room for one row are in groups. */
#define UP_TO_4(X) X(2) X(3) X(4)
#if defined __AVX512F__ && HONE_LANES == 16
enum { MOST = 10, SEVERAL = 6 };   /* in a group that is the only one, of several */
#define GROUPS(X) UP_TO_4(X) X(5) X(6) X(7) X(8) X(9) X(10)
#define ROWS_OF(g) ((g) <= 6 ? 4 : 2)
#elif defined __AVX512F__
enum { MOST = 8, SEVERAL = 6 };
#define GROUPS(X) UP_TO_4(X) X(5) X(6) X(7) X(8)
#define ROWS_OF(g) ((g) <= 6 ? 4 : 2)
#else
enum { MOST = VL < 6 ? VL : 6, SEVERAL = 4 };
#if HONE_LANES == 8
#define GROUPS(X) UP_TO_4(X) X(5) X(6)
#elif HONE_LANES == 4
#define GROUPS(X) UP_TO_4(X)
#else
#define GROUPS(X) X(2)
#endif
#define ROWS_OF(g) ((g) <= 2 ? 4 : (g) <= 4 ? 3 : 2)
#endif

/* One run, as every thread sees it. */
struct job {
    int m, n, k, kc, threads, turned;   /* turned: B is (n, k) */
    real alpha, beta;
    int has_bias;
    enum hone_act act;
    const real *a, *b, *bias;
    real *c, *packed;                   /* packed: group by group, of each VL steps its vectors */
};

HONE_JIT_INLINE struct job job_of(const struct hone_problem *p, const struct hone_config *c)
{
    return (struct job){ .m = p->dim[GEMM_M], .n = p->dim[GEMM_N], .k = p->dim[GEMM_K],
                         .kc = c->v[KC], .threads = c->v[THREADS],
                         .turned = p->layout == GEMM_NT,
                         .alpha = (real)p->value[GEMM_ALPHA], .beta = (real)p->value[GEMM_BETA],
                         .has_bias = hone_problem_has(p, "bias"), .act = hone_act_of(p) };
}

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int up(int a, int b) { return (a + b - 1) / b; }

/* Numbers of a thread's copy of B: each has its own, for to fetch another's takes longer. */
static inline int64_t copy_of(const struct job *j)
{
    return (int64_t)up(j->k, VL) * VL * j->n + (j->threads > 1 ? HONE_APART : 0);
}

/* How many groups there are, and the first column of group i. */
static inline int groups_of(const struct job *j) { return j->n <= MOST ? 1 : up(j->n, SEVERAL); }
static inline int group_at(const struct job *j, int i) { return j->n * i / groups_of(j); }

/* Where a group's vectors of a step are. */
static inline real *packed_at(const struct job *j, int column, int columns, int step)
{
    return j->packed + (int64_t)up(j->k, VL) * VL * column + (int64_t)step * columns;
}

/* Column c of a turned B, as it lies in memory, to every `apart` numbers; zeros behind the last
 * step. */
HONE_JIT_INLINE void pack_row(const struct job *j, int c, real *to, int apart)
{
    const real *from = j->b + (int64_t)c * j->k;
    for (int step = 0; step < j->k; step += VL, to += apart) {
        __builtin_prefetch(from + step + AHEAD);
        vf_store(to, vf_load_n(from + step, least(VL, j->k - step)));
    }
}

/* VL steps of B as it lies, each column to its place. */
HONE_JIT_INLINE void pack_block(const struct job *j, int step, real *const to[VL],
                                const int apart[VL])
{
    const int steps = least(VL, j->k - step);
    vf r[VL];
    HONE_UNROLLED for (int i = 0; i < VL; i++)
        r[i] = i < steps ? vf_load_n(j->b + (int64_t)(step + i) * j->n, j->n) : (vf){ 0 };
    hone_transpose(r);
    HONE_UNROLLED for (int i = 0; i < VL; i++)
        if (i < j->n) vf_store(to[i] + (int64_t)(step / VL) * apart[i], r[i]);
}

HONE_JIT_INLINE void pack(const struct job *j)
{
    real *to[VL];
    int apart[VL];
    for (int i = 0; i < groups_of(j); i++) {
        const int first = group_at(j, i), end = group_at(j, i + 1);
        for (int c = first; c < end; c++) {
            to[c] = packed_at(j, first, end - first, 0) + (c - first) * VL;
            apart[c] = (end - first) * VL;
            if (j->turned) pack_row(j, c, to[c], apart[c]);
        }
    }
    for (int step = 0; step < j->k && !j->turned; step += VL) pack_block(j, step, to, apart);
}

/* `rows` rows times n columns from `column` on, steps [step, step + steps). */
HONE_INLINE void tile(int rows, int n, const struct job *j, int row, int column, int step,
                      int steps)
{
    const real *a = j->a + (int64_t)row * j->k + step, *b = packed_at(j, column, n, step);
    real *c = j->c + (int64_t)row * j->n + column;
    vf s[4][VL];
    int l = 0;
    HONE_UNROLLED for (int i = 0; i < rows * VL; i++) s[i / VL][i % VL] = (vf){ 0 };
    for (; l + VL <= steps; l += VL, b += n * VL) {
        vf x[4];
        HONE_UNROLLED for (int r = 0; r < rows; r++) x[r] = vf_load(a + (int64_t)r * j->k + l);
        HONE_UNROLLED for (int i = 0; i < n; i++) {
            const vf y = vf_load(b + i * VL);
            HONE_UNROLLED for (int r = 0; r < rows; r++) s[r][i] += x[r] * y;
        }
    }
    if (l < steps) {
        HONE_UNROLLED for (int r = 0; r < rows; r++) {
            const vf x = vf_load_n(a + (int64_t)r * j->k + l, steps - l);
            HONE_UNROLLED for (int i = 0; i < n; i++) s[r][i] += x * vf_load(b + i * VL);
        }
    }
    const int last = step + steps == j->k;
    HONE_UNROLLED for (int r = 0; r < rows; r++, c += j->n) {
        vf y = hone_sum_lanes(s[r]) * j->alpha;
        if (step) y += vf_load_n(c, n);
        else if (j->beta != 0) y += j->beta * vf_load_n(c, n);
        if (last && j->bias) y += vf_load_n(j->bias + column, n);
        if (last && j->act == HONE_ACT_relu) y = vf_max((vf){ 0 }, y);
        vf_store_n(c, y, n);
    }
}

#define X(g)                                                                                       \
    static void rows_##g(const struct job *j, int row, int end, int column, int step, int steps)   \
    {                                                                                              \
        for (; row + ROWS_OF(g) <= end; row += ROWS_OF(g))                                         \
            tile(ROWS_OF(g), g, j, row, column, step, steps);                                      \
        for (; row < end; row++) tile(1, g, j, row, column, step, steps);                          \
    }
GROUPS(X)
#undef X

HONE_JIT_INLINE void compute(const struct job *j, int row, int end)
{
    const int ngroups = groups_of(j), rows = ngroups > 1 ? ROWS_OF(SEVERAL) : end - row;
    for (int step = 0; step < j->k; step += j->kc) {
        const int steps = least(j->kc, j->k - step);
        /* A's numbers are in L1 for the groups behind the first. */
        for (int r = row; r < end; r += rows)
            for (int i = 0; i < ngroups; i++) {
                const int column = group_at(j, i), last = least(r + rows, end);
                switch (group_at(j, i + 1) - column) {
#define X(g) case g: rows_##g(j, r, last, column, step, steps); break;
                GROUPS(X)
#undef X
                }
            }
    }
    if (j->act != HONE_ACT_relu)
        hone_epilogue(j->act, j->c + (int64_t)row * j->n, j->n, end - row, j->n, NULL);
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (p->layout == GEMM_TN) return "A is transposed: its rows are no vectors";
    return p->dim[GEMM_N] < 2 || p->dim[GEMM_N] > VL ? "columns are one, or more than a vector"
                                                      : NULL;
}

static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return p->dim[GEMM_K] >= 8 * VL;   /* fewer do not pay for the sums across lanes */
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)d;
    /* What holds everything already is there once. */
    return (c->v[KC] == 256 || c->v[KC] / 4 < p->dim[GEMM_K]) && c->v[THREADS] <= p->dim[GEMM_M];
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    /* Adding up across lanes more often costs more than columns that come from L2. */
    *c = (struct hone_config){ { [KC] = p->dim[GEMM_K] > 256 ? 1024 : 256, [THREADS] = 1 } };
    while (p->op->flops(p) > 2e6 * c->v[THREADS] && c->v[THREADS] < 64 &&
           2 * c->v[THREADS] <= d->ncores && 2 * c->v[THREADS] <= p->dim[GEMM_M])
        c->v[THREADS] *= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct job j = job_of(p, c);
    (void)d;
    return (size_t)(j.threads * copy_of(&j)) * sizeof(real);
}

static int prepare(struct hone_plan *plan)
{
    const struct job j = job_of(&plan->problem, &plan->config);
    return hone_plan_keep(plan, &j, sizeof j);
}

HONE_JIT_INLINE struct job job_at(const struct hone_plan *plan, void *const mem[], void *workspace)
{
#ifdef HONE_JIT_BUILD
    struct job j = job_of(hone_plan_problem(plan), hone_plan_config(plan));
#else
    struct job j = *(const struct job *)plan->priv;
#endif
    j.a = mem[GEMM_A];
    j.b = mem[GEMM_B];
    j.c = mem[GEMM_C];
    j.bias = j.has_bias ? mem[GEMM_BIAS] : NULL;
    j.packed = workspace;
    return j;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct job j = job_at(plan, mem, workspace);
    if (j.threads == 1) {
        pack(&j);
        compute(&j, 0, j.m);
        return HONE_OK;
    }
#pragma omp parallel for num_threads(j.threads) schedule(static)
    for (int t = 0; t < j.threads; t++) {
        struct job mine = j;
        mine.packed += t * copy_of(&j);
        pack(&mine);
        compute(&mine, (int)((int64_t)j.m * t / j.threads),
                (int)((int64_t)j.m * (t + 1) / j.threads));
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, 0 };

const struct hone_kernel HONE_SYM(gemm_cpu_narrow) = {
    .name = HONE_NAME("cpu_narrow"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("kc", 256, 1024, 4096, 1048576),
               HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .refuse = refuse, .suits = suits, .valid = valid, .guess = guess, .workspace = workspace,
    .prepare = prepare, .release = hone_plan_forget, .run = run,
};
