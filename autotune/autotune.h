/* autotune/autotune.h -- which kernel and config is best for a problem on a device: spaces are
 * searched, candidates verified, raced, and remembered in a SQLite database. */
#ifndef HONE_AUTOTUNE_H
#define HONE_AUTOTUNE_H

#include "profiler/profiler.h"

/* ---- records ---- */

enum hone_status { HONE_TIMED, HONE_WRONG, HONE_FAILED, HONE_DROPPED };   /* dropped: clearly slower, early */
const char *hone_status_name(enum hone_status s);

/* What one candidate did.  Immutable once added. */
struct hone_record {
    int64_t id;
    char device[192];            /* hone_device.id */
    char problem[HONE_TEXT];
    char kernel[64];
    char version[HONE_TEXT];     /* build, compiler or library version, source hash: hone_kernel_version() */
    char config[HONE_TEXT];
    enum hone_status status;
    char why[256];               /* of a status other than timed */
    int n;                       /* windows behind the median */
    double ms_median, ms_lo, ms_hi;
    int64_t workspace_bytes;
    double error;                /* largest error in units of the bound */
    char cache[16];              /* cache mode of the timing */
    char session[40];            /* times of one session may be compared; equal text: same session */
    char when[32];               /* ISO 8601, UTC */
};

/* ---- database ---- */

struct hone_db {
    struct sqlite3 *sql;         /* NULL: no database; look-ups then find nothing */
    char path[512];
};

/* The path given, else $HONE_DB, else hone.db in the user's data directory.  A missing file is made (with
 * `create`), or is an empty database.  Errors: locked, read-only (when create), not a database, of another version. */
int  hone_db_open(struct hone_db *db, const char *path, int create);
void hone_db_close(struct hone_db *db);
int  hone_db_add(struct hone_db *db, struct hone_record *r);

/* Calls f for every record of the device and problem (NULL: all), oldest first, until f returns nonzero. */
int  hone_db_each(struct hone_db *db, const char *device, const char *problem,
                  int (*f)(void *ctx, const struct hone_record *r), void *ctx);

/* The best records of p on d: those of the latest session that measured p, timed, with kernels of
 * this program at this program's versions, best first under the rule of ties (intervals that
 * overlap within 1 %: less workspace, library-free, name).  Returns how many were put into best[max]. */
int  hone_db_best(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d, struct hone_record best[],
                  int max);

/* ---- tuning ---- */

struct hone_tune_options {
    double seconds;              /* budget in all; 0: no measuring; negative: until converged */
    const char *search;          /* "exhaustive", "random", NULL: exhaustive for small spaces, else random */
    const char *kernel;          /* only this kernel, or NULL */
    unsigned builds;             /* bit HONE_AOT, HONE_LIB, ...: who may compete; 0: all */
    enum hone_cache cache;
    uint64_t seed;
    int quiet;                   /* 1: no progress line */
};

struct hone_tune_result {
    int ncandidates, ntimed, nwrong, nfailed, ndropped;
    struct hone_record best, runner_up, library;   /* kernel[0] == 0: none */
    double seconds;
    int known;                   /* 1: was tuned before; nothing was measured */
};

/* Tunes one problem and adds every candidate's record.  HONE_EINTR after Ctrl-C, with all records
 * so far kept. */
int hone_tune(struct hone_db *db, const struct hone_problem *p, struct hone_device *d, const struct hone_tune_options *o,
              struct hone_tune_result *r);

/* Opens the best plan known for p; without a record the default one, or, where `like` is given,
 * that plan's kernel and config if they accept p.  *known: a record was found (may be NULL). */
int hone_plan_best(struct hone_plan *plan, struct hone_db *db, const struct hone_problem *p, struct hone_device *d,
                   const struct hone_plan *like, int *known);

/* The list of problems of a net, supplied by nets/ (which stands to the right of this folder): hone.c ties
 * them together.  Returns how many were put into p[max], or a negative code. */
typedef int hone_net_problems_fn(const char *net, int batch, struct hone_problem p[], int max);

int hone_cmd_autotune(int argc, char **argv, hone_net_problems_fn *net_problems);
int hone_cmd_db(int argc, char **argv);

#endif
