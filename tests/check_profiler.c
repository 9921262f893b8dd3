/* The profiler against what is known: intervals against the binomial distribution, peaks and roofs,
 * files that are damaged, memory, paths, progress and interruption. Its times are in
 * check_timing.c, its counters in check_counters.c. */
#define _GNU_SOURCE   /* posix_openpt() */
#include "config.h"

#include "profiler/peaks.h"
#include "tests/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hone_device cpu;
static char scratch[] = "/tmp/hone-check-XXXXXX";

/* ---- statistics ---- */

/* P(binomial(n, 1/2) < r), summed from Pascal's triangle. */
static double below(int n, int r)
{
    double row[256] = { 1 }, sum = 0;
    for (int i = 1; i <= n; i++)
        for (int k = i; k >= 0; k--) row[k] = ((i == k ? 0 : row[k]) + (k ? row[k - 1] : 0)) / 2;
    for (int k = 0; k < r; k++) sum += row[k];
    return sum;
}

static void check_intervals(void)
{
    int good = 1;
    for (int n = 1; n <= 200; n++) {
        double t[200], sorted[200];
        int r = 0; /* ranks left out at either end, plus one */
        for (int i = 0; i < n; i++) sorted[i] = i * i, t[i] = sorted[i];
        for (int i = n - 1; i > 0; i--) {
            int j = (int)(hone_random_unit(7, (uint64_t)(n * 1000 + i)) * (i + 1));
            double x = t[i];
            t[i] = t[j], t[j] = x;
        }
        while (r < n / 2 && below(n, r + 1) <= 0.025) r++;
        struct hone_stats s = hone_stats_of(t, n);
        int lo = r ? r - 1 : 0;
        double median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
        if (s.n == n && s.lo == sorted[lo] && s.hi == sorted[n - 1 - lo] && s.median == median &&
            s.min == 0)
            continue;
        good = 0;
        printf("# n %d: [%g, %g], want [%g, %g]\n", n, s.lo, s.hi, sorted[lo], sorted[n - 1 - lo]);
    }
    ok(good, "intervals of 1 to 200 numbers are those of the binomial distribution");
    struct hone_stats none = hone_stats_of(NULL, 0);
    ok(none.n == 0 && none.median == 0, "no numbers give no statistics");
}

/* How often the interval holds the true median of a skewed distribution. */
static void check_coverage(int n, int trials)
{
    double *t = malloc((size_t)n * sizeof *t);
    int held = 0;
    for (int trial = 0; trial < trials; trial++) {
        for (int i = 0; i < n; i++)
            t[i] = -log(1 - hone_random_unit(99, (uint64_t)trial * 10000 + (uint64_t)i));
        struct hone_stats s = hone_stats_of(t, n);
        held += s.lo <= log(2) && log(2) <= s.hi;
    }
    double share = (double)held / trials;
    free(t);
    /* At least 95 %, less three standard deviations of this estimate; more than a percent or two
     * above it would be a needlessly wide interval. */
    double slack = 3 * sqrt(0.95 * 0.05 / trials), most = n > 1000 ? 0.955 : 0.975;
    ok(share > 0.95 - slack && share < most + slack,
       "intervals of %d hold the median in 95 %% of samples", n);
    printf("# %d of %d\n", held, trials);
}

/* ---- peaks ---- */

static int same(double a, double b) { return fabs(a - b) <= 1e-4 * fabs(b); }

static int write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    int good = f && fwrite(text, 1, n, f) == n;
    return f && !fclose(f) && good;
}

/* Everything but the whole file of this device is a miss. */
static void check_damage(const char *path, const struct hone_peaks *peaks)
{
    static const struct {
        const char *what, *from, *to;
    } edits[] = {
        { "another device", "\"cpu:", "\"cpx:" },
        { "another method", "\"method\": 2", "\"method\": 7" },
        { "a negative rate", "\"memory_one\": ", "\"memory_one\": -" },
        { "a text for a rate", "\"l1_one\": ", "\"l1_one\": \"1\", \"x\": " },
        { "no threads", "\"nthreads\": ", "\"nthreads\": 0, \"x\": " },
        { "no f64", "\"f64\"", "\"f46\"" },
    };
    char text[4096], edited[4200];
    struct hone_peaks got;
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = 0;
    int nhits = 0;
    /* The last two bytes are the closing brace and a newline. */
    for (size_t cut = 0; cut + 2 <= n; cut += 5)
        if (write_file(path, text, cut)) nhits += !hone_peaks_load(path, &cpu, &got);
    ok(n > 100 && nhits == 0, "a peaks file cut anywhere is a miss");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *at = strstr(text, edits[i].from);
        if (at)
            snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - text), text, edits[i].to,
                     at + strlen(edits[i].from));
        ok(at && write_file(path, edited, strlen(edited)) &&
               hone_peaks_load(path, &cpu, &got) < 0 && got.nthreads == 0,
           "a peaks file with %s is a miss: %s", edits[i].what, hone_errmsg());
    }
    unlink(path);
    ok(hone_peaks_load(path, &cpu, &got) < 0, "a missing peaks file is a miss");
    ok(!hone_peaks_save(path, &cpu, peaks) && !hone_peaks_load(path, &cpu, &got),
       "a lost peaks file is written again");
}

static void check_peaks_file(const struct hone_peaks *peaks)
{
    char path[512], directory[600];
    struct hone_peaks got;
    int err = hone_peaks_path(&cpu, path, sizeof path);
    if (!ok(!err && !hone_peaks_save(path, &cpu, peaks), "peaks are saved")) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    err = hone_peaks_load(path, &cpu, &got);
    ok(!err && got.cached && got.nthreads == peaks->nthreads &&
           same(got.flops_one[HONE_F64], peaks->flops_one[HONE_F64]) &&
           same(got.flops_one[HONE_BF16], peaks->flops_one[HONE_BF16]) &&
           same(got.triad_all, peaks->triad_all) && same(got.l1_one, peaks->l1_one) &&
           same(got.memory_all, peaks->memory_all) && !strcmp(got.when, peaks->when),
       "peaks read back are those saved");
    err = hone_peaks(&cpu, 0, &got);
    ok(!err && got.cached, "peaks come from the cache");
    check_damage(path, peaks);
    ok(write_file(path, "{", 1) && !hone_peaks(&cpu, 0, &got) && !got.cached && !got.not_kept[0],
       "damaged peaks are measured anew");
    ok(!hone_peaks(&cpu, 0, &got) && (got.cached || got.times == 2), "and kept");
    struct hone_peaks busy = *peaks;
    busy.share = 0.5;
    busy.l1_one *= 100;
    ok(!hone_peaks_save(path, &cpu, &busy) && !hone_peaks(&cpu, 0, &got) && !got.cached &&
           got.times == 2 && same(got.l1_one, busy.l1_one),
       "a busy machine's peaks are measured again, and the best is kept");
    busy.times = 5;
    ok(!hone_peaks_save(path, &cpu, &busy) && !hone_peaks(&cpu, 0, &got) && got.cached &&
           same(got.share, 0.5),
       "but not for ever");
    snprintf(directory, sizeof directory, "%s/none/x.json", scratch);
    ok(hone_peaks_save(directory, &cpu, peaks) == HONE_EIO, "peaks that cannot be saved say so: %s",
       hone_errmsg());
}

static int wide(const struct hone_peaks *p)
{
    return p->flops_one[HONE_F32] > 1.3 * p->flops_one[HONE_F64];
}

static int threads_here(void)
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e; tasks && (e = readdir(tasks));) n += e->d_name[0] != '.';
    if (tasks) closedir(tasks);
    return n;
}

/* The helpers that libgomp would count in forked processes, too, end soon. */
static int end_soon(int threads)
{
    for (int i = 0; i < 500 && threads_here() > threads; i++) usleep(10000);
    return threads_here() <= threads;
}

/* Before anything else has helpers, which stay. */
static void check_helpers(void)
{
    struct hone_peaks p;
    const int threads = threads_here();
    ok(threads > 0 && !hone_peaks_measure(&cpu, 0.001, 8 << 20, &p) && end_soon(threads),
       "the threads that measured peaks are gone");
}

static void check_peaks(void)
{
    struct hone_peaks p;
    int err = hone_peaks_measure(&cpu, 0.004, 64 << 20, &p);
    for (int again = 0; again < 20 && !err && !(wide(&p) && p.l1_one > p.memory_one); again++)
        err = hone_peaks_measure(&cpu, 0.004, 64 << 20, &p);
    ok(!err && p.nthreads == cpu.ncores && p.flops_one[HONE_F32] > 1e8 &&
           p.flops_one[HONE_F64] > 1e8 && p.when[0] && !p.cached,
       "peaks are measured");
    ok(p.l1_one > 0 && p.l2_one > 0 && p.memory_one > 0 && p.l1_all > 0 && p.l2_all > 0 &&
           p.memory_all > 0 && p.triad_all > 0 && (p.l3_one > 0) == (cpu.l3_bytes > 0),
       "bandwidth is measured for each level there is");
    ok(wide(&p), "a vector of f32 holds more numbers than one of f64");
    ok((p.flops_one[HONE_BF16] > p.flops_one[HONE_F32]) == hone_peaks_has(&cpu, HONE_BF16),
       "bf16 is faster where it is multiplied, and not measured elsewhere");
    ok(p.l1_one > p.memory_one, "L1 is faster than memory");
    ok(p.times == 1 && p.share > 0 && p.share < 1.1, "the threads had %.0f %% of the processors",
       100 * p.share);
    p.share = 1; /* whatever else ran just now */
    check_peaks_file(&p);
}

static void check_roof(void)
{
    const struct hone_peaks p = { .nthreads = 4,
                                  .flops_one = { 1e9, 1e8 },
                                  .flops_all = { 3e9, 4e8 },
                                  .l1_one = 8e9,
                                  .l1_all = 32e9,
                                  .l2_one = 4e9,
                                  .l2_all = 16e9,
                                  .l3_one = 2e9,
                                  .l3_all = 4e9,
                                  .memory_one = 1e9,
                                  .memory_all = 2e9 };
    const struct hone_device d = { .l1_bytes = 32768, .l2_bytes = 262144, .l3_bytes = 1 << 20 };
    static const struct {
        const char *problem;
        int threads;
        double seconds;
        const char *bound;
    } cases[] = {
        { "gemm:f32:nn:m64n64k64", 1, 2.0 * 64 * 64 * 64 / 1e9, "compute" },
        { "gemm:f32:nn:m64n64k64", 2, 2.0 * 64 * 64 * 64 / 2e9, "compute" },
        { "gemm:f32:nn:m64n64k64", 4, 2.0 * 64 * 64 * 64 / 3e9,
          "compute" }, /* all together reach 3e9, not 4e9 */
        { "gemm:f32:nn:m1n100k40", 1, 2.0 * 100 * 40 / 1e9, "compute" },
        { "relu:f32:any:n1000000", 1, 8e6 / 1e9, "memory" },
        { "relu:f32:any:n1000000", 4, 8e6 / 2e9, "memory" },
        { "relu:f32:any:n100000", 4, 8e5 / 16e9, "L2" }, /* four threads hold it in their L2s */
        { "relu:f32:any:n100000", 1, 8e5 / 2e9, "L3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hone_problem q;
        const char *bound = "";
        int err = hone_problem_parse(cases[i].problem, &q);
        double t = err ? 0 : hone_roof(&q, &d, &p, cases[i].threads, &bound);
        int good = !err && !strcmp(bound, cases[i].bound) && same(t, cases[i].seconds);
        if (!ok(good, "roof of %s on %d threads is %s", cases[i].problem, cases[i].threads,
                cases[i].bound))
            printf("# %g s by %s, want %g s\n", t, bound, cases[i].seconds);
    }
}

/* ---- memory, paths, progress, interruption ---- */

enum { PAGE = 4096 };

static void check_resident(void)
{
    enum { BYTES = 64 << 20 };
    int64_t before = hone_memory_now();
    char *m = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int64_t i = 0; i < BYTES; i += PAGE) ((volatile char *)m)[i] = 1;
    int64_t grown = hone_memory_now() - before;
    munmap(m, BYTES);
    ok(grown > 0.98 * BYTES && grown < 1.05 * BYTES, "touching 64 MiB is seen");
    printf("# %lld\n", (long long)grown);
    ok(hone_memory_peak() >= before + BYTES / 2, "and stays in the peak when it is gone");
    if (!hone_memory_peak_reset())
        skip("/proc/self/clear_refs cannot be written", "the peak begins anew");
    else ok(hone_memory_peak() < before + BYTES / 2, "the peak begins anew");
}

static void check_memory(void)
{
    const int64_t bytes = 64 << 20;
    int64_t before = hone_memory_peak();
    char *m = malloc((size_t)bytes);
    for (int64_t i = 0; m && i < bytes; i += PAGE) ((volatile char *)m)[i] = 1;
    int64_t after = hone_memory_peak();
    ok(m && before > 0 && after - before > bytes / 2 && after - before < 2 * bytes,
       "peak memory grows by what is touched");
    free(m);
    /* Linux sums its counters of several processors to within a few pages each. */
    ok(hone_memory_peak() > after - (1 << 20), "peak memory stays when memory is given back");
}

static void check_paths(void)
{
    char path[512], want[512], base[400], tiny[8];
    struct stat st = { 0 };
    snprintf(base, sizeof base, "%s/data", scratch);
    setenv("XDG_DATA_HOME", base, 1);
    snprintf(want, sizeof want, "%s/hone/a/b.json", base);
    ok(!hone_user_path("data", "a/b.json", path, sizeof path) && !strcmp(path, want),
       "user paths follow XDG_DATA_HOME");
    *strrchr(path, '/') = 0;
    ok(!stat(path, &st) && S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0700,
       "their directories are the user's own");
    setenv("XDG_DATA_HOME", "relative", 1);
    setenv("HOME", scratch, 1);
    snprintf(want, sizeof want, "%s/.local/share/hone/x", scratch);
    ok(!hone_user_path("data", "x", path, sizeof path) && !strcmp(path, want),
       "a relative XDG_DATA_HOME is ignored");
    ok(hone_user_path("data", "x", tiny, sizeof tiny) == HONE_EINVAL,
       "a path that does not fit is refused");
    ok(hone_user_path("sofa", "x", path, sizeof path) == HONE_EINVAL, "an unknown kind is refused");
    snprintf(base, sizeof base, "%s/file", scratch);
    setenv("XDG_DATA_HOME", base, 1);
    ok(write_file(base, "x", 1) && hone_user_path("data", "x", path, sizeof path) == HONE_EIO,
       "a file in the way is an error: %s", hone_errmsg());
}

/* What hone_progress() writes to stderr when that is fd. */
static size_t shown(int stderr_fd, int read_fd, int end, char *text, size_t size)
{
    int keep = dup(STDERR_FILENO);
    double now = hone_now();
    fflush(stderr);
    dup2(stderr_fd, STDERR_FILENO);
    hone_progress("tuning", 25, 100, now - 20);
    if (end) hone_progress_end();
    fflush(stderr);
    dup2(keep, STDERR_FILENO);
    close(keep);
    fcntl(read_fd, F_SETFL, O_NONBLOCK);
    ssize_t n = read(read_fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    return strlen(text);
}

static void check_progress(void)
{
    char text[512];
    int fd[2];
    ok(!pipe(fd) && shown(fd[1], fd[0], 1, text, sizeof text) == 0,
       "progress is silent where stderr is no terminal");
    close(fd[0]);
    close(fd[1]);
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave = -1;
    if (master >= 0 && !grantpt(master) && !unlockpt(master))
        slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) {
        skip("no pseudo terminals here", "progress on a terminal");
        return;
    }
    shown(slave, master, 0, text, sizeof text);
    ok(strstr(text, "tuning") && strstr(text, "25 %") &&
           (strstr(text, "60 s") || strstr(text, "61 s")),
       "progress shows share and time left");
    shown(slave, master, 1, text, sizeof text);
    size_t n = strlen(text);
    ok(n > 40 && text[n - 1] == '\r' && strspn(text + 1, " ") == n - 2,
       "its end leaves an empty line");
    close(slave);
    close(master);
}

static void check_interrupt(void)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        hone_catch_interrupt();
        if (hone_interrupted()) _exit(3);
        raise(SIGTERM);
        if (!hone_interrupted()) _exit(4);
        raise(SIGINT);
        _exit(5);
    }
    ok(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGINT,
       "the first signal sets the flag, the second ends the program");
}

int main(void)
{
    if (hone_device_open(&cpu, "cpu0") || !mkdtemp(scratch)) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    char text[512];
    snprintf(text, sizeof text, "%s/cache", scratch);
    setenv("XDG_CACHE_HOME", text, 1);
    check_memory();
    check_helpers();
    check_intervals();
    check_coverage(15, 20000);
    check_coverage(2001, 2000);
    check_resident();
    check_peaks();
    check_roof();
    check_paths();
    check_progress();
    check_interrupt();
    snprintf(text, sizeof text, "rm -rf %s", scratch);
    if (system(text)) printf("# cannot remove %s\n", scratch);
    hone_device_close(&cpu);
    return tap_end();
}
