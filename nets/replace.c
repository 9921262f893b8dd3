/* A file that replaces another at once: it is written beside it under another name, forced to the
 * disk, and then renamed. */
#include "nets/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 18 };

static int failed(const struct hone_replacement *r, const char *what)
{
    return hone_fail(HONE_EIO, "%s: %s: %s", r->path, what, strerror(errno));
}

/* Opens and locks the part.  Between our open and our lock another process may have renamed its own
 * part, so that what we hold is the finished file: then we begin anew. */
static int lock_part(struct hone_replacement *r)
{
    for (;;) {
        struct stat held, named;
        r->fd = open(r->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (r->fd < 0) return failed(r, "cannot write beside it");
        if (flock(r->fd, LOCK_EX | LOCK_NB)) {
            close(r->fd);
            r->fd = -1; /* the part is the other's, and stays */
            return hone_fail(HONE_EIO, "%s: another process is writing it", r->path);
        }
        if (fstat(r->fd, &held)) return failed(r, "cannot write beside it");
        if (!stat(r->part, &named) && held.st_ino == named.st_ino && held.st_dev == named.st_dev)
            return ftruncate(r->fd, 0) ? failed(r, "cannot write beside it") : HONE_OK;
        close(r->fd);
    }
}

int hone_replacement_open(struct hone_replacement *r, const char *path)
{
    struct stat is;
    memset(r, 0, sizeof *r);
    r->fd = r->dir = -1;
    const char *slash = strrchr(path, '/');
    char dir[sizeof r->path] = ".";
    if (strlen(path) >= sizeof r->path)
        return hone_fail(HONE_EIO, "'%.60s...': a path of more than %zu bytes", path,
                         sizeof r->path - 1);
    strcpy(r->path, path);
    snprintf(r->part, sizeof r->part, "%s.part", r->path);
    if (slash) snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (!stat(path, &is) && !S_ISREG(is.st_mode))
        return hone_fail(HONE_EIO, "%s: is no file, and will not be replaced by one", path);
    r->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->dir < 0) return failed(r, "its directory");
    r->buf = malloc(BUFFER);
    return r->buf ? lock_part(r) : hone_fail(HONE_ENOMEM, "%s: %d bytes", path, BUFFER);
}

static int flush(struct hone_replacement *r)
{
    for (size_t at = 0; at < r->filled;) {
        ssize_t n = write(r->fd, r->buf + at, r->filled - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(r, "cannot write");
        at += (size_t)n;
    }
    r->filled = 0;
    return HONE_OK;
}

int hone_replacement_write(struct hone_replacement *r, const void *data, size_t n)
{
    const char *from = data;
    while (n) {
        size_t k = BUFFER - r->filled < n ? BUFFER - r->filled : n;
        memcpy(r->buf + r->filled, from, k);
        r->filled += k;
        from += k;
        n -= k;
        int err = r->filled == BUFFER ? flush(r) : HONE_OK;
        if (err) return err;
    }
    return HONE_OK;
}

int hone_replacement_close(struct hone_replacement *r, int commit)
{
    int err = HONE_OK, whole = 0;
    if (commit) {
        err = flush(r);
        if (!err && fsync(r->fd)) err = failed(r, "cannot write");
        if (!err && rename(r->part, r->path)) err = failed(r, "cannot replace it");
        whole = !err;
        /* EINVAL: a file system whose directories cannot be forced. */
        if (!err && fsync(r->dir) && errno != EINVAL) err = failed(r, "its directory");
    }
    /* Removed while locked: nobody else's part goes. */
    if (r->fd >= 0 && !whole) unlink(r->part);
    if (r->fd >= 0) close(r->fd);
    if (r->dir >= 0) close(r->dir);
    free(r->buf);
    memset(r, 0, sizeof *r);
    r->fd = r->dir = -1;
    return err;
}
