/* Data sets: every reader on good and on bad files, which the test writes itself; the real sets where they are present;
 * and mutations of good files, which must give data or a message, never a crash.  HONE_FUZZ=N: N mutations of each. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ---- files ---- */

static char tmp[200];   /* this run's directory */

/* tmp/NAME; four results live at a time. */
__attribute__((format(printf, 1, 2))) static const char *in(const char *fmt, ...)
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

static void put(const char *path, const void *b, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b, 1, n, f) != n || fclose(f)) {
        printf("Bail out! %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

static void put_text(const char *path, const char *text) { put(path, text, strlen(text)); }

static void gzip(const struct bytes *from, struct bytes *to)
{
    z_stream z = { .next_in = (unsigned char *)from->b, .avail_in = (uInt)from->n, .next_out = to->b,
                   .avail_out = sizeof to->b };
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END) {
        printf("Bail out! deflate\n");
        exit(1);
    }
    to->n = z.total_out;
    deflateEnd(&z);
}

static void poke32(struct bytes *s, size_t at, uint32_t v)
{
    for (int i = 0; i < 4; i++) s->b[at + (size_t)i] = (unsigned char)(v >> (24 - 8 * i));
}

/* Pixel j of image i is (7 i + 3 j) mod 256, label i is i mod 3. */
static void make_images(struct bytes *s, int rows, int h, int w)
{
    poke32(s, 0, 0x803);
    poke32(s, 4, (uint32_t)rows);
    poke32(s, 8, (uint32_t)h);
    poke32(s, 12, (uint32_t)w);
    s->n = 16;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < h * w; j++) s->b[s->n++] = (unsigned char)(7 * i + 3 * j);
}

static void make_labels(struct bytes *s, int rows)
{
    poke32(s, 0, 0x801);
    poke32(s, 4, (uint32_t)rows);
    s->n = 8;
    for (int i = 0; i < rows; i++) s->b[s->n++] = (unsigned char)(i % 3);
}

static const char *const idx_name[4] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                         "t10k-labels-idx1-ubyte" };

enum { ROWS = 10, TEST_ROWS = 6, H = 4, W = 3 };

static void make_idx(int i, struct bytes *s)
{
    if (i % 2) make_labels(s, i < 2 ? ROWS : TEST_ROWS);
    else make_images(s, i < 2 ? ROWS : TEST_ROWS, H, W);
}

/* A good set in tmp/DIR; zip: as .gz. */
static void write_set(const char *dir, int zip)
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

/* Opening must fail with exactly this message, in which FILE stands for `file`, and leave nothing behind. */
static void bad(const char *what, const char *data, const char *target, const char *file, const char *message)
{
    struct hone_data train, test;
    char want[2048];
    const char *mark = strstr(message, "FILE");
    if (mark) snprintf(want, sizeof want, "%.*s%s%s", (int)(mark - message), message, file, mark + 4);
    else snprintf(want, sizeof want, "%s", message);
    int err = hone_data_open(&train, &test, data, target);
    int good = err < 0 && !strcmp(hone_errmsg(), want) && !train.x && !train.rows && !test.x && !test.rows;
    if (!ok(good, "bad: %s", what)) printf("# got  %d %s\n# want %s\n", err, err ? hone_errmsg() : "", want);
    hone_data_close(&train);
    hone_data_close(&test);
}

static int opened(struct hone_data *train, struct hone_data *test, const char *data, const char *target)
{
    int err = hone_data_open(train, test, data, target);
    if (err) printf("# %s\n", hone_errmsg());
    return !err;
}

static int same_floats(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a)) {
            printf("# value %lld is %.9g, want %.9g\n", (long long)i, a[i], b[i]);
            return 0;
        }
    return 1;
}

/* ---- IDX ---- */

static int is_set(const struct hone_data *d, int rows)
{
    int good = d->rows == rows && d->h == H && d->w == W && d->c == 1 && d->classes == 3 && d->label && !d->y;
    for (int i = 0; good && i < rows; i++) {
        good = d->label[i] == i % 3;
        for (int j = 0; j < H * W; j++) good &= d->x[i * H * W + j] == (float)((7 * i + 3 * j) % 256) / 255.0f;
    }
    return good;
}

static void check_idx_good(void)
{
    struct hone_data train, test;
    static struct bytes s, a, b;
    for (int zip = 0; zip < 2; zip++) {
        write_set("good", zip);
        ok(opened(&train, &test, in("good"), NULL) && is_set(&train, ROWS) && is_set(&test, TEST_ROWS),
           "idx: a directory of %s files", zip ? "gzip" : "plain");
        ok(!strcmp(train.name, "good") && !strcmp(train.source, in("good")), "idx: name and source");
        hone_data_close(&train);
        hone_data_close(&test);
    }
    /* Two gzip members one after the other are one file. */
    make_idx(0, &s);
    struct bytes half = { .n = 50 };
    memcpy(half.b, s.b, 50);
    gzip(&half, &a);
    half.n = s.n - 50;
    memcpy(half.b, s.b + 50, half.n);
    gzip(&half, &b);
    memcpy(a.b + a.n, b.b, b.n);
    put(in("good/%s.gz", idx_name[0]), a.b, a.n + b.n);
    ok(opened(&train, &test, in("good/"), NULL) && is_set(&train, ROWS), "idx: gzip in two members, path with a slash");
    ok(!strcmp(train.name, "good"), "idx: name without the slash");
    hone_data_close(&train);
    hone_data_close(&test);

    mkdir(in("dots"), 0700);
    put(in("dots/train-images.idx3-ubyte"), s.b, s.n);
    make_idx(1, &s);
    put(in("dots/train-labels.idx1-ubyte"), s.b, s.n);
    ok(opened(&train, &test, in("dots"), NULL) && is_set(&train, ROWS) && !test.rows && !test.x && test.name[0],
       "idx: .idx names, no test files");
    hone_data_close(&train);
    hone_data_close(&test);
}

/* One change to one file of a good set: cut to `cut` bytes (negative: from the end), a number poked, bytes appended. */
struct damage {
    const char *what;
    int file, zip;
    long cut, at;
    int width;             /* bytes poked; 0: none */
    uint32_t value;
    int append;
    const char *message;
};

static void check_idx_damage(void)
{
    static const struct damage table[] = {
        { "images: cut in the header", 0, 0, 3, 0, 0, 0, 0, "FILE: ends at byte 3, inside the header of 16 bytes" },
        { "images: cut after the magic number", 0, 0, 15, 0, 0, 0, 0, "FILE: ends at byte 15, inside the header of 16 bytes" },
        { "images: cut in the rows", 0, 0, 100, 0, 0, 0, 0, "FILE: ends at byte 100, but 10 rows need 136 bytes" },
        { "images: one byte lacks", 0, 0, -1, 0, 0, 0, 0, "FILE: ends at byte 135, but 10 rows need 136 bytes" },
        { "images: one byte more", 0, 0, 0, 0, 0, 0, 1, "FILE: byte 136: there are bytes after the last row" },
        { "images: magic number of labels", 0, 0, 0, 0, 4, 0x801, 0,
          "FILE: byte 0: magic number 0x00000801, but IDX images start with 0x00000803" },
        { "images: magic number of another type", 0, 0, 0, 0, 4, 0xd03, 0,
          "FILE: byte 0: magic number 0x00000d03, but IDX images start with 0x00000803" },
        { "images: no rows", 0, 0, 0, 4, 4, 0, 0, "FILE: byte 4: the file has no rows" },
        { "images: no height", 0, 0, 0, 8, 4, 0, 0, "FILE: byte 8: images of 0 x 3 pixels" },
        { "images: no width", 0, 0, 0, 12, 4, 0, 0, "FILE: byte 8: images of 4 x 0 pixels" },
        { "images: 2^32-1 rows", 0, 0, 0, 4, 4, 0xffffffff, 0,
          "FILE: ends at byte 136, but 4294967295 rows need 51539607556 bytes" },
        { "images: 2^32-1 high", 0, 0, 0, 8, 4, 0xffffffff, 0, "FILE: byte 8: images of 4294967295 x 3 pixels" },
        { "images: another width", 0, 0, 0, 12, 4, 4, 0, "FILE: ends at byte 136, but 10 rows need 176 bytes" },
        { "labels: magic number of images", 1, 0, 0, 0, 4, 0x803, 0,
          "FILE: byte 0: magic number 0x00000803, but IDX labels start with 0x00000801" },
        { "labels: cut", 1, 0, -1, 0, 0, 0, 0, "FILE: ends at byte 17, but 10 rows need 18 bytes" },
        { "labels: one more", 1, 0, 0, 0, 0, 0, 1, "FILE: byte 18: there are bytes after the last row" },
        { "labels: no rows", 1, 0, 0, 4, 4, 0, 0, "FILE: byte 4: the file has no rows" },
        { "labels: one is out of range", 1, 0, 0, 11, 1, 200, 0,
          "FILE: byte 11: label 200 of row 3, but only 4 of the labels 0..200 occur" },
        { "test labels: one is unknown in training", 3, 0, 0, 9, 1, 3, 0,
          "FILE: byte 9: label 3 of row 1, but the classes are 0..2" },
        { "test images: cut", 2, 0, -1, 0, 0, 0, 0, "FILE: ends at byte 87, but 6 rows need 88 bytes" },
        { "gzip: rows that it cannot hold", 0, 1, 0, 4, 4, 0xffffff, 0, NULL },
        { "gzip: one row more than it holds", 0, 1, 0, 4, 4, 11, 0, "FILE: ends at byte 136, but 11 rows need 148 bytes" },
        { "gzip: one row less than it holds", 0, 1, 0, 4, 4, 9, 0, "FILE: byte 124: there are bytes after the last row" },
        { "gzip: labels out of range", 1, 1, 0, 17, 1, 9, 0,
          "FILE: byte 17: label 9 of row 9, but only 4 of the labels 0..9 occur" },
    };
    static struct bytes s, z;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct damage *d = &table[i];
        write_set("bad", d->zip);
        make_idx(d->file, &s);
        if (d->width == 4) poke32(&s, (size_t)d->at, d->value);
        if (d->width == 1) s.b[d->at] = (unsigned char)d->value;
        if (d->cut) s.n = d->cut > 0 ? (size_t)d->cut : s.n - (size_t)-d->cut;
        memset(s.b + s.n, 0, (size_t)d->append);
        s.n += (size_t)d->append;
        if (d->zip) gzip(&s, &z);
        const char *path = in("bad/%s%s", idx_name[d->file], d->zip ? ".gz" : "");
        put(path, d->zip ? z.b : s.b, d->zip ? z.n : s.n);
        char message[200];
        if (!d->message)
            snprintf(message, sizeof message, "FILE: byte 4: 16777215 rows need 201326596 bytes, more than %zu compressed "
                     "bytes can hold", z.n);
        bad(d->what, in("bad"), NULL, path, d->message ? d->message : message);
    }
}

/* Damage of the gzip shell around good contents. */
static void check_gzip_damage(void)
{
    static struct bytes s, z;
    char message[200];
    write_set("bad", 1);
    make_idx(0, &s);
    gzip(&s, &z);
    size_t n = z.n;
    const char *path = in("bad/%s.gz", idx_name[0]), *dir = in("bad");

    z.b[n - 6] ^= 1;
    put(path, z.b, n);
    snprintf(message, sizeof message, "FILE: the gzip data is damaged before compressed byte %zu: incorrect data check", n - 4);
    bad("gzip: check sum", dir, NULL, path, message);
    z.b[n - 6] ^= 1;
    z.b[n - 1] ^= 1;
    put(path, z.b, n);
    snprintf(message, sizeof message, "FILE: the gzip data is damaged before compressed byte %zu: incorrect length check", n);
    bad("gzip: length", dir, NULL, path, message);
    z.b[n - 1] ^= 1;
    put(path, z.b, n - 1);
    snprintf(message, sizeof message, "FILE: the gzip data is cut off at compressed byte %zu", n - 1);
    bad("gzip: last byte lacks", dir, NULL, path, message);
    put(path, z.b, n / 2);
    snprintf(message, sizeof message, "FILE: the gzip data is cut off at compressed byte %zu", n / 2);
    bad("gzip: cut in the middle", dir, NULL, path, message);
    memcpy(z.b + n, "rest", 4);
    put(path, z.b, n + 4);
    snprintf(message, sizeof message, "FILE: compressed byte %zu: bytes after the end of the gzip data", n);
    bad("gzip: bytes after the end", dir, NULL, path, message);
    z.b[10] = 0xff;   /* type 3: no such block */
    put(path, z.b, n);
    bad("gzip: no such block", dir, NULL, path, "FILE: the gzip data is damaged before compressed byte 11: invalid block type");
    put(path, s.b, s.n);
    bad("gzip: plain contents under a .gz name", dir, NULL, path, "FILE: byte 0: no gzip header");
    put(path, "", 0);
    bad("gzip: empty file", dir, NULL, path, "FILE: the file is empty");
}

static void check_idx_sets(void)
{
    static struct bytes s;
    char message[1200];
    write_set("bad", 0);
    make_labels(&s, 9);
    put(in("bad/%s", idx_name[1]), s.b, s.n);
    snprintf(message, sizeof message, "FILE: byte 4: 9 labels, but %s has 10 images", in("bad/%s", idx_name[0]));
    bad("fewer labels than images", in("bad"), NULL, in("bad/%s", idx_name[1]), message);
    write_set("bad", 0);
    make_images(&s, TEST_ROWS, W, H);
    put(in("bad/%s", idx_name[2]), s.b, s.n);
    snprintf(message, sizeof message, "FILE: byte 8: images of 3 x 4 pixels, but %s has 4 x 3", in("bad/%s", idx_name[0]));
    bad("test images of another size", in("bad"), NULL, in("bad/%s", idx_name[2]), message);
    make_images(&s, TEST_ROWS, H, W + 1);
    put(in("bad/%s", idx_name[2]), s.b, s.n);
    snprintf(message, sizeof message, "FILE: byte 8: images of 4 x 4 pixels, but %s has 4 x 3", in("bad/%s", idx_name[0]));
    bad("test images of another width", in("bad"), NULL, in("bad/%s", idx_name[2]), message);
    unlink(in("bad/%s", idx_name[3]));
    bad("no test labels", in("bad"), NULL, in("bad"), "FILE: there is no t10k-labels-idx1-ubyte[.gz] beside the other IDX files");
    unlink(in("bad/%s", idx_name[1]));
    bad("no labels", in("bad"), NULL, in("bad"), "FILE: there is no train-labels-idx1-ubyte[.gz] beside the other IDX files");
    unlink(in("bad/%s", idx_name[0]));
    bad("no IDX files", in("bad"), NULL, in("bad"), "FILE: no data set in this directory: there is no "
        "train-images-idx3-ubyte[.gz], letter-recognition.data or cal_housing.data");
    snprintf(message, sizeof message, "FILE: a set has several IDX files: name their directory, %s/", in("good"));
    bad("one IDX file", in("good/%s.gz", idx_name[0]), NULL, in("good/%s.gz", idx_name[0]), message);
    write_set("bad", 0);
    bad("a target for IDX", in("bad"), "1", in("bad"), "'FILE' has its own target: a target column is for CSV files");
    for (int i = 1; i < 4; i += 2) {
        make_labels(&s, i < 2 ? ROWS : TEST_ROWS);
        memset(s.b + 8, 0, s.n - 8);
        put(in("bad/%s", idx_name[i]), s.b, s.n);
    }
    bad("one class", in("bad"), NULL, in("bad"), "FILE: all rows are of one class");
}

/* Memory ends before a sparse file of 400 MB of pixels does. */
static void check_memory(void)
{
#if defined __SANITIZE_ADDRESS__
    skip("the address sanitizer ends the program when memory does", "idx: no memory");
#else
    static struct bytes s;
    struct rlimit old, low = { 600u << 20, 0 };
    write_set("big", 0);
    make_images(&s, 1, 1, 1);
    poke32(&s, 4, 400);
    poke32(&s, 8, 1000);
    poke32(&s, 12, 1000);
    put(in("big/%s", idx_name[0]), s.b, 16);
    if (truncate(in("big/%s", idx_name[0]), 16 + 400 * 1000000L) || getrlimit(RLIMIT_AS, &old)) {
        skip(strerror(errno), "idx: no memory");
        return;
    }
    low.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_AS, &low);
    bad("idx: no memory", in("big"), NULL, in("big/%s", idx_name[0]), "FILE: no memory for 400 images");
    setrlimit(RLIMIT_AS, &old);
    unlink(in("big/%s", idx_name[0]));
#endif
}

/* ---- CSV ---- */

struct good_csv {
    const char *what, *target, *text;
    int rows, c, classes;
    float x[8];
    float y[4];            /* or labels */
    const char *feature, *class_name;   /* joined by '|' */
};

static void join(char *to, size_t size, char (*from)[HONE_NAME], int n)
{
    size_t len = 0;
    to[0] = 0;
    for (int i = 0; from && i < n && len < size; i++)
        len += (size_t)snprintf(to + len, size - len, "%s%s", i ? "|" : "", from[i]);
}

static void check_csv_good(void)
{
    static const struct good_csv table[] = {
        { "header", NULL, "a,b,y\n1,2,3\n4,5.5,-6e1\n", 2, 2, 0, { 1, 2, 4, 5.5f }, { 3, -60 }, "a|b", "" },
        { "no header", NULL, "1,2,3\n4,5,6\n", 2, 2, 0, { 1, 2, 4, 5 }, { 3, 6 }, "", "" },
        { "no newline at the end", NULL, "1,2,3\n4,5,6", 2, 2, 0, { 1, 2, 4, 5 }, { 3, 6 }, "", "" },
        { "one row", NULL, "1,2,3", 1, 2, 0, { 1, 2 }, { 3 }, "", "" },
        { "CRLF, blank lines, blanks around fields", NULL, "\r\na , b,y\r\n1, 2 ,3\r\n\r\n  \r\n4,5,6\r\n\r\n", 2, 2, 0,
          { 1, 2, 4, 5 }, { 3, 6 }, "a|b", "" },
        { "byte-order mark", NULL, "\xef\xbb\xbf" "a,y\n1,2\n", 1, 1, 0, { 1 }, { 2 }, "a", "" },
        { "semicolons", NULL, "a;b;y\n1;2;3\n", 1, 2, 0, { 1, 2 }, { 3 }, "a|b", "" },
        { "semicolons, a comma in a name", NULL, "a, b;y\n1;3\n", 1, 1, 0, { 1 }, { 3 }, "a, b", "" },
        { "tabs", NULL, "1\t2\t3\n4\t5\t6\n", 2, 2, 0, { 1, 2, 4, 5 }, { 3, 6 }, "", "" },
        { "quotes", NULL, "\"a,\"\"1\"\"\",\"b\nc\" ,y\n\"1\",2,\"3\"\n", 1, 2, 0, { 1, 2 }, { 3 }, "a,\"1\"|b?c", "" },
        { "a header without its first name", NULL, ",b,y\n0,2,3\n", 1, 2, 0, { 0, 2 }, { 3 }, "|b", "" },
        { "target by name", "b", "a,b,y\n1,2,3\n", 1, 2, 0, { 1, 3 }, { 2 }, "a|y", "" },
        { "target by number", "1", "a,b,y\n1,2,3\n", 1, 2, 0, { 2, 3 }, { 1 }, "b|y", "" },
        { "target by number, no header", "2", "1,2,3\n4,5,6\n", 2, 2, 0, { 1, 3, 4, 6 }, { 2, 5 }, "", "" },
        { "a name that is a number", "3", "3,b,y\n1,2,9\n", 1, 2, 0, { 2, 9 }, { 1 }, "b|y", "" },
        { "classes first, no header", NULL, "T,2,8\nI,5,12\nA,1,1\nT,0,0\n", 4, 2, 3, { 2, 8, 5, 12, 1, 1, 0, 0 },
          { 2, 1, 0, 2 }, "", "A|I|T" },
        { "classes last, header", NULL, "a,kind\n1,x\n2,w\n", 2, 1, 2, { 1, 2 }, { 1, 0 }, "a", "w|x" },
        { "classes by name, in the middle", "kind", "a,kind,b\n1,x,2\n3,y,4\n", 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "a|b", "x|y" },
        { "classes by number, no header", "2", "1,x,2\n3,y,4\n", 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "", "x|y" },
        { "numbers as classes", "class:", "a,y\n1,10\n2,9\n3,10\n4,2\n", 4, 1, 3, { 1, 2, 3, 4 }, { 2, 1, 2, 0 }, "a", "2|9|10" },
        { "numbers as classes, by name", "class:a", "a,y\n0,5\n1,6\n", 2, 1, 2, { 5, 6 }, { 0, 1 }, "y", "0|1" },
        { "numbers before words", "class:1", "x,1\n10,1\n9,2\n", 3, 1, 3, { 1, 1, 2 }, { 2, 1, 0 }, "", "9|10|x" },
        { "quoted classes that are missing elsewhere", "2", "1,\"no, none\"\n2,yes\n", 2, 1, 2, { 1, 2 }, { 0, 1 }, "", "no, none|yes" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct good_csv *t = &table[i];
        struct hone_data d, test;
        char features[200], classes[200];
        put_text(in("good.csv"), t->text);
        int good = opened(&d, &test, in("good.csv"), t->target) && d.rows == t->rows && d.h == 1 && d.w == 1 && d.c == t->c &&
                   d.classes == t->classes && d.outputs == !t->classes && !test.rows;
        good = good && same_floats(d.x, t->x, d.rows * d.c);
        for (int r = 0; good && r < t->rows; r++) good = t->classes ? d.label[r] == (int)t->y[r] : d.y[r] == t->y[r];
        join(features, sizeof features, d.feature, d.c);
        join(classes, sizeof classes, d.class_name, d.classes);
        good = good && !strcmp(features, t->feature) && !strcmp(classes, t->class_name);
        if (!ok(good, "csv: %s", t->what))
            printf("# %lld rows, %d features %s, %d classes %s\n", (long long)d.rows, d.c, features, d.classes, classes);
        hone_data_close(&d);
        hone_data_close(&test);
    }
}

static void check_csv_bad(void)
{
    static const struct { const char *what, *target, *text, *message; } table[] = {
        { "empty file", NULL, "", "FILE: the file is empty" },
        { "blank lines only", NULL, "\n \r\n\t\n", "FILE: the file has no rows" },
        { "byte-order mark only", NULL, "\xef\xbb\xbf", "FILE: the file has no rows" },
        { "header only", NULL, "a,b,y\n", "FILE: there are no rows after the header" },
        { "one column", NULL, "y\n1\n", "FILE:1: one column only: no comma, semicolon or tab parts a target from features" },
        { "missing value", NULL, "a,b,y\n1,2,3\n4,,6\n", "FILE:3: column 2 'b': the value is missing" },
        { "missing value, no header", NULL, "1,2,3\n4,NA,6\n", "FILE:2: column 2: the value is missing" },
        { "missing value in the first row", NULL, "?,2,3\n4,5,6\n", "FILE:1: column 1: the value is missing" },
        { "missing target", NULL, "a,b,y\n1,2,3\n4,5,\n", "FILE:3: column 3 'y': the value is missing" },
        { "missing class", NULL, "a,y\n1,x\n2,\n", "FILE:3: column 2 'y': the class is missing" },
        { "word among numbers", NULL, "a,b,y\n1,2,3\n\n4,five,6\n", "FILE:4: column 2 'b': 'five' is not a number" },
        { "word among targets", NULL, "a,b,y\n1,2,3\n4,5,six\n", "FILE:3: column 3 'y': 'six' is not a number" },
        { "control characters", NULL, "1,2\n3,\"\x1b[1m\n\x7f\"\n", "FILE:2: column 2: '?[1m?\?' is not a number" },
        { "a long word", NULL, "1,2\n3,0123456789012345678901234567890123456789x\n",
          "FILE:2: column 2: '0123456789012345678901234567890' is not a number" },
        { "two columns of words", NULL, "1,x,3\n4,y,z\n", "FILE:2: column 3: 'z' is not a number" },
        { "hexadecimal", NULL, "1,2\n3,0x10\n", "FILE:2: column 2: '0x10' is not a number" },
        { "infinity", NULL, "1,2\n3,inf\n", "FILE:2: column 2: 'inf' is not a number" },
        { "two points", NULL, "1,2\n3,1.2.3\n", "FILE:2: column 2: '1.2.3' is not a number" },
        { "too large for f32", NULL, "1,2\n3,1e39\n", "FILE:2: column 2: '1e39' is too large for f32" },
        { "too large for f64", NULL, "1,2\n3,-1e999\n", "FILE:2: column 2: '-1e999' is too large for f32" },
        { "short row", NULL, "a,b,y\n1,2,3\n4,5\n", "FILE:3: column 3 'y': missing: the row ends after 2 of 3 fields" },
        { "short row, no header", NULL, "1,2,3\n4\n", "FILE:2: column 2: missing: the row ends after 1 of 3 fields" },
        { "long row", NULL, "1,2,3\n4,5,6,7\n", "FILE:2: 4 fields, but the first line has 3" },
        { "short row after the header", NULL, "a,b,y\n1,2\n", "FILE:2: column 3 'y': missing: the row ends after 2 of 3 fields" },
        { "line numbers after a quoted line break", NULL, "\"a\nb\",y\n1,2\n3,x\n", "FILE:4: column 2 'y': 'x' is not a number" },
        { "open quote", NULL, "1,2\n\"3,4\n5,6\n", "FILE:2: column 1: this quote is never closed" },
        { "text after a quote", NULL, "1,2\n3,\"4\"5\n", "FILE:2: column 2: text after the closing quote" },
        { "no such column", "z", "a,b,y\n1,2,3\n", "FILE:1: no column 'z' among a, b, y" },
        { "no such column number", "4", "a,b,y\n1,2,3\n", "FILE: no column 4: there are 3" },
        { "column 0", "0", "1,2,3\n", "FILE: no column 0: there are 3" },
        { "column 1.5", "1.5", "1,2,3\n", "FILE: no column 1.5: there are 3" },
        { "a name without a header", "price", "1,2,3\n", "FILE: no column 'price': there is no header; use a number from 1 to 3" },
        { "one class", NULL, "1,x\n2,x\n", "FILE: all rows are of one class" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        put_text(in("bad.csv"), table[i].text);
        bad(table[i].what, in("bad.csv"), table[i].target, in("bad.csv"), table[i].message);
    }
    put(in("bad.csv"), "1,2\n3,\0004\n", 9);
    bad("NUL", in("bad.csv"), NULL, in("bad.csv"), "FILE: byte 6 is NUL: this is not a text file");
    static struct bytes s = { .n = 8, .b = "1,2\n3,4\n" }, z;
    gzip(&s, &z);
    put(in("bad.csv.gz"), z.b, z.n - 3);
    char message[100];
    snprintf(message, sizeof message, "FILE: the gzip data is cut off at compressed byte %zu", z.n - 3);
    bad("csv.gz cut", in("bad.csv.gz"), NULL, in("bad.csv.gz"), message);
}

/* More text than one buffer holds, and more rows than the first allocation. */
static void check_csv_long(void)
{
    enum { N = 30000 };
    struct hone_data d, test;
    FILE *f = fopen(in("long.csv"), "w");
    for (int i = 0; f && i < N; i++) fprintf(f, "%d,%d.25,%s\n", i, i * 3, i % 7 ? "x" : "seventh");
    if (f) fclose(f);
    int good = opened(&d, &test, in("long.csv"), NULL) && d.rows == N && d.c == 2 && d.classes == 2;
    for (int i = 0; good && i < N; i++)
        good = d.x[2 * i] == (float)i && d.x[2 * i + 1] == (float)i * 3 + 0.25f && d.label[i] == (i % 7 != 0);
    ok(good, "csv: %d rows", N);
    hone_data_close(&d);
}

/* ---- known names and paths ---- */

static void check_names(void)
{
    struct hone_data d, test;
    char want[2000], cwd[400];
    mkdir(in("here"), 0700);
    if (!getcwd(cwd, sizeof cwd) || chdir(in("here"))) { ok(0, "chdir"); return; }
    setenv("HONE_DATA", in("place"), 1);
    setenv("XDG_DATA_HOME", in("xdg"), 1);
    setenv("HOME", in("home"), 1);
    snprintf(want, sizeof want,
             "data set 'housing' is in none of %s/place/cal_housing, %s/place/housing, %s/xdg/hone/cal_housing, "
             "%s/xdg/hone/housing, %s/home/.local/share/hone/cal_housing, %s/home/.local/share/hone/housing, "
             "/usr/share/datasets/cal_housing, /usr/share/datasets/housing, ../shared/data/cal_housing, "
             "../shared/data/housing; set HONE_DATA to the place that has it", tmp, tmp, tmp, tmp, tmp, tmp);
    bad("a known set that is nowhere", "housing", NULL, "", want);
    bad("no such set", "nist", NULL, "", "'nist' is no file, directory or known data set; `hone data` lists those");
    bad("a target for a known set", "housing", "9", "", "'housing' has its own target: a target column is for CSV files");

    mkdir(in("place"), 0700);
    mkdir(in("place/cal_housing"), 0700);
    static const char *const rows = "-122.23,37.88,41,880,129,322,126,8.3252,452600\n-122.22,37.86,21,7099,1106,2401,1138,8.3014,358500\n";
    static const float x[] = { 8.3252f, 41, 880 / 126.0f, 129 / 126.0f, 322, 322 / 126.0f, 37.88f, -122.23f };
    put_text(in("place/cal_housing/cal_housing.data"), rows);
    for (int i = 0; i < 3; i++) {
        const char *data = i == 0 ? "housing" : i == 1 ? in("place/cal_housing") : in("place/cal_housing/cal_housing.data");
        int good = opened(&d, &test, data, NULL) && d.rows == 2 && d.c == 8 && d.outputs == 1 && same_floats(d.x, x, 8) &&
                   d.y[0] == 4.526f && d.y[1] == 3.585f && !strcmp(d.feature[2], "AveRooms");
        ok(good, "housing by %s", i == 0 ? "name" : i == 1 ? "directory" : "file");
        hone_data_close(&d);
    }
    ok(opened(&d, &test, in("place/cal_housing/cal_housing.data"), "1") && d.c == 8 && d.y[0] == -122.23f && !d.feature,
       "cal_housing.data with another target is a plain CSV file");
    hone_data_close(&d);
    put_text(in("place/cal_housing/cal_housing.data"), "1,2,3,4,5,6,0,8,9\n");
    bad("no households", "housing", NULL, in("place/cal_housing/cal_housing.data"), "FILE: row 1: column 7: there must be households");
    put_text(in("place/cal_housing/cal_housing.data"), "1,2,3,4,5,6,7,8,9,10\n");
    bad("housing with ten columns", "housing", NULL, in("place/cal_housing/cal_housing.data"),
        "FILE: 9 features, but data set 'housing' has 8");
    mkdir(in("place/letter"), 0700);
    put_text(in("place/letter/letter-recognition.data"), "T,2,8,3,5,1,8,13,0,6,6,10,8,0,8,0,8\nI,5,12,3,7,2,10,5,5,4,13,3,9,2,8,4,10\n");
    bad("two letters", "letter", NULL, in("place/letter/letter-recognition.data"), "FILE: 2 classes, but data set 'letter' has 26");
    write_set("place/mnist", 0);
    bad("small pictures as MNIST", "mnist", NULL, in("place/mnist"), "FILE: 12 features, but data set 'mnist' has 784");
    static struct bytes s;
    make_labels(&s, ROWS);
    s.b[12] = 10;
    put(in("place/mnist/%s", idx_name[1]), s.b, s.n);
    bad("a digit 10 in MNIST", "mnist", NULL, in("place/mnist/%s", idx_name[1]), "FILE: byte 12: label 10 of row 4, but the classes are 0..9");
    ok(!chdir(cwd), "back to the test's directory");
}

/* ---- real sets ---- */

static uint32_t crc_of(const struct hone_data *d, double factor)
{
    unsigned char buf[4096];
    uLong crc = crc32(0, NULL, 0);
    int64_t n = d->rows * d->h * d->w * d->c;
    for (int64_t i = 0, k; i < n; i += k) {
        for (k = 0; k < (int64_t)sizeof buf && i + k < n; k++) buf[k] = (unsigned char)(d->x[i + k] * factor + 0.5);
        crc = crc32(crc, buf, (uInt)k);
    }
    return (uint32_t)crc;
}

static uint32_t crc_of_labels(const struct hone_data *d)
{
    uLong crc = crc32(0, NULL, 0);
    for (int64_t i = 0; i < d->rows; i++) {
        unsigned char b = (unsigned char)d->label[i];
        crc = crc32(crc, &b, 1);
    }
    return (uint32_t)crc;
}

/* crc: of pixels (features) and labels of training and test rows, computed by another program. */
static void check_real(const char *name, int64_t train_rows, int64_t test_rows, int h, int c, int classes, double factor,
                       const uint32_t crc[4])
{
    struct hone_data train, test;
    if (hone_data_open(&train, &test, name, NULL)) {
        skip(hone_errmsg(), "real: %s", name);
        return;
    }
    ok(train.rows == train_rows && test.rows == test_rows && train.h == h && train.w == h && train.c == c && train.classes == classes,
       "real: %s: rows and shape", name);
    uint32_t got[4] = { crc_of(&train, factor), crc_of_labels(&train), test_rows ? crc_of(&test, factor) : 0,
                        test_rows ? crc_of_labels(&test) : 0 };
    if (!ok(!memcmp(got, crc, sizeof got), "real: %s: check sums", name))
        printf("# %08x %08x %08x %08x\n", got[0], got[1], got[2], got[3]);
    hone_data_close(&train);
    hone_data_close(&test);
}

static void check_housing(void)
{
    struct hone_data d, test;
    if (hone_data_open(&d, &test, "housing", NULL)) {
        skip(hone_errmsg(), "real: housing");
        return;
    }
    static const float first[8] = { 8.3252f, 41, 6.98412698f, 1.02380952f, 322, 2.55555556f, 37.88f, -122.23f };
    double sum = 0;
    for (int64_t i = 0; i < d.rows; i++) sum += d.y[i];
    ok(d.rows == 20640 && d.c == 8 && d.outputs == 1 && !d.classes && same_floats(d.x, first, 8) && d.y[0] == 4.526f,
       "real: housing: rows, shape, first row");
    ok(fabs(sum / 20640 - 2.06855817) < 1e-6, "real: housing: mean of the target");
    hone_data_close(&d);
}

/* The known sets' own places, and here the project's shared folder, which stands beside its sources. */
static void check_real_sets(void)
{
    static const uint32_t fashion[4] = { 0xae65dccd, 0x2ed6e46a, 0x12728439, 0x242bc73f };
    static const uint32_t mnist[4] = { 0xf3639b56, 0xba07e8ef, 0xe4ca5f57, 0xee8604d9 };
    static const uint32_t letter[4] = { 0x5590f5dd, 0x90d9c382, 0, 0 };
    char shared[512];
    struct stat st;
    snprintf(shared, sizeof shared, "%s/../shared/data", getenv("srcdir") ? getenv("srcdir") : ".");
    if (!getenv("HONE_DATA") && !stat(shared, &st)) setenv("HONE_DATA", shared, 1);
    check_real("fashion-mnist", 60000, 10000, 28, 1, 10, 255, fashion);
    check_real("mnist", 60000, 10000, 28, 1, 10, 255, mnist);
    check_real("letter", 20000, 0, 1, 16, 26, 1, letter);
    check_housing();
}

/* ---- mutations ---- */

/* A few bytes flipped, or cut, or doubled somewhere. */
static void mutate(const struct bytes *from, struct bytes *to, uint64_t seed)
{
    uint64_t i = 0;
    *to = *from;
    int n = 1 + (int)(hone_random(seed, i++) % 4);
    switch (hone_random(seed, i++) % 4) {
    case 0: to->n = hone_random(seed, i++) % from->n; break;
    case 1: {
        size_t at = hone_random(seed, i++) % from->n, len = hone_random(seed, i++) % (from->n - at) + 1;
        memcpy(to->b + from->n, from->b + at, len);
        to->n += len;
        break;
    }
    default: break;
    }
    for (; n && to->n; n--) {
        size_t at = hone_random(seed, i++) % to->n;
        static const char likely[] = ",;\t\n\r\"'0-eE.x? \xff\x7f\x80\x01";
        uint64_t r = hone_random(seed, i++);
        if (r & 1) to->b[at] ^= (unsigned char)(1u << (r >> 1 & 7));
        else to->b[at] = (unsigned char)likely[(r >> 1) % sizeof likely];
    }
}

/* What may be believed of any data that was opened. */
static int sound(const struct hone_data *d)
{
    int64_t n = d->rows * d->h * d->w * d->c;
    if (d->rows < 1 || n < 1 || !d->x || !d->label == !d->y || (d->label && d->classes < 2)) return 0;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(d->x[i])) return 0;
    for (int64_t i = 0; i < d->rows; i++)
        if (d->label ? d->label[i] < 0 || d->label[i] >= d->classes : !isfinite(d->y[i])) return 0;
    return 1;
}

static void fuzz(const char *what, const char *data, const char *path, const struct bytes *good, int n, uint64_t seed)
{
    static struct bytes m;
    int loaded = 0, refused = 0, wrong = 0;
    for (int i = 0; i < n && !wrong; i++) {
        struct hone_data train, test;
        mutate(good, &m, hone_random(seed, (uint64_t)i));
        put(path, m.b, m.n);
        int err = hone_data_open(&train, &test, data, NULL);
        const char *msg = err ? hone_errmsg() : "";
        if (err) wrong = strncmp(msg, path, strlen(path)) && strncmp(msg, data, strlen(data)) ? 1 : train.x || test.x;
        else wrong = !sound(&train) || (test.rows && !sound(&test));
        for (const char *s = msg; *s; s++) wrong |= (unsigned char)*s < ' ';
        loaded += !err;
        refused += !!err;
        if (wrong) printf("# mutation %d of seed %llu: %d %s\n", i, (unsigned long long)seed, err, msg);
        hone_data_close(&train);
        hone_data_close(&test);
    }
    put(path, good->b, good->n);
    ok(!wrong && refused, "mutations of %s: %d loaded, %d refused", what, loaded, refused);
}

static void check_mutations(void)
{
    static struct bytes s, z;
    int n = getenv("HONE_FUZZ") ? atoi(getenv("HONE_FUZZ")) : 1000;
    static const char *const what[4] = { "training images", "training labels", "test images", "test labels" };
    for (int zip = 0; zip < 2; zip++) {
        write_set("fuzz", zip);
        for (int i = 0; i < 4; i++) {
            make_idx(i, &s);
            if (zip) gzip(&s, &z);
            fuzz(what[i], in("fuzz"), in("fuzz/%s%s", idx_name[i], zip ? ".gz" : ""), zip ? &z : &s, n / 2, (uint64_t)(10 * zip + i));
        }
    }
    static const char *const text[] = {
        "a,\"b, \"\"c\"\"\",kind\n1,2.5,x\n-3e2,\"4\",y\n5,6,\"x\"\n",
        "1;2;3\r\n4;5;6\r\n\r\n7;8;9",
        "T,2,8,3\nI,5,12,3\nD,4,11,6\nN,7,11,6\n",
    };
    for (int i = 0; i < 3; i++) {
        s.n = strlen(text[i]);
        memcpy(s.b, text[i], s.n);
        fuzz("a CSV file", in("fuzz.csv"), in("fuzz.csv"), &s, n, (uint64_t)(20 + i));
    }
    gzip(&s, &z);
    fuzz("a CSV file in gzip", in("fuzz.csv.gz"), in("fuzz.csv.gz"), &z, n, 23);
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(tmp, sizeof tmp, "%.150s/hone-data-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(tmp)) {
        printf("Bail out! %s: %s\n", tmp, strerror(errno));
        return 1;
    }
    check_real_sets();
    check_idx_good();
    check_idx_damage();
    check_gzip_damage();
    check_idx_sets();
    check_memory();
    check_csv_good();
    check_csv_bad();
    check_csv_long();
    check_names();
    check_mutations();
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", tmp);
    if (system(command)) printf("# %s stays\n", tmp);
    return tap_end();
}
