/* A process for candidates.  It is forked from the session and shares a board with it; a byte over
 * a socket says "do it", one back says "done".  Where the process ends instead, or a phase takes
 * longer than it may, that is the candidate's fault, and the next job starts a new process.
 *
 * A candidate may have damaged its process without ending it.  So the next one gets a new process
 * after any bad one, and who goes down in a process that had others before is tried again in a new
 * one: it is not blamed for what another did.
 *
 * OpenMP's threads do not survive a fork, and libgomp would wait for them.  It keeps its threads
 * per thread that starts them, though, so the host lives in a thread of its own, whose team is
 * new. */
#include "config.h"

#include "autotune/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { TRY = 't', FORGET = 'f', RACE = 'r', WEIGH = 'w', FACTS = 'g', COUNT = 'c',
       OPEN = HONE_WORKER_OPEN, DONE = HONE_WORKER_DONE };

static const int64_t NEAR = 64 << 20;   /* bytes below the limit: memory had run out */

/* ---- limits ---- */

/* An hour's work for nobody, but a slow one on a busy machine has a hundred times what a good one
 * needs. */
double hone_worker_patience(const struct hone_worker *w)
{
    if (w->o->candidate_seconds > 0) return w->o->candidate_seconds;
    return 10 + w->p->op->flops(w->p) / 5e7 + hone_problem_bytes(w->p) / 2e7;
}

static int64_t mapped_bytes(void)
{
    char text[64] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    return n ? (int64_t)strtoll(text, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

/* Bytes of address space that the process may have beyond what it starts with.  Each thread's
 * arena of malloc reserves 128 MiB without using them. */
static int64_t memory(const struct hone_worker *w)
{
    const int64_t threads = (int64_t)w->d->ncores * 192 << 20,
                  own = w->o->candidate_bytes ? w->o->candidate_bytes
                                              : ((int64_t)1 << 30) +
                                                    64 * (int64_t)hone_problem_bytes(w->p);
    return own + threads;
}

/* ---- in the new process ---- */

/* For the handler, which gets no argument. */
static struct hone_board *dying;
static int64_t dying_limit;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    dying->sig = sig;
    dying->address = (uintptr_t)info->si_addr;
    dying->starved = dying_limit && mapped_bytes() > dying_limit - NEAR;
    raise(sig);   /* the default action, once this returns */
}

static void catch_faults(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    struct sigaction action = { .sa_sigaction = on_fault,
                                .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

/* A stack that overflowed cannot hold the handler. */
static void use_other_stack(void)
{
    enum { BYTES = 64 << 10 };
    stack_t stack = { .ss_size = BYTES, .ss_sp = malloc(BYTES) };
    if (stack.ss_sp) sigaltstack(&stack, NULL);
}

void hone_worker_guard(struct hone_board *board, int64_t limit)
{
    struct rlimit none = { 0, 0 }, space = { (rlim_t)limit, (rlim_t)limit };
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setrlimit(RLIMIT_CORE, &none);
    if (limit && setrlimit(RLIMIT_AS, &space)) limit = 0;
    dying = board;
    dying_limit = limit;
    catch_faults();
}

static void race_here(struct hone_host *h)
{
    struct hone_answer *a = &h->board->answer;
    a->err = hone_host_race(h);
    snprintf(a->why, sizeof a->why, "%s", hone_errmsg());
}

/* In another program kernels lie elsewhere. */
static void find_kernels(struct hone_board *b, char what)
{
    if (!b->apart) return;
    if (what != RACE) { b->job.kernel = hone_kernels[b->job_at]; return; }
    for (int i = 0; i < b->race.n; i++)
        b->racer_of[i].kernel = b->entry[i].kernel = hone_kernels[b->entry_at[i]];
}

int hone_worker_serve(struct hone_worker *w)
{
    static const struct { char what; void (*act)(struct hone_host *h); } acts[] = {
        { TRY, hone_host_try },     { FORGET, hone_host_forget }, { WEIGH, hone_host_weigh },
        { FACTS, hone_host_facts }, { COUNT, hone_host_count },   { RACE, race_here },
    };
    struct hone_host host;
    char what = 0, done = DONE;
    int bad = hone_host_open(&host, w->p, w->d, w->o, w->board, w->cases, w->ncases);
    while (read(w->fd, &what, 1) == 1 && what != OPEN) {
        find_kernels(w->board, what);
        for (size_t i = 0; !bad && i < sizeof acts / sizeof *acts; i++)
            if (acts[i].what == what) acts[i].act(&host);
        if (bad) {
            w->board->answer = (struct hone_answer){ .err = bad };
            snprintf(w->board->answer.why, sizeof w->board->answer.why, "%s", hone_errmsg());
            w->board->phase = HONE_STARTING;   /* no fault of the candidate */
        }
        if (write(w->fd, &done, 1) != 1) break;
        what = 0;
    }
    if (what != OPEN) return 0;
    hone_host_close(&host);
    w->ncases = 0;
    return OPEN;
}

static void *serve(void *ctx)
{
    use_other_stack();
    hone_worker_serve(ctx);
    _exit(0);
}

static void be_worker(struct hone_worker *w)
{
    pthread_t thread;
    const int64_t now = mapped_bytes();
    hone_worker_guard(w->board, now ? now + memory(w) : 0);
    if (!pthread_create(&thread, NULL, serve, w)) pthread_join(thread, NULL);
    _exit(1);
}

/* ---- starting and ending it ---- */

static void end(struct hone_worker *w, int *status)
{
    if (!w->pid) return;
    kill(w->pid, SIGKILL);
    while (waitpid(w->pid, status, 0) < 0 && errno == EINTR) {}
    close(w->fd);
    w->pid = w->opened = 0;
}

int hone_worker_fork(struct hone_worker *w, void (*child)(struct hone_worker *w))
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
        return hone_fail(HONE_EDEVICE, "no socket for a worker: %s", strerror(errno));
    fflush(NULL);   /* or what is buffered would be written twice, should a candidate exit() */
    const pid_t pid = fork();
    if (!pid) {
        close(fd[0]);
        w->fd = fd[1];
        child(w);
        _exit(127);
    }
    close(fd[1]);
    if (pid < 0) {
        close(fd[0]);
        return hone_fail(HONE_EDEVICE, "no process for a worker: %s", strerror(errno));
    }
    w->pid = pid;
    w->fd = fd[0];
    return HONE_OK;
}

/* ---- waiting ---- */

enum outcome { ANSWERED, ENDED, HUNG, STOPPED };

/* Processor seconds of the worker since its phase began. */
static double worked(const struct hone_worker *w)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(w->pid, &clock) || clock_gettime(clock, &used)) return 0;
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec - w->board->cpu;
}

/* The phase's time is up.  Who had hardly any of the processor, on a machine that is busy with
 * something else, gets four times as much: then it sleeps and does not wait. */
static int is_hung(const struct hone_worker *w, double limit)
{
    const double took = hone_now() - w->board->since;
    return took > limit && (worked(w) > 0.5 * limit || took > 4 * limit);
}

static enum outcome await(struct hone_worker *w)
{
    enum { WATCH_MS = 200 };
    const double limit = hone_worker_patience(w);
    struct pollfd p = { .fd = w->fd, .events = POLLIN };
    for (;;) {
        char c;
        /* What is done before the first candidate is our own work, and may take its time. */
        const int own = w->board->phase == HONE_STARTING || w->board->phase == HONE_IDLE;
        const double left = own ? 1 : w->board->since + limit - hone_now();
        int ms = left <= 0 ? 10 : left > 3600 ? 3600000 : (int)(1e3 * left) + 1;
        if (w->watch && ms > WATCH_MS) ms = WATCH_MS;
        const int n = poll(&p, 1, ms);
        if (n > 0) return read(w->fd, &c, 1) == 1 ? ANSWERED : ENDED;
        if (n < 0 && errno != EINTR) return ENDED;
        if (hone_interrupted()) return STOPPED;
        if (w->watch) w->watch(w->ctx);
        if (!own && is_hung(w, limit)) return HUNG;
    }
}

static const char *doing(const struct hone_worker *w)
{
    static const char *const text[] = {
        [HONE_IDLE] = "between candidates",   [HONE_STARTING] = "at the start",
        [HONE_OPENING] = "while it was opened", [HONE_PROVING] = "in the proof",
        [HONE_TIMING] = "in the first time",  [HONE_RACING] = "in the race",
        [HONE_COUNTING] = "while it was counted",
    };
    const int phase = w->board->phase;
    return phase >= HONE_IDLE && phase <= HONE_COUNTING ? text[phase] : "in a damaged process";
}

/* What became of a process that did not answer, in words that begin with the class of fault. */
static void explain(struct hone_worker *w, enum outcome o, char *why, size_t size)
{
    int status = 0;
    const char *when = doing(w);
    const struct hone_board *b = w->board;
    end(w, &status);
    if (b->broken[0] && WIFEXITED(status))
        snprintf(why, size, "%.200s, %s", b->broken, when);
    else if (o == HUNG)
        snprintf(why, size, "hang: no end after %.3g s %s", hone_worker_patience(w), when);
    else if (WIFEXITED(status))
        snprintf(why, size, "exit: ended the program with status %d %s", WEXITSTATUS(status), when);
    else if (b->starved)
        snprintf(why, size, "memory: more than %lld MiB, then signal %d (%s) %s",
                 (long long)memory(w) >> 20, WTERMSIG(status), strsignal(WTERMSIG(status)), when);
    else if (b->sig == SIGSEGV || b->sig == SIGBUS)
        snprintf(why, size, "crash: signal %d (%s) at address %#llx %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), (unsigned long long)b->address, when);
    else
        snprintf(why, size, "crash: signal %d (%s) %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), when);
}

static enum outcome ask(struct hone_worker *w, char what)
{
    if (send(w->fd, &what, 1, MSG_NOSIGNAL) != 1) return ENDED;
    return await(w);
}

static int stopped(struct hone_worker *w)
{
    end(w, &(int){ 0 });
    return hone_fail(HONE_EINTR, "interrupted");
}

/* ---- starting ---- */

/* A worker that is a program of its own is told the problem; one that the problem before left and
 * that does not listen any more is replaced. */
static int open_apart(struct hone_worker *w, int fresh)
{
    const enum outcome o = ask(w, OPEN);
    if (o == STOPPED) return stopped(w);
    if (o == ANSWERED && !w->board->answer.err) { w->opened = 1; return HONE_OK; }
    const int err = o == ANSWERED ? w->board->answer.err : HONE_EDEVICE;
    char why[256] = "it ended";
    if (o == ANSWERED) memcpy(why, w->board->answer.why, sizeof why);
    end(w, &(int){ 0 });
    return fresh ? hone_fail(err, "a worker for %s: %s", w->d->name, why) : HONE_OK;
}

static int start(struct hone_worker *w)
{
    int err = HONE_OK;
    if (w->stale) end(w, &(int){ 0 });
    for (int fresh = 0; !err && (!w->pid || (w->apart && !w->opened)); fresh = 1) {
        w->board->sig = w->board->starved = 0;
        w->board->broken[0] = 0;
        w->board->phase = HONE_STARTING;
        w->board->since = hone_now();
        if (!w->pid) {
            err = w->apart ? hone_worker_exec(w) : hone_worker_fork(w, be_worker);
            w->njobs = w->stale = 0;
            w->nstarts++;
        }
        if (!err && w->apart) err = open_apart(w, fresh);
    }
    return err;
}

struct opening {
    struct hone_worker *w;
    int err;
    char why[256];
};

static void *open_in_thread(void *ctx)
{
    struct opening *o = ctx;
    struct hone_worker *w = o->w;
    o->err = hone_cases_open(w->cases, &w->ncases, w->p, w->d, w->o->seed);
    if (o->err) snprintf(o->why, sizeof o->why, "%s", hone_errmsg());
    return NULL;
}

/* What is expected is computed once, and not in each process anew.  In a thread, with which its
 * OpenMP helpers end: libgomp would count them in every process that is forked later, and find the
 * machine too small to let threads wait in loops. */
static int open_cases(struct hone_worker *w)
{
    struct opening o = { .w = w };
    pthread_t thread;
    if (strcmp(w->d->backend->name, "cpu") || pthread_create(&thread, NULL, open_in_thread, &o))
        return hone_cases_open(w->cases, &w->ncases, w->p, w->d, w->o->seed);
    pthread_join(thread, NULL);
    return o.err ? hone_fail(o.err, "%s", o.why) : HONE_OK;
}

static int open_program(struct hone_worker *w)
{
    w->apart = 1;
    const int err = hone_worker_exec_board(w);
    return err ? err : start(w);
}

int hone_worker_open(struct hone_worker *w, const struct hone_problem *p, struct hone_device *d,
                     const struct hone_tune_options *o)
{
    *w = (struct hone_worker){ .p = p, .d = d, .o = o, .board_fd = -1 };
    /* A GPU's context does not survive a fork. */
    if (!o->in_process && strcmp(d->backend->name, "cpu") && hone_worker_can_exec()) {
        int err = open_program(w);
        if (!err || err == HONE_EINTR) return err;
        /* A GPU that admits one process only: then it is this one. */
        hone_worker_close(w);
        *w = (struct hone_worker){ .p = p, .d = d, .o = o };
    }
    void *at = mmap(NULL, sizeof *w->board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0);
    if (at == MAP_FAILED) return hone_fail(HONE_ENOMEM, "a worker's board");
    w->board = at;
    int err = open_cases(w);
    if (err || (!o->in_process && !strcmp(d->backend->name, "cpu"))) return err;
    w->host = calloc(1, sizeof *w->host);
    if (!w->host) return hone_fail(HONE_ENOMEM, "a host");
    err = hone_host_open(w->host, p, d, o, w->board, w->cases, w->ncases);
    w->ncases = 0;   /* they are the host's now */
    return err;
}

void hone_worker_close(struct hone_worker *w)
{
    if (w->apart && w->pid && !w->stale) hone_worker_exec_keep(w);
    end(w, &(int){ 0 });
    if (w->host) hone_host_close(w->host);
    free(w->host);
    hone_cases_close(w->cases, &w->ncases);
    if (w->board) munmap(w->board, sizeof *w->board);
    if (w->board && w->apart) close(w->board_fd);
    memset(w, 0, sizeof *w);
}

/* ---- jobs ---- */

/* Where a kernel stands in every process of this program. */
static int place_of(const struct hone_worker *w, const struct hone_kernel *k)
{
    int i = 0;
    while (w->apart && hone_kernels[i] && hone_kernels[i] != k) i++;
    return i;
}

static void put_job(struct hone_worker *w, const struct hone_job *job)
{
    w->board->job = *job;
    w->board->job_at = place_of(w, job->kernel);
}

static int try_in_process(struct hone_worker *w, struct hone_answer *answer)
{
    hone_host_try(w->host);
    *answer = w->board->answer;
    return answer->err == HONE_EINTR ? hone_fail(HONE_EINTR, "interrupted") : HONE_OK;
}

/* May a bad candidate have left its process damaged?  A GPU's cannot touch the host's memory, and
 * what it wrote beside its buffers is told by what stands there. */
static int is_damaged(const struct hone_worker *w, const struct hone_answer *a)
{
    return !w->apart || a->broken || !strncmp(a->why, "overrun", 7);
}

int hone_worker_try(struct hone_worker *w, const struct hone_job *job, double best_ms,
                    struct hone_answer *answer)
{
    w->board->best_ms = best_ms;
    put_job(w, job);
    if (w->host) return try_in_process(w, answer);
    for (;;) {
        int err = start(w);
        if (err) return err;
        put_job(w, job);
        const int first = !w->njobs++;
        const enum outcome o = ask(w, TRY);
        if (o == STOPPED) return stopped(w);
        if (o == ANSWERED) {
            *answer = w->board->answer;
            if (answer->err == HONE_EINTR) return hone_fail(HONE_EINTR, "interrupted");
            if (answer->err && w->board->phase == HONE_STARTING)
                return hone_fail(answer->err, "%s", answer->why);
            if (!answer->err) return HONE_OK;
            w->stale = is_damaged(w, answer);
            if (!w->stale) return HONE_OK;
        } else {
            *answer = (struct hone_answer){ .err = HONE_EDEVICE };
            explain(w, o, answer->why, sizeof answer->why);
        }
        if (first || o == HUNG) return HONE_OK;
    }
}

void hone_worker_forget(struct hone_worker *w, const struct hone_job *job)
{
    put_job(w, job);
    if (w->host) hone_host_forget(w->host);
    else if (w->pid && (!w->apart || w->opened) && ask(w, FORGET) != ANSWERED) end(w, &(int){ 0 });
}

/* What is asked of a candidate that has been proven. */
static int ask_more(struct hone_worker *w, const struct hone_job *job, char what,
                    void (*here)(struct hone_host *h), struct hone_answer *answer)
{
    int err = w->host ? HONE_OK : start(w);
    if (err) return err;
    put_job(w, job);
    if (w->host) {
        here(w->host);
    } else {
        w->njobs++;
        const enum outcome o = ask(w, what);
        if (o == STOPPED) return stopped(w);
        if (o != ANSWERED) {
            *answer = (struct hone_answer){ .err = HONE_EDEVICE };
            explain(w, o, answer->why, sizeof answer->why);
            return HONE_OK;
        }
    }
    *answer = w->board->answer;
    w->stale |= answer->broken;
    return HONE_OK;
}

int hone_worker_energy(struct hone_worker *w, const struct hone_job *job,
                       struct hone_answer *answer)
{
    return ask_more(w, job, WEIGH, hone_host_weigh, answer);
}

int hone_worker_facts(struct hone_worker *w, const struct hone_job *job, struct hone_answer *answer)
{
    return ask_more(w, job, FACTS, hone_host_facts, answer);
}

int hone_worker_count(struct hone_worker *w, const struct hone_job *job, const char *list,
                      struct hone_answer *answer)
{
    snprintf(w->board->list, sizeof w->board->list, "%s", list);
    return ask_more(w, job, COUNT, hone_host_count, answer);
}

/* A GPU's memory is not paged as a process's is, and its context takes long to make. */
void hone_worker_renew(struct hone_worker *w)
{
    if (!w->apart) end(w, &(int){ 0 });
}

/* Whoever had the turn when the process ended is out. */
static void put_out(struct hone_worker *w, enum outcome o)
{
    char why[256];
    const int i = w->board->racer;
    explain(w, o, why, sizeof why);
    if (i < 0 || i >= w->board->race.n) return;
    struct hone_racer *a = &w->board->racer_of[i];
    a->err = HONE_EDEVICE;
    a->out = w->board->race.nrounds + 1;
    snprintf(a->why, sizeof a->why, "%.127s", why);
}

static int race_apart(struct hone_worker *w)
{
    for (int tries = 0;; tries++) {
        int err = start(w);
        if (err) return err;
        w->njobs++;
        w->board->racer = -1;
        const enum outcome o = ask(w, RACE);
        if (o == ANSWERED) {
            err = w->board->answer.err;
            return err ? hone_fail(err, "%s", w->board->answer.why) : HONE_OK;
        }
        if (o == STOPPED) return stopped(w);
        /* Each process that ends takes a racer with it; one that ends without, again and again, is
         * no candidate's fault. */
        if (tries > 2 * w->board->race.n)
            return hone_fail(HONE_EDEVICE, "the race's process ends again and again");
        put_out(w, o);
    }
}

int hone_worker_race(struct hone_worker *w, struct hone_race *race, const struct hone_job *entry)
{
    struct hone_board *b = w->board;
    struct hone_racer *racer = race->racer;
    const size_t n = (size_t)race->n;
    b->race = *race;
    memcpy(b->racer_of, racer, n * sizeof *racer);
    memcpy(b->entry, entry, n * sizeof *entry);
    for (size_t i = 0; i < n; i++) b->entry_at[i] = place_of(w, entry[i].kernel);
    int err = w->host ? hone_host_race(w->host) : race_apart(w);
    *race = b->race;
    race->racer = racer;
    memcpy(racer, b->racer_of, n * sizeof *racer);
    for (size_t i = 0; i < n; i++) racer[i].kernel = entry[i].kernel;
    return err;
}
