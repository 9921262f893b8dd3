/* kernels/dropout/vector.h -- hone_random() in vectors of 64-bit lanes, and dropout's masks of it:
 * for dropout alone and for whole training steps. */
#ifndef HONE_DROPOUT_VECTOR_H
#define HONE_DROPOUT_VECTOR_H

#include "kernels/backend/cpu.h"
#include "kernels/dropout/dropout.h"

typedef uint64_t vl __attribute__((vector_size(HONE_VB)));
enum { VL64 = VB / 8 };

/* hone_random(key, i) is the mix of key + (i + 1) DROPOUT_GOLDEN. */
#define DROPOUT_GOLDEN 0x9e3779b97f4a7c15u

static inline vl dropout_mix(vl z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- masks of rows in the lanes ---- */

typedef ureal vu __attribute__((vector_size(HONE_VB)));

/* Hashes that make a vector of draws: one of each two floats' rows, or of each double's. */
enum { DROPOUT_HASHES = VL / VL64 };

/* Which numbers of VL rows dropout keeps, from left to right, two at a time; n are in a row.  Where
 * n is even, a row's two are of one hash, and `at` are hashes before they are mixed; else at are
 * the numbers' places.  Vector q is of rows q, DROPOUT_HASHES + q, 2 DROPOUT_HASHES + q, ... */
struct dropout_rows { uint64_t key; uint32_t threshold; int odd; vl at[DROPOUT_HASHES]; };

HONE_INLINE struct dropout_rows dropout_rows(uint64_t key, double p, int n, int64_t first_row)
{
    struct dropout_rows s = { .key = key + DROPOUT_GOLDEN, .threshold = dropout_threshold(p),
                              .odd = n % 2 };
    HONE_UNROLLED for (int q = 0; q < DROPOUT_HASHES; q++) {
        vl row = { 0 };
        HONE_UNROLLED for (int i = 0; i < VL64; i++)
            row[i] = (uint64_t)(first_row + i * DROPOUT_HASHES + q);
        s.at[q] = s.odd ? row * (uint64_t)n : row * ((uint64_t)n / 2 * DROPOUT_GOLDEN) + s.key;
    }
    return s;
}

/* Hashes' lower halves as draws, and their upper halves. */
HONE_INLINE vu dropout_lower(const vl *hash)
{
    return (vu)(DROPOUT_HASHES == 1
                    ? hash[0] & 0xffffffffu
                    : (hash[0] & 0xffffffffu) | hash[DROPOUT_HASHES - 1] << 32);
}

HONE_INLINE vu dropout_upper(const vl *hash)
{
    return (vu)(DROPOUT_HASHES == 1
                    ? hash[0] >> 32
                    : hash[0] >> 32 | (hash[DROPOUT_HASHES - 1] & ~(uint64_t)0xffffffffu));
}

HONE_INLINE vi dropout_kept(const struct dropout_rows *s, vu draw)
{
    return draw >= (draw ^ draw) + s->threshold;
}

/* keep[0] is of the next number in each row, keep[1] of that behind it. */
HONE_INLINE void dropout_draw(struct dropout_rows *s, vi keep[2])
{
    vl hash[DROPOUT_HASHES];
    for (int side = 0; side < (s->odd ? 2 : 0); side++) {
        HONE_UNROLLED for (int q = 0; q < DROPOUT_HASHES; q++) {
            hash[q] = dropout_mix((s->at[q] >> 1) * DROPOUT_GOLDEN + s->key);
            hash[q] = hash[q] >> ((s->at[q] & 1) << 5);
            s->at[q] += 1;
        }
        keep[side] = dropout_kept(s, dropout_lower(hash));
    }
    if (s->odd) return;
    HONE_UNROLLED for (int q = 0; q < DROPOUT_HASHES; q++) {
        hash[q] = dropout_mix(s->at[q]);
        s->at[q] += DROPOUT_GOLDEN;
    }
    keep[0] = dropout_kept(s, dropout_lower(hash));
    keep[1] = dropout_kept(s, dropout_upper(hash));
}

#endif
