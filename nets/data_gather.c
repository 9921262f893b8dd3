/* Rows into a batch.  8-bit pictures are looked up byte by byte in tables of 256 numbers per
 * channel, so that a batch holds the same bits as if the whole set had been scaled as floats, on
 * every machine, at a quarter of the memory. */
#include "nets/data.h"

#include <string.h>

/* n pixels of `c` channels from bytes, forward (step c) or backward (step -c). */
static void look_up(const uint8_t *from, int n, int c, int step, const float *value, float *to)
{
    if (c == 1) {
        for (int i = 0; i < n; i++, from += step) to[i] = value[*from];
    } else if (c == 3) {
        const float *green = value + 256, *blue = value + 512;
        for (int i = 0; i < n; i++, from += step, to += 3) {
            to[0] = value[from[0]];
            to[1] = green[from[1]];
            to[2] = blue[from[2]];
        }
    } else {
        for (int i = 0; i < n; i++, from += step, to += c)
            for (int k = 0; k < c; k++) to[k] = value[256 * k + from[k]];
    }
}

/* A row as it is. */
static void copy_row(const struct hone_data *d, int64_t row, float *to)
{
    int pixels = d->h * d->w;
    int64_t len = (int64_t)pixels * d->c;
    if (d->bytes)
        look_up(d->bytes + row * len, pixels, d->c, d->c, d->value, to);
    else
        memcpy(to, d->x + row * len, (size_t)len * sizeof *to);
}

void hone_data_gather(const struct hone_data *d, const int64_t *order, int n, float *x,
                      void *target)
{
    int64_t len = (int64_t)d->h * d->w * d->c;
    for (int i = 0; i < n; i++) copy_row(d, order[i], x + i * len);
    if (d->label) {
        int32_t *to = target;
        for (int i = 0; i < n; i++) to[i] = d->label[order[i]];
    } else {
        size_t outputs = (size_t)d->outputs;
        float *to = target;
        for (int i = 0; i < n; i++)
            memcpy(to + (size_t)i * outputs, d->y + (size_t)order[i] * outputs,
                   outputs * sizeof *to);
    }
}
