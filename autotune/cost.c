/* What an analytic model expects of a candidate before it ran: the work shared among its threads,
 * and the traffic of its arguments and of what it packs.  Only how candidates compare matters, so
 * an average machine will do; the search weighs it by how well it explains the trials. */
#include "autotune/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double FLOPS = 40e9, BYTES = 10e9;   /* a second: of one thread, of the memory */

static double seconds(const struct hone_kernel *k, const struct hone_config *c,
                      const struct hone_problem *p, const struct hone_device *d)
{
    int threads = hone_config_get(k, c, "threads", 1);
    if (threads > d->ncores) threads = d->ncores;
    /* What a library or a compiled kernel needs is not known before it was made. */
    const double packed = k->workspace && k->build == HONE_AOT ? (double)k->workspace(p, c, d) : 0;
    /* What is packed is written once and read once. */
    return p->op->flops(p) / (FLOPS * (threads > 1 ? threads : 1)) +
           (hone_problem_bytes(p) + 2 * packed) / BYTES;
}

static int nparams(const struct hone_kernel *k)
{
    int n = 0;
    while (n < HONE_MAX_PARAMS && k->param[n].name) n++;
    return n;
}

int hone_pool_expect(struct hone_pool *pool, const struct hone_problem *p,
                     const struct hone_device *d)
{
    struct hone_config c;
    free(pool->cost);
    pool->cost = malloc(((size_t)pool->n + 1) * sizeof *pool->cost);
    if (!pool->cost) return hone_fail(HONE_ENOMEM, "%d candidates", pool->n);
    for (int i = 0; i < pool->n; i++) {
        const struct hone_pool_kernel *q = &pool->kernel[pool->at[i].kernel];
        const struct hone_kernel *k = hone_kernel_find(p->op, q->name);
        memset(&c, 0, sizeof c);
        memcpy(c.v, pool->at[i].v, (size_t)q->nparams * sizeof *c.v);
        /* A recorded one may be of a kernel that has other parameters by now. */
        const int known = k && nparams(k) == q->nparams && hone_config_valid(k, p, &c, d);
        pool->cost[i] = known ? log(fmax(seconds(k, &c, p, d), 1e-12)) : NAN;
    }
    return HONE_OK;
}
