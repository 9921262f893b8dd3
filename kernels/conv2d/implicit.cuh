/* kernels/conv2d/implicit.cuh -- what a convolution's operands and result are to tiled.cuh and
 * mma.cuh: matrices of taps that nobody writes down (Chetlur et al. 2014). */
#ifndef HONE_CONV2D_IMPLICIT_CUH
#define HONE_CONV2D_IMPLICIT_CUH

#include "kernels/activation/act.cuh"
#include "kernels/conv2d/cuda_implicit.h"
#include "kernels/conv2d/place.cuh"
#include "kernels/gemm/run.cuh"

#define GIVEN struct conv_implicit
#define TILE_SIZES struct conv_implicit_sizes

/* What pixel `row` of y sees: numbers [col, col + n) of its taps' channels of x; in nchw one number,
 * or of 1x1 the same of pixels [row, row + n). */
DEVICE struct run x_run(const void *x, const TILE_SIZES s, int row, int col, int n)
{
    const int taps = s.kh * s.kw, c = s.nchw ? col / taps : col % s.ic;
    const int tap = s.nchw ? col % taps : col / s.ic, kw = tap % s.kw, kh = tap / s.kw;
    const int ow = row % s.ow, at = row / s.ow, oh = at % s.oh, image = at / s.oh;
    const int ih = oh * s.sh - s.ph + kh * s.dh, iw = ow * s.sw - s.pw + kw * s.dw;
    if (image >= s.mb || kh >= s.kh || c >= s.ic || ih < 0 || ih >= s.ih || iw < 0 || iw >= s.iw)
        return run_of_none(x);
    return run_from(x, place_of(s.nchw, image, ih, iw, c, s.ih, s.iw, s.ic), n, s.half);
}

/* What pixel `row` of a class of dx is seen by: of its taps the channels of dy; in nchw as x_run. */
DEVICE struct run dy_run(const void *dy, const TILE_SIZES s, int row, int col, int n)
{
    const int o = col % s.oc, tap = col / s.oc, kw = tap % s.nkw, kh = tap / s.nkw;
    const int w = row % s.niw, at = row / s.niw, h = at % s.nih, image = at / s.nih;
    const int oh = h + s.oh0 - kh * s.dh, ow = w + s.ow0 - kw * s.dw;
    if (image >= s.mb || kh >= s.nkh || oh < 0 || oh >= s.oh || ow < 0 || ow >= s.ow)
        return run_of_none(dy);
    return run_from(dy, place_of(s.nchw, image, oh, ow, o, s.oh, s.ow, s.oc), n, s.half);
}

/* Row `row` of the weights as dgrad multiplies them: a tap of a class and a channel of dy. */
DEVICE struct run w_run(const void *w, const TILE_SIZES s, int row, int col, int n)
{
    const int o = row % s.oc, tap = row / s.oc;
    const int kw = s.kw0 + tap % s.nkw * s.sw, kh = s.kh0 + tap / s.nkw * s.sh;
    if (row >= s.k || col >= s.ic) return run_of_none(w);
    return run_from(w, place_of(s.nchw, o, kh, kw, col, s.kh, s.kw, s.ic), n, s.half);
}

/* dy as wgrad multiplies it in nchw: channel `row` of pixels [col, col + n). */
DEVICE struct run plane_run(const void *dy, const TILE_SIZES s, int row, int col, int n)
{
    const int pixels = s.oh * s.ow, image = col / pixels;
    if (row >= s.oc || image >= s.mb) return run_of_none(dy);
    return run_from(dy, ((int64)image * s.oc + row) * pixels + col % pixels, n, s.half);
}

DEVICE struct run a_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    const int pixel = s.nchw ? col : row, term = s.nchw ? row : col;
    if (s.pass == CONV_PASS_FWD) return x_run(given.from, s, pixel, term, n);
    if (s.pass == CONV_PASS_DGRAD) return dy_run(given.from, s, pixel, term, n);
    if (s.nchw) return plane_run(given.other, s, row, col, n);
    return matrix_run(given.other, s.half, row, col, s.k, s.m, n);
}

DEVICE struct run b_run(const GIVEN given, const TILE_SIZES s, int row, int col, int n)
{
    if (s.pass == CONV_PASS_FWD) return matrix_run(given.other, s.half, row, col, s.n, s.k, n);
    if (s.pass == CONV_PASS_DGRAD) return w_run(given.other, s, row, col, n);
    return s.nchw ? x_run(given.from, s, col, row, n) : x_run(given.from, s, row, col, n);
}

/* Where number (i, j) of the product belongs. */
DEVICE int64 place_of_result(const TILE_SIZES s, int i, int j)
{
    int h, w, at;
    if (s.pass == CONV_PASS_WGRAD || (s.pass == CONV_PASS_FWD && !s.nchw))
        return (int64)i * s.n + j;
    if (s.pass == CONV_PASS_FWD) {
        at = i / s.ow;
        return place_of(1, at / s.oh, at % s.oh, i % s.ow, j, s.oh, s.ow, s.oc);
    }
    w = i % s.niw, at = i / s.niw, h = at % s.nih;
    return place_of(s.nchw, at / s.nih, s.ih0 + h * s.sh, s.iw0 + w * s.sw, j, s.ih, s.iw, s.ic);
}

DEVICE void finish(const GIVEN given, const TILE_SIZES s, int i, int j, float sum)
{
    if (s.bias) sum += LOAD(given.bias + j);
    stored_save(given.to, place_of_result(s, i, j), act_epilogue(s.act, sum), s.narrow);
}

DEVICE void result(const GIVEN given, const TILE_SIZES s, int i, int j, float sum)
{
    if (s.parts == 1) finish(given, s, i, j, sum);
    else given.partial[((int64)blockIdx.z * s.m + i) * s.n + j] = sum;
}

/* The taps of one direction: those that meet pixel `first` of each stride, of which there are n. */
DEVICE void class_of(int first, int size, int taps, int stride, int pad, int *tap, int *n, int *at,
                     int *pixels)
{
    *tap = (first + pad) % stride;
    *n = taps > *tap ? (taps - *tap + stride - 1) / stride : 0;
    *at = (first + pad - *tap) / stride;
    *pixels = (size - first + stride - 1) / stride;
}

/* This block's part of the product: terms [*from, *end), and of dgrad the class's sizes. */
DEVICE TILE_SIZES share_of(TILE_SIZES s, int *from, int *end)
{
    *from = 0;
    if (s.pass == CONV_PASS_DGRAD && s.parts == 1) {
        s.ih0 = blockIdx.z / s.sw;
        s.iw0 = blockIdx.z % s.sw;
    } else {
        *from = blockIdx.z * s.part;
    }
    if (s.pass == CONV_PASS_DGRAD) {
        class_of(s.ih0, s.ih, s.kh, s.sh, s.ph, &s.kh0, &s.nkh, &s.oh0, &s.nih);
        class_of(s.iw0, s.iw, s.kw, s.sw, s.pw, &s.kw0, &s.nkw, &s.ow0, &s.niw);
        s.m = s.mb * s.nih * s.niw;
        s.k = s.nkh * s.nkw * s.oc;
    }
    *end = s.parts == 1 || *from + s.part > s.k ? s.k : *from + s.part;
    return s;
}

/* Adds up the parts, always in the same order. */
DEVICE void join_parts(const GIVEN given, TILE_SIZES s)
{
    const int64 n = (int64)s.m * s.n;
    int from, end;
    s = share_of(s, &from, &end);
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[part * n + i];
        finish(given, s, (int)(i / s.n), (int)(i % s.n), sum);
    }
}

#endif
