/* Records in the database: opening it with care, adding, listing, and the rule by which the best is
 * chosen from them. */
#include "autotune/db.h"
#include "autotune/race.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const double TIE = 1.01;   /* slower than the fastest by less is as fast */

static const char *const status_names[] = {
    [HONE_TIMED] = "timed",
    [HONE_WRONG] = "wrong",
    [HONE_FAILED] = "failed",
    [HONE_DROPPED] = "dropped",
};

const char *hone_status_name(enum hone_status s) { return status_names[s]; }

static const char *const fault_names[] = {
#define X(code, name) name,
    HONE_FAULT_MAP(X)
#undef X
};

const char *hone_fault_name(enum hone_fault f) { return fault_names[f]; }

enum hone_fault hone_record_fault(const struct hone_record *r)
{
    if (r->status != HONE_WRONG && r->status != HONE_FAILED) return HONE_FAULT_NONE;
    for (int f = HONE_FAULT_VALUE; f < HONE_NFAULTS; f++) {
        size_t n = strlen(fault_names[f]);
        if (!strncmp(r->why, fault_names[f], n) && r->why[n] == ':') return (enum hone_fault)f;
    }
    return r->status == HONE_WRONG ? HONE_FAULT_VALUE : HONE_FAULT_ERROR;
}

/* ---- opening ---- */

enum kind { MISSING, EMPTY, OURS };

static uint32_t big_endian(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* What kind of file it is, by SQLite's documented header.  Read without SQLite, which would make a
 * journal, or a log's index, beside another program's file before we knew that it is one. */
static int inspect(const char *path, enum kind *kind)
{
    unsigned char header[100];
    struct stat st;
    *kind = MISSING;
    if (stat(path, &st))
        return errno == ENOENT ? HONE_OK : hone_fail(HONE_EDB, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return hone_fail(HONE_EDB, "%s: not a database: no regular file", path);
    *kind = EMPTY;
    if (!st.st_size) return HONE_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return hone_fail(HONE_EDB, "%s: cannot open: %s", path, strerror(errno));
    ssize_t n = read(fd, header, sizeof header);
    close(fd);
    if (n < (ssize_t)sizeof header || memcmp(header, "SQLite format 3", 16))
        return hone_fail(HONE_EDB, "%s: not a database", path);
    uint32_t version = big_endian(header + 60), application = big_endian(header + 68);
    if (application != HONE_DB_APPLICATION)
        return hone_fail(HONE_EDB, "%s: a database of another program", path);
    if (version != HONE_DB_VERSION)
        return hone_fail(HONE_EDB, "%s: database of version %u, but this hone reads version %d: %s",
                         path, version, HONE_DB_VERSION,
                         version > HONE_DB_VERSION ? "use a newer hone" : "use an older hone");
    *kind = OURS;
    return HONE_OK;
}

static int find_path(struct hone_db *db, const char *path, int create)
{
    if (!path) path = getenv("HONE_DB");
    if (path && path[0]) {
        if (strlen(path) >= sizeof db->path)
            return hone_fail(HONE_EDB, "%.40s...: path too long", path);
        snprintf(db->path, sizeof db->path, "%s", path);
        return HONE_OK;
    }
    int err = hone_user_path("data", "hone.db", db->path, sizeof db->path);
    if (!err || create) return err;
    /* Where the directory cannot even be made there is no database in it. */
    db->path[0] = 0;
    return HONE_OK;
}

/* A database belongs to one thread: no locks between threads are needed. */
static int connect(struct hone_db *db, int flags)
{
    enum { PATIENCE_MS = 3000 };
    /* Nobody asks how much memory SQLite has; counting it takes a lock at every allocation. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int rc = sqlite3_open_v2(db->path, &db->sql, flags, NULL);
    if (rc) return hone_db_fail(db, rc);
    sqlite3_extended_result_codes(db->sql, 1);
    sqlite3_busy_timeout(db->sql, PATIENCE_MS);
    /* 16 MiB of pages are kept in memory: look-ups then read the file's change counter alone. */
    rc = sqlite3_exec(db->sql, "PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;"
                      "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    return rc == SQLITE_READONLY_ROLLBACK ? rc : rc ? hone_db_fail(db, rc) : HONE_OK;
}

static int open_to_read(struct hone_db *db)
{
    int err = connect(db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX);
    if (err != SQLITE_READONLY_ROLLBACK) return err;
    /* Someone was killed while writing: what stood before has to be put back first. */
    sqlite3_close(db->sql);
    err = connect(db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX);
    return err > 0 ? hone_db_fail(db, err) : err;
}

static int make_tables(struct hone_db *db)
{
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             HONE_DB_APPLICATION, HONE_DB_VERSION);
    int err = hone_db_begin(db), there = 0;
    sqlite3_stmt *st;
    if (err) return err;
    /* Another process may have been faster. */
    int rc = sqlite3_prepare_v2(db->sql, "SELECT 1 FROM sqlite_schema", -1, &st, NULL);
    if (rc) err = hone_db_fail(db, rc);
    else there = sqlite3_step(st) == SQLITE_ROW;
    sqlite3_finalize(st);
    if (!err && !there) err = hone_db_exec(db, hone_db_schema);
    if (!err && !there) err = hone_db_exec(db, pragmas);
    return hone_db_end(db, err);
}

/* Damage is looked for before anything is added: afterwards it would be harder to repair. */
static int check_pages(struct hone_db *db)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(db->sql, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (!rc) rc = sqlite3_step(st);
    int good = rc == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    return good ? HONE_OK : hone_db_fail(db, rc == SQLITE_ROW ? SQLITE_CORRUPT : rc);
}

static int open_to_write(struct hone_db *db, enum kind kind)
{
    int err = connect(db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX);
    if (err > 0) return hone_db_fail(db, err);
    /* SQLite opens a file that it may not write for reading, and says so only if asked. */
    if (!err && sqlite3_db_readonly(db->sql, "main")) err = hone_db_fail(db, SQLITE_READONLY);
    if (!err && kind != OURS) err = make_tables(db);
    if (!err && kind == OURS) err = check_pages(db);
    return err;
}

int hone_db_open(struct hone_db *db, const char *path, int create)
{
    enum kind kind = MISSING;
    memset(db, 0, sizeof *db);
    int err = find_path(db, path, create);
    if (!err) err = inspect(db->path, &kind);
    if (!err && create) err = open_to_write(db, kind);
    else if (!err && kind == OURS) err = open_to_read(db);
    if (err) hone_db_close(db);
    return err;
}

void hone_db_rest(struct hone_db *db)
{
    for (int i = 0; i < HONE_DB_STATEMENTS; i++) sqlite3_finalize(db->stmt[i]);
    if (db->sql) sqlite3_db_release_memory(db->sql);
    hone_wisdom_close(db->wisdom);
    free(db->found);
    free(db->build);
    memset(db->stmt, 0, sizeof db->stmt);
    db->wisdom = NULL;
    db->found = NULL;
    db->build = NULL;
    db->room = 0;
}

void hone_db_close(struct hone_db *db)
{
    hone_db_rest(db);
    sqlite3_close(db->sql);
    memset(db, 0, sizeof *db);
}

/* ---- adding ---- */

static int add_names(struct hone_db *db, const struct hone_record *r)
{
    const struct {
        int which;
        const char *a, *b;
    } names[] = {
        { HONE_SQL_DEVICE, r->device, NULL },
        { HONE_SQL_PROBLEM, r->problem, NULL },
        { HONE_SQL_BUILD, r->kernel, r->version },
    };
    int err = HONE_OK;
    for (size_t i = 0; !err && i < sizeof names / sizeof *names; i++) {
        sqlite3_stmt *st;
        if ((err = hone_db_statement(db, names[i].which, &st))) break;
        sqlite3_bind_text(st, 1, names[i].a, -1, SQLITE_STATIC);
        if (names[i].b) sqlite3_bind_text(st, 2, names[i].b, -1, SQLITE_STATIC);
        err = hone_db_do(db, st);
    }
    return err;
}

static void bind(sqlite3_stmt *st, const struct hone_record *r)
{
    const char *texts[] = { r->problem, r->device,  r->kernel, r->version, status_names[r->status],
                            r->when,    r->session, r->config, r->cache };
    for (int i = 0; i < 9; i++) sqlite3_bind_text(st, i + 1, texts[i], -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 10, r->n);
    sqlite3_bind_double(st, 11, r->ms_median);
    sqlite3_bind_double(st, 12, r->ms_lo);
    sqlite3_bind_double(st, 13, r->ms_hi);
    sqlite3_bind_int64(st, 14, r->workspace_bytes);
    sqlite3_bind_double(st, 15, r->error);
    sqlite3_bind_text(st, 16, r->why, -1, SQLITE_STATIC);
}

/* Be the record new or known: what was counted may have been left out by who wrote it first. */
static int add_counters(struct hone_db *db, const struct hone_record *r)
{
    sqlite3_stmt *st;
    int err = hone_db_exec(db, hone_db_counters_schema);
    if (!err) err = hone_db_statement(db, HONE_SQL_ADD_COUNTERS, &st);
    if (err) return err;
    bind(st, r);
    sqlite3_bind_text(st, 17, r->counters, -1, SQLITE_STATIC);
    return hone_db_do(db, st);
}

static int add(struct hone_db *db, struct hone_record *r)
{
    sqlite3_stmt *st;
    int err = add_names(db, r);
    if (!err) err = hone_db_statement(db, HONE_SQL_ADD, &st);
    if (err) return err;
    bind(st, r);
    int before = sqlite3_total_changes(db->sql);
    err = hone_db_do(db, st);
    int added = !err && sqlite3_total_changes(db->sql) > before;
    r->id = added ? sqlite3_last_insert_rowid(db->sql) : 0;
    return err || !r->counters[0] ? err : add_counters(db, r);
}

int hone_db_add(struct hone_db *db, struct hone_record *r)
{
    if (db->sql && !sqlite3_get_autocommit(db->sql)) return add(db, r);
    int err = hone_db_begin(db);
    return err ? err : hone_db_end(db, add(db, r));
}

int hone_db_add_session(struct hone_db *db, struct hone_record r[], int n)
{
    char session[40], when[32];
    int err = hone_db_begin(db);
    if (err) return err;
    hone_db_session(session);
    hone_db_now(when);
    for (int i = 0; i < n && !err; i++) {
        snprintf(r[i].session, sizeof r[i].session, "%s", session);
        snprintf(r[i].when, sizeof r[i].when, "%s", when);
        err = add(db, &r[i]);
    }
    return hone_db_end(db, err);
}

/* ---- listing ---- */

static enum hone_status status_of(const char *name)
{
    int s = 0;
    while (s < HONE_DROPPED && strcmp(status_names[s], name)) s++;
    return (enum hone_status)s;
}

static void read_record(sqlite3_stmt *st, struct hone_record *r)
{
    char status[16];
    *r = (struct hone_record){ .id = sqlite3_column_int64(st, 0), .n = sqlite3_column_int(st, 10) };
    hone_db_text(st, 1, r->device, sizeof r->device);
    hone_db_text(st, 2, r->problem, sizeof r->problem);
    hone_db_text(st, 3, r->kernel, sizeof r->kernel);
    hone_db_text(st, 4, r->version, sizeof r->version);
    hone_db_text(st, 5, status, sizeof status);
    hone_db_text(st, 6, r->when, sizeof r->when);
    hone_db_text(st, 7, r->session, sizeof r->session);
    hone_db_text(st, 8, r->config, sizeof r->config);
    hone_db_text(st, 9, r->cache, sizeof r->cache);
    r->status = status_of(status);
    r->ms_median = sqlite3_column_double(st, 11);
    r->ms_lo = sqlite3_column_double(st, 12);
    r->ms_hi = sqlite3_column_double(st, 13);
    r->workspace_bytes = sqlite3_column_int64(st, 14);
    r->error = sqlite3_column_double(st, 15);
    hone_db_text(st, 16, r->why, sizeof r->why);
    hone_db_text(st, 17, r->counters, sizeof r->counters);
}

int hone_db_each(struct hone_db *db, const char *device, const char *problem,
                 int (*f)(void *ctx, const struct hone_record *r), void *ctx)
{
    char sql[1280];
    sqlite3_stmt *st;
    if (!db->sql) return HONE_OK;
    const int counters = hone_db_has_counters(db);
    snprintf(sql, sizeof sql,
             "SELECT r.id, d.name, p.text, b.kernel, b.version, r.status, r.at, r.session,"
             " r.config, r.cache, r.n, r.ms_median, r.ms_lo, r.ms_hi, r.workspace_bytes, r.error, r.why,"
             " %s FROM records r %s JOIN devices d ON d.id = r.device JOIN problems p ON p.id = r.problem"
             " JOIN builds b ON b.id = r.build WHERE 1 %s %s"
             " ORDER BY r.at, r.session, d.name, p.text, b.kernel, b.version, r.config, r.status,"
             " r.n, r.ms_median, r.ms_lo, r.ms_hi, r.workspace_bytes, r.error, r.cache, r.why",
             counters ? "c.text" : "NULL",
             counters ? "LEFT JOIN counters c ON c.record = r.id" : "",
             problem ? "AND r.problem = (SELECT id FROM problems WHERE text = ?1)" : "",
             device ? "AND r.device = (SELECT id FROM devices WHERE name = ?2)" : "");
    int rc = sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL), stop = 0;
    if (rc) return hone_db_fail(db, rc);
    if (problem) sqlite3_bind_text(st, 1, problem, -1, SQLITE_STATIC);
    if (device) sqlite3_bind_text(st, 2, device, -1, SQLITE_STATIC);
    while (!stop && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct hone_record r;
        read_record(st, &r);
        stop = f(ctx, &r);
    }
    int err = stop || rc == SQLITE_DONE ? HONE_OK : hone_db_fail(db, rc);
    sqlite3_finalize(st);
    return err;
}

/* ---- the best ---- */

/* Build `id` of the database as this program knows it: asked for once, since its texts are long. */
static int find_build(struct hone_db *db, const struct hone_op *op, int64_t id,
                      struct hone_db_build **build)
{
    struct hone_db_build *b;
    sqlite3_stmt *st;
    if (!db->build && !(db->build = calloc(HONE_DB_BUILDS, sizeof *db->build)))
        return hone_fail(HONE_ENOMEM, "%d builds", HONE_DB_BUILDS);
    *build = b = &db->build[id % HONE_DB_BUILDS];
    if (b->id == id && b->op == op) return HONE_OK;
    int err = hone_db_statement(db, HONE_SQL_BUILD_OF, &st), rc;
    if (err) return err;
    *b = (struct hone_db_build){ .id = id, .op = op };
    sqlite3_bind_int64(st, 1, id);
    if ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0),
                   *version = (const char *)sqlite3_column_text(st, 1);
        const struct hone_kernel *k = name ? hone_kernel_find(op, name) : NULL;
        if (k) hone_kernel_version(k, b->version);
        b->kernel = k && version && !strcmp(b->version, version) ? k : NULL;
    }
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? HONE_OK : hone_db_fail(db, rc);
}

/* May what this build made be served? */
static int is_current(const struct hone_db *db, const struct hone_db_build *b)
{
    return b->kernel && (!db->builds || db->builds >> b->kernel->build & 1);
}

int hone_record_is_library(const struct hone_record *r) { return !strncmp(r->version, "lib ", 4); }

static int by_rule(const void *a, const void *b)
{
    const struct hone_record *r = a, *q = b;
    int library = hone_record_is_library(r) - hone_record_is_library(q);
    if (r->workspace_bytes != q->workspace_bytes)
        return r->workspace_bytes < q->workspace_bytes ? -1 : 1;
    if (library) return library;
    int order = strcmp(r->kernel, q->kernel);
    return order ? order : strcmp(r->config, q->config);
}

/* Equal times go by the rule too, or their rows' order would show. */
static int by_time(const void *a, const void *b)
{
    const struct hone_record *r = a, *q = b;
    if (r->ms_median != q->ms_median) return r->ms_median < q->ms_median ? -1 : 1;
    return by_rule(a, b);
}

/* A tie is with the fastest, not with the neighbour: otherwise a long row of small steps would all
 * be one tie. */
void hone_db_rank(struct hone_record *r, int n)
{
    int tied = 0;
    qsort(r, (size_t)n, sizeof *r, by_time);
    while (tied < n && r[tied].ms_median <= TIE * r[0].ms_median) tied++;
    qsort(r, (size_t)tied, sizeof *r, by_rule);
}

int hone_record_ties(const struct hone_record *r, const struct hone_record *all, int n)
{
    double least = r->ms_median;
    for (int i = 0; i < n; i++)
        if (all[i].ms_median < least) least = all[i].ms_median;
    /* The interval is that of the ratio to the fastest. */
    return r->ms_median <= TIE * least || r->ms_lo <= TIE * least;
}

void hone_db_podium_of(const struct hone_record *ranked, int n, struct hone_podium *podium)
{
    memset(podium, 0, sizeof *podium);
    for (int i = n - 1; i >= 0; i--) {
        if (strcmp(ranked[i].kernel, ranked[0].kernel)) podium->runner_up = ranked[i];
        if (hone_record_is_library(&ranked[i])) podium->library = ranked[i];
    }
    if (n) podium->best = ranked[0];
}

static void copy(char *to, const char *from, size_t size)
{
    size_t n = strlen(from);
    if (n > size - 1) n = size - 1;
    memcpy(to, from, n);
    to[n] = 0;
}

/* Columns of HONE_SQL_LATEST. */
enum { ID, BUILD, CONFIG, N, MEDIAN, LO, HI, WORKSPACE, ERROR, CACHE, SESSION, AT };

static void read_best(sqlite3_stmt *st, const char *problem, const char *device,
                      const struct hone_db_build *build, struct hone_record *r)
{
    r->id = sqlite3_column_int64(st, ID);
    r->status = HONE_TIMED;
    r->n = sqlite3_column_int(st, N);
    r->ms_median = sqlite3_column_double(st, MEDIAN);
    r->ms_lo = sqlite3_column_double(st, LO);
    r->ms_hi = sqlite3_column_double(st, HI);
    r->workspace_bytes = sqlite3_column_int64(st, WORKSPACE);
    r->error = sqlite3_column_double(st, ERROR);
    r->why[0] = r->counters[0] = 0;
    copy(r->device, device, sizeof r->device);
    copy(r->problem, problem, sizeof r->problem);
    copy(r->kernel, build->kernel->name, sizeof r->kernel);
    copy(r->version, build->version, sizeof r->version);
    hone_db_text(st, CONFIG, r->config, sizeof r->config);
    hone_db_text(st, CACHE, r->cache, sizeof r->cache);
    hone_db_text(st, SESSION, r->session, sizeof r->session);
    hone_db_text(st, AT, r->when, sizeof r->when);
}

/* Room for one more in db->found, which is kept from look-up to look-up. */
static int make_room(struct hone_db *db, int n)
{
    if (n < db->room) return HONE_OK;
    const int room = 2 * db->room + 16;
    struct hone_record *more = realloc(db->found, (size_t)room * sizeof *more);
    if (!more) return hone_fail(HONE_ENOMEM, "%d records", room);
    db->found = more;
    db->room = room;
    return HONE_OK;
}

/* Puts the rows of the latest session, before session `before` where that is not NULL, that timed p
 * with what this program has into db->found: they come session by session, the latest first. */
static int read_latest(struct hone_db *db, const struct hone_op *op, sqlite3_stmt *st,
                       const char *problem, const char *device, const char *before)
{
    char session[40] = "";
    struct hone_db_build *build = NULL;
    int n = 0, rc, err, met = !before;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *of = (const char *)sqlite3_column_text(st, SESSION);
        if (before && of && !strcmp(of, before)) {
            met = 1;
            continue;
        }
        if (!met) continue;
        if (session[0] && (!of || strcmp(of, session))) return n;
        if ((err = find_build(db, op, sqlite3_column_int64(st, BUILD), &build))) return err;
        if (!is_current(db, build)) continue;
        hone_db_text(st, SESSION, session, sizeof session);
        if (db->max_workspace && sqlite3_column_int64(st, WORKSPACE) > db->max_workspace) continue;
        if ((err = make_room(db, n))) return err;
        read_best(st, problem, device, build, &db->found[n]);
        n += !hone_record_check(&db->found[n]);   /* a damaged row is nobody's best */
    }
    return rc == SQLITE_DONE ? n : hone_db_fail(db, rc);
}

/* All of p's records that may be served, best first, in db->found.  Returns how many.  The first
 * statement is left where it stands: as long as it does, the next need not lock the file anew. */
static int ranked(struct hone_db *db, const struct hone_problem *p, const char *device,
                  const char *before)
{
    char problem[HONE_TEXT];
    sqlite3_stmt *key, *st;
    int err = hone_db_statement(db, HONE_SQL_KEY, &key), n = 0, rc;
    if (!err) err = hone_db_statement(db, HONE_SQL_LATEST, &st);
    if (err) return err;
    hone_problem_print(p, problem);
    sqlite3_bind_text(key, 1, problem, -1, SQLITE_STATIC);
    sqlite3_bind_text(key, 2, device, -1, SQLITE_STATIC);
    if ((rc = sqlite3_step(key)) == SQLITE_ROW) {
        sqlite3_bind_int64(st, 1, sqlite3_column_int64(key, 0));
        sqlite3_bind_int64(st, 2, sqlite3_column_int64(key, 1));
        n = read_latest(db, p->op, st, problem, device, before);
        sqlite3_reset(st);
    } else if (rc != SQLITE_DONE) {
        n = hone_db_fail(db, rc);
    }
    sqlite3_reset(key);
    if (n > 0) hone_db_rank(db->found, n);
    return n;
}

int hone_db_best_before(struct hone_db *db, const struct hone_problem *p,
                        const struct hone_device *d, const char *session,
                        struct hone_record best[], int max)
{
    if (!db || !db->sql) return 0;
    int n = ranked(db, p, d->id, session);
    if (n > max) n = max;
    if (n > 0) memcpy(best, db->found, (size_t)n * sizeof *best);
    return n;
}

int hone_db_best(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d,
                 struct hone_record best[], int max)
{
    return hone_db_best_before(db, p, d, NULL, best, max);
}

int hone_db_podium(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d,
                   struct hone_podium *podium)
{
    memset(podium, 0, sizeof *podium);
    if (!db || !db->sql) return HONE_OK;
    int n = ranked(db, p, d->id, NULL);
    if (n < 0) return n;
    hone_db_podium_of(db->found, n, podium);
    return HONE_OK;
}
