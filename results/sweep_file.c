/* The directory of a sweep: paths in it, and the lock. */
#include "results/output.h"
#include "results/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void hone_sweep_path(const struct hone_sweep *s, char *path, size_t size, const char *fmt, ...)
{
    int n = snprintf(path, size, "%s/", s->dir);
    va_list ap;
    va_start(ap, fmt);
    if (n > 0 && (size_t)n < size) vsnprintf(path + n, size - (size_t)n, fmt, ap);
    va_end(ap);
}

int hone_sweep_open(struct hone_sweep *s)
{
    static const char *const inside[] = { "points", "checkpoints", "tuned" };
    char path[PATH_MAX];
    s->lock = -1;
    if (strlen(s->dir) > 3000) return hone_fail(HONE_EINVAL, "the directory's name is too long");
    int err = hone_output_directory(s->dir);
    for (size_t i = 0; !err && i < sizeof inside / sizeof *inside; i++) {
        hone_sweep_path(s, path, sizeof path, "%s", inside[i]);
        err = hone_output_directory(path);
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
