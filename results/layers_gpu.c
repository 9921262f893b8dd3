/* The report on a step's layers, of a GPU: its state, the roofline by bytes and operations that
 * were counted, and the kernels that ran. */
#include "results/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the roofline as counted ---- */

/* The sum of those counters of a step that are numbers; NAN: none is. */
static double sum_of(const struct hone_layers_step *s, const char *const name[])
{
    double sum = NAN;
    for (int i = 0; name[i]; i++) {
        const json_t *v = json_object_get(s->counters, name[i]);
        if (json_is_number(v)) sum = (isnan(sum) ? 0 : sum) + json_number_value(v);
    }
    return sum;
}

static void print_counted(const struct hone_layers *l, const struct hone_layers_step *s, FILE *f)
{
    static const char *const moved[] = { "dram_read", "dram_write", NULL };
    static const char *const done[] = { "flops_f32", "flops_f16", "flops_f64", "tensor_bf16",
                                        "tensor_f16", "tensor_tf32", NULL };
    const double bytes = sum_of(s, moved), flops = sum_of(s, done), ms = s->ms.median;
    if (isnan(bytes)) return;
    fprintf(f, "%-10s %-7s %10.4g bytes %6.2fx least %8.1f GB/s", s->layer, s->phase, bytes,
            s->bytes > 0 ? bytes / s->bytes : NAN, bytes / ms * 1e-6);
    if (l->roofs.level[3] > 0)
        fprintf(f, " %5.1f%% of memory's peak", 100 * bytes / ms * 1e3 / l->roofs.level[3]);
    if (!isnan(flops))
        fprintf(f, "  %10.4g flop %6.2fx defined %7.2f flop/B", flops,
                s->flops > 0 ? flops / s->flops : NAN, bytes > 0 ? flops / bytes : NAN);
    if (!isnan(flops) && l->roofs.compute > 0)
        fprintf(f, " %5.1f%% of compute's peak", 100 * flops / ms * 1e3 / l->roofs.compute);
    putc('\n', f);
}

static void print_roofline(const struct hone_layers *l, int top, FILE *f)
{
    static const char *const moved[] = { "dram_read", "dram_write", NULL };
    const int n = top && top < l->nsteps ? top : l->nsteps;
    int any = 0;
    for (int i = 0; i < l->nsteps; i++) any |= !isnan(sum_of(&l->step_of[i], moved));
    if (any) fprintf(f, "\nroofline as counted, per run:\n");
    for (int i = 0; any && i < n; i++)
        print_counted(l, &l->step_of[top ? l->by_time[i] : i], f);
}

/* ---- kernels ---- */

static double duration(const json_t *e) { return json_number_value(json_object_get(e, "dur")); }

static int by_duration(const void *a, const void *b)
{
    const double x = duration(*(json_t *const *)a), y = duration(*(json_t *const *)b);
    return (x < y) - (x > y);
}

static int is_kernel(const json_t *e)
{
    return json_object_get(json_object_get(e, "args"), "registers") != NULL;
}

static int int_of(const json_t *e, const char *name, int i)
{
    const json_t *v = json_object_get(json_object_get(e, "args"), name);
    return (int)json_integer_value(i < 0 ? v : json_array_get(v, (size_t)i));
}

static void print_kernel(const json_t *e, FILE *f)
{
    const json_t *args = json_object_get(e, "args"), *share = json_object_get(args, "occupancy");
    const char *layer = json_string_value(json_object_get(e, "cat")),
               *name = json_string_value(json_object_get(e, "name")),
               *by = json_string_value(json_object_get(args, "limited_by"));
    char grid[48], block[48], fill[16] = "-";
    snprintf(grid, sizeof grid, "%dx%dx%d", int_of(e, "grid", 0), int_of(e, "grid", 1),
             int_of(e, "grid", 2));
    snprintf(block, sizeof block, "%dx%dx%d", int_of(e, "block", 0), int_of(e, "block", 1),
             int_of(e, "block", 2));
    if (share) snprintf(fill, sizeof fill, "%.0f%%", 100 * json_number_value(share));
    fprintf(f, "%-10s %9.2f %4d %8d %-14s %-11s %5s %-13s  %s\n", layer ? layer : "?", duration(e),
            int_of(e, "registers", -1), int_of(e, "shared_bytes", -1), grid, block, fill,
            by ? by : "-", name ? name : "?");
}

static void print_kernels(const struct hone_layers *l, int top, FILE *f)
{
    json_t *events = json_object_get(l->root, "activity"), *e;
    const json_t **kernel = calloc(json_array_size(events) + 1, sizeof *kernel);
    size_t i;
    int n = 0;
    if (!kernel) return;
    json_array_foreach(events, i, e) if (is_kernel(e)) kernel[n++] = e;
    qsort(kernel, (size_t)n, sizeof *kernel, by_duration);
    if (n)
        fprintf(f, "\n%-10s %9s %4s %8s %-14s %-11s %5s %-13s  %s\n", "kernels", "us", "regs",
                "shared B", "grid", "block", "occ.", "limited by", "name");
    for (int k = 0; k < n && (!top || k < top); k++) print_kernel(kernel[k], f);
    if (top && n > top) fprintf(f, "... and %d shorter kernels\n", n - top);
    free(kernel);
}

void hone_layers_gpu(const struct hone_layers *l, int top, FILE *f)
{
    if (l->gpu) fprintf(f, "\n%s after the steps: %s\n", l->device, l->gpu);
    print_roofline(l, top, f);
    print_kernels(l, top, f);
}
