/* hone report tradeoff: time against workspace, from the records of tuning: of each problem of a
 * net the kernels that nothing beats in both, and of the net the steps' sum under every limit; of
 * several batches and number types side by side, too. */
#include "results/layers.h"
#include "results/output.h"

#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A problem of the net and its front: less time for more workspace. */
struct row {
    char problem[HONE_TEXT];
    int steps, npoints;        /* steps of the net with this problem; npoints 0: untuned */
    struct hone_record *point; /* (npoints) least workspace first */
};

/* Under a limit on each step's workspace.  Steps share places, which take at most as much as the
 * largest. */
struct limit {
    int64_t bytes;
    double ms;   /* of all steps that can run */
    int nwithout; /* steps that need more */
};

enum { MOST = 32 }; /* batches times number types */

struct report {
    struct hone_net net;
    struct hone_device *device;
    struct hone_db *db;
    int64_t fixed_bytes; /* planned memory without workspace */
    int nrows, nlimits, nuntuned; /* untuned: steps */
    struct row *row;
    struct limit *limit; /* (nlimits) least first; each has a shorter sum than the last */
};

/* ---- the front ---- */

/* What is less than 1 % apart is a tie, as in choosing. */
static const double tie = 1.01;

static int by_workspace(const void *a, const void *b)
{
    const struct hone_record *x = a, *y = b;
    if (x->workspace_bytes != y->workspace_bytes)
        return x->workspace_bytes < y->workspace_bytes ? -1 : 1;
    if (x->ms_median != y->ms_median) return x->ms_median < y->ms_median ? -1 : 1;
    int d = strcmp(x->kernel, y->kernel);
    return d ? d : strcmp(x->config, y->config);
}

/* Keeps what is faster than all that needs no more. */
static int front(struct hone_record *r, int n)
{
    int kept = 0;
    qsort(r, (size_t)n, sizeof *r, by_workspace);
    for (int i = 0; i < n; i++)
        if (!kept || r[i].ms_median * tie < r[kept - 1].ms_median) r[kept++] = r[i];
    return kept;
}

/* All that may be chosen for p: the buffer grows until they fit. */
static int load_front(struct report *t, const struct hone_problem *p, struct row *row)
{
    for (int room = 256, n;; room *= 4) {
        struct hone_record *all = calloc((size_t)room, sizeof *all), *less;
        if (!all) return hone_fail(HONE_ENOMEM, "%d records", room);
        n = hone_db_best(t->db, p, t->device, all, room);
        if (n == room) {
            free(all);
            continue;
        }
        row->npoints = n > 0 ? front(all, n) : 0;
        less = row->npoints ? realloc(all, (size_t)row->npoints * sizeof *all) : NULL;
        row->point = less ? less : all;
        return n < 0 ? n : HONE_OK;
    }
}

static int load_rows(struct report *t)
{
    struct hone_problem *p = calloc((size_t)t->net.nsteps + 1, sizeof *p);
    char text[HONE_TEXT];
    t->row = calloc((size_t)t->net.nsteps + 1, sizeof *t->row);
    int err = p && t->row ? HONE_OK : hone_fail(HONE_ENOMEM, "%d steps", t->net.nsteps);
    int n = err ? 0 : hone_net_problems(&t->net, p, t->net.nsteps);
    for (int i = 0; !err && i < n; i++) {
        struct row *row = &t->row[t->nrows++];
        hone_problem_print(&p[i], row->problem);
        for (int s = 0; s < t->net.nsteps; s++) {
            hone_problem_print(&t->net.step[s].problem, text);
            row->steps += !strcmp(text, row->problem);
        }
        err = load_front(t, &p[i], row);
        if (!row->npoints) t->nuntuned += row->steps;
    }
    free(p);
    return err ? err : n < 0 ? n : HONE_OK;
}

/* ---- limits ---- */

static struct limit under(const struct report *t, int64_t bytes)
{
    struct limit l = { .bytes = bytes };
    for (int i = 0; i < t->nrows; i++) {
        const struct row *row = &t->row[i];
        int k = 0;
        while (k < row->npoints && row->point[k].workspace_bytes <= bytes) k++;
        if (k)
            l.ms += row->steps * row->point[k - 1].ms_median;
        else if (row->npoints)
            l.nwithout += row->steps;
    }
    return l;
}

static int by_bytes(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The sum changes only where some kernel begins to fit. */
static int find_limits(struct report *t)
{
    size_t n = 1, k = 0;
    for (int i = 0; i < t->nrows; i++) n += (size_t)t->row[i].npoints;
    int64_t *bytes = calloc(n, sizeof *bytes);
    t->limit = calloc(n, sizeof *t->limit);
    if (!bytes || !t->limit) {
        free(bytes);
        return hone_fail(HONE_ENOMEM, "%zu limits", n);
    }
    for (int i = 0; i < t->nrows; i++)
        for (int j = 0; j < t->row[i].npoints; j++)
            bytes[k++] = t->row[i].point[j].workspace_bytes;
    qsort(bytes, k, sizeof *bytes, by_bytes);
    for (size_t i = 0; i < k; i++)
        if (!i || bytes[i] != bytes[i - 1]) t->limit[t->nlimits++] = under(t, bytes[i]);
    free(bytes);
    return HONE_OK;
}

static int analyse(struct report *t)
{
    int err = load_rows(t);
    if (!err && t->nuntuned == t->net.nsteps)
        err = hone_fail(HONE_EDB, "%s: no problem of %s, batch %d, is tuned; `hone autotune --net "
                                  "%s --batch %d` does that",
                        t->db->path[0] ? t->db->path : "no database", t->net.name, t->net.batch,
                        t->net.name, t->net.batch);
    return err ? err : find_limits(t);
}

/* ---- table ---- */

static void print_row(const struct row *row, FILE *f)
{
    char text[16];
    for (int i = 0; i < row->npoints; i++) {
        const struct hone_record *r = &row->point[i];
        const char *config = strcmp(r->config, "-") ? r->config : "";
        if (i)
            fprintf(f, "%-52s %5s", "", "");
        else
            fprintf(f, "%-52s %5d", row->problem, row->steps);
        fprintf(f, " %12s %9.5f [%.5f %.5f] %6.2fx  %s%s%s\n",
                hone_layers_bytes(r->workspace_bytes, text), r->ms_median, r->ms_lo, r->ms_hi,
                row->point[0].ms_median / r->ms_median, r->kernel, *config ? " " : "", config);
    }
    if (!row->npoints)
        fprintf(f, "%-52s %5d %12s %9s  untuned\n", row->problem, row->steps, "-", "-");
}

static void print(const struct report *t, FILE *f)
{
    const struct limit *end = &t->limit[t->nlimits - 1];
    char text[16];
    fprintf(f, "%s, batch %d, %s on %s (%s)\n\n%-52s %5s %12s %9s %-17s %7s  %s\n", t->net.name,
            t->net.batch, hone_net_dtype_name(&t->net), t->device->name, t->device->text, "problem",
            "steps", "workspace", "ms", "[95 %]", "speedup", "kernel and config");
    for (int i = 0; i < t->nrows; i++) print_row(&t->row[i], f);
    fprintf(f, "\n%12s %11s %9s\n", "limit", "steps' ms", "of best");
    for (int i = 0; i < t->nlimits; i++) {
        const struct limit *l = &t->limit[i];
        if (l->nwithout)
            fprintf(f, "%12s %11s %9s  too little for %d of %d tuned steps\n",
                    hone_layers_bytes(l->bytes, text), "-", "-", l->nwithout,
                    t->net.nsteps - t->nuntuned);
        else
            fprintf(f, "%12s %11.4f %8.2fx\n", hone_layers_bytes(l->bytes, text), l->ms,
                    l->ms / end->ms);
    }
    if (t->nuntuned)
        fprintf(f, "\n%d of %d steps are untuned and not in these sums\n", t->nuntuned,
                t->net.nsteps);
}

/* ---- CSV and JSON ---- */

static void csv_end(const struct report *t, int64_t workspace, FILE *f)
{
    fprintf(f, ",%d,%s,", t->net.batch, hone_net_dtype_name(&t->net));
    if (workspace >= 0) fprintf(f, "%lld", (long long)(t->fixed_bytes + workspace));
    putc('\n', f);
}

static void csv(const struct report *t, FILE *f)
{
    for (int i = 0; i < t->nrows; i++) {
        const struct row *row = &t->row[i];
        for (int j = 0; j < row->npoints; j++) {
            const struct hone_record *r = &row->point[j];
            fputs("problem,", f);
            hone_output_cell(f, row->problem);
            fprintf(f, ",%d,%lld,%.9g,%.9g,%.9g,%s,", row->steps, (long long)r->workspace_bytes,
                    r->ms_median, r->ms_lo, r->ms_hi, r->kernel);
            hone_output_cell(f, r->config);
            putc(',', f);
            csv_end(t, -1, f);
        }
        if (row->npoints) continue;
        fputs("untuned,", f);
        hone_output_cell(f, row->problem);
        fprintf(f, ",%d,,,,,,,", row->steps);
        csv_end(t, -1, f);
    }
    for (int i = 0; i < t->nlimits; i++) {
        const struct limit *l = &t->limit[i];
        fprintf(f, "limit,,%d,%lld,", t->net.nsteps - t->nuntuned, (long long)l->bytes);
        if (!l->nwithout) fprintf(f, "%.9g", l->ms);
        fprintf(f, ",,,,,%d", l->nwithout);
        csv_end(t, l->bytes, f);
    }
}

static json_t *row_json(const struct row *row)
{
    json_t *points = json_array();
    for (int j = 0; j < row->npoints; j++) {
        const struct hone_record *r = &row->point[j];
        json_array_append_new(points, json_pack("{s:I, s:f, s:f, s:f, s:s, s:s}", "workspace_bytes",
                                                (json_int_t)r->workspace_bytes, "ms", r->ms_median,
                                                "lo", r->ms_lo, "hi", r->ms_hi, "kernel", r->kernel,
                                                "config", r->config));
    }
    return json_pack("{s:s, s:i, s:o}", "problem", row->problem, "steps", row->steps, "front",
                     points);
}

static json_t *report_json(const struct report *t)
{
    json_t *rows = json_array(), *limits = json_array();
    for (int i = 0; i < t->nrows; i++) json_array_append_new(rows, row_json(&t->row[i]));
    for (int i = 0; i < t->nlimits; i++) {
        const struct limit *l = &t->limit[i];
        json_array_append_new(
            limits, json_pack("{s:I, s:I, s:o, s:i}", "workspace_bytes", (json_int_t)l->bytes,
                              "memory_bytes", (json_int_t)(t->fixed_bytes + l->bytes), "ms",
                              l->nwithout ? json_null() : json_real(l->ms), "steps_without",
                              l->nwithout));
    }
    return json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:i, s:i, s:o, s:o}", "hone",
                            "tradeoff", "version", 1, "net", t->net.name, "batch", t->net.batch,
                            "dtype", hone_net_dtype_name(&t->net), "device", t->device->id, "steps",
                            t->net.nsteps, "untuned", t->nuntuned, "problems", rows, "limits",
                            limits);
}

/* One net as itself, several in a list. */
static int write_json(const struct report *t, int n, FILE *f)
{
    json_t *list = n > 1 ? json_array() : NULL, *all;
    for (int i = 0; i < n && list; i++) json_array_append_new(list, report_json(&t[i]));
    all = n > 1 ? json_pack("{s:s, s:i, s:o}", "hone", "tradeoffs", "version", 1, "of", list)
                : report_json(t);
    int bad = !all || json_dumpf(all, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) ||
              putc('\n', f) == EOF;
    json_decref(all);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

/* ---- several, side by side ---- */

static void print_together(const struct report *t, int n, FILE *f)
{
    fprintf(f, "%s on %s (%s)\n\n%6s %5s %12s %12s %11s %12s %9s  %s\n", t->net.name,
            t->device->name, t->device->text, "batch", "dtype", "workspace", "memory", "steps' ms",
            "us a sample", "of best", "untuned");
    for (int i = 0; i < n; i++) {
        const struct limit *end = &t[i].limit[t[i].nlimits - 1];
        for (int k = 0; k < t[i].nlimits; k++) {
            const struct limit *l = &t[i].limit[k];
            char limit[16], memory[16];
            if (l->nwithout) continue;
            fprintf(f, "%6d %5s %12s %12s %11.4f %12.4f %8.2fx  %d of %d\n", t[i].net.batch,
                    hone_net_dtype_name(&t[i].net), hone_layers_bytes(l->bytes, limit),
                    hone_layers_bytes(t[i].fixed_bytes + l->bytes, memory), l->ms,
                    1e3 * l->ms / t[i].net.batch, l->ms / end->ms, t[i].nuntuned, t[i].net.nsteps);
        }
    }
    fputs("\nmemory: weights, gradients, optimizer, batch, activations as planned, and that "
          "workspace.\n", f);
}

struct curves {
    const struct report *of;
    int n;
};

/* Steps of a limit hold up to the next one. */
static const char *put_tradeoff(const void *of, FILE *data, FILE *script)
{
    const struct curves *c = of;
    char title[256];
    fputs("# memory in MiB, steps' us a sample; a block for each batch and number type\n", data);
    for (int i = 0; i < c->n; i++) {
        const struct report *t = &c->of[i];
        fprintf(data, "# batch %d, %s\n", t->net.batch, hone_net_dtype_name(&t->net));
        for (int k = 0; k < t->nlimits; k++)
            if (!t->limit[k].nwithout)
                fprintf(data, "%.6g %.6g\n",
                        (double)(t->fixed_bytes + t->limit[k].bytes) / 1048576,
                        1e3 * t->limit[k].ms / t->net.batch);
        fputs("\n\n", data);
    }
    snprintf(title, sizeof title, "Time against memory: %.120s", c->of->net.name);
    hone_output_title(script, title);
    fputs("set xlabel 'MiB'\nset ylabel 'us a sample, the sum of the steps'\nset yrange [0:*]\n"
          "set key outside right noenhanced\n", script);
    hone_output_gnuplot_begin(script, "tradeoff", 1000, 600);
    for (int i = 0; i < c->n; i++)
        fprintf(script,
                "%s'tradeoff.dat' index %d using 1:2 with steps lc %d title 'batch %d, %s', \\\n"
                "        '' index %d using 1:2 with points pt 7 lc %d notitle",
                i ? ", \\\n        " : "    plot ", i, i + 1, c->of[i].net.batch,
                hone_net_dtype_name(&c->of[i].net), i, i + 1);
    fputc('\n', script);
    hone_output_gnuplot_end(script);
    return NULL;
}

/* ---- the command ---- */

struct options {
    const char *device, *net, *db, *plot;
    struct hone_lowering how;
    int batch[MOST], nbatches, ndtypes;
    enum hone_dtype dtype[HONE_NDTYPES + 1];
    int json, csv;
};

enum { OPT_JSON = 256, OPT_CSV, OPT_DB, OPT_OPTIMIZER, OPT_DTYPE, OPT_PLOT, OPT_KEEP };

static const struct argp_option option[] = {
    { "net", 'n', "NET", 0, "a built-in net's name, or the path of a .net file", 0 },
    { "batch", 'b', "LIST", 0, "samples in a step (default 64)", 0 },
    { "optimizer", OPT_OPTIMIZER, "NAME", 0, "as for `hone autotune` (default sgd)", 0 },
    { "dtype", OPT_DTYPE, "LIST", 0,
      "numbers of the net: f32, tf32, f64, bf16, f16 (default f32)", 0 },
    { "keep", OPT_KEEP, 0, 0, "as for `hone train`: no output is computed again", 0 },
    { "device", 'd', "DEVICE", 0, "device whose records are read (default cpu0)", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "json", OPT_JSON, 0, 0, "print JSON", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV: a line for each point of a front, then each limit", 0 },
    { "plot", OPT_PLOT, "DIR", 0, "draw time against memory: tradeoff.png, .svg, script, data", 0 },
    { 0 },
};

static void add_batches(struct options *o, char *list, struct argp_state *state)
{
    char *one, *end;
    while ((one = strsep(&list, ","))) {
        long n = strtol(one, &end, 10);
        if (*end || end == one || n < 1 || n > 1 << 24)
            argp_error(state, "--batch: '%s' is not a positive number", one);
        if (o->nbatches == MOST / HONE_NDTYPES)
            argp_error(state, "--batch: more than %d", MOST / HONE_NDTYPES);
        o->batch[o->nbatches++] = (int)n;
    }
}

static void add_dtypes(struct options *o, char *list, struct argp_state *state)
{
    char *one;
    while ((one = strsep(&list, ","))) {
        if (o->ndtypes > HONE_NDTYPES || hone_net_dtype_find(one, &o->dtype[o->ndtypes]))
            argp_error(state, "--dtype: %s", hone_errmsg());
        o->ndtypes++;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_PLOT: o->plot = arg; break;
    case OPT_KEEP: o->how.keep = 1; break;
    case OPT_JSON: o->json = 1; break;
    case OPT_CSV: o->csv = 1; break;
    case OPT_DB: o->db = arg; break;
    case 'n': o->net = arg; break;
    case 'd': o->device = arg; break;
    case 'b':
        o->nbatches = 0;
        add_batches(o, arg, state);
        break;
    case OPT_OPTIMIZER:
        if (hone_optim_parse(arg, &o->how.optim))
            argp_error(state, "--optimizer: %s", hone_errmsg());
        break;
    case OPT_DTYPE:
        o->ndtypes = 0;
        add_dtypes(o, arg, state);
        break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); break;
    case ARGP_KEY_END:
        if (!o->net) argp_error(state, "--net is missing");
        if (o->json && o->csv)
            argp_error(state, "--json and --csv both go to standard output; give one");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Shows what workspace buys: for each problem of a net the kernels that no other beats in time "
    "and workspace, and for the net the sum of its steps' times under every limit on workspace."
    "\vFrom the records of tuning alone: nothing is measured.  A kernel is on a problem's front if "
    "it is faster, by more than 1 %, than all that need no more workspace.  Steps share one "
    "workspace, as large as the largest: a limit holds for each of them.  Times are of tuning, "
    "each problem by itself, and their sum is no measured step; `hone profile` measures one, within a "
    "limit on all memory with --memory.  Of "
    "several batches or number types the table has the nets' sums alone, by limit.\n\n"
    "Examples:\n"
    "  hone autotune --net lenet5 --batch 64\n"
    "  hone report tradeoff --net lenet5 --batch 64\n"
    "  hone report tradeoff --net lenet5 --batch 16,64 --dtype f32,bf16 --plot plots\n"
    "  hone report tradeoff --net lenet5 --batch 64 --csv > tradeoff.csv\n\n"
    "Exit status: 0 good, 1 no problem of a net is tuned, or no such net or database, 2 wrong "
    "usage.";

/* What the net needs whatever its kernels, as the reference's plan has it. */
static int plan_memory(struct report *t, const struct options *o)
{
    struct hone_lowering how = o->how;
    struct hone_net net = { 0 };
    struct hone_db none = { 0 };
    how.reference = 1;
    int err = hone_net_open(&net, o->net, &how);
    if (!err) err = hone_net_assemble(&net, &none, t->device, NULL);
    t->fixed_bytes = net.weights_bytes + net.gradients_bytes + net.state_bytes + net.data_bytes +
                     net.arena_bytes;
    hone_net_close(&net);
    return err;
}

static int open_report(struct report *t, const struct options *o, struct hone_db *db,
                       struct hone_device *d)
{
    t->db = db;
    t->device = d;
    int err = hone_net_open(&t->net, o->net, &o->how);
    if (!err) err = analyse(t);
    return err ? err : plan_memory(t, o);
}

static void close_report(struct report *t)
{
    for (int i = 0; i < t->nrows; i++) free(t->row[i].point);
    free(t->row);
    free(t->limit);
    hone_net_close(&t->net);
}

static int write_out(const struct report *t, int n, const struct options *o, const char *command)
{
    struct curves curves = { t, n };
    int err = HONE_OK;
    if (o->json) {
        err = write_json(t, n, stdout);
    } else if (o->csv) {
        fputs("what,problem,steps,workspace_bytes,ms,ms_lo,ms_hi,kernel,config,steps_without,batch,"
              "dtype,memory_bytes\n", stdout);
        for (int i = 0; i < n; i++) csv(&t[i], stdout);
    } else if (n > 1) {
        print_together(t, n, stdout);
    } else {
        print(t, stdout);
    }
    if (!err && o->plot) err = hone_output_directory(o->plot);
    if (!err && o->plot)
        err = hone_output_plot(o->plot, "tradeoff", command, put_tradeoff, &curves);
    return err;
}

int hone_report_tradeoff(int argc, char **argv)
{
    static const struct argp argp = { .options = option, .parser = parse, .doc = doc };
    static struct report t[MOST];
    struct hone_device d = { 0 };
    struct hone_db db = { 0 };
    struct options o = {
        .device = "cpu0", .batch = { 64 }, .nbatches = 1, .dtype = { HONE_F32 }, .ndtypes = 1,
        .how = { .train = 1, .optim = hone_optim_default(HONE_SGD), .db = &db, .device = &d },
    };
    int n = 0, failed = 0;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = hone_device_open(&d, o.device);
    if (!err) err = hone_db_open(&db, o.db, 0);
    for (int i = 0; !err && i < o.nbatches * o.ndtypes; i++) {
        o.how.batch = o.batch[i / o.ndtypes];
        o.how.dtype = o.dtype[i % o.ndtypes];
        if (!open_report(&t[n], &o, &db, &d)) {
            n++;
            continue;
        }
        close_report(&t[n]);
        memset(&t[n], 0, sizeof t[n]);
        fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
        failed = 1;
    }
    if (!err && n) err = write_out(t, n, &o, argv[0]);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    for (int i = 0; i < n; i++) close_report(&t[i]);
    hone_db_close(&db);
    hone_device_close(&d);
    return err || failed ? 1 : 0;
}
