/* hone db: what the database holds, and its way in and out as text. */
#include "autotune/db.h"
#include "autotune/race.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- ls ---- */

static void print_best(const char *problem, int nrecords, const char *latest,
                       const struct hone_podium *pd)
{
    const struct hone_record *b = &pd->best;
    if (b->kernel[0]) printf("%-52s %10.4g ms  %s %s", problem, b->ms_median, b->kernel, b->config);
    else printf("%-52s %10s     nothing of this program's versions", problem, "-");
    printf("  (%d records, %s)\n", nrecords, latest);
}

static int ls(struct hone_db *db, const struct hone_db_options *o)
{
    struct hone_device d = { 0 };
    sqlite3_stmt *st;
    char last[192] = "";
    int err = o->device ? hone_device_open(&d, o->device) : HONE_OK, rc;
    json_t *rows = json_array();
    if (!err && db->sql) {
        rc = sqlite3_prepare_v2(
            db->sql,
            "SELECT d.name, p.text, count(*), max(r.at) FROM records r"
            " JOIN devices d ON d.id = r.device JOIN problems p ON p.id = r.problem"
            " GROUP BY d.name, p.text ORDER BY d.name, p.text",
            -1, &st, NULL);
        while (!rc && sqlite3_step(st) == SQLITE_ROW) {
            struct hone_device on = { 0 };
            struct hone_podium pd = { 0 };
            struct hone_problem p;
            char text[HONE_TEXT], latest[32];
            hone_db_text(st, 0, on.id, sizeof on.id);
            hone_db_text(st, 1, text, sizeof text);
            hone_db_text(st, 3, latest, sizeof latest);
            if (o->device && strcmp(on.id, d.id)) continue;
            /* A problem of an op that this program lacks is listed all the same. */
            if (!hone_problem_parse(text, &p) && (err = hone_db_podium(db, &p, &on, &pd))) break;
            if (o->json) {
                json_array_append_new(
                    rows, json_pack("{ss ss si ss so}", "device", on.id, "problem", text, "records",
                                    sqlite3_column_int(st, 2), "latest", latest, "best",
                                    pd.best.kernel[0] ? hone_record_json(&pd.best) : json_null()));
                continue;
            }
            if (strcmp(last, on.id)) printf("%s\n", on.id);
            memcpy(last, on.id, sizeof last);
            print_best(text, sqlite3_column_int(st, 2), latest, &pd);
        }
        if (!err && !rc) rc = sqlite3_reset(st);
        if (!err && rc) err = hone_db_fail(db, rc);
        sqlite3_finalize(st);
    }
    if (!err && o->json) {
        json_dumpf(rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(rows);
    hone_device_close(&d);
    return err;
}

/* ---- runs ---- */

struct runs {
    struct hone_db *db;
    const char *only;      /* a run's number or session; NULL: all, without epochs */
    json_t *rows, *epochs;
    int found;
};

static int show_epoch(void *ctx, const struct hone_epoch *e)
{
    struct runs *s = ctx;
    if (s->epochs) return json_array_append_new(s->epochs, hone_epoch_json(e));
    printf("  epoch %3d  %8.2f s  %9.1f /s  train loss %.5g", e->epoch, e->seconds, e->images_per_s,
           e->train_loss);
    if (!isnan(e->train_accuracy)) printf(" accuracy %.4f", e->train_accuracy);
    if (!isnan(e->test_loss)) printf("  test loss %.5g", e->test_loss);
    if (!isnan(e->test_accuracy)) printf(" accuracy %.4f", e->test_accuracy);
    if (!isnan(e->test_mae)) printf(" MAE %.5g", e->test_mae);
    printf("\n");
    return 0;
}

static int show_run(void *ctx, const struct hone_run *r)
{
    struct runs *s = ctx;
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)r->id);
    if (s->only && strcmp(s->only, number) && strcmp(s->only, r->session)) return 0;
    s->found++;
    if (s->rows) {
        json_t *j = hone_run_json(r);
        json_array_append_new(s->rows, j);
        json_object_set_new(j, "epochs_done", s->epochs = json_array());
    } else {
        printf("%4s  %s  %-16s %s  batch %d, %s, lr %g, seed %llu, %d epochs, %lld parameters\n",
               number, r->when, r->net, r->data, r->batch, r->optimizer, r->lr,
               (unsigned long long)r->seed, r->epochs, (long long)r->parameters);
        if (!s->only) return 0;
        printf("  %s\n  on %s\n", r->command, r->device);
    }
    return hone_db_each_epoch(s->db, r, show_epoch, s);
}

static int runs(struct hone_db *db, const struct hone_db_options *o, const char *only)
{
    struct runs s = { .db = db, .only = only, .rows = o->json ? json_array() : NULL };
    int err = hone_db_each_run(db, show_run, &s);
    if (!err && only && !s.found) err = hone_fail(HONE_EDB, "%s: no run '%s'", db->path, only);
    if (!err && s.rows) {
        json_dumpf(s.rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(s.rows);
    return err;
}

/* ---- export and import ---- */

/* To a file by way of a temporary one: a full disk leaves the old file as it was. */
static int export_as(struct hone_db *db, const struct hone_db_options *o, FILE *f)
{
    return o->format == HONE_JSONL ? hone_db_export(db, f) : hone_db_export_foreign(db, o, f);
}

static int export_to(struct hone_db *db, const struct hone_db_options *o, const char *file)
{
    char temporary[1024];
    if (!strcmp(file, "-")) return export_as(db, o, stdout);
    snprintf(temporary, sizeof temporary, "%s.%ld.tmp", file, (long)getpid());
    FILE *f = fopen(temporary, "w");
    if (!f) return hone_fail(HONE_EIO, "%s: cannot write: %s", file, strerror(errno));
    int err = export_as(db, o, f);
    if (fclose(f) && !err) err = hone_fail(HONE_EIO, "%s: cannot write: %s", file, strerror(errno));
    if (!err && rename(temporary, file))
        err = hone_fail(HONE_EIO, "%s: cannot write: %s", file, strerror(errno));
    if (err) remove(temporary);
    return err;
}

static int import_from(struct hone_db *db, const char *file, int *nbad)
{
    struct hone_import n;
    int standard = !strcmp(file, "-");
    FILE *f = standard ? stdin : fopen(file, "r");
    if (!f) return hone_fail(HONE_EIO, "%s: cannot read: %s", file, strerror(errno));
    int err = hone_db_import(db, standard ? "stdin" : file, f, stderr, &n);
    if (!standard) fclose(f);
    if (err) return err;
    printf("%s: %d added, %d known already, %d bad\n", file, n.nadded, n.nknown, n.nbad);
    *nbad += n.nbad;
    return HONE_OK;
}

static int merge_from(struct hone_db *db, const char *file, int *nbad)
{
    struct hone_import n;
    int err = hone_db_merge(db, file, stderr, &n);
    if (err) return err;
    printf("%s: %d added, %d known already, %d bad\n", file, n.nadded, n.nknown, n.nbad);
    *nbad += n.nbad;
    return HONE_OK;
}

/* ---- the command ---- */

enum { OPT_DB = 256, OPT_JSON, OPT_DRY_RUN, OPT_ALL, OPT_FORMAT, OPT_PROBLEM, OPT_KERNEL, MAX_WORDS = 64 };

struct command {
    struct hone_db_options o;
    int nwords;
    const char *word[MAX_WORDS];
};

static const struct argp_option option[] = {
    { "db", OPT_DB, "FILE", 0, "database (default $HONE_DB, else the user's)", 0 },
    { "device", 'd', "DEVICE", 0,
      "only this device's records (ls, show: default all; why: default cpu0)", 0 },
    { "json", OPT_JSON, NULL, 0, "print JSON (ls, show, why, runs)", 0 },
    { "all", OPT_ALL, NULL, 0, "why: every candidate, not only the best of each kernel", 0 },
    { "format", OPT_FORMAT, "FORMAT", 0,
      "export: jsonl, t4 (Kernel Tuner's results) or cache (Kernel Tuner's cache file) "
      "(default jsonl)", 0 },
    { "problem", OPT_PROBLEM, "PROBLEM", 0, "export as t4 or cache: only this problem", 0 },
    { "kernel", OPT_KERNEL, "KERNEL", 0, "export as t4 or cache: only this kernel", 0 },
    { "dry-run", OPT_DRY_RUN, NULL, 0, "gc: say what would go, and keep it", 0 },
    { 0 },
};

/* What each word takes: at least and at most how many arguments, and whether it writes. */
static const struct {
    const char *name;
    int least, most, writes;
} words[] = {
    { "ls", 0, 0, 0 },
    { "show", 1, 1, 0 },
    { "why", 1, 1, 0 },
    { "runs", 0, 1, 0 },
    { "export", 0, 1, 0 },
    { "import", 1, MAX_WORDS, 1 },
    { "merge", 1, MAX_WORDS, 1 },
    { "audit", 0, 0, 0 },
    { "gc", 0, 0, 1 },
};
enum { LS, SHOW, WHY, RUNS, EXPORT, IMPORT, MERGE, AUDIT, GC, NWORDS };

#define WORDS "ls, show, why, runs, export, import, merge, audit or gc"

static int word_of(const struct command *c)
{
    int w = 0;
    while (w < NWORDS && (!c->nwords || strcmp(words[w].name, c->word[0]))) w++;
    return w;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct command *c = state->input;
    int w;
    switch (key) {
    case OPT_DB: c->o.db = arg; break;
    case OPT_JSON: c->o.json = 1; break;
    case OPT_ALL: c->o.all = 1; break;
    case OPT_DRY_RUN: c->o.dry_run = 1; break;
    case OPT_PROBLEM: c->o.problem = arg; break;
    case OPT_KERNEL: c->o.kernel = arg; break;
    case OPT_FORMAT:
        if (hone_db_format_parse(arg, &c->o.format)) argp_error(state, "%s", hone_errmsg());
        break;
    case 'd': c->o.device = arg; break;
    case ARGP_KEY_ARG:
        if (c->nwords == MAX_WORDS) argp_error(state, "too many arguments");
        c->word[c->nwords++] = arg;
        break;
    case ARGP_KEY_END:
        if (!c->nwords) argp_error(state, "what? " WORDS);
        w = word_of(c);
        if (w == NWORDS)
            argp_error(state, "'%s': expected " WORDS, c->word[0]);
        if (c->nwords - 1 < words[w].least)
            argp_error(state, "%s: %s is missing", c->word[0],
                       w == IMPORT || w == MERGE ? "a file" : "a problem");
        if (c->nwords - 1 > words[w].most)
            argp_error(state, "%s: unexpected argument '%s'", c->word[0],
                       c->word[1 + words[w].most]);
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char args_doc[] =
    "ls\nshow PROBLEM\nwhy PROBLEM\nruns [RUN]\nexport [FILE]\nimport FILE...\nmerge FILE...\naudit\ngc";

static const char doc[] =
    "Looks into the database of measurements, and writes and reads it as text (JSON Lines)."
    "\v  ls       problems with their best kernels\n"
    "  show     all records of a problem\n"
    "  why      why the winner won: every kernel's times, faults and refusals\n"
    "  runs     training runs; of one run every epoch\n"
    "  export   everything, one JSON object a line, to FILE or standard output; or the records as "
    "Kernel Tuner writes them\n"
    "  import   adds what export wrote and is not known yet; - reads standard input.  Kernel Tuner's "
    "results (T4) and cache files are told by what is in them; another program's records are kept "
    "as foreign and never used\n"
    "  merge    adds other databases, whole; in any order the same comes out\n"
    "  audit    looks for damage and contradictions, and counts what is foreign, older or unknown: "
    "kept, and never used\n"
    "  gc       drops the records that no build of this program's sources can use: damaged ones, and "
    "of kernels whose source has changed since\n\n"
    "Examples:\n"
    "  hone db ls --device cpu0\n"
    "  hone db why gemm:f32:nn:m64n128k8 --all\n"
    "  hone db export mine.jsonl && hone db --db all.db import mine.jsonl theirs.jsonl\n"
    "  hone db merge theirs.db\n"
    "  hone db export --format t4 results.json\n"
    "  hone db export --format cache --problem relu:f32:any:n4096 --kernel cpu_vector_avx2 cache.json\n"
    "  hone db gc --dry-run\n\n"
    "Exit status: 0 good, 1 something failed or a line was bad, 2 wrong usage.";

static int run(const struct command *c, struct hone_db *db, int *nbad)
{
    const struct hone_db_options *o = &c->o;
    const char *arg = c->nwords > 1 ? c->word[1] : NULL;
    int err = HONE_OK;
    switch (word_of(c)) {
    case LS: err = ls(db, o); break;
    case SHOW: err = hone_db_show(db, o, arg); break;
    case WHY: err = hone_db_why(db, o, arg); break;
    case RUNS: err = runs(db, o, arg); break;
    case EXPORT: err = export_to(db, o, arg ? arg : "-"); break;
    case IMPORT:
        for (int i = 1; !err && i < c->nwords; i++) err = import_from(db, c->word[i], nbad);
        break;
    case MERGE:
        for (int i = 1; !err && i < c->nwords; i++) err = merge_from(db, c->word[i], nbad);
        break;
    case AUDIT: err = hone_db_audit(db); break;
    case GC: err = hone_db_gc(db, o->dry_run); break;
    }
    return err;
}

int hone_cmd_db(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option, .parser = parse, .args_doc = args_doc, .doc = doc
    };
    struct command c = { 0 };
    struct hone_db db = { 0 };
    int nbad = 0;
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &c)) return 2;
    signal(SIGXFSZ, SIG_IGN);   /* a file-size limit then is an error like a full disk */
    int err = hone_db_open(&db, c.o.db, words[word_of(&c)].writes);
    if (!err && !db.sql) fprintf(stderr, "hone db: %s: no database there yet\n", db.path);
    if (!err) err = run(&c, &db, &nbad);
    if (err) fprintf(stderr, "hone db: %s\n", hone_errmsg());
    hone_db_close(&db);
    return err || nbad ? 1 : 0;
}
