/* Counters by name: which meter a name belongs to, and the runs behind a value. */
#include "profiler/profiler.h"

#include <string.h>

/* One name of a list. */
struct wanted {
    char text[64];     /* as given */
    const char *event; /* in text, past a meter's name */
    const struct hone_meter *meter;
};

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
                    : hone_fail(HONE_EPARSE, "counter '%s': no meter knows such an event", w->text);
}

static int parse(const char *list, struct wanted wanted[HONE_MAX_COUNTERS], int *n)
{
    *n = 0;
    for (const char *s = list;; s++) {
        size_t len = strcspn(s, ",");
        if (!len) return hone_fail(HONE_EPARSE, "counters '%s': expected a name at '%s'", list, s);
        if (len >= sizeof wanted->text)
            return hone_fail(HONE_EPARSE, "counters: '%.20s...' is too long a name", s);
        if (*n == HONE_MAX_COUNTERS)
            return hone_fail(HONE_EPARSE, "counters: more than %d", HONE_MAX_COUNTERS);
        struct wanted *w = &wanted[(*n)++];
        memset(w, 0, sizeof *w);
        memcpy(w->text, s, len);
        int err = find_meter(w);
        if (err) return err;
        s += len;
        if (!*s) return HONE_OK;
    }
}

int hone_counters_check(const char *list)
{
    struct wanted wanted[HONE_MAX_COUNTERS];
    int n;
    return parse(list, wanted, &n);
}

/* Those of the wanted that are m's, in one call. */
static int count_by(const struct hone_meter *m, const struct hone_plan *plan, struct hone_case *c,
                    int runs, const struct wanted wanted[], int n, struct hone_counter counter[])
{
    const char *event[HONE_MAX_COUNTERS], *why = m->absent();
    struct hone_counter got[HONE_MAX_COUNTERS];
    int at[HONE_MAX_COUNTERS], k = 0;
    for (int i = 0; i < n; i++) {
        if (wanted[i].meter != m) continue;
        if (why) snprintf(counter[i].why, sizeof counter[i].why, "%s", why);
        got[k] = counter[i];
        event[k] = wanted[i].event;
        at[k++] = i;
    }
    int err = why || !k ? HONE_OK : m->count(plan, c, runs, k, event, got);
    for (int i = 0; i < k; i++) counter[at[i]] = got[i];
    return err;
}

int hone_count(const struct hone_plan *plan, struct hone_case *c, const char *list,
               struct hone_counter counter[], int *ncounters)
{
    struct wanted wanted[HONE_MAX_COUNTERS];
    double estimate;
    int n, runs, err = parse(list, wanted, &n);
    *ncounters = 0;
    /* Counts of a run are near equal: enough runs that starting and stopping a meter is lost in
     * them. */
    if (!err) err = hone_time_calibrate(plan, c, HONE_CACHE_WARM, 0.01, &runs, &estimate);
    if (err) return err;
    for (int i = 0; i < n; i++) {
        memset(&counter[i], 0, sizeof counter[i]);
        memcpy(counter[i].name, wanted[i].text, sizeof wanted[i].text);
    }
    for (int m = 0; !err && hone_meters[m]; m++)
        err = count_by(hone_meters[m], plan, c, runs, wanted, n, counter);
    if (!err) *ncounters = n;
    return err;
}
