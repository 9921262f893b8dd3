/* What hone compare shows: a table, CSV, JSON, and pictures of step times and first losses. */
#include "results/compare.h"
#include "results/layers.h"
#include "results/output.h"

#include <math.h>
#include <string.h>

static void name_of(const struct hone_way *w, char text[200])
{
    snprintf(text, 200, "%s%s%s", w->version[0] ? w->version : w->peer, w->shown[0] ? " " : "",
             w->shown);
}

static double rows_per_s(const struct hone_compare *c, const struct hone_way *w)
{
    return 1e3 * c->net.batch / w->step_ms.median;
}

static int64_t batches_bytes(const struct hone_compare *c)
{
    return c->nbatches * (int64_t)c->batch_bytes;
}

/* Every way holds all batches: they are of no step. */
static int64_t own_bytes(const struct hone_compare *c, const struct hone_way *w)
{
    const int64_t bytes = w->peak_bytes - w->base_bytes - batches_bytes(c);
    return bytes > 0 ? bytes : 0;
}

/* ---- table ---- */

/* The column's, which a mode with its allocator may be wider than. */
static int name_width(const struct hone_compare *c)
{
    char name[200];
    int width = 43;
    for (int i = 0; i < c->nways; i++) {
        name_of(&c->way[i], name);
        if ((int)strlen(name) > width) width = (int)strlen(name);
    }
    return width;
}

static void print_way(const struct hone_compare *c, const struct hone_way *w, int width, FILE *f)
{
    char name[200], bytes[16], base[16], ms[64], ratio[64];
    name_of(w, name);
    if (w->why[0]) {
        fprintf(f, "%-*s failed: %s\n", width, name, w->why);
        return;
    }
    snprintf(ms, sizeof ms, "[%.4g %.4g]", w->step_ms.lo, w->step_ms.hi);
    snprintf(ratio, sizeof ratio, "[%.4g %.4g]", w->ratio.lo, w->ratio.hi);
    fprintf(f, "%-*s %9.4g %-17s %10.4g %9.4g %-15s %10.4g %10s %10s", width, name,
            w->step_ms.median, ms, rows_per_s(c, w), w->ratio.median, ratio, w->first_ms,
            hone_layers_bytes(own_bytes(c, w), bytes), hone_layers_bytes(w->base_bytes, base));
    if (w == c->way)
        fputs("         -\n", f);
    else
        fprintf(f, " %9.1e\n", w->worst);
}

void hone_compare_print(const struct hone_compare *c, FILE *f)
{
    char optim[HONE_TEXT], batches[16];
    const int width = name_width(c);
    hone_optim_print(&c->net.optim, optim);
    fprintf(f,
            "%s, batch %d, %s, %s at %g, %s; %d rounds in turn, a turn %g s; %d of %d steps tuned"
            "\n\n",
            c->net.name, c->net.batch, hone_net_dtype_name(&c->net), optim, c->net.optim.lr,
            c->o->data ? c->o->data : "random numbers", c->o->rounds, c->o->turn, c->ntuned,
            c->net.nsteps);
    fprintf(f, "%-*s %9s %-17s %10s %9s %-15s %10s %10s %10s %9s\n", width, "", "ms a step",
            "[95 %]", "rows/s", "/ Hone", "[95 %]", "first ms", "memory", "libraries", "losses");
    for (int i = 0; i < c->nways; i++) print_way(c, &c->way[i], width, f);
    fprintf(f,
            "\nmemory: at most, beyond the process with its libraries and the batches, %s, alone.  "
            "losses: largest relative difference of the first %d.%s\n",
            hone_layers_bytes(batches_bytes(c), batches), c->o->nlosses,
            c->dropout ? "  The net has dropout, which each draws by itself: losses differ." : "");
}

/* ---- CSV and JSON ---- */

void hone_compare_csv(const struct hone_compare *c, FILE *f)
{
    fputs("peer,mode,version,failed,steps,rounds,ms,ms_lo,ms_hi,rows_per_s,over_hone,over_hone_lo,"
          "over_hone_hi,first_ms,memory_bytes,base_bytes,losses_differ,dtype\n", f);
    for (int i = 0; i < c->nways; i++) {
        const struct hone_way *w = &c->way[i];
        fprintf(f, "%s,", w->peer);
        hone_output_cell(f, w->shown);
        putc(',', f);
        hone_output_cell(f, w->version);
        putc(',', f);
        hone_output_cell(f, w->why);
        if (w->why[0]) {
            fprintf(f, ",,,,,,,,,,,,,,%s\n", hone_net_dtype_name(&c->net));
            continue;
        }
        fprintf(f, ",%d,%d,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%lld,%lld,%.3g,%s\n", w->nsteps,
                c->o->rounds, w->step_ms.median, w->step_ms.lo, w->step_ms.hi, rows_per_s(c, w),
                w->ratio.median, w->ratio.lo, w->ratio.hi, w->first_ms, (long long)own_bytes(c, w),
                (long long)w->base_bytes, w->worst, hone_net_dtype_name(&c->net));
    }
}

static json_t *stats_json(const struct hone_stats *s)
{
    return json_pack("{s:i, s:f, s:f, s:f}", "n", s->n, "median", s->median, "lo", s->lo, "hi",
                     s->hi);
}

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *way_json(const struct hone_compare *c, const struct hone_way *w)
{
    json_t *losses = json_array();
    if (w->why[0]) {
        json_decref(losses);
        return json_pack("{s:s, s:s, s:s, s:s}", "peer", w->peer, "mode", w->shown, "version",
                         w->version, "failed", w->why);
    }
    for (int i = 0; i < c->o->nlosses; i++) json_array_append_new(losses, number(w->loss[i]));
    return json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:f, s:f, s:I, s:I, s:o, s:o}", "peer",
                     w->peer, "mode", w->shown, "version", w->version, "steps", w->nsteps,
                     "step_ms", stats_json(&w->step_ms), "over_hone", stats_json(&w->ratio),
                     "rows_per_s", rows_per_s(c, w), "first_ms", w->first_ms, "memory_bytes",
                     (json_int_t)own_bytes(c, w), "base_bytes", (json_int_t)w->base_bytes, "losses",
                     losses, "losses_differ", number(w->worst));
}

int hone_compare_json(const struct hone_compare *c, FILE *f)
{
    char optim[HONE_TEXT];
    json_t *ways = json_array();
    hone_optim_print(&c->net.optim, optim);
    for (int i = 0; i < c->nways; i++) json_array_append_new(ways, way_json(c, &c->way[i]));
    json_t *all = json_pack(
        "{s:s, s:i, s:s, s:i, s:s, s:s, s:f, s:s?, s:i, s:f, s:i, s:i, s:i, s:I, s:o}", "hone",
        "compare", "version", 1, "net", c->net.name, "batch", c->net.batch, "dtype",
        hone_net_dtype_name(&c->net), "optimizer", optim, "lr", c->net.optim.lr, "data",
        c->o->data, "rounds", c->o->rounds, "turn_s", c->o->turn, "tuned", c->ntuned, "parts",
        c->net.nsteps, "threads", c->o->threads, "batches_bytes",
        (json_int_t)batches_bytes(c), "ways", ways);
    int bad = !all || json_dumpf(all, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) ||
              putc('\n', f) == EOF;
    json_decref(all);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

/* ---- pictures ---- */

static void put_title(const struct hone_compare *c, const char *what, FILE *script)
{
    char title[256];
    snprintf(title, sizeof title, "%s: %.120s, batch %d, %s", what, c->net.name, c->net.batch,
             hone_net_dtype_name(&c->net));
    hone_output_title(script, title);
}

static const char *put_steps(const void *of, FILE *data, FILE *script)
{
    const struct hone_compare *c = of;
    char name[200];
    fputs("# way  ms a step  lo  hi\n", data);
    for (int i = 0; i < c->nways; i++) {
        const struct hone_way *w = &c->way[i];
        name_of(w, name);
        if (!w->why[0])
            fprintf(data, "\"%s\" %.6g %.6g %.6g\n", name, w->step_ms.median, w->step_ms.lo,
                    w->step_ms.hi);
    }
    put_title(c, "Time of a training step", script);
    fputs("set ylabel 'ms a step'\nset yrange [0:*]\nset style fill solid 0.8\nset boxwidth 0.6\n"
          "set xtics rotate by -30 noenhanced\nunset key\n", script);
    hone_output_gnuplot_begin(script, "steps", 1000, 600);
    fputs("    plot 'steps.dat' using 0:2:xtic(1) with boxes lc rgb '#2f6f9f', \\\n"
          "        '' using 0:2:3:4 with yerrorbars lc rgb 'black' pt 0\n", script);
    hone_output_gnuplot_end(script);
    return NULL;
}

static const char *put_losses(const void *of, FILE *data, FILE *script)
{
    const struct hone_compare *c = of;
    char name[200];
    int n = 0;
    for (int i = 0; i < c->nways; i++) {
        const struct hone_way *w = &c->way[i];
        if (w->why[0]) continue;
        name_of(w, name);
        fprintf(data, "# %s\n", name);
        for (int k = 0; k < c->o->nlosses; k++) fprintf(data, "%d %.9g\n", k + 1, w->loss[k]);
        fputs("\n\n", data);
    }
    put_title(c, "Losses of the first steps", script);
    fputs("set xlabel 'step'\nset ylabel 'loss'\nset key outside right noenhanced\n", script);
    hone_output_gnuplot_begin(script, "losses", 1000, 600);
    for (int i = 0; i < c->nways; i++) {
        if (c->way[i].why[0]) continue;
        name_of(&c->way[i], name);
        /* Curves that lie on each other are seen by their points' sizes. */
        fprintf(script, "%s'losses.dat' index %d using 1:2 with linespoints pt %d ps %.2g title ",
                n ? ", \\\n        " : "    plot ", n, 4 + n, n ? 1.0 : 1.8);
        hone_output_quote(script, name, strlen(name));
        n++;
    }
    fputc('\n', script);
    hone_output_gnuplot_end(script);
    return NULL;
}

int hone_compare_plot(const struct hone_compare *c, const char *dir, const char *command)
{
    int err = hone_output_directory(dir);
    if (!err) err = hone_output_plot(dir, "steps", command, put_steps, c);
    return err ? err : hone_output_plot(dir, "losses", command, put_losses, c);
}
