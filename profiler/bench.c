/* `hone bench`: proves, times and counts one problem.  Candidates are timed in rounds, one window
 * of each, so that what disturbs the machine disturbs them alike; counting comes after. */
#include "profiler/bench.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *device, *problem, *kernel, *config, *counters, *cache, *max_error;
    unsigned builds;
    int windows, all, json;
    struct hone_bench_rivals rivals;   /* with --problems */
};

enum { SEED = 1 };

/* ---- candidates ---- */

int hone_bench_add(struct hone_bench *b, const struct hone_kernel *k, const struct hone_config *c)
{
    struct hone_bench_row *row = realloc(b->row, ((size_t)b->nrows + 1) * sizeof *row);
    if (!row) return hone_fail(HONE_ENOMEM, "%d candidates", b->nrows + 1);
    b->row = row;
    row += b->nrows++;
    memset(row, 0, sizeof *row);
    row->kernel = k;
    row->config = *c;
    return HONE_OK;
}

static int add_all_configs(struct hone_bench *b, const struct hone_kernel *k)
{
    struct hone_config c;
    int err = HONE_OK;
    hone_config_first(k, &c);
    do
        if (hone_config_valid(k, &b->problem, &c, b->device)) err = hone_bench_add(b, k, &c);
    while (!err && hone_config_next(k, &c));
    return err;
}

static int add_kernel(struct hone_bench *b, const struct hone_kernel *k, int all)
{
    struct hone_config guess;
    if (all) return add_all_configs(b, k);
    hone_config_guess(k, &b->problem, b->device, &guess);
    return hone_bench_add(b, k, &guess);
}

/* Every kernel that accepts the problem; one that is only for checking if nothing else does. */
static int add_kernels(struct hone_bench *b, unsigned builds, int all)
{
    int err = HONE_OK;
    for (int slow = 0; slow < 2 && !b->nrows; slow++)
        for (int i = 0; !err && hone_kernels[i]; i++)
            if (hone_kernels[i]->slow == slow && builds >> hone_kernels[i]->build & 1 &&
                !hone_kernel_refuse(hone_kernels[i], &b->problem, b->device))
                err = add_kernel(b, hone_kernels[i], all);
    return err;
}

static int add_named(struct hone_bench *b, const struct options *o)
{
    struct hone_config c;
    const struct hone_kernel *k = hone_kernel_find(b->problem.op, o->kernel);
    if (!k) {
        for (int i = 0; hone_kernels[i]; i++)
            if (!strcmp(hone_kernels[i]->name, o->kernel))
                return hone_fail(HONE_EPARSE, "--kernel: '%s' does not compute %s", o->kernel,
                                 b->problem.op->name);
        return hone_fail(HONE_EPARSE, "--kernel: '%s' is no kernel; `hone kernels` lists them",
                         o->kernel);
    }
    const char *why = hone_kernel_refuse(k, &b->problem, b->device);
    if (why) return hone_fail(HONE_EREFUSED, "--kernel: %s refuses: %s", k->name, why);
    if (!o->config) return add_kernel(b, k, o->all);
    hone_config_guess(k, &b->problem, b->device, &c);
    int err = hone_config_parse(k, o->config, &c);
    if (err) return hone_fail_at(err, "--config");
    if (!hone_config_valid(k, &b->problem, &c, b->device))
        return hone_fail(HONE_EREFUSED, "--config: %s cannot do this problem with %s", k->name,
                         o->config);
    return hone_bench_add(b, k, &c);
}

/* ---- proof, time, counters ---- */

static void give_up(struct hone_bench_row *r, int err)
{
    r->state = err;
    snprintf(r->why, sizeof r->why, "%s", hone_errmsg());
}

static void verify(struct hone_bench *b, struct hone_case cases[], int ncases)
{
    double started = hone_now();
    for (int i = 0; i < b->nrows && !hone_interrupted(); i++) {
        struct hone_bench_row *r = &b->row[i];
        double error = 0;
        hone_progress("proving", i, b->nrows, started);
        int err = hone_plan_open(&r->plan, &b->problem, r->kernel, &r->config, b->device);
        r->workspace_bytes = r->plan.workspace_bytes;
        for (int k = 0; !err && k < ncases; k++) {
            err = hone_case_check(&cases[k], &r->plan, &error);
            if (error > r->error) r->error = error;
        }
        if (err) give_up(r, err);
    }
}

/* Among very many rows one that takes three times as long as the best in its first two windows has
 * told enough. */
static int hopeless(const struct hone_bench *b, const struct hone_bench_row *r, double best)
{
    enum { MANY = 100, TOLD = 2 };
    double least = r->ms[0];
    for (int i = 1; i < r->nms; i++) least = r->ms[i] < least ? r->ms[i] : least;
    return b->nrows > MANY && r->nms >= TOLD && least > 3 * best;
}

/* In the round before the first the length of its windows is found; returns seconds of a run, a
 * very long time where there are none. */
static double time_row(const struct hone_bench *b, struct hone_bench_row *r, struct hone_case *c,
                       int round)
{
    double one;
    int err = round < 0 ? hone_time_calibrate(&r->plan, c, b->cache, 0.002, &r->nruns, &one)
                        : hone_time_window(&r->plan, c, b->cache, r->nruns, &one);
    if (err && err != HONE_EINTR) give_up(r, err);
    if (err) return 1e300;
    if (round >= 0) r->ms[r->nms++] = 1e3 * one;
    return one;
}

/* The rows in the order of a round, drawn anew each time: who comes after a kernel that heats the
 * core, or leaves other data in the caches, is not always the same. */
static void draw_order(int *order, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        const int j = (int)(hone_random(seed, (uint64_t)i) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
}

static void time_rounds(struct hone_bench *b, struct hone_case *c, int windows)
{
    double started = hone_now(), best = 1e300;
    for (int round = -1; round < windows && !hone_interrupted(); round++) {
        draw_order(b->order, b->nrows, b->seed + (uint64_t)(round + 1));
        for (int i = 0; i < b->nrows && !hone_interrupted(); i++) {
            struct hone_bench_row *r = &b->row[b->order[i]];
            if (r->state || !r->plan.kernel || hopeless(b, r, best)) continue;
            hone_progress("timing", (round + 1) * b->nrows + i, (windows + 1) * (double)b->nrows,
                          started);
            const double one = time_row(b, r, c, round);
            if (round >= 0 && 1e3 * one < best) best = 1e3 * one;
        }
    }
}

/* How fast multiply-adds are now, and how fast the problem's bytes move unless they are clearly not
 * its bound.  Right after the rows and not between them: a memory-bound kernel was a quarter to
 * three times slower after a loop in registers, and moves that write past the caches leave the
 * arrays in memory. */
static void time_peaks(struct hone_bench *b, struct hone_case *c, int windows)
{
    for (int round = 0; b->peak && round < windows && !hone_interrupted(); round++)
        b->peak[b->npeaks++] = hone_peaks_now(b->device, b->problem.dtype, b->peak_threads);
    for (int round = -1; round < windows && !hone_interrupted(); round++) {
        double least = 1e300;
        for (int i = 0; i < b->nmoves && !hone_interrupted(); i++) {
            const double one = time_row(b, &b->move[i], c, round);
            if (one < least) least = one;
        }
        if (round < 0 && b->npeaks && b->peak[0] > 0 &&
            b->problem.op->flops(&b->problem) / b->peak[0] > 2 * least)
            b->nmoves = 0;
    }
}

static void count(struct hone_bench *b, struct hone_case *c, const char *counters)
{
    double started = hone_now();
    for (int i = 0; counters && i < b->nrows && !hone_interrupted(); i++) {
        struct hone_bench_row *r = &b->row[i];
        if (r->state || !r->plan.kernel) continue;
        hone_progress("counting", i, b->nrows, started);
        int err = hone_count(&r->plan, c, counters, r->counter, &r->ncounters);
        if (err && err != HONE_EINTR) give_up(r, err);
    }
}

static int by_median(const void *a, const void *b)
{
    const struct hone_bench_row *x = a, *y = b;
    if (!x->nms || !y->nms || x->state || y->state)
        return (!x->nms || x->state) - (!y->nms || y->state);
    return (x->stats.median > y->stats.median) - (x->stats.median < y->stats.median);
}

static double best_of(const struct hone_bench *b, unsigned builds)
{
    double best = 0;
    for (int i = 0; i < b->nrows; i++) {
        const struct hone_bench_row *r = &b->row[i];
        if (!r->state && r->nms && builds >> r->kernel->build & 1 &&
            (best <= 0 || r->stats.median < best))
            best = r->stats.median;
    }
    return best;
}

/* What a jit kernel's code took, in runs that it is faster. */
static void pay_back(struct hone_bench_row *r, double ready)
{
    const struct hone_jit_cost *c = hone_plan_jit(&r->plan);
    if (c && ready > r->stats.median)
        r->pays_after = (c->compile_ms + c->load_ms) / (ready - r->stats.median);
}

static void conclude(struct hone_bench *b, const struct hone_peaks *peaks)
{
    for (int i = 0; i < b->nrows; i++) {
        struct hone_bench_row *r = &b->row[i];
        int threads = hone_config_get(r->kernel, &r->config, "threads",
                                      r->kernel->slow ? b->device->ncores : 1);
        r->stats = hone_stats_of(r->ms, r->nms);
        if (peaks) r->roof_ms = 1e3 * hone_roof(&b->problem, b->device, peaks, threads, &r->bound);
    }
    for (int i = 0; i < b->nmoves; i++)
        b->move[i].stats = hone_stats_of(b->move[i].ms, b->move[i].nms);
    double library = best_of(b, 1u << HONE_LIB), ready = best_of(b, HONE_USUAL_BUILDS);
    for (int i = 0; i < b->nrows; i++) {
        struct hone_bench_row *r = &b->row[i];
        if (r->state || !r->nms || r->stats.median <= 0) continue;
        r->vs_library = library / r->stats.median;
        if (r->kernel->reorder_ms) r->reorder_ms = r->kernel->reorder_ms(&r->plan);
        pay_back(r, ready);
    }
    qsort(b->row, (size_t)b->nrows, sizeof *b->row, by_median);
}

/* Both kinds of values are proof; times are of reals. */
static int open_cases(const struct hone_bench *b, struct hone_case cases[2], int *ncases)
{
    const struct hone_op *op = b->problem.op;
    *ncases = 0;
    int err = hone_case_open(&cases[0], &b->problem, b->device, HONE_REALS, SEED);
    if (!err) *ncases = 1;
    if (!err && op->exact && op->exact(&b->problem)) {
        err = hone_case_open(&cases[1], &b->problem, b->device, HONE_INTEGERS, SEED);
        if (!err) *ncases = 2;
    }
    return err;
}

static void add_moves(struct hone_bench *b)
{
    struct hone_plan plan[HONE_MOVES];
    b->nmoves = hone_moves(&b->problem, b->device, b->peak_threads, plan);
    for (int i = 0; i < b->nmoves; i++)
        b->move[i] = (struct hone_bench_row){
            .kernel = plan[i].kernel, .config = plan[i].config, .plan = plan[i]
        };
}

static int alloc_windows(struct hone_bench *b)
{
    const size_t n = (size_t)b->windows;
    int err = !(b->order = calloc((size_t)b->nrows + 1, sizeof *b->order));
    for (int i = 0; i < b->nrows; i++) err |= !(b->row[i].ms = calloc(n, sizeof(double)));
    if (b->peak_threads) {
        add_moves(b);
        err |= !(b->peak = calloc(n, sizeof(double)));
    }
    for (int i = 0; i < b->nmoves; i++) err |= !(b->move[i].ms = calloc(n, sizeof(double)));
    return err ? hone_fail(HONE_ENOMEM, "%d windows", b->windows) : HONE_OK;
}

int hone_bench_measure(struct hone_bench *b, const struct hone_peaks *peaks, const char *counters)
{
    struct hone_case cases[2];
    int ncases, err = open_cases(b, cases, &ncases);
    if (!err) err = alloc_windows(b);
    if (!err) {
        verify(b, cases, ncases);
        hone_progress_end();
        err = hone_case_reset(&cases[0]);
    }
    if (!err) {
        time_rounds(b, &cases[0], b->windows);
        time_peaks(b, &cases[0], b->windows);
        count(b, &cases[0], counters);
        hone_progress_end();
        b->interrupted = hone_interrupted();
        conclude(b, peaks);
    }
    for (int i = 0; i < ncases; i++) hone_case_close(&cases[i]);
    return err;
}

void hone_bench_close(struct hone_bench *b)
{
    for (int i = 0; i < b->nrows; i++) {
        hone_plan_close(&b->row[i].plan);
        free(b->row[i].ms);
    }
    for (int i = 0; i < HONE_MOVES; i++) free(b->move[i].ms);
    free(b->row);
    free(b->peak);
    free(b->order);
    b->row = NULL;
    b->peak = NULL;
    b->order = NULL;
    b->nrows = 0;
}

static int measure(const char *command, struct hone_bench *b, const struct options *o)
{
    enum { MANY = 500 };   /* rows */
    struct hone_peaks peaks;
    int no_peaks = hone_peaks(b->device, 0, &peaks);
    if (no_peaks) fprintf(stderr, "%s: no roof: %s\n", command, hone_errmsg());
    hone_catch_interrupt();
    b->windows = o->windows ? o->windows : 15;
    if (b->nrows > MANY)
        fprintf(stderr, "%s: %d configs are proven, then timed up to %d times in turns, which takes "
                "minutes; without --all it is each kernel's guess only\n",
                command, b->nrows, b->windows);
    return hone_bench_measure(b, no_peaks ? NULL : &peaks, o->counters);
}

/* ---- command ---- */

enum { OPT_BUILD = 256, OPT_PROBLEMS, OPT_RIVALS, OPT_THREADS, OPT_TRIES, OPT_CSV };

static const struct argp_option argp_options[] = {
    { "device", 'd', "D", 0, "device to run on (cpu0)", 0 },
    { "problem", 'p', "P", 0, "problem, OP:DTYPE:LAYOUT:SIZES[:ATTRIBUTES]", 0 },
    { "kernel", 'k', "K", 0, "only this kernel (all that accept the problem)", 0 },
    { "config", 'c', "C", 0, "with this config, name=value,...; what is not named is guessed", 0 },
    { "build", OPT_BUILD, "LIST", 0,
      "kernels of these builds: aot, jit, lib (aot,lib: a jit kernel takes about a second to "
      "compile)", 0 },
    { "all", 'a', NULL, 0,
      "every valid config, not only the guess; of more than 100 those three times as slow as the "
      "best are timed twice only", 0 },
    { "counters", 'e', "LIST", 0,
      "count these events and groups too: ipc,PAPI_L1_DCM,rusage:minflt,...; `hone counters` lists "
      "them",
      0 },
    { "cache", 'm', "MODE", 0,
      "cache state before each run: weights (parameters from memory; the usual), warm, cold", 0 },
    { "windows", 'n', "N", 0, "windows behind each median (15)", 0 },
    { "max-error", 'x', "X", 0,
      "refuse kernels whose error may be larger than X times the sum of absolute values that a "
      "result is made of, where all inputs are of one size",
      0 },
    { "problems", OPT_PROBLEMS, "FILE", 0,
      "problems, one a line (# begins a comment), -: of stdin: a line for each rival, and how it "
      "all compares with the best library", 1 },
    { "rivals", OPT_RIVALS, "LIST", 0,
      "with --problems, who competes: all, aot, jit, lib or kernels by name (aot,lib)", 1 },
    { "threads", OPT_THREADS, "N", 0, "with --problems, threads of all rivals (as each guesses)",
      1 },
    { "tries", OPT_TRIES, "N", 0,
      "with --problems, configs of each kernel that are tried for the one that competes (8)", 1 },
    { "csv", OPT_CSV, NULL, 0, "with --problems, print CSV", 1 },
    { "json", 'j', NULL, 0, "print JSON", 2 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static int whole(struct argp_state *state, const char *option, const char *text, long most)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (*end || end == text || v < 1 || v > most)
        argp_error(state, "%s: '%s' is no number from 1 to %ld", option, text, most);
    return (int)v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'd': o->device = arg; return 0;
    case 'p': o->problem = arg; return 0;
    case 'k': o->kernel = arg; return 0;
    case 'c': o->config = arg; return 0;
    case 'a': o->all = 1; return 0;
    case 'e': o->counters = arg; return 0;
    case 'm': o->cache = arg; return 0;
    case 'x': o->max_error = arg; return 0;
    case 'j': o->json = 1; return 0;
    case OPT_PROBLEMS: o->rivals.file = arg; return 0;
    case OPT_RIVALS: o->rivals.rivals = arg; return 0;
    case OPT_CSV: o->rivals.form = HONE_BENCH_CSV; return 0;
    case OPT_THREADS: o->rivals.threads = whole(state, "--threads", arg, 4096); return 0;
    case OPT_TRIES: o->rivals.tries = whole(state, "--tries", arg, 100000); return 0;
    case OPT_BUILD:
        if (hone_builds_parse(arg, &o->builds)) argp_error(state, "--build: %s", hone_errmsg());
        return 0;
    case 'n': o->windows = whole(state, "--windows", arg, 100000); return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'; the problem is given by --problem", arg);
        return EINVAL;
    case ARGP_KEY_END:
        if (!o->problem && !o->rivals.file) argp_error(state, "--problem is missing");
        if (o->rivals.file && (o->problem || o->kernel || o->all || o->counters))
            argp_error(state, "--problems takes --rivals, --threads, --tries, --windows, --cache, "
                              "--json and --csv only");
        if (!o->rivals.file && (o->rivals.rivals || o->rivals.threads || o->rivals.form))
            argp_error(state, "--rivals, --threads and --csv need --problems");
        if (o->config && !o->kernel) argp_error(state, "--config needs --kernel");
        if (o->config && o->all) argp_error(state, "--config and --all exclude each other");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Proves that kernels are right on one problem, times them in interleaved rounds, and counts "
    "events."
    "\v"
    "Each row: median milliseconds of a run with a 95 % interval, windows x runs per window, "
    "rates, share of "
    "the roof and what sets it, workspace, largest error in units of the bound, and the best "
    "library kernel's time over "
    "this one's (/lib; above 1 is faster than the library).  Below the table: of jit kernels what "
    "their code took and after how many runs they have made up for it; of kernels that change "
    "layouts how much of a run that is.  With --problems a line has GFLOP/s and the share of the "
    "peak of multiply-adds right after or, where moving the problem's bytes takes longer, GB/s and "
    "the share of the same arrays' bandwidth, moved right after by a loop that "
    "computes nothing; each kernel competes with the best of a "
    "few configs, hand-written ones only in the widest vectors that the processor has; one that a "
    "first look finds ten times as slow as the best is left out, unless --rivals names it.\n\n"
    "Examples:\n"
    "  hone bench --problem gemm:f32:nn:m256n256k256\n"
    "  hone bench --problem relu:f32:any:n65536 --cache warm --counters ipc,minflt\n"
    "  hone bench --problem gemm:f32:nn:m64n64k64 --kernel cpu_blocked_avx2 --all --json\n"
    "  hone bench --problem gemm:f32:nn:m16n16k16 --build aot,jit,lib\n"
    "  hone bench --problems tests/shapes/nets-gemm.txt --rivals all --threads 1 --csv\n"
    "  hone net --batch 128 --problems=conv --dtype bf16 | hone bench --problems -\n\n"
    "Exit status: 0 all right, 1 a kernel was wrong or failed, or the device is absent, 2 wrong "
    "usage.";

static int run(const char *command, const struct options *o, struct hone_device *d)
{
    struct hone_bench b = { .device = d, .seed = SEED };
    int err = hone_problem_parse(o->problem, &b.problem), code = HONE_GOOD;
    if (err) return hone_command_fail(command, "--problem", err);
    if (o->cache && (err = hone_cache_parse(o->cache, &b.cache)))
        return hone_command_fail(command, "--cache", err);
    if (o->counters && (err = hone_counters_check(o->counters)))
        return hone_command_fail(command, "--counters", err);
    err = o->kernel ? add_named(&b, o) : add_kernels(&b, o->builds, o->all);
    if (!err) err = measure(command, &b, o);
    if (err)
        code = hone_command_fail(command, NULL, err);
    else {
        for (int i = 0; i < b.nrows; i++)
            if (b.row[i].state) code = HONE_BAD;
        if (!o->json) hone_bench_print(&b);
        code = hone_command_end(command, o->json ? hone_bench_json(&b) : NULL,
                                b.interrupted ? HONE_BAD : code);
    }
    hone_bench_close(&b);
    return code;
}

static int run_rivals(const char *command, struct options *o, struct hone_device *d)
{
    int err = o->cache ? hone_cache_parse(o->cache, &o->rivals.cache) : HONE_OK;
    if (err) return hone_command_fail(command, "--cache", err);
    if (o->json) o->rivals.form = HONE_BENCH_JSON;
    o->rivals.windows = o->windows ? o->windows : 11;
    if (!o->rivals.tries) o->rivals.tries = 8;
    return hone_bench_rivals(command, d, &o->rivals);
}

int hone_cmd_bench(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, NULL, about, NULL, NULL, NULL };
    struct options o = { .device = "cpu0", .builds = HONE_USUAL_BUILDS };
    struct hone_device d;
    argp_err_exit_status = HONE_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return HONE_USAGE;
    int err = hone_device_open(&d, o.device);
    if (err) return hone_command_fail(argv[0], "--device", err);
    err = hone_device_limit(&d, o.max_error);
    int code = err            ? hone_command_fail(argv[0], "--max-error", err)
               : o.rivals.file ? run_rivals(argv[0], &o, &d)
                               : run(argv[0], &o, &d);
    hone_device_close(&d);
    return code;
}
