/* autotune/replay.h -- recorded spaces: what every config of every kernel took on one problem, so
 * that searchers can be tried and compared without the machine. */
#ifndef HONE_AUTOTUNE_REPLAY_H
#define HONE_AUTOTUNE_REPLAY_H

#include "autotune/search.h"

/* ---- replay_file.c ---- */

/* A file is JSON Lines: {"type":"space","problem":...,"device":...,"cache":...}, then for each
 * kernel {"type":"kernel","name":...,"isa":...,"build":...,"params":[...],"configs":[[values...,
 * ms], ...]}, its guess first; ms is 0 for a config that does not work.  Where the space has
 * "counters":[names...], as many values of each config stand behind its ms. */
struct hone_recording {
    char problem[HONE_TEXT], device[192], cache[16];
    struct hone_pool pool;
    double *ms;                  /* (pool.n) 0: does not work */
    int nwhat;                   /* counters; 0: none were recorded */
    char what[HONE_COUNTS][48];
    double *count;               /* (pool.n, nwhat) */
};

/* HONE_EPARSE with FILE:LINE where the text is none. */
int  hone_recording_read(struct hone_recording *r, const char *file);
int  hone_recording_write(const struct hone_recording *r, FILE *f);
void hone_recording_close(struct hone_recording *r);

/* Room for candidate n's time and counts; 0: no memory. */
int  hone_recording_grow(struct hone_recording *r, int n);

/* ---- replay_record.c ---- */

/* Proves and times every config of every kernel that the options admit for p. */
int hone_recording_make(struct hone_recording *r, const struct hone_problem *p,
                        struct hone_device *d, const struct hone_tune_options *o);

/* ---- replay_made.c ---- */

/* A made-up space: kernels whose times are products of bowls, steps and interactions. */
int hone_recording_synthetic(struct hone_recording *r, uint64_t seed);

/* Tiled products on a made-up machine, with counters: a time is that of whichever part of the
 * machine has the most to do. */
int hone_recording_roofline(struct hone_recording *r, uint64_t seed);

/* ---- replay.c ---- */

/* What a trial on a noisy machine would show. */
struct hone_noise {
    double jitter;               /* standard deviation of the logarithm */
    double drift;                /* the machine slows down and recovers by this share */
    double states;               /* a second clock: slower by this share, for some time */
    double outliers;             /* share of windows that take 2 to 5 times as long */
    double quantum;              /* times are multiples of this share of the best one */
};

/* "jitter=0.02,drift=0.1,states=0.25,outliers=0.05,quantum=0.01", "none", "quiet" or "busy". */
int hone_noise_parse(const char *text, struct hone_noise *noise);

enum { HONE_MAX_REPLAYS = 64 };

struct hone_replay {
    const struct hone_recording *recording;
    const struct hone_searcher *searcher;
    const double *prior;         /* (pool.n) or NULL */
    int blind;                   /* 1: guesses are hidden, a kernel's first candidate is any */
    int uncounted;               /* 1: no counters, be they recorded */
    int nteachers;               /* other spaces, of each of which a few candidates' counters are known */
    const struct hone_recording *teacher[HONE_MAX_REPLAYS];
    struct hone_noise noise;
    uint64_t seed;
};

/* How many measurements it took until one had been of a candidate that truly reaches 90 and 95 % of
 * the best one's speed. */
struct hone_reach { int to90, to95, ncounted; };   /* a count is a measurement, too */

int hone_replay_run(const struct hone_replay *x, struct hone_reach *reach);

/* ---- cmd_replay.c: `hone autotune --replay` ---- */

/* What other spaces teach; bits. */
enum { HONE_TEACH_TIMES = 1, HONE_TEACH_COUNTERS = 2 };

struct hone_replay_options {
    int nfiles, seeds, blind, transfer, cost, uncounted, json;
    const char *file[HONE_MAX_REPLAYS];   /* or "synthetic:N", "roofline:N" */
    const char *search, *noise;           /* NULL: all; "quiet" */
};

int hone_replay_command(const struct hone_replay_options *o);

#endif
