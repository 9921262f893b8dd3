/* Counters by name: which meter a name belongs to, the runs behind a value, and the metrics that
 * groups of counters give. */
#include "profiler/cupti.h"

#include <string.h>

/* One event of a list. */
struct wanted {
    char text[64];     /* as given */
    const char *event; /* in text, past a meter's name */
    const struct hone_meter *meter;
};

/* A list that was read: events, each once, and the metrics of its groups. */
struct order {
    int n, nmetrics;
    struct wanted wanted[HONE_MAX_COUNTERS];
    const struct hone_metric *metric[HONE_MAX_COUNTERS];
};

/* ---- reading a list ---- */

static int find_meter(struct wanted *w)
{
    w->event = w->text;
    for (int m = 0; hone_meters[m]; m++) {
        size_t len = strlen(hone_meters[m]->name);
        /* "papi:X" names the meter; in "perf::X" the colons are the event's own. */
        if (strncmp(w->text, hone_meters[m]->name, len) || w->text[len] != ':' ||
            w->text[len + 1] == ':')
            continue;
        w->event = w->text + len + 1;
        if (!hone_meters[m]->knows(w->event))
            return hone_fail(HONE_EPARSE, "counter '%s': meter %s knows no such event", w->text,
                             hone_meters[m]->name);
        w->meter = hone_meters[m];
        return HONE_OK;
    }
    for (int m = 0; !w->meter && hone_meters[m]; m++)
        if (hone_meters[m]->knows(w->event)) w->meter = hone_meters[m];
    return w->meter ? HONE_OK
                    : hone_fail(HONE_EPARSE,
                                "counter '%s': no meter knows such an event, and no group has that "
                                "name; `hone counters` lists both",
                                w->text);
}

static int find_event(const struct order *o, const char *text)
{
    int i = 0;
    while (i < o->n && strcmp(o->wanted[i].text, text)) i++;
    return i;
}

static int add_event(struct order *o, const char *s, size_t len)
{
    struct wanted w = { .meter = NULL };
    if (len >= sizeof w.text)
        return hone_fail(HONE_EPARSE, "counters: '%.20s...' is too long a name", s);
    memcpy(w.text, s, len);
    if (find_event(o, w.text) < o->n) return HONE_OK;
    if (o->n + o->nmetrics == HONE_MAX_COUNTERS)
        return hone_fail(HONE_EPARSE, "counters: more than %d", HONE_MAX_COUNTERS);
    struct wanted *to = &o->wanted[o->n];
    *to = w;
    int err = find_meter(to);
    o->n += !err;
    return err;
}

static int add_group(struct order *o, const struct hone_counter_group *g)
{
    int err = HONE_OK;
    for (int i = 0; !err && i < HONE_GROUP_EVENTS && g->event[i]; i++)
        err = add_event(o, g->event[i], strlen(g->event[i]));
    for (int i = 0; !err && i < HONE_GROUP_METRICS && g->metric[i].name; i++) {
        if (o->n + o->nmetrics == HONE_MAX_COUNTERS)
            return hone_fail(HONE_EPARSE, "counters: more than %d", HONE_MAX_COUNTERS);
        o->metric[o->nmetrics++] = &g->metric[i];
    }
    return err;
}

/* A GPU's groups are of the meter cupti, and their metrics its events. */
static const struct hone_gpu_group *find_gpu_group(const char *name, size_t len)
{
    for (const struct hone_gpu_group *g = hone_gpu_groups; g->name; g++)
        if (strlen(g->name) == len && !memcmp(g->name, name, len)) return g;
    return NULL;
}

static int add_gpu_group(struct order *o, const struct hone_gpu_group *g)
{
    int err = HONE_OK;
    for (const struct hone_gpu_metric *m = g->metric; !err && m->name; m++)
        err = add_event(o, m->name, strlen(m->name));
    return err;
}

static int parse(const char *list, struct order *o)
{
    memset(o, 0, sizeof *o);
    for (const char *s = list;; s++) {
        size_t len = strcspn(s, ",");
        if (!len) return hone_fail(HONE_EPARSE, "counters '%s': expected a name at '%s'", list, s);
        const struct hone_counter_group *g = hone_counter_group_find(s, len);
        const struct hone_gpu_group *gpu = find_gpu_group(s, len);
        int err = g ? add_group(o, g) : gpu ? add_gpu_group(o, gpu) : add_event(o, s, len);
        if (err) return err;
        s += len;
        if (!*s) return HONE_OK;
    }
}

int hone_counters_check(const char *list)
{
    struct order o;
    return parse(list, &o);
}

/* ---- counting ---- */

/* Those of the wanted that are m's, in one call. */
static int count_by(const struct hone_meter *m, const struct hone_plan *plan, struct hone_case *c,
                    int runs, const struct order *o, struct hone_counter counter[])
{
    const char *event[HONE_MAX_COUNTERS], *why = m->absent();
    struct hone_counter got[HONE_MAX_COUNTERS];
    int at[HONE_MAX_COUNTERS], k = 0;
    for (int i = 0; i < o->n; i++) {
        if (o->wanted[i].meter != m) continue;
        if (why) snprintf(counter[i].why, sizeof counter[i].why, "%s", why);
        got[k] = counter[i];
        event[k] = o->wanted[i].event;
        at[k++] = i;
    }
    int err = why || !k ? HONE_OK : m->count(plan, c, runs, k, event, got);
    for (int i = 0; i < k; i++) counter[at[i]] = got[i];
    return err;
}

/* Seconds of a run that is not counted, since counting disturbs time. */
static int time_run(const struct hone_plan *plan, struct hone_case *c, int runs, double *seconds)
{
    enum { WINDOWS = 5 };
    double t[WINDOWS];
    for (int i = 0; i < WINDOWS; i++) {
        int err = hone_time_window(plan, c, HONE_CACHE_WARM, runs, &t[i]);
        if (err) return err;
    }
    *seconds = hone_stats_of(t, WINDOWS).median;
    return HONE_OK;
}

/* The sum of terms, or why there is none. */
static double sum_of(const char *const term[], const struct order *o,
                     const struct hone_counter counter[], double seconds, char why[128])
{
    double sum = 0;
    for (int i = 0; i < HONE_METRIC_TERMS && term[i]; i++) {
        if (!strcmp(term[i], "seconds")) {
            sum += seconds;
            continue;
        }
        const struct hone_counter *c = &counter[find_event(o, term[i])];
        sum += c->value;
        if (!c->ok && !why[0]) snprintf(why, 128, "%.40s: %.80s", c->name, c->why);
    }
    return sum;
}

static struct hone_counter metric_of(const struct hone_metric *m, const struct order *o,
                                     const struct hone_counter counter[], double seconds)
{
    struct hone_counter d = { .is_metric = 1 };
    snprintf(d.name, sizeof d.name, "%s", m->name);
    double top = sum_of(m->top, o, counter, seconds, d.why);
    double bottom = m->bottom[0] ? sum_of(m->bottom, o, counter, seconds, d.why) : 1;
    if (!d.why[0] && !(bottom > 0)) snprintf(d.why, sizeof d.why, "%s is 0", m->bottom[0]);
    d.ok = !d.why[0];
    if (d.ok) d.value = m->scale * top / bottom;
    return d;
}

int hone_count_for(const struct hone_plan *plan, struct hone_case *c, const char *list,
                   double window, struct hone_counter counter[], int *ncounters)
{
    struct order o;
    double seconds = 0;
    int runs, err = parse(list, &o);
    *ncounters = 0;
    /* Counts of a run are near equal: enough runs that starting and stopping a meter is lost in
     * them. */
    if (!err) err = hone_time_calibrate(plan, c, HONE_CACHE_WARM, window, &runs, &seconds);
    if (!err && o.nmetrics) err = time_run(plan, c, runs, &seconds);
    if (err) return err;
    for (int i = 0; i < o.n; i++) {
        memset(&counter[i], 0, sizeof counter[i]);
        memcpy(counter[i].name, o.wanted[i].text, sizeof o.wanted[i].text);
    }
    for (int m = 0; !err && hone_meters[m]; m++)
        err = count_by(hone_meters[m], plan, c, runs, &o, counter);
    for (int i = 0; !err && i < o.nmetrics; i++)
        counter[o.n + i] = metric_of(o.metric[i], &o, counter, seconds);
    if (!err) *ncounters = o.n + o.nmetrics;
    return err;
}

int hone_count(const struct hone_plan *plan, struct hone_case *c, const char *list,
               struct hone_counter counter[], int *ncounters)
{
    return hone_count_for(plan, c, list, 0.01, counter, ncounters);
}
