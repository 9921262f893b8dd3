/* nets/arena.h -- a place for every activation and every step's workspace.  For assemble.c. */
#ifndef HONE_NETS_ARENA_H
#define HONE_NETS_ARENA_H

#include "nets/nets.h"

/* Of a net whose plans are chosen, sets activations' offset and over, steps' workspace_offset, and
 * the bytes of the arena and of what workspaces need behind it. */
int hone_net_plan_arena(struct hone_net *net);

/* All that hone_net_assemble() does before it allocates. */
int hone_net_plan(struct hone_net *net, struct hone_db *db, struct hone_device *d,
                  const struct hone_net *shared);

/* Takes kernels that were measured to be hardly slower, while all that costs next to no time, or
 * longer, while the net needs more than net->memory, and plans again: so that a library is not needed
 * at all, and where workspaces need more than the activations leave them. */
int hone_net_spare(struct hone_net *net, struct hone_db *db);

/* The error of a net that cannot have net->memory, since it needs `least` bytes. */
int hone_net_too_large(const struct hone_net *net, int64_t least);

#endif
