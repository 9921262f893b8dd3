/* autotune/race.h -- the parts of a tuner: the space of candidates, and the race between them. */
#ifndef HONE_AUTOTUNE_RACE_H
#define HONE_AUTOTUNE_RACE_H

#include "autotune/autotune.h"

/* ---- space.c: who may compete ---- */

struct hone_space_kernel {
    const struct hone_kernel *kernel;
    int64_t nvalid;                /* valid configs; an estimate where they are very many */
    int follows;                   /* 1: takes the configs of its precompiled twin; not searched */
    int n;
    struct hone_config *config;    /* (n) the guess first, then all or a sample in random order */
};

struct hone_space {
    int nkernels;
    struct hone_space_kernel *kernel;
    int n;                         /* configs of all kernels together */
    int64_t nvalid;
};

/* Kernels that accept p and that the options admit, in registry order. */
int hone_space_open(struct hone_space *s, const struct hone_problem *p, const struct hone_device *d,
                    const struct hone_tune_options *o);
/* Makes c the first config of k, which is added where it is not in the space. */
int hone_space_put_first(struct hone_space *s, const struct hone_kernel *k,
                         const struct hone_config *c);

void hone_space_close(struct hone_space *s);

/* ---- race.c: rounds in which each racer is timed once ---- */

/* At most. */
enum { HONE_RACE_ROUNDS = 61, HONE_RACERS = 64 };

struct hone_racer {
    const struct hone_kernel *kernel;
    int incumbent;                 /* 1: the best so far, kept to the end */
    int front;                     /* 1: nobody faster needs as little workspace; likewise kept */
    int err;                       /* the code its window failed with */
    int out;                       /* rounds after which it was dropped or failed; 0: finished */
    char why[128];                 /* of being out */
    int n;
    double ms[HONE_RACE_ROUNDS];   /* (n) */
};

struct hone_race {
    int n;
    struct hone_racer *racer;
    /* The next window of racer i, in ms per run. */
    int (*window)(void *ctx, int i, double *ms);
    /* Times a fixed amount of work, to see what else the machine is doing; NULL: nobody watches. */
    double (*sentinel)(void *ctx);
    void (*progress)(void *ctx, int rounds);   /* may be NULL */
    void *ctx;
    double deadline;               /* by hone_now(); 0: none.  Three rounds are run in any case */
    uint64_t seed;
    int rounds;                    /* how many there shall be */
    int all;                       /* 1: nobody is dropped for being slow */
    int nrounds, ndisturbed;       /* results: rounds that count, rounds thrown away */
    double noise;                  /* 90th percentile of sentinels over their median, less 1 */
    double drift;                  /* sentinels of the last third over those of the first, less 1:
                                    * 0.1 is a machine that got 10 % slower, as when it is hot */
    double self;                   /* A against A: the leader's odd rounds over its even ones, less 1 */
    /* The race's own: with them it can go on in another process. */
    double started, watch[4 * HONE_RACE_ROUNDS];
    int nwatch;
};

/* HONE_EINTR after Ctrl-C; the rounds so far then stand.  Called again it goes on. */
int hone_race_run(struct hone_race *r);

/* Once it is over: puts the times of those who finished on one level, so that what slowed a whole
 * round no longer shows, and only how they compare does. */
void hone_race_finish(struct hone_race *r);

/* Times of racer i over those of j, of the rounds that both ran. */
struct hone_stats hone_race_ratio(const struct hone_race *r, int i, int j);

/* ---- db.c ---- */

/* Sorts records of one session, best first, by the rule of hone_db_best(). */
void hone_db_rank(struct hone_record *r, int n);
void hone_db_podium_of(const struct hone_record *ranked, int n, struct hone_podium *podium);
/* Is r, one of n that finished one session, as fast as the fastest of them, or may it be? */
int  hone_record_ties(const struct hone_record *r, const struct hone_record *all, int n);
int  hone_record_is_library(const struct hone_record *r);

#endif
