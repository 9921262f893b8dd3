/* The database: what is put in comes out, the best is chosen by rule, text goes both ways. */
#include "tests/db.h"

#include <math.h>
#include <sys/wait.h>

/* ---- in and out ---- */

static int copy_last(void *ctx, const struct hone_record *r)
{
    *(struct hone_record *)ctx = *r;
    return 0;
}

static void check_round_trip(void)
{
    struct hone_db db;
    struct hone_record r = record_of("gemm:f32:nn:m4n4k4", "some_kernel", "aot x", 0.1 + 0.2, "s1"),
                       got = { 0 }, again;
    r.status = HONE_DROPPED;
    snprintf(r.why, sizeof r.why, "it's \"slow\"\nand more");
    ok(!hone_db_open(&db, in_dir("a.db"), 1), "a missing file is made");
    ok(!hone_db_add(&db, &r) && r.id > 0, "a record is added");
    again = r;
    ok(!hone_db_add(&db, &again) && again.id == 0, "an equal record is not added twice");
    hone_db_each(&db, NULL, NULL, copy_last, &got);
    ok(!memcmp(&got, &r, sizeof r), "it comes out as it went in, to the last bit");
    ok(sqlite3_exec(db.sql, "UPDATE records SET ms_median = 0", NULL, NULL, NULL) ==
           SQLITE_CONSTRAINT_TRIGGER,
       "no record can be changed");
    hone_db_close(&db);
    struct bytes before = read_file(in_dir("a.db"));
    ok(count(in_dir("a.db")) == 1 && unchanged(in_dir("a.db"), before), "reading changes no byte");
    ok(!hone_db_open(&db, in_dir("none.db"), 0) && !db.sql && access(in_dir("none.db"), F_OK),
       "a missing file reads as empty and is not made");
    struct hone_problem p;
    hone_problem_parse("gemm:f32:nn:m4n4k4", &p);
    ok(hone_db_best(&db, &p, &cpu, &got, 1) == 0, "and finds nothing");
    hone_db_close(&db);
}

/* ---- counters ---- */

static char exported[4096];

static const char *export_of(const char *name)
{
    struct hone_db db;
    FILE *f = fmemopen(exported, sizeof exported, "w");
    memset(exported, 0, sizeof exported);
    hone_db_open(&db, in_dir(name), 0);
    hone_db_export(&db, f);
    fclose(f);
    hone_db_close(&db);
    return exported;
}

static int add_text(const char *name, const char *text, struct hone_import *n)
{
    struct hone_db db;
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r"), *bad = fopen("/dev/null", "w");
    hone_db_open(&db, in_dir(name), 1);
    int err = hone_db_import(&db, "text", f, bad, n);
    fclose(f);
    fclose(bad);
    hone_db_close(&db);
    return err;
}

static int has_table(const char *name)
{
    struct hone_db db;
    hone_db_open(&db, in_dir(name), 0);
    const int has = hone_db_has_counters(&db);
    hone_db_close(&db);
    return has;
}

/* A database of before there were counters is one in which nothing was counted. */
static void check_counters(void)
{
    static const char counted[] = "dram_read=1.25e+06 occupancy=47";
    struct hone_db db;
    struct hone_record r = record_of("gemm:f32:nn:m4n4k4", "some_kernel", "aot x", 0.5, "s1"),
                       plain = r, got = { 0 };
    struct hone_import n;
    char with[4096], without[4096];
    snprintf(r.counters, sizeof r.counters, "%s", counted);
    hone_db_open(&db, in_dir("older.db"), 1);
    hone_db_add(&db, &plain);
    hone_db_close(&db);
    snprintf(without, sizeof without, "%s", export_of("older.db"));
    ok(!has_table("older.db") && !strstr(without, "counters"),
       "what nothing was counted of is kept as ever");
    hone_db_open(&db, in_dir("older.db"), 1);
    ok(!hone_db_add(&db, &r) && !r.id && hone_db_has_counters(&db),
       "an older database takes counters of a record that it has");
    hone_db_each(&db, NULL, NULL, copy_last, &got);
    ok(!strcmp(got.counters, counted), "which come out as they went in");
    hone_db_close(&db);
    snprintf(with, sizeof with, "%s", export_of("older.db"));
    ok(strstr(with, "\"counters\":{\"dram_read\":1250000.0,\"occupancy\":47.0}") != NULL,
       "as JSON");
    add_text("a-b.db", with, &n);
    add_text("a-b.db", without, &n);
    ok(!strcmp(export_of("a-b.db"), with) && n.nknown == 1, "a text without takes none away");
    add_text("b-a.db", without, &n);
    add_text("b-a.db", with, &n);
    ok(!strcmp(export_of("b-a.db"), with), "and one with brings them, whichever comes first");
    char *at = strstr(with, "1250000.0");
    memcpy(at, "\"many\"   ", 9);
    ok(!add_text("bad.db", with, &n) && n.nbad == 1, "a counter that is no number is a bad line");
    hone_db_open(&db, in_dir("older.db"), 1);
    int rc = sqlite3_exec(db.sql, "DELETE FROM records", NULL, NULL, NULL);
    ok(!rc && !strstr(export_of("older.db"), "counters"), "they go with their record");
    hone_db_close(&db);
}

static int copy_run(void *ctx, const struct hone_run *r) { *(struct hone_run *)ctx = *r; return 0; }
static int copy_epoch(void *ctx, const struct hone_epoch *e)
{
    *(struct hone_epoch *)ctx = *e;
    return 0;
}

static void check_runs(void)
{
    struct hone_db db;
    struct hone_run r = { .net = "lenet5",
                          .data = "synthetic",
                          .device = "some device",
                          .epochs = 3,
                          .batch = 64,
                          .optimizer = "sgd",
                          .lr = 0.05,
                          .seed = 0xfedcba9876543210u,
                          .parameters = 61706,
                          .command = "hone train" },
                    got = { 0 };
    struct hone_epoch e = { 1, 2.5, 1000, 0.7, NAN, 0.6, 0.9, NAN }, f = { 0 };
    hone_db_open(&db, in_dir("runs.db"), 1);
    ok(!hone_db_add_run(&db, &r) && r.id && r.session[0] && r.when[0], "a training run is added");
    ok(!hone_db_add_epoch(&db, &r, &e), "an epoch of it is added");
    hone_db_each_run(&db, copy_run, &got);
    ok(!memcmp(&got, &r, sizeof r), "the run comes out as it went in");
    hone_db_each_epoch(&db, &r, copy_epoch, &f);
    ok(f.epoch == 1 && f.images_per_s == 1000 && isnan(f.train_accuracy) && isnan(f.test_mae) &&
           f.test_accuracy == 0.9,
       "so does the epoch, NAN included");
    snprintf(got.session, sizeof got.session, "unknown");
    ok(hone_db_add_epoch(&db, &got, &e) == HONE_EINVAL, "an epoch of an unknown run is refused");
    hone_db_close(&db);
}

/* ---- the best ---- */

/* The order of a few records under the rule, as letters of their kernels' names. */
static const char *order(const struct hone_record *r, int n)
{
    static char letters[16];
    struct hone_record sorted[8];
    memcpy(sorted, r, (size_t)n * sizeof *r);
    hone_db_rank(sorted, n);
    for (int i = 0; i < n; i++) letters[i] = sorted[i].kernel[0];
    letters[n] = 0;
    return letters;
}

static void check_ties(void)
{
    struct hone_record r[3] = { record_of("p", "a", "aot", 1.02, "s"),
                                record_of("p", "b", "aot", 1.0, "s"),
                                record_of("p", "c", "aot", 1.1, "s") };
    ok(!strcmp(order(r, 3), "bac"), "apart by more than 1 %%: the fastest first");
    r[0].ms_median = 1.009;
    ok(!strcmp(order(r, 3), "abc"), "within 1 %%: by name");
    snprintf(r[0].version, sizeof r[0].version, "lib x");
    ok(!strcmp(order(r, 3), "bac"), "within 1 %%: no library before the name");
    r[1].workspace_bytes = 65;
    ok(!strcmp(order(r, 3), "abc"), "within 1 %%: less workspace before no library");
    r[1].workspace_bytes = 64, r[2].workspace_bytes = 0, r[2].ms_median = 1.018;
    ok(!strcmp(order(r, 3), "bac"), "a tie is with the fastest, not with the next");
}

struct best_case {
    struct hone_db db;
    struct hone_problem p;
    const struct hone_kernel *k[2];
    char version[2][HONE_TEXT];
    int n;
};

static struct hone_record add_to(struct best_case *c, int k, const char *version, double ms,
                                 const char *session, const char *when, enum hone_status status)
{
    struct hone_record r = record_of("gemm:f32:nn:m8n8k8", c->k[k]->name,
                                     version ? version : c->version[k], ms, session);
    snprintf(r.when, sizeof r.when, "%s", when);
    r.status = status;
    if (hone_db_add(&c->db, &r) || !r.id) printf("# not added: %s\n", hone_errmsg());
    return r;
}

static int best_is(struct best_case *c, int k, double ms)
{
    struct hone_record best[4];
    int n = hone_db_best(&c->db, &c->p, &cpu, best, 4);
    if (k < 0) return n == 0;
    return n > 0 && !strcmp(best[0].kernel, c->k[k]->name) && best[0].ms_median == ms;
}

static void check_best(void)
{
    struct best_case c = { 0 };
    struct hone_plan plan;
    struct hone_record best[4];
    struct hone_device other = cpu;
    int known, nk = 0;
    hone_problem_parse("gemm:f32:nn:m8n8k8", &c.p);
    for (int i = 0; hone_kernels[i] && nk < 2; i++)
        if (!hone_kernels[i]->slow && hone_kernels[i]->param[0].name &&
            !hone_kernel_refuse(hone_kernels[i], &c.p, &cpu)) {
            hone_kernel_version(hone_kernels[i], c.version[nk]);
            c.k[nk++] = hone_kernels[i];
        }
    if (!ok(nk == 2, "two gemm kernels to choose from")) return;
    hone_db_open(&c.db, in_dir("best.db"), 1);
    ok(best_is(&c, -1, 0), "no record: nothing is best");
    add_to(&c, 0, "aot edited since", 0.1, "s0", "2026-01-09T00:00:00Z", HONE_TIMED);
    ok(best_is(&c, -1, 0), "the record of another version of a kernel is never served");
    ok(!hone_plan_best(&plan, &c.db, &c.p, &cpu, NULL, &known) && !known,
       "and the plan is then the untuned default");
    hone_plan_close(&plan);
    add_to(&c, 0, NULL, 3, "s1", "2026-01-02T00:00:00Z", HONE_TIMED);
    add_to(&c, 1, NULL, 4, "s1", "2026-01-02T00:00:00Z", HONE_TIMED);
    ok(best_is(&c, 0, 3), "the fastest of a session is best");
    add_to(&c, 1, NULL, 1, "s2", "2026-01-01T00:00:00Z", HONE_TIMED);
    ok(best_is(&c, 0, 3), "an earlier session's time is not compared, even if it was added later");
    add_to(&c, 1, NULL, 5, "s3", "2026-01-03T00:00:00Z", HONE_TIMED);
    ok(best_is(&c, 1, 5), "the latest session counts");
    add_to(&c, 0, NULL, 1, "s4", "2026-01-04T00:00:00Z", HONE_DROPPED);
    ok(best_is(&c, 1, 5), "a session that timed nothing does not");
    ok(hone_db_best(&c.db, &c.p, &cpu, best, 4) == 1 && !strcmp(best[0].config, "-"),
       "one record is served");
    ok(!hone_plan_best(&plan, &c.db, &c.p, &cpu, NULL, &known) && known && plan.kernel == c.k[1],
       "and opened as a plan");
    hone_plan_close(&plan);
    add_to(&c, 1, NULL, 0, "s5", "2026-01-01T00:00:00Z", HONE_WRONG);
    ok(best_is(&c, 0, 3), "what was ever found wrong is not served, not even from other sessions");
    hone_db_rest(&c.db);
    ok(!c.db.found && !c.db.build && !c.db.wisdom && !c.db.stmt[HONE_SQL_LATEST],
       "at rest a database keeps nothing of it");
    ok(best_is(&c, 0, 3), "and serves the same when it is asked again");
    snprintf(other.id, sizeof other.id, "another machine");
    ok(hone_db_best(&c.db, &c.p, &other, best, 4) == 0, "another device's records are not served");
    hone_db_close(&c.db);
}

/* ---- two at once ---- */

static void check_two_writers(void)
{
    pid_t pid[2];
    fflush(stdout);
    for (int w = 0; w < 2; w++) {
        if ((pid[w] = fork())) continue;
        struct hone_db db;
        int err = hone_db_open(&db, in_dir("both.db"), 1);
        for (int i = 0; !err && i < 40; i++) {
            struct hone_record r =
                record_of("gemm:f32:nn:m3n3k3", "k", "v", 1 + i, w ? "one" : "two");
            err = hone_db_add(&db, &r);
        }
        if (err) fprintf(stderr, "# %s\n", hone_errmsg());
        _exit(err != 0);
    }
    int bad = 0, status;
    for (int w = 0; w < 2; w++) { waitpid(pid[w], &status, 0); bad |= status; }
    ok(!bad && count(in_dir("both.db")) == 80,
       "two writers at once, the file made by either: every record is there");
}

/* ---- text ---- */

static char *export_text(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    struct hone_db db;
    FILE *f = open_memstream(&text, &n);
    if (hone_db_open(&db, path, 0) || hone_db_export(&db, f)) printf("# %s\n", hone_errmsg());
    fclose(f);
    hone_db_close(&db);
    return text;
}

static int import_text(const char *path, const char *text, char *said, size_t size,
                       struct hone_import *n)
{
    struct hone_db db;
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r"),
         *bad = fmemopen(said, size, "w");
    int err = hone_db_open(&db, path, 1);
    if (!err) err = hone_db_import(&db, "in.jsonl", f, bad, n);
    fclose(f);
    fclose(bad);
    hone_db_close(&db);
    return err;
}

static void check_text(void)
{
    struct hone_import n;
    char said[1024] = "";
    char *one = export_text(in_dir("both.db")), *runs = export_text(in_dir("runs.db")),
         *a = export_text(in_dir("a.db"));
    ok(!import_text(in_dir("m1.db"), one, said, sizeof said, &n) && n.nadded == 80 && !n.nbad,
       "an export of 80 records is imported");
    import_text(in_dir("m1.db"), runs, said, sizeof said, &n);
    ok(n.nadded == 2, "runs and epochs, too");
    import_text(in_dir("m1.db"), a, said, sizeof said, &n);
    import_text(in_dir("m2.db"), a, said, sizeof said, &n);
    import_text(in_dir("m2.db"), runs, said, sizeof said, &n);
    import_text(in_dir("m2.db"), one, said, sizeof said, &n);
    char *m1 = export_text(in_dir("m1.db")), *m2 = export_text(in_dir("m2.db"));
    ok(!strcmp(m1, m2) && strlen(m1) > strlen(one),
       "files merged in any order give the same export, byte for byte");
    import_text(in_dir("m2.db"), m1, said, sizeof said, &n);
    ok(n.nadded == 0 && n.nknown == 83, "importing again adds nothing");

    static const struct { const char *line, *says;
    } bad[] = {
        { "{", "in.jsonl:1: not JSON" },
        { "[]", "in.jsonl:1: no object" },
        { "{\"type\":\"cat\"}", "in.jsonl:1: 'cat' is no type" },
        { "{\"type\":\"record\"}", "in.jsonl:1: 'device' is missing" },
        { "{\"type\":\"hone\",\"version\":2}", "another version" },
        { "{\"type\":\"epoch\",\"run\":\"x\",\"epoch\":1,\"seconds\":1,\"images_per_s\":1,\"train_"
          "loss\":1,\"train_accuracy\":1,"
          "\"test_loss\":1,\"test_accuracy\":1,\"test_mae\":null}",
          "in.jsonl:1: run 'x' is not in the database" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text;
        if (asprintf(&text, "%s\n%s", bad[i].line, a) < 0) return;
        memset(said, 0, sizeof said);
        remove(in_dir("bad.db"));
        int err = import_text(in_dir("bad.db"), text, said, sizeof said, &n);
        if (!ok(!err && n.nbad == 1 && n.nadded == 1 && strstr(said, bad[i].says),
                "bad line, good one kept: %s", bad[i].says))
            printf("# %s\n", said);
        free(text);
    }
    /* A record that contradicts itself must not become the best. */
    static const char *const lies[][2] = {
        { "\"status\":\"dropped\"", "\"status\":\"eaten\"" },
        { "\"n\":11", "\"n\":-1" },
        { "\"n\":11", "\"n\":1.5" },
        { "\"ms_lo\":0.", "\"ms_lo\":9." },
        { "\"workspace_bytes\":64", "\"workspace_bytes\":-64" },
        { "\"session\":\"s1\"", "\"session\":\"\"" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char *at = strstr(a, lies[i][0]), *text;
        ok(at != NULL, "%s is there to be changed", lies[i][0]);
        if (!at) continue;
        if (asprintf(&text, "%.*s%s%s", (int)(at - a), a, lies[i][1], at + strlen(lies[i][0])) < 0)
            return;
        remove(in_dir("bad.db"));
        import_text(in_dir("bad.db"), text, said, sizeof said, &n);
        ok(n.nbad == 1 && n.nadded == 0, "%s is refused", lies[i][1]);
        free(text);
    }
    free(one); free(runs); free(a); free(m1); free(m2);
}

/* ---- speed ---- */

static void check_speed(void)
{
    struct best_case c = { 0 };
    char text[HONE_TEXT];
    struct hone_record best[4];
    double t[101];
    int nk = 0;
    hone_problem_parse("gemm:f32:nn:m8n8k8", &c.p);
    for (int i = 0; hone_kernels[i] && nk < 1; i++)
        if (!hone_kernels[i]->slow && !hone_kernel_refuse(hone_kernels[i], &c.p, &cpu))
            c.k[nk++] = hone_kernels[i];
    if (!nk) return;
    hone_kernel_version(c.k[0], c.version[0]);
    hone_db_open(&c.db, in_dir("speed.db"), 1);
    hone_db_begin(&c.db);
    for (int i = 0; i < 10000; i++) {
        snprintf(text, sizeof text, "gemm:f32:nn:m8n8k%d", 8 + i % 100);
        struct hone_record r = record_of(text, c.k[0]->name, c.version[0], 1 + i, "s");
        r.status = i < 300 ? HONE_TIMED : HONE_DROPPED;
        hone_db_add(&c.db, &r);
    }
    hone_db_end(&c.db, 0);
    for (int i = 0; i < 101; i++) {
        double start = hone_now();
        if (hone_db_best(&c.db, &c.p, &cpu, best, 4) != 3) t[0] = 1e9;
        t[i] = 1e6 * (hone_now() - start);
    }
    struct hone_stats s = hone_stats_of(t, 101);
    ok(s.median < 2000, "a look-up among 10000 records takes microseconds");
    printf("# %.1f us\n", s.median);
    hone_db_close(&c.db);
}

int main(void)
{
    if (!open_place()) return 1;
    check_round_trip();
    check_counters();
    check_runs();
    check_ties();
    check_best();
    check_two_writers();
    check_text();
    check_speed();
    close_place();
    return tap_end();
}
