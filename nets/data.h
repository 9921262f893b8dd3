/* nets/data.h -- what the loaders share: a file read through gzip, xz or plain, the readers of
 * each kind of data, and the statistics of columns.  For the files data*.c only; others include nets.h.
 */
#ifndef HONE_NETS_DATA_H
#define HONE_NETS_DATA_H

#include "nets/nets.h"

#include <lzma.h>
#include <stdio.h>
#include <zlib.h>

/* ---- file: bytes of a plain, gzip or xz file, in order ---- */

enum hone_packing { HONE_PLAIN, HONE_GZIP, HONE_XZ };

struct hone_file {
    char path[512];
    FILE *f;
    enum hone_packing packing; /* by its first bytes, not its name */
    int ended;                 /* the packed data's last member is complete */
    int64_t size;   /* of the file as it lies there; -1: not a regular file */
    int64_t taken;  /* bytes of it read into `in` */
    int64_t offset; /* bytes handed out, after decompression */
    z_stream z;
    lzma_stream xz;
    const unsigned char *next; /* of `in`: what comes next, and how much of it is left */
    size_t left;
    unsigned char in[1 << 16];
};

int hone_file_open(struct hone_file *s, const char *path);
void hone_file_close(struct hone_file *s);

/* Reads n bytes; *got is less only at the end of the contents.  Damaged or cut packed data, and bytes
 * after its end, are errors. */
int hone_file_read(struct hone_file *s, void *buf, size_t n, size_t *got);

/* An upper bound of the contents' size: the file's, times its packing's best ratio.  It keeps
 * a damaged header from asking for memory that no such file can fill. */
int64_t hone_file_bound(const struct hone_file *s);

/* ---- readers ---- */

/* What fills a directory.  target: NULL, or what hone_data_open() was given where has_target.
 * classes: how many the set is known to have; 0: as many as the labels show.  read() may be called
 * where holds() says yes; h, w, c and classes of both sets agree. */
struct hone_format {
    const char *files; /* what it looks for */
    int has_target;
    int (*holds)(const char *dir);
    int (*read)(struct hone_data *train, struct hone_data *test, const char *dir,
                const char *target, int classes);
};

extern const struct hone_format hone_idx, hone_cifar, hone_png;

/* target: as for hone_data_open(). */
int hone_csv_read(struct hone_data *d, const char *path, const char *target);

/* All columns are features; there is no target. */
int hone_csv_read_features(struct hone_data *d, const char *path);

/* The images named, of one size and colour; without labels. */
int hone_png_read_files(struct hone_data *d, char *const path[], int64_t n);

/* text: "synthetic:...". */
int hone_synthetic_make(struct hone_data *d, const char *text);

/* ---- known sets ---- */

struct hone_known {
    const char *name, *about;
    const char *folder[2];              /* it may lie in, of each place; the second may be NULL */
    const struct hone_format *format;   /* of its files; NULL: */
    const char *file, *target;          /* one CSV file, and its target's column */
    int classes, features;              /* that it must have */
    int (*derive)(struct hone_data *d); /* makes the features that are trained on; or NULL */
};

extern const struct hone_known hone_known_sets[]; /* ended by name NULL */

/* Finds a known set's directory; else HONE_EDATA and a message that lists the places tried. */
int hone_known_find(const struct hone_known *k, char dir[512]);

/* ---- rows that occur more than once ---- */

struct hone_equals {
    int64_t train;    /* training rows that repeat an earlier one */
    int64_t test;     /* test rows that are training rows, too */
    int64_t contrary; /* of both: those whose class is another */
};

int hone_data_equals(const struct hone_data *train, const struct hone_data *test,
                     struct hone_equals *e);

/* ---- columns ---- */

/* Of feature or channel c of all rows. */
struct hone_range hone_data_range(const struct hone_data *d, int c);

/* Room for d's rows as bytes, (rows, h, w, c), and the table of 0..1 for their values.  HONE_ENOMEM
 * without a message. */
int hone_data_room(struct hone_data *d);

/* Of channel `c` of x (n, channels); std is that of the population and exactly 0 where all are
 * equal. */
struct hone_range hone_range_of(const float *x, int64_t n, int channels, int c);

/* Copies a text out of a data file, cut to fit and without control characters: it will stand in
 * messages and tables. */
void hone_data_text(char to[HONE_NAME], const char *from);

/* a * b, or -1 where that overflows or an argument is negative. */
int64_t hone_mul(int64_t a, int64_t b);

#endif
