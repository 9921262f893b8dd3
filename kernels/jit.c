/* JIT kernels: twins of the precompiled ones, in all but how their code comes to be.  A plan of a
 * twin holds a plan of the kernel that was compiled for it. */
#include "config.h"

#include "kernels/jit.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef HONE_OPENMP_FLAGS
#define HONE_OPENMP_FLAGS "-fopenmp"
#endif

struct module {
    struct hone_plan inner;          /* of the kernel in the shared object; first in here */
    int (*run)(const struct hone_plan *inner, void *const mem[], void *workspace);
    void *object;
    struct hone_jit_cost cost;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* ---- running ---- */

/* The first run pays for pages and addresses not seen yet; later ones should not even ask. */
static int run_first(const struct hone_plan *inner, void *const mem[], void *workspace)
{
    struct module *m = (struct module *)(uintptr_t)inner;
    double started = now_ms();
    int err = inner->kernel->run(inner, mem, workspace);
    m->cost.first_ms = now_ms() - started;
    m->run = inner->kernel->run;
    return err;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct module *m = plan->priv;
    return m->run(&m->inner, mem, workspace);
}

/* ---- compiling and loading ---- */

/* One thread needs no OpenMP, and without its outlined functions the compiler sees more.  Every
 * processor with AVX2 converts f16, but the compiler must be told. */
static void flags_of(const struct hone_plan *plan, char flags[512])
{
    int threads = hone_config_get(plan->kernel, &plan->config, "threads", 1);
    const int f16 = plan->problem.dtype == HONE_F16 && plan->kernel->isa == HONE_ISA_avx2;
    snprintf(flags, 512, "%s %s%s", hone_jit_flags[plan->kernel->isa],
             threads > 1 ? HONE_OPENMP_FLAGS : "", f16 ? " -mf16c" : "");
}

/* Compiled beside its place in the cache and then moved there, since others may do the same. */
static int compile(struct hone_jit_entry *e, const char *text, const char *flags)
{
    char path[HONE_JIT_PATH + 32], log[HONE_JIT_PATH + 32];
    double started = now_ms();
    snprintf(path, sizeof path, "%s.%ld", e->path, (long)getpid());
    snprintf(log, sizeof log, "%s.%ld.log", e->path, (long)getpid());
    unlink(path);
    int err = hone_jit_compile(text, flags, path, log);
    e->compile_ms = now_ms() - started;
    if (!err) err = hone_jit_keep(e, path);
    if (err) unlink(path);
    return err;
}

static int load(struct module *m, const struct hone_jit_entry *e, struct hone_plan *plan)
{
    m->object = dlopen(e->path, RTLD_NOW | RTLD_LOCAL);
    if (!m->object) return hone_fail(HONE_EIO, "cannot load what was compiled: %s", dlerror());
    const struct hone_kernel *const *kernel = dlsym(m->object, "hone_jit_module");
    if (!kernel) return hone_fail(HONE_EIO, "%s: holds no kernel", e->path);
    m->inner = *plan;
    m->inner.kernel = *kernel;
    return m->inner.kernel->prepare ? m->inner.kernel->prepare(&m->inner) : HONE_OK;
}

static void close_module(struct module *m)
{
    if (m->inner.kernel && m->inner.kernel->release) m->inner.kernel->release(&m->inner);
    if (m->object) dlclose(m->object);
    free(m);
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_jit_source *s = &hone_jit_sources[plan->kernel - hone_jit_kernels];
    struct hone_jit_entry e = { .key = { 0, 0 } };
    struct module *m = calloc(1, sizeof *m);
    char flags[512];
    const char *cc = hone_jit_compiler();
    double started = now_ms();
    char *text = m ? hone_jit_unit(s, &plan->problem, &plan->config) : NULL;
    if (!text) {
        free(m);
        return m ? HONE_EINVAL : hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *m);
    }
    flags_of(plan, flags);
    hone_jit_hash(e.key, cc, strlen(cc));
    hone_jit_hash(e.key, flags, strlen(flags));
    hone_jit_hash(e.key, text, strlen(text));
    int found = hone_jit_find(&e), err = found < 0 ? found : HONE_OK;
    if (!err && !found) {
        err = compile(&e, text, flags);
        started = now_ms();
    }
    free(text);
    m->run = run_first;
    /* What cannot be loaded is not kept. */
    if (!err && (err = load(m, &e, plan))) unlink(e.path);
    m->cost = (struct hone_jit_cost){ .compile_ms = e.compile_ms, .load_ms = now_ms() - started,
                                      .code_bytes = e.code_bytes, .cached = found > 0 };
    if (err) {
        close_module(m);
        return hone_fail_at(err, "%s", plan->kernel->name);
    }
    plan->priv = m;
    return HONE_OK;
}

static void release(struct hone_plan *plan)
{
    close_module(plan->priv);
    plan->priv = NULL;
}

static const struct hone_jit_cost *jit_cost(const struct hone_plan *plan)
{
    return &((const struct module *)plan->priv)->cost;
}

const struct hone_jit_cost *hone_plan_jit(const struct hone_plan *plan)
{
    return plan->kernel && plan->kernel->jit_cost ? plan->kernel->jit_cost(plan) : NULL;
}

/* ---- the twins ---- */

enum { NAME = 64 };

void hone_jit_twins(void)
{
    static char (*names)[NAME];
    int n = 0;
    while (hone_jit_sources[n].aot) n++;
    names = calloc((size_t)n + 1, NAME);
    for (int i = 0; i < n && names; i++) {
        struct hone_kernel *twin = &hone_jit_kernels[i];
        *twin = *hone_jit_sources[i].aot;
        snprintf(names[i], NAME, "%s_jit", hone_jit_sources[i].aot->name);
        twin->name = names[i];
        twin->build = HONE_JIT;
        twin->aot = hone_jit_sources[i].aot;
        if (!hone_jit_sources[i].real) continue;   /* its own prepare() compiles */
        twin->prepare = prepare;
        twin->release = release;
        twin->run = run;
        twin->jit_cost = jit_cost;
    }
}
