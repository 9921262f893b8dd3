/* The confusion matrix and the scores of classes, or the errors of numbers: lines and JSON. */
#include "nets/report.h"

#include <math.h>
#include <string.h>

enum { MOST_CLASSES = 30, NAME_WIDTH = 12 };

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static const char *class_name(const struct hone_data *d, int k, char text[HONE_NAME])
{
    if (d->class_name && k < d->classes) return d->class_name[k];
    snprintf(text, HONE_NAME, "%d", k);
    return text;
}

/* ---- lines ---- */

static void print_confusion(const struct hone_data *d, const struct hone_scores *s)
{
    char text[HONE_NAME];
    int64_t most = 0;
    for (int64_t i = 0; i < (int64_t)s->width * s->width; i++)
        if (s->confusion[i] > most) most = s->confusion[i];
    int width = snprintf(NULL, 0, "%lld", (long long)most);
    if (width < 4) width = 4;
    printf("\n%-*s  answers\n%-*s", NAME_WIDTH, "labels", NAME_WIDTH, "");
    for (int k = 0; k < s->width; k++)
        printf("  %*.*s", width, width, class_name(d, k, text));
    putchar('\n');
    for (int k = 0; k < s->width; k++) {
        printf("%-*.*s", NAME_WIDTH, NAME_WIDTH, class_name(d, k, text));
        for (int j = 0; j < s->width; j++)
            printf("  %*lld", width, (long long)s->confusion[(int64_t)k * s->width + j]);
        putchar('\n');
    }
}

static void print_cell(double v)
{
    if (isnan(v))
        printf("  %9s", "-");
    else
        printf("  %9.4f", v);
}

static void print_class(const char *name, const struct hone_class_score *c)
{
    printf("%-*.*s  %9lld", NAME_WIDTH, NAME_WIDTH, name, (long long)c->rows);
    print_cell(c->precision);
    print_cell(c->recall);
    print_cell(c->f1);
    putchar('\n');
}

static void print_classes(const struct hone_data *d, const struct hone_scores *s, int chance)
{
    char text[HONE_NAME];
    struct hone_class_score mean = hone_scores_macro(s);
    if (s->width <= MOST_CLASSES) print_confusion(d, s);
    printf("\n%-*s  %9s  %9s  %9s  %9s\n", NAME_WIDTH, "class", "rows", "precision", "recall",
           "F1");
    for (int k = 0; k < s->width && s->width <= MOST_CLASSES; k++) {
        struct hone_class_score c = hone_scores_class(s, k);
        print_class(class_name(d, k, text), &c);
    }
    print_class("mean", &mean);
    if (chance)
        printf("\naccuracy no better than chance\n");
    else if (s->width > 5)
        printf("\naccuracy %.4f, top-5 %.4f\n", hone_scores_accuracy(s), hone_scores_top5(s));
    else
        printf("\naccuracy %.4f\n", hone_scores_accuracy(s));
}

void hone_report_scores(const struct hone_data *d, const struct hone_scores *s, int chance)
{
    if (!s->rows) return;
    if (s->task == HONE_CLASSIFY) {
        print_classes(d, s, chance);
        return;
    }
    printf("\nR2 %.4f, MSE %.6g, MAE %.6g\n", hone_scores_r2(s), hone_scores_mse(s),
           hone_scores_mae(s));
}

/* ---- JSON ---- */

static json_t *class_json(const struct hone_data *d, const struct hone_scores *s, int k)
{
    char text[HONE_NAME];
    struct hone_class_score c = hone_scores_class(s, k);
    return json_pack("{s:s, s:I, s:o, s:o, s:o}", "class", class_name(d, k, text), "rows",
                     (json_int_t)c.rows, "precision", number(c.precision), "recall",
                     number(c.recall), "f1", number(c.f1));
}

json_t *hone_report_scores_json(const struct hone_data *d, const struct hone_scores *s,
                                int chance)
{
    if (!s->rows) return json_null();
    if (s->task != HONE_CLASSIFY)
        return json_pack("{s:I, s:o, s:o, s:o}", "rows", (json_int_t)s->rows, "r2",
                         number(hone_scores_r2(s)), "mse", number(hone_scores_mse(s)), "mae",
                         number(hone_scores_mae(s)));
    json_t *classes = json_array(), *confusion = json_array();
    struct hone_class_score mean = hone_scores_macro(s);
    for (int k = 0; k < s->width; k++) {
        json_t *line = json_array();
        for (int j = 0; j < s->width; j++)
            json_array_append_new(line, json_integer(s->confusion[(int64_t)k * s->width + j]));
        json_array_append_new(confusion, line);
        json_array_append_new(classes, class_json(d, s, k));
    }
    double none = NAN, accuracy = hone_scores_accuracy(s);
    return json_pack("{s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rows",
                     (json_int_t)s->rows, "no_better_than_chance", chance, "accuracy",
                     number(chance ? none : accuracy), "measured_accuracy", number(accuracy),
                     "top5", number(chance || s->width <= 5 ? none : hone_scores_top5(s)),
                     "precision", number(mean.precision), "recall", number(mean.recall), "f1",
                     number(mean.f1), "classes", classes, "confusion", confusion);
}
