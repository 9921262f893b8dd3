/* nets/keep.h -- what a training run keeps on disk while it goes on: checkpoints, the best and the
 * last weights.  For nets/ alone; others include nets.h. */
#ifndef HONE_NETS_KEEP_H
#define HONE_NETS_KEEP_H

#include "nets/options.h"
#include "nets/report.h"

struct hone_keep {
    const struct hone_keep_choice *choice;
    const struct hone_report *report;
    json_t *options;       /* that a continuation must have alike */
    json_t *state;         /* texts of the command, which come back with a checkpoint */
    double best;           /* test accuracy, or loss of numbers; NAN: none yet */
    int best_epoch, stale; /* epochs since */
    double written;        /* hone_now() of the last checkpoint */
    int64_t written_step;
    char trouble[HONE_TEXT]; /* the last checkpoint could not be written: why */
};

/* The options of this run as texts; the caller's. */
json_t *hone_train_signature(const struct hone_train_command *c, const struct hone_trainer *t);

/* Takes options over.  state is shared: the caller fills it in. */
void hone_keep_open(struct hone_keep *k, const struct hone_keep_choice *choice,
                    const struct hone_report *report, json_t *options, json_t *state);
void hone_keep_close(struct hone_keep *k);

/* Reads the checkpoint into trainer and report. */
int hone_keep_resume(struct hone_keep *k, struct hone_trainer *t, const char *path);

/* Before the first step: tells at once where something cannot be written. */
int hone_keep_begin(struct hone_keep *k, const struct hone_trainer *t);

/* hone_train_options.between; ctx: the hone_keep. */
int hone_keep_between(void *ctx, struct hone_trainer *t);

/* After an epoch and its evaluation; *stop: patience has run out. */
int hone_keep_epoch(struct hone_keep *k, struct hone_trainer *t, const struct hone_metrics *test,
                    int *stop);

/* Is patience already at its end? */
int hone_keep_is_stale(const struct hone_keep *k);

/* Writes a checkpoint now.  Where that fails a warning is printed, and training may go on. */
void hone_keep_write(struct hone_keep *k, const struct hone_trainer *t);

/* The last weights; and the error of a last checkpoint that is not on the disk. */
int hone_keep_end(struct hone_keep *k, const struct hone_trainer *t);

#endif
