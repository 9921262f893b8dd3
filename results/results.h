/* results/results.h -- what the measurements show: reports. */
#ifndef HONE_RESULTS_H
#define HONE_RESULTS_H

#include "nets/nets.h"

/* ---- what hone profile measures; reports are made of its JSON alone, see results/layers.h ---- */

/* Why a kernel that does the op is not the one. */
struct hone_refusal {
    char kernel[64], why[256];
    int weight; /* 2: a limit of the user's; 1: it is chosen elsewhere in the net */
};

enum { HONE_MAX_REFUSALS = 4 };

/* One step of a net.  Times are of this step inside whole training steps, but warm and cold. */
struct hone_profile_row {
    struct hone_stats ms;
    double first_ms;           /* in the first step of all: pages and caches are untouched */
    struct hone_stats warm_ms; /* by itself, again and again */
    struct hone_stats cold_ms; /* by itself, all arguments in memory; n 0: cannot be done here */
    double at_ms, took_ms;     /* in the traced step that is shown as an example */
    double *cpu_ms;            /* processor time of each thread, prof->threads.n of them */
    int threads;
    double flops, bytes;                         /* of one run: computed, not measured */
    double roof_ms;                              /* least time under the device's measured roofs */
    const char *bound;                           /* what the roof is made of, or "overhead" */
    int ncandidates;                             /* records behind the choice; 0: untuned */
    struct hone_record best, runner_up, library; /* kernel[0] == 0: none */
    int nrefusals;
    struct hone_refusal refusal[HONE_MAX_REFUSALS];
    int ncounters;
    struct hone_counter *counter;
    int64_t resident_bytes; /* of the process, after this part of the first step */
};

struct hone_profile {
    struct hone_net *net;
    struct hone_peaks peaks;
    struct hone_threads threads;
    struct hone_profile_row *row; /* net->nsteps */
    int rounds;                   /* that were measured */
    struct hone_stats step_ms;    /* the untraced training step */
    struct hone_stats traced_ms;  /* a traced step's parts together */
    struct hone_stats overhead;   /* traced over untraced, pair by pair, less 1 */
    /* The step as one graph of the device, as training runs it, and how many times a step without
     * takes as long, pair by pair; n 0: there is none. */
    struct hone_stats graph_ms, graph_gain;
    char no_graph[HONE_TEXT];     /* why not; "": the device has none */
    double look_ms;               /* of a look at the time, which each part's includes */
    double first_ms;              /* the first step of all */
    int64_t base_bytes;           /* resident before the net was assembled, code included that
                                   * the steps ran */
    int64_t library_bytes;        /* resident after the first step, and neither held before nor the
                                   * net's: code and buffers of libraries whose kernels it runs */
    int64_t peak_bytes;           /* resident, up to the end of the first steps */
    struct hone_activity activity; /* of one step on a GPU; n 0: none was recorded */
    char gpu[160];                /* hone_gpu_now() after the rounds */
    int peak_is_all;              /* 1: of the whole process, since it could not be reset */
};

struct hone_profile_options {
    int rounds;           /* traced and untraced steps measured in turn */
    double seconds;       /* after which fewer are enough, down to 5; 0: no limit */
    const char *counters; /* list for hone_count(), or NULL */
};

/* Measures a net's training step, step by step: assembles it first, since that is measured too.  db
 * may be closed (no runner-up then).  close() takes a zeroed struct. */
int hone_profile_open(struct hone_profile *prof, struct hone_net *net, struct hone_db *db,
                      struct hone_device *d, const struct hone_profile_options *o);
void hone_profile_close(struct hone_profile *prof);

int hone_cmd_profile(int argc, char **argv);
int hone_cmd_report(int argc, char **argv);
int hone_cmd_compare(int argc, char **argv);
int hone_cmd_sweep(int argc, char **argv);

#endif
