/* Less memory for next to no time.  A library that the net can do without is left out, for it keeps
 * megabytes of its own.  Then the step at which the arena is fullest is given the fastest kernel of
 * its records that needs less workspace, again and again, until it is the activations alone that
 * decide, or the time is used up, or a step has no such kernel.  A net that may have so many bytes
 * only takes all the time that it needs for that. */
#include "nets/arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 96, SESSIONS = 4 };     /* records of a problem that are looked at, of how many */
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

static int by_time(const void *a, const void *b)
{
    const struct hone_record *r = a, *q = b;
    return (r->ms_median > q->ms_median) - (r->ms_median < q->ms_median);
}

static int is_among(const struct hone_record r[], int n, const struct hone_record *q)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(r[i].kernel, q->kernel) && !strcmp(r[i].config, q->config)) return 1;
    return 0;
}

/* The step's records, fastest first; the caller frees *r.  The latest session may have timed but a
 * few, as the race inside the net does: what earlier ones timed beside the step's plan follows, with
 * the time that is to the plan's of now as it was then. */
static int records_of(const struct spare *s, const struct hone_step *step, struct hone_record **r)
{
    struct hone_record *all = *r = calloc(MOST, sizeof **r);
    char session[sizeof all->session];
    int n = all ? hone_db_best(s->db, &step->problem, s->net->device, all, MOST) : 0;
    if (n <= 0) return 0;
    const double now = now_ms(&step->plan, all, n);
    memcpy(session, all->session, sizeof session);
    for (int k = 1; k < SESSIONS && now >= 0; k++) {
        struct hone_record *old = all + n;
        const int m = hone_db_best_before(s->db, &step->problem, s->net->device, session, old,
                                          MOST - n);
        if (m <= 0) break;
        const double then = now_ms(&step->plan, old, m);
        memcpy(session, old->session, sizeof session);
        for (int i = 0; i < m && then > 0; i++) {
            old[i].ms_median *= now / then;
            if (!is_among(all, n, &old[i])) all[n++] = old[i];
        }
    }
    qsort(all, (size_t)n, sizeof *all, by_time);
    return n;
}

/* Gives the step the fastest of its n records that may be taken and opens, for left_ms at most;
 * returns the milliseconds that it costs, below 0: there is none. */
static double take(const struct spare *s, struct hone_step *step, struct hone_record r[], int n,
                   int (*may)(const struct hone_step *step, const struct hone_record *r))
{
    const double now = now_ms(&step->plan, r, n);
    struct hone_plan plan = { 0 };
    for (int i = 0; now >= 0 && i < n; i++) {
        if (r[i].ms_median - now > s->left_ms || !may(step, &r[i]) ||
            hone_plan_of_record(&plan, &r[i], &step->problem, s->net->device))
            continue;
        hone_plan_close(&step->plan);
        step->plan = plan;
        return r[i].ms_median > now ? r[i].ms_median - now : 0;
    }
    return -1;
}

/* ---- without a library ---- */

static int is_own(const struct hone_step *step, const struct hone_record *r)
{
    const struct hone_kernel *k = hone_kernel_find(step->problem.op, r->kernel);
    return k && k->build != HONE_LIB;
}

/* What it costs if no step runs library kernel `lib`: taken where `taking`; below 0: it cannot be. */
static double without(const struct spare *s, const struct hone_kernel *lib, int taking)
{
    double sum = 0;
    for (int i = 0; i < s->net->nsteps && sum >= 0; i++) {
        struct hone_step *step = &s->net->step[i];
        struct hone_record *r;
        if (strcmp(step->plan.kernel->name, lib->name)) continue;
        const int n = records_of(s, step, &r);
        const double now = now_ms(&step->plan, r, n);
        double more = -1;
        if (taking) more = take(s, step, r, n, is_own);
        for (int k = 0; !taking && now >= 0 && k < n && more < 0; k++)
            if (is_own(step, &r[k])) more = r[k].ms_median > now ? r[k].ms_median - now : 0;
        sum = more < 0 ? -1 : sum + more;
        free(r);
    }
    return sum;
}

static void spend(struct spare *s, double ms)
{
    if (ms <= 0) return;
    s->left_ms -= ms;
    s->net->ms += ms;
}

/* How many steps are other ones now. */
static int leave_libraries(struct spare *s)
{
    int taken = 0;
    for (int i = 0; i < s->net->nsteps; i++) {
        const struct hone_kernel *k = s->net->step[i].plan.kernel;
        if (k->build != HONE_LIB) continue;
        double more = without(s, k, 0);
        if (more < 0 || more > s->left_ms) continue;
        taken++;
        spend(s, without(s, k, 1));
    }
    return taken;
}

/* ---- with less workspace ---- */

static int needs_less(const struct hone_step *step, const struct hone_record *r)
{
    return r->workspace_bytes < (int64_t)step->plan.workspace_bytes;
}

static int take_less(struct spare *s, struct hone_step *step)
{
    struct hone_record *r;
    const int n = records_of(s, step, &r);
    const double more = take(s, step, r, n, needs_less);
    free(r);
    spend(s, more);
    return more >= 0;
}

static int fullest(const struct spare *s)
{
    int at = 0;
    for (int i = 0; i < s->net->nsteps; i++)
        if (need(s, i) > need(s, at)) at = i;
    return at;
}

/* Leaner kernels at the fullest step, while its workspace is what decides and it has any. */
static int lean(struct spare *s)
{
    const int at = fullest(s);
    return need(s, at) > s->net->arena_bytes && take_less(s, &s->net->step[at]);
}

int hone_net_spare(struct hone_net *net, struct hone_db *db)
{
    struct spare s = { .net = net, .db = db };
    net->ms = whole_ms(&s);
    /* On a device of its own memory time is dearer. */
    if (net->device->backend->start) return HONE_OK;
    s.left_ms = share * net->ms;
    int taken = leave_libraries(&s), err = taken ? hone_net_plan_arena(net) : HONE_OK;
    const int is_over = net->memory && hone_net_bytes(net) > net->memory;
    if (err || (net->workspace_bytes < LITTLE && !is_over)) return err;
    err = find_live(&s);
    for (taken = 0; !err && lean(&s);) taken++;
    if (!err && taken) err = hone_net_plan_arena(net);
    s.left_ms = INFINITY;
    while (!err && net->memory && hone_net_bytes(net) > net->memory && lean(&s))
        err = hone_net_plan_arena(net);
    free(s.live);
    return err;
}
