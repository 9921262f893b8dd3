/* results/compare.h -- the parts of hone compare: a net trained side by side in other frameworks.
 * For results/ alone. */
#ifndef HONE_COMPARE_H
#define HONE_COMPARE_H

#include "results/results.h"

#include <jansson.h>
#include <sys/types.h>

/* ---- peer.c: a framework in a process of its own; results/peers/peer.py says how it talks ---- */

struct hone_peer {
    pid_t pid;        /* 0: none */
    pid_t speaker;    /* that gave the last answer: pid, or what that started */
    int fd;           /* both ways */
    char *line;       /* its last answer, without the newline */
    size_t len, room; /* of what was read and not yet answered */
    char err[256];    /* file with what it said on stderr */
    char python[256]; /* that runs it */
};

/* Starts peer_NAME.py by the first of $HONE_PYTHON's interpreters that has the framework; python
 * NULL, or the one.  It runs with the allocator, "system", "tcmalloc", "jemalloc", "mimalloc" or a
 * library's path, or fails.  p->line is then "modes A B ...".  dir: for what it says on stderr. */
int hone_peer_open(struct hone_peer *p, const char *name, const char *python, const char *allocator,
                   const char *dir);
void hone_peer_close(struct hone_peer *p);

/* HONE_EINVAL: no allocator has that name, and it is no path. */
int hone_peer_malloc(const char *name);

/* Asks, and waits for the answer, which must begin with `want` and a blank, or be it: *rest is
 * behind that.  An error is what the peer says, its last line on stderr, or how it ended. */
int hone_peer_ask(struct hone_peer *p, const char *question, const char *want, char **rest);

/* ---- compare.c: measuring ---- */

enum { HONE_MAX_WAYS = 64, HONE_MAX_MALLOCS = 8 };

/* A way to train the net: ours, or a peer in one of its modes. */
struct hone_way {
    char peer[32], mode[32]; /* "pytorch", "compile"; "hone", "" */
    char shown[96];          /* the mode and what stands for malloc: "compile+tcmalloc" */
    char version[96];        /* "PyTorch 2.15.0" */
    char why[HONE_TEXT];     /* why there are no numbers; "": there are */
    struct hone_peer process;
    double first_ms; /* of the very first step: what is compiled at run time is in it */
    double *loss;    /* (nlosses) of the first steps */
    double worst;    /* largest relative difference of these from ours */
    double *ms;      /* (rounds) the median of each round's steps */
    int nsteps;      /* in each round */
    struct hone_stats step_ms, ratio; /* ratio: over ours, round by round */
    int64_t base_bytes, peak_bytes;   /* with the libraries alone; at most */
};

struct hone_compare_options {
    const char *device, *net, *data, *db;
    const char *peers; /* "pytorch:compile,jax" */
    const char *malloc[HONE_MAX_MALLOCS]; /* (nmallocs) as hone_peer_open() has them */
    int nmallocs;
    int batch, rounds, nlosses, threads;
    int64_t memory; /* of our step, as hone_lowering has it */
    double turn; /* seconds of a way's steps in each round */
    enum hone_dtype dtype; /* as hone_lowering has it */
    uint64_t seed;
    struct hone_optim optim;
};

struct hone_compare {
    const struct hone_compare_options *o;
    struct hone_net net;
    char dir[256]; /* for the job: weights, batches */
    int nbatches, ntuned, dropout; /* tuned: steps; dropout: layers that drop by chance */
    char *batch;                   /* (nbatches): x, then targets, in the net's numbers */
    size_t batch_bytes, x_bytes;
    int64_t step;
    char no_graph[HONE_TEXT];      /* why our step is not one graph of the device; or "" */
    int nways, ncompared; /* ways; peers with numbers */
    struct hone_way way[HONE_MAX_WAYS]; /* the first is ours */
};

/* Measures; a peer that is missing or fails leaves its reason in `why`.  close() takes a zeroed
 * struct. */
int hone_compare_open(struct hone_compare *c, const struct hone_compare_options *o,
                      struct hone_db *db, struct hone_device *d);
void hone_compare_close(struct hone_compare *c);

/* ---- compare_show.c ---- */

void hone_compare_print(const struct hone_compare *c, FILE *f);
void hone_compare_csv(const struct hone_compare *c, FILE *f);
int hone_compare_json(const struct hone_compare *c, FILE *f);

/* DIR/steps.* and losses.*: .dat, .gp, .svg, .png. */
int hone_compare_plot(const struct hone_compare *c, const char *dir, const char *command);

#endif
