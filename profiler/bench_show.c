/* The rows of `hone bench` as a table and as JSON. */
#include "profiler/bench.h"

#include <string.h>

double hone_bench_gflops(const struct hone_bench *b, const struct hone_bench_row *r)
{
    return b->problem.op->flops(&b->problem) / (r->stats.median * 1e6);
}

static double gbytes(const struct hone_bench *b, const struct hone_bench_row *r)
{
    return hone_problem_bytes(&b->problem) / (r->stats.median * 1e6);
}

const struct hone_bench_row *hone_bench_bound(const struct hone_bench *b, double peak)
{
    const struct hone_bench_row *best = NULL;
    for (int i = 0; i < b->nmoves; i++) {
        const struct hone_bench_row *r = &b->move[i];
        if (hone_bench_timed(r) && (!best || r->stats.median < best->stats.median)) best = r;
    }
    if (!best || peak <= 0) return NULL;
    return 1e-3 * best->stats.median > b->problem.op->flops(&b->problem) / peak ? best : NULL;
}

int hone_bench_timed(const struct hone_bench_row *r) { return !r->state && r->stats.n; }

static void print_row(const struct hone_bench *b, const struct hone_bench_row *r, int width)
{
    char config[HONE_TEXT], workspace[32], interval[32], nruns[32], roof[32] = "-",
                                                                    library[32] = "-";
    hone_config_print(r->kernel, &r->config, config);
    if (!hone_bench_timed(r)) {
        printf("%-*s  %s: %s  %s\n", width, r->kernel->name, r->state ? "not timed" : "interrupted",
               r->why, config);
        return;
    }
    snprintf(interval, sizeof interval, "[%.4g, %.4g]", r->stats.lo, r->stats.hi);
    snprintf(nruns, sizeof nruns, "%dx%d", r->stats.n, r->nruns);
    if (r->roof_ms > 0)
        snprintf(roof, sizeof roof, "%.0f %% %s", 100 * r->roof_ms / r->stats.median, r->bound);
    if (r->vs_library > 0) snprintf(library, sizeof library, "%.2f", r->vs_library);
    printf("%-*s %9.4g %19s %9s %9.4g %8.4g %13s %9s %8.2g %5s %6s  %s\n", width, r->kernel->name,
           r->stats.median, interval, nruns, hone_bench_gflops(b, r), gbytes(b, r), roof,
           hone_bytes_text((int64_t)r->workspace_bytes, workspace), r->error, library, "right",
           config);
}

static void print_counters(const struct hone_bench_row *r)
{
    char config[HONE_TEXT];
    hone_config_print(r->kernel, &r->config, config);
    if (r->ncounters) printf("%s %s, per run\n", r->kernel->name, config);
    for (int i = 0; i < r->ncounters; i++) {
        const struct hone_counter *c = &r->counter[i];
        if (c->ok)
            printf("  %-32s %.6g\n", c->name, c->value);
        else
            printf("  %-32s n/a (%s)\n", c->name, c->why);
    }
}

static void print_jit(const struct hone_bench_row *r)
{
    char bytes[32];
    const struct hone_jit_cost *c = hone_plan_jit(&r->plan);
    if (!c) return;
    printf("%s: compiled in %.4g ms%s, loaded in %.3g ms, first run %.3g ms, %s of code; ",
           r->kernel->name, c->compile_ms, c->cached ? " (earlier)" : "", c->load_ms, c->first_ms,
           hone_bytes_text(c->code_bytes, bytes));
    if (r->pays_after > 0) printf("pays after %.3g runs\n", r->pays_after);
    else printf("does not pay here\n");
}

static void print_reorders(const struct hone_bench_row *r)
{
    char config[HONE_TEXT];
    hone_config_print(r->kernel, &r->config, config);
    if (hone_bench_timed(r) && r->reorder_ms > 0)
        printf("%s %s: %.4g ms of a run change layouts, %.4g ms are left\n", r->kernel->name,
               config, r->reorder_ms, r->stats.median - r->reorder_ms);
}

void hone_bench_print(const struct hone_bench *b)
{
    char text[HONE_TEXT];
    int width = 6;
    hone_problem_print(&b->problem, text);
    for (int i = 0; i < b->nrows; i++)
        if ((int)strlen(b->row[i].kernel->name) > width)
            width = (int)strlen(b->row[i].kernel->name);
    printf("%s on %s (%s), cache %s, seed %llu%s\n", text, b->device->name, b->device->text,
           hone_cache_name(b->cache), (unsigned long long)b->seed,
           b->interrupted ? ", interrupted" : "");
    printf("%-*s %9s %19s %9s %9s %8s %13s %9s %8s %5s %6s  %s\n", width, "kernel", "ms",
           "95 % interval", "n x runs", "GFLOP/s", "GB/s", "of roof", "workspace", "error", "/lib",
           "proof", "config");
    for (int i = 0; i < b->nrows; i++) print_row(b, &b->row[i], width);
    for (int i = 0; i < b->nrows; i++) print_jit(&b->row[i]);
    for (int i = 0; i < b->nrows; i++) print_reorders(&b->row[i]);
    for (int i = 0; i < b->nrows; i++) print_counters(&b->row[i]);
}

json_t *hone_bench_row_json(const struct hone_bench *b, const struct hone_bench_row *r)
{
    char config[HONE_TEXT], version[HONE_TEXT];
    hone_config_print(r->kernel, &r->config, config);
    hone_kernel_version(r->kernel, version);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "kernel", r->kernel->name, "build",
                          hone_build_name(r->kernel->build), "version", version, "config", config,
                          "workspace_bytes", (json_int_t)r->workspace_bytes, "verdict",
                          !r->state                 ? "right"
                          : r->state == HONE_EWRONG ? "wrong"
                                                    : "failed");
    if (r->state)
        json_object_set_new(o, "why", json_string(r->why));
    else
        json_object_set_new(o, "error", json_real(r->error));
    if (hone_bench_timed(r)) {
        json_object_update_new(o, json_pack("{s:f, s:f, s:f, s:f, s:i, s:i, s:f, s:f}", "ms_median",
                                            r->stats.median, "ms_lo", r->stats.lo, "ms_hi",
                                            r->stats.hi, "ms_min", r->stats.min, "n", r->stats.n,
                                            "runs", r->nruns, "gflops", hone_bench_gflops(b, r),
                                            "gbytes_per_s", gbytes(b, r)));
        if (r->roof_ms > 0) {
            json_object_set_new(o, "roof_ms", json_real(r->roof_ms));
            json_object_set_new(o, "bound", json_string(r->bound));
        }
        if (r->vs_library > 0) json_object_set_new(o, "vs_library", json_real(r->vs_library));
    }
    const struct hone_jit_cost *jit = hone_plan_jit(&r->plan);
    if (jit)
        json_object_set_new(
            o, "jit", json_pack("{s:f, s:f, s:f, s:I, s:b, s:f}", "compile_ms", jit->compile_ms,
                                "load_ms", jit->load_ms, "first_ms", jit->first_ms, "code_bytes",
                                (json_int_t)jit->code_bytes, "cached", jit->cached, "pays_after",
                                r->pays_after));
    if (r->reorder_ms > 0) json_object_set_new(o, "reorder_ms", json_real(r->reorder_ms));
    json_t *counters = json_object();
    for (int i = 0; i < r->ncounters; i++)
        json_object_set_new(counters, r->counter[i].name,
                            r->counter[i].ok ? json_real(r->counter[i].value)
                                             : json_pack("{s:s}", "n/a", r->counter[i].why));
    json_object_set_new(o, "counters", counters);
    return o;
}

json_t *hone_bench_json(const struct hone_bench *b)
{
    char text[HONE_TEXT];
    json_t *rows = json_array();
    hone_problem_print(&b->problem, text);
    for (int i = 0; i < b->nrows; i++)
        json_array_append_new(rows, hone_bench_row_json(b, &b->row[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:o}", "problem", text, "device",
                     b->device->name, "device_id", b->device->id, "cache",
                     hone_cache_name(b->cache), "seed", (json_int_t)b->seed, "interrupted",
                     b->interrupted, "kernels", rows);
}
