/* kernels/gemm/pack.h -- copies of parts of a matrix in the order in which tiles read them.
 *
 * A panel is `width` rows (or columns) of the matrix, step after step: panel[l * width + i].
 * The matrix is of stored numbers, the panel of reals.
 * Lanes beyond what exists are zero, so that tiles need no care at the matrix's edge. */
#ifndef HONE_GEMM_PACK_H
#define HONE_GEMM_PACK_H

#include "kernels/backend/cpu.h"

/* ---- lanes changing places: low(h) has a where bit h of the lane is 0, else b, h lanes down;
 * high(h) has b where the bit is 1, else a, h lanes up ---- */

#ifdef __clang__
#define HONE_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define HONE_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){ __VA_ARGS__ })
#endif

#if HONE_LANES == 16
HONE_INLINE vf vf_low(int h, vf a, vf b)
{
    return h == 8 ? HONE_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
         : h == 4 ? HONE_SHUFFLE(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
         : h == 2 ? HONE_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
                  : HONE_SHUFFLE(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
}

HONE_INLINE vf vf_high(int h, vf a, vf b)
{
    return h == 8 ? HONE_SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
         : h == 4 ? HONE_SHUFFLE(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
         : h == 2 ? HONE_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
                  : HONE_SHUFFLE(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}
#elif HONE_LANES == 8
HONE_INLINE vf vf_low(int h, vf a, vf b)
{
    return h == 4 ? HONE_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
         : h == 2 ? HONE_SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
                  : HONE_SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
}

HONE_INLINE vf vf_high(int h, vf a, vf b)
{
    return h == 4 ? HONE_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
         : h == 2 ? HONE_SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
                  : HONE_SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
}
#elif HONE_LANES == 4
HONE_INLINE vf vf_low(int h, vf a, vf b)
{
    return h == 2 ? HONE_SHUFFLE(a, b, 0, 1, 4, 5) : HONE_SHUFFLE(a, b, 0, 4, 2, 6);
}

HONE_INLINE vf vf_high(int h, vf a, vf b)
{
    return h == 2 ? HONE_SHUFFLE(a, b, 2, 3, 6, 7) : HONE_SHUFFLE(a, b, 1, 5, 3, 7);
}
#else
HONE_INLINE vf vf_low(int h, vf a, vf b) { return (void)h, HONE_SHUFFLE(a, b, 0, 2); }
HONE_INLINE vf vf_high(int h, vf a, vf b) { return (void)h, HONE_SHUFFLE(a, b, 1, 3); }
#endif

/* The VL x VL numbers of r, rows for columns (Eklundh 1972). */
HONE_INLINE void hone_transpose_block(int h, vf *r)
{
    HONE_UNROLLED for (int i = 0; i < VL; i++) {
        if (i & h) continue;
        vf a = r[i], b = r[i + h];
        r[i] = vf_low(h, a, b);
        r[i + h] = vf_high(h, a, b);
    }
}

HONE_INLINE void hone_transpose(vf *r)
{
    if (VL > 8) hone_transpose_block(8, r);
    if (VL > 4) hone_transpose_block(4, r);
    if (VL > 2) hone_transpose_block(2, r);
    hone_transpose_block(1, r);
}

/* Lane i of the result is the sum of r[i]'s lanes, always added in the same order. */
HONE_INLINE void hone_sum_halves(int h, vf *r)
{
    HONE_UNROLLED for (int i = 0; i < h; i++)
        r[i] = vf_low(h, r[i], r[i + h]) + vf_high(h, r[i], r[i + h]);
}

HONE_INLINE vf hone_sum_lanes(vf *r)
{
    if (VL > 8) hone_sum_halves(8, r);
    if (VL > 4) hone_sum_halves(4, r);
    if (VL > 2) hone_sum_halves(2, r);
    hone_sum_halves(1, r);
    return r[0];
}

/* ---- panels ---- */

/* panel[l * width + i] = x[l * ld + i] for l < steps, i < count. */
static inline void hone_pack_columns(real *panel, int width, const stored *x, int64_t ld,
                                     int64_t steps, int count)
{
    for (int64_t l = 0; l < steps; l++, x += ld, panel += width) {
        int i = 0;
        for (; i + VL <= count; i += VL) vf_store(panel + i, vs_load(x + i));
        if (i < count) {
            vf last = vs_load_n(x + i, count - i);
            vf_store_n(panel + i, last, width - i < VL ? width - i : VL);
            i += VL;
        }
        for (; i < width; i += VL)
            vf_store_n(panel + i, (vf){ 0 }, width - i < VL ? width - i : VL);
    }
}

/* The same for columns of several panels, one after another.  Rows are read from end to end, as the
 * processor's prefetchers like it: a row of one panel is a line or two, and the next is ld away. */
static inline void hone_pack_across(real *panels, int width, const stored *x, int64_t ld,
                                    int64_t steps, int count)
{
    const int whole = count / width;
    const int64_t panel = (int64_t)width * steps;
    for (int64_t l = 0; l < steps; l++) {
        const stored *from = x + l * ld;
        real *to = panels + l * width;
        for (int q = 0; q < whole; q++, from += width, to += panel) {
            int i = 0;
            for (; i + VL <= width; i += VL) vf_store(to + i, vs_load(from + i));
            if (i < width) vf_store_n(to + i, vs_load_n(from + i, width - i), width - i);
        }
    }
    if (count % width)
        hone_pack_columns(panels + whole * panel, width, x + (int64_t)whole * width, ld, steps,
                          count % width);
}

/* panel[l * width + i] = x[i * ld + l] for l < steps, i < count. */
static inline void hone_pack_rows(real *panel, int width, const stored *x, int64_t ld, int64_t steps,
                                  int count)
{
    for (int i = 0; i < width; i += VL) {
        int lanes = width - i < VL ? width - i : VL, rows = count - i < VL ? count - i : VL;
        for (int64_t l = 0; l < steps; l += VL) {
            int nl = steps - l < VL ? (int)(steps - l) : VL;
            const stored *from = x + i * ld + l;
            vf r[VL];
            HONE_UNROLLED for (int j = 0; j < VL; j++)
                r[j] = j < rows ? vs_load_n(from + j * ld, nl) : (vf){ 0 };
            hone_transpose(r);
            HONE_UNROLLED for (int j = 0; j < VL; j++)
                if (j < nl) vf_store_n(panel + (l + j) * width + i, r[j], lanes);
        }
    }
}

#endif
