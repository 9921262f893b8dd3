/* profiler/bench.h -- what `hone bench` found out about each candidate, and how it is shown. */
#ifndef HONE_BENCH_H
#define HONE_BENCH_H

#include "profiler/command.h"

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
    size_t workspace_bytes;
    int ncounters;
    struct hone_counter counter[HONE_MAX_COUNTERS];
};

struct hone_bench {
    struct hone_problem problem;
    struct hone_device *device;
    enum hone_cache cache;
    uint64_t seed;
    int interrupted;
    int nrows;
    struct hone_bench_row *row; /* fastest first; those that went wrong last */
};

void hone_bench_print(const struct hone_bench *b);

/* The caller owns the reference. */
json_t *hone_bench_json(const struct hone_bench *b);

#endif
