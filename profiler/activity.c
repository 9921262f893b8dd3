/* CUPTI's records of activity: kernels, copies, the calls that launched them.  Buffers are filled
 * by CUPTI and read when they come back, in a thread of its own or in our call that ends the
 * recording.
 *
 * Not run on a GPU yet; tests/check_activity.c has a library that pretends to be CUPTI. */
#include "kernels/library.h"
#include "profiler/cupti_abi.h"
#include "profiler/profiler.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 1 << 20, LAST_KIND = 5 };

static const int kinds[LAST_KIND] = { CUPTI_ACTIVITY_KERNEL_KIND, CUPTI_ACTIVITY_MEMCPY_KIND,
                                      CUPTI_ACTIVITY_MEMSET_KIND, CUPTI_ACTIVITY_DRIVER_KIND,
                                      CUPTI_ACTIVITY_EXTERNAL_KIND };

typedef void want_buffer(uint8_t **buffer, size_t *size, size_t *max);
typedef void have_buffer(void *context, uint32_t stream, uint8_t *buffer, size_t size,
                         size_t valid);

static struct {
    int (*callbacks)(want_buffer *want, have_buffer *have);
    int (*enable)(int kind);
    int (*disable)(int kind);
    int (*flush)(uint32_t flag);
    int (*next)(uint8_t *buffer, size_t valid, void **record);
    int (*dropped)(void *context, uint32_t stream, size_t *n);
    int (*push)(int kind, uint64_t id);
    int (*pop)(int kind, uint64_t *last);
    int (*text)(int status, const char **text);
} cupti;

static const struct hone_symbol symbols[] = {
    { "cuptiActivityRegisterCallbacks", &cupti.callbacks },
    { "cuptiActivityEnable", &cupti.enable },
    { "cuptiActivityDisable", &cupti.disable },
    { "cuptiActivityFlushAll", &cupti.flush },
    { "cuptiActivityGetNextRecord", &cupti.next },
    { "cuptiActivityGetNumDroppedRecords", &cupti.dropped },
    { "cuptiActivityPushExternalCorrelationId", &cupti.push },
    { "cuptiActivityPopExternalCorrelationId", &cupti.pop },
    { "cuptiGetResultString", &cupti.text },
    { NULL, NULL },
};
static const struct hone_library library = {
    "CUPTI", { "libcupti.so.13", "libcupti.so.12" }, { NULL }, symbols
};

const char *hone_activity_absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static int asked;
    if (!asked++) hone_library_open(&library, why);
    return why[0] ? why : NULL;
}

/* ---- reading records ---- */

/* Steps by the launches that CUPTI says belong to them. */
struct tie {
    uint32_t correlation;
    uint64_t step;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hone_activity now;
static struct tie *ties;
static int nties, room_ties;
static int pushed; /* a step was named */

/* Room for one more; 0: none. */
static int grow(void **array, int n, int *room, size_t size)
{
    if (n < *room) return 1;
    void *more = realloc(*array, (size_t)(2 * *room + 256) * size);
    if (!more) return 0;
    *array = more;
    *room = 2 * *room + 256;
    return 1;
}

static void keep(const struct hone_ran *r)
{
    if (!grow((void **)&now.ran, now.n, &now.room, sizeof *r))
        now.failed = 1;
    else
        now.ran[now.n++] = *r;
}

static void keep_kernel(const struct cupti_kernel *k)
{
    struct hone_ran r = { .kind = HONE_RAN_KERNEL,
                          .start = k->start,
                          .end = k->end,
                          .correlation = k->correlation,
                          .lane = k->stream,
                          .registers = k->registers,
                          .local_bytes = (int)k->local_per_thread,
                          .shared_bytes = k->static_shared + k->dynamic_shared };
    snprintf(r.name, sizeof r.name, "%s", k->name ? k->name : "?");
    memcpy(r.grid, k->grid, sizeof r.grid);
    memcpy(r.block, k->block, sizeof r.block);
    keep(&r);
}

static void keep_move(const struct cupti_move *m)
{
    const int copies = m->kind == CUPTI_ACTIVITY_MEMCPY_KIND;
    struct hone_ran r = { .kind = copies ? HONE_RAN_COPY : HONE_RAN_SET,
                          .start = m->start,
                          .end = m->end,
                          .correlation = m->correlation,
                          .lane = m->stream,
                          .bytes = m->bytes };
    snprintf(r.name, sizeof r.name, copies ? "copy" : "set");
    keep(&r);
}

static void keep_call(const struct cupti_call *c)
{
    struct hone_ran r = { .kind = HONE_RAN_CALL,
                          .start = c->start,
                          .end = c->end,
                          .correlation = c->correlation,
                          .lane = c->thread };
    snprintf(r.name, sizeof r.name, "driver call %u", c->function);
    keep(&r);
}

static void keep_tie(const struct cupti_external *e)
{
    if (e->external_kind != CUPTI_EXTERNAL_OURS) return;
    if (!grow((void **)&ties, nties, &room_ties, sizeof *ties))
        now.failed = 1;
    else
        ties[nties++] = (struct tie){ e->correlation, e->id };
}

static void give_buffer(uint8_t **buffer, size_t *size, size_t *max)
{
    *buffer = aligned_alloc(8, BUFFER);
    *size = *buffer ? BUFFER : 0;
    *max = 0; /* as many records as fit */
}

static void take_buffer(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid)
{
    void *record = NULL;
    size_t dropped = 0;
    (void)size;
    pthread_mutex_lock(&lock);
    while (valid && !cupti.next(buffer, valid, &record)) {
        switch (*(const int *)record) {
        case CUPTI_ACTIVITY_KERNEL_KIND: keep_kernel(record); break;
        case CUPTI_ACTIVITY_MEMCPY_KIND:
        case CUPTI_ACTIVITY_MEMSET_KIND: keep_move(record); break;
        case CUPTI_ACTIVITY_DRIVER_KIND: keep_call(record); break;
        case CUPTI_ACTIVITY_EXTERNAL_KIND: keep_tie(record); break;
        default: break;
        }
    }
    if (!cupti.dropped(context, stream, &dropped)) now.ndropped += (int64_t)dropped;
    pthread_mutex_unlock(&lock);
    free(buffer);
}

/* ---- recording ---- */

static int fail(int status, const char *what)
{
    const char *text = NULL;
    cupti.text(status, &text);
    return hone_fail(HONE_EDEVICE, "CUPTI: %s: %d %s", what, status, text ? text : "");
}

static void forget(void)
{
    free(now.ran);
    free(ties);
    now = (struct hone_activity){ 0 };
    ties = NULL;
    nties = room_ties = pushed = 0;
}

int hone_activity_begin(void)
{
    if (hone_activity_absent()) return hone_fail(HONE_EDEVICE, "%s", hone_activity_absent());
    forget();
    int status = cupti.callbacks(give_buffer, take_buffer), i = 0;
    while (!status && i < LAST_KIND) status = cupti.enable(kinds[i++]);
    if (!status) return HONE_OK;
    for (int k = 0; k < i; k++) cupti.disable(kinds[k]);
    return fail(status, "records of activity");
}

void hone_activity_step(uint64_t step)
{
    uint64_t last;
    if (pushed) cupti.pop(CUPTI_EXTERNAL_OURS, &last);
    pushed = !cupti.push(CUPTI_EXTERNAL_OURS, step);
}

static int by_correlation(const void *a, const void *b)
{
    const struct tie *s = a, *t = b;
    return (s->correlation > t->correlation) - (s->correlation < t->correlation);
}

static int by_start(const void *a, const void *b)
{
    const struct hone_ran *r = a, *s = b;
    if (r->start != s->start) return r->start < s->start ? -1 : 1;
    return (r->correlation > s->correlation) - (r->correlation < s->correlation);
}

static void join_steps(struct hone_activity *a)
{
    if (nties) qsort(ties, (size_t)nties, sizeof *ties, by_correlation);
    for (int i = 0; nties && i < a->n; i++) {
        const struct tie key = { a->ran[i].correlation, 0 };
        const struct tie *t = bsearch(&key, ties, (size_t)nties, sizeof key, by_correlation);
        if (t) a->ran[i].step = t->step;
    }
    if (a->n) qsort(a->ran, (size_t)a->n, sizeof *a->ran, by_start);
}

int hone_activity_end(struct hone_activity *a)
{
    uint64_t last;
    if (pushed) cupti.pop(CUPTI_EXTERNAL_OURS, &last);
    int status = cupti.flush(0);
    for (int i = 0; i < LAST_KIND; i++) cupti.disable(kinds[i]);
    pthread_mutex_lock(&lock);
    *a = now;
    now = (struct hone_activity){ 0 };
    join_steps(a);
    forget();
    pthread_mutex_unlock(&lock);
    if (status) return fail(status, "end of records");
    return a->failed ? hone_fail(HONE_ENOMEM, "%d records of activity", a->n) : HONE_OK;
}

void hone_activity_close(struct hone_activity *a)
{
    free(a->ran);
    *a = (struct hone_activity){ 0 };
}

/* ---- as a trace ---- */

static json_t *details(const struct hone_ran *r, const struct hone_gpu_limits *l)
{
    if (r->kind != HONE_RAN_KERNEL)
        return json_pack("{s:I, s:I}", "step", (json_int_t)r->step, "bytes", (json_int_t)r->bytes);
    json_t *j =
        json_pack("{s:I, s:i, s:i, s:i, s:[i,i,i], s:[i,i,i]}", "step", (json_int_t)r->step,
                  "registers", r->registers, "shared_bytes", r->shared_bytes, "local_bytes",
                  r->local_bytes, "grid", r->grid[0], r->grid[1], r->grid[2], "block", r->block[0],
                  r->block[1], r->block[2]);
    const int threads = r->block[0] * r->block[1] * r->block[2];
    const char *by = NULL;
    const double share = hone_occupancy(l, r->registers, r->shared_bytes, threads, &by);
    if (by) {
        json_object_set_new(j, "occupancy", json_real(share));
        json_object_set_new(j, "limited_by", json_string(by));
    }
    return j;
}

/* An end of the arrow that leaves a call ("s") and arrives at what it launched ("f"). */
static json_t *arrow(const char *end, const struct hone_ran *r, int process, double us)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:f}", "ph", end, "name", "launch", "cat",
                     "launch", "bp", "e", "id", (json_int_t)r->correlation, "pid", process, "tid",
                     (json_int_t)r->lane, "ts", us);
}

static void name_process(json_t *events, int process, const char *name)
{
    json_array_append_new(events, json_pack("{s:s, s:s, s:i, s:{s:s}}", "ph", "M", "name",
                                            "process_name", "pid", process, "args", "name", name));
}

/* Does somebody hold the other end? */
static int launched(const struct hone_activity *a, const struct hone_ran *r)
{
    for (int i = 0; i < a->n; i++)
        if (a->ran[i].correlation == r->correlation &&
            (a->ran[i].kind == HONE_RAN_CALL) != (r->kind == HONE_RAN_CALL))
            return 1;
    return 0;
}

void hone_activity_trace(const struct hone_activity *a, int cpu,
                         const char *(*name)(void *ctx, uint64_t step), void *ctx, json_t *events)
{
    name_process(events, cpu, "launches");
    name_process(events, cpu + 1, "GPU, by stream");
    for (int i = 0; i < a->n; i++) {
        const struct hone_ran *r = &a->ran[i];
        const int calls = r->kind == HONE_RAN_CALL, process = calls ? cpu : cpu + 1;
        const char *step = r->step ? name(ctx, r->step) : NULL;
        const double from = 1e-3 * (double)(r->start - a->ran[0].start);
        json_t *args = details(r, &a->limits);
        json_array_append_new(events,
                              json_pack("{s:s, s:s, s:s, s:i, s:I, s:f, s:f, s:o}", "ph", "X",
                                        "name", r->name, "cat", step ? step : "other", "pid",
                                        process, "tid", (json_int_t)r->lane, "ts", from, "dur",
                                        1e-3 * (double)(r->end - r->start), "args", args));
        if (launched(a, r))
            json_array_append_new(events, arrow(calls ? "s" : "f", r, process, from));
    }
}
