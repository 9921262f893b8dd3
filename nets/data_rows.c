/* What is done to rows in memory: split, normalise, shuffle, gather.  Nothing here depends on the
 * machine: random numbers are integers from hone_random(), sums run in one fixed order in doubles.
 */
#include "nets/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t row_len(const struct hone_data *d)
{
    return (size_t)d->h * (size_t)d->w * (size_t)d->c;
}

/* ---- split ---- */

static void swap_bytes(void *a, void *b, size_t n)
{
    char t[4096], *p = a, *q = b;
    for (size_t k; n; n -= k, p += k, q += k) {
        k = n < sizeof t ? n : sizeof t;
        memcpy(t, p, k);
        memcpy(p, q, k);
        memcpy(q, t, k);
    }
}

static void swap_rows(struct hone_data *d, int64_t i, int64_t j)
{
    size_t len = row_len(d), outputs = (size_t)d->outputs;
    if (i == j) return;
    swap_bytes(d->x + (size_t)i * len, d->x + (size_t)j * len, len * sizeof *d->x);
    if (d->label) swap_bytes(d->label + i, d->label + j, sizeof *d->label);
    if (d->y)
        swap_bytes(d->y + (size_t)i * outputs, d->y + (size_t)j * outputs, outputs * sizeof *d->y);
}

static int no_memory(const struct hone_data *d)
{
    return hone_fail(HONE_ENOMEM, "%s: no memory to split %lld rows", d->source,
                     (long long)d->rows);
}

/* Gives d's arrays room for `rows` rows; on failure some are larger than needed, none is lost. */
static int resize(struct hone_data *d, int64_t rows)
{
    size_t n = (size_t)rows;
    float *x = realloc(d->x, n * row_len(d) * sizeof *x);
    if (x) d->x = x;
    int32_t *label = d->label ? realloc(d->label, n * sizeof *label) : NULL;
    if (label) d->label = label;
    float *y = d->y ? realloc(d->y, n * (size_t)d->outputs * sizeof *y) : NULL;
    if (y) d->y = y;
    return !x || !label != !d->label || !y != !d->y ? no_memory(d) : HONE_OK;
}

/* Appends from's rows to d and empties from. */
static int append(struct hone_data *d, struct hone_data *from)
{
    size_t at = (size_t)d->rows, n = (size_t)from->rows, len = row_len(d),
           outputs = (size_t)d->outputs;
    if (!n) return HONE_OK;
    int err = resize(d, d->rows + from->rows);
    if (err) return err;
    memcpy(d->x + at * len, from->x, n * len * sizeof *d->x);
    if (d->label) memcpy(d->label + at, from->label, n * sizeof *d->label);
    if (d->y) memcpy(d->y + at * outputs, from->y, n * outputs * sizeof *d->y);
    d->rows += from->rows;
    hone_data_close(from);
    return HONE_OK;
}

static void *copy_of(const void *from, size_t bytes)
{
    void *to = from ? malloc(bytes) : NULL;
    if (to) memcpy(to, from, bytes);
    return to;
}

/* Moves the rows from `first` on to `tail`, which takes over everything else by copy. */
static int cut(struct hone_data *d, struct hone_data *tail, int64_t first)
{
    size_t n = (size_t)(d->rows - first), len = row_len(d), outputs = (size_t)d->outputs;
    *tail = *d;
    tail->rows = d->rows - first;
    tail->x = copy_of(d->x + (size_t)first * len, n * len * sizeof *d->x);
    tail->label = d->label ? copy_of(d->label + first, n * sizeof *d->label) : NULL;
    tail->y = d->y ? copy_of(d->y + (size_t)first * outputs, n * outputs * sizeof *d->y) : NULL;
    tail->class_name = copy_of(d->class_name, (size_t)d->classes * sizeof *d->class_name);
    tail->feature = copy_of(d->feature, (size_t)d->c * sizeof *d->feature);
    if (!tail->x != !d->x || !tail->label != !d->label || !tail->y != !d->y ||
        !tail->class_name != !d->class_name || !tail->feature != !d->feature) {
        hone_data_close(tail);
        return no_memory(d);
    }
    d->rows = first;
    resize(d, first); /* a shrink that fails leaves what is there */
    return HONE_OK;
}

int hone_data_split(struct hone_data *train, struct hone_data *test, double train_share,
                    uint64_t seed)
{
    int64_t rows = train->rows + test->rows;
    /* 0.7 of 10 is 7 and not 6.999...: a share is meant as a decimal. */
    int64_t first = (int64_t)((double)rows * train_share + 1e-6);
    if (!(train_share > 0 && train_share < 1))
        return hone_fail(HONE_EINVAL, "split %g: expected a share between 0 and 1", train_share);
    if (first < 1 || first >= rows)
        return hone_fail(HONE_EINVAL, "split %g of %lld rows leaves no %s rows", train_share,
                         (long long)rows, first < 1 ? "training" : "test");
    int err = append(train, test);
    if (err) return err;
    for (int64_t i = rows - 1; i > 0; i--)
        swap_rows(train, i, (int64_t)(hone_random(seed, (uint64_t)i) % (uint64_t)(i + 1)));
    return cut(train, test, first);
}

/* ---- normalise ---- */

struct hone_range hone_range_of(const float *x, int64_t n, int channels, int c)
{
    struct hone_range r = { .min = INFINITY, .max = -INFINITY };
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = x[i * channels + c];
        if (v < r.min) r.min = v;
        if (v > r.max) r.max = v;
        sum += v;
    }
    r.mean = sum / (double)n;
    /* A second pass: the difference of two large sums would drown a small deviation.  Equal values
     * are told by their range, since their mean may be rounded. */
    if (r.min == r.max) {
        r.mean = r.min;
        return r;
    }
    for (int64_t i = 0; i < n; i++) {
        double v = x[i * channels + c] - r.mean;
        squares += v * v;
    }
    r.std = sqrt(squares / (double)n);
    return r;
}

static void scale(struct hone_data *d, const struct hone_range r[])
{
    int64_t n = d->rows * d->h * d->w;
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < d->c; c++) {
            float *v = &d->x[i * d->c + c];
            *v = r[c].std > 0 ? (float)((*v - r[c].mean) / r[c].std) : 0;
        }
}

int hone_data_normalise(struct hone_data *train, struct hone_data *test)
{
    struct hone_range *r = calloc((size_t)train->c, sizeof *r);
    if (!r)
        return hone_fail(HONE_ENOMEM, "%s: no memory to normalise %d features", train->source,
                         train->c);
    for (int c = 0; c < train->c; c++)
        r[c] = hone_range_of(train->x, train->rows * train->h * train->w, train->c, c);
    scale(train, r);
    if (test->rows) scale(test, r);
    free(r);
    return HONE_OK;
}

/* ---- shuffle and gather ---- */

/* Fisher-Yates; the remainder's bias is below n / 2^64. */
void hone_data_shuffle(int64_t *order, int64_t n, uint64_t seed, int epoch)
{
    uint64_t key = hone_random(seed, (uint64_t)epoch);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)(hone_random(key, (uint64_t)i) % (uint64_t)(i + 1)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

void hone_data_gather(const struct hone_data *d, const int64_t *order, int n, float *x,
                      void *target)
{
    size_t len = row_len(d), outputs = (size_t)d->outputs;
    for (int i = 0; i < n; i++)
        memcpy(x + (size_t)i * len, d->x + (size_t)order[i] * len, len * sizeof *x);
    if (d->label) {
        int32_t *to = target;
        for (int i = 0; i < n; i++) to[i] = d->label[order[i]];
    } else {
        float *to = target;
        for (int i = 0; i < n; i++)
            memcpy(to + (size_t)i * outputs, d->y + (size_t)order[i] * outputs,
                   outputs * sizeof *to);
    }
}
