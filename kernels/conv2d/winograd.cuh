/* kernels/conv2d/winograd.cuh -- Winograd's minimal filtering on a GPU (winograd_matrices.h): a
 * thread a channel of a tile, or of a filter, and between the transforms a product of matrices for
 * each point, of which this says to tiled.cuh and mma.cuh where the operands lie.
 *
 * Neighbouring threads have neighbouring channels, as they lie in the tensors and in the
 * transformed arrays. */
#ifndef HONE_CONV2D_WINOGRAD_CUH
#define HONE_CONV2D_WINOGRAD_CUH

#include "kernels/activation/act.cuh"
#include "kernels/conv2d/cuda_winograd.h"
#include "kernels/gemm/run.cuh"

#define HONE_INLINE DEVICE
typedef float real, vf;
#include "kernels/conv2d/winograd_matrices.h"

#define GIVEN struct conv_winograd
#define TILE_SIZES struct conv_winograd_sizes

/* The sizes of this part. */
DEVICE TILE_SIZES part_of(const GIVEN given, TILE_SIZES s)
{
    if (s.m > s.tiles - given.first) s.m = s.tiles - given.first;
    return s;
}

/* ---- products: block z is point z's ---- */

DEVICE struct run a_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.inputs + (int64)blockIdx.z * s.m * s.k, 0, row, col, s.m, s.k, n);
}

DEVICE struct run b_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.weights + (int64)blockIdx.z * s.n * s.k, 0, row, col,
                      s.b_turned ? s.k : s.n, s.b_turned ? s.n : s.k, n);
}

DEVICE void result(const GIVEN given, const TILE_SIZES s, int i, int j, float sum)
{
    given.products[((int64)blockIdx.z * s.m + i) * s.n + j] = sum;
}

/* ---- transforms: m, of tiles of m x m outputs, is a constant to the compiler; tiles times channels
 * have at most 31 bits, so that finding a thread's place takes short divisions ---- */

/* G w G' of every filter. */
DEVICE void transform_weights(const GIVEN given, const TILE_SIZES s, const int m)
{
    const int n = m + 2;
    const unsigned ic = s.dgrad ? s.n : s.k;
    const int64 filters = (int64)s.n * s.k;
    for (unsigned i = (unsigned)FIRST; i < filters; i += (unsigned)STRIDE) {
        const int64 at = (int64)(i / ic) * 9 * ic + i % ic;
        float w[3], half[3 * WINOGRAD_N], t[WINOGRAD_N];
        UNROLLED
        for (int c = 0; c < 3; c++) {
            UNROLLED
            for (int r = 0; r < 3; r++) {
                const int tap = s.dgrad ? 8 - (3 * r + c) : 3 * r + c;
                w[r] = stored_load(given.w, at + (int64)tap * ic, s.narrow);
            }
            winograd_weights(m, w, half + c, 3);
        }
        UNROLLED
        for (int a = 0; a < n; a++) {
            winograd_weights(m, half + 3 * a, t, 1);
            UNROLLED
            for (int b = 0; b < n; b++) given.weights[(a * n + b) * filters + i] = t[b];
        }
    }
}

/* Where a tile's first output lies. */
struct place { int image, h, w; };

DEVICE struct place place_of(const TILE_SIZES s, int tile, const int m)
{
    const int row = tile / s.across;
    struct place at;
    at.image = row / s.down;
    at.h = row % s.down * m;
    at.w = tile % s.across * m;
    return at;
}

/* B' x B of every tile of the part. */
DEVICE void transform_inputs(const GIVEN given, const TILE_SIZES s, const int m)
{
    const int n = m + 2;
    const int64 all = (int64)s.m * s.k;
    for (unsigned i = (unsigned)FIRST; i < all; i += (unsigned)STRIDE) {
        const struct place at = place_of(s, given.first + (int)(i / (unsigned)s.k), m);
        const int h = at.h + s.from_h, w = at.w + s.from_w;
        const int64 pixel = ((int64)at.image * s.in_h + h) * s.in_w + w, channel = i % (unsigned)s.k;
        float x[WINOGRAD_N], half[WINOGRAD_N * WINOGRAD_N], t[WINOGRAD_N];
        UNROLLED
        for (int c = 0; c < n; c++) {
            UNROLLED
            for (int r = 0; r < n; r++) {
                const int inside = h + r >= 0 && h + r < s.in_h && w + c >= 0 && w + c < s.in_w;
                const int64 p = (pixel + (int64)r * s.in_w + c) * s.k + channel;
                x[r] = inside ? stored_load(given.from, p, s.narrow) : 0.0f;
            }
            winograd_input(m, x, half + c, n);
        }
        UNROLLED
        for (int a = 0; a < n; a++) {
            winograd_input(m, half + a * n, t, 1);
            UNROLLED
            for (int b = 0; b < n; b++) given.inputs[(a * n + b) * all + i] = t[b];
        }
    }
}

/* A' x A of every tile's products, with bias and activation. */
DEVICE void transform_outputs(const GIVEN given, const TILE_SIZES s, const int m)
{
    const int n = m + 2;
    const int64 all = (int64)s.m * s.n;
    for (unsigned i = (unsigned)FIRST; i < all; i += (unsigned)STRIDE) {
        const struct place at = place_of(s, given.first + (int)(i / (unsigned)s.n), m);
        const int64 pixel = ((int64)at.image * s.out_h + at.h) * s.out_w + at.w;
        const int channel = (int)(i % (unsigned)s.n);
        const float bias = s.bias ? LOAD(given.bias + channel) : 0.0f;
        float x[WINOGRAD_N], half[4 * WINOGRAD_N], y[4];
        UNROLLED
        for (int b = 0; b < n; b++) {
            UNROLLED
            for (int a = 0; a < n; a++) x[a] = LOAD(given.products + (a * n + b) * all + i);
            winograd_output(m, x, half + b, n);
        }
        UNROLLED
        for (int r = 0; r < m; r++) {
            winograd_output(m, half + r * n, y, 1);
            UNROLLED
            for (int c = 0; c < m; c++)
                if (at.h + r < s.out_h && at.w + c < s.out_w)
                    stored_save(given.to, (pixel + (int64)r * s.out_w + c) * s.n + channel,
                                act_epilogue(s.act, y[c] + bias), s.narrow);
        }
    }
}

/* A transform as a kernel: name_weights_2 and so on. */
#define WINOGRAD_TRANSFORM(name, what, m)                                                          \
    KERNEL(name##_##what##_##m, GIVEN, 256)                                                        \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        transform_##what(given, part_of(given, s), m);                                             \
    }
#define WINOGRAD_TRANSFORMS(name, m)                                                               \
    WINOGRAD_TRANSFORM(name, weights, m)                                                           \
    WINOGRAD_TRANSFORM(name, inputs, m)                                                            \
    WINOGRAD_TRANSFORM(name, outputs, m)

#endif
