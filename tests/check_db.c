/* The database: what is put in comes out, the best is chosen by rule, and whatever is wrong with
 * the file gives one line and leaves every byte as it was. */
#include "config.h"

#include "autotune/db.h"
#include "autotune/race.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

static struct hone_record record_of(const char *problem, const char *kernel, const char *version, double ms, const char *session)
{
    struct hone_record r = { .status = HONE_TIMED, .n = 11, .ms_median = ms, .ms_lo = 0.99 * ms, .ms_hi = 1.03 * ms,
                             .workspace_bytes = 64, .error = 0.25, .cache = "weights", .when = "2026-01-02T03:04:05Z" };
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
    b.at = malloc((size_t)b.n + 1);
    if (fread(b.at, 1, (size_t)b.n, f) != (size_t)b.n) b.n = -2;
    fclose(f);
    return b;
}

static void write_file(const char *path, const void *at, long n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(at, 1, (size_t)n, f) != (size_t)n || fclose(f)) { printf("Bail out! cannot write %s\n", path); exit(1); }
}

/* Frees b. */
static int unchanged(const char *path, struct bytes b)
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
static int count(const char *path)
{
    struct hone_db db;
    sqlite3_stmt *st;
    int n = 0;
    if (hone_db_open(&db, path, 0)) { printf("# %s\n", hone_errmsg()); return -1; }
    if (hone_db_each(&db, NULL, NULL, count_record, &n)) n = -1;
    if (db.sql) {
        sqlite3_prepare_v2(db.sql, "PRAGMA integrity_check", -1, &st, NULL);
        if (sqlite3_step(st) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(st, 0), "ok")) n = -1;
        sqlite3_finalize(st);
    }
    hone_db_close(&db);
    return n;
}

/* A database of n records that differ in their times. */
static void make(const char *path, int n)
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

/* Opening fails with one line that holds `says`, and the file stays as it is. */
static void refused(const char *path, int create, const char *says, const char *name)
{
    struct hone_db db;
    struct bytes before = read_file(path);
    int err = hone_db_open(&db, path, create);
    if (!ok(err == HONE_EDB && strstr(hone_errmsg(), says) && strstr(hone_errmsg(), path) && !strchr(hone_errmsg(), '\n'),
            "%s, %s: '%s'", name, create ? "to write" : "to read", says))
        printf("# %s: %s\n", err ? hone_errname(err) : "opened", err ? hone_errmsg() : "");
    ok(unchanged(path, before), "%s, %s: no byte changed", name, create ? "to write" : "to read");
    hone_db_close(&db);
}

/* ---- in and out ---- */

static int copy_last(void *ctx, const struct hone_record *r)
{
    *(struct hone_record *)ctx = *r;
    return 0;
}

static void check_round_trip(void)
{
    struct hone_db db;
    struct hone_record r = record_of("gemm:f32:nn:m4n4k4", "some_kernel", "aot x", 0.1 + 0.2, "s1"), got = { 0 }, again;
    r.status = HONE_DROPPED;
    snprintf(r.why, sizeof r.why, "it's \"slow\"\nand more");
    ok(!hone_db_open(&db, in_dir("a.db"), 1), "a missing file is made");
    ok(!hone_db_add(&db, &r) && r.id > 0, "a record is added");
    again = r;
    ok(!hone_db_add(&db, &again) && again.id == 0, "an equal record is not added twice");
    hone_db_each(&db, NULL, NULL, copy_last, &got);
    ok(!memcmp(&got, &r, sizeof r), "it comes out as it went in, to the last bit");
    ok(sqlite3_exec(db.sql, "UPDATE records SET ms_median = 0", NULL, NULL, NULL) == SQLITE_CONSTRAINT_TRIGGER, "no record can be changed");
    hone_db_close(&db);
    struct bytes before = read_file(in_dir("a.db"));
    ok(count(in_dir("a.db")) == 1 && unchanged(in_dir("a.db"), before), "reading changes no byte");
    ok(!hone_db_open(&db, in_dir("none.db"), 0) && !db.sql && access(in_dir("none.db"), F_OK), "a missing file reads as empty and is not made");
    struct hone_problem p;
    hone_problem_parse("gemm:f32:nn:m4n4k4", &p);
    ok(hone_db_best(&db, &p, &cpu, &got, 1) == 0, "and finds nothing");
    hone_db_close(&db);
}

static int copy_run(void *ctx, const struct hone_run *r) { *(struct hone_run *)ctx = *r; return 0; }
static int copy_epoch(void *ctx, const struct hone_epoch *e) { *(struct hone_epoch *)ctx = *e; return 0; }

static void check_runs(void)
{
    struct hone_db db;
    struct hone_run r = { .net = "lenet5", .data = "synthetic", .device = "some device", .epochs = 3, .batch = 64, .optimizer = "sgd",
                          .lr = 0.05, .seed = 0xfedcba9876543210u, .parameters = 61706, .command = "hone train" }, got = { 0 };
    struct hone_epoch e = { 1, 2.5, 1000, 0.7, NAN, 0.6, 0.9, NAN }, f = { 0 };
    hone_db_open(&db, in_dir("runs.db"), 1);
    ok(!hone_db_add_run(&db, &r) && r.id && r.session[0] && r.when[0], "a training run is added");
    ok(!hone_db_add_epoch(&db, &r, &e), "an epoch of it is added");
    hone_db_each_run(&db, copy_run, &got);
    ok(!memcmp(&got, &r, sizeof r), "the run comes out as it went in");
    hone_db_each_epoch(&db, &r, copy_epoch, &f);
    ok(f.epoch == 1 && f.images_per_s == 1000 && isnan(f.train_accuracy) && isnan(f.test_mae) && f.test_accuracy == 0.9,
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
    struct hone_record r[3] = { record_of("p", "a", "aot", 1.02, "s"), record_of("p", "b", "aot", 1.0, "s"), record_of("p", "c", "aot", 1.1, "s") };
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

static struct hone_record add_to(struct best_case *c, int k, const char *version, double ms, const char *session, const char *when,
                                 enum hone_status status)
{
    struct hone_record r = record_of("gemm:f32:nn:m8n8k8", c->k[k]->name, version ? version : c->version[k], ms, session);
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
        if (!hone_kernels[i]->slow && hone_kernels[i]->param[0].name && !hone_kernel_refuse(hone_kernels[i], &c.p, &cpu)) {
            hone_kernel_version(hone_kernels[i], c.version[nk]);
            c.k[nk++] = hone_kernels[i];
        }
    if (!ok(nk == 2, "two gemm kernels to choose from")) return;
    hone_db_open(&c.db, in_dir("best.db"), 1);
    ok(best_is(&c, -1, 0), "no record: nothing is best");
    add_to(&c, 0, "aot edited since", 0.1, "s0", "2026-01-09T00:00:00Z", HONE_TIMED);
    ok(best_is(&c, -1, 0), "the record of another version of a kernel is never served");
    ok(!hone_plan_best(&plan, &c.db, &c.p, &cpu, NULL, &known) && !known, "and the plan is then the untuned default");
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
    ok(hone_db_best(&c.db, &c.p, &cpu, best, 4) == 1 && !strcmp(best[0].config, "-"), "one record is served");
    ok(!hone_plan_best(&plan, &c.db, &c.p, &cpu, NULL, &known) && known && plan.kernel == c.k[1], "and opened as a plan");
    hone_plan_close(&plan);
    add_to(&c, 1, NULL, 0, "s5", "2026-01-01T00:00:00Z", HONE_WRONG);
    ok(best_is(&c, 0, 3), "what was ever found wrong is not served, not even from other sessions");
    snprintf(other.id, sizeof other.id, "another machine");
    ok(hone_db_best(&c.db, &c.p, &other, best, 4) == 0, "another device's records are not served");
    hone_db_close(&c.db);
}

/* ---- bad files ---- */

static void check_bad_files(void)
{
    struct bytes good;
    sqlite3 *sql;
    make(in_dir("good.db"), 400);
    write_file(in_dir("text.db"), "no database at all, but long enough to look at its header: ...................................", 92);
    good = read_file(in_dir("good.db"));
    for (int create = 0; create < 2; create++) {
        refused(in_dir("text.db"), create, "not a database", "a text");
        write_file(in_dir("short.db"), good.at, 60);
        refused(in_dir("short.db"), create, "not a database", "60 bytes of a database");
        good.at[63] = 99;
        write_file(in_dir("newer.db"), good.at, good.n);
        refused(in_dir("newer.db"), create, "use a newer hone", "a newer version");
        good.at[63] = 0;
        write_file(in_dir("older.db"), good.at, good.n);
        refused(in_dir("older.db"), create, "database of version 0", "an older version");
        good.at[63] = HONE_DB_VERSION;
        remove(in_dir("foreign.db"));
        sqlite3_open(in_dir("foreign.db"), &sql);
        sqlite3_exec(sql, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)", NULL, NULL, NULL);
        sqlite3_close(sql);
        refused(in_dir("foreign.db"), create, "another program", "another program's database");
        ok(access(in_dir("foreign.db-wal"), F_OK) && access(in_dir("foreign.db-shm"), F_OK), "no file was made beside it");
        refused(dir, create, "no regular file", "a directory");
    }
    refused(in_dir("none/x.db"), 1, "No such file", "a missing directory");
    /* Damage inside: every page but the first is overwritten; half of the file is missing. */
    struct bytes bad = read_file(in_dir("good.db"));
    memset(bad.at + 4096, 0x5a, (size_t)bad.n - 4096);
    write_file(in_dir("damaged.db"), bad.at, bad.n);
    refused(in_dir("damaged.db"), 1, "damaged", "overwritten pages");
    ok(count(in_dir("damaged.db")) == -1 && strstr(hone_errmsg(), "damaged"), "overwritten pages: reading says so, too");
    write_file(in_dir("half.db"), good.at, good.n / 2 / 4096 * 4096);
    refused(in_dir("half.db"), 1, "damaged", "half of a file");
    free(bad.at);
    free(good.at);
}

/* Runs f in a process of its own; its exit status. */
static int in_child(int (*f)(void))
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) _exit(f());
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int open_read_only(void)
{
    struct hone_db db;
    if (!geteuid() && setuid(65534)) return 3;
    if (!hone_db_open(&db, in_dir("good.db"), 1)) return 1;
    if (!strstr(hone_errmsg(), "read-only")) { fprintf(stderr, "# %s\n", hone_errmsg()); return 2; }
    return count(in_dir("good.db")) == 400 ? 0 : 4;
}

static void check_read_only(void)
{
    struct bytes before = read_file(in_dir("good.db"));
    chmod(dir, 0755);
    chmod(in_dir("good.db"), 0444);
    int status = in_child(open_read_only);
    if (status == 3) skip("cannot become another user", "a read-only file");
    else ok(status == 0, "a read-only file: told when opened to write, fine to read");
    chmod(in_dir("good.db"), 0644);
    ok(unchanged(in_dir("good.db"), before), "a read-only file: no byte changed");
}

static void check_locked(void)
{
    int to_child[2], to_parent[2];
    char c = 0;
    if (pipe(to_child) || pipe(to_parent)) return;
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        sqlite3 *sql;
        close(to_child[1]);
        sqlite3_open(in_dir("good.db"), &sql);
        sqlite3_exec(sql, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
        _exit(write(to_parent[1], "x", 1) != 1 || read(to_child[0], &c, 1) != 0);
    }
    close(to_child[0]);
    ok(read(to_parent[0], &c, 1) == 1, "another process locks the file");
    refused(in_dir("good.db"), 1, "locked by another process", "a locked file");
    close(to_child[1]);
    close(to_parent[0]);
    close(to_parent[1]);
    waitpid(pid, NULL, 0);
    ok(count(in_dir("good.db")) == 400, "once it is let go all is there");
}

/* ---- full disks and killed writers ---- */

static int fill_up(void)
{
    struct hone_db db;
    struct stat st;
    int err = hone_db_open(&db, in_dir("good.db"), 1), i = 0;
    if (err || stat(in_dir("good.db"), &st)) return 1;
    struct rlimit limit = { (rlim_t)st.st_size + 8192, (rlim_t)st.st_size + 8192 };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if ((err = hone_db_begin(&db))) return 2;
    for (; !err && i < 2000; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1000 + i, "full");
        err = hone_db_add(&db, &r);
    }
    err = hone_db_end(&db, err);
    if (err != HONE_EDB || !strstr(hone_errmsg(), "limit full")) { fprintf(stderr, "# %s\n", hone_errmsg()); return 3; }
    hone_db_close(&db);
    return 0;
}

static void check_full_disk(void)
{
    struct hone_db db;
    struct bytes before = read_file(in_dir("good.db"));
    ok(in_child(fill_up) == 0, "a file that may not grow: one line");
    ok(unchanged(in_dir("good.db"), before), "and no byte changed");
    before = read_file(in_dir("good.db"));
    hone_db_open(&db, in_dir("good.db"), 1);
    sqlite3_exec(db.sql, "PRAGMA max_page_count = 1", NULL, NULL, NULL);   /* SQLite's own "disk full" */
    int err = hone_db_begin(&db);
    for (int i = 0; !err && i < 500; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1000 + i, "full");
        err = hone_db_add(&db, &r);
    }
    err = hone_db_end(&db, err);
    if (!ok(err == HONE_EDB && strstr(hone_errmsg(), "disk full"), "a full disk: says so")) printf("# %s\n", hone_errmsg());
    hone_db_close(&db);
    ok(unchanged(in_dir("good.db"), before), "and no byte changed");
}

/* Killed in the middle of a transaction that has reached the file: what is left has to be undone. */
static int die_writing(void)
{
    struct hone_db db;
    int err = hone_db_open(&db, in_dir("good.db"), 1);
    if (!err) err = hone_db_exec(&db, "PRAGMA cache_size = 2");
    if (!err) err = hone_db_begin(&db);
    for (int i = 0; !err && i < 1000; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1000 + i, "lost");
        err = hone_db_add(&db, &r);
    }
    raise(SIGKILL);
    return err;
}

/* Adds records until it is killed, and tells of each that was added. */
static void add_forever(int tell)
{
    struct hone_db db;
    int err = hone_db_open(&db, in_dir("killed.db"), 1);
    for (int i = 0; !err; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1 + i, "kill");
        err = hone_db_add(&db, &r);
        if (!err && write(tell, "x", 1) != 1) err = HONE_EIO;
    }
    _exit(1);
}

static void check_killed(void)
{
    char c;
    in_child(die_writing);
    ok(!access(in_dir("good.db-journal"), F_OK), "a writer killed half way leaves a journal");
    ok(count(in_dir("good.db")) == 400, "and whoever reads next sees what was before");
    for (int trial = 0; trial < 4; trial++) {
        int tell[2], told = 0;
        remove(in_dir("killed.db"));
        if (pipe(tell)) return;
        fflush(stdout);
        pid_t pid = fork();
        if (!pid) add_forever(tell[1]);
        close(tell[1]);
        for (; told < 5 + 7 * trial && read(tell[0], &c, 1) == 1; told++) {}
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(tell[0], &c, 1) == 1) told++;
        close(tell[0]);
        int n = count(in_dir("killed.db"));
        ok(n == told || n == told + 1, "killed after %d records: at most the one being written is lost", told);
    }
}

static void check_two_writers(void)
{
    pid_t pid[2];
    fflush(stdout);
    for (int w = 0; w < 2; w++) {
        if ((pid[w] = fork())) continue;
        struct hone_db db;
        int err = hone_db_open(&db, in_dir("both.db"), 1);
        for (int i = 0; !err && i < 40; i++) {
            struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1 + i, w ? "one" : "two");
            err = hone_db_add(&db, &r);
        }
        if (err) fprintf(stderr, "# %s\n", hone_errmsg());
        _exit(err != 0);
    }
    int bad = 0, status;
    for (int w = 0; w < 2; w++) { waitpid(pid[w], &status, 0); bad |= status; }
    ok(!bad && count(in_dir("both.db")) == 80, "two writers at once, the file made by either: every record is there");
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

static int import_text(const char *path, const char *text, char *said, size_t size, struct hone_import *n)
{
    struct hone_db db;
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r"), *bad = fmemopen(said, size, "w");
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
    char *one = export_text(in_dir("both.db")), *runs = export_text(in_dir("runs.db")), *a = export_text(in_dir("a.db"));
    ok(!import_text(in_dir("m1.db"), one, said, sizeof said, &n) && n.nadded == 80 && !n.nbad, "an export of 80 records is imported");
    import_text(in_dir("m1.db"), runs, said, sizeof said, &n);
    ok(n.nadded == 2, "runs and epochs, too");
    import_text(in_dir("m1.db"), a, said, sizeof said, &n);
    import_text(in_dir("m2.db"), a, said, sizeof said, &n);
    import_text(in_dir("m2.db"), runs, said, sizeof said, &n);
    import_text(in_dir("m2.db"), one, said, sizeof said, &n);
    char *m1 = export_text(in_dir("m1.db")), *m2 = export_text(in_dir("m2.db"));
    ok(!strcmp(m1, m2) && strlen(m1) > strlen(one), "files merged in any order give the same export, byte for byte");
    import_text(in_dir("m2.db"), m1, said, sizeof said, &n);
    ok(n.nadded == 0 && n.nknown == 83, "importing again adds nothing");

    static const struct { const char *line, *says; } bad[] = {
        { "{", "in.jsonl:1: not JSON" }, { "[]", "in.jsonl:1: no object" }, { "{\"type\":\"cat\"}", "in.jsonl:1: 'cat' is no type" },
        { "{\"type\":\"record\"}", "in.jsonl:1: 'device' is missing" }, { "{\"type\":\"hone\",\"version\":2}", "another version" },
        { "{\"type\":\"epoch\",\"run\":\"x\",\"epoch\":1,\"seconds\":1,\"images_per_s\":1,\"train_loss\":1,\"train_accuracy\":1,"
          "\"test_loss\":1,\"test_accuracy\":1,\"test_mae\":null}", "in.jsonl:1: run 'x' is not in the database" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text;
        if (asprintf(&text, "%s\n%s", bad[i].line, a) < 0) return;
        memset(said, 0, sizeof said);
        remove(in_dir("bad.db"));
        int err = import_text(in_dir("bad.db"), text, said, sizeof said, &n);
        if (!ok(!err && n.nbad == 1 && n.nadded == 1 && strstr(said, bad[i].says), "bad line, good one kept: %s", bad[i].says)) printf("# %s\n", said);
        free(text);
    }
    /* A record that contradicts itself must not become the best. */
    static const char *const lies[][2] = {
        { "\"status\":\"dropped\"", "\"status\":\"eaten\"" }, { "\"n\":11", "\"n\":-1" }, { "\"n\":11", "\"n\":1.5" },
        { "\"ms_lo\":0.", "\"ms_lo\":9." }, { "\"workspace_bytes\":64", "\"workspace_bytes\":-64" }, { "\"session\":\"s1\"", "\"session\":\"\"" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char *at = strstr(a, lies[i][0]), *text;
        if (!ok(at != NULL, "%s is there to be changed", lies[i][0])) continue;
        if (asprintf(&text, "%.*s%s%s", (int)(at - a), a, lies[i][1], at + strlen(lies[i][0])) < 0) return;
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
        if (!hone_kernels[i]->slow && !hone_kernel_refuse(hone_kernels[i], &c.p, &cpu)) c.k[nk++] = hone_kernels[i];
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
    char command[128];
    if (!mkdtemp(dir) || hone_device_open(&cpu, "cpu0")) { printf("Bail out! no place to test in\n"); return 1; }
    check_round_trip();
    check_runs();
    check_ties();
    check_best();
    check_bad_files();
    check_read_only();
    check_locked();
    check_full_disk();
    check_killed();
    check_two_writers();
    check_text();
    check_speed();
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) printf("# %s is left behind\n", dir);
    hone_device_close(&cpu);
    return tap_end();
}
