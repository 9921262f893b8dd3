/* The proof itself is proved: kernels with one seeded bug each must be caught, whatever the bug,
 * and the right one must pass.  The op is gemm; the bugs are those that kernels really have. */
#include "kernels/gemm/gemm.h"
#include "tests/tap.h"

#include <string.h>

extern const struct hone_backend hone_backend_cpu;

enum bug {
    RIGHT, OFF_BY_ONE_ROW, LAST_K_MISSING, TAIL_UNWRITTEN, WRITES_PAST, WRITES_BEFORE, WRITES_INPUT, WRITES_NAN,
    HALF_PRECISION, NOT_ACCUMULATED, SWAPPED_OPERANDS, BIAS_FORGOTTEN, RELU_FORGOTTEN, CHANGES_BITS, WORKSPACE_OVERRUN,
    ADDED_EPSILON, NBUGS, TRUNCATED = NBUGS   /* of bf16 alone */
};

static const char *const bug_name[NBUGS + 1] = {
    "no bug", "one row off", "last product missing", "tail unwritten", "writes past the end", "writes before the start",
    "writes an input", "writes NaN", "accumulates in bf16", "beta ignored", "a and b swapped", "bias forgotten",
    "relu forgotten", "two runs differ", "workspace overrun", "one part in 10^4 too much",
    "truncates to bf16",
};

static enum bug bug;
static int calls;

static float rounded_to_bf16(float x)
{
    uint16_t half;
    double d = x;
    hone_from_double(HONE_BF16, &d, &half, 1);
    hone_to_double(HONE_BF16, &half, &d, 1);
    return (float)d;
}

/* Number i of an array of this type, and storing one. */
static float at(enum hone_dtype t, const void *array, int64_t i)
{
    double d;
    hone_to_double(t, (const char *)array + i * (int64_t)hone_dtype_bytes(t), &d, 1);
    return (float)d;
}

static void put(enum hone_dtype t, void *array, int64_t i, float v)
{
    if (t == HONE_BF16 && bug == TRUNCATED) {
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        ((uint16_t *)array)[i] = (uint16_t)(bits >> 16);
        return;
    }
    hone_from_double(t, &(double){ v }, (char *)array + i * (int64_t)hone_dtype_bytes(t), 1);
}

static float element(const struct hone_problem *p, void *const mem[], int i, int j)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const void *a = mem[GEMM_A], *b = mem[GEMM_B], *c = mem[GEMM_C];
    const enum hone_dtype t = p->dtype;
    float sum = 0;
    if (bug == OFF_BY_ONE_ROW && i == m - 1 && i > 0) i--;
    for (int l = 0; l < k - (bug == LAST_K_MISSING); l++) {
        sum += bug == SWAPPED_OPERANDS && m == k && k == n
                   ? at(t, b, i * k + l) * at(t, a, l * n + j)
                   : at(t, a, i * k + l) * at(t, b, l * n + j);
        if (bug == HALF_PRECISION) sum = rounded_to_bf16(sum);
    }
    if (p->value[GEMM_BETA] != 0 && bug != NOT_ACCUMULATED)
        sum += (float)p->value[GEMM_BETA] * at(t, c, i * n + j);
    if (hone_problem_has(p, "bias") && bug != BIAS_FORGOTTEN)
        sum += ((const float *)mem[GEMM_BIAS])[j];
    if (hone_problem_has(p, "relu") && bug != RELU_FORGOTTEN) sum = sum > 0 ? sum : 0;
    if (bug == ADDED_EPSILON) sum *= 1.0001f;
    return sum;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N];
    const enum hone_dtype t = p->dtype;
    void *c = mem[GEMM_C];
    calls++;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n - (bug == TAIL_UNWRITTEN && i == m - 1); j++)
            put(t, c, i * n + j, element(p, mem, i, j));
    if (bug == WRITES_PAST) put(t, c, m * n, 0);
    if (bug == WRITES_BEFORE) put(t, c, -1, 0);
    if (bug == WRITES_INPUT) put(t, mem[GEMM_B], 0, at(t, mem[GEMM_B], 0) + 1);
    if (bug == WRITES_NAN) put(t, c, m * n / 2, 0.0f / 0.0f);
    if (bug == CHANGES_BITS && calls % 2 == 0)
        put(t, c, 0, at(t, c, 0) * (1 + (t == HONE_BF16 ? 0x1p-7f : 2e-7f)) + 1e-30f);
    if (bug == WORKSPACE_OVERRUN) ((char *)workspace)[plan->workspace_bytes] = 0;
    return HONE_OK;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)p, (void)c, (void)d;
    return HONE_ALIGN;
}

static const struct hone_op *const ops[] = { &hone_op_gemm, NULL };
static const struct hone_kernel kernel = {
    .name = "buggy", .ops = ops, .backend = &hone_backend_cpu, .workspace = workspace, .run = run,
};

/* A problem on which the bug shows: every feature is used and the sizes are equal. */
static void check(struct hone_device *d, const char *text, enum bug b)
{
    struct hone_problem p;
    struct hone_plan plan;
    double error = 0;
    bug = b;
    calls = 0;
    int err = hone_problem_parse(text, &p);
    if (!err) err = hone_plan_open(&plan, &p, &kernel, NULL, d);
    if (err) { ok(0, "%s: %s", text, hone_errmsg()); return; }
    err = hone_verify(&plan, 1, &error);
    ok(b == RIGHT ? !err : err == HONE_EWRONG, "%s: %s is %s", text, bug_name[b],
       b == RIGHT ? "accepted" : "caught");
    if (b == RIGHT)
        ok(error > 0 && error <= 1, "%s: largest error is %.3f of the bound", text, error);
    else printf("# %s\n", hone_errmsg());
    hone_plan_close(&plan);
}

/* Where expected values are only a sample, ends and unwritten places still show. */
static void check_sampled(struct hone_device *d)
{
    static const enum bug visible[] = { RIGHT, TAIL_UNWRITTEN, WRITES_PAST, LAST_K_MISSING,
                                        WRITES_NAN };
    for (size_t i = 0; i < sizeof visible / sizeof *visible; i++)
        check(d, "gemm:f32:nn:m384n640k640", visible[i]);
    struct hone_problem p;
    struct hone_case c;
    if (hone_problem_parse("gemm:f32:nn:m384n640k640", &p) ||
        hone_case_open(&c, &p, d, HONE_REALS, 1)) {
        ok(0, "sampled case: %s", hone_errmsg());
        return;
    }
    ok(c.at[GEMM_C] && c.nwant[GEMM_C] < 384 * 640,
       "a large problem is checked on a sample of %lld outputs", (long long)c.nwant[GEMM_C]);
    hone_case_close(&c);
}

int main(void)
{
    struct hone_device d;
    if (hone_device_open(&d, "cpu0")) { printf("Bail out! %s\n", hone_errmsg()); return 1; }
    for (int b = RIGHT; b < NBUGS; b++)
        check(&d, "gemm:f32:nn:m24n24k24:beta1+bias+relu", (enum bug)b);
    /* A result of bf16 has room for one part in 10^4, and no more than that. */
    for (int b = RIGHT; b <= TRUNCATED; b++)
        if (b != ADDED_EPSILON) check(&d, "gemm:bf16:nn:m24n24k24:beta1+bias+relu", (enum bug)b);
    check_sampled(&d);
    hone_device_close(&d);
    return tap_end();
}
