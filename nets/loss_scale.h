/* nets/loss_scale.h -- for train.c, checkpoint.c and report.c; see loss_scale.c. */
#ifndef HONE_NETS_LOSS_SCALE_H
#define HONE_NETS_LOSS_SCALE_H

#include "nets/arrivals.h"
#include "nets/checkpoint.h"

/* The rest is closed by the second; what a device lacks leaves t->scaling NULL. */
void hone_loss_scale_open(struct hone_trainer *t);
void hone_loss_scale_close(struct hone_trainer *t);

/* Does the net's type need it? */
int hone_loss_scale_is_on(const struct hone_trainer *t);

/* Runs what follows the loss: backward by the scaled gradient, and the update by the true one, or,
 * with *skipped 1, none where a gradient is not finite. */
int hone_loss_scale_run(struct hone_trainer *t, const struct hone_net *net, int *skipped);

/* With t->scaling, where nobody waits: the device itself decides about the update and the next scale.
 * begin() puts the scale there, steps() enqueues what follows the forward pass, and take() learns
 * what was decided.  told: bytes that steps() sends; the others come back. */
int hone_loss_scale_begin(struct hone_trainer *t);
int hone_loss_scale_steps(struct hone_trainer *t, struct hone_arrival *a);
int hone_loss_scale_take(struct hone_trainer *t, const struct hone_arrival *a, int *skipped);
size_t hone_loss_scale_told_bytes(const struct hone_trainer *t);
size_t hone_loss_scale_bytes(const struct hone_trainer *t);

/* Into a checkpoint's metadata and out of it, where a file without such says nothing. */
void hone_loss_scale_write(const struct hone_trainer *t, json_t *metadata);
int hone_loss_scale_read(struct hone_trainer *t, const struct hone_safetensors *file);

#endif
