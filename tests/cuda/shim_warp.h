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

/* Waits for all of the four warps that the thread belongs to; likewise. */
void shim_meet_group(void);

/* Waits until shim_gate_is_open() of the thread. */
void shim_wait_gate(void);

/* This thread goes no further. */
void shim_give_up(void);

/* Barriers of the block that the thread is behind; bytes of the launch's shared memory; 0: threads
 * run upwards, 1: downwards, else in random order. */
unsigned shim_epoch(void);
unsigned shim_shared_bytes(void);
unsigned shim_order(void);

/* shim_group.c: before and behind a block's threads; is the gate open that a thread waits for; and
 * lets one of the boxes under way come, 0: there is none. */
void shim_group_begin(void);
void shim_group_end(void);
int shim_gate_is_open(unsigned thread);
int shim_box_comes(unsigned order);

/* As if the compiler had told of it. */
void shim_look(const void *p, unsigned bytes, int writes);

/* What the kernel did wrong; the first is told. */
void shim_wrong(const char *fmt, unsigned a, unsigned b, unsigned c);

#endif
