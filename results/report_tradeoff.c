/* hone report tradeoff: time against workspace, from the records of tuning: of each problem of a
 * net the kernels that nothing beats in both, and of the net the steps' sum under every limit. */
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

/* Under a limit on each step's workspace; all steps share one buffer, which is as large as the
 * largest. */
struct limit {
    int64_t bytes;
    double ms;   /* of all steps that can run */
    int nwithout; /* steps that need more */
};

struct report {
    struct hone_net net;
    struct hone_device device;
    struct hone_db db;
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
        n = hone_db_best(&t->db, p, &t->device, all, room);
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
                        t->db.path[0] ? t->db.path : "no database", t->net.name, t->net.batch,
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
            t->net.batch, hone_dtype_name(t->net.dtype), t->device.name, t->device.text, "problem",
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

static void csv(const struct report *t, FILE *f)
{
    fputs("what,problem,steps,workspace_bytes,ms,ms_lo,ms_hi,kernel,config,steps_without\n", f);
    for (int i = 0; i < t->nrows; i++) {
        const struct row *row = &t->row[i];
        for (int j = 0; j < row->npoints; j++) {
            const struct hone_record *r = &row->point[j];
            fputs("problem,", f);
            hone_output_cell(f, row->problem);
            fprintf(f, ",%d,%lld,%.9g,%.9g,%.9g,%s,", row->steps, (long long)r->workspace_bytes,
                    r->ms_median, r->ms_lo, r->ms_hi, r->kernel);
            hone_output_cell(f, r->config);
            fputs(",\n", f);
        }
        if (row->npoints) continue;
        fputs("untuned,", f);
        hone_output_cell(f, row->problem);
        fprintf(f, ",%d,,,,,,,\n", row->steps);
    }
    for (int i = 0; i < t->nlimits; i++) {
        const struct limit *l = &t->limit[i];
        fprintf(f, "limit,,%d,%lld,", t->net.nsteps - t->nuntuned, (long long)l->bytes);
        if (!l->nwithout) fprintf(f, "%.9g", l->ms);
        fprintf(f, ",,,,,%d\n", l->nwithout);
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

static int write_json(const struct report *t, FILE *f)
{
    json_t *rows = json_array(), *limits = json_array();
    for (int i = 0; i < t->nrows; i++) json_array_append_new(rows, row_json(&t->row[i]));
    for (int i = 0; i < t->nlimits; i++) {
        const struct limit *l = &t->limit[i];
        json_array_append_new(
            limits, json_pack("{s:I, s:o, s:i}", "workspace_bytes", (json_int_t)l->bytes, "ms",
                              l->nwithout ? json_null() : json_real(l->ms), "steps_without",
                              l->nwithout));
    }
    json_t *all = json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:i, s:i, s:o, s:o}", "hone",
                            "tradeoff", "version", 1, "net", t->net.name, "batch", t->net.batch,
                            "dtype", hone_dtype_name(t->net.dtype), "device", t->device.id, "steps",
                            t->net.nsteps, "untuned", t->nuntuned, "problems", rows, "limits",
                            limits);
    int bad = !all || json_dumpf(all, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) ||
              putc('\n', f) == EOF;
    json_decref(all);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

/* ---- the command ---- */

struct options {
    const char *device, *net, *db;
    struct hone_lowering how;
    int json, csv;
};

enum { OPT_JSON = 256, OPT_CSV, OPT_DB, OPT_OPTIMIZER, OPT_DTYPE };

static const struct argp_option option[] = {
    { "net", 'n', "NET", 0, "a built-in net's name, or the path of a .net file", 0 },
    { "batch", 'b', "N", 0, "samples in a step (default 64)", 0 },
    { "optimizer", OPT_OPTIMIZER, "NAME", 0, "as for `hone autotune` (default sgd)", 0 },
    { "dtype", OPT_DTYPE, "TYPE", 0, "numbers of the net: f32, f64, bf16 (default f32)", 0 },
    { "device", 'd', "DEVICE", 0, "device whose records are read (default cpu0)", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "json", OPT_JSON, 0, 0, "print JSON", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV: a line for each point of a front, then each limit", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    char *end;
    long n;
    switch (key) {
    case OPT_JSON: o->json = 1; break;
    case OPT_CSV: o->csv = 1; break;
    case OPT_DB: o->db = arg; break;
    case 'n': o->net = arg; break;
    case 'd': o->device = arg; break;
    case 'b':
        n = strtol(arg, &end, 10);
        if (*end || end == arg || n < 1 || n > 1 << 24)
            argp_error(state, "--batch: '%s' is not a positive number", arg);
        o->how.batch = (int)n;
        break;
    case OPT_OPTIMIZER:
        if (hone_optim_parse(arg, &o->how.optim))
            argp_error(state, "--optimizer: %s", hone_errmsg());
        break;
    case OPT_DTYPE:
        if (hone_net_dtype_find(arg, &o->how.dtype))
            argp_error(state, "--dtype: %s", hone_errmsg());
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
    "each problem by itself, and their sum is no measured step; `hone profile` measures one.\n\n"
    "Examples:\n"
    "  hone autotune --net lenet5 --batch 64\n"
    "  hone report tradeoff --net lenet5 --batch 64\n"
    "  hone report tradeoff --net lenet5 --batch 64 --csv > tradeoff.csv\n\n"
    "Exit status: 0 good, 1 no problem of the net is tuned, or no such net or database, 2 wrong "
    "usage.";

int hone_report_tradeoff(int argc, char **argv)
{
    static const struct argp argp = { .options = option, .parser = parse, .doc = doc };
    struct report t = { 0 };
    struct options o = {
        .device = "cpu0",
        .how = { .batch = 64, .train = 1, .optim = hone_optim_default(HONE_SGD) },
    };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    o.how.db = &t.db;
    o.how.device = &t.device;
    int err = hone_device_open(&t.device, o.device);
    if (!err) err = hone_db_open(&t.db, o.db, 0);
    if (!err) err = hone_net_open(&t.net, o.net, &o.how);
    if (!err) err = analyse(&t);
    if (!err && o.json)
        err = write_json(&t, stdout);
    else if (!err && o.csv)
        csv(&t, stdout);
    else if (!err)
        print(&t, stdout);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    for (int i = 0; i < t.nrows; i++) free(t.row[i].point);
    free(t.row);
    free(t.limit);
    hone_net_close(&t.net);
    hone_db_close(&t.db);
    hone_device_close(&t.device);
    return err ? 1 : 0;
}
