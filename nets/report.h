/* nets/report.h -- what `hone train` prints.  For nets/ alone; others include nets.h. */
#ifndef HONE_NETS_REPORT_H
#define HONE_NETS_REPORT_H

#include "nets/nets.h"

#include <jansson.h>

struct hone_report {
    int nlosses;                  /* of the first steps, to print */
    const struct hone_data *test;
    enum hone_task task;
    int teacher;                  /* 1: a net learns from another, whose time is told apart */
    int quiet;                    /* 1: no lines, neither of losses nor of epochs */
    json_t *epochs, *losses;      /* all of this run so far; losses: the first nlosses */
};

/* hone_train_options.each_step; ctx: the report. */
void hone_report_loss(void *ctx, int64_t step, double loss);

void hone_report_heading(const struct hone_report *r);
/* t: for the seconds of the epoch that steps waited for batches, and for a teacher. */
void hone_report_epoch(const struct hone_report *r, const struct hone_epoch *e,
                       const struct hone_trainer *t,
                       const struct hone_metrics *train, const struct hone_metrics *test);

/* Learning rate of the epoch's last step, and norm of the gradients where they are clipped: into
 * the JSON of the last epoch, and the norm as a line on stderr. */
void hone_report_rate(const struct hone_report *r, const struct hone_trainer *t);

/* The seconds of all epochs with and without the teacher, and the rows per second of both: as a
 * line, and as an object. */
void hone_report_teacher(const struct hone_report *r, const struct hone_trainer *t);
json_t *hone_report_teacher_json(const struct hone_report *r, const struct hone_trainer *t);

/* ---- scores of the last evaluation (report_scores.c); chance: its accuracy is no better ---- */

void hone_report_scores(const struct hone_data *test, const struct hone_scores *s, int chance);
json_t *hone_report_scores_json(const struct hone_data *test, const struct hone_scores *s,
                                int chance);

/* ---- several runs: folds, repetitions ---- */

/* What stays of a run: the object for `runs` from its last epoch. */
json_t *hone_report_result(const struct hone_report *r, int run, uint64_t seed, double seconds);

/* A line for each, and their mean and deviation (of the sample). */
void hone_report_runs_heading(enum hone_task task, const char *what);
void hone_report_run(enum hone_task task, const json_t *result);
void hone_report_spread(enum hone_task task, const json_t *results);

/* "mean" and "deviation" of every number of the results, into `to`. */
void hone_report_add_spread(json_t *to, const json_t *results);

/* A warning where the accuracy on all rows of d is within three deviations of chance, or only a
 * little above it; NULL, too, where there are no classes, no rows or no accuracy. */
const char *hone_report_near_chance(const struct hone_data *d, double accuracy,
                                    char text[HONE_TEXT]);

#endif
