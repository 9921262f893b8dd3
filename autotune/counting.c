/* Counters of a few candidates, read apart from their times: the search learns from them which part
 * of the machine is short, and the record keeps them.  All of it takes a small share of the
 * time. */
#include "autotune/tune.h"

#include <stdlib.h>
#include <string.h>

static const double SHARE = 0.05;       /* of the time so far */
static const double FIRST = 0.02;       /* seconds that the first is expected to take */

/* Counted in hardware, with each its own runs on a CPU: what is done, what of it waits for memory.
 * A GPU's take few passes together. */
static const char of_cpu[] = "PAPI_TOT_INS,PAPI_TOT_CYC,PAPI_LST_INS,PAPI_L1_DCM,PAPI_L2_TCM,"
                             "PAPI_L3_TCM",
                  of_gpu[] = "cupti:dram_read,cupti:dram_write,cupti:l2_bytes,cupti:occupancy,"
                             "cupti:ipc,cupti:tensor_busy";

static const char *list_of(const struct hone_tuning *t)
{
    if (t->o->counters) return t->o->counters;
    return strcmp(t->d->backend->name, "cuda") ? of_cpu : of_gpu;
}

static int is_time(const struct hone_tuning *t, int finished)
{
    const double next = t->r->ncounted ? t->counting / t->r->ncounted : FIRST,
                 now = hone_now();
    if (t->uncounted || (t->o->counters && !strcmp(t->o->counters, "none"))) return 0;
    if (t->deadline > 0 && now + next > t->deadline) return 0;
    /* Who asks for counters gets one's, however short the session was. */
    if (t->o->counters && finished && !t->r->ncounted) return 1;
    return t->counting + next <= SHARE * (now - t->started);
}

/* Reads an entrant's counters.  Where there are none that is no error, and nobody else is asked. */
static int count(struct hone_tuning *t, struct hone_entrant *e, int i)
{
    struct hone_answer a;
    double value[HONE_COUNTS];
    const double started = hone_now();
    int err = hone_worker_count(&t->worker, &e->job, list_of(t), &a);
    t->counting += hone_now() - started;
    if (err) return err;
    if (a.err || !a.counters[0]) {
        t->uncounted = 1;
        if (!t->r->ncounted) snprintf(t->r->uncounted, sizeof t->r->uncounted, "%.159s", a.why);
        return HONE_OK;
    }
    t->r->ncounted++;
    snprintf(e->record.counters, sizeof e->record.counters, "%s", a.counters);
    if (i < 0 || !hone_counts_read(&t->names, a.counters, value)) return HONE_OK;
    return hone_search_count(&t->search, i, value, HONE_COUNTS);
}

int hone_tuning_count(struct hone_tuning *t)
{
    if (!is_time(t, 0)) return HONE_OK;
    const int i = hone_search_curious(&t->search);
    struct hone_entrant *e = i >= 0 ? hone_tuning_entrant(t, i) : NULL;
    if (i >= 0 && !e) t->uncounted = 1;   /* its plan is closed, and it would be named again */
    return e ? count(t, e, i) : HONE_OK;
}

int hone_tuning_count_best(struct hone_tuning *t)
{
    enum { FEW = 3 };
    int err = HONE_OK;
    for (int rank = 0; !err && rank < FEW && rank < t->n && is_time(t, 1); rank++)
        for (int i = 0; !err && i < t->n; i++) {
            int faster = 0;
            for (int j = 0; j < t->n; j++)
                faster += t->entrant[j].record.ms_median < t->entrant[i].record.ms_median;
            if (faster == rank && !t->entrant[i].record.counters[0] && is_time(t, 1))
                err = count(t, &t->entrant[i], -1);
        }
    return err;
}
