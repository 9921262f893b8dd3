/* Weight gradient of a convolution of bf16, in blocks of products (dots.h) whose sums run over images:
 * 32 images of one pixel are a tile's steps, so that padding and strides cost nothing.
 *
 * Rows of dy are copied as tiles of A (output channels by images), rows of x as tiles of B (pairs of
 * images by input channels); both stay in L2 while every tap and every block of channels goes over
 * them.  Threads share either the images, each with a gradient of its own that is added up behind, or
 * the blocks, all over the same copies: the former where images are large, the latter where weights
 * are. */
#include "kernels/backend/cpu.h"
#include "kernels/backend/dots.h"
#include "kernels/conv2d/conv2d.h"

enum { IMAGES, ROWS, SHARE, THREADS };
enum { BY_IMAGES, BY_BLOCKS };

/* ---- how the work is cut ---- */

struct layout {
    struct conv v;
    int steps, images, nsteps;      /* images of a tile, of a group in tiles' steps, their number */
    int rows, held;                 /* rows of dy at a time; rows of x that are held at once */
    int octiles, ictiles, taps, members;
    int direct;                     /* 1: sums lie as dw does */
    int64_t a_pixel, b_pixel;       /* numbers of a pixel's tiles */
    int64_t a, b;                   /* of the copies */
    int64_t filter, sum;            /* floats from output channel to output channel, of all sums */
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

/* Rows of x under rows [from, to) of dy, as far as there are any. */
static void rows_under(const struct conv *v, int from, int to, int *first, int *end)
{
    *first = from * v->sh - v->ph;
    *end = (to - 1) * v->sh - v->ph + (v->kh - 1) * v->dh + 1;
    if (*first < 0) *first = 0;
    if (*end > v->ih) *end = v->ih;
}

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .v = conv_of(p) };
    const struct conv *v = &l.v;
    l.steps = dots_steps(v->mb);
    l.nsteps = up(least(c->v[IMAGES], v->mb), l.steps);
    l.images = l.nsteps * l.steps;
    l.rows = least(c->v[ROWS], v->oh);
    for (int r = 0; r < v->oh; r += l.rows) {
        int first, end;
        rows_under(v, r, least(v->oh, r + l.rows), &first, &end);
        if (end - first > l.held) l.held = end - first;
    }
    l.octiles = up(v->oc, DOTS);
    l.ictiles = up(v->ic, DOTS);
    l.taps = v->kh * v->kw;
    l.members = c->v[SHARE] == BY_BLOCKS ? c->v[THREADS] : 1;
    l.direct = v->oc % DOTS == 0 && v->ic % DOTS == 0;
    l.a_pixel = (int64_t)l.nsteps * l.octiles * DOTS * l.steps;
    l.b_pixel = (int64_t)l.nsteps * l.ictiles * DOTS * l.steps;
    l.a = l.a_pixel * v->ow * l.rows;
    l.b = l.b_pixel * v->iw * l.held;
    l.filter = (int64_t)l.taps * l.ictiles * DOTS;
    l.sum = l.filter * l.octiles * DOTS;
    return l;
}

/* ---- one run, as a thread sees it ---- */

struct job {
    struct layout l;
    const stored *x, *dy;
    stored *a, *b;      /* the copies */
    float *sum;
    int member;         /* of those that share the copies */
};

static void meet(const struct job *j)
{
    if (j->l.members > 1) {
#pragma omp barrier
    }
}

/* Rows [from, to) of x, and [row, end) of dy, of images [first, first + images): this member's pixels. */
static void copy(const struct job *j, int first, int images, int from, int to, int row, int end)
{
    const struct layout *l = &j->l;
    const struct conv *v = &l->v;
    const int64_t x_image = (int64_t)v->ih * v->iw * v->ic, y_image = (int64_t)v->oh * v->ow * v->oc;
    for (int i = j->member; i < (to - from) * v->iw; i += l->members) {
        const int y = from + i / v->iw, x = i % v->iw;
        const stored *at = j->x + first * x_image + ((int64_t)y * v->iw + x) * v->ic;
        stored *tile = j->b + ((int64_t)(y % l->held) * v->iw + x) * l->b_pixel;
        for (int s = 0; s < images; s += l->steps, at += l->steps * x_image)
            for (int t = 0; t < l->ictiles; t++, tile += DOTS * l->steps)
                dots_pack(tile, 2 * DOTS, at + t * DOTS, x_image, images - s, v->ic - t * DOTS,
                          l->steps);
    }
    for (int i = j->member; i < (end - row) * v->ow; i += l->members) {
        const stored *at = j->dy + first * y_image + ((int64_t)row * v->ow + i) * v->oc;
        stored *tile = j->a + i * l->a_pixel;
        for (int s = 0; s < images; s += l->steps, at += l->steps * y_image)
            for (int t = 0; t < l->octiles; t++, tile += DOTS * l->steps)
                dots_pack_rows(tile, l->steps, at + t * DOTS, y_image, images - s,
                               v->oc - t * DOTS, l->steps);
    }
}

/* Where o of 0 to n - 1 has o s + at in [0, size): from the first to behind the last. */
static void inside(int n, int s, int at, int size, int *first, int *end)
{
    *first = at < 0 ? up(-at, s) : 0;
    *end = at >= size ? 0 : least(n, (size - 1 - at) / s + 1);
}

/* Rows [row, end) of dy for one tap and one block of channels; fresh: the sums begin here. */
HONE_INLINE void do_block(int mt, int nt, struct dots *d, const struct job *j, int images, int row,
                          int end, int tap, int oc, int ic, int fresh)
{
    const struct layout *l = &j->l;
    const struct conv *v = &l->v;
    const int nsteps = up(images, l->steps), down = tap / v->kw * v->dh - v->ph,
              right = tap % v->kw * v->dw - v->pw;
    float *c = j->sum + oc * DOTS * l->filter + (int64_t)tap * l->ictiles * DOTS + ic * DOTS;
    int x0, x1, y0, y1;
    inside(v->ow, v->sw, right, v->iw, &x0, &x1);
    inside(v->oh, v->sh, down, v->ih, &y0, &y1);
    if (y0 < row) y0 = row;
    if (y1 > end) y1 = end;
    if (!fresh && (x0 >= x1 || y0 >= y1)) return;
    struct dots_sum s = { .a_row = l->steps, .a_tile = (int64_t)DOTS * l->steps,
                          .a_next = (int64_t)l->octiles * DOTS * l->steps, .b_row = 2 * DOTS,
                          .b_tile = (int64_t)DOTS * l->steps,
                          .b_next = (int64_t)l->ictiles * DOTS * l->steps, .n = nsteps };
    /* Neighbouring pixels' steps are one run where all of the group's steps are there. */
    const int together = v->sw == 1 && nsteps == l->nsteps && x1 > x0;
    if (fresh) dots_zero(mt, nt, d);
    else dots_load(mt, nt, d, c, l->filter);
    if (together) s.n = nsteps * (x1 - x0);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x += together ? x1 - x0 : 1) {
            s.a = j->a + ((int64_t)(y - row) * v->ow + x) * l->a_pixel + oc * s.a_tile;
            s.b = j->b + ((int64_t)((y * v->sh + down) % l->held) * v->iw + x * v->sw + right) *
                             l->b_pixel + ic * s.b_tile;
            dots_add(mt, nt, d, &s);
        }
    dots_store(mt, nt, d, c, l->filter);
}

static void do_rows(struct dots *d, const struct job *j, int images, int row, int end, int fresh)
{
    const struct layout *l = &j->l;
    const int across = up(l->ictiles, 2), units = up(l->octiles, 2) * l->taps * across;
    const int from = (int)((int64_t)units * j->member / l->members),
              to = (int)((int64_t)units * (j->member + 1) / l->members);
    for (int u = from; u < to; u++) {
        const int ic = u % across * 2, tap = u / across % l->taps, oc = u / across / l->taps * 2,
                  mt = least(2, l->octiles - oc), nt = least(2, l->ictiles - ic);
        if (mt > 1 && nt > 1) do_block(2, 2, d, j, images, row, end, tap, oc, ic, fresh);
        else if (mt > 1) do_block(2, 1, d, j, images, row, end, tap, oc, ic, fresh);
        else if (nt > 1) do_block(1, 2, d, j, images, row, end, tap, oc, ic, fresh);
        else do_block(1, 1, d, j, images, row, end, tap, oc, ic, fresh);
    }
}

/* Images [from, to). */
static void work(const struct job *j, int from, int to)
{
    const struct layout *l = &j->l;
    const struct conv *v = &l->v;
    struct dots d;
    dots_begin(&d, l->steps);
    for (int g = from; g < to; g += l->images) {
        const int images = least(l->images, to - g);
        int there = 0;
        for (int r = 0; r < v->oh; r += l->rows) {
            const int end = least(v->oh, r + l->rows);
            int first, last;
            rows_under(v, r, end, &first, &last);
            copy(j, g, images, first > there ? first : there, last, r, end);
            if (last > there) there = last;
            meet(j);
            do_rows(&d, j, images, r, end, g == from && r == 0);
            meet(j);
        }
    }
    dots_end();
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    return conv_of(p).g == 1 ? NULL : "it has groups";
}

static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    return v.mb >= DOTS / 2 && v.ic >= 8 && v.oc >= 8;
}

static int parts_of(const struct hone_config *c)
{
    return c->v[SHARE] == BY_IMAGES ? c->v[THREADS] : 1;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    if (c->v[IMAGES] > 32 && c->v[IMAGES] >= 2 * l.v.mb) return 0;
    if (c->v[ROWS] > 1 && c->v[ROWS] / 2 >= l.v.oh) return 0;
    if (c->v[SHARE] == BY_IMAGES) return c->v[THREADS] <= up(l.v.mb, l.steps);
    return c->v[THREADS] > 1 && c->v[THREADS] <= up(l.octiles, 2) * l.taps * up(l.ictiles, 2);
}

/* Both copies in half of L2; the sums' own traffic small beside them. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const double l2 = (double)d->l2_bytes;
    *c = (struct hone_config){ .v = { [IMAGES] = 32, [ROWS] = 1, [THREADS] = 1 } };
    const struct layout one = layout_of(p, c);
    while (2 * c->v[THREADS] <= hone_conv2d_threads(p, d)) c->v[THREADS] *= 2;
    if (4.0 * (double)one.sum > l2 / 2 && c->v[THREADS] > 1) c->v[SHARE] = BY_BLOCKS;
    while (c->v[THREADS] > 1 && !valid(p, c, d)) c->v[THREADS] /= 2;
    if (c->v[THREADS] == 1) c->v[SHARE] = BY_IMAGES;
    for (int i = ROWS; i >= IMAGES; i--)
        for (;;) {
            struct hone_config more = *c;
            more.v[i] *= 2;
            if (more.v[i] > (i == ROWS ? 64 : 128) || !valid(p, &more, d)) break;
            const struct layout l = layout_of(p, &more);
            if (2.0 * (double)(l.a + l.b) > 0.5 * l2) break;
            *c = more;
        }
}

static int64_t own_sums(const struct layout *l, const struct hone_config *c)
{
    return parts_of(c) - l->direct;   /* the first part's are dw where they lie as it does */
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    return (size_t)(own_sums(&l, c) * l.sum) * sizeof(float) +
           (size_t)(parts_of(c) * (l.a + l.b)) * sizeof(stored);
}

/* All terms in a chain, and the parts behind. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    return p->op->growth(p) + c->v[THREADS];
}

/* Output channels [from, to) of dw. */
static void add_up(const struct layout *l, float *dw, const float *const sum[], int nsums, int from,
                   int to)
{
    const struct conv *v = &l->v;
    for (int oc = from; oc < to; oc++)
        for (int tap = 0; tap < l->taps; tap++) {
            const int64_t at = oc * l->filter + (int64_t)tap * l->ictiles * DOTS;
            float *out = dw + ((int64_t)oc * l->taps + tap) * v->ic;
            for (int i = 0; i < v->ic; i++) {
                float s = sum[0][at + i];
                for (int t = 1; t < nsums; t++) s += sum[t][at + i];
                out[i] = s;
            }
        }
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    const struct layout l = layout_of(p, c);
    const int threads = c->v[THREADS], parts = parts_of(c);
    float *dw = mem[CONV_DWT], *sums = workspace;
    stored *copies = (stored *)(sums + own_sums(&l, c) * l.sum);
    const float *sum[64];
    for (int i = 0; i < parts; i++) sum[i] = l.direct ? i ? sums + (i - 1) * l.sum : dw
                                                      : sums + i * l.sum;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const int thread = hone_thread(), count = hone_threads(), size = least(threads, count);
        struct job j = { .l = l, .x = mem[CONV_DWT_X], .dy = mem[CONV_DWT_DY], .a = copies,
                         .b = copies + l.a, .sum = (float *)sum[0], .member = thread };
        j.l.members = parts > 1 ? 1 : size;
        if (parts == 1) {
            work(&j, 0, l.v.mb);
        } else {
            j.member = 0;
#pragma omp for schedule(static, 1)
            for (int t = 0; t < parts; t++) {
                const int all = up(l.v.mb, l.steps);
                j.a = copies + t * (l.a + l.b);
                j.b = j.a + l.a;
                j.sum = (float *)sum[t];
                work(&j, least(l.v.mb, all * t / parts * l.steps),
                     least(l.v.mb, all * (t + 1) / parts * l.steps));
            }
        }
        if (parts > 1 || !l.direct) {
#pragma omp barrier
            add_up(&l, dw, sum, parts, l.v.oc * thread / size, l.v.oc * (thread + 1) / size);
        }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_dots_wgrad) = {
    .name = HONE_NAME("cpu_dots_wgrad"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("images", 32, 64, 128), HONE_PARAM("rows", 1, 2, 4, 8, 16, 32, 64),
               HONE_PARAM("share", 0, 1), CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .growth = growth,
    .run = run,
};
