/* Depthwise convolution: a block has 32 channels, one a lane, so that a warp reads neighbouring
 * numbers; its 8 warps walk over pixels.  The channels' taps, which lie apart in memory, are turned
 * in shared memory once a block. */
#include "kernels/activation/act.cuh"
#include "kernels/conv2d/cuda_depthwise.h"

enum { LANES = 32, WARPS = 8 };

/* taps (kh kw, 32) of the block's channels; behind the last channel zeros. */
DEVICE void bring_taps(const struct conv_depthwise given, const struct conv_depthwise_sizes s,
                       float *taps)
{
    const int n = s.kh * s.kw, first = blockIdx.x * LANES;
    for (int i = threadIdx.x; i < LANES * n; i += LANES * WARPS) {
        const int c = i / n, tap = i % n;
        taps[tap * LANES + c] = first + c < s.ic
                                    ? stored_load(given.other, (int64)first * n + i, s.half)
                                    : 0.0f;
    }
    __syncthreads();
}

KERNEL(conv_depthwise_fwd, struct conv_depthwise, 256)
{
    SIZES(struct conv_depthwise_sizes, s);
    SHARED(taps);
    const int lane = threadIdx.x % LANES, c = blockIdx.x * LANES + lane;
    const int pixels = s.mb * s.oh * s.ow;
    bring_taps(given, s, taps);
    if (c >= s.ic) return;
    for (int at = blockIdx.y * WARPS + threadIdx.x / LANES; at < pixels; at += gridDim.y * WARPS) {
        const int w0 = at % s.ow * s.sw - s.pw, h0 = at / s.ow % s.oh * s.sh - s.ph;
        const int64 image = at / s.ow / s.oh;
        float sum = s.bias ? LOAD(given.bias + c) : 0.0f;
        for (int kh = 0; kh < s.kh; kh++) {
            const int h = h0 + kh * s.dh;
            if (h < 0 || h >= s.ih) continue;
            for (int kw = 0; kw < s.kw; kw++) {
                const int w = w0 + kw * s.dw;
                if (w < 0 || w >= s.iw) continue;
                sum += taps[(kh * s.kw + kw) * LANES + lane] *
                       stored_load(given.from, ((image * s.ih + h) * s.iw + w) * s.ic + c, s.half);
            }
        }
        stored_save(given.to, (int64)at * s.ic + c, act_epilogue(s.act, sum), s.half);
    }
}

KERNEL(conv_depthwise_dgrad, struct conv_depthwise, 256)
{
    SIZES(struct conv_depthwise_sizes, s);
    SHARED(taps);
    const int lane = threadIdx.x % LANES, c = blockIdx.x * LANES + lane;
    const int pixels = s.mb * s.ih * s.iw;
    bring_taps(given, s, taps);
    if (c >= s.ic) return;
    for (int at = blockIdx.y * WARPS + threadIdx.x / LANES; at < pixels; at += gridDim.y * WARPS) {
        const int w0 = at % s.iw + s.pw, h0 = at / s.iw % s.ih + s.ph;
        const int64 image = at / s.iw / s.ih;
        float sum = 0.0f;
        for (int kh = 0; kh < s.kh; kh++) {
            const int h = h0 - kh * s.dh;
            if (h < 0 || h % s.sh || h / s.sh >= s.oh) continue;
            for (int kw = 0; kw < s.kw; kw++) {
                const int w = w0 - kw * s.dw;
                if (w < 0 || w % s.sw || w / s.sw >= s.ow) continue;
                const int64 dy = ((image * s.oh + h / s.sh) * s.ow + w / s.sw) * s.ic + c;
                sum += taps[(kh * s.kw + kw) * LANES + lane] *
                       stored_load(given.from, dy, s.half);
            }
        }
        stored_save(given.to, (int64)at * s.ic + c, sum, s.half);
    }
}

/* A block adds up one tap's products over a part of the pixels of dy, for its 32 channels. */
KERNEL(conv_depthwise_wgrad, struct conv_depthwise, 256)
{
    SIZES(struct conv_depthwise_sizes, s);
    SHARED(sums);          /* (WARPS, 32) */
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    const int c = blockIdx.x * LANES + lane, tap = blockIdx.z, n = s.kh * s.kw;
    const int from = blockIdx.y * s.part, pixels = s.mb * s.oh * s.ow;
    const int to = from + s.part < pixels ? from + s.part : pixels;
    const int h0 = tap / s.kw * s.dh - s.ph, w0 = tap % s.kw * s.dw - s.pw;
    float sum = 0.0f;
    for (int at = from + warp; c < s.ic && at < to; at += WARPS) {
        const int w = at % s.ow * s.sw + w0, h = at / s.ow % s.oh * s.sh + h0;
        const int64 image = at / s.ow / s.oh;
        if (h < 0 || h >= s.ih || w < 0 || w >= s.iw) continue;
        sum += stored_load(given.from, ((image * s.ih + h) * s.iw + w) * s.ic + c, s.half) *
               stored_load(given.other, (int64)at * s.ic + c, s.half);
    }
    sums[warp * LANES + lane] = sum;
    __syncthreads();
    if (warp || c >= s.ic) return;
    for (int i = 1; i < WARPS; i++) sum += sums[i * LANES + lane];
    if (s.parts == 1) ((float *)given.to)[c * n + tap] = sum;
    else given.partial[((int64)blockIdx.y * s.ic + c) * n + tap] = sum;
}

KERNEL(conv_depthwise_join, struct conv_depthwise, 256)
{
    SIZES(struct conv_depthwise_sizes, s);
    const int64 n = (int64)s.ic * s.kh * s.kw;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[part * n + i];
        ((float *)given.to)[i] = sum;
    }
}
