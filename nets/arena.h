/* nets/arena.h -- a place for every activation and every step's workspace.  For assemble.c. */
#ifndef HONE_NETS_ARENA_H
#define HONE_NETS_ARENA_H

#include "nets/nets.h"

/* Of a net whose plans are chosen, sets activations' offset and over, steps' workspace_offset, and
 * the bytes of the arena and of what workspaces need behind it. */
int hone_net_plan_arena(struct hone_net *net);

/* Where workspaces need more than the activations leave them: takes kernels that were measured to
 * be hardly slower and need less, while all that costs next to no time, and plans again. */
int hone_net_spare_workspace(struct hone_net *net, struct hone_db *db);

#endif
