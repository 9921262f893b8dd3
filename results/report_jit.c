/* hone report jit: what compiling at run time brought, from the records of tuning: per problem the
 * best precompiled kernel, jit kernel and library of one session, since only then their times may
 * be compared, and the runs after which the jit kernel has made up for its compiler. */
#include "results/layers.h"
#include "results/output.h"

#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AOT, JIT, LIB, NKINDS, LEAST_TIMES = 6 }; /* fewer give no interval of 95 % for a median */
static const char *const kind_name[NKINDS] = { "aot", "jit", "lib" };

enum word { PAYS, NEVER, UNCLEAR, NWORDS };
static const char *const word_name[NWORDS] = { "PAYS", "NEVER", "UNCLEAR" };

/* A problem on a device. */
struct row {
    char session[40];                  /* the latest with a jit kernel in it */
    struct hone_record *best[NKINDS];  /* NULL: none */
    double compile_ms, load_ms, first_ms, code_bytes;   /* of the jit kernel; NAN: not recorded */
    double runs, runs_lo, runs_hi;     /* INFINITY: never; NAN: not known */
    enum word word;
    int steps; /* of the net with this problem */
};

/* Of a net's training step: each part by the faster of aot and lib, or by jit where that is
 * faster. */
struct whole {
    char net[128];
    int batch, nsteps, nwith, nchosen; /* steps; with records of all it takes; by jit */
    double without_ms, with_ms, cost_ms, runs;
    struct hone_run run;    /* whose way to an accuracy is weighed; */
    struct hone_goal goal;  /* accuracy 0: none */
};

struct report {
    struct whole whole;
    json_t *row_of, *wrong; /* keys are texts of records */
    int nrows, room, nrecords, count[NWORDS];
    struct row *row;
    int err;
};

/* ---- reading ---- */

static int kind_of(const struct hone_record *r)
{
    for (int k = 0; k < NKINDS; k++)
        if (!strncmp(r->version, kind_name[k], 3) && r->version[3] == ' ') return k;
    return -1;
}

static void wrong_key(const struct hone_record *r, char key[5 * HONE_TEXT])
{
    snprintf(key, 5 * HONE_TEXT, "%s\n%s\n%s\n%s\n%s", r->device, r->problem, r->kernel,
             r->version, r->config);
}

/* What was once found wrong is never the best. */
static int see_wrong(void *ctx, const struct hone_record *r)
{
    struct report *t = ctx;
    char key[5 * HONE_TEXT];
    t->nrecords++;
    if (r->status != HONE_WRONG) return 0;
    wrong_key(r, key);
    json_object_set_new_nocheck(t->wrong, key, json_true());
    return 0;
}

static int usable(const struct report *t, const struct hone_record *r)
{
    char key[5 * HONE_TEXT];
    if ((r->status != HONE_TIMED && r->status != HONE_DROPPED) || r->n < 1 || kind_of(r) < 0)
        return 0;
    if (!json_object_size(t->wrong)) return 1;
    wrong_key(r, key);
    return !json_object_get(t->wrong, key);
}

static struct row *row_of(struct report *t, const struct hone_record *r, int make)
{
    char key[2 * HONE_TEXT];
    snprintf(key, sizeof key, "%s\n%s", r->device, r->problem);
    json_t *at = json_object_get(t->row_of, key);
    if (at) return &t->row[json_integer_value(at)];
    if (!make) return NULL;
    if (t->nrows == t->room) {
        struct row *more = realloc(t->row, (size_t)(t->room = 2 * t->room + 64) * sizeof *more);
        if (!more) return NULL;
        t->row = more;
    }
    json_object_set_new_nocheck(t->row_of, key, json_integer(t->nrows));
    t->row[t->nrows] = (struct row){ .compile_ms = NAN, .load_ms = NAN, .first_ms = NAN,
                                     .code_bytes = NAN, .runs = NAN, .runs_lo = NAN,
                                     .runs_hi = NAN, .word = UNCLEAR };
    return &t->row[t->nrows++];
}

static int out_of_memory(struct report *t)
{
    t->err = hone_fail(HONE_ENOMEM, "%d records", t->nrecords);
    return 1;
}

static int see_session(void *ctx, const struct hone_record *r)
{
    struct report *t = ctx;
    if (kind_of(r) != JIT || !usable(t, r)) return 0;
    struct row *row = row_of(t, r, 1);
    if (!row) return out_of_memory(t);
    snprintf(row->session, sizeof row->session, "%s", r->session);
    return 0;
}

/* What was dropped early counts where nothing of its build held out: it has a time, too. */
static int is_better(const struct hone_record *r, const struct hone_record *than)
{
    if (r->status != than->status) return r->status == HONE_TIMED;
    return r->ms_median < than->ms_median;
}

static int see_time(void *ctx, const struct hone_record *r)
{
    struct report *t = ctx;
    struct row *row = row_of(t, r, 0);
    if (!row || strcmp(row->session, r->session) || !usable(t, r)) return 0;
    struct hone_record **best = &row->best[kind_of(r)];
    if (*best && !is_better(r, *best)) return 0;
    if (!*best && !(*best = malloc(sizeof **best))) return out_of_memory(t);
    **best = *r;
    return 0;
}

/* ---- deriving ---- */

/* The interval of a difference from those of its sides: Zou and Donner 2008, Statistics in Medicine
 * 27, pp. 1693-1702. */
static void pay_back(struct row *row)
{
    const struct hone_record *j = row->best[JIT], *r = row->best[AOT], *l = row->best[LIB];
    if (!r || (l && l->ms_median < r->ms_median)) r = l;
    if (!r) return;
    double gain = r->ms_median - j->ms_median;
    double lo = gain - hypot(r->ms_median - r->ms_lo, j->ms_hi - j->ms_median);
    double hi = gain + hypot(r->ms_hi - r->ms_median, j->ms_median - j->ms_lo);
    double cost = row->compile_ms + row->load_ms + fmax(0, row->first_ms - j->ms_median);
    row->runs = gain > 0 ? ceil(cost / gain) : INFINITY; /* NAN where the cost is */
    if (r->n < LEAST_TIMES || j->n < LEAST_TIMES) return;
    row->runs_lo = hi > 0 ? ceil(cost / hi) : INFINITY;
    row->runs_hi = lo > 0 ? ceil(cost / lo) : INFINITY;
    row->word = hi <= 0 ? NEVER : lo > 0 && !isnan(cost) ? PAYS : UNCLEAR;
}

static int by_problem(const void *a, const void *b)
{
    const struct hone_record *x = ((const struct row *)a)->best[JIT],
                             *y = ((const struct row *)b)->best[JIT];
    int d = strcmp(x->device, y->device);
    return d ? d : strcmp(x->problem, y->problem);
}

static void derive(struct report *t)
{
    for (int i = 0; i < t->nrows; i++) {
        struct row *row = &t->row[i];
        double v[4];
        const char *cost = strstr(row->best[JIT]->why, "compile_ms=");
        if (cost && sscanf(cost, "compile_ms=%lf load_ms=%lf first_ms=%lf code_bytes=%lf",
                   &v[0], &v[1], &v[2], &v[3]) == 4) {
            row->compile_ms = v[0];
            row->load_ms = v[1];
            row->first_ms = v[2];
            row->code_bytes = v[3];
        }
        pay_back(row);
        t->count[row->word]++;
    }
    if (t->nrows) qsort(t->row, (size_t)t->nrows, sizeof *t->row, by_problem);
}

/* Keeps the rows of the net's problems. */
static int weigh_net(struct report *t, const struct hone_net *net)
{
    struct whole *w = &t->whole;
    char text[HONE_TEXT];
    int n = 0;
    snprintf(w->net, sizeof w->net, "%s", net->name);
    w->batch = net->batch;
    w->nsteps = net->nsteps;
    for (int i = 0; i < t->nrows; i++) {
        struct row row = t->row[i];
        const struct hone_record *jit = row.best[JIT], *rival = row.best[AOT];
        if (!rival || (row.best[LIB] && row.best[LIB]->ms_median < rival->ms_median))
            rival = row.best[LIB];
        for (int s = 0; s < net->nsteps; s++) {
            hone_problem_print(&net->step[s].problem, text);
            row.steps += !strcmp(text, jit->problem) && !strcmp(net->device->id, jit->device);
        }
        t->row[i] = t->row[n];
        t->row[n] = row;
        if (!row.steps) continue;
        n++;
        if (!rival) continue;
        int chosen = jit->ms_median < rival->ms_median && isfinite(row.compile_ms);
        w->nwith += row.steps;
        w->nchosen += chosen * row.steps;
        w->without_ms += row.steps * rival->ms_median;
        w->with_ms += row.steps * (chosen ? jit : rival)->ms_median;
        if (chosen)
            w->cost_ms += row.compile_ms + row.load_ms + fmax(0, row.first_ms - jit->ms_median);
    }
    for (int i = n; i < t->nrows; i++)
        for (int k = 0; k < NKINDS; k++) free(t->row[i].best[k]);
    t->nrows = n;
    memset(t->count, 0, sizeof t->count);
    for (int i = 0; i < n; i++) t->count[t->row[i].word]++;
    w->runs = w->nchosen ? ceil(w->cost_ms / (w->without_ms - w->with_ms)) : INFINITY;
    return n ? HONE_OK
             : hone_fail(HONE_EDB, "no problem of %s, batch %d, has a record of a jit kernel; "
                                   "`hone autotune --net %s --batch %d --build aot,jit,lib` makes some",
                         w->net, w->batch, w->net, w->batch);
}

static int read_records(struct report *t, struct hone_db *db, const char *problem)
{
    static int (*const pass[])(void *, const struct hone_record *) = { see_wrong, see_session,
                                                                       see_time };
    t->row_of = json_object();
    t->wrong = json_object();
    if (!t->row_of || !t->wrong) out_of_memory(t);
    for (size_t i = 0; i < sizeof pass / sizeof *pass && !t->err; i++) {
        int err = hone_db_each(db, NULL, problem, pass[i], t);
        if (err) return err;
    }
    if (t->err) return t->err;
    if (!t->nrows)
        return hone_fail(HONE_EDB, "%s: none of %d records%s%s is of a jit kernel; `hone autotune "
                                   "--build aot,jit,lib` makes some",
                         db->path[0] ? db->path : "no database", t->nrecords, problem ? " of " : "",
                         problem ? problem : "");
    derive(t);
    return HONE_OK;
}

static void close_report(struct report *t)
{
    for (int i = 0; i < t->nrows; i++)
        for (int k = 0; k < NKINDS; k++) free(t->row[i].best[k]);
    free(t->row);
    json_decref(t->row_of);
    json_decref(t->wrong);
}

/* ---- table ---- */

static void print_time(const struct hone_record *r, FILE *f)
{
    if (r)
        fprintf(f, " %9.4f [%.4f %.4f]", r->ms_median, r->ms_lo, r->ms_hi);
    else
        fprintf(f, " %9s %-15s", "-", "");
}

static void print_number(double v, int width, const char *fmt, FILE *f)
{
    char text[32] = "-";
    if (isfinite(v)) snprintf(text, sizeof text, fmt, v);
    if (isinf(v)) snprintf(text, sizeof text, "never");
    fprintf(f, " %*s", width, text);
}

static void print_row(const struct row *row, FILE *f)
{
    fprintf(f, "%-44s", row->best[JIT]->problem);
    for (int k = 0; k < NKINDS; k++) print_time(row->best[k], f);
    print_number(row->compile_ms, 10, "%.1f", f);
    print_number(row->load_ms, 8, "%.3f", f);
    print_number(row->first_ms, 9, "%.4f", f);
    print_number(row->code_bytes, 8, "%.0f", f);
    print_number(row->runs, 9, "%.0f", f);
    print_number(row->runs_lo, 9, "%.0f", f);
    print_number(row->runs_hi, 9, "%.0f", f);
    fprintf(f, " %-7s ", word_name[row->word]);
    for (int k = 0; k < NKINDS; k++)
        if (row->best[k])
            fprintf(f, " %s%s", row->best[k]->kernel,
                    row->best[k]->status == HONE_DROPPED ? "*" : "");
    putc('\n', f);
}

static double goal_steps(const struct whole *w) { return ceil(w->goal.rows / w->batch); }

static double seconds_without(const struct whole *w, double steps)
{
    return 1e-3 * steps * w->without_ms;
}

static double seconds_with(const struct whole *w, double steps)
{
    return 1e-3 * (w->cost_ms + steps * w->with_ms);
}

static void print_seconds(const struct whole *w, double steps, FILE *f)
{
    fprintf(f, "%14.0f %14.4g %14.4g\n", steps, seconds_without(w, steps), seconds_with(w, steps));
}

static void print_whole(const struct whole *w, FILE *f)
{
    static const double steps[] = { 1, 100, 10000, 1e6 };
    if (!w->net[0]) return;
    fprintf(f, "\n%s, batch %d: %d of %d steps have such records; their sum is %.4f ms precompiled "
               "or by libraries,\n%.4f ms with jit kernels in the %d where these are faster, for "
               "%.0f ms of compiling first: ", w->net, w->batch, w->nwith, w->nsteps, w->without_ms,
            w->with_ms, w->nchosen, w->cost_ms);
    if (isinf(w->runs))
        fputs("it never pays\n", f);
    else
        fprintf(f, "it pays after %.0f training steps\n", w->runs);
    fprintf(f, "\n%14s %14s %14s\n", "training steps", "without, s", "with, s");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        print_seconds(w, steps[i], f);
    if (w->goal.accuracy <= 0) return;
    fprintf(f, "\nTo a test accuracy of %.4g, which run %lld reached in %d epochs of %.0f rows:\n",
            w->goal.accuracy, (long long)w->run.id, w->goal.epochs, w->goal.rows / w->goal.epochs);
    print_seconds(w, goal_steps(w), f);
}

static void print(const struct report *t, FILE *f)
{
    const char *device = "";
    for (int i = 0; i < t->nrows; i++) {
        if (strcmp(device, t->row[i].best[JIT]->device)) {
            device = t->row[i].best[JIT]->device;
            fprintf(f, "%s%s\n%-44s %9s %-15s %9s %-15s %9s %-15s %10s %8s %9s %8s %9s %9s %9s\n",
                    i ? "\n" : "", device, "problem", "aot ms", "[95 %]", "jit ms", "[95 %]",
                    "lib ms", "[95 %]", "compile ms", "load ms", "first ms", "code B", "pays at",
                    "at least", "at most");
        }
        print_row(&t->row[i], f);
    }
    fprintf(f, "\n%d problems: jit PAYS in %d, NEVER in %d, UNCLEAR in %d\n", t->nrows,
            t->count[PAYS], t->count[NEVER], t->count[UNCLEAR]);
    print_whole(&t->whole, f);
}

/* ---- CSV and JSON ---- */

static void put_number(double v, FILE *f)
{
    if (isfinite(v))
        fprintf(f, ",%.9g", v);
    else
        fputs(isinf(v) ? ",never" : ",", f);
}

static void csv(const struct report *t, FILE *f)
{
    fputs("device,problem,session,aot_kernel,aot_status,aot_config,aot_ms,aot_lo,aot_hi,jit_kernel,"
          "jit_status,jit_config,jit_ms,jit_lo,jit_hi,lib_kernel,lib_status,lib_config,lib_ms,"
          "lib_lo,lib_hi,compile_ms,load_ms,first_ms,code_bytes,runs,runs_lo,runs_hi,word\n", f);
    for (int i = 0; i < t->nrows; i++) {
        const struct row *row = &t->row[i];
        hone_output_cell(f, row->best[JIT]->device);
        putc(',', f);
        hone_output_cell(f, row->best[JIT]->problem);
        fprintf(f, ",%s", row->session);
        for (int k = 0; k < NKINDS; k++) {
            const struct hone_record *r = row->best[k];
            fprintf(f, ",%s,%s,", r ? r->kernel : "", r ? hone_status_name(r->status) : "");
            hone_output_cell(f, r ? r->config : "");
            put_number(r ? r->ms_median : NAN, f);
            put_number(r ? r->ms_lo : NAN, f);
            put_number(r ? r->ms_hi : NAN, f);
        }
        const double v[] = { row->compile_ms, row->load_ms, row->first_ms, row->code_bytes,
                             row->runs,       row->runs_lo, row->runs_hi };
        for (size_t k = 0; k < sizeof v / sizeof *v; k++) put_number(v[k], f);
        fprintf(f, ",%s\n", word_name[row->word]);
    }
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : isinf(v) ? json_string("never") : json_null();
}

static json_t *best_json(const struct hone_record *r)
{
    if (!r) return json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f}", "kernel", r->kernel, "status",
                     hone_status_name(r->status), "config", r->config, "version", r->version, "n",
                     r->n, "ms_median", r->ms_median, "ms_lo", r->ms_lo, "ms_hi", r->ms_hi);
}

static json_t *row_json(const struct row *row)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
                     "device", row->best[JIT]->device, "problem", row->best[JIT]->problem,
                     "session", row->session, "aot", best_json(row->best[AOT]), "jit",
                     best_json(row->best[JIT]), "lib", best_json(row->best[LIB]), "compile_ms",
                     number(row->compile_ms), "load_ms", number(row->load_ms), "first_ms",
                     number(row->first_ms), "code_bytes", number(row->code_bytes), "runs",
                     number(row->runs), "runs_lo", number(row->runs_lo), "runs_hi",
                     number(row->runs_hi), "word", word_name[row->word]);
}

static int write_json(const struct report *t, FILE *f)
{
    json_t *rows = json_array();
    for (int i = 0; i < t->nrows; i++) json_array_append_new(rows, row_json(&t->row[i]));
    json_t *all = json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "hone", "jit", "version", 1, "pays",
                            t->count[PAYS], "never", t->count[NEVER], "unclear",
                            t->count[UNCLEAR], "problems", rows);
    const struct whole *w = &t->whole;
    if (w->net[0])
        json_object_set_new(all, "net", json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:o}",
                                                  "name", w->net, "batch", w->batch, "steps",
                                                  w->nsteps, "with_records", w->nwith, "by_jit",
                                                  w->nchosen, "without_ms", w->without_ms, "with_ms",
                                                  w->with_ms, "cost_ms", w->cost_ms, "runs",
                                                  number(w->runs)));
    if (w->goal.accuracy > 0)
        json_object_set_new(all, "to_accuracy",
                            json_pack("{s:f, s:I, s:i, s:f, s:f, s:f}", "accuracy", w->goal.accuracy,
                                      "run", (json_int_t)w->run.id, "epochs", w->goal.epochs,
                                      "steps", goal_steps(w), "without_s",
                                      seconds_without(w, goal_steps(w)), "with_s",
                                      seconds_with(w, goal_steps(w))));
    int bad = !all || json_dumpf(all, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) ||
              putc('\n', f) == EOF;
    json_decref(all);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

/* ---- the command ---- */

struct options {
    const char *db, *net, *run;
    int batch;
    double accuracy;
    struct hone_optim optim;
    char problem[HONE_TEXT];
    int json, csv;
};

enum { OPT_JSON = 256, OPT_CSV, OPT_DB, OPT_OPTIMIZER, OPT_ACCURACY, OPT_RUN };

static const struct argp_option option[] = {
    { "problem", 'p', "PROBLEM", 0, "only this one (default: all that a jit kernel was timed on)",
      0 },
    { "net", 'n', "NET", 0, "only the problems of this net's training step, and their sum", 0 },
    { "batch", 'b', "N", 0, "with --net: samples in a step (default 64)", 0 },
    { "optimizer", OPT_OPTIMIZER, "NAME", 0, "with --net, as for `hone autotune` (default sgd)", 0 },
    { "accuracy", OPT_ACCURACY, "A", 0, "with --net: the training time to this test accuracy, such "
      "as 0.9, compiling included", 0 },
    { "run", OPT_RUN, "RUN", 0, "with --accuracy: the training run, by number or session, that tells "
      "in how many steps (default the latest of the net and batch)", 0 },
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "json", OPT_JSON, 0, 0, "print JSON", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV: a line for each problem", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    struct hone_problem p;
    char *end;
    switch (key) {
    case 'n': o->net = arg; break;
    case 'b':
        o->batch = (int)strtol(arg, &end, 10);
        if (*end || end == arg || o->batch < 1 || o->batch > 1 << 24)
            argp_error(state, "--batch: '%s' is not a positive number", arg);
        break;
    case OPT_OPTIMIZER:
        if (hone_optim_parse(arg, &o->optim)) argp_error(state, "--optimizer: %s", hone_errmsg());
        break;
    case OPT_ACCURACY:
        o->accuracy = strtod(arg, &end);
        if (*end || end == arg || !(o->accuracy > 0 && o->accuracy <= 1))
            argp_error(state, "--accuracy: '%s' is not a share above 0, at most 1", arg);
        break;
    case OPT_RUN: o->run = arg; break;
    case OPT_JSON: o->json = 1; break;
    case OPT_CSV: o->csv = 1; break;
    case OPT_DB: o->db = arg; break;
    case 'p':
        if (hone_problem_parse(arg, &p)) argp_error(state, "--problem: %s", hone_errmsg());
        hone_problem_print(&p, o->problem);
        break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); break;
    case ARGP_KEY_END:
        if (o->json && o->csv)
            argp_error(state, "--json and --csv both go to standard output; give one");
        if (o->accuracy > 0 && !o->net) argp_error(state, "--accuracy: is for --net");
        if (o->run && o->accuracy <= 0) argp_error(state, "--run: is for --accuracy");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Shows what compiling at run time brought: per problem the best precompiled kernel (aot), the "
    "best jit kernel and the best library, what the jit kernel's code took, and the runs after "
    "which it has made up for that."
    "\vTimes are of the latest session of tuning in which a jit kernel was timed, so that they may "
    "be compared.  The jit kernel pays at R runs: compile + load + what the first call takes more "
    "than others, over its gain in each run against the faster of aot and lib.  The interval is "
    "made of both sides' 95 % intervals.\n\n"
    "  PAYS     at the latest after the number in `at most`\n"
    "  NEVER    it is slower\n"
    "  UNCLEAR  else, or there is no rival, or a side has fewer than 6 times\n\n"
    "* behind a kernel: none of its build held out in the race; this one was dropped as clearly "
    "slower.\n\n"
    "Examples:\n"
    "  hone autotune --problem gemm:f32:nn:m64n64k64 --build aot,jit,lib\n"
    "  hone report jit\n"
    "  hone report jit --problem gemm:f32:nn:m64n64k64 --json\n"
    "  hone report jit --net lenet5 --batch 64\n"
    "  hone report jit --net lenet5 --batch 64 --accuracy 0.8\n"
    "  hone report jit --csv > jit.csv\n\n"
    "Exit status: 0 good, 1 there is no record of a jit kernel, or no such database, 2 wrong "
    "usage.";

static int weigh(struct report *t, struct hone_db *db, const struct options *o)
{
    struct hone_device d = { 0 };
    struct hone_net net = { 0 };
    struct hone_lowering how = {
        .batch = o->batch, .train = 1, .optim = o->optim, .db = db, .device = &d
    };
    int err = hone_device_open(&d, "cpu0");
    if (!err) err = hone_net_open(&net, o->net, &how);
    net.device = &d;
    if (!err) err = weigh_net(t, &net);
    if (!err && o->accuracy > 0) {
        err = hone_run_find(db, o->run, t->whole.net, o->batch, &t->whole.run);
        if (!err) err = hone_run_goal(db, &t->whole.run, o->accuracy, &t->whole.goal);
    }
    net.device = NULL;
    hone_net_close(&net);
    hone_device_close(&d);
    return err;
}

int hone_report_jit(int argc, char **argv)
{
    static const struct argp argp = { .options = option, .parser = parse, .doc = doc };
    struct options o = { .batch = 64, .optim = hone_optim_default(HONE_SGD) };
    struct hone_db db = { 0 };
    struct report t = { 0 };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = hone_db_open(&db, o.db, 0);
    if (!err) err = read_records(&t, &db, o.problem[0] ? o.problem : NULL);
    if (!err && o.net) err = weigh(&t, &db, &o);
    if (!err && o.json)
        err = write_json(&t, stdout);
    else if (!err && o.csv)
        csv(&t, stdout);
    else if (!err)
        print(&t, stdout);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    close_report(&t);
    hone_db_close(&db);
    return err ? 1 : 0;
}
