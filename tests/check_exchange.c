/* The database and the world: Kernel Tuner's files both ways, merging, what is foreign, older,
 * damaged or contradicts itself, what gc drops, and that look-ups stay fast when there is much. */
#include "tests/db.h"

#include <sys/resource.h>
#include <sys/wait.h>

static const struct hone_kernel *some_kernel(char version[HONE_TEXT])
{
    struct hone_problem p;
    hone_problem_parse("gemm:f32:nn:m8n8k8", &p);
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (k->slow || !k->param[0].name || hone_kernel_refuse(k, &p, &cpu) ||
            (k->suits && !k->suits(&p, &cpu)))
            continue;
        hone_kernel_version(k, version);
        return k;
    }
    return NULL;
}

static char *export_as(const char *path, const struct hone_db_options *o)
{
    char *text = NULL;
    size_t n = 0;
    struct hone_db db;
    FILE *f = open_memstream(&text, &n);
    int err = hone_db_open(&db, path, 0);
    if (!err) err = o ? hone_db_export_foreign(&db, o, f) : hone_db_export(&db, f);
    if (err) fprintf(f, "%s", hone_errmsg());
    fclose(f);
    hone_db_close(&db);
    return text;
}

static struct hone_import import_text(const char *path, const char *text, char *said, size_t size)
{
    struct hone_db db;
    struct hone_import n = { 0 };
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r"),
         *bad = fmemopen(said, size, "w");
    int err = hone_db_open(&db, path, 1);
    if (!err) err = hone_db_import(&db, "dir/file.json", f, bad, &n);
    if (err) { n.nbad = -1; snprintf(said, size, "%s", hone_errmsg()); }
    fclose(f);
    fclose(bad);
    hone_db_close(&db);
    return n;
}

/* Four records of one kernel and problem: good, dropped, wrong, failed. */
static void fill(const char *path)
{
    char version[HONE_TEXT];
    const struct hone_kernel *k = some_kernel(version);
    static const char *const why[] = { "", "overrun: c was written 4 bytes past its end",
                                       "hang: no end after 10 s", "clearly slower" };
    struct hone_db db;
    hone_db_open(&db, path, 1);
    for (int i = 0; i < 4; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m8n8k8", k->name, version, 0.1 + 0.2 * i, "s");
        snprintf(r.config, sizeof r.config, "mr=%d,nv=%d", 2 + i, 1 + i % 2);
        snprintf(r.why, sizeof r.why, "%s", why[i]);
        r.status = (enum hone_status)i;
        if (hone_db_add(&db, &r)) printf("# %s\n", hone_errmsg());
    }
    hone_db_close(&db);
}

/* ---- Kernel Tuner ---- */

static void check_round_trips(void)
{
    char said[1024] = "";
    struct hone_db_options t4 = { .format = HONE_T4 }, cache = { .format = HONE_CACHE_FILE };
    fill(in_dir("own.db"));
    char *all = export_as(in_dir("own.db"), NULL), *as_t4 = export_as(in_dir("own.db"), &t4),
         *as_cache = export_as(in_dir("own.db"), &cache);
    struct hone_import n = import_text(in_dir("t4.db"), as_t4, said, sizeof said);
    char *back = export_as(in_dir("t4.db"), NULL);
    ok(n.nadded == 4 && !strcmp(all, back), "T4 and back: the same records, to the last bit");
    ok(strstr(as_t4, "\"invalidity\": \"timeout\"") &&
           strstr(as_t4, "\"invalidity\": \"correctness\""),
       "a hang is a timeout there, an overrun a matter of correctness");
    free(back);
    n = import_text(in_dir("cache.db"), as_cache, said, sizeof said);
    back = export_as(in_dir("cache.db"), NULL);
    ok(n.nadded == 4 && !strcmp(all, back), "a cache file and back: likewise");
    ok(strstr(as_cache, "\"2,1\"") && strstr(as_cache, "\"RuntimeFailedConfig\""),
       "its entries are named by their values");
    n = import_text(in_dir("cache.db"), as_cache, said, sizeof said);
    ok(n.nadded == 0 && n.nknown == 4, "reading it again adds nothing");
    free(all), free(as_t4), free(as_cache), free(back);
}

static const char cache_file[] =
    "{\"device_name\": \"Testing\", \"kernel_name\": \"convolution\", \"problem_size\": [64, 64],\n"
    "\"tune_params_keys\": [\"x\", \"y\"], \"tune_params\": {\"x\": [16, 32], \"y\": [1]},\n"
    "\"objective\": \"time\", \"cache\": {\n"
    "\"16,1\": {\"x\": 16, \"y\": 1, \"time\": 3.9, \"times\": [4.0, 3.8, 3.9],"
    " \"timestamp\": \"2023-12-22 09:54:05.502007+00:00\"},\n"
    "\"32,1\": {\"x\": 32, \"y\": 1, \"time\": \"CompilationFailedConfig\","
    " \"timestamp\": \"2023-12-22 09:54:06+00:00\"}";
static const char t4_file[] =
    "{\"results\": [{\"timestamp\": \"2023-12-21 10:44:42.236642+00:00\","
    " \"configuration\": {\"x\": 16, \"y\": 1}, \"times\": {\"runtimes\": [12.2, 12.4, 12.3]},"
    " \"invalidity\": \"correct\", \"correctness\": 1, \"measurements\":"
    " [{\"name\": \"time\", \"value\": 12.3, \"unit\": \"\"}], \"objectives\": [\"time\"]},"
    " {\"configuration\": {\"x\": 1}, \"times\": {}, \"invalidity\": \"timeout\", \"correctness\": 0}],"
    " \"schema_version\": \"1.0.0\"}";

struct seen {
    int n, foreign, current;
    struct hone_record last, first;
};

static int see(void *ctx, const struct hone_record *r)
{
    struct seen *s = ctx;
    if (!s->n++) s->first = *r;
    s->last = *r;
    s->foreign += !strncmp(r->device, HONE_FOREIGN, strlen(HONE_FOREIGN));
    return 0;
}

static struct seen look(const char *path)
{
    struct seen s = { 0 };
    struct hone_db db;
    hone_db_open(&db, path, 0);
    hone_db_each(&db, NULL, NULL, see, &s);
    hone_db_close(&db);
    return s;
}

static void check_foreign(void)
{
    static const struct { const char *name, *end; } ends[] = {
        { "a closed cache file", "}}" },
        { "an open one, as it is while Kernel Tuner works", "" },
        { "an open one, with the comma", ",\n" },
    };
    char said[1024] = "", text[2048];
    for (int i = 0; i < 3; i++) {
        remove(in_dir("kt.db"));
        snprintf(text, sizeof text, "%s%s", cache_file, ends[i].end);
        struct hone_import n = import_text(in_dir("kt.db"), text, said, sizeof said);
        struct seen s = look(in_dir("kt.db"));
        ok(n.nadded == 2 && !n.nbad && s.foreign == 2, "%s: two foreign records", ends[i].name);
        ok(!strcmp(s.first.config, "x=16,y=1") && s.first.n == 3 && s.first.ms_median == 3.9 &&
               !strcmp(s.first.when, "2023-12-22T09:54:05Z") &&
               hone_record_fault(&s.last) == HONE_FAULT_BUILD,
           "with their config, time, date and fault");
    }
    remove(in_dir("t4f.db"));
    struct hone_import n = import_text(in_dir("t4f.db"), t4_file, said, sizeof said);
    struct seen s = look(in_dir("t4f.db"));
    ok(n.nadded == 2 && s.foreign == 2 && hone_record_fault(&s.first) == HONE_FAULT_HANG &&
           s.last.ms_median == 12.3,
       "T4 of another program: foreign, too");
    n = import_text(in_dir("t4f.db"), t4_file, said, sizeof said);
    ok(n.nadded == 0 && n.nknown == 2, "again: nothing new");
    /* The name of one of our kernels and problems does not make it ours. */
    char version[HONE_TEXT];
    const struct hone_kernel *k = some_kernel(version);
    snprintf(text, sizeof text,
             "{\"device_name\": \"%s\", \"kernel_name\": \"%s\", \"problem_size\":"
             " \"gemm:f32:nn:m8n8k8\", \"tune_params_keys\": [], \"tune_params\": {}, \"cache\":"
             " {\"-\": {\"time\": 1e-9, \"timestamp\": \"2030-01-01 00:00:00\"}}}",
             cpu.id, k->name);
    struct hone_problem p;
    struct hone_record best;
    struct hone_db db;
    n = import_text(in_dir("fake.db"), text, said, sizeof said);
    hone_problem_parse("gemm:f32:nn:m8n8k8", &p);
    hone_db_open(&db, in_dir("fake.db"), 0);
    ok(n.nadded == 1 && hone_db_best(&db, &p, &cpu, &best, 1) == 0,
       "a foreign record is never used, even under our own names");
    hone_db_close(&db);
}

/* ---- merging, audit, gc ---- */

static int run_quietly(int (*f)(struct hone_db *db, int dry), const char *path, int dry, char *out,
                       size_t size)
{
    struct hone_db db;
    int pipes[2], status;
    size_t n = 0;
    ssize_t got;
    fflush(stdout);
    if (pipe(pipes)) return -1;
    pid_t pid = fork();
    if (!pid) {
        dup2(pipes[1], 1);
        int err = hone_db_open(&db, path, 1);
        if (!err) err = f(&db, dry);
        fflush(stdout);
        _exit(err ? 1 : 0);
    }
    close(pipes[1]);
    while (n + 1 < size && (got = read(pipes[0], out + n, size - 1 - n)) > 0) n += (size_t)got;
    out[n] = 0;
    close(pipes[0]);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static int audit(struct hone_db *db, int dry) { (void)dry; return hone_db_audit(db); }

static void check_merge(void)
{
    struct hone_import n;
    struct hone_db db;
    const char *orders[2][3] = { { "own.db", "kt.db", "t4f.db" }, { "t4f.db", "own.db", "kt.db" } };
    char *text[2];
    for (int i = 0; i < 2; i++) {
        hone_db_open(&db, in_dir(i ? "m1.db" : "m0.db"), 1);
        for (int j = 0; j < 3; j++)
            if (hone_db_merge(&db, in_dir(orders[i][j]), stdout, &n))
                printf("# %s\n", hone_errmsg());
        hone_db_close(&db);
        text[i] = export_as(in_dir(i ? "m1.db" : "m0.db"), NULL);
    }
    ok(!strcmp(text[0], text[1]) && strstr(text[0], "Testing"),
       "databases merged in any order give the same");
    free(text[0]), free(text[1]);
    hone_db_open(&db, in_dir("m1.db"), 1);
    ok(hone_db_merge(&db, in_dir("missing.db"), stdout, &n) == HONE_EDB, "a missing file is said");
    hone_db_close(&db);
}

static void check_audit(void)
{
    char version[HONE_TEXT], older[HONE_TEXT], out[4096];
    const struct hone_kernel *k = some_kernel(version);
    struct hone_db db;
    struct hone_problem p;
    struct hone_record best[8];
    snprintf(older, sizeof older, "%s", version);
    snprintf(strrchr(older, ' '), 12, " 12345");
    hone_db_open(&db, in_dir("waste.db"), 1);
    struct hone_record r[] = {
        record_of("gemm:f32:nn:m8n8k8", k->name, version, 2, "s"),
        record_of("gemm:f32:nn:m8n8k8", k->name, older, 0.5, "s"),
        record_of("gemm:f32:nn:m8n8k8", "no_such_kernel", "aot x 1", 0.5, "s"),
        record_of("no_such_op:f32:any:n4", k->name, version, 0.5, "s"),
        record_of("gemm:f32:nn:m8n8k9", k->name, version, 1, "s"),
        record_of("gemm:f32:nn:m8n8k9", k->name, version, 0, "t"),
    };
    r[5].status = HONE_WRONG;
    r[5].n = 0;
    for (int i = 0; i < 6; i++)
        if (hone_db_add(&db, &r[i])) printf("# %s\n", hone_errmsg());
    hone_problem_parse("gemm:f32:nn:m8n8k8", &p);
    ok(hone_db_best(&db, &p, &cpu, best, 8) == 1 && best[0].ms_median == 2,
       "of older, unknown and current records only the current one is served");
    hone_db_close(&db);
    ok(run_quietly(audit, in_dir("waste.db"), 0, out, sizeof out) == 0 &&
           strstr(out, "1 of kernels whose source has changed") &&
           strstr(out, "2 of ops or kernels") && strstr(out, "contradiction: gemm:f32:nn:m8n8k9") &&
           strstr(out, "1 contradictions, 0 faults"),
       "audit counts them and names a contradiction");
    /* A row that nobody could add: a time below zero. */
    hone_db_open(&db, in_dir("waste.db"), 1);
    int rc = sqlite3_exec(db.sql,
                          "INSERT INTO records SELECT NULL, problem, device, status, at, session,"
                          " build, 'damaged', cache, n, -1, -1, -1, workspace_bytes, error, why"
                          " FROM records WHERE ms_median = 2", NULL, NULL, NULL);
    ok(!rc && hone_db_best(&db, &p, &cpu, best, 8) == 1 && best[0].ms_median == 2,
       "a damaged row is not the best, though its time is the least");
    hone_db_close(&db);
    ok(run_quietly(audit, in_dir("waste.db"), 0, out, sizeof out) == 1 &&
           strstr(out, "fault: record"),
       "and audit fails for it");
    int before = count(in_dir("waste.db"));
    ok(run_quietly(hone_db_gc, in_dir("waste.db"), 1, out, sizeof out) == 0 &&
           strstr(out, "2 records would go") && count(in_dir("waste.db")) == before,
       "a dry gc says what would go");
    ok(run_quietly(hone_db_gc, in_dir("waste.db"), 0, out, sizeof out) == 0 &&
           count(in_dir("waste.db")) == before - 2 &&
           run_quietly(audit, in_dir("waste.db"), 0, out, sizeof out) == 0,
       "gc drops the damaged and the older one, and audit is content");
}

/* ---- wisdom ---- */

/* Adds a line of a record as another device might have shipped it. */
static void ship(FILE *f, const char *device, const struct hone_kernel *k, const char *version,
                 const struct hone_config *c, double ms)
{
    struct hone_record r = record_of("gemm:f32:nn:m8n8k8", k->name, version, ms, "s");
    snprintf(r.device, sizeof r.device, "%s", device);
    hone_config_print(k, c, r.config);
    json_t *j = hone_record_json(&r);
    json_object_set_new(j, "type", json_string("record"));
    json_dumpf(j, f, JSON_COMPACT);
    putc('\n', f);
    json_decref(j);
}

/* The config that comes after the guess among the valid ones. */
static int other_config(const struct hone_kernel *k, const struct hone_problem *p,
                        const struct hone_config *not, int skip, struct hone_config *c)
{
    hone_config_first(k, c);
    do {
        if (hone_config_valid(k, p, c, &cpu) && memcmp(c, not, sizeof *c) && !skip--) return 1;
    } while (hone_config_next(k, c));
    return 0;
}

static void check_wisdom(void)
{
    static const char near[] = "cpu:Some Xeon:1.2.3:%s:%dcores:l2=1024k:l3=9000k",
                      far[] = "cpu:Some Xeon:1.2.3:other:64cores:l2=256k:l3=100000k";
    char version[HONE_TEXT], older[HONE_TEXT], device[192], from[192];
    const struct hone_kernel *k = some_kernel(version);
    struct hone_config guess, a, b;
    struct hone_problem p;
    struct hone_plan plan;
    struct hone_db db;
    int known;
    hone_problem_parse("gemm:f32:nn:m8n8k8", &p);
    hone_config_guess(k, &p, &cpu, &guess);
    if (!ok(other_config(k, &p, &guess, 0, &a) && other_config(k, &p, &guess, 1, &b),
            "two configs beside the guess"))
        return;
    snprintf(device, sizeof device, near, hone_isa_name(cpu.isa), cpu.ncores);
    ok(hone_wisdom_distance(cpu.id, cpu.id) == 0 &&
           hone_wisdom_distance(cpu.id, device) < hone_wisdom_distance(cpu.id, far) &&
           hone_wisdom_distance(cpu.id, "gpu:x") > 1e9,
       "itself is nearest, then a like device, then an unlike one; a GPU is none");
    FILE *f = fopen(in_dir("wise.jsonl"), "w");
    fprintf(f, "{ this line is bad\n");
    ship(f, far, k, version, &b, 0.001);
    ship(f, device, k, version, &a, 1);
    fclose(f);
    setenv("HONE_WISDOM", dir, 1);
    hone_db_open(&db, in_dir("fresh.db"), 0);
    ok(!hone_plan_best(&plan, &db, &p, &cpu, NULL, &known) && !known && plan.kernel == k &&
           !memcmp(&plan.config, &a, sizeof a),
       "a fresh machine uses what the nearest device found");
    hone_plan_close(&plan);
    hone_db_close(&db);
    snprintf(older, sizeof older, "%s", version);
    snprintf(strrchr(older, ' '), 12, " 12345");
    f = fopen(in_dir("wise.jsonl"), "w");
    ship(f, device, k, older, &a, 1);
    fclose(f);
    hone_db_open(&db, in_dir("fresh.db"), 0);
    ok(hone_wisdom_plan(&plan, &db, &p, &cpu, 0, from) != HONE_OK,
       "a kernel's record from before its source changed is not used");
    ok(!hone_wisdom_plan(&plan, &db, &p, &cpu, 1, from) && !memcmp(&plan.config, &a, sizeof a) &&
           !strcmp(from, device),
       "but it is a hint, to be proven first");
    hone_plan_close(&plan);
    hone_db_close(&db);
    setenv("HONE_WISDOM", "", 1);
    hone_db_open(&db, in_dir("fresh.db"), 0);
    ok(hone_wisdom_plan(&plan, &db, &p, &cpu, 1, from) != HONE_OK, "an empty place: none");
    hone_db_close(&db);
}

/* ---- much ---- */

static double cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return 1e6 * (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec +
           1e6 * (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec;
}

static double look_up_us(struct hone_db *db)
{
    enum { TIMES = 400 };
    char text[HONE_TEXT];
    struct hone_problem p[100];
    struct hone_record best;
    int found = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "gemm:f32:nn:m8n8k%d", 8 + i);
        hone_problem_parse(text, &p[i]);
    }
    hone_db_best(db, &p[0], &cpu, &best, 1);
    double before = cpu_us();
    for (int i = 0; i < TIMES; i++) found += hone_db_best(db, &p[i % 100], &cpu, &best, 1) == 1;
    double us = (cpu_us() - before) / TIMES;
    if (found != TIMES) printf("# only %d of %d found\n", found, TIMES);
    return us;
}

static int plan_uses_index(struct hone_db *db, const char *sql)
{
    sqlite3_stmt *st;
    int good = 1, lines = 0;
    char text[256], explain[2048];
    snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", sql);
    if (sqlite3_prepare_v2(db->sql, explain, -1, &st, NULL)) return 0;
    while (sqlite3_step(st) == SQLITE_ROW) {
        hone_db_text(st, 3, text, sizeof text);
        lines++;
        if (!strncmp(text, "SCAN", 4)) { printf("# %s\n", text); good = 0; }
    }
    sqlite3_finalize(st);
    return good && lines;
}

/* 1,000 problems of 100 records, of which 6 of the last session were timed: as tuned nets leave
 * them. */
static void check_much(void)
{
    char version[HONE_TEXT], text[HONE_TEXT];
    const struct hone_kernel *k = some_kernel(version);
    struct hone_db db;
    double us[2];
    hone_db_open(&db, in_dir("much.db"), 1);
    for (int size = 0; size < 2; size++) {
        const int problems = size ? 1000 : 100;
        hone_db_begin(&db);
        for (int i = size ? 100 : 0; i < problems; i++)
            for (int j = 0; j < 100; j++) {
                snprintf(text, sizeof text, "gemm:f32:nn:m8n8k%d", 8 + i);
                struct hone_record r = record_of(text, k->name, version, 1 + j, "s");
                snprintf(r.config, sizeof r.config, "mr=%d", j);
                r.status = j < 6 ? HONE_TIMED : HONE_DROPPED;
                if (hone_db_add(&db, &r)) { printf("# %s\n", hone_errmsg()); return; }
            }
        hone_db_end(&db, 0);
        us[size] = look_up_us(&db);
    }
    printf("# a look-up takes %.1f us of processor time among 10,000 records, %.1f among 100,000\n",
           us[0], us[1]);
    ok(us[1] < 3 * us[0] + 10, "ten times the records: a look-up takes about as long");
    ok(us[1] < 1000, "and is a matter of microseconds");
    for (int which = HONE_SQL_BUILD_OF; which <= HONE_SQL_LATEST; which++) {
        sqlite3_stmt *st;
        hone_db_statement(&db, which, &st);
        ok(plan_uses_index(&db, sqlite3_sql(st)), "statement %d searches by index alone", which);
    }
    hone_db_close(&db);
}

int main(void)
{
    if (!open_place()) return 1;
    check_round_trips();
    check_foreign();
    check_merge();
    check_audit();
    check_wisdom();
    check_much();
    close_place();
    return tap_end();
}
