/* check_kernels FILE: for every problem in the file (shapes/gemm.txt, ...), every kernel that does
 * the op and a choice of its configs: one TAP line.  A kernel that refuses is a SKIP with its
 * reason.  New kernels are tested with no edit here.
 *
 * HONE_CHECK_ONLY=TEXT keeps the problems and kernels whose line holds TEXT; HONE_CHECK_CONFIGS=N
 * changes how many configs of each kernel are tried (default 12: the guess, the first and last
 * valid ones, and others at random; 1: the guess).  HONE_CHECK_DEVICE=gpu0: on that device, its
 * kernels alone; HONE_CHECK_FLOPS=N: of larger problems one line says that they are too large.
 * HONE_CHECK_ERROR=E: as --max-error.  HONE_CHECK_BUILD=LIST: kernels of these builds (aot,lib:
 * what must be compiled first takes a second each; check_jit.sh has it tried). */
#include "kernels/kernel.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static const char *only;
static int nconfigs = 12;
static unsigned builds = HONE_USUAL_BUILDS;
static double most_flops;   /* 0: any */

static void check_config(const struct hone_problem *p, const char *text,
                         const struct hone_kernel *k, const struct hone_config *config,
                         struct hone_device *d, struct hone_case cases[], int ncases)
{
    char name[2 * HONE_TEXT], config_text[HONE_TEXT];
    struct hone_plan plan;
    double error = 0, e;
    hone_config_print(k, config, config_text);
    snprintf(name, sizeof name, "%s/%s/%s", text, k->name, config_text);
    int err = hone_plan_open(&plan, p, k, config, d);
    for (int i = 0; !err && i < ncases; i++) {
        err = hone_case_check(&cases[i], &plan, &e);
        if (e > error) error = e;
    }
    if (!ok(!err, "%s", name)) printf("# %s\n", hone_errmsg());
    hone_plan_close(&plan);
}

/* Nor of another device's. */
static int runs_on(const struct hone_kernel *k, const struct hone_device *d)
{
    return k->backend == d->backend;
}

/* The guess, then valid configs spread over the odometer: at most nconfigs. */
/* Every kernel is compiled for each number type: of the others there is nothing to say. */
static int computes(const struct hone_kernel *k, enum hone_dtype t)
{
    return !k->dtypes || k->dtypes >> t & 1;
}

static void check_kernel(const struct hone_problem *p, const char *text,
                         const struct hone_kernel *k, struct hone_device *d,
                         struct hone_case cases[], int ncases)
{
    const char *why = hone_kernel_refuse(k, p, d);
    struct hone_config c, guess;
    int nvalid = 0, i = 0;
    if (why) { skip(why, "%s/%s", text, k->name); return; }
    hone_config_guess(k, p, d, &guess);
    if (!hone_config_valid(k, p, &guess, d)) {
        ok(0, "%s/%s: the guess is valid", text, k->name);
        return;
    }
    check_config(p, text, k, &guess, d, cases, ncases);
    if (nconfigs == 1) return;
    hone_config_first(k, &c);
    do nvalid += hone_config_valid(k, p, &c, d); while (hone_config_next(k, &c));
    uint64_t seed = 0;
    for (const char *s = text; *s; s++) seed = hone_random(seed, (unsigned char)*s);
    hone_config_first(k, &c);
    do {
        if (!hone_config_valid(k, p, &c, d)) continue;
        int pick = i == 0 || i == nvalid - 1 ||
                   hone_random_unit(seed, (uint64_t)i) * nvalid < nconfigs - 3;
        i++;
        if (pick && memcmp(&c, &guess, sizeof c)) check_config(p, text, k, &c, d, cases, ncases);
    } while (hone_config_next(k, &c));
}

static void check_problem(const char *text, struct hone_device *d)
{
    struct hone_problem p;
    struct hone_case cases[2];
    int ncases = 0, err = hone_problem_parse(text, &p);
    if (err) { ok(0, "%s", text); printf("# %s\n", hone_errmsg()); return; }
    if (most_flops > 0 && p.op->flops(&p) > most_flops) {
        skip("more than HONE_CHECK_FLOPS", "%s", text);
        return;
    }
    if (p.op->exact && p.op->exact(&p))
        err = hone_case_open(&cases[ncases++], &p, d, HONE_INTEGERS, 1);
    if (!err) err = hone_case_open(&cases[ncases++], &p, d, HONE_REALS, 2);
    if (err) { ok(0, "%s: case", text); printf("# %s\n", hone_errmsg()); ncases--; }
    for (int i = 0; !err && hone_kernels[i]; i++) {
        char name[2 * HONE_TEXT];
        snprintf(name, sizeof name, "%s/%s", text, hone_kernels[i]->name);
        if (hone_kernel_does(hone_kernels[i], p.op) && runs_on(hone_kernels[i], d) &&
            computes(hone_kernels[i], p.dtype) && builds >> hone_kernels[i]->build & 1 &&
            (!only || strstr(name, only)))
            check_kernel(&p, text, hone_kernels[i], d, cases, ncases);
    }
    for (int i = 0; i < ncases; i++) hone_case_close(&cases[i]);
}

int main(int argc, char **argv)
{
    char line[HONE_TEXT];
    struct hone_device d;
    only = getenv("HONE_CHECK_ONLY");
    if (getenv("HONE_CHECK_CONFIGS")) nconfigs = atoi(getenv("HONE_CHECK_CONFIGS"));
    if (getenv("HONE_CHECK_BUILD") && hone_builds_parse(getenv("HONE_CHECK_BUILD"), &builds)) {
        printf("Bail out! HONE_CHECK_BUILD: %s\n", hone_errmsg());
        return 1;
    }
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!f) { printf("Bail out! %s cannot be read\n", argc == 2 ? argv[1] : "usage: check_kernels FILE; the file"); return 1; }
    if (getenv("HONE_CHECK_FLOPS")) most_flops = atof(getenv("HONE_CHECK_FLOPS"));
    const char *device = getenv("HONE_CHECK_DEVICE");
    if (hone_device_open(&d, device ? device : "cpu0") ||
        hone_device_limit(&d, getenv("HONE_CHECK_ERROR"))) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, " \t#\n")] = 0;
        if (line[0]) check_problem(line, &d);
    }
    fclose(f);
    if (!tap_n && !only) ok(0, "%s holds a problem", argv[1]);
    hone_device_close(&d);
    return tap_end();
}
