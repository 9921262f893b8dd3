/* autotune/autotune.h -- which kernel and config is best for a problem on a device: spaces are
 * searched, candidates verified, raced, and remembered in a SQLite database. */
#ifndef HONE_AUTOTUNE_H
#define HONE_AUTOTUNE_H

#include "profiler/profiler.h"

/* ---- records ---- */

/* Dropped: clearly slower, early. */
enum hone_status { HONE_TIMED, HONE_WRONG, HONE_FAILED, HONE_DROPPED };
const char *hone_status_name(enum hone_status s);

/* What was the matter with one that is wrong or failed: the first word of its `why`, "overrun: c was
 * written 4 bytes past its end". */
#define HONE_FAULT_MAP(X)                                                                          \
    X(NONE, "none")                                                                                \
    X(VALUE, "value")          /* an output is wrong */                                            \
    X(NAN, "nan")              /* an output is NaN, or was never written */                        \
    X(OVERRUN, "overrun")      /* a guard band beside a buffer was written */                      \
    X(INPUT, "input")          /* an input was written */                                          \
    X(UNSTABLE, "unstable")    /* two runs gave different bits */                                  \
    X(CRASH, "crash")          /* a signal ended its process */                                    \
    X(HANG, "hang")            /* no end within the limit of time */                               \
    X(EXIT, "exit")            /* it ended the program */                                          \
    X(MEMORY, "memory")        /* no memory within its limit */                                    \
    X(BUILD, "build")          /* its code could not be compiled or loaded */                      \
    X(ERROR, "error")          /* it said that it failed */

enum hone_fault {
#define X(code, name) HONE_FAULT_##code,
    HONE_FAULT_MAP(X)
#undef X
    HONE_NFAULTS
};
const char *hone_fault_name(enum hone_fault f);

/* What one candidate did.  Immutable once added. */
struct hone_record {
    int64_t id;                  /* in its database */
    char device[192];            /* hone_device.id */
    char problem[HONE_TEXT];
    char kernel[64];
    char version[HONE_TEXT];     /* hone_kernel_version(): another text is another kernel */
    char config[HONE_TEXT];
    enum hone_status status;
    char why[256];               /* of a status other than timed; of a jit kernel that has a time,
                                  * behind "; ", what its code took: "compile_ms=510 load_ms=0.4
                                  * first_ms=0.02 code_bytes=8192"; of a GPU, likewise, its state,
                                  * and of the fastest few what was counted: hone_gpu_facts() */
    int n;                       /* windows behind the median; 0: no time was taken */
    double ms_median, ms_lo, ms_hi;
    char counters[512];          /* of a run, where they were counted: "dram_read=1.2e+06 occupancy=47" */
    int64_t workspace_bytes;
    double error;                /* largest error in units of the bound */
    char cache[16];              /* cache mode of the timing; "net": in a net's whole steps */
    char session[40];            /* times with equal texts here may be compared */
    char when[32];               /* ISO 8601, UTC */
};

/* Records of before there were classes are VALUE where wrong and ERROR where failed. */
enum hone_fault hone_record_fault(const struct hone_record *r);

/* ---- database ---- */

enum { HONE_DB_STATEMENTS = 16, HONE_DB_BUILDS = 256 };

struct hone_db {
    struct sqlite3 *sql;         /* NULL: no database; look-ups then find nothing */
    char path[512];
    unsigned builds;             /* bit HONE_AOT, ...: whose records are served; 0: all */
    int64_t max_workspace;       /* bytes: records of more are not served; 0: no limit */
    struct hone_wisdom *wisdom;  /* shipped records; NULL: not read yet */
    struct sqlite3_stmt *stmt[HONE_DB_STATEMENTS];   /* prepared at first use */
    struct hone_record *found;   /* (room) of the last look-up */
    int room;
    /* Which builds of kernels are this program's, as far as it was asked: build b stands at b %
     * HONE_DB_BUILDS; NULL: not asked yet. */
    struct hone_db_build {
        int64_t id;
        const struct hone_op *op;
        const struct hone_kernel *kernel;   /* NULL: this program has no such version of it */
        char version[HONE_TEXT];
    } *build;
};

/* The path given, else $HONE_DB, else hone.db in the user's data directory.  To write (`create`), a
 * missing file is made and a file that is there is checked for damage first; to read, a missing
 * file is an empty database, and no file is made or changed.  HONE_EDB, in one line: locked,
 * read-only, not a database, damaged, another program's, of another version, disk full. */
int  hone_db_open(struct hone_db *db, const char *path, int create);
void hone_db_close(struct hone_db *db);

/* Frees what look-ups keep for the next ones, hundreds of KiB; these make it anew. */
void hone_db_rest(struct hone_db *db);

/* Sets r->id; to 0 where an equal record stands already, which is then left as it is. */
int  hone_db_add(struct hone_db *db, struct hone_record *r);

/* Adds n records as a session of this moment, which all then are of. */
int  hone_db_add_session(struct hone_db *db, struct hone_record r[], int n);

/* Calls f for every record of the device and problem (NULL: all), oldest first, in an order that
 * depends on the records alone, until f returns nonzero. */
int  hone_db_each(struct hone_db *db, const char *device, const char *problem,
                  int (*f)(void *ctx, const struct hone_record *r), void *ctx);

/* The best records of p on d: those of the latest session that timed p with kernels of this program
 * at this program's versions, except what was ever found wrong; best first under the rule of ties:
 * what is within 1 % of the fastest goes by less workspace, no library, name of kernel and config.
 * A pure function of the records.  Returns how many were put into best[max], or a negative code. */
int hone_db_best(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d,
                 struct hone_record best[], int max);

/* The same of the latest session before `session` that timed p; NULL: of the latest. */
int hone_db_best_before(struct hone_db *db, const struct hone_problem *p,
                        const struct hone_device *d, const char *session,
                        struct hone_record best[], int max);

/* Of options: "4096", "64k" or "64KiB", "16m", "1.5GiB". */
int hone_bytes_parse(const char *text, int64_t *bytes);

/* Who stands for what among the best; kernel[0] == 0: none. */
struct hone_podium {
    struct hone_record best;
    struct hone_record runner_up;   /* the best of another kernel */
    struct hone_record library;     /* the best library kernel, be it `best` itself */
};
int hone_db_podium(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d,
                   struct hone_podium *podium);

/* ---- training runs ---- */

struct hone_run {
    int64_t id;                  /* in its database, set by hone_db_add_run() */
    char session[40];            /* set where empty; names the run in every database */
    char when[32];               /* likewise: ISO 8601, UTC */
    char net[128], data[256], device[192];
    int epochs, batch;
    char optimizer[32];
    double lr;
    uint64_t seed;
    int64_t parameters;
    char command[1024];          /* the command line */
};

/* NAN: does not apply, or was not measured. */
struct hone_epoch {
    int epoch;                   /* 1, 2, ... */
    double seconds, images_per_s;
    double train_loss, train_accuracy;
    double test_loss, test_accuracy, test_mae;   /* test_loss of a regression by MSE is its MSE */
};

int hone_db_add_run(struct hone_db *db, struct hone_run *r);
int hone_db_add_epoch(struct hone_db *db, const struct hone_run *r, const struct hone_epoch *e);

/* Oldest first, until f returns nonzero. */
int hone_db_each_run(struct hone_db *db, int (*f)(void *ctx, const struct hone_run *r), void *ctx);
int hone_db_each_epoch(struct hone_db *db, const struct hone_run *r,
                       int (*f)(void *ctx, const struct hone_epoch *e), void *ctx);

/* ---- tuning ---- */

struct hone_tune_options {
    double seconds;              /* budget in all; 0: no measuring; negative: no limit */
    const char *search;          /* a searcher's name; NULL: the default */
    int trials;                  /* at most, besides each kernel's guess and one that needs less
                                  * workspace than the best; 0: no limit */
    int exhaust;                 /* 1: until all were tried, not until no gain is expected */
    const char *kernel;          /* only this kernel, or NULL */
    const struct hone_kernel *const *kernels;   /* may compete, NULL-terminated; NULL: all */
    unsigned builds;             /* bit HONE_AOT, HONE_LIB, ...: who may compete; 0: the usual */
    enum hone_cache cache;
    uint64_t seed;
    int again;                   /* 1: measure even if known */
    int quiet;                   /* 1: no progress line */
    const char *counters;        /* counted of a few candidates; NULL: what the device has, "none" */
    int energy;                  /* 1: the least energy wins; hone_tuning_meter() says if it can */
    int jobs;                    /* compilers at once; 0: as many as processors */
    double compile_seconds;      /* that a jit kernel of the op is expected to take; 0: not known */
    int in_process;              /* 1: candidates run in this process, not in one of their own */
    double candidate_seconds;    /* that one phase of a candidate may take; 0: by its problem */
    int64_t candidate_bytes;     /* of memory that it may take; 0: by its problem */
    int later;                   /* 1: what the result needs to be raced again later is kept */
    const struct hone_record *hint;   /* tried early: the best of a like problem; NULL: none */
    const char *what;            /* progress line: name of this problem; NULL: its text */
    double started, total;       /* of a longer whole: hone_now() at its start, its seconds or 0 */
};

struct hone_tune_result {
    int64_t nspace;              /* valid configs of all kernels that accept the problem; with a
                                  * budget of 0 one of each kernel is counted */
    int ncandidates;             /* tried; = ntimed + nwrong + nfailed + ndropped */
    int ntimed, nwrong, nfailed, ndropped;
    int nties;                   /* others that finished and may be as fast as the winner */
    struct hone_podium podium;   /* nothing known: best is the untuned default, with n = 0 */
    double seconds;
    double noise;                /* spread of the sentinel: 0.05 means its times vary by 5 % */
    double drift;                /* the sentinel's last third over its first in the race, less 1 */
    double self;                 /* A against A: the winner's odd rounds over its even ones, less 1 */
    int known;                   /* 1: was tuned before; nothing was measured */
    char wisdom[192];            /* nothing known, and best is a shipped record's: of this device */
    int nahead;                  /* candidates compiled ahead, some at once, */
    double ahead_seconds;        /* and how long that took */
    double compile_seconds;      /* the longest that jit twins took, some at once; 0: none */
    int ncounted;                /* candidates whose counters were read */
    char uncounted[160];         /* why nothing can be counted here; empty: it can, or was not tried */
    struct hone_later *later;    /* if asked for, and there is a choice; hone_later_close() it */
    char wrong[512];             /* the first wrong or failed: kernel/config: why; empty: none */
};

/* Tunes one problem and adds every candidate's record.  A problem is known, and left alone, when it
 * has a best record and every kernel that may compete has been tried.  HONE_EINTR after Ctrl-C,
 * with all records so far kept; HONE_EWRONG where no candidate gave a right answer. */
int hone_tune(struct hone_db *db, const struct hone_problem *p, struct hone_device *d,
              const struct hone_tune_options *o, struct hone_tune_result *r);

/* The final of a problem goes on for one block, at another moment and in another process; o is that
 * of hone_tune().  HONE_EINTR after Ctrl-C: the blocks before stand. */
int hone_later_race(struct hone_later *l, struct hone_device *d, const struct hone_tune_options *o);

/* 1: another block would change nothing that matters, or there were enough. */
int hone_later_settled(const struct hone_later *l);

/* Keeps what all blocks together found, if there was more than the first, as records of a session of
 * their own; renews r->podium and r->nties. */
int hone_later_keep(struct hone_later *l, struct hone_db *db, struct hone_device *d,
                    const struct hone_tune_options *o, struct hone_tune_result *r);
void hone_later_close(struct hone_later *l);   /* NULL is none */

/* Can energy be measured on d?  HONE_EDEVICE, and why not. */
int hone_tuning_meter(const struct hone_device *d);

/* About how many seconds a full search for p takes, without measuring: the weight by which a budget
 * is shared. */
double hone_tune_estimate(const struct hone_problem *p, struct hone_device *d,
                          const struct hone_tune_options *o);

/* Opens the record's kernel and config, if both still fit p. */
int hone_plan_of_record(struct hone_plan *plan, const struct hone_record *r,
                        const struct hone_problem *p, struct hone_device *d);

/* Opens the best plan known for p; without a record that of the nearest device among the shipped
 * ones, where the kernel's source is still the same, else the default one, or, where `like` is given,
 * that plan's kernel and config if they accept p.  db may be NULL.  *known: a record was found (may
 * be NULL). */
int hone_plan_best(struct hone_plan *plan, struct hone_db *db, const struct hone_problem *p,
                   struct hone_device *d, const struct hone_plan *like, int *known);

/* What a problem is to a net. */
struct hone_use {
    int times;                   /* so many steps, with all optimizers, fused and apart */
    int whole;                   /* above 0: it is so many whole training steps as one op */
    /* Bit k: with the k-th of the optimizers it is a step, or may take the place of all steps;
     * each: so many steps. */
    unsigned in;
    int each;
};

enum { HONE_MAX_OPTIMIZERS = 32 };

/* The list of problems of a net, supplied by nets/ (which stands to the right of this folder):
 * hone.c ties them together.  Returns how many were put into p[max] and into use[max] (NULL: not
 * asked), or a negative code. */
typedef int hone_net_problems_fn(const char *net, int batch, const char *dtype,
                                 const char *optimizers, const struct hone_device *d,
                                 struct hone_problem p[], struct hone_use use[], int max);

/* Likewise: runs whole training steps of a net for so many seconds, with the best of the problems'
 * records in turn, and adds what they took there as the latest session. */
typedef int hone_net_race_fn(const char *net, int batch, const char *dtype, const char *optimizers,
                             struct hone_db *db, struct hone_device *d, double seconds,
                             uint64_t seed);

/* A program whose main() calls this first lets a GPU's candidates run in a process of their own,
 * which is that program anew: there the call does not return. */
void hone_worker_main(int argc, char **argv);

int hone_cmd_autotune(int argc, char **argv, hone_net_problems_fn *net_problems,
                      hone_net_race_fn *net_race);
int hone_cmd_db(int argc, char **argv);

#endif
