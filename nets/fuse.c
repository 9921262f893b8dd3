/* Which layers become part of the steps of the layer before them: an activation at the end of conv,
 * fc, bnorm or add, and add at the end of bnorm.  Each saves passes over memory; where both ways
 * were measured and the parts are faster, they stay apart.  And which activations' gradients become
 * part of the maxpool above. */
#include "nets/lower.h"

#include <string.h>

/* add takes part in the bnorm of one of its terms if nothing else reads that and the other term is
 * computed before. */
static void join_sum(struct hone_lower *b, struct hone_node *n)
{
    for (int k = 0; k < 2 && n->sum_of < 0; k++) {
        struct hone_node *term = &b->node[n->input[k]];
        if (!term->kind->takes_sum || term->nreaders > 1 || term->act || term->sum >= 0) continue;
        if (n->input[1 - k] >= n->input[k]) continue;
        term->sum = hone_node_index(b, n);
        n->sum_of = n->input[k];
    }
}

static void join_act(struct hone_lower *b, struct hone_node *n)
{
    struct hone_node *in = &b->node[n->input[0]];
    if (!in->kind->takes_act || in->act || in->nreaders > 1) return;
    if (in->kind->takes_act == HONE_TAKES_CUT && (!n->kind->cuts || b->how->apart)) return;
    if (!hone_lower_fuses(b, n->kind)) return;
    in->act = n->kind;
    n->absorbed = 1;
}

int hone_lower_has_places(const struct hone_node *n)
{
    enum { PLACES = 255 };
    return !strcmp(n->kind->name, "maxpool") &&
           hone_node_int(n, "r") * hone_node_int(n, "kw") <= PLACES;
}

/* The gradient of a maximum passes relu where the maximum is above 0, and where it does not pass it
 * matters not which of equal numbers is the maximum: so places that leave such maxima out give the
 * gradient of both, bit by bit, and the output of conv or fc is not read again. */
static void join_cut(struct hone_lower *b, struct hone_node *n)
{
    struct hone_node *in = &b->node[n->input[0]];
    if (in->nreaders > 1) return;
    if (in->absorbed) in = &b->node[in->input[0]];
    if (in->nreaders > 1 || in->kind->takes_act != HONE_TAKES_ACT || !in->act || !in->act->cuts)
        return;
    n->cut = in->act;
    in->is_cut_above = 1;
}

void hone_lower_fuse(struct hone_lower *b)
{
    for (int i = 0; i < b->nnodes; i++) {
        struct hone_node *n = &b->node[i];
        if (n->kind->is_sum && !b->how->apart) join_sum(b, n);
        if (n->kind->is_act) join_act(b, n);
        if (b->how->train && hone_lower_has_places(n)) join_cut(b, n);
    }
}

/* The best record of the problem by itself: its time inside a net, where caches are another's, says
 * nothing beside that of a problem which was not raced there. */
static int best_alone(const struct hone_lower *b, const struct hone_problem *p,
                      struct hone_record *best)
{
    int n = hone_db_best(b->how->db, p, b->how->device, best, 1);
    while (n == 1 && !strcmp(best->cache, "net")) {
        char session[sizeof best->session];
        memcpy(session, best->session, sizeof session);
        n = hone_db_best_before(b->how->db, p, b->how->device, session, best, 1);
    }
    return n == 1;
}

/* The milliseconds that problems were measured to take together, their intervals' ends; 0: not all
 * are known. */
static int known(const struct hone_lower *b, const char *const problem[], double *lo, double *hi)
{
    for (*lo = *hi = 0; *problem; problem++) {
        struct hone_problem p;
        struct hone_record best;
        if (hone_problem_parse(*problem, &p)) return 0;
        hone_lower_dtype(b->net, &p);
        if (!best_alone(b, &p, &best)) return 0;
        *lo += best.ms_lo;
        *hi += best.ms_hi;
    }
    return 1;
}

int hone_lower_wins(const struct hone_lower *b, const char *const fused[],
                    const char *const apart[])
{
    double one[2], several[2];
    return !b->how->db || b->how->memory || !known(b, fused, &one[0], &one[1]) ||
           !known(b, apart, &several[0], &several[1]) || several[1] >= one[0];
}

void hone_lower_part(struct hone_lower *b, struct hone_node *n)
{
    if (n->sum >= 0) {
        b->node[n->sum].sum_of = -1;
        n->sum = -1;
    } else if (n->act) {
        b->node[n->reader].absorbed = 0;
        n->act = NULL;
    }
}
