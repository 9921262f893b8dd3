/* Batch normalisation: the reference kernel against numbers from PyTorch 2.15 (batch_norm in
 * doubles and its backward), and every kernel on channels whose mean is 10,000 times their
 * deviation, where sums of squares in f32 would lose all digits. */
#include "kernels/norm/norm.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct hone_device device;

/* Runs k in its guessed config on numbers f32 holds; outputs come back into value. */
static int run(const struct hone_kernel *k, const struct hone_problem *p, double *const value[])
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    struct hone_plan plan;
    void *mem[HONE_MAX_ARGS] = { 0 }, *workspace = NULL;
    int nargs = p->op->args(p, arg), err = hone_plan_open(&plan, p, k, NULL, &device);
    if (err) return err;
    err = device.backend->alloc(&device, plan.workspace_bytes, &workspace);
    for (int a = 0; !err && a < nargs; a++) {
        err = device.backend->alloc(&device, (size_t)hone_arg_bytes(&arg[a]), &mem[a]);
        if (!err) hone_from_double(arg[a].dtype, value[a], mem[a], hone_arg_len(&arg[a]));
    }
    if (!err) err = hone_plan_run(&plan, mem, workspace);
    for (int a = 0; a < nargs; a++) {
        if (!err) hone_to_double(arg[a].dtype, mem[a], value[a], hone_arg_len(&arg[a]));
        device.backend->free(&device, mem[a]);
    }
    device.backend->free(&device, workspace);
    hone_plan_close(&plan);
    return err;
}

static int near(const double *a, const double *b, int n, double within)
{
    for (int i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= within)) {
            printf("# number %d is %.9g, want %.9g\n", i, a[i], b[i]);
            return 0;
        }
    return 1;
}

/* ---- golden numbers ---- */

enum { M = 5, N = 3 };
static const double golden_y[] = {
    -0.7093593910213614, -2.1212354958367308, -1.1128658107083955, 0.7014632428335819,
    -1.0606177479183658, -1.6771948642503727, 0.5603809794480875,  0,
    -2.24152391779235,   0.41929871606259317, 1.060617747918364,   -2.8058529713343274,
    0.2782164526770989,  2.121235495836729,   2.8374375640854455
};
static const double golden_rmean[] = { 0.945, -1.5, 1.005 },
                    golden_rvar[] = { 0.548125, 0.915625, 1.898125 };
static const double golden_dx[] = {
    -0.19769956180759388, -0.0003733075826611684, -0.8051557456792354,  -0.45469605229305143,
    -4.454781195048463,   -0.31630204573959725,   -0.11861542379641818, 5.939459388342843,
    0.17255165420004073,  0.21746520470021508,    1.4850515008770413,   0.6614053541396789,
    0.5535458331968484,   -2.969356386588761,     0.28750078307911503
};
static const double golden_dgamma[] = { 1.6929871606259312, 3.8889317423673377,
                                        -5.022528576523597 };
static const double golden_dbeta[] = { -2.5, -0.5, 1.5 };
static const double golden_infer[] = {
    -1.3409743480058, -8.249958750309371, 6.0710501342622365, 0.4267749275562, -7.87496062529531, 5.717497627549125,
    0.25, -7.499962500281248, 5.363945120836013, 0.0732250724438, -7.124964375267185, 5.010392614122901,
    -0.1035498551124, -6.749966250253123, 8.54591768125402 };

static void check_golden(void)
{
    const double gamma[N] = { 0.5, -1.5, 2 }, beta[N] = { 0.25, 0, -1 };
    double x[M * N], y[M * N], dy[M * N], dx[M * N], mean[N], rstd[N], dgamma[N], dbeta[N];
    double rmean[N] = { 1, -2, 0.5 }, rvar[N] = { 0.5, 1, 2 }, g[N], b[N];
    struct hone_problem p;
    for (int i = 0; i < M * N; i++) {
        x[i] = (i * 7 % 11 - 5) / 4.0 + 3 * (i % N);
        dy[i] = (i * 5 % 7 - 3) / 2.0;
    }
    memcpy(g, gamma, sizeof g), memcpy(b, beta, sizeof b);
    int err = hone_problem_parse("bnorm_infer:f32:any:m5n3", &p);
    if (!err) err = run(&hone_backend_ref, &p, (double *[]){ y, x, g, b, rmean, rvar });
    ok(!err && near(y, golden_infer, M * N, 4e-6), "bnorm_infer is PyTorch's");
    err = hone_problem_parse("bnorm_fwd:f32:any:m5n3", &p);
    if (!err) err = run(&hone_backend_ref, &p, (double *[]){ y, mean, rstd, rmean, rvar, x, g, b });
    ok(!err && near(y, golden_y, M * N, 1e-6), "bnorm_fwd is PyTorch's");
    ok(!err && near(rmean, golden_rmean, N, 1e-6) && near(rvar, golden_rvar, N, 1e-6),
       "so are its running values");
    err = hone_problem_parse("bnorm_bwd:f32:any:m5n3", &p);
    if (!err)
        err = run(&hone_backend_ref, &p, (double *[]){ dx, dgamma, dbeta, dy, x, mean, rstd, g });
    ok(!err && near(dx, golden_dx, M * N, 4e-6), "bnorm_bwd is PyTorch's");
    ok(!err && near(dgamma, golden_dgamma, N, 1e-6) && near(dbeta, golden_dbeta, N, 1e-6),
       "so are dgamma and dbeta");
}

/* ---- far from zero ---- */

enum { ROWS = 3001, CHANNELS = 19 };

/* The reference works in doubles, so what remains is the kernel's: y is to be right to 1e-5 of a
 * deviation, although f32 holds a number near 10,000 to no better than 5e-4. */
static void check_far(const struct hone_kernel *k, const struct hone_problem *p,
                      double *const want[])
{
    double *got[HONE_MAX_ARGS] = { 0 };
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    int nargs = p->op->args(p, arg);
    for (int a = 0; a < nargs; a++) {
        int64_t n = hone_arg_len(&arg[a]);
        got[a] = calloc((size_t)n, sizeof(double));
        if (!got[a]) { printf("Bail out! no memory\n"); exit(1); }
        if (arg[a].io == HONE_IN) memcpy(got[a], want[a], (size_t)n * sizeof(double));
    }
    int err = run(k, p, got);
    ok(!err && near(got[NORM_Y], want[NORM_Y], ROWS * CHANNELS, 1e-5) &&
           near(got[NORM_RSTD], want[NORM_RSTD], CHANNELS, 1e-6) &&
           near(got[NORM_MEAN], want[NORM_MEAN], CHANNELS, 1e-3),
       "%s where the mean is 10,000 deviations", k->name);
    for (int a = 0; a < nargs; a++) free(got[a]);
}

static void check_far_from_zero(void)
{
    double *want[HONE_MAX_ARGS] = { 0 };
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    struct hone_problem p;
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "bnorm_fwd:f32:any:m%dn%d", ROWS, CHANNELS);
    if (hone_problem_parse(text, &p)) { ok(0, "%s", hone_errmsg()); return; }
    int nargs = p.op->args(&p, arg);
    for (int a = 0; a < nargs; a++) {
        int64_t n = hone_arg_len(&arg[a]);
        want[a] = calloc((size_t)n, sizeof(double));
        if (!want[a]) { printf("Bail out! no memory\n"); exit(1); }
        for (int64_t i = 0; i < n; i++) {
            double u = 2 * hone_random_unit(1, (uint64_t)(a * 1000000 + i)) - 1;
            want[a][i] = a == NORM_X ? (double)(float)(10000 + 1.7 * u) : a == NORM_GAMMA ? 1 : 0;
        }
    }
    int err = run(&hone_backend_ref, &p, want);
    ok(!err, "the reference far from zero");
    for (int i = 0; !err && hone_kernels[i]; i++)
        if (hone_kernel_does(hone_kernels[i], p.op) &&
            !hone_kernel_refuse(hone_kernels[i], &p, &device))
            check_far(hone_kernels[i], &p, want);
    for (int a = 0; a < nargs; a++) free(want[a]);
}

int main(void)
{
    if (hone_device_open(&device, "cpu0")) { printf("Bail out! %s\n", hone_errmsg()); return 1; }
    check_golden();
    check_far_from_zero();
    hone_device_close(&device);
    return tap_end();
}
