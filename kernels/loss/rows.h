/* kernels/loss/rows.h -- rows of logits in vectors, for the kernels of softmax. */
#ifndef HONE_LOSS_ROWS_H
#define HONE_LOSS_ROWS_H

#include "kernels/activation/vector.h"
#include "kernels/loss/loss.h"

/* Is DX so large that it pays to write it past the caches?  As convolutions do. */
static inline int rows_stream(const struct hone_problem *p, const struct hone_device *d)
{
    return p->dim[LOSS_M] * (double)p->dim[LOSS_N] * sizeof(real) >
           (double)(d->l3_bytes ? d->l3_bytes : d->l2_bytes) / 3;
}

/* Numbers from one thread's buffers to the next's: whole pages, for two threads write at their
 * edges. */
static inline int64_t rows_apart(int64_t numbers)
{
    return (numbers + HONE_APART - 1) / HONE_APART * HONE_APART;
}

/* Everything about rows [from, to), in a thread's own buffers. */
typedef void rows_part(const struct hone_plan *plan, void *const mem[], int64_t from, int64_t to,
                       real *own);

/* All rows, a part for each thread, that begins with a multiple of `grain` and has `size` numbers of
 * the workspace.  `part` asks the plan again: with jit, problem and config are constants there. */
static inline int rows_run(rows_part *part, const struct hone_plan *plan, int threads, int grain,
                           int64_t size, void *const mem[], void *workspace)
{
    const int64_t m = hone_plan_problem(plan)->dim[LOSS_M];
    if (threads == 1) {
        part(plan, mem, 0, m, workspace);
        return HONE_OK;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        part(plan, mem, hone_part(m, grain, threads, t), hone_part(m, grain, threads, t + 1),
             (real *)workspace + t * size);
    return HONE_OK;
}

/* The first n lanes of v, the others `fill`. */
static inline vf first_lanes(vf v, int n, vf fill)
{
#if defined __AVX512F__
    return (vf)HONE_MM(mask_blend)((vk)((1u << n) - 1), (vm)fill, (vm)v);
#else
    return vf_select(vi_lanes() < (vi){ 0 } + n, v, fill);
#endif
}

static inline real row_max(const real *x, int n)
{
    vf least = vf_set(-__builtin_inff()), most = least;
    int j = 0;
    for (; j + VL <= n; j += VL) most = vf_max(vf_load(x + j), most);
    if (j < n) most = vf_max(first_lanes(vf_load_n(x + j, n - j), n - j, least), most);
    return vf_most(most);
}

/* Where the first of the n that is `most` is. */
static inline int row_first(const real *x, int n, real most)
{
    int j = 0;
    for (; j + VL <= n; j += VL) {
        unsigned bits = vf_bits(vf_load(x + j) == vf_set(most));
        if (bits) return j + __builtin_ctz(bits);
    }
    /* Lanes beyond n are 0, which `most` may be. */
    unsigned bits = j < n ? vf_bits(vf_load_n(x + j, n - j) == vf_set(most)) & ((1u << (n - j)) - 1)
                          : 0;
    return bits ? j + __builtin_ctz(bits) : -1;   /* -1: none, as among NaN */
}

/* e^x where x is at most 0, in fewer steps than vf_exp_down() where a table of 16 is in a register:
 * e^x = 2^k e^r with k a multiple of 1/16.  Of ln 2 one part is enough: k times its error is small
 * against the rounding of x, which is as large as k. */
static inline vf exp_below(vf x)
{
#if defined __AVX512F__ && HONE_REAL == 32
    const vf sixteenths = {
        1, 1.04427373f, 1.09050775f, 1.13878858f, 1.18920708f, 1.24185777f, 1.29683959f,
        1.35425556f, 1.41421354f, 1.47682619f, 1.54221082f, 1.61049032f, 1.68179286f,
        1.75625217f, 1.8340081f, 1.91520655f
    };
    /* Adding 1.5 2^19 rounds to a multiple of 1/16, whose last four bits are the table's index. */
    const vf round = vf_set(0x1.8p19f);
    x = vf_max(vf_set(HONE_EXP_LEAST), x);
    vf y = x * 1.44269504f + round, k = y - round, r = x - k * 0.693147182f;
    vf power = (vf)_mm512_permutexvar_ps((__m512i)y, (__m512)sixteenths);
    /* (e^r - 1) / r for |r| <= ln 2 / 32, off by 1e-8 of e^r. */
    vf q = (r * 0.166666667f + 0.5f) * r + 1;
    return vf_scale(power * r * q + power, k);
#else
    return vf_exp_down(x);
#endif
}

#endif
