/* kernels/backend/ahead.h -- reading ahead of the processor, in loops over arrays that lie beyond
 * its caches.  By itself it reads ahead within a page of 4 KiB only, and less eagerly beside stores
 * that go past the caches: with prefetches such loops move a third more.  Lines that ordinary
 * stores are about to write must be read, too, where the caches do not hold them. */
#ifndef HONE_AHEAD_H
#define HONE_AHEAD_H

#include "kernels/backend/cpu.h"

/* Vectors of stored numbers in a cache line. */
enum { AHEAD_VECTORS = 64 / (VL * sizeof(stored)) };

/* The line that a loop reads 2 KiB behind p, into L1. */
static inline void fetch_ahead(const void *p) { __builtin_prefetch((const char *)p + 2048); }

/* The line at p, which may be read so much later that L1 would not hold it, into L2. */
static inline void fetch_to_l2(const void *p) { __builtin_prefetch(p, 0, 2); }

#endif
