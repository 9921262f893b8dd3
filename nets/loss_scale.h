/* nets/loss_scale.h -- for train.c, checkpoint.c and report.c; see loss_scale.c. */
#ifndef HONE_NETS_LOSS_SCALE_H
#define HONE_NETS_LOSS_SCALE_H

#include "nets/checkpoint.h"

void hone_loss_scale_open(struct hone_trainer *t);

/* Does the net's type need it? */
int hone_loss_scale_is_on(const struct hone_trainer *t);

/* Runs what follows the loss: backward by the scaled gradient, and the update by the true one, or,
 * with *skipped 1, none where a gradient is not finite. */
int hone_loss_scale_run(struct hone_trainer *t, const struct hone_net *net, int *skipped);

/* Into a checkpoint's metadata and out of it, where a file without such says nothing. */
void hone_loss_scale_write(const struct hone_trainer *t, json_t *metadata);
int hone_loss_scale_read(struct hone_trainer *t, const struct hone_safetensors *file);

#endif
