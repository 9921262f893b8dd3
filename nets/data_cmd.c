/* `hone data`: which sets are known and where they lie; or one set, read, checked and summed up. */
#include "nets/data.h"

#include <argp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_ROWS = 40, MAX_WARNINGS = 16 };

struct options {
    const char *data, *target;
    int json;
};

/* ---- summary ---- */

struct summary {
    struct hone_data train, test;
    struct hone_range *range; /* (c) of the training rows, then (outputs) of the target */
    struct hone_equals equals;
    int64_t *count; /* (classes) training rows of each, then (classes) test rows */
    int nwarnings;
    char warning[MAX_WARNINGS][160];
};

static const char *class_name(const struct hone_data *d, int k, char text[HONE_NAME])
{
    if (d->class_name) return d->class_name[k];
    snprintf(text, HONE_NAME, "%d", k);
    return text;
}

/* "MedInc", "feature 3", or of pictures "channel 1". */
static const char *feature_name(const struct hone_data *d, int c, char text[HONE_NAME])
{
    if (d->feature) return d->feature[c];
    snprintf(text, HONE_NAME, "%s %d", d->h * d->w > 1 ? "channel" : "feature", c + 1);
    return text;
}

__attribute__((format(printf, 2, 3))) static void warn(struct summary *s, const char *fmt, ...)
{
    va_list ap;
    if (s->nwarnings == MAX_WARNINGS) return;
    va_start(ap, fmt);
    vsnprintf(s->warning[s->nwarnings], sizeof *s->warning, fmt, ap);
    va_end(ap);
    /* The last line stands for all that there is no room for. */
    if (++s->nwarnings == MAX_WARNINGS)
        snprintf(s->warning[MAX_WARNINGS - 1], sizeof *s->warning, "and more");
}

static void warn_of_classes(struct summary *s)
{
    const struct hone_data *d = &s->train;
    char name[HONE_NAME];
    int least = -1, most = -1, sorted = 1;
    for (int k = 0; k < d->classes; k++) {
        if (!s->count[k]) {
            warn(s, "class %s has no training rows", class_name(d, k, name));
            continue;
        }
        if (least < 0 || s->count[k] < s->count[least]) least = k;
        if (most < 0 || s->count[k] > s->count[most]) most = k;
    }
    char other[HONE_NAME];
    if (least >= 0 && s->count[most] >= 3 * s->count[least])
        warn(s, "classes are unbalanced: %s has %lld rows, %s has %lld", class_name(d, most, name),
             (long long)s->count[most], class_name(d, least, other), (long long)s->count[least]);
    if (d->rows > 20 && d->classes > d->rows / 2)
        warn(s, "%d classes for %lld rows: is the target a name or a number?", d->classes,
             (long long)d->rows);
    for (int64_t i = 1; i < d->rows; i++) sorted &= d->label[i] >= d->label[i - 1];
    if (sorted && d->rows > d->classes)
        warn(s, "rows are sorted by class: --limit alone takes the first classes, --split shuffles "
                "before");
}

static int sum_up(struct summary *s)
{
    const struct hone_data *d = &s->train;
    char name[HONE_NAME];
    s->range = calloc((size_t)d->c + (size_t)d->outputs, sizeof *s->range);
    s->count = calloc(d->classes ? 2 * (size_t)d->classes : 1, sizeof *s->count);
    if (!s->range || !s->count)
        return hone_fail(HONE_ENOMEM, "%s: no memory for a summary", d->source);
    for (int c = 0; c < d->c; c++) s->range[c] = hone_data_range(d, c);
    for (int o = 0; o < d->outputs; o++)
        s->range[d->c + o] = hone_range_of(d->y, d->rows, d->outputs, o);
    for (int64_t i = 0; d->classes && i < d->rows; i++) s->count[d->label[i]]++;
    for (int64_t i = 0; d->classes && i < s->test.rows; i++)
        s->count[d->classes + s->test.label[i]]++;
    if (d->classes) warn_of_classes(s);
    int err = hone_data_equals(d, &s->test, &s->equals);
    if (err) return err;
    if (s->equals.test)
        warn(s, "%lld test rows are training rows, too: tests flatter", (long long)s->equals.test);
    if (s->equals.contrary)
        warn(s, "%lld rows equal one of another class", (long long)s->equals.contrary);
    for (int c = 0; c < d->c; c++)
        if (s->range[c].std == 0)
            warn(s, "%s is constant (%g): it teaches nothing", feature_name(d, c, name),
                 s->range[c].mean);
    for (int o = 0; o < d->outputs; o++)
        if (s->range[d->c + o].std == 0)
            warn(s, "the target is constant (%g)", s->range[d->c + o].mean);
    return HONE_OK;
}

/* ---- printing ---- */

static void print_range(const char *name, const struct hone_range *r)
{
    printf("  %-20s %12.6g %12.6g %12.6g %12.6g\n", name, r->min, r->mean, r->max, r->std);
}

static void print_classes(const struct summary *s)
{
    const struct hone_data *d = &s->train;
    char name[HONE_NAME];
    printf("\n  %-20s %12s %12s\n", "class", "train", "test");
    for (int k = 0; k < d->classes && k < TABLE_ROWS; k++)
        printf("  %-20s %12lld %12lld\n", class_name(d, k, name), (long long)s->count[k],
               (long long)s->count[d->classes + k]);
    if (d->classes > TABLE_ROWS)
        printf("  ... and %d more (--json has all)\n", d->classes - TABLE_ROWS);
}

/* Of all rows' inputs in memory. */
static int64_t bytes_of(const struct summary *s)
{
    const struct hone_data *d = &s->train;
    int64_t n = (d->rows + s->test.rows) * d->h * d->w * d->c;
    return d->bytes ? n : n * (int64_t)sizeof *d->x;
}

static void print(const struct summary *s)
{
    const struct hone_data *d = &s->train;
    char name[HONE_NAME];
    printf("%s\n  source   %s\n  rows     %lld train, %lld test\n", d->name, d->source,
           (long long)d->rows, (long long)s->test.rows);
    if (d->h * d->w > 1)
        printf("  shape    %d x %d x %d (h w c)\n", d->h, d->w, d->c);
    else
        printf("  shape    %d features\n", d->c);
    if (d->classes)
        printf("  target   %d classes\n", d->classes);
    else
        printf("  target   %d value%s (regression)\n", d->outputs, d->outputs > 1 ? "s" : "");
    printf("  memory   %.1f MB, as %s\n", (double)bytes_of(s) / 1e6,
           d->bytes ? "bytes" : "32-bit floats");
    printf("  equal    %lld training rows repeat another, %lld test rows are training rows\n",
           (long long)s->equals.train, (long long)s->equals.test);
    printf("\n  %-20s %12s %12s %12s %12s\n", "of training rows", "min", "mean", "max", "std");
    for (int c = 0; c < d->c && c < TABLE_ROWS; c++)
        print_range(feature_name(d, c, name), &s->range[c]);
    if (d->c > TABLE_ROWS) printf("  ... and %d more (--json has all)\n", d->c - TABLE_ROWS);
    for (int o = 0; o < d->outputs; o++) print_range("target", &s->range[d->c + o]);
    if (d->classes) print_classes(s);
    for (int i = 0; i < s->nwarnings; i++) printf("%swarning: %s\n", i ? "" : "\n", s->warning[i]);
}

static json_t *json_range(const char *name, const struct hone_range *r)
{
    return json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", name, "min", r->min, "mean", r->mean,
                     "max", r->max, "std", r->std);
}

/* Texts of data files need not be UTF-8; those that are not are shown by their number. */
static const char *utf8(const char *text, char number[HONE_NAME], int i)
{
    json_t *j = json_string(text);
    if (!j) snprintf(number, HONE_NAME, "#%d", i + 1);
    json_decref(j);
    return j ? text : number;
}

static int dump(json_t *root)
{
    int err = !root || json_dumpf(root, stdout, JSON_INDENT(2))
                  ? hone_fail(HONE_ENOMEM, "cannot write JSON")
                  : HONE_OK;
    json_decref(root);
    if (!err) putchar('\n');
    return err;
}

static int print_json(const struct summary *s)
{
    const struct hone_data *d = &s->train;
    char name[HONE_NAME], number[HONE_NAME];
    json_t *features = json_array(), *targets = json_array(), *classes = json_array(),
           *warnings = json_array();
    for (int c = 0; c < d->c; c++)
        json_array_append_new(features,
                              json_range(utf8(feature_name(d, c, name), number, c), &s->range[c]));
    for (int o = 0; o < d->outputs; o++)
        json_array_append_new(targets, json_range("target", &s->range[d->c + o]));
    for (int k = 0; k < d->classes; k++)
        json_array_append_new(classes, json_pack("{s:s, s:I, s:I}", "name",
                                                 utf8(class_name(d, k, name), number, k), "train",
                                                 (json_int_t)s->count[k], "test",
                                                 (json_int_t)s->count[d->classes + k]));
    for (int i = 0; i < s->nwarnings; i++)
        json_array_append_new(warnings, json_string_nocheck(utf8(s->warning[i], number, i)));
    return dump(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:[i,i,i], s:o, s:o, s:o, s:o}",
                          "name", utf8(d->name, number, 0), "source", utf8(d->source, number, 0),
                          "train_rows", (json_int_t)d->rows, "test_rows", (json_int_t)s->test.rows,
                          "memory_bytes", (json_int_t)bytes_of(s), "repeated_train_rows",
                          (json_int_t)s->equals.train, "test_rows_in_train",
                          (json_int_t)s->equals.test, "contrary_rows",
                          (json_int_t)s->equals.contrary, "shape", d->h, d->w, d->c, "features",
                          features, "targets", targets, "classes", classes, "warnings", warnings));
}

/* ---- the command ---- */

static int show(const struct options *o)
{
    struct summary s = { 0 };
    int err = hone_data_open(&s.train, &s.test, o->data, o->target);
    if (!err) err = sum_up(&s);
    if (!err && o->json)
        err = print_json(&s);
    else if (!err)
        print(&s);
    free(s.range);
    free(s.count);
    hone_data_close(&s.train);
    hone_data_close(&s.test);
    return err;
}

static int list(const struct options *o)
{
    char dir[512];
    json_t *root = o->json ? json_array() : NULL;
    for (const struct hone_known *k = hone_known_sets; k->name; k++) {
        int found = !hone_known_find(k, dir);
        if (root)
            json_array_append_new(root, json_pack("{s:s, s:s, s:s?, s:s?}", "name", k->name,
                                                  "about", k->about, "found", found ? dir : NULL,
                                                  "why", found ? NULL : hone_errmsg()));
        else
            printf("%-14s %s\n%-14s %s%s\n", k->name, k->about, "",
                   found ? "found in " : "absent: ", found ? dir : hone_errmsg());
    }
    if (root) return dump(root);
    printf("%-14s %s\n",
           "synthetic:", "synthetic:HxWxC:CLASSES:ROWS[:SEED], made data; CLASSES 0: regression");
    return HONE_OK;
}

static const struct argp_option argp_options[] = {
    { "target", 't', "COL", 0,
      "the target column of a CSV file: its name or number, from 1; class:COL where numbers name "
      "classes (default: the one column that is not numeric, else the last); of CIFAR-100: fine "
      "(default) or coarse",
      0 },
    { "json", 'j', NULL, 0, "print JSON", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 't': o->target = arg; return 0;
    case 'j': o->json = 1; return 0;
    case ARGP_KEY_ARG:
        if (o->data) argp_error(state, "one data set at a time, please: '%s'", arg);
        o->data = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->target && !o->data) argp_error(state, "--target needs data");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Lists the known data sets and where they were found; or reads, checks and sums up one."
    "\v"
    "DATA is a known name, a directory (of IDX files, of CIFAR's binary files, or of a folder of "
    "PNG "
    "images for each class), a CSV file, or made data, synthetic:HxWxC:CLASSES:ROWS.  Files may be "
    "plain, gzip or xz.  Known sets are searched for in $HONE_DATA, the user's data directory, "
    "/usr/share/datasets and ../shared/data.\n\n"
    "Examples:\n"
    "  hone data                                  which sets are here\n"
    "  hone data fashion-mnist                    check one\n"
    "  hone data ./digits                         a directory of IDX files\n"
    "  hone data wine.csv --target class:quality  numbers that name classes\n"
    "  hone data cifar100 --target coarse         its 20 groups\n"
    "  hone data housing --json\n\n"
    "Exit status: 0 good, 1 bad or missing data, 2 wrong usage.";

int hone_cmd_data(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, "[DATA]", about, NULL, NULL, NULL };
    struct options o = { 0 };
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = o.data ? show(&o) : list(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
