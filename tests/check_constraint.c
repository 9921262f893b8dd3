/* Constraints: what the language means, what it refuses, and that spaces are counted and drawn from
 * as if every combination had been looked at. */
#include "config.h"

#include "kernels/constraint.h"
#include "profiler/profiler.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct hone_device cpu;
static struct hone_problem gemm;   /* m48n33k7 */

#define DIGITS 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

static const struct hone_kernel example = {
    .name = "example",
    .isa = HONE_ISA_avx2,
    .param = { HONE_PARAM("a", 1, 2, 3, 5, 8), HONE_PARAM("b", 0, 1, 4),
               HONE_PARAM("c", 2, 4, 8, 16), HONE_PARAM("e", -3, 0, 7),
               HONE_PARAM("threads", 1, 2, 4, 8) },
};

static struct hone_kernel kernel_with(const char *constraint)
{
    struct hone_kernel k = example;
    k.constraint = constraint;
    return k;
}

/* ---- the language ---- */

/* By NVIDIA's occupancy calculator for sm_90: 64 warps, 32 blocks, 65536 registers, 228 KiB. */
static void check_gpu(void)
{
    static const char *const truths[] = {
        "sms == 132 && sm_threads == 2048 && sm_blocks == 32 && sm_registers == 65536",
        "sm_shared == 233472 && thread_registers == 255", "occupancy(32, 0, 256) == 100",
        "occupancy(128, 0, 256) == 25", "occupancy(32, 100000, 256) == 25",
        "occupancy(32, 0, 32) == 50", "occupancy(255, 0, 1024) == 0",
        "occupancy(32, c * 1024, 128 * threads) == 100 && c == 8",
    };
    static const char *const lies[] = { "occupancy(32, 0, 0) == 0", "occupancy(-1, 0, 32) == 0" };
    const struct hone_config c = { { 3, 1, 8, -3, 2 } };
    struct hone_device gpu = { 0 };
    struct hone_constraint t;
    if (hone_device_describe(&gpu, "gpu0:h200")) {
        skip(hone_errmsg(), "occupancy of a described GPU");
        return;
    }
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        const struct hone_kernel k = kernel_with(truths[i]);
        ok(!hone_constraint_parse(&t, &k, &gemm, &gpu) && hone_constraint_holds(&t, &c),
           "on a GPU: %s", truths[i]);
    }
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const struct hone_kernel k = kernel_with(lies[i]);
        ok(!hone_constraint_parse(&t, &k, &gemm, &gpu) && !hone_constraint_holds(&t, &c),
           "is false on a GPU: %s", lies[i]);
    }
    const struct hone_kernel two = kernel_with("occupancy(1, 2) == 3");
    ok(hone_constraint_parse(&t, &two, &gemm, &gpu) == HONE_EPARSE,
       "occupancy() of two arguments is none");
    hone_device_close(&gpu);
}

static void check_values(void)
{
    /* What is true, all names having their values: a=3 b=1 c=8 e=-3 threads=2. */
    static const char *const truths[] = {
        "a == 3 && b == 1 && c == 8 && e == -3 && threads == 2", "1 + 2 * 3 == 7", "(1 + 2) * 3 == 9",
        "7 / 2 == 3 && -7 / 2 == -3", "7 % 3 == 1", "8 - 2 - 3 == 3", "2 * -3 == -6", "- - 2 == 2",
        "!0 && !(a < 0)", "0 || a", "1 || 0 && 0", "a < c && c > a && a <= 3 && 3 >= a && a != c",
        "min(a, c, b) == 1 && max(a, c, 5) == 8", "ceil(7, 2) == 4 && ceil(-7, 2) == -3 && ceil(8, 2) == 4",
        "m == 48 && n == 33 && k == 7", "ceil(m, a) * ceil(n, c) == 80", "l1 <= l2 && cores >= 1 && memory > l2",
        "lanes == 8 && word == 4", "bytes == 4 * (m * n + m * k + k * n)",
        "needed(c, 5) && needed(c, 8) && needed(c, 100)", "!needed(c, 4) && !needed(c, 1)", "\ta\t==3 ",
        "sms == 0 && sm_shared == 0 && thread_registers == 0",
    };
    static const char *const lies[] = {
        "a == 4", "a / b == 4", "a && 0", "a % 0 == 0", "1 / 0 == 1 / 0", "!(a == 3)", "1 / 0",
        "9223372036854775807 + 1 > 0", "9223372036854775807 * 2 != 0", "needed(a, 2)",
        "occupancy(32, 0, 256) >= 0 || occupancy(32, 0, 256) < 0",
    };
    const struct hone_config c = { { 3, 1, 8, -3, 2 } };
    struct hone_constraint t;
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        const struct hone_kernel k = kernel_with(truths[i]);
        int err = hone_constraint_parse(&t, &k, &gemm, &cpu);
        if (!ok(!err && hone_constraint_holds(&t, &c), "%s", truths[i]))
            printf("# %s\n", err ? hone_errmsg() : "does not hold");
    }
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const struct hone_kernel k = kernel_with(lies[i]);
        ok(!hone_constraint_parse(&t, &k, &gemm, &cpu) && !hone_constraint_holds(&t, &c), "not %s",
           lies[i]);
    }
}

static void check_errors(void)
{
    static const struct { const char *text, *why; } bad[] = {
        { "", "a number, a name or '('" }, { "a +", "a number, a name or '('" },
        { "(a", "')'" }, { "a b", "an operator or the end at 'b'" }, { "a = 3", "an operator" },
        { "q > 1", "'q' is no parameter, no size of gemm" }, { "min(a)", "min() of 1" },
        { "ceil(1, 2, 3)", "ceil() of 3" }, { "min a", "'('" }, { "min(a, 2", "',' or ')'" },
        { "needed(3, a)", "what is no parameter" }, { "needed(a + 1, 3)", "what is no parameter" },
        { "1 < 2 < 3", "an operator or the end" }, { "a & b", "an operator" },
    };
    struct hone_constraint t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct hone_kernel k = kernel_with(bad[i].text);
        int err = hone_constraint_parse(&t, &k, &gemm, &cpu);
        if (!ok(err == HONE_EPARSE && strstr(hone_errmsg(), bad[i].why) &&
                    strstr(hone_errmsg(), "example"), "'%s' is refused", bad[i].text))
            printf("# %s\n", err ? hone_errmsg() : "it was read");
    }
    char deep[400];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    const struct hone_kernel nested = kernel_with(deep), twice = {
        .name = "example", .param = { HONE_PARAM("m", 1, 2) }, .constraint = "m > 1"
    };
    ok(hone_constraint_parse(&t, &nested, &gemm, &cpu) == HONE_EPARSE,
       "and what is nested too deep");
    ok(hone_constraint_parse(&t, &twice, &gemm, &cpu) == HONE_EPARSE &&
           strstr(hone_errmsg(), "a parameter and a size"), "and a name with two meanings");
}

/* Every kernel's text is read with every op that the kernel does. */
static void check_kernels(void)
{
    int texts = 0, bad = 0;
    for (int i = 0; hone_kernels[i]; i++)
        for (int j = 0; hone_kernels[i]->constraint && hone_ops[j]; j++) {
            struct hone_problem p = { .op = hone_ops[j] };
            struct hone_constraint t;
            if (!hone_kernels[i]->ops || !hone_kernel_does(hone_kernels[i], hone_ops[j])) continue;
            texts++;
            if (!hone_constraint_parse(&t, hone_kernels[i], &p, &cpu)) continue;
            printf("# %s\n", hone_errmsg());
            bad++;
        }
    ok(texts > 100 && !bad, "all %d constraints of this program's kernels are read", texts);
}

/* ---- counting ---- */

struct tally { int n, valid; const struct hone_kernel *k; };

static int look(void *ctx, const struct hone_config *c)
{
    struct tally *t = ctx;
    t->n++;
    t->valid += hone_config_valid(t->k, &gemm, c, &cpu);
    return 0;
}

static int brute(const struct hone_kernel *k)
{
    struct hone_config c;
    int n = 0;
    hone_config_first(k, &c);
    do n += hone_config_valid(k, &gemm, &c, &cpu);
    while (hone_config_next(k, &c));
    return n;
}

static int odd(const struct hone_problem *p, const struct hone_config *c,
               const struct hone_device *d)
{
    (void)p, (void)d;
    return (c->v[0] + c->v[1]) % 2;
}

static void check_counts(void)
{
    static const struct { const char *text; int groups; } spaces[] = {
        { NULL, 5 }, { "1", 5 }, { "0", 5 }, { "m < 3", 5 }, { "a < c", 4 }, { "a * c <= 16", 4 },
        { "a * b * c + e <= 12", 2 }, { "a < c && b < e", 3 }, { "a < b && b < c && c < e + 12", 2 },
        { "a + b + c + e + threads < 15 && a * c > 6", 1 }, { "a == 1 || b == 4 && c / a > 1", 3 },
        { "(a == 1 || c > 4) && (b == 0 || e == 0) && threads <= a", 2 }, { "a / b > 1 || c == 2", 3 },
        { "!(a / b > 1) && min(a, c, e + 5) >= 2", 2 }, { "needed(c, a * b) && needed(a, e)", 2 },
        { "c % a == 0 || c % (b + 1) == 1 || e / b == 7", 2 }, { "threads <= a && threads >= b", 3 },
        { "max(a, b) * c - e * a < 30 && a != 3", 2 }, { "b == 0 || (a - 2) * (c - 4) * e > 0", 2 },
    };
    for (int coded = 0; coded < 2; coded++)
        for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
            struct hone_kernel k = kernel_with(spaces[i].text);
            struct hone_configs all;
            struct tally t = { .k = &k };
            if (coded) k.valid = odd;
            int err = hone_configs_open(&all, &k, &gemm, &cpu), want = brute(&k);
            if (!err) hone_configs_each(&all, look, &t);
            if (!ok(!err && all.exact && all.valid == want && all.raw == 720 && t.n == want &&
                        t.valid == want && all.ngroups == spaces[i].groups,
                    "%s%s: %d valid of 720", spaces[i].text ? spaces[i].text : "(none)",
                    coded ? ", and code" : "", want))
                printf("# %.0f, %d groups, %d visited, %d of them valid\n", all.valid, all.ngroups,
                       t.n, t.valid);
            hone_configs_close(&all);
        }
}

/* Each of n configs drawn as often as the others: chi-square within 5 standard deviations. */
static void check_draws(void)
{
    enum { DRAWS = 40000 };
    const struct hone_kernel k = kernel_with("a * c <= 16 && (b == 0 || e > 0)");
    struct hone_configs all;
    static int times[16][16][16][16][16];
    uint64_t at = 0;
    double chi = 0;
    int bad = 0, n = 0;
    hone_configs_open(&all, &k, &gemm, &cpu);
    for (int i = 0; i < DRAWS; i++) {
        struct hone_config c;
        if (!hone_configs_draw(&all, 3, &at, &c) || !hone_config_valid(&k, &gemm, &c, &cpu)) {
            bad++;
            continue;
        }
        times[c.v[0]][c.v[1]][c.v[2] - 1][c.v[3] + 3][c.v[4]]++;
    }
    double expect = DRAWS / all.valid;
    for (int *t = &times[0][0][0][0][0]; t < &times[0][0][0][0][0] + 1048576; t++)
        if (*t) { chi += (*t - expect) * (*t - expect) / expect; n++; }
    ok(!bad && n == (int)all.valid, "%d draws: all %d valid configs came, and no other", DRAWS, n);
    ok(fabs(chi - (n - 1)) < 5 * sqrt(2.0 * (n - 1)), "equally often: chi-square %.0f of %d", chi,
       n - 1);
    hone_configs_close(&all);
    const struct hone_kernel none = kernel_with("a > 8");
    struct hone_config c;
    hone_configs_open(&all, &none, &gemm, &cpu);
    ok(all.exact && !all.valid && !hone_configs_draw(&all, 3, &at, &c),
       "of an empty space nothing is drawn");
    hone_configs_close(&all);
}

/* ---- 10^9 ---- */

static const char nine[] = "a * b * c * d * e * f * g * h * i <= 100000";

static const struct hone_kernel huge = {
    .name = "huge", .constraint = nine,
    .param = { HONE_PARAM("a", DIGITS), HONE_PARAM("b", DIGITS), HONE_PARAM("c", DIGITS),
               HONE_PARAM("d", DIGITS), HONE_PARAM("e", DIGITS), HONE_PARAM("f", DIGITS),
               HONE_PARAM("g", DIGITS), HONE_PARAM("h", DIGITS), HONE_PARAM("i", DIGITS) },
};

/* Nine digits whose product is at most 100000, counted another way: how many tuples have each
 * product. */
static double by_products(void)
{
    enum { MOST = 100000 };
    static double n[MOST + 1], next[MOST + 1];
    double sum = 0;
    n[1] = 1;
    for (int digit = 0; digit < 9; digit++) {
        memset(next, 0, sizeof next);
        for (int i = 1; i <= MOST; i++)
            for (int v = 1; v <= 10 && i * v <= MOST; v++) next[i * v] += n[i];
        memcpy(n, next, sizeof n);
    }
    for (int i = 1; i <= MOST; i++) sum += n[i];
    return sum;
}

static void check_huge(void)
{
    struct hone_configs all;
    struct hone_config c;
    struct rusage before, after;
    uint64_t at = 0;
    int bad = 0;
    getrusage(RUSAGE_SELF, &before);
    int err = hone_configs_open(&all, &huge, &gemm, &cpu);
    for (int i = 0; !err && i < 1000; i++)
        bad += !hone_configs_draw(&all, 5, &at, &c) || !hone_config_valid(&huge, &gemm, &c, &cpu);
    getrusage(RUSAGE_SELF, &after);
    double seconds = after.ru_utime.tv_sec - before.ru_utime.tv_sec +
                     1e-6 * (after.ru_utime.tv_usec - before.ru_utime.tv_usec);
    ok(!err && all.exact && all.raw == 1e9 && all.valid == by_products(),
       "10^9 combinations tied by one product: exactly %.0f valid", all.valid);
    ok(!bad, "1000 drawn, all valid");
    ok(seconds < 1 && after.ru_maxrss < 256 * 1024, "in %.3f s of processor time, %ld MiB", seconds,
       after.ru_maxrss / 1024);
    hone_configs_close(&all);
    struct hone_kernel other = huge;
    other.constraint = "a * b <= c * 20 && c + d + e < 24 && e % 2 == f % 2 && f * g > h && g + h + i <= 25";
    err = hone_configs_open(&all, &other, &gemm, &cpu);
    ok(!err && all.exact && all.valid > 1e7 && hone_configs_draw(&all, 5, &at, &c),
       "a chain of five: %.0f", all.valid);
    hone_configs_close(&all);
    other.constraint = NULL;
    other.valid = odd;
    err = hone_configs_open(&all, &other, &gemm, &cpu);
    ok(!err && !all.exact && fabs(all.valid / 5e8 - 1) < 0.05, "with code: about %.3g of 5e8",
       all.valid);
    hone_configs_close(&all);
}

int main(void)
{
    if (hone_device_open(&cpu, "cpu0") || hone_problem_parse("gemm:f32:nn:m48n33k7", &gemm)) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    cpu.ncores = 8;   /* the same spaces on every machine */
    check_values();
    check_gpu();
    check_gpu();
    check_errors();
    check_kernels();
    check_counts();
    check_draws();
    check_huge();
    hone_device_close(&cpu);
    return tap_end();
}
