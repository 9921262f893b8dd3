/* Files that are there whole or not at all, and pictures by gnuplot, whose script and data stay
 * beside them. */
#include "results/output.h"
#include "results/results.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- files ---- */

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
    return 0;
}

/* A device or a pipe cannot be replaced, nor should it be; nor a name of the system for one of our
 * own files, such as /dev/stdout. */
static int is_special(const char *path, const char *real)
{
    struct stat st;
    return !strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6) ||
           (!stat(real, &st) && !S_ISREG(st.st_mode));
}

static int put(const char *path, const char *text, size_t len, int flags, int sync)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd < 0) return errno;
    int why = write_all(fd, text, len) || (sync && fsync(fd)) ? errno : 0;
    if (close(fd) && !why) why = errno;
    return why;
}

int hone_output_write(const char *path, const char *text, size_t len)
{
    char part[PATH_MAX], real[PATH_MAX];
    int why;
    /* A limit on the size of files is an error like a full disk, not a death. */
    struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
    sigaction(SIGXFSZ, &ignore, &before);
    /* What a link stands for is replaced, not the link. */
    if (!realpath(path, real)) snprintf(real, sizeof real, "%.4000s", path);
    if (is_special(path, real)) {
        why = put(path, text, len, 0, 0);
    } else {
        snprintf(part, sizeof part, "%.4000s.part", real);
        why = put(part, text, len, O_CREAT | O_TRUNC, 1);
        if (!why && rename(part, real)) why = errno;
        if (why) unlink(part);
    }
    sigaction(SIGXFSZ, &before, NULL);
    return why ? hone_fail(HONE_EIO, "cannot write %s: %s", path, strerror(why)) : HONE_OK;
}

int hone_output_open(struct hone_output *o)
{
    memset(o, 0, sizeof *o);
    o->f = open_memstream(&o->text, &o->len);
    return o->f ? HONE_OK : hone_fail(HONE_ENOMEM, "a report");
}

int hone_output_save(struct hone_output *o, const char *path)
{
    int bad = fclose(o->f);
    o->f = NULL;
    int err = bad ? hone_fail(HONE_ENOMEM, "%s", path) : hone_output_write(path, o->text, o->len);
    hone_output_close(o);
    return err;
}

void hone_output_close(struct hone_output *o)
{
    if (o->f) fclose(o->f);
    free(o->text);
    memset(o, 0, sizeof *o);
}

int hone_output_directory(const char *path)
{
    struct stat st;
    if (!mkdir(path, 0777)) return HONE_OK;
    int why = errno;
    if (why == EEXIST && !stat(path, &st) && S_ISDIR(st.st_mode)) return HONE_OK;
    return hone_fail(HONE_EIO, "cannot make directory %s: %s", path,
                     strerror(why == EEXIST ? ENOTDIR : why));
}

/* ---- texts ---- */

void hone_output_cell(FILE *f, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, f);
        return;
    }
    putc('"', f);
    for (; *text; text++) fputs(*text == '"' ? "\"\"" : (char[]){ *text, 0 }, f);
    putc('"', f);
}

/* ---- gnuplot ---- */

const char *hone_output_draw(const char *dir, const char *name)
{
    char script[128], log[PATH_MAX];
    int status;
    snprintf(script, sizeof script, "%s.gp", name);
    snprintf(log, sizeof log, "%.4000s/gnuplot.log", dir);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return strerror(errno);
    if (!pid) {
        if (chdir(dir) || !freopen("/dev/null", "w", stdout) ||
            !freopen("gnuplot.log", "w", stderr))
            _exit(126);
        execlp("gnuplot", "gnuplot", script, (char *)NULL);
        _exit(errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 127 : 126);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return strerror(errno);
    int missing = WIFEXITED(status) && WEXITSTATUS(status) == 127;
    if (!missing && (!WIFEXITED(status) || WEXITSTATUS(status)))
        return "gnuplot failed, see gnuplot.log";
    unlink(log);
    return missing ? "no gnuplot in PATH" : NULL;
}

/* In gnuplot's single quotes a quote is doubled. */
void hone_output_quote(FILE *f, const char *text, size_t len)
{
    putc('\'', f);
    for (size_t i = 0; i < len; i++) fputs(text[i] == '\'' ? "''" : (char[]){ text[i], 0 }, f);
    putc('\'', f);
}

void hone_output_title(FILE *f, const char *title)
{
    fputs("set title ", f);
    hone_output_quote(f, title, strlen(title));
    fputs(" noenhanced\nset grid\n", f);
}

int hone_output_plot(const char *dir, const char *name, const char *command, hone_output_put *put,
                     const void *of)
{
    struct hone_output data = { 0 }, script = { 0 };
    const char *why = NULL;
    char path[PATH_MAX];
    int err = hone_output_open(&data);
    if (!err) err = hone_output_open(&script);
    if (!err) {
        fprintf(script.f, "# gnuplot %s.gp draws %s.svg and %s.png from %s.dat.\n", name, name,
                name, name);
        why = put(of, data.f, script.f);
    }
    snprintf(path, sizeof path, "%.4000s/%s.dat", dir, name);
    if (!err && !why) err = hone_output_save(&data, path);
    snprintf(path, sizeof path, "%.4000s/%s.gp", dir, name);
    if (!err && !why) err = hone_output_save(&script, path);
    hone_output_close(&data);
    hone_output_close(&script);
    if (!err && !why) why = hone_output_draw(dir, name);
    if (!err && why) fprintf(stderr, "%s: no %s plot: %s\n", command, name, why);
    if (!err && !why) fprintf(stderr, "%s/%s.png, %s.svg\n", dir, name, name);
    return err;
}

void hone_output_gnuplot_begin(FILE *f, const char *name, int width, int height)
{
    fprintf(f,
            "png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'\n"
            "do for [kind in 'svg png'] {\n"
            "    if (kind eq 'svg') { set terminal svg size %d,%d }\n"
            "    if (kind eq 'png') { set terminal @png size %d,%d }\n"
            "    set output '%s.'.kind\n",
            width, height, width, height, name);
}

void hone_output_gnuplot_end(FILE *f) { fputs("}\n", f); }
