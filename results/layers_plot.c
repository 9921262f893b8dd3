/* The report as pictures by gnuplot: roofline, time by layer and phase, memory over the step. */
#include "results/layers.h"
#include "results/output.h"

#include <math.h>
#include <string.h>

enum { MOST_LAYERS = 40 };

static void put_title(const struct hone_layers *l, const char *what, FILE *script)
{
    char title[256];
    snprintf(title, sizeof title, "%s: %.120s, batch %d", what, l->net, l->batch);
    hone_output_title(script, title);
}

/* ---- roofline: a block of points for each phase ---- */

static const char *put_roofline(const void *of, FILE *data, FILE *script)
{
    const struct hone_layers *l = of;
    double compute = l->roofs.compute * 1e-9;
    int n = 0;
    fputs("# flops/byte  GFLOP/s  share  layer\n", data);
    for (int p = 0; p < l->nphases; p++) {
        fprintf(data, "# %s\n", l->phase[p].name);
        int before = n;
        for (int i = 0; i < l->nsteps; i++) {
            const struct hone_layers_step *s = &l->step_of[i];
            if (strcmp(s->phase, l->phase[p].name) || !(s->flops > 0) || !(s->bytes > 0)) continue;
            fprintf(data, "%.6g %.6g %.6g %s\n", s->flops / s->bytes,
                    s->flops / s->ms.median * 1e-6, s->share, s->layer);
            n++;
        }
        /* An index needs a line, be it of nothing. */
        fputs(n > before ? "\n\n" : "NaN NaN NaN -\n\n\n", data);
    }
    if (!n || !(compute > 0)) return "no part computes, or no roof was measured";
    put_title(l, "Roofline", script);
    fputs("set xlabel 'flops for each byte that must move'\nset ylabel 'GFLOP/s'\nset logscale x "
          "2\nset logscale y 10\n"
          "set key outside right noenhanced\n",
          script);
    fprintf(script, "set yrange [*:%.6g]\nroof(x, rate) = rate * x < %.6g ? rate * x : %.6g\n",
            2 * compute, compute, compute);
    hone_output_gnuplot_begin(script, "roofline", 1000, 600);
    fputs("    plot ", script);
    for (int i = 0, lines = 0; i < 4; i++) {
        if (!(l->roofs.level[i] > 0)) continue;
        fprintf(script, "%sroof(x, %.6g) with lines lc rgb '#b42318' dt %d title '%s, %.0f GB/s'",
                lines++ ? ", \\\n        " : "", l->roofs.level[i] * 1e-9, i + 1,
                hone_layers_level[i], l->roofs.level[i] * 1e-9);
    }
    for (int p = 0; p < l->nphases; p++)
        fprintf(script,
                ", \\\n        'roofline.dat' index %d using 1:2:(0.6 + 6 * sqrt($3)) with points "
                "pt 7 ps variable lc %d "
                "title '%s'",
                p, p + 1, l->phase[p].name);
    fputc('\n', script);
    hone_output_gnuplot_end(script);
    return NULL;
}

/* ---- layers: milliseconds in each phase ---- */

static double layer_ms(const struct hone_layers *l, const char *layer, const char *phase)
{
    double ms = 0;
    for (int i = 0; i < l->nsteps; i++)
        if (!strcmp(l->step_of[i].layer, layer) && (!phase || !strcmp(l->step_of[i].phase, phase)))
            ms += l->step_of[i].ms.median;
    return ms;
}

static int is_first_of_layer(const struct hone_layers *l, int i)
{
    for (int k = 0; k < i; k++)
        if (!strcmp(l->step_of[k].layer, l->step_of[i].layer)) return 0;
    return 1;
}

/* More layers than fit: those with the largest share, in their order. */
static const char *put_layers(const void *of, FILE *data, FILE *script)
{
    const struct hone_layers *l = of;
    double least = 0;
    int n;
    fputs("layer", data);
    for (int p = 0; p < l->nphases; p++) fprintf(data, " %s", l->phase[p].name);
    putc('\n', data);
    for (n = MOST_LAYERS + 1; n > MOST_LAYERS; least = least ? 1.2 * least : 1e-4 * l->parts_ms) {
        n = 0;
        for (int i = 0; i < l->nsteps; i++)
            n += is_first_of_layer(l, i) && layer_ms(l, l->step_of[i].layer, NULL) >= least;
        if (n <= MOST_LAYERS) break;
    }
    for (int i = 0; i < l->nsteps; i++) {
        if (!is_first_of_layer(l, i) || layer_ms(l, l->step_of[i].layer, NULL) < least) continue;
        fputs(l->step_of[i].layer, data);
        for (int p = 0; p < l->nphases; p++)
            fprintf(data, " %.6g", layer_ms(l, l->step_of[i].layer, l->phase[p].name));
        putc('\n', data);
    }
    put_title(l, least > 0 ? "Time of the layers that take most" : "Time of each layer", script);
    fputs("set ylabel 'ms'\nset style data histograms\nset style histogram rowstacked\nset style "
          "fill solid 0.8\n"
          "set boxwidth 0.8\nset yrange [0:*]\nset xtics rotate by -50 noenhanced\nset key outside "
          "right noenhanced\n",
          script);
    hone_output_gnuplot_begin(script, "layers", 1000, 600);
    for (int p = 0; p < l->nphases; p++)
        fprintf(script, "%s'layers.dat' using %d%s title '%s'", p ? ", \\\n        " : "    plot ",
                p + 2, p ? "" : ":xtic(1)", l->phase[p].name);
    fputc('\n', script);
    hone_output_gnuplot_end(script);
    return NULL;
}

/* ---- memory over the step ---- */

static const char *put_memory(const void *of, FILE *data, FILE *script)
{
    const struct hone_layers *l = of;
    const struct hone_layers_memory *m = &l->memory;
    static const char *const name[] = { "weights", "gradients",   "optimizer",
                                        "batch",   "activations", "workspace" };
    fputs("# part, then MiB, each on top of those before it:", data);
    for (int k = 0; k < 6; k++) fprintf(data, " %s", name[k]);
    fputs(", resident in the first step\n", data);
    for (int i = 0; i < l->nsteps; i++) {
        const struct hone_layers_step *s = &l->step_of[i];
        const int64_t v[] = { m->weights, m->gradients,  m->optimizer,
                              m->batch,   s->live_bytes, s->workspace_bytes };
        double sum = 0;
        fprintf(data, "%d", i);
        for (int k = 0; k < 6; k++) fprintf(data, " %.6g", (sum += (double)v[k]) / 1048576);
        fprintf(data, " %.6g\n", (double)(s->resident_bytes - m->base) / 1048576);
    }
    put_title(l, "Memory in use during a step", script);
    fputs("set xlabel 'part of the step'\nset ylabel 'MiB'\nset yrange [0:*]\nset style fill solid "
          "0.8\n"
          "set key outside right noenhanced\n",
          script);
    hone_output_gnuplot_begin(script, "memory", 1000, 600);
    /* From the top down, so that each is seen above the one below it. */
    for (int k = 5; k >= 0; k--)
        fprintf(script, "%s'memory.dat' using 1:%d with fillsteps title '%s'",
                k == 5 ? "    plot " : ", \\\n        ", k + 2, name[k]);
    fprintf(script,
            ", \\\n        'memory.dat' using 1:8 with steps lw 2 lc rgb 'black' title 'resident "
            "in the first step'"
            ", \\\n        %.6g with lines lc rgb '#b42318' dt 2 title 'planned'\n",
            (double)m->planned / 1048576);
    hone_output_gnuplot_end(script);
    return NULL;
}

/* ---- files ---- */

static const struct {
    const char *name;
    hone_output_put *put;
} plots[] = { { "roofline", put_roofline }, { "layers", put_layers }, { "memory", put_memory } };

int hone_layers_plot(const struct hone_layers *l, const char *dir, const char *command)
{
    int err = hone_output_directory(dir);
    for (size_t i = 0; !err && i < sizeof plots / sizeof *plots; i++)
        err = hone_output_plot(dir, plots[i].name, command, plots[i].put, l);
    return err;
}
