/* kernels/conv2d/place.cuh -- where a number of images or weights lies, in nhwc and in nchw. */
#ifndef HONE_CONV2D_PLACE_CUH
#define HONE_CONV2D_PLACE_CUH

#include "kernels/backend/cuda.cuh"

/* Pixel (h, w) and channel c of image n, of `channels` channels of height x width pixels. */
DEVICE int64 place_of(int nchw, int64 n, int h, int w, int c, int height, int width, int channels)
{
    return nchw ? ((n * channels + c) * height + h) * width + w
                : ((n * height + h) * width + w) * channels + c;
}

/* From a channel to the next one. */
DEVICE int64 channel_step(int nchw, int height, int width)
{
    return nchw ? (int64)height * width : 1;
}

#endif
