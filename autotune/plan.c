/* From records to a plan: what was measured to be best, here or on the nearest device whose records
 * are shipped, else what a like plan uses, else the default. */
#include "autotune/db.h"

#include <string.h>

int hone_plan_of_record(struct hone_plan *plan, const struct hone_record *r,
                        const struct hone_problem *p, struct hone_device *d)
{
    struct hone_config c;
    const struct hone_kernel *k = hone_kernel_find(p->op, r->kernel);
    if (!k) return hone_fail(HONE_EREFUSED, "no kernel %s", r->kernel);
    hone_config_guess(k, p, d, &c);
    int err = hone_config_parse(k, r->config, &c);
    return err ? err : hone_plan_open(plan, p, k, &c, d);
}

static int open_like(struct hone_plan *plan, const struct hone_plan *like,
                     const struct hone_problem *p, struct hone_device *d)
{
    const struct hone_kernel *k = like->kernel;
    if (!k || hone_kernel_refuse(k, p, d)) return HONE_EREFUSED;
    return hone_plan_open(plan, p, k,
                          hone_config_valid(k, p, &like->config, d) ? &like->config : NULL, d);
}

int hone_plan_best(struct hone_plan *plan, struct hone_db *db, const struct hone_problem *p,
                   struct hone_device *d, const struct hone_plan *like, int *known)
{
    enum { SPARE = 4 };   /* should the best not open, say for lack of memory */
    struct hone_record best[SPARE];
    int n = hone_db_best(db, p, d, best, SPARE);
    if (known) *known = 0;
    if (n < 0) return n;
    for (int i = 0; i < n; i++) {
        if (hone_plan_of_record(plan, &best[i], p, d)) continue;
        if (known) *known = 1;
        return HONE_OK;
    }
    char from[192];
    if (!hone_wisdom_plan(plan, db, p, d, 0, from)) return HONE_OK;
    if (like && !open_like(plan, like, p, d)) return HONE_OK;
    return hone_plan_default(plan, p, d);
}
