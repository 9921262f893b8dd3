/* autotune/twice.h -- do two sessions that know nothing of each other choose the same, and what
 * does a choice cost?  `hone autotune --twice` */
#ifndef HONE_AUTOTUNE_TWICE_H
#define HONE_AUTOTUNE_TWICE_H

#include "autotune/autotune.h"

struct hone_twice {
    char dir[256];               /* of the two databases, for as long as it takes; "": not open */
    struct hone_db db[2];
    int n, agreed;               /* problems; those with the same winner, or a tie */
    int level;                   /* others, whose two winners the re-measurement finds level */
    int blocks;                  /* of the re-measurement, which each of the problems had */
    int measured;                /* regrets behind the sum: two a problem */
    double sum, worst;           /* of regrets: 0.01 is 1 % slower than the best */
    char of[HONE_TEXT];          /* whose the worst is */
};

int  hone_twice_open(struct hone_twice *x);
void hone_twice_close(struct hone_twice *x);   /* and removes the databases */

/* Both databases have been tuned.  The finishers of both are timed side by side, for about
 * o->seconds, in blocks apart in time, and a line for each problem is printed: agreement, and each
 * session's regret. */
int  hone_twice_measure(struct hone_twice *x, const struct hone_problem *p, int n,
                        struct hone_device *d, const struct hone_tune_options *o);

void hone_twice_print(const struct hone_twice *x);

#endif
