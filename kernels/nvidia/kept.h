/* kernels/nvidia/kept.h -- what a library said about a problem on a device, asked once. */
#ifndef HONE_NVIDIA_KEPT_H
#define HONE_NVIDIA_KEPT_H

#include "kernels/kernel.h"

/* The beginning of a struct that holds the answer. */
struct hone_kept {
    struct hone_kept *next;
    char key[HONE_TEXT + 192];
    int err;                /* of a question that got no answer, with its message */
    char why[256];
};

/* The answer about p on d among `all`; the first time a zeroed struct of `size` bytes, which begins
 * with a hone_kept, is made and ask(it, p, d, ctx) fills it in.  It is kept as long as the program
 * runs: asking takes a tenth of a second, and the tuner asks about every configuration.  NULL: out
 * of memory. */
void *hone_kept_answer(struct hone_kept **all, size_t size, const struct hone_problem *p,
                       const struct hone_device *d,
                       int (*ask)(void *kept, const struct hone_problem *p,
                                  const struct hone_device *d, void *ctx),
                       void *ctx);

/* Why libraries are left alone, or NULL: NVIDIA's own would not survive the tests' driver, which
 * goes with the tests' libraries ($HONE_PRETEND_LIBRARIES) alone. */
const char *hone_nvidia_pretend(void);

#endif
