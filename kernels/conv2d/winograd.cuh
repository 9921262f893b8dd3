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
    if (s.part > s.tiles - given.first) s.part = s.tiles - given.first;
    if (s.wgrad) s.k = s.part;
    else s.m = s.part;
    return s;
}

/* ---- products: block z is point z % points', and of its sum share z / points ---- */

DEVICE struct run a_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.a + (int64)(blockIdx.z % s.points) * s.m * s.k, 0, row, col,
                      s.a_turned ? s.k : s.m, s.a_turned ? s.m : s.k, n);
}

DEVICE struct run b_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    return matrix_run(given.b + (int64)(blockIdx.z % s.points) * s.n * s.k, 0, row, col,
                      s.b_turned ? s.k : s.n, s.b_turned ? s.n : s.k, n);
}

/* This block's terms are [*from, *end), none where the last part has fewer. */
DEVICE void share_of(const TILE_SIZES s, int *from, int *end)
{
    *from = blockIdx.z / s.points * s.share;
    if (*from > s.k) *from = s.k;
    *end = *from + s.share < s.k ? *from + s.share : s.k;
}

/* Gradients of the weights are sums over all parts. */
DEVICE void result(const GIVEN given, const TILE_SIZES s, int i, int j, float sum)
{
    float *to = given.products + ((int64)blockIdx.z * s.m + i) * s.n + j;
    if (s.wgrad && given.first) sum += *to;
    *to = sum;
}

/* Adds up the shares of each sum, always in the same order, into the first's place. */
DEVICE void join_shares(const GIVEN given, const TILE_SIZES s)
{
    const int64 n = (int64)s.points * s.m * s.n;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int share = 0; share < s.split; share++) sum += given.products[share * n + i];
        given.products[i] = sum;
    }
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
                w[r] = stored_load(given.other, at + (int64)tap * ic, s.narrow);
            }
            winograd_weights(m, w, half + c, 3);
        }
        UNROLLED
        for (int a = 0; a < n; a++) {
            winograd_weights(m, half + 3 * a, t, 1);
            UNROLLED
            for (int b = 0; b < n; b++) given.b[(a * n + b) * filters + i] = t[b];
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

/* B' x B of every tile of the part, an operand of the products. */
DEVICE void transform_tiles(const GIVEN given, const TILE_SIZES s, float *to, const int m)
{
    const int n = m + 2;
    const unsigned channels = s.in_c;
    const int64 all = (int64)s.part * s.in_c;
    for (unsigned i = (unsigned)FIRST; i < all; i += (unsigned)STRIDE) {
        const struct place at = place_of(s, given.first + (int)(i / channels), m);
        const int h = at.h + s.from_h, w = at.w + s.from_w;
        const int64 pixel = ((int64)at.image * s.in_h + h) * s.in_w + w;
        float x[WINOGRAD_N], half[WINOGRAD_N * WINOGRAD_N], t[WINOGRAD_N];
        UNROLLED
        for (int c = 0; c < n; c++) {
            UNROLLED
            for (int r = 0; r < n; r++) {
                const int inside = h + r >= 0 && h + r < s.in_h && w + c >= 0 && w + c < s.in_w;
                const int64 p = (pixel + (int64)r * s.in_w + c) * channels + i % channels;
                x[r] = inside ? stored_load(given.from, p, s.narrow) : 0.0f;
            }
            winograd_input(m, x, half + c, n);
        }
        UNROLLED
        for (int a = 0; a < n; a++) {
            winograd_input(m, half + a * n, t, 1);
            UNROLLED
            for (int b = 0; b < n; b++) to[(a * n + b) * all + i] = t[b];
        }
    }
}

DEVICE void transform_inputs(const GIVEN given, const TILE_SIZES s, const int m)
{
    transform_tiles(given, s, given.a, m);
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

/* A dy A' of every tile of the part; beyond the image are zeros. */
DEVICE void transform_gradients(const GIVEN given, const TILE_SIZES s, const int m)
{
    const int n = m + 2;
    const unsigned channels = s.out_c;
    const int64 all = (int64)s.part * s.out_c;
    for (unsigned i = (unsigned)FIRST; i < all; i += (unsigned)STRIDE) {
        const struct place at = place_of(s, given.first + (int)(i / channels), m);
        const int64 pixel = ((int64)at.image * s.out_h + at.h) * s.out_w + at.w;
        float y[4], half[4 * WINOGRAD_N], t[WINOGRAD_N];
        UNROLLED
        for (int c = 0; c < m; c++) {
            UNROLLED
            for (int r = 0; r < m; r++) {
                const int64 p = (pixel + (int64)r * s.out_w + c) * channels + i % channels;
                const int inside = at.h + r < s.out_h && at.w + c < s.out_w;
                y[r] = inside ? stored_load(given.other, p, s.narrow) : 0.0f;
            }
            winograd_gradient(m, y, half + c, m);
        }
        UNROLLED
        for (int a = 0; a < n; a++) {
            winograd_gradient(m, half + a * m, t, 1);
            UNROLLED
            for (int b = 0; b < n; b++) given.a[(a * n + b) * all + i] = t[b];
        }
    }
}

/* Both operands of the gradient of the weights. */
DEVICE void transform_operands(const GIVEN given, const TILE_SIZES s, const int m)
{
    transform_gradients(given, s, m);
    transform_tiles(given, s, given.b, m);
}

/* G' sums G of every filter, which are f32. */
DEVICE void transform_sums(const GIVEN given, const TILE_SIZES s, const int m)
{
    const int n = m + 2;
    const unsigned channels = s.in_c;
    const int64 all = (int64)s.m * s.n;
    for (unsigned i = (unsigned)FIRST; i < all; i += (unsigned)STRIDE) {
        float *to = (float *)given.to + (int64)(i / channels) * 9 * channels + i % channels;
        float t[WINOGRAD_N], half[3 * WINOGRAD_N], w[3];
        UNROLLED
        for (int b = 0; b < n; b++) {
            UNROLLED
            for (int a = 0; a < n; a++) t[a] = LOAD(given.products + (a * n + b) * all + i);
            winograd_sum(m, t, half + b, n);
        }
        UNROLLED
        for (int r = 0; r < 3; r++) {
            winograd_sum(m, half + r * n, w, 1);
            UNROLLED
            for (int c = 0; c < 3; c++) to[(int64)(3 * r + c) * channels] = w[c];
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
    WINOGRAD_TRANSFORM(name, outputs, m)                                                           \
    WINOGRAD_TRANSFORM(name, operands, m)                                                          \
    WINOGRAD_TRANSFORM(name, sums, m)
#define WINOGRAD_KERNELS(name)                                                                     \
    WINOGRAD_TRANSFORMS(name, 2)                                                                   \
    WINOGRAD_TRANSFORMS(name, 4)                                                                   \
    KERNEL(name##_join, GIVEN, 256)                                                                \
    {                                                                                              \
        SIZES(TILE_SIZES, s);                                                                      \
        join_shares(given, s);                                                                     \
    }

#endif
