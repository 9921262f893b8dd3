/* autotune/tune.h -- what the files of a tuning session share: its state (tune.c), one candidate's
 * proof, first time and record (trial.c), and the race of those who are left (final.c). */
#ifndef HONE_AUTOTUNE_TUNE_H
#define HONE_AUTOTUNE_TUNE_H

#include "autotune/db.h"
#include "autotune/search.h"
#include "autotune/worker.h"

/* Seconds of a window of a trial and of the race: 10^4 ticks of the clock. */
#define HONE_TRIAL_WINDOW 0.0005
#define HONE_RACE_WINDOW 0.001

struct hone_entrant {
    struct hone_job job;                 /* its plan is open in the worker */
    struct hone_record record;
    int incumbent;
    double ms;                           /* of the trial */
    double joules;                       /* of a run, where energy is the objective */
    int compiled;                        /* 1: cost is that of a jit kernel's code */
    struct hone_jit_cost cost;
    char facts[192];                     /* of a GPU: hone_gpu_now(), of finalists hone_gpu_facts() */
};

/* What is known of a kernel while its configs are tried. */
struct hone_lane {
    char version[HONE_TEXT];
    int next;                            /* config, of a jit kernel that follows another */
    double ms;                           /* best trial; 0: none yet */
    int nwrong;                          /* configs found wrong, now or in an earlier session */
    int seen;                            /* has records of this version */
};

/* A jit candidate, and, once it was compiled ahead, what was wrong with it. */
struct hone_said {
    const struct hone_kernel *kernel;
    struct hone_config config;
    int err;
    char why[256];
};

enum { HONE_AHEAD = 32 };                /* candidates compiled at once, at most */

struct hone_tuning {
    struct hone_db *db;
    const struct hone_problem *p;
    struct hone_device *d;
    const struct hone_tune_options *o;
    struct hone_tune_result *r;
    char text[HONE_TEXT], session[40];
    double started, deadline, flushed;
    struct hone_space space;
    struct hone_lane *lane;              /* (space.nkernels) */
    struct hone_record *wrong;           /* (nwrong) bad before, at this version: not tried */
    int nwrong;
    const struct hone_kernel *incumbent; /* its config stands first; NULL: none */
    struct hone_pool pool;               /* the space, as the searcher sees it */
    struct hone_search search;
    double *prior;                       /* (pool.n) what other problems taught */
    int exhaust;                         /* 1: all are tried */
    int jit;                             /* 1: candidates of the search are compiled */
    int at_best, since_best;             /* trials until the best one came, and since */
    struct hone_worker worker;           /* where candidates run */
    int64_t njobs;                       /* that it was given: their numbers */
    struct hone_entrant *entrant;        /* (room) the first n are still in */
    int n, room;
    double best_ms;
    int blocks;                          /* races so far */
    struct hone_said *said;              /* (nsaid) compiled ahead; shared with who compiles */
    int nsaid;
    struct hone_count_names names;       /* of counters */
    double counting;                     /* seconds that counting took */
    int uncounted;                       /* 1: nothing more is counted */
};

/* The progress line: `done` of the whole, where no budget tells that. */
void hone_tuning_report(struct hone_tuning *t, double done);

/* ---- trial.c ---- */

/* The config of candidate i of the pool, and its entrant; NULL: it is not, or no longer, in. */
const struct hone_config *hone_tuning_config(const struct hone_tuning *t, int i);
struct hone_entrant *hone_tuning_entrant(struct hone_tuning *t, int i);

/* Proves and tries config c of kernel k of the space: one more entrant with its first time in *ms,
 * or the record of why not, and *ms is 0.  An error is the session's. */
int hone_tuning_try(struct hone_tuning *t, int k, const struct hone_config *c, int incumbent,
                    double *ms);

/* Drops who is far behind, and in a crowd the slowest; never the best library, the best of another
 * kernel than the leader's, the incumbent, or, within reason, the best for a workspace. */
int hone_tuning_prune(struct hone_tuning *t);

/* Is nobody faster with as little workspace?  Those are the choices under a limit of workspace. */
int hone_tuning_on_front(const struct hone_tuning *t, const struct hone_entrant *e);

/* Adds records with one commit: a disk is slow, and its work disturbs what is timed next. */
int hone_tuning_add(struct hone_tuning *t, struct hone_record *rec[], int n);

/* Takes entrants whose record says that they are out off the list, and adds their records. */
int hone_tuning_sweep(struct hone_tuning *t);

void hone_entrant_sample(struct hone_record *rec, double *ms, int n);   /* sorts ms */
void hone_entrant_drop(struct hone_entrant *e, const char *why);
void hone_entrant_say_more(struct hone_entrant *e);     /* cost and facts, behind the reason */

/* ---- again.c ---- */

/* Tries those again who should have been good and were not, until `last` (0: no limit) at most. */
int hone_tuning_again(struct hone_tuning *t, double last);

/* ---- ahead.c ---- */

/* How many are compiled at once: 1 where that cannot be done. */
int hone_tuning_jobs(const struct hone_tuning *t);

/* Compiles n candidates, at most HONE_AHEAD, before they are tried. */
int hone_tuning_compile(struct hone_tuning *t, const struct hone_said jobs[], int n);

/* What was wrong with one that was compiled ahead, or NULL. */
const struct hone_said *hone_tuning_said(const struct hone_tuning *t, const struct hone_kernel *k,
                                         const struct hone_config *c);
void hone_tuning_compile_end(struct hone_tuning *t);

/* ---- counting.c ---- */

/* Counts the candidate that the search is curious about, if that is within its share of the time. */
int hone_tuning_count(struct hone_tuning *t);

/* Likewise the fastest few of those who finished. */
int hone_tuning_count_best(struct hone_tuning *t);

/* ---- energy.c ---- */

/* Drops those who finished the race, but take more energy than the least. */
int hone_tuning_weigh(struct hone_tuning *t);

/* ---- later.c ---- */

struct hone_blocks;

/* Of the entrants of a race that is over, and has not been collected yet: t->r->later. */
int hone_tuning_later(struct hone_tuning *t, const struct hone_blocks *b);

/* What became known of them since: counters, and the device's facts. */
void hone_tuning_later_tell(struct hone_tuning *t);

/* ---- final.c ---- */

int hone_tuning_race(struct hone_tuning *t);

/* Copies what blocks found into the records of the entrants, who are their contenders. */
void hone_tuning_collect(struct hone_tuning *t, const struct hone_blocks *b);

/* Adds the records of all entrants and says who is best. */
int hone_tuning_conclude(struct hone_tuning *t);

/* Records who finished, all in one commit: a session is either best or not there. */
int hone_tuning_finish(struct hone_tuning *t);

#endif
