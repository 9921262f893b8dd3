/* A sweep as a table for people, as CSV files and as JSON for programs. */
#include "results/output.h"
#include "results/sweep.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 64 };

static const char *value_of(const struct hone_sweep_point *p, const char *name)
{
    char key[HONE_TEXT];
    snprintf(key, sizeof key, "--%s", name);
    const char *text = json_string_value(json_object_get(p->options, key));
    return text ? text : "";
}

void hone_sweep_label(const struct hone_sweep_report *r, const struct hone_sweep_point *p,
                      char *text, size_t size)
{
    size_t len = 0;
    text[0] = 0;
    for (int i = 0; i < r->space->n && len < size; i++) {
        const struct hone_sweep_option *o = &r->space->option[i];
        if (!hone_sweep_varies(o)) continue;
        int n = snprintf(text + len, size - len, "%s%s=%s", len ? " " : "", o->name,
                         value_of(p, o->name));
        len += n > 0 ? (size_t)n : 0;
    }
    if (!len) snprintf(text, size, "the run");
}

/* ---- cells ---- */

static void cell(char text[CELL], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void cell(char text[CELL], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, CELL, fmt, ap);
    va_end(ap);
}

static void real(char text[CELL], double v, int digits)
{
    if (isnan(v))
        cell(text, "-");
    else
        cell(text, "%.*f", digits, v);
}

static void rank(const struct hone_sweep_row *r, int i, char text[CELL])
{
    if (r->failed)
        cell(text, "-");
    else
        cell(text, "%d", i + 1);
}

static void epochs(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    cell(text, "%d", r->nepochs);
}

static void seconds(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    const struct hone_stats *s = &r->seconds;
    if (isnan(s->median))
        cell(text, "-");
    else if (s->n > 1)
        cell(text, "%.4g [%.4g %.4g]", s->median, s->lo, s->hi);
    else
        cell(text, "%.4g%s", s->median, r->nepochs == 1 ? "*" : "");
}

static void first(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    if (isnan(r->first_seconds))
        cell(text, "-");
    else
        cell(text, "%.4g", r->first_seconds);
}

static void speed(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    real(text, r->rows_per_s, 0);
}

static void train_loss(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    real(text, r->train_loss, 4);
}

static void train_score(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    real(text, r->train_score, 4);
}

static void test_loss(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    real(text, r->test_loss, 4);
}

static void test_score(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    if (r->near_chance)
        cell(text, "chance");
    else
        real(text, r->test_score, 4);
}

static void best(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    if (r->near_chance || isnan(r->best))
        cell(text, "-");
    else
        cell(text, "%d: %.4f", r->best_epoch, r->best);
}

static void tuned(const struct hone_sweep_row *r, int i, char text[CELL])
{
    (void)i;
    if (r->steps)
        cell(text, "%d/%d", r->steps_tuned, r->steps);
    else
        cell(text, "-");
}

struct column {
    const char *title, *number_title; /* of classes, of numbers */
    void (*fill)(const struct hone_sweep_row *r, int i, char text[CELL]);
    int of_search;
};

static const struct column columns[] = {
    { "rank", "rank", rank, 1 },
    { "epochs", "epochs", epochs, 0 },
    { "s/epoch", "s/epoch", seconds, 0 },
    { "first s", "first s", first, 0 },
    { "images/s", "rows/s", speed, 0 },
    { "train loss", "train loss", train_loss, 0 },
    { "train acc", "train mae", train_score, 0 },
    { "test loss", "test loss", test_loss, 0 },
    { "test acc", "test mae", test_score, 0 },
    { "best epoch", "best (mse)", best, 0 },
    { "tuned", "tuned", tuned, 0 },
};
enum { NCOLUMNS = sizeof columns / sizeof *columns };

/* ---- the table ---- */

static int are_classes(const struct hone_sweep_row *row, int n)
{
    for (int i = 0; i < n; i++)
        if (row[i].nepochs) return row[i].is_classes;
    return 1;
}

static int option_width(const struct hone_sweep_report *r, const struct hone_sweep_option *o)
{
    int width = (int)strlen(o->name);
    for (int i = 0; i < r->n; i++) {
        int len = (int)strlen(value_of(&r->points[i], o->name));
        if (len > width) width = len;
    }
    return width;
}

static void print_heading(const struct hone_sweep_report *r, const int *option, const int *width,
                          int classes)
{
    for (int k = 0; k < NCOLUMNS; k++)
        if (columns[k].of_search && r->is_search) printf("%*s  ", width[k], columns[k].title);
    for (int i = 0; i < r->space->n; i++)
        if (option[i]) printf("%-*s  ", option[i], r->space->option[i].name);
    for (int k = 0; k < NCOLUMNS; k++)
        if (!columns[k].of_search)
            printf("%*s%s", width[k], classes ? columns[k].title : columns[k].number_title,
                   k + 1 < NCOLUMNS ? "  " : "\n");
}

static void print_row(const struct hone_sweep_report *r, const struct hone_sweep_row *row, int i,
                      const int *option, const int *width)
{
    char text[CELL];
    for (int k = 0; k < NCOLUMNS; k++) {
        if (!columns[k].of_search || !r->is_search) continue;
        columns[k].fill(row, i, text);
        printf("%*s  ", width[k], text);
    }
    for (int o = 0; o < r->space->n; o++)
        if (option[o]) printf("%-*s  ", option[o], value_of(row->point, r->space->option[o].name));
    if (row->failed) {
        printf("failed: %s\n", row->reason ? row->reason : "?");
        return;
    }
    for (int k = 0; k < NCOLUMNS; k++) {
        if (columns[k].of_search) continue;
        columns[k].fill(row, i, text);
        printf("%*s%s", width[k], text, k + 1 < NCOLUMNS ? "  " : "\n");
    }
}

static void measure(const struct hone_sweep_report *r, const struct hone_sweep_row *row,
                    int *option, int *width)
{
    char text[CELL];
    for (int i = 0; i < r->space->n; i++)
        option[i] =
            hone_sweep_varies(&r->space->option[i]) ? option_width(r, &r->space->option[i]) : 0;
    for (int k = 0; k < NCOLUMNS; k++) {
        width[k] = (int)strlen(columns[k].title);
        for (int i = 0; i < r->n; i++) {
            columns[k].fill(&row[i], i, text);
            if ((int)strlen(text) > width[k]) width[k] = (int)strlen(text);
        }
    }
}

static struct hone_sweep_row *rows_of(const struct hone_sweep_report *r)
{
    struct hone_sweep_row *row = calloc((size_t)r->n + 1, sizeof *row);
    for (int i = 0; row && i < r->n; i++) row[i] = hone_sweep_row_of(&r->points[i]);
    return row;
}

void hone_sweep_print(const struct hone_sweep_report *r)
{
    int option[HONE_SWEEP_OPTIONS], width[NCOLUMNS], alone = 0, chance = 0;
    struct hone_sweep_row *row = rows_of(r);
    if (!row) return;
    measure(r, row, option, width);
    print_heading(r, option, width, are_classes(row, r->n));
    for (int i = 0; i < r->n; i++) {
        print_row(r, &row[i], i, option, width);
        alone += !row[i].failed && row[i].nepochs == 1;
        chance += !row[i].failed && row[i].near_chance;
    }
    if (alone)
        printf("* the first epoch, which warms up caches and pages; more epochs leave it out\n");
    if (chance) printf("chance: the accuracy is no better than that of guessing, and no result\n");
    free(row);
}

/* ---- CSV and JSON ---- */

/* A near-chance accuracy is no result; what was measured stands beside. */
static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *row_json(const struct hone_sweep_row *r)
{
    const double none = NAN;
    int classes = r->is_classes;
    const json_t *record = r->point->record;
    json_t *row = json_object();
    json_object_set_new(row, "status", json_string(r->failed ? "failed" : "done"));
    json_object_set_new(row, "near_chance", json_boolean(r->near_chance));
    json_object_set_new(row, "rung", json_integer(r->point->rung));
    json_object_set_new(row, "epochs", json_integer(r->nepochs));
    json_object_set_new(row, "first_epoch_seconds", number(r->first_seconds));
    json_object_set_new(row, "epoch_seconds", number(r->seconds.median));
    json_object_set_new(row, "epoch_seconds_lo", number(r->seconds.lo));
    json_object_set_new(row, "epoch_seconds_hi", number(r->seconds.hi));
    json_object_set_new(row, "images_per_s", number(r->rows_per_s));
    json_object_set_new(row, "train_loss", number(r->train_loss));
    json_object_set_new(row, "train_accuracy", number(classes ? r->train_score : none));
    json_object_set_new(row, "train_mae", number(classes ? none : r->train_score));
    json_object_set_new(row, "test_loss", number(r->test_loss));
    json_object_set_new(row, "test_accuracy",
                        number(classes && !r->near_chance ? r->test_score : none));
    json_object_set_new(row, "measured_test_accuracy", number(classes ? r->test_score : none));
    json_object_set_new(row, "test_mae", number(classes ? none : r->test_score));
    json_object_set_new(row, "best_epoch",
                        isnan(r->best) ? json_null() : json_integer(r->best_epoch));
    json_object_set_new(row, classes ? "best_test_accuracy" : "best_test_mse",
                        number(r->near_chance ? none : r->best));
    json_object_set_new(row, classes ? "best_test_mse" : "best_test_accuracy", json_null());
    json_object_set_new(row, "steps", json_integer(r->steps));
    json_object_set_new(row, "steps_tuned", json_integer(r->steps_tuned));
    json_object_set_new(row, "peak_bytes", json_integer((json_int_t)r->peak_bytes));
    json_object_set(row, "reason", json_object_get(record, "reason"));
    json_object_set(row, "command", json_object_get(record, "command"));
    return row;
}

struct field {
    const char *title, *key;
};

static const struct field table_fields[] = {
    { "status", "status" },
    { "near_chance", "near_chance" },
    { "rung", "rung" },
    { "epochs", "epochs" },
    { "first_epoch_seconds", "first_epoch_seconds" },
    { "epoch_seconds", "epoch_seconds" },
    { "epoch_seconds_lo", "epoch_seconds_lo" },
    { "epoch_seconds_hi", "epoch_seconds_hi" },
    { "images_per_s", "images_per_s" },
    { "train_loss", "train_loss" },
    { "train_accuracy", "train_accuracy" },
    { "train_mae", "train_mae" },
    { "test_loss", "test_loss" },
    { "test_accuracy", "test_accuracy" },
    { "test_mae", "test_mae" },
    { "best_epoch", "best_epoch" },
    { "best_test_accuracy", "best_test_accuracy" },
    { "best_test_mse", "best_test_mse" },
    { "steps", "steps" },
    { "steps_tuned", "steps_tuned" },
    { "peak_bytes", "peak_bytes" },
    { "reason", "reason" },
    { "command", "command" },
    { NULL, NULL },
};

/* The option lr may be a column, too. */
static const struct field curve_fields[] = {
    { "epoch", "epoch" },
    { "seconds", "seconds" },
    { "images_per_s", "images_per_s" },
    { "rate", "lr" },
    { "train_loss", "train_loss" },
    { "train_accuracy", "train_accuracy" },
    { "train_mae", "train_mae" },
    { "test_loss", "test_loss" },
    { "test_accuracy", "test_accuracy" },
    { "test_mse", "test_mse" },
    { "test_mae", "test_mae" },
    { NULL, NULL },
};

static void put_value(FILE *f, const json_t *v)
{
    if (json_is_string(v))
        hone_output_cell(f, json_string_value(v));
    else if (json_is_boolean(v))
        fputs(json_is_true(v) ? "1" : "0", f);
    else if (json_is_integer(v))
        fprintf(f, "%lld", (long long)json_integer_value(v));
    else if (json_is_number(v))
        fprintf(f, "%.9g", json_number_value(v));
}

static void put_heading(FILE *f, const struct hone_sweep_report *r, const struct field *field)
{
    for (int i = 0; i < r->space->n; i++)
        if (hone_sweep_varies(&r->space->option[i])) fprintf(f, "%s,", r->space->option[i].name);
    for (; field->title; field++) fprintf(f, "%s%s", field->title, field[1].title ? "," : "\n");
}

static void put_row(FILE *f, const struct hone_sweep_report *r, const struct hone_sweep_point *p,
                    const json_t *row, const struct field *field)
{
    for (int i = 0; i < r->space->n; i++) {
        if (!hone_sweep_varies(&r->space->option[i])) continue;
        hone_output_cell(f, value_of(p, r->space->option[i].name));
        putc(',', f);
    }
    for (; field->title; field++) {
        put_value(f, json_object_get(row, field->key));
        putc(field[1].title ? ',' : '\n', f);
    }
}

static void put_table(FILE *f, const struct hone_sweep_report *r)
{
    put_heading(f, r, table_fields);
    for (int i = 0; i < r->n; i++) {
        struct hone_sweep_row row = hone_sweep_row_of(&r->points[i]);
        json_t *json = row_json(&row);
        put_row(f, r, &r->points[i], json, table_fields);
        json_decref(json);
    }
}

static void put_curves(FILE *f, const struct hone_sweep_report *r)
{
    put_heading(f, r, curve_fields);
    for (int i = 0; i < r->n; i++) {
        json_t *epoch, *result = json_object_get(r->points[i].record, "result");
        size_t k;
        json_array_foreach(json_object_get(result, "epochs"), k, epoch)
            put_row(f, r, &r->points[i], epoch, curve_fields);
    }
}

static int write_with(const struct hone_sweep_report *r, const char *name,
                      void (*put)(FILE *f, const struct hone_sweep_report *r))
{
    char path[PATH_MAX], *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return hone_fail(HONE_ENOMEM, "%s", name);
    put(f, r);
    fclose(f);
    hone_sweep_path(r->sweep, path, sizeof path, "%s", name);
    int err = hone_output_write(path, text, size);
    free(text);
    return err;
}

int hone_sweep_write_csv(const struct hone_sweep_report *r)
{
    int err = write_with(r, "table.csv", put_table);
    return err ? err : write_with(r, "curves.csv", put_curves);
}

int hone_sweep_print_json(const struct hone_sweep_report *r)
{
    json_t *rows = json_array(), *root = json_object();
    for (int i = 0; i < r->n; i++) {
        struct hone_sweep_row row = hone_sweep_row_of(&r->points[i]);
        json_t *json = row_json(&row);
        const json_t *result = json_object_get(r->points[i].record, "result");
        json_object_set(json, "options", r->points[i].options);
        json_object_set(json, "curve", json_object_get(result, "epochs"));
        json_array_append_new(rows, json);
    }
    json_object_set_new(root, "directory", json_string(r->sweep->dir));
    json_object_set_new(root, "ranked", json_boolean(r->is_search));
    json_object_set_new(root, "points", rows);
    int err = json_dumpf(root, stdout, JSON_INDENT(2)) ? hone_fail(HONE_EIO, "cannot write JSON")
                                                       : HONE_OK;
    putchar('\n');
    json_decref(root);
    return err;
}
