/* Rows that occur more than once.  Rows are hashed, sorted by hash, and compared where hashes meet:
 * 60,000 pictures of CIFAR take a fraction of a second. */
#include "nets/data.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t hash;
    int64_t row; /* of train, then of test */
};

static const void *row_of(const struct hone_data *d, int64_t row, size_t *bytes)
{
    size_t len = (size_t)d->h * (size_t)d->w * (size_t)d->c;
    *bytes = d->bytes ? len : len * sizeof *d->x;
    const char *base = d->bytes ? (const char *)d->bytes : (const char *)d->x;
    return base + (size_t)row * *bytes;
}

/* Multiply and fold, eight bytes at a time: good enough, since equal hashes are checked. */
static uint64_t hash_of(const void *row, size_t bytes)
{
    const unsigned char *at = row;
    uint64_t hash = bytes, word;
    for (; bytes >= sizeof word; bytes -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, at, bytes);
    hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
    return hash ^ hash >> 32;
}

static int by_hash(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Row i of both sets, counted through. */
static const struct hone_data *set_of(const struct hone_data *train, const struct hone_data *test,
                                      int64_t *i)
{
    if (*i < train->rows) return train;
    *i -= train->rows;
    return test;
}

/* Counts row i, if it equals `first`, the first row of its hash. */
static void count(const struct hone_data *train, const struct hone_data *test, int64_t first,
                  int64_t i, struct hone_equals *e)
{
    int64_t a = first, b = i;
    size_t bytes;
    const struct hone_data *of_a = set_of(train, test, &a), *of_b = set_of(train, test, &b);
    if (of_a == test && of_b == test) return;
    const void *x = row_of(of_a, a, &bytes), *y = row_of(of_b, b, &bytes);
    if (memcmp(x, y, bytes)) return;
    if (of_b == test)
        e->test++;
    else
        e->train++;
    e->contrary += of_a->label && of_a->label[a] != of_b->label[b];
}

int hone_data_equals(const struct hone_data *train, const struct hone_data *test,
                     struct hone_equals *e)
{
    int64_t n = train->rows + test->rows;
    struct entry *entry = malloc((size_t)n * sizeof *entry);
    memset(e, 0, sizeof *e);
    if (!entry)
        return hone_fail(HONE_ENOMEM, "%s: no memory to compare %lld rows", train->source,
                         (long long)n);
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        int64_t row = i;
        size_t bytes;
        const struct hone_data *d = set_of(train, test, &row);
        const void *at = row_of(d, row, &bytes);
        entry[i] = (struct entry){ hash_of(at, bytes), i };
    }
    qsort(entry, (size_t)n, sizeof *entry, by_hash);
    for (int64_t i = 1, first = 0; i < n; i++) {
        if (entry[i].hash == entry[first].hash)
            count(train, test, entry[first].row, entry[i].row, e);
        else
            first = i;
    }
    free(entry);
    return HONE_OK;
}
