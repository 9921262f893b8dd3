/* autotune/db.h -- what the files about the database share: statements, errors, transactions. */
#ifndef HONE_AUTOTUNE_DB_H
#define HONE_AUTOTUNE_DB_H

#include "autotune/autotune.h"

#include <jansson.h>
#include <sqlite3.h>

enum { HONE_DB_APPLICATION = 0x486f6e65, HONE_DB_VERSION = 1 };   /* "Hone" */

extern const char hone_db_schema[];

/* Counters of records have a table of their own, which a database gets with the first of them: older
 * ones have none. */
extern const char hone_db_counters_schema[];
int hone_db_has_counters(struct hone_db *db);

/* Puts "PATH: what went wrong" for SQLite's code rc, in one line; returns HONE_EDB. */
int hone_db_fail(struct hone_db *db, int rc);

/* Statement number `which` (an index into the texts in db_sql.c), prepared, reset and without
 * values. */
int hone_db_statement(struct hone_db *db, int which, sqlite3_stmt **st);

enum {
    HONE_SQL_DEVICE,
    HONE_SQL_PROBLEM,
    HONE_SQL_BUILD,
    HONE_SQL_ADD,
    HONE_SQL_BUILD_OF,
    HONE_SQL_KEY,
    HONE_SQL_LATEST,
    HONE_SQL_PROBLEMS,
    HONE_SQL_LESSONS,
    HONE_SQL_ADD_RUN,
    HONE_SQL_ADD_EPOCH,
    HONE_SQL_EACH_EPOCH,
    HONE_SQL_RUN,
    HONE_SQL_ADD_COUNTERS,
    HONE_SQL_COUNTERS,
    HONE_SQL_COUNT
};

/* Runs SQL that answers nothing. */
int hone_db_exec(struct hone_db *db, const char *sql);

/* Steps a statement that answers nothing, and resets it. */
int hone_db_do(struct hone_db *db, sqlite3_stmt *st);

/* All of what is added between begin and end is kept, or where err is not 0 nothing of it; end
 * returns err, or what the commit itself ran into. */
int hone_db_begin(struct hone_db *db);
int hone_db_end(struct hone_db *db, int err);

/* Copies a column's text into to[size]; "" for NULL. */
void hone_db_text(sqlite3_stmt *st, int column, char *to, size_t size);

/* "2026-11-21T04:22:16Z", and a text that no other session has: the time and a random number. */
void hone_db_now(char when[32]);
void hone_db_session(char session[40]);

/* Behind the name of a session: races of its finals at later moments. */
#define HONE_DB_LATER "+later"

/* ---- shipped records (wisdom.c) ---- */

/* Where they are installed (places.c, which make writes). */
extern const char hone_wisdom_dir[];

/* How unlike two devices are by their names: ISA, cores, caches, model; INFINITY: of other kinds. */
double hone_wisdom_distance(const char *a, const char *b);

/* Opens the plan that the nearest device's shipped record tells, and puts that device into `from`.
 * Where hints is 1, one of a kernel whose source has changed since will do, once it is proven. */
int hone_wisdom_plan(struct hone_plan *plan, struct hone_db *db, const struct hone_problem *p,
                     struct hone_device *d, int hints, char from[192]);
void hone_wisdom_close(struct hone_wisdom *w);

/* ---- JSON (db_text.c) ---- */

json_t *hone_record_json(const struct hone_record *r);
/* Reads what it made. */
int hone_record_read(const json_t *j, struct hone_record *r);
json_t *hone_run_json(const struct hone_run *r);
json_t *hone_epoch_json(const struct hone_epoch *e);

/* HONE_EPARSE where a record contradicts itself. */
int hone_record_check(const struct hone_record *r);

/* Writes every record, run and epoch, one a line, in an order that depends on them alone. */
int hone_db_export(struct hone_db *db, FILE *f);

struct hone_import {
    int nadded, nknown, nbad;   /* lines */
};

/* Reads what export wrote.  Bad lines are told to `bad` (one line each, "FILE:LINE: why") and left
 * out. */
int hone_db_import(struct hone_db *db, const char *file, FILE *f, FILE *bad, struct hone_import *n);

/* Adds every record, run and epoch of another database file, in one transaction; damaged ones are
 * told to `bad` and left out. */
int hone_db_merge(struct hone_db *db, const char *file, FILE *bad, struct hone_import *n);

/* ---- other programs' files (db_foreign.c) ---- */

/* The device, problem and kernel of a record that another program made begin with this: they are
 * nobody's here, and so never looked up. */
#define HONE_FOREIGN "foreign:"

/* Is the text a JSON document of Kernel Tuner's, results (T4) or a cache file? */
int hone_db_is_foreign(const char *text, size_t n);

/* Adds what is in it; what hone wrote comes back as it was. */
int hone_db_import_foreign(struct hone_db *db, const char *file, const char *text, size_t n,
                           FILE *bad, struct hone_import *count);

/* ---- parts of `hone db` (cmd_db.c, cmd_why.c, cmd_audit.c) ---- */

enum hone_format { HONE_JSONL, HONE_T4, HONE_CACHE_FILE };

struct hone_db_options {
    const char *device, *db, *problem, *kernel;
    enum hone_format format;
    int json, all, dry_run;
};

/* "jsonl", "t4", "cache". */
int hone_db_format_parse(const char *text, enum hone_format *format);

/* Writes the records of the options' device, problem and kernel for Kernel Tuner. */
int hone_db_export_foreign(struct hone_db *db, const struct hone_db_options *o, FILE *f);

int hone_db_show(struct hone_db *db, const struct hone_db_options *o, const char *problem);

/* cmd_audit.c.  HONE_EDB where there are faults. */
int hone_db_audit(struct hone_db *db);

/* Drops damaged records and those of kernels whose source has changed since, and says which. */
int hone_db_gc(struct hone_db *db, int dry_run);
int hone_db_why(struct hone_db *db, const struct hone_db_options *o, const char *problem);

#endif
