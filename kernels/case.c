/* Proof before use: a problem's inputs, its expected outputs, and the comparison.
 *
 * Two kinds of values.  Small integers make every order of summation exact, so that one wrong
 * index shows as one wrong bit.  Reals are compared with op->ref in doubles, element by element,
 * under a bound of eps * growth * scale that follows from the algorithm.  Outputs start as NaN,
 * guard bands stand before and after every buffer, inputs must come back unchanged, and two runs
 * must agree bit by bit. */
#include "kernels/kernel.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, GUARD_BYTE = 0xe5 };   /* bytes on either side; a multiple of HONE_ALIGN */

static const double AFFORDABLE = 3e8;      /* operations spent on expected outputs */

/* ---- inputs ---- */

static void fill(struct hone_case *c, int a, uint64_t seed)
{
    struct hone_arg *arg = &c->arg[a];
    int64_t n = hone_arg_len(arg);
    double lo = arg->lo, hi = arg->hi, *v = c->number[a];
    int whole = arg->dtype == HONE_I32 || arg->dtype == HONE_U64;
    if (lo == 0 && hi == 0) lo = -1, hi = 1;
    if (c->values == HONE_INTEGERS && !whole) {
        /* Whatever range the op asks for, whole numbers in it are what makes sums exact. */
        int big = c->problem.op->exact(&c->problem);
        whole = 1;
        if (arg->lo == 0 && arg->hi == 0) lo = -big, hi = big;
        else lo = ceil(lo), hi = floor(hi);
    }
    for (int64_t i = 0; i < n; i++) {
        double u = hone_random_unit(seed, (uint64_t)i);
        v[i] = whole ? lo + floor(u * (hi - lo + 1)) : lo + u * (hi - lo);
    }
    /* What the kernel sees is what the reference sees: rounded to the buffer's type. */
    hone_from_double(arg->dtype, v, c->host[a], n);
    hone_to_double(arg->dtype, c->host[a], v, n);
}

/* ---- expected outputs ---- */

static int share(struct hone_case *c)
{
    const struct hone_op *op = c->problem.op;
    if (!op->share) return HONE_OK;
    c->shared = malloc((size_t)op->nshared(&c->problem) * sizeof(double) + 1);
    if (!c->shared) return hone_fail(HONE_ENOMEM, "what the meaning of %s shares", op->name);
    op->share(&c->problem, (const double *const *)c->number, c->shared);
    return HONE_OK;
}

static int expect(struct hone_case *c, int a, double cost, uint64_t seed)
{
    const struct hone_op *op = c->problem.op;
    int64_t n = hone_arg_len(&c->arg[a]), want = n;
    if (cost > AFFORDABLE) {
        want = (int64_t)((double)n * AFFORDABLE / cost);
        if (want < 64) want = n < 64 ? n : 64;
    }
    c->nwant[a] = want;
    c->want[a] = malloc((size_t)want * sizeof(double) + 1);
    c->scale[a] = malloc((size_t)want * sizeof(double) + 1);
    if (want < n) c->at[a] = malloc((size_t)want * sizeof(int64_t) + 1);
    if (!c->want[a] || !c->scale[a] || (want < n && !c->at[a]))
        return hone_fail(HONE_ENOMEM, "expected values of %lld numbers", (long long)want);
    /* A sample holds both ends, where tails are, and between them one random place of every stretch
     * of equal length: evenly spread, and in an order that caches like. */
    for (int64_t j = 0; c->at[a] && j < want; j++) {
        const double place = (double)j + hone_random_unit(seed, (uint64_t)j);
        c->at[a][j] = j < 8           ? j
                      : j >= want - 8 ? n - want + j
                                      : (int64_t)(place * ((double)n / (double)want));
    }
    const double *in[HONE_MAX_ARGS];
    memcpy(in, c->number, sizeof in);
    if (c->shared) in[op->shared_arg] = c->shared;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t j = 0; j < want; j++) {
        double scale = 0;
        c->want[a][j] = op->ref(&c->problem, in, a, c->at[a] ? c->at[a][j] : j, &scale);
        c->scale[a][j] = scale;
    }
    return HONE_OK;
}

int hone_case_open(struct hone_case *c, const struct hone_problem *p, struct hone_device *d,
                   enum hone_values values, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->problem = *p;
    c->device = d;
    c->values = values;
    if (values == HONE_INTEGERS && (!p->op->exact || !p->op->exact(p)))
        return hone_fail(HONE_EINVAL, "%s has no exact integer inputs", p->op->name);
    c->nargs = p->op->args(p, c->arg);
    int err = HONE_OK, nout = 0;
    for (int a = 0; !err && a < c->nargs; a++) {
        int64_t n = hone_arg_len(&c->arg[a]), bytes = hone_arg_bytes(&c->arg[a]);
        char *mem = NULL;
        c->host[a] = malloc((size_t)bytes + 1);
        if (!c->host[a]) { err = hone_fail(HONE_ENOMEM, "%lld bytes", (long long)bytes); break; }
        if ((err = d->backend->alloc(d, (size_t)bytes + 2 * GUARD, (void **)&mem))) break;
        c->mem[a] = mem + GUARD;
        nout += c->arg[a].io != HONE_IN;
        if (c->arg[a].io == HONE_OUT) { memset(c->host[a], 0xff, (size_t)bytes); continue; }
        c->number[a] = malloc((size_t)n * sizeof(double) + 1);
        if (!c->number[a]) { err = hone_fail(HONE_ENOMEM, "%lld numbers", (long long)n); break; }
        fill(c, a, hone_random(seed, (uint64_t)a));
    }
    if (!err) err = share(c);
    for (int a = 0; !err && a < c->nargs; a++)
        if (c->arg[a].io != HONE_IN)
            err = expect(c, a, p->op->flops(p) / nout, hone_random(seed, 1000u + (unsigned)a));
    if (!err) err = hone_case_reset(c);
    if (err) hone_case_close(c);
    return err;
}

void hone_case_close(struct hone_case *c)
{
    for (int a = 0; a < c->nargs; a++) {
        if (c->mem[a]) c->device->backend->free(c->device, (char *)c->mem[a] - GUARD);
        free(c->host[a]);
        free(c->number[a]);
        free(c->at[a]);
        free(c->want[a]);
        free(c->scale[a]);
    }
    free(c->shared);
    if (c->workspace) c->device->backend->free(c->device, (char *)c->workspace - GUARD);
    memset(c, 0, sizeof *c);
}

/* ---- buffers ---- */

static int put_guards(struct hone_device *d, void *mem, int64_t bytes)
{
    char guard[GUARD];
    memset(guard, GUARD_BYTE, sizeof guard);
    int err = d->backend->put(d, (char *)mem - GUARD, guard, GUARD);
    return err ? err : d->backend->put(d, (char *)mem + bytes, guard, GUARD);
}

static int check_guards(struct hone_device *d, const void *mem, int64_t bytes, const char *name)
{
    unsigned char guard[2 * GUARD];
    int err = d->backend->get(d, guard, (const char *)mem - GUARD, GUARD);
    if (!err) err = d->backend->get(d, guard + GUARD, (const char *)mem + bytes, GUARD);
    if (err) return err;
    for (int i = 0; i < 2 * GUARD; i++)
        if (guard[i] != GUARD_BYTE)
            return i < GUARD
                       ? hone_fail(HONE_EWRONG, "overrun: %s was written %d bytes before its start",
                                   name, GUARD - i)
                       : hone_fail(HONE_EWRONG, "overrun: %s was written %d bytes past its end",
                                   name, i - GUARD + 1);
    return HONE_OK;
}

int hone_case_reset(struct hone_case *c)
{
    struct hone_device *d = c->device;
    int err = HONE_OK;
    for (int a = 0; !err && a < c->nargs; a++) {
        int64_t bytes = hone_arg_bytes(&c->arg[a]);
        err = put_guards(d, c->mem[a], bytes);
        if (!err) err = d->backend->put(d, c->mem[a], c->host[a], (size_t)bytes);
    }
    if (!err && c->workspace) err = put_guards(d, c->workspace, (int64_t)c->workspace_bytes);
    return err;
}

int hone_case_workspace(struct hone_case *c, const struct hone_plan *plan)
{
    struct hone_device *d = c->device;
    char *mem;
    size_t bytes = (plan->workspace_bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN;
    if (bytes == c->workspace_bytes && (c->workspace || !bytes)) return HONE_OK;
    /* Exactly the plan's size, or the guard band would not see an overrun. */
    if (c->workspace) d->backend->free(d, (char *)c->workspace - GUARD);
    c->workspace = NULL;
    c->workspace_bytes = 0;
    if (!bytes) return HONE_OK;
    int err = d->backend->alloc(d, bytes + 2 * GUARD, (void **)&mem);
    if (err) return err;
    c->workspace = mem + GUARD;
    c->workspace_bytes = bytes;
    return put_guards(d, c->workspace, (int64_t)bytes);
}

/* ---- checking ---- */

/* Errors that output a may have: `chain` times the element's scale, of the computation, `last`
 * times the value itself, of rounding it to a half once, and `least`, where that is subnormal. */
struct bound { double chain, last, least; };

static struct bound bound_of(const struct hone_case *c, const struct hone_plan *plan, int a)
{
    const struct hone_op *op = c->problem.op;
    const enum hone_dtype type = c->arg[a].dtype;
    double growth = plan->kernel->growth ? plan->kernel->growth(&c->problem, &plan->config)
                                         : op->growth(&c->problem);
    double eps = hone_dtype_eps(type);
    struct bound b = { .chain = growth * eps, .least = 0x1p-126 };
    /* Halves are added up in f32, and only the result is rounded to a half: a partial sum that was
     * would be off by eps of the scale, which is far larger than the value where terms cancel. */
    if (hone_dtype_is_half(type)) b.chain = growth * 0x1p-24 * (1 + eps), b.last = eps;
    /* Half the distance of f16's subnormal numbers. */
    if (type == HONE_F16) b.least = 0x1p-25;
    if (c->problem.dtype == HONE_F32 && type == HONE_F64) b.chain = growth * 0x1p-24;
    /* The expected value was computed in doubles, too. */
    if (c->problem.dtype == HONE_F64) b.chain += op->growth(&c->problem) * eps;
    return b;
}

/* The error that element i may have: where a kernel has a scale of its own, that is evaluated only
 * for what the op's own, which is smaller, does not excuse. */
static double allow(const struct hone_case *c, const struct hone_plan *plan, int a, int64_t i,
                    const struct bound *b, double want, double scale, double diff)
{
    const struct hone_kernel *k = plan->kernel;
    const double last = b->last * fabs(want) + b->least;
    if (c->values == HONE_INTEGERS && !k->scale) return 0;
    double allowed = b->chain * scale + last;
    if (!k->scale || diff <= allowed) return allowed;
    scale = k->scale(&c->problem, &plan->config, (const double *const *)c->number, a, i);
    return b->chain * scale + last;
}

/* What a whole number becomes in an output of this type: bf16 holds those up to 256, f16 up to
 * 2048, and from 65520 on they are infinite there. */
static double rounded(enum hone_dtype type, double v)
{
    uint16_t half;
    if (!hone_dtype_is_half(type)) return v;
    hone_from_double(type, &v, &half, 1);
    hone_to_double(type, &half, &v, 1);
    return v;
}

static int compare(const struct hone_case *c, const struct hone_plan *plan, int a,
                   const double *got, double *worst)
{
    const struct bound bound = bound_of(c, plan, a);
    const int whole = c->values == HONE_INTEGERS;
    for (int64_t j = 0; j < c->nwant[a]; j++) {
        int64_t i = c->at[a] ? c->at[a][j] : j;
        double want = c->want[a][j];
        /* Who is not exact on whole numbers may end up on the other side of a tie. */
        if (whole && !plan->kernel->scale) want = rounded(c->arg[a].dtype, want);
        double diff = fabs(got[i] - want);
        double allowed = allow(c, plan, a, i, &bound, want, c->scale[a][j], diff);
        if (diff <= allowed || (isnan(want) && isnan(got[i])) || want == got[i]) {
            if (allowed > 0 && diff / allowed > *worst) *worst = diff / allowed;
            continue;
        }
        return hone_fail(HONE_EWRONG, "%s: %s[%lld] is %.9g, want %.9g%s (%s)",
                         isnan(got[i]) ? "nan" : "value", c->arg[a].name,
                         (long long)i, got[i], want, isnan(got[i]) ? ": never written, or NaN" : "",
                         allowed > 0 ? "beyond the error bound" : "integers: exact");
    }
    /* Where only a sample is known, the rest must at least have been written. */
    for (int64_t i = 0, n = c->at[a] ? hone_arg_len(&c->arg[a]) : 0; i < n; i++)
        if (isnan(got[i]))
            return hone_fail(HONE_EWRONG, "nan: %s[%lld] was never written, or is NaN",
                             c->arg[a].name, (long long)i);
    return HONE_OK;
}

static int check_run(struct hone_case *c, const struct hone_plan *plan, void *first[], int round,
                     double *worst)
{
    struct hone_device *d = c->device;
    int err = hone_case_reset(c);
    if (!err) err = hone_plan_run(plan, c->mem, c->workspace);
    if (!err) err = d->backend->sync(d);
    for (int a = 0; !err && a < c->nargs; a++) {
        int64_t n = hone_arg_len(&c->arg[a]), bytes = hone_arg_bytes(&c->arg[a]);
        if ((err = check_guards(d, c->mem[a], bytes, c->arg[a].name))) break;
        void *now = malloc((size_t)bytes + 1);
        double *got = malloc((size_t)n * sizeof *got + 1);
        if (!now || !got) err = hone_fail(HONE_ENOMEM, "%lld bytes", (long long)bytes);
        if (!err) err = d->backend->get(d, now, c->mem[a], (size_t)bytes);
        if (!err && c->arg[a].io == HONE_IN) {
            if (memcmp(now, c->host[a], (size_t)bytes))
                err = hone_fail(HONE_EWRONG, "input: %s was written", c->arg[a].name);
        } else if (!err && round == 0) {
            hone_to_double(c->arg[a].dtype, now, got, n);
            err = compare(c, plan, a, got, worst);
        } else if (!err && memcmp(now, first[a], (size_t)bytes)) {
            err = hone_fail(HONE_EWRONG, "unstable: two runs gave different bits in %s",
                            c->arg[a].name);
        }
        if (round == 0 && !err && c->arg[a].io != HONE_IN) first[a] = now;
        else free(now);
        free(got);
    }
    if (!err && c->workspace)
        err = check_guards(d, c->workspace, (int64_t)c->workspace_bytes, "workspace");
    return err;
}

int hone_case_check(struct hone_case *c, const struct hone_plan *plan, double *error)
{
    void *first[HONE_MAX_ARGS] = { 0 };
    double worst = 0;
    int err = hone_case_workspace(c, plan);
    for (int round = 0; !err && round < 2; round++) err = check_run(c, plan, first, round, &worst);
    for (int a = 0; a < c->nargs; a++) free(first[a]);
    if (error) *error = worst;
    return err;
}

int hone_verify(const struct hone_plan *plan, uint64_t seed, double *error)
{
    const struct hone_op *op = plan->problem.op;
    int err = HONE_OK;
    for (int values = HONE_INTEGERS; !err && values <= HONE_REALS; values++) {
        struct hone_case c;
        if (values == HONE_INTEGERS && (!op->exact || !op->exact(&plan->problem))) continue;
        err = hone_case_open(&c, &plan->problem, plan->device, (enum hone_values)values, seed);
        if (err) break;
        err = hone_case_check(&c, plan, error);
        hone_case_close(&c);
    }
    return err;
}
