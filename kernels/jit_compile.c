/* The system's compiler: where it is, what it calls itself, and running it under a time limit. */
#include "config.h"

#include "kernels/jit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#ifndef HONE_CONFIGURED_CC
#define HONE_CONFIGURED_CC "cc"
#endif

enum { MAX_ARGS = 64 };

/* ---- which one ---- */

/* The first words of a compiler's command line: "ccache gcc". */
struct compiler {
    char text[256];
    int nwords;
    char *word[8];
    const char *absent;
};

static int in_path(const char *name)
{
    const char *path = getenv("PATH");
    char full[4096];
    if (strchr(name, '/')) return !access(name, X_OK);
    for (const char *s = path ? path : "/usr/bin:/bin"; *s;) {
        size_t n = strcspn(s, ":");
        if (snprintf(full, sizeof full, "%.*s/%s", (int)n, s, name) < (int)sizeof full &&
            !access(full, X_OK))
            return 1;
        s += n + (s[n] == ':');
    }
    return 0;
}

static int split(struct compiler *c, const char *text)
{
    char *rest;
    snprintf(c->text, sizeof c->text, "%s", text);
    c->nwords = 0;
    for (char *w = strtok_r(c->text, " \t", &rest); w && c->nwords < 8;
         w = strtok_r(NULL, " \t", &rest))
        c->word[c->nwords++] = w;
    return c->nwords > 0 && in_path(c->word[0]);
}

/* $HONE_CC, $CC, the compiler of this program, cc.  Only the first may not be replaced: who names
 * it, means it. */
static const struct compiler *compiler(void)
{
    static struct compiler c;
    static char why[320];
    const char *own = getenv("HONE_CC"), *others[] = { getenv("CC"), HONE_CONFIGURED_CC, "cc" };
    if (c.text[0] || c.absent) return &c;
    if (own && !split(&c, own)) {
        snprintf(why, sizeof why, "HONE_CC '%s' is no compiler that can be run", own);
        c.absent = why;
        return &c;
    }
    for (int i = 0; !own && i < 3; i++)
        if (others[i] && split(&c, others[i])) return &c;
    if (!own) c.absent = "there is no compiler here: cc is not in PATH, CC and HONE_CC are not set";
    return &c;
}

const char *hone_jit_absent(void)
{
#if defined __linux__
    return compiler()->absent;
#else
    return "is for systems with ELF";
#endif
}

/* ---- running it ---- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double limit(void)
{
    const char *text = getenv("HONE_JIT_SECONDS");
    char *end;
    double s = text ? strtod(text, &end) : 0;
    return s > 0 && !*end ? s : 60;
}

/* Waits, and stops what takes too long with all it has started.  The exit status, or negative. */
static int wait_for(pid_t pid)
{
    const struct timespec nap = { 0, 1000000 };
    const double started = seconds(), most = limit();
    int status;
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid) break;
        if (got < 0 && errno != EINTR)
            return hone_fail(HONE_EIO, "waiting for the compiler: %s", strerror(errno));
        if (seconds() - started > most) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            return hone_fail(HONE_EIO, "compiler took more than %g s (HONE_JIT_SECONDS): stopped",
                             most);
        }
        nanosleep(&nap, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs the compiler with these arguments, NULL-terminated, its words going to the file `log`. */
static int run(const char *const args[], const char *log)
{
    const struct compiler *c = compiler();
    const char *argv[MAX_ARGS];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    pid_t pid;
    int n = 0;
    for (int i = 0; i < c->nwords; i++) argv[n++] = c->word[i];
    for (int i = 0; args[i] && n < MAX_ARGS - 1; i++) argv[n++] = args[i];
    argv[n] = NULL;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    int err = posix_spawnp(&pid, argv[0], &files, &attr, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return err ? hone_fail(HONE_EIO, "cannot run %s: %s", argv[0], strerror(err)) : wait_for(pid);
}

/* The line of the log that says most: the first with "error", else the first. */
static void complaint(const char *log, char line[160])
{
    char s[512];
    FILE *f = fopen(log, "r");
    line[0] = 0;
    while (f && fgets(s, sizeof s, f)) {
        int error = strstr(s, "error") != NULL;
        s[strcspn(s, "\n")] = 0;
        if (!line[0] || error) snprintf(line, 160, "%.159s", s);
        if (error) break;
    }
    if (f) fclose(f);
}

/* ---- what it calls itself ---- */

const char *hone_jit_compiler(void)
{
    static char text[128];
    char log[HONE_JIT_PATH], line[160];
    if (text[0]) return text;
    snprintf(text, sizeof text, "no compiler");
    if (hone_jit_absent()) return text;
    snprintf(text, sizeof text, "%s", compiler()->word[0]);
    snprintf(line, sizeof line, "jit/version.%ld", (long)getpid());
    if (hone_user_path("cache", line, log, sizeof log)) return text;
    if (!run((const char *const[]){ "--version", NULL }, log)) {
        complaint(log, line);
        if (line[0]) snprintf(text, sizeof text, "%.100s", line);
    }
    unlink(log);
    return text;
}

/* ---- compiling ---- */

static int write_source(const char *path, const char *text)
{
    FILE *f = fopen(path, "wx");
    if (!f) return hone_fail(HONE_EIO, "%s: cannot make it: %s", path, strerror(errno));
    errno = 0;
    int bad = fputs(text, f) < 0;
    bad |= fclose(f) != 0;
    if (!bad) return HONE_OK;
    int why = errno;
    unlink(path);
    return hone_fail(HONE_EIO, "%s: cannot write: %s", path, strerror(why));
}

int hone_jit_compile(const char *text, const char *flags, const char *path, const char *log)
{
    const char *args[MAX_ARGS];
    char source[HONE_JIT_PATH + 8], words[512], line[160], *rest;
    int n = 0;
    snprintf(source, sizeof source, "%s.c", path);
    snprintf(words, sizeof words, "%s", flags);
    for (char *w = strtok_r(words, " ", &rest); w && n < MAX_ARGS - 8;
         w = strtok_r(NULL, " ", &rest))
        args[n++] = w;
    args[n++] = "-o";
    args[n++] = path;
    args[n++] = source;
    args[n] = NULL;
    int err = write_source(source, text);
    if (err) return err;
    int status = run(args, log);
    if (status > 0) {
        complaint(log, line);
        err = hone_fail(HONE_EIO, "compiler failed (%d): %s", status, line[0] ? line : "no word");
    }
    if (status < 0) err = status;
    unlink(source);
    unlink(log);
    if (err) unlink(path);
    return err;
}
