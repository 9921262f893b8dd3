/* kernels/conv2d/winograd_host.h -- what cuda_winograd.c and cuda_winograd_mma.c share: sizes,
 * scratch memory, launching. */
#ifndef HONE_CONV2D_WINOGRAD_HOST_H
#define HONE_CONV2D_WINOGRAD_HOST_H

#include "kernels/backend/cuda.h"
#include "kernels/conv2d/cuda_winograd.h"
#include "kernels/conv2d/winograd_error.h"

#include <stdio.h>

/* The first parameters of both: tiles have m x m outputs; `parts` shares of them go through all
 * three steps one after another, so that what lies between the steps stays in L2; `split` blocks
 * share a sum over a part's tiles, which a gradient of weights is. */
enum { WINOGRAD_M, WINOGRAD_PARTS, WINOGRAD_SPLIT, WINOGRAD_TILE };
#define WINOGRAD_PARAMS                                                                            \
    HONE_PARAM("m", 2, 4), HONE_PARAM("parts", 1, 2, 4, 8, 16),                                    \
    HONE_PARAM("split", 1, 2, 4, 8, 16, 32)

static inline int64_t winograd_above(int64_t n, int64_t by) { return (n + by - 1) / by; }
static inline int winograd_points(const struct hone_config *c)
{
    return (c->v[WINOGRAD_M] + 2) * (c->v[WINOGRAD_M] + 2);
}

/* Blocks take bk terms of a sum at a time, and a share of it is whole such slices. */
static inline struct conv_winograd_sizes winograd_sizes(const struct hone_problem *p,
                                                        const struct hone_config *c, int bk)
{
    const struct winograd_view q = winograd_view_of(p);
    const int m = c->v[WINOGRAD_M], across = (q.out_w + m - 1) / m, down = (q.out_h + m - 1) / m;
    const int tiles = p->dim[CONV_MB] * across * down, fwd = hone_problem_is(p, conv2d_fwd);
    const int part = (int)winograd_above(tiles, c->v[WINOGRAD_PARTS]);
    const int wgrad = hone_problem_is(p, conv2d_wgrad), split = c->v[WINOGRAD_SPLIT];
    struct conv_winograd_sizes s = {
        .m = wgrad ? q.outc : part, .n = wgrad ? q.inc : q.outc, .k = wgrad ? part : q.inc,
        .a_turned = wgrad, .b_turned = !fwd, .a_wide = (wgrad ? q.outc : q.inc) % 4 == 0,
        .b_wide = p->dim[CONV_IC] % 4 == 0, .stages = 2, .narrow = hone_cuda_half(p->dtype),
        .act = fwd ? (int)hone_act_of(p) : HONE_ACT_none,
        .bias = fwd && hone_problem_has(p, "bias"), .dgrad = q.dgrad, .wgrad = wgrad,
        .in_h = q.in_h, .in_w = q.in_w, .in_c = q.inc,
        .out_h = q.out_h, .out_w = q.out_w, .out_c = q.outc, .from_h = q.from_h, .from_w = q.from_w,
        .across = across, .down = down, .tiles = tiles, .part = part,
        .points = winograd_points(c), .split = split,
    };
    s.share = (int)(winograd_above(winograd_above(s.k, split), bk) * bk);
    return s;
}

/* Floats of the operands and products of a part; each begins on a line. */
struct winograd_room { int64_t a, b, products; };

static inline struct winograd_room winograd_room_of(const struct hone_problem *p,
                                                    const struct hone_config *c)
{
    const struct conv_winograd_sizes s = winograd_sizes(p, c, 1);
    const int64_t points = s.points;
    return (struct winograd_room){ winograd_above(points * s.m * s.k, 64) * 64,
                                   winograd_above(points * s.n * s.k, 64) * 64,
                                   winograd_above(points * s.split * s.m * s.n, 64) * 64 };
}

static inline size_t winograd_workspace(const struct hone_problem *p, const struct hone_config *c,
                                        const struct hone_device *d)
{
    const struct winograd_room r = winograd_room_of(p, c);
    (void)d;
    return (size_t)(r.a + r.b + r.products) * sizeof(float);
}

static inline const char *winograd_cannot(const struct hone_problem *p)
{
    const struct conv v = conv_of(p);
    const char *why = winograd_refuse(p);
    if (why) return why;
    if ((double)v.mb * v.oh * v.ow >= 0x1p30 || (double)v.mb * v.ih * v.iw >= 0x1p30)
        return "the pixels have more than 30 bits";
    /* Of the smaller tiles, whichever are used. */
    if ((double)v.mb * ((v.ih + 1) / 2 * ((v.iw + 1) / 2) + (v.oh + 1) / 2 * ((v.ow + 1) / 2)) *
            (v.ic + v.oc) >= 0x1p31)
        return "tiles times channels have more than 31 bits";
    return (double)v.oc * v.ic >= 0x1p30 ? "the weights have more than 30 bits" : NULL;
}

/* Below 16 channels the transforms cost more than they save. */
static inline int winograd_suits(const struct hone_problem *p, const struct hone_device *d)
{
    const struct winograd_view q = winograd_view_of(p);
    (void)d;
    return q.inc >= 16 && q.outc >= 16;
}

static inline int64_t winograd_blocks(const struct conv_winograd_sizes *s, int bm, int bn)
{
    return winograd_above(s->m, bm) * winograd_above(s->n, bn) * s->points;
}

/* Do products in tiles of bm x bn, bk terms at a time, suit, and as many parts and shares? */
static inline int winograd_valid(const struct hone_problem *p, const struct hone_config *c,
                                 const struct hone_device *d, int bm, int bn, int bk)
{
    const struct conv_winograd_sizes s = winograd_sizes(p, c, bk);
    if (c->v[WINOGRAD_M] > 2 && s.out_h <= 2 && s.out_w <= 2) return 0;
    if (winograd_above(s.m, bm) > 65535) return 0;
    /* A tile twice as large as C in a direction is a smaller one that wastes. */
    if ((bm > 32 && bm >= 2 * s.m) || (bn > 32 && bn >= 2 * s.n)) return 0;
    if (s.split > 1 && (!s.wgrad || s.k < 2 * bk * s.split ||
                        winograd_blocks(&s, bm, bn) * s.split > 8ll * hone_cuda_limits(d)->nsms))
        return 0;
    return c->v[WINOGRAD_PARTS] == 1 || s.part >= 64;
}

/* Sets m and parts: what lies between the steps of a part in half of L2; but never so few tiles
 * that blocks of 64 x 64 would not fill the GPU, or, of gradients of weights, that reading and
 * writing the sums for each part would cost more than it saves. */
static inline void winograd_guess(const struct hone_problem *p, const struct hone_device *d,
                                  struct hone_config *c)
{
    const struct winograd_view q = winograd_view_of(p);
    *c = (struct hone_config){ { q.out_h <= 2 && q.out_w <= 2 ? 2 : 4, 1, 1 } };
    for (;; c->v[WINOGRAD_PARTS] *= 2) {
        const struct winograd_room r = winograd_room_of(p, c);
        struct hone_config next = *c;
        next.v[WINOGRAD_PARTS] *= 2;
        const struct conv_winograd_sizes s = winograd_sizes(p, &next, 1);
        const int64_t between = r.a + (s.wgrad ? r.b : r.products);
        if (between * 4 <= d->l2_bytes / 2 || c->v[WINOGRAD_PARTS] == 16 || s.part < 64) return;
        if (s.wgrad ? 2 * r.products > between
                    : winograd_blocks(&s, 64, 64) < hone_cuda_limits(d)->nsms) return;
    }
}

/* What a gradient of weights is rounded, terms of a block's share, parts and shares one after
 * another; or another pass. */
static inline double winograd_roundings(const struct hone_problem *p, const struct hone_config *c,
                                        int bk)
{
    const struct conv_winograd_sizes s = winograd_sizes(p, c, bk);
    if (!s.wgrad) return winograd_growth(p, c->v[WINOGRAD_M]);
    return s.share + c->v[WINOGRAD_PARTS] + s.split + winograd_wgrad_chain(c->v[WINOGRAD_M]);
}

/* The plan's functions: transforms and the product, called `name`_... and `product`. */
enum { WINOGRAD_WEIGHTS, WINOGRAD_INPUTS, WINOGRAD_PRODUCTS, WINOGRAD_OUTPUTS };
enum { WINOGRAD_JOIN = WINOGRAD_WEIGHTS, WINOGRAD_OPERANDS, WINOGRAD_SUMS = WINOGRAD_OUTPUTS };

static inline int winograd_open(struct hone_plan *plan, const char *name, const char *product,
                                unsigned shared, const char *config,
                                const struct conv_winograd_sizes *s)
{
    static const char *const passes[2][4] = { { "weights", "inputs", NULL, "outputs" },
                                              { "join", "operands", NULL, "sums" } };
    const char *const *what = passes[s->wgrad];
    struct hone_cuda_code code = { .function = { [WINOGRAD_PRODUCTS] = product },
                                   .shared_bytes = { [WINOGRAD_PRODUCTS] = shared },
                                   .config = config, HONE_CUDA_SIZES(*s) };
    const int m = plan->config.v[WINOGRAD_M];
    char text[4][64];
    for (int i = 0; i < 4; i++) {
        if (!what[i]) continue;
        if (s->wgrad && i == WINOGRAD_JOIN) snprintf(text[i], sizeof text[i], "%s_join", name);
        else snprintf(text[i], sizeof text[i], "%s_%s_%d", name, what[i], m);
        code.function[i] = text[i];
    }
    return hone_cuda_open(plan, &code);
}

static inline int winograd_transform(const struct hone_plan *plan, int f, int64_t n,
                                     const struct conv_winograd *a)
{
    const struct hone_cuda_shape shape = { { hone_cuda_blocks(plan->device, n, 256), 1, 1 },
                                           { 256, 1, 1 }, 0 };
    return hone_cuda_launch(plan, f, &shape, a);
}

/* Products are in tiles of bm x bn, a block of `threads` each. */
static inline int winograd_run(const struct hone_plan *plan, void *const mem[], void *workspace,
                               const struct conv_winograd_sizes *s, int bm, int bn, int threads,
                               unsigned shared)
{
    const struct winograd_room r = winograd_room_of(&plan->problem, &plan->config);
    float *operand = workspace;
    struct conv_winograd a = { mem[0], mem[1], mem[2], s->bias ? mem[CONV_BIAS] : NULL,
                               operand, operand + r.a, operand + r.a + r.b, 0, *s };
    const int64_t filters = (int64_t)s->in_c * s->out_c;
    const int most = s->wgrad && s->out_c > s->in_c ? s->out_c : s->in_c;
    int err = s->wgrad ? HONE_OK : winograd_transform(plan, WINOGRAD_WEIGHTS, filters, &a);
    for (; !err && a.first < s->tiles; a.first += s->part) {
        const int64_t part = s->part < s->tiles - a.first ? s->part : s->tiles - a.first;
        const struct hone_cuda_shape shape = {
            { (unsigned)winograd_above(s->n, bn),
              (unsigned)winograd_above(s->wgrad ? s->m : part, bm),
              (unsigned)(s->points * s->split) },
            { (unsigned)threads, 1, 1 }, shared
        };
        err = winograd_transform(plan, WINOGRAD_INPUTS, part * most, &a);
        if (!err) err = hone_cuda_launch(plan, WINOGRAD_PRODUCTS, &shape, &a);
        if (err || s->wgrad) continue;
        err = winograd_transform(plan, WINOGRAD_OUTPUTS, part * s->out_c, &a);
    }
    if (err || !s->wgrad) return err;
    if (s->split > 1) err = winograd_transform(plan, WINOGRAD_JOIN, s->points * filters, &a);
    return err ? err : winograd_transform(plan, WINOGRAD_SUMS, filters, &a);
}

#endif
