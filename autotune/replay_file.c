/* Recorded spaces as texts: a line says what was measured, and each kernel has one. */
#include "autotune/replay.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const builds[] = { "aot", "jit", "lib" };

static void copy(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from); }

/* ---- reading ---- */

static int index_of(const char *name, const char *(*of)(int), int n)
{
    int i = 0;
    while (i < n && strcmp(of(i), name)) i++;
    return i < n ? i : 0;
}

static const char *isa_name(int i) { return hone_isa_name((enum hone_isa)i); }
static const char *build_name(int i) { return builds[i]; }

/* Room grows whenever n reaches a power of two. */
int hone_recording_grow(struct hone_recording *r, int n)
{
    const size_t room = n ? 2 * (size_t)n : 1;
    double *more;
    if (n & (n - 1)) return 1;
    if ((more = realloc(r->ms, room * sizeof *more))) r->ms = more;
    if (more && r->nwhat) {
        more = realloc(r->count, room * (size_t)r->nwhat * sizeof *more);
        if (more) r->count = more;
    }
    if (!more) hone_fail(HONE_ENOMEM, "%d configs", n);
    return more != NULL;
}

static int read_config(struct hone_recording *r, json_t *row, int nparams)
{
    int v[HONE_MAX_PARAMS];
    const int n = r->pool.n;
    int good = json_array_size(row) == (size_t)(nparams + 1 + r->nwhat);
    for (int i = nparams; good && i < nparams + 1 + r->nwhat; i++) {
        const json_t *value = json_array_get(row, (size_t)i);
        good = json_is_number(value) && json_number_value(value) >= 0;
    }
    if (!good && !r->nwhat)
        return hone_fail(HONE_EPARSE, "expected [values of %d parameters, ms]", nparams);
    if (!good)
        return hone_fail(HONE_EPARSE, "expected [values of %d parameters, ms, %d counters]",
                         nparams, r->nwhat);
    for (int i = 0; i < nparams; i++) {
        if (!json_is_integer(json_array_get(row, (size_t)i)))
            return hone_fail(HONE_EPARSE, "a parameter's value is no whole number");
        v[i] = (int)json_integer_value(json_array_get(row, (size_t)i));
    }
    if (!hone_recording_grow(r, n)) return HONE_ENOMEM;
    r->ms[n] = json_number_value(json_array_get(row, (size_t)nparams));
    for (int w = 0; w < r->nwhat; w++)
        r->count[n * r->nwhat + w] = json_number_value(json_array_get(row, (size_t)(nparams + 1 + w)));
    return hone_pool_add(&r->pool, v);
}

static int read_kernel(struct hone_recording *r, json_t *j)
{
    const char *name, *isa, *build;
    json_t *params, *configs;
    if (json_unpack(j, "{ss ss ss so so}", "name", &name, "isa", &isa, "build", &build, "params",
                    &params, "configs", &configs) ||
        !json_is_array(params) || json_array_size(params) > HONE_MAX_PARAMS ||
        !json_array_size(configs))
        return hone_fail(HONE_EPARSE, "a kernel needs name, isa, build, params and configs");
    struct hone_pool_kernel *k = hone_pool_kernel_add(&r->pool);
    if (!k) return hone_fail(HONE_ENOMEM, "kernel %s", name);
    copy(k->name, sizeof k->name, name);
    k->isa = index_of(isa, isa_name, HONE_NISAS);
    k->build = index_of(build, build_name, 3);
    k->nparams = (int)json_array_size(params);
    for (int i = 0; i < k->nparams; i++) {
        const char *param = json_string_value(json_array_get(params, (size_t)i));
        if (!param) return hone_fail(HONE_EPARSE, "a parameter's name is no text");
        copy(k->param[i], sizeof k->param[i], param);
    }
    int err = HONE_OK, nparams = k->nparams;
    for (size_t i = 0; !err && i < json_array_size(configs); i++)
        err = read_config(r, json_array_get(configs, i), nparams);
    return err;
}

static int read_counters(struct hone_recording *r, const json_t *names)
{
    const size_t n = json_array_size(names);
    if (n > HONE_COUNTS) return hone_fail(HONE_EPARSE, "more than %d counters", HONE_COUNTS);
    for (size_t w = 0; w < n; w++) {
        const char *name = json_string_value(json_array_get(names, w));
        if (!name) return hone_fail(HONE_EPARSE, "a counter's name is no text");
        copy(r->what[w], sizeof r->what[w], name);
    }
    r->nwhat = (int)n;
    return HONE_OK;
}

static int read_line(struct hone_recording *r, const char *line)
{
    const char *type, *problem, *device, *cache;
    json_error_t why;
    json_t *j = json_loads(line, 0, &why);
    int err = HONE_OK;
    if (!j) return hone_fail(HONE_EPARSE, "not JSON: %s", why.text);
    if (json_unpack(j, "{ss}", "type", &type)) err = hone_fail(HONE_EPARSE, "no type");
    else if (!r->problem[0] && !strcmp(type, "space")) {
        if (json_unpack(j, "{ss ss ss}", "problem", &problem, "device", &device, "cache", &cache) ||
            !problem[0])
            err = hone_fail(HONE_EPARSE, "a space needs problem, device and cache");
        else {
            copy(r->problem, sizeof r->problem, problem);
            copy(r->device, sizeof r->device, device);
            copy(r->cache, sizeof r->cache, cache);
            err = read_counters(r, json_object_get(j, "counters"));
        }
    } else if (r->problem[0] && !strcmp(type, "kernel")) err = read_kernel(r, j);
    else err = hone_fail(HONE_EPARSE, "type '%.20s' is not expected here", type);
    json_decref(j);
    return err;
}

int hone_recording_read(struct hone_recording *r, const char *file)
{
    char *line = NULL;
    size_t size = 0;
    int n = 0, err = HONE_OK;
    memset(r, 0, sizeof *r);
    FILE *f = fopen(file, "r");
    if (!f) return hone_fail(HONE_EIO, "%s: cannot read", file);
    while (!err && getline(&line, &size, f) >= 0) {
        n++;
        if (line[strspn(line, " \t\r\n")] && (err = read_line(r, line)))
            hone_fail_at(err, "%s:%d", file, n);
    }
    if (!err && ferror(f)) err = hone_fail(HONE_EIO, "%s: cannot read", file);
    if (!err && !r->pool.n) err = hone_fail(HONE_EPARSE, "%s: no recorded space", file);
    free(line);
    fclose(f);
    if (err) hone_recording_close(r);
    return err;
}

void hone_recording_close(struct hone_recording *r)
{
    hone_pool_close(&r->pool);
    free(r->ms);
    free(r->count);
    memset(r, 0, sizeof *r);
}

/* ---- writing ---- */

static void write_text(FILE *f, const char *before, const char *text)
{
    json_t *j = json_string(text);
    fputs(before, f);
    if (j) json_dumpf(j, f, JSON_ENCODE_ANY);
    json_decref(j);
}

int hone_recording_write(const struct hone_recording *r, FILE *f)
{
    write_text(f, "{\"type\":\"space\",\"problem\":", r->problem);
    write_text(f, ",\"device\":", r->device);
    write_text(f, ",\"cache\":", r->cache);
    for (int w = 0; w < r->nwhat; w++) write_text(f, w ? "," : ",\"counters\":[", r->what[w]);
    fputs(r->nwhat ? "]}\n" : "}\n", f);
    for (int i = 0; i < r->pool.nkernels; i++) {
        const struct hone_pool_kernel *k = &r->pool.kernel[i];
        write_text(f, "{\"type\":\"kernel\",\"name\":", k->name);
        fprintf(f, ",\"isa\":\"%s\",\"build\":\"%s\",\"params\":[", isa_name(k->isa),
                builds[k->build]);
        for (int p = 0; p < k->nparams; p++) write_text(f, p ? "," : "", k->param[p]);
        fputs("],\"configs\":[", f);
        for (int j = k->first; j < k->first + k->n; j++) {
            fputs(j > k->first ? ",[" : "[", f);
            for (int p = 0; p < k->nparams; p++) fprintf(f, "%d,", r->pool.at[j].v[p]);
            fprintf(f, "%.4g", r->ms[j]);
            for (int w = 0; w < r->nwhat; w++) fprintf(f, ",%.4g", r->count[j * r->nwhat + w]);
            putc(']', f);
        }
        fputs("]}\n", f);
    }
    return fflush(f) || ferror(f) ? hone_fail(HONE_EIO, "cannot write what was recorded") : HONE_OK;
}
