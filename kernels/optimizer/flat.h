/* kernels/optimizer/flat.h -- what every kernel on the flat arrays of parameters shares: lanes that
 * may be fewer at the end, and how threads divide the numbers. */
#ifndef HONE_OPTIMIZER_FLAT_H
#define HONE_OPTIMIZER_FLAT_H

#include "kernels/backend/cpu.h"
#include "kernels/optimizer/optimizer.h"

enum { FLAT_UNROLL, FLAT_THREADS };   /* the first two parameters of these kernels */

/* n lanes, all of them where n is the constant VL. */
HONE_INLINE vf flat_load(const real *p, int n) { return n == VL ? vf_load(p) : vf_load_n(p, n); }

HONE_INLINE void flat_store(real *p, vf v, int n)
{
    if (n == VL) vf_store(p, v);
    else vf_store_n(p, v, n);
}

/* A thread should have a few cache lines of its own. */
#define FLAT_CONSTRAINT "threads == 1 || n >= 256 * threads"

static inline void flat_guess(const struct hone_problem *p, const struct hone_device *d,
                              struct hone_config *c)
{
    c->v[FLAT_UNROLL] = 2;
    c->v[FLAT_THREADS] =
        hone_guess_threads(d, hone_problem_bytes(p) / 10e3); /* at 10 bytes a nanosecond */
    while (c->v[FLAT_THREADS] > 1 && p->dim[OPTIM_N] < 256 * c->v[FLAT_THREADS])
        c->v[FLAT_THREADS] /= 2;
}

/* update(variant, lanes, s, i) for all numbers of [from, to), `unroll` vectors at a time; the step
 * is copied, so that stores cannot change it. */
#define FLAT_LOOP(update, step_type)                                                               \
    HONE_INLINE void flat_loop(int variant, int unroll, const step_type *step, int64_t from,       \
                               int64_t to)                                                         \
    {                                                                                              \
        const step_type s = *step;                                                                 \
        int64_t i = from;                                                                          \
        for (; i + unroll * VL <= to; i += unroll * VL)                                            \
            HONE_UNROLLED                                                                          \
            for (int u = 0; u < unroll; u++) update(variant, VL, &s, i + u * VL);                  \
        for (; unroll > 1 && i + VL <= to; i += VL) update(variant, VL, &s, i);                    \
        if (i < to) update(variant, (int)(to - i), &s, i);                                         \
    }                                                                                              \
    HONE_INLINE void flat_unrolled(int variant, int unroll, const step_type *s, int64_t from,      \
                                   int64_t to)                                                     \
    {                                                                                              \
        if (unroll == 1)                                                                           \
            flat_loop(variant, 1, s, from, to);                                                    \
        else if (unroll == 2)                                                                      \
            flat_loop(variant, 2, s, from, to);                                                    \
        else                                                                                       \
            flat_loop(variant, 4, s, from, to);                                                    \
    }

#endif
