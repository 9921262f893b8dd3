/* nets/checkpoint.h -- the state of a training run in a file.  For nets/ alone; others include
 * nets.h, which has the weights. */
#ifndef HONE_NETS_CHECKPOINT_H
#define HONE_NETS_CHECKPOINT_H

#include "nets/safetensors.h"

/* "format" in the metadata of a checkpoint. */
#define HONE_CHECKPOINT "hone.checkpoint"

/* weights.c: writes the tensors in the net's array of weights, and with_state the optimizer's;
 * metadata gets the net's name, the layouts, and what is
 * to be known of the data.  Reads them back, all or, after an error or
 * without `store`, none; a tensor that the file or the net lacks is an error, and with_state
 * another dtype. */
int hone_tensors_save(const struct hone_net *net, const struct hone_data *data, const char *path,
                      int with_state, json_t *metadata);
int hone_tensors_read(const struct hone_net *net, const struct hone_safetensors *file,
                      int with_state, int store);

/* Writes the weights, running statistics, the optimizer's state, and where the trainer stands.
 * options: what a run that goes on must have alike, by option ("batch": "64"); state: what the
 * command wants back.  Both are objects of strings and stay the caller's. */
int hone_checkpoint_save(const struct hone_trainer *t, const char *path, json_t *options,
                         json_t *state);

/* Reads one back: an error, with the trainer as it was, where the file is no checkpoint, is of
 * another net (with the first tensor that differs) or of other options (with the first of them).
 * *state is the caller's.  *same_plans: 1 where all steps run the kernels they ran then, and the
 * continuation gives the same bits. */
int hone_checkpoint_load(struct hone_trainer *t, const char *path, json_t *options, json_t **state,
                         int *same_plans);

/* The state alone, to know before there is a trainer.  An error where the file is no checkpoint. */
int hone_checkpoint_peek(const char *path, json_t **state);

#endif
