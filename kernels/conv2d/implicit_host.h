/* kernels/conv2d/implicit_host.h -- what cuda_implicit.c and cuda_implicit_mma.c share: the sizes
 * of the product that a convolution is, and launching it. */
#ifndef HONE_CONV2D_IMPLICIT_HOST_H
#define HONE_CONV2D_IMPLICIT_HOST_H

#include "kernels/backend/cuda.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/cuda_implicit.h"

static inline int implicit_pass(const struct hone_problem *p)
{
    return hone_problem_is(p, conv2d_fwd)     ? CONV_PASS_FWD
           : hone_problem_is(p, conv2d_dgrad) ? CONV_PASS_DGRAD
                                              : CONV_PASS_WGRAD;
}

/* Pixels of dx fall into as many classes; a product each. */
static inline int implicit_classes(const struct hone_problem *p)
{
    return hone_problem_is(p, conv2d_dgrad) ? p->dim[CONV_SH] * p->dim[CONV_SW] : 1;
}

static inline int implicit_above(int n, int by) { return (n + by - 1) / by; }

static inline struct conv_implicit_sizes implicit_sizes(const struct hone_problem *p, int split,
                                                        int bk)
{
    const struct conv v = conv_of(p);
    const int pass = implicit_pass(p), fwd = pass == CONV_PASS_FWD, half = hone_cuda_half(p->dtype);
    const int wgrad = pass == CONV_PASS_WGRAD, run = half ? 8 : 4, taps = v.kh * v.kw;
    const int nchw = p->layout == CONV_NCHW;
    struct conv_implicit_sizes s = {
        .m = wgrad ? v.oc : v.mb * v.oh * v.ow, .n = fwd ? v.oc : wgrad ? taps * v.ic : v.ic,
        .k = fwd ? taps * v.ic : v.mb * v.oh * v.ow,
        .a_turned = wgrad != nchw, .b_turned = nchw ? pass == CONV_PASS_DGRAD : !fwd, .stages = 2,
        .a_wide = (fwd ? v.ic : v.oc) % run == 0, .b_wide = v.ic % run == 0,
        .half = half, .narrow = wgrad ? 0 : half, .act = fwd ? (int)hone_act_of(p) : HONE_ACT_none,
        .bias = fwd && hone_problem_has(p, "bias"), .pass = pass, nchw,
        v.mb, v.ic, v.ih, v.iw, v.oc, v.oh, v.ow, v.kh, v.kw, v.sh, v.sw, v.ph, v.pw, v.dh, v.dw
    };
    if (pass == CONV_PASS_DGRAD) {
        s.m = v.mb * implicit_above(v.ih, v.sh) * implicit_above(v.iw, v.sw);
        s.k = implicit_above(v.kh, v.sh) * implicit_above(v.kw, v.sw) * v.oc;
    }
    if (nchw) {
        /* Of 1x1 pixels are runs, too. */
        const int plain = taps == 1 && v.sh == 1 && v.sw == 1 && !v.ph && !v.pw && v.oh == v.ih &&
                          v.ow == v.iw, pixels = plain || wgrad;
        s.a_wide = pixels && v.oh * v.ow % run == 0;
        s.b_wide = fwd ? s.k % run == 0 : wgrad ? plain && s.a_wide : taps == 1 && v.ic % run == 0;
    }
    s.part = implicit_above(implicit_above(s.k, split), bk) * bk;
    s.parts = implicit_above(s.k, s.part);
    return s;
}

static inline const char *implicit_refuse(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    if (v.g != 1) return "there are groups";
    if (implicit_classes(p) > 1 && (v.dh > 1 || v.dw > 1)) return "dilation and stride together";
    if ((double)v.mb * v.oh * v.ow >= 0x1p30 || (double)v.mb * v.ih * v.iw >= 0x1p30)
        return "the pixels have more than 30 bits";
    if ((double)v.oc * v.kh * v.kw * v.ic >= 0x1p30) return "the weights have more than 30 bits";
    return v.kh * v.kw > 65535 ? "more taps than a grid is deep" : NULL;
}

static inline int64_t implicit_blocks(const struct conv_implicit_sizes *s, int bm, int bn)
{
    return (int64_t)implicit_above(s->m, bm) * implicit_above(s->n, bn);
}

/* Does a tile of bm x bn suit these sizes, and the terms this split? */
static inline int implicit_valid(const struct hone_problem *p, const struct conv_implicit_sizes *s,
                                 const struct hone_device *d, int bm, int bn, int bk, int split)
{
    if (implicit_above(s->m, bm) > 65535) return 0;
    /* A tile twice as large as C in a direction is a smaller one that wastes. */
    if ((bm > 32 && bm >= 2 * s->m) || (bn > 32 && bn >= 2 * s->n)) return 0;
    return split == 1 || (implicit_classes(p) == 1 && s->k >= 2 * bk * split &&
                          implicit_blocks(s, bm, bn) * split <= 8ll * hone_cuda_limits(d)->nsms);
}

static inline size_t implicit_workspace(const struct conv_implicit_sizes *s)
{
    return s->parts == 1 ? 0 : (size_t)s->parts * (size_t)s->m * (size_t)s->n * sizeof(float);
}

/* Function 0 is the product's, 1 adds up its parts. */
static inline int implicit_run(const struct hone_plan *plan, void *const mem[], void *workspace,
                               const struct conv_implicit_sizes *s, int bm, int bn, int threads,
                               unsigned shared)
{
    struct conv_implicit a = { mem[0], mem[1], mem[2], s->bias ? mem[CONV_BIAS] : NULL, workspace,
                               *s };
    const unsigned depth = (unsigned)(s->parts > 1 ? s->parts : implicit_classes(&plan->problem));
    const struct hone_cuda_shape shape = {
        { (unsigned)implicit_above(s->n, bn), (unsigned)implicit_above(s->m, bm), depth },
        { (unsigned)threads, 1, 1 }, shared
    };
    int err = hone_cuda_launch(plan, 0, &shape, &a);
    if (err || s->parts == 1) return err;
    const struct hone_cuda_shape join = {
        { hone_cuda_blocks(plan->device, (int64_t)s->m * s->n, 256), 1, 1 }, { 256, 1, 1 }, 0
    };
    return hone_cuda_launch(plan, 1, &join, &a);
}

#endif
