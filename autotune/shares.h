/* autotune/shares.h -- how a session's time is shared among its problems. */
#ifndef HONE_AUTOTUNE_SHARES_H
#define HONE_AUTOTUNE_SHARES_H

#include "autotune/autotune.h"

/* A problem of a session. */
struct hone_share {
    struct hone_use use;
    double estimate;               /* seconds of a full search for it */
    double ms;                     /* of its best, as far as known; 0: not known */
    /* Results. */
    double share;                  /* of what time there is */
    int lost;                      /* 1: tuning it gains nothing, see below */
};

/* Sets shares, and who has lost, by what times are known.
 *
 * Half of the time is shared evenly, half by what a full search would take and how many steps of
 * the net a problem is: what is much of a step's time gains most, small ones are worth it too.
 *
 * But where a net's whole training step can be one op, that op or the steps that it replaces run,
 * and not both: each is a side, of any number of problems, and the one that is ahead, be it
 * by one of them, gets five sixths of the time.  Who takes twice the other side's time or more has
 * lost.  An op of which no time is known is ahead, and it does not lose before each step's is. */
void hone_shares_set(struct hone_share s[], int n);

/* Of n problems, is any a net's whole training step? */
int hone_shares_whole(const struct hone_share s[], int n);

#endif
