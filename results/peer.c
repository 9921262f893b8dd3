/* A framework in a process of its own, asked and answering line by line: what it takes down with it
 * is its own column. */
#define _GNU_SOURCE /* struct ucred, asprintf() */
#include "results/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Compiling a deep net takes a peer minutes. */
static const double PATIENCE = 1800;

/* Where they are installed: from Makefile.am. */
extern const char hone_peers_dir[];

/* ---- where the scripts are ---- */

static int is_script(const char *dir, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%.3900s/peer_%.100s.py", dir, name);
    return !access(path, R_OK);
}

/* Beside a program that was built in its sources, else where it was installed. */
static int find_script(const char *name, char path[PATH_MAX])
{
    const char *given = getenv("HONE_PEERS");
    char self[PATH_MAX - 32], *slash;
    if (given && *given)
        return is_script(given, name, path)
                   ? HONE_OK
                   : hone_fail(HONE_EIO, "no %s, where $HONE_PEERS says", path);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    if ((slash = strrchr(self, '/'))) {
        snprintf(slash, sizeof self - (size_t)(slash - self), "/results/peers");
        if (is_script(self, name, path)) return HONE_OK;
    }
    return is_script(hone_peers_dir, name, path)
               ? HONE_OK
               : hone_fail(HONE_EIO, "no %s; $HONE_PEERS is the folder of peers", path);
}

/* ---- allocators ---- */

/* What LD_PRELOAD names, the first that is there; "": nothing.  package: Debian's. */
struct allocator {
    const char *name, *library[2], *package;
};

static const struct allocator allocators[] = {
    { "system", { "" }, "" },
    { "tcmalloc", { "libtcmalloc_minimal.so.4", "libtcmalloc.so.4" }, "libtcmalloc-minimal4" },
    { "jemalloc", { "libjemalloc.so.2" }, "libjemalloc2" },
    { "mimalloc", { "libmimalloc.so.2" }, "libmimalloc2.0" },
};

static int find_allocator(const char *name, struct allocator *a)
{
    const char *slash = strrchr(name, '/');
    for (size_t i = 0; i < sizeof allocators / sizeof *allocators; i++) {
        *a = allocators[i];
        if (!strcmp(name, a->name)) return HONE_OK;
    }
    *a = (struct allocator){ .name = name, .library = { name }, .package = "" };
    return slash && slash[1]
               ? HONE_OK
               : hone_fail(HONE_EINVAL, "'%s' is none of system, tcmalloc, jemalloc, mimalloc, "
                                        "and no library's path", name);
}

int hone_peer_malloc(const char *name)
{
    struct allocator ignored;
    return find_allocator(name, &ignored);
}

/* In the child: before what the user has there. */
static void preload(const char *library)
{
    const char *others = getenv("LD_PRELOAD");
    char *all;
    int has = others && *others;
    if (asprintf(&all, "%s%s%s", library, has ? ":" : "", has ? others : "") > 0)
        setenv("LD_PRELOAD", all, 1);
}

/* ld.so goes on without what it cannot preload, and an interpreter may be a script that clears the
 * environment: what counts is the process that answers. */
static int is_loaded(const struct hone_peer *p, const char *library)
{
    char path[64], want[PATH_MAX], line[PATH_MAX + 256];
    int found = 0;
    if (!strchr(library, '/'))
        snprintf(want, sizeof want, "/%s", library);
    else if (!realpath(library, want))
        return 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)p->speaker);
    FILE *f = fopen(path, "r");
    while (f && !found && fgets(line, sizeof line, f)) found = strstr(line, want) != NULL;
    if (f) fclose(f);
    return found;
}

/* Fails with what ld.so said of it on the peer's stderr. */
static int not_loaded(const struct hone_peer *p, const struct allocator *a)
{
    const char *other = a->library[1], *last = other ? other : a->library[0];
    char line[PATH_MAX + HONE_TEXT], why[HONE_TEXT] = "the peer's process is without it", *says;
    FILE *f = fopen(p->err, "r");
    while (f && fgets(line, sizeof line, f))
        if (strstr(line, last) && (says = strstr(line, "cannot be preloaded")))
            snprintf(why, sizeof why, "%.*s", (int)strcspn(says, ":\n"), says);
    if (f) fclose(f);
    return hone_fail(HONE_EIO, "no %s%s%s: %s%s%s", a->library[0], other ? " or " : "",
                     other ? other : "", why, *a->package ? "; Debian's package is " : "",
                     a->package);
}

/* ---- the process ---- */

/* In the child.  OpenMP's waiting is as the user left it: what hone set for itself (hone.c) would
 * slow the peer. */
static void become(const char *python, const char *script, const char *library, int fd,
                   const char *err, pid_t parent)
{
    int f = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const char *spin = getenv("GOMP_SPINCOUNT"), *ours = getenv("HONE_SPINCOUNT");
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || f < 0 || dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(f, 2) < 0)
        _exit(127);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (spin && ours && !strcmp(spin, ours)) unsetenv("GOMP_SPINCOUNT");
    if (*library) preload(library);
    execlp(python, python, script, (char *)NULL);
    fprintf(stderr, "cannot run %s: %s\n", python, strerror(errno));
    _exit(127);
}

static int start(struct hone_peer *p, const char *python, const char *script, const char *library)
{
    int pair[2], on = 1;
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return hone_fail(HONE_EIO, "cannot talk to a process: %s", strerror(errno));
    setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    fflush(NULL);
    p->pid = p->speaker = fork();
    if (!p->pid) become(python, script, library, pair[1], p->err, parent);
    close(pair[1]);
    p->fd = pair[0];
    snprintf(p->python, sizeof p->python, "%s", python);
    if (p->pid > 0) return HONE_OK;
    p->pid = 0;
    close(p->fd);
    return hone_fail(HONE_EIO, "cannot start a process: %s", strerror(errno));
}

void hone_peer_close(struct hone_peer *p)
{
    if (p->pid) {
        close(p->fd);
        kill(-p->pid, SIGKILL);
        kill(p->pid, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    if (p->err[0]) unlink(p->err);
    free(p->line);
    memset(p, 0, sizeof *p);
}

/* ---- why it ended ---- */

/* Lines that begin with a blank are of stack traces. */
static void last_line(const char *path, char text[HONE_TEXT])
{
    char line[4 * HONE_TEXT];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] && line[0] != ' ' && line[0] != '\t')
            snprintf(text, HONE_TEXT, "%.*s", HONE_TEXT - 1, line);
    }
    if (f) fclose(f);
}

static int ended(struct hone_peer *p)
{
    char text[HONE_TEXT] = "";
    int status = 0;
    close(p->fd);
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR) continue;
    p->pid = 0;
    last_line(p->err, text);
    if (WIFSIGNALED(status))
        return hone_fail(HONE_EIO, "killed by signal %d, %s%s%s", WTERMSIG(status),
                         strsignal(WTERMSIG(status)), text[0] ? ": " : "", text);
    return text[0] ? hone_fail(HONE_EIO, "%s", text)
                   : hone_fail(HONE_EIO, "ended with status %d", WEXITSTATUS(status));
}

/* ---- talk ---- */

/* More of its answer, and who gives it: the interpreter may be a script that starts another.
 * 0: it has ended. */
static int receive(struct hone_peer *p)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } from;
    struct ucred who = { 0 };
    if (p->len + 4096 > p->room) {
        char *more = realloc(p->line, p->room = 2 * p->room + 8192);
        if (!more) return hone_fail(HONE_ENOMEM, "an answer of %zu bytes", p->room);
        p->line = more;
    }
    struct iovec to = { p->line + p->len, p->room - p->len - 1 };
    struct msghdr m = { .msg_iov = &to, .msg_iovlen = 1, .msg_control = &from,
                        .msg_controllen = sizeof from };
    ssize_t n = recvmsg(p->fd, &m, 0);
    if (n <= 0) return 0;
    const struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    if (head && head->cmsg_type == SCM_CREDENTIALS) memcpy(&who, CMSG_DATA(head), sizeof who);
    if (who.pid > 0) p->speaker = who.pid;
    p->len += (size_t)n;
    p->line[p->len] = 0;
    return 1;
}

/* Its next line: p->line. */
static int listen_to(struct hone_peer *p)
{
    double started = hone_now();
    p->len = 0;
    for (;;) {
        struct pollfd wait = { .fd = p->fd, .events = POLLIN };
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        if (hone_now() - started > PATIENCE)
            return hone_fail(HONE_EIO, "no answer in %.0f seconds", PATIENCE);
        if (poll(&wait, 1, 100) <= 0) continue;
        int got = receive(p);
        if (got < 0) return got;
        if (!got) return ended(p);
        if (p->line[p->len - 1] != '\n') continue;
        p->line[p->len - 1] = 0;
        return HONE_OK;
    }
}

int hone_peer_ask(struct hone_peer *p, const char *question, const char *want, char **rest)
{
    size_t n = strlen(want);
    int err = HONE_OK;
    if (!p->pid) return hone_fail(HONE_EIO, "has ended");
    if (question) {
        send(p->fd, question, strlen(question), MSG_NOSIGNAL);
        send(p->fd, "\n", 1, MSG_NOSIGNAL); /* where nobody listens, there is no answer either */
    }
    if ((err = listen_to(p))) return err;
    if (!strncmp(p->line, "fail ", 5)) return hone_fail(HONE_EIO, "%s", p->line + 5);
    if (strncmp(p->line, want, n) || (p->line[n] && p->line[n] != ' '))
        return hone_fail(HONE_EIO, "said '%.60s' where '%s' was due", p->line, want);
    *rest = p->line + n + (p->line[n] == ' ');
    return HONE_OK;
}

/* 1: it runs, but without the library. */
static int open_one(struct hone_peer *p, const char *script, const char *python,
                    const char *library)
{
    char *rest;
    int err = start(p, python, script, library);
    if (!err) err = hone_peer_ask(p, NULL, "modes", &rest);
    return err ? err : *library && !is_loaded(p, library);
}

int hone_peer_open(struct hone_peer *p, const char *name, const char *python, const char *allocator,
                   const char *dir)
{
    const char *list = getenv("HONE_PYTHON");
    char script[PATH_MAX], all[4096], *next = all, *one;
    struct allocator a;
    static int number;
    memset(p, 0, sizeof *p);
    int err = find_allocator(allocator, &a);
    if (!err) err = find_script(name, script);
    if (err) return err;
    snprintf(all, sizeof all, "%s", python ? python : list && *list ? list : "python3");
    while ((one = strsep(&next, ":"))) {
        if (!*one) continue;
        err = 1;
        for (int i = 0; err == 1 && i < 2 && a.library[i]; i++) {
            hone_peer_close(p);
            snprintf(p->err, sizeof p->err, "%.200s/%.32s-%d.err", dir, name, number++);
            err = open_one(p, script, one, a.library[i]);
        }
        if (err == 1) err = not_loaded(p, &a);
        if (!err || err == HONE_EINTR) return err;
        hone_peer_close(p);
    }
    return err ? err : hone_fail(HONE_EINVAL, "$HONE_PYTHON is empty");
}
