/* tests/known.h -- kernels of known work, and the device that they run on: what the profiler says of
 * them can be told beforehand. */
#ifndef HONE_TESTS_KNOWN_H
#define HONE_TESTS_KNOWN_H

#include "profiler/peaks.h"
#include "tests/tap.h"

#include <stdlib.h>

static struct hone_device cpu;

static const struct hone_loops *const loops = &hone_loops_plain;

/* A loop in registers: config.v[1] steps of it. */
static int spin(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    (void)mem, (void)workspace;
    return loops->fma_f32(plan->config.v[1]) >= 0 ? HONE_OK : HONE_EDEVICE;
}

static const struct hone_kernel known = {
    .name = "known", .param = { HONE_PARAM("threads", 1, 2), HONE_PARAM("steps", 1) },
};

static struct hone_kernel kernel_of(int (*run)(const struct hone_plan *, void *const[], void *))
{
    struct hone_kernel k = known;
    k.backend = cpu.backend;
    k.run = run;
    return k;
}

static struct hone_plan plan_of(const struct hone_kernel *k, const struct hone_case *c, int threads,
                                int steps)
{
    return (struct hone_plan){
        .problem = c->problem, .config = { { threads, steps } }, .kernel = k, .device = &cpu
    };
}

static int open_case(struct hone_case *c, const char *text)
{
    struct hone_problem p;
    int err = hone_problem_parse(text, &p);
    if (!err) err = hone_case_open(c, &p, &cpu, HONE_REALS, 1);
    if (err) printf("Bail out! %s\n", hone_errmsg()), exit(1);
    return err;
}

/* To a quarter, since a machine is seldom idle. */
static int about_double(double a, double b) { return b > 1.6 * a && b < 2.5 * a; }

#endif
