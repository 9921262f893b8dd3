/* tests/db.h -- what the tests of the database share: a directory of their own, records, files as
 * bytes. */
#ifndef HONE_TESTS_DB_H
#define HONE_TESTS_DB_H

#include "config.h"

#include "autotune/db.h"
#include "autotune/race.h"
#include "tests/tap.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/hone-db-XXXXXX";
static struct hone_device cpu;

/* ---- help ---- */

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

static struct hone_record record_of(const char *problem, const char *kernel, const char *version,
                                    double ms, const char *session)
{
    struct hone_record r = { .status = HONE_TIMED,
                             .n = 11,
                             .ms_median = ms,
                             .ms_lo = 0.99 * ms,
                             .ms_hi = 1.03 * ms,
                             .workspace_bytes = 64,
                             .error = 0.25,
                             .cache = "weights",
                             .when = "2026-01-02T03:04:05Z" };
    snprintf(r.device, sizeof r.device, "%s", cpu.id);
    snprintf(r.problem, sizeof r.problem, "%s", problem);
    snprintf(r.kernel, sizeof r.kernel, "%s", kernel);
    snprintf(r.version, sizeof r.version, "%s", version);
    snprintf(r.config, sizeof r.config, "-");
    snprintf(r.session, sizeof r.session, "%s", session);
    return r;
}

struct bytes {
    char *at;
    long n;
};

static struct bytes read_file(const char *path)
{
    struct bytes b = { NULL, -1 };
    FILE *f = fopen(path, "rb");
    if (!f) return b;
    fseek(f, 0, SEEK_END);
    b.n = ftell(f);
    rewind(f);
    /* A directory opens too, and ends at LONG_MAX. */
    b.at = b.n >= 0 && b.n < LONG_MAX ? malloc((size_t)b.n + 1) : NULL;
    if (!b.at || fread(b.at, 1, (size_t)b.n, f) != (size_t)b.n) b.n = -2;
    fclose(f);
    return b;
}

__attribute__((unused)) static void write_file(const char *path, const void *at, long n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(at, 1, (size_t)n, f) != (size_t)n || fclose(f)) {
        printf("Bail out! cannot write %s\n", path);
        exit(1);
    }
}

/* Frees b. */
__attribute__((unused)) static int unchanged(const char *path, struct bytes b)
{
    struct bytes now = read_file(path);
    int same = now.n == b.n && (b.n < 0 || !memcmp(now.at, b.at, (size_t)b.n));
    free(now.at);
    free(b.at);
    return same;
}

static int count_record(void *ctx, const struct hone_record *r)
{
    (void)r;
    ++*(int *)ctx;
    return 0;
}

/* Records in the file, or -1 if it cannot be read or is damaged. */
__attribute__((unused)) static int count(const char *path)
{
    struct hone_db db;
    sqlite3_stmt *st;
    int n = 0;
    if (hone_db_open(&db, path, 0)) { printf("# %s\n", hone_errmsg()); return -1; }
    if (hone_db_each(&db, NULL, NULL, count_record, &n)) n = -1;
    if (db.sql) {
        sqlite3_prepare_v2(db.sql, "PRAGMA integrity_check", -1, &st, NULL);
        if (sqlite3_step(st) != SQLITE_ROW ||
            strcmp((const char *)sqlite3_column_text(st, 0), "ok"))
            n = -1;
        sqlite3_finalize(st);
    }
    hone_db_close(&db);
    return n;
}

/* A database of n records that differ in their times. */
__attribute__((unused)) static void make(const char *path, int n)
{
    struct hone_db db;
    int err = hone_db_open(&db, path, 1);
    if (!err) err = hone_db_begin(&db);
    for (int i = 0; !err && i < n; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m1n2k3", "k", "v", 1 + i, "s");
        err = hone_db_add(&db, &r);
    }
    if (!err) err = hone_db_end(&db, err);
    if (err) { printf("Bail out! %s\n", hone_errmsg()); exit(1); }
    hone_db_close(&db);
}

static int open_place(void)
{
    if (mkdtemp(dir) && !hone_device_open(&cpu, "cpu0")) return 1;
    printf("Bail out! no place to test in\n");
    return 0;
}

static void close_place(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) printf("# %s is left behind\n", dir);
    hone_device_close(&cpu);
}

#endif
