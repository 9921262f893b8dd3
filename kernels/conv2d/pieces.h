/* kernels/conv2d/pieces.h -- how the outputs of a row are cut into tiles of neighbours, for
 * depthwise kernels: forward, data gradient, and the weight gradient, which has the forward one's
 * outputs.
 *
 * Where a row has two or three taps, a tile slides: neighbours share their inputs, and a tile may
 * lie at an edge.  Otherwise all outputs of a tile see the same taps, so that those near an edge
 * stand alone. */
#ifndef HONE_CONV2D_PIECES_H
#define HONE_CONV2D_PIECES_H

#include "kernels/conv2d/gather.h"

#include <stdlib.h>

/* The taps [from, to) that lie inside the input for one output. */
struct inside { int from, to; };

/* A phase down: for each of its outputs, which taps are inside. */
struct phase {
    struct conv_axis a;
    struct inside *in;
};

/* `1 << rp` outputs of a row, from o of a phase across on.  The first one's taps lie in columns
 * [0, a.n), and columns [from, to) of all that the outputs need are inside. */
struct piece {
    struct conv_axis a;
    int o, rp, from, to;
    int step;   /* taps from output to output; 0: any number, and all outputs see the same taps */
};

struct cut {
    struct phase *h;
    struct piece *piece;    /* of a row, in the order of its outputs */
    int npieces;
    char *used_h, *used_w;  /* rows and columns of taps that any output sees */
};

/* The logarithm of 1, 2, 4 or 8. */
static inline int pieces_log(int n) { return n == 1 ? 0 : n == 2 ? 1 : n == 4 ? 2 : 3; }

/* The taps of output o that are inside an input of `size`; marks them as used. */
static inline struct inside pieces_inside(const struct conv_axis *a, int o, int size, char *used)
{
    struct inside s = { 0, a->n };
    const int64_t first = (int64_t)o * a->step + a->at;
    while (s.from < s.to && first + (int64_t)s.from * a->dist < 0) s.from++;
    while (s.to > s.from && first + (int64_t)(s.to - 1) * a->dist >= size) s.to--;
    for (int j = s.from; j < s.to; j++) used[a->tap + j * a->tap_step] = 1;
    return s;
}

/* How many taps apart outputs are, where tiles slide; else 0. */
static inline int pieces_step(const struct conv_axis *a, const struct inside *in)
{
    for (int o = 0; o < a->count; o++)
        if (in[o].from >= in[o].to) return 0;
    if (a->step == a->dist && (a->n == 2 || a->n == 3)) return 1;
    return a->step == 2 * a->dist && a->n == 3 ? 2 : 0;
}

/* Cuts the outputs of a phase across into pieces of at most `1 << most`; returns how many. */
static inline int pieces_of(int most, const struct conv_axis *a, const struct inside *in,
                            struct piece *to)
{
    const int step = pieces_step(a, in);
    int n = 0;
    for (int o = 0; o < a->count; n++) {
        int end = o + 1, rp = most;
        while (end < a->count &&
               (step || (in[end].from == in[o].from && in[end].to == in[o].to))) end++;
        while (1 << rp > end - o) rp--;
        to[n] = (struct piece){ .a = *a, .o = o, .rp = rp, .from = in[o].from, .to = in[o].to };
        /* Outputs of one tap are as far apart as it is from the next, whatever the others are. */
        if (to[n].to - to[n].from == 1 && (!step || !rp)) {
            to[n].a.at += to[n].from * a->dist, to[n].a.tap += to[n].from * a->tap_step;
            to[n].a.n = to[n].step = to[n].to = 1, to[n].from = 0, to[n].a.dist = a->step;
        }
        o += 1 << rp;
        if (!step || !rp) continue;
        to[n].step = step;
        to[n].to = in[o - 1].to + step * ((1 << rp) - 1);
    }
    return n;
}

static inline int pieces_order(const void *a, const void *b)
{
    const struct piece *p = a, *q = b;
    return p->o * p->a.stride + p->a.start - q->o * q->a.stride - q->a.start;
}

/* Makes plan->priv a struct cut for tiles of at most `1 << rp` outputs: one allocation, the largest
 * alignment first, to be freed. */
static inline int pieces_cut(struct hone_plan *plan, const struct gather *q, int rp)
{
    const size_t phases = (size_t)q->phases_h, h = (size_t)q->out_h, w = (size_t)q->out_w,
                 bytes = sizeof(struct cut) + phases * sizeof(struct phase) +
                         w * sizeof(struct piece) + (h + w) * sizeof(struct inside) +
                         (size_t)(q->kh + q->kw);
    struct cut *cut = plan->priv = calloc(1, bytes);
    if (!cut) return hone_fail(HONE_ENOMEM, "pieces of a depthwise convolution");
    cut->h = (struct phase *)(cut + 1);
    cut->piece = (struct piece *)(cut->h + phases);
    struct inside *in = (struct inside *)(cut->piece + w);
    cut->used_h = (char *)(in + h + w), cut->used_w = cut->used_h + q->kh;
    for (int i = 0; i < q->phases_h; in += cut->h[i++].a.count) {
        cut->h[i] = (struct phase){ gather_h(q, i), in };
        for (int o = 0; o < cut->h[i].a.count; o++)
            in[o] = pieces_inside(&cut->h[i].a, o, q->in_h, cut->used_h);
    }
    for (int i = 0; i < q->phases_w; i++) {
        const struct conv_axis a = gather_w(q, i);
        for (int o = 0; o < a.count; o++) in[o] = pieces_inside(&a, o, q->in_w, cut->used_w);
        cut->npieces += pieces_of(rp, &a, in, cut->piece + cut->npieces);
    }
    qsort(cut->piece, (size_t)cut->npieces, sizeof *cut->piece, pieces_order);
    return HONE_OK;
}

#endif
