/* The database's SQL: the schema, statements prepared once, transactions, and SQLite's codes in
 * words.  A rollback journal, not a write-ahead log: then reading makes no file beside the
 * database, and what a killed writer leaves behind is undone by whoever opens it next. */
#include "autotune/db.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* A record holds numbers of texts that repeat.  Two equal records are one, whichever file they came
 * from: that makes merging files independent of their order.  The first columns of the key serve
 * look-ups. */
const char hone_db_schema[] =
    "CREATE TABLE devices (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);\n"
    "CREATE TABLE builds (id INTEGER PRIMARY KEY, kernel TEXT NOT NULL, version TEXT NOT NULL,\n"
    "  UNIQUE (kernel, version));\n"
    "CREATE TABLE problems (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);\n"
    "CREATE TABLE records (id INTEGER PRIMARY KEY,\n"
    "  problem INTEGER NOT NULL REFERENCES problems, device INTEGER NOT NULL REFERENCES devices,\n"
    "  status TEXT NOT NULL CHECK (status IN ('timed', 'wrong', 'failed', 'dropped')),\n"
    "  at TEXT NOT NULL, session TEXT NOT NULL,\n"
    "  build INTEGER NOT NULL REFERENCES builds, config TEXT NOT NULL, cache TEXT NOT NULL,\n"
    "  n INTEGER NOT NULL, ms_median REAL NOT NULL, ms_lo REAL NOT NULL, ms_hi REAL NOT NULL,\n"
    "  workspace_bytes INTEGER NOT NULL, error REAL NOT NULL, why TEXT NOT NULL,\n"
    "  UNIQUE (problem, device, status, at, session, build, config, cache, n, ms_median, ms_lo,\n"
    "          ms_hi, workspace_bytes, error, why));\n"
    "CREATE TRIGGER records_are_immutable BEFORE UPDATE ON records\n"
    "  BEGIN SELECT RAISE(ABORT, 'records are immutable'); END;\n"
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE, at TEXT NOT NULL,\n"
    "  net TEXT NOT NULL, data TEXT NOT NULL, device INTEGER NOT NULL REFERENCES devices,\n"
    "  epochs INTEGER NOT NULL, batch INTEGER NOT NULL, optimizer TEXT NOT NULL, lr REAL,\n"
    "  seed INTEGER NOT NULL, parameters INTEGER NOT NULL, command TEXT NOT NULL);\n"
    "CREATE TABLE epochs (run INTEGER NOT NULL REFERENCES runs, epoch INTEGER NOT NULL,\n"
    "  seconds REAL, images_per_s REAL, train_loss REAL, train_accuracy REAL, test_loss REAL,\n"
    "  test_accuracy REAL, test_mae REAL, PRIMARY KEY (run, epoch)) WITHOUT ROWID;\n";

const char hone_db_counters_schema[] =
    "CREATE TABLE IF NOT EXISTS counters (record INTEGER PRIMARY KEY REFERENCES records"
    " ON DELETE CASCADE, text TEXT NOT NULL)";

/* What was once found wrong, or failed, is never served, whichever session found it.  Where nothing
 * ever was, which is asked once, no record need be asked for.  Asked of each status alone: a list
 * of them would make a table at every look-up. */
#define HONE_SQL_BAD(status, more)                                                                 \
    "NOT EXISTS (SELECT 1 FROM records w WHERE w.problem = ?1 AND w.device = ?2 AND w.status = '"  \
    status "'" more ")"
#define HONE_SQL_SAME " AND w.build = r.build AND w.config = r.config"

static const char *const text[HONE_SQL_COUNT] = {
    [HONE_SQL_DEVICE] = "INSERT OR IGNORE INTO devices (name) VALUES (?1)",
    [HONE_SQL_PROBLEM] = "INSERT OR IGNORE INTO problems (text) VALUES (?1)",
    [HONE_SQL_BUILD] = "INSERT OR IGNORE INTO builds (kernel, version) VALUES (?1, ?2)",
    [HONE_SQL_ADD] =
        "INSERT OR IGNORE INTO records (problem, device, build, status, at, session, config, cache,"
        " n, ms_median, ms_lo, ms_hi, workspace_bytes, error, why) SELECT p.id, d.id, b.id, ?5, ?6,"
        " ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16 FROM problems p, devices d, builds b"
        " WHERE p.text = ?1 AND d.name = ?2 AND b.kernel = ?3 AND b.version = ?4",
    [HONE_SQL_BUILD_OF] = "SELECT kernel, version FROM builds WHERE id = ?1",
    [HONE_SQL_KEY] =
        "SELECT p.id, d.id FROM problems p, devices d WHERE p.text = ?1 AND d.name = ?2",
    [HONE_SQL_LATEST] =
        "SELECT r.id, r.build, r.config, r.n, r.ms_median, r.ms_lo, r.ms_hi, r.workspace_bytes,"
        " r.error, r.cache, r.session, r.at FROM records r"
        " WHERE r.problem = ?1 AND r.device = ?2 AND r.status = 'timed'"
        " AND (" HONE_SQL_BAD("wrong", "") " OR " HONE_SQL_BAD("wrong", HONE_SQL_SAME) ")"
        " AND (" HONE_SQL_BAD("failed", "") " OR " HONE_SQL_BAD("failed", HONE_SQL_SAME) ")"
        " ORDER BY r.at DESC, r.session DESC",
    [HONE_SQL_PROBLEMS] = "SELECT id, text FROM problems ORDER BY text",
    [HONE_SQL_LESSONS] =
        "SELECT p.text, d.name, b.kernel, r.session, r.config, r.ms_median FROM records r"
        " JOIN problems p ON p.id = r.problem JOIN devices d ON d.id = r.device"
        " JOIN builds b ON b.id = r.build WHERE r.problem = ?1 AND r.n >= 1 AND r.ms_median > 0"
        " ORDER BY d.name, r.session, b.kernel, r.config, r.ms_median",
    [HONE_SQL_ADD_RUN] =
        "INSERT OR IGNORE INTO runs (session, at, net, data, device, epochs, batch, optimizer, lr,"
        " seed, parameters, command) SELECT ?1, ?2, ?3, ?4, d.id, ?6, ?7, ?8, ?9, ?10, ?11, ?12"
        " FROM devices d WHERE d.name = ?5",
    [HONE_SQL_ADD_EPOCH] =
        "INSERT OR IGNORE INTO epochs SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
        " FROM runs WHERE session = ?1",
    /* Of two texts of one record the later in order stands, whichever came first. */
    [HONE_SQL_ADD_COUNTERS] =
        "INSERT INTO counters (record, text) SELECT r.id, ?17 FROM records r"
        " JOIN problems p ON p.id = r.problem JOIN devices d ON d.id = r.device"
        " JOIN builds b ON b.id = r.build WHERE p.text = ?1 AND d.name = ?2 AND b.kernel = ?3"
        " AND b.version = ?4 AND r.status = ?5 AND r.at = ?6 AND r.session = ?7 AND r.config = ?8"
        " AND r.cache = ?9 AND r.n = ?10 AND r.ms_median = ?11 AND r.ms_lo = ?12 AND r.ms_hi = ?13"
        " AND r.workspace_bytes = ?14 AND r.error = ?15 AND r.why = ?16"
        " ON CONFLICT (record) DO UPDATE SET text = excluded.text WHERE excluded.text > text",
    [HONE_SQL_COUNTERS] =
        "SELECT d.name, b.kernel, r.config, c.text FROM counters c JOIN records r ON r.id = c.record"
        " JOIN devices d ON d.id = r.device JOIN builds b ON b.id = r.build WHERE r.problem = ?1"
        " ORDER BY d.name, b.kernel, r.config, c.text",
    [HONE_SQL_RUN] = "SELECT 1 FROM runs WHERE session = ?1",
    [HONE_SQL_EACH_EPOCH] =
        "SELECT epoch, seconds, images_per_s, train_loss, train_accuracy, test_loss, test_accuracy,"
        " test_mae FROM epochs WHERE run = (SELECT id FROM runs WHERE session = ?1) ORDER BY epoch",
};
_Static_assert((int)HONE_SQL_COUNT <= (int)HONE_DB_STATEMENTS, "room for every statement");

/* ---- errors ---- */

int hone_db_fail(struct hone_db *db, int rc)
{
    int why = db->sql ? sqlite3_system_errno(db->sql) : 0;
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return hone_fail(HONE_EDB, "%s: locked by another process", db->path);
    case SQLITE_READONLY:
        return hone_fail(HONE_EDB, "%s: read-only: nothing can be added", db->path);
    case SQLITE_NOTADB: return hone_fail(HONE_EDB, "%s: not a database", db->path);
    case SQLITE_CORRUPT:
        return hone_fail(HONE_EDB,
                         "%s: damaged database; `hone db export` saves what can still be read",
                         db->path);
    case SQLITE_FULL: return hone_fail(HONE_EDB, "%s: disk full", db->path);
    case SQLITE_IOERR:
        /* SQLite knows ENOSPC as a full disk, but not a quota or a limit on file sizes. */
        if (rc == SQLITE_IOERR_WRITE)
            return hone_fail(HONE_EDB, "%s: cannot write: disk, quota or file-size limit full",
                             db->path);
        return hone_fail(HONE_EDB, "%s: cannot read or write: %s", db->path,
                         why ? strerror(why) : sqlite3_errmsg(db->sql));
    case SQLITE_CANTOPEN:
        return hone_fail(HONE_EDB, "%s: cannot open it, or the journal beside it: %s", db->path,
                         why ? strerror(why) : "No such file or directory");
    case SQLITE_NOMEM: return hone_fail(HONE_ENOMEM, "%s: out of memory", db->path);
    default:
        return hone_fail(HONE_EDB, "%s: %s", db->path,
                         db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc));
    }
}

/* ---- statements and transactions ---- */

int hone_db_statement(struct hone_db *db, int which, sqlite3_stmt **st)
{
    if (!db->stmt[which]) {
        int rc = sqlite3_prepare_v3(db->sql, text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->stmt[which], NULL);
        if (rc) return hone_db_fail(db, rc);
    }
    *st = db->stmt[which];
    sqlite3_reset(*st);
    sqlite3_clear_bindings(*st);
    return HONE_OK;
}

int hone_db_exec(struct hone_db *db, const char *sql)
{
    int rc = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);
    return rc ? hone_db_fail(db, rc) : HONE_OK;
}

int hone_db_do(struct hone_db *db, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    int err = rc == SQLITE_DONE || rc == SQLITE_ROW ? HONE_OK : hone_db_fail(db, rc);
    sqlite3_reset(st);
    return err;
}

int hone_db_has_counters(struct hone_db *db)
{
    sqlite3_stmt *st = NULL;
    const char *sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'counters'";
    const int has = db->sql && !sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL) &&
                    sqlite3_step(st) == SQLITE_ROW;
    sqlite3_finalize(st);
    return has;
}

/* IMMEDIATE: who waits for a lock waits here, where busy_timeout works, not half way through. */
int hone_db_begin(struct hone_db *db)
{
    return db->sql ? hone_db_exec(db, "BEGIN IMMEDIATE")
                   : hone_fail(HONE_EDB, "%s: no database to add to", db->path);
}

int hone_db_end(struct hone_db *db, int err)
{
    if (!err) err = hone_db_exec(db, "COMMIT");
    /* A full disk has SQLite roll back by itself; then there is nothing left to undo. */
    if (err && !sqlite3_get_autocommit(db->sql))
        sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

/* ---- values ---- */

void hone_db_text(sqlite3_stmt *st, int column, char *to, size_t size)
{
    const char *from = (const char *)sqlite3_column_text(st, column);
    size_t n = from ? (size_t)sqlite3_column_bytes(st, column) : 0;
    if (n > size - 1) n = size - 1;
    if (n) memcpy(to, from, n);
    to[n] = 0;
}

void hone_db_now(char when[32])
{
    struct tm tm;
    time_t t = time(NULL);
    gmtime_r(&t, &tm);
    strftime(when, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void hone_db_session(char session[40])
{
    struct timespec t;
    uint32_t u = 0;
    clock_gettime(CLOCK_REALTIME, &t);
    if (getrandom(&u, sizeof u, GRND_NONBLOCK) != sizeof u)
        u = (uint32_t)hone_random((uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 30,
                                  (uint64_t)getpid());
    /* Of records of one second, the later session's come later. */
    snprintf(session, 40, "%llx-%08lx%08lx", (unsigned long long)t.tv_sec,
             (unsigned long)t.tv_nsec, (unsigned long)u);
}
