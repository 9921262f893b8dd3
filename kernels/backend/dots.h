/* kernels/backend/dots.h -- blocks of products of bf16 matrices, two steps of a sum at a time, as
 * AVX512_BF16 (VDPBF16PS) and AMX (TDPBF16PS) compute them; for kernels in Makefile.am's
 * DOTS_KERNELS, which are compiled for these two alone.
 *
 * A block of C is up to 32 x 32 floats, mt x nt tiles of 16 x 16.  A tile of A is 16 rows of `steps`
 * numbers, one after another in memory.  A tile of B is pairs: row i has, for each of 16 columns, the
 * numbers of steps 2i and 2i + 1 side by side, 64 bytes.  `steps` is even, 32 at most, and the same
 * for all tiles between dots_begin() and dots_end().
 *
 * Both instructions add an even and an odd step's product to a float apart, each rounded once, and take
 * denormal numbers as 0: well inside the bound of a sum in floats (Intel, Architecture Instruction Set
 * Extensions Programming Reference 319433-046, TDPBF16PS). */
#ifndef HONE_DOTS_H
#define HONE_DOTS_H

#include "kernels/activation/vector.h"

enum { DOTS = 16, DOTS_STEPS = 32, DOTS_BLOCK = 32, DOTS_TILE = DOTS * DOTS_STEPS };

/* Steps of a tile for a sum of k: 32, fewer for a short one. */
static inline int dots_steps(int64_t k) { return k > 16 ? 32 : k > 8 ? 16 : 8; }

/* Of a thread: a block of C as floats, row by row. */
struct dots {
    float c[DOTS_BLOCK * DOTS_BLOCK] __attribute__((aligned(64)));
    int steps;
};

/* `n` times `steps` steps: where the first tiles lie, and in numbers how far apart rows are, tiles
 * beside each other, and tiles of the next steps. */
struct dots_sum {
    const stored *a, *b;
    int64_t a_row, a_tile, a_next, b_row, b_tile, b_next;
    int n;
};

#ifdef __AMX_BF16__

/* Tiles 0 to 3 are C's, 4 and 5 A's, 6 and 7 B's. */
static inline void dots_begin(struct dots *d, int steps)
{
    struct { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; }
    __attribute__((aligned(64))) shape = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        shape.rows[i] = (uint8_t)(i < 6 ? DOTS : steps / 2);
        shape.bytes[i] = (uint16_t)(i == 4 || i == 5 ? 2 * steps : 64);
    }
    d->steps = steps;
    _tile_loadconfig(&shape);
}

static inline void dots_end(void) { _tile_release(); }

HONE_INLINE void dots_zero(int mt, int nt, struct dots *d)
{
    (void)d;
    _tile_zero(0);
    if (nt > 1) _tile_zero(1);
    if (mt > 1) _tile_zero(2);
    if (mt > 1 && nt > 1) _tile_zero(3);
}

/* C's block from floats, rows c_row apart; and to them. */
HONE_INLINE void dots_load(int mt, int nt, struct dots *d, const float *c, int64_t c_row)
{
    const int64_t bytes = c_row * 4;
    (void)d;
    _tile_loadd(0, c, bytes);
    if (nt > 1) _tile_loadd(1, c + DOTS, bytes);
    if (mt > 1) _tile_loadd(2, c + DOTS * c_row, bytes);
    if (mt > 1 && nt > 1) _tile_loadd(3, c + DOTS * c_row + DOTS, bytes);
}

HONE_INLINE void dots_store(int mt, int nt, struct dots *d, float *c, int64_t c_row)
{
    const int64_t bytes = c_row * 4;
    (void)d;
    _tile_stored(0, c, bytes);
    if (nt > 1) _tile_stored(1, c + DOTS, bytes);
    if (mt > 1) _tile_stored(2, c + DOTS * c_row, bytes);
    if (mt > 1 && nt > 1) _tile_stored(3, c + DOTS * c_row + DOTS, bytes);
}

HONE_INLINE void dots_add(int mt, int nt, struct dots *d, const struct dots_sum *s)
{
    const stored *a = s->a, *b = s->b;
    const int64_t a_bytes = s->a_row * 2, b_bytes = s->b_row * 2;
    (void)d;
    for (int i = 0; i < s->n; i++, a += s->a_next, b += s->b_next) {
        _tile_loadd(6, b, b_bytes);
        _tile_loadd(4, a, a_bytes);
        _tile_dpbf16ps(0, 4, 6);
        if (nt > 1) {
            _tile_loadd(7, b + s->b_tile, b_bytes);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (mt > 1) {
            _tile_loadd(5, a + s->a_tile, a_bytes);
            _tile_dpbf16ps(2, 5, 6);
            if (nt > 1) _tile_dpbf16ps(3, 5, 7);
        }
    }
}

#else

static inline void dots_begin(struct dots *d, int steps) { d->steps = steps; }
static inline void dots_end(void) { }

HONE_INLINE void dots_zero(int mt, int nt, struct dots *d)
{
    for (int i = 0; i < mt * DOTS; i++)
        for (int t = 0; t < nt; t++) vf_store(d->c + i * DOTS_BLOCK + t * DOTS, (vf){ 0 });
}

HONE_INLINE void dots_load(int mt, int nt, struct dots *d, const float *c, int64_t c_row)
{
    for (int i = 0; i < mt * DOTS; i++)
        for (int t = 0; t < nt; t++)
            vf_store(d->c + i * DOTS_BLOCK + t * DOTS, vf_load(c + i * c_row + t * DOTS));
}

HONE_INLINE void dots_store(int mt, int nt, struct dots *d, float *c, int64_t c_row)
{
    if (c == d->c) return;
    for (int i = 0; i < mt * DOTS; i++)
        for (int t = 0; t < nt; t++)
            vf_store(c + i * c_row + t * DOTS, vf_load(d->c + i * DOTS_BLOCK + t * DOTS));
}

/* Eight rows at a time: their sums, 8 nt, stay in registers. */
HONE_INLINE void dots_add(int mt, int nt, struct dots *d, const struct dots_sum *s)
{
    enum { ROWS = 8 };
    for (int row = 0; row < mt * DOTS; row += ROWS) {
        const stored *a = s->a + row / DOTS * s->a_tile + row % DOTS * s->a_row, *b = s->b;
        float *c = d->c + row * DOTS_BLOCK;
        vf sum[ROWS * 2];
        HONE_UNROLLED
        for (int i = 0; i < ROWS; i++) {
            HONE_UNROLLED
            for (int t = 0; t < nt; t++) sum[i * nt + t] = vf_load(c + i * DOTS_BLOCK + t * DOTS);
        }
        for (int j = 0; j < s->n; j++, a += s->a_next, b += s->b_next)
            for (int pair = 0; pair < d->steps / 2; pair++) {
                __m512bh right[2];
                HONE_UNROLLED
                for (int t = 0; t < nt; t++)
                    right[t] = (__m512bh)_mm512_loadu_si512(b + t * s->b_tile + pair * s->b_row);
                HONE_UNROLLED
                for (int i = 0; i < ROWS; i++) {
                    int32_t two;
                    memcpy(&two, a + i * s->a_row + 2 * pair, sizeof two);
                    const __m512bh left = (__m512bh)_mm512_set1_epi32(two);
                    HONE_UNROLLED
                    for (int t = 0; t < nt; t++)
                        sum[i * nt + t] =
                            (vf)_mm512_dpbf16_ps((__m512)sum[i * nt + t], left, right[t]);
                }
            }
        HONE_UNROLLED
        for (int i = 0; i < ROWS; i++) {
            HONE_UNROLLED
            for (int t = 0; t < nt; t++) vf_store(c + i * DOTS_BLOCK + t * DOTS, sum[i * nt + t]);
        }
    }
}

#endif

/* ---- copies in the form of tiles ---- */

/* Lanes [0, n) of 16, and of 32. */
static inline __mmask16 dots_16(int n) { return (__mmask16)(n >= 16 ? 0xffff : (1 << n) - 1); }

static inline __mmask32 dots_32(int n)
{
    return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (__mmask32)((1u << n) - 1);
}

/* 16 numbers of two rows as pairs; NULL: a row of zeros. */
static inline __m512i dots_pair(const stored *even, const stored *odd, __mmask16 cols)
{
    const __m256i zero = _mm256_setzero_si256(),
                  low = even ? _mm256_maskz_loadu_epi16(cols, even) : zero,
                  high = odd ? _mm256_maskz_loadu_epi16(cols, odd) : zero;
    return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/* 16 x 16 words of 32 bits, rows and columns exchanged. */
HONE_INLINE void dots_turn(__m512i r[DOTS])
{
    __m512i t[DOTS];
    HONE_UNROLLED
    for (int i = 0; i < DOTS; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    HONE_UNROLLED
    for (int i = 0; i < DOTS; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    HONE_UNROLLED
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    HONE_UNROLLED
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* A tile of B, rows of pairs to_row apart, out of `steps` rows of numbers from x on, ld apart, of
 * which there are k rows and n columns: the rest is zeros. */
static inline void dots_pack(stored *to, int64_t to_row, const stored *x, int64_t ld, int k, int n,
                             int steps)
{
    const __mmask16 cols = dots_16(n);
    for (int i = 0; i < steps; i += 2, to += to_row)
        _mm512_storeu_si512(to, dots_pair(i < k ? x + i * ld : NULL,
                                          i + 1 < k ? x + (i + 1) * ld : NULL, cols));
}

/* The same out of a matrix whose rows are the tile's columns: n rows of k numbers. */
static inline void dots_pack_turned(stored *to, int64_t to_row, const stored *x, int64_t ld, int k,
                                    int n, int steps)
{
    const __mmask32 some = dots_32(k < steps ? k : steps);
    __m512i r[DOTS];
    for (int i = 0; i < DOTS; i++)
        r[i] = i < n ? _mm512_maskz_loadu_epi16(some, x + i * ld) : _mm512_setzero_si512();
    dots_turn(r);
    for (int i = 0; i < steps / 2; i++) _mm512_storeu_si512(to + i * to_row, r[i]);
}

/* A tile of A, rows to_row apart, out of a matrix whose columns are the tile's rows: k rows of n
 * numbers. */
static inline void dots_pack_rows(stored *to, int64_t to_row, const stored *x, int64_t ld, int k,
                                  int n, int steps)
{
    const __mmask16 cols = dots_16(n), words = dots_16(steps / 2);
    __m512i r[DOTS];
    for (int i = 0; i < DOTS; i++)
        r[i] = dots_pair(2 * i < k ? x + 2 * i * ld : NULL,
                         2 * i + 1 < k ? x + (2 * i + 1) * ld : NULL, cols);
    dots_turn(r);
    for (int i = 0; i < DOTS; i++) _mm512_mask_storeu_epi32(to + i * to_row, words, r[i]);
}

/* ---- what becomes of a block ---- */

/* Two vectors rounded to bf16, side by side. */
static inline __m512i dots_narrow(vf low, vf high)
{
    return (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

/* to[0..cols) = act(c + bias), cols <= 32, of one row of a block; bias: with the block's columns, or
 * NULL; past: past the caches, where cols is 32 and `to` begins a line. */
HONE_INLINE void dots_give(enum hone_act act, stored *to, const float *c, const real *bias,
                           int cols, int past)
{
    vf low = vf_load(c), high = cols > VL ? vf_load(c + VL) : (vf){ 0 };
    if (bias) {
        low += vf_load_n(bias, cols < VL ? cols : VL);
        if (cols > VL) high += vf_load_n(bias + VL, cols - VL);
    }
    if (act != HONE_ACT_none) {
        low = vf_activate(act, low);
        high = vf_activate(act, high);
    }
    const __m512i both = dots_narrow(low, high);
    if (past) _mm512_stream_si512((void *)to, both);
    else _mm512_mask_storeu_epi16(to, dots_32(cols), both);
}

/* Rows of a block, `to_row` numbers apart. */
HONE_INLINE void dots_give_rows(enum hone_act act, stored *to, int64_t to_row, const float *c,
                                const real *bias, int rows, int cols, int past)
{
    for (int i = 0; i < rows; i++, to += to_row, c += DOTS_BLOCK)
        dots_give(act, to, c, bias, cols, past);
}

static inline void dots_give_block(enum hone_act act, stored *to, int64_t to_row, const float *c,
                                   const real *bias, int rows, int cols, int past)
{
    switch (act) {
#define X(name, from_y, slope)                                                                    \
    case HONE_ACT_##name:                                                                         \
        dots_give_rows(HONE_ACT_##name, to, to_row, c, bias, rows, cols, past);                   \
        return;
    HONE_ACT_MAP(X)
#undef X
    case HONE_ACT_none: dots_give_rows(HONE_ACT_none, to, to_row, c, bias, rows, cols, past);
    }
}

#endif
