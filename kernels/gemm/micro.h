/* kernels/gemm/micro.h -- tiles of C held in registers: what gemm and convolutions spend their time
 * in.
 *
 * A tile has mr rows of nv vectors: s[i * nv + v].  Each step l loads nv vectors of B and adds to
 * every row i the product with one number a(i, l), which the processor broadcasts from memory.
 * Like this A needs no vectors, and B no broadcasts (Van Zee, van de Geijn: BLIS, 2015).
 *
 *     vf s[HONE_TILE_MAX];
 *     hone_tile_zero(14, 2, s);
 *     hone_tile_columns(14, 2, s, k, a, a_step, b, b_step, 2 * VL);   for each part of the sum
 *     hone_tile_store(14, 2, s, c, c_row, 2 * VL);
 *
 * mr and nv must be constants, with mr * nv accumulators, nv vectors of B and one of A in
 * registers: HONE_TILE_ROWS(nv) rows fit.  `cols` is how many columns exist and may be touched in
 * memory: the last vector may be a part of one, (nv - 1) * VL < cols <= nv * VL. */
#ifndef HONE_GEMM_MICRO_H
#define HONE_GEMM_MICRO_H

#include "kernels/backend/cpu.h"
#include "kernels/backend/up_to.h"

/* Largest mr for nv = 1, 2, 3, 4 vectors that leaves nothing to spill, with either compiler. */
#if defined __AVX512F__
#define HONE_TILE_ROWS(nv) ((nv) == 1 ? 16 : (nv) == 2 ? 14 : (nv) == 3 ? 9 : 6)
#elif defined __aarch64__
#define HONE_TILE_ROWS(nv) ((nv) == 1 ? 16 : (nv) == 2 ? 12 : (nv) == 3 ? 8 : 6)
#elif defined __AVX2__
#define HONE_TILE_ROWS(nv) ((nv) == 1 ? 8 : (nv) == 2 ? 6 : (nv) == 3 ? 3 : 2)
#else
#define HONE_TILE_ROWS(nv) ((nv) == 1 ? 8 : (nv) == 2 ? 4 : (nv) == 3 ? 3 : 2)
#endif
enum { HONE_TILE_MAX = 32 };   /* accumulators */

HONE_INLINE void hone_tile_zero(int mr, int nv, vf *s)
{
    HONE_UNROLLED for (int i = 0; i < mr * nv; i++) s[i] = (vf){ 0 };
}

/* x[0..nv) = a row of B. */
HONE_INLINE void hone_tile_load(int nv, vf *x, const real *b, int cols)
{
    HONE_UNROLLED for (int v = 0; v < nv - 1; v++) x[v] = vf_load(b + v * VL);
    /* A masked load where it is not known at compile time that all lanes exist. */
    if (__builtin_constant_p(cols) && cols == nv * VL) x[nv - 1] = vf_load(b + (nv - 1) * VL);
    else x[nv - 1] = vf_load_n(b + (nv - 1) * VL, cols - (nv - 1) * VL);
}

/* Before a loop over the steps of a sum: where their number is known, a few at a time. */
#ifdef HONE_JIT_BUILD
#define HONE_TILE_STEPS _Pragma("GCC unroll 4")
#else
#define HONE_TILE_STEPS
#endif

/* One step where the rows of A lie side by side, a(i) = a[i]. */
HONE_INLINE void hone_tile_column(int mr, int nv, vf *s, const real *a, const real *b, int cols)
{
    vf x[4];
    hone_tile_load(nv, x, b, cols);
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++) s[q] += a[q / nv] * x[q % nv];
}

/* k steps of them: a(i, l) = a[l * a_step + i].  Packed panels (a_step = mr) and transposed
 * matrices are of this kind. */
HONE_INLINE void hone_tile_columns(int mr, int nv, vf *s, int64_t k, const real *a, int64_t a_step,
                                   const real *b, int64_t b_step, int cols)
{
    HONE_TILE_STEPS for (; k; k--, a += a_step, b += b_step) hone_tile_column(mr, nv, s, a, b, cols);
}

/* odd[j] = 2 j + 1 times so many numbers, in bytes; in registers those that n rows need. */
HONE_INLINE void hone_tile_odds(int n, int64_t stride, int64_t odd[8])
{
    HONE_UNROLLED for (int j = 0; j < 8; j++) {
        odd[j] = (2 * j + 1) * stride * (int64_t)sizeof(real);
        if (!__builtin_constant_p(stride) && 2 * j + 1 < n) __asm__("" : "+r"(odd[j]));
    }
}

/* Row i < 16 of a matrix: odd[j] is 2 j + 1 row strides in bytes. */
HONE_INLINE const char *hone_tile_at(const char *p, const int64_t *odd, int i)
{
    int twos = __builtin_ctz((unsigned)i | 16u);
    return i ? p + odd[(i >> twos) / 2] * (1 << twos) : p;
}

/* One step where row i of A is i times the stride away. */
HONE_INLINE void hone_tile_row(int mr, int nv, vf *s, const char *p, const int64_t *odd,
                               const real *b, int cols)
{
    vf x[4];
    hone_tile_load(nv, x, b, cols);
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++)
        s[q] += *(const real *)hone_tile_at(p, odd, q / nv) * x[q % nv];
}

/* k steps where each row of A is contiguous: a(i, l) = a[i * a_row + l].  An address can be one
 * register plus 1, 2, 4 or 8 times another, so the odd multiples of a_row in registers reach
 * 16 rows; the compiler, left alone, would keep a pointer per row and run out of registers. */
HONE_INLINE void hone_tile_rows(int mr, int nv, vf *s, int64_t k, const real *a, int64_t a_row,
                                const real *b, int64_t b_step, int cols)
{
    const char *p = (const char *)a;
    int64_t odd[8];
    if (__builtin_constant_p(a_row)) {
        /* Then a row's distance is a part of the instruction. */
        HONE_TILE_STEPS for (; k; k--, a++, b += b_step) {
            vf x[4];
            __asm__("" : "+r"(a));
            hone_tile_load(nv, x, b, cols);
            HONE_UNROLLED for (int q = 0; q < mr * nv; q++) s[q] += a[q / nv * a_row] * x[q % nv];
        }
        return;
    }
    hone_tile_odds(mr, a_row, odd);
    for (; k; k--, p += sizeof *a, b += b_step) {
        __asm__("" : "+r"(p));
        hone_tile_row(mr, nv, s, p, odd, b, cols);
    }
}

/* The next row of C: one pointer that moves, where the compiler would make one for each row. */
#define HONE_TILE_NEXT(c, c_row)     \
    do {                             \
        (c) += (c_row);              \
        __asm__("" : "+r"(c));       \
    } while (0)

#ifdef HONE_JIT_BUILD
/* Where units are cut into as few parts of at most `most` as can be, all alike but that some have
 * one more: is any of this size?  Only such tiles are compiled. */
HONE_INLINE int hone_in_split(int units, int most, int size)
{
    const int parts = units > 0 ? (units + most - 1) / most : 1, each = units / parts;
    return size == each || (units % parts && size == each + 1);
}
#endif

/* s += C */
HONE_INLINE void hone_tile_add(int mr, int nv, vf *s, const real *c, int64_t c_row, int cols)
{
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++) {
        if (q && q % nv == 0) HONE_TILE_NEXT(c, c_row);
        s[q] += q % nv < nv - 1 ? vf_load(c + q % nv * VL)
                                : vf_load_n(c + q % nv * VL, cols - (nv - 1) * VL);
    }
}

HONE_INLINE void hone_tile_scale(int mr, int nv, vf *s, real alpha)
{
    HONE_UNROLLED for (int i = 0; i < mr * nv; i++) s[i] *= alpha;
}

/* s += bias, one number per column */
HONE_INLINE void hone_tile_bias(int mr, int nv, vf *s, const real *bias, int cols)
{
    vf x[4];
    hone_tile_load(nv, x, bias, cols);
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++) s[q] += x[q % nv];
}

/* Of two operands that cannot be compared the instruction gives the second: NaN stays NaN. */
HONE_INLINE void hone_tile_relu(int mr, int nv, vf *s)
{
    HONE_UNROLLED for (int i = 0; i < mr * nv; i++) s[i] = vf_max((vf){ 0 }, s[i]);
}

/* C = s */
HONE_INLINE void hone_tile_store(int mr, int nv, const vf *s, real *c, int64_t c_row, int cols)
{
    if (cols == nv * VL) {
        HONE_UNROLLED for (int q = 0; q < mr * nv; q++) {
            if (q && q % nv == 0) HONE_TILE_NEXT(c, c_row);
            vf_store(c + q % nv * VL, s[q]);
        }
        return;
    }
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++) {
        if (q && q % nv == 0) HONE_TILE_NEXT(c, c_row);
        if (q % nv < nv - 1) vf_store(c + q % nv * VL, s[q]);
        else vf_store_n(c + q % nv * VL, s[q], cols - (nv - 1) * VL);
    }
}

/* ---- whole tiles as functions ---- */

/* C = relu?(alpha A B + C? + bias?), everything optional at run time. */
struct hone_tile {
    int64_t k;
    const real *a, *b, *bias;            /* bias: NULL: none */
    int64_t a_stride, b_step;             /* a_step of columns(), a_row of rows() */
    real *c;
    int64_t c_row;
    real alpha;
    int cols;
    int accumulate, relu;
};

typedef void hone_tile_fn(const struct hone_tile *t);

/* A bias costs nothing as the sum's first term; but with 16 registers it makes gcc 12 spill. */
HONE_INLINE int hone_tile_bias_first(const struct hone_tile *t)
{
    return HONE_TILE_ROWS(2) >= 12 && t->bias && t->alpha == 1;
}

/* What goes before and what follows the sum; cols as a constant where it is known. */
HONE_INLINE void hone_tile_start(int mr, int nv, vf *s, const struct hone_tile *t, int cols)
{
    hone_tile_zero(mr, nv, s);
    if (hone_tile_bias_first(t)) hone_tile_bias(mr, nv, s, t->bias, cols);
}

HONE_INLINE void hone_tile_finish(int mr, int nv, vf *s, const struct hone_tile *t, int cols)
{
    if (t->alpha != 1) hone_tile_scale(mr, nv, s, t->alpha);
    if (t->bias && !hone_tile_bias_first(t)) hone_tile_bias(mr, nv, s, t->bias, cols);
    if (t->accumulate) hone_tile_add(mr, nv, s, t->c, t->c_row, cols);
    if (t->relu) hone_tile_relu(mr, nv, s);
    hone_tile_store(mr, nv, s, t->c, t->c_row, cols);
}

#endif
