/* IDX files, plain and gzip: good ones, each kind of damage with its message, and mutations. */
#include "tests/data_files.h"

#include <sys/resource.h>

/* gcc and clang tell of it in two ways. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#elif defined __SANITIZE_ADDRESS__
#define ADDRESS_SANITIZER
#endif

/* ---- IDX ---- */

static int is_set(const struct hone_data *d, int rows)
{
    int good = d->rows == rows && d->h == H && d->w == W && d->c == 1 && d->classes == 3 &&
               d->label && !d->y;
    for (int i = 0; good && i < rows; i++) {
        good = d->label[i] == i % 3;
        for (int j = 0; j < H * W; j++)
            good &= value_at(d, i * H * W + j) == (float)((7 * i + 3 * j) % 256) / 255.0f;
    }
    return good;
}

static void check_idx_good(void)
{
    struct hone_data train, test;
    static struct bytes s, a, b;
    for (int zip = 0; zip < 2; zip++) {
        write_set("good", zip);
        ok(opened(&train, &test, in("good"), NULL) && is_set(&train, ROWS) &&
               is_set(&test, TEST_ROWS),
           "idx: a directory of %s files", zip ? "gzip" : "plain");
        ok(!strcmp(train.name, "good") && !strcmp(train.source, in("good")),
           "idx: name and source");
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
    ok(opened(&train, &test, in("good/"), NULL) && is_set(&train, ROWS),
       "idx: gzip in two members, path with a slash");
    ok(!strcmp(train.name, "good"), "idx: name without the slash");
    hone_data_close(&train);
    hone_data_close(&test);

    mkdir(in("dots"), 0700);
    put(in("dots/train-images.idx3-ubyte"), s.b, s.n);
    make_idx(1, &s);
    put(in("dots/train-labels.idx1-ubyte"), s.b, s.n);
    ok(opened(&train, &test, in("dots"), NULL) && is_set(&train, ROWS) && !test.rows &&
           !test.bytes && test.name[0],
       "idx: .idx names, no test files");
    hone_data_close(&train);
    hone_data_close(&test);
}

/* One change to one file of a good set: cut to `cut` bytes (negative: from the end), a number
 * poked, bytes appended. */
struct damage {
    const char *what;
    int file, zip;
    long cut, at;
    int width; /* bytes poked; 0: none */
    uint32_t value;
    int append;
    const char *message;
};

static void check_idx_damage(void)
{
    static const struct damage table[] = {
        { "images: cut in the header", 0, 0, 3, 0, 0, 0, 0,
          "FILE: ends at byte 3, inside the header of 16 bytes" },
        { "images: cut after the magic number", 0, 0, 15, 0, 0, 0, 0,
          "FILE: ends at byte 15, inside the header of 16 bytes" },
        { "images: cut in the rows", 0, 0, 100, 0, 0, 0, 0,
          "FILE: ends at byte 100, but 10 rows need 136 bytes" },
        { "images: one byte lacks", 0, 0, -1, 0, 0, 0, 0,
          "FILE: ends at byte 135, but 10 rows need 136 bytes" },
        { "images: one byte more", 0, 0, 0, 0, 0, 0, 1,
          "FILE: byte 136: there are bytes after the last row" },
        { "images: magic number of labels", 0, 0, 0, 0, 4, 0x801, 0,
          "FILE: byte 0: magic number 0x00000801, but IDX images start with 0x00000803" },
        { "images: magic number of another type", 0, 0, 0, 0, 4, 0xd03, 0,
          "FILE: byte 0: magic number 0x00000d03, but IDX images start with 0x00000803" },
        { "images: no rows", 0, 0, 0, 4, 4, 0, 0, "FILE: byte 4: the file has no rows" },
        { "images: no height", 0, 0, 0, 8, 4, 0, 0, "FILE: byte 8: images of 0 x 3 pixels" },
        { "images: no width", 0, 0, 0, 12, 4, 0, 0, "FILE: byte 8: images of 4 x 0 pixels" },
        { "images: 2^32-1 rows", 0, 0, 0, 4, 4, 0xffffffff, 0,
          "FILE: ends at byte 136, but 4294967295 rows need 51539607556 bytes" },
        { "images: 2^32-1 high", 0, 0, 0, 8, 4, 0xffffffff, 0,
          "FILE: byte 8: images of 4294967295 x 3 pixels" },
        { "images: another width", 0, 0, 0, 12, 4, 4, 0,
          "FILE: ends at byte 136, but 10 rows need 176 bytes" },
        { "labels: magic number of images", 1, 0, 0, 0, 4, 0x803, 0,
          "FILE: byte 0: magic number 0x00000803, but IDX labels start with 0x00000801" },
        { "labels: cut", 1, 0, -1, 0, 0, 0, 0, "FILE: ends at byte 17, but 10 rows need 18 bytes" },
        { "labels: one more", 1, 0, 0, 0, 0, 0, 1,
          "FILE: byte 18: there are bytes after the last row" },
        { "labels: no rows", 1, 0, 0, 4, 4, 0, 0, "FILE: byte 4: the file has no rows" },
        { "labels: one is out of range", 1, 0, 0, 11, 1, 200, 0,
          "FILE: byte 11: label 200 of row 3, but only 4 of the labels 0..200 occur" },
        { "test labels: one is unknown in training", 3, 0, 0, 9, 1, 3, 0,
          "FILE: byte 9: label 3 of row 1, but the classes are 0..2" },
        { "test images: cut", 2, 0, -1, 0, 0, 0, 0,
          "FILE: ends at byte 87, but 6 rows need 88 bytes" },
        { "gzip: rows that it cannot hold", 0, 1, 0, 4, 4, 0xffffff, 0, NULL },
        { "gzip: one row more than it holds", 0, 1, 0, 4, 4, 11, 0,
          "FILE: ends at byte 136, but 11 rows need 148 bytes" },
        { "gzip: one row less than it holds", 0, 1, 0, 4, 4, 9, 0,
          "FILE: byte 124: there are bytes after the last row" },
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
            snprintf(message, sizeof message,
                     "FILE: byte 4: 16777215 rows need 201326596 bytes, more than %zu compressed "
                     "bytes can hold",
                     z.n);
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
    snprintf(message, sizeof message,
             "FILE: the gzip data is damaged before compressed byte %zu: incorrect data check",
             n - 4);
    bad("gzip: check sum", dir, NULL, path, message);
    z.b[n - 6] ^= 1;
    z.b[n - 1] ^= 1;
    put(path, z.b, n);
    snprintf(message, sizeof message,
             "FILE: the gzip data is damaged before compressed byte %zu: incorrect length check",
             n);
    bad("gzip: length", dir, NULL, path, message);
    z.b[n - 1] ^= 1;
    put(path, z.b, n - 1);
    snprintf(message, sizeof message, "FILE: the gzip data is cut off at compressed byte %zu",
             n - 1);
    bad("gzip: last byte lacks", dir, NULL, path, message);
    put(path, z.b, n / 2);
    snprintf(message, sizeof message, "FILE: the gzip data is cut off at compressed byte %zu",
             n / 2);
    bad("gzip: cut in the middle", dir, NULL, path, message);
    memcpy(z.b + n, "rest", 4);
    put(path, z.b, n + 4);
    snprintf(message, sizeof message,
             "FILE: compressed byte %zu: bytes after the end of the gzip data", n);
    bad("gzip: bytes after the end", dir, NULL, path, message);
    z.b[10] = 0xff; /* type 3: no such block */
    put(path, z.b, n);
    bad("gzip: no such block", dir, NULL, path,
        "FILE: the gzip data is damaged before compressed byte 11: invalid block type");
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
    snprintf(message, sizeof message, "FILE: byte 4: 9 labels, but %s has 10 images",
             in("bad/%s", idx_name[0]));
    bad("fewer labels than images", in("bad"), NULL, in("bad/%s", idx_name[1]), message);
    write_set("bad", 0);
    make_images(&s, TEST_ROWS, W, H);
    put(in("bad/%s", idx_name[2]), s.b, s.n);
    snprintf(message, sizeof message, "FILE: byte 8: images of 3 x 4 pixels, but %s has 4 x 3",
             in("bad/%s", idx_name[0]));
    bad("test images of another size", in("bad"), NULL, in("bad/%s", idx_name[2]), message);
    make_images(&s, TEST_ROWS, H, W + 1);
    put(in("bad/%s", idx_name[2]), s.b, s.n);
    snprintf(message, sizeof message, "FILE: byte 8: images of 4 x 4 pixels, but %s has 4 x 3",
             in("bad/%s", idx_name[0]));
    bad("test images of another width", in("bad"), NULL, in("bad/%s", idx_name[2]), message);
    unlink(in("bad/%s", idx_name[3]));
    bad("no test labels", in("bad"), NULL, in("bad"),
        "FILE: there is no t10k-labels-idx1-ubyte[.gz|.xz] beside the other IDX files");
    unlink(in("bad/%s", idx_name[1]));
    bad("no labels", in("bad"), NULL, in("bad"),
        "FILE: there is no train-labels-idx1-ubyte[.gz|.xz] beside the other IDX files");
    unlink(in("bad/%s", idx_name[0]));
    bad("no IDX files", in("bad"), NULL, in("bad"),
        "FILE: no data set in this directory: there is no "
        "train-images-idx3-ubyte[.gz|.xz], data_batch_1.bin or train.bin (CIFAR), a folder of PNG "
        "images for each class, "
        "letter-recognition.data or cal_housing.data");
    snprintf(message, sizeof message,
             "FILE: a set has several IDX files: name their directory, %s/", in("good"));
    bad("one IDX file", in("good/%s.gz", idx_name[0]), NULL, in("good/%s.gz", idx_name[0]),
        message);
    write_set("bad", 0);
    bad("a target for IDX", in("bad"), "1", in("bad"),
        "'FILE' has its own target: a target column is for CSV files");
    for (int i = 1; i < 4; i += 2) {
        make_labels(&s, i < 2 ? ROWS : TEST_ROWS);
        memset(s.b + 8, 0, s.n - 8);
        put(in("bad/%s", idx_name[i]), s.b, s.n);
    }
    bad("one class", in("bad"), NULL, in("bad"), "FILE: all rows are of one class");
}

/* Memory ends before a sparse file of 800 MB of pixels does. */
static void check_memory(void)
{
#ifdef ADDRESS_SANITIZER
    skip("the address sanitizer ends the program when memory does", "idx: no memory");
#else
    static struct bytes s;
    struct rlimit old, low = { 600u << 20, 0 };
    write_set("big", 0);
    make_images(&s, 1, 1, 1);
    poke32(&s, 4, 800);
    poke32(&s, 8, 1000);
    poke32(&s, 12, 1000);
    put(in("big/%s", idx_name[0]), s.b, 16);
    if (truncate(in("big/%s", idx_name[0]), 16 + 800 * 1000000L) || getrlimit(RLIMIT_AS, &old)) {
        skip(strerror(errno), "idx: no memory");
        return;
    }
    low.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_AS, &low);
    bad("idx: no memory", in("big"), NULL, in("big/%s", idx_name[0]),
        "FILE: no memory for 800 images");
    setrlimit(RLIMIT_AS, &old);
    unlink(in("big/%s", idx_name[0]));
#endif
}

/* ---- mutations ---- */

static void check_mutations(void)
{
    static struct bytes s, z;
    static const char *const what[4] = { "training images", "training labels", "test images",
                                         "test labels" };
    for (int zip = 0; zip < 2; zip++) {
        write_set("fuzz", zip);
        for (int i = 0; i < 4; i++) {
            make_idx(i, &s);
            if (zip) gzip(&s, &z);
            fuzz(what[i], in("fuzz"), in("fuzz/%s%s", idx_name[i], zip ? ".gz" : ""), zip ? &z : &s,
                 (uint64_t)(10 * zip + i));
        }
    }
}

int main(void)
{
    if (!files_begin()) return 1;
    check_idx_good();
    check_idx_damage();
    check_gzip_damage();
    check_idx_sets();
    check_memory();
    check_mutations();
    return files_end();
}
