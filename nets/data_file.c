/* A data file's bytes, whether it is gzip, xz or plain.  zlib's own gzread() keeps quiet about
 * bytes after the end and cannot say where data is damaged, so inflate() and lzma_code() are driven
 * here.
 */
#include "nets/data.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { GZIP_WINDOW = 15 + 16 }; /* zlib: largest window, gzip header and check expected */

/* A damaged header must not ask for gigabytes; xz -9 needs 65 MiB. */
static const uint64_t XZ_MEMORY = 1u << 30;

/* What each packing starts with, what its files are called, and the most that a byte of it can
 * hold: deflate's best ratio is 1032; LZMA's longest match, 273 bytes, takes a dozen bits of 0.02
 * bits each or more. */
static const struct {
    const char *name, *magic, *ending;
    int64_t ratio;
} packings[] = {
    [HONE_PLAIN] = { "plain", "", "", 1 },
    [HONE_GZIP] = { "gzip", "\x1f\x8b", ".gz", 1032 },
    [HONE_XZ] = { "xz",
                  "\xfd"
                  "7zXZ",
                  ".xz", 10000 },
};

/* Puts the next bytes of the file into s->in. */
static int refill(struct hone_file *s)
{
    size_t n = fread(s->in, 1, sizeof s->in, s->f);
    if (ferror(s->f)) return hone_fail(HONE_EIO, "%s: %s", s->path, strerror(errno));
    s->next = s->in;
    s->left = n;
    s->taken += (int64_t)n;
    return HONE_OK;
}

static int64_t consumed(const struct hone_file *s) { return s->taken - (int64_t)s->left; }

/* Tells the packing by the first bytes and makes its decoder. */
static int begin(struct hone_file *s)
{
    size_t len = strlen(s->path);
    enum hone_packing packing = HONE_PLAIN;
    for (int p = HONE_GZIP; p <= HONE_XZ; p++) {
        size_t magic = strlen(packings[p].magic), ending = strlen(packings[p].ending);
        if (s->left >= magic && !memcmp(s->in, packings[p].magic, magic))
            packing = (enum hone_packing)p;
        else if (len > ending && !strcmp(s->path + len - ending, packings[p].ending))
            return hone_fail(HONE_EDATA, "%s: byte 0: no %s header", s->path, packings[p].name);
    }
    if (packing == HONE_GZIP && inflateInit2(&s->z, GZIP_WINDOW) != Z_OK)
        return hone_fail(HONE_ENOMEM, "%s: zlib: %s", s->path,
                         s->z.msg ? s->z.msg : "out of memory");
    if (packing == HONE_XZ && lzma_stream_decoder(&s->xz, XZ_MEMORY, 0) != LZMA_OK)
        return hone_fail(HONE_ENOMEM, "%s: liblzma: out of memory", s->path);
    s->packing = packing;
    return HONE_OK;
}

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
    if (!err && !s->left) err = hone_fail(HONE_EDATA, "%s: the file is empty", path);
    if (!err) err = begin(s);
    if (err) hone_file_close(s);
    return err;
}

void hone_file_close(struct hone_file *s)
{
    if (s->packing == HONE_GZIP) inflateEnd(&s->z);
    if (s->packing == HONE_XZ) lzma_end(&s->xz);
    if (s->f) fclose(s->f);
    s->f = NULL;
    s->packing = HONE_PLAIN;
}

int64_t hone_file_bound(const struct hone_file *s)
{
    int64_t bound = s->size < 0 ? -1 : hone_mul(s->size, packings[s->packing].ratio);
    return bound < 0 ? INT64_MAX : bound;
}

/* ---- packed contents: members (gzip) or streams (xz), one after the other ---- */

/* What a decoder said of a piece. */
enum state { MORE, MEMBER_ENDED, DAMAGED };

static enum state inflate_piece(struct hone_file *s, unsigned char *to, size_t *room,
                                const char **why)
{
    uInt want = (uInt)*room;
    s->z.next_in = (unsigned char *)s->next;
    s->z.avail_in = (uInt)s->left;
    s->z.next_out = to;
    s->z.avail_out = want;
    int z = inflate(&s->z, Z_NO_FLUSH);
    s->next = s->z.next_in;
    s->left = s->z.avail_in;
    *room = want - s->z.avail_out;
    *why = s->z.msg ? s->z.msg : "zlib gives no reason";
    return z == Z_STREAM_END ? MEMBER_ENDED : z == Z_OK || z == Z_BUF_ERROR ? MORE : DAMAGED;
}

static enum state unxz_piece(struct hone_file *s, unsigned char *to, size_t *room, const char **why)
{
    size_t want = *room;
    s->xz.next_in = s->next;
    s->xz.avail_in = s->left;
    s->xz.next_out = to;
    s->xz.avail_out = want;
    lzma_ret z = lzma_code(&s->xz, LZMA_RUN);
    s->next = s->xz.next_in;
    s->left = s->xz.avail_in;
    *room = want - s->xz.avail_out;
    *why = z == LZMA_DATA_ERROR      ? "its check sums or codes are wrong"
           : z == LZMA_OPTIONS_ERROR ? "liblzma does not know its options"
           : z == LZMA_FORMAT_ERROR  ? "this is no xz header"
           : z == LZMA_MEM_ERROR     ? "out of memory"
                                     : "it asks for more than 1 GiB of memory";
    return z == LZMA_STREAM_END                  ? MEMBER_ENDED
           : z == LZMA_OK || z == LZMA_BUF_ERROR ? MORE
                                                 : DAMAGED;
}

/* Between the streams of an xz file zeros may stand, four at a time. */
static int skip_padding(struct hone_file *s)
{
    int64_t zeros = 0;
    int err = HONE_OK;
    for (;; s->next++, s->left--, zeros++) {
        if (!s->left) err = refill(s);
        if (err || !s->left || *s->next) break;
    }
    if (!err && zeros % 4)
        err = hone_fail(HONE_EDATA,
                        "%s: compressed byte %lld: %lld zeros after the xz data, not a "
                        "multiple of 4",
                        s->path, (long long)(consumed(s) - zeros), (long long)zeros);
    return err;
}

/* After the end of a member only another member may follow. */
static int next_member(struct hone_file *s)
{
    int err = s->packing == HONE_XZ ? skip_padding(s) : s->left ? HONE_OK : refill(s);
    if (err) return err;
    s->ended = !s->left;
    if (s->ended) return HONE_OK;
    if (*s->next != (unsigned char)packings[s->packing].magic[0])
        return hone_fail(HONE_EDATA, "%s: compressed byte %lld: bytes after the end of the %s data",
                         s->path, (long long)consumed(s), packings[s->packing].name);
    if (s->packing == HONE_GZIP)
        inflateReset(&s->z);
    else if (lzma_stream_decoder(&s->xz, XZ_MEMORY, 0) != LZMA_OK)
        return hone_fail(HONE_ENOMEM, "%s: liblzma: out of memory", s->path);
    return HONE_OK;
}

static int read_packed(struct hone_file *s, unsigned char *buf, size_t n, size_t *got)
{
    const char *name = packings[s->packing].name, *why;
    while (*got < n && !s->ended) {
        int err = s->left ? HONE_OK : refill(s);
        if (err) return err;
        if (!s->left)
            return hone_fail(HONE_EDATA, "%s: the %s data is cut off at compressed byte %lld",
                             s->path, name, (long long)s->taken);
        size_t piece = n - *got < sizeof s->in ? n - *got : sizeof s->in;
        enum state state = s->packing == HONE_GZIP ? inflate_piece(s, buf + *got, &piece, &why)
                                                   : unxz_piece(s, buf + *got, &piece, &why);
        *got += piece;
        if (state == MEMBER_ENDED)
            err = next_member(s);
        else if (state == DAMAGED)
            err =
                hone_fail(HONE_EDATA, "%s: the %s data is damaged before compressed byte %lld: %s",
                          s->path, name, (long long)consumed(s), why);
        if (err) return err;
    }
    return HONE_OK;
}

static int read_plain(struct hone_file *s, unsigned char *buf, size_t n, size_t *got)
{
    while (*got < n) {
        int err = s->left ? HONE_OK : refill(s);
        if (err || !s->left) return err;
        size_t k = s->left < n - *got ? s->left : n - *got;
        memcpy(buf + *got, s->next, k);
        s->next += k;
        s->left -= k;
        *got += k;
    }
    return HONE_OK;
}

int hone_file_read(struct hone_file *s, void *buf, size_t n, size_t *got)
{
    *got = 0;
    int err = s->packing ? read_packed(s, buf, n, got) : read_plain(s, buf, n, got);
    s->offset += (int64_t)*got;
    return err;
}
