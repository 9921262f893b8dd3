/* nets/feed.h -- batches, one after the other, made ready while the step before them runs.  For
 * nets/ alone; others include nets.h. */
#ifndef HONE_NETS_FEED_H
#define HONE_NETS_FEED_H

#include "nets/resident.h"

#include <pthread.h>

/* Rows order[at..end), `batch` at a time while there are as many, then `rest` (0: batch); the last
 * batch may have fewer. */
struct hone_feed_source {
    const struct hone_data *data;
    const int64_t *order;
    int64_t at, end;
    int batch, rest;
    struct hone_augment augment;
    uint64_t key; /* of the augmentation */
    struct hone_resident *resident; /* has the data and this augmentation; NULL: the host gathers */
};

struct hone_batch {
    float *x;     /* (n, h, w, c) */
    void *target; /* (n) labels or (n, outputs) values */
};

struct hone_feed {
    struct hone_feed_source source; /* at: the next row to gather */
    int background;
    double wait; /* seconds in hone_feed_next(), and for the first batch before */
    /* Of the background: two batches, of which the caller reads one while the thread fills the
     * other.  `filled` and `taken` count batches. */
    struct hone_batch slot[2];
    int64_t filled, taken;
    int running, stop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* Data and order must outlive it.  Of resident data the device gets order and key. */
int hone_feed_open(struct hone_feed *f, const struct hone_feed_source *s, enum hone_feeding how);

/* The next batch.  *b comes in as a place that may be written, and goes out as the place where the
 * batch is: this one, or the feed's own, which holds until the next call. */
void hone_feed_next(struct hone_feed *f, struct hone_batch *b);

/* The same of resident data: the next n rows, to x and target on the device. */
int hone_feed_gather(struct hone_feed *f, int n, void *x, void *target);

void hone_feed_close(struct hone_feed *f);

#endif
