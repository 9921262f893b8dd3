/* tests/cuda/pretend.h -- between the pretend driver's memory and code (pretend.c) and its stream
 * (pretend_stream.c). */
#ifndef HONE_TESTS_CUDA_PRETEND_H
#define HONE_TESTS_CUDA_PRETEND_H

#include "kernels/backend/cuda_driver.h"

#define X(name, symbol, parameters) hone_cu_result symbol parameters;
HONE_CU_CALLS(X) HONE_CU_LATER_CALLS(X)
#undef X
extern const int hone_pretend_driver;

enum {
    GOOD = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    NOT_READY = 600, ILLEGAL_ADDRESS = 700, OUT_OF_RESOURCES = 701, LAUNCH_FAILED = 719,
    NO_CAPTURE = 900, BAD_CLUSTER = 912, UNKNOWN = 999
};

extern struct pretend_live {
    int contexts, streams, events, memories, pinned, modules, graphs;
} pretend_live;

/* Launches by the program, of kernels and graphs; copies to the device and back, and their bytes;
 * and how often the program waited for what was not done yet. */
extern struct pretend_counts {
    unsigned long kernels, graphs, puts, gets, put_bytes, get_bytes, waits;
} pretend_counts;

int pretend_fails(const char *symbol);
#define CALL() if (pretend_fails(__func__)) return UNKNOWN

/* Most calls are for threads that have the context. */
int pretend_has_context(void);
#define CALL_IN_CONTEXT()                                                                          \
    CALL();                                                                                        \
    if (!pretend_has_context()) return INVALID_CONTEXT

/* 10 major + minor. */
int pretend_capability(void);

/* non_portable: it may run in clusters of more than 8 blocks. */
struct pretend_function {
    char name[64];
    void (*kernel)(void **arg);
    unsigned bytes, threads, shared_bytes;
    int non_portable;
    struct pretend_function *next;
};

/* Is all of [at, at + bytes) one piece of device memory, or of memory that was asked for pinned? */
int pretend_is_device(const void *at, size_t bytes);
int pretend_is_pinned(const void *at, size_t bytes);

/* The device's memory is open to this process between the two. */
void pretend_unlock(void);
void pretend_lock(void);

/* What is wrong with a thread's touching these bytes, or NULL. */
const char *pretend_look(const void *p, unsigned bytes, int writes, unsigned launch,
                         unsigned thread, unsigned epoch);

/* Does what is enqueued. */
void pretend_do_all(void);

#endif
