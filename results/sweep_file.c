/* The directory of a sweep: paths in it, files that are there whole or not at all, the lock. */
#include "results/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void hone_sweep_path(const struct hone_sweep *s, char *path, size_t size, const char *fmt, ...)
{
    int n = snprintf(path, size, "%s/", s->dir);
    va_list ap;
    va_start(ap, fmt);
    if (n > 0 && (size_t)n < size) vsnprintf(path + n, size - (size_t)n, fmt, ap);
    va_end(ap);
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) return -1;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return fsync(fd);
}

int hone_sweep_write(const char *path, const char *text, size_t len)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%.4000s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) return hone_fail(HONE_EIO, "cannot write %s: %s", part, strerror(errno));
    int why = write_all(fd, text, len) ? errno : 0;
    if (close(fd) && !why) why = errno;
    if (!why && rename(part, path)) why = errno;
    if (!why) return HONE_OK;
    unlink(part);
    return hone_fail(HONE_EIO, "cannot write %s: %s", path, strerror(why));
}

static int make_directory(const char *path)
{
    struct stat st;
    if (!mkdir(path, 0777)) return HONE_OK;
    int why = errno;
    if (why == EEXIST && !stat(path, &st) && S_ISDIR(st.st_mode)) return HONE_OK;
    return hone_fail(HONE_EIO, "cannot make directory %s: %s", path,
                     strerror(why == EEXIST ? ENOTDIR : why));
}

int hone_sweep_open(struct hone_sweep *s)
{
    static const char *const inside[] = { "points", "checkpoints", "tuned" };
    char path[PATH_MAX];
    s->lock = -1;
    if (strlen(s->dir) > 3000) return hone_fail(HONE_EINVAL, "the directory's name is too long");
    int err = make_directory(s->dir);
    for (size_t i = 0; !err && i < sizeof inside / sizeof *inside; i++) {
        hone_sweep_path(s, path, sizeof path, "%s", inside[i]);
        err = make_directory(path);
    }
    if (err) return err;
    hone_sweep_path(s, path, sizeof path, "lock");
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0) return hone_fail(HONE_EIO, "cannot write %s: %s", path, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB))
        return hone_fail(HONE_EIO, "another hone sweep is at work in %s", s->dir);
    return HONE_OK;
}

void hone_sweep_close(struct hone_sweep *s)
{
    if (s->lock >= 0) close(s->lock);
    s->lock = -1;
}
