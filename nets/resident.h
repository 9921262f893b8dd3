/* nets/resident.h -- a data set in the memory of a device that does not share ours.  For nets/
 * alone; others include nets.h. */
#ifndef HONE_NETS_RESIDENT_H
#define HONE_NETS_RESIDENT_H

#include "nets/nets.h"

enum { HONE_RESIDENT_BATCHES = 3 };   /* batch sizes */

struct hone_resident {
    const struct hone_data *data;
    struct hone_device *device;
    struct hone_augment augment;
    void *x, *target, *table, *order, *key;   /* on the device: the op gather's arguments */
    int nplans;
    struct { int batch; struct hone_plan plan; } of[HONE_RESIDENT_BATCHES];
};

/* Puts the data there, which must outlive it.  After an error there is nothing to close. */
int  hone_resident_open(struct hone_resident *r, const struct hone_data *d,
                        const struct hone_augment *a, struct hone_device *device);
void hone_resident_close(struct hone_resident *r);

/* Makes ready for batches of so many rows; the database's plan where it has one. */
int  hone_resident_batch(struct hone_resident *r, struct hone_db *db, int batch);

/* The order of all rows, and the augmentation's key: of an epoch. */
int  hone_resident_epoch(struct hone_resident *r, const int64_t *order, uint64_t key);

/* Rows order[at, at + batch) of the epoch become x and target on the device. */
int  hone_resident_gather(struct hone_resident *r, int64_t at, int batch, void *x, void *target);

/* t->resident, where the device has its own memory, the data fit into half of it, and nobody chose
 * otherwise; what went wrong is told by t->no_resident, and batches are put then. */
void hone_trainer_reside(struct hone_trainer *t);
void hone_trainer_leave(struct hone_trainer *t);

#endif
