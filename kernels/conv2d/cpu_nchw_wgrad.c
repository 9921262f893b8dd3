/* The weight gradient in nchw with neighbouring pixels in the lanes: a weight's gradient is the
 * product of two runs (frames.h), its channel of dy and, from its tap on, its channel of x.
 *
 * ro channels of dy x nt weights of one of them stay in registers while the runs pass: ro + nt loads
 * serve ro * nt products.  Between rows dy is zero.  Each thread adds up its images, then the
 * threads' sums are added in order. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/frames.h"
#include "kernels/conv2d/im2col.h"

enum { RO, NT, ROWS, IMAGES, THREADS };
enum { REGISTERS = VB == 64 ? 32 : 16, MAX_RO = 4, MAX_NT = 9 };

/* What a tile reads, and where its sums go; beyond what there is, the last stands again. */
struct block {
    const real *dy[MAX_RO], *x[MAX_NT];
    int64_t n;                   /* numbers of the run */
    real *sum[MAX_RO];           /* (nt) of each channel of dy */
    int channels, weights;       /* of ro and nt: those that there are */
};

HONE_INLINE void tile(int ro, int nt, const struct block *b)
{
    vf acc[MAX_RO][MAX_NT], dy[MAX_RO];
    const int64_t whole = b->n / VL * VL;
    const int rest = (int)(b->n - whole);
    HONE_UNROLLED for (int r = 0; r < ro; r++)
        HONE_UNROLLED for (int k = 0; k < nt; k++) acc[r][k] = vf_set(0);
    for (int64_t i = 0; i < whole; i += VL) {
        HONE_UNROLLED for (int r = 0; r < ro; r++) dy[r] = vf_load(b->dy[r] + i);
        HONE_UNROLLED for (int k = 0; k < nt; k++) {
            const vf x = vf_load(b->x[k] + i);
            HONE_UNROLLED for (int r = 0; r < ro; r++) acc[r][k] += dy[r] * x;
        }
    }
    if (rest) {
        HONE_UNROLLED for (int r = 0; r < ro; r++) dy[r] = vf_load_n(b->dy[r] + whole, rest);
        HONE_UNROLLED for (int k = 0; k < nt; k++) {
            const vf x = vf_load_n(b->x[k] + whole, rest);
            HONE_UNROLLED for (int r = 0; r < ro; r++) acc[r][k] += dy[r] * x;
        }
    }
    HONE_UNROLLED for (int r = 0; r < ro; r++)
        HONE_UNROLLED for (int k = 0; k < nt; k++)
            if (r < b->channels && k < b->weights) b->sum[r][k] += vf_sum(acc[r][k]);
}

#define TILE(ro, nt)                                                                               \
    static void tile_##ro##x##nt(const struct block *b) { tile(ro, nt, b); }
TILE(1, 3) TILE(1, 6) TILE(1, 9) TILE(2, 3) TILE(2, 6)
#if HONE_VB == 64
TILE(2, 9) TILE(4, 3) TILE(4, 6)
#endif

static const struct shape {
    int ro, nt;
    void (*tile)(const struct block *b);
} shapes[] = {
    { 1, 3, tile_1x3 }, { 1, 6, tile_1x6 }, { 1, 9, tile_1x9 }, { 2, 3, tile_2x3 },
    { 2, 6, tile_2x6 },
#if HONE_VB == 64
    { 2, 9, tile_2x9 }, { 4, 3, tile_4x3 }, { 4, 6, tile_4x6 },
#endif
};
enum { NSHAPES = sizeof shapes / sizeof *shapes };

static const struct shape *shape_of(const struct hone_config *c)
{
    for (int i = 0; i < NSHAPES; i++)
        if (shapes[i].ro == c->v[RO] && shapes[i].nt == c->v[NT]) return &shapes[i];
    return NULL;
}

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    struct frames f;
    int64_t k;                   /* weights of a channel of dy */
    int64_t list_reals;          /* of where they lie */
    int64_t sum_reals, run, dy_reals, thread_reals;   /* all weights, a channel's run, all such */
    int own;                     /* 1: dy serves as it lies */
};

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = gather_of(p) };
    const struct gather *q = &l.q;
    l.f = frames_of(q, c->v[ROWS], c->v[IMAGES]);
    l.k = (int64_t)q->inc * q->kh * q->kw;
    l.list_reals = whole_lines(l.k);
    l.sum_reals = whole_lines(l.k * q->out_c);
    l.own = l.f.images == 1 && l.f.pitch == q->out_w;
    l.run = l.own ? (int64_t)q->out_h * q->out_w
                  : whole_lines(frames_run(&l.f, l.f.images, l.f.rows, q->out_w));
    l.dy_reals = l.own ? 0 : l.run * q->outc;
    l.thread_reals = l.sum_reals + l.f.reals + l.dy_reals;
    return l;
}

/* What threads share, and one of them has. */
struct job {
    struct layout l;
    const struct shape *shape;
    const int32_t *at;           /* (k): where a channel's weight begins in the frame */
    const real *x, *dy;
};
struct unit {
    int n, images, a0, a1;
};

/* A group's channels of dy as runs, in `to` or where they lie. */
static const real *runs_of_dy(const struct job *j, const struct unit *u, int group, real *to)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const int64_t plane = (int64_t)q->out_h * q->out_w;
    const real *dy = j->dy + ((int64_t)u->n * q->out_c + group * q->outc) * plane +
                     (int64_t)u->a0 * q->out_w;
    if (l->own) return dy;
    memset(to, 0, (size_t)l->dy_reals * sizeof *to);
    for (int o = 0; o < q->outc; o++)
        for (int i = 0; i < u->images; i++)
            for (int a = 0; a < u->a1 - u->a0; a++)
                memcpy(to + o * l->run + ((int64_t)i * l->f.heap_rows + a) * l->f.pitch,
                       dy + ((int64_t)i * q->out_c + o) * plane + (int64_t)a * q->out_w,
                       (size_t)q->out_w * sizeof *to);
    return to;
}

static void do_unit(const struct job *j, int64_t index, real *sum, real *frame, real *room)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const struct frames *f = &l->f;
    const int ro = j->shape->ro, nt = j->shape->nt;
    struct unit u = { (int)(index / f->bands) * f->images, f->images,
                      (int)(index % f->bands) * f->rows, 0 };
    if (u.images > q->mb - u.n) u.images = q->mb - u.n;
    u.a1 = u.a0 + f->rows < q->count_h ? u.a0 + f->rows : q->count_h;
    for (int g = 0; g < q->g; g++) {
        const real *x = frames_fill(f, q, j->x, u.n, u.images, g, u.a0, u.a1, frame);
        const real *dy = runs_of_dy(j, &u, g, room);
        struct block b = { .n = frames_run(f, u.images, u.a1 - u.a0, q->out_w) };
        for (int o = 0; o < q->outc; o += ro)
            for (int64_t k = 0; k < l->k; k += nt) {
                b.channels = q->outc - o < ro ? q->outc - o : ro;
                b.weights = l->k - k < nt ? (int)(l->k - k) : nt;
                for (int r = 0; r < ro; r++) {
                    const int c = o + (r < b.channels ? r : b.channels - 1);
                    b.dy[r] = dy + c * l->run;
                    b.sum[r] = sum + ((int64_t)g * q->outc + c) * l->k + k;
                }
                for (int i = 0; i < nt; i++)
                    b.x[i] = x + j->at[k + (i < b.weights ? i : b.weights - 1)];
                j->shape->tile(&b);
            }
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    return frames_refuse(p);
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct gather q = gather_of(p);
    (void)d;
    if (!shape_of(c) || (c->v[RO] > 1 && c->v[RO] / 2 >= q.outc)) return 0;
    return frames_valid(&q, c->v[ROWS], c->v[IMAGES]);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = gather_of(p);
    c->v[THREADS] = hone_conv2d_threads(p, d);
    frames_guess(&q, d, c->v[THREADS], &c->v[ROWS], &c->v[IMAGES]);
    c->v[RO] = q.outc == 1 ? 1 : q.outc <= 2 || VB < 64 ? 2 : 4;
    c->v[NT] = q.outc == 1 ? 9 : 6;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(l.list_reals + c->v[THREADS] * l.thread_reals) * sizeof(real);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    struct job j = { .l = layout_of(p, hone_plan_config(plan)),
                     .shape = shape_of(hone_plan_config(plan)), .x = mem[CONV_DWT_X],
                     .dy = mem[CONV_DWT_DY] };
    const struct layout *l = &j.l;
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t units = (int64_t)l->f.blocks * l->f.bands, n = l->k * l->q.out_c;
    const struct conv_axis h = gather_h(&l->q, 0), w = gather_w(&l->q, 0);
    int32_t *at = workspace;
    real *sums = (real *)workspace + l->list_reals, *rest = sums + threads * l->sum_reals;
    const int64_t each = l->f.reals + l->dy_reals;
    for (int64_t k = 0, taps = (int64_t)h.n * w.n; k < l->k; k++)
        at[k] = (int32_t)(k / taps * l->f.channel +
                          frames_tap(&l->f, &l->q, &h, &w, (int)(k % taps / w.n), (int)(k % w.n)));
    j.at = at;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; t++) {
            real *sum = sums + t * l->sum_reals, *frame = rest + t * each;
            memset(sum, 0, (size_t)l->sum_reals * sizeof *sum);
            for (int64_t u = units * t / threads; u < units * (t + 1) / threads; u++)
                do_unit(&j, u, sum, frame, frame + l->f.reals);
        }
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++)
            im2col_add_up(sums, l->sum_reals, threads, n * t / threads, n * (t + 1) / threads,
                          mem[CONV_DWT]);
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_nchw_wgrad) = {
    .name = HONE_NAME("cpu_nchw_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("ro", 1, 2, 4), HONE_PARAM("nt", 3, 6, 9), FRAMES_ROWS, FRAMES_IMAGES,
               CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
