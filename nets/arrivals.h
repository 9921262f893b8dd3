/* nets/arrivals.h -- what steps tell the host, which does not wait for it.  For nets/ alone; others
 * include nets.h. */
#ifndef HONE_NETS_ARRIVALS_H
#define HONE_NETS_ARRIVALS_H

#include "nets/nets.h"

/* A run of a net's steps under way, and its numbers in our memory: they are there when take() is
 * called, or after hone_arrivals_wait(); NULL: they were not asked for. */
struct hone_arrival {
    struct hone_net *net;
    int64_t step;                 /* the number of its first training step */
    int64_t at;                   /* t->order[at]: its first row */
    const struct hone_data *data; /* whose rows they are */
    struct hone_metrics *sums;    /* where take() adds them */
    int (*take)(struct hone_trainer *t, struct hone_arrival *a);
    const void *loss, *hit, *output, *norm, *scale;
    char *mem;                    /* pinned memory, of which so many bytes are given out */
    size_t used;
};

/* Once t's nets are open.  $HONE_AHEAD: how many runs of the steps may be under way, 0 to 64; where
 * device and host share their memory there are none. */
int  hone_arrivals_open(struct hone_trainer *t);
void hone_arrivals_close(struct hone_trainer *t);

/* Is a run's end to be waited for, before the next? */
int hone_arrivals_at_once(const struct hone_trainer *t);

/* A new one, without anything but its memory.  Of those before at most as many stay under way as may
 * be: what the others told is taken first, in order; the first error ends that. */
int hone_arrivals_next(struct hone_trainer *t, struct hone_arrival **a);

/* Enqueues that tensor becomes these bytes, which may be used again at once. */
int hone_arrivals_send(struct hone_trainer *t, struct hone_arrival *a, int tensor, const void *from,
                       size_t bytes);

/* Those under way, without the one that is enqueued now; at most the first. */
enum { HONE_MOST_AHEAD = 64 };
int hone_arrivals_under_way(const struct hone_trainer *t);

/* The same of any place on a device with its own memory, and *numbers become those there. */
int hone_arrivals_send_to(struct hone_trainer *t, struct hone_arrival *a, void *mem,
                          const void *from, size_t bytes);
int hone_arrivals_ask_of(struct hone_trainer *t, struct hone_arrival *a, const void *mem,
                         size_t bytes, const void **numbers);

/* Enqueues that *numbers become the tensor's. */
int hone_arrivals_ask(struct hone_trainer *t, struct hone_arrival *a, int tensor,
                      const void **numbers);

/* Loss, and hits or outputs; with_output: these in any case. */
int hone_arrivals_ask_scores(struct hone_trainer *t, struct hone_arrival *a, int with_output);

/* All that is enqueued has come then. */
int hone_arrivals_wait(struct hone_trainer *t);

/* The last one is all enqueued; taken: and was taken, too. */
int hone_arrivals_end(struct hone_trainer *t, int taken);

/* After an error: nothing is under way then. */
void hone_arrivals_drop(struct hone_trainer *t);

/* ---- what take() calls ---- */

/* Adds rows to *a->sums; loss[k] becomes the mean of the kth training step's. */
void hone_arrival_add(struct hone_trainer *t, const struct hone_arrival *a, double loss[]);

/* Adds outputs to t->scores, where there are such. */
void hone_arrival_score(struct hone_trainer *t, const struct hone_arrival *a);

/* The first of a tensor's numbers. */
double hone_arrival_number(const struct hone_arrival *a, int tensor, const void *numbers);

/* ---- blame.c ---- */

/* Why the loss of a step is no number, found when `later` more steps were enqueued: its batch, or
 * the weights as they are now. */
void hone_trainer_blame(struct hone_trainer *t, const struct hone_arrival *a, int64_t later,
                        char text[HONE_TEXT]);

/* ---- batch.c ---- */

/* Does the device read and write our memory? */
static inline int hone_shares_memory(const struct hone_net *net) { return !net->device->backend->pin; }

struct hone_feed;

/* The feed's next batch becomes what net reads. */
int  hone_trainer_put_batch(struct hone_trainer *t, struct hone_net *net, struct hone_feed *feed);
void hone_trainer_free_batches(struct hone_trainer *t);

#endif
