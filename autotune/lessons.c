/* The lessons that a database holds: each session of a problem on a device is one.  Old versions of
 * a kernel teach, too: what they say is a hint, and searchers drop hints that mislead.
 *
 * Only the nearest problems are asked: what was measured of others would weigh next to nothing, and
 * a database may hold 100,000 records. */
#include "autotune/db.h"
#include "autotune/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LESSONS = 24, NEAREST = 24 };   /* sessions, problems */

static const double FOREIGN = 0.5;   /* weight of another device */

/* A record of a kernel of the pool. */
struct note {
    int lesson, kernel;
    int v[HONE_MAX_PARAMS];
    double ms;
};

struct source {
    char problem[HONE_TEXT], device[192], session[40];
    double weight;
};

struct notebook {
    const struct hone_device *d;
    const struct hone_pool *pool;
    int nsources, nnotes;
    struct source *source;
    struct note *note;
};

/* The values in "mr=14,nv=2", in the kernel's order; 0 where it has others. */
static int read_values(const struct hone_pool_kernel *k, const char *text, int v[HONE_MAX_PARAMS])
{
    int used, p = 0;
    char name[32];
    memset(v, 0, HONE_MAX_PARAMS * sizeof *v);
    if (!strcmp(text, "-")) return !k->nparams;
    for (; *text && p < k->nparams; p++) {
        if (sscanf(text, "%31[a-z0-9_]=%d%n", name, &v[p], &used) != 2) return 0;
        if (strcmp(name, k->param[p])) return 0;
        text += used;
        if (*text == ',') text++;
    }
    return p == k->nparams && !*text;
}

static void *grow(void *at, int n, size_t size)
{
    return n & (n - 1) ? at : realloc(at, (n ? 2 * (size_t)n : 1) * size);
}

/* The session of a record, whose problem is so far away; records mostly come session by session. */
static int source_of(struct notebook *b, const struct hone_record *r, double far)
{
    for (int i = b->nsources - 1; i >= 0 && i >= b->nsources - 8; i--)
        if (!strcmp(b->source[i].session, r->session) &&
            !strcmp(b->source[i].problem, r->problem) && !strcmp(b->source[i].device, r->device))
            return i;
    struct source *more = grow(b->source, b->nsources, sizeof *more);
    if (!more) return hone_fail(HONE_ENOMEM, "%d lessons", b->nsources);
    b->source = more;
    more += b->nsources;
    snprintf(more->problem, sizeof more->problem, "%s", r->problem);
    snprintf(more->device, sizeof more->device, "%s", r->device);
    snprintf(more->session, sizeof more->session, "%s", r->session);
    more->weight = exp(-far / 2) * (strcmp(r->device, b->d->id) ? FOREIGN : 1);
    return b->nsources++;
}

static int note_down(struct notebook *b, const struct hone_record *r, double far)
{
    int k = 0, v[HONE_MAX_PARAMS];
    while (k < b->pool->nkernels && strcmp(b->pool->kernel[k].name, r->kernel)) k++;
    if (k == b->pool->nkernels || !read_values(&b->pool->kernel[k], r->config, v)) return HONE_OK;
    int lesson = source_of(b, r, far);
    if (lesson < 0) return lesson;
    struct note *more = grow(b->note, b->nnotes, sizeof *more);
    if (!more) return hone_fail(HONE_ENOMEM, "%d records", b->nnotes);
    b->note = more;
    more += b->nnotes++;
    *more = (struct note){ .lesson = lesson, .kernel = k, .ms = r->ms_median };
    memcpy(more->v, v, sizeof v);
    return HONE_OK;
}

/* A problem of the database, and how far it is from the one that is tuned. */
struct near {
    int64_t id;
    double far;
};

/* Keeps the nearest so far, nearest first. */
static void keep(struct near list[NEAREST], int *n, struct near x)
{
    if (*n == NEAREST && list[NEAREST - 1].far <= x.far) return;
    int i = *n < NEAREST ? (*n)++ : NEAREST - 1;
    for (; i > 0 && list[i - 1].far > x.far; i--) list[i] = list[i - 1];
    list[i] = x;
}

static int find_near(struct hone_db *db, const struct hone_problem *p, struct near list[NEAREST],
                     int *n)
{
    sqlite3_stmt *st;
    struct hone_problem q;
    int err = hone_db_statement(db, HONE_SQL_PROBLEMS, &st), rc;
    if (err) return err;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(st, 1);
        if (!text || hone_problem_parse(text, &q)) continue;
        keep(list, n, (struct near){ sqlite3_column_int64(st, 0), hone_problem_distance(p, &q) });
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? HONE_OK : hone_db_fail(db, rc);
}

static int read_near(struct notebook *b, struct hone_db *db, const struct near *near)
{
    sqlite3_stmt *st;
    int err = hone_db_statement(db, HONE_SQL_LESSONS, &st), rc = SQLITE_DONE;
    if (err) return err;
    sqlite3_bind_int64(st, 1, near->id);
    while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct hone_record r;
        hone_db_text(st, 0, r.problem, sizeof r.problem);
        hone_db_text(st, 1, r.device, sizeof r.device);
        hone_db_text(st, 2, r.kernel, sizeof r.kernel);
        hone_db_text(st, 3, r.session, sizeof r.session);
        hone_db_text(st, 4, r.config, sizeof r.config);
        r.ms_median = sqlite3_column_double(st, 5);
        err = note_down(b, &r, near->far);
    }
    sqlite3_reset(st);
    return err || rc == SQLITE_DONE ? err : hone_db_fail(db, rc);
}

static int by_lesson(const void *a, const void *b)
{
    const struct note *x = a, *y = b;
    return x->lesson != y->lesson ? x->lesson - y->lesson : x->kernel - y->kernel;
}

/* The notes of one lesson as a pool with times; returns the notes read. */
static int make_pool(const struct notebook *b, int at, struct hone_pool *pool, double *ms)
{
    int n = 0, kernel = -1;
    const struct note *x = b->note + at;
    for (; at + n < b->nnotes && x[n].lesson == x[0].lesson; n++) {
        if (x[n].kernel != kernel) {
            struct hone_pool_kernel *k = hone_pool_kernel_add(pool);
            int first = pool->n;
            if (!k) return -1;
            *k = b->pool->kernel[kernel = x[n].kernel];
            k->first = first;
            k->n = 0;
        }
        if (hone_pool_add(pool, x[n].v)) return -1;
        ms[n] = x[n].ms;
    }
    return n;
}

/* Only the heaviest lessons are heard: the least weight that counts. */
static double threshold(const struct notebook *b)
{
    double least = 0;
    for (int i = 0; b->nsources > MAX_LESSONS && i < b->nsources; i++) {
        int heavier = 0;
        for (int j = 0; j < b->nsources; j++)
            heavier += b->source[j].weight > b->source[i].weight ||
                       (b->source[j].weight == b->source[i].weight && j > i);
        if (heavier == MAX_LESSONS - 1) least = b->source[i].weight;
    }
    return least;
}

static int teach(struct notebook *b, double *prior, int *taught)
{
    struct hone_pool pool[MAX_LESSONS] = { { .nkernels = 0 } };
    struct hone_lesson lesson[MAX_LESSONS];
    double *ms = calloc((size_t)b->nnotes + 1, sizeof *ms), least = threshold(b);
    int n = 0, err = ms ? HONE_OK : hone_fail(HONE_ENOMEM, "%d records", b->nnotes);
    for (int at = 0, used; !err && at < b->nnotes && n < MAX_LESSONS; at += used) {
        double weight = b->source[b->note[at].lesson].weight;
        used = make_pool(b, at, &pool[n], ms + at);
        if (used < 0) { err = hone_fail(HONE_ENOMEM, "lesson %d", n); n++; break; }
        lesson[n] = (struct hone_lesson){ &pool[n], ms + at, weight };
        if (weight >= least) n++;
        else hone_pool_close(&pool[n]);
    }
    if (!err) *taught = hone_transfer(b->pool, lesson, n, prior);
    for (int i = 0; i < n; i++) hone_pool_close(&pool[i]);
    free(ms);
    return err;
}

int hone_lessons(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d,
                 const struct hone_pool *pool, double *prior, int *taught)
{
    struct notebook b = { .d = d, .pool = pool };
    struct near near[NEAREST] = { { 0, 0 } };
    int n = 0;
    *taught = 0;
    int err = db->sql ? find_near(db, p, near, &n) : HONE_OK;
    for (int i = 0; !err && i < n; i++) err = read_near(&b, db, &near[i]);
    if (!err && b.nnotes) {
        qsort(b.note, (size_t)b.nnotes, sizeof *b.note, by_lesson);
        err = teach(&b, prior, taught);
    }
    free(b.source);
    free(b.note);
    return err;
}

/* ---- counters ---- */

static int read_counts(struct hone_db *db, const struct near *near, int *lesson,
                       struct hone_search *s, struct hone_count_names *names)
{
    sqlite3_stmt *st;
    char device[192], before[192] = "", kernel[64], config[HONE_TEXT], text[512];
    int err = hone_db_statement(db, HONE_SQL_COUNTERS, &st), rc = SQLITE_DONE;
    if (err) return err;
    sqlite3_bind_int64(st, 1, near->id);
    ++*lesson;
    while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        int k = 0, v[HONE_MAX_PARAMS];
        double value[HONE_COUNTS];
        hone_db_text(st, 0, device, sizeof device);
        hone_db_text(st, 1, kernel, sizeof kernel);
        hone_db_text(st, 2, config, sizeof config);
        hone_db_text(st, 3, text, sizeof text);
        /* Another device is another lesson. */
        if (before[0] && strcmp(before, device)) ++*lesson;
        memcpy(before, device, sizeof before);
        while (k < s->pool->nkernels && strcmp(s->pool->kernel[k].name, kernel)) k++;
        if (k == s->pool->nkernels || !read_values(&s->pool->kernel[k], config, v)) continue;
        const int at = hone_pool_find(s->pool, kernel, v, s->pool->kernel[k].nparams);
        if (at >= 0 && hone_counts_read(names, text, value))
            err = hone_search_count_taught(s, at, *lesson, value, HONE_COUNTS);
    }
    sqlite3_reset(st);
    return err || rc == SQLITE_DONE ? err : hone_db_fail(db, rc);
}

int hone_lessons_count(struct hone_db *db, const struct hone_problem *p, struct hone_search *s,
                       struct hone_count_names *names)
{
    struct near near[NEAREST] = { { 0, 0 } };
    int n = 0, lesson = 0;
    if (!hone_db_has_counters(db)) return HONE_OK;
    int err = find_near(db, p, near, &n);
    for (int i = 0; !err && i < n; i++) err = read_counts(db, &near[i], &lesson, s, names);
    return err;
}
