/* The bandwidth that problems bound by memory are held against: what its plans read and write, how
 * many bytes that is, and the share of kernels that are known to move more than they must. */
#include "config.h"

#include "kernels/activation/activation.h"
#include "profiler/bench.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static struct hone_device cpu;

static struct hone_problem problem_of(const char *text)
{
    struct hone_problem p;
    if (hone_problem_parse(text, &p)) printf("Bail out! %s\n", hone_errmsg()), exit(1);
    return p;
}

/* ---- what is moved ---- */

/* Whole lines of outputs become 0 and the rest of a line stays; all else is as it was. */
static int moved(const struct hone_case *c)
{
    int good = 1;
    for (int a = 0; a < c->nargs; a++) {
        const int64_t bytes = hone_arg_bytes(&c->arg[a]);
        const int64_t lines = c->arg[a].io == HONE_OUT ? bytes / HONE_LINE * HONE_LINE : 0;
        const unsigned char *now = c->mem[a], *then = c->host[a];
        for (int64_t i = 0; i < lines; i++) good &= !now[i];
        good &= !memcmp(now + lines, then + lines, (size_t)(bytes - lines));
    }
    return good;
}

static void check_moves(const char *text, int threads)
{
    struct hone_problem p = problem_of(text);
    struct hone_plan plan[HONE_MOVES];
    struct hone_case c;
    struct hone_device d = cpu;
    d.l2_bytes = 1;   /* so that all is large */
    int n = hone_moves(&p, &d, threads, plan), good = n == HONE_MOVES,
        err = hone_case_open(&c, &p, &cpu, HONE_REALS, 1);
    for (int i = 0; !err && i < n; i++) {
        err = hone_case_reset(&c);
        if (!err) err = hone_plan_run(&plan[i], c.mem, NULL);
        good &= !err && moved(&c);
    }
    ok(!err && good, "%s: every line is moved by %d threads, and nothing else", text, threads);
    if (!err) hone_case_close(&c);
}

/* Threads and pieces share a run's steps. */
static void check_part(const struct hone_loops *loops, const char *name)
{
    enum { LINES = 1000, STEPS = 7, NUMBERS = LINES * HONE_LINE / 4 };
    float *mem = aligned_alloc(HONE_LINE, NUMBERS * sizeof *mem);
    int good = mem != NULL;
    for (int stream = 0; good && stream < 2; stream++)
        for (int64_t step = 0; step < STEPS; step++) {
            const struct hone_moved out = { (char *)mem, LINES, HONE_OUT };
            for (int i = 0; i < NUMBERS; i++) mem[i] = 1;
            loops->move(&out, 1, step, step + 1, STEPS, stream);
            for (int64_t line = 0; line < LINES; line++) {
                const int own = line >= LINES * step / STEPS && line < LINES * (step + 1) / STEPS;
                for (int i = 0; i < 16; i++) good &= mem[line * 16 + i] == (own ? 0 : 1);
            }
        }
    ok(good, "a step of %s vectors moves its own lines", name);
    free(mem);
}

static void check_bytes(void)
{
    const struct hone_device d = { .l2_bytes = 1 << 20 };
    static const struct { const char *problem; int threads; double bytes; } cases[] = {
        { "relu:f32:any:n1000000", 1, 8e6 },
        { "relu_bwd:f32:any:n1000000", 1, 12e6 },
        { "add:bf16:any:n1000000", 1, 6e6 },
        { "bnorm_infer:f32:any:m62500n16", 1, 8e6 + 4 * 64 },
        /* x by the statistics, and by what they are for; dy and x by the gradient. */
        { "bnorm_fwd:f32:any:m62500n16", 1, 12e6 + 8 * 64 },
        { "bnorm_fwd:f32:any:m62500n16:add", 1, 16e6 + 8 * 64 },
        { "bnorm_bwd:f32:any:m62500n16", 1, 20e6 + 5 * 64 },
        /* As long as x fits into the L2 caches it is read once. */
        { "bnorm_fwd:f32:any:m16384n16", 1, 2 << 20 | 8 * 64 },
        { "bnorm_fwd:f32:any:m16385n16", 1, 3 * 16385 * 64 + 8 * 64 },
        { "bnorm_fwd:f32:any:m16385n16", 2, 2 * 16385 * 64 + 8 * 64 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct hone_problem p = problem_of(cases[i].problem);
        const double bytes = hone_moved_bytes(&p, &d, cases[i].threads);
        if (!ok(bytes == cases[i].bytes, "least bytes of %s on %d threads", cases[i].problem,
                cases[i].threads))
            printf("# %.0f, want %.0f\n", bytes, cases[i].bytes);
    }
}

/* ---- shares ---- */

static void relu(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
}

/* A relu that first moves all that it must six times. */
static int wasteful(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct hone_plan move[HONE_MOVES];
    hone_moves(&plan->problem, plan->device, 1, move);
    for (int i = 0; i < HONE_MOVES; i++) hone_plan_run(&move[i], mem, workspace);
    relu(mem[0], mem[1], plan->problem.dim[0]);
    return HONE_OK;
}

static int plain(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    (void)workspace;
    relu(mem[0], mem[1], plan->problem.dim[0]);
    return HONE_OK;
}

static const struct hone_op *const relus[] = { &hone_op_relu, NULL };

/* Largest share that the kernel reached in a few benches. */
static double share_of(int (*run)(const struct hone_plan *, void *const[], void *))
{
    const struct hone_kernel k = { .name = "known", .ops = relus, .backend = cpu.backend,
                                   .dtypes = 1u << HONE_F32, .run = run };
    double best = 0;
    for (int round = 0; round < 5; round++) {
        struct hone_bench b = { .problem = problem_of("relu:f32:any:n2000000"), .device = &cpu,
                                .seed = 1, .windows = 5, .peak_threads = 1 };
        const struct hone_config none = { .v = { 0 } };
        int err = hone_bench_add(&b, &k, &none);
        if (!err) err = hone_bench_measure(&b, NULL, NULL);
        const struct hone_bench_row *move = err ? NULL : hone_bench_bound(&b, 1e18);
        if (move && hone_bench_timed(&b.row[0]) &&
            move->stats.median / b.row[0].stats.median > best)
            best = move->stats.median / b.row[0].stats.median;
        hone_bench_close(&b);
    }
    return best;
}

/* The time of the moves is the peak: who moves all seven times cannot have more than a seventh,
 * but for moves that are slower and what the last finds in the cache. */
static void check_shares(void)
{
    const double seven = share_of(wasteful), once = share_of(plain);
    ok(seven > 0.01 && seven < 0.25, "who moves all of it seven times has no large share");
    ok(once > 2 * seven, "who moves it once has a larger one");
    printf("# shares %.3f, %.3f\n", seven, once);
}

/* A bound is what takes longer. */
static void check_bound(void)
{
    struct hone_bench b = { .problem = problem_of("relu:f32:any:n1000"), .nmoves = 2 };
    b.move[0].stats = (struct hone_stats){ .n = 3, .median = 2e-3 };
    b.move[1].stats = (struct hone_stats){ .n = 3, .median = 1e-3 };
    ok(hone_bench_bound(&b, 1.01e9) == &b.move[1], "the fastest of the moves is the bound");
    ok(!hone_bench_bound(&b, 0.99e9), "unless the flops take longer");
    b.move[1].stats.n = 0;
    ok(hone_bench_bound(&b, 1.01e9) == &b.move[0], "one that was not timed is none");
    b.nmoves = 0;
    ok(!hone_bench_bound(&b, 1.01e9), "without moves there is no bound");
}

int main(void)
{
    if (hone_device_open(&cpu, "cpu0")) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    static const char *const problems[] = {
        "relu:f32:any:n100003", "relu_bwd:f32:any:n4096",  "add:bf16:any:n70000",
        "adam:f32:any:n100003", "bnorm_fwd:f32:any:m301n33", "bnorm_bwd:f32:any:m70001n64",
        "gemm:f32:nn:m3n5k7",   "maxpool_fwd:f32:nhwc:mb3ic5ih9oh4kh3sh2:index",
    };
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        for (int threads = 1; threads <= 3; threads += 2) check_moves(problems[i], threads);
    check_part(&hone_loops_plain, "plain");
    check_part(hone_loops_for(&cpu), hone_isa_name(cpu.isa));
    struct hone_plan plan[HONE_MOVES];
    struct hone_device d = cpu;
    struct hone_problem p = problem_of("relu:f32:any:n15");
    d.l2_bytes = 1;
    ok(!hone_moves(&p, &d, 1, plan), "what has no whole line is not moved");
    p = problem_of("relu:f32:any:n1000");
    d.l2_bytes = 8001;
    ok(!hone_moves(&p, &d, 1, plan), "nor what L2 holds");
    d.l2_bytes = 8000;
    ok(hone_moves(&p, &d, 1, plan) == HONE_MOVES, "but what fills it");
    check_bytes();
    check_bound();
    check_shares();
    hone_device_close(&cpu);
    return tap_end();
}
