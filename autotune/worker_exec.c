/* A worker that is this program anew, `hone --worker BOARD SOCKET`: a GPU's driver does not survive
 * a fork, and an error of one kernel (an address that is not its own, a trap) makes every later
 * call of that process fail.  It is told the problem over the board, makes the cases itself, and
 * stays for the problems that follow, since opening a GPU takes long. */
#include "config.h"

#include "autotune/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int able;   /* 1: main() would know what --worker is */

/* That the problem before left; pid 0: none. */
static struct { pid_t pid; int fd, board_fd; struct hone_board *board; char device[16]; } kept;

int hone_worker_can_exec(void) { return able; }

static struct hone_board *map(int fd)
{
    void *at = mmap(NULL, sizeof(struct hone_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* ---- the session's side ---- */

static int new_board(struct hone_worker *w)
{
#ifdef __linux__
    w->board_fd = memfd_create("hone board", MFD_CLOEXEC);
#endif
    if (w->board_fd < 0 || ftruncate(w->board_fd, sizeof *w->board) ||
        !(w->board = map(w->board_fd)))
        return hone_fail(HONE_ENOMEM, "a worker's board");
    return HONE_OK;
}

int hone_worker_exec_board(struct hone_worker *w)
{
    int err = HONE_OK;
    if (kept.pid && !strcmp(kept.device, w->d->name)) {
        w->pid = kept.pid;
        w->fd = kept.fd;
        w->board_fd = kept.board_fd;
        w->board = kept.board;
        kept.pid = 0;
    } else {
        err = new_board(w);
    }
    if (err) return err;
    struct hone_task *task = &w->board->task;
    w->board->apart = 1;
    *task = (struct hone_task){ .max_error = w->d->max_error, .cache = w->o->cache,
                                .seed = w->o->seed };
    hone_problem_print(w->p, task->problem);
    snprintf(task->device, sizeof task->device, "%s", w->d->name);
    return HONE_OK;
}

void hone_worker_exec_keep(struct hone_worker *w)
{
    if (kept.pid) return;
    kept.pid = w->pid;
    kept.fd = w->fd;
    kept.board_fd = w->board_fd;
    kept.board = w->board;
    snprintf(kept.device, sizeof kept.device, "%s", w->d->name);
    w->pid = 0;
    w->board = NULL;
}

static void be_program(struct hone_worker *w)
{
    char board[16], sock[16], name[] = "hone", option[] = "--worker",
         *argv[] = { name, option, board, sock, NULL };
    snprintf(board, sizeof board, "%d", w->board_fd);
    snprintf(sock, sizeof sock, "%d", w->fd);
    fcntl(w->fd, F_SETFD, 0);
    fcntl(w->board_fd, F_SETFD, 0);
    execv("/proc/self/exe", argv);
}

int hone_worker_exec(struct hone_worker *w)
{
    const int err = hone_worker_fork(w, be_program);
    if (!err) w->opened = 0;
    return err;
}

/* ---- the worker's side ---- */

/* Opens what the board says. */
static int open_task(struct hone_worker *w, struct hone_problem *p, struct hone_device *d,
                     struct hone_tune_options *o)
{
    const struct hone_task *task = &w->board->task;
    int err = d->backend ? HONE_OK : hone_device_open(d, task->device);
    if (!err) d->max_error = task->max_error;
    *o = (struct hone_tune_options){ .cache = task->cache, .seed = task->seed };
    if (!err) err = hone_problem_parse(task->problem, p);
    w->p = p;
    w->d = d;
    w->o = o;
    if (!err) err = hone_cases_open(w->cases, &w->ncases, p, d, o->seed);
    w->board->answer = (struct hone_answer){ .err = err };
    if (err)
        snprintf(w->board->answer.why, sizeof w->board->answer.why, "%s", hone_errmsg());
    return err;
}

/* Ctrl-C is the session's to hear of. */
static _Noreturn void be_worker(int board_fd, int fd)
{
    struct hone_worker w = { .fd = fd, .apart = 1, .board = map(board_fd) };
    struct hone_problem p;
    struct hone_device d = { 0 };
    struct hone_tune_options o;
    struct stat st;
    const char done = HONE_WORKER_DONE;
    char what = 0;
    if (!w.board || fstat(board_fd, &st) || st.st_size != (off_t)sizeof *w.board) _exit(2);
    signal(SIGINT, SIG_IGN);
    hone_worker_guard(w.board, 0);
    if (read(fd, &what, 1) != 1) _exit(0);
    while (what == HONE_WORKER_OPEN) {
        const int err = open_task(&w, &p, &d, &o);
        if (write(fd, &done, 1) != 1 || err) break;
        what = (char)hone_worker_serve(&w);
    }
    _exit(0);
}

void hone_worker_main(int argc, char **argv)
{
#ifdef __linux__
    able = 1;
#endif
    if (argc == 4 && !strcmp(argv[1], "--worker")) be_worker(atoi(argv[2]), atoi(argv[3]));
}
