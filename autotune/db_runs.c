/* Training runs and their epochs in the database. */
#include "autotune/db.h"

#include <math.h>
#include <string.h>

int hone_db_add_run(struct hone_db *db, struct hone_run *r)
{
    sqlite3_stmt *st = NULL;
    if (!r->session[0]) hone_db_session(r->session);
    if (!r->when[0]) hone_db_now(r->when);
    int own = db->sql && sqlite3_get_autocommit(db->sql),
        err = own || !db->sql ? hone_db_begin(db) : HONE_OK;
    if (err) return err;
    if (!(err = hone_db_statement(db, HONE_SQL_DEVICE, &st))) {
        sqlite3_bind_text(st, 1, r->device, -1, SQLITE_STATIC);
        err = hone_db_do(db, st);
    }
    if (!err) err = hone_db_statement(db, HONE_SQL_ADD_RUN, &st);
    if (!err) {
        const char *texts[] = { r->session, r->when, r->net, r->data, r->device };
        for (int i = 0; i < 5; i++) sqlite3_bind_text(st, i + 1, texts[i], -1, SQLITE_STATIC);
        sqlite3_bind_int(st, 6, r->epochs);
        sqlite3_bind_int(st, 7, r->batch);
        sqlite3_bind_text(st, 8, r->optimizer, -1, SQLITE_STATIC);
        sqlite3_bind_double(st, 9, r->lr);
        sqlite3_bind_int64(st, 10, (int64_t)r->seed);   /* all 64 bits, as two's complement */
        sqlite3_bind_int64(st, 11, r->parameters);
        sqlite3_bind_text(st, 12, r->command, -1, SQLITE_STATIC);
        int before = sqlite3_total_changes(db->sql);
        err = hone_db_do(db, st);
        r->id = !err && sqlite3_total_changes(db->sql) > before ? sqlite3_last_insert_rowid(db->sql)
                                                                : 0;
    }
    return own ? hone_db_end(db, err) : err;
}

int hone_db_add_epoch(struct hone_db *db, const struct hone_run *r, const struct hone_epoch *e)
{
    /* SQLite keeps a NaN as NULL, which is what it means here. */
    const double numbers[] = { e->seconds,   e->images_per_s,  e->train_loss, e->train_accuracy,
                               e->test_loss, e->test_accuracy, e->test_mae };
    sqlite3_stmt *st;
    if (!db->sql) return hone_fail(HONE_EDB, "%s: no database to add to", db->path);
    int err = hone_db_statement(db, HONE_SQL_RUN, &st);
    if (err) return err;
    sqlite3_bind_text(st, 1, r->session, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    if (rc == SQLITE_DONE)
        return hone_fail(HONE_EINVAL, "run '%s' is not in the database", r->session);
    if ((err = hone_db_statement(db, HONE_SQL_ADD_EPOCH, &st))) return err;
    sqlite3_bind_text(st, 1, r->session, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 2, e->epoch);
    for (int i = 0; i < 7; i++) sqlite3_bind_double(st, 3 + i, numbers[i]);
    return hone_db_do(db, st);
}

/* NULL is a number that does not apply. */
static double number(sqlite3_stmt *st, int column)
{
    return sqlite3_column_type(st, column) == SQLITE_NULL ? NAN : sqlite3_column_double(st, column);
}

static void read_run(sqlite3_stmt *st, struct hone_run *r)
{
    *r = (struct hone_run){ .id = sqlite3_column_int64(st, 0),
                            .epochs = sqlite3_column_int(st, 6),
                            .batch = sqlite3_column_int(st, 7),
                            .lr = number(st, 9),
                            .seed = (uint64_t)sqlite3_column_int64(st, 10),
                            .parameters = sqlite3_column_int64(st, 11) };
    hone_db_text(st, 1, r->session, sizeof r->session);
    hone_db_text(st, 2, r->when, sizeof r->when);
    hone_db_text(st, 3, r->net, sizeof r->net);
    hone_db_text(st, 4, r->data, sizeof r->data);
    hone_db_text(st, 5, r->device, sizeof r->device);
    hone_db_text(st, 8, r->optimizer, sizeof r->optimizer);
    hone_db_text(st, 12, r->command, sizeof r->command);
}

int hone_db_each_run(struct hone_db *db, int (*f)(void *ctx, const struct hone_run *r), void *ctx)
{
    sqlite3_stmt *st;
    int stop = 0;
    if (!db->sql) return HONE_OK;
    int rc = sqlite3_prepare_v2(
        db->sql,
        "SELECT r.id, session, at, net, data, d.name, epochs, batch, optimizer, lr, seed,"
        " parameters, command FROM runs r JOIN devices d ON d.id = r.device ORDER BY at, session",
        -1, &st, NULL);
    if (rc) return hone_db_fail(db, rc);
    while (!stop && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct hone_run r;
        read_run(st, &r);
        stop = f(ctx, &r);
    }
    int err = stop || rc == SQLITE_DONE ? HONE_OK : hone_db_fail(db, rc);
    sqlite3_finalize(st);
    return err;
}

int hone_db_each_epoch(struct hone_db *db, const struct hone_run *r,
                       int (*f)(void *ctx, const struct hone_epoch *e), void *ctx)
{
    sqlite3_stmt *st;
    int stop = 0, rc = SQLITE_DONE;
    if (!db->sql) return HONE_OK;
    int err = hone_db_statement(db, HONE_SQL_EACH_EPOCH, &st);
    if (err) return err;
    sqlite3_bind_text(st, 1, r->session, -1, SQLITE_STATIC);
    while (!stop && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct hone_epoch e = { sqlite3_column_int(st, 0),
                                number(st, 1),
                                number(st, 2),
                                number(st, 3),
                                number(st, 4),
                                number(st, 5),
                                number(st, 6),
                                number(st, 7) };
        stop = f(ctx, &e);
    }
    if (!stop && rc != SQLITE_DONE) err = hone_db_fail(db, rc);
    sqlite3_reset(st);
    return err;
}
