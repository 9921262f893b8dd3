/* tests/cuda/shim_warp.h -- between shim.c, which runs threads, and shim_warp.c, which does what a
 * warp does together. */
#ifndef HONE_SHIM_WARP_H
#define HONE_SHIM_WARP_H

enum { SHIM_COPIES = 128 };

/* What a thread shows to the others of its warp, and its copies under way. */
struct shim_lane {
    unsigned number;              /* in the block */
    unsigned given[6];            /* registers */
    const void *row;
    struct shim_copy { char *to; const char *from; int n; unsigned group; } copy[SHIM_COPIES];
    unsigned ncopies, groups;
};

/* Lane i of the warp that runs; and the one that runs. */
struct shim_lane *shim_lane_at(unsigned i);
struct shim_lane *shim_lane_now(void);

/* Waits for all of the warp; orders no memory. */
void shim_meet_lanes(void);

/* As if the compiler had told of it. */
void shim_look(const void *p, unsigned bytes, int writes);

/* What the kernel did wrong; the first is told. */
void shim_wrong(const char *fmt, unsigned a, unsigned b, unsigned c);

#endif
