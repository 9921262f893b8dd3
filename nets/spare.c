/* Less workspace for next to no time.  The step at which the arena is fullest is given the fastest
 * kernel of its records that needs less, again and again, until it is the activations alone that
 * decide, or the time is used up, or a step has no such kernel. */
#include "nets/arena.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 48 };                   /* records of a problem that are looked at */
enum { LITTLE = 1 << 18 };            /* bytes that are not worth a search */
static const double share = 0.01;     /* of the step's time that may be spent */

struct spare {
    struct hone_net *net;
    struct hone_db *db;
    int64_t *live;                    /* (nsteps) bytes of activations at the step */
    double left_ms;
};

static int64_t need(const struct spare *s, int step)
{
    return s->live[step] + (int64_t)s->net->step[step].plan.workspace_bytes;
}

static int find_live(struct spare *s)
{
    const struct hone_net *net = s->net;
    const size_t n = (size_t)net->ntensors;
    int *first = calloc(2 * n + 1, sizeof *first), *last = first + n;
    s->live = calloc((size_t)net->nsteps + 1, sizeof *s->live);
    if (first && s->live) {
        hone_net_lifetimes(net, first, last);
        for (int t = 0; t < net->ntensors; t++)
            if (net->tensor[t].over >= 0) last[net->tensor[t].over]--;
        for (int t = 0; t < net->ntensors; t++)
            for (int i = first[t]; i >= 0 && i <= last[t] && i < net->nsteps; i++)
                s->live[i] += hone_tensor_bytes(&net->tensor[t]);
    }
    free(first);
    return first && s->live ? HONE_OK : hone_fail(HONE_ENOMEM, "%d steps", net->nsteps);
}

/* What the records say a step of the net takes. */
static double whole_ms(const struct spare *s)
{
    double sum = 0;
    for (int i = 0; i < s->net->nsteps; i++) {
        struct hone_record best;
        if (hone_db_best(s->db, &s->net->step[i].problem, s->net->device, &best, 1) == 1)
            sum += best.ms_median;
    }
    return sum;
}

/* The time of the step's plan by the records; below 0: it is none of them. */
static double now_ms(const struct hone_plan *plan, const struct hone_record r[], int n)
{
    char config[HONE_TEXT];
    hone_config_print(plan->kernel, &plan->config, config);
    for (int i = 0; i < n; i++)
        if (!strcmp(r[i].kernel, plan->kernel->name) && !strcmp(r[i].config, config))
            return r[i].ms_median;
    return -1;
}

/* Gives the step the fastest of its records that needs less; 0: there is none that may be taken. */
static int take_less(struct spare *s, struct hone_step *step)
{
    struct hone_record *r = calloc(MOST, sizeof *r);
    struct hone_plan plan = { 0 };
    int n = r ? hone_db_best(s->db, &step->problem, s->net->device, r, MOST) : 0, taken = 0;
    const double now = n > 0 ? now_ms(&step->plan, r, n) : -1;
    while (now >= 0 && !taken) {
        int best = -1;
        for (int i = 0; i < n; i++)
            if (r[i].workspace_bytes < (int64_t)step->plan.workspace_bytes &&
                (best < 0 || r[i].ms_median < r[best].ms_median))
                best = i;
        if (best < 0 || r[best].ms_median - now > s->left_ms) break;
        if (!hone_plan_of_record(&plan, &r[best], &step->problem, s->net->device)) {
            if (r[best].ms_median > now) s->left_ms -= r[best].ms_median - now;
            hone_plan_close(&step->plan);
            step->plan = plan;
            taken = 1;
        }
        r[best].workspace_bytes = INT64_MAX;   /* it does not open */
    }
    free(r);
    return taken;
}

static int fullest(const struct spare *s)
{
    int at = 0;
    for (int i = 0; i < s->net->nsteps; i++)
        if (need(s, i) > need(s, at)) at = i;
    return at;
}

int hone_net_spare_workspace(struct hone_net *net, struct hone_db *db)
{
    struct spare s = { .net = net, .db = db };
    int taken = 0;
    /* On a device of its own memory time is dearer. */
    if (net->workspace_bytes < LITTLE || net->device->backend->start) return HONE_OK;
    int err = find_live(&s);
    s.left_ms = err ? 0 : share * whole_ms(&s);
    for (int at = 0; !err; taken++) {
        at = fullest(&s);
        if (need(&s, at) <= net->arena_bytes || !take_less(&s, &net->step[at])) break;
    }
    free(s.live);
    return err || !taken ? err : hone_net_plan_arena(net);
}
