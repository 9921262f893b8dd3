/* hone db audit, hone db gc: what in a database is damaged, contradicts itself, or is of no use to
 * this program; and dropping it. */
#include "autotune/db.h"

#include <stdlib.h>
#include <string.h>

/* What a record is to this program.  Only CURRENT ones are ever served. */
enum kind {
    CURRENT,    /* of a kernel as this program has it */
    BUILT,      /* of the same source, by another compiler, with other flags, or another library */
    OLDER,      /* of a kernel whose source has changed since */
    UNKNOWN,    /* of an op or kernel that this program does not have */
    FOREIGN,    /* another program's */
    DAMAGED,    /* it contradicts itself */
    NKINDS
};

static const char *const about[] = {
    [CURRENT] = "of kernels as this program has them",
    [BUILT] = "of another compiler's, other flags' or another library's build: not used here",
    [OLDER] = "of kernels whose source has changed since: never used",
    [UNKNOWN] = "of ops or kernels that this program lacks: never used",
    [FOREIGN] = "of another program's: never used",
    [DAMAGED] = "damaged: never used",
};

/* The hash of the source ends a version's text. */
static const char *source(const char *version)
{
    const char *last = strrchr(version, ' ');
    return last ? last + 1 : version;
}

static enum kind kind_of(const struct hone_record *r)
{
    char version[HONE_TEXT];
    struct hone_problem p;
    if (hone_record_check(r)) return DAMAGED;
    if (!strncmp(r->problem, HONE_FOREIGN, strlen(HONE_FOREIGN)) ||
        !strncmp(r->device, HONE_FOREIGN, strlen(HONE_FOREIGN)))
        return FOREIGN;
    if (hone_problem_parse(r->problem, &p)) return UNKNOWN;
    const struct hone_kernel *k = hone_kernel_find(p.op, r->kernel);
    if (!k) return UNKNOWN;
    hone_kernel_version(k, version);
    if (!strcmp(version, r->version)) return CURRENT;
    return k->build == HONE_LIB || !strcmp(source(version), source(r->version)) ? BUILT : OLDER;
}

/* ---- audit ---- */

struct audit {
    int nrecords, nfaults, count[NKINDS];
};

static void fault(struct audit *a, const char *text)
{
    a->nfaults++;
    printf("fault: %s\n", text);
}

static int audit_record(void *ctx, const struct hone_record *r)
{
    struct audit *a = ctx;
    char text[2 * HONE_TEXT];
    struct hone_problem p;
    enum kind kind = kind_of(r);
    a->nrecords++;
    a->count[kind]++;
    if (kind == DAMAGED) {
        hone_record_check(r);
        snprintf(text, sizeof text, "record %lld: %s", (long long)r->id, hone_errmsg());
        fault(a, text);
        return 0;
    }
    if (kind == FOREIGN || hone_problem_parse(r->problem, &p)) return 0;
    hone_problem_print(&p, text);
    if (strcmp(text, r->problem)) {
        snprintf(text, sizeof text,
                 "record %lld: problem %.200s is not written the usual way: never looked up",
                 (long long)r->id, r->problem);
        fault(a, text);
    }
    return 0;
}

/* Lines of what a query finds wrong; its first column is said, unless it is `good`. */
static int audit_query(struct hone_db *db, const char *sql, const char *good, struct audit *a)
{
    sqlite3_stmt *st;
    char text[2 * HONE_TEXT];
    int rc = sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL);
    while (!rc && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        hone_db_text(st, 0, text, sizeof text);
        text[strcspn(text, "\n")] = 0;
        if (strcmp(text, good)) fault(a, text);
        rc = 0;
    }
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? HONE_OK : hone_db_fail(db, rc);
}

/* A kernel that was right in one session and wrong in another, at one version, is neither: such
 * records are served to nobody, and somebody should look. */
static const char contradictions[] =
    "SELECT printf('%s on %s: %s %s was timed in one session and found wrong in another: not used',"
    " p.text, d.name, b.kernel, w.config) FROM records w JOIN problems p ON p.id = w.problem"
    " JOIN devices d ON d.id = w.device JOIN builds b ON b.id = w.build WHERE w.status = 'wrong'"
    " AND EXISTS (SELECT 1 FROM records t WHERE t.problem = w.problem AND t.device = w.device"
    " AND t.status = 'timed' AND t.build = w.build AND t.config = w.config)"
    " GROUP BY p.text, d.name, b.kernel, b.version, w.config ORDER BY 1 LIMIT 20";

static int audit_contradictions(struct hone_db *db, int *n)
{
    struct audit a = { 0 };
    sqlite3_stmt *st;
    char text[4 * HONE_TEXT];
    int rc = sqlite3_prepare_v2(db->sql, contradictions, -1, &st, NULL);
    while (!rc && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        hone_db_text(st, 0, text, sizeof text);
        printf("contradiction: %s\n", text);
        a.nfaults++;
        rc = 0;
    }
    sqlite3_finalize(st);
    *n = a.nfaults;
    return rc == SQLITE_DONE ? HONE_OK : hone_db_fail(db, rc);
}

int hone_db_audit(struct hone_db *db)
{
    struct audit a = { 0 };
    int ncontradictions = 0;
    if (!db->sql) { printf("no database\n"); return HONE_OK; }
    int err = audit_query(db, "PRAGMA integrity_check(20)", "ok", &a);
    if (!err) err = audit_query(db, "PRAGMA foreign_key_check", "", &a);
    if (!err && !a.nfaults) err = hone_db_each(db, NULL, NULL, audit_record, &a);
    if (!err && !a.nfaults) err = audit_contradictions(db, &ncontradictions);
    if (err) return err;
    for (int k = BUILT; k < NKINDS; k++)
        if (a.count[k]) printf("%7d %s\n", a.count[k], about[k]);
    printf("%s: %d records, %d %s, %d contradictions, %d faults\n", db->path, a.nrecords,
           a.count[CURRENT], about[CURRENT], ncontradictions, a.nfaults);
    return a.nfaults ? hone_fail(HONE_EDB, "%s: %d faults", db->path, a.nfaults) : HONE_OK;
}

/* ---- gc ---- */

struct waste {
    int64_t *id;
    int n, room, count[NKINDS], err;
};

static int collect(void *ctx, const struct hone_record *r)
{
    struct waste *w = ctx;
    enum kind kind = kind_of(r);
    if (kind != OLDER && kind != DAMAGED) return 0;
    if (w->n == w->room) {
        int64_t *more = realloc(w->id, (size_t)(w->room = 2 * w->room + 64) * sizeof *more);
        if (!more) { w->err = hone_fail(HONE_ENOMEM, "%d records", w->room); return 1; }
        w->id = more;
    }
    w->id[w->n++] = r->id;
    w->count[kind]++;
    return 0;
}

/* Names that no record needs any more go too. */
static const char orphans[] =
    "DELETE FROM problems WHERE id NOT IN (SELECT problem FROM records);"
    "DELETE FROM builds WHERE id NOT IN (SELECT build FROM records);"
    "DELETE FROM devices WHERE id NOT IN (SELECT device FROM records)"
    " AND id NOT IN (SELECT device FROM runs)";

static int drop(struct hone_db *db, const struct waste *w)
{
    sqlite3_stmt *st = NULL;
    int err = hone_db_begin(db);
    if (err) return err;
    int rc = sqlite3_prepare_v2(db->sql, "DELETE FROM records WHERE id = ?1", -1, &st, NULL);
    for (int i = 0; !rc && !err && i < w->n; i++) {
        sqlite3_bind_int64(st, 1, w->id[i]);
        err = hone_db_do(db, st);
    }
    if (rc) err = hone_db_fail(db, rc);
    sqlite3_finalize(st);
    if (!err) err = hone_db_exec(db, orphans);
    return hone_db_end(db, err);
}

int hone_db_gc(struct hone_db *db, int dry_run)
{
    struct waste w = { 0 };
    int err = hone_db_each(db, NULL, NULL, collect, &w);
    if (!err) err = w.err;
    if (!err && w.n && !dry_run) {
        err = drop(db, &w);
        if (!err) err = hone_db_exec(db, "VACUUM");
    }
    if (!err)
        for (int k = 0; k < NKINDS; k++)
            if (w.count[k]) printf("%7d %s\n", w.count[k], about[k]);
    if (!err) printf("%s: %d records %s\n", db->path, w.n, dry_run ? "would go" : "dropped");
    free(w.id);
    return err;
}
