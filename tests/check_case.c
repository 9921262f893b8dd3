/* The proof itself is proved: kernels with one seeded bug each must be caught, whatever the bug,
 * and the right one must pass.  The op is gemm; the bugs are those that kernels really have. */
#include "kernels/gemm/gemm.h"
#include "tests/tap.h"

#include <string.h>

extern const struct hone_backend hone_backend_cpu;

enum bug {
    RIGHT, OFF_BY_ONE_ROW, LAST_K_MISSING, TAIL_UNWRITTEN, WRITES_PAST, WRITES_BEFORE, WRITES_INPUT, WRITES_NAN,
    HALF_PRECISION, NOT_ACCUMULATED, SWAPPED_OPERANDS, BIAS_FORGOTTEN, RELU_FORGOTTEN, CHANGES_BITS, WORKSPACE_OVERRUN,
    ADDED_EPSILON, NBUGS
};

static const char *const bug_name[NBUGS] = {
    "no bug", "one row off", "last product missing", "tail unwritten", "writes past the end", "writes before the start",
    "writes an input", "writes NaN", "accumulates in bf16", "beta ignored", "a and b swapped", "bias forgotten",
    "relu forgotten", "two runs differ", "workspace overrun", "one part in 10^4 too much",
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

static float element(const struct hone_problem *p, void *const mem[], int i, int j)
{
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const float *a = mem[GEMM_A], *b = mem[GEMM_B], *c = mem[GEMM_C];
    float sum = 0;
    if (bug == OFF_BY_ONE_ROW && i == m - 1 && i > 0) i--;
    for (int l = 0; l < k - (bug == LAST_K_MISSING); l++) {
        sum += bug == SWAPPED_OPERANDS && m == k && k == n ? b[i * k + l] * a[l * n + j] : a[i * k + l] * b[l * n + j];
        if (bug == HALF_PRECISION) sum = rounded_to_bf16(sum);
    }
    if (p->value[GEMM_BETA] != 0 && bug != NOT_ACCUMULATED) sum += (float)p->value[GEMM_BETA] * c[i * n + j];
    if (hone_problem_has(p, "bias") && bug != BIAS_FORGOTTEN) sum += ((const float *)mem[GEMM_BIAS])[j];
    if (hone_problem_has(p, "relu") && bug != RELU_FORGOTTEN) sum = sum > 0 ? sum : 0;
    if (bug == ADDED_EPSILON) sum *= 1.0001f;
    return sum;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N];
    float *c = mem[GEMM_C];
    calls++;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n - (bug == TAIL_UNWRITTEN && i == m - 1); j++) c[i * n + j] = element(p, mem, i, j);
    if (bug == WRITES_PAST) c[m * n] = 0;
    if (bug == WRITES_BEFORE) c[-1] = 0;
    if (bug == WRITES_INPUT) ((float *)mem[GEMM_B])[0] += 1;
    if (bug == WRITES_NAN) c[m * n / 2] = 0.0f / 0.0f;
    if (bug == CHANGES_BITS && calls % 2 == 0) c[0] += c[0] * 2e-7f + 1e-30f;
    if (bug == WORKSPACE_OVERRUN) ((char *)workspace)[plan->workspace_bytes] = 0;
    return HONE_OK;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c, const struct hone_device *d)
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
    ok(b == RIGHT ? !err : err == HONE_EWRONG, "%s: %s is %s", text, bug_name[b], b == RIGHT ? "accepted" : "caught");
    if (b == RIGHT) ok(error > 0 && error <= 1, "%s: largest error is %.3f of the bound", text, error);
    else printf("# %s\n", hone_errmsg());
    hone_plan_close(&plan);
}

/* Where expected values are only a sample, ends and unwritten places still show. */
static void check_sampled(struct hone_device *d)
{
    static const enum bug visible[] = { RIGHT, TAIL_UNWRITTEN, WRITES_PAST, LAST_K_MISSING, WRITES_NAN };
    for (size_t i = 0; i < sizeof visible / sizeof *visible; i++) check(d, "gemm:f32:nn:m384n640k640", visible[i]);
    struct hone_problem p;
    struct hone_case c;
    if (hone_problem_parse("gemm:f32:nn:m384n640k640", &p) || hone_case_open(&c, &p, d, HONE_REALS, 1)) {
        ok(0, "sampled case: %s", hone_errmsg());
        return;
    }
    ok(c.at[GEMM_C] && c.nwant[GEMM_C] < 384 * 640, "a large problem is checked on a sample of %lld outputs",
       (long long)c.nwant[GEMM_C]);
    hone_case_close(&c);
}

int main(void)
{
    struct hone_device d;
    if (hone_device_open(&d, "cpu0")) { printf("Bail out! %s\n", hone_errmsg()); return 1; }
    for (int b = RIGHT; b < NBUGS; b++) check(&d, "gemm:f32:nn:m24n24k24:beta1+bias+relu", (enum bug)b);
    check_sampled(&d);
    hone_device_close(&d);
    return tap_end();
}
