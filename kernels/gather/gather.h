/* kernels/gather/gather.h -- a batch out of a data set that lies on the device:
 *
 *     y[b] = row order[b] of x, pictures (h, w, c) as floats, perhaps moved and mirrored
 *     t[b] = row order[b] of target: o floats, or with `labels` a class
 *
 * With `bytes`, x holds 8-bit numbers, four to a word of x in the order of memory, and what byte v
 * of channel k stands for is table[256 k + v]; without, x holds floats.  With crop P a picture is
 * padded by P pixels on every side and cut out again at a random place; with `flip` every second one
 * is mirrored.  What is padded with is byte 0's number, or table[k] where x holds floats.  Which
 * place and which picture is a function of the key and the row alone, so a row becomes the same in
 * every batch. */
#ifndef HONE_GATHER_H
#define HONE_GATHER_H

#include "kernels/kernel.h"

extern const struct hone_op hone_op_gather;

enum { GATHER_M, GATHER_R, GATHER_H, GATHER_W, GATHER_C, GATHER_O };   /* problem.dim; R: of x */
enum { GATHER_CROP, GATHER_FLIP, GATHER_BYTES, GATHER_LABELS };        /* attributes */
enum {                                                                 /* arguments */
    GATHER_Y, GATHER_T, GATHER_X, GATHER_TARGET, GATHER_ORDER, GATHER_TABLE, GATHER_KEY
};

static inline int gather_has(const struct hone_problem *p, int attr)
{
    return p->attrs >> attr & 1;
}

static inline int64_t gather_len(const struct hone_problem *p)
{
    return (int64_t)p->dim[GATHER_H] * p->dim[GATHER_W] * p->dim[GATHER_C];
}

/* Pixel (y, x) of a batch's picture is pixel (y + dy, x + dx) of the row, or, where it is mirrored,
 * (y + dy, w - 1 - x + dx); outside there is padding. */
struct gather_move { int dy, dx, flip; };

static inline struct gather_move gather_move(const struct hone_problem *p, uint64_t key,
                                             int64_t row)
{
    const int crop = (int)p->value[GATHER_CROP];
    const uint32_t places = 2 * (uint32_t)crop + 1;
    const uint64_t r = hone_random(key, (uint64_t)row);
    return (struct gather_move){ (int)((uint32_t)r % places) - crop,
                                 (int)((uint32_t)(r >> 32 & 0x7fffffff) % places) - crop,
                                 gather_has(p, GATHER_FLIP) && r >> 63 };
}

#endif
