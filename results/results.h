/* results/results.h -- what the measurements show: reports. */
#ifndef HONE_RESULTS_H
#define HONE_RESULTS_H

#include "nets/nets.h"

/* One step of a net as `hone profile` saw it. */
struct hone_profile_row {
    struct hone_stats ms;         /* of this step inside whole training steps */
    int threads;
    double flops, bytes;          /* of one run: counted, not measured */
    double roof_ms;               /* least time under the device's measured roofs */
    const char *bound;            /* what the roof is made of, or "overhead" */
    int ncandidates;              /* records behind the choice; 0: untuned */
    struct hone_record best, runner_up, library;   /* kernel[0] == 0: none */
    int ncounters;
    struct hone_counter counter[HONE_MAX_COUNTERS];
};

struct hone_profile {
    const struct hone_net *net;
    struct hone_peaks peaks;
    struct hone_profile_row *row;        /* net->nsteps */
    struct hone_stats step_ms;           /* the untraced training step */
    struct hone_stats traced_ms;         /* the sum of a traced step's parts */
    int64_t peak_bytes;                  /* resident, of this process */
};

struct hone_profile_options {
    int rounds;                   /* traced and untraced steps measured in turn */
    const char *counters;         /* list for hone_count(), or NULL */
};

/* Measures an assembled net's training step, step by step.  db may be closed (no runner-up then).
 * close() takes a zeroed struct. */
int  hone_profile_open(struct hone_profile *prof, struct hone_net *net, struct hone_db *db,
                       const struct hone_profile_options *o);
void hone_profile_close(struct hone_profile *prof);

void hone_profile_print(const struct hone_profile *prof, FILE *f);
int  hone_profile_print_json(const struct hone_profile *prof, FILE *f);

int hone_cmd_profile(int argc, char **argv);
int hone_cmd_sweep(int argc, char **argv);

#endif
