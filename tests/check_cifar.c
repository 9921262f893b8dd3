/* CIFAR's binary files, plain, gzip and xz: good ones, each kind of damage with its message, the
 * shell of xz files, and mutations. */
#include "tests/data_files.h"

enum { RECORD10 = 3073, RECORD100 = 3074, CIFAR_ROWS = 6 };

/* Value of a row's channel k at pixel i: no two planes and no two pixels are alike. */
static int pixel(int row, int k, int i) { return (7 * row + 3 * i + i / 256 + 50 * k) % 256; }

/* `rows` records from row `first` on; labels row mod 10; coarse row mod 20, fine 3 row mod 100. */
static void make_records(struct bytes *s, int nlabels, int first, int rows)
{
    s->n = 0;
    for (int r = first; r < first + rows; r++) {
        s->b[s->n++] = (unsigned char)(nlabels == 1 ? r % 10 : r % 20);
        if (nlabels == 2) s->b[s->n++] = (unsigned char)(3 * r % 100);
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < 1024; i++) s->b[s->n++] = (unsigned char)pixel(r, k, i);
    }
}

static void put_packed(const char *name, const struct bytes *s, int packing)
{
    static struct bytes z;
    static const char *const ending[] = { "", ".gz", ".xz" };
    for (int i = 0; i < 3; i++) unlink(in("%s%s", name, ending[i]));
    if (packing == 1) gzip(s, &z);
    if (packing == 2) xz(s, &z);
    put(in("%s%s", name, ending[packing]), packing ? z.b : s->b, packing ? z.n : s->n);
}

/* Two training files of 4 and 2 rows and a test file of 3. */
static void write_cifar10(const char *dir, int packing)
{
    static struct bytes s;
    char name[100];
    mkdir(in("%s", dir), 0700);
    for (int i = 0; i < 3; i++) {
        static const char *const file[] = { "data_batch_1.bin", "data_batch_2.bin",
                                            "test_batch.bin" };
        static const int first[] = { 0, 4, 6 }, rows[] = { 4, 2, 3 };
        make_records(&s, 1, first[i], rows[i]);
        snprintf(name, sizeof name, "%s/%s", dir, file[i]);
        put_packed(name, &s, packing);
    }
}

static void write_cifar100(const char *dir, int packing)
{
    static struct bytes s;
    char name[100];
    mkdir(in("%s", dir), 0700);
    make_records(&s, 2, 0, CIFAR_ROWS);
    snprintf(name, sizeof name, "%s/train.bin", dir);
    put_packed(name, &s, packing);
    make_records(&s, 2, CIFAR_ROWS, 3);
    snprintf(name, sizeof name, "%s/test.bin", dir);
    put_packed(name, &s, packing);
}

/* Do d's rows follow from `first` on, with labels row * factor mod classes? */
static int is_cifar(const struct hone_data *d, int first, int rows, int factor, int classes)
{
    int good = d->rows == rows && d->h == 32 && d->w == 32 && d->c == 3 && d->classes == classes &&
               d->bytes && !d->x;
    for (int r = 0; good && r < rows; r++) {
        good = d->label[r] == factor * (first + r) % classes;
        for (int i = 0; good && i < 3072; i++)
            good = value_at(d, 3072 * r + i) == (float)pixel(first + r, i % 3, i / 3) / 255.0f;
    }
    return good;
}

static void check_good(void)
{
    static const char *const how[] = { "plain", "gzip", "xz" };
    struct hone_data train, test;
    for (int packing = 0; packing < 3; packing++) {
        write_cifar10("ten", packing);
        ok(opened(&train, &test, in("ten"), NULL) && is_cifar(&train, 0, 6, 1, 10) &&
               is_cifar(&test, 6, 3, 1, 10) && !train.class_name,
           "cifar: 10 classes, %s", how[packing]);
        hone_data_close(&train);
        hone_data_close(&test);
        write_cifar100("hundred", packing);
        ok(opened(&train, &test, in("hundred"), NULL) && is_cifar(&train, 0, 6, 3, 100) &&
               is_cifar(&test, 6, 3, 3, 100),
           "cifar: 100 classes, %s", how[packing]);
        hone_data_close(&train);
        hone_data_close(&test);
        ok(opened(&train, &test, in("hundred"), "coarse") && is_cifar(&train, 0, 6, 1, 20) &&
               is_cifar(&test, 6, 3, 1, 20),
           "cifar: 20 coarse classes, %s", how[packing]);
        hone_data_close(&train);
        hone_data_close(&test);
    }
    put_text(in("ten/batches.meta.txt"),
             "airplane\r\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
    unlink(in("ten/test_batch.bin.xz"));
    ok(opened(&train, &test, in("ten"), NULL) && !strcmp(train.class_name[0], "airplane") &&
           !strcmp(train.class_name[9], "truck") && !test.rows,
       "cifar: names, no test file");
    hone_data_close(&train);
    hone_data_close(&test);
    char folder[300];
    snprintf(folder, sizeof folder, "%s", in("place"));
    mkdir(folder, 0700);
    write_cifar10("place/cifar-10-batches-bin", 1);
    setenv("HONE_DATA", folder, 1);
    ok(opened(&train, &test, "cifar10", NULL) && is_cifar(&train, 0, 6, 1, 10), "cifar10 by name");
    hone_data_close(&train);
    hone_data_close(&test);
    bad("a target for CIFAR-10", in("ten"), "fine", in("ten"),
        "FILE: CIFAR-10 has one label: leave the target out");
    bad("no such target", in("hundred"), "medium", in("hundred"),
        "FILE: target 'medium': expected coarse or fine");
}

/* One change to one file. */
static void check_damage(void)
{
    static const struct {
        const char *what, *dir, *file;
        int nlabels, rows;
        long cut, at;
        int value;
        const char *message;
    } table[] = {
        { "a label out of range", "bad10", "data_batch_1.bin", 1, 4, 0, 2 * RECORD10, 10,
          "FILE: byte 6146: label 10 of row 2, but the classes are 0..9" },
        { "a label out of range in the second file", "bad10", "data_batch_2.bin", 1, 2, 0, 0, 255,
          "FILE: byte 0: label 255 of row 0, but the classes are 0..9" },
        { "a label out of range in the test file", "bad10", "test_batch.bin", 1, 3, 0, RECORD10, 77,
          "FILE: byte 3073: label 77 of row 1, but the classes are 0..9" },
        { "a coarse label out of range", "bad100", "train.bin", 2, 6, 0, RECORD100, 20,
          "FILE: byte 3074: coarse label 20 of row 1, but the classes are 0..19" },
        { "a fine label out of range", "bad100", "test.bin", 2, 3, 0, 1, 100,
          "FILE: byte 1: fine label 100 of row 0, but the classes are 0..99" },
        { "one byte lacks", "bad10", "data_batch_1.bin", 1, 4, 4 * RECORD10 - 1, -1, 0,
          "FILE: ends at byte 12291, inside row 3: rows have 3073 bytes" },
        { "one byte more", "bad100", "train.bin", 2, 6, 6 * RECORD100 + 1, -1, 0,
          "FILE: ends at byte 18445, inside row 6: rows have 3074 bytes" },
        { "one byte", "bad10", "test_batch.bin", 1, 3, 1, -1, 0,
          "FILE: ends at byte 1, inside row 0: rows have 3073 bytes" },
    };
    static struct bytes s;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int packing = 0; packing < 3; packing++) {
            char name[200];
            static const char *const ending[] = { "", ".gz", ".xz" };
            write_cifar10("bad10", packing);
            write_cifar100("bad100", packing);
            make_records(&s, table[i].nlabels, 0, table[i].rows);
            s.b[s.n] = 0;
            if (table[i].at >= 0) s.b[table[i].at] = (unsigned char)table[i].value;
            if (table[i].cut) s.n = (size_t)table[i].cut;
            snprintf(name, sizeof name, "%s/%s", table[i].dir, table[i].file);
            put_packed(name, &s, packing);
            bad(table[i].what, in("%s", table[i].dir), NULL, in("%s%s", name, ending[packing]),
                table[i].message);
        }
    write_cifar10("bad10", 0);
    put(in("bad10/test_batch.bin"), "", 0);
    bad("an empty file", in("bad10"), NULL, in("bad10/test_batch.bin"), "FILE: the file is empty");
    s.n = 0;
    put_packed("bad10/test_batch.bin", &s, 2);
    bad("an empty file in xz", in("bad10"), NULL, in("bad10/test_batch.bin.xz"),
        "FILE: the file has no rows");
    write_cifar10("bad10", 0);
    rename(in("bad10/data_batch_2.bin"), in("bad10/data_batch_3.bin"));
    bad("a file of the set lacks", in("bad10"), NULL, in("bad10/data_batch_3.bin"),
        "FILE: there is no data_batch_2.bin[.gz|.xz] before this file");
    rename(in("bad10/data_batch_3.bin"), in("bad10/data_batch_2.bin"));
    put_text(in("bad10/batches.meta.txt"), "airplane\nautomobile\n");
    bad("names lack", in("bad10"), NULL, in("bad10/batches.meta.txt"),
        "FILE: 2 names, but there are 10 classes");
    unlink(in("bad10/batches.meta.txt"));
}

/* Damage of the xz shell around good contents. */
static void check_xz(void)
{
    static struct bytes s, z, twice;
    struct hone_data train, test;
    char message[300];
    write_cifar10("bad10", 0);
    unlink(in("bad10/data_batch_1.bin"));
    const char *path = in("bad10/data_batch_1.bin.xz"), *dir = in("bad10");
    make_records(&s, 1, 0, 4);
    xz(&s, &z);
    size_t n = z.n;
    for (int cut = 0; cut < 2; cut++) {
        size_t left = cut ? n / 2 : n - 1;
        put(path, z.b, left);
        snprintf(message, sizeof message, "FILE: the xz data is cut off at compressed byte %zu",
                 left);
        bad(cut ? "xz: cut in the middle" : "xz: last byte lacks", dir, NULL, path, message);
    }
    memcpy(z.b + n, "rest", 4);
    put(path, z.b, n + 4);
    snprintf(message, sizeof message,
             "FILE: compressed byte %zu: bytes after the end of the xz data", n);
    bad("xz: bytes after the end", dir, NULL, path, message);
    memset(z.b + n, 0, 4);
    put(path, z.b, n + 3);
    snprintf(message, sizeof message,
             "FILE: compressed byte %zu: 3 zeros after the xz data, not a multiple of 4", n);
    bad("xz: three zeros after the end", dir, NULL, path, message);
    put(path, z.b, n + 4);
    ok(opened(&train, &test, dir, NULL) && is_cifar(&train, 0, 6, 1, 10),
       "xz: four zeros may follow");
    hone_data_close(&train);
    hone_data_close(&test);
    /* The last four bytes before the footer of 12 and the index are the block's check sum or the
     * index's; a flipped bit in the middle of the codes is found there at the latest. */
    z.b[n / 2] ^= 1;
    put(path, z.b, n);
    int err = hone_data_open(&train, &test, dir, NULL);
    snprintf(message, sizeof message, "%s: the xz data is damaged before compressed byte ", path);
    ok(err < 0 && !strncmp(hone_errmsg(), message, strlen(message)) &&
           strstr(hone_errmsg(), ": its check sums or codes are wrong") && !train.bytes,
       "bad: xz: a flipped bit");
    z.b[n / 2] ^= 1;
    put(path, s.b, s.n);
    bad("xz: plain contents under a .xz name", dir, NULL, path, "FILE: byte 0: no xz header");
    /* Two streams one after the other are one file. */
    make_records(&s, 1, 0, 1);
    xz(&s, &twice);
    make_records(&s, 1, 1, 3);
    xz(&s, &z);
    memcpy(twice.b + twice.n, z.b, z.n);
    put(path, twice.b, twice.n + z.n);
    ok(opened(&train, &test, dir, NULL) && is_cifar(&train, 0, 6, 1, 10), "xz: two streams");
    hone_data_close(&train);
    hone_data_close(&test);
}

/* crc: pixels and labels of training rows, then of test rows, computed by another program. */
static void check_real(const char *name, const char *target, int64_t rows, int64_t test_rows,
                       const char *first_class, const uint32_t crc[4])
{
    struct hone_data train, test;
    struct stat st;
    char path[600];
    const char *place = getenv("HONE_DATA"), *srcdir = getenv("srcdir");
    if (place)
        snprintf(path, sizeof path, "%s/%s", place, name);
    else
        snprintf(path, sizeof path, "%s/../shared/data/%s", srcdir ? srcdir : ".", name);
    if (stat(path, &st)) {
        skip("neither in HONE_DATA nor beside the sources", "real: %s", name);
        return;
    }
    int good = opened(&train, &test, path, target);
    uint32_t got[4] = { 0 };
    if (good) {
        got[0] = crc_of(&train, 255);
        got[1] = crc_of_labels(&train);
        got[2] = crc_of(&test, 255);
        got[3] = crc_of_labels(&test);
    }
    if (!ok(good && train.rows == rows && test.rows == test_rows &&
                !strcmp(train.class_name[0], first_class) && !memcmp(got, crc, sizeof got),
            "real: %s, %s", name, target ? target : "as it is"))
        printf("# %08x %08x %08x %08x\n", got[0], got[1], got[2], got[3]);
    hone_data_close(&train);
    hone_data_close(&test);
}

static void check_mutations(void)
{
    static struct bytes s, z;
    write_cifar10("fuzz", 0);
    make_records(&s, 1, 0, 4);
    fuzz("a CIFAR file", in("fuzz"), in("fuzz/data_batch_1.bin"), &s, 31);
    unlink(in("fuzz/data_batch_1.bin"));
    xz(&s, &z);
    fuzz("a CIFAR file in xz", in("fuzz"), in("fuzz/data_batch_1.bin.xz"), &z, 32);
}

int main(void)
{
    static const uint32_t ten[4] = { 0xebe60aab, 0x0ee57a7b, 0x7e1b7134, 0x7b5ce72b },
                          fine[4] = { 0xc56553ad, 0x592c144c, 0xbf3f96e6, 0xef4c6cb7 },
                          coarse[4] = { 0xc56553ad, 0x670c01e8, 0xbf3f96e6, 0x20275517 };
    if (!files_begin()) return 1;
    check_real("cifar10-small", NULL, 1000, 250, "airplane", ten);
    check_real("cifar100-small", NULL, 1000, 200, "apple", fine);
    check_real("cifar100-small", "coarse", 1000, 200, "aquatic_mammals", coarse);
    check_good();
    check_damage();
    check_xz();
    check_mutations();
    return files_end();
}
