/* nets/safetensors.h -- files of tensors in the safetensors format (Hugging Face, 2023): 8 bytes
 * with the little-endian length of a header, the header (JSON: every tensor's dtype, shape and
 * place, and texts about the whole), then the numbers.  For nets/ alone; others include nets.h. */
#ifndef HONE_NETS_SAFETENSORS_H
#define HONE_NETS_SAFETENSORS_H

#include "nets/nets.h"

#include <jansson.h>

enum { HONE_SAFETENSOR_RANK = 8, HONE_SAFETENSOR_NAME = 128 };

struct hone_safetensor {
    char name[HONE_SAFETENSOR_NAME];
    char dtype[12]; /* as the format writes it: "F32", "BF16", ... */
    int rank;
    int64_t dim[HONE_SAFETENSOR_RANK];
    int64_t bytes;
    const void *data; /* bytes of numbers, row-major, little-endian; not aligned */
};

struct hone_safetensors {
    char path[512];
    char *file; /* all of it */
    int n;
    struct hone_safetensor *tensor;
    json_t *metadata; /* an object of strings; never NULL */
};

/* Reads and checks a file: every length, dtype, shape, offset, that no numbers overlap, are missing
 * or are left over.  Messages are "PATH: ...". */
int hone_safetensors_open(struct hone_safetensors *s, const char *path);
void hone_safetensors_close(struct hone_safetensors *s);

/* NULL: there is none. */
const struct hone_safetensor *hone_safetensors_find(const struct hone_safetensors *s,
                                                    const char *name);
const char *hone_safetensors_text(const struct hone_safetensors *s, const char *key);

/* "F32 (6, 5, 5, 1)" */
void hone_safetensor_print(const struct hone_safetensor *t, char text[HONE_TEXT]);

/* The name that the format has for a type, and the type of a name: -1 where Hone has none. */
const char *hone_safetensor_dtype(enum hone_dtype t);
int hone_safetensor_dtype_of(const char *name);

/* Writes a file in one go: after a crash at any moment, or a full disk, the path holds the old file
 * or the new one.  metadata: an object of strings; it stays the caller's. */
int hone_safetensors_write(const char *path, const struct hone_safetensor tensor[], int n,
                           json_t *metadata);

/* ---- a file that replaces another at once (replace.c) ---- */

struct hone_replacement {
    char path[512], part[520];
    int fd, dir; /* -1: not open */
    char *buf;   /* what is not written yet */
    size_t filled;
};

/* Opens PATH.part beside PATH.  An error where the directory cannot be written, where PATH is
 * something else than a file, or where another process is writing it. */
int hone_replacement_open(struct hone_replacement *r, const char *path);
int hone_replacement_write(struct hone_replacement *r, const void *data, size_t n);

/* Makes it PATH, durably; on an error, or without commit, the part is removed and PATH stands as it
 * was.  Closes in any case. */
int hone_replacement_close(struct hone_replacement *r, int commit);

#endif
