/* The profiler's counters against kernels of known work, its groups and metrics, and its meters. */
#include "config.h"

#include "tests/known.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGES = 256, PAGE = 4096 };

/* Each of the threads touches PAGES pages that no one touched before. */
static int touch(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    int threads = plan->config.v[0], bad = 0;
    (void)mem, (void)workspace;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : bad)
    for (int t = 0; t < threads; t++) {
        char *m =
            mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED) {
            bad++;
            continue;
        }
        madvise(m, PAGES * PAGE, MADV_NOHUGEPAGE);
        for (int i = 0; i < PAGES; i++) ((volatile char *)m)[i * PAGE] = 1;
        munmap(m, PAGES * PAGE);
    }
    return bad ? HONE_EDEVICE : HONE_OK;
}

static struct hone_counter counted(struct hone_case *c, const struct hone_plan *plan,
                                   const char *name)
{
    struct hone_counter counter[HONE_MAX_COUNTERS] = { 0 };
    int n = 0, err = hone_count(plan, c, name, counter, &n);
    if (err || n != 1) snprintf(counter->why, sizeof counter->why, "%.100s", hone_errmsg());
    return counter[0];
}

/* Page faults of touching fresh memory, on one thread and two. */
static void check_page_faults(struct hone_case *c, const char *event)
{
    struct hone_kernel k = kernel_of(touch);
    for (int threads = 1; threads <= 2 && threads <= cpu.ncores; threads++) {
        struct hone_plan plan = plan_of(&k, c, threads, 0);
        struct hone_counter f = counted(c, &plan, event);
        int pages = threads * PAGES;
        if (!f.ok && f.why[0]) {
            skip(f.why, "%s on %d threads", event, threads);
            continue;
        }
        ok(f.ok && f.value >= pages && f.value < 1.5 * pages,
           "%s of touching %d fresh pages on %d threads", event, pages, threads);
        printf("# %g\n", f.value);
    }
}

/* An event proportional to the work, where it can be counted; else it must say why. */
static void check_proportional(struct hone_case *c, const char *event)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan one = plan_of(&k, c, 1, 20000), two = plan_of(&k, c, 1, 40000);
    struct hone_counter a = counted(c, &one, event), b = counted(c, &two, event);
    for (int again = 0; again < 8 && a.ok && b.ok && !about_double(a.value, b.value); again++) {
        a = counted(c, &one, event);
        b = counted(c, &two, event);
    }
    ok(a.ok ? a.value > 0 && !a.why[0] : a.value == 0 && a.why[0], "%s is a value or a reason",
       event);
    if (!a.ok) printf("# n/a (%s)\n", a.why);
    if (!a.ok || !b.ok)
        skip(a.why, "%s doubles with the work", event);
    else
        ok(about_double(a.value, b.value), "%s doubles with the work", event);
}

static void check_lists(struct hone_case *c)
{
    char too_many[1024];
    for (int i = 0, at = 0; i <= HONE_MAX_COUNTERS; i++)
        at += snprintf(too_many + at, sizeof too_many - (size_t)at, "%szen9::E%d", i ? "," : "", i);
    const char *const bad[] = { "",
                                ",",
                                "minflt,",
                                "a,,b",
                                "no_such",
                                "rusage:no_such",
                                "ipc:no_such",
#ifdef HAVE_PAPI /* without it no event of its can be told from another */
                                "PAPI_NO_SUCH",
#endif
                                too_many };
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 100);
    struct hone_counter counter[HONE_MAX_COUNTERS];
    int n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(hone_count(&plan, c, bad[i], counter, &n) == HONE_EPARSE && n == 0,
           "counters '%.30s' are refused: %.70s", bad[i], hone_errmsg());
    int err =
        hone_count(&plan, c, "utime,rusage:nvcsw,zen9::NO_PROCESSOR_OF_OURS,stime", counter, &n);
    ok(!err && n == 4 && !strcmp(counter[0].name, "utime") &&
           !strcmp(counter[1].name, "rusage:nvcsw") && counter[3].ok,
       "counters come back in order");
    ok(!counter[2].ok && counter[2].why[0],
       "another processor's event says why it is not countable: %s", counter[2].why);
}

/* ---- groups and what they give ---- */

static const struct hone_counter *named(const struct hone_counter counter[], int n,
                                        const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(counter[i].name, name)) return &counter[i];
    return NULL;
}

static void check_groups(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 2000);
    struct hone_counter counter[HONE_MAX_COUNTERS];
    double flops = c->problem.op->flops(&c->problem), bytes = hone_problem_bytes(&c->problem);
    int n, before, err = hone_count(&plan, c, "model,minflt,model", counter, &n);
    ok(!err && n == 3 + 2 * 3 && !strcmp(counter[0].name, "model:flops") &&
           !strcmp(counter[2].name, "minflt") && counter[3].is_metric,
       "a group's events come once, in order, its metrics behind them");
    const struct hone_counter *ratio = named(counter, n, "flops/byte");
    ok(ratio && ratio->ok && fabs(ratio->value - flops / bytes) < 1e-12 * flops,
       "the model's flops for each byte are the problem's");
    for (const struct hone_counter_group *g = hone_counter_groups; g->name; g++) {
        int silent = 0, terms = 0;
        err = hone_count(&plan, c, g->name, counter, &n);
        for (int i = 0; i < n; i++) silent += !counter[i].ok && !counter[i].why[0];
        for (int m = 0; m < HONE_GROUP_METRICS && g->metric[m].name; m++)
            for (int i = 0; i < 2 * HONE_METRIC_TERMS; i++) {
                const struct hone_metric *of = &g->metric[m];
                const char *t = i < HONE_METRIC_TERMS ? of->top[i] : of->bottom[i - HONE_METRIC_TERMS];
                terms += t && strcmp(t, "seconds") && !named(counter, n, t);
            }
        ok(!err && n > 1 && !silent && !terms,
           "group %s: values or reasons, and its metrics are made of its events", g->name);
    }
    err = hone_count(&plan, c, "ipc,flops,memory,cache,branch,tlb,stalls,system,model", counter,
                     &before);
    ok(!err && before > 30, "all groups together are one list");
}

/* What a metric of a group says of steps of the loop whose flops are known. */
static struct hone_counter metric(struct hone_case *c, int steps, const char *group,
                                  const char *name)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, steps);
    struct hone_counter counter[HONE_MAX_COUNTERS], none = { .why = "no such metric" };
    int n = 0, err = hone_count(&plan, c, group, counter, &n);
    const struct hone_counter *found = err ? NULL : named(counter, n, name);
    return found ? *found : none;
}

/* Where the processor counts, its counts must be the loop's known work. */
static void check_hardware(struct hone_case *c)
{
    enum { STEPS = 40000 };
    static const struct {
        const char *group, *name;
        double least, most;
    } wants[] = {
        { "ipc", "IPC", 0.2, 8 },
        { "flops", "vector share", 0.95, 1.0001 }, /* the loop is of vectors alone */
        { "cache", "L1 miss ratio", 0, 0.05 },     /* and never leaves the registers */
        { "branch", "misprediction ratio", 0, 0.05 },
    };
    double flops = c->problem.op->flops(&c->problem), known = (double)STEPS * loops->flops_f32;
    struct hone_counter got = metric(c, STEPS, "flops", "counted/model flops");
    if (!got.ok) {
        skip(got.why, "executed flops are those of the loop");
    } else {
        ok(fabs(got.value * flops / known - 1) < 0.02, "executed flops are those of the loop");
        printf("# %g counted, %g known\n", got.value * flops, known);
    }
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        got = metric(c, STEPS, wants[i].group, wants[i].name);
        if (!got.ok) {
            skip(got.why, "%s of the loop", wants[i].name);
            continue;
        }
        ok(got.value >= wants[i].least && got.value <= wants[i].most, "%s of the loop is %g",
           wants[i].name, got.value);
    }
}

/* Two meters on the processor time of the same work; a busy machine may spoil one try. */
static void check_clocks(struct hone_case *c)
{
    struct hone_kernel k = kernel_of(spin);
    struct hone_plan plan = plan_of(&k, c, 1, 40000);
    struct hone_counter a = { 0 }, b = { 0 };
    for (int again = 0; again < 8; again++) {
        a = counted(c, &plan, "perf::TASK-CLOCK"); /* ns */
        b = counted(c, &plan, "utime");            /* s */
        if (!a.ok || !b.ok || fabs(1e-9 * a.value / b.value - 1) < 0.25) break;
    }
    if (!a.ok) skip(a.why, "PAPI and the system agree on processor time");
    else ok(b.ok && fabs(1e-9 * a.value / b.value - 1) < 0.25,
            "PAPI and the system agree on processor time");
    printf("# %g and %g us\n", 1e-3 * a.value, 1e6 * b.value);
}

/* ---- meters ---- */

struct listed {
    const struct hone_meter *m;
    int n, unknown, silent;
};

static void see(void *ctx, const char *event, const char *about, const char *why)
{
    struct listed *l = ctx;
    l->n++;
    if (!l->m->knows(event)) l->unknown++, printf("# %s\n", event);
    l->silent += !about || (why && !why[0]);
}

static void check_meters(void)
{
    for (int i = 0; hone_meters[i]; i++) {
        const struct hone_meter *m = hone_meters[i];
        const char *why = m->absent();
        struct listed l = { .m = m };
        if (why) {
            ok(why[0], "meter %s says why it is absent", m->name);
            skip(why, "meter %s knows its events", m->name);
            continue;
        }
        m->list(see, &l);
        ok(l.n && !l.unknown && !l.silent, "meter %s knows all %d events that it lists", m->name,
           l.n);
    }
}

int main(void)
{
    if (hone_device_open(&cpu, "cpu0")) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    struct hone_case c;
    open_case(&c, "gemm:f32:nn:m4n4k4");
    check_page_faults(&c, "rusage:minflt");
    check_page_faults(&c, "perf::PAGE-FAULTS");
    check_proportional(&c, "utime");
    check_proportional(&c, "PAPI_TOT_INS");
    check_proportional(&c, "perf::TASK-CLOCK");
    check_lists(&c);
    check_groups(&c);
    check_hardware(&c);
    check_clocks(&c);
    check_meters();
    hone_case_close(&c);
    hone_device_close(&cpu);
    return tap_end();
}
