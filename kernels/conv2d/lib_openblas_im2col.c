/* Convolution as im2col (im2col.h) and OpenBLAS's sgemm, one single-threaded product per block. */
#include "kernels/conv2d/gather.h"
#include "kernels/conv2d/im2col.h"

#include <cblas.h>
#include <stdio.h>

enum { PIXELS, THREADS };

static const char *version(void)
{
    static char text[64];
    const char *config = openblas_get_config();
    if (!text[0]) snprintf(text, sizeof text, "%.*s", (int)strcspn(config + 9, " ") + 9, config);
    return text;
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

/* Of one thread's dw. */
static int64_t sum_floats(const struct im2col *s, const struct hone_problem *p)
{
    return hone_problem_is(p, conv2d_wgrad) ? (s->k * s->v.oc + 15) / 16 * 16 : 0;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct im2col s = im2col_of(p, c->v[PIXELS]);
    (void)d;
    return (size_t)(c->v[THREADS] * (s.cols_floats + sum_floats(&s, p))) * sizeof(float);
}

/* What gemm leaves to do with `pixels` pixels of Y: + bias, then the activation. */
static void finish(const struct conv *v, float *y, int64_t pixels, const float *bias,
                   enum hone_act act)
{
    for (int64_t i = 0; bias && i < pixels; i++)
        for (int o = 0; o < v->oc; o++) y[i * v->oc + o] += bias[o];
    gather_activate(act, y, pixels * v->oc);
}

static void fwd_block(const struct im2col *s, const struct hone_problem *p, void *const mem[],
                      int64_t b, float *cols)
{
    const struct conv *v = &s->v;
    const int64_t first = b * s->block, rows = im2col_rows(s, b), m = rows * v->ow;
    const float *x = mem[CONV_X], *w = mem[CONV_W];
    float *y = (float *)mem[CONV_Y] + first * v->ow * v->oc;
    for (int g = 0; g < v->g; g++) {
        const float *a = s->direct ? x + first * v->ow * v->ic : cols;
        if (!s->direct) im2col_gather(s, g, x, first, rows, cols);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, v->ocg, (int)s->k, 1, a,
                    (int)s->k, w + g * v->ocg * s->k, (int)s->k, 0, y + g * v->ocg, v->oc);
    }
    finish(v, y, m, hone_problem_has(p, "bias") ? mem[CONV_BIAS] : NULL, hone_act_of(p));
}

static void dgrad_block(const struct im2col *s, void *const mem[], int64_t b, float *cols)
{
    const struct conv *v = &s->v;
    const int64_t first = b * s->block, rows = im2col_rows(s, b), m = rows * v->ow,
                  image = (int64_t)v->ih * v->iw * v->ic;
    const float *dy = (const float *)mem[CONV_DX_DY] + first * v->ow * v->oc, *w = mem[CONV_DX_W];
    float *dx = mem[CONV_DX];
    if (!s->direct)
        memset(dx + first / v->oh * image, 0, (size_t)(rows / v->oh * image) * sizeof *dx);
    for (int g = 0; g < v->g; g++) {
        float *c = s->direct ? dx + first * v->ow * v->ic : cols;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)s->k, v->ocg, 1,
                    dy + g * v->ocg, v->oc, w + g * v->ocg * s->k, (int)s->k, 0, c, (int)s->k);
        if (!s->direct) im2col_scatter(s, g, cols, first, rows, dx);
    }
}

/* sum (oc, K) = or += this block's share. */
static void wgrad_block(const struct im2col *s, void *const mem[], int64_t b, int add, float *cols,
                        float *sum)
{
    const struct conv *v = &s->v;
    const int64_t first = b * s->block, rows = im2col_rows(s, b), m = rows * v->ow;
    const float *x = mem[CONV_DWT_X], *dy = (const float *)mem[CONV_DWT_DY] + first * v->ow * v->oc;
    for (int g = 0; g < v->g; g++) {
        const float *a = s->direct ? x + first * v->ow * v->ic : cols;
        if (!s->direct) im2col_gather(s, g, x, first, rows, cols);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, v->ocg, (int)s->k, (int)m, 1,
                    dy + g * v->ocg, v->oc, a, (int)s->k, (float)add, sum + g * v->ocg * s->k,
                    (int)s->k);
    }
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const struct im2col s = im2col_of(p, plan->config.v[PIXELS]);
    const int threads = plan->config.v[THREADS];
    const int64_t sum = sum_floats(&s, p), k = s.k * s.v.oc;
    float *sums = workspace, *buffers = sums + threads * sum;
    /* The threads are ours: each calls for its own product. */
    if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int t = 0; t < threads; t++) {
            float *cols = buffers + t * s.cols_floats;
            const int64_t from = im2col_from(&s, t, threads), to = im2col_from(&s, t + 1, threads);
            for (int64_t b = from; b < to; b++) {
                if (hone_problem_is(p, conv2d_fwd)) fwd_block(&s, p, mem, b, cols);
                else if (hone_problem_is(p, conv2d_dgrad)) dgrad_block(&s, mem, b, cols);
                else wgrad_block(&s, mem, b, b > from, cols, sums + t * sum);
            }
        }
        if (sum) {
#pragma omp for schedule(static)
            for (int t = 0; t < threads; t++)
                im2col_add_up(sums, sum, threads, k * t / threads, k * (t + 1) / threads,
                              mem[CONV_DWT]);
        }
    }
    return HONE_OK;
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    struct im2col s = im2col_of(p, 64);
    (void)d;
    if (hone_conv2d_not_nhwc(p)) return hone_conv2d_not_nhwc(p);
    return s.k > INT32_MAX || s.block * s.v.ow > INT32_MAX
               ? "its matrices are too large for OpenBLAS"
               : NULL;
}

static const struct hone_op *const ops[] = { &hone_op_conv2d_fwd, &hone_op_conv2d_dgrad,
                                             &hone_op_conv2d_wgrad, NULL };

const struct hone_kernel hone_conv2d_lib_openblas_im2col = {
    .name = "openblas_im2col",
    .ops = ops,
    .backend = &hone_backend_cpu,
    .build = HONE_LIB, .dtypes = 1u << HONE_F32,
    .version = version,
    .param = { CONV_PIXELS, CONV_THREADS },
    .refuse = refuse,
    .valid = valid,
    .guess = guess,
    .workspace = workspace,
    .run = run,
};
