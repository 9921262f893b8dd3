/* Layers that become part of others' steps: fewer steps, the same numbers; and apart where that was
 * measured to be faster. */
#include "tests/db.h"

#include "nets/nets.h"

#include <math.h>

/* ---- the same training, fused and apart ---- */

struct losses {
    double v[4];
    int n;
};

static void keep(void *ctx, int64_t step, double loss)
{
    struct losses *l = ctx;
    (void)step;
    if (l->n < 4) l->v[l->n++] = loss;
}

static struct hone_data pictures(int rows, int side)
{
    struct hone_data d = { .name = "noise", .source = "noise", .rows = rows, .h = side,
                           .w = side, .c = 3, .classes = 10 };
    size_t n = (size_t)rows * (size_t)side * (size_t)side * 3;
    d.x = malloc(n * sizeof *d.x);
    d.label = malloc((size_t)rows * sizeof *d.label);
    if (!d.x || !d.label) abort();
    for (size_t i = 0; i < n; i++) d.x[i] = (float)(2 * hone_random_unit(3, i) - 1);
    for (int i = 0; i < rows; i++) d.label[i] = i % 10;
    return d;
}

static int train(const char *name, const struct hone_data *data, int apart, struct losses *l,
                 int *nsteps, double *test)
{
    struct hone_trainer t;
    struct hone_metrics m;
    struct hone_train_options o = {
        .net = name,
        .how = { .batch = 4, .dtype = HONE_F64, .apart = apart, .keep = 1,
                 .optim = hone_optim_default(HONE_SGD) },
        .seed = 5,
        .each_step = keep,
        .ctx = l
    };
    *l = (struct losses){ .n = 0 };
    int err = hone_trainer_open(&t, &o, &cpu, data, data);
    if (err) return err;
    *nsteps = t.net.nsteps + t.eval.nsteps;
    err = hone_trainer_epoch(&t, 1, &m);
    if (!err) err = hone_trainer_evaluate(&t, &m);
    *test = m.loss;
    hone_trainer_close(&t);
    return err;
}

/* fewer: steps that a training step and an evaluation save. */
static void check_same(const char *name, int side, int fewer)
{
    struct hone_data data = pictures(16, side);
    struct losses fused, apart;
    int a = 0, b = 0;
    double test_a = NAN, test_b = NAN, off = 0;
    int err = train(name, &data, 0, &fused, &a, &test_a);
    if (!err) err = train(name, &data, 1, &apart, &b, &test_b);
    if (!ok(!err && b - a == fewer, "%s: %d steps instead of %d", name, a, b))
        printf("# %s\n", err ? hone_errmsg() : "");
    for (int i = 0; !err && i < 4; i++) off = fmax(off, fabs(fused.v[i] / apart.v[i] - 1));
    ok(!err && fused.n == 4 && off < 1e-9 && fabs(test_a / test_b - 1) < 1e-9,
       "%s: the same losses in training (%.1e) and evaluation", name, off);
    hone_data_close(&data);
}

/* ---- what was measured decides ---- */

static void remember_in(struct hone_db *db, const char *problem, double ms, const char *session,
                        const char *cache)
{
    char version[HONE_TEXT];
    struct hone_problem p;
    if (hone_problem_parse(problem, &p)) abort();
    const struct hone_kernel *k = NULL;
    for (int i = 0; hone_kernels[i] && !k; i++)
        if (!hone_kernels[i]->slow && !hone_kernel_refuse(hone_kernels[i], &p, &cpu))
            k = hone_kernels[i];
    if (!k) abort();
    struct hone_config c;
    hone_config_guess(k, &p, &cpu, &c);
    hone_kernel_version(k, version);
    struct hone_record r = record_of(problem, k->name, version, ms, session);
    hone_config_print(k, &c, r.config);
    snprintf(r.cache, sizeof r.cache, "%s", cache);
    if (hone_db_add(db, &r)) printf("# %s\n", hone_errmsg());
}

static void remember(struct hone_db *db, const char *problem, double ms, const char *session)
{
    remember_in(db, problem, ms, session, "weights");
}

static int has(const struct hone_net *net, const char *problem)
{
    char text[HONE_TEXT];
    for (int i = 0; i < net->nsteps; i++) {
        hone_problem_print(&net->step[i].problem, text);
        if (!strcmp(text, problem)) return 1;
    }
    return 0;
}

static void check_measured(void)
{
    static const char text[] = "input x c=3 h=4 w=4\nconv a = x k=5 r=1\nbnorm b = a\nrelu c = b\n"
                               "conv d = c k=7 r=1\nbnorm e = d\nrelu f = e\nflatten g = f\n"
                               "fc y = g k=2\nsoftmax_ce l = y\n";
    struct hone_db db;
    struct hone_net net;
    struct hone_lowering how = { .batch = 2, .train = 1, .optim = hone_optim_default(HONE_SGD),
                                 .db = &db, .device = &cpu };
    if (hone_db_open(&db, in_dir("fusion.db"), 1)) {
        ok(0, "a database: %s", hone_errmsg());
        return;
    }
    int err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && has(&net, "bnorm_fwd:f32:any:m32n5:relu") && !has(&net, "relu:f32:any:n160"),
       "nothing measured: fused");
    if (!err) hone_net_close(&net);
    remember(&db, "bnorm_fwd:f32:any:m32n5:relu", 2, "s");
    remember(&db, "bnorm_bwd:f32:any:m32n5:relu", 2, "s");
    remember(&db, "bnorm_fwd:f32:any:m32n5", 1, "s");
    remember(&db, "bnorm_bwd:f32:any:m32n5", 1, "s");
    remember(&db, "relu:f32:any:n160", 0.5, "s");
    err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && has(&net, "bnorm_fwd:f32:any:m32n5:relu"), "a part not measured: fused");
    if (!err) hone_net_close(&net);
    remember(&db, "relu_bwd:f32:any:n160", 0.5, "s");
    err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && has(&net, "bnorm_fwd:f32:any:m32n5") && has(&net, "bnorm_bwd:f32:any:m32n5") &&
           has(&net, "relu:f32:any:n160") && has(&net, "relu_bwd:f32:any:n160"),
       "the parts are faster: apart");
    ok(!err && has(&net, "bnorm_fwd:f32:any:m32n7:relu"), "another size: fused");
    if (!err) hone_net_close(&net);
    how.memory = 1 << 30;
    err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && has(&net, "bnorm_bwd:f32:any:m32n5:relu"), "but not where memory is limited");
    if (!err) hone_net_close(&net);
    how.memory = 0;
    remember(&db, "relu_bwd:f32:any:n160", 1.45, "t");
    err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && has(&net, "bnorm_bwd:f32:any:m32n5:relu"),
       "a later session says that it is hardly so: fused");
    if (!err) hone_net_close(&net);
    remember(&db, "relu_bwd:f32:any:n160", 1.6, "u");
    remember_in(&db, "bnorm_fwd:f32:any:m32n5:relu", 9, "u", "net");
    remember_in(&db, "bnorm_fwd:f32:any:m32n5:relu", 9, "v", "net");
    err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && has(&net, "bnorm_bwd:f32:any:m32n5:relu"),
       "or otherwise: fused, whatever that took inside a net");
    if (!err) hone_net_close(&net);
    hone_db_close(&db);
}

/* ---- less workspace for next to no time ---- */

/* Remembers the kernel whose guess needs most workspace (sign 1) or least (-1), and returns the
 * bytes. */
static int64_t remember_workspace(struct hone_db *db, const char *problem, int sign, double ms,
                                  const char *session)
{
    struct hone_problem p;
    struct hone_plan plan;
    struct hone_record r;
    int64_t best = -1;
    char version[HONE_TEXT];
    if (hone_problem_parse(problem, &p)) abort();
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (k->slow || k->build != HONE_AOT || hone_kernel_refuse(k, &p, &cpu) ||
            hone_plan_open(&plan, &p, k, NULL, &cpu))
            continue;
        const int64_t bytes = (int64_t)plan.workspace_bytes;
        if (best < 0 || sign * bytes > sign * best) {
            best = bytes;
            hone_kernel_version(k, version);
            r = record_of(problem, k->name, version, ms, session);
            r.workspace_bytes = bytes;
            hone_config_print(k, &plan.config, r.config);
        }
        hone_plan_close(&plan);
    }
    if (best < 0 || hone_db_add(db, &r)) abort();
    return best;
}

/* The workspace of the step where another takes so many milliseconds, by which 1 % is measured.
 * later: the fastest alone was timed again since, in so many milliseconds; 0: it was not.  *bytes:
 * what the net may take, 0: any; and then what it does. */
static int64_t workspace_within(double other_ms, double later, int64_t *most, int64_t *least,
                                int64_t *bytes)
{
    static const char text[] = "input x c=64 h=8 w=8\nconv a = x k=128 r=3 p=1\nflatten f = a\n"
                               "fc y = f k=2\nsoftmax_ce l = y\n";
    static const char wgrad[] = "conv2d_wgrad:f32:nhwc:mb2ic64ih8oc128oh8kh3ph1";
    struct hone_lowering how = { .batch = 2, .train = 1, .memory = *bytes,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_db db;
    struct hone_net net;
    int64_t got = -1;
    if (hone_db_open(&db, in_dir("workspace.db"), 1)) return -1;
    remember_workspace(&db, "conv2d_fwd:f32:nhwc:mb2ic64ih8oc128oh8kh3ph1:bias", -1, 0.1, "s");
    *most = remember_workspace(&db, wgrad, 1, 1, "s");
    *least = remember_workspace(&db, wgrad, -1, 1.5, "s");
    if (later > 0) remember_workspace(&db, wgrad, 1, later, "t");
    remember(&db, "softmax_ce:f32:any:m2n2", other_ms, "s");
    int err = hone_net_parse(&net, "t.net", text, &how);
    if (!err) err = hone_net_assemble(&net, &db, &cpu, NULL);
    for (int i = 0; !err && i < net.nsteps; i++)
        if (!strcmp(net.step[i].problem.op->name, "conv2d_wgrad"))
            got = (int64_t)net.step[i].plan.workspace_bytes;
    if (!err) err = hone_net_run(&net, 0, net.nsteps);
    *bytes = hone_net_bytes(&net);
    hone_net_close(&net);
    hone_db_close(&db);
    if (remove(in_dir("workspace.db"))) abort();
    return err ? -1 : got;
}

static int64_t workspace_of(double other_ms, double later, int64_t *most, int64_t *least)
{
    int64_t any = 0;
    return workspace_within(other_ms, later, most, least, &any);
}

static void check_spare(void)
{
    int64_t most, least, bytes = 0, got = workspace_within(0.1, 0, &most, &least, &bytes), all;
    ok(got == most && most - least > 1 << 18, "half a step's time is not given for memory");
    all = bytes;
    got = workspace_within(0.1, 0, &most, &least, &bytes);
    ok(got == most && bytes == all, "nor where it has the %lld bytes that it takes",
       (long long)all);
    bytes = all - 1;
    got = workspace_within(0.1, 0, &most, &least, &bytes);
    ok(got == least && bytes < all, "but where it has one byte less: %lld", (long long)bytes);
    got = workspace_of(99, 0, &most, &least);
    ok(got == least, "half a hundredth is: %lld bytes of workspace in place of %lld",
       (long long)got, (long long)most);
    got = workspace_of(99, 1, &most, &least);
    ok(got == least, "and that it is stands in an earlier session");
    got = workspace_of(99, 3, &most, &least);
    ok(got == most, "whose times count as they were to the kernel that was timed again");
}

/* ---- a kernel with less workspace, or an output computed again ---- */

static int nconvs(const struct hone_net *net)
{
    int n = 0;
    for (int i = 0; i < net->nsteps; i++)
        n += !strcmp(net->step[i].problem.op->name, "conv2d_fwd");
    return n;
}

/* How many are, where that takes so many milliseconds, the kernel with less workspace half a
 * millisecond more, and the net may have a byte less than with the fastest. */
static int again_where(double ms)
{
    static const char text[] =
        "input x c=8 h=8 w=8\nconv a = x k=64 r=3 p=1 bias=0\nbnorm p = a\nrelu b = p\n"
        "conv c = b k=64 r=3 p=1 bias=0\nbnorm q = c\nrelu d = q\nconv e = d k=128 r=3 p=1 bias=0\n"
        "bnorm r = e\nrelu f = r\ngap g = f\nfc y = g k=2\nsoftmax_ce l = y\n";
    static const char wgrad[] = "conv2d_wgrad:f32:nhwc:mb2ic64ih8oc128oh8kh3ph1";
    static const char *const others[] = {
        "conv2d_fwd:f32:nhwc:mb2ic64ih8oc64oh8kh3ph1",
        "conv2d_fwd:f32:nhwc:mb2ic64ih8oc128oh8kh3ph1",
        "conv2d_dgrad:f32:nhwc:mb2ic64ih8oc64oh8kh3ph1",
        "conv2d_dgrad:f32:nhwc:mb2ic64ih8oc128oh8kh3ph1",
        "conv2d_wgrad:f32:nhwc:mb2ic64ih8oc64oh8kh3ph1",
    };
    struct hone_lowering how = { .batch = 2, .train = 1, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_db db;
    struct hone_net net;
    char path[512];
    snprintf(path, sizeof path, "%s", in_dir("again.net"));
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) || hone_db_open(&db, in_dir("again.db"), 1)) abort();
    how.db = &db;
    remember(&db, "conv2d_fwd:f32:nhwc:mb2ic8ih8oc64oh8kh3ph1", ms, "s");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        remember_workspace(&db, others[i], -1, 0.1, "s");
    remember_workspace(&db, wgrad, 1, 1, "s");
    remember_workspace(&db, wgrad, -1, 1.5, "s");
    int err = hone_net_open(&net, path, &how);
    if (!err) err = hone_net_assemble(&net, &db, &cpu, NULL);
    const int before = nconvs(&net);
    how.memory = hone_net_bytes(&net) - 1;
    hone_net_close(&net);
    if (!err) err = hone_net_open_within(&net, path, &how, &cpu, NULL);
    if (!err) err = hone_net_assemble(&net, &db, &cpu, NULL);
    if (!err) err = hone_net_run(&net, 0, net.nsteps);
    const int again = nconvs(&net) - before;
    hone_net_close(&net);
    hone_db_close(&db);
    if (remove(in_dir("again.db")) || remove(path)) abort();
    if (err) printf("# %s\n", hone_errmsg());
    return err ? -1 : again;
}

static void check_cheaper(void)
{
    int n = again_where(2);
    ok(!n, "a convolution that takes longer than the leaner kernel is not computed again: %d", n);
    n = again_where(0.1);
    ok(n == 1, "one that takes less is: %d", n);
}

/* ---- a library left out ---- */

static void remember_kernel(struct hone_db *db, const char *problem, const struct hone_kernel *k,
                            double ms)
{
    struct hone_problem p;
    struct hone_config c;
    char version[HONE_TEXT];
    if (hone_problem_parse(problem, &p)) abort();
    hone_config_guess(k, &p, &cpu, &c);
    hone_kernel_version(k, version);
    struct hone_record r = record_of(problem, k->name, version, ms, "s");
    hone_config_print(k, &c, r.config);
    if (hone_db_add(db, &r)) abort();
}

/* Of the first product of a net, whose two products a library does in 1 ms and `own` in 1.3, where a
 * third step takes other_ms. */
static enum hone_build build_of(const struct hone_kernel *lib, const struct hone_kernel *own,
                                double other_ms)
{
    static const char text[] = "input x c=64\nfc a = x k=48\nfc y = a k=2\nsoftmax_ce l = y\n";
    static const char *const products[] = { "gemm:f32:nn:m8n48k64:bias", "gemm:f32:nt:m8n48k2" };
    struct hone_lowering how = { .batch = 8, .train = 1, .optim = hone_optim_default(HONE_SGD) };
    struct hone_db db;
    struct hone_net net = { 0 };
    enum hone_build build = HONE_AOT;
    if (hone_db_open(&db, in_dir(other_ms < 1 ? "few.db" : "many.db"), 1)) abort();
    for (int i = 0; i < 2; i++) {
        remember_kernel(&db, products[i], lib, 1);
        remember_kernel(&db, products[i], own, 1.3);
    }
    remember(&db, "softmax_ce:f32:any:m8n2", other_ms, "s");
    int err = hone_net_parse(&net, "t.net", text, &how), nlibs = 0;
    if (!err) err = hone_net_assemble(&net, &db, &cpu, NULL);
    for (int i = 0; !err && i < net.nsteps; i++) nlibs += net.step[i].plan.kernel == lib;
    if (!err) err = hone_net_run(&net, 0, net.nsteps);
    if (err || nlibs == 1) abort();
    if (nlibs) build = HONE_LIB;
    hone_net_close(&net);
    hone_db_close(&db);
    return build;
}

static void check_library(void)
{
    struct hone_problem p;
    if (hone_problem_parse("gemm:f32:nn:m8n48k64:bias", &p)) abort();
    const struct hone_kernel *lib = hone_kernel_find(p.op, "lib_openblas"),
                             *own = hone_kernel_find(p.op, "cpu_blocked_plain");
    if (!lib || hone_kernel_refuse(lib, &p, &cpu)) {
        ok(1, "a library can be left out # SKIP no OpenBLAS");
        return;
    }
    ok(build_of(lib, own, 0.1) == HONE_LIB, "a library stays where it saves a third");
    ok(build_of(lib, own, 99) == HONE_AOT, "and goes where all that it saves is half a hundredth");
}

int main(void)
{
    if (!open_place()) return 1;
    check_same("resnet56:n=1,width=4", 32, 20);
    check_same("resnet56:n=1,width=4,option=B", 32, 24);
    check_same("mobilenetv1-cifar:width=0.125,dropout=0", 32, 81);
    check_measured();
    check_spare();
    check_cheaper();
    check_library();
    close_place();
    return tap_end();
}
