/* Answers of libraries, kept; see kept.h. */
#include "kernels/backend/cuda.h"
#include "kernels/nvidia/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *hone_kept_answer(struct hone_kept **all, size_t size, const struct hone_problem *p,
                       const struct hone_device *d,
                       int (*ask)(void *kept, const struct hone_problem *p,
                                  const struct hone_device *d, void *ctx),
                       void *ctx)
{
    char text[HONE_TEXT], key[sizeof (*all)->key];
    hone_problem_print(p, text);
    snprintf(key, sizeof key, "%s %s", text, d->id);
    for (struct hone_kept *k = *all; k; k = k->next)
        if (!strcmp(k->key, key)) return k;
    struct hone_kept *k = calloc(1, size);
    if (!k) return NULL;
    memcpy(k->key, key, sizeof key);
    k->err = ask(k, p, d, ctx);
    if (k->err) snprintf(k->why, sizeof k->why, "%.250s", hone_errmsg());
    k->next = *all;
    return *all = k;
}

const char *hone_nvidia_pretend(void)
{
    if (!hone_cuda_is_pretend() || getenv("HONE_PRETEND_LIBRARIES")) return NULL;
    return "the tests' driver has no libraries";
}
