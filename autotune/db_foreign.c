/* Records to and from Kernel Tuner: its T4 results ("Open Autotuning Results Schema" 1.0.0) and its
 * cache files (schema 1.1.0).
 *
 * Both know less than a record holds: T4 neither device nor problem, a cache file no version.  So
 * what we write carries the whole record as "hone", which their schemas allow, and reading it gives
 * the record back.  What another program wrote becomes a record whose device and kernel begin with
 * "foreign:": it can be listed, and nobody ever asks for it. */
#include "autotune/db.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int hone_db_format_parse(const char *text, enum hone_format *format)
{
    static const char *const names[] = { "jsonl", "t4", "cache" };
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i])) { *format = (enum hone_format)i; return HONE_OK; }
    return hone_fail(HONE_EPARSE, "format '%s': expected jsonl, t4 or cache", text);
}

/* ---- export ---- */

struct chosen {
    const struct hone_db_options *o;
    json_t *to;             /* T4: the list of results; a cache file: its object "cache" */
    json_t *keys, *values;  /* a cache file's parameters */
    char problem[HONE_TEXT], device[192], kernel[64];   /* of the first; all must be equal */
    int n, mixed;
};

/* The values of a config's text, as {"mr": 14, ...}. */
static json_t *config_json(const char *config)
{
    json_t *j = json_object();
    char text[HONE_TEXT], *rest = text, *part;
    snprintf(text, sizeof text, "%s", config);
    while ((part = strsep(&rest, ","))) {
        char *value = strchr(part, '='), *end;
        if (!value) continue;
        *value++ = 0;
        long v = strtol(value, &end, 10);
        json_object_set_new(j, part, *end || end == value ? json_string(value) : json_integer(v));
    }
    return j;
}

/* Kernel Tuner's words for what went wrong. */
static const char *t4_invalidity(const struct hone_record *r)
{
    switch (hone_record_fault(r)) {
    case HONE_FAULT_NONE: return "correct";
    case HONE_FAULT_HANG: return "timeout";
    case HONE_FAULT_BUILD: return "compile";
    default: return r->status == HONE_WRONG ? "correctness" : "runtime";
    }
}

static double compile_ms(const struct hone_record *r)
{
    double ms = 0;
    const char *cost = strstr(r->why, "compile_ms=");
    return cost && sscanf(cost, "compile_ms=%lf", &ms) == 1 ? ms : 0;
}

static int t4_result(void *ctx, const struct hone_record *r)
{
    struct chosen *c = ctx;
    if (c->o->kernel && strcmp(c->o->kernel, r->kernel)) return 0;
    json_t *j = json_pack("{ss so s{sf sf} ss si so s[] s[s]}", "timestamp", r->when,
                          "configuration", config_json(r->config), "times", "compilation_time",
                          compile_ms(r), "validation", 0.0, "invalidity", t4_invalidity(r),
                          "correctness", r->status == HONE_TIMED || r->status == HONE_DROPPED,
                          "hone", hone_record_json(r), "measurements", "objectives", "time");
    if (!j) return 1;
    if (r->n)
        json_array_append_new(json_object_get(j, "measurements"),
                              json_pack("{ss sf ss}", "name", "time", "value", r->ms_median, "unit",
                                        "ms"));
    c->n++;
    return json_array_append_new(c->to, j);
}

static void add_value(json_t *values, const char *key, json_t *value)
{
    json_t *list = json_object_get(values, key), *v;
    size_t i;
    if (!list) { list = json_array(); json_object_set_new(values, key, list); }
    json_array_foreach(list, i, v) if (json_equal(v, value)) return;
    json_array_append(list, value);
}

/* The later record of a config replaces the earlier: a cache file holds one of each. */
static int cache_entry(void *ctx, const struct hone_record *r)
{
    struct chosen *c = ctx;
    const char *key;
    json_t *value;
    char at[HONE_TEXT] = "";
    size_t n = 0;
    if (c->o->kernel && strcmp(c->o->kernel, r->kernel)) return 0;
    if (!c->n++) {
        snprintf(c->problem, sizeof c->problem, "%s", r->problem);
        snprintf(c->device, sizeof c->device, "%s", r->device);
        snprintf(c->kernel, sizeof c->kernel, "%s", r->kernel);
    }
    c->mixed |= strcmp(c->problem, r->problem) || strcmp(c->device, r->device) ||
                strcmp(c->kernel, r->kernel);
    json_t *j = config_json(r->config);
    if (!json_array_size(c->keys))
        json_object_foreach(j, key, value) json_array_append_new(c->keys, json_string(key));
    json_object_foreach(j, key, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        n += (size_t)snprintf(at + n, sizeof at - n, "%s%s", n ? "," : "", text ? text : "");
        free(text);
        if (n >= sizeof at) n = sizeof at - 1;
        add_value(c->values, key, value);
    }
    const int good = r->status == HONE_TIMED || r->status == HONE_DROPPED;
    const char *bad = hone_record_fault(r) == HONE_FAULT_BUILD ? "CompilationFailedConfig"
                                                                : "RuntimeFailedConfig";
    json_object_set_new(j, "time", good && r->n ? json_real(r->ms_median) : json_string(bad));
    json_object_update_new(j, json_pack("{sf sf sf sf sf ss so}", "compile_time", compile_ms(r),
                                        "verification_time", 0.0, "benchmark_time", 0.0,
                                        "strategy_time", 0.0, "framework_time", 0.0, "timestamp",
                                        r->when, "hone", hone_record_json(r)));
    return json_object_set_new(c->to, n ? at : "-", j);
}

static json_t *cache_file(struct chosen *c, json_t *cache)
{
    return json_pack("{ss ss ss ss sO sO ss sO}", "schema_version", "1.1.0", "device_name",
                     c->device, "kernel_name", c->kernel, "problem_size", c->problem,
                     "tune_params_keys", c->keys, "tune_params", c->values, "objective", "time",
                     "cache", cache);
}

/* The problem as it is written usually, or "". */
static int problem_text(const char *problem, char text[HONE_TEXT])
{
    struct hone_problem p;
    text[0] = 0;
    int err = problem ? hone_problem_parse(problem, &p) : HONE_OK;
    if (problem && !err) hone_problem_print(&p, text);
    return err;
}

int hone_db_export_foreign(struct hone_db *db, const struct hone_db_options *o, FILE *f)
{
    const int t4 = o->format == HONE_T4;
    char problem[HONE_TEXT];
    struct hone_device d = { 0 };
    struct chosen c = { .o = o, .to = t4 ? json_array() : json_object(), .keys = json_array(),
                        .values = json_object() };
    int err = problem_text(o->problem, problem);
    if (!err && o->device) err = hone_device_open(&d, o->device);
    if (!err)
        err = hone_db_each(db, o->device ? d.id : NULL, problem[0] ? problem : NULL,
                           t4 ? t4_result : cache_entry, &c);
    if (!err && c.mixed)
        err = hone_fail(HONE_EINVAL, "a cache file holds one kernel's records of one problem on one "
                                     "device: give --problem, --kernel and --device");
    json_t *j = err ? NULL
                : t4 ? json_pack("{ss sO}", "schema_version", "1.0.0", "results", c.to)
                     : cache_file(&c, c.to);
    if (!err && (!j || json_dumpf(j, f, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) ||
                 putc('\n', f) == EOF || fflush(f)))
        err = hone_fail(HONE_EIO, "cannot write the export");
    json_decref(j);
    json_decref(c.to);
    json_decref(c.keys);
    json_decref(c.values);
    hone_device_close(&d);
    return err;
}

/* ---- import ---- */

/* Kernel Tuner keeps a cache file open while it works, with a comma where the next entry will
 * be. */
static json_t *load(const char *text, size_t n, json_error_t *e)
{
    json_t *j = json_loadb(text, n, 0, e);
    if (j || !strstr(text, "\"cache\"")) return j;
    char *closed = malloc(n + 4);
    if (!closed) return NULL;
    memcpy(closed, text, n);
    while (n && strchr(" \t\r\n,", closed[n - 1])) n--;
    strcpy(closed + n, "}\n}");
    j = json_loads(closed, 0, e);
    free(closed);
    return j;
}

int hone_db_is_foreign(const char *text, size_t n)
{
    json_error_t e;
    if (!strstr(text, "\"results\"") && !strstr(text, "\"cache\"")) return 0;
    json_t *j = load(text, n, &e);
    int is = !json_object_get(j, "type") && (json_is_array(json_object_get(j, "results")) ||
                                             json_is_object(json_object_get(j, "cache")));
    json_decref(j);
    return is;
}

struct source {
    struct hone_db *db;
    const char *file;
    FILE *bad;
    struct hone_import *n;
    char device[192], problem[HONE_TEXT], kernel[64], version[HONE_TEXT], session[40];
};

/* "a=1,b=2" of an object's members that are parameters: of T4 all, of a cache file's those
 * named. */
static void config_text(const json_t *from, const json_t *keys, char text[HONE_TEXT])
{
    size_t n = 0, i;
    json_t *name, *value;
    const char *key;
    if (keys) {
        json_array_foreach(keys, i, name) {
            char *v = json_dumps(json_object_get(from, json_string_value(name)), JSON_ENCODE_ANY);
            if (v && n < HONE_TEXT)
                n += (size_t)snprintf(text + n, HONE_TEXT - n, "%s%s=%s", n ? "," : "",
                                      json_string_value(name), v);
            free(v);
        }
    } else {
        json_object_foreach((json_t *)(uintptr_t)from, key, value) {
            char *v = json_dumps(value, JSON_ENCODE_ANY);
            if (v && n < HONE_TEXT)
                n += (size_t)snprintf(text + n, HONE_TEXT - n, "%s%s=%s", n ? "," : "", key, v);
            free(v);
        }
    }
    if (!n) snprintf(text, HONE_TEXT, "-");
}

/* "2023-12-21 10:44:42.236642+00:00" as records have it, to the second. */
static void when_text(const json_t *stamp, char when[32])
{
    const char *s = json_string_value(stamp);
    int y, mo, d, h, mi, sec;
    if (!s || sscanf(s, "%4d-%2d-%2d%*[ T]%2d:%2d:%2d", &y, &mo, &d, &h, &mi, &sec) != 6)
        snprintf(when, 32, "1970-01-01T00:00:00Z");
    else
        snprintf(when, 32, "%04d-%02d-%02dT%02d:%02d:%02dZ", y % 10000, mo % 100, d % 100, h % 100,
                 mi % 100, sec % 100);
}

static void sample(struct hone_record *r, const json_t *times, double ms)
{
    double *t = calloc(json_array_size(times) + 1, sizeof *t);
    size_t i, n = 0;
    json_t *v;
    json_array_foreach(times, i, v)
        if (t && json_number_value(v) > 0) t[n++] = json_number_value(v);
    struct hone_stats s = { .median = ms, .lo = ms, .hi = ms };
    if (n) s = hone_stats_of(t, (int)n);
    r->n = n ? (int)n : 1;
    r->ms_median = s.median;
    r->ms_lo = s.lo;
    r->ms_hi = s.hi;
    free(t);
}

/* Adds r, or the record that stands in `own`, which hone wrote. */
static int add(struct source *s, const json_t *own, struct hone_record *r)
{
    int err = own ? hone_record_read(own, r) : HONE_OK;
    if (!err && !own) {
        snprintf(r->device, sizeof r->device, "%s", s->device);
        snprintf(r->problem, sizeof r->problem, "%s", s->problem);
        snprintf(r->kernel, sizeof r->kernel, "%s", s->kernel);
        snprintf(r->version, sizeof r->version, "%s", s->version);
        snprintf(r->session, sizeof r->session, "%s", s->session);
        snprintf(r->cache, sizeof r->cache, "unknown");
        err = hone_record_check(r);
    }
    if (err) {
        fprintf(s->bad, "%s: %s\n", s->file, hone_errmsg());
        s->n->nbad++;
        return HONE_OK;
    }
    err = hone_db_add(s->db, r);
    s->n->nadded += !err && r->id;
    s->n->nknown += !err && !r->id;
    return err;
}

static int import_t4(struct source *s, const json_t *results)
{
    size_t i, m;
    json_t *j, *measure;
    int err = HONE_OK;
    snprintf(s->version, sizeof s->version, HONE_FOREIGN "t4");
    json_array_foreach(results, i, j) {
        const char *invalid = json_string_value(json_object_get(j, "invalidity"));
        struct hone_record r = { 0 };
        double ms = 0;
        json_array_foreach(json_object_get(j, "measurements"), m, measure) {
            const char *name = json_string_value(json_object_get(measure, "name"));
            if (name && !strcmp(name, "time"))
                ms = json_number_value(json_object_get(measure, "value"));
        }
        config_text(json_object_get(j, "configuration"), NULL, r.config);
        when_text(json_object_get(j, "timestamp"), r.when);
        if (invalid && !strcmp(invalid, "correct")) {
            sample(&r, json_object_get(json_object_get(j, "times"), "runtimes"), ms);
        } else {
            r.status = invalid && !strcmp(invalid, "correctness") ? HONE_WRONG : HONE_FAILED;
            snprintf(r.why, sizeof r.why, "%s: %s", !invalid ? "error"
                     : !strcmp(invalid, "timeout") ? "hang" : !strcmp(invalid, "compile") ? "build"
                     : r.status == HONE_WRONG ? "value" : "error", invalid ? invalid : "unknown");
        }
        if ((err = add(s, json_object_get(j, "hone"), &r))) break;
    }
    return err;
}

static int import_cache(struct source *s, const json_t *doc)
{
    const json_t *keys = json_object_get(doc, "tune_params_keys");
    const char *device = json_string_value(json_object_get(doc, "device_name")),
               *kernel = json_string_value(json_object_get(doc, "kernel_name")), *key;
    char *size = json_dumps(json_object_get(doc, "problem_size"), JSON_ENCODE_ANY | JSON_COMPACT);
    json_t *j;
    int err = HONE_OK;
    snprintf(s->version, sizeof s->version, HONE_FOREIGN "cache");
    snprintf(s->device, sizeof s->device, HONE_FOREIGN "%.170s", device ? device : "");
    snprintf(s->kernel, sizeof s->kernel, HONE_FOREIGN "%.50s", kernel ? kernel : "");
    snprintf(s->problem, sizeof s->problem, HONE_FOREIGN "%.60s:%.150s", kernel ? kernel : "",
             size ? size : "");
    free(size);
    json_object_foreach(json_object_get(doc, "cache"), key, j) {
        const json_t *time = json_object_get(j, "time");
        struct hone_record r = { 0 };
        config_text(j, keys, r.config);
        when_text(json_object_get(j, "timestamp"), r.when);
        if (json_is_number(time)) {
            sample(&r, json_object_get(j, "times"), json_number_value(time));
        } else {
            const char *why = json_string_value(time);
            r.status = HONE_FAILED;
            snprintf(r.why, sizeof r.why, "%s: %.200s",
                     why && !strcmp(why, "CompilationFailedConfig") ? "build" : "error",
                     why ? why : "no time");
        }
        if ((err = add(s, json_object_get(j, "hone"), &r))) break;
    }
    return err;
}

/* One file is one session, named by what is in it, so that reading it again adds nothing. */
static uint64_t hash(const char *text, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) h = hone_random(h, (unsigned char)text[i]);
    return h;
}

int hone_db_import_foreign(struct hone_db *db, const char *file, const char *text, size_t n,
                           FILE *bad, struct hone_import *count)
{
    struct source s = { .db = db, .file = file, .bad = bad, .n = count };
    json_error_t e;
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    json_t *j = load(text, n, &e);
    if (!j) return hone_fail(HONE_EPARSE, "%s:%d: not JSON: %s", file, e.line, e.text);
    snprintf(s.session, sizeof s.session, "foreign-%016llx", (unsigned long long)hash(text, n));
    snprintf(s.device, sizeof s.device, HONE_FOREIGN "unknown");
    snprintf(s.kernel, sizeof s.kernel, HONE_FOREIGN "unknown");
    snprintf(s.problem, sizeof s.problem, HONE_FOREIGN "%.200s", name);
    int err = hone_db_begin(db);
    if (!err) {
        const json_t *results = json_object_get(j, "results");
        err = hone_db_end(db, results ? import_t4(&s, results) : import_cache(&s, j));
    }
    json_decref(j);
    return err;
}
