/* Convolution of bf16, forward and data gradient (gather.h), in blocks of products (dots.h) with images
 * in a block's rows: the same pixel of up to 32 images meets the same taps, so that padding, strides
 * and phases cost nothing, and those on padding are left out.
 *
 * A thread has a group of images.  Input rows are copied as they are needed, so that a tile of A, 16
 * images' channels of one pixel, is one piece of memory; rows that are no longer needed make room.
 * `rows` of the output at a time are computed for one panel of 32 channels after the other: many where
 * weights are large and images small, few where a row of 32 images already fills L2.
 *
 * Where weights are more than the copies of all images, threads share the panels, each over all
 * images, and pack one at a time: the packed weights take little memory and stay in L2.
 *
 * For a 1x1 kernel without stride and padding each pixel is an image: they lie one after another, and
 * tiles of A are read where they are. */
#include "kernels/backend/cpu.h"
#include "kernels/backend/dots.h"
#include "kernels/conv2d/gather.h"

#include <stdlib.h>

enum { GROUP, ROWS, STREAM, THREADS };
enum { MAX_TAPS = 16 };   /* in one direction */

/* The taps of an output row or column that lie inside: which input and which row or column of the
 * kernel. */
struct taps {
    int n;
    struct { int in, tap; } at[MAX_TAPS];
};

/* ---- how the work is cut ---- */

struct layout {
    struct gather q;
    int group, groups, rows;    /* images of a group, groups, rows of output at a time */
    int held;                   /* input rows that are held at once */
    int in_place;               /* A's tiles are the input's own */
    int panels, steps, nsteps;  /* panels of 32 output channels; tiles along the sum */
    int by_panels;              /* threads share the panels, not the groups */
    int64_t a_row, a_next;      /* numbers from an image to the next, and from tile to tile of a sum */
    int64_t pixel, row;         /* numbers of scratch memory of a pixel's images, of an input row */
    int64_t tap, panel;         /* numbers of a packed panel's tap, of the panel */
};

static int up(int a, int b) { return (a + b - 1) / b; }
static int least(int a, int b) { return a < b ? a : b; }

/* Of output row or column i. */
static struct taps taps_of(const struct gather *q, int down, int i)
{
    const int phases = down ? q->phases_h : q->phases_w, in = down ? q->in_h : q->in_w;
    const struct conv_axis x = down ? gather_h(q, i % phases) : gather_w(q, i % phases);
    const int first = (i - x.start) / x.stride * x.step + x.at;
    struct taps t = { 0 };
    for (int j = 0; j < x.n; j++) {
        const int at = first + j * x.dist;
        if (at < 0 || at >= in) continue;
        t.at[t.n].in = at;
        t.at[t.n++].tap = x.tap + j * x.tap_step;
    }
    return t;
}

/* The input rows under output rows [from, to): first and behind the last; none: in_h and 0. */
static void rows_under(const struct gather *q, int from, int to, int *first, int *end)
{
    *first = q->in_h, *end = 0;
    for (int r = from; r < to; r++) {
        const struct taps t = taps_of(q, 1, r);
        for (int i = 0; i < t.n; i++) {
            if (t.at[i].in < *first) *first = t.at[i].in;
            if (t.at[i].in >= *end) *end = t.at[i].in + 1;
        }
    }
}

static int is_flat(const struct conv *v)
{
    return v->kh == 1 && v->kw == 1 && v->sh == 1 && v->sw == 1 && !v->ph && !v->pw &&
           v->oh == v->ih && v->ow == v->iw;
}

/* Pixels that meet one weight each are images of their own. */
static struct gather images_of(const struct hone_problem *p)
{
    struct hone_problem flat = *p;
    const struct conv v = conv_of(p);
    if (!is_flat(&v)) return gather_of(p);
    flat.dim[CONV_MB] = v.mb * v.ih * v.iw;
    flat.dim[CONV_IH] = flat.dim[CONV_IW] = flat.dim[CONV_OH] = flat.dim[CONV_OW] = 1;
    return gather_of(&flat);
}

static int64_t scratch_numbers(const struct layout *l)
{
    return l->in_place ? 0 : l->held * l->row;
}

/* All input must be there at once, and threads must have about as much to do as each other. */
static int is_by_panels(const struct layout *l, int threads)
{
    const int64_t images = (int64_t)l->groups * l->pixel * l->q.in_h * l->q.in_w;
    return l->groups <= threads && l->rows == l->q.out_h && l->panels * l->panel > images &&
           8 * up(l->panels, threads) * threads <= 9 * l->panels;
}

static struct layout layout_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct layout l = { .q = images_of(p) };
    const struct gather *q = &l.q;
    l.group = least(c->v[GROUP], up(q->mb, DOTS) * DOTS);
    l.groups = up(q->mb, l.group);
    l.rows = least(c->v[ROWS], q->out_h);
    for (int r = 0, there = 0; r < q->out_h; r += l.rows) {
        int first, end;
        rows_under(q, r, least(q->out_h, r + l.rows), &first, &end);
        if (end > there) there = end;
        if (there - first > l.held) l.held = there - first;
    }
    l.steps = dots_steps(q->inc);
    l.nsteps = up(q->inc, l.steps);
    l.panels = up(q->outc, DOTS_BLOCK);
    /* No tile may reach beyond an image's channels or the last image. */
    l.in_place = is_flat(&q->v) && q->inc % l.steps == 0 && q->mb % DOTS == 0;
    l.a_row = l.in_place ? q->inc : l.steps;
    l.a_next = l.in_place ? l.steps : (int64_t)l.group * l.steps;
    l.pixel = (int64_t)l.nsteps * l.steps * l.group;
    l.row = l.pixel * q->in_w;
    l.tap = (int64_t)l.nsteps * l.steps * DOTS_BLOCK;
    l.panel = l.tap * q->kh * q->kw;
    l.by_panels = is_by_panels(&l, c->v[THREADS]);
    return l;
}

/* ---- one run, as every thread sees it ---- */

/* What is the same in every run: the taps of each row and column, and the input rows that are copied
 * before each `rows` rows of output. */
struct ready {
    struct taps *row, *col;
    struct { int from, end; } *copy;
};

struct job {
    struct layout l;
    const struct ready *ready;
    enum hone_act act;
    int stream;
    const stored *in, *w;
    const real *bias;           /* NULL: none */
    stored *out, *weights, *scratch;   /* packed weights, copies of the input */
};

/* The channels of a panel, which are fewer in the last. */
static int channels_of(const struct layout *l, int panel)
{
    return least(DOTS_BLOCK, l->q.outc - panel * DOTS_BLOCK);
}

/* One tap of a panel's weights, which begins at `to`, as tiles of B: steps, then columns. */
static void pack_tap(const struct job *j, int panel, int tap, stored *to)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const int first = panel * DOTS_BLOCK, channels = channels_of(l, panel),
              nt = up(channels, DOTS), taps = q->kh * q->kw;
    const int64_t filter = (int64_t)taps * q->v.ic;
    to += tap * l->tap;
    for (int s = 0; s < l->nsteps; s++)
        for (int t = 0; t < nt; t++, to += l->steps * DOTS) {
            const int k = s * l->steps, col = first + t * DOTS, n = channels - t * DOTS;
            const stored *w = j->w + (int64_t)tap * q->v.ic;
            if (q->dgrad)
                dots_pack(to, 2 * DOTS, w + k * filter + col, filter, q->inc - k, n, l->steps);
            else
                dots_pack_turned(to, 2 * DOTS, w + col * filter + k, filter, q->inc - k, n,
                                 l->steps);
        }
}

/* An input row of images [first, first + images) into its place of scratch memory: pixels, then steps,
 * then images, and zeros behind the channels. */
static void copy_row(const struct job *j, int first, int images, int row, stored *scratch)
{
    const struct layout *l = &j->l;
    const struct gather *q = &l->q;
    const int64_t image = (int64_t)q->in_h * q->in_w * q->inc, next = (int64_t)l->group * l->steps;
    const int tail = q->inc - (l->nsteps - 1) * l->steps;
    const __mmask32 whole = dots_32(l->steps), last = dots_32(tail);
    stored *to = scratch + row % l->held * l->row;
    for (int i = 0; i < images; i++, to += l->steps) {
        const stored *from = j->in + (first + i) * image + (int64_t)row * q->in_w * q->inc;
        stored *at = to;
        for (int x = 0; x < q->in_w; x++) {
            for (int s = 1; s < l->nsteps; s++, from += l->steps, at += next)
                _mm512_mask_storeu_epi16(at, whole, _mm512_maskz_loadu_epi16(whole, from));
            _mm512_mask_storeu_epi16(at, whole, _mm512_maskz_loadu_epi16(last, from));
            from += tail;
            at += next;
        }
    }
}

HONE_INLINE void sum_taps(int mt, int nt, struct dots *d, const struct layout *l,
                          const struct taps *h, const struct taps *w, const stored *a,
                          const stored *b)
{
    struct dots_sum s = { .a_row = l->a_row, .a_tile = DOTS * l->a_row, .a_next = l->a_next,
                          .b_row = 2 * DOTS,
                          .b_tile = (int64_t)DOTS * l->steps,
                          .b_next = (int64_t)nt * DOTS * l->steps, .n = l->nsteps };
    dots_zero(mt, nt, d);
    for (int i = 0; i < h->n; i++)
        for (int k = 0; k < w->n; k++) {
            s.a = a + h->at[i].in % l->held * l->row + w->at[k].in * l->pixel;
            s.b = b + (h->at[i].tap * l->q.kw + w->at[k].tap) * l->tap;
            dots_add(mt, nt, d, &s);
        }
    dots_store(mt, nt, d, d->c, DOTS_BLOCK);
}

/* One pixel of images [first, first + images) of the batch for one panel, packed at b; from: of the
 * first. */
static void do_pixel(const struct job *j, struct dots *d, const struct taps *h,
                     const struct taps *w, int64_t pixel, int first, int images, int panel,
                     const stored *from, const stored *b)
{
    const struct layout *l = &j->l;
    const int channel = panel * DOTS_BLOCK, channels = channels_of(l, panel);
    const int64_t image = (int64_t)l->q.out_h * l->q.out_w * l->q.outc;
    stored *to = j->out + first * image + pixel * l->q.outc + channel;
    for (int i = 0; i < images; i += DOTS_BLOCK, to += DOTS_BLOCK * image) {
        const int count = least(DOTS_BLOCK, images - i);
        const stored *a = from + i * l->a_row;
        if (count > DOTS && channels > DOTS) sum_taps(2, 2, d, l, h, w, a, b);
        else if (count > DOTS) sum_taps(2, 1, d, l, h, w, a, b);
        else if (channels > DOTS) sum_taps(1, 2, d, l, h, w, a, b);
        else sum_taps(1, 1, d, l, h, w, a, b);
        dots_give_block(j->act, to, image, d->c, j->bias ? j->bias + channel : NULL, count,
                        channels, j->stream);
    }
}

/* Rows [row, end) of the output. */
static void do_rows(const struct job *j, struct dots *d, int row, int end, int first, int images,
                    int panel, const stored *from, const stored *b)
{
    const int out_w = j->l.q.out_w;
    for (int y = row; y < end; y++)
        for (int x = 0; x < out_w; x++)
            do_pixel(j, d, &j->ready->row[y], &j->ready->col[x], (int64_t)y * out_w + x, first,
                     images, panel, from, b);
}

/* The input rows that are not there yet before the chunk's rows of output. */
static void copy_rows(const struct job *j, int chunk, int first, int images, stored *scratch)
{
    for (int row = j->ready->copy[chunk].from; row < j->ready->copy[chunk].end; row++)
        copy_row(j, first, images, row, scratch);
}

static int images_of_group(const struct layout *l, int group)
{
    return least(l->group, l->q.mb - group * l->group);
}

static void do_group(const struct job *j, struct dots *d, int group, stored *scratch)
{
    const struct layout *l = &j->l;
    const int first = group * l->group, images = images_of_group(l, group);
    for (int r = 0; r < l->q.out_h; r += l->rows) {
        const stored *from = l->in_place ? j->in + first * l->a_row : scratch;
        if (!l->in_place) copy_rows(j, r / l->rows, first, images, scratch);
        for (int panel = 0; panel < l->panels; panel++)
            do_rows(j, d, r, least(l->q.out_h, r + l->rows), first, images, panel, from,
                    j->weights + panel * l->panel);
    }
}

/* Panels [panel, end) over all groups, whose copies lie one after another; packed at b. */
static void do_panels(const struct job *j, struct dots *d, int panel, int end, stored *b)
{
    const struct layout *l = &j->l;
    for (; panel < end; panel++) {
        for (int tap = 0; tap < l->q.kh * l->q.kw; tap++) pack_tap(j, panel, tap, b);
        for (int g = 0; g < l->groups; g++) {
            const stored *from = l->in_place ? j->in + (int64_t)g * l->group * l->a_row
                                             : j->scratch + g * scratch_numbers(l);
            do_rows(j, d, 0, l->q.out_h, g * l->group, images_of_group(l, g), panel, from, b);
        }
    }
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct conv v = conv_of(p);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (v.g != 1) return "it has groups";
    return v.kh > MAX_TAPS || v.kw > MAX_TAPS ? "the kernel is larger than 16x16" : NULL;
}

static int suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct gather q = images_of(p);
    (void)d;
    return q.mb >= DOTS / 2 && q.inc >= 8 && q.outc >= 8;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct gather q = images_of(p);
    (void)d;
    if (c->v[GROUP] > DOTS && c->v[GROUP] >= 2 * q.mb) return 0;
    if (c->v[ROWS] > 1 && c->v[ROWS] / 2 >= q.out_h) return 0;
    if (c->v[STREAM] && q.outc % DOTS_BLOCK) return 0;
    return c->v[THREADS] <= up(q.mb, c->v[GROUP]);
}

/* The input rows of a group in half of L2, with as many rows of output as that leaves room for; more
 * images where weights are many. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct gather q = images_of(p);
    const double weights = 2.0 * q.kh * q.kw * q.inc * q.outc, l2 = (double)d->l2_bytes;
    *c = (struct hone_config){ .v = { [GROUP] = 32, [ROWS] = 1, [THREADS] = 1 } };
    while (c->v[THREADS] * 2 <= hone_conv2d_threads(p, d) && c->v[THREADS] * 2 <= up(q.mb, DOTS))
        c->v[THREADS] *= 2;
    while (c->v[GROUP] > DOTS && c->v[THREADS] > up(q.mb, c->v[GROUP])) c->v[GROUP] /= 2;
    for (; c->v[GROUP] < 128 && weights > 0.25 * l2; c->v[GROUP] *= 2) {
        struct hone_config more = *c;
        more.v[GROUP] *= 2;
        const struct layout l = layout_of(p, &more);
        if (!valid(p, &more, d) || 2.0 * (double)l.row * (double)q.in_h > 0.6 * l2) break;
    }
    while (c->v[ROWS] < 64) {
        struct hone_config more = *c;
        more.v[ROWS] *= 2;
        const struct layout l = layout_of(p, &more);
        if (!valid(p, &more, d) || 2.0 * (double)l.row * l.held > 0.5 * l2) break;
        c->v[ROWS] *= 2;
    }
    while (c->v[GROUP] > DOTS && !valid(p, c, d)) c->v[GROUP] /= 2;
    while (c->v[THREADS] > 1 && !valid(p, c, d)) c->v[THREADS] /= 2;
}

/* Panels that are packed at once. */
static int packed(const struct layout *l, int threads)
{
    return l->by_panels ? threads : l->panels;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct layout l = layout_of(p, c);
    (void)d;
    const int64_t numbers = packed(&l, c->v[THREADS]) * l.panel +
                            c->v[THREADS] * scratch_numbers(&l);
    return (size_t)numbers * sizeof(stored);
}

static void release(struct hone_plan *plan)
{
    struct ready *r = plan->priv;
    if (r) { free(r->row); free(r->col); free(r->copy); }
    free(r);
    plan->priv = NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct layout l = layout_of(hone_plan_problem(plan), hone_plan_config(plan));
    const struct gather *q = &l.q;
    const int nchunks = up(q->out_h, l.rows);
    struct ready *r = plan->priv = calloc(1, sizeof *r);
    if (r) r->row = malloc((size_t)q->out_h * sizeof *r->row);
    if (r) r->col = malloc((size_t)q->out_w * sizeof *r->col);
    if (r) r->copy = malloc((size_t)nchunks * sizeof *r->copy);
    if (!r || !r->row || !r->col || !r->copy) {
        release(plan);
        return hone_fail(HONE_ENOMEM, "the taps of %d rows and %d columns", q->out_h, q->out_w);
    }
    for (int i = 0; i < q->out_h; i++) r->row[i] = taps_of(q, 1, i);
    for (int i = 0; i < q->out_w; i++) r->col[i] = taps_of(q, 0, i);
    /* Each row once: not again where an earlier chunk had it, not at all where none needs it. */
    for (int i = 0, there = 0; i < nchunks; i++) {
        int first;
        rows_under(q, i * l.rows, least(q->out_h, (i + 1) * l.rows), &first, &r->copy[i].end);
        if (r->copy[i].end < there) r->copy[i].end = there;
        r->copy[i].from = first;
        there = r->copy[i].end;
    }
    for (int i = nchunks - 2; i >= 0; i--)
        if (r->copy[i + 1].from < r->copy[i].from) r->copy[i].from = r->copy[i + 1].from;
    for (int i = nchunks - 1; i > 0; i--)
        if (r->copy[i].from < r->copy[i - 1].end) r->copy[i].from = r->copy[i - 1].end;
    return HONE_OK;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct hone_config *c = hone_plan_config(plan);
    struct job j = { .l = layout_of(p, c), .ready = plan->priv, .stream = c->v[STREAM],
                     .out = mem[0], .in = mem[1], .w = mem[2], .weights = workspace };
    const struct layout *l = &j.l;
    const int threads = c->v[THREADS], taps = l->q.kh * l->q.kw,
              copies = l->by_panels && !l->in_place ? l->groups : 0,
              shared = l->by_panels ? 0 : l->panels * taps;
    j.scratch = j.weights + packed(l, threads) * l->panel;
    j.act = l->q.dgrad ? HONE_ACT_none : hone_act_of(p);
    j.bias = !l->q.dgrad && hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int g = 0; g < copies; g++)
            copy_rows(&j, 0, g * l->group, images_of_group(l, g),
                      j.scratch + g * scratch_numbers(l));
#pragma omp for schedule(static)
        for (int i = 0; i < shared; i++)
            pack_tap(&j, i / taps, i % taps, j.weights + i / taps * l->panel);
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; t++) {
            struct dots d;
            dots_begin(&d, l->steps);
            if (l->by_panels)
                do_panels(&j, &d, l->panels * t / threads, l->panels * (t + 1) / threads,
                          j.weights + t * l->panel);
            for (int g = l->groups * t / threads;
                 !l->by_panels && g < l->groups * (t + 1) / threads; g++)
                do_group(&j, &d, g, j.scratch + t * scratch_numbers(l));
            dots_end();
            if (j.stream) vf_stream_end();
        }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_dots) = {
    .name = HONE_NAME("cpu_dots"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("group", 16, 32, 64, 128), HONE_PARAM("rows", 1, 2, 4, 8, 16, 32, 64),
               CONV_STREAM, CONV_THREADS },
    .refuse = refuse,
    .suits = suits,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
};
