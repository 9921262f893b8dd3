/* Convolution without detours: a thread sums the products of one number of the output, those of
 * neighbouring channels side by side.  For few channels and for depthwise convolutions, which give
 * a matrix product nothing to reuse; and correct for all. */
#include "kernels/activation/act.cuh"
#include "kernels/conv2d/cuda_direct.h"
#include "kernels/conv2d/place.cuh"

/* Which number of an image's or a weight's element i is, of `channels` channels. */
struct place { int64 n; int h, w, c; };

DEVICE struct place place_at(int nchw, int64 i, int height, int width, int channels)
{
    struct place p;
    if (nchw) {
        p.w = (int)(i % width);
        p.h = (int)(i / width % height);
        p.c = (int)(i / width / height % channels);
    } else {
        p.c = (int)(i % channels);
        p.w = (int)(i / channels % width);
        p.h = (int)(i / channels / width % height);
    }
    p.n = i / channels / width / height;
    return p;
}

KERNEL(conv_direct_fwd, struct conv_direct, 1024)
{
    SIZES(struct conv_direct_sizes, s);
    const int64 n = (int64)s.mb * s.oh * s.ow * s.oc;
    const int64 step = channel_step(s.nchw, s.ih, s.iw), w_step = channel_step(s.nchw, s.kh, s.kw);
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const struct place y = place_at(s.nchw, i, s.oh, s.ow, s.oc);
        float sum = 0.0f;
        for (int kh = 0; kh < s.kh; kh++) {
            const int ih = y.h * s.sh - s.ph + kh * s.dh;
            if (ih < 0 || ih >= s.ih) continue;
            for (int kw = 0; kw < s.kw; kw++) {
                const int iw = y.w * s.sw - s.pw + kw * s.dw;
                if (iw < 0 || iw >= s.iw) continue;
                const int64 x = place_of(s.nchw, y.n, ih, iw, y.c / s.ocg * s.icg, s.ih, s.iw, s.ic);
                const int64 w = place_of(s.nchw, y.c, kh, kw, 0, s.kh, s.kw, s.icg);
                for (int c = 0; c < s.icg; c++)
                    sum += stored_load(given.from, x + c * step, s.half) *
                           stored_load(given.other, w + c * w_step, s.half);
            }
        }
        if (s.bias) sum += LOAD(given.bias + y.c);
        stored_save(given.to, i, act_epilogue(s.act, sum), s.half);
    }
}

KERNEL(conv_direct_dgrad, struct conv_direct, 1024)
{
    SIZES(struct conv_direct_sizes, s);
    const int64 n = (int64)s.mb * s.ih * s.iw * s.ic;
    const int64 step = channel_step(s.nchw, s.oh, s.ow), filter = (int64)s.kh * s.kw * s.icg;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const struct place x = place_at(s.nchw, i, s.ih, s.iw, s.ic);
        const int c = x.c % s.icg, first = x.c / s.icg * s.ocg;
        float sum = 0.0f;
        for (int kh = 0; kh < s.kh; kh++) {
            const int h = x.h + s.ph - kh * s.dh;
            if (h < 0 || h % s.sh || h / s.sh >= s.oh) continue;
            for (int kw = 0; kw < s.kw; kw++) {
                const int w = x.w + s.pw - kw * s.dw;
                if (w < 0 || w % s.sw || w / s.sw >= s.ow) continue;
                const int64 dy =
                    place_of(s.nchw, x.n, h / s.sh, w / s.sw, first, s.oh, s.ow, s.oc);
                const int64 at = place_of(s.nchw, first, kh, kw, c, s.kh, s.kw, s.icg);
                for (int o = 0; o < s.ocg; o++)
                    sum += stored_load(given.from, dy + o * step, s.half) *
                           stored_load(given.other, at + o * filter, s.half);
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
    const struct place w = place_at(s.nchw, blockIdx.x, s.kh, s.kw, s.icg);
    const int i = blockIdx.x, oc = (int)w.n, ic = oc / s.ocg * s.icg + w.c;
    const int from = blockIdx.y * s.part, pixels = s.mb * s.oh * s.ow;
    const int to = from + s.part < pixels ? from + s.part : pixels;
    float sum = 0.0f;
    for (int at = from + threadIdx.x; at < to; at += blockDim.x) {
        const int ow = at % s.ow, oh = at / s.ow % s.oh;
        const int ih = oh * s.sh - s.ph + w.h * s.dh, iw = ow * s.sw - s.pw + w.w * s.dw;
        if (ih < 0 || ih >= s.ih || iw < 0 || iw >= s.iw) continue;
        const int image = at / s.ow / s.oh;
        const int64 x = place_of(s.nchw, image, ih, iw, ic, s.ih, s.iw, s.ic);
        const int64 dy = place_of(s.nchw, image, oh, ow, oc, s.oh, s.ow, s.oc);
        sum += stored_load(given.from, x, s.half) * stored_load(given.other, dy, s.half);
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
