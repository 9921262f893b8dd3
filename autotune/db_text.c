/* The database as JSON Lines: one object a line, told apart by "type".  What export writes depends
 * on the records alone, not on the order in which they came, so that two databases with equal
 * records give equal files. */
#include "autotune/db.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- fields: one table for both directions ---- */

/* MAYBE: a real or null, which is NAN; COUNTERS: an object of numbers, which only a record that has
 * any holds. */
enum type { TEXT, WHOLE, REAL, MAYBE, STATUS, COUNTERS };

struct field {
    const char *name;
    enum type type;
    size_t at, size;     /* offset in the struct; bytes, of a TEXT those it may fill */
};

#define FIELD(type_, s, member, name_)                                                             \
    { name_, type_, offsetof(struct s, member), sizeof(((struct s *)0)->member) }

static const struct field record_fields[] = {
    FIELD(TEXT, hone_record, device, "device"),
    FIELD(TEXT, hone_record, problem, "problem"),
    FIELD(TEXT, hone_record, kernel, "kernel"),
    FIELD(TEXT, hone_record, version, "version"),
    FIELD(TEXT, hone_record, config, "config"),
    FIELD(STATUS, hone_record, status, "status"),
    FIELD(TEXT, hone_record, why, "why"),
    FIELD(WHOLE, hone_record, n, "n"),
    FIELD(REAL, hone_record, ms_median, "ms_median"),
    FIELD(REAL, hone_record, ms_lo, "ms_lo"),
    FIELD(REAL, hone_record, ms_hi, "ms_hi"),
    FIELD(WHOLE, hone_record, workspace_bytes, "workspace_bytes"),
    FIELD(REAL, hone_record, error, "error"),
    FIELD(COUNTERS, hone_record, counters, "counters"),
    FIELD(TEXT, hone_record, cache, "cache"),
    FIELD(TEXT, hone_record, session, "session"),
    FIELD(TEXT, hone_record, when, "when"),
    { 0 },
};
static const struct field run_fields[] = {
    FIELD(TEXT, hone_run, session, "session"),
    FIELD(TEXT, hone_run, when, "when"),
    FIELD(TEXT, hone_run, net, "net"),
    FIELD(TEXT, hone_run, data, "data"),
    FIELD(TEXT, hone_run, device, "device"),
    FIELD(WHOLE, hone_run, epochs, "epochs"),
    FIELD(WHOLE, hone_run, batch, "batch"),
    FIELD(TEXT, hone_run, optimizer, "optimizer"),
    FIELD(MAYBE, hone_run, lr, "lr"),
    FIELD(WHOLE, hone_run, seed, "seed"),
    FIELD(WHOLE, hone_run, parameters, "parameters"),
    FIELD(TEXT, hone_run, command, "command"),
    { 0 },
};
static const struct field epoch_fields[] = {
    FIELD(WHOLE, hone_epoch, epoch, "epoch"),
    FIELD(MAYBE, hone_epoch, seconds, "seconds"),
    FIELD(MAYBE, hone_epoch, images_per_s, "images_per_s"),
    FIELD(MAYBE, hone_epoch, train_loss, "train_loss"),
    FIELD(MAYBE, hone_epoch, train_accuracy, "train_accuracy"),
    FIELD(MAYBE, hone_epoch, test_loss, "test_loss"),
    FIELD(MAYBE, hone_epoch, test_accuracy, "test_accuracy"),
    FIELD(MAYBE, hone_epoch, test_mae, "test_mae"),
    { 0 },
};

/* A command line may hold any bytes, JSON only UTF-8: others become '?'. */
static json_t *text_json(const char *text)
{
    json_t *j = json_string(text);
    if (j) return j;
    char *plain = strdup(text);
    for (char *c = plain; c && *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    j = plain ? json_string(plain) : NULL;
    free(plain);
    return j;
}

/* "dram_read=1.2e+06 occupancy=47" as {"dram_read": 1.2e6, ...}; NULL: nothing was counted. */
static json_t *counters_json(const char *text)
{
    char name[64];
    double v;
    int used;
    json_t *j = *text ? json_object() : NULL;
    for (; j && sscanf(text, " %63[^= ]=%lf%n", name, &v, &used) == 2; text += used)
        json_object_set_new(j, name, json_real(v));
    return j;
}

static int read_counters(char *text, size_t size, json_t *j)
{
    const char *name;
    const json_t *v;
    size_t n = 0;
    text[0] = 0;
    if (!j) return HONE_OK;
    if (!json_is_object(j)) return hone_fail(HONE_EPARSE, "'counters' is no object");
    json_object_foreach(j, name, v) {
        if (!json_is_number(v) || !name[0] || strpbrk(name, "= \t\n") || strlen(name) > 63)
            return hone_fail(HONE_EPARSE, "counter '%.40s' is no number with a name", name);
        n += (size_t)snprintf(text + n, size - n, "%s%s=%.6g", n ? " " : "", name,
                              json_number_value(v));
        if (n >= size)
            return hone_fail(HONE_EPARSE, "'counters' are longer than %zu bytes", size - 1);
    }
    return HONE_OK;
}

static json_t *get(const struct field *f, const void *s)
{
    const char *at = (const char *)s + f->at;
    double v;
    switch (f->type) {
    case TEXT: return text_json(at);
    case COUNTERS: return counters_json(at);
    case STATUS: return json_string(hone_status_name(*(const enum hone_status *)at));
    case WHOLE: return json_integer(f->size == 4 ? *(const int *)at : *(const int64_t *)at);
    case REAL:
    case MAYBE: memcpy(&v, at, sizeof v); return isfinite(v) ? json_real(v) : json_null();
    }
    return NULL;
}

static int set(const struct field *f, void *s, const json_t *j)
{
    char *at = (char *)s + f->at;
    double v = f->type == MAYBE && json_is_null(j) ? NAN : json_number_value(j);
    if (f->type == COUNTERS) return read_counters(at, f->size, (json_t *)(uintptr_t)j);
    if (!j) return hone_fail(HONE_EPARSE, "'%s' is missing", f->name);
    switch (f->type) {
    case TEXT:
        if (!json_is_string(j)) return hone_fail(HONE_EPARSE, "'%s' is no text", f->name);
        if (json_string_length(j) >= f->size)
            return hone_fail(HONE_EPARSE, "'%s' is longer than %zu bytes", f->name, f->size - 1);
        if (strlen(json_string_value(j)) != json_string_length(j))
            return hone_fail(HONE_EPARSE, "'%s' holds a NUL", f->name);
        strcpy(at, json_string_value(j));
        return HONE_OK;
    case STATUS:
        for (int i = HONE_TIMED; i <= HONE_DROPPED && json_is_string(j); i++)
            if (!strcmp(json_string_value(j), hone_status_name((enum hone_status)i))) {
                *(enum hone_status *)at = (enum hone_status)i;
                return HONE_OK;
            }
        return hone_fail(HONE_EPARSE, "'%s' is no status", f->name);
    case WHOLE:
        if (!json_is_integer(j)) return hone_fail(HONE_EPARSE, "'%s' is no whole number", f->name);
        if (f->size == 4 && json_integer_value(j) != (int)json_integer_value(j))
            return hone_fail(HONE_EPARSE, "'%s' is out of range", f->name);
        if (f->size == 4) *(int *)at = (int)json_integer_value(j);
        else *(int64_t *)at = json_integer_value(j);
        return HONE_OK;
    case REAL:
    case MAYBE:
        if (!json_is_number(j) && !(f->type == MAYBE && json_is_null(j)))
            return hone_fail(HONE_EPARSE, "'%s' is no number", f->name);
        memcpy(at, &v, sizeof v);
        return HONE_OK;
    case COUNTERS: break;
    }
    return HONE_OK;
}

/* ---- export ---- */

struct writer {
    struct hone_db *db;
    FILE *f;
    const struct hone_run *run;
};

static void put_fields(json_t *j, const struct field fields[], const void *s)
{
    for (int i = 0; fields[i].name; i++) {
        json_t *v = get(&fields[i], s);
        if (v || fields[i].type != COUNTERS) json_object_set_new(j, fields[i].name, v);
    }
}

json_t *hone_record_json(const struct hone_record *r)
{
    json_t *j = json_object();
    put_fields(j, record_fields, r);
    return j;
}

json_t *hone_run_json(const struct hone_run *r)
{
    json_t *j = json_object();
    put_fields(j, run_fields, r);
    return j;
}

json_t *hone_epoch_json(const struct hone_epoch *e)
{
    json_t *j = json_object();
    put_fields(j, epoch_fields, e);
    return j;
}

/* Nonzero: stop. */
static int write_line(FILE *f, const char *type, const char *run, const struct field fields[],
                      const void *s)
{
    json_t *j = json_pack("{ss}", "type", type);
    if (run) json_object_set_new(j, "run", json_string(run));
    put_fields(j, fields, s);
    json_dumpf(j, f, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(j);
    putc('\n', f);
    return ferror(f);
}

static int write_record(void *ctx, const struct hone_record *r)
{
    return write_line(((struct writer *)ctx)->f, "record", NULL, record_fields, r);
}

static int write_epoch(void *ctx, const struct hone_epoch *e)
{
    struct writer *w = ctx;
    return write_line(w->f, "epoch", w->run->session, epoch_fields, e);
}

static int write_run(void *ctx, const struct hone_run *r)
{
    struct writer *w = ctx;
    w->run = r;
    return write_line(w->f, "run", NULL, run_fields, r) ||
           hone_db_each_epoch(w->db, r, write_epoch, w);
}

int hone_db_export(struct hone_db *db, FILE *f)
{
    struct writer w = { db, f, NULL };
    fprintf(f, "{\"type\":\"hone\",\"version\":%d}\n", HONE_DB_VERSION);
    int err = hone_db_each(db, NULL, NULL, write_record, &w);
    if (!err) err = hone_db_each_run(db, write_run, &w);
    if (!err && (fflush(f) || ferror(f))) err = hone_fail(HONE_EIO, "cannot write the export");
    return err;
}

/* ---- import ---- */

static int read_fields(const json_t *j, const struct field fields[], void *s)
{
    int err = HONE_OK;
    for (int i = 0; !err && fields[i].name; i++)
        err = set(&fields[i], s, json_object_get(j, fields[i].name));
    return err;
}

/* A time that was never taken, or is nonsense, must not become the best. */
int hone_record_check(const struct hone_record *r)
{
    if (!r->device[0] || !r->problem[0] || !r->kernel[0] || !r->version[0] || !r->session[0] ||
        !r->when[0])
        return hone_fail(HONE_EPARSE, "a part of the key is empty");
    if (r->n < 0 || r->workspace_bytes < 0 || !(r->error >= 0))
        return hone_fail(HONE_EPARSE, "a count is negative");
    if (r->status == HONE_TIMED && (r->n < 1 || !(r->ms_median > 0)))
        return hone_fail(HONE_EPARSE, "timed, but without a time");
    if (!(r->ms_lo <= r->ms_median && r->ms_median <= r->ms_hi))
        return hone_fail(HONE_EPARSE, "the median is outside of its interval");
    return HONE_OK;
}

int hone_record_read(const json_t *j, struct hone_record *r)
{
    *r = (struct hone_record){ 0 };
    int err = read_fields(j, record_fields, r);
    return err ? err : hone_record_check(r);
}

static int import_record(struct hone_db *db, const json_t *j, int *added)
{
    struct hone_record r;
    int err = hone_record_read(j, &r);
    if (!err) err = hone_db_add(db, &r);
    *added = r.id != 0;
    return err;
}

static int import_run(struct hone_db *db, const json_t *j, int *added)
{
    struct hone_run r = { 0 };
    int err = read_fields(j, run_fields, &r);
    if (!err && (!r.session[0] || !r.when[0]))
        err = hone_fail(HONE_EPARSE, "a part of the key is empty");
    if (!err) err = hone_db_add_run(db, &r);
    *added = r.id != 0;
    return err;
}

static int import_epoch(struct hone_db *db, const json_t *j, int *added)
{
    static const struct field key[] = { FIELD(TEXT, hone_run, session, "run"), { 0 } };
    struct hone_run r = { 0 };
    struct hone_epoch e = { 0 };
    int before = sqlite3_total_changes(db->sql);
    int err = read_fields(j, key, &r);
    if (!err) err = read_fields(j, epoch_fields, &e);
    if (!err && e.epoch < 1) err = hone_fail(HONE_EPARSE, "epochs count from 1");
    if (!err) err = hone_db_add_epoch(db, &r, &e);
    *added = sqlite3_total_changes(db->sql) > before;
    return err;
}

static int import_head(struct hone_db *db, const json_t *j, int *added)
{
    const json_t *v = json_object_get(j, "version");
    (void)db;
    *added = -1;   /* nothing to add */
    if (json_is_integer(v) && json_integer_value(v) == HONE_DB_VERSION) return HONE_OK;
    return hone_fail(HONE_EPARSE, "an export of another version: this hone reads version %d",
                     HONE_DB_VERSION);
}

static int import_line(struct hone_db *db, const char *line, size_t n, int *added)
{
    static const struct {
        const char *type;
        int (*import)(struct hone_db *db, const json_t *j, int *added);
    } types[] = {
        { "record", import_record },
        { "run", import_run },
        { "epoch", import_epoch },
        { "hone", import_head },
    };
    json_error_t e;
    json_t *j = json_loadb(line, n, 0, &e);
    const char *type = json_string_value(json_object_get(j, "type"));
    int err = HONE_EPARSE;
    if (!j) hone_fail(HONE_EPARSE, "not JSON: %s", e.text);
    else if (!type) hone_fail(HONE_EPARSE, "no object with a 'type'");
    else hone_fail(HONE_EPARSE, "'%s' is no type", type);
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].type, type)) err = types[i].import(db, j, added);
    json_decref(j);
    return err;
}

/* One transaction: a database that fails half way keeps nothing of the file, a bad line only
 * itself. */
static int import_lines(struct hone_db *db, const char *file, FILE *f, FILE *bad,
                        struct hone_import *n)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int lineno = 0, err = hone_db_begin(db);
    memset(n, 0, sizeof *n);
    if (err) return err;
    while (!err && (len = getline(&line, &room, f)) >= 0) {
        int added = 0;
        lineno++;
        if (len && line[len - 1] == '\n') len--;
        if (!len) continue;
        err = import_line(db, line, (size_t)len, &added);
        if (err == HONE_EPARSE || err == HONE_EINVAL) {
            fprintf(bad, "%s:%d: %s\n", file, lineno, hone_errmsg());
            n->nbad++;
            err = HONE_OK;
        } else if (!err && added >= 0) {
            n->nadded += added;
            n->nknown += !added;
        }
    }
    free(line);
    if (!err && ferror(f)) err = hone_fail(HONE_EIO, "%s: cannot read", file);
    return hone_db_end(db, err);
}

static char *read_all(const char *file, FILE *f, size_t *n)
{
    char *text = NULL;
    size_t room = 0, got;
    *n = 0;
    do {
        char *more = room - *n > 1 ? text : realloc(text, room = 2 * room + (1 << 16));
        if (!more) {
            free(text);
            hone_fail(HONE_ENOMEM, "%s: too long", file);
            return NULL;
        }
        text = more;
        *n += got = fread(text + *n, 1, room - *n - 1, f);
    } while (got);
    text[*n] = 0;
    if (!ferror(f)) return text;
    free(text);
    hone_fail(HONE_EIO, "%s: cannot read", file);
    return NULL;
}

int hone_db_import(struct hone_db *db, const char *file, FILE *f, FILE *bad, struct hone_import *n)
{
    size_t size;
    char *text = read_all(file, f, &size);
    memset(n, 0, sizeof *n);
    if (!text) return HONE_EIO;
    int err = HONE_OK;
    if (hone_db_is_foreign(text, size)) {
        err = hone_db_import_foreign(db, file, text, size, bad, n);
    } else if (size) {
        FILE *lines = fmemopen(text, size, "r");
        err = lines ? import_lines(db, file, lines, bad, n) : hone_fail(HONE_ENOMEM, "%s", file);
        if (lines) fclose(lines);
    }
    free(text);
    return err;
}

/* ---- merging ---- */

struct merger {
    struct hone_db *to, *from;
    const char *file;
    const struct hone_run *run;
    FILE *bad;
    struct hone_import *n;
    int err;
};

static int merge_record(void *ctx, const struct hone_record *from)
{
    struct merger *m = ctx;
    struct hone_record r = *from;
    if (hone_record_check(from)) {
        fprintf(m->bad, "%s: record %lld: %s\n", m->file, (long long)from->id, hone_errmsg());
        m->n->nbad++;
        return 0;
    }
    if ((m->err = hone_db_add(m->to, &r))) return 1;
    m->n->nadded += r.id != 0;
    m->n->nknown += r.id == 0;
    return 0;
}

static int merge_epoch(void *ctx, const struct hone_epoch *e)
{
    struct merger *m = ctx;
    int before = sqlite3_total_changes(m->to->sql);
    if ((m->err = hone_db_add_epoch(m->to, m->run, e))) return 1;
    int added = sqlite3_total_changes(m->to->sql) > before;
    m->n->nadded += added;
    m->n->nknown += !added;
    return 0;
}

static int merge_run(void *ctx, const struct hone_run *from)
{
    struct merger *m = ctx;
    struct hone_run r = *from;
    if ((m->err = hone_db_add_run(m->to, &r))) return 1;
    m->n->nadded += r.id != 0;
    m->n->nknown += r.id == 0;
    m->run = from;
    if ((m->err = hone_db_each_epoch(m->from, from, merge_epoch, m))) return 1;
    return m->err != 0;
}

int hone_db_merge(struct hone_db *db, const char *file, FILE *bad, struct hone_import *n)
{
    struct hone_db from;
    struct merger m = { .to = db, .from = &from, .file = file, .bad = bad, .n = n };
    memset(n, 0, sizeof *n);
    int err = hone_db_open(&from, file, 0);
    if (!err && !from.sql) err = hone_fail(HONE_EDB, "%s: no database there", file);
    if (err) { hone_db_close(&from); return err; }
    if (!(err = hone_db_begin(db))) {
        err = hone_db_each(&from, NULL, NULL, merge_record, &m);
        if (!err && !m.err) err = hone_db_each_run(&from, merge_run, &m);
        err = hone_db_end(db, err ? err : m.err);
    }
    hone_db_close(&from);
    return err;
}
