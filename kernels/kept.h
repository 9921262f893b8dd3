/* kernels/kept.h -- for kernels that look up their problem's attributes by name, which is too slow
 * for what takes a microsecond: prepare() works their job out once, and run() reads it. */
#ifndef HONE_KEPT_H
#define HONE_KEPT_H

#include "kernels/kernel.h"

#include <stdlib.h>
#include <string.h>

/* plan->priv becomes a copy of the job, for hone_plan_forget() as the kernel's release(). */
static inline int hone_plan_keep(struct hone_plan *plan, const void *job, size_t size)
{
    if (!(plan->priv = malloc(size))) return hone_fail(HONE_ENOMEM, "%zu bytes", size);
    memcpy(plan->priv, job, size);
    return HONE_OK;
}

static inline void hone_plan_forget(struct hone_plan *plan) { free(plan->priv); }

#endif
