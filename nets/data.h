/* nets/data.h -- what the loaders share: a file read through gzip or plain, the readers of each
 * kind of file, and the statistics of columns.  For the files data*.c only; others include nets.h.
 */
#ifndef HONE_NETS_DATA_H
#define HONE_NETS_DATA_H

#include "nets/nets.h"

#include <stdio.h>
#include <zlib.h>

/* ---- file: bytes of a plain or gzip file, in order ---- */

struct hone_file {
    char path[512];
    FILE *f;
    int gzip;       /* by its first bytes, not its name */
    int ended;      /* the gzip data's last member is complete */
    int64_t size;   /* of the file as it lies there; -1: not a regular file */
    int64_t taken;  /* bytes of it given to z */
    int64_t offset; /* bytes handed out, after decompression */
    z_stream z;
    unsigned char in[1 << 16];
};

int hone_file_open(struct hone_file *s, const char *path);
void hone_file_close(struct hone_file *s);

/* Reads n bytes; *got is less only at the end of the contents.  Damaged or cut gzip data, and bytes
 * after its end, are errors. */
int hone_file_read(struct hone_file *s, void *buf, size_t n, size_t *got);

/* An upper bound of the contents' size: the file's, times deflate's best ratio (1032) where
 * compressed.  It keeps a damaged header from asking for memory that no such file can fill. */
int64_t hone_file_bound(const struct hone_file *s);

/* ---- readers ---- */

/* Does dir hold IDX training images?  `path`, of the four files: training images and labels, test
 * images and labels; empty where there is none. */
int hone_idx_find(const char *dir, char path[4][512]);

/* Reads the two or four files.  classes: how many the set is known to have; 0: as many as the
 * labels show. */
int hone_idx_read(struct hone_data *train, struct hone_data *test, const char *dir, int classes);

/* target: as for hone_data_open(). */
int hone_csv_read(struct hone_data *d, const char *path, const char *target);

/* text: "synthetic:...". */
int hone_synthetic_make(struct hone_data *d, const char *text);

/* ---- known sets ---- */

struct hone_known {
    const char *name, *about;
    const char *folder[2];              /* it may lie in, of each place; the second may be NULL */
    const char *file;                   /* NULL: IDX files */
    const char *target;                 /* of a CSV file */
    int classes, features;              /* that it must have */
    int (*derive)(struct hone_data *d); /* makes the features that are trained on; or NULL */
};

extern const struct hone_known hone_known_sets[]; /* ended by name NULL */

/* Finds a known set's directory; else HONE_EDATA and a message that lists the places tried. */
int hone_known_find(const struct hone_known *k, char dir[512]);

/* ---- columns ---- */

struct hone_range {
    double min, max, mean, std;
};

/* Of channel `c` of x (n, channels); std is that of the population and exactly 0 where all are
 * equal. */
struct hone_range hone_range_of(const float *x, int64_t n, int channels, int c);

/* Copies a text out of a data file, cut to fit and without control characters: it will stand in
 * messages and tables. */
void hone_data_text(char to[HONE_NAME], const char *from);

/* a * b, or -1 where that overflows or an argument is negative. */
int64_t hone_mul(int64_t a, int64_t b);

#endif
