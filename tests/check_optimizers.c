/* Optimizers, schedules and losses against what PyTorch and Keras compute: tests/golden/torch.txt
 * and keras.txt, which tests/golden/make_golden.py made.  A line is a name, which says what it was
 * made with, then numbers. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 6, STEPS = 5, MOST = 32 };

static const double P[N] = { 0.5, -1.25, 2.0, 0.0, -0.75, 3.0 };
static const double C[N] = { 1.0, 0.5, 2.0, 1.5, 0.25, 3.0 };
static const double Q[N] = { 1.0, -1.0, -0.5, 0.25, 2.0, 0.125 };

static struct hone_device device;

/* ---- one op on small arrays ---- */

struct call {
    struct hone_plan plan;
    struct hone_arg arg[HONE_MAX_ARGS];
    int nargs;
    void *mem[HONE_MAX_ARGS], *workspace;
};

/* Arrays start from 0. */
static int call_open(struct call *c, const char *text, int reference)
{
    struct hone_problem p;
    memset(c, 0, sizeof *c);
    int err = hone_problem_parse(text, &p);
    if (!err)
        err = reference ? hone_plan_open(&c->plan, &p, &hone_backend_ref, NULL, &device)
                        : hone_plan_default(&c->plan, &p, &device);
    if (err) return err;
    c->nargs = p.op->args(&p, c->arg);
    for (int a = 0; !err && a < c->nargs; a++) {
        size_t bytes = (size_t)hone_arg_bytes(&c->arg[a]);
        if (!(err = device.backend->alloc(&device, bytes, &c->mem[a]))) memset(c->mem[a], 0, bytes);
    }
    return err ? err : device.backend->alloc(&device, c->plan.workspace_bytes, &c->workspace);
}

static void call_close(struct call *c)
{
    for (int a = 0; a < c->nargs; a++) device.backend->free(&device, c->mem[a]);
    device.backend->free(&device, c->workspace);
    hone_plan_close(&c->plan);
}

static float *argument(struct call *c, const char *name)
{
    for (int a = 0; a < c->nargs; a++)
        if (!strcmp(c->arg[a].name, name)) return c->mem[a];
    return NULL;
}

/* ---- optimizers ---- */

/* "rmsprop:rho=0.9,decay=0.1" */
static int read_optim(const char *name, struct hone_optim *o)
{
    static const struct {
        const char *name;
        size_t at;
    } numbers[] = {
#define NUMBER(field) { #field, offsetof(struct hone_optim, field) }
        NUMBER(lr),    NUMBER(decay), NUMBER(momentum), NUMBER(weight_decay), NUMBER(beta1),
        NUMBER(beta2), NUMBER(rho),   NUMBER(epsilon),  NUMBER(clip),
    };
    char copy[HONE_TEXT], *rest = copy, *word;
    snprintf(copy, sizeof copy, "%s", name);
    enum hone_optimizer kind;
    if (hone_optimizer_find(strsep(&rest, ":"), &kind)) return 0;
    *o = hone_optim_default(kind);
    while ((word = strsep(&rest, ","))) {
        char *value = strchr(word, '=');
        int found = 0;
        if (!value) return 0;
        *value++ = 0;
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            if (!strcmp(numbers[i].name, word)) {
                *(double *)((char *)o + numbers[i].at) = strtod(value, NULL);
                found = 1;
            }
        if (!strcmp(word, "nesterov")) o->nesterov = found = 1;
        if (!found) return 0;
    }
    return 1;
}

static void hyper(const struct hone_optim *o, int64_t t, float to[8])
{
    double numbers[8];
    hone_optim_hyper(o, t, numbers);
    hone_from_double(HONE_F32, numbers, to, 8);
}

/* STEPS steps from P; path: how far each parameter went in all; norm: of each step's gradient,
 * where it is clipped. */
static int train(const struct hone_optim *o, int reference, double p[N], double path[N],
                 double norm[STEPS], double *growth)
{
    struct call update, clip = { 0 };
    char text[HONE_TEXT];
    hone_optim_problem(o, N, text);
    int err = call_open(&update, text, reference);
    if (!err && o->clip > 0) err = call_open(&clip, "clip:f32:any:n6", reference);
    float *param = err ? NULL : argument(&update, "p"), *g = err ? NULL : argument(&update, "g");
    for (int i = 0; !err && i < N; i++) param[i] = (float)(p[i] = P[i]), path[i] = 0;
    for (int t = 0; !err && t < STEPS; t++) {
        for (int i = 0; i < N; i++) g[i] = (float)(C[i] * ((double)param[i] - Q[i]));
        hyper(o, t, argument(&update, "hyper"));
        if (o->clip > 0) {
            memcpy(argument(&clip, "g"), g, N * sizeof *g);
            hyper(o, t, argument(&clip, "hyper"));
            err = hone_plan_run(&clip.plan, clip.mem, clip.workspace);
            memcpy(g, argument(&clip, "g"), N * sizeof *g);
            norm[t] = (double)*argument(&clip, "norm");
        }
        if (!err) err = hone_plan_run(&update.plan, update.mem, update.workspace);
        for (int i = 0; i < N; i++) {
            path[i] += fabs((double)param[i] - p[i]);
            p[i] = (double)param[i];
        }
    }
    *growth = err ? 0 : update.plan.problem.op->growth(&update.plan.problem);
    call_close(&update);
    call_close(&clip);
    return err;
}

/* A step rounds p twice and its move by the op's growth; the gradients of later steps, which follow
 * p, may carry an error four times on. */
static void check_optimizer(const char *name, const double want[])
{
    for (int reference = 0; reference < 2; reference++) {
        struct hone_optim o;
        double p[N], path[N], norm[STEPS], growth, worst = 0;
        int err = read_optim(name, &o) ? train(&o, reference, p, path, norm, &growth) : HONE_EPARSE;
        for (int i = 0; !err && i < N; i++) {
            double size = 2 * fmax(fabs(P[i]), fabs(p[i])) + 4 * growth * path[i];
            double off = fabs(p[i] - want[i]) / (STEPS * 0x1p-24 * size);
            if (!(off <= worst)) worst = off;
        }
        if (!ok(!err && worst <= 1, "%s, %s", name, reference ? "reference" : "kernel"))
            printf("# %s: %g of the bound\n", err ? hone_errmsg() : "off", worst);
    }
}

static void check_norms(const char *name, const double want[])
{
    char text[HONE_TEXT];
    struct hone_optim o;
    double p[N], path[N], norm[STEPS], growth;
    snprintf(text, sizeof text, "sgd%s", strchr(name, ':'));
    int err = read_optim(text, &o) ? train(&o, 0, p, path, norm, &growth) : HONE_EPARSE,
        good = !err;
    for (int t = 0; good && t < STEPS; t++) good = fabs(norm[t] - want[t]) <= 2e-6 * want[t];
    ok(good, "%s: norms before clipping", name);
}

/* Without gradients a momentum shrinks, as `hone` runs to 0 in the end, in every thread: numbers too
 * small to be normal would slow each step that follows. */
static void check_momentum_ends(void)
{
    enum { NUMBERS = 1 << 18, SHRINKS = 100 };
    struct call c;
    int n = 0, err = call_open(&c, "sgd:f32:any:n262144:momentum", 0);
    struct hone_optim o = hone_optim_default(HONE_SGD);
    float *v = err ? NULL : argument(&c, "v");
    o.momentum = 0.9;
    for (int i = 0; !err && i < NUMBERS; i++) v[i] = 1e-37f;
    if (!err) hyper(&o, 0, argument(&c, "hyper"));
    for (int t = 0; !err && t < SHRINKS; t++) err = hone_plan_run(&c.plan, c.mem, c.workspace);
    for (int i = 0; !err && i < NUMBERS; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        n += bits == 0;
    }
    ok(!err && n == NUMBERS, "momentum without gradients ends at 0");
    call_close(&c);
}

/* ---- schedules: 4 steps an epoch, 5 epochs ---- */

static void check_schedule(const char *name, const double want[], int n)
{
    struct hone_optim o = hone_optim_default(HONE_SGD);
    char text[HONE_TEXT], again[HONE_TEXT], *warmup;
    int good = 1;
    snprintf(text, sizeof text, "%s", strchr(name, ':') + 1);
    warmup = strstr(text, ":warmup=");
    if (warmup) *warmup = 0;
    o.lr = 0.1;
    o.schedule.epochs = 5;
    o.schedule.steps_per_epoch = 4;
    o.schedule.warmup = warmup ? strtod(warmup + 8, NULL) : 0;
    int err = hone_schedule_parse(text, &o.schedule);
    hone_schedule_print(&o.schedule, again);
    /* Keras computes rates in floats. */
    for (int t = 0; !err && t < n && good; t++) {
        good = fabs(hone_optim_lr(&o, t) - want[t]) <= 2e-7 * 0.1;
        if (!good) printf("# step %d: %.9g, want %.9g\n", t, hone_optim_lr(&o, t), want[t]);
    }
    ok(!err && good && n == 20 && !strcmp(text, again), "%s", name);
}

static void check_bad_schedules(void)
{
    static const char *const bad[] = { "",
                                       "line",
                                       "step",
                                       "step:",
                                       "step:3",
                                       "step:3:",
                                       "step:3,2:.1",
                                       "step:0:.1",
                                       "step:3:-1",
                                       "exp:",
                                       "exp:0",
                                       "exp:nan",
                                       "exp:.5x",
                                       "cosine:3",
                                       "constant:1",
                                       "step:a:.1",
                                       "step:1,2,3,4,5,6,7,8,9:.1" };
    int accepted = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hone_schedule s = { 0 };
        accepted += !hone_schedule_parse(bad[i], &s);
    }
    ok(!accepted, "texts that are no schedule are refused");
}

static void check_texts(void)
{
    static const char *const good[] = {
        "sgd",     "sgd+momentum+nesterov+wd+clip", "adam+wd", "adamw+clip", "rmsprop+momentum",
        "adadelta"
    };
    static const char *const bad[] = {
        "", "lion", "adam+momentum", "sgd+nesterov", "sgd+", "sgd+fast", "rmsprop+momentum+nesterov"
    };
    struct hone_optim o;
    char again[HONE_TEXT];
    int same = 1, accepted = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (hone_optim_parse(good[i], &o)) same = 0;
        hone_optim_print(&o, again);
        same = same && !strcmp(again, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) accepted += !hone_optim_parse(bad[i], &o);
    ok(same, "optimizers' texts come back");
    ok(!accepted, "texts that are no optimizer are refused");
}

/* ---- losses ---- */

static const float X[12] = { 2, -1, 0.5f, 3, 0, 0.25f, -2, 1, -3, 4, 1.5f, 1.25f };
static const float Z[12] = { 1, 0.5f, -0.5f, 2, 1.5f, 0, -1, -0.25f, 0, 5, 2, -1 };
static const int32_t LABEL[3] = { 3, 0, 2 };

/* The name is PROBLEM:loss or PROBLEM:dx.  Numbers are below 32 and sums are of four: growth times
 * that is the bound. */
static void check_loss(const char *name, const double want[], int n)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s", name);
    char *output = strrchr(text, ':');
    *output++ = 0;
    for (int reference = 0; reference < 2; reference++) {
        struct call c;
        double worst = 0;
        int err = call_open(&c, text, reference);
        if (!err) {
            memcpy(argument(&c, "x"), X, sizeof X);
            if (argument(&c, "z")) memcpy(argument(&c, "z"), Z, sizeof Z);
            if (argument(&c, "t")) memcpy(argument(&c, "t"), Z, sizeof Z);
            if (argument(&c, "label")) memcpy(argument(&c, "label"), LABEL, sizeof LABEL);
            err = hone_plan_run(&c.plan, c.mem, c.workspace);
        }
        double growth = err ? 0 : c.plan.problem.op->growth(&c.plan.problem);
        const float *got = err ? NULL : argument(&c, output);
        for (int i = 0; got && i < n; i++)
            worst = fmax(worst,
                         fabs((double)got[i] - want[i]) / (growth * 0x1p-24 * (1 + fabs(want[i]))));
        if (!ok(got && n == (*output == 'd' ? 12 : 3) && worst <= 1, "%s, %s", name,
                reference ? "reference" : "kernel"))
            printf("# %s: %g of the bound\n", err ? hone_errmsg() : "off", worst);
        call_close(&c);
    }
}

/* ---- files ---- */

static void check_line(char *line)
{
    double v[MOST];
    int n = 0;
    char *end, *rest = line, *name = strsep(&rest, " ");
    for (char *s = rest; s && n < MOST; s = end) {
        v[n] = strtod(s, &end);
        if (end == s) break;
        n++;
    }
    const char *last = strrchr(name, ':');
    if (!strncmp(name, "schedule:", 9))
        check_schedule(name, v, n);
    else if (!strncmp(name, "norm:", 5))
        check_norms(name, v);
    else if (last && (!strcmp(last, ":loss") || !strcmp(last, ":dx")))
        check_loss(name, v, n);
    else if (n == N)
        check_optimizer(name, v);
    else
        ok(0, "%s holds %d numbers", name, n);
}

static void check_file(const char *name, int least)
{
    char path[1024], line[4096];
    const char *srcdir = getenv("srcdir");
    int n = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s", srcdir ? srcdir : ".", name);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || !line[0]) continue;
        check_line(line);
        n++;
    }
    if (f) fclose(f);
    ok(n >= least, "%s holds %d lines", name, n);
}

int main(void)
{
    hone_flush_subnormal();
    if (hone_device_open(&device, "cpu0")) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    check_file("torch.txt", 44);
    check_file("keras.txt", 13);
    check_momentum_ends();
    check_bad_schedules();
    check_texts();
    hone_device_close(&device);
    return tap_end();
}
