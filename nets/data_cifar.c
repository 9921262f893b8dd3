/* The binary files of CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning multiple layers of features
 * from tiny images", 2009): records of one label (CIFAR-10) or two (coarse, fine) and 32 x 32
 * pixels as planes of red, green and blue, which become (h, w, c).  Plain, gzip or xz; files are
 * read side by side, since unpacking takes longer than everything else. */
#include "nets/data.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, CHUNK = 256, NFILES = 64 };

static const struct kind {
    const char *train, *test; /* a %d: one file after the other, from 1 on */
    int nlabels;
    struct {
        const char *what, *names;
        int classes;
    } label[2];
} kinds[] = {
    { "data_batch_%d.bin", "test_batch.bin", 1, { { "", "batches.meta.txt", 10 } } },
    { "train.bin",
      "test.bin",
      2,
      { { "coarse ", "coarse_label_names.txt", 20 }, { "fine ", "fine_label_names.txt", 100 } } },
};

/* ---- which files ---- */

/* DIR/NAME, or the same packed. */
static int find(const char *dir, const char *name, char path[512])
{
    static const char *const ending[] = { "", ".gz", ".xz" };
    struct stat st;
    for (int i = 0; i < 3; i++) {
        int n = snprintf(path, 512, "%s/%s%s", dir, name, ending[i]);
        if (n < 512 && !stat(path, &st) && S_ISREG(st.st_mode)) return 1;
    }
    return 0;
}

static int find_part(const char *dir, const struct kind *k, int number, char path[512])
{
    char name[64];
    snprintf(name, sizeof name, "%.*s%d%s", (int)(strchr(k->train, '%') - k->train), k->train,
             number, ".bin");
    return find(dir, name, path);
}

static int is_parted(const struct kind *k) { return strchr(k->train, '%') != NULL; }

static const struct kind *kind_in(const char *dir)
{
    char path[512];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        if (!is_parted(k) && find(dir, k->train, path)) return k;
        for (int n = 1; is_parted(k) && n < NFILES; n++)
            if (find_part(dir, k, n, path)) return k;
    }
    return NULL;
}

static int holds(const char *dir) { return kind_in(dir) != NULL; }

/* One file's contents. */
struct part {
    char path[512];
    int test;
    int64_t rows, room;
    uint8_t *bytes; /* (rows, h, w, c) */
    int32_t *label; /* (rows) */
    int err;
    char why[HONE_TEXT];
};

/* Lists the training files in order, then the test file.  A gap in the numbers is a file that got
 * lost. */
static int list(const char *dir, const struct kind *k, struct part part[NFILES], int *nparts)
{
    int n = 0;
    if (!is_parted(k)) n = find(dir, k->train, part[0].path);
    for (int i = 1; is_parted(k) && i < NFILES - 1; i++) {
        if (!find_part(dir, k, i, part[n].path)) continue;
        if (++n != i)
            return hone_fail(HONE_EDATA,
                             "%s: there is no data_batch_%d.bin[.gz|.xz] before this "
                             "file",
                             part[n - 1].path, n);
    }
    part[n].test = find(dir, k->test, part[n].path);
    *nparts = n + part[n].test;
    return HONE_OK;
}

/* ---- one file ---- */

static int grow(struct part *p, int64_t rows)
{
    if (rows <= p->room) return HONE_OK;
    int64_t room = rows > 2 * p->room ? rows : 2 * p->room;
    uint8_t *bytes = realloc(p->bytes, (size_t)room * PIXELS);
    if (bytes) p->bytes = bytes;
    int32_t *label = realloc(p->label, (size_t)room * sizeof *label);
    if (label) p->label = label;
    if (!bytes || !label)
        return hone_fail(HONE_ENOMEM, "%s: no memory for %lld images", p->path, (long long)room);
    p->room = room;
    return HONE_OK;
}

static int add_record(struct part *p, const struct kind *k, int wanted, const uint8_t *record)
{
    int64_t at = p->rows * (k->nlabels + PIXELS);
    for (int i = 0; i < k->nlabels; i++)
        if (record[i] >= k->label[i].classes)
            return hone_fail(HONE_EDATA,
                             "%s: byte %lld: %slabel %d of row %lld, but the classes are 0..%d",
                             p->path, (long long)(at + i), k->label[i].what, record[i],
                             (long long)p->rows, k->label[i].classes - 1);
    const uint8_t *plane = record + k->nlabels;
    uint8_t *to = p->bytes + p->rows * PIXELS;
    for (int i = 0; i < PLANE; i++, to += 3) {
        to[0] = plane[i];
        to[1] = plane[PLANE + i];
        to[2] = plane[2 * PLANE + i];
    }
    p->label[p->rows++] = record[wanted];
    return HONE_OK;
}

static int read_records(struct hone_file *s, struct part *p, const struct kind *k, int wanted,
                        uint8_t *buf)
{
    size_t record = (size_t)(k->nlabels + PIXELS), got;
    do {
        int err = hone_file_read(s, buf, CHUNK * record, &got);
        if (!err) err = grow(p, p->rows + (int64_t)(got / record));
        for (size_t at = 0; !err && at + record <= got; at += record)
            err = add_record(p, k, wanted, buf + at);
        if (err) return err;
    } while (got == CHUNK * record);
    if (got % record)
        return hone_fail(HONE_EDATA, "%s: ends at byte %lld, inside row %lld: rows have %zu bytes",
                         p->path, (long long)s->offset, (long long)p->rows, record);
    if (!p->rows) return hone_fail(HONE_EDATA, "%s: the file has no rows", p->path);
    return HONE_OK;
}

static int read_part(struct part *p, const struct kind *k, int wanted)
{
    struct hone_file s;
    uint8_t *buf = malloc(CHUNK * (size_t)(k->nlabels + PIXELS));
    if (!buf) return hone_fail(HONE_ENOMEM, "%s: no memory", p->path);
    int err = hone_file_open(&s, p->path);
    if (!err && !s.packing) err = grow(p, s.size / (k->nlabels + PIXELS));
    if (!err) err = read_records(&s, p, k, wanted, buf);
    hone_file_close(&s);
    free(buf);
    return err;
}

/* ---- the set ---- */

static int read_names(struct hone_data *d, const char *dir, const char *name)
{
    struct hone_file s;
    char path[512], text[8192];
    size_t got;
    int n = 0;
    if (!find(dir, name, path)) return HONE_OK;
    int err = hone_file_open(&s, path);
    if (err) return err;
    err = hone_file_read(&s, text, sizeof text - 1, &got);
    hone_file_close(&s);
    if (err) return err;
    d->class_name = calloc((size_t)d->classes, sizeof *d->class_name);
    if (!d->class_name) return hone_fail(HONE_ENOMEM, "%s: no memory", path);
    text[got] = 0;
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\r\n");
        if (*end) *end++ = 0;
        if (*line && n < d->classes) hone_data_text(d->class_name[n], line);
        n += *line != 0;
    }
    if (n == d->classes) return HONE_OK;
    return hone_fail(HONE_EDATA, "%s: %d names, but there are %d classes", path, n, d->classes);
}

/* Moves the parts of one set, one after the other, into d; each is freed as soon as it is there. */
static int join(struct hone_data *d, struct part *part, int nparts)
{
    int64_t rows = 0;
    for (int i = 0; i < nparts; i++) rows += part[i].rows;
    d->rows = rows;
    d->label = malloc((size_t)rows * sizeof *d->label);
    if (hone_data_room(d) || !d->label)
        return hone_fail(HONE_ENOMEM, "%s: no memory for %lld images", part->path, (long long)rows);
    rows = 0;
    for (int i = 0; i < nparts; i++) {
        memcpy(d->bytes + rows * PIXELS, part[i].bytes, (size_t)part[i].rows * PIXELS);
        memcpy(d->label + rows, part[i].label, (size_t)part[i].rows * sizeof *d->label);
        rows += part[i].rows;
        free(part[i].bytes);
        free(part[i].label);
        part[i].bytes = NULL;
        part[i].label = NULL;
    }
    return HONE_OK;
}

static int read_parts(struct part *part, int nparts, const struct kind *k, int wanted)
{
    /* Messages are kept by thread, so each part brings its own. */
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < nparts; i++) {
        part[i].err = read_part(&part[i], k, wanted);
        if (part[i].err) snprintf(part[i].why, sizeof part[i].why, "%s", hone_errmsg());
    }
    for (int i = 0; i < nparts; i++)
        if (part[i].err) return hone_fail(part[i].err, "%s", part[i].why);
    return HONE_OK;
}

static int read_set(struct hone_data *train, struct hone_data *test, const char *dir,
                    const char *target, int classes)
{
    (void)classes; /* the format says how many */
    const struct kind *k = kind_in(dir);
    int wanted = k->nlabels - 1, nparts = 0;
    if (target && k->nlabels == 1)
        return hone_fail(HONE_EINVAL, "%s: CIFAR-10 has one label: leave the target out", dir);
    if (target && strcmp(target, "coarse") && strcmp(target, "fine"))
        return hone_fail(HONE_EINVAL, "%s: target '%s': expected coarse or fine", dir, target);
    if (target) wanted = !strcmp(target, "fine");
    struct part *part = calloc(NFILES, sizeof *part);
    if (!part) return hone_fail(HONE_ENOMEM, "%s: no memory", dir);
    train->h = train->w = test->h = test->w = SIDE;
    train->c = test->c = 3;
    train->classes = test->classes = k->label[wanted].classes;
    int err = list(dir, k, part, &nparts), has_test = nparts && part[nparts - 1].test;
    if (!err) err = read_parts(part, nparts, k, wanted);
    if (!err) err = join(train, part, nparts - has_test);
    if (!err && has_test) err = join(test, part + nparts - 1, 1);
    if (!err) err = read_names(train, dir, k->label[wanted].names);
    if (!err && has_test) err = read_names(test, dir, k->label[wanted].names);
    for (int i = 0; i < nparts; i++) {
        free(part[i].bytes);
        free(part[i].label);
    }
    free(part);
    return err;
}

const struct hone_format hone_cifar = { "data_batch_1.bin or train.bin (CIFAR)", 1, holds,
                                        read_set };
