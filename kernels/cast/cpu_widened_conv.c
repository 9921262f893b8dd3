/* Convolutions of halves by the kernels for floats: `images` of the batch at a time are widened
 * into scratch memory that stays in a core's cache, convolved there by a plan for floats, and the
 * result is rounded once.  Weights are widened once for all.  The weight gradient is added up in floats,
 * by each thread over its images, then over the threads.
 *
 * Main memory sees halves alone, half the bytes; the arithmetic is that of floats, since the
 * processors we know that cannot multiply halves have no faster one.  `inner` chooses the kernel: 0
 * is the first of this instruction set's in the order of the registry that suits, and so on. */
#include "kernels/backend/cpu.h"
#include "kernels/conv2d/conv2d.h"

#include <stdlib.h>

enum { INNER, IMAGES, THREADS };
enum { WHOLE, REST, NSIZES };   /* the last images may be fewer */

struct job {
    struct hone_problem piece[NSIZES];
    int images, rest, npieces, threads, wgrad, nargs;
    int64_t len[HONE_MAX_ARGS];      /* numbers of an argument, of one image where it has images */
    int64_t weights;                 /* reals of scratch memory: of all weights, in whole lines */
    int64_t part[HONE_MAX_ARGS];     /* of one thread: of an argument's piece, */
    int64_t sum, inner;              /* of its weight gradient, of what the plan needs */
};

struct plans {
    struct job job;
    struct hone_device one;          /* the device with one core: our threads are the threads */
    struct hone_plan plan[NSIZES];
};

static int64_t on_lines(int64_t reals) { return (reals + 15) / 16 * 16; }
static int least(int a, int b) { return a < b ? a : b; }

/* ---- the kernel inside ---- */

static int accepts(const struct hone_kernel *k, const struct hone_problem *p,
                   const struct hone_device *d, int suits)
{
    if (k->slow || k->build != HONE_AOT || k->isa != HONE_THIS_ISA || k->dtypes != 1u << HONE_F32 ||
        k->scale || hone_kernel_refuse(k, p, d))
        return 0;
    if ((!k->suits || k->suits(p, d)) != suits) return 0;
    /* Our bound is the op's own: no room for Winograd's algorithm, which has a larger one. */
    struct hone_config c;
    hone_config_guess(k, p, d, &c);
    return hone_config_valid(k, p, &c, d) && (!k->growth || k->growth(p, &c) <= p->op->growth(p));
}

/* The nth kernel for floats that accepts the piece; NULL: there are fewer. */
static const struct hone_kernel *inner_kernel(const struct hone_problem *p,
                                              const struct hone_device *d, int n)
{
    for (int suits = 1; suits >= 0; suits--)
        for (int i = 0; hone_kernels[i]; i++)
            if (hone_kernel_does(hone_kernels[i], p->op) &&
                accepts(hone_kernels[i], p, d, suits) && !n--)
                return hone_kernels[i];
    return NULL;
}

/* Where the last images are fewer, the same kernel may refuse them: then the first that does not. */
static const struct hone_kernel *kernel_for(const struct job *j, int size,
                                            const struct hone_device *one, int n)
{
    const struct hone_kernel *k = inner_kernel(&j->piece[WHOLE], one, n);
    if (size == WHOLE || !k || accepts(k, &j->piece[size], one, 1) ||
        accepts(k, &j->piece[size], one, 0))
        return k;
    return inner_kernel(&j->piece[size], one, 0);
}

static struct hone_device one_core(const struct hone_device *d)
{
    struct hone_device one = *d;
    one.ncores = 1;
    return one;
}

/* ---- how the work is cut ---- */

static struct hone_problem piece_of(const struct hone_problem *p, int images)
{
    struct hone_problem piece = *p;
    piece.dtype = HONE_F32;
    piece.dim[CONV_MB] = images;
    return piece;
}

static struct job job_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    const int mb = p->dim[CONV_MB];
    struct job j = { .images = least(c->v[IMAGES], mb), .threads = c->v[THREADS],
                     .wgrad = hone_problem_is(p, conv2d_wgrad) };
    j.rest = mb % j.images;
    j.npieces = mb / j.images + (j.rest > 0);
    j.piece[WHOLE] = piece_of(p, j.images);
    j.piece[REST] = piece_of(p, j.rest ? j.rest : j.images);
    j.nargs = p->op->args(p, arg);
    for (int a = 0; a < j.nargs; a++) {
        const int half = hone_dtype_is_half(arg[a].dtype);
        const int batch = arg[a].rank == 4 && half && !arg[a].weight;
        j.len[a] = hone_arg_len(&arg[a]) / (batch ? mb : 1);
        if (batch) j.part[a] = on_lines(j.images * j.len[a]);
        else if (half) j.weights = on_lines(j.len[a]);
    }
    if (j.wgrad) j.sum = on_lines(j.len[CONV_DWT]);
    return j;
}

static void add_inner(struct job *j, const struct hone_config *c, const struct hone_device *d)
{
    const struct hone_device one = one_core(d);
    for (int size = 0; size < NSIZES; size++) {
        const struct hone_kernel *k = kernel_for(j, size, &one, c->v[INNER]);
        struct hone_config inner;
        if (!k || !k->workspace) continue;
        hone_config_guess(k, &j->piece[size], &one, &inner);
        int64_t reals = on_lines((int64_t)(k->workspace(&j->piece[size], &inner, &one) + 3) / 4);
        if (reals > j->inner) j->inner = reals;
    }
}

/* Reals of one thread: its pieces, its sum of the weight gradient and a piece's, the plan's. */
static int64_t thread_reals(const struct job *j)
{
    int64_t reals = j->inner + 2 * j->sum;
    for (int a = 0; a < j->nargs; a++) reals += j->part[a];
    return reals;
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const struct hone_problem piece = piece_of(p, 1);
    const struct hone_device one = one_core(d);
    return inner_kernel(&piece, &one, 0) ? NULL : "no kernel for floats accepts it";
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const struct job j = job_of(p, c);
    const struct hone_device one = one_core(d);
    if (c->v[IMAGES] > 1 && c->v[IMAGES] / 2 >= p->dim[CONV_MB]) return 0;
    return c->v[THREADS] <= j.npieces && kernel_for(&j, WHOLE, &one, c->v[INNER]) &&
           kernel_for(&j, REST, &one, c->v[INNER]);
}

/* Pieces that half of L2 holds, but no smaller than the weights, which a kernel may rearrange for
 * each piece; and a piece for each thread. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    *c = (struct hone_config){ .v = { [INNER] = 0, [IMAGES] = 1, [THREADS] = 1 } };
    struct job j = job_of(p, c);
    const int mb = p->dim[CONV_MB], threads = hone_conv2d_threads(p, d);
    int64_t image = 0, most = d->l2_bytes / 8 > 4 * (j.weights + j.sum)
                                  ? d->l2_bytes / 8 : 4 * (j.weights + j.sum);
    for (int a = 0; a < j.nargs; a++) image += j.part[a];
    while (c->v[IMAGES] < 128 && 2 * c->v[IMAGES] * image <= most &&
           2 * c->v[IMAGES] * threads <= mb)
        c->v[IMAGES] *= 2;
    while (2 * c->v[THREADS] <= threads && 2 * c->v[THREADS] * c->v[IMAGES] <= mb)
        c->v[THREADS] *= 2;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct job j = job_of(p, c);
    add_inner(&j, c, d);
    return (size_t)(j.weights + j.threads * thread_reals(&j)) * sizeof(real);
}

/* Of the weight gradient: a piece's sum, then the pieces, then the threads. */
static double growth(const struct hone_problem *p, const struct hone_config *c)
{
    return p->op->growth(p) + (hone_problem_is(p, conv2d_wgrad) ? c->v[THREADS] : 0);
}

static void release(struct hone_plan *plan)
{
    struct plans *r = plan->priv;
    for (int i = 0; r && i < NSIZES; i++) hone_plan_close(&r->plan[i]);
    free(r);
    plan->priv = NULL;
}

static int prepare(struct hone_plan *plan)
{
    struct plans *r = plan->priv = calloc(1, sizeof *r);
    if (!r) return hone_fail(HONE_ENOMEM, "plans for floats");
    r->one = one_core(plan->device);
    r->job = job_of(&plan->problem, &plan->config);
    add_inner(&r->job, &plan->config, plan->device);
    int err = HONE_OK;
    for (int i = 0; !err && i < NSIZES; i++)
        err = hone_plan_open(&r->plan[i], &r->job.piece[i],
                             kernel_for(&r->job, i, &r->one, plan->config.v[INNER]), NULL, &r->one);
    if (err) release(plan);
    return err;
}

/* Pieces [from, to), in a thread's scratch memory.  w: the weights as floats; sum: of the weight
 * gradient, which the first piece sets. */
static int pieces(const struct plans *r, void *const mem[], int from, int to, const real *w,
                  real *sum, real *scratch)
{
    const struct job *j = &r->job;
    real *part[HONE_MAX_ARGS], *piece_sum = scratch;
    scratch += j->sum;
    for (int a = 0; a < j->nargs; a++) part[a] = scratch, scratch += j->part[a];
    int err = HONE_OK;
    for (int b = from; b < to && !err; b++) {
        const int last = b == j->npieces - 1 && j->rest, images = last ? j->rest : j->images;
        const int64_t first = (int64_t)b * j->images;
        void *inner[HONE_MAX_ARGS] = { 0 };
        for (int a = 0; a < j->nargs; a++) {
            inner[a] = j->part[a] ? part[a] : mem[a];   /* the bias is floats as it is */
            if (a && j->part[a])
                vs_widen(part[a], (stored *)mem[a] + first * j->len[a], images * j->len[a]);
        }
        if (j->wgrad) inner[CONV_DWT] = b == from ? sum : piece_sum;
        else inner[CONV_W] = (void *)w;
        err = hone_plan_run(&r->plan[last ? REST : WHOLE], inner, scratch);
        if (j->wgrad && b > from)
            for (int64_t i = 0; i < j->len[CONV_DWT]; i++) sum[i] += piece_sum[i];
        if (!j->wgrad)
            vs_narrow((stored *)mem[0] + first * j->len[0], part[0], images * j->len[0]);
    }
    return err;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct plans *r = plan->priv;
    const struct job *j = &r->job;
    const int threads = j->threads;
    const int64_t each = thread_reals(j), n = j->len[j->wgrad ? (int)CONV_DWT : (int)CONV_W];
    real *w = workspace, *scratch = w + j->weights, *dw = mem[CONV_DWT];
    int err = HONE_OK;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (!j->wgrad) {
#pragma omp for schedule(static, 1)
            for (int t = 0; t < threads; t++) {
                const int64_t from = hone_part(n, 16, threads, t);
                vs_widen(w + from, (stored *)mem[CONV_W] + from,
                         hone_part(n, 16, threads, t + 1) - from);
            }
        }
        /* Thread 0 adds up in place. */
#pragma omp for schedule(static, 1) reduction(min : err)
        for (int t = 0; t < threads; t++) {
            real *mine = scratch + t * each;
            int failed = pieces(r, mem, (int)((int64_t)j->npieces * t / threads),
                                (int)((int64_t)j->npieces * (t + 1) / threads), w, t ? mine : dw,
                                mine + j->sum);
            if (failed) err = failed;
        }
        if (j->wgrad && threads > 1) {
#pragma omp for schedule(static, 1)
            for (int t = 0; t < threads; t++)
                for (int k = 1; k < threads; k++)
                    for (int64_t i = hone_part(n, 16, threads, t),
                                 to = hone_part(n, 16, threads, t + 1); i < to; i++)
                        dw[i] += scratch[k * each + i];
        }
    }
    return err;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, 0 };

const struct hone_kernel HONE_SYM(cast_cpu_widened_conv) = {
    .name = HONE_NAME("cpu_widened"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("inner", 0, 1, 2, 3, 4, 5),
               HONE_PARAM("images", 1, 2, 4, 8, 16, 32, 64, 128), CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .growth = growth,
    .prepare = prepare,
    .release = release,
    .run = run,
};
