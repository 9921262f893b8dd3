/* Pooling: a thread a number of the output, or, for the gradients, of the input, which gathers from
 * the windows that hold it: no two threads add to one number. */
#include "kernels/backend/cuda.cuh"
#include "kernels/pool/cuda_windows.h"

/* Rows or columns [*from, *to) of the input that window `at` covers. */
DEVICE void span(int at, int k, int stride, int pad, int in, int *from, int *to)
{
    *from = at * stride - pad;
    *to = *from + k < in ? *from + k : in;
    if (*from < 0) *from = 0;
}

/* The place in its window of the first largest number, and that number. */
DEVICE int first_most(const struct pool_windows_sizes s, const void *x, int64 image, int oh, int ow,
                      int c, float *number)
{
    int h0, h1, w0, w1;
    span(oh, s.kh, s.sh, s.ph, s.ih, &h0, &h1);
    span(ow, s.kw, s.sw, s.pw, s.iw, &w0, &w1);
    const int top = oh * s.sh - s.ph, left = ow * s.sw - s.pw;
    int best = (h0 - top) * s.kw + w0 - left;
    float most = stored_load(x, ((image * s.ih + h0) * s.iw + w0) * s.ic + c, s.half);
    for (int h = h0; h < h1; h++)
        for (int w = w0; w < w1; w++) {
            const float v = stored_load(x, ((image * s.ih + h) * s.iw + w) * s.ic + c, s.half);
            if (v > most) {
                most = v;
                best = (h - top) * s.kw + w - left;
            }
        }
    *number = most;
    return best;
}

/* The maximum as number i of the output, and its place. */
DEVICE void save_most(const struct pool_windows given, const struct pool_windows_sizes s, int64 i,
                      float most, int place)
{
    if (s.cut) {
        if (!(most > 0.0f && (s.cut == 1 || most < 6.0f))) place = 255;
        most = most < 0.0f ? 0.0f : s.cut == 2 && most > 6.0f ? 6.0f : most;
    }
    stored_save(given.to, i, most, s.half);
    if (s.index) given.index[i] = (unsigned char)place;
}

/* One over what an average divides by. */
DEVICE float share(const struct pool_windows_sizes s, int oh, int ow)
{
    int h0, h1, w0, w1;
    if (s.include_pad) return 1.0f / (float)(s.kh * s.kw);
    span(oh, s.kh, s.sh, s.ph, s.ih, &h0, &h1);
    span(ow, s.kw, s.sw, s.pw, s.iw, &w0, &w1);
    return 1.0f / (float)((h1 - h0) * (w1 - w0));
}

KERNEL(pool_windows_fwd, struct pool_windows, 256)
{
    SIZES(struct pool_windows_sizes, s);
    const int64 n = (int64)s.mb * s.oh * s.ow * s.ic;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const int c = (int)(i % s.ic), ow = (int)(i / s.ic % s.ow), oh = (int)(i / s.ic / s.ow % s.oh);
        const int64 image = i / s.ic / s.ow / s.oh;
        int h0, h1, w0, w1;
        float sum = 0.0f;
        if (!s.average) {
            float most;
            const int place = first_most(s, given.from, image, oh, ow, c, &most);
            save_most(given, s, i, most, place);
            /* The last word of the index is whole. */
            for (int64 k = n; s.index && i == n - 1 && k % 4; k++) given.index[k] = 0;
            continue;
        }
        span(oh, s.kh, s.sh, s.ph, s.ih, &h0, &h1);
        span(ow, s.kw, s.sw, s.pw, s.iw, &w0, &w1);
        for (int h = h0; h < h1; h++)
            for (int w = w0; w < w1; w++)
                sum += stored_load(given.from, ((image * s.ih + h) * s.iw + w) * s.ic + c, s.half);
        stored_save(given.to, i, sum * share(s, oh, ow), s.half);
    }
}

/* The first window whose end lies behind input `at`, and the first that begins behind it. */
DEVICE int first_window(int at, int k, int stride, int pad)
{
    const int n = at + pad - k + 1;
    return n <= 0 ? 0 : (n + stride - 1) / stride;
}

DEVICE int end_window(int at, int stride, int pad, int out)
{
    const int n = (at + pad) / stride + 1;
    return n < out ? n : out;
}

KERNEL(pool_windows_bwd, struct pool_windows, 256)
{
    SIZES(struct pool_windows_sizes, s);
    const int64 n = (int64)s.mb * s.ih * s.iw * s.ic;
    for (int64 i = FIRST; i < n; i += STRIDE) {
        const int c = (int)(i % s.ic), w = (int)(i / s.ic % s.iw), h = (int)(i / s.ic / s.iw % s.ih);
        const int64 image = i / s.ic / s.iw / s.ih;
        const int oh1 = end_window(h, s.sh, s.ph, s.oh), ow1 = end_window(w, s.sw, s.pw, s.ow);
        float sum = 0.0f;
        for (int oh = first_window(h, s.kh, s.sh, s.ph); oh < oh1; oh++)
            for (int ow = first_window(w, s.kw, s.sw, s.pw); ow < ow1; ow++) {
                const int64 at = ((image * s.oh + oh) * s.ow + ow) * s.ic + c;
                const int here = (h - (oh * s.sh - s.ph)) * s.kw + w - (ow * s.sw - s.pw);
                float most;
                if (s.index && given.index[at] != here) continue;
                if (!s.index && !s.average &&
                    first_most(s, given.x, image, oh, ow, c, &most) != here)
                    continue;
                const float dy = stored_load(given.from, at, s.half);
                sum += s.average ? dy * share(s, oh, ow) : dy;
            }
        stored_save(given.to, i, sum, s.half);
    }
}
