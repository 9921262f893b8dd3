/* tests/data_files.h -- what the tests of readers share: good files written into a directory of
 * their own, the check of one exact message, and mutations of good files, which must give data or a
 * message, never a crash (HONE_FUZZ=N: N mutations of each). */
#ifndef HONE_DATA_FILES_H
#define HONE_DATA_FILES_H

#include "nets/nets.h"
#include "tests/tap.h"

#include <errno.h>
#include <lzma.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ---- files ---- */

static char tmp[200]; /* this run's directory */

/* Makes this run's directory. */
__attribute__((unused)) static int files_begin(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(tmp, sizeof tmp, "%.150s/hone-data-XXXXXX", base && *base ? base : "/tmp");
    if (mkdtemp(tmp)) return 1;
    printf("Bail out! %s: %s\n", tmp, strerror(errno));
    return 0;
}

/* Removes the directory and ends. */
__attribute__((unused)) static int files_end(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", tmp);
    if (system(command)) printf("# %s stays\n", tmp);
    return tap_end();
}

/* tmp/NAME; four results live at a time. */
__attribute__((format(printf, 1, 2), unused)) static const char *in(const char *fmt, ...)
{
    static char buf[4][512];
    static int next;
    char *to = buf[next++ % 4];
    va_list ap;
    int n = snprintf(to, sizeof *buf, "%s/", tmp);
    va_start(ap, fmt);
    vsnprintf(to + n, sizeof *buf - (size_t)n, fmt, ap);
    va_end(ap);
    return to;
}

struct bytes {
    size_t n;
    unsigned char b[1 << 16];
};

__attribute__((unused)) static void put(const char *path, const void *b, size_t n)
{
    /* Some file systems write a file that was cut and rewritten to the disk when it is closed; a
     * new one stays in memory. */
    unlink(path);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b, 1, n, f) != n || fclose(f)) {
        printf("Bail out! %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

__attribute__((unused)) static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

__attribute__((unused)) static void gzip(const struct bytes *from, struct bytes *to)
{
    z_stream z = { .next_in = (unsigned char *)from->b,
                   .avail_in = (uInt)from->n,
                   .next_out = to->b,
                   .avail_out = sizeof to->b };
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&z, Z_FINISH) != Z_STREAM_END) {
        printf("Bail out! deflate\n");
        exit(1);
    }
    to->n = z.total_out;
    deflateEnd(&z);
}

__attribute__((unused)) static void xz(const struct bytes *from, struct bytes *to)
{
    to->n = 0;
    if (lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, from->b, from->n, to->b, &to->n,
                                sizeof to->b) != LZMA_OK) {
        printf("Bail out! lzma_easy_buffer_encode\n");
        exit(1);
    }
}

__attribute__((unused)) static void poke32(struct bytes *s, size_t at, uint32_t v)
{
    for (int i = 0; i < 4; i++) s->b[at + (size_t)i] = (unsigned char)(v >> (24 - 8 * i));
}

/* Pixel j of image i is (7 i + 3 j) mod 256, label i is i mod 3. */
__attribute__((unused)) static void make_images(struct bytes *s, int rows, int h, int w)
{
    poke32(s, 0, 0x803);
    poke32(s, 4, (uint32_t)rows);
    poke32(s, 8, (uint32_t)h);
    poke32(s, 12, (uint32_t)w);
    s->n = 16;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < h * w; j++) s->b[s->n++] = (unsigned char)(7 * i + 3 * j);
}

__attribute__((unused)) static void make_labels(struct bytes *s, int rows)
{
    poke32(s, 0, 0x801);
    poke32(s, 4, (uint32_t)rows);
    s->n = 8;
    for (int i = 0; i < rows; i++) s->b[s->n++] = (unsigned char)(i % 3);
}

static const char *const idx_name[4] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };

enum { ROWS = 10, TEST_ROWS = 6, H = 4, W = 3 };

__attribute__((unused)) static void make_idx(int i, struct bytes *s)
{
    if (i % 2)
        make_labels(s, i < 2 ? ROWS : TEST_ROWS);
    else
        make_images(s, i < 2 ? ROWS : TEST_ROWS, H, W);
}

/* A good set in tmp/DIR; zip: as .gz. */
__attribute__((unused)) static void write_set(const char *dir, int zip)
{
    static struct bytes s, z;
    mkdir(in("%s", dir), 0700);
    for (int i = 0; i < 4; i++) {
        unlink(in("%s/%s", dir, idx_name[i]));
        unlink(in("%s/%s.gz", dir, idx_name[i]));
        make_idx(i, &s);
        if (zip) gzip(&s, &z);
        put(in("%s/%s%s", dir, idx_name[i], zip ? ".gz" : ""), zip ? z.b : s.b, zip ? z.n : s.n);
    }
}

/* ---- checks that all kinds share ---- */

/* Number i of (rows, h, w, c), however it is stored. */
__attribute__((unused)) static float value_at(const struct hone_data *d, int64_t i)
{
    return d->x ? d->x[i] : d->value[256 * (i % d->c) + d->bytes[i]];
}

/* Opening must fail with exactly this message, in which FILE stands for `file`, and leave nothing
 * behind. */
__attribute__((unused)) static void bad(const char *what, const char *data, const char *target,
                                        const char *file, const char *message)
{
    struct hone_data train, test;
    char want[2048];
    const char *mark = strstr(message, "FILE");
    if (mark)
        snprintf(want, sizeof want, "%.*s%s%s", (int)(mark - message), message, file, mark + 4);
    else
        snprintf(want, sizeof want, "%s", message);
    int err = hone_data_open(&train, &test, data, target);
    int good =
        err < 0 && !strcmp(hone_errmsg(), want) && !train.x && !train.bytes && !train.value &&
               !train.label && !train.rows && !test.x && !test.bytes && !test.rows;
    if (!ok(good, "bad: %s", what))
        printf("# got  %d %s\n# want %s\n", err, err ? hone_errmsg() : "", want);
    hone_data_close(&train);
    hone_data_close(&test);
}

__attribute__((unused)) static int opened(struct hone_data *train, struct hone_data *test,
                                          const char *data, const char *target)
{
    int err = hone_data_open(train, test, data, target);
    if (err) printf("# %s\n", hone_errmsg());
    return !err;
}

__attribute__((unused)) static int same_floats(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a)) {
            printf("# value %lld is %.9g, want %.9g\n", (long long)i, a[i], b[i]);
            return 0;
        }
    return 1;
}

/* Check sums of all pixels (times factor, rounded) and of all labels. */
__attribute__((unused)) static uint32_t crc_of(const struct hone_data *d, double factor)
{
    unsigned char buf[4096];
    uLong crc = crc32(0, NULL, 0);
    int64_t n = d->rows * d->h * d->w * d->c;
    for (int64_t i = 0, k; i < n; i += k) {
        for (k = 0; k < (int64_t)sizeof buf && i + k < n; k++)
            buf[k] = (unsigned char)(value_at(d, i + k) * factor + 0.5);
        crc = crc32(crc, buf, (uInt)k);
    }
    return (uint32_t)crc;
}

__attribute__((unused)) static uint32_t crc_of_labels(const struct hone_data *d)
{
    uLong crc = crc32(0, NULL, 0);
    for (int64_t i = 0; i < d->rows; i++) {
        unsigned char b = (unsigned char)d->label[i];
        crc = crc32(crc, &b, 1);
    }
    return (uint32_t)crc;
}

/* ---- mutations ---- */

/* A few bytes flipped, or cut, or doubled somewhere. */
__attribute__((unused)) static void mutate(const struct bytes *from, struct bytes *to,
                                           uint64_t seed)
{
    uint64_t i = 0;
    *to = *from;
    int n = 1 + (int)(hone_random(seed, i++) % 4);
    switch (hone_random(seed, i++) % 4) {
    case 0:
        to->n = hone_random(seed, i++) % from->n;
        break;
    case 1: {
        size_t at = hone_random(seed, i++) % from->n,
               len = hone_random(seed, i++) % (from->n - at) + 1;
        memcpy(to->b + from->n, from->b + at, len);
        to->n += len;
        break;
    }
    default:
        break;
    }
    for (; n && to->n; n--) {
        size_t at = hone_random(seed, i++) % to->n;
        static const char likely[] = ",;\t\n\r\"'0-eE.x? \xff\x7f\x80\x01";
        uint64_t r = hone_random(seed, i++);
        if (r & 1)
            to->b[at] ^= (unsigned char)(1u << (r >> 1 & 7));
        else
            to->b[at] = (unsigned char)likely[(r >> 1) % sizeof likely];
    }
}

/* What may be believed of any data that was opened. */
__attribute__((unused)) static int sound(const struct hone_data *d)
{
    int64_t n = d->rows * d->h * d->w * d->c;
    if (d->rows < 1 || n < 1 || !d->x == !d->bytes || !d->bytes != !d->value || !d->label == !d->y || (d->label && d->classes < 2))
        return 0;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(value_at(d, i))) return 0;
    for (int64_t i = 0; i < d->rows; i++)
        if (d->label ? d->label[i] < 0 || d->label[i] >= d->classes : !isfinite(d->y[i])) return 0;
    return 1;
}

__attribute__((unused)) static void fuzz(const char *what, const char *data, const char *path,
                                         const struct bytes *good, uint64_t seed)
{
    int n = getenv("HONE_FUZZ") ? atoi(getenv("HONE_FUZZ")) : 600;
    static struct bytes m;
    int loaded = 0, refused = 0, wrong = 0;
    for (int i = 0; i < n && !wrong; i++) {
        struct hone_data train, test;
        mutate(good, &m, hone_random(seed, (uint64_t)i));
        put(path, m.b, m.n);
        int err = hone_data_open(&train, &test, data, NULL);
        const char *msg = err ? hone_errmsg() : "";
        if (err)
            wrong = strncmp(msg, path, strlen(path)) && strncmp(msg, data, strlen(data))
                        ? 1
                        : train.x || test.x || train.bytes || test.bytes;
        else
            wrong = !sound(&train) || (test.rows && !sound(&test));
        for (const char *s = msg; *s; s++) wrong |= (unsigned char)*s < ' ';
        loaded += !err;
        refused += !!err;
        if (wrong)
            printf("# mutation %d of seed %llu: %d %s\n", i, (unsigned long long)seed, err, msg);
        hone_data_close(&train);
        hone_data_close(&test);
    }
    put(path, good->b, good->n);
    ok(!wrong && refused, "mutations of %s: %d loaded, %d refused", what, loaded, refused);
}

#endif
