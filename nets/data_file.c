/* A data file's bytes, whether it is gzip or plain.  zlib's own gzread() keeps quiet about bytes
 * after the end and cannot say where data is damaged, so inflate() is driven here. */
#include "nets/data.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { GZIP_WINDOW = 15 + 16 }; /* zlib: largest window, gzip header and check expected */

/* Puts the next bytes of the file into s->in. */
static int refill(struct hone_file *s)
{
    size_t n = fread(s->in, 1, sizeof s->in, s->f);
    if (ferror(s->f)) return hone_fail(HONE_EIO, "%s: %s", s->path, strerror(errno));
    s->z.next_in = s->in;
    s->z.avail_in = (uInt)n;
    s->taken += (int64_t)n;
    return HONE_OK;
}

static int64_t consumed(const struct hone_file *s) { return s->taken - (int64_t)s->z.avail_in; }

int hone_file_open(struct hone_file *s, const char *path)
{
    struct stat st;
    memset(s, 0, sizeof *s);
    snprintf(s->path, sizeof s->path, "%s", path);
    s->f = fopen(path, "rb");
    if (!s->f || fstat(fileno(s->f), &st)) {
        int err = hone_fail(HONE_EIO, "%s: %s", path, strerror(errno));
        hone_file_close(s);
        return err;
    }
    int err = S_ISDIR(st.st_mode) ? hone_fail(HONE_EIO, "%s: is a directory", path) : refill(s);
    s->size = S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
    if (!err && !s->z.avail_in) err = hone_fail(HONE_EDATA, "%s: the file is empty", path);
    s->gzip = !err && s->z.avail_in >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b;
    size_t len = strlen(path);
    if (!err && !s->gzip && len > 3 && !strcmp(path + len - 3, ".gz"))
        err = hone_fail(HONE_EDATA, "%s: byte 0: no gzip header", path);
    if (!err && s->gzip && inflateInit2(&s->z, GZIP_WINDOW) != Z_OK) {
        s->gzip = 0;
        err = hone_fail(HONE_ENOMEM, "%s: zlib: %s", path, s->z.msg ? s->z.msg : "out of memory");
    }
    if (err) hone_file_close(s);
    return err;
}

void hone_file_close(struct hone_file *s)
{
    if (s->gzip) inflateEnd(&s->z);
    if (s->f) fclose(s->f);
    s->f = NULL;
    s->gzip = 0;
}

int64_t hone_file_bound(const struct hone_file *s)
{
    if (s->size < 0) return INT64_MAX;
    return s->gzip ? hone_mul(s->size, 1032) : s->size;
}

/* After the end of a member only another member may follow. */
static int next_member(struct hone_file *s)
{
    int err = s->z.avail_in ? HONE_OK : refill(s);
    if (err) return err;
    s->ended = !s->z.avail_in;
    if (s->ended) return HONE_OK;
    if (s->z.next_in[0] != 0x1f)
        return hone_fail(HONE_EDATA,
                         "%s: compressed byte %lld: bytes after the end of the gzip data", s->path,
                         (long long)consumed(s));
    inflateReset(&s->z);
    return HONE_OK;
}

static int read_gzip(struct hone_file *s, unsigned char *buf, size_t n, size_t *got)
{
    while (*got < n && !s->ended) {
        int err = s->z.avail_in ? HONE_OK : refill(s);
        if (err) return err;
        if (!s->z.avail_in)
            return hone_fail(HONE_EDATA, "%s: the gzip data is cut off at compressed byte %lld",
                             s->path, (long long)s->taken);
        size_t want = n - *got < sizeof s->in ? n - *got : sizeof s->in;
        s->z.next_out = buf + *got;
        s->z.avail_out = (uInt)want;
        int z = inflate(&s->z, Z_NO_FLUSH);
        *got += want - s->z.avail_out;
        if (z == Z_STREAM_END)
            err = next_member(s);
        else if (z != Z_OK && z != Z_BUF_ERROR)
            err = hone_fail(HONE_EDATA,
                            "%s: the gzip data is damaged before compressed byte %lld: %s", s->path,
                            (long long)consumed(s), s->z.msg ? s->z.msg : "zlib gives no reason");
        if (err) return err;
    }
    return HONE_OK;
}

static int read_plain(struct hone_file *s, unsigned char *buf, size_t n, size_t *got)
{
    while (*got < n) {
        int err = s->z.avail_in ? HONE_OK : refill(s);
        if (err || !s->z.avail_in) return err;
        size_t k = s->z.avail_in < n - *got ? s->z.avail_in : n - *got;
        memcpy(buf + *got, s->z.next_in, k);
        s->z.next_in += k;
        s->z.avail_in -= (uInt)k;
        *got += k;
    }
    return HONE_OK;
}

int hone_file_read(struct hone_file *s, void *buf, size_t n, size_t *got)
{
    *got = 0;
    int err = s->gzip ? read_gzip(s, buf, n, got) : read_plain(s, buf, n, got);
    s->offset += (int64_t)*got;
    return err;
}
