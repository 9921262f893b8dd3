/* results/sweep.h -- many training runs: which, how they are run and kept, what they show.  For
 * results/ alone. */
#ifndef HONE_SWEEP_H
#define HONE_SWEEP_H

#include "results/results.h"

#include <jansson.h>
#include <limits.h>

/* ---- space.c: which runs there are ---- */

enum { HONE_SWEEP_OPTIONS = 96, HONE_SWEEP_VALUES = 4096, HONE_SWEEP_POINTS = 100000 };

/* An option of hone train with what it may be: a list of texts, or a range of numbers. */
struct hone_sweep_option {
    const char *name; /* "batch" */
    int n;            /* values; 0: a range, or a flag */
    char **value;
    int is_flag, is_range;
    double lo, hi;           /* of the range */
    int is_whole, is_linear; /* whole numbers; uniform instead of log-uniform */
};

struct hone_sweep_space {
    int n;
    struct hone_sweep_option option[HONE_SWEEP_OPTIONS];
};

/* Adds what stands behind an option: "250,500,1000", "1e-4..1e-1" (log-uniform), "lin:0..0.9"; one
 * that comes again adds its values.  A flag has text NULL.  Errors say what is wrong with it. */
int hone_sweep_add(struct hone_sweep_space *space, const char *name, const char *text);
void hone_sweep_space_close(struct hone_sweep_space *space);

/* Does the option differ from run to run? */
int hone_sweep_varies(const struct hone_sweep_option *o);

/* The option's one value, or NULL where it is not given, or has several. */
const char *hone_sweep_value(const struct hone_sweep_space *space, const char *name);

/* A run: its options as an object {"--batch": "250", "--nesterov": null}. */
struct hone_sweep_point {
    json_t *options;
    json_t *record; /* of the last run, see hone_sweep_run(); NULL: none yet */
    int rung;       /* of successive halving, from 0 on */
};

/* All combinations, the first option outermost; *points is freed with hone_sweep_free().  An error
 * where one is a range. */
int hone_sweep_grid(const struct hone_sweep_space *space, struct hone_sweep_point **points, int *n);

/* `trials` distinct combinations, fewer where there are no more; trial i depends on the seed and i
 * alone. */
int hone_sweep_draw(const struct hone_sweep_space *space, int trials, uint64_t seed,
                    struct hone_sweep_point **points, int *n);

void hone_sweep_free(struct hone_sweep_point *points, int n);

/* ---- sweep_run.c: a run in a process of its own, and the file that remembers it ---- */

struct hone_sweep {
    const char *dir, *tune;     /* tune: a budget for hone autotune, or NULL */
    int retry;                  /* 1: failed runs run again */
    int lock;                   /* file descriptor */
    double started, work, done; /* hone_now(); epochs to run, and those that ran */
    int nrun, nkept;            /* runs of this session, and those that were there */
};

/* Makes the directory, and keeps other sweeps out of it. */
int hone_sweep_open(struct hone_sweep *s);
void hone_sweep_close(struct hone_sweep *s);

/* Is there a record of the run? */
int hone_sweep_has(const struct hone_sweep *s, const struct hone_sweep_point *p, int until);

/* Runs a point up to epoch `until` (0: to its end) unless its record is there, and leaves the
 * record in p: {"options", "command", "status": "done" or "failed", "reason", "wall_seconds",
 * "peak_bytes", "result": what hone train --json printed, or null}.  A run goes on where an earlier
 * one of the same point ended.  keep: 1 keeps the checkpoint for the next rung. */
int hone_sweep_run(struct hone_sweep *s, struct hone_sweep_point *p, int until, int keep,
                   const char *what);

/* Removes the point's checkpoint. */
void hone_sweep_forget(const struct hone_sweep *s, const struct hone_sweep_point *p);

/* Tunes the kernels of the point's net and batch, once a directory. */
int hone_sweep_tune(struct hone_sweep *s, const struct hone_sweep_point *p);

/* sweep_file.c: DIR/NAME. */
void hone_sweep_path(const struct hone_sweep *s, char *path, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- sweep_child.c: another hone ---- */

struct hone_child {
    int status; /* as of wait() */
    double seconds;
    int64_t peak_bytes;
};

/* Runs hone with the arguments, argv[0] included, its output in two files.  waiting() is called
 * every now and then; Ctrl-C is handed on, and then HONE_EINTR comes back. */
int hone_child_run(char *const argv[], const char *out, const char *err, struct hone_child *child,
                   void (*waiting)(void *ctx, double seconds), void *ctx);

/* Why it failed: what it said, or how it ended. */
void hone_child_reason(const struct hone_child *child, const char *err, char text[HONE_TEXT]);

/* ---- sweep_row.c: what a run showed, in numbers; NAN where there is none ---- */

struct hone_sweep_row {
    const struct hone_sweep_point *point;
    int failed, near_chance, is_classes;
    int nepochs;
    double first_seconds;      /* the first epoch: caches and pages are cold */
    struct hone_stats seconds; /* of the epochs after it; of the first if it is alone */
    double rows_per_s;         /* the median of the same epochs */
    double train_loss, train_score, test_loss, test_score; /* accuracy, or MAE; last epoch */
    double goal;                                           /* what ranks runs, more is better */
    int best_epoch;
    double best;            /* test accuracy, or of numbers MSE */
    int steps, steps_tuned; /* 0 where it was not said */
    int64_t peak_bytes;
    const char *reason; /* of a failure */
};

struct hone_sweep_row hone_sweep_row_of(const struct hone_sweep_point *p);

/* For qsort(): points from best to worst; of later rungs first, failed ones last. */
int hone_sweep_rank(const void *a, const void *b);

/* ---- sweep_table.c, sweep_plot.c: what is printed and kept ---- */

struct hone_sweep_report {
    const struct hone_sweep *sweep;
    const struct hone_sweep_space *space;
    const struct hone_sweep_point *points;
    int n;
    int is_search; /* 1: the points are ranked, the first one won */
};

void hone_sweep_print(const struct hone_sweep_report *r);
int hone_sweep_print_json(const struct hone_sweep_report *r);
int hone_sweep_write_csv(const struct hone_sweep_report *r);

/* "throughput.png, .svg" or why there is none, a line each on stderr. */
int hone_sweep_plot(const struct hone_sweep_report *r);

/* "batch=250 lr=0.01": what differs from run to run. */
void hone_sweep_label(const struct hone_sweep_report *r, const struct hone_sweep_point *p,
                      char *text, size_t size);

/* The command line of the point's run. */
char *hone_sweep_command(const json_t *options);

#endif
