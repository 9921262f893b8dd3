/* A pool of candidates: what a searcher sees of a space. */
#include "autotune/search.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more: grown whenever n reaches a power of two. */
static void *grow(void *at, int n, size_t size)
{
    if (n & (n - 1)) return at;
    return realloc(at, (n ? 2 * (size_t)n : 1) * size);
}

struct hone_pool_kernel *hone_pool_kernel_add(struct hone_pool *pool)
{
    struct hone_pool_kernel *more = grow(pool->kernel, pool->nkernels, sizeof *more);
    if (!more) return NULL;
    pool->kernel = more;
    more += pool->nkernels++;
    memset(more, 0, sizeof *more);
    more->first = pool->n;
    return more;
}

int hone_pool_add(struct hone_pool *pool, const int v[HONE_MAX_PARAMS])
{
    struct hone_pool_kernel *k = &pool->kernel[pool->nkernels - 1];
    struct hone_choice *more = grow(pool->at, pool->n, sizeof *more);
    if (!more) return hone_fail(HONE_ENOMEM, "%d candidates", pool->n);
    pool->at = more;
    more += pool->n++;
    memset(more, 0, sizeof *more);
    more->kernel = pool->nkernels - 1;
    memcpy(more->v, v, (size_t)k->nparams * sizeof *v);
    k->n++;
    return HONE_OK;
}

int hone_pool_of_space(struct hone_pool *pool, const struct hone_space *s)
{
    int err = HONE_OK;
    memset(pool, 0, sizeof *pool);
    for (int i = 0; !err && i < s->nkernels; i++) {
        const struct hone_kernel *from = s->kernel[i].kernel;
        struct hone_pool_kernel *k = hone_pool_kernel_add(pool);
        if (!k) { err = hone_fail(HONE_ENOMEM, "%d kernels", i); break; }
        snprintf(k->name, sizeof k->name, "%s", from->name);
        k->isa = (int)from->isa;
        k->build = (int)from->build;
        for (; k->nparams < HONE_MAX_PARAMS && from->param[k->nparams].name; k->nparams++)
            snprintf(k->param[k->nparams], sizeof k->param[0], "%s", from->param[k->nparams].name);
        for (int j = 0; !err && !s->kernel[i].follows && j < s->kernel[i].n; j++)
            err = hone_pool_add(pool, s->kernel[i].config[j].v);
    }
    if (err) hone_pool_close(pool);
    return err;
}

int hone_pool_find(const struct hone_pool *pool, const char *kernel, const int v[], int nparams)
{
    for (int i = 0; i < pool->nkernels; i++) {
        const struct hone_pool_kernel *k = &pool->kernel[i];
        if (strcmp(k->name, kernel) || k->nparams != nparams) continue;
        for (int j = k->first; j < k->first + k->n; j++)
            if (!memcmp(pool->at[j].v, v, (size_t)nparams * sizeof *v)) return j;
    }
    return -1;
}

void hone_pool_close(struct hone_pool *pool)
{
    free(pool->kernel);
    free(pool->at);
    free(pool->cost);
    memset(pool, 0, sizeof *pool);
}
