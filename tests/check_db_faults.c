/* Whatever is wrong with a database gives one line and leaves every byte as it was; a writer that
 * is killed loses at most the record being written. */
#include "tests/db.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Opening fails with one line that holds `says`, and the file stays as it is. */
static void refused(const char *path, int create, const char *says, const char *name)
{
    struct hone_db db;
    struct bytes before = read_file(path);
    int err = hone_db_open(&db, path, create);
    if (!ok(err == HONE_EDB && strstr(hone_errmsg(), says) && strstr(hone_errmsg(), path) &&
                !strchr(hone_errmsg(), '\n'),
            "%s, %s: '%s'", name, create ? "to write" : "to read", says))
        printf("# %s: %s\n", err ? hone_errname(err) : "opened", err ? hone_errmsg() : "");
    ok(unchanged(path, before), "%s, %s: no byte changed", name, create ? "to write" : "to read");
    hone_db_close(&db);
}

/* ---- bad files ---- */

static void check_bad_files(void)
{
    struct bytes good;
    sqlite3 *sql;
    make(in_dir("good.db"), 400);
    write_file(in_dir("text.db"),
               "no database at all, but long enough to look at its header: "
               "...................................",
               92);
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
        sqlite3_exec(sql, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
                     NULL, NULL, NULL);
        sqlite3_close(sql);
        refused(in_dir("foreign.db"), create, "another program", "another program's database");
        ok(access(in_dir("foreign.db-wal"), F_OK) && access(in_dir("foreign.db-shm"), F_OK),
           "no file was made beside it");
        refused(dir, create, "no regular file", "a directory");
    }
    refused(in_dir("none/x.db"), 1, "No such file", "a missing directory");
    /* Damage inside: every page but the first is overwritten; half of the file is missing. */
    struct bytes bad = read_file(in_dir("good.db"));
    memset(bad.at + 4096, 0x5a, (size_t)bad.n - 4096);
    write_file(in_dir("damaged.db"), bad.at, bad.n);
    refused(in_dir("damaged.db"), 1, "damaged", "overwritten pages");
    ok(count(in_dir("damaged.db")) == -1 && strstr(hone_errmsg(), "damaged"),
       "overwritten pages: reading says so, too");
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
    if (err != HONE_EDB || !strstr(hone_errmsg(), "limit full")) {
        fprintf(stderr, "# %s\n", hone_errmsg());
        return 3;
    }
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
    sqlite3_exec(db.sql, "PRAGMA max_page_count = 1", NULL, NULL,
                 NULL); /* SQLite's own "disk full" */
    int err = hone_db_begin(&db);
    for (int i = 0; !err && i < 500; i++) {
        struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1000 + i, "full");
        err = hone_db_add(&db, &r);
    }
    err = hone_db_end(&db, err);
    if (!ok(err == HONE_EDB && strstr(hone_errmsg(), "disk full"), "a full disk: says so"))
        printf("# %s\n", hone_errmsg());
    hone_db_close(&db);
    ok(unchanged(in_dir("good.db"), before), "and no byte changed");
}

/* Killed in the middle of a transaction that has reached the file: what is left has to be undone.
 */
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
        ok(n == told || n == told + 1,
           "killed after %d records: at most the one being written is lost", told);
    }
}

/* ---- eight writers, two hundred kills ---- */

enum { WRITERS = 8, KILLS = 200 };

/* Adds records under a session of its own and counts those that were added, where the count
 * outlives it. */
static _Noreturn void add_and_count(int life, volatile int *added)
{
    struct hone_db db;
    char session[40];
    snprintf(session, sizeof session, "life %d", life);
    int err = hone_db_open(&db, in_dir("eight.db"), 1);
    for (int i = 0; !err || strstr(hone_errmsg(), "locked"); i += !err) {
        struct hone_record r = record_of("gemm:f32:nn:m3n3k3", "k", "v", 1 + i, session);
        /* Seven others may be faster for longer than a writer waits. */
        err = db.sql ? hone_db_add(&db, &r) : hone_db_open(&db, in_dir("eight.db"), 1);
        if (db.sql && !err && r.id) added[life]++;
    }
    fprintf(stderr, "# life %d: %s\n", life, hone_errmsg());
    _exit(1);
}

static pid_t begin_life(int life, volatile int *added)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) add_and_count(life, added);
    return pid;
}

static int count_life(void *ctx, const struct hone_record *r)
{
    int *found = ctx, life;
    if (sscanf(r->session, "life %d", &life) == 1 && life >= 0 && life < WRITERS + KILLS)
        found[life]++;
    return 0;
}

static void check_eight(void)
{
    enum { LIVES = WRITERS + KILLS };
    volatile int *added = mmap(NULL, LIVES * sizeof *added, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid[WRITERS];
    int found[LIVES] = { 0 }, lost = 0, extra = 0, all = 0, died = 0, status;
    struct hone_db db;
    const uint64_t seed = (uint64_t)getpid();
    if (added == MAP_FAILED) return;
    for (int w = 0; w < WRITERS; w++) pid[w] = begin_life(w, added);
    for (int k = 0; k < KILLS + WRITERS; k++) {
        const int w = k < KILLS ? (int)(hone_random(seed, 2 * (uint64_t)k) % WRITERS) : k - KILLS;
        usleep((useconds_t)(30000 * hone_random_unit(seed, 2 * (uint64_t)k + 1)));
        kill(pid[w], SIGKILL);
        waitpid(pid[w], &status, 0);
        died += !WIFSIGNALED(status);
        if (k < KILLS) pid[w] = begin_life(WRITERS + k, added);
    }
    if (!hone_db_open(&db, in_dir("eight.db"), 0)) hone_db_each(&db, NULL, NULL, count_life, found);
    hone_db_close(&db);
    for (int i = 0; i < LIVES; i++) {
        all += added[i];
        lost += found[i] < added[i];
        extra += found[i] > added[i] + 1;
    }
    printf("# seed %llu: %d records of %d lives\n", (unsigned long long)seed, all, LIVES);
    ok(!died && all > 0, "eight writers at once, killed at %d random moments", KILLS);
    ok(!lost && !extra, "of each killed one at most the record being written is lost");
    ok(count(in_dir("eight.db")) >= all, "and the database is intact");
    munmap((void *)(uintptr_t)added, LIVES * sizeof *added);
}

int main(void)
{
    if (!open_place()) return 1;
    check_bad_files();
    check_read_only();
    check_locked();
    check_full_disk();
    check_killed();
    check_eight();
    close_place();
    return tap_end();
}
