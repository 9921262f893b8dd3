/* Another hone as a child process: what it takes down with it is its own run. */
#include "results/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_on(const char *path, int flags, int fd)
{
    int f = open(path, flags, 0666);
    if (f < 0 || dup2(f, fd) < 0) return -1;
    if (f != fd) close(f);
    return 0;
}

/* In the child: a group of its own, since Ctrl-C at the terminal is the parent's to hand on, once;
 * and no life after the parent's, whose next run would meet it. */
static void become(char *const argv[], const char *out, const char *err, pid_t parent)
{
    static const char self[] = "/proc/self/exe";
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (open_on("/dev/null", O_RDONLY, 0) || open_on(out, O_WRONLY | O_CREAT | O_TRUNC, 1) ||
        open_on(err, O_WRONLY | O_CREAT | O_TRUNC, 2))
        _exit(127);
    execv(self, argv);
    fprintf(stderr, "hone: cannot start %s: %s\n", self, strerror(errno));
    _exit(127);
}

/* Watched for in steps that grow to 20 ms: a run of milliseconds is not held up. */
static void wait_for(pid_t pid, struct hone_child *child, struct rusage *usage,
                     void (*waiting)(void *ctx, double seconds), void *ctx)
{
    double started = hone_now();
    useconds_t nap = 500;
    int told = 0;
    while (wait4(pid, &child->status, WNOHANG, usage) == 0) {
        if (hone_interrupted() && !told) {
            kill(pid, SIGINT);
            told = 1;
        }
        usleep(nap);
        if (nap < 20000) nap += nap / 4;
        waiting(ctx, hone_now() - started);
    }
    child->seconds = hone_now() - started;
}

int hone_child_run(char *const argv[], const char *out, const char *err, struct hone_child *child,
                   void (*waiting)(void *ctx, double seconds), void *ctx)
{
    struct rusage usage = { 0 };
    pid_t parent = getpid();
    memset(child, 0, sizeof *child);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return hone_fail(HONE_EIO, "cannot start a process: %s", strerror(errno));
    if (!pid) become(argv, out, err, parent);
    wait_for(pid, child, &usage, waiting, ctx);
    child->peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    return hone_interrupted() ? hone_fail(HONE_EINTR, "interrupted") : HONE_OK;
}

/* "hone train: epoch 1, step 3: the loss is nan" without the command; argp's line comes before its
 * advice. */
static int find_message(FILE *f, char text[HONE_TEXT])
{
    char line[4 * HONE_TEXT];
    int found = 0;
    while (!found && fgets(line, sizeof line, f)) {
        const char *colon = strstr(line, ": ");
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "hone", 4) || !colon) continue;
        snprintf(text, HONE_TEXT, "%.*s", HONE_TEXT - 1, colon + 2);
        found = 1;
    }
    return found;
}

void hone_child_reason(const struct hone_child *child, const char *err, char text[HONE_TEXT])
{
    FILE *f = fopen(err, "r");
    int found = f && find_message(f, text);
    if (f) fclose(f);
    if (WIFSIGNALED(child->status))
        snprintf(text, HONE_TEXT, "killed by signal %d, %s", WTERMSIG(child->status),
                 strsignal(WTERMSIG(child->status)));
    else if (!found)
        snprintf(text, HONE_TEXT, "ended with status %d", WEXITSTATUS(child->status));
}
