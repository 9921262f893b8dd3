/* The reader and the writer of safetensors files.  The reader believes nothing: a file that it
 * takes is whole, and every number in it belongs to exactly one tensor. */
#include "nets/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The format's own limit for headers. */
enum { PREFIX = 8, MAX_HEADER = 100000000 };

static const struct {
    const char *name;
    int bytes, dtype; /* dtype: ours; -1: none */
} types[] = {
    { "F32", 4, HONE_F32 }, { "F64", 8, HONE_F64 }, { "BF16", 2, HONE_BF16 },
    { "I32", 4, HONE_I32 }, { "U64", 8, HONE_U64 }, { "F16", 2, HONE_F16 },
    { "I64", 8, -1 },       { "I16", 2, -1 },       { "U32", 4, -1 },
    { "U16", 2, -1 },       { "I8", 1, -1 },        { "U8", 1, -1 },
    { "BOOL", 1, -1 },      { "F8_E4M3", 1, -1 },   { "F8_E5M2", 1, -1 },
};

enum { NTYPES = sizeof types / sizeof *types };

const char *hone_safetensor_dtype(enum hone_dtype t)
{
    for (int i = 0; i < NTYPES; i++)
        if (types[i].dtype == (int)t) return types[i].name;
    return "?";
}

int hone_safetensor_dtype_of(const char *name)
{
    for (int i = 0; i < NTYPES; i++)
        if (!strcmp(types[i].name, name)) return types[i].dtype;
    return -1;
}

void hone_safetensor_print(const struct hone_safetensor *t, char text[HONE_TEXT])
{
    int n = snprintf(text, HONE_TEXT, "%s (", t->dtype);
    for (int i = 0; i < t->rank; i++)
        n += snprintf(text + n, (size_t)(HONE_TEXT - n), "%s%lld", i ? ", " : "",
                      (long long)t->dim[i]);
    snprintf(text + n, (size_t)(HONE_TEXT - n), ")");
}

/* ---- reading ---- */

static int read_all(int fd, char *to, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        ssize_t k = read(fd, to + *got, n - *got);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return hone_fail(HONE_EIO, "%s", strerror(errno));
        if (!k) break;
        *got += (size_t)k;
    }
    return HONE_OK;
}

/* The whole file, and its length. */
static int load(struct hone_safetensors *s, size_t *size)
{
    struct stat is;
    int fd = open(s->path, O_RDONLY | O_CLOEXEC), err = HONE_OK;
    if (fd < 0) return hone_fail(HONE_EIO, "%s", strerror(errno));
    if (fstat(fd, &is) || !S_ISREG(is.st_mode)) err = hone_fail(HONE_EIO, "is no file");
    size_t want = err ? 0 : (size_t)is.st_size;
    if (!err && !(s->file = malloc(want + 1))) err = hone_fail(HONE_ENOMEM, "%zu bytes", want);
    if (!err) err = read_all(fd, s->file, want, size);
    if (!err && *size != want) err = hone_fail(HONE_EIO, "became shorter while it was read");
    close(fd);
    return err;
}

static int foreign(const char *why)
{
    return hone_fail(HONE_EPARSE, "this is no safetensors file: %s", why);
}

/* The JSON between the prefix and the numbers, which begin at *data. */
static int read_header(const char *file, size_t size, json_t **header, size_t *data)
{
    uint64_t len = 0;
    json_error_t e;
    if (size < PREFIX) return foreign("it is shorter than 8 bytes");
    for (int i = 0; i < PREFIX; i++) len |= (uint64_t)(unsigned char)file[i] << 8 * i;
    if (len < 2 || len > MAX_HEADER)
        return hone_fail(HONE_EPARSE,
                         "this is no safetensors file: a header of %llu bytes; expected 2 to %d",
                         (unsigned long long)len, MAX_HEADER);
    if (file[PREFIX] != '{') return foreign("the header does not begin with '{'");
    if (len > size - PREFIX)
        return hone_fail(HONE_EPARSE, "is cut off: the header has %llu bytes, and the file %zu",
                         (unsigned long long)len, size);
    *header = json_loadb(file + PREFIX, len, JSON_REJECT_DUPLICATES, &e);
    if (!*header) return hone_fail(HONE_EPARSE, "header, byte %d: %s", e.position, e.text);
    *data = PREFIX + len;
    return json_is_object(*header) ? HONE_OK : foreign("the header is no JSON object");
}

static int read_metadata(struct hone_safetensors *s, json_t *header)
{
    const char *key;
    json_t *texts = json_object_get(header, "__metadata__"), *value;
    if (!texts)
        s->metadata = json_object();
    else if (!json_is_object(texts))
        return hone_fail(HONE_EPARSE, "__metadata__ is no object");
    else
        s->metadata = json_incref(texts);
    if (!s->metadata) return hone_fail(HONE_ENOMEM, "metadata");
    json_object_foreach(s->metadata, key, value) if (!json_is_string(value)) return hone_fail(
        HONE_EPARSE, "__metadata__: '%.60s' is no text", key);
    json_object_del(header, "__metadata__");
    return HONE_OK;
}

/* A whole number from 0 on; -1 where v is none. */
static int64_t whole(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 ? (int64_t)json_integer_value(v) : -1;
}

static int read_shape(struct hone_safetensor *t, const json_t *shape, int64_t *bytes)
{
    int type = 0;
    while (type < NTYPES && strcmp(types[type].name, t->dtype)) type++;
    if (type == NTYPES) return hone_fail(HONE_EPARSE, "no dtype '%s'", t->dtype);
    if (!json_is_array(shape) || json_array_size(shape) > HONE_SAFETENSOR_RANK)
        return hone_fail(HONE_EPARSE, "its shape is no list of at most %d numbers",
                         HONE_SAFETENSOR_RANK);
    t->rank = (int)json_array_size(shape);
    *bytes = types[type].bytes;
    for (int i = 0; i < t->rank; i++) {
        t->dim[i] = whole(json_array_get(shape, (size_t)i));
        if (t->dim[i] < 0) return hone_fail(HONE_EPARSE, "its shape holds no whole numbers");
        if (__builtin_mul_overflow(*bytes, t->dim[i], bytes))
            return hone_fail(HONE_EPARSE, "its shape holds more numbers than any file");
    }
    return HONE_OK;
}

static int read_tensor(struct hone_safetensor *t, const char *name, const json_t *entry,
                       const char *data, int64_t size)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    int64_t from = whole(json_array_get(offsets, 0)), to = whole(json_array_get(offsets, 1));
    if (strlen(name) >= sizeof t->name || !name[0])
        return hone_fail(HONE_EPARSE, "a name of %zu bytes; expected 1 to %zu", strlen(name),
                         sizeof t->name - 1);
    strcpy(t->name, name);
    if (!dtype || strlen(dtype) >= sizeof t->dtype || json_object_size(entry) != 3)
        return hone_fail(HONE_EPARSE, "expected dtype, shape and data_offsets");
    strcpy(t->dtype, dtype);
    int err = read_shape(t, json_object_get(entry, "shape"), &t->bytes);
    if (err) return err;
    if (json_array_size(offsets) != 2 || from < 0 || to < from)
        return hone_fail(HONE_EPARSE, "data_offsets are no two rising numbers");
    if (to - from != t->bytes)
        return hone_fail(HONE_EPARSE, "its shape needs %lld bytes, and its data_offsets hold %lld",
                         (long long)t->bytes, (long long)(to - from));
    if (to > size)
        return hone_fail(HONE_EPARSE, "it ends at byte %lld of the numbers, and the file at %lld",
                         (long long)to, (long long)size);
    t->data = data + from;
    return HONE_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct hone_safetensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int read_tensors(struct hone_safetensors *s, json_t *header, const char *data, int64_t size)
{
    const char *name, *end = data;
    json_t *entry;
    s->tensor = calloc(json_object_size(header) + 1, sizeof *s->tensor);
    if (!s->tensor) return hone_fail(HONE_ENOMEM, "%zu tensors", json_object_size(header));
    json_object_foreach(header, name, entry)
    {
        int err = read_tensor(&s->tensor[s->n++], name, entry, data, size);
        if (err) return hone_fail_at(err, "tensor '%.60s'", name);
    }
    if (s->n) qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, by_place);
    for (int i = 0; i < s->n; i++) {
        const struct hone_safetensor *t = &s->tensor[i];
        if ((const char *)t->data < end)
            return hone_fail(HONE_EPARSE, "tensors '%s' and '%s' overlap", t[-1].name, t->name);
        if ((const char *)t->data > end)
            return hone_fail(HONE_EPARSE, "bytes before tensor '%s' belong to none", t->name);
        end += t->bytes;
    }
    if (end != data + size)
        return hone_fail(HONE_EPARSE, "%lld bytes behind the last tensor",
                         (long long)(data + size - end));
    return HONE_OK;
}

int hone_safetensors_open(struct hone_safetensors *s, const char *path)
{
    size_t size = 0, data = 0;
    json_t *header = NULL;
    memset(s, 0, sizeof *s);
    snprintf(s->path, sizeof s->path, "%s", path);
    int err = strlen(path) < sizeof s->path ? load(s, &size)
                                            : hone_fail(HONE_EIO, "the path is too long");
    if (!err) err = read_header(s->file, size, &header, &data);
    if (!err) err = read_metadata(s, header);
    if (!err) err = read_tensors(s, header, s->file + data, (int64_t)(size - data));
    json_decref(header);
    if (!err) return HONE_OK;
    hone_safetensors_close(s);
    return hone_fail_at(err, "%s", path);
}

void hone_safetensors_close(struct hone_safetensors *s)
{
    free(s->file);
    free(s->tensor);
    json_decref(s->metadata);
    memset(s, 0, sizeof *s);
}

const struct hone_safetensor *hone_safetensors_find(const struct hone_safetensors *s,
                                                    const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->tensor[i].name, name)) return &s->tensor[i];
    return NULL;
}

const char *hone_safetensors_text(const struct hone_safetensors *s, const char *key)
{
    return json_string_value(json_object_get(s->metadata, key));
}

/* ---- writing ---- */

static json_t *entry_of(const struct hone_safetensor *t, int64_t from)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype, "shape", shape, "data_offsets",
                     (json_int_t)from, (json_int_t)(from + t->bytes));
}

/* The header, padded with blanks so that the numbers begin at a multiple of 8. */
static char *header_of(const struct hone_safetensor tensor[], int n, json_t *metadata, size_t *len)
{
    json_t *header = json_object();
    int64_t at = 0;
    json_object_set(header, "__metadata__", metadata);
    for (int i = 0; i < n; i++) {
        json_object_set_new(header, tensor[i].name, entry_of(&tensor[i], at));
        at += tensor[i].bytes;
    }
    char *text = (int)json_object_size(header) == n + 1 ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text) return NULL;
    *len = (strlen(text) + 7) / 8 * 8;
    char *padded = malloc(*len + 1);
    if (padded) snprintf(padded, *len + 1, "%-*s", (int)*len, text);
    free(text);
    return padded;
}

int hone_safetensors_write(const char *path, const struct hone_safetensor tensor[], int n,
                           json_t *metadata)
{
    struct hone_replacement r;
    size_t len = 0;
    unsigned char prefix[PREFIX];
    char *header = header_of(tensor, n, metadata, &len);
    if (!header) return hone_fail(HONE_ENOMEM, "%s: its header", path);
    for (int i = 0; i < PREFIX; i++) prefix[i] = (unsigned char)((uint64_t)len >> 8 * i);
    int err = hone_replacement_open(&r, path);
    if (!err) err = hone_replacement_write(&r, prefix, PREFIX);
    if (!err) err = hone_replacement_write(&r, header, len);
    for (int i = 0; !err && i < n; i++)
        err = hone_replacement_write(&r, tensor[i].data, (size_t)tensor[i].bytes);
    int closed = hone_replacement_close(&r, !err);
    free(header);
    return err ? err : closed;
}
