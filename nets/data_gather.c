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

/* n pixels from pixel `at` of row `row` on: forward (step 1) or backward (step -1). */
static void copy_pixels(const struct hone_data *d, int64_t row, int64_t at, int n, int step,
                        float *to)
{
    int c = d->c;
    int64_t first = (row * d->h * d->w + at) * c;
    if (d->bytes) {
        look_up(d->bytes + first, n, c, step * c, d->value, to);
    } else if (step > 0) {
        memcpy(to, d->x + first, (size_t)n * (size_t)c * sizeof *to);
    } else {
        const float *from = d->x + first;
        for (int i = 0; i < n; i++, from -= c, to += c) memcpy(to, from, (size_t)c * sizeof *to);
    }
}

static void gather_targets(const struct hone_data *d, const int64_t *order, int n, void *target)
{
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

void hone_data_gather(const struct hone_data *d, const int64_t *order, int n, float *x,
                      void *target)
{
    int64_t len = (int64_t)d->h * d->w * d->c;
    for (int i = 0; i < n; i++) copy_pixels(d, order[i], 0, d->h * d->w, 1, x + i * len);
    gather_targets(d, order, n, target);
}

/* ---- augmentation ---- */

static const uint64_t AUGMENT =
    0x6175676d656e74; /* sets its numbers apart from other uses of a seed */

uint64_t hone_augment_key(uint64_t seed, int epoch)
{
    return hone_random(hone_random(seed, AUGMENT), (uint64_t)epoch);
}

int hone_augment_parse(struct hone_augment *a, const char *text)
{
    struct hone_augment read = { 0 };
    int used = 0;
    for (const char *s = text;; s += used + 1) {
        used = 0;
        if (!read.flip && !strncmp(s, "flip", 4)) {
            read.flip = 1;
            used = 4;
        } else if (!read.crop && !strncmp(s, "crop:", 5) && s[5] >= '1' && s[5] <= '9' &&
                   sscanf(s, "crop:%4d%n", &read.crop, &used) == 1 && read.crop > 1024)
            used = 0;
        if (!used || (s[used] && s[used] != ','))
            return hone_fail(HONE_EPARSE,
                             "'%s': expected crop:PIXELS (1 to 1024), flip, or both with a comma",
                             text);
        if (!s[used]) break;
    }
    *a = read;
    return HONE_OK;
}

int hone_augment_check(const struct hone_augment *a, const struct hone_data *d)
{
    if ((a->crop || a->flip) && d->h * d->w == 1)
        return hone_fail(HONE_EINVAL, "augmentation is for pictures, and '%s' has features",
                         d->name);
    if (a->crop && (a->crop >= d->h || a->crop >= d->w))
        return hone_fail(HONE_EINVAL, "crop:%d moves pictures of %d x %d pixels out of sight",
                         a->crop, d->h, d->w);
    return HONE_OK;
}

static void fill_black(const struct hone_data *d, int n, float *to)
{
    for (int i = 0; i < n; i++, to += d->c)
        for (int k = 0; k < d->c; k++)
            to[k] = d->bytes ? d->value[256 * k] : d->black ? d->black[k] : 0;
}

/* A line of a picture, moved by dx pixels to the left and then, perhaps, mirrored. */
static void change_line(const struct hone_data *d, int64_t row, int y, int dx, int flip, float *to)
{
    int w = d->w, c = d->c;
    int from = dx < 0 ? -dx : 0, end = dx > 0 ? w - dx : w; /* what is seen, before mirroring */
    int64_t line = (int64_t)y * w;
    int before = flip ? w - end : from, n = end - from;
    fill_black(d, before, to);
    copy_pixels(d, row, line + dx + (flip ? end - 1 : from), n, flip ? -1 : 1, to + before * c);
    fill_black(d, w - before - n, to + (before + n) * c);
}

void hone_data_gather_augmented(const struct hone_data *d, const int64_t *order, int n,
                                const struct hone_augment *a, uint64_t key, float *x, void *target)
{
    int line = d->w * d->c, places = 2 * a->crop + 1;
    for (int i = 0; i < n; i++) {
        uint64_t r = hone_random(key, (uint64_t)order[i]);
        int dy = (int)((uint32_t)r % (uint32_t)places) - a->crop;
        int dx = (int)((r >> 32 & 0x7fffffff) % (uint32_t)places) - a->crop;
        int flip = a->flip && r >> 63;
        for (int y = 0; y < d->h; y++, x += line) {
            if (y + dy < 0 || y + dy >= d->h)
                fill_black(d, d->w, x);
            else
                change_line(d, order[i], y + dy, dx, flip, x);
        }
    }
    gather_targets(d, order, n, target);
}
