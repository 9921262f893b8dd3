/* The warp's instructions of kernels/backend/cuda_mma.cuh for the shim: which lane has which
 * numbers is PTX's, so that a kernel that brings them to the wrong lanes is wrong here, too. Copies
 * happen when they are waited for, and what they overwrite must be free from the start. */
#include "tests/cuda/half.h"
#include "tests/cuda/shim.h"
#include "tests/cuda/shim_warp.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

void copy_16(void *to, const void *p, int n)
{
    struct shim_lane *f = shim_lane_now();
    if (n < 0 || n > 16 || (uintptr_t)to % 16 || (n && (uintptr_t)p % 16))
        shim_wrong("thread %u copies %u bytes, or not to a boundary of 16", f->number,
                   (unsigned)n, 0);
    else if (f->ncopies == SHIM_COPIES)
        shim_wrong("thread %u has more than %u copies under way", f->number, SHIM_COPIES, 0);
    else
        f->copy[f->ncopies++] = (struct shim_copy){ to, p, n, f->groups };
    shim_look(to, 16, 1);
    if (n) shim_look(p, (unsigned)n, 0);
}

void copies_end(void) { shim_lane_now()->groups++; }

void copies_wait(int pending)
{
    struct shim_lane *f = shim_lane_now();
    unsigned left = 0;
    for (unsigned i = 0; i < f->ncopies; i++) {
        const struct shim_copy *c = &f->copy[i];
        if (c->group + (unsigned)pending >= f->groups) {
            f->copy[left++] = *c;
            continue;
        }
        shim_look(c->to, 16, 1);
        memset(c->to, 0, 16);
        memcpy(c->to, c->from, (size_t)c->n);
    }
    f->ncopies = left;
}

/* ---- matrices ---- */

static void load(unsigned r[4], const void *row, int turned)
{
    struct shim_lane *me = shim_lane_now();
    const unsigned lane = me->number % 32, g = lane / 4, t = lane % 4;
    if ((uintptr_t)row % 16)
        shim_wrong("lane %u loads a row that is not on a boundary of 16", lane, 0, 0);
    me->row = row;
    shim_meet_lanes();
    for (unsigned i = 0; i < 4; i++) {
        const uint16_t *first = shim_lane_at(8 * i + (turned ? 2 * t : g))->row, *second;
        first += turned ? g : 2 * t;
        second = turned ? (const uint16_t *)shim_lane_at(8 * i + 2 * t + 1)->row + g : first + 1;
        shim_look(first, 2, 0);
        shim_look(second, 2, 0);
        r[i] = *first | (unsigned)*second << 16;
    }
    shim_meet_lanes();
}

void load_matrices(unsigned r[4], const void *row) { load(r, row, 0); }
void load_turned(unsigned r[4], const void *row) { load(r, row, 1); }

/* ---- products ---- */

static float number(unsigned bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* a[row][l] and b[l][col] of a warp, out of its lanes' registers: of halves, one of two. */
static uint16_t a_half(unsigned row, unsigned l)
{
    const unsigned reg = shim_lane_at(row % 8 * 4 + l % 8 / 2)->given[row / 8 + l / 8 * 2];
    return (uint16_t)(reg >> l % 2 * 16);
}
static uint16_t b_half(unsigned l, unsigned col)
{
    return (uint16_t)(shim_lane_at(col * 4 + l % 8 / 2)->given[4 + l / 8] >> l % 2 * 16);
}
static float a_bf16(unsigned row, unsigned l) { return bf16_number(a_half(row, l)); }
static float b_bf16(unsigned l, unsigned col) { return bf16_number(b_half(l, col)); }
static float a_f16(unsigned row, unsigned l) { return f16_number(a_half(row, l)); }
static float b_f16(unsigned l, unsigned col) { return f16_number(b_half(l, col)); }
/* Tensor cores do not see the last 13 bits of what should be tf32. */
static float a_tf32(unsigned row, unsigned l)
{
    return number(shim_lane_at(row % 8 * 4 + l % 4)->given[row / 8 + l / 4 * 2] & 0xffffe000u);
}
static float b_tf32(unsigned l, unsigned col)
{
    return number(shim_lane_at(col * 4 + l % 4)->given[4 + l / 4] & 0xffffe000u);
}

static void multiply(float c[4], const unsigned a[4], const unsigned b[2], unsigned depth,
                     float (*a_of)(unsigned, unsigned),
                     float (*b_of)(unsigned, unsigned))
{
    struct shim_lane *me = shim_lane_now();
    const unsigned lane = me->number % 32, g = lane / 4, t = lane % 4;
    memcpy(me->given, a, 4 * sizeof *a);
    memcpy(me->given + 4, b, 2 * sizeof *b);
    shim_meet_lanes();
    for (unsigned e = 0; e < 4; e++)
        for (unsigned l = 0; l < depth; l++)
            c[e] += a_of(g + e / 2 * 8, l) * b_of(l, 2 * t + e % 2);
    shim_meet_lanes();
}

void mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
    multiply(c, a, b, 16, a_bf16, b_bf16);
}

void mma_f16(float c[4], const unsigned a[4], const unsigned b[2])
{
    multiply(c, a, b, 16, a_f16, b_f16);
}

float from_f16(unsigned short v) { return f16_number(v); }
unsigned short to_f16(float v) { return f16_rounded(v); }

void mma_tf32(float c[4], const unsigned a[4], const unsigned b[2])
{
    multiply(c, a, b, 8, a_tf32, b_tf32);
}

unsigned to_tf32(float v)
{
    unsigned bits;
    memcpy(&bits, &v, sizeof bits);
    return isfinite(v) ? (bits + 0x1000) & 0xffffe000u : bits;
}
