/* nets/report.h -- what `hone train` prints.  For nets/ alone; others include nets.h. */
#ifndef HONE_NETS_REPORT_H
#define HONE_NETS_REPORT_H

#include "nets/nets.h"

#include <jansson.h>

struct hone_report {
    int nlosses; /* of the first steps, to print */
    const struct hone_data *test;
    enum hone_task task;
    json_t *epochs, *losses; /* NULL: print lines */
};

/* hone_train_options.each_step; ctx: the report. */
void hone_report_loss(void *ctx, int64_t step, double loss);

void hone_report_heading(const struct hone_report *r);
void hone_report_epoch(const struct hone_report *r, const struct hone_epoch *e,
                       const struct hone_metrics *train, const struct hone_metrics *test);

/* A warning where the accuracy is within three deviations of chance, or only a little above it. */
const char *hone_report_near_chance(const struct hone_report *r, const struct hone_metrics *test,
                                    char text[HONE_TEXT]);

#endif
