/* Made data for tests and for measuring where no real set is at hand: it can be learned, is equal
 * on every machine, and says that it is synthetic wherever it is shown. */
#include "nets/data.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NCLASSES_MAX = 65536, CELLS = 4 };

struct request {
    int64_t h, w, c, classes, rows, seed;
};

static int64_t number(const char **s, int64_t min, int64_t max)
{
    char *end;
    errno = 0;
    if (**s < '0' || **s > '9') return -1;
    long long v = strtoll(*s, &end, 10);
    *s = end;
    return errno || v < min || v > max ? -1 : v;
}

static int parse(const char *text, struct request *r)
{
    const char *s = text + strlen("synthetic:");
    int64_t *const to[] = { &r->h, &r->w, &r->c, &r->classes, &r->rows, &r->seed };
    static const int64_t min[] = { 1, 1, 1, 0, 1, 0 },
                         max[] = { 65536, 65536, 65536, NCLASSES_MAX, INT_MAX, INT_MAX };
    static const char after[] = "xx::::";
    r->seed = 1;
    for (int i = 0; i < 6; i++) {
        *to[i] = number(&s, min[i], max[i]);
        if (*to[i] < 0) break;
        if (!*s && i >= 4) return HONE_OK;
        if (i == 5 || *s++ != after[i]) break;
    }
    return hone_fail(
        HONE_EPARSE,
        "'%s': expected synthetic:HxWxC:CLASSES:ROWS[:SEED], such as synthetic:28x28x1:10:1000",
        text);
}

static float uniform(uint64_t seed, uint64_t i)
{
    return (float)(2 * hone_random_unit(seed, i) - 1);
}

/* A class's mean picture is coarse, CELLS x CELLS values per channel, so that convolutions have
 * something to see; noise of the same size lies over it.  The target of a regression is a weighted
 * sum of the features and of one product. */
static void fill(struct hone_data *d, uint64_t seed)
{
    uint64_t means = hone_random(seed, 0), noise = hone_random(seed, 1);
    int64_t len = (int64_t)d->h * d->w * d->c;
    for (int64_t i = 0; i < d->rows; i++) {
        float *x = d->x + i * len;
        int64_t k = d->classes ? i % d->classes : 0, n = 0;
        double sum = 0;
        for (int y = 0; y < d->h; y++)
            for (int z = 0; z < d->w; z++)
                for (int c = 0; c < d->c; c++, n++) {
                    int64_t cell =
                        ((int64_t)y * CELLS / d->h * CELLS + (int64_t)z * CELLS / d->w) * d->c + c;
                    float mean = d->classes
                                     ? uniform(means, (uint64_t)(k * CELLS * CELLS * d->c + cell))
                                     : 0;
                    x[n] = mean + uniform(noise, (uint64_t)(i * len + n));
                    sum += x[n] * uniform(means, (uint64_t)n);
                }
        if (d->classes)
            d->label[i] = (int32_t)k;
        else
            d->y[i] = (float)(sum + x[0] * x[len - 1]);
    }
}

int hone_synthetic_make(struct hone_data *d, const char *text)
{
    struct request r;
    int err = parse(text, &r);
    if (err) return err;
    int64_t len = hone_mul(hone_mul(r.h, r.w), r.c), n = hone_mul(r.rows, len);
    if (n < 0 || hone_mul(n, sizeof *d->x) < 0 || len > INT_MAX)
        return hone_fail(HONE_EINVAL, "'%s': more numbers than can be addressed", text);
    d->rows = r.rows;
    d->h = (int)r.h;
    d->w = (int)r.w;
    d->c = (int)r.c;
    d->classes = (int)r.classes;
    d->outputs = !r.classes;
    d->x = malloc((size_t)n * sizeof *d->x);
    if (r.classes)
        d->label = malloc((size_t)r.rows * sizeof *d->label);
    else
        d->y = malloc((size_t)r.rows * sizeof *d->y);
    if (!d->x || !(r.classes ? (void *)d->label : (void *)d->y))
        return hone_fail(HONE_ENOMEM, "'%s': no memory", text);
    fill(d, (uint64_t)r.seed);
    return HONE_OK;
}
