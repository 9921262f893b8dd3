/* Plots of a sweep, by gnuplot: the script and its data stay beside the pictures. */
#include "results/output.h"
#include "results/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 512, MOST_TITLES = 24 };

/* What a plot is of: data in blocks of lines "X Y", a curve each, under a comment with its
 * title. */
struct plot {
    const char *name, *title, *x, *y;
    int is_log; /* of x, to the base 2 */
    /* Writes the blocks and says how many; or a reason why there is nothing to plot. */
    const char *(*put)(const struct hone_sweep_report *r, FILE *data, FILE *titles, int *ncurves);
};

/* ---- throughput: a curve for all that differs but the batch ---- */

static const char *batch_of(const struct hone_sweep_point *p)
{
    const char *text = json_string_value(json_object_get(p->options, "--batch"));
    return text ? text : "64";
}

static void label_without_batch(const struct hone_sweep_report *r, const struct hone_sweep_point *p,
                                char text[LABEL])
{
    struct hone_sweep_point other = { .options = json_deep_copy(p->options) };
    struct hone_sweep_space space = *r->space;
    struct hone_sweep_report view = *r;
    int n = 0;
    for (int i = 0; i < space.n; i++)
        if (strcmp(space.option[i].name, "batch")) space.option[n++] = space.option[i];
    space.n = n;
    view.space = &space;
    hone_sweep_label(&view, &other, text, LABEL);
    json_decref(other.options);
}

/* Returns its number of points. */
static int put_curve(const struct hone_sweep_report *r, const char *label, FILE *data)
{
    char other[LABEL];
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        struct hone_sweep_row row = hone_sweep_row_of(&r->points[i]);
        label_without_batch(r, &r->points[i], other);
        if (strcmp(other, label) || row.failed || isnan(row.rows_per_s)) continue;
        fprintf(data, "%s %.9g\n", batch_of(&r->points[i]), row.rows_per_s);
        n++;
    }
    return n;
}

static const char *put_throughput(const struct hone_sweep_report *r, FILE *data, FILE *titles,
                                  int *ncurves)
{
    char(*seen)[LABEL] = calloc((size_t)r->n, sizeof *seen), label[LABEL];
    int longest = 0;
    for (int i = 0; seen && i < r->n; i++) {
        int known = 0;
        label_without_batch(r, &r->points[i], label);
        for (int k = 0; k < *ncurves; k++) known |= !strcmp(seen[k], label);
        if (known) continue;
        fprintf(data, "# %s\n", label);
        int n = put_curve(r, label, data);
        if (n > longest) longest = n;
        /* An index needs a line, be it of nothing. */
        fprintf(data, n ? "\n\n" : "NaN NaN\n\n\n");
        fprintf(titles, "%s\n", label);
        snprintf(seen[(*ncurves)++], LABEL, "%s", label);
    }
    free(seen);
    return longest > 1 ? NULL : "no two runs differ in the batch alone";
}

/* ---- the score by epoch: a curve for each run ---- */

static const char *put_score(const struct hone_sweep_report *r, const char *key, FILE *data,
                             FILE *titles, int *ncurves)
{
    size_t longest = 0;
    for (int i = 0; i < r->n; i++) {
        char label[LABEL];
        json_t *epoch,
            *epochs = json_object_get(json_object_get(r->points[i].record, "result"), "epochs");
        size_t k, n = 0;
        hone_sweep_label(r, &r->points[i], label, sizeof label);
        json_array_foreach(epochs, k, epoch)
        {
            const json_t *v = json_object_get(epoch, key);
            if (!json_is_number(v)) continue;
            if (!n++) fprintf(data, "# %s\n", label);
            fprintf(data, "%zu %.9g\n", k + 1, json_number_value(v));
        }
        if (!n) continue;
        if (n > longest) longest = n;
        fprintf(data, "\n\n");
        fprintf(titles, "%s\n", label);
        (*ncurves)++;
    }
    return longest > 1 ? NULL : *ncurves ? "one epoch makes no curve" : "no run has it";
}

static const char *put_accuracy(const struct hone_sweep_report *r, FILE *data, FILE *titles,
                                int *ncurves)
{
    return put_score(r, "test_accuracy", data, titles, ncurves);
}

static const char *put_error(const struct hone_sweep_report *r, FILE *data, FILE *titles,
                             int *ncurves)
{
    return put_score(r, "test_mse", data, titles, ncurves);
}

static const struct plot plots[] = {
    { "throughput", "Training throughput", "batch", "rows per second", 1, put_throughput },
    { "accuracy", "Test accuracy", "epoch", "test accuracy", 0, put_accuracy },
    { "error", "Test error", "epoch", "mean squared error", 0, put_error },
};

/* ---- scripts ---- */

/* Beyond MOST_TITLES curves their titles would leave no room; the data file has them all.  gnuplot
 * has eight colours: the next eight curves are wider ones.  Epochs are whole, and so their
 * marks. */
static void put_script(FILE *f, const struct plot *p, const char *titles, int ncurves)
{
    fprintf(f, "# gnuplot %s.gp draws %s.svg and %s.png from %s.dat.\n", p->name, p->name, p->name,
            p->name);
    fprintf(f, "set title '%s' noenhanced\nset xlabel '%s'\nset ylabel '%s'\nset grid\n", p->title,
            p->x, p->y);
    if (p->is_log) fputs("set logscale x 2\n", f);
    if (p->is_log) fputs("set yrange [0:*]\nset format y '%.0f'\n", f);
    else
        fprintf(f, "stats '%s.dat' using 1 nooutput\nset xtics ceil((STATS_max - 1) / 12.0)\n",
                p->name);
    fputs(ncurves > MOST_TITLES ? "unset key\n" : "set key outside right noenhanced\n", f);
    hone_output_gnuplot_begin(f, p->name, 1000, 600);
    fputs("    plot ", f);
    for (int i = 0; i < ncurves; i++, titles += strcspn(titles, "\n") + 1) {
        fprintf(f, "%s'%s.dat' index %d using 1:2%s with linespoints lw %d title ",
                i ? ", \\\n        " : "", p->name, i, p->is_log ? ":xtic(1)" : "", 1 + i / 8);
        hone_output_quote(f, titles, strcspn(titles, "\n"));
    }
    putc('\n', f);
    hone_output_gnuplot_end(f);
}

static int write_script(const struct hone_sweep_report *r, const struct plot *p, const char *data,
                        size_t size, const char *titles, int ncurves)
{
    char path[PATH_MAX], *script = NULL;
    size_t len;
    hone_sweep_path(r->sweep, path, sizeof path, "%s.dat", p->name);
    int err = hone_output_write(path, data, size);
    FILE *f = err ? NULL : open_memstream(&script, &len);
    if (!f) return err ? err : hone_fail(HONE_ENOMEM, "%s.gp", p->name);
    put_script(f, p, titles, ncurves);
    fclose(f);
    hone_sweep_path(r->sweep, path, sizeof path, "%s.gp", p->name);
    err = hone_output_write(path, script, len);
    free(script);
    return err;
}

static int plot_one(const struct hone_sweep_report *r, const struct plot *p, const char *quiet)
{
    char *data = NULL, *titles = NULL;
    size_t size = 0, len = 0;
    int ncurves = 0, err = HONE_OK;
    FILE *f = open_memstream(&data, &size), *t = open_memstream(&titles, &len);
    const char *why = f && t ? p->put(r, f, t, &ncurves) : "out of memory";
    if (f) fclose(f);
    if (t) fclose(t);
    if (!why) err = write_script(r, p, data, size, titles, ncurves);
    if (!why && !err) why = hone_output_draw(r->sweep->dir, p->name);
    if (why && !(quiet && !strcmp(why, quiet)))
        fprintf(stderr, "%s plot refused: %s\n", p->name, why);
    if (!why && !err) fprintf(stderr, "%s/%s.png, %s.svg\n", r->sweep->dir, p->name, p->name);
    free(data);
    free(titles);
    return err;
}

int hone_sweep_plot(const struct hone_sweep_report *r)
{
    int classes = 1, err = HONE_OK;
    for (int i = 0; i < r->n; i++) {
        struct hone_sweep_row row = hone_sweep_row_of(&r->points[i]);
        if (row.nepochs) classes = row.is_classes;
    }
    /* Of classes nobody misses the error, of numbers the accuracy. */
    for (size_t i = 0; !err && i < sizeof plots / sizeof *plots; i++) {
        int other = plots[i].put == (classes ? put_error : put_accuracy);
        err = plot_one(r, &plots[i], other ? "no run has it" : NULL);
    }
    return err;
}
