/* One candidate of a session: it is proven, tried once, and its record is kept whatever it did. */
#include "autotune/tune.h"

#include <stdlib.h>
#include <string.h>

static const double FAR = 1.6;           /* slower than the best trial by this: not raced */

static const double FRONT = 4;           /* likewise who is best for its workspace */

enum { CROWD = 48, SMALL = 8 };          /* racers at most, and of these by workspace alone */

/* ---- recording ---- */

static void count(struct hone_tune_result *r, const struct hone_record *rec)
{
    int *counts[] = { &r->ntimed, &r->nwrong, &r->nfailed, &r->ndropped };
    ++*counts[rec->status];
    if ((rec->status == HONE_WRONG || rec->status == HONE_FAILED) && !r->wrong[0])
        snprintf(r->wrong, sizeof r->wrong, "%.60s/%.180s: %.255s", rec->kernel, rec->config,
                 rec->why);
}

int hone_tuning_add(struct hone_tuning *t, struct hone_record *rec[], int n)
{
    int err = n ? hone_db_begin(t->db) : HONE_OK;
    if (err || !n) return err;
    for (int i = 0; !err && i < n; i++) {
        /* What belongs together has one time. */
        if (i) memcpy(rec[i]->when, rec[0]->when, sizeof rec[i]->when);
        else hone_db_now(rec[0]->when);
        err = hone_db_add(t->db, rec[i]);
        count(t->r, rec[i]);
    }
    return hone_db_end(t->db, err);
}

void hone_entrant_sample(struct hone_record *rec, double *ms, int n)
{
    struct hone_stats s = hone_stats_of(ms, n);
    rec->n = n;
    rec->ms_median = s.median;
    rec->ms_lo = s.lo;
    rec->ms_hi = s.hi;
}

int hone_tuning_sweep(struct hone_tuning *t)
{
    struct hone_record **out = calloc((size_t)t->n + 1, sizeof *out);
    struct hone_entrant *gone = calloc((size_t)t->n + 1, sizeof *gone);
    int nout = 0, n = 0, err = out && gone ? HONE_OK : hone_fail(HONE_ENOMEM, "%d records", t->n);
    for (int i = 0; !err && i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        if (e->record.status == HONE_TIMED) { t->entrant[n++] = *e; continue; }
        hone_worker_forget(&t->worker, &e->job);
        gone[nout] = *e;
        out[nout] = &gone[nout].record;
        nout++;
    }
    if (!err) { t->n = n; err = hone_tuning_add(t, out, nout); }
    free(out);
    free(gone);
    t->flushed = hone_now();
    return err;
}

/* What a jit kernel's code took goes into its record, be it slower than others, and what a GPU
 * said.  Whoever is dropped may be asked twice. */
void hone_entrant_say_more(struct hone_entrant *e)
{
    const struct hone_jit_cost *c = &e->cost;
    char *why = e->record.why;
    size_t at = strlen(why), size = sizeof e->record.why;
    if (e->compiled && !strstr(why, "compile_ms="))
        snprintf(why + at, size - at,
                 "%scompile_ms=%.6g load_ms=%.6g first_ms=%.6g code_bytes=%lld", at ? "; " : "",
                 c->compile_ms, c->load_ms, c->first_ms, (long long)c->code_bytes);
    at = strlen(why);
    if (e->facts[0] && !strstr(why, e->facts))
        snprintf(why + at, size - at, "%s%s", at ? "; " : "", e->facts);
}

void hone_entrant_drop(struct hone_entrant *e, const char *why)
{
    e->record.status = HONE_DROPPED;
    if (!e->record.n) hone_entrant_sample(&e->record, &e->ms, 1);
    snprintf(e->record.why, sizeof e->record.why, "%s", why);
    hone_entrant_say_more(e);
}

/* ---- trials ---- */

const struct hone_config *hone_tuning_config(const struct hone_tuning *t, int i)
{
    const int k = t->pool.at[i].kernel;
    return &t->space.kernel[k].config[i - t->pool.kernel[k].first];
}

struct hone_entrant *hone_tuning_entrant(struct hone_tuning *t, int i)
{
    const struct hone_choice *a = &t->pool.at[i];
    for (int k = 0; k < t->n; k++) {
        struct hone_entrant *e = &t->entrant[k];
        if (e->job.kernel == t->space.kernel[a->kernel].kernel &&
            !memcmp(e->job.config.v, a->v, sizeof a->v))
            return e;
    }
    return NULL;
}

int hone_tuning_on_front(const struct hone_tuning *t, const struct hone_entrant *e)
{
    for (int i = 0; i < t->n; i++) {
        const struct hone_entrant *q = &t->entrant[i];
        if (q != e && q->record.workspace_bytes <= e->record.workspace_bytes &&
            (q->ms < e->ms || (q->ms == e->ms && q < e)))
            return 0;
    }
    return 1;
}

int hone_tuning_prune(struct hone_tuning *t)
{
    struct hone_entrant *lead = NULL, *library = NULL, *other = NULL;
    for (int i = 0; i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        if (!lead || e->ms < lead->ms) lead = e;
        if (e->job.kernel->build == HONE_LIB && (!library || e->ms < library->ms)) library = e;
    }
    for (int i = 0; i < t->n; i++) {
        struct hone_entrant *e = &t->entrant[i];
        if (e->job.kernel != lead->job.kernel && (!other || e->ms < other->ms)) other = e;
    }
    double most = t->n ? FAR * lead->ms : 0;
    int nfront = 0;
    double *ms = malloc(((size_t)t->n + 1) * sizeof *ms);
    if (!ms) return hone_fail(HONE_ENOMEM, "%d trials", t->n);
    for (int i = 0; i < t->n; i++) ms[i] = t->entrant[i].ms;
    if (t->n > CROWD) {
        hone_stats_of(ms, t->n);   /* sorts */
        if (ms[CROWD - 1] < most) most = ms[CROWD - 1];
    }
    free(ms);
    for (int i = 0; i < t->n; i++) {
        char why[128];
        struct hone_entrant *e = &t->entrant[i];
        if (e->ms <= most || e == library || e == other || e->incumbent) continue;
        if (nfront < SMALL && e->ms <= FRONT * lead->ms && hone_tuning_on_front(t, e)) {
            nfront++;
            continue;
        }
        snprintf(why, sizeof why, "not raced: %.2f times the best trial's time", e->ms / lead->ms);
        hone_entrant_drop(e, why);
    }
    return hone_tuning_sweep(t);
}

static int make_room(struct hone_tuning *t)
{
    if (t->n < t->room) return HONE_OK;
    int room = 2 * t->room + 16;
    struct hone_entrant *more = realloc(t->entrant, (size_t)room * sizeof *more);
    if (!more) return hone_fail(HONE_ENOMEM, "%d candidates", room);
    t->entrant = more;
    t->room = room;
    return HONE_OK;
}

static void name(const struct hone_tuning *t, int k, const struct hone_config *c,
                 struct hone_record *r)
{
    snprintf(r->device, sizeof r->device, "%s", t->d->id);
    snprintf(r->problem, sizeof r->problem, "%s", t->text);
    snprintf(r->kernel, sizeof r->kernel, "%s", t->space.kernel[k].kernel->name);
    snprintf(r->version, sizeof r->version, "%s", t->lane[k].version);
    snprintf(r->cache, sizeof r->cache, "%s", hone_cache_name(t->o->cache));
    snprintf(r->session, sizeof r->session, "%s", t->session);
    hone_config_print(t->space.kernel[k].kernel, c, r->config);
}

int hone_tuning_try(struct hone_tuning *t, int k, const struct hone_config *c, int incumbent,
                    double *ms)
{
    const struct hone_kernel *kernel = t->space.kernel[k].kernel;
    struct hone_entrant e = { .job = { .kernel = kernel, .config = *c, .id = ++t->njobs },
                              .incumbent = incumbent };
    struct hone_record *r = &e.record;
    struct hone_answer a;
    int err = make_room(t);
    *ms = 0;
    if (err) return err;
    /* Who needs more memory than there is leave for is no candidate, and nothing is known of it. */
    if (t->db->max_workspace && kernel->workspace &&
        kernel->workspace(t->p, c, t->d) > (size_t)t->db->max_workspace)
        return HONE_OK;
    name(t, k, c, r);
    const struct hone_said *said = hone_tuning_said(t, kernel, c);
    if (said) {
        a = (struct hone_answer){ .err = said->err };
        memcpy(a.why, said->why, sizeof a.why);
    } else if ((err = hone_worker_try(&t->worker, &e.job, t->best_ms, &a))) {
        return err;
    }
    t->r->ncandidates++;
    r->workspace_bytes = a.workspace_bytes;
    r->error = a.error;
    if (a.err) {
        r->status = a.err == HONE_EWRONG ? HONE_WRONG : HONE_FAILED;
        snprintf(r->why, sizeof r->why, "%s", a.why);
        t->lane[k].nwrong++;
        return hone_tuning_add(t, (struct hone_record *[]){ r }, 1);
    }
    *ms = e.ms = a.ms;
    e.job.runs = a.runs;
    e.compiled = a.compiled;
    e.cost = a.cost;
    snprintf(e.facts, sizeof e.facts, "%s", a.facts);
    if (t->best_ms <= 0 || e.ms < t->best_ms) t->best_ms = e.ms;
    if (t->lane[k].ms <= 0 || e.ms < t->lane[k].ms) t->lane[k].ms = e.ms;
    t->entrant[t->n++] = e;
    return HONE_OK;
}
