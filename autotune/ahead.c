/* Compiling ahead: the next few jit candidates are compiled at once, each by a process of its own,
 * before the first of them is timed; while one is timed nothing is compiled.  What they made lies
 * in the jit cache, where the worker finds it.
 *
 * A process that says what was wrong with a candidate's code spares the worker to compile it again.
 * One that crashes or takes too long says nothing: the worker will find out, as without it. */
#include "autotune/tune.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

int hone_tuning_jobs(const struct hone_tuning *t)
{
    const int n = t->o->jobs > 0 ? t->o->jobs : t->d->ncores;
    /* A GPU's driver does not survive a fork. */
    if (t->worker.host || strcmp(t->d->backend->name, "cpu")) return 1;
    return n < HONE_AHEAD ? n : HONE_AHEAD;
}

/* ---- in the process that compiles ---- */

/* Compilers end before the process that waits for them is ended. */
static void limit_compiler(double seconds)
{
    const char *text = getenv("HONE_JIT_SECONDS");
    char own[32];
    if (text && strtod(text, NULL) > 0 && strtod(text, NULL) < seconds) return;
    snprintf(own, sizeof own, "%.3g", seconds);
    setenv("HONE_JIT_SECONDS", own, 1);
}

static _Noreturn void compile(const struct hone_tuning *t, struct hone_said *said, double seconds)
{
    struct rlimit none = { 0, 0 };
    struct hone_plan plan;
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setrlimit(RLIMIT_CORE, &none);
    limit_compiler(seconds);
    const int err = hone_plan_open(&plan, t->p, said->kernel, &said->config, t->d);
    if (err) {
        snprintf(said->why, sizeof said->why, "%s: %s", err == HONE_ENOMEM ? "memory" : "build",
                 hone_errmsg());
        said->err = err;
    }
    _exit(0);
}

/* ---- starting and waiting ---- */

struct crew {
    int n;
    pid_t pid[HONE_AHEAD];
    double since[HONE_AHEAD];
};

static void dismiss(struct crew *c, int i)
{
    c->pid[i] = c->pid[--c->n];
    c->since[i] = c->since[c->n];
}

/* Waits until one is done; who takes longer than `most` is ended. */
static void await(struct crew *c, double most)
{
    const struct timespec nap = { 0, 1000000 };
    for (;;) {
        for (int i = 0; i < c->n; i++) {
            const pid_t got = waitpid(c->pid[i], NULL, WNOHANG);
            if (got == c->pid[i] || (got < 0 && errno != EINTR)) { dismiss(c, i); return; }
            if (hone_now() - c->since[i] > most || hone_interrupted()) kill(c->pid[i], SIGKILL);
        }
        nanosleep(&nap, NULL);
    }
}

int hone_tuning_compile(struct hone_tuning *t, const struct hone_said jobs[], int n)
{
    const int width = hone_tuning_jobs(t);
    const double patience = hone_worker_patience(&t->worker), started = hone_now();
    struct crew c = { .n = 0 };
    t->nsaid = 0;
    if (n < 2 || width < 2) return HONE_OK;
    if (!t->said) {
        void *at = mmap(NULL, HONE_AHEAD * sizeof *t->said, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return hone_fail(HONE_ENOMEM, "%d compilers", width);
        t->said = at;
    }
    memcpy(t->said, jobs, (size_t)n * sizeof *jobs);
    t->nsaid = n;
    fflush(NULL);
    for (int i = 0; i < n && !hone_interrupted(); i++) {
        if (c.n == width) await(&c, 1.2 * patience);
        const pid_t pid = fork();
        if (!pid) compile(t, &t->said[i], patience);
        if (pid < 0) break;   /* then the worker compiles the rest */
        c.pid[c.n] = pid;
        c.since[c.n++] = hone_now();
        t->r->nahead++;
    }
    while (c.n) await(&c, 1.2 * patience);
    t->r->ahead_seconds += hone_now() - started;
    return hone_interrupted() ? hone_fail(HONE_EINTR, "interrupted") : HONE_OK;
}

const struct hone_said *hone_tuning_said(const struct hone_tuning *t, const struct hone_kernel *k,
                                         const struct hone_config *c)
{
    for (int i = 0; i < t->nsaid; i++)
        if (t->said[i].kernel == k && t->said[i].err && !memcmp(&t->said[i].config, c, sizeof *c))
            return &t->said[i];
    return NULL;
}

void hone_tuning_compile_end(struct hone_tuning *t)
{
    if (t->said) munmap(t->said, HONE_AHEAD * sizeof *t->said);
    t->said = NULL;
    t->nsaid = 0;
}
