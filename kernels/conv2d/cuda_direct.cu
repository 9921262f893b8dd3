/* Convolution without detours: a thread sums the products of one number of the output, those of
 * neighbouring channels side by side.  For few channels and for depthwise convolutions, which give
 * a matrix product nothing to reuse; and correct for all. */
#include "kernels/activation/act.cuh"
#include "kernels/conv2d/cuda_direct.h"

KERNEL(conv_direct_fwd, struct conv_direct, 1024)
{
    SIZES(struct conv_direct_sizes, s);
    const int64 n = (int64)s.mb * s.oh * s.ow * s.oc;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const int oc = (int)(i % s.oc);
        int64 at = i / s.oc;
        const int ow = (int)(at % s.ow), oh = (int)(at / s.ow % s.oh);
        const int64 image = at / s.ow / s.oh;
        float sum = 0.0f;
        for (int kh = 0; kh < s.kh; kh++) {
            const int ih = oh * s.sh - s.ph + kh * s.dh;
            if (ih < 0 || ih >= s.ih) continue;
            for (int kw = 0; kw < s.kw; kw++) {
                const int iw = ow * s.sw - s.pw + kw * s.dw;
                if (iw < 0 || iw >= s.iw) continue;
                const int64 x = ((image * s.ih + ih) * s.iw + iw) * s.ic + oc / s.ocg * s.icg;
                const int64 w = (((int64)oc * s.kh + kh) * s.kw + kw) * s.icg;
                for (int c = 0; c < s.icg; c++)
                    sum += stored_load(given.from, x + c, s.half) *
                           stored_load(given.other, w + c, s.half);
            }
        }
        if (s.bias) sum += LOAD(given.bias + oc);
        stored_save(given.to, i, act_epilogue(s.act, sum), s.half);
    }
}

KERNEL(conv_direct_dgrad, struct conv_direct, 1024)
{
    SIZES(struct conv_direct_sizes, s);
    const int64 n = (int64)s.mb * s.ih * s.iw * s.ic;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const int ic = (int)(i % s.ic), c = ic % s.icg, first = ic / s.icg * s.ocg;
        int64 at = i / s.ic;
        const int iw = (int)(at % s.iw), ih = (int)(at / s.iw % s.ih);
        const int64 image = at / s.iw / s.ih;
        float sum = 0.0f;
        for (int kh = 0; kh < s.kh; kh++) {
            const int h = ih + s.ph - kh * s.dh;
            if (h < 0 || h % s.sh || h / s.sh >= s.oh) continue;
            for (int kw = 0; kw < s.kw; kw++) {
                const int w = iw + s.pw - kw * s.dw;
                if (w < 0 || w % s.sw || w / s.sw >= s.ow) continue;
                const int64 dy =
                    ((image * s.oh + h / s.sh) * s.ow + w / s.sw) * s.oc + first;
                for (int o = 0; o < s.ocg; o++) {
                    const int64 at = (((int64)(first + o) * s.kh + kh) * s.kw + kw) * s.icg + c;
                    sum += stored_load(given.from, dy + o, s.half) *
                           stored_load(given.other, at, s.half);
                }
            }
        }
        stored_save(given.to, i, sum, s.half);
    }
}

/* A block adds up one weight's products over a part of the pixels of dy: a thread every 128th, and
 * the threads' sums as a tree. */
KERNEL(conv_direct_wgrad, struct conv_direct, 128)
{
    SIZES(struct conv_direct_sizes, s);
    SHARED(part);
    const int i = blockIdx.x, kw = i / s.icg % s.kw, kh = i / s.icg / s.kw % s.kh;
    const int oc = i / s.icg / s.kw / s.kh, ic = oc / s.ocg * s.icg + i % s.icg;
    const int from = blockIdx.y * s.part, pixels = s.mb * s.oh * s.ow;
    const int to = from + s.part < pixels ? from + s.part : pixels;
    float sum = 0.0f;
    for (int at = from + threadIdx.x; at < to; at += blockDim.x) {
        const int ow = at % s.ow, oh = at / s.ow % s.oh;
        const int ih = oh * s.sh - s.ph + kh * s.dh, iw = ow * s.sw - s.pw + kw * s.dw;
        if (ih < 0 || ih >= s.ih || iw < 0 || iw >= s.iw) continue;
        const int64 image = at / s.ow / s.oh;
        sum += stored_load(given.from, ((image * s.ih + ih) * s.iw + iw) * s.ic + ic, s.half) *
               stored_load(given.other, (int64)at * s.oc + oc, s.half);
    }
    sum = block_sum(sum, part);
    if (threadIdx.x == 0) {
        if (s.parts == 1) ((float *)given.to)[i] = sum;
        else given.partial[(int64)blockIdx.y * gridDim.x + i] = sum;
    }
}

KERNEL(conv_direct_join, struct conv_direct, 256)
{
    SIZES(struct conv_direct_sizes, s);
    const int64 n = (int64)s.oc * s.kh * s.kw * s.icg;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        float sum = 0.0f;
        for (int part = 0; part < s.parts; part++) sum += given.partial[part * n + i];
        ((float *)given.to)[i] = sum;
    }
}
