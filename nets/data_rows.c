/* What is done to rows in memory: room for them, split, normalise, shuffle.  Nothing here depends
 * on the machine: random numbers are integers from hone_random(), sums run in one fixed order in
 * doubles.
 */
#include "nets/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- storage ---- */

int hone_data_room(struct hone_data *d)
{
    int64_t len = hone_mul(hone_mul(d->h, d->w), d->c), n = hone_mul(d->rows, len);
    d->bytes = n > 0 ? malloc((size_t)n) : NULL;
    d->value = malloc((size_t)d->c * 256 * sizeof *d->value);
    if (!d->bytes || !d->value) {
        free(d->bytes);
        free(d->value);
        d->bytes = NULL;
        d->value = NULL;
        return HONE_ENOMEM;
    }
    for (int i = 0; i < 256 * d->c; i++) d->value[i] = (float)(i % 256) / 255.0f;
    return HONE_OK;
}

/* The arrays that have an entry per row: where each lies in d, and the bytes of an entry. */
struct column {
    void **at;
    size_t bytes;
};

enum { NCOLUMNS = 4 };

static void columns_of(struct hone_data *d, struct column column[NCOLUMNS])
{
    size_t len = (size_t)d->h * (size_t)d->w * (size_t)d->c;
    column[0] = (struct column){ (void **)&d->x, len * sizeof *d->x };
    column[1] = (struct column){ (void **)&d->bytes, len };
    column[2] = (struct column){ (void **)&d->label, sizeof *d->label };
    column[3] = (struct column){ (void **)&d->y, (size_t)d->outputs * sizeof *d->y };
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

static void swap_rows(const struct column column[NCOLUMNS], int64_t i, int64_t j)
{
    if (i == j) return;
    for (int k = 0; k < NCOLUMNS; k++) {
        char *base = *column[k].at;
        size_t n = column[k].bytes;
        if (base) swap_bytes(base + (size_t)i * n, base + (size_t)j * n, n);
    }
}

static int no_memory(const struct hone_data *d)
{
    return hone_fail(HONE_ENOMEM, "%s: no memory to split %lld rows", d->source,
                     (long long)d->rows);
}

/* Gives d's arrays room for `rows` rows; on failure some are larger than needed, none is lost. */
static int resize(struct hone_data *d, int64_t rows)
{
    struct column column[NCOLUMNS];
    int failed = 0;
    columns_of(d, column);
    for (int k = 0; k < NCOLUMNS; k++) {
        if (!*column[k].at) continue;
        void *grown = realloc(*column[k].at, (size_t)rows * column[k].bytes);
        if (grown) *column[k].at = grown;
        failed |= !grown;
    }
    return failed ? no_memory(d) : HONE_OK;
}

/* Appends from's rows to d and empties from. */
static int append(struct hone_data *d, struct hone_data *from)
{
    struct column to[NCOLUMNS], of[NCOLUMNS];
    if (!from->rows) return HONE_OK;
    int err = resize(d, d->rows + from->rows);
    if (err) return err;
    columns_of(d, to);
    columns_of(from, of);
    for (int k = 0; k < NCOLUMNS; k++)
        if (*to[k].at)
            memcpy((char *)*to[k].at + (size_t)d->rows * to[k].bytes, *of[k].at,
                   (size_t)from->rows * to[k].bytes);
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
    struct column of[NCOLUMNS], to[NCOLUMNS];
    size_t n = (size_t)(d->rows - first), c = (size_t)d->c;
    *tail = *d;
    tail->rows = d->rows - first;
    columns_of(d, of);
    columns_of(tail, to);
    int failed = 0;
    for (int k = 0; k < NCOLUMNS; k++) {
        const char *base = *of[k].at;
        *to[k].at = base ? copy_of(base + (size_t)first * of[k].bytes, n * of[k].bytes) : NULL;
        failed |= !*to[k].at != !base;
    }
    tail->value = copy_of(d->value, c * 256 * sizeof *d->value);
    tail->black = copy_of(d->black, c * sizeof *d->black);
    tail->range = copy_of(d->range, c * sizeof *d->range);
    tail->class_name = copy_of(d->class_name, (size_t)d->classes * sizeof *d->class_name);
    tail->feature = copy_of(d->feature, c * sizeof *d->feature);
    if (failed || !tail->value != !d->value || !tail->black != !d->black || !tail->range != !d->range ||
        !tail->class_name != !d->class_name || !tail->feature != !d->feature) {
        hone_data_close(tail);
        return no_memory(d);
    }
    d->rows = first;
    resize(d, first); /* a shrink that fails leaves what is there */
    return HONE_OK;
}

/* Shuffles all rows. */
static void deal(struct hone_data *d, uint64_t seed)
{
    struct column column[NCOLUMNS];
    columns_of(d, column);
    for (int64_t i = d->rows - 1; i > 0; i--)
        swap_rows(column, i, (int64_t)(hone_random(seed, (uint64_t)i) % (uint64_t)(i + 1)));
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
    deal(train, seed);
    return cut(train, test, first);
}

int hone_data_fold(struct hone_data *train, struct hone_data *test, int folds, int fold,
                   uint64_t seed)
{
    int64_t rows = train->rows + test->rows;
    if (folds < 2 || folds > rows)
        return hone_fail(HONE_EINVAL, "%d folds of %lld rows: expected from 2 to one fold a row",
                         folds, (long long)rows);
    int64_t size = rows / folds + (fold < rows % folds), more = rows % folds,
            from = rows / folds * fold + (fold < more ? fold : more), last = rows - size;
    int err = append(train, test);
    if (err) return err;
    deal(train, seed);
    struct column column[NCOLUMNS];
    columns_of(train, column);
    /* The fold changes places with the last rows; where the two overlap only the rest does. */
    int64_t first_free = from + size > last ? from + size : last;
    for (int64_t i = 0; first_free + i < rows; i++) swap_rows(column, from + i, first_free + i);
    return cut(train, test, last);
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

/* Bytes are counted, so that one pass serves mean and deviation. */
static struct hone_range range_of_bytes(const struct hone_data *d, int c)
{
    struct hone_range r = { .min = INFINITY, .max = -INFINITY };
    int64_t count[256] = { 0 }, n = d->rows * d->h * d->w;
    const float *value = d->value + 256 * c;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) count[d->bytes[i * d->c + c]]++;
    for (int b = 0; b < 256; b++) {
        if (!count[b]) continue;
        r.min = fmin(r.min, value[b]);
        r.max = fmax(r.max, value[b]);
        sum += (double)count[b] * value[b];
    }
    r.mean = r.min == r.max ? r.min : sum / (double)n;
    for (int b = 0; b < 256; b++)
        squares += (double)count[b] * (value[b] - r.mean) * (value[b] - r.mean);
    r.std = r.min == r.max ? 0 : sqrt(squares / (double)n);
    return r;
}

struct hone_range hone_data_range(const struct hone_data *d, int c)
{
    return d->bytes ? range_of_bytes(d, c) : hone_range_of(d->x, d->rows * d->h * d->w, d->c, c);
}

static float scaled(float v, const struct hone_range *r)
{
    return r->std > 0 ? (float)((v - r->mean) / r->std) : 0;
}

static void scale(struct hone_data *d, const struct hone_range r[])
{
    int64_t n = d->rows * d->h * d->w;
    for (int i = 0; d->bytes && i < 256 * d->c; i++) d->value[i] = scaled(d->value[i], &r[i / 256]);
    for (int c = 0; d->black && c < d->c; c++) d->black[c] = scaled(d->black[c], &r[c]);
    for (int64_t i = 0; d->x && i < n; i++)
        for (int c = 0; c < d->c; c++) d->x[i * d->c + c] = scaled(d->x[i * d->c + c], &r[c]);
}

/* Pictures whose edges are padded need to know what zero became. */
static int make_black(struct hone_data *d)
{
    if (!d->x || d->black || d->h * d->w == 1) return HONE_OK;
    d->black = calloc((size_t)d->c, sizeof *d->black);
    return d->black ? HONE_OK : HONE_ENOMEM;
}

int hone_data_scale(struct hone_data *d, const struct hone_range range[])
{
    free(d->range);
    d->range = copy_of(range, (size_t)d->c * sizeof *range);
    if (!d->range || make_black(d))
        return hone_fail(HONE_ENOMEM, "%s: no memory to normalise %d features", d->source, d->c);
    scale(d, range);
    return HONE_OK;
}

int hone_data_normalise(struct hone_data *train, struct hone_data *test)
{
    struct hone_range *r = calloc((size_t)train->c, sizeof *r);
    if (!r)
        return hone_fail(HONE_ENOMEM, "%s: no memory to normalise %d features", train->source,
                         train->c);
    for (int c = 0; c < train->c; c++) r[c] = hone_data_range(train, c);
    int err = hone_data_scale(train, r);
    if (!err && test->rows) err = hone_data_scale(test, r);
    free(r);
    return err;
}

/* ---- shuffle ---- */

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
