/* IDX files (the format of LeCun, Cortes and Burges' MNIST): big-endian numbers -- a magic number
 * that tells type and rank, one length per dimension -- and then the values.  Images are unsigned
 * bytes (rows, h, w), labels unsigned bytes (rows).  No field is believed: each is checked against
 * what the file can hold. */
#include "nets/data.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { IMAGES = 0x803, LABELS = 0x801, IMAGES_HEADER = 16, LABELS_HEADER = 8, NCLASSES_MAX = 256 };

/* A directory's files, in this order: "-" or "." before idx, packed or not.
 */
static const char *const stem[4] = { "train-images", "train-labels", "t10k-images", "t10k-labels" };

static int find_one(const char *dir, int i, char path[512])
{
    static const char *const dot[] = { "-", "." }, *const end[] = { ".gz", "", ".xz" };
    struct stat st;
    for (int j = 0; j < 6; j++) {
        int n = snprintf(path, 512, "%s/%s%sidx%d-ubyte%s", dir, stem[i], dot[j / 3], i % 2 ? 1 : 3,
                         end[j % 3]);
        if (n < 512 && !stat(path, &st)) return 1;
    }
    path[0] = 0;
    return 0;
}

static int find(const char *dir, char path[4][512])
{
    int first = 0;
    for (int i = 0; i < 4; i++) first |= find_one(dir, i, path[i]) && i == 0;
    return first;
}

static int holds(const char *dir)
{
    char path[4][512];
    return find(dir, path);
}

static int64_t big_endian(const unsigned char *b)
{
    return (int64_t)b[0] << 24 | (int64_t)b[1] << 16 | (int64_t)b[2] << 8 | b[3];
}

/* Reads the header: magic number, then lengths at bytes 4, 8, 12. */
static int read_header(struct hone_file *s, int64_t magic, int64_t length[], int rank)
{
    unsigned char b[IMAGES_HEADER];
    size_t n = 4 + 4 * (size_t)rank, got;
    int err = hone_file_read(s, b, n, &got);
    if (err) return err;
    if (got >= 4 && big_endian(b) != magic)
        return hone_fail(HONE_EDATA,
                         "%s: byte 0: magic number 0x%08llx, but IDX %s start with 0x%08llx",
                         s->path, (unsigned long long)big_endian(b),
                         magic == IMAGES ? "images" : "labels", (unsigned long long)magic);
    if (got < n)
        return hone_fail(HONE_EDATA, "%s: ends at byte %zu, inside the header of %zu bytes",
                         s->path, got, n);
    for (int i = 0; i < rank; i++) length[i] = big_endian(b + 4 + 4 * i);
    if (!length[0]) return hone_fail(HONE_EDATA, "%s: byte 4: the file has no rows", s->path);
    return HONE_OK;
}

static int ends_early(const struct hone_file *s, int64_t at, int64_t rows, int64_t need)
{
    return hone_fail(HONE_EDATA, "%s: ends at byte %lld, but %lld rows need %lld bytes", s->path,
                     (long long)at, (long long)rows, (long long)need);
}

/* Can the file hold its rows?  A plain file's length says so exactly, a packed file's only roughly.
 */
static int check_size(const struct hone_file *s, int64_t rows, int64_t row_bytes, int64_t header)
{
    int64_t bytes = hone_mul(rows, row_bytes);
    if (bytes < 0 || hone_mul(bytes, sizeof(float)) < 0 || bytes > INT64_MAX - header)
        return hone_fail(HONE_EDATA,
                         "%s: byte 4: %lld rows of %lld bytes are more than can be addressed",
                         s->path, (long long)rows, (long long)row_bytes);
    if (header + bytes <= hone_file_bound(s)) return HONE_OK;
    if (!s->packing) return ends_early(s, s->size, rows, header + bytes);
    return hone_fail(
        HONE_EDATA,
        "%s: byte 4: %lld rows need %lld bytes, more than %lld compressed bytes can hold", s->path,
        (long long)rows, (long long)(header + bytes), (long long)s->size);
}

/* The contents must end where the rows do; reading past the end also makes zlib check the sum. */
static int read_end(struct hone_file *s)
{
    unsigned char b;
    size_t got;
    int64_t end = s->offset;
    int err = hone_file_read(s, &b, 1, &got);
    if (err || !got) return err;
    return hone_fail(HONE_EDATA, "%s: byte %lld: there are bytes after the last row", s->path,
                     (long long)end);
}

static int read_pixels(struct hone_file *s, struct hone_data *d, int64_t row_bytes)
{
    size_t total = (size_t)(d->rows * row_bytes), got;
    int err = hone_file_read(s, d->bytes, total, &got);
    if (err) return err;
    if (got < total) return ends_early(s, s->offset, d->rows, IMAGES_HEADER + (int64_t)total);
    return read_end(s);
}

static int read_images(struct hone_data *d, const char *path)
{
    struct hone_file s;
    int64_t length[3] = { 0 };
    int err = hone_file_open(&s, path);
    if (err) return err;
    err = read_header(&s, IMAGES, length, 3);
    int64_t row_bytes = hone_mul(length[1], length[2]);
    if (!err && (row_bytes <= 0 || row_bytes > INT_MAX))
        err = hone_fail(HONE_EDATA, "%s: byte 8: images of %lld x %lld pixels", path,
                        (long long)length[1], (long long)length[2]);
    if (!err) err = check_size(&s, length[0], row_bytes, IMAGES_HEADER);
    if (!err) {
        d->rows = length[0];
        d->h = (int)length[1];
        d->w = (int)length[2];
        d->c = 1;
        err = hone_data_room(d) ? hone_fail(HONE_ENOMEM, "%s: no memory for %lld images", path,
                                            (long long)d->rows)
                                : read_pixels(&s, d, row_bytes);
    }
    hone_file_close(&s);
    return err;
}

static int read_labels(struct hone_data *d, const char *path, const char *images)
{
    struct hone_file s;
    int64_t rows = 0;
    unsigned char *buf = NULL;
    size_t got = 0;
    int err = hone_file_open(&s, path);
    if (err) return err;
    err = read_header(&s, LABELS, &rows, 1);
    if (!err) err = check_size(&s, rows, 1, LABELS_HEADER);
    if (!err && rows != d->rows)
        err = hone_fail(HONE_EDATA, "%s: byte 4: %lld labels, but %s has %lld images", path,
                        (long long)rows, images, (long long)d->rows);
    if (!err) {
        buf = malloc((size_t)rows);
        d->label = malloc((size_t)rows * sizeof *d->label);
        if (!buf || !d->label)
            err = hone_fail(HONE_ENOMEM, "%s: no memory for %lld labels", path, (long long)rows);
    }
    if (!err) err = hone_file_read(&s, buf, (size_t)rows, &got);
    if (!err && (int64_t)got < rows) err = ends_early(&s, s.offset, rows, LABELS_HEADER + rows);
    if (!err) err = read_end(&s);
    for (int64_t i = 0; !err && i < rows; i++) d->label[i] = buf[i];
    free(buf);
    hone_file_close(&s);
    return err;
}

/* How many classes the training labels show.  Sets exist that start at 1 or skip a class; but where
 * most of 0..largest never occur, the largest is a damaged label, not a class. */
static int count_classes(const struct hone_data *d, const char *path, int *classes)
{
    int64_t first[NCLASSES_MAX];
    int nused = 0, largest = 0;
    for (int i = 0; i < NCLASSES_MAX; i++) first[i] = -1;
    for (int64_t i = 0; i < d->rows; i++) {
        int k = d->label[i];
        if (first[k] < 0) {
            first[k] = i;
            nused++;
        }
        if (k > largest) largest = k;
    }
    *classes = largest + 1;
    if (largest < 2 * nused) return HONE_OK;
    return hone_fail(HONE_EDATA,
                     "%s: byte %lld: label %d of row %lld, but only %d of the labels 0..%d occur",
                     path, (long long)(LABELS_HEADER + first[largest]), largest,
                     (long long)first[largest], nused, largest);
}

static int check_labels(struct hone_data *d, const char *path, int classes)
{
    d->classes = classes;
    for (int64_t i = 0; i < d->rows; i++)
        if (d->label[i] >= classes)
            return hone_fail(
                HONE_EDATA, "%s: byte %lld: label %d of row %lld, but the classes are 0..%d", path,
                (long long)(LABELS_HEADER + i), (int)d->label[i], (long long)i, classes - 1);
    return HONE_OK;
}

static int read_set(struct hone_data *train, struct hone_data *test, const char *dir,
                    const char *target, int classes)
{
    char path[4][512];
    (void)target; /* none is let through */
    find(dir, path);
    int has_test = path[2][0] || path[3][0];
    for (int i = 0; i < (has_test ? 4 : 2); i++)
        if (!path[i][0])
            return hone_fail(HONE_EDATA,
                             "%s: there is no %s-idx%d-ubyte[.gz|.xz] beside the other IDX files",
                             dir, stem[i], i % 2 ? 1 : 3);
    int err = read_images(train, path[0]);
    if (!err) err = read_labels(train, path[1], path[0]);
    if (!err && !classes) err = count_classes(train, path[1], &classes);
    if (!err) err = check_labels(train, path[1], classes);
    if (err || !has_test) return err;
    err = read_images(test, path[2]);
    if (!err && (test->h != train->h || test->w != train->w))
        err = hone_fail(HONE_EDATA, "%s: byte 8: images of %d x %d pixels, but %s has %d x %d",
                        path[2], test->h, test->w, path[0], train->h, train->w);
    if (!err) err = read_labels(test, path[3], path[2]);
    if (!err) err = check_labels(test, path[3], classes);
    return err;
}

const struct hone_format hone_idx = { "train-images-idx3-ubyte[.gz|.xz]", 0, holds, read_set };
