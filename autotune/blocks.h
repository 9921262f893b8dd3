/* autotune/blocks.h -- several races of the same candidates, each in a process of its own.
 *
 * Within a process where its buffers came to lie favours one candidate or another by a percent or
 * two, however many rounds it is asked; the next process has other pages.  So each block gives one
 * figure of a racer, and how much these vary tells how far they are to be trusted. */
#ifndef HONE_AUTOTUNE_BLOCKS_H
#define HONE_AUTOTUNE_BLOCKS_H

#include "autotune/race.h"

/* Blocks at most, and where no budget is left over for more; rounds of the first, which drops
 * losers, and of any other. */
enum { HONE_BLOCKS = 20, HONE_BLOCKS_USUAL = 10, HONE_BLOCK_FIRST = 15, HONE_BLOCK_ROUNDS = 9 };

struct hone_contender {
    const struct hone_kernel *kernel;
    int incumbent, front;          /* as in a race */
    int out, err;                  /* 1: dropped, or failed with err */
    int rests;                     /* 1: finishes, but is far enough behind to be asked no more */
    int n;                         /* blocks that it ran in: the first ones */
    char why[128];                 /* of being out */
    int rounds;                    /* of all blocks */
    double ms[HONE_BLOCKS];        /* (n) in units of its block's leader */
    double ratio, lo, hi;          /* over the leader's time, of all blocks; 95 % interval */
};

struct hone_blocks {
    int n, nblocks, leader;
    int most;                      /* blocks; 0: HONE_BLOCKS_USUAL */
    int apart;                     /* 1: they lie apart in time, so that states of the machine that
                                    * last are among what makes them differ: their mean counts */
    double ms[HONE_BLOCKS];        /* (nblocks) the leader's, of its block */
    struct hone_contender *of;     /* (n) */
};

/* Sets up the next block: all who are not out, as racers of r, which has room for b->n of them. */
void hone_blocks_next(const struct hone_blocks *b, struct hone_race *r);

/* Adds what the race found, and drops who is clearly slower. */
void hone_blocks_add(struct hone_blocks *b, const struct hone_race *r);

/* Does everyone left stand clearly behind the leader, or clearly level with it? */
int hone_blocks_settled(const struct hone_blocks *b);

/* By how much the choice may be worse than the best, at most and as a share: 0.02 where another
 * one may take 2 % less than the leader.  0: settled. */
double hone_blocks_doubt(const struct hone_blocks *b);

/* In the end: who seems faster than the incumbent, but by no more than chance may give, is dropped.
 * What is known stands until something is proven better. */
void hone_blocks_finish(struct hone_blocks *b);

/* A contender's time and its interval, which is that of its ratio to the leader. */
void hone_blocks_sample(const struct hone_blocks *b, int i, struct hone_record *rec);

#endif
