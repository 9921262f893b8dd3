/* hone db show PROBLEM, hone db why PROBLEM: what every candidate did, and why the winner is the
 * winner. */
#include "autotune/db.h"
#include "autotune/race.h"

#include <stdlib.h>
#include <string.h>

/* ---- show ---- */

struct list {
    struct hone_record *r;
    int n, room;
};

static int keep(void *ctx, const struct hone_record *r)
{
    struct list *l = ctx;
    if (l->n == l->room) {
        struct hone_record *more =
            realloc(l->r, (size_t)(l->room = 2 * l->room + 64) * sizeof *more);
        if (!more) return 1;
        l->r = more;
    }
    l->r[l->n++] = *r;
    return 0;
}

/* All records of a problem, whose text is made the usual one. */
static int load(struct hone_db *db, const char *device, const char *problem, struct hone_problem *p,
                struct list *l)
{
    char text[HONE_TEXT];
    int err = hone_problem_parse(problem, p);
    if (err) return err;
    hone_problem_print(p, text);
    err = hone_db_each(db, device, text, keep, l);
    if (!err && !l->n)
        err = hone_fail(HONE_EDB, "%s: no record of %s", db->path[0] ? db->path : "no database",
                        text);
    return err;
}

static void print_record(const struct hone_record *r)
{
    char ms[32] = "-", spread[16] = "";
    if (r->n) snprintf(ms, sizeof ms, "%.4g", r->ms_median);
    if (r->n > 1)
        snprintf(spread, sizeof spread, "+-%.1f %%", 50 * (r->ms_hi - r->ms_lo) / r->ms_median);
    printf("%s  %-7s %10s ms %-9s n %-3d %-24s %-44s %s\n", r->when, hone_status_name(r->status),
           ms, spread, r->n, r->kernel, r->config, r->why);
    if (r->counters[0]) printf("    counted: %s\n", r->counters);
}

int hone_db_show(struct hone_db *db, const struct hone_db_options *o, const char *problem)
{
    struct hone_problem p;
    struct hone_device d = { 0 };
    struct list l = { 0 };
    int err = o->device ? hone_device_open(&d, o->device) : HONE_OK;
    if (!err) err = load(db, o->device ? d.id : NULL, problem, &p, &l);
    json_t *rows = o->json ? json_array() : NULL;
    for (int i = 0; !err && i < l.n; i++) {
        if (rows) json_array_append_new(rows, hone_record_json(&l.r[i]));
        else {
            if (!i || strcmp(l.r[i].device, l.r[i - 1].device)) printf("on %s\n", l.r[i].device);
            print_record(&l.r[i]);
        }
    }
    if (!err && rows) {
        json_dumpf(rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(rows);
    free(l.r);
    hone_device_close(&d);
    return err;
}

/* ---- why ---- */

/* What one kernel has to show: counts of its records at this program's version, and the one that
 * speaks for it. */
struct verdict {
    const char *refusal;
    int count[HONE_DROPPED + 1], older;
    const struct hone_record *best;   /* timed or dropped, of the winner's session */
    const struct hone_record *fault;  /* the first wrong or failed */
    int faults[HONE_NFAULTS];
};

/* Does r tell what became of a candidate in that session, or in the one whose finals it raced
 * again?  There, unless it was raced again. */
static int tells(const struct list *l, const struct hone_record *r, const char *session)
{
    const size_t whole = strlen(session), tail = strlen(HONE_DB_LATER);
    if (!strcmp(r->session, session)) return 1;
    if (whole < tail || strcmp(session + whole - tail, HONE_DB_LATER) ||
        strlen(r->session) != whole - tail || strncmp(r->session, session, whole - tail))
        return 0;
    for (int i = 0; i < l->n; i++)
        if (!strcmp(l->r[i].session, session) && !strcmp(l->r[i].kernel, r->kernel) &&
            !strcmp(l->r[i].config, r->config))
            return 0;
    return 1;
}

static void judge(const struct hone_kernel *k, const struct list *l, const char *session,
                  struct verdict *v)
{
    char version[HONE_TEXT];
    hone_kernel_version(k, version);
    for (int i = 0; i < l->n; i++) {
        const struct hone_record *r = &l->r[i];
        if (strcmp(r->kernel, k->name)) continue;
        if (strcmp(r->version, version)) { v->older++; continue; }
        v->count[r->status]++;
        v->faults[hone_record_fault(r)]++;
        if ((r->status == HONE_WRONG || r->status == HONE_FAILED) && !v->fault) v->fault = r;
        if (!r->n || !tells(l, r, session)) continue;
        /* Who finished speaks before who was dropped. */
        if (!v->best || r->status < v->best->status ||
            (r->status == v->best->status && r->ms_median < v->best->ms_median))
            v->best = r;
    }
}

/* Why the first of the ranked stands before all others. */
static void reason(const struct hone_record *r, int n, char *text, size_t size)
{
    int tied = 0, fastest = 0;
    for (int i = 1; i < n; i++)
        if (r[i].ms_median < r[fastest].ms_median) fastest = i;
    for (int i = 0; i < n; i++) tied += r[i].ms_median <= 1.01 * r[fastest].ms_median;
    if (tied < 2) snprintf(text, size, "the fastest of %d that finished the race", n);
    else {
        const struct hone_record *other = &r[1];
        const char *how = r->workspace_bytes != other->workspace_bytes ? "needs less workspace"
                          : hone_record_is_library(r) != hone_record_is_library(other)
                              ? "needs no library"
                              : "its name comes first";
        snprintf(text, size, "a tie of %d within 1 %% of %s; %s", tied,
                 fastest ? r[fastest].kernel : "it", how);
    }
}

/* "3 timed, 2 failed (1 crash, 1 hang)" */
static void print_counts(const struct verdict *v)
{
    const char *sep = "";
    for (int s = HONE_TIMED; s <= HONE_DROPPED; s++) {
        if (!v->count[s]) continue;
        printf("%s%d %s", sep, v->count[s], hone_status_name((enum hone_status)s));
        sep = ", ";
        if (s != HONE_WRONG && s != HONE_FAILED) continue;
        const int first = s == HONE_WRONG ? HONE_FAULT_VALUE : HONE_FAULT_CRASH,
                  end = s == HONE_WRONG ? HONE_FAULT_CRASH : HONE_NFAULTS;
        const char *in = " (";
        for (int f = first; f < end; f++)
            if (v->faults[f]) {
                printf("%s%d %s", in, v->faults[f], hone_fault_name((enum hone_fault)f));
                in = ", ";
            }
        if (in[0] == ',') putchar(')');
    }
    printf("\n");
}

static void print_verdict(const struct hone_kernel *k, const struct verdict *v,
                          const struct hone_record *winner)
{
    char held[160];
    printf("  %-30s ", k->name);
    if (v->refusal) { printf("refuses: %s\n", v->refusal); return; }
    if (v->best && winner->n) {
        printf("%.4g ms, %.2fx, %s; ", v->best->ms_median, v->best->ms_median / winner->ms_median,
               v->best->config);
    } else if (!v->count[HONE_WRONG] && !v->count[HONE_FAILED]) {
        printf(k->slow    ? "slow: not a candidate\n"
               : v->older ? "not tried; %d records of other versions of it\n"
               : v->count[HONE_TIMED] + v->count[HONE_DROPPED] ? "only tried in other sessions\n"
                                                               : "not tried\n",
               v->older);
        return;
    }
    print_counts(v);
    if (v->best && v->best->status == HONE_TIMED && v->best->why[0])
        printf("      %s\n", v->best->why);
    if (v->best && v->best->counters[0]) printf("      counted: %s\n", v->best->counters);
    if (v->best && hone_gpu_throttled(v->best->why, held))
        printf("      throttled: %s\n", held);
    if (v->fault)
        printf("      %s: %s: %s\n", hone_status_name(v->fault->status), v->fault->config,
               v->fault->why);
}

/* Every candidate of the winner's session, and whoever was bad in any: the whole story. */
static void print_candidates(const struct hone_kernel *k, const struct list *l, const char *session)
{
    char version[HONE_TEXT];
    hone_kernel_version(k, version);
    for (int i = 0; i < l->n; i++) {
        const struct hone_record *r = &l->r[i];
        const int bad = hone_record_fault(r) != HONE_FAULT_NONE;
        if (strcmp(r->kernel, k->name) || strcmp(r->version, version)) continue;
        if (!bad && !tells(l, r, session)) continue;
        if (bad) {
            printf("      %-7s %-44s %s\n", hone_status_name(r->status), r->config, r->why);
            continue;
        }
        printf("      %-7s %-44s %.4g ms [%.4g, %.4g], %d windows%s%s\n",
               hone_status_name(r->status), r->config, r->ms_median, r->ms_lo, r->ms_hi, r->n,
               r->why[0] ? ": " : "", r->why);
        if (r->counters[0]) printf("              counted: %s\n", r->counters);
    }
}

static json_t *verdict_json(const struct hone_kernel *k, const struct verdict *v)
{
    json_t *j = json_pack("{ss}", "kernel", k->name);
    if (v->refusal) json_object_set_new(j, "refuses", json_string(v->refusal));
    else {
        for (int s = HONE_TIMED; s <= HONE_DROPPED; s++)
            json_object_set_new(j, hone_status_name((enum hone_status)s),
                                json_integer(v->count[s]));
        json_object_set_new(j, "older", json_integer(v->older));
        json_t *faults = json_object();
        for (int f = HONE_FAULT_VALUE; f < HONE_NFAULTS; f++)
            if (v->faults[f])
                json_object_set_new(faults, hone_fault_name((enum hone_fault)f),
                                    json_integer(v->faults[f]));
        json_object_set_new(j, "faults", faults);
        json_object_set_new(j, "best", v->best ? hone_record_json(v->best) : json_null());
        json_object_set_new(j, "fault", v->fault ? hone_record_json(v->fault) : json_null());
    }
    return j;
}

/* Of the winner's session, who is best for some limit of workspace: nobody else is as fast with as
 * little. */
static int on_front(const struct list *l, int i, const char *session)
{
    const struct hone_record *r = &l->r[i];
    if (!r->n || !tells(l, r, session) || hone_record_fault(r) != HONE_FAULT_NONE) return 0;
    for (int j = 0; j < l->n; j++) {
        const struct hone_record *q = &l->r[j];
        if (j == i || !q->n || !tells(l, q, session) || hone_record_fault(q)) continue;
        const int as_good = q->ms_median <= r->ms_median && q->workspace_bytes <= r->workspace_bytes;
        const int same = q->ms_median == r->ms_median && q->workspace_bytes == r->workspace_bytes;
        if (as_good && (!same || j < i)) return 0;
    }
    return 1;
}

static void print_front(const struct list *l, const char *session)
{
    int n = 0;
    for (int i = 0; i < l->n; i++) n += on_front(l, i, session);
    for (int i = 0; n > 1 && i < l->n; i++)
        if (on_front(l, i, session))
            printf("with a workspace of %lld bytes: %.4g ms, %s %s\n",
                   (long long)l->r[i].workspace_bytes, l->r[i].ms_median, l->r[i].kernel,
                   l->r[i].config);
}

static int explain(struct hone_db *db, const struct hone_db_options *o,
                   const struct hone_problem *p, struct hone_device *d, const struct list *l)
{
    enum { MOST = 256 };
    char text[HONE_TEXT], why[256] = "nothing: no record of this program's kernels";
    struct hone_record *best = calloc(MOST, sizeof *best);
    if (!best) return hone_fail(HONE_ENOMEM, "%d records", MOST);
    int n = hone_db_best(db, p, d, best, MOST);
    if (n < 0) { free(best); return n; }
    if (n) reason(best, n, why, sizeof why);
    hone_problem_print(p, text);
    json_t *rows = o->json ? json_array() : NULL;
    if (!rows && n) {
        printf("%s on %s\n%s %s, %.4g ms [%.4g, %.4g], %d windows, session of %s\nchosen: %s\n",
               text, d->name, best->kernel, best->config, best->ms_median, best->ms_lo, best->ms_hi,
               best->n, best->when, why);
        print_front(l, best->session);
    } else if (!rows) {
        printf("%s on %s\nchosen: %s\n", text, d->name, why);
    }
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        struct verdict v = { .refusal = hone_kernel_refuse(k, p, d) };
        if (!hone_kernel_does(k, p->op) || k->backend != d->backend) continue;
        judge(k, l, best->session, &v);
        if (rows) json_array_append_new(rows, verdict_json(k, &v));
        else print_verdict(k, &v, best);
        if (!rows && o->all && !v.refusal) print_candidates(k, l, best->session);
    }
    if (rows) {
        json_t *j = json_pack("{ss ss ss so so}", "problem", text, "device", d->id, "chosen", why,
                              "best", n ? hone_record_json(best) : json_null(), "kernels", rows);
        json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(j);
    }
    free(best);
    return HONE_OK;
}

int hone_db_why(struct hone_db *db, const struct hone_db_options *o, const char *problem)
{
    struct hone_problem p;
    struct hone_device d;
    struct list l = { 0 };
    int err = hone_device_open(&d, o->device ? o->device : "cpu0");
    if (err) return err;
    err = load(db, d.id, problem, &p, &l);
    if (!err) err = explain(db, o, &p, &d, &l);
    free(l.r);
    hone_device_close(&d);
    return err;
}
