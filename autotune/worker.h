/* autotune/worker.h -- candidates run in a process of their own, so that one that crashes, hangs,
 * ends the program or eats all memory is a record and not the end of the session.
 *
 * The host (host.c) is the side that runs kernels: it has the problem's cases and the open plans.
 * The worker (worker.c) is the session's handle of a process with a host in it: it puts a job on a
 * board that both share, waits with a limit, and tells from the process's end what happened. */
#ifndef HONE_AUTOTUNE_WORKER_H
#define HONE_AUTOTUNE_WORKER_H

#include "autotune/race.h"

#include <sys/types.h>

/* What the host is doing: a hang and a crash are told with it. */
enum hone_phase { HONE_IDLE, HONE_STARTING, HONE_OPENING, HONE_PROVING, HONE_TIMING, HONE_RACING,
                  HONE_COUNTING };

struct hone_job {
    int64_t id;                      /* of the candidate: its plan stays open under it */
    const struct hone_kernel *kernel;
    struct hone_config config;
    int runs;                        /* per window of a race */
};

struct hone_answer {
    int err;
    char why[256];                   /* of err; its first word is the class of fault */
    double ms, error;                /* the first time; largest error in units of the bound */
    int runs;                        /* per window of a race */
    int64_t workspace_bytes;
    double joules;                   /* hone_worker_energy() */
    int compiled;                    /* 1: cost is that of a jit kernel's code */
    struct hone_jit_cost cost;
    char facts[192];                 /* hone_gpu_now() after the first time, hone_worker_facts() */
    char counters[512];              /* hone_worker_count(): as a record has them */
    int broken;                      /* 1: the device answers nothing more in this process */
};

/* What a process that was not forked has to be told. */
struct hone_task {
    char problem[HONE_TEXT], device[16];
    double max_error;
    enum hone_cache cache;
    uint64_t seed;
};

/* Memory that the session and its worker share. */
struct hone_board {
    int apart;                       /* 1: the worker is a program of its own, with other addresses */
    struct hone_task task;
    int job_at, entry_at[HONE_RACERS];   /* indices into hone_kernels[] */
    char broken[256];                /* why the process ended itself */
    volatile int phase, racer;       /* enum hone_phase; whose turn it is in a race */
    volatile double since, cpu;      /* hone_now() and processor seconds when that began */
    volatile int sig, starved;       /* what the process died of; 1: at its limit of memory */
    volatile uintptr_t address;
    double best_ms;                  /* of all trials so far */
    char list[256];                  /* of counters */
    struct hone_job job;
    struct hone_answer answer;
    struct hone_race race;
    struct hone_job entry[HONE_RACERS];
    struct hone_racer racer_of[HONE_RACERS];
};

/* ---- host.c ---- */

struct hone_host {
    const struct hone_problem *p;
    struct hone_device *d;
    const struct hone_tune_options *o;
    struct hone_board *board;
    struct hone_case cases[2];       /* integers where exact, reals last */
    int ncases;
    int resets;                      /* 1: runs change the inputs, to be renewed each window */
    int n, room;
    struct hone_hosted *plan;        /* (n) open */
};

/* Integers, where exact, and reals last: inputs and what is expected of them. */
int  hone_cases_open(struct hone_case cases[2], int *n, const struct hone_problem *p,
                     struct hone_device *d, uint64_t seed);
void hone_cases_close(struct hone_case cases[2], int *n);

/* Takes the cases over. */
int  hone_host_open(struct hone_host *h, const struct hone_problem *p, struct hone_device *d,
                    const struct hone_tune_options *o, struct hone_board *board,
                    const struct hone_case *cases, int ncases);
void hone_host_close(struct hone_host *h);

/* Opens, proves and times board->job; what came of it is board->answer. */
void hone_host_try(struct hone_host *h);
/* Closes the plan of board->job. */
void hone_host_forget(struct hone_host *h);
/* Goes on with board->race: plans that are not open, as in a new process, are opened first. */
int  hone_host_race(struct hone_host *h);
/* Joules of a run of board->job, which has been proven: into board->answer. */
void hone_host_weigh(struct hone_host *h);
/* energy.c: likewise, of a plan that is open. */
int  hone_host_energy(struct hone_host *h, const struct hone_plan *plan, struct hone_case *c,
                      double *joules);
/* hone_gpu_facts() of board->job: into board->answer. */
void hone_host_facts(struct hone_host *h);
/* board->list counted of board->job: into board->answer. */
void hone_host_count(struct hone_host *h);

/* ---- worker.c ---- */

struct hone_worker {
    const struct hone_problem *p;
    struct hone_device *d;
    const struct hone_tune_options *o;
    struct hone_board *board;        /* NULL: not open */
    struct hone_host *host;          /* in this process; NULL: in one of its own */
    pid_t pid;                       /* 0: none runs */
    int fd, board_fd;
    int apart, opened;               /* worker_exec.c; 1: it knows the problem */
    struct hone_case cases[2];       /* made once: each process begins with a copy of them */
    int ncases;
    int njobs;                       /* that this process has had */
    int stale;                       /* 1: had a bad candidate, which may have left damage */
    int nstarts;
    void (*watch)(void *ctx);        /* called now and then during a race; may be NULL */
    void *ctx;
};

/* Forks a process with a socket to this one, w->fd on either side, in which `child` runs. */
int  hone_worker_fork(struct hone_worker *w, void (*child)(struct hone_worker *w));

/* Makes this process one whose faults are told on the board. */
void hone_worker_guard(struct hone_board *board, int64_t limit);

/* Does what it is told until told HONE_WORKER_OPEN, which it returns, or nothing more: 0. */
enum { HONE_WORKER_OPEN = 'o', HONE_WORKER_DONE = 'd' };
int hone_worker_serve(struct hone_worker *w);

/* ---- worker_exec.c: a GPU's ---- */

/* Can this program start itself as a worker?  That is so once main() called hone_worker_main(). */
int  hone_worker_can_exec(void);

/* A board that another program can open: w->board and w->board_fd. */
int  hone_worker_exec_board(struct hone_worker *w);

/* Starts it, or takes over the one that the problem before left. */
int  hone_worker_exec(struct hone_worker *w);

/* Leaves it to the next problem. */
void hone_worker_exec_keep(struct hone_worker *w);

/* Seconds that one phase of a candidate may take. */
double hone_worker_patience(const struct hone_worker *w);

/* Makes the cases.  The process is started with the first job. */
int  hone_worker_open(struct hone_worker *w, const struct hone_problem *p, struct hone_device *d,
                      const struct hone_tune_options *o);
void hone_worker_close(struct hone_worker *w);

/* Proves and times a candidate.  An error is the session's (HONE_EINTR after Ctrl-C); what the
 * candidate did is the answer. */
int  hone_worker_try(struct hone_worker *w, const struct hone_job *job, double best_ms,
                     struct hone_answer *answer);
void hone_worker_forget(struct hone_worker *w, const struct hone_job *job);

/* Joules of a run of a candidate that has been proven. */
int  hone_worker_energy(struct hone_worker *w, const struct hone_job *job,
                        struct hone_answer *answer);

/* hone_gpu_facts() of one; "": none. */
int  hone_worker_facts(struct hone_worker *w, const struct hone_job *job,
                       struct hone_answer *answer);

/* Counters of a run of one: answer->counters, or why none of the list can be read here. */
int  hone_worker_count(struct hone_worker *w, const struct hone_job *job, const char *list,
                       struct hone_answer *answer);

/* Ends the process: the next job gets a new one, with other pages. */
void hone_worker_renew(struct hone_worker *w);

/* Runs `race` of the candidates entry[race->n]: who crashes is out of it, and the race goes on. */
int  hone_worker_race(struct hone_worker *w, struct hone_race *race, const struct hone_job *entry);

#endif
