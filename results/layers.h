/* results/layers.h -- the report on a step's layers: one record, what `hone profile --json` prints,
 * and what is made of it.  Nothing here measures, so that the same record gives the same bytes.
 * For results/ alone. */
#ifndef HONE_LAYERS_H
#define HONE_LAYERS_H

#include "results/results.h"

#include <jansson.h>

#define HONE_LAYERS_KIND "profile"
enum { HONE_LAYERS_VERSION = 1, HONE_MAX_ADVICE = 12 };

/* A step of the net.  Texts belong to the record. */
struct hone_layers_step {
    const char *layer, *kind, *phase, *problem, *kernel, *config, *bound;
    int tuned, threads, candidates;
    struct hone_stats ms, warm, cold; /* n 0: not measured */
    double first_ms, at_ms, took_ms;
    double flops, bytes, roof_ms;
    double runner_up, library; /* their times over this one's; NAN: none */
    const char *refused,
        *refused_why; /* the first that could not be chosen, if that is news; NULL */
    json_t *thread_ms, *counters, *refusals;
    int64_t workspace_bytes, live_bytes, resident_bytes; /* live: of activations */
    /* derived */
    double share, cumulative; /* of the parts' sum; with all that take longer */
    int rank;                 /* 0: takes longest */
};

struct hone_layers_phase {
    const char *name;
    int n;
    double ms, flops, roof_ms;
};

/* A tensor's place in the arena, between two steps. */
struct hone_layers_block {
    const char *tensor, *layer;
    int first, last;
    int64_t offset, bytes;
};

struct hone_layers_memory {
    int64_t weights, gradients, optimizer, activations, workspace, batch;
    int64_t base, peak; /* resident, before the net was there, and at most */
    int64_t libraries;  /* that libraries keep for themselves, measured; 0: none, or an old record */
    int is_all;         /* 1: the peak is of the whole process, from its start */
    json_t *layers;
    int nblocks;
    struct hone_layers_block *block;
    /* derived */
    int64_t planned, predicted; /* the sum; with base and libraries, what the peak should be */
};

struct hone_layers {
    json_t *root; /* the record */
    const char *net, *dtype, *optimizer, *device, *device_text;
    const char *gpu;  /* hone_gpu_now() after the steps; NULL: none */
    int batch, rounds;
    struct hone_stats step, traced, overhead;
    struct hone_stats graph, graph_gain; /* n 0: the device has none */
    const char *no_graph;                /* why; NULL: nothing was in its way */
    double look_ms, first_ms;
    struct {
        double compute, level[4];
    } roofs; /* flops and bytes a second; 0: no such level */
    int roof_threads;
    double roof_share; /* of the processors, while the roofs were measured */
    struct hone_layers_memory memory;
    int nsteps;
    struct hone_layers_step *step_of; /* (nsteps) */
    /* derived */
    int *by_time;      /* (nsteps) the longest first */
    double parts_ms;   /* the sum of the parts' medians */
    double gap_ms;     /* what an untraced step takes beyond a traced one */
    double held_up_ms; /* the rest of it: in each step some part is held up by other
                        * programs or the system */
    double flops;      /* of the step */
    int nphases, nuntuned, nadvice;
    struct hone_layers_phase phase[HONE_NPHASES];
    char advice[HONE_MAX_ADVICE][512];
};

extern const char *const hone_layers_level[4]; /* "L1", "L2", "L3", "memory" */

/* Takes root over, in any case.  Errors name what is missing, without a file's name. */
int hone_layers_open(struct hone_layers *l, json_t *root);
int hone_layers_load(struct hone_layers *l, const char *path); /* "-": standard input */
void hone_layers_close(struct hone_layers *l);

/* layers_advice.c: fills in l->advice. */
void hone_layers_advise(struct hone_layers *l);

/* Writers.  top: only so many of the longest steps; 0: all, in the order in which they run. */
void hone_layers_print(const struct hone_layers *l, int top, FILE *f);
void hone_layers_csv(const struct hone_layers *l, FILE *f);
void hone_layers_html(const struct hone_layers *l, FILE *f);

/* Chrome's Trace Event Format, which Perfetto reads. */
int hone_layers_trace(const struct hone_layers *l, FILE *f);

/* The record with what was derived from it: what is read back as the same record. */
int hone_layers_json(const struct hone_layers *l, FILE *f);

/* DIR/roofline.*, layers.*, memory.*: .dat, .gp, .svg, .png; where there are no pictures, a line on
 * stderr says why. */
int hone_layers_plot(const struct hone_layers *l, const char *dir, const char *command);

/* layers_gpu.c: of a GPU, its state, the roofline as counted, the kernels that ran. */
void hone_layers_gpu(const struct hone_layers *l, int top, FILE *f);

/* layers_svg.c: pictures in a page. */
void hone_layers_svg_roofline(const struct hone_layers *l, FILE *f);
void hone_layers_svg_memory(const struct hone_layers *l, FILE *f);
void hone_layers_svg_arena(const struct hone_layers *l, FILE *f);

/* Text for XML and HTML. */
void hone_layers_escape(const char *text, FILE *f);

/* "1.5 MiB", the unit that gives a number below 1024. */
const char *hone_layers_bytes(int64_t bytes, char text[16]);

/* Where reports go; NULL: not asked for. */
struct hone_layers_outputs {
    int json, csv, top;
    const char *trace, *html, *plot;
};

/* Writes all that was asked for: what fails says so in a line on stderr, and the rest stands; then
 * the first error is returned. */
int hone_layers_write(const struct hone_layers *l, const struct hone_layers_outputs *o,
                      const char *command);

/* The options of hone profile and hone report layers for them; the input is the struct. */
struct argp;
extern const struct argp hone_layers_argp;

/* ---- training runs ---- */

/* The run of this number or session, or NULL: the latest; net: and it must be of this net and batch,
 * or NULL.  HONE_EDB where there is none. */
int hone_run_find(struct hone_db *db, const char *wanted, const char *net, int batch,
                    struct hone_run *run);

/* Until an accuracy on the test rows was reached: epochs, and the rows that they trained on. */
struct hone_goal {
    double accuracy, best, rows;
    int epochs;
};

/* HONE_EDB where the run did not get there. */
int hone_run_goal(struct hone_db *db, const struct hone_run *run, double accuracy,
                     struct hone_goal *g);

/* Reports in files of their own, of these names. */
int hone_report_compare(int argc, char **argv);
int hone_report_dawnbench(int argc, char **argv);
int hone_report_nets(int argc, char **argv);
int hone_report_jit(int argc, char **argv);
int hone_report_tradeoff(int argc, char **argv);

#endif
