/* Convolution as im2col (im2col.h) and our blocked gemm, one single-threaded product per block.
 *
 * Products go through plans of the gemm op, opened in prepare(): one for whole blocks, one for a
 * smaller last one; the weight gradient needs each twice, to set and to add. */
#include "kernels/conv2d/im2col.h"
#include "kernels/gemm/gemm.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS, THREADS };
enum { WHOLE, LAST, NSIZES };
enum { SET, ADD, NMODES };

struct products {
    struct hone_plan plan[NSIZES][NMODES];   /* unused ones are zeroed */
};

static int needed(const struct im2col *s, const struct hone_problem *p, int size, int mode)
{
    if (size == LAST && im2col_rows(s, s->nblocks - 1) == s->block) return 0;
    return mode == SET || hone_problem_is(p, conv2d_wgrad);
}

/* The product of one block, as a problem. */
static int product_of(const struct im2col *s, const struct hone_problem *p, int size, int mode,
                      struct hone_problem *gemm)
{
    const long long pixels = (size == WHOLE ? s->block : im2col_rows(s, s->nblocks - 1)) * s->v.ow;
    const long long k = s->k, oc = s->v.oc;
    const char *type = hone_dtype_name(p->dtype);
    char text[HONE_TEXT];
    if (hone_problem_is(p, conv2d_wgrad)) {
        snprintf(text, sizeof text, "gemm:%s:tn:m%lldn%lldk%lld%s", type, oc, k, pixels,
                 mode == ADD ? ":beta1" : "");
    } else if (hone_problem_is(p, conv2d_dgrad)) {
        snprintf(text, sizeof text, "gemm:%s:nn:m%lldn%lldk%lld", type, pixels, k, oc);
    } else {
        enum hone_act act = hone_act_of(p);
        int bias = hone_problem_has(p, "bias"), named = act != HONE_ACT_none;
        snprintf(text, sizeof text, "gemm:%s:nt:m%lldn%lldk%lld%s%s%s%s", type, pixels, oc, k,
                 bias || named ? ":" : "", bias ? "bias" : "", bias && named ? "+" : "",
                 named ? hone_act_name(act) : "");
    }
    return hone_problem_parse(text, gemm);
}

/* The first of our gemm kernels that accepts the product, compiled as we are, or NULL; and its own
 * guess on one thread: ours are the threads. */
static const struct hone_kernel *kernel_of(const struct hone_problem *gemm,
                                           const struct hone_device *d, struct hone_config *c)
{
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (!hone_kernel_does(k, gemm->op) || k->slow || k->build != HONE_AOT ||
            k->isa != HONE_THIS_ISA || hone_kernel_refuse(k, gemm, d))
            continue;
        hone_config_guess(k, gemm, d, c);
        for (int j = 0; j < HONE_MAX_PARAMS && k->param[j].name; j++)
            if (!strcmp(k->param[j].name, "threads")) c->v[j] = 1;
        if (hone_config_valid(k, gemm, c, d)) return k;
    }
    return NULL;
}

/* ---- the kernel ---- */

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    struct hone_problem gemm;
    struct im2col s = im2col_of(p, 64);
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    if (s.v.g != 1) return "the channels of a group do not lie as gemm needs them";
    if (product_of(&s, p, WHOLE, SET, &gemm)) return "its matrices are too large for gemm";
    return kernel_of(&gemm, d, &(struct hone_config){ 0 })
               ? NULL
               : "no gemm kernel of this instruction set accepts its product";
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    (void)d;
    return im2col_valid(p, c->v[PIXELS], c->v[THREADS]);
}

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    im2col_guess(p, d, &c->v[PIXELS], &c->v[THREADS]);
}

/* Floats of scratch that the largest of the products needs. */
static int64_t gemm_floats(const struct im2col *s, const struct hone_problem *p,
                           const struct hone_device *d)
{
    size_t most = 0;
    for (int size = 0; size < NSIZES; size++)
        for (int mode = 0; mode < NMODES; mode++) {
            struct hone_problem gemm;
            struct hone_config c;
            if (!needed(s, p, size, mode) || product_of(s, p, size, mode, &gemm)) continue;
            const struct hone_kernel *k = kernel_of(&gemm, d, &c);
            size_t bytes = k && k->workspace ? k->workspace(&gemm, &c, d) : 0;
            if (bytes > most) most = bytes;
        }
    return (int64_t)(most + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN / (int64_t)sizeof(real);
}

/* Of one thread's dw. */
static int64_t sum_floats(const struct im2col *s, const struct hone_problem *p)
{
    return hone_problem_is(p, conv2d_wgrad) ? (s->k * s->v.oc + 15) / 16 * 16 : 0;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct im2col s = im2col_of(p, c->v[PIXELS]);
    return (size_t)(c->v[THREADS] * (s.cols_floats + sum_floats(&s, p) + gemm_floats(&s, p, d))) *
           sizeof(real);
}

static void release(struct hone_plan *plan)
{
    struct products *r = plan->priv;
    for (int i = 0; r && i < NSIZES * NMODES; i++)
        hone_plan_close(&r->plan[i / NMODES][i % NMODES]);
    free(r);
    plan->priv = NULL;
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct im2col s = im2col_of(p, hone_plan_config(plan)->v[PIXELS]);
    struct products *r = plan->priv = calloc(1, sizeof *r);
    int err = r ? HONE_OK : hone_fail(HONE_ENOMEM, "plans of im2col");
    for (int i = 0; !err && i < NSIZES * NMODES; i++) {
        struct hone_problem gemm;
        struct hone_config c;
        if (!needed(&s, p, i / NMODES, i % NMODES)) continue;
        if ((err = product_of(&s, p, i / NMODES, i % NMODES, &gemm))) break;
        const struct hone_kernel *k = kernel_of(&gemm, plan->device, &c);
        err = k ? hone_plan_open(&r->plan[i / NMODES][i % NMODES], &gemm, k, &c, plan->device)
                : hone_fail(HONE_EREFUSED,
                            "no gemm kernel of this instruction set accepts the product");
    }
    if (err) release(plan);
    return err;
}

/* What one thread works with. */
struct scratch { real *cols, *sum, *gemm; };

/* Block b; the thread's first one sets its sum, later ones add to it. */
static int do_block(const struct hone_plan *plan, const struct im2col *s, void *const mem[],
                    int64_t b, int mode, const struct scratch *mine)
{
    const struct conv *v = &s->v;
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct products *r = plan->priv;
    const int64_t first = b * s->block, rows = im2col_rows(s, b), pixel = first * v->ow;
    const struct hone_plan *product = &r->plan[rows == s->block ? WHOLE : LAST][mode];
    if (hone_problem_is(p, conv2d_dgrad)) {
        real *dx = mem[CONV_DX], *dcols = s->direct ? dx + pixel * v->ic : mine->cols;
        int err = hone_plan_run(
            product, (void *[]){ dcols, (real *)mem[CONV_DX_DY] + pixel * v->oc, mem[CONV_DX_W] },
            mine->gemm);
        if (err || s->direct) return err;
        const int64_t image = (int64_t)v->ih * v->iw * v->ic;
        memset(dx + first / v->oh * image, 0, (size_t)(rows / v->oh * image) * sizeof *dx);
        im2col_scatter(s, 0, dcols, first, rows, dx);
        return HONE_OK;
    }
    const real *x = mem[hone_problem_is(p, conv2d_wgrad) ? (int)CONV_DWT_X : (int)CONV_X];
    const real *cols = s->direct ? x + pixel * v->ic : mine->cols;
    if (!s->direct) im2col_gather(s, 0, x, first, rows, mine->cols);
    if (hone_problem_is(p, conv2d_wgrad))
        return hone_plan_run(
            product,
            (void *[]){ mine->sum, (real *)mem[CONV_DWT_DY] + pixel * v->oc, (void *)cols },
            mine->gemm);
    return hone_plan_run(
        product,
        (void *[]){ (real *)mem[CONV_Y] + pixel * v->oc, (void *)cols, mem[CONV_W],
                    hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL },
        mine->gemm);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = hone_plan_problem(plan);
    const struct im2col s = im2col_of(p, hone_plan_config(plan)->v[PIXELS]);
    const int threads = hone_plan_config(plan)->v[THREADS];
    const int64_t sum = sum_floats(&s, p), k = s.k * s.v.oc;
    real *sums = workspace, *cols = sums + threads * sum, *gemm = cols + threads * s.cols_floats;
    const int64_t gemm_each =
        (int64_t)(plan->workspace_bytes / sizeof(real)) / threads - sum - s.cols_floats;
    int err = HONE_OK;

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) reduction(min : err)
        for (int t = 0; t < threads; t++) {
            const struct scratch mine = { cols + t * s.cols_floats, sums + t * sum,
                                          gemm + t * gemm_each };
            const int64_t from = im2col_from(&s, t, threads), to = im2col_from(&s, t + 1, threads);
            int failed = HONE_OK;
            for (int64_t b = from; b < to && !failed; b++)
                failed = do_block(plan, &s, mem, b, sum && b > from ? ADD : SET, &mine);
            if (failed) err = failed;
        }
        if (sum) {
#pragma omp for schedule(static)
            for (int t = 0; t < threads; t++)
                im2col_add_up(sums, sum, threads, k * t / threads, k * (t + 1) / threads,
                              mem[CONV_DWT]);
        }
    }
    return err;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel HONE_SYM(conv2d_cpu_im2col) = {
    .name = HONE_NAME("cpu_im2col"),
    .ops = ops,
    .backend = &hone_backend_cpu,
    .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { CONV_PIXELS, CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .prepare = prepare,
    .release = release,
    .run = run,
};
