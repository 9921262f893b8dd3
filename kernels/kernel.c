/* Errors, number types, registry look-ups, configs and plans.  problem.c reads and prints problems,
 * case.c proves answers right. */
#include "kernels/constraint.h"
#include "kernels/jit.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

static _Thread_local char errmsg[1024];

int hone_fail(int code, const char *fmt, ...)
{
    char text[sizeof errmsg];   /* an argument may be the message itself */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(errmsg, text, sizeof text);
    return code;
}

int hone_fail_at(int code, const char *fmt, ...)
{
    char place[sizeof errmsg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(place, sizeof place, fmt, ap);
    va_end(ap);
    return hone_fail(code, "%s: %s", place, errmsg);
}

const char *hone_errmsg(void) { return errmsg; }

const char *hone_errname(int code)
{
    switch (code) {
    case HONE_OK: return "HONE_OK";
#define X(code, text) case code: return #code;
    HONE_ERR_MAP(X)
#undef X
    default: return "HONE_EUNKNOWN";
    }
}

/* ---- number types ---- */

static const struct { const char *name; size_t bytes; double eps; } dtypes[HONE_NDTYPES] = {
    [HONE_F32] = { "f32", 4, 0x1p-24 },
    [HONE_F64] = { "f64", 8, 0x1p-53 },
    [HONE_BF16] = { "bf16", 2, 0x1p-8 },
    [HONE_I32] = { "i32", 4, 0 },
    [HONE_U64] = { "u64", 8, 0 },
    [HONE_F16] = { "f16", 2, 0x1p-11 },
};

size_t hone_dtype_bytes(enum hone_dtype t) { return dtypes[t].bytes; }
const char *hone_dtype_name(enum hone_dtype t) { return dtypes[t].name; }
double hone_dtype_eps(enum hone_dtype t) { return dtypes[t].eps; }
int hone_dtype_is_half(enum hone_dtype t) { return HONE_HALVES >> t & 1; }

enum hone_dtype hone_dtype_wide(enum hone_dtype t)
{
    return hone_dtype_is_half(t) ? HONE_F32 : t;
}

static uint16_t bf16_of(double v)
{
    /* Through f32 with round-to-odd, so that the two roundings equal one. */
    float f = (float)v;
    uint32_t u;
    memcpy(&u, &f, 4);
    if (v != v) return 0x7fc0;
    if ((double)f != v) {
        if ((double)f > v ? v > 0 : v < 0) u--;   /* now truncated toward zero */
        u |= 1;
    }
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* IEEE 754's binary16: 5 bits of exponent, 10 of the fraction. */
static double f16_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent == 31 ? (fraction ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + fraction, exponent - 25)
                              : ldexp(fraction, -24);
    return h >> 15 ? -v : v;
}

static uint16_t f16_of(double v)
{
    const unsigned sign = signbit(v) ? 0x8000 : 0;
    int exponent;
    if (v != v) return 0x7e00;
    v = fabs(v);
    if (v >= 65520) return (uint16_t)(sign | 0x7c00);   /* half a unit above the largest, 65504 */
    frexp(v, &exponent);
    /* In units of the last place, whose size is fixed below 2^-14; all of it is exact in doubles
     * but rint(), and a carry into the next binade is right as it is. */
    if (v < 0x1p-14) exponent = -13;
    const unsigned units = (unsigned)rint(ldexp(v, 11 - exponent));
    return (uint16_t)(sign | (((unsigned)(exponent + 13) << 10) + units));
}

void hone_to_double(enum hone_dtype t, const void *from, double *to, int64_t n)
{
    switch (t) {
    case HONE_F32: for (int64_t i = 0; i < n; i++) to[i] = ((const float *)from)[i]; break;
    case HONE_F64: memcpy(to, from, (size_t)n * sizeof *to); break;
    case HONE_BF16:
        for (int64_t i = 0; i < n; i++) {
            uint32_t u = (uint32_t)((const uint16_t *)from)[i] << 16;
            float f;
            memcpy(&f, &u, 4);
            to[i] = f;
        }
        break;
    case HONE_F16:
        for (int64_t i = 0; i < n; i++) to[i] = f16_value(((const uint16_t *)from)[i]);
        break;
    case HONE_I32: for (int64_t i = 0; i < n; i++) to[i] = ((const int32_t *)from)[i]; break;
    case HONE_U64:
        for (int64_t i = 0; i < n; i++) to[i] = (double)((const uint64_t *)from)[i];
        break;
    case HONE_NDTYPES: assert(0);
    }
}

void hone_from_double(enum hone_dtype t, const double *from, void *to, int64_t n)
{
    switch (t) {
    case HONE_F32: for (int64_t i = 0; i < n; i++) ((float *)to)[i] = (float)from[i]; break;
    case HONE_F64: memcpy(to, from, (size_t)n * sizeof *from); break;
    case HONE_BF16: for (int64_t i = 0; i < n; i++) ((uint16_t *)to)[i] = bf16_of(from[i]); break;
    case HONE_F16: for (int64_t i = 0; i < n; i++) ((uint16_t *)to)[i] = f16_of(from[i]); break;
    case HONE_I32: for (int64_t i = 0; i < n; i++) ((int32_t *)to)[i] = (int32_t)from[i]; break;
    case HONE_U64: for (int64_t i = 0; i < n; i++) ((uint64_t *)to)[i] = (uint64_t)from[i]; break;
    case HONE_NDTYPES: assert(0);
    }
}

/* ---- devices ---- */

const char *hone_isa_name(enum hone_isa isa)
{
    static const char *const name[HONE_NISAS] = { "plain", "avx2", "avx512", "avx512dot", "amx" };
    return name[isa];
}

int hone_device_open(struct hone_device *d, const char *name)
{
    /* A backend's devices are named by what they are, not by whose library drives them. */
    static const struct {
        const char *prefix, *backend;
    } prefixes[] = { { "cpu", "cpu" }, { "gpu", "cuda" } };
    memset(d, 0, sizeof *d);
    if (hone_device_is_description(name))
        return hone_fail(HONE_EDEVICE, "device '%s': a device that is only described runs nothing",
                         name);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t len = strlen(prefixes[i].prefix);
        if (strncmp(name, prefixes[i].prefix, len) || !name[len]) continue;
        char *end;
        long index = strtol(name + len, &end, 10);
        if (*end || index < 0 || index > 999) break;
        for (int b = 0; hone_backends[b]; b++) {
            if (strcmp(hone_backends[b]->name, prefixes[i].backend)) continue;
            const char *why = hone_backends[b]->absent();
            if (why) return hone_fail(HONE_EDEVICE, "device '%s': %s", name, why);
            if (index >= hone_backends[b]->count())
                return hone_fail(HONE_EDEVICE, "device '%s': there are only %d", name,
                                 hone_backends[b]->count());
            int err = hone_backends[b]->open(d, (int)index);
            if (err) return hone_fail_at(err, "device '%s'", name);
            snprintf(d->name, sizeof d->name, "%s", name);
            return HONE_OK;
        }
    }
    return hone_fail(HONE_EDEVICE, "device '%s': no such device; `hone devices` lists them", name);
}

void hone_device_close(struct hone_device *d)
{
    if (d->backend) d->backend->close(d);
    free(d->description);
    memset(d, 0, sizeof *d);
}

int hone_device_limit(struct hone_device *d, const char *text)
{
    char *end;
    d->max_error = text ? strtod(text, &end) : 0;
    return !text || (!*end && end != text && d->max_error > 0 && d->max_error <= 1)
               ? HONE_OK
               : hone_fail(HONE_EINVAL, "'%s' is no number above 0 and up to 1", text);
}

/* ---- kernels ---- */

int hone_kernel_does(const struct hone_kernel *k, const struct hone_op *op)
{
    if (!k->ops) return 1;
    for (int i = 0; k->ops[i]; i++)
        if (k->ops[i] == op) return 1;
    return 0;
}

double hone_kernel_error(const struct hone_kernel *k, const struct hone_problem *p,
                         const struct hone_config *c)
{
    const double eps = hone_dtype_eps(p->dtype);
    /* The reference computes in doubles and rounds once. */
    if (k->slow) return eps;
    const double growth = k->growth ? k->growth(p, c) : p->op->growth(p);
    const double error =
        hone_dtype_is_half(p->dtype) ? 2 * eps + growth * 0x1p-24 : growth * eps;
    return k->amplify ? error * k->amplify(p, c) : error;
}

/* Is there a config whose error is within what the device allows? */
static int exact_enough(const struct hone_kernel *k, const struct hone_problem *p,
                        const struct hone_device *d)
{
    struct hone_config c;
    if (k->slow || (!k->growth && !k->amplify))
        return hone_kernel_error(k, p, NULL) <= d->max_error;
    hone_config_first(k, &c);
    do if (hone_config_valid(k, p, &c, d)) return 1;
    while (hone_config_next(k, &c));
    return 0;
}

const char *hone_kernel_refuse(const struct hone_kernel *k, const struct hone_problem *p,
                               const struct hone_device *d)
{
    static const char *const lacks[HONE_NISAS] = {
        [HONE_ISA_avx2] = "processor has no AVX2", [HONE_ISA_avx512] = "processor has no AVX-512",
        [HONE_ISA_avx512dot] = "processor has no AVX512_BF16",
        [HONE_ISA_amx] = "processor has no AMX for bf16, or the system does not allow it",
    };
    if (!hone_kernel_does(k, p->op)) return "computes another op";
    if (k->backend != d->backend) return "runs on another backend";
    if (k->isa > d->isa) return lacks[k->isa];
    if (k->dtypes && !(k->dtypes >> p->dtype & 1)) return "is compiled for another number type";
    const char *why = k->backend->refuse(k, d);
    if (!why && k->refuse) why = k->refuse(p, d);
    if (why || d->max_error <= 0 || exact_enough(k, p, d)) return why;
    return "the bound of its error is above --max-error";
}

static int index_of(const struct hone_kernel *k)
{
    int i = 0;
    while (hone_kernels[i] && hone_kernels[i] != k) i++;
    return i;
}

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *hone_build_name(enum hone_build b)
{
    static const char *const name[] = { "aot", "jit", "lib" };
    return name[b];
}

int hone_builds_parse(const char *text, unsigned *builds)
{
    *builds = 0;
    for (const char *s = text; *s || s == text;) {
        size_t n = strcspn(s, ",");
        int b = HONE_AOT;
        while (b <= HONE_LIB && (strlen(hone_build_name((enum hone_build)b)) != n ||
                                 strncmp(hone_build_name((enum hone_build)b), s, n)))
            b++;
        if (b > HONE_LIB)
            return hone_fail(HONE_EPARSE, "build '%s': expected a list of aot, jit, lib", text);
        *builds |= 1u << b;
        s += n + (s[n] == ',');
    }
    return HONE_OK;
}

void hone_kernel_version(const struct hone_kernel *k, char text[HONE_TEXT])
{
    const char *source = hone_kernel_source[index_of(k)], *build = hone_build_name(k->build);
    if (k->version) {
        snprintf(text, HONE_TEXT, "%s %s %s", build, k->version(), source);
    } else if (k->build == HONE_AOT && k->backend->aot_compiler) {
        snprintf(text, HONE_TEXT, "%s %s %s", build, k->backend->aot_compiler(), source);
    } else if (k->build == HONE_JIT) {
        uint64_t flags[2] = { 0, 0 };   /* they alone would fill the text */
        hone_jit_hash(flags, hone_jit_flags[k->isa], strlen(hone_jit_flags[k->isa]));
        snprintf(text, HONE_TEXT, "%s %s %s %08x %s", build, k->backend->jit_compiler(),
                 hone_isa_name(k->isa), (unsigned)flags[0], source);
    } else {
        snprintf(text, HONE_TEXT, "%s %s %s %s", build, COMPILER, hone_isa_flags[k->isa], source);
    }
}

const struct hone_kernel *hone_kernel_find(const struct hone_op *op, const char *name)
{
    for (int i = 0; hone_kernels[i]; i++)
        if (hone_kernel_does(hone_kernels[i], op) && !strcmp(hone_kernels[i]->name, name))
            return hone_kernels[i];
    return NULL;
}

/* ---- configs ---- */

static int nparams(const struct hone_kernel *k)
{
    int n = 0;
    while (n < HONE_MAX_PARAMS && k->param[n].name) n++;
    return n;
}

void hone_config_first(const struct hone_kernel *k, struct hone_config *c)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < nparams(k); i++) c->v[i] = k->param[i].value[0];
}

int hone_config_next(const struct hone_kernel *k, struct hone_config *c)
{
    for (int i = 0; i < nparams(k); i++) {
        const struct hone_param *q = &k->param[i];
        int j = 0;
        while (j < q->nvalues && q->value[j] != c->v[i]) j++;
        if (j + 1 < q->nvalues) { c->v[i] = q->value[j + 1]; return 1; }
        c->v[i] = q->value[0];
    }
    return 0;
}

/* Does k's text admit c?  Whole spaces are gone through, and to read the text takes longer than to
 * ask what it says: the last one read is kept. */
static int text_admits(const struct hone_kernel *k, const struct hone_problem *p,
                       const struct hone_config *c, const struct hone_device *d)
{
    static _Thread_local struct {
        struct hone_kernel kernel;
        struct hone_problem problem;
        struct hone_device device;
        struct hone_constraint text;
        int err;
    } last;
    if (memcmp(&last.kernel, k, sizeof *k) || memcmp(&last.problem, p, sizeof *p) ||
        memcmp(&last.device, d, sizeof *d)) {
        memcpy(&last.kernel, k, sizeof *k);
        memcpy(&last.problem, p, sizeof *p);
        memcpy(&last.device, d, sizeof *d);
        last.err = hone_constraint_parse(&last.text, k, p, d);
    }
    return !last.err && hone_constraint_holds(&last.text, c);
}

int hone_config_valid(const struct hone_kernel *k, const struct hone_problem *p,
                      const struct hone_config *c, const struct hone_device *d)
{
    int threads = hone_config_get(k, c, "threads", 1);
    if (threads > d->ncores) return 0;
    if (d->max_error > 0 && hone_kernel_error(k, p, c) > d->max_error) return 0;
    if (k->constraint && !text_admits(k, p, c, d)) return 0;
    return !k->valid || k->valid(p, c, d);
}

void hone_config_guess(const struct hone_kernel *k, const struct hone_problem *p,
                       const struct hone_device *d, struct hone_config *c)
{
    hone_config_first(k, c);
    if (k->guess) k->guess(p, d, c);
    if (hone_config_valid(k, p, c, d)) return;
    hone_config_first(k, c);
    while (!hone_config_valid(k, p, c, d))
        if (!hone_config_next(k, c)) return;   /* plan_open() will say so */
}

void hone_config_print(const struct hone_kernel *k, const struct hone_config *c,
                       char text[HONE_TEXT])
{
    int n = 0, len = 0;
    text[0] = 0;
    for (; n < nparams(k) && len < HONE_TEXT; n++)
        len += snprintf(text + len, (size_t)(HONE_TEXT - len), "%s%s=%d", n ? "," : "",
                        k->param[n].name, c->v[n]);
    if (!n) snprintf(text, HONE_TEXT, "-");
}

static int set_param(const struct hone_kernel *k, const char *name, int value,
                     struct hone_config *c)
{
    for (int i = 0; i < nparams(k); i++) {
        if (strcmp(k->param[i].name, name)) continue;
        for (int j = 0; j < k->param[i].nvalues; j++)
            if (k->param[i].value[j] == value) { c->v[i] = value; return HONE_OK; }
        return hone_fail(HONE_EPARSE, "config: %s of %s cannot be %d", name, k->name, value);
    }
    return hone_fail(HONE_EPARSE, "config: %s has no parameter '%s'", k->name, name);
}

int hone_config_parse(const struct hone_kernel *k, const char *text, struct hone_config *c)
{
    char name[32];
    int value, used;
    if (!strcmp(text, "-")) return HONE_OK;
    for (const char *s = text; *s; s += used) {
        if (sscanf(s, "%31[a-z0-9_]=%d%n", name, &value, &used) != 2 || (s[used] && s[used] != ','))
            return hone_fail(HONE_EPARSE, "config '%s': expected name=value at '%s'", text, s);
        int err = set_param(k, name, value, c);
        if (err) return err;
        if (s[used] == ',') used++;
    }
    return HONE_OK;
}

int hone_config_get(const struct hone_kernel *k, const struct hone_config *c, const char *name,
                    int dflt)
{
    for (int i = 0; i < nparams(k); i++)
        if (!strcmp(k->param[i].name, name)) return c->v[i];
    return dflt;
}

/* ---- plans ---- */

int hone_plan_open(struct hone_plan *plan, const struct hone_problem *p,
                   const struct hone_kernel *k, const struct hone_config *c, struct hone_device *d)
{
    memset(plan, 0, sizeof *plan);
    const char *why = hone_kernel_refuse(k, p, d);
    if (why) return hone_fail(HONE_EREFUSED, "%s refuses: %s", k->name, why);
    struct hone_config guess;
    if (!c) hone_config_guess(k, p, d, &guess);
    *plan = (struct hone_plan){ .problem = *p, .config = c ? *c : guess, .kernel = k, .device = d };
    int err = HONE_OK;
    if (!hone_config_valid(k, p, &plan->config, d)) {
        char text[HONE_TEXT];
        hone_config_print(k, &plan->config, text);
        err = hone_fail(HONE_EREFUSED, "%s refuses: config %s is not valid for this problem",
                        k->name, text);
    }
    if (!err && k->workspace) plan->workspace_bytes = k->workspace(p, &plan->config, d);
    if (!err && k->prepare) err = k->prepare(plan);
    if (err) memset(plan, 0, sizeof *plan);
    return err;
}

void hone_plan_close(struct hone_plan *plan)
{
    if (plan->kernel && plan->kernel->release) plan->kernel->release(plan);
    memset(plan, 0, sizeof *plan);
}

/* The first that accepts p and suits it, else the first that accepts it, else NULL. */
static const struct hone_kernel *first_of(const struct hone_problem *p, struct hone_device *d,
                                          int compiled)
{
    const struct hone_kernel *first = NULL;
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (k->slow || (k->build == HONE_JIT) != compiled || hone_kernel_refuse(k, p, d)) continue;
        if (!k->suits || k->suits(p, d)) return k;
        if (!first) first = k;
    }
    return first;
}

int hone_plan_default(struct hone_plan *plan, const struct hone_problem *p, struct hone_device *d)
{
    const struct hone_kernel *k = first_of(p, d, 0);
    if (!k) k = first_of(p, d, 1);
    return hone_plan_open(plan, p, k ? k : &hone_backend_ref, NULL, d);
}
