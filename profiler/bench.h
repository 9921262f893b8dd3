/* profiler/bench.h -- what `hone bench` found out about each candidate, and how it is shown. */
#ifndef HONE_BENCH_H
#define HONE_BENCH_H

#include "profiler/command.h"
#include "profiler/peaks.h"

/* One kernel with one config. */
struct hone_bench_row {
    const struct hone_kernel *kernel;
    struct hone_config config;
    struct hone_plan plan;
    int state; /* 0: right and timed; else the code of what went wrong, and `why` */
    char why[256];
    double error; /* largest error in units of the bound */
    int nruns;    /* per window */
    double *ms;   /* of each window so far; the row owns them */
    int nms;
    struct hone_stats stats; /* of ms */
    double roof_ms;          /* 0: not known */
    const char *bound;
    double vs_library; /* best library's median over this one's; 0: none */
    double reorder_ms; /* of a run, in changing layouts; 0: none */
    double pays_after; /* jit: runs after which it has made up for compiling against the best that
                          needs none; 0: never, or there is none */
    size_t workspace_bytes;
    int ncounters;
    struct hone_counter counter[HONE_MAX_COUNTERS];
};

struct hone_bench {
    struct hone_problem problem;
    struct hone_device *device;
    enum hone_cache cache;
    uint64_t seed;
    int windows; /* behind each median */
    int peak_threads; /* after the rounds the peaks of so many are measured; 0: they are not */
    double *peak;     /* flop/s, as often as there are rounds */
    int npeaks;
    /* What moves the problem's bytes and computes nothing, after the rounds; none where L2 holds
     * them, or the flops at their peak take far longer. */
    struct hone_bench_row move[HONE_MOVES];
    int nmoves;
    int interrupted;
    int nrows;
    struct hone_bench_row *row; /* fastest first; those that went wrong last */
    int *order;                 /* (nrows): of the rows in a round */
};

/* ---- bench.c ---- */

int hone_bench_add(struct hone_bench *b, const struct hone_kernel *k, const struct hone_config *c);

/* Proves, times and counts (counters: a list, or NULL) all rows, and sorts them. */
int hone_bench_measure(struct hone_bench *b, const struct hone_peaks *peaks, const char *counters);

/* Frees the rows. */
void hone_bench_close(struct hone_bench *b);

/* ---- bench_rivals.c ---- */

struct hone_bench_rivals {
    const char *file, *rivals; /* "-": stdin; "all", "lib,jit", names of kernels */
    int threads;               /* of all rivals; 0: as each likes */
    int tries;                 /* configs of each kernel that are tried for the one that is timed */
    int windows;
    enum hone_cache cache;
    enum { HONE_BENCH_TABLE, HONE_BENCH_JSON, HONE_BENCH_CSV } form;
};

/* The exit code. */
int hone_bench_rivals(const char *command, struct hone_device *d,
                      const struct hone_bench_rivals *o);

/* ---- bench_show.c ---- */

/* The fastest of b->move, timed after the rounds, where it takes longer than the flops at `peak`
 * flop/s: the problem is bound by memory; else NULL. */
const struct hone_bench_row *hone_bench_bound(const struct hone_bench *b, double peak);

double hone_bench_gflops(const struct hone_bench *b, const struct hone_bench_row *r);
int hone_bench_timed(const struct hone_bench_row *r);
json_t *hone_bench_row_json(const struct hone_bench *b, const struct hone_bench_row *r);

void hone_bench_print(const struct hone_bench *b);

/* The caller owns the reference. */
json_t *hone_bench_json(const struct hone_bench *b);

#endif
